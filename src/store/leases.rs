//! How far each server has applied the revocation log, and until when it may answer without having come further.
//!
//! Times are the database's own. On SQLite there is one server, and nobody to wait for: nothing is written.

use std::time::Duration;

use super::Store;
use super::engine::Engine;
use super::rows::number;
use crate::domain::error::Unavailable;

/// Milliseconds by the database's clock.
macro_rules! clock {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}

/// The servers whose leases have not ended.
#[derive(Clone, Copy, Debug)]
pub struct LiveLeases {
    /// How far the last of them has come. `None`: there is none.
    pub applied: Option<u64>,
    /// The longest of their leases.
    pub longest: Duration,
}

impl Store {
    /// Says, in a transaction of its own, how far a server has come and that its lease may hold for `bound` from now on.
    pub async fn renew_lease(
        &self,
        server: String,
        applied: u64,
        lease: Duration,
        bound: Duration,
    ) -> Result<(), Unavailable> {
        let Engine::Postgres(pool) = self.writer.clone() else { return Ok(()) };
        self.run("follow the revocation log", async move {
            sqlx::query(concat!(
                "INSERT INTO sidecar_leases (id, applied, lease, expires_at) VALUES ($1, $2, $3, ",
                clock!(),
                " + $4) ON CONFLICT (id) DO UPDATE SET applied = excluded.applied, lease = excluded.lease, expires_at = excluded.expires_at",
            ))
            .bind(server)
            .bind(i64::try_from(applied).unwrap_or(i64::MAX))
            .bind(milliseconds(lease))
            .bind(milliseconds(bound))
            .execute(&pool)
            .await
            .map(drop)
        })
        .await
    }

    /// The leases of all but one server.
    pub async fn live_leases(&self, except: String) -> Result<LiveLeases, Unavailable> {
        let Engine::Postgres(pool) = self.reader.clone() else {
            return Ok(LiveLeases { applied: None, longest: Duration::ZERO });
        };
        self.run("read the leases", async move {
            let (applied, longest): (Option<i64>, i64) = sqlx::query_as(concat!(
                "SELECT MIN(applied), COALESCE(MAX(lease), 0) FROM sidecar_leases WHERE id <> $1 AND expires_at > ",
                clock!()
            ))
            .bind(except)
            .fetch_one(&pool)
            .await?;
            Ok(LiveLeases {
                applied: applied.map(number).transpose()?,
                longest: Duration::from_millis(number(longest)?),
            })
        })
        .await
    }

    /// Ends the lease of a server that answers no more.
    pub async fn end_lease(&self, server: String) -> Result<(), Unavailable> {
        let Engine::Postgres(pool) = self.writer.clone() else { return Ok(()) };
        self.run("end a lease", async move {
            sqlx::query("DELETE FROM sidecar_leases WHERE id = $1").bind(server).execute(&pool).await.map(drop)
        })
        .await
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
