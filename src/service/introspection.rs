//! What a token is and what it may do. Every front asks here: there is one path of a check.

use std::sync::Arc;

use super::Service;
use super::possession::Shown;
use crate::domain::certificate::ClientCertificate;
use crate::domain::client::{Client, Introspects};
use crate::domain::decision::{Decision, Requirement};
use crate::domain::error::{Failure, InvalidClient, OAuthError, Unavailable};
use crate::domain::grant::{GrantFacts, GrantState, Variant};
use crate::domain::parameters::Parameters;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
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
}

impl ActiveToken {
    pub fn scopes(&self) -> &ScopeSet {
        &self.variant().scopes
    }

    pub fn variant(&self) -> &Variant {
        match self.facts.meaning(&self.token) {
            Meaning::Variant(variant) => variant,
            Meaning::Gone | Meaning::Unknown => unreachable!("a token is not active unless its facts know its variant"),
        }
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
}

impl Service {
    /// What a token of any kind is. Codes are never active: they are for the token endpoint alone.
    pub async fn introspect(&self, text: &str) -> Result<Standing, Unavailable> {
        let now = self.effects.now();
        match self.token_keys.open(text).filter(|signed| !signed.token.is_expired(now)) {
            Some(signed) if signed.token.kind == TokenKind::AccessToken => self.access_token(signed).await,
            Some(signed) if signed.token.kind == TokenKind::RefreshToken && !self.index.is_revoked(signed.key) => {
                self.refresh_token(signed.token, now).await
            }
            Some(_) | None => Ok(Standing::inactive(Source::Nowhere)),
        }
    }

    /// Whether an access token satisfies a requirement, in the hands of who shows this. A token of another kind is inactive here.
    pub async fn check<'r>(
        &self,
        text: &str,
        requirement: &Requirement<'r>,
        shown: &Shown<'_>,
    ) -> Result<(Decision<'r>, Standing), Unavailable> {
        let now = self.effects.now();
        let standing = match self.token_keys.open(text) {
            Some(signed) if signed.token.kind == TokenKind::AccessToken && !signed.token.is_expired(now) => {
                self.access_token(signed).await?
            }
            Some(_) | None => Standing::inactive(Source::Nowhere),
        };
        let decision = match &standing.active {
            Some(active) => match self.missing_possession(text, active, shown, now).await? {
                None => requirement.decide(active.scopes(), active.variant().resources(), &self.settings.implications),
                Some(cause) => Decision::InvalidProof(cause),
            },
            None => Decision::InactiveToken,
        };
        Ok((decision, standing))
    }

    /// RFC 7662 §2: the caller authenticates as a confidential client and sees its own tokens, the access tokens that are meant for it,
    /// or all if it is a resource server. Whatever it may not see is inactive to it.
    pub async fn introspect_for_client(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&ClientCertificate>,
        form: &Parameters,
    ) -> Result<Standing, Failure> {
        form.refuse_repeated()?;
        let caller = self.authenticate_client(authorization, certificate, form).await?;
        if !caller.is_confidential() {
            return Err(OAuthError::from(InvalidClient::Failed).into());
        }
        let mut standing = self.introspect(form.require("token")?).await?;
        standing.active.take_if(|active| !may_see(&caller, active));
        Ok(standing)
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
                Meaning::Variant(_) => Some(Standing { active: Some(ActiveToken { token, facts }), source }),
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
                        lifetime: token.lifetime.min(rotation.idle_until.seconds_since(token.issued_at)),
                        ..token
                    },
                    facts: Arc::new(GrantFacts {
                        client: grant.client,
                        subject: grant.subject,
                        username: grant.username.into(),
                        session: grant.session,
                        variants: grant.variants,
                        generation: grant.generation,
                        created_seq: 0,
                        as_of: 0,
                    }),
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
    // Refresh tokens are for their client alone, so for the resource a token is meant for, it has to be an access token.
    let is_meant_for_caller = active.token.kind == TokenKind::AccessToken
        && active.variant().resources().iter().any(|resource| caller.metadata.resources.contains(resource));
    match caller.introspects {
        Introspects::Any => true,
        Introspects::Own => active.facts.client == caller.id || is_meant_for_caller,
    }
}
