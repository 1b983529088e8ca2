//! The section `[pkce]`.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::pkce::{ChallengeMethod, PkceRequired, PkceRules, VerifierSyntax};

/// Proof Key for Code Exchange (RFC 7636). A code that was issued with a challenge is never redeemed without its verifier, and one without
/// a challenge never with one (RFC 9700 section 2.1.1), whatever is configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pkce {
    /// Of whom it is required: `always`, of every client; `public_clients`; `never`.
    pub required: PkceRequired,
    /// The methods of challenges: `S256`; and `plain`, which protects a code from those alone who do not see the request.
    pub methods: Vec<ChallengeMethod>,
    /// What verifiers are made of: `rfc7636`, 43 to 128 unreserved characters; or `any`, 256 characters at most, for clients that do not
    /// keep to that.
    pub verifier: VerifierSyntax,
}

impl Default for Pkce {
    fn default() -> Self {
        let PkceRules { required, methods, verifier } = PkceRules::default();
        Self { required, methods, verifier }
    }
}

impl Pkce {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.methods.is_empty() && self.required != PkceRequired::Never {
            return Err(ConfigError::new("pkce.methods", "this has a method, unless pkce.required is never"));
        }
        Ok(())
    }

    pub(super) fn rules(&self) -> PkceRules {
        PkceRules { required: self.required, methods: self.methods.clone(), verifier: self.verifier }
    }
}
