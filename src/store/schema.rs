//! The schema's version: migrating to it, and refusing to work with another.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::engine::{Engine, on_engine};
use super::{Store, failed};
use crate::domain::error::Unavailable;

/// What makes the schema, in each engine's types.
struct Version {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const VERSIONS: &[Version] = &[
    Version {
        number: 1,
        name: "core",
        sqlite: include_str!("migrations/sqlite/0001_core.sql"),
        postgres: include_str!("migrations/postgres/0001_core.sql"),
    },
    Version {
        number: 2,
        name: "coherence",
        sqlite: include_str!("migrations/sqlite/0002_coherence.sql"),
        postgres: include_str!("migrations/postgres/0002_coherence.sql"),
    },
    Version {
        number: 3,
        name: "signing_keys",
        sqlite: include_str!("migrations/sqlite/0003_signing_keys.sql"),
        postgres: include_str!("migrations/postgres/0003_signing_keys.sql"),
    },
    Version {
        number: 4,
        name: "client metadata",
        sqlite: include_str!("migrations/sqlite/0004_client_metadata.sql"),
        postgres: include_str!("migrations/postgres/0004_client_metadata.sql"),
    },
    Version {
        number: 5,
        name: "registration",
        sqlite: include_str!("migrations/sqlite/0005_registration.sql"),
        postgres: include_str!("migrations/postgres/0005_registration.sql"),
    },
    Version {
        number: 6,
        name: "device",
        sqlite: include_str!("migrations/sqlite/0006_device.sql"),
        postgres: include_str!("migrations/postgres/0006_device.sql"),
    },
    Version {
        number: 7,
        name: "pushed requests and proofs",
        sqlite: include_str!("migrations/sqlite/0007_par.sql"),
        postgres: include_str!("migrations/postgres/0007_par.sql"),
    },
    Version {
        number: 8,
        name: "client documents",
        sqlite: include_str!("migrations/sqlite/0008_client_documents.sql"),
        postgres: include_str!("migrations/postgres/0008_client_documents.sql"),
    },
    Version {
        number: 9,
        name: "logout notices",
        sqlite: include_str!("migrations/sqlite/0009_logout_notices.sql"),
        postgres: include_str!("migrations/postgres/0009_logout_notices.sql"),
    },
    Version {
        number: 15,
        name: "app users",
        sqlite: include_str!("migrations/sqlite/0015_app_users.sql"),
        postgres: include_str!("migrations/postgres/0015_app_users.sql"),
    },
    Version {
        number: 16,
        name: "account",
        sqlite: include_str!("migrations/sqlite/0016_account.sql"),
        postgres: include_str!("migrations/postgres/0016_account.sql"),
    },
    Version {
        number: 17,
        name: "consents",
        sqlite: include_str!("migrations/sqlite/0017_consents.sql"),
        postgres: include_str!("migrations/postgres/0017_consents.sql"),
    },
    Version {
        number: 18,
        name: "interactions",
        sqlite: include_str!("migrations/sqlite/0018_interactions.sql"),
        postgres: include_str!("migrations/postgres/0018_interactions.sql"),
    },
    Version {
        number: 20,
        name: "listing",
        sqlite: include_str!("migrations/sqlite/0020_listing.sql"),
        postgres: include_str!("migrations/postgres/0020_listing.sql"),
    },
    Version {
        number: 25,
        name: "apps",
        sqlite: include_str!("migrations/sqlite/0025_apps.sql"),
        postgres: include_str!("migrations/postgres/0025_apps.sql"),
    },
    Version {
        number: 27,
        name: "deleted users",
        sqlite: include_str!("migrations/sqlite/0027_deleted_users.sql"),
        postgres: include_str!("migrations/postgres/0027_deleted_users.sql"),
    },
];

/// A database whose schema this program does not fit.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the database has schema version {found}, this program works with {expected}: {}", if found < expected { "run `scopegate migrate`" } else { "use a newer program" })]
    Version { found: i64, expected: i64 },
    #[error("{0}: {cause}", cause = .0.cause)]
    Unavailable(#[from] Unavailable),
}

impl Store {
    /// Brings the schema to the version of this program. Several processes may do so at once: they take turns.
    pub async fn migrate(&self) -> Result<(), Unavailable> {
        let migrated = match &self.writer {
            Engine::Sqlite(pool) => {
                let turn = lock_file(pool.connect_options().get_filename().to_owned()).await?;
                let migrated = migrator(|version| version.sqlite).run(pool).await;
                drop(turn);
                migrated
            }
            // sqlx takes an advisory lock.
            Engine::Postgres(pool) => migrator(|version| version.postgres).run(pool).await,
        };
        migrated.map_err(failed("migrate the database"))
    }

    /// Whether the schema is the one that this program works with.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        let expected = VERSIONS.last().map_or(0, |version| version.number);
        let found = self.schema_version().await?;
        if found == expected { Ok(()) } else { Err(SchemaError::Version { found, expected }) }
    }

    /// 0 for an empty database.
    async fn schema_version(&self) -> Result<i64, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the schema version", async move {
            let tables = match &reader {
                Engine::Sqlite(_) => "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
                Engine::Postgres(_) => "SELECT count(*) FROM pg_tables WHERE schemaname = ANY (current_schemas(false)) AND tablename = '_sqlx_migrations'",
            };
            let tables: i64 = on_engine!(&reader, on => sqlx::query_scalar(tables).fetch_one(on).await?);
            if tables == 0 {
                return Ok(0);
            }
            on_engine!(&reader, on => {
                sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations").fetch_one(on).await
            })
        })
        .await
    }
}

fn migrator(sql: impl Fn(&Version) -> &'static str) -> Migrator {
    let migration = |version: &Version| {
        Migration::new(
            version.number,
            Cow::Borrowed(version.name),
            MigrationType::Simple,
            sql(version).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(VERSIONS.iter().map(migration).collect())
}

/// SQLite has no lock for this. The one on the file is another than those that SQLite itself takes, and it ends with the process.
async fn lock_file(path: PathBuf) -> Result<Option<File>, Unavailable> {
    let lock = move || match File::open(path) {
        Ok(file) => file.lock().map(|()| Some(file)),
        // A database in memory has no file, and nobody to take turns with.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    match tokio::task::spawn_blocking(lock).await {
        Ok(locked) => locked.map_err(failed("lock the database")),
        Err(error) => Err(failed("lock the database")(error)),
    }
}
