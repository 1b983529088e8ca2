//! Rules: which requests need which tokens. For proxies that do not say so themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::decision::{Match, Requirement};
use super::request_path::RequestPath;
use super::scope::{MalformedScope, Scope};

/// What a request has to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Scopes of the access token. None: any active token will do.
    pub required_scopes: Vec<String>,
    /// Whether `all` or `any` of them.
    pub r#match: Match,
    /// The names of the resource: the token has to be meant for one of them (RFC 8707). None: it may be meant for anything.
    pub audience: Vec<String>,
    /// Requests without a token pass, too.
    pub anonymous: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { required_scopes: Vec::new(), r#match: Match::All, audience: Vec::new(), anonymous: false }
    }
}

impl Policy {
    pub fn requirement(&self) -> Result<Requirement<'_>, MalformedScope> {
        Requirement::new(&self.required_scopes, self.r#match, &self.audience)
    }

    pub fn is_well_formed(&self) -> bool {
        self.required_scopes.iter().all(|scope| Scope::is_well_formed(scope))
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Route {
    /// Host names, or `*.example.com`; none means every host.
    pub hosts: Vec<HostPattern>,
    /// Methods, as they are written; none means every method.
    pub methods: Vec<Box<str>>,
    pub path: PathTemplate,
    pub policy: Policy,
}

impl Route {
    pub fn matches(&self, method: &str, host: &str, path: RequestPath<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|own| **own == *method))
            && (self.hosts.is_empty() || self.hosts.iter().any(|own| own.matches(host)))
            && self.path.matches(path)
    }
}

/// A host name, or all below one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(Box<str>);

/// Text that is no host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is a host name in lower case without a port, or *. and one")]
pub struct MalformedHost;

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        let host = without_port(host);
        match self.0.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && ends_with_ignoring_case(host, suffix),
            None => host.eq_ignore_ascii_case(&self.0),
        }
    }
}

fn ends_with_ignoring_case(text: &str, suffix: &str) -> bool {
    text.len()
        .checked_sub(suffix.len())
        .and_then(|start| text.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl TryFrom<String> for HostPattern {
    type Error = MalformedHost;

    fn try_from(text: String) -> Result<Self, MalformedHost> {
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'[' | b']' | b':'));
        if is_name && without_port(name) == name { Ok(Self(text.into())) } else { Err(MalformedHost) }
    }
}

impl From<HostPattern> for String {
    fn from(host: HostPattern) -> Self {
        host.0.into()
    }
}

/// A path with places to fill in: `{name}` stands for one segment, `{name=**}` at the end for all that follow, one at least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Segment(Box<str>),
    Rest(Box<str>),
}

/// Text that is no path template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a path template is a path in normal form with {{name}} for one segment, or {{name=**}} at the end for all that follow"
)]
pub struct MalformedTemplate;

impl PathTemplate {
    fn matches(&self, path: RequestPath<'_>) -> bool {
        let mut segments = path.segments();
        for part in &self.0 {
            let Some(segment) = segments.next() else { return false };
            match part {
                Part::Literal(own) if **own != *segment => return false,
                Part::Segment(_) if segment.is_empty() => return false,
                Part::Rest(_) => return true,
                Part::Literal(_) | Part::Segment(_) => {}
            }
        }
        segments.next().is_none()
    }
}

impl FromStr for PathTemplate {
    type Err = MalformedTemplate;

    fn from_str(text: &str) -> Result<Self, MalformedTemplate> {
        let mut parts = Vec::new();
        for segment in text.strip_prefix('/').ok_or(MalformedTemplate)?.split('/') {
            if matches!(parts.last(), Some(Part::Rest(_))) {
                return Err(MalformedTemplate);
            }
            parts.push(match segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
                Some(inner) => match inner.strip_suffix("=**") {
                    Some(name) => Part::Rest(name_of(name)?),
                    None => Part::Segment(name_of(inner)?),
                },
                // Elsewhere an asterisk means "any": here it would mean itself, which nobody wants. And a query is no part of a path.
                None if segment.contains(['*', '?']) => return Err(MalformedTemplate),
                None => Part::Literal(segment.into()),
            });
        }
        // What no request path can be, no rule can mean.
        let literals = parts.iter().map(|part| match part {
            Part::Literal(literal) => literal,
            Part::Segment(_) | Part::Rest(_) => "x",
        });
        let example = format!("/{}", literals.collect::<Vec<_>>().join("/"));
        RequestPath::of_target(example.as_bytes()).map_err(|_| MalformedTemplate)?;
        Ok(Self(parts))
    }
}

fn name_of(text: &str) -> Result<Box<str>, MalformedTemplate> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { Ok(text.into()) } else { Err(MalformedTemplate) }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => write!(f, "/{text}"),
            Part::Segment(name) => write!(f, "/{{{name}}}"),
            Part::Rest(name) => write!(f, "/{{{name}=**}}"),
        })
    }
}

impl TryFrom<String> for PathTemplate {
    type Error = MalformedTemplate;

    fn try_from(text: String) -> Result<Self, MalformedTemplate> {
        text.parse()
    }
}

impl From<PathTemplate> for String {
    fn from(template: PathTemplate) -> Self {
        template.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_as_a_table() {
        for (template, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/admin", "/admin", true),
            ("/admin", "/Admin", false),
            ("/admin", "/admin/", false),
            ("/admin/", "/admin/", true),
            ("/admin", "/admin/x", false),
            ("/orders/{id}", "/orders/7", true),
            ("/orders/{id}", "/orders/", false),
            ("/orders/{id}", "/orders", false),
            ("/orders/{id}", "/orders/7/items", false),
            ("/orders/{id}/items", "/orders/7/items", true),
            ("/orders/{rest=**}", "/orders/7/items", true),
            ("/orders/{rest=**}", "/orders/", true),
            ("/orders/{rest=**}", "/orders", false),
            ("/{rest=**}", "/", true),
            ("/{rest=**}", "/x/y", true),
        ] {
            let template: PathTemplate = template.parse().expect("a template");
            let path = RequestPath::of_target(path.as_bytes()).expect("a path");
            assert_eq!(template.matches(path), expected, "{template} {path:?}");
        }
    }

    #[test]
    fn templates_that_could_match_nothing_or_too_much_are_refused() {
        for bad in
            ["", "admin", "//", "/a/../b", "/{rest=**}/x", "/{}", "/{a b}", "/a{id}", "/%2f", "/{id", "/a?b", "/*"]
        {
            assert_eq!(bad.parse::<PathTemplate>(), Err(MalformedTemplate), "{bad}");
        }
    }

    #[test]
    fn hosts_compare_without_case_and_port() {
        let pattern = |text: &str| HostPattern::try_from(text.to_owned());
        for (own, host, expected) in [
            ("api.example.com", "API.example.com:8443", true),
            ("api.example.com", "api.example.com.", false),
            ("api.example.com", "xapi.example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("[::1]", "[::1]:80", true),
        ] {
            assert_eq!(pattern(own).expect("a pattern").matches(host), expected, "{own} {host}");
        }
        for bad in ["", "*", "*.", "API.example.com", "a.example.com:80", "a/b", "*.*.com"] {
            assert_eq!(pattern(bad).err(), Some(MalformedHost), "{bad}");
        }
    }
}
