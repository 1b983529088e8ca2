//! The clients that users made on our pages. Whose one is, every statement says itself.

use super::Store;
use super::clients::{client_columns, json};
use super::engine::on_engine;
use super::rows::{ClientRow, join_lines};
use crate::domain::client::{Client, ClientId, ClientType};
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;

/// Another secret for a client of a user.
pub struct SecretRotation {
    pub owner: SubjectId,
    pub id: ClientId,
    /// The one that it replaces.
    pub present: SecretHash,
    pub secret: SecretHash,
    pub previous_until: Option<Timestamp>,
}

impl Store {
    /// Inserts a client of a user. `false` when the id is taken, or when the user has `most` already, those counted that are deleted and
    /// not gone yet. Several that come at the same moment may each be the last.
    pub async fn insert_own_client(&self, client: Client, owner: SubjectId, most: u32) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a client of a user", async move {
            let inserted = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO clients (id, name, secret_hash, redirect_uris, scopes, introspects, metadata, created_at, revoked_seq, \
                 owner_subject) \
                 SELECT $1, $2, $3, $4, $5, 'own', $6, $7, 0, s.id FROM subjects s \
                 WHERE s.id = $8 AND s.disabled_at IS NULL AND (SELECT COUNT(*) FROM clients WHERE owner_subject = $8) < $9 \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(client.id.to_string())
            .bind(client.name)
            .bind(match client.client_type {
                ClientType::Public | ClientType::Signing | ClientType::Certified => None,
                ClientType::Confidential { secret, .. } => Some(secret.as_bytes().to_vec()),
            })
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(json(&client.metadata)?)
            .bind(client.created_at.as_unix())
            .bind(owner.as_str().to_owned())
            .bind(i64::from(most))
            .execute(on).await?.rows_affected());
            Ok(inserted == 1)
        })
        .await
    }

    /// The clients of a user, the oldest first.
    pub async fn own_clients(&self, owner: SubjectId) -> Result<Vec<Client>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list the clients of a user", async move {
            let rows: Vec<ClientRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                " FROM clients WHERE owner_subject = $1 AND deleted_at IS NULL ORDER BY created_at, id"
            ))
            .bind(owner.as_str().to_owned())
            .fetch_all(on).await?);
            rows.into_iter().map(Client::try_from).collect()
        })
        .await
    }

    /// Changes name, site, redirect URIs and scopes of a client of this user. Nobody vouches for what it says now. `false` when there is
    /// no such client.
    pub async fn change_own_client(&self, owner: SubjectId, client: Client) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("change a client of a user", async move {
            let changed = on_engine!(&writer, on => sqlx::query(
                "UPDATE clients SET name = $3, redirect_uris = $4, scopes = $5, metadata = $6, verified_at = NULL \
                 WHERE id = $1 AND owner_subject = $2 AND deleted_at IS NULL",
            )
            .bind(client.id.to_string())
            .bind(owner.as_str().to_owned())
            .bind(client.name)
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(json(&client.metadata)?)
            .execute(on).await?.rows_affected());
            Ok(changed == 1)
        })
        .await
    }

    /// Replaces the secret of a client of this user, if `present` is still the one that it has. The one that it had stays good until
    /// `previous_until`, or ends at once.
    pub async fn rotate_own_secret(&self, rotation: SecretRotation) -> Result<bool, Unavailable> {
        let SecretRotation { owner, id, present, secret, previous_until } = rotation;
        let writer = self.writer.clone();
        self.run("rotate the secret of a client of a user", async move {
            let rotated = on_engine!(&writer, on => sqlx::query(
                "UPDATE clients SET secret_hash = $4, previous_secret_until = $5, \
                 previous_secret_hash = CASE WHEN $5 IS NULL THEN NULL ELSE secret_hash END \
                 WHERE id = $1 AND owner_subject = $2 AND secret_hash = $3 AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(owner.as_str().to_owned())
            .bind(present.as_bytes().to_vec())
            .bind(secret.as_bytes().to_vec())
            .bind(previous_until.map(Timestamp::as_unix))
            .execute(on).await?.rows_affected());
            Ok(rotated == 1)
        })
        .await
    }
}
