//! What users allowed clients. Kept in the transaction that makes the grant, so that whatever ends that grant comes after.

use sqlx::FromRow;

use super::Store;
use super::engine::{Transaction, on_engine};
use super::rows::parse;
use crate::domain::client::ClientId;
use crate::domain::consent::Allowed;
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::token::GrantId;

/// Nothing was revoked that ends consent `k`. That a session ended does not.
macro_rules! consent_stands {
    () => {
        "EXISTS (SELECT 1 FROM clients WHERE id = k.client_id AND revoked_seq <= k.created_seq) \
         AND EXISTS (SELECT 1 FROM subjects WHERE id = k.subject_id AND revoked_seq <= k.created_seq) \
         AND NOT EXISTS (SELECT 1 FROM revoked_sets WHERE kind = 'subject_client' AND target = k.pair AND revoked_seq > k.created_seq)"
    };
}
pub(super) use consent_stands;

/// What is known of a user and a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    pub allowed: Allowed,
    /// What was read, to be found again as it was; empty where there was nothing.
    pub text: String,
    /// Whether it counts still.
    pub stands: bool,
}

/// What a new grant rests on.
pub enum Basis {
    /// The user's decision, which is not remembered.
    Decision,
    /// The user's decision, which is remembered if nobody changed meanwhile what was read.
    Remembered { before: Consent, allowed: Allowed },
    /// What the user allowed before. It has to stand when the grant is made.
    Allowed(Consent),
    /// The word of the operator.
    Operator,
}

#[derive(FromRow)]
struct ConsentRow {
    allowed: String,
    stands: i64,
}

impl Store {
    pub async fn consent(&self, subject: SubjectId, client: ClientId) -> Result<Consent, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a consent", async move {
            let row: Option<ConsentRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT k.allowed, CAST(CASE WHEN ",
                consent_stands!(),
                " THEN 1 ELSE 0 END AS BIGINT) AS stands FROM consents k WHERE k.pair = $1",
            ))
            .bind(format!("{client} {}", subject.as_str()))
            .fetch_optional(on).await?);
            let Some(ConsentRow { allowed: text, stands }) = row else { return Ok(Consent::default()) };
            Ok(if stands == 1 {
                Consent { allowed: parse(&text)?, text, stands: true }
            } else {
                Consent { allowed: Allowed::default(), text, stands: false }
            })
        })
        .await
    }
}

/// Keeps what the user of a new grant allowed. What was added to stays as old as it was: a revocation that came since it was read ends
/// all of it.
pub(super) async fn remember(
    transaction: &mut Transaction,
    grant: GrantId,
    before: &Consent,
    allowed: &Allowed,
) -> Result<(), sqlx::Error> {
    on_engine!(transaction, on => sqlx::query(
        "INSERT INTO consents (pair, client_id, subject_id, allowed, created_seq, decided_at) \
         SELECT client_id || ' ' || subject_id, client_id, subject_id, $2, created_seq, created_at FROM grants WHERE id = $1 \
         ON CONFLICT (pair) DO UPDATE SET allowed = excluded.allowed, decided_at = excluded.decided_at, \
         created_seq = CASE WHEN $4 = 1 THEN consents.created_seq ELSE excluded.created_seq END \
         WHERE consents.allowed = $3",
    )
    .bind(grant.as_bytes().to_vec())
    .bind(allowed.to_string())
    .bind(before.text.clone())
    .bind(i64::from(before.stands))
    .execute(&mut **on)
    .await
    .map(drop))
}
