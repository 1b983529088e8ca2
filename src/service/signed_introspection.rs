//! Introspection answers that are signed (RFC 9701): evidence of what was said, for whoever asked.

use serde::Serialize;

use super::Service;
use crate::domain::client::Client;
use crate::domain::error::Unavailable;

/// The type of such a token (RFC 9701 §5).
const TYPE: &str = "token-introspection+jwt";

/// What one says. `sub` and `exp` are inside alone, so that nobody takes it for an access token or an ID token (RFC 9701 §8.1).
#[derive(Serialize)]
struct Claims<'a, A> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a A,
}

impl Service {
    /// Signs an answer for the client that asked. One that wants another algorithm than there is gets none.
    pub async fn sign_introspection(&self, caller: &Client, answer: &impl Serialize) -> Result<String, Unavailable> {
        let signer = self.signing_keys.signer().await?;
        let wanted = caller.metadata.introspection_signed_response_alg;
        if wanted.is_some_and(|wanted| wanted != signer.algorithm()) {
            let cause =
                "the client is registered for another introspection_signed_response_alg than keys.signing_algorithm";
            return Err(Unavailable { operation: "sign an introspection answer", cause: cause.into() });
        }
        let claims = Claims {
            iss: &self.settings.issuer,
            aud: caller.id.as_str(),
            iat: self.effects.now().as_unix(),
            token_introspection: answer,
        };
        signer.sign(TYPE, &claims).await
    }
}
