//! Where clients may have browsers sent after signing out (OpenID Connect RP-Initiated Logout §3.1).

use super::Store;
use super::engine::on_engine;
use super::rows::{join_lines, lines};
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::redirect_uri::RedirectUri;

impl Store {
    /// None for a client that is gone.
    pub async fn post_logout_redirect_uris(&self, client: ClientId) -> Result<Vec<RedirectUri>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read where to go after signing out", async move {
            let registered: Option<String> = on_engine!(&reader, on => {
                sqlx::query_scalar("SELECT post_logout_redirect_uris FROM clients WHERE id = $1 AND deleted_at IS NULL")
                    .bind(client.to_string())
                    .fetch_optional(on)
                    .await?
            });
            match registered.as_deref() {
                None | Some("") => Ok(Vec::new()),
                Some(registered) => lines(registered),
            }
        })
        .await
    }

    /// Replaces them. `false` when there is no such client.
    pub async fn set_post_logout_redirect_uris(
        &self,
        client: ClientId,
        uris: Vec<RedirectUri>,
    ) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("set where to go after signing out", async move {
            let updated = on_engine!(&writer, on => {
                sqlx::query("UPDATE clients SET post_logout_redirect_uris = $2 WHERE id = $1 AND deleted_at IS NULL")
                    .bind(client.to_string())
                    .bind(join_lines(uris.iter().map(RedirectUri::as_str)))
                    .execute(on)
                    .await?
                    .rows_affected()
            });
            Ok(updated == 1)
        })
        .await
    }
}
