//! The token endpoint (RFC 6749 §3.2): a code, or a refresh token, for tokens.

use super::Service;
use super::possession::{BindingKey, ShownKeys};
use crate::domain::client::Client;
use crate::domain::error::{Failure, InvalidGrant, InvalidScope, OAuthError};
use crate::domain::grant::{Grant, GrantState, RefreshStanding, Restriction, Rotation, Variant, VariantIndex};
use crate::domain::parameters::Parameters;
use crate::domain::pkce::CodeVerifier;
use crate::domain::resource::InvalidTarget;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{Token, TokenKind, TokenText};
use crate::store::{Redemption, Refresh};

/// A successful token response (RFC 6749 §5.1).
pub struct IssuedTokens {
    pub access_token: TokenText,
    pub token_type: &'static str,
    pub refresh_token: TokenText,
    /// Seconds.
    pub expires_in: u32,
    pub scope: ScopeSet,
}

impl Service {
    /// `authorization` has the values of the `Authorization` headers.
    pub async fn issue(
        &self,
        authorization: &[&[u8]],
        shown: &ShownKeys,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        form.refuse_repeated()?;
        let client = self.authenticate_client(authorization, form).await?;
        self.can_sign()?;
        let key = self.binding_key(&client, shown)?;
        match form.require("grant_type")? {
            "authorization_code" => self.redeem_code(&client, key.as_ref(), form).await,
            "refresh_token" => self.refresh(&client, key.as_ref(), form).await,
            _ => Err(OAuthError::UnsupportedGrantType.into()),
        }
    }

    /// RFC 6749 §4.1.3 and RFC 7636 §4.5. Client, redirect URI and verifier are checked in the statement that claims the code,
    /// so a wrong one does not use it up.
    async fn redeem_code(
        &self,
        client: &Client,
        key: Option<&BindingKey>,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        let now = self.effects.now();
        let code = self.presented(form.require("code")?, TokenKind::AuthorizationCode).ok_or(InvalidGrant::Code)?;
        let verifier: CodeVerifier = match form.get("code_verifier") {
            Some(verifier) => verifier.parse().map_err(crate::domain::error::InvalidRequest::from)?,
            None => return Err(InvalidGrant::Proof.into()),
        };
        if code.is_expired(now) {
            return self.refuse_code(client, &code, now).await;
        }
        // What the grant says does not change before its code is redeemed.
        let Some(pending) = self.store.grant(code.grant).await?.filter(|grant| grant.client == client.id) else {
            return Err(InvalidGrant::Code.into());
        };
        if pending.state != GrantState::Pending {
            return self.refuse_code(client, &code, now).await;
        }
        let key = self.claim_key(key).await?;
        let granted = pending.variants.first().ok_or(InvalidGrant::Code)?;
        if granted.confirmation().is_some_and(|bound| key.as_ref() != Some(bound)) {
            return Err(InvalidGrant::OtherKey.into());
        }
        // RFC 9449 §5: the refresh token of a public client is bound, too. A confidential one proves who it is anyhow.
        let kept = granted.bound_to(key.clone().filter(|_| !client.is_confidential()));
        let wanted = self.narrowed(granted, &granted.scopes, form)?.bound_to(key);
        let mut variants = vec![kept];
        if !variants.contains(&wanted) {
            variants.push(wanted);
        }
        let redemption = Redemption {
            grant: code.grant,
            client: client.id.clone(),
            redirect_uri_parameter: form.get("redirect_uri").map(str::to_owned),
            challenge: verifier.challenge(),
            variant: u8::from(variants.len() > 1),
            variants,
            now,
            expires_at: now.plus(self.settings.lifetimes.refresh_token_absolute),
        };
        match self.store.redeem(redemption).await? {
            Some(grant) => self.tokens_of(&grant).ok_or(InvalidGrant::Code.into()),
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
    async fn refresh(
        &self,
        client: &Client,
        key: Option<&BindingKey>,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        let now = self.effects.now();
        let token = self
            .presented(form.require("refresh_token")?, TokenKind::RefreshToken)
            .filter(|token| !token.is_expired(now))
            .ok_or(InvalidGrant::RefreshToken)?;
        let requested: Option<ScopeSet> = form.get("scope").map(str::parse).transpose().map_err(InvalidScope::from)?;
        let key = self.claim_key(key).await?;
        // Once more when another request rotated in between: then this one is the repetition.
        for _ in 0..2 {
            let grant = self
                .store
                .grant(token.grant)
                .await?
                .filter(|grant| grant.client == client.id)
                .ok_or(InvalidGrant::RefreshToken)?;
            // Before all else: without its key, a bound refresh token is good for nothing, not even for ending the grant.
            let granted = grant.variants.first().ok_or(InvalidGrant::RefreshToken)?;
            match (granted.confirmation(), &key) {
                (Some(bound), key) if key.as_ref() != Some(bound) => return Err(InvalidGrant::OtherKey.into()),
                // RFC 9449 §5 has the refresh token of a public client bound, and this one cannot be any more.
                (None, Some(_)) if !client.is_confidential() => return Err(InvalidGrant::Unbound.into()),
                _ => {}
            }
            match grant.refresh_standing(&token, &self.settings.lifetimes, now) {
                RefreshStanding::Current(rotation) => {
                    let scopes = requested.as_ref().unwrap_or(&granted.scopes);
                    let wanted = self.narrowed(granted, scopes, form)?.bound_to(key.clone());
                    if let Some(rotated) = self.rotate(&grant, &rotation, wanted, now).await? {
                        return self.tokens_of(&rotated).ok_or(InvalidGrant::RefreshToken.into());
                    }
                }
                RefreshStanding::Repeated(rotation) if !grant.is_bound(&rotation, key.as_ref()) => {
                    return Err(InvalidGrant::OtherKey.into());
                }
                RefreshStanding::Repeated(_) => return self.tokens_of(&grant).ok_or(InvalidGrant::RefreshToken.into()),
                RefreshStanding::Replayed => {
                    tracing::warn!(client_id = %client.id, grant_id = %grant.id, "a refresh token was replayed: its grant is revoked");
                    self.revoke_grant(grant.id).await?;
                    return Err(InvalidGrant::RefreshTokenReplayed.into());
                }
                RefreshStanding::Dead => break,
            }
        }
        Err(InvalidGrant::RefreshToken.into())
    }

    /// What an access token shall stand for: these scopes (RFC 6749 §6), at the resources that the request names (RFC 8707 §2.2).
    fn narrowed(&self, granted: &Variant, scopes: &ScopeSet, form: &Parameters) -> Result<Variant, Failure> {
        if !scopes.iter().all(|scope| self.settings.implications.satisfy(&granted.scopes, scope)) {
            return Err(InvalidScope::NotGranted.into());
        }
        let resources = self.settings.resources.requested(form)?;
        if resources.is_empty() {
            return Ok(granted.with_scopes(scopes.clone()));
        }
        if !resources.iter().all(|resource| granted.resources().contains(resource)) {
            return Err(InvalidTarget::NotGranted.into());
        }
        let scopes = self.settings.resources.scopes_at(&resources, scopes)?;
        Ok(Variant::new(scopes, Restriction { resources, confirmation: granted.confirmation().cloned() }))
    }

    /// Replaces the current refresh token. What is wanted narrows the access token alone (RFC 6749 §6).
    async fn rotate(
        &self,
        grant: &Grant,
        rotation: &Rotation,
        wanted: Variant,
        now: Timestamp,
    ) -> Result<Option<Grant>, Failure> {
        let mut variants = grant.variants.clone();
        let variant = match grant.index_of(&wanted).ok_or(InvalidScope::TooManyVariants)? {
            VariantIndex::Known(variant) => variant,
            VariantIndex::New(variant) => {
                variants.push(wanted);
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
        let variant = grant.variants.get(usize::from(rotation.variant))?;
        Some(IssuedTokens {
            access_token: self.token_keys.seal(&access_token),
            refresh_token: self.token_keys.seal(&grant.refresh_token(&rotation, lifetimes)),
            token_type: variant.token_type(),
            expires_in: access_token.lifetime,
            scope: variant.scopes.clone(),
        })
    }

    fn presented(&self, text: &str, kind: TokenKind) -> Option<Token> {
        self.open(text).filter(|token| token.kind == kind)
    }
}
