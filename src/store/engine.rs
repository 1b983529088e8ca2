//! Two engines, one SQL text.
//!
//! [`on_engine!`] evaluates one body against whichever engine is open. Only migrations are written twice.

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Postgres, Sqlite};

/// A value that each engine has in a type of its own.
#[derive(Clone)]
pub(super) enum Engine<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// Connections.
pub(super) type Pool = Engine<SqlitePool, PgPool>;

/// A transaction that rolls back unless it is committed.
pub(super) type Transaction = Engine<sqlx::Transaction<'static, Sqlite>, sqlx::Transaction<'static, Postgres>>;

/// Evaluates an expression with the engine's own value under a name.
macro_rules! on_engine {
    ($engine:expr, $value:ident => $body:expr) => {
        match $engine {
            $crate::store::engine::Engine::Sqlite($value) => $body,
            $crate::store::engine::Engine::Postgres($value) => $body,
        }
    };
}
pub(super) use on_engine;

impl Pool {
    pub(super) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(pool) => Engine::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => Engine::Postgres(pool.begin().await?),
        })
    }
}

impl Transaction {
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        on_engine!(self, transaction => transaction.commit().await)
    }
}
