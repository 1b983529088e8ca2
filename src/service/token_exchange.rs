//! Token exchange (RFC 8693), for narrowing only: an access token for one of the same grant that may do less, ends no later and is
//! bound to the same key, which the request has to prove; one that is bound to none becomes bound to the key of the request. A service that passes a request on need not pass on all that it may do itself. It adds no row, and whatever
//! ends the grant ends both.

use super::Service;
use super::introspection::{ActiveToken, may_see};
use super::possession::BindingKey;
use super::token_endpoint::IssuedTokens;
use crate::domain::caller::Sight;
use crate::domain::client::Client;
use crate::domain::dpop::InvalidProof;
use crate::domain::error::{Failure, InvalidRequest, InvalidScope};
use crate::domain::grant::{Confirmation, Further, GrantState, Restriction, Variant};
use crate::domain::parameters::Parameters;
use crate::domain::resource::InvalidTarget;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::shorter;
use crate::domain::token::TokenKind;

/// RFC 8693 §3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Service {
    pub(super) async fn exchange_token(
        &self,
        client: &Client,
        key: Option<&BindingKey>,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        if form.get("actor_token").is_some() || form.get("actor_token_type").is_some() {
            return Err(InvalidRequest::ActorToken.into());
        }
        let is_access_token = |name: &'static str| form.get(name).is_none_or(|wanted| wanted == ACCESS_TOKEN);
        form.require("subject_token_type")?;
        if !is_access_token("subject_token_type") || !is_access_token("requested_token_type") {
            return Err(InvalidRequest::TokenType.into());
        }
        let standing = self.introspect(form.require("subject_token")?, &Sight::All).await?;
        // RFC 8693 §2.2.2: whatever is wrong with it, this is what the client is told.
        let subject = standing
            .active
            .filter(|active| active.token.kind == TokenKind::AccessToken && may_see(client, active))
            .ok_or(InvalidRequest::SubjectToken)?;
        if let Some(missing) = missing_key(subject.variant().confirmation(), key) {
            return Err(missing.into());
        }
        let wanted = self.narrowed_subject(&subject, self.requested(&subject, form)?, form)?;
        self.check_length(client, &wanted)?;
        let signer = self.access_token_signer(client).await?;
        // One that is bound stays bound to its key; another may be bound here.
        let wanted = match self.claim_key(key).await? {
            Some(key) => wanted.bound_to(Some(key)),
            None => wanted,
        };

        let now = self.effects.now();
        let own = client.lifetimes(&self.settings.lifetimes).access_token;
        let lifetime = match subject.token.expires_at() {
            None => own,
            Some(expiry) if now < expiry => shorter(own, expiry.lifetime_from(now)),
            Some(_) => return Err(InvalidRequest::SubjectToken.into()),
        };
        let active = |state| matches!(state, GrantState::Active(_));
        let grant = self.store.grant(subject.token.grant).await?.filter(|grant| active(grant.state));
        let mut grant = grant.ok_or(InvalidRequest::SubjectToken)?;
        let variant = self.index_of(&grant, &wanted, now, own).await?.ok_or(InvalidRequest::SubjectToken)?;
        // What kills the subject token kills this one.
        grant.generation = subject.token.generation;
        let tokens = self.further_access_token(&grant, &wanted, Further { variant, issued_at: now, lifetime });
        let tokens = self.in_format(tokens, &grant, signer.as_ref()).await?;
        Ok(IssuedTokens { issued_token_type: Some(ACCESS_TOKEN), ..tokens })
    }

    /// The scopes that are asked for: those of the subject token, or some that it implies.
    fn requested(&self, subject: &ActiveToken, form: &Parameters) -> Result<ScopeSet, InvalidScope> {
        let Some(text) = form.get("scope") else { return Ok(subject.scopes().clone()) };
        let requested: ScopeSet = text.parse()?;
        let rules = &self.settings.implications;
        if requested.is_empty() || !requested.iter().all(|scope| rules.satisfy(subject.scopes(), scope)) {
            return Err(InvalidScope::NotGranted);
        }
        Ok(requested)
    }

    /// The subject token's variant with fewer scopes and resources. A token that names no resource is accepted nowhere that asks
    /// for one, so naming one would add to it.
    fn narrowed_subject(
        &self,
        subject: &ActiveToken,
        scopes: ScopeSet,
        form: &Parameters,
    ) -> Result<Variant, InvalidTarget> {
        let variant = subject.variant();
        let known = &self.settings.resources;
        let mut resources = known.requested(form)?;
        resources.extend(form.get("audience").map(Into::into));
        resources.sort_unstable();
        resources.dedup();
        if resources.is_empty() {
            return Ok(variant.with_scopes(scopes));
        }
        if !resources.iter().all(|resource| variant.resources().contains(resource)) {
            return Err(InvalidTarget::NotGranted);
        }
        let scopes = known.scopes_at(&resources, &scopes)?;
        Ok(Variant::new(scopes, Restriction { resources, confirmation: variant.confirmation().cloned() }))
    }
}

/// Why what is bound to a key may not be exchanged: the request shows none, or another.
fn missing_key(bound: Option<&Confirmation>, shown: Option<&BindingKey>) -> Option<InvalidProof> {
    match (bound, shown) {
        (None, _) => None,
        (Some(_), None) => Some(InvalidProof::Missing),
        (Some(Confirmation::Jkt(bound)), Some(BindingKey::Proven(proof))) if **bound == *proof.key.as_str() => None,
        (Some(Confirmation::X5tS256(bound)), Some(BindingKey::Certificate(shown))) if **bound == *shown.as_str() => {
            None
        }
        (Some(_), Some(_)) => Some(InvalidProof::OtherKey),
    }
}
