//! Ending grants, clients, subjects, and sets of grants: the truth and the log in one transaction.
//!
//! What the log says is in `log`; who has read it how far, in `leases`.

use sqlx::{FromRow, QueryBuilder};

use super::Store;
use super::engine::{Transaction, on_engine};
use super::grants::{Refresh, parties_alive, rotate_grant};
use super::listing::{Fingerprint, lock_client};
use super::logout_notices::{Announcer, SignedOut};
use super::rows::{number, parse};
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::grant::{GrantFacts, SessionId, SubjectId};
use crate::domain::revocation::{Chain, LogEntry, Revocation, Target};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, KeyId, KeySet};

/// What to end. All but the first end every grant that was made before, in one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    RevokeGrant(GrantId),
    /// The access tokens of a grant that are of an earlier generation than this. The grant goes on.
    EndAccessTokens(GrantId, u32),
    /// The same, where a refresh token is replaced by its successor.
    Rotate(Box<Refresh>),
    RevokeClient(ClientId),
    DisableClient(ClientId),
    /// If it is the one that was read, where that is said.
    DeleteClient(ClientId, Option<Box<Fingerprint>>),
    RevokeSubject(SubjectId),
    /// Also signs the subject out.
    DisableSubject(SubjectId),
    /// The same, for good: what is known of the user goes. The row stays while something refers to it, so that what ended stays dead.
    DeleteSubject(SubjectId),
    /// Gives an account a new password and signs it out.
    SetPassword(SubjectId, PasswordHash),
    RevokeSubjectClient(SubjectId, ClientId),
    /// Also ends the session.
    RevokeSession(SessionId),
    /// Everything that a key has signed and will sign: the key was given away.
    RevokeKey(KeyId),
}

/// A password hash in PHC string format.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

impl Store {
    /// Ends all of these in one transaction. For each the entry of the log; `None` where there was nothing to end.
    pub async fn end(&self, endings: Vec<Ending>, now: Timestamp) -> Result<Vec<Option<LogEntry>>, Unavailable> {
        let (writer, announcer) = (self.writer.clone(), self.announcer);
        self.run("revoke", async move {
            let mut transaction = writer.begin().await?;
            let entries = end(&mut transaction, &endings, announcer, now).await?;
            if entries.iter().any(Option::is_some) {
                transaction.commit().await?;
            }
            Ok(entries)
        })
        .await
    }

    /// The keys that were revoked.
    pub async fn revoked_keys(&self) -> Result<KeySet, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the revoked keys", async move {
            let ids: Vec<String> = on_engine!(&reader, on => {
                sqlx::query_scalar("SELECT target FROM revoked_sets WHERE kind = 'key'").fetch_all(on).await?
            });
            let mut keys = KeySet::default();
            for id in &ids {
                keys.insert(parse(id)?);
            }
            Ok(keys)
        })
        .await
    }

    /// Ends again what the database has lost after a failover or a restore. A flush goes before, at a position beyond `applied` and all
    /// that the lost history can have had, unless another server has written one.
    pub async fn write_again(&self, applied: u64, lost: Vec<Target>, now: Timestamp) -> Result<(), Unavailable> {
        let (writer, announcer) = (self.writer.clone(), self.announcer);
        self.run("write the revocation log again", async move {
            let mut transaction = writer.begin().await?;
            let applied = i64::try_from(applied).unwrap_or(i64::MAX);
            // Locks the head: of several servers that have noticed, one comes first.
            let flushed: i64 = on_engine!(&mut transaction, on => {
                sqlx::query("UPDATE revocation_head SET head = head").execute(&mut **on).await?.rows_affected();
                sqlx::query_scalar("SELECT COUNT(*) FROM revocation_log WHERE kind = 'flush' AND seq > $1")
                    .bind(applied)
                    .fetch_one(&mut **on)
                    .await?
            });
            if flushed == 0 {
                on_engine!(&mut transaction, on => {
                    sqlx::query(
                        "UPDATE revocation_head SET head = (CASE WHEN head > $1 THEN head ELSE $1 END / 4294967296 + 1) * 4294967296",
                    )
                    .bind(applied)
                    .execute(&mut **on)
                    .await
                    .map(drop)
                })?;
                append(&mut transaction, vec![Target::Flush], now).await?;
            }
            let endings: Vec<Ending> = lost.into_iter().filter_map(Ending::of).collect();
            end(&mut transaction, &endings, announcer, now).await?;
            transaction.commit().await
        })
        .await
    }
}

async fn end(
    transaction: &mut Transaction,
    endings: &[Ending],
    announcer: Announcer,
    now: Timestamp,
) -> Result<Vec<Option<LogEntry>>, sqlx::Error> {
    // In one order everywhere, so that no two transactions wait for each other.
    let mut order: Vec<usize> = (0..endings.len()).collect();
    order.sort_by_key(|&index| endings[index].place());
    let mut claimed = Vec::with_capacity(order.len());
    for index in order {
        if endings[index].claim(transaction, now).await? {
            claimed.push(index);
        }
    }
    let mut outcome = vec![None; endings.len()];
    if claimed.is_empty() {
        return Ok(outcome);
    }
    let targets = claimed.iter().map(|&index| endings[index].target()).collect();
    let entries = append(transaction, targets, now).await?;
    for (index, entry) in claimed.into_iter().zip(entries) {
        endings[index].mark(transaction, entry.revocation.seq).await?;
        if let Some(signed_out) = endings[index].signs_out() {
            announcer.announce(transaction, signed_out, now).await?;
        }
        outcome[index] = Some(entry);
    }
    Ok(outcome)
}

impl Ending {
    /// What ends a target; `None` for a flush, which ends nothing.
    pub fn of(target: Target) -> Option<Self> {
        match target {
            Target::Grant { id, generation: GrantFacts::REVOKED } => Some(Self::RevokeGrant(id)),
            Target::Grant { id, generation } => Some(Self::EndAccessTokens(id, generation)),
            Target::Client(id) => Some(Self::RevokeClient(id)),
            Target::Subject(id) => Some(Self::RevokeSubject(id)),
            Target::SubjectClient(subject, client) => Some(Self::RevokeSubjectClient(subject, client)),
            Target::Session(id) => Some(Self::RevokeSession(id)),
            Target::Key(id) => Some(Self::RevokeKey(id)),
            Target::Flush => None,
        }
    }

    /// Its place in the order of claims: grants first, each by its id however it is claimed.
    fn place(&self) -> (bool, Option<GrantId>, &Self) {
        let grant = match self.target() {
            Target::Grant { id, .. } => Some(id),
            _ => None,
        };
        (grant.is_none(), grant, self)
    }

    /// What ends.
    pub fn target(&self) -> Target {
        match self {
            Self::RevokeGrant(id) => Target::Grant { id: *id, generation: GrantFacts::REVOKED },
            Self::EndAccessTokens(id, generation) => Target::Grant { id: *id, generation: *generation },
            Self::Rotate(refresh) => Target::Grant { id: refresh.grant, generation: refresh.generation },
            Self::RevokeClient(id) | Self::DisableClient(id) | Self::DeleteClient(id, _) => Target::Client(id.clone()),
            Self::RevokeSubject(id) | Self::DisableSubject(id) | Self::DeleteSubject(id) | Self::SetPassword(id, _) => {
                Target::Subject(id.clone())
            }
            Self::RevokeSubjectClient(subject, client) => Target::SubjectClient(subject.clone(), client.clone()),
            Self::RevokeSession(id) => Target::Session(*id),
            Self::RevokeKey(id) => Target::Key(*id),
        }
    }

    /// Whose clients have to be told.
    fn signs_out(&self) -> Option<SignedOut<'_>> {
        match self {
            Self::RevokeSession(id) => Some(SignedOut::Session(*id)),
            Self::RevokeSubject(id) | Self::DisableSubject(id) | Self::DeleteSubject(id) | Self::SetPassword(id, _) => {
                Some(SignedOut::Subject(id))
            }
            Self::RevokeGrant(_)
            | Self::EndAccessTokens(..)
            | Self::Rotate(_)
            | Self::RevokeClient(_)
            | Self::DisableClient(_)
            | Self::DeleteClient(..)
            | Self::RevokeSubjectClient(..)
            | Self::RevokeKey(_) => None,
        }
    }

    /// The claiming write; `false` when there is nothing to end.
    async fn claim(&self, transaction: &mut Transaction, now: Timestamp) -> Result<bool, sqlx::Error> {
        let now = now.as_unix();
        if let Self::DeleteClient(id, Some(read)) = self {
            let present = lock_client(transaction, id).await?;
            if present.is_none_or(|present| present.fingerprint() != **read) {
                return Ok(false);
            }
        }
        let claimed = on_engine!(transaction, on => match self {
            Self::RevokeGrant(id) => sqlx::query(
                "UPDATE grants SET state = 'revoked', revoked_at = $2 WHERE id = $1 AND state <> 'revoked'",
            )
            .bind(id.as_bytes().to_vec())
            .bind(now),
            Self::EndAccessTokens(id, generation) => sqlx::query(
                "UPDATE grants SET generation = $2 WHERE id = $1 AND generation < $2 AND state = 'active'",
            )
            .bind(id.as_bytes().to_vec())
            .bind(i64::from(*generation)),
            Self::Rotate(refresh) => sqlx::query(rotate_grant!())
                .bind(refresh.grant.as_bytes().to_vec())
                .bind(refresh.client.to_string())
                .bind(i64::from(refresh.serial))
                .bind(refresh.now.as_unix())
                .bind(i64::from(refresh.variant))
                .bind(i64::from(refresh.times.access_lifetime))
                .bind(refresh.times.idle_until.as_unix())
                .bind(i64::from(refresh.generation)),
            // The row is locked until its position is known.
            Self::RevokeClient(id) => {
                sqlx::query("UPDATE clients SET revoked_seq = revoked_seq WHERE id = $1 AND deleted_at IS NULL")
                    .bind(id.to_string())
            }
            Self::DisableClient(id) => sqlx::query(
                "UPDATE clients SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(now),
            Self::DeleteClient(id, _) => sqlx::query(
                "UPDATE clients SET deleted_at = $2, disabled_at = COALESCE(disabled_at, $2) \
                 WHERE id = $1 AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(now),
            Self::RevokeSubject(id) => {
                sqlx::query("UPDATE subjects SET revoked_seq = revoked_seq WHERE id = $1").bind(id.as_str().to_owned())
            }
            Self::DisableSubject(id) => {
                sqlx::query("UPDATE subjects SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL")
                    .bind(id.as_str().to_owned())
                    .bind(now)
            }
            Self::DeleteSubject(id) => sqlx::query(
                "UPDATE subjects SET deleted_at = $2, disabled_at = COALESCE(disabled_at, $2), name = '', claims = '' \
                 WHERE id = $1 AND deleted_at IS NULL",
            )
            .bind(id.as_str().to_owned())
            .bind(now),
            Self::SetPassword(id, hash) => sqlx::query("UPDATE accounts SET password_hash = $2 WHERE subject_id = $1")
                .bind(id.as_str().to_owned())
                .bind(hash.0.clone()),
            // A pair of which one half does not exist has no grant.
            Self::RevokeSubjectClient(subject, client) => sqlx::query(
                "INSERT INTO revoked_sets (kind, target, revoked_seq) SELECT 'subject_client', $3, 0 \
                 FROM subjects s, clients c WHERE s.id = $1 AND c.id = $2 \
                 ON CONFLICT (kind, target) DO UPDATE SET revoked_seq = revoked_sets.revoked_seq",
            )
            .bind(subject.as_str().to_owned())
            .bind(client.to_string())
            .bind(self.target().name()),
            Self::RevokeSession(id) => sqlx::query(
                "INSERT INTO revoked_sets (kind, target, revoked_seq) VALUES ('session', $1, 0) \
                 ON CONFLICT (kind, target) DO UPDATE SET revoked_seq = revoked_sets.revoked_seq",
            )
            .bind(id.to_string()),
            Self::RevokeKey(id) => sqlx::query(
                "INSERT INTO revoked_sets (kind, target, revoked_seq) VALUES ('key', $1, 0) ON CONFLICT (kind, target) DO NOTHING",
            )
            .bind(id.to_string()),
        }
        .execute(&mut **on)
        .await?
        .rows_affected());
        Ok(claimed == 1)
    }

    /// Kills every grant created before `seq`, in one row, and ends the browser sessions that end with it.
    async fn mark(&self, transaction: &mut Transaction, seq: u64) -> Result<(), sqlx::Error> {
        let target = self.target();
        let statement = match target {
            // Whoever revokes a grant of an app wants to be asked when it comes again.
            Target::Grant { id, generation: GrantFacts::REVOKED } => return forget(transaction, id).await,
            Target::Grant { .. } | Target::Flush => return Ok(()),
            Target::Client(_) => "UPDATE clients SET revoked_seq = $2 WHERE id = $1",
            Target::Subject(_) => "UPDATE subjects SET revoked_seq = $2 WHERE id = $1",
            Target::SubjectClient(..) => {
                "UPDATE revoked_sets SET revoked_seq = $2 WHERE kind = 'subject_client' AND target = $1"
            }
            Target::Session(_) => "UPDATE revoked_sets SET revoked_seq = $2 WHERE kind = 'session' AND target = $1",
            Target::Key(_) => "UPDATE revoked_sets SET revoked_seq = $2 WHERE kind = 'key' AND target = $1",
        };
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        on_engine!(&mut *transaction, on => sqlx::query(statement).bind(target.name()).bind(seq).execute(&mut **on).await.map(drop))?;
        match self {
            Self::DeleteSubject(id) => forget_subject(transaction, id).await,
            Self::DisableSubject(id) | Self::SetPassword(id, _) => {
                on_engine!(transaction, on => sqlx::query("DELETE FROM browser_sessions WHERE subject_id = $1")
                    .bind(id.as_str().to_owned())
                    .execute(&mut **on)
                    .await
                    .map(drop))
            }
            Self::RevokeSubjectClient(..) => {
                on_engine!(transaction, on => sqlx::query("DELETE FROM consents WHERE pair = $1")
                    .bind(self.target().name())
                    .execute(&mut **on)
                    .await
                    .map(drop))
            }
            Self::RevokeSession(id) => {
                on_engine!(transaction, on => sqlx::query("DELETE FROM browser_sessions WHERE session_id = $1")
                    .bind(id.to_string())
                    .execute(&mut **on)
                    .await
                    .map(drop))
            }
            _ => Ok(()),
        }
    }
}

/// Ends what the user of a grant allowed its client.
async fn forget(transaction: &mut Transaction, grant: GrantId) -> Result<(), sqlx::Error> {
    on_engine!(transaction, on => sqlx::query(
        "DELETE FROM consents WHERE pair = (SELECT client_id || ' ' || subject_id FROM grants WHERE id = $1)",
    )
    .bind(grant.as_bytes().to_vec())
    .execute(&mut **on)
    .await
    .map(drop))
}

/// Deletes what is known of a user who is gone, other than that there were grants.
async fn forget_subject(transaction: &mut Transaction, id: &SubjectId) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM accounts WHERE subject_id = $1",
        "DELETE FROM browser_sessions WHERE subject_id = $1",
        "DELETE FROM consents WHERE subject_id = $1",
        "DELETE FROM user_code_attempts WHERE subject_id = $1",
    ] {
        on_engine!(&mut *transaction, on => sqlx::query(statement).bind(id.as_str().to_owned()).execute(&mut **on).await.map(drop))?;
    }
    Ok(())
}

#[derive(FromRow)]
struct HeadRow {
    head: i64,
    chain: Vec<u8>,
}

/// Takes the next positions of the log and writes there. The row lock on the head lasts until the commit.
async fn append(
    transaction: &mut Transaction,
    targets: Vec<Target>,
    now: Timestamp,
) -> Result<Vec<LogEntry>, sqlx::Error> {
    let count = i64::try_from(targets.len()).unwrap_or(i64::MAX);
    let row: HeadRow = on_engine!(&mut *transaction, on => {
        sqlx::query_as("UPDATE revocation_head SET head = head + $1 RETURNING head, chain")
            .bind(count)
            .fetch_one(&mut **on)
            .await?
    });
    let mut chain = Chain::from_bytes(&row.chain);
    let first: u64 = number(row.head - count + 1)?;
    let entries: Vec<LogEntry> = (first..)
        .zip(targets)
        .map(|(seq, target)| {
            let revocation = Revocation { seq, target, at: now };
            chain = chain.after(&revocation);
            LogEntry { revocation, chain }
        })
        .collect();
    on_engine!(transaction, on => {
        let mut insert = QueryBuilder::new("INSERT INTO revocation_log (seq, kind, target, value, at, chain) ");
        insert.push_values(&entries, |mut row, LogEntry { revocation, chain }| {
            row.push_bind(i64::try_from(revocation.seq).unwrap_or(i64::MAX))
                .push_bind(revocation.target.kind())
                .push_bind(revocation.target.name())
                .push_bind(i64::from(revocation.target.value()))
                .push_bind(revocation.at.as_unix())
                .push_bind(chain.as_bytes().to_vec());
        });
        insert.build().execute(&mut **on).await?.rows_affected();
        sqlx::query("UPDATE revocation_head SET chain = $1").bind(chain.as_bytes().to_vec()).execute(&mut **on).await.map(drop)
    })?;
    Ok(entries)
}
