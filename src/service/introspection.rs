//! What a token is and what it may do. Every front asks here: there is one path of a check.

use std::borrow::Cow;
use std::sync::Arc;

use super::Service;
use super::client_authentication::Caller;
use super::possession::Shown;
use crate::domain::app_user::is_machine;
use crate::domain::caller::Sight;
use crate::domain::client::{Client, Introspects};
use crate::domain::decision::{Decision, Held, Requirement};
use crate::domain::error::{Failure, InvalidClient, OAuthError, Unavailable};
use crate::domain::grant::{GrantFacts, GrantState, Variant};
use crate::domain::openid::Authentication;
use crate::domain::parameters::Parameters;
use crate::domain::scope::ScopeSet;
use crate::domain::scope_rules::{HeldScopes, ScopeRules};
use crate::domain::timestamp::{Timestamp, shorter};
use crate::domain::token::{Signed, Token, TokenKind};
use crate::domain::variant_list::Meaning;
use crate::facts::{Depth, Source};
use crate::revocation::Verdict;

/// What is known about a token.
#[derive(Clone, Debug)]
pub struct Standing {
    /// `None` when the token is known bad.
    pub active: Option<ActiveToken>,
    pub source: Source,
}

/// A token that is known good, and what stands behind it.
#[derive(Clone, Debug)]
pub struct ActiveToken {
    pub token: Token,
    pub facts: Arc<GrantFacts>,
    /// What its client may ask for now, where that is a limit.
    pub client_scopes: Option<Arc<ScopeSet>>,
}

impl ActiveToken {
    /// What was granted.
    pub fn scopes(&self) -> &ScopeSet {
        &self.variant().scopes
    }

    pub fn variant(&self) -> &Variant {
        match self.facts.meaning(&self.token) {
            Meaning::Variant(variant) => variant,
            Meaning::Gone | Meaning::Unknown => unreachable!("a token is not active unless its facts know its variant"),
        }
    }

    /// What is decided about.
    fn held<'t>(&'t self, rules: Option<&'t ScopeRules>) -> Held<'t> {
        let variant = self.variant();
        let authentication = self.facts.authentication.as_ref();
        Held { scopes: self.held_scopes(rules), audiences: variant.resources(), authentication }
    }

    fn held_scopes<'t>(&'t self, rules: Option<&'t ScopeRules>) -> HeldScopes<'t> {
        let granted = self.scopes();
        let Some(rules) = rules else { return granted.into() };
        let whole = self.facts.variants.first().map_or(granted, |first| &first.scopes);
        rules.held(granted, whole, self.client_scopes.as_deref(), !is_machine(&self.facts.subject))
    }

    /// Whether it is an access token that is meant for such a resource.
    fn is_meant_for(&self, is_the_one: impl Fn(&str) -> bool) -> bool {
        self.token.kind == TokenKind::AccessToken
            && self.variant().resources().iter().any(|resource| is_the_one(resource))
    }

    /// `token_type` (RFC 7662 §2.2).
    pub fn token_type(&self) -> &'static str {
        match self.token.kind {
            TokenKind::AccessToken => self.variant().token_type(),
            TokenKind::RefreshToken | TokenKind::AuthorizationCode | TokenKind::DeviceCode => "refresh_token",
        }
    }
}

impl Standing {
    const fn inactive(source: Source) -> Self {
        Self { active: None, source }
    }

    /// What somebody of this sight gets to know. What it may not see is as garbage is; so is what is dead, because nobody can tell any
    /// more whom that was for.
    fn seen_by(self, sight: &Sight) -> Self {
        match (sight, &self.active) {
            (Sight::All, _) => self,
            (_, Some(active)) if sight.covers(active.token.kind, active.variant().resources()) => self,
            _ => Self::inactive(Source::Nowhere),
        }
    }
}

impl Service {
    /// What a token of any kind is, to somebody of this sight. Codes are never active: they are for the token endpoint alone.
    pub async fn introspect(&self, text: &str, sight: &Sight) -> Result<Standing, Unavailable> {
        let now = self.effects.now();
        let opened = match self.token_keys.open(text) {
            None if self.may_be_jwt(text) => Box::pin(self.open_jwt(text, now)).await?,
            opened => opened,
        };
        let standing = match opened.filter(|signed| !signed.token.is_expired(now)) {
            Some(signed) if signed.token.kind == TokenKind::AccessToken => self.access_token(signed).await,
            Some(signed) if signed.token.kind == TokenKind::RefreshToken && !self.index.is_revoked(signed.key) => {
                self.refresh_token(signed.token, now).await
            }
            Some(_) | None => Ok(Standing::inactive(Source::Nowhere)),
        };
        self.with_client_scopes(standing?.seen_by(sight)).await
    }

    /// What a token is to the resource that asks (RFC 7662 §2.2): one that is not meant for it is inactive, and so is one that names no
    /// resource. Refresh tokens are for their client alone.
    pub async fn introspect_at(&self, text: &str, sight: &Sight, resource: &str) -> Result<Standing, Unavailable> {
        let mut standing = self.introspect(text, sight).await?;
        standing.active.take_if(|active| !active.is_meant_for(|meant| meant == resource));
        Ok(standing)
    }

    /// Whether an access token satisfies a requirement, in the hands of who shows this, to somebody of this sight. A token of another
    /// kind is inactive here.
    pub async fn check<'r>(
        &self,
        text: &str,
        sight: &Sight,
        requirement: &Requirement<'r>,
        shown: &Shown<'_>,
    ) -> Result<(Decision<'r>, Standing), Unavailable> {
        let now = self.effects.now();
        let opened = match self.token_keys.open(text) {
            None if self.may_be_jwt(text) => Box::pin(self.open_jwt(text, now)).await?,
            opened => opened,
        };
        let standing = match opened {
            Some(signed) if signed.token.kind == TokenKind::AccessToken && !signed.token.is_expired(now) => {
                self.access_token(signed).await?
            }
            Some(_) | None => Standing::inactive(Source::Nowhere),
        }
        // Before anything else is asked: a proof for what is not seen is not used up.
        .seen_by(sight);
        let standing = self.with_client_scopes(standing).await?;
        let decision = match &standing.active {
            Some(active) => match self.missing_possession(text, active, shown, now).await? {
                None => requirement.decide(
                    &active.held(self.settings.scope_rules.as_ref()),
                    &self.settings.implications,
                    now,
                ),
                Some(cause) => Decision::InvalidProof(cause),
            },
            None => Decision::InactiveToken,
        };
        Ok((decision, standing))
    }

    /// What a resource is told that a token may do. A refresh token may do nothing there; it says what was granted.
    pub fn scopes_of<'t>(&'t self, active: &'t ActiveToken) -> Cow<'t, ScopeSet> {
        match active.token.kind {
            TokenKind::AccessToken => {
                active.held_scopes(self.settings.scope_rules.as_ref()).effective(&self.settings.implications)
            }
            _ => Cow::Borrowed(active.scopes()),
        }
    }

    /// What the scopes of a token ask of the application.
    pub fn restrictions_of(&self, active: &ActiveToken) -> Vec<String> {
        active.held_scopes(self.settings.scope_rules.as_ref()).restrictions().map(str::to_owned).collect()
    }

    /// With what its client may ask for now, where that is a limit.
    async fn with_client_scopes(&self, mut standing: Standing) -> Result<Standing, Unavailable> {
        if self.settings.scope_rules.as_ref().is_some_and(|rules| rules.limit_to_client)
            && let Some(active) = &mut standing.active
            && active.token.kind == TokenKind::AccessToken
        {
            let now = || self.effects.clock.boottime();
            active.client_scopes = Some(Box::pin(self.client_scopes.of(&active.facts.client, now)).await?);
        }
        Ok(standing)
    }

    /// RFC 7662 §2: the caller authenticates as a confidential client and sees its own tokens, the access tokens that are meant for it,
    /// or all if it is a resource server. Whatever it may not see is inactive to it.
    pub async fn introspect_for_client(
        &self,
        caller: &Caller<'_>,
        form: &Parameters,
    ) -> Result<(Client, Standing), Failure> {
        form.refuse_repeated()?;
        let caller = self.authenticate_client(caller, form).await?;
        if !caller.is_confidential() {
            return Err(OAuthError::from(InvalidClient::NoSecret).into());
        }
        let mut standing = self.introspect(form.require("token")?, &Sight::All).await?;
        standing.active.take_if(|active| !may_see(&caller, active));
        Ok((caller, standing))
    }

    /// "Active" is answered under the lease alone: without it, the log is read first, and what cannot be read is unknown. The lease is
    /// asked for before the index, so that the verdict knows at least what was confirmed.
    async fn access_token(&self, Signed { token, key }: Signed) -> Result<Standing, Unavailable> {
        // What is seldom done is boxed, so that the future of every check stays small.
        if !self.follower.lease_holds()
            && let Err(error) = Box::pin(self.follower.renew_lease()).await
        {
            // What is known to be dead is dead all the same.
            let known = self.facts.cached(token.grant).and_then(|facts| self.judge(token, facts, Source::Local));
            return known.filter(|standing| standing.active.is_none()).ok_or(error);
        }
        if self.index.is_revoked(key) {
            return Ok(Standing::inactive(Source::Nowhere));
        }
        self.stand(token).await
    }

    async fn stand(&self, token: Token) -> Result<Standing, Unavailable> {
        if let Some(facts) = self.facts.cached(token.grant)
            && let Some(standing) = self.judge(token, facts, Source::Local)
        {
            return Ok(standing);
        }
        Box::pin(self.look_up(token)).await
    }

    /// What the cache in this process cannot say.
    async fn look_up(&self, token: Token) -> Result<Standing, Unavailable> {
        // The database twice, because the first may share a read that began before what made the facts too old.
        for depth in [Depth::Shared, Depth::Store, Depth::Store] {
            let Some(fetched) = self.facts.fetch(token.grant, depth, self.index.applied()).await? else {
                return Ok(Standing::inactive(Source::Store));
            };
            if let Some(standing) = self.judge(token, fetched.facts, fetched.source) {
                return Ok(standing);
            }
        }
        Err(Unavailable {
            operation: "judge a token",
            cause: "the database is behind what this server has seen or issued: was a backup restored?".into(),
        })
    }

    /// `None` when the facts are older than the token, or than what the revocation index can complete.
    fn judge(&self, token: Token, facts: Arc<GrantFacts>, source: Source) -> Option<Standing> {
        match self.index.judge(&token, &facts) {
            Verdict::Alive => match facts.meaning(&token) {
                Meaning::Variant(_) => {
                    Some(Standing { active: Some(ActiveToken { token, facts, client_scopes: None }), source })
                }
                Meaning::Gone => Some(Standing::inactive(source)),
                Meaning::Unknown => None,
            },
            Verdict::Dead => Some(Standing::inactive(source)),
            Verdict::FactsTooOld => None,
        }
    }

    /// Which refresh token is good changes with every use, so it is never cached.
    async fn refresh_token(&self, token: Token, now: Timestamp) -> Result<Standing, Unavailable> {
        let active = self.store.grant(token.grant).await?.and_then(|grant| match grant.state {
            GrantState::Active(rotation) if rotation.serial == token.serial && now < rotation.idle_until => {
                Some(ActiveToken {
                    token: Token {
                        lifetime: shorter(token.lifetime, rotation.idle_until.lifetime_from(token.issued_at)),
                        ..token
                    },
                    facts: Arc::new(GrantFacts {
                        client: grant.client,
                        subject: grant.subject,
                        username: grant.username.into(),
                        session: grant.session,
                        authentication: grant.authentication.as_ref().and_then(Authentication::of_user),
                        variants: grant.variants,
                        generation: grant.generation,
                        created_seq: 0,
                        as_of: 0,
                    }),
                    client_scopes: None,
                })
            }
            _ => None,
        });
        // What its facts do not know, no token stands for.
        let active = active.filter(|active| matches!(active.facts.meaning(&active.token), Meaning::Variant(_)));
        Ok(Standing { active, source: Source::Bypassed })
    }
}

pub(super) fn may_see(caller: &Client, active: &ActiveToken) -> bool {
    let is_own = |resource: &str| caller.metadata.resources.iter().any(|own| **own == *resource);
    match caller.introspects {
        Introspects::Any => true,
        Introspects::Own => active.facts.client == caller.id || active.is_meant_for(is_own),
    }
}
