//! The section `[jwt]`.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::resource;
use crate::service::jwt_access_tokens::JwtAccessTokens;

/// What is signed for others to verify, beside ID tokens. The keys are those of `keys.signing_algorithm`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// Whether clients may be registered for access tokens that are JSON Web Tokens (RFC 9068). Where not, all are opaque, and none
    /// that is not is accepted.
    pub access_tokens: bool,
    /// `aud` of those that were not restricted to resources: an absolute URI. Empty: the issuer.
    pub default_audience: String,
    /// Whether introspection over HTTP answers with a JSON Web Token if asked to (RFC 9701).
    pub introspection_responses: bool,
}

impl Default for Jwt {
    fn default() -> Self {
        Self { access_tokens: true, default_audience: String::new(), introspection_responses: true }
    }
}

impl Jwt {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.default_audience.is_empty() || resource::is_well_formed(&self.default_audience) {
            return Ok(());
        }
        Err(ConfigError::new("jwt.default_audience", "this is an absolute URI without a fragment"))
    }

    pub(super) fn access_tokens(&self, issuer: &str) -> Option<JwtAccessTokens> {
        let default_audience = Some(self.default_audience.as_str()).filter(|audience| !audience.is_empty());
        self.access_tokens.then(|| JwtAccessTokens { default_audience: default_audience.unwrap_or(issuer).into() })
    }
}
