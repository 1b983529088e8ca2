//! How requests at proxies are judged: by Envoy's `ext_authz`, and at `/check`.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::denial::Denials;
use crate::domain::network::Network;
use crate::domain::route::{HostPattern, PathTemplate, Policy, Route};
use crate::service::gateway::Gateway as Rules;

/// Where the tokens of requests at proxies are, and what the application behind gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that an operator wants or not")]
pub struct Gateway {
    /// Beside `Bearer`, `Authorization` may have the token behind this scheme, spelled exactly so, such as `token`. Empty: behind no
    /// other. That goes for the userinfo endpoint, too.
    pub token_scheme: String,
    /// Beside `Authorization`, a bearer token may come in this header, without a scheme. Empty: in none.
    pub token_header: String,
    /// Beside `Authorization`, a bearer token may come in this cookie. Empty: in none. Applications that read cookies have to mind
    /// requests that other sites have browsers send.
    pub token_cookie: String,
    /// Whether the cookie has `Bearer`, a space or `%20`, and the token. One without is no token.
    pub token_cookie_scheme: bool,
    /// Beside `Authorization`, a bearer token may come in the query (RFC 6750 §2.3), where logs and histories keep it.
    pub token_in_query: bool,
    /// The names that it may have there. The application behind Envoy does not get what has such a name.
    pub token_parameters: Vec<String>,
    /// Whether the application behind Envoy gets the token, too. In the query, it never does. Other proxies have to be told themselves.
    pub forward_token: bool,
    /// Whether proxies may ask over HTTP, at `/check`: those in `http.trusted_proxies`, and nobody else. Where one of them also passes
    /// on the endpoints of this server to the outside, it has to leave out `/check`.
    pub check: bool,
    /// What proxies may ask for by name (`policy`).
    pub policies: BTreeMap<String, Policy>,
    /// How requests are refused, in the words of the application behind.
    pub denials: Denials,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            token_scheme: String::new(),
            token_header: String::new(),
            token_cookie: String::new(),
            token_cookie_scheme: false,
            token_in_query: false,
            token_parameters: vec!["access_token".into()],
            forward_token: true,
            check: true,
            policies: BTreeMap::new(),
            denials: Denials::default(),
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
        let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let known = ["bearer", "dpop", "basic"];
        if !is_scheme(&self.token_scheme) || known.iter().any(|known| self.token_scheme.eq_ignore_ascii_case(known)) {
            return wrong("gateway.token_scheme", "this is the name of a scheme other than Bearer, DPoP and Basic");
        }
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        if self.token_parameters.is_empty() || !self.token_parameters.iter().all(is_name) {
            return wrong("gateway.token_parameters", "these are names of parameters, in printable ASCII characters");
        }
        if let Err((name, cause)) = self.denials.check() {
            return wrong(&format!("gateway.denials.{name}"), &cause.to_string());
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
            token_cookie_scheme: self.token_cookie_scheme,
            token_parameters: if self.token_in_query { self.token_parameters.clone() } else { Vec::new() },
            token_scheme: Some(self.token_scheme.clone()).filter(|scheme| !scheme.is_empty()),
            denials: Some(self.denials.clone()).filter(|denials| *denials != Denials::default()),
            forward_token: self.forward_token,
            check: self.check,
            proxies: proxies.to_vec(),
        }
    }
}
