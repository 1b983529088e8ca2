//! ID tokens: made for clients (OpenID Connect Core §3.1.3.3), and taken back as hints (§3.1.2.1).

use super::Service;
use super::signing_keys::Signer;
use super::token_endpoint::IssuedTokens;
use crate::domain::client::Client;
use crate::domain::error::{Failure, Unavailable};
use crate::domain::grant::{Grant, SessionId};
use crate::domain::jwt;
use crate::domain::openid::{Audience, Authentication, Hint, HintClaims, IdTokenClaims, OPENID};
use crate::domain::timestamp::Timestamp;

impl Service {
    /// The key for ID tokens, if a grant of this client may have one.
    pub(super) async fn id_token_signer(&self, client: &Client) -> Result<Option<Signer>, Unavailable> {
        if self.settings.openid.is_none() || !self.settings.implications.satisfy(&client.scopes, OPENID) {
            return Ok(None);
        }
        self.signing_keys.signer().await.map(Some)
    }

    /// Adds the ID token, if the tokens have the scope for it.
    pub(super) async fn with_id_token(
        &self,
        tokens: IssuedTokens,
        grant: &Grant,
        signer: Option<Signer>,
        authentication: Option<Authentication>,
        issued_at: Timestamp,
    ) -> Result<IssuedTokens, Failure> {
        let (Some(openid), Some(signer), Some(authentication)) = (&self.settings.openid, signer, authentication) else {
            return Ok(tokens);
        };
        if !tokens.scope.contains(OPENID) {
            return Ok(tokens);
        }
        let authentication = authentication.told();
        let claims = IdTokenClaims {
            iss: &self.settings.issuer,
            sub: grant.subject.as_str(),
            aud: Audience::new(grant.client.as_str(), openid.audience_array),
            exp: issued_at.plus(openid.id_token_lifetime).as_unix(),
            iat: issued_at.as_unix(),
            authentication: &authentication,
            at_hash: signer.algorithm().half_hash(tokens.access_token.expose()),
            sid: grant.session.as_ref().map(SessionId::to_string),
            user: self.claims_of_app(&grant.subject, &tokens.scope).await?,
        };
        let id_token = signer.sign(jwt::ID_TOKEN, &claims).await?;
        Ok(IssuedTokens { id_token: Some(id_token), ..tokens })
    }

    /// What an ID token of ours says, maybe an expired one. `None` for anything else.
    pub(super) async fn hint(&self, text: &str) -> Result<Option<Hint>, Unavailable> {
        let Some(presented) = jwt::Presented::parse(text, jwt::ID_TOKEN) else { return Ok(None) };
        let Some(key) = self.signing_keys.key(presented.kid()).await? else { return Ok(None) };
        let claims: Option<HintClaims> = presented.claims(&key);
        Ok(claims.and_then(|claims| claims.into_hint(&self.settings.issuer)))
    }
}
