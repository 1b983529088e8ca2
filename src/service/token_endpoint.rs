//! The token endpoint (RFC 6749 §3.2): a code, or a refresh token, for tokens. The other grants are in files of their own.

use super::Service;
use super::client_authentication::Caller;
use super::possession::{BindingKey, ShownKeys};
use crate::domain::audit::Event;
use crate::domain::client::{Client, GrantType, RefreshTokenRotation};
use crate::domain::error::{Failure, InvalidGrant, InvalidScope, OAuthError, Unavailable};
use crate::domain::grant::{Confirmation, Further, Grant, GrantState, RefreshStanding, Restriction, Variant};
use crate::domain::openid::Authentication;
use crate::domain::parameters::Parameters;
use crate::domain::resource::InvalidTarget;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{Token, TokenKind, TokenText};
use crate::domain::variant_list::Placement;
use crate::store::{Redemption, Refresh, Times};

/// So often a variant is added anew after others were added meanwhile.
const MAX_ADDITIONS: usize = 16;

/// A successful token response (RFC 6749 §5.1).
pub struct IssuedTokens {
    pub access_token: TokenText,
    /// What the access token says, and what it stands for.
    pub(super) token: Token,
    pub(super) variant: Variant,
    pub token_type: &'static str,
    pub refresh_token: Option<TokenText>,
    /// Seconds.
    pub expires_in: u32,
    pub scope: ScopeSet,
    /// RFC 8693 §2.2.1.
    pub issued_token_type: Option<&'static str>,
    /// For OpenID Connect (Core §3.1.3.3).
    pub id_token: Option<String>,
}

/// What the first access token of a grant stands for, and the list that it is an index into.
pub(super) struct FirstVariants {
    pub(super) variant: u8,
    pub(super) variants: Vec<Variant>,
}

impl Service {
    pub async fn issue(
        &self,
        caller: &Caller<'_>,
        shown: &ShownKeys,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        form.refuse_repeated()?;
        let client = self.authenticate_client(caller, form).await?;
        self.can_sign()?;
        let grant_type = form.require("grant_type")?.parse().ok().filter(|asked| self.settings.offers(*asked));
        let grant_type = grant_type.ok_or(OAuthError::UnsupportedGrantType)?;
        if !client.may_use(grant_type) {
            return Err(OAuthError::UnauthorizedClient.into());
        }
        let key = self.binding_key(&client, shown)?;
        let key = key.as_ref();
        let issued = match grant_type {
            GrantType::AuthorizationCode => self.redeem_code(&client, key, form).await,
            GrantType::RefreshToken => self.refresh(&client, key, form).await,
            GrantType::ClientCredentials => self.client_credentials(&client, key, form).await,
            GrantType::DeviceCode => self.poll_for_device(&client, key, form).await,
            GrantType::TokenExchange => self.exchange_token(&client, key, form).await,
        };
        if let Ok(tokens) = &issued {
            self.audit.record(Event::TokenIssued { client: &client.id, grant: tokens.token.grant, grant_type });
            self.note_client_use(&client).await;
        }
        issued
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
        let rules = &self.settings.authorization;
        let verifier = form.get("code_verifier").map(|text| rules.pkce.parse_verifier(text)).transpose();
        let verifier = verifier.map_err(crate::domain::error::InvalidRequest::from)?;
        if verifier.is_none() && rules.pkce.is_required_of(client) {
            return Err(InvalidGrant::Proof.into());
        }
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
        let Some(redirect_uri) = rules.redirects.presented(form.get("redirect_uri"), client) else {
            return self.refuse_code(client, &code, now).await;
        };
        // Before anything is used up.
        let signer = self.id_token_signer(client).await?;
        let jwt = self.access_token_signer(client).await?;
        let key = self.claim_key(key).await?;
        let FirstVariants { variant, variants } = self.first_variants(client, &pending, key, form)?;
        let redemption = Redemption {
            grant: code.grant,
            client: client.id.clone(),
            redirect_uri,
            // RFC 9700 §4.8.2: without a challenge, there is none that a verifier could answer.
            challenge: verifier.map(|verifier| verifier.challenge()),
            variant,
            variants,
            now,
            times: self.times(client, now),
        };
        match self.store.redeem(redemption).await? {
            Some(grant) => {
                let tokens = self.tokens_of(client, &grant).ok_or(InvalidGrant::Code)?;
                let tokens = self.in_format(tokens, &grant, jwt.as_ref()).await?;
                self.with_id_token(tokens, &grant, signer, grant.authentication.clone(), now).await
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
                self.audit.record(Event::CodeReplayed { client: &client.id, grant: grant.id });
                Err(InvalidGrant::CodeReplayed.into())
            }
            GrantState::Pending if !code.is_expired(now) => {
                self.store.count_failed_redemption(grant.id, now).await?;
                Err(InvalidGrant::Proof.into())
            }
            GrantState::Pending | GrantState::Revoked => Err(InvalidGrant::Code.into()),
        }
    }

    /// RFC 6749 §6, with rotation (RFC 9700 §4.14.2) unless the client's policy is another.
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
        // Before anything is used up.
        let signer = self.id_token_signer(client).await?;
        let jwt = self.access_token_signer(client).await?;
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
            let authentication = grant.authentication.clone().map(Authentication::without_nonce);
            let tokens = match grant.refresh_standing(&token, &self.settings.lifetimes, now) {
                RefreshStanding::Current(rotation) => {
                    // What is wanted narrows the access token alone (RFC 6749 §6).
                    let scopes = requested.as_ref().unwrap_or(&granted.scopes);
                    let wanted = self.narrowed(granted, scopes, form)?.bound_to(key.clone());
                    self.check_length(client, &wanted)?;
                    let (id, times) = (grant.client.clone(), self.times(client, now));
                    let variant = self.index_of(&grant, &wanted, now, times.access_lifetime).await?;
                    let variant = variant.ok_or(InvalidGrant::RefreshToken)?;
                    let refresh = Refresh { grant: grant.id, client: id, serial: rotation.serial, variant, now, times };
                    match client.rotation() {
                        RefreshTokenRotation::Rotate => {
                            let rotated = self.store.rotate(refresh).await?;
                            rotated.and_then(|rotated| Some((self.tokens_of(client, &rotated)?, now)))
                        }
                        RefreshTokenRotation::Keep => {
                            let kept = self.store.keep(refresh).await?;
                            let further = Further { variant, issued_at: now, lifetime: times.access_lifetime };
                            kept.and_then(|kept| Some((self.tokens_beside(&kept, &token, further)?, now)))
                        }
                    }
                }
                RefreshStanding::Repeated(rotation) if !grant.is_bound(&rotation, key.as_ref()) => {
                    return Err(InvalidGrant::OtherKey.into());
                }
                RefreshStanding::Repeated(rotation) => {
                    let tokens = self.tokens_of(client, &grant).ok_or(InvalidGrant::RefreshToken)?;
                    Some((tokens, rotation.rotated_at))
                }
                RefreshStanding::Replayed => {
                    tracing::warn!(client_id = %client.id, grant_id = %grant.id, "a refresh token was replayed: its grant is revoked");
                    self.revoke_grant(grant.id).await?;
                    self.audit.record(Event::RefreshTokenReplayed { client: &client.id, grant: grant.id });
                    return Err(InvalidGrant::RefreshTokenReplayed.into());
                }
                RefreshStanding::Dead => break,
            };
            if let Some((tokens, issued_at)) = tokens {
                let tokens = self.in_format(tokens, &grant, jwt.as_ref()).await?;
                return self.with_id_token(tokens, &grant, signer, authentication, issued_at).await;
            }
        }
        Err(InvalidGrant::RefreshToken.into())
    }

    /// What a grant becomes when its code is redeemed with this key.
    pub(super) fn first_variants(
        &self,
        client: &Client,
        pending: &Grant,
        key: Option<Confirmation>,
        form: &Parameters,
    ) -> Result<FirstVariants, Failure> {
        let granted = pending.variants.first().ok_or(InvalidGrant::Code)?;
        if granted.confirmation().is_some_and(|bound| key.as_ref() != Some(bound)) {
            return Err(InvalidGrant::OtherKey.into());
        }
        // RFC 9449 §5: the refresh token of a public client is bound, too. A confidential one proves who it is anyhow.
        let kept = granted.bound_to(key.clone().filter(|_| !client.is_confidential()));
        let wanted = self.narrowed(granted, &granted.scopes, form)?.bound_to(key);
        self.check_length(client, &wanted)?;
        let mut variants = vec![kept];
        if !variants.contains(&wanted) {
            variants.push(wanted);
        }
        Ok(FirstVariants { variant: u8::from(variants.len() > 1), variants })
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

    /// The index of a variant in the list of a grant, for tokens that are issued at `now` and live for at most `lifetime` seconds. The
    /// list changes where it has to. `None` when the grant has ended.
    pub(super) async fn index_of(
        &self,
        grant: &Grant,
        variant: &Variant,
        now: Timestamp,
        lifetime: u32,
    ) -> Result<Option<u8>, Failure> {
        let mut grant = grant.clone();
        for _ in 0..MAX_ADDITIONS {
            match grant.variants.place(variant, now, lifetime).ok_or(InvalidScope::TooManyVariants)? {
                Placement::Known(index) => return Ok(Some(index)),
                Placement::New(index, list) => {
                    if self.store.replace_variants(grant.id, &grant.variants, &list).await? {
                        return Ok(Some(index));
                    }
                }
            }
            // Another request has added one, or the grant has ended.
            let active = |grant: &Grant| matches!(grant.state, GrantState::Active(_));
            let Some(again) = self.store.grant(grant.id).await?.filter(active) else { return Ok(None) };
            grant = again;
        }
        let cause = "too many others add variants to the same grant at the same time".into();
        Err(Unavailable { operation: "add a variant to a grant", cause }.into())
    }

    /// What the client's policy says now. Without refresh tokens, a grant ends with its access token.
    pub(super) fn times(&self, client: &Client, now: Timestamp) -> Times {
        let lifetimes = client.lifetimes(&self.settings.lifetimes);
        let whole = if client.may_use(GrantType::RefreshToken) {
            lifetimes.refresh_token_absolute
        } else {
            lifetimes.access_token
        };
        Times {
            expires_at: now.plus(whole),
            idle_until: now.plus(lifetimes.refresh_token_idle),
            access_lifetime: lifetimes.access_token,
        }
    }

    /// The tokens that belong to the current rotation of a grant: always the same bytes. `None` when it is not active.
    pub(super) fn tokens_of(&self, client: &Client, grant: &Grant) -> Option<IssuedTokens> {
        let GrantState::Active(rotation) = grant.state else { return None };
        let access_token = grant.access_token(&rotation);
        let refresh_token = client.may_use(GrantType::RefreshToken).then(|| grant.refresh_token(&rotation));
        let variant = grant.variant_of(&rotation)?;
        Some(IssuedTokens {
            access_token: self.token_keys.seal(&access_token),
            token: access_token,
            variant: variant.clone(),
            token_type: variant.token_type(),
            refresh_token: refresh_token.map(|token| self.token_keys.seal(&token)),
            expires_in: access_token.lifetime,
            scope: variant.scopes.clone(),
            issued_token_type: None,
            id_token: None,
        })
    }

    /// Another access token, and the refresh token that stays. `None` when the grant is not active.
    fn tokens_beside(&self, grant: &Grant, kept: &Token, mut further: Further) -> Option<IssuedTokens> {
        let GrantState::Active(rotation) = grant.state else { return None };
        further.lifetime = further.lifetime.min(rotation.expires_at.seconds_since(further.issued_at));
        let variant = grant.variants.get(further.variant, further.issued_at)?;
        let tokens = self.further_access_token(grant, variant, further);
        Some(IssuedTokens { refresh_token: Some(self.token_keys.seal(kept)), ..tokens })
    }

    /// An access token beside those of the rotations; `variant` is what it stands for. Each is another one, in the same second, too.
    pub(super) fn further_access_token(&self, grant: &Grant, variant: &Variant, further: Further) -> IssuedTokens {
        let token = grant.further_access_token(further, self.effects.random_bytes());
        IssuedTokens {
            access_token: self.token_keys.seal(&token),
            token,
            variant: variant.clone(),
            token_type: variant.token_type(),
            refresh_token: None,
            expires_in: token.lifetime,
            scope: variant.scopes.clone(),
            issued_token_type: None,
            id_token: None,
        }
    }

    pub(super) fn presented(&self, text: &str, kind: TokenKind) -> Option<Token> {
        self.open(text).filter(|token| token.kind == kind)
    }
}
