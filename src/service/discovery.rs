//! Authorization server metadata (RFC 8414 §2, OpenID Connect Discovery §3): exactly what works, no more.

use serde::Serialize;

use super::{OpenId, Service};
use crate::domain::client::{AuthenticationMethod, GrantType};
use crate::domain::client_keys::SigningAlgorithm;
use crate::domain::dpop::ALGORITHMS;
use crate::domain::language::Language;
use crate::domain::openid::{ACR, GROUPS};
use crate::domain::paths::EndpointPaths;
use crate::domain::registration::Gate;

/// What client assertions may be signed with.
type AssertionAlgorithms = [&'static str; SigningAlgorithm::NAMES.len()];

/// The metadata document.
#[derive(Serialize)]
pub struct Metadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    /// RFC 9126 §5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed_authorization_request_endpoint: Option<String>,
    require_pushed_authorization_requests: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    /// RFC 8628 §4.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 2],
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_signing_alg_values_supported: Option<AssertionAlgorithms>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_signing_alg_values_supported: Option<AssertionAlgorithms>,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint_auth_signing_alg_values_supported: Option<AssertionAlgorithms>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code_challenge_methods_supported: Vec<&'static str>,
    ui_locales_supported: Vec<&'static str>,
    /// RFC 9207 §3.
    authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id_metadata_document_supported: Option<bool>,
    /// RFC 9449 §5.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_signing_alg_values_supported: Option<[&'static str; ALGORITHMS.len()]>,
    /// RFC 8705 §3.3.
    tls_client_certificate_bound_access_tokens: bool,
    /// RFC 9728 §4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    protected_resources: Vec<&'a str>,
    /// RFC 9470 §7.
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values_supported: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    /// RFC 9701 §7.
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_signing_alg_values_supported: Option<[&'static str; 1]>,
    #[serde(flatten)]
    openid: Option<OpenIdMetadata>,
}

/// What OpenID Connect adds (Discovery §3, RP-Initiated Logout §2.1, Back-Channel Logout §2.1).
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "its members are those of the standards")]
struct OpenIdMetadata {
    userinfo_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_session_endpoint: Option<String>,
    backchannel_logout_supported: bool,
    backchannel_logout_session_supported: bool,
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    claims_supported: Vec<&'static str>,
    prompt_values_supported: [&'static str; 4],
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    /// It is supported where nothing is said.
    request_uri_parameter_supported: bool,
}

impl Service {
    pub fn metadata(&self) -> Metadata<'_> {
        let (issuer, paths, rules) = (&self.settings.issuer, &self.settings.paths, &self.settings.authorization);
        let at = |endpoint: &EndpointPaths| format!("{issuer}{}", endpoint.first());
        let confidential = self.authentication_methods();
        let public = self.offers(AuthenticationMethod::None).then_some(AuthenticationMethod::None.as_str());
        let authentication: Vec<_> = confidential.iter().copied().chain(public).collect();
        let by_assertion = self.offers(AuthenticationMethod::PrivateKeyJwt).then_some(SigningAlgorithm::NAMES);
        let registers = !matches!(self.settings.registration.gate, Gate::Nobody);
        Metadata {
            issuer,
            authorization_endpoint: at(&paths.authorize),
            token_endpoint: at(&paths.token),
            revocation_endpoint: at(&paths.revoke),
            introspection_endpoint: at(&paths.introspect),
            pushed_authorization_request_endpoint: self
                .settings
                .pushed_requests
                .offered
                .then(|| format!("{issuer}/par")),
            require_pushed_authorization_requests: self.settings.pushed_requests.required,
            registration_endpoint: registers.then(|| format!("{issuer}/register")),
            device_authorization_endpoint: self
                .settings
                .offers(GrantType::DeviceCode)
                .then(|| format!("{issuer}/device_authorization")),
            scopes_supported: self.scopes_supported(),
            response_types_supported: ["code"],
            response_modes_supported: ["query", "form_post"],
            grant_types_supported: self.settings.grant_types.iter().map(|offered| offered.as_str()).collect(),
            token_endpoint_auth_methods_supported: authentication.clone(),
            token_endpoint_auth_signing_alg_values_supported: by_assertion,
            revocation_endpoint_auth_methods_supported: authentication,
            revocation_endpoint_auth_signing_alg_values_supported: by_assertion,
            introspection_endpoint_auth_methods_supported: confidential,
            introspection_endpoint_auth_signing_alg_values_supported: by_assertion,
            code_challenge_methods_supported: rules.pkce.methods.iter().map(|method| method.as_str()).collect(),
            ui_locales_supported: self.settings.languages.iter().map(Language::tag).collect(),
            authorization_response_iss_parameter_supported: rules.answers.name_issuer,
            client_id_metadata_document_supported: self.settings.registration.documents.as_ref().map(|_| true),
            dpop_signing_alg_values_supported: self.settings.binds_by_dpop.then_some(ALGORITHMS),
            tls_client_certificate_bound_access_tokens: self.settings.client_certificates.is_some(),
            protected_resources: self.settings.resources.iter().map(|(resource, _)| resource).collect(),
            acr_values_supported: self.settings.login.is_built_in().then_some([ACR]),
            openid: self.settings.openid.as_ref().map(|openid| self.openid_metadata(openid)),
            jwks_uri: self.settings.signs().then(|| at(&paths.jwks)),
            introspection_signing_alg_values_supported: self
                .settings
                .signs_introspection
                .then(|| [self.signing_keys.algorithm().name()]),
        }
    }

    /// An empty catalogue knows every scope, and lists those that mean something to us.
    fn scopes_supported(&self) -> Vec<&str> {
        match &self.settings.openid {
            Some(_) if self.settings.catalogue.is_empty() => self.settings.standard_scopes().to_vec(),
            _ => self.settings.catalogue.keys().map(String::as_str).collect(),
        }
    }

    fn openid_metadata(&self, openid: &OpenId) -> OpenIdMetadata {
        let issuer = &self.settings.issuer;
        let built_in = self.settings.login.is_built_in();
        // Whose sessions they are signs users out, and says how they signed in.
        let has_sessions = self.settings.login.has_sessions();
        let of_sign_in: &[_] = if has_sessions { &["acr", "amr"] } else { &[] };
        let of_app: &[_] =
            if built_in { &[] } else { &["given_name", "family_name", "picture", "locale", "email", "email_verified"] };
        let of_groups: &[_] = if openid.groups && !built_in { &[GROUPS] } else { &[] };
        OpenIdMetadata {
            userinfo_endpoint: format!("{issuer}{}", self.settings.paths.userinfo.first()),
            end_session_endpoint: has_sessions.then(|| format!("{issuer}/logout")),
            backchannel_logout_supported: openid.backchannel_logout,
            backchannel_logout_session_supported: openid.backchannel_logout,
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [self.signing_keys.algorithm().name()],
            claims_supported: [
                &["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce"],
                of_sign_in,
                &["at_hash", "sid", "preferred_username", "name"],
                of_app,
                of_groups,
            ]
            .concat(),
            prompt_values_supported: ["none", "login", "consent", "select_account"],
            claims_parameter_supported: false,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
        }
    }
}
