//! The schema's version: migrating to it, and refusing to work with another.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::{Store, failed};
use crate::domain::error::Unavailable;

const SQLITE: &[(i64, &str, &str)] = &[(1, "core", include_str!("migrations/sqlite/0001_core.sql"))];

/// A database whose schema this program does not fit.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database has schema version {found}, this program works with {expected}: {}", if found < expected { "run `scopegate migrate`" } else { "use a newer program" })]
    Version { found: i64, expected: i64 },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Store {
    /// Brings the schema to the version of this program. Safe to call from several processes at once.
    pub async fn migrate(&self) -> Result<(), Unavailable> {
        let migrations = SQLITE.iter().map(|&(version, description, sql)| {
            Migration::new(version, Cow::Borrowed(description), MigrationType::Simple, sql.into_sql_str(), false)
        });
        let migrator = Migrator::with_migrations(migrations.collect());
        migrator.run(&self.writer).await.map_err(failed("migrate the database"))
    }

    /// Whether the schema is the one that this program works with.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        let expected = SQLITE.last().map_or(0, |&(version, ..)| version);
        let found = self.schema_version().await?;
        if found == expected { Ok(()) } else { Err(SchemaError::Version { found, expected }) }
    }

    /// 0 for an empty database.
    async fn schema_version(&self) -> Result<i64, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the schema version", async move {
            let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
                .fetch_one(&reader)
                .await?;
            if tables == 0 {
                return Ok(0);
            }
            sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations").fetch_one(&reader).await
        })
        .await
    }
}
