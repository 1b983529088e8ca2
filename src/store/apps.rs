//! What the app-management APIs show of clients, and the clients that the configuration names. Users' own are made and changed in
//! `own_clients`.

use sqlx::FromRow;

use super::Store;
use super::clients::{client_columns, json};
use super::engine::on_engine;
use super::grants::parties_alive;
use super::rows::{ClientRow, join_lines, number};
use crate::domain::client::{Client, ClientId};
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::timestamp::Timestamp;

/// A client, as such an API shows it.
#[derive(Clone, Debug)]
pub struct App {
    pub client: Client,
    /// `None` for one that no user made.
    pub details: Option<AppDetails>,
}

/// What a client of a user has beside the rest.
#[derive(Clone, Debug)]
pub struct AppDetails {
    /// A name that is a number, no other client's ever.
    pub number: u64,
    pub description: Option<String>,
    /// Where it says that it is at home, where that is not its `client_uri`.
    pub website: Option<String>,
    pub updated_at: Timestamp,
}

impl App {
    /// Where it says that it is at home.
    pub fn website(&self) -> Option<&str> {
        let said = self.details.as_ref().and_then(|details| details.website.as_deref());
        said.or(self.client.metadata.client_uri.as_deref())
    }

    /// When it was changed last.
    pub fn updated_at(&self) -> Timestamp {
        self.details.as_ref().map_or(self.client.created_at, |details| details.updated_at)
    }
}

#[derive(FromRow)]
struct AppRow {
    #[sqlx(flatten)]
    client: ClientRow,
    number: Option<i64>,
    description: Option<String>,
    website: Option<String>,
    updated_at: Option<i64>,
}

impl TryFrom<AppRow> for App {
    type Error = sqlx::Error;

    fn try_from(row: AppRow) -> Result<Self, sqlx::Error> {
        let details = match (row.number, row.updated_at) {
            (Some(number_), Some(updated_at)) => Some(AppDetails {
                number: number(number_)?,
                description: row.description,
                website: row.website,
                updated_at: Timestamp::from_unix(updated_at),
            }),
            _ => None,
        };
        Ok(Self { client: row.client.try_into()?, details })
    }
}

/// Clients that are there, with what is known of them as apps.
macro_rules! select_apps {
    () => {
        concat!(
            "SELECT ",
            client_columns!(),
            ", number, description, website, updated_at FROM clients LEFT JOIN apps ON client_id = id WHERE deleted_at IS NULL AND "
        )
    };
}

impl Store {
    /// Any client, as an app.
    pub async fn app(&self, id: ClientId) -> Result<Option<App>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read an app", async move {
            let row: Option<AppRow> = on_engine!(&reader, on => {
                sqlx::query_as(concat!(select_apps!(), "id = $1")).bind(id.to_string()).fetch_optional(on).await?
            });
            row.map(App::try_from).transpose()
        })
        .await
    }

    /// The apps that a user made, the oldest first.
    pub async fn apps_of(&self, owner: SubjectId) -> Result<Vec<App>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list the apps of a user", async move {
            let rows: Vec<AppRow> = on_engine!(&reader, on => {
                sqlx::query_as(concat!(select_apps!(), "owner_subject = $1 ORDER BY number"))
                    .bind(owner.as_str().to_owned())
                    .fetch_all(on)
                    .await?
            });
            rows.into_iter().map(App::try_from).collect()
        })
        .await
    }

    /// The apps that a user has granted something that is still good, be it a code that waits; the oldest first.
    pub async fn granted_apps(&self, subject: SubjectId, now: Timestamp) -> Result<Vec<App>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list the apps with grants of a user", async move {
            let rows: Vec<AppRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                select_apps!(),
                "id IN (SELECT g.client_id FROM grants g WHERE g.subject_id = $1 AND g.state <> 'revoked' AND g.expires_at > $2 AND ",
                parties_alive!(),
                ") ORDER BY created_at, id",
            ))
            .bind(subject.as_str().to_owned())
            .bind(now.as_unix())
            .fetch_all(on).await?);
            rows.into_iter().map(App::try_from).collect()
        })
        .await
    }

    /// Makes a client that the configuration names, or brings it up to date; it works again if it did not. Several servers may do so at
    /// once. `false` when the id is that of a client of another kind.
    pub async fn put_built_in_client(&self, client: Client) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("keep a built-in client", async move {
            let kept = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO clients (id, name, redirect_uris, scopes, introspects, metadata, created_at, revoked_seq) \
                 VALUES ($1, $2, $3, $4, 'own', $5, $6, 0) \
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, redirect_uris = excluded.redirect_uris, \
                 scopes = excluded.scopes, metadata = excluded.metadata, disabled_at = NULL \
                 WHERE clients.metadata LIKE '%\"built_in\":true%' AND clients.secret_hash IS NULL AND clients.owner_subject IS NULL \
                 AND clients.registration_hash IS NULL AND clients.document_read_at IS NULL AND clients.deleted_at IS NULL",
            )
            .bind(client.id.to_string())
            .bind(client.name)
            .bind(join_lines(client.redirect_uris.iter().map(RedirectUri::as_str)))
            .bind(client.scopes.to_string())
            .bind(json(&client.metadata)?)
            .bind(client.created_at.as_unix())
            .execute(on).await?.rows_affected());
            Ok(kept == 1)
        })
        .await
    }

    /// The clients that a configuration names or named, and that work.
    pub async fn built_in_clients(&self) -> Result<Vec<Client>, Unavailable> {
        let reader = self.reader.clone();
        self.run("list built-in clients", async move {
            let rows: Vec<ClientRow> = on_engine!(&reader, on => sqlx::query_as(concat!(
                "SELECT ",
                client_columns!(),
                " FROM clients WHERE metadata LIKE '%\"built_in\":true%' AND disabled_at IS NULL AND deleted_at IS NULL",
            ))
            .fetch_all(on).await?);
            let clients: Vec<Client> = rows.into_iter().map(Client::try_from).collect::<Result<_, _>>()?;
            Ok(clients.into_iter().filter(|client| client.metadata.built_in).collect())
        })
        .await
    }
}
