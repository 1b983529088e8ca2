//! The grants of machines: clients that act for themselves (RFC 6749 §4.4). Each is found by a name, which one grant has at a time.

use super::Store;
use super::engine::on_engine;
use super::grants::{grant_columns, parties_alive, select_grants};
use super::rows::GrantRow;
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::grant::{Grant, SubjectId, Variant};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;

/// A client has at most so many at a time.
const MAX_MACHINE_GRANTS: i64 = 256;

/// A grant to be. It is active at once.
pub struct NewMachineGrant {
    pub id: GrantId,
    pub client: ClientId,
    /// Made with it where it is missing.
    pub subject: SubjectId,
    pub variant: Variant,
    pub name: String,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

impl Store {
    /// The grant that has this name. One whose client or subject was revoked since reads as revoked.
    pub async fn machine_grant(&self, name: String) -> Result<Option<Grant>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the grant of a machine", async move {
            let row: Option<GrantRow> =
                on_engine!(&reader, on => sqlx::query_as(concat!(select_grants!(), " WHERE g.machine = $1"))
                    .bind(name)
                    .fetch_optional(on).await?);
            row.map(Grant::try_from).transpose()
        })
        .await
    }

    /// Makes a grant. `false` when another one has the name, the client is disabled or it has too many.
    pub async fn insert_machine_grant(&self, grant: NewMachineGrant) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert the grant of a machine", async move {
            let mut transaction = writer.begin().await?;
            let inserted = on_engine!(&mut transaction, on => {
                sqlx::query("INSERT INTO subjects (id, name, created_at, revoked_seq) VALUES ($1, '', $2, 0) ON CONFLICT (id) DO NOTHING")
                    .bind(grant.subject.as_str().to_owned())
                    .bind(grant.now.as_unix())
                    .execute(&mut **on).await?.rows_affected();
                sqlx::query(
                    "INSERT INTO grants (id, client_id, subject_id, variants, state, generation, created_at, created_seq, \
                     redirect_uri, code_challenge, failed_redemptions, refresh_serial, refresh_variant, rotated_at, expires_at, machine) \
                     SELECT $1, c.id, s.id, $4, 'active', 0, $5, h.head, '', '', 0, 0, 0, $5, $6, $7 \
                     FROM revocation_head h, clients c, subjects s \
                     WHERE c.id = $2 AND c.disabled_at IS NULL AND c.deleted_at IS NULL AND s.id = $3 AND s.disabled_at IS NULL \
                     AND (SELECT COUNT(*) FROM grants WHERE client_id = $2 AND machine IS NOT NULL) < $8 \
                     ON CONFLICT DO NOTHING",
                )
                .bind(grant.id.as_bytes().to_vec())
                .bind(grant.client.to_string())
                .bind(grant.subject.as_str().to_owned())
                .bind(grant.variant.to_string())
                .bind(grant.now.as_unix())
                .bind(grant.expires_at.as_unix())
                .bind(grant.name)
                .bind(MAX_MACHINE_GRANTS)
                .execute(&mut **on).await?.rows_affected()
            });
            transaction.commit().await?;
            Ok(inserted == 1)
        })
        .await
    }

    /// Takes its name from a grant; its tokens stay what they are.
    pub async fn release_machine_grant(&self, grant: GrantId, name: String) -> Result<(), Unavailable> {
        let writer = self.writer.clone();
        self.run("release the grant of a machine", async move {
            on_engine!(&writer, on => sqlx::query("UPDATE grants SET machine = NULL WHERE id = $1 AND machine = $2")
                .bind(grant.as_bytes().to_vec())
                .bind(name)
                .execute(on).await.map(drop))
        })
        .await
    }
}
