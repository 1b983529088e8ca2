//! Client assertions that were used. Each is good once, whichever server it is presented to.

use super::Store;
use super::engine::on_engine;
use crate::domain::client_assertion::AssertionUse;
use crate::domain::error::Unavailable;

impl Store {
    /// Uses an assertion up. `false` when it was used before.
    pub async fn use_assertion(&self, once: AssertionUse) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("use an assertion", async move {
            let inserted = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO used_assertions (key, expires_at) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
            )
            .bind(once.key.to_vec())
            .bind(once.expires_at.as_unix())
            .execute(on).await?.rows_affected());
            Ok(inserted == 1)
        })
        .await
    }
}
