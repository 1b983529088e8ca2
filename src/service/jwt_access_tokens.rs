//! Access tokens as JSON Web Tokens (RFC 9068): written for the clients that are registered for them, and taken back.

use super::Service;
use super::signing_keys::Signer;
use super::token_endpoint::IssuedTokens;
use crate::domain::client::Client;
use crate::domain::error::{InvalidScope, Unavailable};
use crate::domain::grant::{Grant, SessionId, Variant};
use crate::domain::jwt_access_token::{self, AccessTokenFormat, Audience, Claims, Presented};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::Signed;

/// How they are offered.
#[derive(Debug)]
pub struct JwtAccessTokens {
    /// `aud` of those that name no resource.
    pub default_audience: Box<str>,
}

impl Service {
    /// The key for the access tokens of this client, if they are to be signed. It is there before anything is used up.
    pub(super) async fn access_token_signer(&self, client: &Client) -> Result<Option<Signer>, Unavailable> {
        if self.gets_jwt(client) { self.signing_keys.signer().await.map(Some) } else { Ok(None) }
    }

    /// Refuses what would make a token that is too long to be sent, before anything is used up.
    pub(super) fn check_length(&self, client: &Client, variant: &Variant) -> Result<(), InvalidScope> {
        if self.gets_jwt(client) && !jwt_access_token::holds(variant) { Err(InvalidScope::TooLong) } else { Ok(()) }
    }

    /// The same tokens, with the access token as a JSON Web Token if there is a key for it. All that it says is in the row of the
    /// grant, so that a repetition says the same.
    pub(super) async fn in_format(
        &self,
        tokens: IssuedTokens,
        grant: &Grant,
        signer: Option<&Signer>,
    ) -> Result<IssuedTokens, Unavailable> {
        let (Some(offered), Some(signer)) = (&self.settings.jwt_access_tokens, signer) else { return Ok(tokens) };
        let (token, variant) = (&tokens.token, &tokens.variant);
        let authentication = grant.authentication.as_ref();
        let pointer = self.token_keys.seal_pointer(token);
        let claims = Claims {
            iss: &self.settings.issuer,
            sub: grant.subject.as_str(),
            aud: Audience::of(variant, &offered.default_audience),
            client_id: grant.client.as_str(),
            exp: token.issued_at.plus(token.lifetime).as_unix(),
            iat: token.issued_at.as_unix(),
            jti: token.jti(),
            scope: variant.scopes.as_str(),
            auth_time: authentication.and_then(|authentication| authentication.auth_time),
            acr: authentication.and_then(|authentication| authentication.acr.as_deref()),
            sid: grant.session.as_ref().map(SessionId::to_string),
            cnf: variant.confirmation(),
            sg_ptr: pointer.expose(),
        };
        let access_token = signer.sign(jwt_access_token::TYPE, &claims).await?.into();
        Ok(IssuedTokens { access_token, ..tokens })
    }

    /// Whether it is worth reading this as a JSON Web Token.
    pub(super) fn may_be_jwt(&self, text: &str) -> bool {
        self.settings.jwt_access_tokens.is_some() && jwt_access_token::may_be(text)
    }

    /// Whether a key of ours sealed what a JSON Web Token points to, expired or not. Its signature says nothing more about that.
    pub(super) fn is_own_jwt(&self, text: &str) -> bool {
        self.may_be_jwt(text) && Presented::parse(text, &self.token_keys, &self.settings.issuer).is_some()
    }

    /// The access token that a JSON Web Token stands for, if it has not expired. What no key of ours sealed ends after one MAC, without a
    /// lookup.
    pub(super) async fn open_jwt(&self, text: &str, now: Timestamp) -> Result<Option<Signed>, Unavailable> {
        let presented = Presented::parse(text, &self.token_keys, &self.settings.issuer);
        let Some(presented) = presented.filter(|presented| !presented.is_expired(now)) else {
            return Ok(None);
        };
        let key = self.signing_keys.present_key(presented.kid()).await?;
        Ok(key.and_then(|key| presented.verify(&key)))
    }

    fn gets_jwt(&self, client: &Client) -> bool {
        self.settings.jwt_access_tokens.is_some() && client.metadata.access_token_format == AccessTokenFormat::Jwt
    }
}
