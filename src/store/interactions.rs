//! What login apps decided about interactions, until the browser has come back with it, once.

use sqlx::FromRow;

use super::Store;
use super::accounts::{NewSession, write_session};
use super::app_users::{NamedUser, write_subject};
use super::engine::{Transaction, on_engine};
use super::rows::{bytes, corrupt};
use crate::domain::error::Unavailable;
use crate::domain::interaction::Decision;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;

/// A decision of an app.
#[derive(Clone, Debug)]
pub struct DecidedInteraction {
    pub id: [u8; 16],
    /// Of what the browser brings.
    pub verifier: SecretHash,
    /// The interaction, sealed.
    pub challenge: String,
    pub decision: Decision,
    pub expires_at: Timestamp,
    /// When the browser brought it.
    pub used_at: Option<Timestamp>,
}

/// What came of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInCompletion {
    /// The session lasts until then.
    Done(Timestamp),
    /// The interaction was used before, or has expired, or the app decided again meanwhile.
    Used,
    /// The subject is disabled or somebody else's. Nothing has changed.
    NotAdmitted,
}

#[derive(FromRow)]
struct InteractionRow {
    verifier_hash: Vec<u8>,
    challenge: String,
    decision: String,
    expires_at: i64,
    used_at: Option<i64>,
}

impl Store {
    /// Keeps what the app decided, in place of what it decided before. `false` when the browser has come back already.
    pub async fn decide_interaction(&self, decided: DecidedInteraction) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("keep what an app decided", async move {
            let decision =
                serde_json::to_string(&decided.decision).map_err(|error| sqlx::Error::Encode(error.into()))?;
            let written = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO interactions (id, verifier_hash, challenge, decision, expires_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (id) DO UPDATE SET verifier_hash = excluded.verifier_hash, decision = excluded.decision \
                 WHERE interactions.used_at IS NULL",
            )
            .bind(decided.id.to_vec())
            .bind(decided.verifier.as_bytes().to_vec())
            .bind(decided.challenge)
            .bind(decision)
            .bind(decided.expires_at.as_unix())
            .execute(on).await?.rows_affected());
            Ok(written == 1)
        })
        .await
    }

    /// What was decided about an interaction, also long ago.
    pub async fn interaction(&self, id: [u8; 16]) -> Result<Option<DecidedInteraction>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read what an app decided", async move {
            let row: Option<InteractionRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT verifier_hash, challenge, decision, expires_at, used_at FROM interactions WHERE id = $1",
            )
            .bind(id.to_vec())
            .fetch_optional(on).await?);
            row.map(|row| {
                Ok(DecidedInteraction {
                    id,
                    verifier: SecretHash::from_bytes(bytes(&row.verifier_hash)?),
                    challenge: row.challenge,
                    decision: serde_json::from_str(&row.decision).map_err(|error| corrupt(error.to_string()))?,
                    expires_at: Timestamp::from_unix(row.expires_at),
                    used_at: row.used_at.map(Timestamp::from_unix),
                })
            })
            .transpose()
        })
        .await
    }

    /// Uses an interaction up. `false` when that was done before, or it has expired, or the app decided again meanwhile.
    pub async fn use_interaction(
        &self,
        id: [u8; 16],
        verifier: SecretHash,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("use an interaction", async move {
            let mut transaction = writer.begin().await?;
            let used = use_up(&mut transaction, id, &verifier, now).await?;
            transaction.commit().await?;
            Ok(used)
        })
        .await
    }

    /// Uses an interaction up and signs in whom the app named, at once or not at all.
    pub async fn complete_sign_in(
        &self,
        id: [u8; 16],
        verifier: SecretHash,
        named: NamedUser,
        session: NewSession,
    ) -> Result<SignInCompletion, Unavailable> {
        let (writer, announcer) = (self.writer.clone(), self.announcer);
        self.run("sign a user of an app in", async move {
            let now = session.now;
            let mut transaction = writer.begin().await?;
            if !use_up(&mut transaction, id, &verifier, now).await? {
                return Ok(SignInCompletion::Used);
            }
            if !write_subject(&mut transaction, &named, now).await? {
                return Ok(SignInCompletion::NotAdmitted);
            }
            let Some(expires_at) = write_session(&mut transaction, announcer, session).await? else {
                return Ok(SignInCompletion::NotAdmitted);
            };
            transaction.commit().await?;
            Ok(SignInCompletion::Done(expires_at))
        })
        .await
    }
}

async fn use_up(
    transaction: &mut Transaction,
    id: [u8; 16],
    verifier: &SecretHash,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let used = on_engine!(transaction, on => sqlx::query(
        "UPDATE interactions SET used_at = $3 WHERE id = $1 AND verifier_hash = $2 AND used_at IS NULL AND expires_at > $3",
    )
    .bind(id.to_vec())
    .bind(verifier.as_bytes().to_vec())
    .bind(now.as_unix())
    .execute(&mut **on).await?.rows_affected());
    Ok(used == 1)
}
