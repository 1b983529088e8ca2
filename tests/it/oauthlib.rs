//! oauthlib's document about its provider endpoints, from top to bottom, under `profile = 'oauthlib'`; then what oauthlib itself makes of
//! some hundreds of requests. What else the profile says has its tests in the `profiles_…` files.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::Write as _;

use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::domain::consent::ConsentPolicy;
use scopegate::service::clients::NewClient;
use scopegate::store::ClientChanges;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::differential::{Numbers, Query};
use crate::foreign_clients::python_with;
use crate::harness::{
    Browser, CHALLENGE, REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER, basic, encode, form, hidden_fields,
    query_of, ticked_scopes,
};
use crate::profiles_stubs::Stub;

/// The same requests in every run. To look further, change it.
const SEED: u64 = 0x0A07_411B_2026_1122;
const PROFILE: &str = "https://example.com/userProfile";
const PICTURES: &str = "https://example.com/pictures";
const JSON: &str = "application/json;charset=UTF-8";

/// The provider of the document; the shop is its client `foo`.
async fn provider() -> Sidecar {
    let sidecar = Sidecar::with(&format!(
        "profile = 'oauthlib'\n[answers.extra]\nclient_ip = '1.2.3.4'\n\
         [scopes.catalogue]\n'{PROFILE}' = 'See your profile'\n'{PICTURES}' = 'See your pictures'\n"
    ))
    .await;
    let scopes = Some(format!("{PROFILE} {PICTURES}").parse().unwrap());
    for client in [&sidecar.shop, &sidecar.app] {
        let changes = ClientChanges { scopes: scopes.clone(), ..ClientChanges::default() };
        sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    }
    sidecar
}

/// What the client of the document asks for: it leaves scopes and redirect URI to its defaults.
fn request_of(sidecar: &Sidecar) -> String {
    form(&[("client_id", &sidecar.shop.id), ("state", "xyz"), ("response_type", "code")])
}

/// Where the browser is sent that keeps these scopes.
async fn decide(browser: &mut Browser, page: &Reply, kept: &[&str], decision: &str) -> Reply {
    let mut fields = hidden_fields(&page.body);
    fields.extend(kept.iter().map(|scope| ("scope".to_owned(), (*scope).to_owned())));
    fields.push(("decision".into(), decision.into()));
    browser.post("/consent", &encode(&fields)).await
}

/// A code for this request, for as many of its scopes.
async fn code(sidecar: &Sidecar, kept: &[&str]) -> String {
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&request_of(sidecar)).await;
    let reply = decide(&mut browser, &page, kept, "approve").await;
    query_of(reply.header("location").unwrap(), "code").unwrap_or_else(|| panic!("no code: {reply:?}"))
}

async fn redeem(sidecar: &Sidecar, code: &str) -> Reply {
    let body = [("grant_type", "authorization_code"), ("code", code)];
    sidecar.http().post_as(&sidecar.shop, "/token", &body).await
}

async fn tokens(sidecar: &Sidecar, kept: &[&str]) -> Value {
    let reply = redeem(sidecar, &code(sidecar, kept).await).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}"))
}

// Authorization

#[tokio::test]
async fn before_the_user_is_asked_one_mistake_after_the_other_is_told_in_the_order_of_oauthlib() {
    let sidecar = provider().await;
    let client = sidecar.app.id.clone();
    let mut query = vec![("state", "1"), ("state", "2"), ("redirect_uri", "/cb"), ("scope", "")];
    let mut tail = "&";
    let steps: [(&str, &str); 12] = [
        ("page", "Unable to parse query string"),
        ("page", "Duplicate state parameter."),
        ("page", "Missing client_id parameter."),
        ("page", "Invalid client_id parameter value."),
        ("page", "Invalid redirect URI."),
        ("page", "Mismatching redirect URI."),
        ("invalid_request", "Missing response_type parameter."),
        ("unsupported_response_type", ""),
        ("invalid_request", "Code challenge required."),
        ("invalid_request", "Transform algorithm not supported."),
        ("invalid_scope", ""),
        ("", ""),
    ];
    for (number, (error, description)) in steps.into_iter().enumerate() {
        let reply = sidecar.http().get(&format!("/authorize?{}{tail}", form(&query))).await;
        match error {
            "page" => {
                assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "{query:?}");
                assert!(reply.body.contains(description), "{query:?}: {}", reply.body);
            }
            "" => assert!(reply.header("location").unwrap().starts_with("/login?"), "{reply:?}"),
            error => {
                let mut expected = vec![("error", error), ("error_description", description), ("state", "1")];
                expected.retain(|(_, value)| !value.is_empty());
                let location = format!("{REDIRECT_URI}?{}", form(&expected));
                assert_eq!((reply.status, reply.header("location")), (StatusCode::FOUND, Some(&*location)));
            }
        }
        match number {
            0 => tail = "",
            1 => drop(query.remove(1)),
            2 => query.push(("client_id", "unknown")),
            3 => query.last_mut().unwrap().1 = &client,
            4 => query[1].1 = "https://evil.example/cb",
            5 => query[1].1 = REDIRECT_URI,
            6 => query.push(("response_type", "token")),
            7 => query.last_mut().unwrap().1 = "code",
            8 => query.extend([("code_challenge", CHALLENGE), ("code_challenge_method", "S512")]),
            9 => query.last_mut().unwrap().1 = "S256",
            _ => query[2].1 = PICTURES,
        }
    }
}

#[tokio::test]
async fn what_a_request_omits_is_the_clients_default_and_the_answer_is_a_code_and_the_state() {
    let sidecar = provider().await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&request_of(&sidecar)).await;
    assert!(page.body.contains("See your profile") && page.body.contains("See your pictures"), "{}", page.body);
    let asked: Vec<String> = ticked_scopes(&page.body).into_iter().map(|(_, scope)| scope).collect();
    assert_eq!(asked, [PICTURES, PROFILE]);
    let reply = decide(&mut browser, &page, &[PICTURES, PROFILE], "approve").await;
    let location = reply.header("location").unwrap();
    let code = query_of(location, "code").unwrap();
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(location, format!("{REDIRECT_URI}?{}", form(&[("code", &code), ("state", "xyz")])));
}

#[tokio::test]
async fn the_user_agrees_to_all_a_few_or_none_of_the_scopes() {
    let sidecar = provider().await;
    for (kept, scope) in [(&[PICTURES, PROFILE][..], format!("{PICTURES} {PROFILE}")), (&[PICTURES], PICTURES.into())] {
        let tokens = tokens(&sidecar, kept).await;
        assert_eq!(tokens["scope"], scope);
        for (required, allowed) in [(PICTURES, true), (PROFILE, kept.len() == 2)] {
            let answer = sidecar.check(text(&tokens, "access_token"), &[required]).await;
            assert_eq!(answer.missing_scopes.is_empty(), allowed, "{kept:?}: {answer:?}");
        }
        // A refresh gets no more than that.
        let refresh_token = text(&tokens, "refresh_token");
        let body = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", PROFILE)];
        let reply = sidecar.http().post_as(&sidecar.shop, "/token", &body).await;
        match kept.len() {
            2 => assert_eq!(reply.json()["scope"], PROFILE),
            _ => assert_eq!((reply.status.as_u16(), reply.json()), (400, json!({ "error": "invalid_scope" }))),
        }
    }
    for decision in ["approve", "deny"] {
        let mut browser = sidecar.browser();
        let page = browser.consent_page(&request_of(&sidecar)).await;
        let reply = decide(&mut browser, &page, &[], decision).await;
        let location = format!("{REDIRECT_URI}?error=access_denied&state=xyz");
        assert_eq!((reply.status, reply.header("location")), (StatusCode::FOUND, Some(&*location)), "{decision}");
    }
}

#[tokio::test]
async fn implicit_authorization_is_for_clients_that_the_operator_trusts_and_for_machines() {
    let sidecar = provider().await;
    let trusted = ClientMetadata { consent: ConsentPolicy::Skip, ..ClientMetadata::default() };
    sidecar.change(&sidecar.shop, trusted).await;
    let reply = sidecar.browser().consent_page(&request_of(&sidecar)).await;
    let code = query_of(reply.header("location").unwrap(), "code").unwrap();
    assert_eq!(redeem(&sidecar, &code).await.json()["scope"], format!("{PICTURES} {PROFILE}"));

    let machine = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    let reply = sidecar.http().post_as(&machine, "/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["scope"]), (200, &json!("a b c")));
    // A password is for this server's own page alone (RFC 9700 section 2.4).
    let body = [("grant_type", "password"), ("username", "ann"), ("password", "correct horse")];
    let reply = sidecar.http().post_as(&sidecar.shop, "/token", &body).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (400, json!({ "error": "unsupported_grant_type" })));
}

// Token creation

#[tokio::test]
async fn a_token_answer_has_the_members_and_headers_of_the_document_and_the_extra_credentials() {
    let sidecar = provider().await;
    let reply = redeem(&sidecar, &code(&sidecar, &[PROFILE, PICTURES]).await).await;
    assert_eq!(reply.status, StatusCode::OK);
    for (name, value) in [("content-type", JSON), ("cache-control", "no-store"), ("pragma", "no-cache")] {
        assert_eq!(reply.header(name), Some(value));
    }
    let mut body = reply.json();
    for name in ["access_token", "refresh_token"] {
        assert!(body.as_object_mut().unwrap().remove(name).unwrap().as_str().unwrap().len() > 30);
    }
    let scope = format!("{PICTURES} {PROFILE}");
    let expected = json!({ "client_ip": "1.2.3.4", "expires_in": 3600, "scope": scope, "token_type": "Bearer" });
    assert_eq!(body, expected);
}

/// The body of the document, byte for byte: its parameter for the code has the wrong name, and there is `&` at its end.
#[tokio::test]
async fn a_token_request_that_fails_gets_an_error_in_json() {
    let sidecar = provider().await;
    let body = "authorization_code=somerandomstring&grant_type=authorization_code&";
    let authorization = basic(&sidecar.shop.id, &sidecar.shop.secret);
    let credentials = [("authorization", authorization.as_str())];
    let missing = json!({ "error": "invalid_request", "error_description": "Missing code parameter." });
    for (body, expected) in [
        (body.to_owned(), missing),
        (body.replace("authorization_code=s", "code=s"), json!({ "error": "invalid_grant" })),
        (body.replace("=authorization_code&", "=athorizatoin_coed"), json!({ "error": "unsupported_grant_type" })),
    ] {
        let reply = sidecar.http().post_text("/token", &credentials, &body).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (400, expected), "{body}");
        assert_eq!((reply.header("content-type"), reply.header("cache-control")), (Some(JSON), Some("no-store")));
    }
    let reply = sidecar.http().post_text("/token?a=b", &credentials, body).await;
    let refused = json!({ "error": "invalid_request", "error_description": "URL query parameters are not allowed" });
    assert_eq!((reply.status.as_u16(), reply.json()), (400, refused));
    // The document's own example.
    let reply = sidecar.http().post_text("/token", &[("authorization", "Basic ksjdhf923sf")], body).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (401, json!({ "error": "invalid_client" })));
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_client""#));
}

// Authorizing resource access

#[tokio::test]
async fn a_view_lets_tokens_in_that_are_bound_to_its_scopes_wherever_they_are_presented() {
    let sidecar = provider().await;
    let stub = Stub::start("oauthlib", &sidecar).await;
    let tokens = tokens(&sidecar, &[PROFILE]).await;
    let token = text(&tokens, "access_token");
    let bearer = format!("Bearer {token}");
    let get = async |path: &str, headers: &[(&str, &str)]| stub.send(&Method::GET, path, headers).await;
    let in_query = format!("/userProfile?access_token={token}");
    let reply = get(&in_query, &[]).await;
    let known = json!({ "client": sidecar.shop.id, "user": "ann", "scopes": [PROFILE] });
    assert_eq!((reply.status.as_u16(), reply.json()), (200, known));
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        assert_eq!(get("/userProfile", &[("authorization", &format!("{scheme} {token}"))]).await.status, 200);
    }
    let body = form(&[("access_token", token)]);
    assert_eq!(stub.http.post_text("/userProfile", &[], &body).await.status, 200);
    // The document says 403 to all of these; RFC 6750 tells a client which of them another token mends.
    for (reply, status, challenge) in [
        (get("/pictures", &[("authorization", &bearer)]).await, 403, "insufficient_scope"),
        (get("/userProfile", &[("authorization", "Bearer sldafh309sdf")]).await, 401, "invalid_token"),
        (get("/userProfile", &[]).await, 401, "Bearer"),
        (get(&in_query, &[("authorization", "Basic eDp5")]).await, 401, "Bearer"),
    ] {
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        assert!(reply.header("www-authenticate").unwrap().contains(challenge), "{reply:?}");
    }
}

// Token revocation

#[tokio::test]
async fn a_client_revokes_its_tokens_and_no_others() {
    let sidecar = provider().await;
    let stub = Stub::start("oauthlib", &sidecar).await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert!(text(&metadata, "revocation_endpoint").ends_with("/revoke_token"));
    assert_eq!(sidecar.http().get("/revoke").await.status, StatusCode::NOT_FOUND);
    let revoke = async |client: &Registered, token: &str, hint: &str| {
        let body = [("token", token), ("token_type_hint", hint)];
        sidecar.http().post_as(client, "/revoke_token", &body).await
    };
    let given = tokens(&sidecar, &[PROFILE]).await;
    let (access, refresh) = (text(&given, "access_token"), text(&given, "refresh_token"));
    // Providers that leave it to `revoke_token` alone let any client end any token.
    let other = sidecar.register(false, Introspects::Own, ClientMetadata::default()).await;
    for (client, token) in
        [(&other, access), (&other, refresh), (&sidecar.app, access), (&sidecar.shop, "sldafh309sdf")]
    {
        let reply = revoke(client, token, "").await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""), "{reply:?}");
    }
    let in_query = format!("/userProfile?access_token={access}");
    assert_eq!(stub.send(&Method::GET, &in_query, &[]).await.status, 200);
    let reply = revoke(&sidecar.shop, access, "no_such_hint").await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
    assert_eq!(stub.send(&Method::GET, &in_query, &[]).await.status, 401);
    // And the refresh token with it, which is a refusal and not a fault.
    let body = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let reply = sidecar.http().post_as(&sidecar.shop, "/token", &body).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (400, json!({ "error": "invalid_grant" })));
    let second = tokens(&sidecar, &[PROFILE]).await;
    assert_eq!(revoke(&sidecar.shop, text(&second, "refresh_token"), "refresh_token").await.status, 200);
    assert!(!sidecar.is_active(text(&second, "access_token")).await);

    let missing = json!({ "error": "invalid_request", "error_description": "Missing token parameter." });
    let reply = sidecar.http().post_as(&sidecar.shop, "/revoke_token", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (400, missing));
    // The document's own request has no client.
    let reply = sidecar.http().post_text("/revoke_token", &[], "token=sldafh309sdf").await;
    assert_eq!((reply.status.as_u16(), reply.json()), (401, json!({ "error": "invalid_client" })));
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_client""#));
    let reply = sidecar.http().post_text("/revoke_token?token=x", &[], "token=x").await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (400, "invalid_request"));
    assert_eq!(sidecar.http().get("/revoke_token").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

// oauthlib itself

/// What an authorization server says to an authorization request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Said {
    /// `fatal`, a page; `redirect`, an error that goes back to the client; `ok`.
    class: String,
    to: String,
    error: String,
    description: String,
    state: Option<String>,
}

/// A query, and what makes it malformed.
struct Asked {
    query: Query,
    tail: &'static str,
}

impl Asked {
    /// Without empty parameters, which are missing ones (RFC 6749 section 3.1), as here under the profile all are but for `scope`.
    fn text_for_oauthlib(&self) -> String {
        let kept = self.query.parameters.iter().filter(|(name, value)| *name == "scope" || !value.is_empty());
        let pairs: Vec<(&str, &str)> = kept.map(|(name, value)| (*name, value.as_str())).collect();
        format!("{}{}", form(&pairs), self.tail)
    }
}

/// An accepted difference: why, and whether it explains what both made of a request.
type Rule<Q, A> = (&'static str, fn(asked: &Q, theirs: &A, ours: &A) -> bool);

/// Those for which nothing is wrong with what comes first.
fn refuses_more(theirs: &Said, ours: &Said, error: &str) -> bool {
    ["ok", "redirect"].contains(&&*theirs.class) && ours.class == "redirect" && ours.error == error
}

const AUTHORIZATION_RULES: [Rule<Asked, Said>; 7] = [
    (
        "no parameter may be repeated (RFC 6749 section 3.1), not even an empty one: oauthlib looks at five",
        |Asked { query, .. }, _, ours| {
            let looked_at = ["client_id", "response_type", "redirect_uri", "scope", "state"];
            let seen = looked_at.iter().any(|name| query.is_repeated(name));
            query.repeats()
                && if seen { ours.description.starts_with("Duplicate") } else { ours.error == "invalid_request" }
        },
    ),
    (
        "a challenge is made of 43 to 128 certain characters (RFC 7636 section 4.2), and without one there is no method: to oauthlib, any \
         text is one",
        |Asked { query, .. }, theirs, ours| {
            query.get("code_challenge") != Some(CHALLENGE) && refuses_more(theirs, ours, "invalid_request")
        },
    ),
    (
        "code is the only response type: oauthlib leaves all that contain it, and none, to the clients",
        |Asked { query, .. }, theirs, ours| {
            [Some("code token"), Some("none")].contains(&query.get("response_type"))
                && theirs.error == "unauthorized_client"
                && ours.error == "unsupported_response_type"
        },
    ),
    ("spaces separate scopes, however many: to oauthlib there is an empty scope between two", |asked, theirs, ours| {
        asked.query.get("scope") == Some("b  a") && theirs.error == "invalid_scope" && ours.class == "ok"
    }),
    (
        "request objects and other response modes are refused and not ignored (OpenID Connect Core section 3.1.2.6)",
        |Asked { query, .. }, theirs, ours| {
            query.get("request").is_some() && refuses_more(theirs, ours, "request_not_supported")
                || query.get("response_mode") == Some("fragment") && refuses_more(theirs, ours, "invalid_request")
        },
    ),
    (
        "a redirect URI with a fragment is not registered: to oauthlib, it is none",
        |Asked { query, .. }, theirs, ours| {
            query.get("redirect_uri").is_some_and(|uri| uri.contains('#'))
                && theirs.description == "Invalid redirect URI."
                && ours.description == "Mismatching redirect URI."
        },
    ),
    ("a registered loopback URI is good with any port (RFC 8252 section 7.3)", |Asked { query, .. }, theirs, ours| {
        theirs.description == "Mismatching redirect URI."
            && ours.class != "fatal"
            && query.get("redirect_uri").is_some_and(|uri| uri.starts_with("http://127.0.0.1:"))
    }),
];

/// What we say. `theirs` are the words that a page is looked at for.
async fn authorize(sidecar: &Sidecar, asked: &Asked, theirs: &Said) -> Said {
    let reply = sidecar.http().get(&format!("/authorize?{}{}", asked.query.text(), asked.tail)).await;
    let Some(location) = reply.header("location") else {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        let hint = reply.body.split("class=\"hint\">").nth(1).and_then(|rest| rest.split('<').next());
        let description = hint.unwrap_or_default().to_owned();
        return Said { class: "fatal".into(), description, ..Said::default() };
    };
    if location.starts_with("/login?") {
        return Said { class: "ok".into(), ..Said::default() };
    }
    assert_eq!(reply.status, StatusCode::FOUND, "{reply:?}");
    let told = |name: &str| query_of(location, name);
    let (error, description) = (told("error").unwrap(), told("error_description").unwrap_or_default());
    let to = if location.starts_with(&theirs.to) && !theirs.to.is_empty() {
        theirs.to.clone()
    } else {
        location.split(['?', '&']).take_while(|part| !part.starts_with("error=")).collect::<Vec<_>>().join("?")
    };
    assert_eq!(told("iss"), None);
    Said { class: "redirect".into(), to, error, description, state: told("state") }
}

/// What oauthlib says to some requests of some clients.
async fn oauthlib<A: for<'de> Deserialize<'de>>(sidecar: &Sidecar, clients: &[Value], requests: &[Value]) -> Vec<A> {
    let path = sidecar.directory.path().join("requests");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "{}", json!(clients)).unwrap();
    for request in requests {
        writeln!(file, "{request}").unwrap();
    }
    let said = python_with("oauthlib_server.py", File::open(path).unwrap().into(), &json!(null)).await;
    let said: Vec<A> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), requests.len());
    said
}

/// Differences: how many each rule explains, and those that none does.
#[derive(Debug, Default)]
struct Differences {
    explained: BTreeMap<&'static str, usize>,
    others: Vec<String>,
}

impl Differences {
    fn note<Q, A: Debug>(&mut self, rules: &[Rule<Q, A>], asked: &Q, shown: &Value, (theirs, ours): (&A, &A)) {
        match rules.iter().find(|(_, explains)| explains(asked, theirs, ours)) {
            Some((reason, _)) => *self.explained.entry(reason).or_default() += 1,
            None => self.others.push(format!("{shown}: oauthlib says {theirs:?}, we say {ours:?}")),
        }
    }

    /// All of them are explained, and every rule is needed.
    #[track_caller]
    fn assert_explained(&self, rules: usize) {
        assert!(self.others.is_empty(), "seed {SEED:#x}: {:#?}", self.others);
        assert_eq!(self.explained.len(), rules, "every rule is needed: {:#?}", self.explained);
    }
}

#[tokio::test]
async fn oauthlib_judges_authorization_requests_in_the_same_words_but_for_rules_with_a_reason() {
    let sidecar = Sidecar::with("profile = 'oauthlib'\n").await;
    let mut clients = Vec::new();
    let mut described = Vec::new();
    for (public, uris) in [
        (true, vec!["https://c.example/cb"]),
        (false, vec!["https://c.example/cb"]),
        (false, vec!["https://c.example/cb", "https://c.example/2", "https://c.example/cb?a=1"]),
        (true, vec!["http://127.0.0.1/cb", "http://127.0.0.1:8765/cb"]),
    ] {
        let new = NewClient {
            name: "C".into(),
            redirect_uris: uris.iter().map(|uri| uri.parse().unwrap()).collect(),
            scopes: "a b".parse().unwrap(),
            public,
            introspects: Introspects::Own,
            metadata: ClientMetadata::default(),
        };
        let id = sidecar.service.create_client(new).await.unwrap().0.id.to_string();
        let mut client = json!({ "id": id, "redirect_uris": uris, "scopes": ["a", "b"] });
        if !public {
            client["secret"] = "x".into();
        }
        described.push(client);
        clients.push((id, uris));
    }
    let mut numbers = Numbers(SEED);
    let malformed = ["&", "&&x=1", "&x"];
    let all: Vec<Asked> = (0..600)
        .map(|_| {
            let query = numbers.query(&clients);
            let tail = if numbers.below(12) == 0 { malformed[numbers.below(malformed.len())] } else { "" };
            Asked { query, tail }
        })
        .collect();
    let requests: Vec<Value> = all.iter().map(|asked| json!(asked.text_for_oauthlib())).collect();
    let theirs: Vec<Said> = oauthlib(&sidecar, &described, &requests).await;
    let (mut differences, mut seen) = (Differences::default(), BTreeMap::<String, usize>::new());
    for ((asked, theirs), shown) in all.iter().zip(&theirs).zip(&requests) {
        let ours = authorize(&sidecar, asked, theirs).await;
        if ours == *theirs {
            *seen.entry(format!("{} {} {}", ours.class, ours.error, ours.description)).or_default() += 1;
        } else {
            differences.note(&AUTHORIZATION_RULES, asked, shown, (theirs, &ours));
        }
    }
    println!("{seen:#?}\n{differences:#?}");
    differences.assert_explained(AUTHORIZATION_RULES.len());
    for said in [
        "fatal  Unable to parse query string",
        "fatal  Duplicate scope parameter.",
        "fatal  Missing client_id parameter.",
        "fatal  Invalid client_id parameter value.",
        "fatal  Invalid redirect URI.",
        "fatal  Mismatching redirect URI.",
        "fatal  Missing redirect URI.",
        "redirect invalid_request Missing response_type parameter.",
        "redirect unsupported_response_type ",
        "redirect invalid_request Code challenge required.",
        "redirect invalid_request Transform algorithm not supported.",
        "redirect invalid_scope ",
        "ok  ",
    ] {
        assert!(seen.contains_key(said), "{said}: {seen:#?}");
    }
}

/// A request to the token or the revocation endpoint. Codes and refresh tokens are named for what they are.
struct Call {
    endpoint: &'static str,
    authorization: Option<String>,
    parameters: Vec<(&'static str, String)>,
    /// Whoever sends it is not known by it.
    is_nobody: bool,
}

impl Call {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, value)| *key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Without empty parameters, for the reason above.
    fn body(&self) -> String {
        let kept = self.parameters.iter().filter(|(_, value)| !value.is_empty());
        form(&kept.map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }
}

/// What the answer to it says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Answered {
    status: u16,
    error: String,
    description: String,
}

impl Answered {
    fn is(&self, status: u16, error: &str) -> bool {
        (self.status, self.error.as_str()) == (status, error)
    }
}

const CALL_RULES: [Rule<Call, Answered>; 3] = [
    (
        "who asks is looked at first: oauthlib tells anybody about the grant type and missing parameters",
        |call, theirs, ours| {
            call.is_nobody
                && ours.is(401, "invalid_client")
                && (theirs.is(400, "unsupported_grant_type") || theirs.description.starts_with("Missing "))
        },
    ),
    (
        "no parameter may be repeated (RFC 6749 section 3.2): oauthlib looks at three, after others, and at none of revocations",
        |call, _, ours| {
            call.parameters
                .iter()
                .any(|(name, _)| call.parameters.iter().filter(|(other, _)| other == name).count() > 1)
                && ours.is(400, "invalid_request")
                && ours.description == "a parameter is repeated"
        },
    ),
    (
        "a verifier answers a challenge (RFC 9700 section 4.8.2): oauthlib ignores one where there was none",
        |call, _, ours| {
            call.get("code").is_some_and(|code| code.starts_with("BARE "))
                && call.get("code_verifier").is_some()
                && ours.is(400, "invalid_grant")
        },
    ),
];

fn call(numbers: &mut Numbers, shop: &Registered, app: &Registered) -> Call {
    let is_shop = numbers.below(3) > 0;
    let (client, other) = if is_shop { (shop, app) } else { (app, shop) };
    let endpoint = if numbers.below(4) == 0 { "revoke" } else { "token" };
    let mut call = Call { endpoint, authorization: None, parameters: Vec::new(), is_nobody: numbers.below(5) == 0 };
    let id = client.id.as_str();
    let (id, secret) = match (call.is_nobody, numbers.below(3)) {
        (false, _) => (id, client.secret.as_str()),
        // Of the app, which has none, this is one too many.
        (true, 0) => (id, "wrong"),
        (true, 1) => ("unknown", ["", "wrong"][numbers.below(2)]),
        (true, _) => (if is_shop { id } else { "" }, ""),
    };
    if secret.is_empty() || numbers.below(2) == 0 {
        call.parameters.extend([("client_id", id.to_owned()), ("client_secret", secret.to_owned())]);
    } else {
        call.authorization = Some(basic(id, secret));
    }
    let named = |kind: &str, client: &Registered| format!("{kind} {}", client.id);
    let (own_code, foreign_code) = (named("CODE", client), named("CODE", other));
    let (own_refresh, foreign_refresh) = (named("REFRESH", client), named("REFRESH", other));
    let (bare, good, bad) = (named("BARE", shop), Some(VERIFIER), "0123456789012345678901234567890123456789012");
    let is_bare = is_shop && numbers.below(3) == 0;
    let code = if is_bare { &bare } else { &own_code };
    let verifier = if is_bare && numbers.below(3) > 0 { None } else { good };
    let picked: Vec<(&'static str, Option<&str>)> = if endpoint == "revoke" {
        vec![
            ("token", numbers.pick(&[Some("nonsense"), Some(&foreign_refresh)], &[None, Some("")]).0),
            ("token_type_hint", numbers.pick(&[None, Some("access_token"), Some("refresh_token"), Some("x")], &[]).0),
        ]
    } else if numbers.below(3) == 0 {
        let grants = [None, Some("password"), Some("Refresh_token")];
        let refused = [None, Some(""), Some("nonsense"), Some(foreign_refresh.as_str())];
        vec![
            ("grant_type", numbers.pick(&[Some("refresh_token")], &grants).0),
            ("refresh_token", numbers.pick(&[Some(&own_refresh)], &refused).0),
            ("scope", numbers.pick(&[None, Some(""), Some("a"), Some("a b")], &[Some("a b c"), Some("c")]).0),
        ]
    } else {
        let grants = [None, Some(""), Some("password"), Some("authorization_cod")];
        let codes = [None, Some(""), Some("nonsense"), Some(foreign_code.as_str())];
        let uris = [Some("http://127.0.0.1:8765/other"), Some("https://evil.example/")];
        vec![
            ("grant_type", numbers.pick(&[Some("authorization_code")], &grants).0),
            ("code", numbers.pick(&[Some(code)], &codes).0),
            ("redirect_uri", numbers.pick(&[Some(REDIRECT_URI), Some(REDIRECT_URI), None, Some("")], &uris).0),
            ("code_verifier", numbers.pick(&[verifier], &[None, good, Some(bad), Some("x")]).0),
        ]
    };
    call.parameters.extend(picked.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))));
    if numbers.below(12) == 0 {
        let twice = call.parameters[numbers.below(call.parameters.len())].clone();
        call.parameters.push(twice);
    }
    call
}

/// A code for a client, by a user who signed in before.
async fn code_by(browser: &mut Browser, sidecar: &Sidecar, client: &Registered, has_challenge: bool) -> String {
    let bare = [("code_challenge", ""), ("code_challenge_method", "")];
    let more: &[(&str, &str)] = if has_challenge { &[] } else { &bare };
    let request = sidecar.request(&[&[("client_id", client.id.as_str())], more].concat());
    query_of(&browser.approve(&request).await, "code").unwrap()
}

#[tokio::test]
async fn oauthlib_answers_clients_in_the_same_words_but_for_rules_with_a_reason() {
    let more = "profile = 'oauthlib'\n[attempts]\nper_address = 0\nper_client_and_address = 0\n";
    let sidecar = Sidecar::with(more).await;
    let (shop, app) = (&sidecar.shop, &sidecar.app);
    let mut browser = sidecar.browser();
    let mut refresh_tokens = BTreeMap::new();
    for client in [shop, app] {
        let code = code_by(&mut browser, &sidecar, client, true).await;
        let body = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
        let tokens = sidecar.http().post_as(client, "/token", &body).await.tokens();
        refresh_tokens.insert(format!("REFRESH {}", client.id), tokens.refresh);
    }
    let mut numbers = Numbers(SEED);
    let calls: Vec<Call> = (0..600).map(|_| call(&mut numbers, shop, app)).collect();
    let requests: Vec<Value> = calls
        .iter()
        .map(|call| json!({ "endpoint": call.endpoint, "authorization": call.authorization, "body": call.body() }))
        .collect();
    let uris = [REDIRECT_URI];
    let described = [
        json!({ "id": shop.id, "secret": shop.secret, "redirect_uris": uris, "scopes": ["a", "b"] }),
        json!({ "id": app.id, "redirect_uris": uris, "scopes": ["a", "b"] }),
    ];
    let theirs: Vec<Answered> = oauthlib(&sidecar, &described, &requests).await;
    let (mut differences, mut seen) = (Differences::default(), BTreeMap::<String, usize>::new());
    for ((call, theirs), shown) in calls.iter().zip(&theirs).zip(&requests) {
        let mut real = call.parameters.clone();
        for (_, value) in &mut real {
            if let Some(refresh_token) = refresh_tokens.get(value) {
                value.clone_from(refresh_token);
            } else if let Some((kind @ ("CODE" | "BARE"), id)) = value.split_once(' ') {
                let client = if id == shop.id { shop } else { app };
                *value = code_by(&mut browser, &sidecar, client, kind == "CODE").await;
            }
        }
        let body = form(&real.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
        let headers: Vec<(&str, &str)> =
            call.authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let path = if call.endpoint == "token" { "/token" } else { "/revoke_token" };
        let reply = sidecar.http().post_text(path, &headers, &body).await;
        let told: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        if let (Some(old), Some(new)) = (call.get("refresh_token"), told["refresh_token"].as_str()) {
            refresh_tokens.insert(old.to_owned(), new.to_owned());
        }
        let word = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let ours =
            Answered { status: reply.status.as_u16(), error: word("error"), description: word("error_description") };
        if ours == *theirs {
            let known = format!("{} {} {} {}", call.endpoint, ours.status, ours.error, ours.description);
            *seen.entry(known).or_default() += 1;
        } else {
            differences.note(&CALL_RULES, call, shown, (theirs, &ours));
        }
    }
    println!("{seen:#?}\n{differences:#?}");
    differences.assert_explained(CALL_RULES.len());
    for said in [
        "token 200  ",
        "token 400 unsupported_grant_type ",
        "token 400 invalid_request Missing code parameter.",
        "token 400 invalid_request Missing refresh token parameter.",
        "token 400 invalid_request Code verifier required.",
        "token 400 invalid_request Mismatching redirect URI.",
        "token 400 invalid_grant ",
        "token 400 invalid_scope ",
        "token 401 invalid_client ",
        "revoke 200  ",
        "revoke 400 invalid_request Missing token parameter.",
        "revoke 401 invalid_client ",
    ] {
        assert!(seen.contains_key(said), "{said}: {seen:#?}");
    }
}
