//! What scopes come to at a resource.

use super::{ConfigError, Scopes};
use crate::domain::openid::{EMAIL, OPENID, PROFILE};
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::scope_rules::ScopeRules;

impl Scopes {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why));
        if let Some(scope) = self.catalogue.keys().find(|scope| !Scope::is_well_formed(scope)) {
            return wrong(&format!("scopes.catalogue.{scope:?}"), "this is no scope (RFC 6749 section 3.3)");
        }
        let fallback = &self.fallback_without_api_scope;
        if !fallback.is_empty() && !Scope::is_well_formed(fallback) {
            return wrong("scopes.fallback_without_api_scope", "this is no scope (RFC 6749 section 3.3)");
        }
        if self.restrictions.iter().any(|scope| scope.as_str() == fallback) {
            return wrong("scopes.restrictions", "what stands for a permission is no restriction");
        }
        Ok(())
    }

    /// `None`: tokens may do what was granted, and what it implies.
    pub(super) fn rules(&self, openid: bool) -> Option<ScopeRules> {
        let allowed: ScopeSet = self.allowed.iter().cloned().collect();
        // The endpoints of ours that need these are no resource of the operator's.
        let ours: ScopeSet = [OPENID, PROFILE, EMAIL]
            .into_iter()
            .filter(|_| openid)
            .filter_map(|scope| scope.parse::<Scope>().ok())
            .collect();
        let rules = ScopeRules {
            limit_to_client: self.limit_to_client,
            allowed: if allowed.is_empty() { allowed } else { allowed.union(&ours) },
            fallback: self.fallback_without_api_scope.parse().unwrap_or_default(),
            restrictions: self.restrictions.iter().cloned().collect(),
        };
        (rules != ScopeRules::default()).then_some(rules)
    }
}
