//! The authorization endpoint beside oauthlib's: random requests, the same clients, and a reason for every difference.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;

use http::StatusCode;
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::service::clients::NewClient;
use serde::Deserialize;
use serde_json::json;

use crate::foreign_clients::python_with;
use crate::harness::{CHALLENGE, Sidecar, form, query_of};

/// How many requests are compared.
const QUERIES: usize = 600;
/// The same requests in every run. To look further, change it.
const SEED: u64 = 0x5C09_E6A7;

/// What an authorization server makes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "class", rename_all = "lowercase")]
enum Class {
    /// A page that leads nowhere.
    Fatal,
    /// An error that goes back to the client.
    Redirect { to: String, error: String, state: Option<String> },
    /// The user is asked.
    Ok,
}

impl Class {
    fn is_error(&self, code: &str) -> bool {
        matches!(self, Self::Redirect { error, .. } if error == code)
    }

    /// Back to the client, or to the user: the client and its redirect URI are good.
    fn is_trusted(&self) -> bool {
        *self != Self::Fatal
    }
}

/// A request.
#[derive(Debug)]
pub struct Query {
    pub parameters: Vec<(&'static str, String)>,
}

impl Query {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    pub fn is_repeated(&self, name: &str) -> bool {
        self.parameters.iter().filter(|(key, _)| *key == name).count() > 1
    }

    pub fn repeats(&self) -> bool {
        self.parameters.iter().any(|(name, _)| self.is_repeated(name))
    }

    pub fn text(&self) -> String {
        form(&self.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }

    /// As oauthlib gets it: without empty parameters, which are missing ones (RFC 6749 section 3.1). To oauthlib they are values.
    fn text_for_oauthlib(&self) -> String {
        let kept = self.parameters.iter().filter(|(_, value)| !value.is_empty());
        form(&kept.map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }
}

/// A small generator of numbers (xorshift64*): randomness that is the same everywhere.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % limit
    }

    /// One of the good values three times in four, else one of the bad ones, which count as faults. `None` leaves it out.
    pub fn pick<'a>(&mut self, good: &[Option<&'a str>], bad: &[Option<&'a str>]) -> (Option<&'a str>, usize) {
        if bad.is_empty() || self.below(4) > 0 {
            (good[self.below(good.len())], 0)
        } else {
            (bad[self.below(bad.len())], 1)
        }
    }

    pub fn query(&mut self, clients: &[(String, Vec<&'static str>)]) -> Query {
        let (id, uris) = &clients[self.below(clients.len())];
        let mut known: Vec<Option<&str>> = uris.iter().map(|uri| Some(*uri)).collect();
        if uris[0].starts_with("http://127.0.0.1") {
            known.push(Some("http://127.0.0.1:51004/cb"));
        }
        let only = if uris.len() == 1 { [&known[..], &[None, Some("")]].concat() } else { known.clone() };
        let other = [
            Some("https://evil.example/cb"),
            Some("https://c.example/CB"),
            Some("/cb"),
            Some("https://c.example/cb#f"),
        ];
        let unnamed = if uris.len() == 1 { other.to_vec() } else { [&other[..], &[None, Some("")]].concat() };
        let mut query = Query { parameters: Vec::new() };
        for (name, (value, fault)) in [
            ("client_id", self.pick(&[Some(id)], &[None, Some(""), Some("unknown"), Some("a b")])),
            ("redirect_uri", self.pick(&only, &unnamed)),
            (
                "response_type",
                self.pick(
                    &[Some("code")],
                    &[None, Some(""), Some("token"), Some("code token"), Some("none"), Some("Code")],
                ),
            ),
            (
                "scope",
                self.pick(
                    &[Some("a"), Some("a b"), Some("b  a"), None, Some("")],
                    &[Some("a c"), Some("A"), Some("a \""), Some("ab")],
                ),
            ),
            ("state", self.pick(&[Some("xyz"), Some("a&b=c ä/\"%"), None, Some("")], &[])),
            ("code_challenge", self.pick(&[Some(CHALLENGE)], &[None, Some(""), Some("short"), Some("~~~")])),
            ("code_challenge_method", self.pick(&[Some("S256")], &[None, Some(""), Some("plain"), Some("S512")])),
            ("colour", self.pick(&[None, None, Some("blue"), Some("")], &[])),
            ("request", self.pick(&[None, None, None, None, None, None, Some("")], &[Some("eyJ")])),
            ("response_mode", self.pick(&[None, None, Some("query")], &[Some("fragment")])),
        ] {
            // What is rare, or no request would be good.
            if fault > 0 && self.below(2) > 0 && name != "scope" {
                query.parameters.extend(match name {
                    "client_id" => Some((name, id.clone())),
                    "redirect_uri" => Some((name, uris[0].into())),
                    "response_type" => Some((name, "code".into())),
                    "code_challenge" => Some((name, CHALLENGE.into())),
                    "code_challenge_method" => Some((name, "S256".into())),
                    _ => None,
                });
                continue;
            }
            query.parameters.extend(value.map(|value| (name, value.to_owned())));
        }
        if self.below(8) == 0 && !query.parameters.is_empty() {
            let twice = query.parameters[self.below(query.parameters.len())].clone();
            query.parameters.push(twice);
        }
        for at in (1..query.parameters.len()).rev() {
            query.parameters.swap(at, self.below(at + 1));
        }
        query
    }
}

/// A deliberate difference: why, and whether it explains what both made of a query.
type Rule = (&'static str, fn(query: &Query, theirs: &Class, ours: &Class) -> bool);

const RULES: [Rule; 7] = [
    (
        "no parameter may be repeated (RFC 6749 section 3.1): oauthlib looks at five and shows a page; here all count, and the \
         client is told unless it is client_id or redirect_uri",
        |query, _, ours| {
            let doubtful = query.is_repeated("client_id") || query.is_repeated("redirect_uri");
            query.repeats() && if doubtful { *ours == Class::Fatal } else { ours.is_error("invalid_request") }
        },
    ),
    (
        "code_challenge_method is S256: oauthlib takes plain, also when it is missing (RFC 9700 section 2.1.1)",
        |query, theirs, ours| {
            [None, Some(""), Some("plain")].contains(&query.get("code_challenge_method"))
                && theirs.is_trusted()
                && ours.is_error("invalid_request")
        },
    ),
    (
        "a challenge is what S256 gives, 32 bytes in base64url (RFC 7636 section 4.2): oauthlib takes any text",
        |query, theirs, ours| {
            query.get("code_challenge") != Some(CHALLENGE) && theirs.is_trusted() && ours.is_error("invalid_request")
        },
    ),
    (
        "code is the only response type: oauthlib leaves all that contain it, and none, to the clients",
        |query, theirs, ours| {
            [Some("code token"), Some("none")].contains(&query.get("response_type"))
                && theirs.is_error("unauthorized_client")
                && ours.is_error("unsupported_response_type")
        },
    ),
    ("spaces separate scopes, however many: to oauthlib there is an empty scope between two", |query, theirs, ours| {
        query.get("scope") == Some("b  a") && theirs.is_error("invalid_scope") && !ours.is_error("invalid_scope")
    }),
    (
        "request objects and other response modes are refused and not ignored (OpenID Connect Core section 3.1.2.6)",
        |query, theirs, ours| {
            theirs.is_trusted()
                && (query.get("request").is_some() && ours.is_error("request_not_supported")
                    || query.get("response_mode") == Some("fragment") && ours.is_error("invalid_request"))
        },
    ),
    ("a registered loopback URI is good with any port (RFC 8252 section 7.3)", |query, theirs, ours| {
        *theirs == Class::Fatal
            && ours.is_trusted()
            && query.get("redirect_uri").is_some_and(|uri| uri.starts_with("http://127.0.0.1:"))
    }),
];

async fn judge(sidecar: &Sidecar, query: &Query) -> Class {
    let reply = sidecar.http().get(&format!("/authorize?{}", query.text())).await;
    let Some(location) = reply.header("location") else {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query:?}");
        return Class::Fatal;
    };
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{query:?}");
    if location.starts_with("/login?") {
        return Class::Ok;
    }
    Class::Redirect {
        to: location.split(['?', '&']).take_while(|part| !part.starts_with("error=")).collect::<Vec<_>>().join("?"),
        error: query_of(location, "error").unwrap(),
        state: query_of(location, "state"),
    }
}

#[tokio::test]
async fn oauthlib_judges_requests_in_the_same_way_but_for_rules_with_a_reason() {
    let sidecar = Sidecar::start().await;
    let mut clients = Vec::new();
    for uris in [
        vec!["https://c.example/cb"],
        vec!["https://c.example/cb", "https://c.example/2", "https://c.example/cb?a=1"],
        vec!["http://127.0.0.1/cb", "http://127.0.0.1:8765/cb"],
    ] {
        let new = NewClient {
            name: "C".into(),
            redirect_uris: uris.iter().map(|uri| uri.parse().unwrap()).collect(),
            scopes: "a b".parse().unwrap(),
            public: true,
            introspects: Introspects::Own,
            metadata: ClientMetadata::default(),
        };
        clients.push((sidecar.service.create_client(new).await.unwrap().0.id.to_string(), uris));
    }
    let mut numbers = Numbers(SEED);
    let queries: Vec<Query> = (0..QUERIES).map(|_| numbers.query(&clients)).collect();

    let path = sidecar.directory.path().join("queries");
    let mut file = File::create(&path).unwrap();
    let described: Vec<_> =
        clients.iter().map(|(id, uris)| json!({ "id": id, "redirect_uris": uris, "scopes": ["a", "b"] })).collect();
    writeln!(file, "{}", json!(described)).unwrap();
    for query in &queries {
        writeln!(file, "{}", json!(query.text_for_oauthlib())).unwrap();
    }
    let said = python_with("oauthlib_server.py", File::open(path).unwrap().into(), &json!(null)).await;
    let theirs: Vec<Class> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(theirs.len(), queries.len());

    let mut used: BTreeMap<&str, usize> = RULES.iter().map(|(reason, _)| (*reason, 0)).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (query, theirs) in queries.iter().zip(&theirs) {
        let ours = judge(&sidecar, query).await;
        let kind = match &ours {
            Class::Redirect { error, .. } => error.clone(),
            other => format!("{other:?}"),
        };
        *seen.entry(kind).or_default() += 1;
        if ours == *theirs {
            continue;
        }
        let rule = RULES.iter().find(|(_, explains)| explains(query, theirs, &ours));
        let (reason, _) = rule.unwrap_or_else(|| panic!("{query:?}: oauthlib says {theirs:?}, we say {ours:?}"));
        *used.get_mut(reason).unwrap() += 1;
    }
    println!("{seen:#?}\n{used:#?}");
    assert!(used.values().all(|count| *count > 0), "every rule is needed: {used:#?}");
    assert!(seen.len() >= 6 && seen["Ok"] > QUERIES / 10 && seen["Fatal"] > QUERIES / 20, "{seen:#?}");
}
