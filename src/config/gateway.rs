//! How requests at proxies are judged: by Envoy's `ext_authz`, and at `/check`.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::network::Network;
use crate::domain::route::{HostPattern, PathTemplate, Policy, Route};
use crate::service::gateway::Gateway as Rules;

/// Where the tokens of requests at proxies are, and what the application behind gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Beside `Authorization`, a bearer token may come in this header, without a scheme. Empty: in none.
    pub token_header: String,
    /// Beside `Authorization`, a bearer token may come in this cookie. Empty: in none. Applications that read cookies have to mind
    /// requests that other sites have browsers send.
    pub token_cookie: String,
    /// Beside `Authorization`, a bearer token may come in the query, as `access_token` (RFC 6750 §2.3), where logs and histories keep it.
    pub token_in_query: bool,
    /// Whether the application behind Envoy gets the token, too. In the query, it never does. Other proxies have to be told themselves.
    pub forward_token: bool,
    /// Whether proxies may ask over HTTP, at `/check`: those in `http.trusted_proxies`, and nobody else. Where one of them also passes
    /// on the endpoints of this server to the outside, it has to leave out `/check`.
    pub check: bool,
    /// What proxies may ask for by name (`policy`).
    pub policies: BTreeMap<String, Policy>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            token_header: String::new(),
            token_cookie: String::new(),
            token_in_query: false,
            forward_token: true,
            check: true,
            policies: BTreeMap::new(),
        }
    }
}

/// One rule about requests at proxies that say nothing about a route themselves. The first that matches rules; a request that none
/// matches is refused, and so is one whose path different servers could read in different ways. Without any rule, any active token will do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Host names without a port, or all below one as `*.example.com`. None: every host.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
    /// Methods in capital letters. None: every method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// A path with `{name}` for one segment, or `{name=**}` at the end for all that follow.
    pub path: PathTemplate,
    /// Scopes of the access token. None: any active token will do.
    #[serde(default)]
    pub required_scopes: Vec<String>,
    /// Whether `all` or `any` of them.
    #[serde(default = "all")]
    pub r#match: crate::domain::decision::Match,
    /// The names of the resource: the token has to be meant for one of them.
    #[serde(default)]
    pub audience: Vec<String>,
    /// Requests without a token pass, too.
    #[serde(default)]
    pub anonymous: bool,
}

fn all() -> crate::domain::decision::Match {
    crate::domain::decision::Match::All
}

impl RouteConfig {
    fn policy(&self) -> Policy {
        Policy {
            required_scopes: self.required_scopes.clone(),
            r#match: self.r#match,
            audience: self.audience.clone(),
            anonymous: self.anonymous,
        }
    }
}

impl Gateway {
    pub(super) fn validate(&self, routes: &[RouteConfig]) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why));
        if !self.token_header.is_empty()
            && (HeaderName::from_str(&self.token_header).is_err()
                || self.token_header.eq_ignore_ascii_case("authorization"))
        {
            return wrong("gateway.token_header", "this is the name of a header other than Authorization");
        }
        if !self.token_cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return wrong("gateway.token_cookie", "this is the name of a cookie: letters, digits, - _ .");
        }
        for (name, policy) in &self.policies {
            if !policy.is_well_formed() {
                return wrong(
                    &format!("gateway.policies.{name}.required_scopes"),
                    "one of these is no scope (RFC 6749 section 3.3)",
                );
            }
        }
        for (number, route) in routes.iter().enumerate() {
            if !route.policy().is_well_formed() {
                return wrong(
                    &format!("routes.{number}.required_scopes"),
                    "one of these is no scope (RFC 6749 section 3.3)",
                );
            }
            let is_method =
                |method: &String| Method::from_str(method).is_ok() && *method == method.to_ascii_uppercase();
            if !route.methods.iter().all(is_method) {
                return wrong(&format!("routes.{number}.methods"), "these are methods in capital letters, such as GET");
            }
        }
        Ok(())
    }

    pub(super) fn rules(&self, routes: &[RouteConfig], proxies: &[Network]) -> Rules {
        let route = |route: &RouteConfig| Route {
            hosts: route.hosts.clone(),
            methods: route.methods.iter().map(|method| method.as_str().into()).collect(),
            path: route.path.clone(),
            policy: route.policy(),
        };
        Rules {
            routes: routes.iter().map(route).collect(),
            policies: self.policies.clone(),
            token_header: HeaderName::from_str(&self.token_header).ok(),
            token_cookie: Some(self.token_cookie.clone()).filter(|name| !name.is_empty()),
            token_in_query: self.token_in_query,
            forward_token: self.forward_token,
            check: self.check,
            proxies: proxies.to_vec(),
        }
    }
}
