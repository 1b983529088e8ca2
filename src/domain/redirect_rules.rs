//! Which redirect URI of an authorization request counts, and what the token request has to say of it.
//!
//! By default as RFC 9700 §2.1 has it. Whatever else an operator lets pass, an answer goes to the scheme, host and port of a registered
//! URI alone; but for the port where that is a loopback literal (RFC 8252 §7.3).

use serde::{Deserialize, Serialize};

use super::authorization::Fatal;
use super::client::Client;
use super::parameters::Parameters;
use super::redirect_uri::{InvalidRedirectUri, RedirectScheme, RedirectUri, is_out_of_band, split_loopback};

/// What comes with an answer. A query that is not registered must have none of it: which one counts would be the app's to guess.
const ANSWERS: [&str; 10] = [
    "code",
    "state",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "id_token",
    "access_token",
    "token_type",
    "response",
];

/// The rules about redirect URIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectRules {
    /// The schemes that there may be.
    pub schemes: Vec<RedirectScheme>,
    pub choice: RedirectChoice,
    pub matching: RedirectMatch,
    pub at_token: RedirectAtToken,
    /// Whether a code is shown to the user where the URI says so.
    pub out_of_band: bool,
}

/// Which URI an answer goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectChoice {
    /// The one of the request, which is registered; without one, the only registered one (RFC 6749 §3.1.2.3).
    #[default]
    Requested,
    /// The one of the request, which is registered; without one, the first registered one.
    RequestedOrFirst,
    /// The first registered one, whatever the request says.
    FirstRegistered,
}

/// When a requested URI is a registered one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectMatch {
    /// When they are the same bytes, but for the port of a loopback literal.
    #[default]
    Exact,
    /// The same; and it may have parameters that the registered one does not have.
    QuerySubset,
    /// When they are the same but for upper and lower case and a slash at the end; with a port that counts, unless it is one that a public
    /// client has on a loopback literal.
    CaseAndSlash,
}

/// What a token request has to say of it (RFC 6749 §4.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectAtToken {
    /// The same as the authorization request, or nothing as that.
    #[default]
    AsAuthorized,
    /// The same as the authorization request; where that said nothing, anything.
    IfAuthorized,
    /// Where the answer went, or nothing.
    Optional,
    /// Where the answer went; nothing only from a client that has one URI.
    OptionalIfOnly,
    /// A registered URI, or nothing.
    Registered,
}

/// What a code has to have been issued with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectProof {
    /// This; empty: none.
    Exactly(String),
    /// This, or none.
    ExactlyOrNone(String),
    /// It does not matter.
    Anything,
}

impl Default for RedirectRules {
    fn default() -> Self {
        Self {
            schemes: vec![RedirectScheme::Https, RedirectScheme::Http, RedirectScheme::PrivateUse],
            choice: RedirectChoice::default(),
            matching: RedirectMatch::default(),
            at_token: RedirectAtToken::default(),
            out_of_band: false,
        }
    }
}

impl RedirectRules {
    /// Whether all of them may be registered here.
    pub fn check(&self, uris: &[RedirectUri]) -> Result<(), InvalidRedirectUri> {
        if uris.iter().all(|uri| self.permits(uri)) { Ok(()) } else { Err(InvalidRedirectUri::PrivateUseScheme) }
    }

    /// Where the answer to a request goes. One that was registered when other schemes were permitted counts no more.
    pub(super) fn chosen<'a>(&self, parameters: &'a Parameters, client: &'a Client) -> Result<Option<&'a str>, Fatal> {
        let mut usable = client.redirect_uris.iter().filter(|uri| self.permits(uri)).map(RedirectUri::as_str);
        if self.choice == RedirectChoice::FirstRegistered {
            return usable.next().map(Some).ok_or(Fatal::RedirectUriMissing);
        }
        match (parameters.get("redirect_uri"), self.choice) {
            (Some(presented), _) if self.is_registered(presented, client) => Ok(Some(presented)),
            (Some(presented), _) if presented.parse::<RedirectUri>() == Err(InvalidRedirectUri::Malformed) => {
                Err(Fatal::RedirectUriMalformed)
            }
            (Some(_), _) => Err(Fatal::RedirectUriUnregistered),
            (None, RedirectChoice::RequestedOrFirst) => usable.next().map(Some).ok_or(Fatal::RedirectUriMissing),
            (None, _) => Ok(usable.next().filter(|_| client.redirect_uris.len() == 1)),
        }
    }

    /// What a code is issued with.
    pub fn kept(&self, parameter: Option<&str>, target: &str) -> String {
        match self.at_token {
            RedirectAtToken::IfAuthorized if self.choice == RedirectChoice::FirstRegistered => String::new(),
            RedirectAtToken::AsAuthorized | RedirectAtToken::IfAuthorized => parameter.unwrap_or_default().to_owned(),
            RedirectAtToken::Optional | RedirectAtToken::OptionalIfOnly | RedirectAtToken::Registered => {
                target.to_owned()
            }
        }
    }

    /// What a token request proves by its `redirect_uri`. `None`: it says something that no code of this client can have been issued with.
    pub fn presented(&self, parameter: Option<&str>, client: &Client) -> Option<RedirectProof> {
        let text = parameter.unwrap_or_default().to_owned();
        Some(match (self.at_token, parameter) {
            (RedirectAtToken::IfAuthorized, _) => RedirectProof::ExactlyOrNone(text),
            (RedirectAtToken::AsAuthorized, _)
            | (RedirectAtToken::Optional | RedirectAtToken::OptionalIfOnly, Some(_)) => RedirectProof::Exactly(text),
            (RedirectAtToken::OptionalIfOnly, None) => match client.redirect_uris.as_slice() {
                [only] => RedirectProof::Exactly(only.as_str().to_owned()),
                _ => return None,
            },
            (RedirectAtToken::Registered, Some(uri)) if !self.is_registered(uri, client) => return None,
            (RedirectAtToken::Registered, _) | (RedirectAtToken::Optional, None) => RedirectProof::Anything,
        })
    }

    fn permits(&self, uri: &RedirectUri) -> bool {
        self.schemes.contains(&uri.scheme()) && (self.out_of_band || !is_out_of_band(uri.as_str()))
    }

    fn is_registered(&self, presented: &str, client: &Client) -> bool {
        client
            .redirect_uris
            .iter()
            .any(|uri| self.permits(uri) && self.matches(uri, presented, client.is_confidential()))
    }

    fn matches(&self, registered: &RedirectUri, presented: &str, is_confidential: bool) -> bool {
        if self.matching == RedirectMatch::Exact {
            return registered.matches(presented);
        }
        // Nothing passes that could not be registered: no fragment, no user name, nothing that parsers differ about.
        if presented.parse::<RedirectUri>().is_err() {
            return false;
        }
        match self.matching {
            RedirectMatch::Exact => registered.matches(presented),
            RedirectMatch::QuerySubset => has_query_of(registered, presented),
            RedirectMatch::CaseAndSlash => {
                let (registered, presented) = (folded(registered.as_str()), folded(presented));
                let without_port = || split_loopback(&presented).map(|(host, rest)| format!("{host}{rest}"));
                registered == presented
                    || (!is_confidential && without_port().is_some_and(|uri| folded(&uri) == registered))
            }
        }
    }
}

/// Whether everything else is the same, and each registered parameter is there as often as it is registered. No other is one of an answer.
fn has_query_of(registered: &RedirectUri, presented: &str) -> bool {
    let (path, query) = presented.split_once('?').unwrap_or((presented, ""));
    let (registered_path, registered_query) = registered.as_str().split_once('?').unwrap_or((registered.as_str(), ""));
    if registered.matches(presented) {
        return true;
    }
    if !registered_path.parse().is_ok_and(|registered: RedirectUri| registered.matches(path)) {
        return false;
    }
    let mut more: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    for pair in form_urlencoded::parse(registered_query.as_bytes()) {
        let Some(position) = more.iter().position(|other| *other == pair) else { return false };
        more.swap_remove(position);
    }
    more.iter().all(|(name, _)| !ANSWERS.contains(&&**name))
}

/// In lower case, and without a slash at the end.
fn folded(uri: &str) -> String {
    let uri = uri.to_ascii_lowercase();
    uri.strip_suffix('/').unwrap_or(&uri).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn rules(matching: RedirectMatch) -> RedirectRules {
        RedirectRules { matching, ..RedirectRules::default() }
    }

    fn matches(matching: RedirectMatch, registered: &str, presented: &str, is_confidential: bool) -> bool {
        rules(matching).matches(&registered.parse().expect("a redirect URI"), presented, is_confidential)
    }

    #[test]
    fn case_and_slash_as_forgejos_tests_have_it() {
        let public =
            |registered: &str, presented: &str| matches(RedirectMatch::CaseAndSlash, registered, presented, false);
        for (registered, presented, expected) in [
            ("http://127.0.0.1", "http://127.0.0.1", true),
            ("http://127.0.0.1", "http://127.0.0.1/", true),
            ("http://127.0.0.1", "http://127.0.0.1/other", false),
            ("http://127.0.0.1/", "http://127.0.0.1", true),
            ("http://127.0.0.1/", "http://127.0.0.1/", true),
            ("http://127.0.0.1/", "http://127.0.0.1/other", false),
            ("http://127.0.0.1/", "http://127.0.0.1:3456/", true),
            ("http://[::1]/", "http://[::1]:3456/", true),
            ("https://127.0.0.1/", "https://127.0.0.1:3456/", false),
            ("http://127.0.0.1/", "https://127.0.0.1:3456/", false),
            ("http://localhost/", "http://localhost:3456/", false),
            ("https://intranet/", "https://intranet:3456/", false),
            ("http://127.0.0.1/", ":", false),
            // A port that is registered counts.
            ("http://127.0.0.1:1/", "http://127.0.0.1:2/", false),
            ("https://c.example/Cb", "HTTPS://C.Example/cB/", true),
            ("https://c.example/cb", "https://c.example/cb//", false),
            ("https://c.example/cb", "https://c.example/cb/../x", false),
            ("https://c.example/cb", "https://c.example/cb?x=1", false),
            ("https://c.example/cb", "https://c.example/cb#", false),
            ("https://c.example/cb", "https://c.example\\@evil/cb", false),
            ("http://127.0.0.1", "http://127.0.0.1.evil", false),
            ("http://127.0.0.1", "http://127.0.0.1:80@evil", false),
            ("http://127.0.0.1", "http://127.0.0.1:80.evil", false),
        ] {
            assert_eq!(public(registered, presented), expected, "{registered} {presented}");
        }
        let confidential = matches(RedirectMatch::CaseAndSlash, "http://127.0.0.1/", "http://127.0.0.1:3456/", true);
        assert!(!confidential, "the port of a confidential client counts");
    }

    #[test]
    fn a_query_may_have_more_than_is_registered_but_nothing_of_an_answer() {
        for (registered, presented, expected) in [
            ("https://c.example/cb", "https://c.example/cb?a=1", true),
            ("https://c.example/cb?a=1", "https://c.example/cb?a=1&b=2", true),
            ("https://c.example/cb?a=1", "https://c.example/cb?b=2&a=1", true),
            ("https://c.example/cb?a=1&a=1", "https://c.example/cb?a=1", false),
            ("https://c.example/cb?a=1", "https://c.example/cb", false),
            ("https://c.example/cb?a=1", "https://c.example/cb?a=2", false),
            ("https://c.example/cb", "https://c.example/cb/?a=1", false),
            ("https://c.example/cb", "https://c.example/CB?a=1", false),
            ("https://c.example/cb", "https://c.example:8443/cb?a=1", false),
            ("https://c.example/cb", "http://c.example/cb?a=1", false),
            ("https://c.example/cb", "https://c.example.evil/cb?a=1", false),
            ("https://c.example/cb", "https://c.example@evil/cb?a=1", false),
            ("https://c.example/cb", "https://c.example/cb?a=1#f", false),
            ("https://c.example/cb", "https://c.example/cb?code=mine", false),
            ("https://c.example/cb", "https://c.example/cb?%63ode=mine", false),
            ("https://c.example/cb", "https://c.example/cb?state=mine", false),
            ("https://c.example/cb?state=x", "https://c.example/cb?state=x&a=1", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?a=1", true),
            ("http://localhost/cb", "http://localhost:51004/cb?a=1", false),
            ("com.example.app:/cb", "com.example.app:/cb?a=1", true),
            ("urn:ietf:wg:oauth:2.0:oob", "urn:ietf:wg:oauth:2.0:oob?a=1", false),
        ] {
            assert_eq!(
                matches(RedirectMatch::QuerySubset, registered, presented, true),
                expected,
                "{registered} {presented}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_matches_leads_where_the_registered_one_does(
            registered in prop_oneof![
                "https://c\\.example(:8443)?(/[a-c/]{0,4})?(\\?a=1)?",
                "http://(127\\.0\\.0\\.1|\\[::1\\])(:1)?(/[a-c]{0,3})?",
                "com\\.example\\.app:/[a-c]{0,3}",
            ],
            edit in 0_usize..40,
            insert in "[a-cA-C0-9@:/?#&=.\\\\%;]{0,6}",
            cut in 0_usize..3,
            confidential: bool,
        ) {
            let edit = edit.min(registered.len());
            let presented = format!("{}{insert}{}", &registered[..edit], registered.get(edit + cut..).unwrap_or_default());
            let parsed: RedirectUri = registered.parse().expect("a redirect URI");
            for matching in [RedirectMatch::Exact, RedirectMatch::QuerySubset, RedirectMatch::CaseAndSlash] {
                if !rules(matching).matches(&parsed, &presented, confidential) {
                    continue;
                }
                let (to, from) = (Url::parse(&presented).expect("a URI"), Url::parse(&registered).expect("a URI"));
                prop_assert_eq!((to.scheme(), to.host_str()), (from.scheme(), from.host_str()), "{}", presented);
                prop_assert!(to.fragment().is_none() && to.username().is_empty() && to.password().is_none());
                let is_loopback = split_loopback(&registered).is_some();
                prop_assert!(to.port() == from.port() || is_loopback, "{} {}", registered, presented);
            }
        }
    }
}
