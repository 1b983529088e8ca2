//! Clients. Disabling and deleting one revokes its grants, so both are in `revocations`.

use super::Store;
use super::engine::on_engine;
use super::rows::{ClientRow, join_lines};
use crate::domain::client::{Client, ClientId, ClientMetadata, ClientType, Introspects, Registrar};
use crate::domain::error::Unavailable;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;

/// Since when a client is refused everything: because it is disabled, or because the account of the user who made it is.
macro_rules! disabled_at {
    () => {
        "COALESCE(disabled_at, (SELECT subjects.disabled_at FROM subjects WHERE subjects.id = owner_subject))"
    };
}
pub(super) use disabled_at;

/// The columns of a [`ClientRow`].
macro_rules! client_columns {
    () => {
        concat!(
            "id, name, secret_hash, previous_secret_hash, previous_secret_until, redirect_uris, scopes, introspects, metadata, created_at, ",
            $crate::store::clients::disabled_at!(),
            " AS disabled_at, registration_hash, unused_until, document_read_at, document_fresh_until, owner_subject, verified_at, last_used_at"
        )
    };
}
pub(super) use client_columns;

/// What to change about a client; `None` leaves it.
#[derive(Default)]
pub struct ClientChanges {
    pub name: Option<String>,
    pub redirect_uris: Option<Vec<RedirectUri>>,
    pub scopes: Option<ScopeSet>,
    pub introspects: Option<Introspects>,
    pub metadata: Option<ClientMetadata>,
}

impl Store {
    pub async fn insert_client(&self, client: Client) -> Result<(), Unavailable> {
        self.insert(client, i64::MAX).await.map(drop)
    }

    /// Inserts a client that registers itself. `false` when `most` have done so already, those counted that are deleted and not gone
    /// yet. Several that come at the same moment may each be the last.
    pub async fn insert_registered_client(&self, client: Client, most: u32) -> Result<bool, Unavailable> {
        self.insert(client, most.into()).await
    }

    async fn insert(&self, client: Client, most: i64) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a client", async move {
            let (registration_hash, unused_until) = match client.registrar {
                Registrar::Operator | Registrar::User { .. } | Registrar::Document { .. } => (None, None),
                Registrar::Itself { access_token, unused_until } => {
                    (Some(access_token.as_bytes().to_vec()), unused_until.map(Timestamp::as_unix))
                }
            };
            let inserted = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO clients (id, name, secret_hash, redirect_uris, scopes, introspects, metadata, created_at, revoked_seq, \
                 registration_hash, unused_until) \
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10 \
                 WHERE (SELECT COUNT(*) FROM clients WHERE registration_hash IS NOT NULL) < $11",
            )
            .bind(client.id.to_string())
            .bind(client.name)
            .bind(match client.client_type {
                ClientType::Public | ClientType::Signing | ClientType::Certified => None,
                ClientType::Confidential { secret, .. } => Some(secret.as_bytes().to_vec()),
            })
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(introspects(client.introspects))
            .bind(json(&client.metadata)?)
            .bind(client.created_at.as_unix())
            .bind(registration_hash)
            .bind(unused_until)
            .bind(most)
            .execute(on).await?.rows_affected());
            Ok(inserted == 1)
        })
        .await
    }

    /// Keeps what the document of a client says. `false` when there are `most` such clients already and this would be another one, or
    /// when its id is that of a client of another kind, or of a deleted one.
    pub async fn put_document_client(&self, client: Client, most: u32) -> Result<bool, Unavailable> {
        let Registrar::Document { read_at, fresh_until } = client.registrar else { return Ok(false) };
        let writer = self.writer.clone();
        self.run("keep the document of a client", async move {
            let kept = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO clients (id, name, redirect_uris, scopes, introspects, metadata, created_at, revoked_seq, \
                 document_read_at, document_fresh_until) \
                 SELECT $1, $2, $3, $4, 'own', $5, $6, 0, $7, $8 \
                 WHERE (SELECT COUNT(*) FROM clients WHERE document_read_at IS NOT NULL) < $9 \
                 OR EXISTS (SELECT 1 FROM clients WHERE id = $10) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, redirect_uris = excluded.redirect_uris, \
                 scopes = excluded.scopes, metadata = excluded.metadata, document_read_at = excluded.document_read_at, \
                 document_fresh_until = excluded.document_fresh_until \
                 WHERE clients.document_read_at IS NOT NULL AND clients.deleted_at IS NULL",
            )
            .bind(client.id.to_string())
            .bind(client.name)
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(json(&client.metadata)?)
            .bind(client.created_at.as_unix())
            .bind(read_at.as_unix())
            .bind(fresh_until.as_unix())
            .bind(i64::from(most))
            .bind(client.id.to_string())
            .execute(on).await?.rows_affected());
            Ok(kept == 1)
        })
        .await
    }

    /// A client, also a disabled one. Deleted ones are gone.
    pub async fn client(&self, id: ClientId) -> Result<Option<Client>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a client", async move {
            let row: Option<ClientRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                " FROM clients WHERE id = $1 AND deleted_at IS NULL"
            ))
            .bind(id.to_string())
            .fetch_optional(on).await?);
            row.map(Client::try_from).transpose()
        })
        .await
    }

    /// `false` when there is no such client.
    pub async fn update_client(&self, id: ClientId, changes: ClientChanges) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("update a client", async move {
            let updated = on_engine!(&writer, on => sqlx::query(
                "UPDATE clients SET name = COALESCE($2, name), redirect_uris = COALESCE($3, redirect_uris), \
                 scopes = COALESCE($4, scopes), metadata = COALESCE($5, metadata), introspects = COALESCE($6, introspects) \
                 WHERE id = $1 AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(changes.name)
            .bind(changes.redirect_uris.map(|uris| join_lines(uris.iter().map(RedirectUri::as_str))))
            .bind(changes.scopes.map(|scopes| scopes.to_string()))
            .bind(changes.metadata.as_ref().map(json).transpose()?)
            .bind(changes.introspects.map(introspects))
            .execute(on).await?.rows_affected());
            Ok(updated == 1)
        })
        .await
    }

    /// Gives a client another secret. The one that it had stays good until `previous_until`, or ends at once; one before it ends
    /// anyhow. `false` when there is no such client, or it has no secret.
    pub async fn rotate_secret(
        &self,
        id: ClientId,
        secret: SecretHash,
        previous_until: Option<Timestamp>,
    ) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("rotate a client's secret", async move {
            let updated = on_engine!(&writer, on => sqlx::query(
                "UPDATE clients SET secret_hash = $2, previous_secret_until = $3, \
                 previous_secret_hash = CASE WHEN $3 IS NULL THEN NULL ELSE secret_hash END \
                 WHERE id = $1 AND secret_hash IS NOT NULL AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(secret.as_bytes().to_vec())
            .bind(previous_until.map(Timestamp::as_unix))
            .execute(on).await?.rows_affected());
            Ok(updated == 1)
        })
        .await
    }

    /// Keeps that a client got tokens, so it is not deleted as unused.
    pub async fn note_client_use(&self, id: ClientId, now: Timestamp) -> Result<(), Unavailable> {
        let writer = self.writer.clone();
        self.run("note the use of a client", async move {
            on_engine!(&writer, on => sqlx::query("UPDATE clients SET last_used_at = $2, unused_until = NULL WHERE id = $1")
                .bind(id.to_string())
                .bind(now.as_unix())
                .execute(on).await.map(drop))
        })
        .await
    }

    /// Lets a disabled client work again; its old grants stay revoked. `false` when it is not disabled.
    pub async fn enable_client(&self, id: ClientId) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("enable a client", async move {
            let enabled =
                on_engine!(&writer, on => sqlx::query("UPDATE clients SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL AND deleted_at IS NULL")
                    .bind(id.to_string())
                    .execute(on).await?.rows_affected());
            Ok(enabled == 1)
        })
        .await
    }
}

pub(super) const fn introspects(which: Introspects) -> &'static str {
    match which {
        Introspects::Own => "own",
        Introspects::Any => "any",
    }
}

pub(super) fn json(metadata: &ClientMetadata) -> Result<String, sqlx::Error> {
    serde_json::to_string(metadata).map_err(|error| sqlx::Error::Encode(error.into()))
}
