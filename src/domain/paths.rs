//! Where the endpoints are that clients of other systems look for elsewhere.

use serde::{Deserialize, Serialize};

/// The most paths that one endpoint may have.
const MAX_PATHS: usize = 8;
const MAX_PATH_LENGTH: usize = 200;
/// What does not move.
const TAKEN: [&str; 10] = [
    "/check",
    "/consent",
    "/device",
    "/device_authorization",
    "/login",
    "/login/switch",
    "/logout",
    "/logout/confirm",
    "/par",
    "/register",
];
/// Behind these, everything is taken.
const TAKEN_BEHIND: [&str; 5] = ["/.well-known/", "/account/", "/assets/", "/check/", "/register/"];

/// For each endpoint one path or more, of which the first is in the metadata and in links. A path begins with `/` and is made of letters,
/// digits and `-._~/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// The authorization endpoint (RFC 6749 §3.1).
    pub authorize: EndpointPaths,
    /// The token endpoint (RFC 6749 §3.2).
    pub token: EndpointPaths,
    /// The revocation endpoint (RFC 7009 §2).
    pub revoke: EndpointPaths,
    /// The introspection endpoint (RFC 7662 §2).
    pub introspect: EndpointPaths,
    /// The `UserInfo` endpoint (OpenID Connect Core §5.3).
    pub userinfo: EndpointPaths,
    /// The key set (RFC 7517 §5).
    pub jwks: EndpointPaths,
}

/// The paths of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct EndpointPaths(Vec<String>);

/// Text that is no path of an endpoint, or another one has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPaths {
    #[error("an endpoint has 1 to {MAX_PATHS} paths")]
    Number,
    #[error("{0:?} is no path of letters, digits and -._~/ that begins with /")]
    Path(String),
    #[error("{0} is where a page or another endpoint is")]
    Taken(String),
}

impl EndpointPaths {
    /// The one in the metadata and in links.
    pub fn first(&self) -> &str {
        &self.0[0]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn of(path: &str) -> Self {
        Self(vec![path.to_owned()])
    }
}

impl TryFrom<Vec<String>> for EndpointPaths {
    type Error = MalformedPaths;

    fn try_from(paths: Vec<String>) -> Result<Self, MalformedPaths> {
        if !(1..=MAX_PATHS).contains(&paths.len()) {
            return Err(MalformedPaths::Number);
        }
        for path in &paths {
            if !is_well_formed(path) {
                return Err(MalformedPaths::Path(path.clone()));
            }
            if TAKEN.contains(&path.as_str()) || TAKEN_BEHIND.iter().any(|taken| path.starts_with(taken)) {
                return Err(MalformedPaths::Taken(path.clone()));
            }
        }
        Ok(Self(paths))
    }
}

impl From<EndpointPaths> for Vec<String> {
    fn from(paths: EndpointPaths) -> Self {
        paths.0
    }
}

fn is_well_formed(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.len() <= MAX_PATH_LENGTH
        && path.strip_prefix('/').is_some_and(|rest| !rest.is_empty())
        && path.bytes().all(plain)
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            authorize: EndpointPaths::of("/authorize"),
            token: EndpointPaths::of("/token"),
            revoke: EndpointPaths::of("/revoke"),
            introspect: EndpointPaths::of("/introspect"),
            userinfo: EndpointPaths::of("/userinfo"),
            jwks: EndpointPaths::of("/jwks"),
        }
    }
}

impl Paths {
    /// That no two endpoints are in the same place.
    pub fn validate(&self) -> Result<(), MalformedPaths> {
        let Self { authorize, token, revoke, introspect, userinfo, jwks } = self;
        let mut all: Vec<&str> =
            [authorize, token, revoke, introspect, userinfo, jwks].into_iter().flat_map(EndpointPaths::iter).collect();
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(MalformedPaths::Taken(pair[0].to_owned())),
            None => Ok(()),
        }
    }

    /// That decisions can be posted to `path`: nothing is there, or the page that asks for them.
    pub fn check_decisions(&self, path: &str) -> Result<(), MalformedPaths> {
        let authorize = EndpointPaths::try_from(vec![path.to_owned()])?;
        Self { authorize, ..self.clone() }.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(of: &[&str]) -> Result<EndpointPaths, MalformedPaths> {
        of.iter().map(|&path| path.to_owned()).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn a_path_is_plain_and_free() {
        for good in ["/a", "/login/oauth/authorize", "/api/v1/oauth/token/", "/a-b_c.d~e"] {
            assert!(paths(&[good]).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "//a", "/a//b", "/a/../b", "/a?b", "/{a}", "/a b", "/%61", "/é", "/*"] {
            assert_eq!(paths(&[bad]), Err(MalformedPaths::Path(bad.into())));
        }
        for taken in ["/login", "/check/x", "/.well-known/x", "/account/apps", "/register"] {
            assert_eq!(paths(&[taken]), Err(MalformedPaths::Taken(taken.into())));
        }
        assert_eq!(paths(&[]), Err(MalformedPaths::Number));
        assert_eq!(paths(&["/a"; MAX_PATHS + 1]), Err(MalformedPaths::Number));
    }

    #[test]
    fn no_two_endpoints_are_in_the_same_place() {
        assert_eq!(Paths::default().validate(), Ok(()));
        let both = Paths { token: EndpointPaths::of("/authorize"), ..Paths::default() };
        assert_eq!(both.validate(), Err(MalformedPaths::Taken("/authorize".into())));
    }
}
