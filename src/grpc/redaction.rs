//! `Debug` of the messages that carry tokens, secrets and passwords: without them.

use std::fmt;

use crate::proto::envoy::config::core::v3::{HeaderMap, HeaderValue};
use crate::proto::envoy::service::auth::v3::{AttributeContext, CheckRequest, attribute_context};
use crate::proto::scopegate::v1::{
    AcceptConsentResponse, AcceptLoginResponse, CheckScopesRequest, CreateAccountRequest, CreateClientResponse,
    IntrospectRequest, Proof, RejectInteractionResponse, RevokeRequest, RotateClientSecretResponse,
    SetAccountPasswordRequest,
};

impl fmt::Debug for IntrospectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectRequest").field("token", &"***").finish_non_exhaustive()
    }
}

impl fmt::Debug for CheckScopesRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckScopesRequest")
            .field("token", &"***")
            .field("required_scopes", &self.required_scopes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("dpop", &"***").finish_non_exhaustive()
    }
}

impl fmt::Debug for RevokeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokeRequest").field("token", &"***").finish_non_exhaustive()
    }
}

impl fmt::Debug for CreateClientResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CreateClientResponse");
        shown.field("client", &self.client).field("client_secret", &"***").finish()
    }
}

impl fmt::Debug for RotateClientSecretResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RotateClientSecretResponse");
        shown.field("client", &self.client).field("client_secret", &"***").finish()
    }
}

impl fmt::Debug for CreateAccountRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CreateAccountRequest");
        shown.field("username", &self.username).field("password", &"***").finish()
    }
}

impl fmt::Debug for SetAccountPasswordRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SetAccountPasswordRequest");
        shown.field("username", &self.username).field("password", &"***").finish()
    }
}

impl fmt::Debug for AcceptLoginResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptLoginResponse").field("redirect_to", &"***").finish()
    }
}

impl fmt::Debug for AcceptConsentResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptConsentResponse").field("redirect_to", &"***").finish()
    }
}

impl fmt::Debug for RejectInteractionResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectInteractionResponse").field("redirect_to", &"***").finish()
    }
}

impl fmt::Debug for CheckRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckRequest").finish_non_exhaustive()
    }
}

impl fmt::Debug for AttributeContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttributeContext").finish_non_exhaustive()
    }
}

impl fmt::Debug for attribute_context::Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

impl fmt::Debug for attribute_context::HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").finish_non_exhaustive()
    }
}

impl fmt::Debug for attribute_context::Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderMap").finish_non_exhaustive()
    }
}

impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderValue").finish_non_exhaustive()
    }
}
