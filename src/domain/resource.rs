//! Resources: where tokens are good (RFC 8707), and what is said about them in public (RFC 9728).

use std::collections::BTreeMap;

use url::Url;

use super::openid::OPENID;
use super::parameters::Parameters;
use super::scope::ScopeSet;

/// The longest resource identifier, in bytes.
const MAX_RESOURCE_LENGTH: usize = 512;
/// The most resources that one request may name.
const MAX_RESOURCES: usize = 16;
/// Where a resource publishes its metadata (RFC 9728 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// Why a resource is refused (RFC 8707 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("a resource is an absolute URI without a fragment, {MAX_RESOURCE_LENGTH} bytes at most")]
    Malformed,
    #[error("this resource is not known here")]
    Unknown,
    #[error("a request names {MAX_RESOURCES} resources at most")]
    TooMany,
    #[error("the resource was not granted")]
    NotGranted,
    #[error("none of the scopes belongs to the resource")]
    NoScope,
}

/// The resources that the operator knows, each with the scopes that belong to it; an empty set is every scope. Without any resource,
/// every one is known.
#[derive(Clone, Debug, Default)]
pub struct ResourceCatalogue(BTreeMap<Box<str>, ScopeSet>);

/// Whether this is an absolute URI without a fragment (RFC 8707 §2, RFC 3986 §4.3). Resources compare as bytes.
pub fn is_well_formed(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte);
    let web = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    text.len() <= MAX_RESOURCE_LENGTH
        && text.bytes().all(allowed)
        // The parser is more lenient with these than the syntax is.
        && (!(web("http:") || web("https:")) || text.contains("://"))
        && Url::parse(text).is_ok()
}

impl ResourceCatalogue {
    pub fn new(resources: impl IntoIterator<Item = (Box<str>, ScopeSet)>) -> Self {
        Self(resources.into_iter().collect())
    }

    pub fn is_known(&self, resource: &str) -> bool {
        self.0.is_empty() || self.0.contains_key(resource)
    }

    /// The resources that the operator wrote down.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ScopeSet)> {
        self.0.iter().map(|(resource, scopes)| (&**resource, scopes))
    }

    /// The resources that a request names (RFC 8707 §2), in ascending order.
    pub fn requested(&self, parameters: &Parameters) -> Result<Vec<Box<str>>, InvalidTarget> {
        let mut resources = Vec::new();
        for resource in parameters.all("resource").filter(|resource| !resource.is_empty()) {
            if !is_well_formed(resource) {
                return Err(InvalidTarget::Malformed);
            }
            if !self.is_known(resource) {
                return Err(InvalidTarget::Unknown);
            }
            resources.push(resource.into());
        }
        resources.sort_unstable();
        resources.dedup();
        if resources.len() > MAX_RESOURCES { Err(InvalidTarget::TooMany) } else { Ok(resources) }
    }

    /// Those of the scopes that belong to one of the resources at least; without resources, all.
    pub fn scopes_at(&self, resources: &[Box<str>], scopes: &ScopeSet) -> Result<ScopeSet, InvalidTarget> {
        let belongs = |resource: &str, scope: &str| {
            // It is for the ID token, which no resource gets.
            scope == OPENID || self.0.get(resource).is_none_or(|scopes| scopes.is_empty() || scopes.contains(scope))
        };
        let kept =
            scopes.filter(|scope| resources.is_empty() || resources.iter().any(|resource| belongs(resource, scope)));
        if kept.is_empty() && !scopes.is_empty() { Err(InvalidTarget::NoScope) } else { Ok(kept) }
    }

    /// Where the first of these that the operator wrote down publishes its metadata.
    pub fn metadata_url(&self, resources: &[String]) -> Option<String> {
        let (resource, _) = resources.iter().find_map(|resource| self.0.get_key_value(resource.as_str()))?;
        metadata_url(resource)
    }

    /// The resource whose metadata has this path (RFC 9728 §3.1). Resources on several hosts may share it; then the host decides.
    pub fn at(&self, path: &str, host: Option<&str>) -> Option<(&str, &ScopeSet)> {
        let mut candidates = self.iter().filter_map(|(resource, scopes)| {
            let url = Url::parse(&metadata_url(resource)?).ok()?;
            (url.path() == path).then_some((url, resource, scopes))
        });
        let first = candidates.next()?;
        let mut all = std::iter::once(first).chain(candidates).collect::<Vec<_>>();
        if all.len() > 1 {
            all.retain(|(url, ..)| Some(&url[url::Position::BeforeHost..url::Position::AfterPort]) == host);
        }
        all.into_iter().next().map(|(_, resource, scopes)| (resource, scopes))
    }
}

/// RFC 9728 §3.1: the well-known string goes between the host and the path; a path of `/` alone is dropped.
fn metadata_url(resource: &str) -> Option<String> {
    let url = Url::parse(resource).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let rest = &url[url::Position::BeforePath..];
    let rest = if rest == "/" { "" } else { rest };
    Some(format!("{}{METADATA_PATH}{rest}", &url[..url::Position::BeforePath]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(resources: &[(&str, &str)]) -> ResourceCatalogue {
        ResourceCatalogue::new(
            resources.iter().map(|(resource, scopes)| ((*resource).into(), scopes.parse().expect("scopes"))),
        )
    }

    #[test]
    fn a41_a_resource_is_an_absolute_uri_without_a_fragment() {
        for good in ["https://api.example", "https://api.example/a?b=c", "urn:example:api", "http://127.0.0.1:80/"] {
            assert!(is_well_formed(good), "{good}");
        }
        let long = format!("https://api.example/{}", "x".repeat(MAX_RESOURCE_LENGTH));
        for bad in [
            "",
            "api",
            "/api",
            "//api",
            "https:",
            "https:api",
            "https://a#",
            "https://a#b",
            "https://a b",
            "a\tb:c",
            &long,
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn a41_requested_resources_are_known_and_few() {
        let known = catalogue(&[("https://a", ""), ("https://b", "")]);
        let requested = |catalogue: &ResourceCatalogue, query: &str| {
            catalogue.requested(&Parameters::parse(query.as_bytes()).expect("few parameters"))
        };
        let both = Ok(vec!["https://a".into(), "https://b".into()]);
        assert_eq!(requested(&known, "resource=https://b&resource=https://a&resource=https://b"), both);
        assert_eq!(requested(&known, "resource="), Ok(vec![]));
        assert_eq!(requested(&known, "resource=https://a&resource=https://c"), Err(InvalidTarget::Unknown));
        assert_eq!(requested(&known, "resource=https://a/"), Err(InvalidTarget::Unknown), "bytes count");
        assert_eq!(requested(&known, "resource=a"), Err(InvalidTarget::Malformed));
        let many = (0..17).map(|n| format!("resource=urn:a{n}:x")).collect::<Vec<_>>().join("&");
        assert_eq!(requested(&ResourceCatalogue::default(), &many), Err(InvalidTarget::TooMany));
    }

    #[test]
    fn a_resource_has_its_own_scopes() {
        let known = catalogue(&[("https://a", "r w"), ("https://b", "x"), ("https://any", "")]);
        let at = |resources: &[&str], scopes: &str| {
            let resources: Vec<Box<str>> = resources.iter().map(|&resource| resource.into()).collect();
            known.scopes_at(&resources, &scopes.parse().expect("scopes")).map(|scopes| scopes.to_string())
        };
        assert_eq!(at(&["https://a"], "r x"), Ok("r".into()));
        assert_eq!(at(&["https://a", "https://b"], "r x y"), Ok("r x".into()));
        assert_eq!(at(&["https://any"], "r x"), Ok("r x".into()));
        assert_eq!(at(&[], "r x"), Ok("r x".into()));
        assert_eq!(at(&["https://b"], "r"), Err(InvalidTarget::NoScope));
    }

    #[test]
    fn metadata_is_between_host_and_path() {
        let known = catalogue(&[("https://a", ""), ("https://b/", ""), ("https://a:8443/x?y=z", ""), ("urn:a:b", "")]);
        for (resource, expected) in [
            ("https://a", Some("https://a/.well-known/oauth-protected-resource")),
            ("https://b/", Some("https://b/.well-known/oauth-protected-resource")),
            ("https://a:8443/x?y=z", Some("https://a:8443/.well-known/oauth-protected-resource/x?y=z")),
            ("urn:a:b", None),
            ("https://unknown", None),
        ] {
            assert_eq!(known.metadata_url(&[resource.into()]).as_deref(), expected, "{resource}");
        }
        let at = |path: &str, host| known.at(path, host).map(|(resource, _)| resource);
        assert_eq!(at(&format!("{METADATA_PATH}/x"), None), Some("https://a:8443/x?y=z"));
        assert_eq!(at(METADATA_PATH, Some("b")), Some("https://b/"));
        assert_eq!(at(METADATA_PATH, Some("c")), None);
        assert_eq!(at(&format!("{METADATA_PATH}/z"), None), None);
    }
}
