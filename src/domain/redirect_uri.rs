//! Redirect URIs: which may be registered, and which presented one equals a registered one.
//!
//! They are compared as bytes (RFC 9700 §2.1). The single exception is the port of a loopback literal
//! (RFC 8252 §7.3). Nothing is ever normalised. What else an operator can let pass is in `redirect_rules`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

/// Stand for "show the user the code": there is nowhere to send it.
const OUT_OF_BAND: [&str; 2] = ["urn:ietf:wg:oauth:2.0:oob", "urn:ietf:wg:oauth:2.0:oob:auto"];

/// The longest redirect URI that is accepted, in bytes.
pub const MAX_REDIRECT_URI_LENGTH: usize = 2048;

/// A redirect URI that passed the rules for registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri(Box<str>);

/// Why a URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    #[error("a redirect URI is an absolute URI of printable ASCII characters, {MAX_REDIRECT_URI_LENGTH} at most")]
    Malformed,
    #[error("a redirect URI has no fragment (RFC 6749 section 3.1.2)")]
    Fragment,
    #[error("a redirect URI has no user name, password or wildcard")]
    Authority,
    #[error("http is for the loopback addresses 127.0.0.1, [::1] and localhost only: use https (RFC 9700 section 2.6)")]
    InsecureScheme,
    #[error(
        "a private-use scheme is a reversed domain name and has a dot, like com.example.app (RFC 8252 section 7.1)"
    )]
    PrivateUseScheme,
}

/// What kind of scheme a redirect URI has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectScheme {
    Https,
    /// To loopback addresses alone.
    Http,
    /// A reversed domain name.
    PrivateUse,
    /// Without an authority.
    Urn,
}

impl RedirectUri {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn scheme(&self) -> RedirectScheme {
        match self.0.split(':').next() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => RedirectScheme::Https,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => RedirectScheme::Http,
            Some(scheme) if scheme.eq_ignore_ascii_case("urn") => RedirectScheme::Urn,
            _ => RedirectScheme::PrivateUse,
        }
    }

    /// Whether `presented` is this URI: the same bytes, or the same but for the port where this is a
    /// loopback literal.
    pub fn matches(&self, presented: &str) -> bool {
        presented == &*self.0
            || match (split_loopback(&self.0), split_loopback(presented)) {
                (Some(registered), Some(presented)) => registered == presented,
                _ => false,
            }
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidRedirectUri;

    fn from_str(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.len() > MAX_REDIRECT_URI_LENGTH
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
            || text.contains(['\\', '"', '<', '>', '`', '{', '}', '|', '^'])
        {
            return Err(InvalidRedirectUri::Malformed);
        }
        if text.contains('#') {
            return Err(InvalidRedirectUri::Fragment);
        }
        let url = Url::parse(text).map_err(|_| InvalidRedirectUri::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() || text.contains(['*', '@']) {
            return Err(InvalidRedirectUri::Authority);
        }
        match url.scheme() {
            "https" if url.host_str().is_some() => {}
            "http" if matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) => {}
            "http" => return Err(InvalidRedirectUri::InsecureScheme),
            scheme if scheme.contains('.') => {}
            // An authority would pose as a host. Of those of the IETF, no other leads anywhere.
            "urn" if !url.has_authority() && (is_out_of_band(text) || !in_ietf_namespace(text)) => {}
            _ => return Err(InvalidRedirectUri::PrivateUseScheme),
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the code is to be shown to the user, who carries it to the app.
pub fn is_out_of_band(uri: &str) -> bool {
    OUT_OF_BAND.contains(&uri)
}

fn in_ietf_namespace(urn: &str) -> bool {
    urn.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("urn:ietf:"))
}

/// A loopback URI without its port: the literal and what follows the port.
pub(super) fn split_loopback(uri: &str) -> Option<(&'static str, &str)> {
    let (literal, rest) = ["http://127.0.0.1", "http://[::1]"]
        .into_iter()
        .find_map(|literal| Some((literal, uri.strip_prefix(literal)?)))?;
    let rest = match rest.strip_prefix(':') {
        Some(port_and_rest) => {
            let digits = port_and_rest.bytes().take_while(u8::is_ascii_digit).count();
            port_and_rest[..digits].parse::<u16>().ok()?;
            &port_and_rest[digits..]
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((literal, rest))
}

#[cfg(test)]
mod tests {
    use super::InvalidRedirectUri as Because;
    use super::*;

    fn registered(text: &str) -> RedirectUri {
        text.parse().expect("a good redirect URI")
    }

    #[test]
    fn a6_only_the_registered_bytes_match() {
        let uri = registered("https://c/cb");
        assert!(uri.matches("https://c/cb"));
        for other in [
            "https://c/CB",
            "https://c/cb/",
            "https://c/cb?x=1",
            "https://c/cb#",
            "https://c/cb#f",
            "https://c/cb;p=1",
            "https://c:443/cb",
            "https://C/cb",
            "https://u@c/cb",
            "https://c/x/../cb",
            "https://c/cb%2f",
            "https://c\\@evil/cb",
            "https://c.evil/cb",
            "https://c/cb%00",
            "",
            "https://c/c",
            "http://c/cb",
        ] {
            assert!(!uri.matches(other), "{other}");
        }
    }

    #[test]
    fn a8_a9_a10_only_the_port_of_a_loopback_literal_may_vary() {
        for (uri, presented, expected) in [
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:51004/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]/cb", "http://[::1]:51004/cb", true),
            ("http://127.0.0.1", "http://127.0.0.1:51004", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/other", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x=1", false),
            ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb", false),
            ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:99999/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil/cb", false),
            ("http://127.0.0.1", "http://127.0.0.1.evil", false),
            ("http://127.0.0.1", "http://127.0.0.1:80.evil", false),
            ("http://127.0.0.1/cb", "http://[::1]:51004/cb", false),
            ("http://localhost/cb", "http://localhost:51004/cb", false),
            ("http://localhost:3000/cb", "http://localhost:3000/cb", true),
        ] {
            assert_eq!(registered(uri).matches(presented), expected, "{uri} {presented}");
        }
    }

    #[test]
    fn a11_a12_a13_what_may_be_registered() {
        for good in [
            "https://c/cb",
            "https://c/cb?a=1",
            "http://127.0.0.1/cb",
            "http://[::1]:9/cb",
            "http://localhost:3000/cb",
            "com.example.app:/cb",
            "com.example.app://cb",
            "urn:ietf:wg:oauth:2.0:oob",
            "urn:ietf:wg:oauth:2.0:oob:auto",
            "urn:/audio.example.app-android/oauth/callback",
        ] {
            assert!(good.parse::<RedirectUri>().is_ok(), "{good}");
        }
        for (bad, because) in [
            ("https://c/cb#f", Because::Fragment),
            ("https://c/cb#", Because::Fragment),
            ("http://c/cb", Because::InsecureScheme),
            ("http://127.0.0.1.evil/cb", Because::InsecureScheme),
            ("https://u@c/cb", Because::Authority),
            ("https://u:p@c/cb", Because::Authority),
            ("https://*.c/cb", Because::Authority),
            ("javascript:alert(1)", Because::PrivateUseScheme),
            ("JaVaScript:alert(1)", Because::PrivateUseScheme),
            (" javascript:alert(1)", Because::Malformed),
            ("java\tscript:alert(1)", Because::Malformed),
            ("data:text/html,x", Because::PrivateUseScheme),
            ("vbscript:x", Because::PrivateUseScheme),
            ("blob:https://c/x", Because::PrivateUseScheme),
            ("file:///etc/passwd", Because::PrivateUseScheme),
            ("myapp:/cb", Because::PrivateUseScheme),
            ("urn://evil/cb", Because::PrivateUseScheme),
            ("urn:ietf:wg:oauth:2.0:invalid", Because::PrivateUseScheme),
            ("URN:IETF:wg:oauth:2.0:oob", Because::PrivateUseScheme),
            ("urn:ietf:params:oauth:request_uri:x", Because::PrivateUseScheme),
            ("urn:/cb#f", Because::Fragment),
            ("urn:/u@evil/cb", Because::Authority),
            ("/cb", Because::Malformed),
            ("", Because::Malformed),
            ("https://", Because::Malformed),
            ("https://c/c b", Because::Malformed),
            ("https://c/\u{0}", Because::Malformed),
            ("https://c\\@evil/cb", Because::Malformed),
            ("https://[::1", Because::Malformed),
        ] {
            assert_eq!(bad.parse::<RedirectUri>(), Err(because), "{bad:?}");
        }
    }
}
