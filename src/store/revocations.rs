//! Revocations: ending grants, clients and subjects, and the log that says so in order.

use sqlx::FromRow;

use super::Store;
use super::engine::{Transaction, on_engine};
use super::rows::number;
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::grant::{GrantFacts, SubjectId};
use crate::domain::revocation::{Revocation, Target};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;

impl Store {
    /// Revokes a grant. `None` when there is no such grant or it was revoked already: nothing has changed.
    pub async fn revoke_grant(&self, id: GrantId, now: Timestamp) -> Result<Option<Revocation>, Unavailable> {
        let writer = self.writer.clone();
        self.run("revoke a grant", async move {
            let mut transaction = writer.begin().await?;
            let revoked = on_engine!(&mut transaction, on => sqlx::query(
                "UPDATE grants SET state = 'revoked', revoked_at = $2 WHERE id = $1 AND state <> 'revoked'",
            )
            .bind(id.as_bytes().to_vec())
            .bind(now.as_unix())
            .execute(&mut **on)
            .await?
            .rows_affected());
            if revoked == 0 {
                return Ok(None);
            }
            let target = Target::Grant { id, generation: GrantFacts::REVOKED };
            let revocation = append(&mut transaction, target, now).await?;
            transaction.commit().await?;
            Ok(Some(revocation))
        })
        .await
    }

    /// Disables a client and revokes all its grants. `None` when there is none or it is disabled already.
    pub async fn disable_client(&self, id: ClientId, now: Timestamp) -> Result<Option<Revocation>, Unavailable> {
        self.end("disable a client", Ending::DisableClient(id), now).await
    }

    /// Deletes a client and revokes all its grants. `None` when there is none.
    pub async fn delete_client(&self, id: ClientId, now: Timestamp) -> Result<Option<Revocation>, Unavailable> {
        self.end("delete a client", Ending::DeleteClient(id), now).await
    }

    /// Disables a subject, signs it out and revokes all its grants. `None` when there is none or it is disabled already.
    pub async fn disable_subject(&self, id: SubjectId, now: Timestamp) -> Result<Option<Revocation>, Unavailable> {
        self.end("disable a subject", Ending::DisableSubject(id), now).await
    }

    /// Gives an account a new password, signs it out everywhere and revokes all its grants. `None` when there is no such account.
    pub async fn set_password(
        &self,
        subject: SubjectId,
        password_hash: String,
        now: Timestamp,
    ) -> Result<Option<Revocation>, Unavailable> {
        self.end("set a password", Ending::SetPassword(subject, password_hash), now).await
    }

    async fn end(
        &self,
        operation: &'static str,
        ending: Ending,
        now: Timestamp,
    ) -> Result<Option<Revocation>, Unavailable> {
        let writer = self.writer.clone();
        self.run(operation, async move {
            let mut transaction = writer.begin().await?;
            if !ending.claim(&mut transaction, now).await? {
                return Ok(None);
            }
            let revocation = append(&mut transaction, ending.target(), now).await?;
            ending.mark(&mut transaction, number(i64::try_from(revocation.seq).unwrap_or(i64::MAX))?).await?;
            transaction.commit().await?;
            Ok(Some(revocation))
        })
        .await
    }

    /// The position of the log.
    pub async fn revocation_head(&self) -> Result<u64, Unavailable> {
        let reader = self.reader.clone();
        self.run("follow the revocation log", async move {
            let head =
                on_engine!(&reader, on => sqlx::query_scalar("SELECT head FROM revocation_head").fetch_one(on).await?);
            number(head)
        })
        .await
    }

    /// The log after position `after`, 1,000 entries at most, and its head in the same snapshot.
    pub async fn revocations_after(&self, after: u64) -> Result<LogExcerpt, Unavailable> {
        let reader = self.reader.clone();
        self.run("follow the revocation log", async move {
            let rows: Vec<LogRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT h.head, l.seq, l.kind, l.target, l.value, l.at \
                 FROM revocation_head h LEFT JOIN revocation_log l ON l.seq > $1 ORDER BY l.seq LIMIT 1000",
            )
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .fetch_all(on)
            .await?);
            let head = rows.first().ok_or(sqlx::Error::RowNotFound)?.head;
            let entries = rows.into_iter().filter_map(LogRow::entry).collect::<Result<_, _>>()?;
            Ok(LogExcerpt { head: number(head)?, entries })
        })
        .await
    }
}

/// A part of the revocation log.
pub struct LogExcerpt {
    /// The newest position there is.
    pub head: u64,
    /// In order.
    pub entries: Vec<Revocation>,
}

/// What ends all grants of a client or a subject.
enum Ending {
    DisableClient(ClientId),
    DeleteClient(ClientId),
    DisableSubject(SubjectId),
    SetPassword(SubjectId, String),
}

impl Ending {
    fn target(&self) -> Target {
        match self {
            Self::DisableClient(id) | Self::DeleteClient(id) => Target::Client(id.clone()),
            Self::DisableSubject(id) | Self::SetPassword(id, _) => Target::Subject(id.clone()),
        }
    }

    /// The claiming write; `false` when there is nothing to end.
    async fn claim(&self, transaction: &mut Transaction, now: Timestamp) -> Result<bool, sqlx::Error> {
        let claimed = on_engine!(transaction, on => match self {
            Self::DisableClient(id) => sqlx::query(
                "UPDATE clients SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(now.as_unix()),
            Self::DeleteClient(id) => sqlx::query(
                "UPDATE clients SET deleted_at = $2, disabled_at = COALESCE(disabled_at, $2) \
                 WHERE id = $1 AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(now.as_unix()),
            Self::DisableSubject(id) => {
                sqlx::query("UPDATE subjects SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL")
                    .bind(id.as_str().to_owned())
                    .bind(now.as_unix())
            }
            Self::SetPassword(id, hash) => sqlx::query("UPDATE accounts SET password_hash = $2 WHERE subject_id = $1")
                .bind(id.as_str().to_owned())
                .bind(hash.clone()),
        }
        .execute(&mut **on)
        .await?
        .rows_affected());
        Ok(claimed == 1)
    }

    /// Kills every grant created before `seq`, in one row, and signs a subject out.
    async fn mark(&self, transaction: &mut Transaction, seq: i64) -> Result<(), sqlx::Error> {
        let (statement, id) = match self {
            Self::DisableClient(id) | Self::DeleteClient(id) => {
                ("UPDATE clients SET revoked_seq = $2 WHERE id = $1", id.as_str())
            }
            Self::DisableSubject(id) | Self::SetPassword(id, _) => {
                ("UPDATE subjects SET revoked_seq = $2 WHERE id = $1", id.as_str())
            }
        };
        on_engine!(&mut *transaction, on => sqlx::query(statement).bind(id.to_owned()).bind(seq).execute(&mut **on).await.map(drop))?;
        if matches!(self, Self::DisableSubject(_) | Self::SetPassword(..)) {
            on_engine!(transaction, on => sqlx::query("DELETE FROM browser_sessions WHERE subject_id = $1")
                .bind(id.to_owned())
                .execute(&mut **on)
                .await
                .map(drop))?;
        }
        Ok(())
    }
}

/// Takes the next position of the log and writes there. The row lock on the head lasts until the commit.
async fn append(transaction: &mut Transaction, target: Target, now: Timestamp) -> Result<Revocation, sqlx::Error> {
    let seq: i64 = on_engine!(&mut *transaction, on => {
        sqlx::query_scalar("UPDATE revocation_head SET head = head + 1 RETURNING head").fetch_one(&mut **on).await?
    });
    on_engine!(transaction, on => {
        sqlx::query("INSERT INTO revocation_log (seq, kind, target, value, at) VALUES ($1, $2, $3, $4, $5)")
            .bind(seq)
            .bind(target.kind())
            .bind(target.name())
            .bind(i64::from(target.value()))
            .bind(now.as_unix())
            .execute(&mut **on)
            .await
            .map(drop)
    })?;
    Ok(Revocation { seq: number(seq)?, target, at: now })
}

/// The head, beside an entry if there is one.
#[derive(FromRow)]
struct LogRow {
    head: i64,
    seq: Option<i64>,
    kind: Option<String>,
    target: Option<String>,
    value: Option<i64>,
    at: Option<i64>,
}

impl LogRow {
    fn entry(self) -> Option<Result<Revocation, sqlx::Error>> {
        let (seq, kind, name, value, at) = (self.seq?, self.kind?, self.target?, self.value?, self.at?);
        let target = || Target::parse(&kind, &name, number(value)?).map_err(|error| sqlx::Error::Decode(error.into()));
        Some(number(seq).and_then(|seq| Ok(Revocation { seq, target: target()?, at: Timestamp::from_unix(at) })))
    }
}
