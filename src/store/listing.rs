//! Clients, grants and accounts in pages, and a client that is read and changed in one go: for those who administer.
//!
//! A page is what comes after a key in the order of the list, so that nothing is left out or told twice when rows come and go in between.

use sqlx::FromRow;

use super::accounts::AccountRow;
use super::clients::{ClientChanges, client_columns, json};
use super::engine::on_engine;
use super::grants::{grant_columns, parties_alive, select_grants};
use super::rows::{ClientRow, GrantRow, join_lines, lines};
use super::{Account, Store};
use crate::domain::client::{Client, ClientId};
use crate::domain::error::Unavailable;
use crate::domain::grant::Grant;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;

/// A client with all that is registered of it.
#[derive(Clone, Debug)]
pub struct RegisteredClient {
    pub client: Client,
    pub post_logout_redirect_uris: Vec<RedirectUri>,
}

/// Who made a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    Operator,
    Itself,
    Document,
    User,
}

/// Which clients.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// Empty: any.
    pub name_prefix: String,
    pub kind: Option<ClientKind>,
    pub disabled: Option<bool>,
}

/// Which grants.
#[derive(Clone, Debug, Default)]
pub struct GrantFilter {
    /// Name or `sub`. Empty: of any user.
    pub user: String,
    /// Empty: of any client.
    pub client: String,
    /// Only those that have not ended then.
    pub active_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct RegisteredRow {
    #[sqlx(flatten)]
    client: ClientRow,
    post_logout_redirect_uris: String,
}

impl TryFrom<RegisteredRow> for RegisteredClient {
    type Error = sqlx::Error;

    fn try_from(row: RegisteredRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            client: row.client.try_into()?,
            post_logout_redirect_uris: match row.post_logout_redirect_uris.as_str() {
                "" => Vec::new(),
                text => lines(text)?,
            },
        })
    }
}

impl ClientKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Itself => "itself",
            Self::Document => "document",
            Self::User => "user",
        }
    }
}

impl Store {
    pub async fn registered_client(&self, id: ClientId) -> Result<Option<RegisteredClient>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a client", async move {
            let row: Option<RegisteredRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                ", post_logout_redirect_uris FROM clients WHERE id = $1 AND deleted_at IS NULL"
            ))
            .bind(id.to_string())
            .fetch_optional(on).await?);
            row.map(RegisteredClient::try_from).transpose()
        })
        .await
    }

    /// Clients in the order in which they were made, after one of them.
    pub async fn page_of_clients(
        &self,
        filter: ClientFilter,
        after: Option<(Timestamp, ClientId)>,
        limit: u32,
    ) -> Result<Vec<RegisteredClient>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list clients", async move {
            let (created_at, id) = match after {
                Some((created_at, id)) => (created_at.as_unix(), id.to_string()),
                None => (i64::MIN, String::new()),
            };
            let rows: Vec<RegisteredRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                ", post_logout_redirect_uris FROM clients WHERE deleted_at IS NULL \
                 AND ($1 = '' OR substr(name, 1, length($1)) = $1) \
                 AND ($2 = '' OR $2 = CASE WHEN registration_hash IS NOT NULL THEN 'itself' \
                   WHEN document_read_at IS NOT NULL THEN 'document' \
                   WHEN owner_subject IS NOT NULL THEN 'user' ELSE 'operator' END) \
                 AND ($3 = '' OR $3 = CASE WHEN disabled_at IS NULL THEN 'enabled' ELSE 'disabled' END) \
                 AND (created_at > $4 OR (created_at = $4 AND id > $5)) ORDER BY created_at, id LIMIT $6"
            ))
            .bind(filter.name_prefix)
            .bind(filter.kind.map(ClientKind::as_str).unwrap_or_default())
            .bind(match filter.disabled {
                None => "",
                Some(true) => "disabled",
                Some(false) => "enabled",
            })
            .bind(created_at)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(on).await?);
            rows.into_iter().map(RegisteredClient::try_from).collect()
        })
        .await
    }

    /// Grants, the newest first, after one of them.
    pub async fn page_of_grants(
        &self,
        filter: GrantFilter,
        after: Option<(Timestamp, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list grants", async move {
            let (created_at, id) = match after {
                Some((created_at, id)) => (created_at.as_unix(), id.as_bytes().to_vec()),
                None => (i64::MAX, Vec::new()),
            };
            let rows: Vec<GrantRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                select_grants!(),
                " WHERE ($1 = '' OR g.subject_id = $1 OR s.name = $1) AND ($2 = '' OR g.client_id = $2) \
                 AND ($3 = 0 OR (g.state = 'active' AND g.expires_at > $3 AND ",
                parties_alive!(),
                ")) AND (g.created_at < $4 OR (g.created_at = $4 AND g.id > $5)) ORDER BY g.created_at DESC, g.id LIMIT $6",
            ))
            .bind(filter.user)
            .bind(filter.client)
            .bind(filter.active_at.map_or(0, Timestamp::as_unix))
            .bind(created_at)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(on).await?);
            rows.into_iter().map(Grant::try_from).collect()
        })
        .await
    }

    /// Accounts in the order of their names, after one of them.
    pub async fn page_of_accounts(&self, after: String, limit: u32) -> Result<Vec<Account>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list accounts", async move {
            let rows: Vec<AccountRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT a.username, a.subject_id, a.password_hash, s.created_at, s.disabled_at \
                 FROM accounts a JOIN subjects s ON s.id = a.subject_id WHERE a.username > $1 ORDER BY a.username LIMIT $2",
            )
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(on).await?);
            Ok(rows.into_iter().map(Account::from).collect())
        })
        .await
    }

    /// Changes a client by what it is, with nobody in between. `None` when there is no such client; where `change` refuses, nothing has
    /// changed.
    pub async fn change_client<E: Send + 'static>(
        &self,
        id: ClientId,
        change: impl FnOnce(RegisteredClient) -> Result<(ClientChanges, Option<Vec<RedirectUri>>), E> + Send + 'static,
    ) -> Result<Option<Result<(), E>>, Unavailable> {
        let writer = self.writer.clone();
        self.run("change a client", async move {
            let mut transaction = writer.begin().await?;
            let row: Option<RegisteredRow> = on_engine!(&mut transaction, on => {
                // Locks the row.
                sqlx::query("UPDATE clients SET revoked_seq = revoked_seq WHERE id = $1 AND deleted_at IS NULL")
                    .bind(id.to_string())
                    .execute(&mut **on).await?.rows_affected();
                sqlx::query_as(concat!(
                    "SELECT ",
                    client_columns!(),
                    ", post_logout_redirect_uris FROM clients WHERE id = $1 AND deleted_at IS NULL"
                ))
                .bind(id.to_string())
                .fetch_optional(&mut **on).await?
            });
            let Some(row) = row else { return Ok(None) };
            let (changes, post_logout) = match change(row.try_into()?) {
                Ok(changes) => changes,
                Err(refused) => return Ok(Some(Err(refused))),
            };
            on_engine!(&mut transaction, on => sqlx::query(
                "UPDATE clients SET name = COALESCE($2, name), redirect_uris = COALESCE($3, redirect_uris), \
                 scopes = COALESCE($4, scopes), metadata = COALESCE($5, metadata), \
                 post_logout_redirect_uris = COALESCE($6, post_logout_redirect_uris) WHERE id = $1",
            )
            .bind(id.to_string())
            .bind(changes.name)
            .bind(changes.redirect_uris.map(|uris| join_lines(uris.iter().map(RedirectUri::as_str))))
            .bind(changes.scopes.map(|scopes| scopes.to_string()))
            .bind(changes.metadata.as_ref().map(json).transpose()?)
            .bind(post_logout.map(|uris| join_lines(uris.iter().map(RedirectUri::as_str))))
            .execute(&mut **on).await.map(drop))?;
            transaction.commit().await?;
            Ok(Some(Ok(())))
        })
        .await
    }
}
