//! Grants: making, redeeming, refreshing and reading them. Revoking is in `revocations`.

use serde_json::json;

use super::Store;
use super::app_users::{NamedUser, write_subject};
use super::consents::{Basis, consent_stands, remember};
use super::engine::on_engine;
use super::rows::{FactsRow, GrantRow, join_lines};
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::grant::{Grant, GrantFacts, SessionId, SubjectId, Variant};
use crate::domain::openid::Authentication;
use crate::domain::pkce::CodeChallenge;
use crate::domain::redirect_rules::RedirectProof;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;
use crate::domain::variant_list::VariantList;

/// So many wrong proofs end a pending grant: a code is not there to be guessed at.
const MAX_FAILED_REDEMPTIONS: i64 = 5;

/// Neither the client nor the subject of grant `g` was revoked or disabled since it was created, nor the two together,
/// nor the browser session.
macro_rules! parties_alive {
    () => {
        "EXISTS (SELECT 1 FROM clients WHERE id = g.client_id AND revoked_seq <= g.created_seq AND disabled_at IS NULL) \
         AND EXISTS (SELECT 1 FROM subjects WHERE id = g.subject_id AND revoked_seq <= g.created_seq AND disabled_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM revoked_sets WHERE revoked_seq > g.created_seq \
           AND ((kind = 'subject_client' AND target = g.client_id || ' ' || g.subject_id) \
             OR (kind = 'session' AND target = g.session_id)))"
    };
}
pub(super) use parties_alive;

/// The columns of a [`GrantRow`] whose names are those of the grants table alone, so that they need no qualifier: SQLite
/// takes none in `RETURNING`.
macro_rules! grant_columns {
    () => {
        "client_id, subject_id, session_id, variants, generation, refresh_serial, refresh_variant, rotated_at, expires_at, \
         access_lifetime, idle_until, authentication"
    };
}
pub(super) use grant_columns;

/// Grants as they are now.
macro_rules! select_grants {
    () => {
        concat!(
            "SELECT ",
            grant_columns!(),
            ", g.id, g.created_at, s.name AS username, CASE WHEN ",
            parties_alive!(),
            " THEN g.state ELSE 'revoked' END AS state FROM grants g JOIN subjects s ON s.id = g.subject_id",
        )
    };
}
pub(super) use select_grants;

/// What an update of grant `g` returns.
macro_rules! returning_grant {
    () => {
        concat!(
            " RETURNING ",
            grant_columns!(),
            ", id, created_at, state, (SELECT name FROM subjects WHERE id = subject_id) AS username"
        )
    };
}

/// Replaces the refresh token of a grant by its successor, if it is still the current one.
macro_rules! rotate_grant {
    () => {
        concat!(
            "UPDATE grants AS g SET refresh_serial = refresh_serial + 1, rotated_at = $4, last_used_at = $4, refresh_variant = $5, \
             access_lifetime = $6, idle_until = $7, generation = $8 \
             WHERE id = $1 AND state = 'active' AND client_id = $2 AND refresh_serial = $3 AND expires_at > $4 AND generation <= $8 AND ",
            parties_alive!(),
        )
    };
}
pub(super) use rotate_grant;

/// A grant that a user has just made. Its code is not redeemed yet.
pub struct NewGrant {
    pub id: GrantId,
    pub client: ClientId,
    pub subject: SubjectId,
    /// Who it is, where the app says so: the subject is made with its first grant.
    pub named: Option<NamedUser>,
    /// The browser session in which the user approved.
    pub session: SessionId,
    pub variant: Variant,
    /// What the redemption of the code has to say; empty: nothing.
    pub redirect_uri: String,
    pub challenge: Option<CodeChallenge>,
    pub now: Timestamp,
    /// When its code will end, and with it the grant.
    pub expires_at: Timestamp,
    /// How the user signed in.
    pub authentication: Option<Authentication>,
    pub basis: Basis,
}

/// A code that is presented, with what it has to prove.
pub struct Redemption {
    pub grant: GrantId,
    pub client: ClientId,
    pub redirect_uri: RedirectProof,
    /// None where there is nothing to prove: for a device, whose code is enough, or for a code that was issued without a challenge.
    pub challenge: Option<CodeChallenge>,
    /// What the first access token stands for, and the list that it is an index into.
    pub variant: u8,
    pub variants: Vec<Variant>,
    pub now: Timestamp,
    pub times: Times,
}

/// A use of the refresh token `serial`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refresh {
    pub grant: GrantId,
    pub client: ClientId,
    pub serial: u32,
    /// That of the grant, or the next one, to end its access tokens.
    pub generation: u32,
    /// What the new access token stands for.
    pub variant: u8,
    pub now: Timestamp,
    pub times: Times,
}

/// What the policy of the client makes of a redemption or a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    /// When the grant will end; a refresh does not change it.
    pub expires_at: Timestamp,
    /// When the refresh token will end if it is not used.
    pub idle_until: Timestamp,
    /// The lifetime of the access token, in seconds; 0: it does not expire.
    pub access_lifetime: u32,
}

impl Store {
    /// Makes a pending grant. `false` when the id is taken, when the client or the subject is gone by now, or when what it rests on is.
    pub async fn insert_grant(&self, grant: NewGrant) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a grant", async move {
            let (id, basis) = (grant.id, &grant.basis);
            let resting_on = if let Basis::Allowed(consent) = basis { consent.text.clone() } else { String::new() };
            let query = concat!(
                "INSERT INTO grants (id, client_id, subject_id, variants, state, generation, created_at, created_seq, \
                 redirect_uri, code_challenge, failed_redemptions, refresh_serial, refresh_variant, session_id, expires_at, authentication) \
                 SELECT $1, c.id, s.id, $4, 'pending', 0, $5, h.head, $6, $7, 0, 0, 0, $8, $9, $10 \
                 FROM revocation_head h, clients c, subjects s \
                 WHERE c.id = $2 AND c.disabled_at IS NULL AND c.deleted_at IS NULL AND s.id = $3 AND s.disabled_at IS NULL \
                 AND ($11 = '' OR EXISTS (SELECT 1 FROM consents k WHERE k.pair = c.id || ' ' || s.id AND k.allowed = $11 AND ",
                consent_stands!(),
                ")) ON CONFLICT (id) DO NOTHING",
            );
            let mut transaction = writer.begin().await?;
            if let Some(named) = &grant.named
                && !write_subject(&mut transaction, named, grant.now).await?
            {
                return Ok(false);
            }
            let inserted = on_engine!(&mut transaction, on => sqlx::query(query)
                .bind(id.as_bytes().to_vec())
                .bind(grant.client.to_string())
                .bind(grant.subject.as_str().to_owned())
                .bind(grant.variant.to_string())
                .bind(grant.now.as_unix())
                .bind(grant.redirect_uri)
                .bind(grant.challenge.map(|challenge| challenge.as_str().to_owned()).unwrap_or_default())
                .bind(grant.session.to_string())
                .bind(grant.expires_at.as_unix())
                .bind(grant.authentication.map_or_else(String::new, |authentication| json!(authentication).to_string()))
                .bind(resting_on)
                .execute(&mut **on).await?.rows_affected());
            if inserted != 1 {
                return Ok(false);
            }
            if let Basis::Remembered { before, allowed } = basis {
                remember(&mut transaction, id, before, allowed).await?;
            }
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Makes a pending grant active, if this is its client and its proof. `None` otherwise: nothing has changed.
    pub async fn redeem(&self, redemption: Redemption) -> Result<Option<Grant>, Unavailable> {
        let writer = self.writer.clone();
        let (redirect_uri, others_pass) = match redemption.redirect_uri {
            RedirectProof::Exactly(uri) => (uri, 0_i64),
            RedirectProof::ExactlyOrNone(uri) => (uri, 1),
            RedirectProof::Anything => (String::new(), 2),
        };
        self.run("redeem a code", async move {
            let row: Option<GrantRow> = on_engine!(&writer, on => sqlx::query_as(concat!(
                "UPDATE grants AS g SET state = 'active', rotated_at = $5, last_used_at = $5, expires_at = $6, access_lifetime = $7, idle_until = $8, \
                 refresh_variant = $9, variants = $10 \
                 WHERE id = $1 AND state = 'pending' AND client_id = $2 AND code_challenge = $4 \
                 AND (redirect_uri = $3 OR (redirect_uri = '' AND $11 = 1) OR $11 = 2) AND ",
                parties_alive!(),
                returning_grant!(),
            ))
            .bind(redemption.grant.as_bytes().to_vec())
            .bind(redemption.client.to_string())
            .bind(redirect_uri)
            .bind(redemption.challenge.map(|challenge| challenge.as_str().to_owned()).unwrap_or_default())
            .bind(redemption.now.as_unix())
            .bind(redemption.times.expires_at.as_unix())
            .bind(i64::from(redemption.times.access_lifetime))
            .bind(redemption.times.idle_until.as_unix())
            .bind(i64::from(redemption.variant))
            .bind(join_lines(redemption.variants.iter().map(ToString::to_string)))
            .bind(others_pass)
            .fetch_all(on).await?).pop();
            row.map(Grant::try_from).transpose()
        })
        .await
    }

    /// Counts a wrong proof against a pending grant; too many of them end it. No token of it exists yet, so
    /// the revocation log need not know. Whether this is its challenge, so that something else was wrong.
    pub async fn count_failed_redemption(
        &self,
        grant: GrantId,
        proven: Option<CodeChallenge>,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("count a failed redemption", async move {
            let is_proven: Option<i64> = on_engine!(&writer, on => sqlx::query_scalar(
                "UPDATE grants SET failed_redemptions = failed_redemptions + 1, \
                 state = CASE WHEN failed_redemptions + 1 >= $2 THEN 'revoked' ELSE state END, \
                 revoked_at = CASE WHEN failed_redemptions + 1 >= $2 THEN $3 ELSE revoked_at END \
                 WHERE id = $1 AND state = 'pending' \
                 RETURNING CAST(CASE WHEN code_challenge = $4 THEN 1 ELSE 0 END AS BIGINT)",
            )
            .bind(grant.as_bytes().to_vec())
            .bind(MAX_FAILED_REDEMPTIONS)
            .bind(now.as_unix())
            .bind(proven.map(|challenge| challenge.as_str().to_owned()).unwrap_or_default())
            .fetch_all(on).await?)
            .pop();
            Ok(is_proven == Some(1))
        })
        .await
    }

    /// Replaces a refresh token by its successor, if it is still the current one. `None` otherwise: nothing has changed.
    pub async fn rotate(&self, refresh: Refresh) -> Result<Option<Grant>, Unavailable> {
        let writer = self.writer.clone();
        self.run("rotate a refresh token", async move {
            let row: Option<GrantRow> =
                on_engine!(&writer, on => sqlx::query_as(concat!(rotate_grant!(), returning_grant!()))
            .bind(refresh.grant.as_bytes().to_vec())
            .bind(refresh.client.to_string())
            .bind(i64::from(refresh.serial))
            .bind(refresh.now.as_unix())
            .bind(i64::from(refresh.variant))
            .bind(i64::from(refresh.times.access_lifetime))
            .bind(refresh.times.idle_until.as_unix())
            .bind(i64::from(refresh.generation))
            .fetch_all(on).await?)
                .pop();
            row.map(Grant::try_from).transpose()
        })
        .await
    }

    /// Puts off the end of a refresh token that stays. `None` when it is not the current one of an active grant.
    pub async fn keep(&self, refresh: Refresh) -> Result<Option<Grant>, Unavailable> {
        let writer = self.writer.clone();
        self.run("keep a refresh token", async move {
            let row: Option<GrantRow> = on_engine!(&writer, on => sqlx::query_as(concat!(
                "UPDATE grants AS g SET idle_until = $5, last_used_at = $4 \
                 WHERE id = $1 AND state = 'active' AND client_id = $2 AND refresh_serial = $3 AND expires_at > $4 AND ",
                parties_alive!(),
                returning_grant!(),
            ))
            .bind(refresh.grant.as_bytes().to_vec())
            .bind(refresh.client.to_string())
            .bind(i64::from(refresh.serial))
            .bind(refresh.now.as_unix())
            .bind(refresh.times.idle_until.as_unix())
            .fetch_all(on).await?).pop();
            row.map(Grant::try_from).transpose()
        })
        .await
    }

    /// Replaces a grant's list of variants, if it still is the one that was read.
    pub async fn replace_variants(
        &self,
        grant: GrantId,
        before: &VariantList,
        after: &VariantList,
    ) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        let (before, after) = (before.to_string(), after.to_string());
        self.run("add a variant to a grant", async move {
            let added = on_engine!(&writer, on => sqlx::query(
                "UPDATE grants SET variants = $3 WHERE id = $1 AND variants = $2 AND state = 'active'",
            )
            .bind(grant.as_bytes().to_vec())
            .bind(before)
            .bind(after)
            .execute(on).await?.rows_affected());
            Ok(added == 1)
        })
        .await
    }

    /// A grant as it is now, for what must not come from a cache. A grant whose client or subject was revoked
    /// since reads as revoked.
    pub async fn grant(&self, id: GrantId) -> Result<Option<Grant>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a grant", async move {
            let row: Option<GrantRow> = on_engine!(&reader, on => sqlx::query_as(concat!(select_grants!(), " WHERE g.id = $1"))
                .bind(id.as_bytes().to_vec())
                .fetch_optional(on).await?);
            row.map(Grant::try_from).transpose()
        })
        .await
    }

    /// What the caches keep about a grant. One statement is one snapshot: `as_of` belongs to what was read.
    pub async fn facts(&self, id: GrantId) -> Result<Option<GrantFacts>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the facts of a grant", async move {
            let row: Option<FactsRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT h.head AS as_of, g.client_id, g.subject_id, s.name AS username, g.session_id, g.authentication, g.variants, \
                 CAST(CASE WHEN g.state = 'active' AND ",
                parties_alive!(),
                " THEN 1 ELSE 0 END AS BIGINT) AS alive, g.generation, g.created_seq \
                 FROM revocation_head h, grants g JOIN subjects s ON s.id = g.subject_id WHERE g.id = $1",
            ))
            .bind(id.as_bytes().to_vec())
            .fetch_optional(on).await?);
            row.map(GrantFacts::try_from).transpose()
        })
        .await
    }
}
