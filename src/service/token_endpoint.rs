//! The token endpoint (RFC 6749 §3.2): a code, or a refresh token, for tokens. The other grants are in files of their own.

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::Service;
use super::client_authentication::Caller;
use super::possession::{BindingKey, ShownKeys};
use crate::domain::audit::Event;
use crate::domain::client::{AuthenticationMethod, Client, GrantType, RefreshTokenRotation};
use crate::domain::credentials::RepeatedCredentials;
use crate::domain::error::{Failure, InvalidGrant, InvalidScope, OAuthError, Unavailable};
use crate::domain::grant::{
    CodeReuse, Confirmation, Further, Grant, GrantState, RefreshStanding, Restriction, Variant,
};
use crate::domain::openid::Authentication;
use crate::domain::parameters::Parameters;
use crate::domain::pkce::CodeChallenge;
use crate::domain::resource::InvalidTarget;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::{Timestamp, shorter};
use crate::domain::token::{Token, TokenKind, TokenText};
use crate::domain::variant_list::Placement;
use crate::store::{Ending, Redemption, Refresh, Times};

/// So often a variant is added anew after others were added meanwhile.
const MAX_ADDITIONS: usize = 16;

/// Which requests of clients are taken.
#[derive(Clone, Debug)]
pub struct ClientRequests {
    pub content_types: Vec<ContentType>,
    /// How clients may authenticate.
    pub authentication: Vec<AuthenticationMethod>,
    pub repeated: RepeatedCredentials,
    /// Refuse requests with a query.
    pub refuse_query: bool,
    /// Whose pages may send them from a browser.
    pub origins: Vec<HeaderValue>,
}

/// What a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`, an object of texts.
    Json,
    /// `multipart/form-data`, without files.
    Multipart,
}

impl ContentType {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Json => "application/json",
            Self::Multipart => "multipart/form-data",
        }
    }
}

/// A successful token response (RFC 6749 §5.1).
pub struct IssuedTokens {
    pub access_token: TokenText,
    /// What the access token says, and what it stands for.
    pub(super) token: Token,
    pub(super) variant: Variant,
    pub token_type: &'static str,
    pub refresh_token: Option<TokenText>,
    /// Seconds; 0: it does not expire.
    pub expires_in: u32,
    pub scope: ScopeSet,
    /// Who the user is; empty for a machine.
    pub username: String,
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
            return Err(InvalidGrant::NoVerifier.into());
        }
        let challenge = verifier.map(|verifier| verifier.challenge());
        if code.is_expired(now) {
            return self.refuse_code(client, &code, None, now).await;
        }
        // What the grant says does not change before its code is redeemed.
        let pending = self.store.grant(code.grant).await?.ok_or(InvalidGrant::Code)?;
        if pending.client != client.id {
            return Err(InvalidGrant::ForeignCode.into());
        }
        if pending.state != GrantState::Pending {
            return self.refuse_code(client, &code, None, now).await;
        }
        let Some(redirect_uri) = rules.redirects.presented(form.get("redirect_uri"), client) else {
            return self.refuse_code(client, &code, challenge, now).await;
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
            challenge: challenge.clone(),
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
            None => self.refuse_code(client, &code, challenge, now).await,
        }
    }

    /// Why a code was not redeemed, which came with the proof of this challenge. A code that was redeemed before is in the wrong hands now
    /// or was then, so its grant ends (RFC 6749 §4.1.2), unless `tokens.code_reuse` has it stay. To another client, nothing happens and
    /// nothing is said.
    async fn refuse_code(
        &self,
        client: &Client,
        code: &Token,
        proven: Option<CodeChallenge>,
        now: Timestamp,
    ) -> Result<IssuedTokens, Failure> {
        let grant = self.store.grant(code.grant).await?.ok_or(InvalidGrant::Code)?;
        if grant.client != client.id {
            return Err(InvalidGrant::ForeignCode.into());
        }
        match grant.state {
            GrantState::Active(_) if client.is_confidential() && self.settings.code_reuse == CodeReuse::Refuse => {
                tracing::info!(client_id = %client.id, grant_id = %grant.id, "a client presented its authorization code again");
                Err(InvalidGrant::CodeReplayed.into())
            }
            GrantState::Active(_) => {
                tracing::warn!(client_id = %client.id, grant_id = %grant.id, "an authorization code was replayed: its grant is revoked");
                self.revoke_grant(grant.id).await?;
                self.audit.record(Event::CodeReplayed { client: &client.id, grant: grant.id });
                Err(InvalidGrant::CodeReplayed.into())
            }
            GrantState::Pending if !code.is_expired(now) => {
                let has_proof = proven.is_some();
                let is_proven = self.store.count_failed_redemption(grant.id, proven, now).await?;
                Err(match (is_proven, has_proof) {
                    (true, _) => InvalidGrant::RedirectUri,
                    (false, true) => InvalidGrant::Verifier,
                    (false, false) => InvalidGrant::NoVerifier,
                }
                .into())
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
            let grant = self.store.grant(token.grant).await?.ok_or(InvalidGrant::Ended)?;
            if grant.client != client.id {
                return Err(InvalidGrant::ForeignRefreshToken.into());
            }
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
                    let ends =
                        client.rotation() == RefreshTokenRotation::Rotate && self.settings.refresh_ends_access_tokens;
                    let generation = grant.generation.saturating_add(ends.into());
                    let serial = rotation.serial;
                    let refresh = Refresh { grant: grant.id, client: id, serial, generation, variant, now, times };
                    match client.rotation() {
                        RefreshTokenRotation::Rotate => {
                            let rotated = self.rotate(refresh, ends).await?;
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
                RefreshStanding::Dead => return Err(InvalidGrant::Ended.into()),
            };
            if let Some((tokens, issued_at)) = tokens {
                let tokens = self.in_format(tokens, &grant, jwt.as_ref()).await?;
                return self.with_id_token(tokens, &grant, signer, authentication, issued_at).await;
            }
        }
        Err(InvalidGrant::RefreshToken.into())
    }

    /// Replaces a refresh token by its successor. Where that ends the access tokens of before, it is written as a revocation is, so that
    /// every server and every cache obeys.
    async fn rotate(&self, refresh: Refresh, ends_access_tokens: bool) -> Result<Option<Grant>, Unavailable> {
        if !ends_access_tokens {
            return self.store.rotate(refresh).await;
        }
        let (grant, successor) = (refresh.grant, refresh.serial + 1);
        if Box::pin(self.revoker.revoke(Ending::Rotate(Box::new(refresh)))).await?.is_none() {
            return Ok(None);
        }
        let is_successor = |grant: &Grant| matches!(grant.state, GrantState::Active(now) if now.serial == successor);
        Ok(self.store.grant(grant).await?.filter(is_successor))
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
            expires_at: now.after(whole),
            idle_until: now.after(lifetimes.refresh_token_idle),
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
            username: grant.username.clone(),
            issued_token_type: None,
            id_token: None,
        })
    }

    /// Another access token, and the refresh token that stays. `None` when the grant is not active.
    fn tokens_beside(&self, grant: &Grant, kept: &Token, mut further: Further) -> Option<IssuedTokens> {
        let GrantState::Active(rotation) = grant.state else { return None };
        further.lifetime = shorter(further.lifetime, rotation.expires_at.lifetime_from(further.issued_at));
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
            username: grant.username.clone(),
            issued_token_type: None,
            id_token: None,
        }
    }

    pub(super) fn presented(&self, text: &str, kind: TokenKind) -> Option<Token> {
        self.open(text).filter(|token| token.kind == kind)
    }
}
