//! The built-in login's accounts, and who is signed in where. Disabling an account, deleting it and setting its password revoke
//! grants, so these are in `revocations`.

use sqlx::FromRow;

use super::Store;
use super::engine::{Transaction, on_engine};
use super::logout_notices::{Announcer, SignedOut};
use super::rows::{corrupt, parse};
use crate::domain::error::Unavailable;
use crate::domain::grant::{SessionId, SubjectId};
use crate::domain::interaction::AppSignIn;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;

/// An account of the built-in login.
#[derive(Clone)]
pub struct Account {
    pub username: String,
    pub subject: SubjectId,
    /// In PHC string format, argon2id.
    pub password_hash: String,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

/// A sign-in.
pub struct NewSession {
    /// The hash of its cookie.
    pub id: SecretHash,
    pub subject: SubjectId,
    /// That of the cookie that the browser had.
    pub replaces: Option<SecretHash>,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    /// How a login app signed the user in; `None`: with a password, here.
    pub sign_in: Option<AppSignIn>,
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// How clients know the session. It stays when the same user signs in again.
    pub id: SessionId,
    pub subject: SubjectId,
    pub username: String,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// How a login app signed the user in; `None`: with a password, here, or as the app says at each request.
    pub sign_in: Option<Box<AppSignIn>>,
}

#[derive(FromRow)]
pub(super) struct AccountRow {
    username: String,
    subject_id: String,
    password_hash: String,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        Self {
            username: row.username,
            subject: SubjectId::new(row.subject_id),
            password_hash: row.password_hash,
            created_at: Timestamp::from_unix(row.created_at),
            disabled_at: row.disabled_at.map(Timestamp::from_unix),
        }
    }
}

#[derive(FromRow)]
struct SessionRow {
    session_id: String,
    subject_id: String,
    name: String,
    created_at: i64,
    sign_in: String,
}

impl TryFrom<SessionRow> for Session {
    type Error = sqlx::Error;

    fn try_from(row: SessionRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: parse(&row.session_id)?,
            subject: SubjectId::new(row.subject_id),
            username: row.name,
            created_at: Timestamp::from_unix(row.created_at),
            sign_in: sign_in(&row.sign_in)?,
        })
    }
}

impl Store {
    /// Makes an account and its subject. `false` when the name is taken: nothing has changed.
    pub async fn insert_account(&self, account: Account) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert an account", async move {
            let mut transaction = writer.begin().await?;
            on_engine!(&mut transaction, on => sqlx::query("INSERT INTO subjects (id, name, created_at, revoked_seq) VALUES ($1, $2, $3, 0)")
                .bind(account.subject.as_str().to_owned())
                .bind(account.username.clone())
                .bind(account.created_at.as_unix())
                .execute(&mut **on).await?.rows_affected());
            let inserted = on_engine!(&mut transaction, on => sqlx::query(
                "INSERT INTO accounts (username, subject_id, password_hash) VALUES ($1, $2, $3) ON CONFLICT (username) DO NOTHING",
            )
            .bind(account.username)
            .bind(account.subject.as_str().to_owned())
            .bind(account.password_hash)
            .execute(&mut **on).await?.rows_affected());
            if inserted == 0 {
                return Ok(false);
            }
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    pub async fn account(&self, username: String) -> Result<Option<Account>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read an account", async move {
            let row: Option<AccountRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT a.username, a.subject_id, a.password_hash, s.created_at, s.disabled_at \
                 FROM accounts a JOIN subjects s ON s.id = a.subject_id WHERE a.username = $1",
            )
            .bind(username)
            .fetch_optional(on).await?);
            Ok(row.map(Account::from))
        })
        .await
    }

    /// Whether there is a subject with this `sub` that was not deleted.
    pub async fn has_subject(&self, sub: String) -> Result<bool, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a subject", async move {
            let count: i64 = on_engine!(&reader, on => {
                sqlx::query_scalar("SELECT COUNT(*) FROM subjects WHERE id = $1 AND deleted_at IS NULL").bind(sub).fetch_one(on).await?
            });
            Ok(count == 1)
        })
        .await
    }

    /// Lets a disabled subject sign in again; its old grants stay revoked. `false` when it is not disabled.
    pub async fn enable_subject(&self, subject: SubjectId) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("enable a subject", async move {
            let enabled =
                on_engine!(&writer, on => sqlx::query("UPDATE subjects SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL AND deleted_at IS NULL")
                    .bind(subject.as_str().to_owned())
                    .execute(on).await?.rows_affected());
            Ok(enabled == 1)
        })
        .await
    }

    /// Signs a subject in. `false` when it was disabled meanwhile.
    ///
    /// The session that the browser had ends. If it was the same user's, the new one goes on with it: clients know it by the same name.
    pub async fn insert_session(&self, new: NewSession) -> Result<bool, Unavailable> {
        let (writer, announcer) = (self.writer.clone(), self.announcer);
        self.run("insert a session", async move {
            let mut transaction = writer.begin().await?;
            let inserted = write_session(&mut transaction, announcer, new).await?.is_some();
            if inserted {
                transaction.commit().await?;
            }
            Ok(inserted)
        })
        .await
    }

    /// Who holds the session cookie with this hash, if the user is one of this realm.
    pub async fn session(&self, id: SecretHash, realm: String, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a session", async move {
            let row: Option<SessionRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT b.session_id, b.subject_id, s.name, b.created_at, b.sign_in \
                 FROM browser_sessions b JOIN subjects s ON s.id = b.subject_id \
                 WHERE b.id_hash = $1 AND b.expires_at > $2 AND s.disabled_at IS NULL AND s.realm = $3",
            )
            .bind(id.as_bytes().to_vec())
            .bind(now.as_unix())
            .bind(realm)
            .fetch_optional(on).await?);
            row.map(Session::try_from).transpose()
        })
        .await
    }

    /// The session with this name, if the user is one of this realm.
    pub async fn named_session(
        &self,
        name: SessionId,
        realm: String,
        now: Timestamp,
    ) -> Result<Option<Session>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a session by its name", async move {
            let row: Option<SessionRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT b.session_id, b.subject_id, s.name, b.created_at, b.sign_in \
                 FROM browser_sessions b JOIN subjects s ON s.id = b.subject_id \
                 WHERE b.session_id = $1 AND b.expires_at > $2 AND s.disabled_at IS NULL AND s.realm = $3",
            )
            .bind(name.to_string())
            .bind(now.as_unix())
            .bind(realm)
            .fetch_optional(on).await?);
            row.map(Session::try_from).transpose()
        })
        .await
    }

    /// Signs out; whom, if somebody was signed in.
    pub async fn delete_session(&self, id: SecretHash, now: Timestamp) -> Result<Option<SubjectId>, Unavailable> {
        let (writer, announcer) = (self.writer.clone(), self.announcer);
        self.run("delete a session", async move {
            let mut transaction = writer.begin().await?;
            let ended = take_session(&mut transaction, &id).await?;
            if let Some(ended) = &ended {
                announcer.announce(&mut transaction, SignedOut::Session(parse(&ended.session_id)?), now).await?;
            }
            transaction.commit().await?;
            Ok(ended.filter(|ended| ended.expires_at > now.as_unix()).map(|ended| SubjectId::new(ended.subject_id)))
        })
        .await
    }
}

/// What a session was that has ended.
#[derive(FromRow)]
struct EndedSession {
    session_id: String,
    subject_id: String,
    expires_at: i64,
    sign_in: String,
}

impl EndedSession {
    /// Whether it was there for more than one request.
    fn was_remembered(&self) -> Result<bool, sqlx::Error> {
        Ok(sign_in(&self.sign_in)?.is_none_or(|sign_in| sign_in.remembered))
    }
}

/// As [`Store::insert_session`], together with what the sign-in is for; until when it lasts. A browser that was signed in as the same user
/// to stay so does stay so, though this sign-in alone were for one request.
pub(super) async fn write_session(
    transaction: &mut Transaction,
    announcer: Announcer,
    mut new: NewSession,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let replaced = match &new.replaces {
        Some(id) => take_session(transaction, id).await?,
        None => None,
    };
    let name = match replaced {
        Some(own) if own.subject_id == new.subject.as_str() && own.expires_at > new.now.as_unix() => {
            if own.was_remembered()?
                && let Some(sign_in) = new.sign_in.as_mut().filter(|sign_in| !sign_in.remembered)
            {
                sign_in.remembered = true;
                new.expires_at = new.expires_at.max(Timestamp::from_unix(own.expires_at));
            }
            own.session_id
        }
        Some(ended) => {
            let ended = SignedOut::Session(parse(&ended.session_id)?);
            announcer.announce(transaction, ended, new.now).await?;
            SessionId::of(&new.id).to_string()
        }
        None => SessionId::of(&new.id).to_string(),
    };
    let how = new.sign_in.as_ref().map(serde_json::to_string).transpose();
    let how = how.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let inserted = on_engine!(transaction, on => sqlx::query(
        "INSERT INTO browser_sessions (id_hash, subject_id, created_at, expires_at, session_id, sign_in) \
         SELECT $1, id, $3, $4, $5, $6 FROM subjects WHERE id = $2 AND disabled_at IS NULL",
    )
    .bind(new.id.as_bytes().to_vec())
    .bind(new.subject.as_str().to_owned())
    .bind(new.now.as_unix())
    .bind(new.expires_at.as_unix())
    .bind(name)
    .bind(how.unwrap_or_default())
    .execute(&mut **on).await?.rows_affected());
    Ok((inserted == 1).then_some(new.expires_at))
}

fn sign_in(json: &str) -> Result<Option<Box<AppSignIn>>, sqlx::Error> {
    let json = Some(json).filter(|json| !json.is_empty());
    json.map(|json| serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))).transpose()
}

async fn take_session(transaction: &mut Transaction, id: &SecretHash) -> Result<Option<EndedSession>, sqlx::Error> {
    on_engine!(transaction, on => {
        sqlx::query_as("DELETE FROM browser_sessions WHERE id_hash = $1 RETURNING session_id, subject_id, expires_at, sign_in")
            .bind(id.as_bytes().to_vec())
            .fetch_optional(&mut **on)
            .await
    })
}
