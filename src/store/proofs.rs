//! DPoP proofs that were seen (RFC 9449 §11.1), by whichever server.

use super::Store;
use super::engine::on_engine;
use crate::domain::error::Unavailable;
use crate::domain::timestamp::Timestamp;

impl Store {
    /// Remembers a proof until it is too old anyhow. `false` when it was seen before.
    pub async fn remember_proof(&self, id: [u8; 32], expires_at: Timestamp) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("remember a proof", async move {
            let inserted = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO dpop_proofs (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            )
            .bind(id.to_vec())
            .bind(expires_at.as_unix())
            .execute(on).await?.rows_affected());
            Ok(inserted == 1)
        })
        .await
    }
}
