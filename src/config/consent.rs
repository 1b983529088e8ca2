//! The section `[consent]`.

use serde::{Deserialize, Serialize};

use crate::domain::consent::{ConsentRules, OtherScopes, Remember};

/// When users are asked again what they allowed before. `scopegate client update --consent` says otherwise for one client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    /// For which clients it is remembered what a user allowed: `never`; `confidential`, for those that prove who they are; `always`, also
    /// for public ones, where the answer goes to an https host (RFC 8252 §8.6). Who asks for more, or with `prompt=consent`, is asked about
    /// again; revoking a grant of the app ends it, signing out does not.
    pub remember: Remember,
    /// For how many seconds; then it is deleted. 0: until it is taken back.
    pub lifetime: u32,
    /// Whether users can leave out scopes that are asked for. Off where a token with fewer scopes may do more.
    pub partial: bool,
    /// What becomes of a request for other scopes than the user allowed the client before: `ask`; or `refuse`, until the user has revoked
    /// what was allowed.
    pub other_scopes: OtherScopes,
}

impl Default for Consent {
    fn default() -> Self {
        let ConsentRules { remember, partial, other_scopes, .. } = ConsentRules::default();
        Self { remember, lifetime: 0, partial, other_scopes }
    }
}

impl Consent {
    pub(super) fn rules(&self) -> ConsentRules {
        ConsentRules {
            remember: self.remember,
            lifetime: Some(self.lifetime).filter(|lifetime| *lifetime > 0),
            partial: self.partial,
            other_scopes: self.other_scopes,
        }
    }
}
