//! The section `[consent]`.

use serde::{Deserialize, Serialize};

use crate::domain::consent::{ConsentRules, Remember};

/// When users are asked again what they allowed before. `scopegate client update --consent` says otherwise for one client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    /// For which clients it is remembered what a user allowed: `never`; `confidential`, for those that prove who they are; `always`, also
    /// for public ones, where the answer goes to an https host (RFC 8252 §8.6). Who asks for more, or with `prompt=consent`, is asked about
    /// again; revoking a grant of the app ends it, signing out does not.
    pub remember: Remember,
    /// For how many seconds; then it is deleted. 0: until it is taken back.
    pub lifetime: u32,
}

impl Consent {
    pub(super) fn rules(&self) -> ConsentRules {
        ConsentRules { remember: self.remember, lifetime: Some(self.lifetime).filter(|lifetime| *lifetime > 0) }
    }
}
