//! The clients that a user lets use the account, each with all that it was granted.

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::Store;
use super::clients::client_columns;
use super::engine::on_engine;
use super::grants::parties_alive;
use super::rows::{ClientRow, lines};
use crate::domain::client::{Client, ClientId};
use crate::domain::error::Unavailable;
use crate::domain::grant::{SubjectId, Variant};
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;

/// A client with active grants of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedApp {
    pub client: Client,
    /// All that any of the grants allows.
    pub scopes: ScopeSet,
    /// When the first of them was made.
    pub granted_at: Timestamp,
    /// When it last got tokens for one of them.
    pub last_used_at: Timestamp,
}

#[derive(FromRow)]
struct GrantedRow {
    client_id: String,
    variants: String,
    granted_at: i64,
    last_used_at: i64,
}

/// So many different sets of scopes are looked at. Grants of the same set are one row.
const MAX_ROWS: i64 = 1_000;

impl Store {
    /// The apps that a user lets use the account, the one that was used last first. Whatever [`Store::granted_variants`] finds is here.
    pub async fn connected_apps(&self, subject: SubjectId, now: Timestamp) -> Result<Vec<ConnectedApp>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list connected apps", async move {
            let granted: Vec<GrantedRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT g.client_id, g.variants, MIN(g.created_at) AS granted_at, \
                 MAX(COALESCE(g.last_used_at, g.rotated_at, g.created_at)) AS last_used_at FROM grants g \
                 WHERE g.subject_id = $1 AND g.state = 'active' AND g.expires_at > $2 AND ",
                parties_alive!(),
                " GROUP BY g.client_id, g.variants ORDER BY last_used_at DESC, g.client_id LIMIT $3",
            ))
            .bind(subject.as_str().to_owned())
            .bind(now.as_unix())
            .bind(MAX_ROWS)
            .fetch_all(on).await?);
            let clients: Vec<ClientRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                " FROM clients WHERE deleted_at IS NULL AND id IN \
                 (SELECT client_id FROM grants WHERE subject_id = $1 AND state = 'active' AND expires_at > $2)",
            ))
            .bind(subject.as_str().to_owned())
            .bind(now.as_unix())
            .fetch_all(on).await?);
            let clients: BTreeMap<String, Client> = clients
                .into_iter()
                .map(|row| Client::try_from(row).map(|client| (client.id.to_string(), client)))
                .collect::<Result<_, _>>()?;
            let mut apps: Vec<ConnectedApp> = Vec::new();
            for row in granted {
                // One that was deleted in between is gone.
                let Some(client) = clients.get(&row.client_id) else { continue };
                // The first of a grant's variants is all that was granted.
                let variant = lines::<Variant>(&row.variants)?.swap_remove(0);
                let (granted_at, last_used_at) =
                    (Timestamp::from_unix(row.granted_at), Timestamp::from_unix(row.last_used_at));
                match apps.iter_mut().find(|app| app.client.id == client.id) {
                    Some(app) => {
                        app.scopes = app.scopes.union(&variant.scopes);
                        app.granted_at = app.granted_at.min(granted_at);
                    }
                    None => apps.push(ConnectedApp {
                        client: client.clone(),
                        scopes: variant.scopes,
                        granted_at,
                        last_used_at,
                    }),
                }
            }
            Ok(apps)
        })
        .await
    }

    /// Whether the user has granted this client anything that has not ended by itself.
    pub async fn has_granted(&self, subject: SubjectId, client: ClientId) -> Result<bool, Unavailable> {
        let reader = self.reader.clone();
        self.run("look for a grant", async move {
            let count: i64 = on_engine!(&reader, on => {
                sqlx::query_scalar("SELECT COUNT(*) FROM grants WHERE subject_id = $1 AND client_id = $2")
                    .bind(subject.as_str().to_owned())
                    .bind(client.to_string())
                    .fetch_one(on)
                    .await?
            });
            Ok(count > 0)
        })
        .await
    }
}
