//! Clients, grants and accounts in pages, and a client that is read and changed in one go: for those who administer.
//!
//! A page is what comes after a key in the order of the list, so that nothing is left out or told twice when rows come and go in between.

use sha2::{Digest as _, Sha256};
use sqlx::FromRow;

use super::accounts::AccountRow;
use super::clients::{ClientChanges, client_columns, disabled_at, introspects, json};
use super::engine::{Transaction, on_engine};
use super::grants::{grant_columns, parties_alive, select_grants};
use super::rows::{ClientRow, GrantRow, join_lines, lines};
use super::{Account, Store};
use crate::domain::client::{Client, ClientId, ClientType, Introspects};
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

/// What tells what was read from anything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// What becomes of a client.
pub struct ClientRewrite {
    pub changes: ClientChanges,
    /// `None`: they stay.
    pub post_logout_redirect_uris: Option<Vec<RedirectUri>>,
    /// Since when an operator vouches for a client of a user. `None`: that stays.
    pub verified_at: Option<Option<Timestamp>>,
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

impl Fingerprint {
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl RegisteredClient {
    /// Of all that can be changed, which does not include that it is used.
    pub fn fingerprint(&self) -> Fingerprint {
        let Self { client, post_logout_redirect_uris } = self;
        let metadata = serde_json::to_string(&client.metadata).unwrap_or_default();
        let uris = |uris: &[RedirectUri]| join_lines(uris.iter().map(RedirectUri::as_str));
        let secret = match &client.client_type {
            ClientType::Confidential { secret, .. } => format!("{:?}", secret.as_bytes()),
            ClientType::Public | ClientType::Signing | ClientType::Certified => String::new(),
        };
        Fingerprint::of(&[
            client.id.as_str(),
            &client.name,
            client.scopes.as_str(),
            &uris(&client.redirect_uris),
            &uris(post_logout_redirect_uris),
            &metadata,
            &secret,
            if client.introspects == Introspects::Any { "any" } else { "own" },
            if client.is_verified() { "verified" } else { "" },
            &client.disabled_at.map(|at| at.to_string()).unwrap_or_default(),
        ])
    }
}

/// A page of grants. Each question is a statement of its own, so that it goes along an index; all take the same parameters.
macro_rules! page_of_grants {
    ($condition:literal) => {
        concat!(
            select_grants!(),
            " WHERE ",
            $condition,
            " AND ($3 = 0 OR (g.state = 'active' AND g.expires_at > $3 AND ",
            parties_alive!(),
            ")) AND g.created_at <= $4 AND (g.created_at < $4 OR g.id > $5) ORDER BY g.created_at DESC, g.id LIMIT $6",
        )
    };
}

const ALL_GRANTS: &str = page_of_grants!("$1 = '' AND $2 = ''");
const GRANTS_OF_CLIENT: &str = page_of_grants!("$1 = '' AND g.client_id = $2");
const GRANTS_OF_USER: &str =
    page_of_grants!("g.subject_id IN (SELECT id FROM subjects WHERE id = $1 OR name = $1) AND $2 = ''");
/// Along the index of users, since clients may have many grants: an expression has none.
const GRANTS_OF_BOTH: &str =
    page_of_grants!("g.subject_id IN (SELECT id FROM subjects WHERE id = $1 OR name = $1) AND g.client_id || '' = $2");

const PAGE_OF_CLIENTS: &str = concat!(
    "SELECT ",
    client_columns!(),
    ", post_logout_redirect_uris FROM clients WHERE deleted_at IS NULL \
     AND ($1 = '' OR substr(name, 1, length($1)) = $1) \
     AND ($2 = '' OR $2 = CASE WHEN registration_hash IS NOT NULL THEN 'itself' \
       WHEN document_read_at IS NOT NULL THEN 'document' \
       WHEN owner_subject IS NOT NULL THEN 'user' ELSE 'operator' END) \
     AND ($3 = '' OR $3 = CASE WHEN ",
    disabled_at!(),
    " IS NULL THEN 'enabled' ELSE 'disabled' END) \
     AND created_at >= $4 AND (created_at > $4 OR id > $5) ORDER BY created_at, id LIMIT $6",
);

const PAGE_OF_ACCOUNTS: &str = "SELECT a.username, a.subject_id, a.password_hash, s.created_at, s.disabled_at \
     FROM accounts a JOIN subjects s ON s.id = a.subject_id WHERE a.username > $1 ORDER BY a.username LIMIT $2";

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
            let rows: Vec<RegisteredRow> = on_engine!(&reader, on => sqlx::query_as(PAGE_OF_CLIENTS)
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
            let page = match (filter.user.as_str(), filter.client.as_str()) {
                ("", "") => ALL_GRANTS,
                ("", _) => GRANTS_OF_CLIENT,
                (_, "") => GRANTS_OF_USER,
                _ => GRANTS_OF_BOTH,
            };
            let rows: Vec<GrantRow> = on_engine!(&reader, on => sqlx::query_as(page)
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
            let rows: Vec<AccountRow> = on_engine!(&reader, on => sqlx::query_as(PAGE_OF_ACCOUNTS)
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
        change: impl FnOnce(RegisteredClient) -> Result<ClientRewrite, E> + Send + 'static,
    ) -> Result<Option<Result<(), E>>, Unavailable> {
        let writer = self.writer.clone();
        self.run("change a client", async move {
            let mut transaction = writer.begin().await?;
            let Some(present) = lock_client(&mut transaction, &id).await? else { return Ok(None) };
            let ClientRewrite { changes, post_logout_redirect_uris, verified_at } = match change(present) {
                Ok(rewrite) => rewrite,
                Err(refused) => return Ok(Some(Err(refused))),
            };
            on_engine!(&mut transaction, on => sqlx::query(
                "UPDATE clients SET name = COALESCE($2, name), redirect_uris = COALESCE($3, redirect_uris), \
                 scopes = COALESCE($4, scopes), metadata = COALESCE($5, metadata), introspects = COALESCE($6, introspects), \
                 post_logout_redirect_uris = COALESCE($7, post_logout_redirect_uris), \
                 verified_at = CASE WHEN $8 = 1 THEN $9 ELSE verified_at END WHERE id = $1",
            )
            .bind(id.to_string())
            .bind(changes.name)
            .bind(changes.redirect_uris.map(|uris| join_lines(uris.iter().map(RedirectUri::as_str))))
            .bind(changes.scopes.map(|scopes| scopes.to_string()))
            .bind(changes.metadata.as_ref().map(json).transpose()?)
            .bind(changes.introspects.map(introspects))
            .bind(post_logout_redirect_uris.map(|uris| join_lines(uris.iter().map(RedirectUri::as_str))))
            .bind(i64::from(verified_at.is_some()))
            .bind(verified_at.flatten().map(Timestamp::as_unix))
            .execute(&mut **on).await.map(drop))?;
            transaction.commit().await?;
            Ok(Some(Ok(())))
        })
        .await
    }
}

/// A client, and nobody changes it before the transaction ends.
pub(super) async fn lock_client(
    transaction: &mut Transaction,
    id: &ClientId,
) -> Result<Option<RegisteredClient>, sqlx::Error> {
    let row: Option<RegisteredRow> = on_engine!(transaction, on => {
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
    row.map(RegisteredClient::try_from).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OperationCounter;
    use crate::store::engine::Engine;

    #[tokio::test]
    async fn a_page_is_found_along_an_index() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("x.db").display());
        let store = Store::open(&url, OperationCounter::default()).await.expect("a database");
        store.migrate().await.expect("a schema");
        let Engine::Sqlite(pool) = &store.writer else { panic!("it is SQLite") };
        for (statement, sorts) in [
            (ALL_GRANTS, false),
            (GRANTS_OF_CLIENT, false),
            // A user has few.
            (GRANTS_OF_USER, true),
            (GRANTS_OF_BOTH, true),
            (PAGE_OF_CLIENTS, false),
            (PAGE_OF_ACCOUNTS, false),
        ] {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
                    .fetch_all(pool)
                    .await
                    .expect("a plan");
            let plan: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
            assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{statement}: {plan:#?}");
            assert_eq!(plan.iter().any(|step| step.contains("ORDER BY")), sorts, "{statement}: {plan:#?}");
        }
    }
}
