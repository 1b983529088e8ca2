//! What the scopes of a token come to at a resource, where that is more than what was granted and what it implies.
//!
//! Three kinds of rules, all off by default: limits, beyond which no token may go, whatever was granted; a scope that counts as granted where
//! a grant has none of an API; and restrictions, which are no permissions. Limits can only take away. The other two mean that a grant with
//! fewer scopes may be able to do more, so they look at the whole grant: a token that was narrowed to fewer scopes of it gains nothing.

use std::borrow::Cow;

use super::scope::{Implications, ScopeSet};

/// The rules of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRules {
    /// A token may do no more than its client may ask for now.
    pub limit_to_client: bool,
    /// What tokens can do at all, with what it implies. Empty: everything.
    pub allowed: ScopeSet,
    /// Counts as granted where a user granted nothing that it implies.
    pub fallback: ScopeSet,
    /// These are no permissions: nothing implies them, no limit takes them away, and who narrows a token keeps them.
    pub restrictions: ScopeSet,
}

/// The scopes of a token, and what the rules have to say of them.
#[derive(Clone, Copy, Debug)]
pub struct HeldScopes<'t> {
    granted: &'t ScopeSet,
    /// What rules there are; `None`: none.
    ruled: Option<Ruled<'t>>,
}

#[derive(Clone, Copy, Debug)]
struct Ruled<'t> {
    rules: &'t ScopeRules,
    /// All scopes of the grant.
    whole: &'t ScopeSet,
    /// What the client may ask for now, where it is a limit.
    client: Option<&'t ScopeSet>,
    /// Whether a user made the grant.
    by_user: bool,
}

impl ScopeRules {
    /// What a token has: `granted` of the `whole` of its grant, for a client that may ask for `client` now.
    pub fn held<'t>(
        &'t self,
        granted: &'t ScopeSet,
        whole: &'t ScopeSet,
        client: Option<&'t ScopeSet>,
        by_user: bool,
    ) -> HeldScopes<'t> {
        let client = client.filter(|_| self.limit_to_client);
        HeldScopes { granted, ruled: Some(Ruled { rules: self, whole, client, by_user }) }
    }

    /// What counts as granted beside these, where they are all of a user's grant.
    pub fn beside<'s>(
        &self,
        mut scopes: impl Iterator<Item = &'s str>,
        implications: &Implications,
    ) -> Option<&ScopeSet> {
        let is_of_api = |scope| self.restrictions.contains(scope) || implications.satisfy(&self.fallback, scope);
        (!self.fallback.is_empty() && !scopes.any(is_of_api)).then_some(&self.fallback)
    }

    /// What a user allows who allows these.
    pub fn meant<'s>(&self, scopes: &'s ScopeSet, implications: &Implications) -> Cow<'s, ScopeSet> {
        match self.beside(scopes.iter(), implications) {
            Some(fallback) => Cow::Owned(scopes.union(fallback)),
            None => Cow::Borrowed(scopes),
        }
    }

    /// Whether a user who keeps so much of what was asked allows more than was asked.
    pub fn exceeds(&self, kept: &ScopeSet, asked: &ScopeSet, implications: &Implications) -> bool {
        let falls_back = |scopes: &ScopeSet| self.beside(scopes.iter(), implications).is_some();
        falls_back(kept) && !falls_back(asked) || !self.keeps_restrictions(kept, asked)
    }

    fn keeps_restrictions(&self, kept: &ScopeSet, asked: &ScopeSet) -> bool {
        self.restrictions.iter().all(|restriction| kept.contains(restriction) || !asked.contains(restriction))
    }
}

impl<'t> From<&'t ScopeSet> for HeldScopes<'t> {
    fn from(granted: &'t ScopeSet) -> Self {
        Self { granted, ruled: None }
    }
}

impl<'t> HeldScopes<'t> {
    /// Whether they hold `required`, literally or by implication, as far as the rules let them.
    pub fn satisfy(&self, implications: &Implications, required: &str) -> bool {
        match &self.ruled {
            None => implications.satisfy(self.granted, required),
            Some(ruled) => ruled.satisfy(self.granted, implications, required),
        }
    }

    /// What a resource is told that the token may do: no more than what [`Self::satisfy`] says.
    pub fn effective(&self, implications: &Implications) -> Cow<'t, ScopeSet> {
        let Some(ruled) = &self.ruled else { return Cow::Borrowed(self.granted) };
        let Ruled { rules, whole, client, .. } = ruled;
        let restrictions = whole.filter(|scope| rules.restrictions.contains(scope));
        let held = match ruled.beside(implications) {
            Some(fallback) => self.granted.union(fallback),
            None => self.granted.clone(),
        };
        let known = held.union(&restrictions).union(&rules.allowed).union(client.unwrap_or(&rules.allowed));
        Cow::Owned(known.filter(|scope| self.satisfy(implications, scope)))
    }

    /// The restrictions that the application has to honour.
    pub fn restrictions(&self) -> impl Iterator<Item = &'t str> {
        let ruled = self.ruled.filter(|ruled| !ruled.rules.restrictions.is_empty());
        ruled.into_iter().flat_map(|ruled| ruled.whole.iter().filter(|scope| ruled.rules.restrictions.contains(scope)))
    }
}

impl<'t> Ruled<'t> {
    fn satisfy(&self, granted: &ScopeSet, implications: &Implications, required: &str) -> bool {
        let ScopeRules { limit_to_client, allowed, restrictions, .. } = self.rules;
        if restrictions.contains(required) {
            return self.whole.contains(required);
        }
        let is_granted = implications.satisfy(granted, required)
            || self.beside(implications).is_some_and(|fallback| implications.satisfy(fallback, required));
        is_granted
            && (allowed.is_empty() || implications.satisfy(allowed, required))
            // A client of which nothing is known may do nothing.
            && (!limit_to_client || self.client.is_some_and(|client| implications.satisfy(client, required)))
    }

    fn beside(&self, implications: &Implications) -> Option<&'t ScopeSet> {
        self.rules.beside(self.whole.iter(), implications).filter(|_| self.by_user)
    }
}
