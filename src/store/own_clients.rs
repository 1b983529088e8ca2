//! The clients that users made. Whose one is, every statement says itself.

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

/// A client that a user makes.
pub struct NewOwnClient {
    pub client: Client,
    pub owner: SubjectId,
    /// How many the user may have.
    pub most: u32,
    pub description: Option<String>,
    /// Where it says that it is at home, where that is not its `client_uri`.
    pub website: Option<String>,
}

/// What a user makes of a client.
pub struct OwnClientChange {
    pub client: Client,
    pub owner: SubjectId,
    pub website: Option<String>,
    pub secret: ClientSecretChange,
    pub now: Timestamp,
}

/// What becomes of the secret of a client.
pub enum ClientSecretChange {
    Keep,
    /// The ones that it had end at once. `None`: it has none any more.
    To(Option<SecretHash>),
}

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
    /// Inserts a client of a user, and gives it a number. `false` when the id is taken, or when the user has `most` already, those counted
    /// that are deleted and not gone yet. Several that come at the same moment may each be the last.
    pub async fn insert_own_client(&self, new: NewOwnClient) -> Result<bool, Unavailable> {
        let NewOwnClient { client, owner, most, description, website } = new;
        let writer = self.writer.clone();
        self.run("insert a client of a user", async move {
            let mut transaction = writer.begin().await?;
            let inserted = on_engine!(&mut transaction, on => sqlx::query(
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
            .execute(&mut **on).await?.rows_affected());
            if inserted != 1 {
                return Ok(false);
            }
            on_engine!(&mut transaction, on => sqlx::query(
                "INSERT INTO apps (client_id, description, website, updated_at) VALUES ($1, $2, $3, $4)",
            )
            .bind(client.id.to_string())
            .bind(description)
            .bind(website)
            .bind(client.created_at.as_unix())
            .execute(&mut **on).await?.rows_affected());
            transaction.commit().await?;
            Ok(true)
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

    /// Changes name, site, redirect URIs and scopes of a client of this user, and its secret if that is said. Nobody vouches for what it
    /// says now. `false` when there is no such client.
    pub async fn change_own_client(&self, change: OwnClientChange) -> Result<bool, Unavailable> {
        let OwnClientChange { client, owner, website, secret, now } = change;
        let writer = self.writer.clone();
        self.run("change a client of a user", async move {
            let (sets_secret, secret) = match secret {
                ClientSecretChange::Keep => (0_i64, None),
                ClientSecretChange::To(secret) => (1, secret.map(|secret| secret.as_bytes().to_vec())),
            };
            let mut transaction = writer.begin().await?;
            let changed = on_engine!(&mut transaction, on => sqlx::query(
                "UPDATE clients SET name = $3, redirect_uris = $4, scopes = $5, metadata = $6, verified_at = NULL, \
                 secret_hash = CASE WHEN $7 = 1 THEN $8 ELSE secret_hash END, \
                 previous_secret_hash = CASE WHEN $7 = 1 THEN NULL ELSE previous_secret_hash END, \
                 previous_secret_until = CASE WHEN $7 = 1 THEN NULL ELSE previous_secret_until END \
                 WHERE id = $1 AND owner_subject = $2 AND deleted_at IS NULL",
            )
            .bind(client.id.to_string())
            .bind(owner.as_str().to_owned())
            .bind(client.name)
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(json(&client.metadata)?)
            .bind(sets_secret)
            .bind(secret)
            .execute(&mut **on).await?.rows_affected());
            if changed != 1 {
                return Ok(false);
            }
            on_engine!(&mut transaction, on => sqlx::query(
                "UPDATE apps SET website = $2, updated_at = $3 WHERE client_id = $1",
            )
            .bind(client.id.to_string())
            .bind(website)
            .bind(now.as_unix())
            .execute(&mut **on).await?.rows_affected());
            transaction.commit().await?;
            Ok(true)
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
