//! The database of a sidecar, of the engine that the run is for: SQLite, or with `SCOPEGATE_TEST_POSTGRES` set to the URL of a
//! PostgreSQL server (`tests/with-postgres.sh` starts one) a schema of its own there.

use std::path::Path;

use super::proxy::{Proxy, Target};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

/// A connection beside the server's own.
pub enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The URL of the database that belongs to a directory. A schema that is not there yet is made.
pub async fn url(directory: &Path) -> String {
    let Some(server) = postgres() else {
        return format!("sqlite:{}", directory.join("scopegate.db").display());
    };
    // The name of a temporary directory, such as .tmpAb12Cd.
    let schema = directory.file_name().unwrap().to_str().unwrap().to_lowercase().replace('.', "scopegate_");
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let create = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
    format!("{server}?options[search_path]={schema}")
}

#[expect(clippy::disallowed_methods, reason = "this is how the run says which engine it is for")]
fn postgres() -> Option<String> {
    std::env::var("SCOPEGATE_TEST_POSTGRES").ok()
}

/// A line of its own to PostgreSQL that can be cut, and the configuration that uses it; `None` on SQLite.
pub async fn line(directory: &Path) -> Option<(Proxy, String)> {
    let url = postgres()?;
    let (_, encoded) = url.split_once('@').unwrap();
    let socket = encoded.split('/').next().unwrap().replace("%2F", "/");
    let proxy = Proxy::to(Target::Unix(Path::new(&socket).join(".s.PGSQL.5432"))).await;
    let through =
        self::url(directory).await.replace(encoded.split('/').next().unwrap(), &format!("127.0.0.1:{}", proxy.port));
    let more = format!("[database]\nurl = '{through}'");
    Some((proxy, more))
}

impl Database {
    pub async fn connect(directory: &Path) -> Self {
        let url = url(directory).await;
        if url.starts_with("sqlite:") {
            Self::Sqlite(SqliteConnection::connect(&url).await.unwrap())
        } else {
            Self::Postgres(PgConnection::connect(&url).await.unwrap())
        }
    }

    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub async fn execute(&mut self, statement: &'static str) {
        self.run(statement.into()).await;
    }

    pub async fn run(&mut self, statement: String) {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        match self {
            Self::Sqlite(connection) => drop(statement.execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(statement.execute(connection).await.unwrap()),
        }
    }

    /// Transactions that a server has begun and does not go on with. On SQLite, one would keep this connection from writing.
    pub async fn open_transactions(&mut self) -> i64 {
        match self {
            Self::Sqlite(_) => {
                self.execute("BEGIN IMMEDIATE; COMMIT").await;
                0
            }
            Self::Postgres(_) => {
                self.count(
                    "pg_stat_activity WHERE state LIKE 'idle in transaction%' AND application_name = 'scopegate' \
                     AND state_change < now() - interval '1 second'",
                )
                .await
            }
        }
    }

    pub async fn count(&mut self, table: &str) -> i64 {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match self {
            Self::Sqlite(connection) => sqlx::query(count).fetch_one(connection).await.unwrap().get(0),
            Self::Postgres(connection) => sqlx::query(count).fetch_one(connection).await.unwrap().get(0),
        }
    }

    /// Everything that is stored.
    pub async fn dump(&mut self) -> String {
        self.entries().await.join("\n")
    }

    /// Everything that is stored, row by row, each with its table in front.
    pub async fn entries(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for table in self.tables().await {
            match self {
                Self::Sqlite(connection) => {
                    let rows = AssertSqlSafe(format!("SELECT * FROM \"{table}\""));
                    for row in sqlx::query(rows).fetch_all(connection).await.unwrap() {
                        let values: Vec<String> = (0..row.len())
                            .map(|column| {
                                let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).unwrap();
                                String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
                            })
                            .collect();
                        lines.push(format!("{table}: {}", values.join(" ")));
                    }
                }
                Self::Postgres(connection) => {
                    let rows = AssertSqlSafe(format!("SELECT t::text FROM \"{table}\" t"));
                    for row in sqlx::query(rows).fetch_all(connection).await.unwrap() {
                        lines.push(format!("{table}: {}", row.get::<String, _>(0)));
                    }
                }
            }
        }
        lines
    }

    pub async fn tables(&mut self) -> Vec<String> {
        match self {
            Self::Sqlite(connection) => {
                let names =
                    sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'");
                names.fetch_all(connection).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
            Self::Postgres(connection) => {
                let names = sqlx::query("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()");
                names.fetch_all(connection).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// How many rows there are in the tables that grow with clients, users and what they do.
    pub async fn rows(&mut self) -> i64 {
        let mut rows = 0;
        for table in [
            "clients",
            "subjects",
            "accounts",
            "grants",
            "browser_sessions",
            "revocation_log",
            "revoked_sets",
            "device_requests",
            "user_code_attempts",
        ] {
            rows += self.count(table).await;
        }
        rows
    }

    /// Makes every write to grants wait until `COMMIT`.
    pub async fn hold_writes(&mut self) {
        match self {
            Self::Sqlite(_) => self.execute("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => self.execute("BEGIN; LOCK TABLE grants IN EXCLUSIVE MODE").await,
        }
    }
}
