//! Clients. Disabling and deleting one revokes its grants, so both are in `revocations`.

use super::Store;
use super::engine::on_engine;
use super::rows::{ClientRow, join_lines};
use crate::domain::client::{Client, ClientId, ClientMetadata, ClientType, Introspects};
use crate::domain::error::Unavailable;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::SecretHash;

/// The columns of a [`ClientRow`].
macro_rules! client_columns {
    () => {
        "id, name, secret_hash, redirect_uris, scopes, introspects, metadata, created_at, disabled_at"
    };
}

/// What to change about a client; `None` leaves it.
#[derive(Default)]
pub struct ClientChanges {
    pub name: Option<String>,
    pub redirect_uris: Option<Vec<RedirectUri>>,
    pub scopes: Option<ScopeSet>,
    pub metadata: Option<ClientMetadata>,
    /// A new secret; the old one ends at once.
    pub secret: Option<SecretHash>,
}

impl Store {
    pub async fn insert_client(&self, client: Client) -> Result<(), Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a client", async move {
            on_engine!(&writer, on => sqlx::query(
                "INSERT INTO clients (id, name, secret_hash, redirect_uris, scopes, introspects, metadata, created_at, revoked_seq) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
            )
            .bind(client.id.to_string())
            .bind(client.name)
            .bind(match client.client_type {
                ClientType::Public => None,
                ClientType::Confidential { secret } => Some(secret.as_bytes().to_vec()),
            })
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(match client.introspects {
                Introspects::Own => "own",
                Introspects::Any => "any",
            })
            .bind(json(&client.metadata)?)
            .bind(client.created_at.as_unix())
            .execute(on).await.map(drop))
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

    pub async fn list_clients(&self) -> Result<Vec<Client>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list clients", async move {
            let rows: Vec<ClientRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                " FROM clients WHERE deleted_at IS NULL ORDER BY created_at, id"
            ))
            .fetch_all(on).await?);
            rows.into_iter().map(Client::try_from).collect()
        })
        .await
    }

    /// `false` when there is no such client.
    pub async fn update_client(&self, id: ClientId, changes: ClientChanges) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("update a client", async move {
            let updated = on_engine!(&writer, on => sqlx::query(
                "UPDATE clients SET name = COALESCE($2, name), redirect_uris = COALESCE($3, redirect_uris), \
                 scopes = COALESCE($4, scopes), secret_hash = COALESCE($5, secret_hash), metadata = COALESCE($6, metadata) WHERE id = $1 AND deleted_at IS NULL",
            )
            .bind(id.to_string())
            .bind(changes.name)
            .bind(changes.redirect_uris.map(|uris| join_lines(uris.iter().map(RedirectUri::as_str))))
            .bind(changes.scopes.map(|scopes| scopes.to_string()))
            .bind(changes.secret.map(|hash| hash.as_bytes().to_vec()))
            .bind(changes.metadata.as_ref().map(json).transpose()?)
            .execute(on).await?.rows_affected());
            Ok(updated == 1)
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

fn json(metadata: &ClientMetadata) -> Result<String, sqlx::Error> {
    serde_json::to_string(metadata).map_err(|error| sqlx::Error::Encode(error.into()))
}
