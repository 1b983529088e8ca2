//! Protected resource metadata (RFC 9728 §2): what a client has to know to get tokens for a resource.

use serde::Serialize;

use super::Service;
use crate::domain::dpop::ALGORITHMS;

/// The metadata document of one resource.
#[derive(Serialize)]
pub struct ResourceMetadata<'a> {
    resource: &'a str,
    authorization_servers: [&'a str; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_signing_alg_values_supported: Option<[&'static str; ALGORITHMS.len()]>,
}

impl Service {
    /// The document at a path, of a resource that the operator wrote down. The host decides only between resources that share the path.
    pub fn resource_metadata(&self, path: &str, host: Option<&str>) -> Option<ResourceMetadata<'_>> {
        let (resource, scopes) = self.settings.resources.at(path, host)?;
        Some(ResourceMetadata {
            resource,
            authorization_servers: [&self.settings.issuer],
            scopes_supported: scopes.iter().collect(),
            bearer_methods_supported: ["header"],
            dpop_signing_alg_values_supported: self.settings.binds_by_dpop.then_some(ALGORITHMS),
        })
    }
}
