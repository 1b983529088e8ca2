//! The token endpoint (RFC 6749 §3.2): a code, or a refresh token, for tokens.

use super::Service;
use crate::domain::client::Client;
use crate::domain::error::{Failure, InvalidGrant, InvalidScope, OAuthError};
use crate::domain::grant::{Grant, GrantState, RefreshStanding, Rotation, Variant};
use crate::domain::openid::Authentication;
use crate::domain::parameters::Parameters;
use crate::domain::pkce::CodeVerifier;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{Token, TokenKind, TokenText};
use crate::store::{Redemption, Refresh};

/// A successful token response (RFC 6749 §5.1).
pub struct IssuedTokens {
    pub access_token: TokenText,
    pub refresh_token: TokenText,
    /// Seconds.
    pub expires_in: u32,
    pub scope: ScopeSet,
    /// For OpenID Connect (Core §3.1.3.3).
    pub id_token: Option<String>,
}

impl Service {
    pub async fn issue(&self, authorization: &[&[u8]], form: &Parameters) -> Result<IssuedTokens, Failure> {
        form.refuse_repeated()?;
        let client = self.authenticate_client(authorization, form).await?;
        self.can_sign()?;
        match form.require("grant_type")? {
            "authorization_code" => self.redeem_code(&client, form).await,
            "refresh_token" => self.refresh(&client, form).await,
            _ => Err(OAuthError::UnsupportedGrantType.into()),
        }
    }

    /// RFC 6749 §4.1.3 and RFC 7636 §4.5. Client, redirect URI and verifier are checked in the statement that claims the code,
    /// so a wrong one does not use it up.
    async fn redeem_code(&self, client: &Client, form: &Parameters) -> Result<IssuedTokens, Failure> {
        let now = self.effects.now();
        let code = self.presented(form.require("code")?, TokenKind::AuthorizationCode).ok_or(InvalidGrant::Code)?;
        let verifier: CodeVerifier = match form.get("code_verifier") {
            Some(verifier) => verifier.parse().map_err(crate::domain::error::InvalidRequest::from)?,
            None => return Err(InvalidGrant::Proof.into()),
        };
        if code.is_expired(now) {
            return self.refuse_code(client, &code, now).await;
        }
        // Before anything is used up.
        let signer = self.id_token_signer(client).await?;
        let redemption = Redemption {
            grant: code.grant,
            client: client.id.clone(),
            redirect_uri_parameter: form.get("redirect_uri").map(str::to_owned),
            challenge: verifier.challenge(),
            now,
            expires_at: now.plus(self.settings.lifetimes.refresh_token_absolute),
        };
        match self.store.redeem(redemption).await? {
            Some(grant) => {
                let tokens = self.tokens_of(&grant).ok_or(InvalidGrant::Code)?;
                self.with_id_token(tokens, &grant, signer, grant.authentication.clone()).await
            }
            None => self.refuse_code(client, &code, now).await,
        }
    }

    /// Why a code was not redeemed. A code that was redeemed before is in the wrong hands now or was then, so its
    /// grant ends (RFC 6749 §4.1.2). To another client, nothing happens and nothing is said.
    async fn refuse_code(&self, client: &Client, code: &Token, now: Timestamp) -> Result<IssuedTokens, Failure> {
        let Some(grant) = self.store.grant(code.grant).await?.filter(|grant| grant.client == client.id) else {
            return Err(InvalidGrant::Code.into());
        };
        match grant.state {
            GrantState::Active(_) => {
                tracing::warn!(client_id = %client.id, grant_id = %grant.id, "an authorization code was replayed: its grant is revoked");
                self.revoke_grant(grant.id).await?;
                Err(InvalidGrant::CodeReplayed.into())
            }
            GrantState::Pending if !code.is_expired(now) => {
                self.store.count_failed_redemption(grant.id, now).await?;
                Err(InvalidGrant::Proof.into())
            }
            GrantState::Pending | GrantState::Revoked => Err(InvalidGrant::Code.into()),
        }
    }

    /// RFC 6749 §6, with rotation (RFC 9700 §4.14.2).
    async fn refresh(&self, client: &Client, form: &Parameters) -> Result<IssuedTokens, Failure> {
        let now = self.effects.now();
        let token = self
            .presented(form.require("refresh_token")?, TokenKind::RefreshToken)
            .filter(|token| !token.is_expired(now))
            .ok_or(InvalidGrant::RefreshToken)?;
        let requested: Option<ScopeSet> = form.get("scope").map(str::parse).transpose().map_err(InvalidScope::from)?;
        // Before anything is used up.
        let signer = self.id_token_signer(client).await?;
        // Once more when another request rotated in between: then this one is the repetition.
        for _ in 0..2 {
            let grant = self
                .store
                .grant(token.grant)
                .await?
                .filter(|grant| grant.client == client.id)
                .ok_or(InvalidGrant::RefreshToken)?;
            let refreshed = match grant.refresh_standing(&token, &self.settings.lifetimes, now) {
                RefreshStanding::Current(rotation) => self.rotate(&grant, &rotation, requested.as_ref(), now).await?,
                RefreshStanding::Repeated(_) => Some(grant),
                RefreshStanding::Replayed => {
                    tracing::warn!(client_id = %client.id, grant_id = %grant.id, "a refresh token was replayed: its grant is revoked");
                    self.revoke_grant(grant.id).await?;
                    return Err(InvalidGrant::RefreshTokenReplayed.into());
                }
                RefreshStanding::Dead => break,
            };
            if let Some(grant) = refreshed {
                let tokens = self.tokens_of(&grant).ok_or(InvalidGrant::RefreshToken)?;
                let authentication = grant.authentication.clone().map(Authentication::without_nonce);
                return self.with_id_token(tokens, &grant, signer, authentication).await;
            }
        }
        Err(InvalidGrant::RefreshToken.into())
    }

    /// Replaces the current refresh token. The requested scopes narrow the access token alone (RFC 6749 §6).
    async fn rotate(
        &self,
        grant: &Grant,
        rotation: &Rotation,
        requested: Option<&ScopeSet>,
        now: Timestamp,
    ) -> Result<Option<Grant>, Failure> {
        let granted = grant.variants.first().ok_or(InvalidScope::NotGranted)?;
        let scopes = requested.unwrap_or(granted);
        if !scopes.iter().all(|scope| self.settings.implications.satisfy(granted, scope)) {
            return Err(InvalidScope::NotGranted.into());
        }
        let mut variants = grant.variants.clone();
        let variant = match grant.variant_of(scopes).ok_or(InvalidScope::TooManyVariants)? {
            Variant::Known(variant) => variant,
            Variant::New(variant) => {
                variants.push(scopes.clone());
                variant
            }
        };
        let refresh =
            Refresh { grant: grant.id, client: grant.client.clone(), serial: rotation.serial, variant, variants, now };
        Ok(self.store.rotate(refresh).await?)
    }

    /// The tokens that belong to the current rotation of a grant: always the same bytes. `None` when it is not active.
    fn tokens_of(&self, grant: &Grant) -> Option<IssuedTokens> {
        let GrantState::Active(rotation) = grant.state else { return None };
        let lifetimes = &self.settings.lifetimes;
        let access_token = grant.access_token(&rotation, lifetimes);
        Some(IssuedTokens {
            access_token: self.token_keys.seal(&access_token),
            refresh_token: self.token_keys.seal(&grant.refresh_token(&rotation, lifetimes)),
            expires_in: access_token.lifetime,
            scope: grant.variants.get(usize::from(rotation.variant))?.clone(),
            id_token: None,
        })
    }

    fn presented(&self, text: &str, kind: TokenKind) -> Option<Token> {
        self.open(text).filter(|token| token.kind == kind)
    }
}
