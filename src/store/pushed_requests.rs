//! Pushed authorization requests (RFC 9126): kept until the user has decided, once.

use super::Store;
use super::engine::on_engine;
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;

/// So many requests of one client may wait at a time: anybody can push one in the name of a public client.
const MAX_WAITING: i64 = 10_000;

/// An authorization request that a client pushed.
pub struct PushedRequest {
    pub id: SecretHash,
    pub client: ClientId,
    /// Its parameters, as a form.
    pub request: String,
    pub expires_at: Timestamp,
}

impl Store {
    /// `false` when too many of the client's requests wait already.
    pub async fn insert_pushed_request(&self, pushed: PushedRequest, now: Timestamp) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a pushed request", async move {
            let inserted = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO pushed_requests (id_hash, client_id, request, expires_at) SELECT $1, $2, $3, $4 \
                 WHERE (SELECT count(*) FROM pushed_requests WHERE client_id = $2 AND expires_at > $5) < $6",
            )
            .bind(pushed.id.as_bytes().to_vec())
            .bind(pushed.client.to_string())
            .bind(pushed.request)
            .bind(pushed.expires_at.as_unix())
            .bind(now.as_unix())
            .bind(MAX_WAITING)
            .execute(on).await?.rows_affected());
            Ok(inserted == 1)
        })
        .await
    }

    /// The request, if it is of this client, was not used and expires later than `after`.
    pub async fn pushed_request(
        &self,
        id: SecretHash,
        client: ClientId,
        after: Timestamp,
    ) -> Result<Option<String>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a pushed request", async move {
            on_engine!(&reader, on => sqlx::query_scalar(
                "SELECT request FROM pushed_requests \
                 WHERE id_hash = $1 AND client_id = $2 AND used_at IS NULL AND expires_at > $3",
            )
            .bind(id.as_bytes().to_vec())
            .bind(client.to_string())
            .bind(after.as_unix())
            .fetch_optional(on).await)
        })
        .await
    }

    /// Uses a request up. `false` when that was done before.
    pub async fn use_pushed_request(&self, id: SecretHash, now: Timestamp) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("use a pushed request", async move {
            let used = on_engine!(&writer, on => sqlx::query(
                "UPDATE pushed_requests SET used_at = $2 WHERE id_hash = $1 AND used_at IS NULL",
            )
            .bind(id.as_bytes().to_vec())
            .bind(now.as_unix())
            .execute(on).await?.rows_affected());
            Ok(used == 1)
        })
        .await
    }
}
