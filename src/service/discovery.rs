//! Authorization server metadata (RFC 8414 §2): exactly what works, no more.

use serde::Serialize;

use super::Service;
use crate::domain::client::GrantType;
use crate::domain::client_keys::SigningAlgorithm;
use crate::domain::dpop::ALGORITHMS;
use crate::domain::registration::Gate;

/// The metadata document.
#[derive(Serialize)]
pub struct Metadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    /// RFC 9126 §5.
    pushed_authorization_request_endpoint: String,
    require_pushed_authorization_requests: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    /// RFC 8628 §4.
    device_authorization_endpoint: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; GrantType::ALL.len()],
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    code_challenge_methods_supported: [&'static str; 1],
    /// RFC 9207 §3.
    authorization_response_iss_parameter_supported: bool,
    /// RFC 9449 §5.1.
    dpop_signing_alg_values_supported: [&'static str; 4],
    /// RFC 8705 §3.3.
    tls_client_certificate_bound_access_tokens: bool,
    /// RFC 9728 §4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    protected_resources: Vec<&'a str>,
}

impl Service {
    pub fn metadata(&self) -> Metadata<'_> {
        let issuer = &self.settings.issuer;
        let authentication = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
        let registers = !matches!(self.settings.registration.gate, Gate::Nobody);
        Metadata {
            issuer,
            authorization_endpoint: format!("{issuer}/authorize"),
            token_endpoint: format!("{issuer}/token"),
            revocation_endpoint: format!("{issuer}/revoke"),
            introspection_endpoint: format!("{issuer}/introspect"),
            pushed_authorization_request_endpoint: format!("{issuer}/par"),
            require_pushed_authorization_requests: self.settings.pushed_requests.required,
            registration_endpoint: registers.then(|| format!("{issuer}/register")),
            device_authorization_endpoint: format!("{issuer}/device_authorization"),
            scopes_supported: self.settings.catalogue.keys().map(String::as_str).collect(),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: GrantType::ALL.map(GrantType::as_str),
            token_endpoint_auth_methods_supported: authentication,
            token_endpoint_auth_signing_alg_values_supported: SigningAlgorithm::NAMES,
            revocation_endpoint_auth_methods_supported: authentication,
            revocation_endpoint_auth_signing_alg_values_supported: SigningAlgorithm::NAMES,
            introspection_endpoint_auth_methods_supported: [
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
            ],
            introspection_endpoint_auth_signing_alg_values_supported: SigningAlgorithm::NAMES,
            code_challenge_methods_supported: ["S256"],
            authorization_response_iss_parameter_supported: true,
            dpop_signing_alg_values_supported: ALGORITHMS,
            tls_client_certificate_bound_access_tokens: self.settings.client_certificates.is_some(),
            protected_resources: self.settings.resources.iter().map(|(resource, _)| resource).collect(),
        }
    }
}
