//! `Debug` of the requests that carry tokens: without them.

use std::fmt;

use crate::proto::scopegate::v1::{CheckScopesRequest, IntrospectRequest, Proof, RevokeRequest};

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
