//! Whether a user has to be asked, and what is kept of the answer.

use super::Service;
use super::authorization::DescribedScope;
use super::sign_in::BrowserSession;
use crate::domain::authorization::AuthorizationRequest;
use crate::domain::client::Client;
use crate::domain::consent::{Asking, Decision, OtherScopes};
use crate::domain::error::Unavailable;
use crate::domain::parameters::Parameters;
use crate::domain::scope::ScopeSet;
use crate::store::{Basis, Consent};

/// What is known before a user is asked.
pub(super) struct Standing {
    asking: Asking,
    consent: Consent,
    /// What of the request was allowed before.
    before: ScopeSet,
    is_enough: bool,
    /// Whether it is others that were allowed, which has to be revoked before.
    is_other: bool,
}

impl Service {
    /// What a user allowed the client of a request before, as far as it counts.
    pub(super) async fn standing(
        &self,
        client: &Client,
        request: &AuthorizationRequest,
        session: &BrowserSession,
    ) -> Result<Standing, Unavailable> {
        let asking = self.settings.consent.asking(client, request.target.redirect_uri());
        let refuses_others = self.settings.consent.other_scopes == OtherScopes::Refuse;
        let mut consent = match asking {
            Asking::Once => self.store.consent(session.session.subject.clone(), client.id.clone()).await?,
            Asking::Always if refuses_others => {
                self.store.consent(session.session.subject.clone(), client.id.clone()).await?
            }
            Asking::Always | Asking::Never => Consent::default(),
        };
        consent.allowed = consent.allowed.since(self.settings.consent.horizon(self.effects.now()));
        let rules = &self.settings.implications;
        let before = request.scopes.filter(|scope| consent.allowed.has(scope, &request.resources, rules));
        // A token without scopes may be worth more than one with some, so who allowed some has not allowed that.
        let is_same = consent.allowed.has_exactly(&request.scopes, &request.resources);
        let is_enough = if request.scopes.is_empty() || refuses_others { is_same } else { before == request.scopes };
        let is_other = refuses_others && !is_same && !consent.allowed.is_empty();
        Ok(Standing { asking, consent, before, is_enough, is_other })
    }

    /// What a grant rests on that the user has just allowed.
    pub(super) fn decided(&self, standing: Standing, request: &AuthorizationRequest, kept: &ScopeSet) -> Basis {
        if standing.asking != Asking::Once && self.settings.consent.other_scopes == OtherScopes::Ask {
            return Basis::Decision;
        }
        let (asked, resources, at) = (&request.scopes, &request.resources[..], self.effects.now());
        let decision = Decision { asked, kept, resources, at };
        let allowed = standing.consent.allowed.clone().with(&decision, &self.settings.implications);
        Basis::Remembered { before: standing.consent, allowed }
    }

    /// What a user kept of the scopes that were asked for. `None`: nothing of it counts.
    pub(super) fn kept(&self, client: &Client, asked: &ScopeSet, form: &Parameters) -> Option<ScopeSet> {
        if !self.settings.consent.partial || (asked.is_empty() && self.settings.authorization.scopes.admit_none()) {
            return Some(asked.clone());
        }
        Some(kept(client, asked, form)).filter(|kept| !kept.is_empty())
    }

    /// The scopes of a request as its page shows them.
    pub(super) fn described<'a>(
        &self,
        client: &Client,
        scopes: impl Iterator<Item = &'a str>,
        before: &ScopeSet,
    ) -> Vec<DescribedScope> {
        let described = |scope: &str| DescribedScope {
            is_required: client.requires(scope) || !self.settings.consent.partial,
            was_allowed: before.contains(scope),
            ..self.describe(scope)
        };
        scopes.map(described).collect()
    }
}

impl Standing {
    pub(super) fn before(&self) -> &ScopeSet {
        &self.before
    }

    /// Whether the user allowed other scopes before, and has to revoke that.
    pub(super) fn is_other(&self) -> bool {
        self.is_other && self.asking != Asking::Never
    }

    /// What a grant can rest on without asking.
    pub(super) fn basis(self) -> Option<Basis> {
        match self.asking {
            Asking::Never => Some(Basis::Operator),
            Asking::Once if self.is_enough => Some(Basis::Allowed(self.consent)),
            Asking::Once | Asking::Always => None,
        }
    }
}

/// What the form of a consent page kept of the scopes that were asked for: nothing, where one is missing that the client requires. The page
/// has those in the form without a box; one that became required since it was shown may be missing.
fn kept(client: &Client, asked: &ScopeSet, form: &Parameters) -> ScopeSet {
    let kept = asked.filter(|scope| form.all("scope").any(|kept| kept == scope));
    let is_whole = asked.iter().all(|scope| kept.contains(scope) || !client.requires(scope));
    if is_whole { kept } else { ScopeSet::default() }
}
