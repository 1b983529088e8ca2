//! The database of a sidecar, of the engine that the run is for: SQLite, or with `SCOPEGATE_TEST_POSTGRES` set to the URL of a
//! PostgreSQL server (`tests/with-postgres.sh` starts one) a schema of its own there.

use std::path::Path;

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
        match self {
            Self::Sqlite(connection) => drop(sqlx::raw_sql(statement).execute(connection).await.unwrap()),
            Self::Postgres(connection) => drop(sqlx::raw_sql(statement).execute(connection).await.unwrap()),
        }
    }

    pub async fn count(&mut self, table: &str) -> i64 {
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match self {
            Self::Sqlite(connection) => sqlx::query(count).fetch_one(connection).await.unwrap().get(0),
            Self::Postgres(connection) => sqlx::query(count).fetch_one(connection).await.unwrap().get(0),
        }
    }

    /// Makes every write to grants wait until `COMMIT`.
    pub async fn hold_writes(&mut self) {
        match self {
            Self::Sqlite(_) => self.execute("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => self.execute("BEGIN; LOCK TABLE grants IN EXCLUSIVE MODE").await,
        }
    }
}
