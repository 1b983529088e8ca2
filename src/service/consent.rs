//! Whether a user has to be asked, and what is kept of the answer.

use std::borrow::Cow;

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
        let meant = self.meant(&request.scopes);
        // A token without scopes may be worth more than one with some, so who allowed some has not allowed that.
        let is_same = consent.allowed.has_exactly(&meant, &request.resources);
        let is_other = refuses_others && !is_same && !consent.allowed.is_empty();
        // What was allowed with a restriction was not allowed without.
        let allowed = consent.allowed.clone();
        let counts = match &self.settings.scope_rules {
            Some(rules) => allowed.as_restricted(&rules.restrictions, &request.scopes),
            None => allowed,
        };
        let before = meant.filter(|scope| counts.has(scope, &request.resources, rules));
        let is_enough = if meant.is_empty() || refuses_others { is_same } else { before == *meant };
        Ok(Standing { asking, consent, before, is_enough, is_other })
    }

    /// What a grant rests on that the user has just allowed.
    pub(super) fn decided(&self, standing: Standing, request: &AuthorizationRequest, kept: &ScopeSet) -> Basis {
        if standing.asking != Asking::Once && self.settings.consent.other_scopes == OtherScopes::Ask {
            return Basis::Decision;
        }
        let (asked, kept) = (self.meant(&request.scopes), self.meant(kept));
        // A restriction stays with what was allowed with it before.
        let asked = match &self.settings.scope_rules {
            Some(rules) => Cow::Owned(asked.filter(|scope| !rules.restrictions.contains(scope))),
            None => asked,
        };
        let (resources, at) = (&request.resources[..], self.effects.now());
        let decision = Decision { asked: &asked, kept: &kept, resources, at };
        let allowed = standing.consent.allowed.clone().with(&decision, &self.settings.implications);
        Basis::Remembered { before: standing.consent, allowed }
    }

    /// The scopes of a request as its page shows them.
    pub(super) fn described<'a>(
        &self,
        client: &Client,
        scopes: impl Iterator<Item = &'a str>,
        before: &ScopeSet,
    ) -> Vec<DescribedScope> {
        let rules = self.settings.scope_rules.as_ref();
        let asked: Vec<&str> = scopes.collect();
        let beside = rules.and_then(|rules| rules.beside(asked.iter().copied(), &self.settings.implications));
        // What nobody can leave out has no box.
        let is_set = |scope: &str| {
            beside.is_some_and(|beside| beside.contains(scope))
                || rules.is_some_and(|rules| rules.restrictions.contains(scope))
        };
        let described = |scope: &str| DescribedScope {
            is_required: client.requires(scope) || is_set(scope) || !self.settings.consent.partial,
            was_allowed: before.contains(scope),
            ..self.describe(scope)
        };
        asked.iter().copied().chain(beside.into_iter().flat_map(ScopeSet::iter)).map(described).collect()
    }

    /// What a user allows who allows these scopes.
    fn meant<'s>(&self, scopes: &'s ScopeSet) -> Cow<'s, ScopeSet> {
        let rules = self.settings.scope_rules.as_ref();
        rules.map_or(Cow::Borrowed(scopes), |rules| rules.meant(scopes, &self.settings.implications))
    }

    /// What the form of a consent page kept of the scopes that were asked for. The page has what nobody can leave out without a box.
    pub(super) fn kept(&self, client: &Client, asked: &ScopeSet, form: &Parameters) -> Option<ScopeSet> {
        let has_boxes = self.settings.consent.partial;
        self.kept_by(client, asked, |scope| !has_boxes || form.all("scope").any(|kept| kept == scope))
    }

    /// What a user kept of the scopes that were asked for. `None`: nothing, or one is missing that nobody can leave out (which it may have
    /// become since the user was asked), or less would be more.
    pub(super) fn kept_by(&self, client: &Client, asked: &ScopeSet, keeps: impl Fn(&str) -> bool) -> Option<ScopeSet> {
        if asked.is_empty() && self.settings.authorization.scopes.admit_none() {
            return Some(ScopeSet::default());
        }
        let kept = asked.filter(keeps);
        let may_miss = |scope: &str| self.settings.consent.partial && !client.requires(scope);
        let is_whole = asked.iter().all(|scope| kept.contains(scope) || may_miss(scope));
        let rules = self.settings.scope_rules.as_ref();
        let is_more = rules.is_some_and(|rules| rules.exceeds(&kept, asked, &self.settings.implications));
        (is_whole && !is_more && !kept.is_empty()).then_some(kept)
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
