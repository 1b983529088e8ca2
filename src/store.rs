//! The truth, in SQL. The only module that knows sqlx; nothing here knows a cache, HTTP or gRPC.
//!
//! Every operation runs as a task of its own on the background runtime, where the connections live. So a request that
//! is dropped half way cannot interrupt a write or leave a transaction open, and the cores that serve requests never
//! wait on a connection themselves. An operation that takes too long is reported as [`Unavailable`] and goes on to its end.
//!
//! The SQL is the subset that SQLite and PostgreSQL share. Each write is one conditional statement, or a
//! transaction whose first statement is the claiming write. A statement that writes and returns rows on its own is read to its end
//! (`fetch_all`): the row comes before the commit, which can still fail.

mod engine;
mod accounts;
mod app_users;
mod apps;
mod assertions;
mod clients;
mod own_clients;
mod connected_apps;
mod consents;
mod devices;
mod grants;
mod interactions;
mod machines;
mod revocations;
mod log;
mod logout_notices;
mod proofs;
mod pushed_requests;
mod leases;
mod listing;
mod pruning;
mod signing_keys;
mod sign_out;
mod identity;
mod rows;
mod schema;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use prometheus_client::metrics::{counter::Counter, family::Family};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::runtime::Handle;

pub use self::accounts::{Account, NewSession, Session};
pub use self::app_users::{NamedUser, SubjectStanding};
pub use self::apps::{App, AppDetails};
pub use self::clients::ClientChanges;
pub use self::connected_apps::ConnectedApp;
pub use self::consents::{Basis, Consent};
pub use self::devices::{DeviceApproval, DeviceRequest, DeviceState, NewDeviceRequest};
use self::engine::{Engine, Pool, on_engine};
pub use self::grants::{NewGrant, Redemption, Refresh, Times};
pub use self::identity::is_same_database;
pub use self::interactions::{DecidedInteraction, SignInCompletion};
pub use self::leases::LiveLeases;
pub use self::listing::{ClientFilter, ClientKind, ClientRewrite, Fingerprint, GrantFilter, RegisteredClient};
use self::logout_notices::Announcer;
pub use self::logout_notices::{ClaimedNotices, LogoutNotice};
pub use self::machines::NewMachineGrant;
pub use self::own_clients::{ClientSecretChange, NewOwnClient, OwnClientChange, SecretRotation};
pub use self::pruning::Prunable;
pub use self::pushed_requests::PushedRequest;
pub use self::revocations::{Ending, PasswordHash};
pub use self::schema::SchemaError;
pub use self::signing_keys::StoredKey;
use crate::domain::error::Unavailable;

/// How long a request waits for one operation. The operation itself goes on.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// SQLite's readers, beside its one writer.
const SQLITE_READERS: u32 = 2;
/// Connections to PostgreSQL: eight that work, and one that listens.
const POSTGRES_CONNECTIONS: u32 = 9;
/// How long an operation waits for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(500);
/// What PostgreSQL itself ends: a statement that takes too long, and a transaction that nobody goes on with, in milliseconds.
const POSTGRES_SETTINGS: [(&str, &str); 2] =
    [("statement_timeout", "1000"), ("idle_in_transaction_session_timeout", "2000")];

/// Counts operations by name: "no lookup" is a claim that a counter can prove.
pub type OperationCounter = Family<[(&'static str, &'static str); 1], Counter>;

/// The database.
#[derive(Clone)]
pub struct Store {
    background: Handle,
    /// SQLite: several connections that read. PostgreSQL: the same as the writer.
    reader: Pool,
    /// SQLite: the one connection that writes, since there is one writer at a time, and waiting in this queue is fair.
    writer: Pool,
    operations: OperationCounter,
    /// Whether clients have to be told of ended sessions.
    announcer: Announcer,
}

impl Store {
    /// Opens the database at `url` (`sqlite:PATH` or `postgres://…`), on the runtime that calls. A missing SQLite file is made.
    pub async fn open(url: &str, operations: OperationCounter) -> Result<Self, Unavailable> {
        let opened = if url.starts_with("sqlite:") {
            open_sqlite(url).await
        } else {
            // A task of its own: the client panics over some of what is no PostgreSQL.
            let url = url.to_owned();
            let opening = tokio::spawn(async move { open_postgres(&url).await });
            opening.await.map_err(failed("open the database"))?
        };
        let (reader, writer) = opened.map_err(failed("open the database"))?;
        Ok(Self { background: Handle::current(), reader, writer, operations, announcer: Announcer::default() })
    }

    /// Whether other servers may work on this database, too. SQLite is for one.
    pub fn is_shared(&self) -> bool {
        matches!(self.writer, Engine::Postgres(_))
    }

    /// Waits for running operations, then closes the connections.
    pub async fn close(&self) {
        on_engine!(&self.reader, pool => pool.close().await);
        on_engine!(&self.writer, pool => pool.close().await);
    }

    /// Runs `work` as a detached task and waits for its end, but not for ever.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.operations.get_or_create(&[("operation", operation)]).inc();
        match tokio::time::timeout(PATIENCE, self.background.spawn(work)).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(failed(operation)(error)),
            Ok(Err(error)) => Err(failed(operation)(error)),
            Err(error) => Err(failed(operation)(error)),
        }
    }
}

async fn open_sqlite(url: &str) -> Result<(Pool, Pool), sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    create_private(options.get_filename());
    let pool = |connections| {
        SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE).idle_timeout(None)
    };
    let writer = pool(1).connect_with(options.clone()).await?;
    Ok((Engine::Sqlite(pool(SQLITE_READERS).connect_lazy_with(options)), Engine::Sqlite(writer)))
}

async fn open_postgres(url: &str) -> Result<(Pool, Pool), sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("scopegate").options(POSTGRES_SETTINGS);
    let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
    let pool = Engine::Postgres(pool.connect_with(options).await?);
    Ok((pool.clone(), pool))
}

/// Makes the file for its owner alone, and so the ones that SQLite puts beside it. If this cannot be done, opening says why.
fn create_private(path: &Path) {
    let _ = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
}

/// The cause of a failed operation, kept for the log.
fn failed<E: std::error::Error + Send + Sync + 'static>(operation: &'static str) -> impl FnOnce(E) -> Unavailable {
    move |error| Unavailable { operation, cause: Box::new(error) }
}
