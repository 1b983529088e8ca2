//! Standing in for `FitTrackee` with its profile as it is: its document "OAuth 2.0" from top to bottom, in its order; then what its own tests
//! ask for and is not in `profiles_*.rs` and `apps/fittrackee.rs`; then programs that were written for it.
//!
//! The document ends with `X-Forwarded-Proto`, which is in `forwarded.rs`. That the owner alone revokes the tokens of an app, other than
//! upstream, is in `apps/fittrackee.rs`.

use std::path::Path;
use std::process::Stdio;

use http::{Method, StatusCode};
use scopegate::proto::scopegate::v1 as api;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::foreign_clients::{python_interpreter, run};
use crate::harness::{
    Authority, Browser, CHALLENGE, Front, Http, PASSWORD, Registered, Reply, Sidecar, Site, Tokens, USERNAME, VERIFIER,
    document, encode, form, hidden_fields, query_of, ticked_scopes,
};
use crate::profiles_stubs::Stub;

const LIKE: &str = "profile = 'fittrackee'\n";
const PAGE: &str = "/profile/apps/authorize";
const DECISION: &str = "/api/oauth/authorize";
const TOKEN: &str = "/api/oauth/token";
const REVOKE: &str = "/api/oauth/revoke";
const APPS: &str = "/api/oauth/apps";
const CALLBACK: &str = "https://example.com/callback";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=----WebKitFormBoundaryx7";

/// Those of the document, and those that came after it.
const SCOPES: [&str; 16] = [
    "application:write",
    "profile:read",
    "profile:write",
    "users:read",
    "users:write",
    "workouts:read",
    "workouts:write",
    "equipments:read",
    "equipments:write",
    "follow:read",
    "follow:write",
    "geocode:read",
    "notifications:read",
    "notifications:write",
    "reports:read",
    "reports:write",
];

/// Somebody who is signed in here.
struct User {
    http: Http,
    browser: Browser,
}

impl User {
    async fn sign_in(sidecar: &Sidecar, username: &str) -> Self {
        let _ = sidecar.service.create_account(username.into(), Zeroizing::new(PASSWORD.into())).await;
        let mut browser = sidecar.browser();
        let fields = [("request", "/account/apps"), ("username", username), ("password", PASSWORD)];
        assert_eq!(browser.post("/login", &form(&fields)).await.status, StatusCode::SEE_OTHER);
        Self { http: sidecar.http(), browser }
    }

    /// As a script of a page of this origin sends it.
    async fn send(&self, method: Method, path: &str, content_type: &str, body: &str) -> Reply {
        let cookies: Vec<String> = self.browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [("cookie", &*cookies), ("content-type", content_type), ("sec-fetch-site", "same-origin")];
        self.http.send(method, path, &headers, body).await
    }

    async fn decide(&self, fields: &[(&str, &str)]) -> Reply {
        self.send(Method::POST, DECISION, MULTIPART, &multipart(fields)).await
    }

    async fn app(&self, scope: &str) -> Registered {
        let reply = self.send(Method::POST, APPS, "application/json", &draft(scope, &[CALLBACK])).await;
        registered(&reply)
    }

    /// Allows what the page shows; where the browser is sent.
    async fn allow(&mut self, request: &str) -> String {
        let page = self.browser.get(&format!("{PAGE}?{request}")).await;
        let decision = vec![("decision".into(), "approve".into())];
        let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), decision].concat();
        let reply = self.browser.post("/consent", &encode(&fields)).await;
        reply.header("location").unwrap_or_else(|| panic!("not allowed: {reply:?}")).to_owned()
    }

    async fn code(&mut self, app: &Registered, scope: &str) -> String {
        let location = self.allow(&request(app, scope)).await;
        query_of(&location, "code").unwrap_or_else(|| panic!("no code in {location}"))
    }

    async fn tokens(&mut self, sidecar: &Sidecar, app: &Registered, scope: &str) -> Tokens {
        let code = self.code(app, scope).await;
        redeem(sidecar, app, &code).await.tokens()
    }
}

fn draft(scope: &str, redirect_uris: &[&str]) -> String {
    json!({
        "client_name": "Calendar",
        "client_uri": "https://example.com",
        "redirect_uris": redirect_uris,
        "scope": scope,
    })
    .to_string()
}

fn registered(reply: &Reply) -> Registered {
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let member = |name: &str| reply.json()["data"]["client"][name].as_str().unwrap().to_owned();
    Registered { id: member("client_id"), secret: member("client_secret") }
}

/// Without PKCE.
fn request(app: &Registered, scope: &str) -> String {
    form(&[("response_type", "code"), ("client_id", &app.id), ("scope", scope)])
}

/// What a browser makes of `FormData`.
fn multipart(fields: &[(&str, &str)]) -> String {
    let boundary = MULTIPART.split_once('=').unwrap().1;
    let part = |(name, value): &(&str, &str)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}--{boundary}--\r\n", fields.iter().map(part).collect::<String>())
}

fn with_credentials<'a>(app: &'a Registered, parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [parameters, &[("client_id", &app.id), ("client_secret", &app.secret)]].concat()
}

async fn post(sidecar: &Sidecar, path: &str, app: &Registered, parameters: &[(&str, &str)]) -> Reply {
    sidecar.http().post(path, &with_credentials(app, parameters)).await
}

async fn redeem(sidecar: &Sidecar, app: &Registered, code: &str) -> Reply {
    post(sidecar, TOKEN, app, &[("grant_type", "authorization_code"), ("code", code)]).await
}

async fn refresh(sidecar: &Sidecar, app: &Registered, token: &str) -> Reply {
    post(sidecar, TOKEN, app, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

#[track_caller]
fn assert_json(reply: &Reply, status: u16, expected: &Value) {
    assert_eq!((reply.status.as_u16(), &reply.json()), (status, expected));
    assert_eq!(
        (reply.header("content-type"), reply.header("cache-control")),
        (Some("application/json"), Some("no-store"))
    );
}

fn message(text: &str) -> Value {
    json!({ "status": "error", "message": text })
}

fn no_code() -> Value {
    json!({ "error": "invalid_grant", "error_description": "Invalid 'code' in request." })
}

fn nobody() -> Value {
    message("provide a valid auth token")
}

#[tokio::test]
async fn a_user_makes_an_app_and_a_third_party_gets_a_token_as_the_document_says() {
    let sidecar = Sidecar::with(LIKE).await;
    let mut ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app("profile:read workouts:write").await;
    let stub = Stub::start("fittrackee", &sidecar).await;

    // The example for PKCE, as it is written there. The state has what an address has to escape.
    let example = format!(
        "response_type=code&client_id={}&scope=profile%3Aread+workouts%3Awrite&state=a%26b+c&code_challenge={CHALLENGE}&code_challenge_method=S256",
        app.id
    );
    let location = ann.allow(&example).await;
    let code = query_of(&location, "code").unwrap();
    assert_eq!(location, format!("{CALLBACK}?code={code}&state=a%26b+c"));
    let by_pkce = [("grant_type", "authorization_code"), ("code", &*code), ("code_verifier", VERIFIER)];
    let by_pkce = post(&sidecar, TOKEN, &app, &by_pkce).await;

    // `state` and PKCE are optional; browsers and Flask take a form in both ways.
    let location = ann.allow(&request(&app, "profile:read workouts:write")).await;
    let code = query_of(&location, "code").unwrap();
    assert_eq!(location, format!("{CALLBACK}?code={code}"));
    let body = with_credentials(&app, &[("grant_type", "authorization_code"), ("code", &code)]);
    let headers = [("content-type", MULTIPART)];
    let without_it = sidecar.http().send(Method::POST, TOKEN, &headers, &multipart(&body)).await;

    for reply in [by_pkce, without_it] {
        let tokens = reply.tokens();
        let expected = json!({
            "access_token": tokens.access,
            "expires_in": 864_000,
            "refresh_token": tokens.refresh,
            "scope": "profile:read workouts:write",
            "token_type": "Bearer",
        });
        assert_json(&reply, 200, &expected);
        assert_eq!(reply.header("pragma"), Some("no-cache"));
        assert_eq!(sidecar.check(&tokens.access, &["workouts:write"]).await.decision(), api::Decision::Allowed);
        let bearer = format!("Bearer {}", tokens.access);
        let profile = stub.send(&Method::GET, "/api/auth/profile", &[("authorization", &bearer)]).await;
        assert_eq!(profile.json(), json!({ "status": "success", "data": { "username": USERNAME } }));
    }
}

#[tokio::test]
async fn endpoints_of_the_user_are_not_accessible_by_third_parties() {
    let sidecar = Sidecar::with(LIKE).await;
    let mut ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app(&SCOPES.join(" ")).await;
    let list = ann.send(Method::GET, APPS, "", "").await.json();
    let number = list["data"]["clients"][0]["id"].as_u64().unwrap();
    let bearer = format!("Bearer {}", ann.tokens(&sidecar, &app, &SCOPES.join(" ")).await.access);
    let approve = form(&[("response_type", "code"), ("client_id", &app.id), ("confirm", "true")]);
    for (method, path, content_type, body) in [
        (Method::GET, APPS.to_owned(), "", ""),
        (Method::POST, APPS.to_owned(), "application/json", &*draft("users:read", &[CALLBACK])),
        (Method::GET, format!("{APPS}/{}", app.id), "", ""),
        (Method::GET, format!("{APPS}/{number}/by_id"), "", ""),
        (Method::DELETE, format!("{APPS}/{number}"), "", ""),
        (Method::POST, format!("{APPS}/{number}/revoke"), "", ""),
        (Method::POST, DECISION.to_owned(), FORM, &approve),
    ] {
        let headers = [("authorization", &*bearer), ("content-type", content_type)];
        let reply = sidecar.http().send(method.clone(), &path, &headers, body).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (401, nobody()), "{method} {path}");
    }
    assert_eq!(ann.send(Method::GET, APPS, "", "").await.json(), list);
    assert!(sidecar.is_active(bearer.trim_start_matches("Bearer ")).await);
}

#[tokio::test]
async fn there_is_only_the_authorization_code_flow() {
    let sidecar = Sidecar::with(LIKE).await;
    let app = User::sign_in(&sidecar, USERNAME).await.app("workouts:read").await;
    for grant_type in [
        "",
        "password",
        "client_credentials",
        "implicit",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ] {
        let more = [("grant_type", grant_type), ("username", USERNAME), ("password", PASSWORD)];
        let reply = post(&sidecar, TOKEN, &app, &more).await;
        assert_json(&reply, 400, &json!({ "error": "unsupported_grant_type" }));
    }
    for path in [TOKEN, REVOKE, DECISION] {
        assert_eq!(sidecar.http().get(path).await.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    for path in
        ["/token", "/authorize", "/revoke", "/device_authorization", "/par", "/.well-known/openid-configuration"]
    {
        assert_eq!(sidecar.http().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn each_scope_grants_what_it_says_and_none_grants_another() {
    let sidecar = Sidecar::with(LIKE).await;
    let mut ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app(&SCOPES.join(" ")).await;
    let stub = Stub::start("fittrackee", &sidecar).await;
    let lacking = json!({
        "error": "insufficient_scope",
        "error_description": "The request requires higher privileges than provided by the access token.",
    });
    for scope in SCOPES {
        let tokens = ann.tokens(&sidecar, &app, scope).await;
        assert_eq!(tokens.scope, scope);
        for other in SCOPES {
            let allowed = sidecar.check(&tokens.access, &[other]).await.decision() == api::Decision::Allowed;
            assert_eq!(allowed, scope == other, "{scope} {other}");
        }
        let bearer = format!("Bearer {}", tokens.access);
        for (method, path, needed) in [
            (Method::PATCH, "/api/config", "application:write"),
            (Method::GET, "/api/auth/profile", "profile:read"),
            (Method::GET, "/api/workouts", "workouts:read"),
            (Method::POST, "/api/workouts", "workouts:write"),
        ] {
            let reply = stub.send(&method, path, &[("authorization", &bearer)]).await;
            if scope == needed {
                assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("success")), "{path}");
            } else {
                assert_eq!((reply.status.as_u16(), reply.json()), (403, lacking.clone()), "{scope} {path}");
                assert_eq!(reply.header("www-authenticate"), None);
            }
        }
    }
}

#[tokio::test]
async fn codes_are_good_for_five_minutes_access_tokens_for_ten_days_and_refresh_tokens_for_twenty() {
    let sidecar = Sidecar::with(LIKE).await;
    let mut ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app("workouts:read").await;
    let codes = [ann.code(&app, "workouts:read").await, ann.code(&app, "workouts:read").await];
    sidecar.clock.advance(299);
    let first = redeem(&sidecar, &app, &codes[0]).await.tokens();
    sidecar.clock.advance(2);
    assert_json(&redeem(&sidecar, &app, &codes[1]).await, 400, &no_code());

    sidecar.clock.advance(863_990);
    assert!(sidecar.is_active(&first.access).await);
    sidecar.clock.advance(10);
    assert!(!sidecar.is_active(&first.access).await);
    sidecar.clock.advance(863_990);
    let second = refresh(&sidecar, &app, &first.refresh).await.tokens();
    sidecar.clock.advance(1_727_990);
    let third = refresh(&sidecar, &app, &second.refresh).await.tokens();
    sidecar.clock.advance(1_728_001);
    assert_json(&refresh(&sidecar, &app, &third.refresh).await, 400, &json!({ "error": "invalid_grant" }));
}

#[tokio::test]
async fn fittrackees_own_page_needs_no_change() {
    let site = Site::without_tls().await;
    site.serve("/whoami", document(&[], r#"{"sub":"42","name":"Ann"}"#));
    let sidecar = Sidecar::with(&format!(
        "{LIKE}[login]\nmethod = 'session_probe'\nurl = 'http://{0}/login'\nprobe_url = 'http://{0}/whoami'\n",
        site.address
    ))
    .await;
    let origin = format!("http://{}", sidecar.addresses.http);
    let script = async |method: Method, path: &str, content_type: &str, body: &str| {
        let headers = [("authorization", "Bearer of.the.app"), ("origin", &*origin), ("content-type", content_type)];
        sidecar.http().send(method, path, &headers, body).await
    };
    let uris = [CALLBACK, "https://other.example/cb"];
    let app = registered(&script(Method::POST, APPS, "application/json", &draft("workouts:read", &uris)).await);
    let shown = script(Method::GET, &format!("{APPS}/{}", app.id), "", "").await.json();
    assert_eq!(shown["data"]["client"]["scope"], "workouts:read");

    // What the page sends: it never passes `redirect_uri` on, and a scope that the address lacks is the word `undefined`.
    for (scope, granted) in [("workouts:read workouts:write", "workouts:read"), ("undefined", "")] {
        let asked =
            [("client_id", &*app.id), ("response_type", "code"), ("scope", scope), ("state", "s"), ("confirm", "true")];
        let reply = script(Method::POST, DECISION, MULTIPART, &multipart(&asked)).await;
        let location = reply.json()["redirect_url"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
        let code = query_of(&location, "code").unwrap();
        assert_json(&reply, 200, &json!({ "redirect_url": format!("{CALLBACK}?code={code}&state=s") }));
        let tokens = redeem(&sidecar, &app, &code).await.json();
        assert_eq!(tokens.get("scope"), Some(&json!(granted)).filter(|_| !granted.is_empty()));
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(sidecar.introspect(access).await.sub, "42");
        let decision = sidecar.check(access, &["workouts:read"]).await.decision();
        assert_eq!(decision == api::Decision::Allowed, !granted.is_empty());
    }
    // A program says where to; then that counts, also for the token request.
    let asked = [("client_id", &*app.id), ("response_type", "code"), ("redirect_uri", uris[1]), ("confirm", "TRUE")];
    let location = script(Method::POST, DECISION, MULTIPART, &multipart(&asked)).await.json()["redirect_url"].clone();
    let code = query_of(location.as_str().unwrap(), "code").unwrap();
    assert_eq!(location, format!("{}?code={code}", uris[1]));
    let elsewhere = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", uris[0])];
    let wrong = json!({ "error": "invalid_grant", "error_description": "Invalid 'redirect_uri' in request." });
    assert_json(&post(&sidecar, TOKEN, &app, &elsewhere).await, 400, &wrong);
    let there = [elsewhere[0], elsewhere[1], ("redirect_uri", uris[1])];
    assert_eq!(post(&sidecar, TOKEN, &app, &there).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_decision_that_cannot_be_read_is_an_invalid_payload_and_to_nobody_not_even_that() {
    let sidecar = Sidecar::with(LIKE).await;
    let ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app("workouts:read").await;
    let good = [("client_id", &*app.id), ("response_type", "code"), ("confirm", "true")];
    let body = multipart(&good);
    assert_eq!(ann.decide(&good).await.status, StatusCode::OK);
    let file = body.replace("name=\"confirm\"", "name=\"confirm\"; filename=\"x\"");
    let many: Vec<_> = good.into_iter().chain((0..64).map(|_| ("x", "y"))).collect();
    for (content_type, body) in [
        ("multipart/form-data", &*body),
        ("multipart/form-data; boundary=other", &body),
        (&format!("multipart/form-data; boundary={}", "x".repeat(71)), &body),
        (MULTIPART, body.trim_end_matches("--\r\n")),
        (MULTIPART, &file),
        (MULTIPART, &multipart(&many)),
        (MULTIPART, &multipart(&[&good[..], &good[..1]].concat())),
        (MULTIPART, &multipart(&[&good[..], &[("x", &*"y".repeat(65 << 10))]].concat())),
        (MULTIPART, &form(&good)),
        (MULTIPART, ""),
        (FORM, &body),
        ("application/json", r#"{"client_id":"x","response_type":"code"}"#),
        ("", &body),
    ] {
        let reply = ann.send(Method::POST, DECISION, content_type, body).await;
        assert_json(&reply, 400, &message("invalid payload"));
    }
    let headers = [("sec-fetch-site", "same-origin"), ("content-type", MULTIPART)];
    for body in ["", &body] {
        assert_json(&sidecar.http().send(Method::POST, DECISION, &headers, body).await, 401, &nobody());
    }
}

#[tokio::test]
async fn a_redirect_uri_that_is_refused_is_repeated_as_far_as_it_can_be_one() {
    let sidecar = Sidecar::with(LIKE).await;
    let ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app("workouts:read").await;
    let long = format!("https://evil.example/{}", "a".repeat(2_000));
    for (said, repeated) in [
        ("https://evil.example/?a=b&c=%20#'", "https://evil.example/?a=b&c=%20#'"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("<b>\"\\{redirect_uri}\t\u{202e}", "%3Cb%3E%22%5C%7Bredirect_uri%7D%09%E2%80%AE"),
        (&long, &long[..255]),
    ] {
        let reply = ann.decide(&[("client_id", &app.id), ("response_type", "code"), ("redirect_uri", said)]).await;
        assert_json(&reply, 400, &message(&format!("Redirect URI {repeated} is not supported by client.")));
    }
}

#[tokio::test]
async fn nobody_but_its_owner_allows_an_app_anything_over_the_api_either() {
    let sidecar = Sidecar::with(LIKE).await;
    let (ann, bob) = (User::sign_in(&sidecar, USERNAME).await, User::sign_in(&sidecar, "bob").await);
    let app = ann.app("workouts:read").await;
    let asked = [("client_id", &*app.id), ("response_type", "code"), ("confirm", "true")];
    let unknown = message("The client does not exist on this server.");
    assert_json(&bob.decide(&asked).await, 400, &unknown);
    assert_eq!(ann.decide(&asked).await.status, StatusCode::OK);
    let for_all = sidecar.beside_with(&format!("{LIKE}[apps]\nowner_only = false\n")).await;
    let bob = User { http: for_all.http(), ..bob };
    assert_eq!(bob.decide(&asked).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_that_is_used_twice_costs_its_tokens_other_than_upstream() {
    let sidecar = Sidecar::with(LIKE).await;
    let mut ann = User::sign_in(&sidecar, USERNAME).await;
    let app = ann.app("workouts:read").await;
    let code = ann.code(&app, "workouts:read").await;
    let tokens = redeem(&sidecar, &app, &code).await.tokens();
    assert_json(&redeem(&sidecar, &app, &code).await, 400, &no_code());
    assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
}

/// One flow of `tests/python/clients/fittrackee.py`.
async fn python(command: tokio::process::Command, flow: &str, given: &Value) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/clients/fittrackee.py");
    println!("{}", run(command, program, Some(flow), Stdio::null(), given).await);
}

fn given(issuer: &str, app: &Registered, redirect_uri: &str, stub: &Stub) -> Value {
    json!({
        "http": issuer,
        "app": format!("http://{}", stub.address),
        "account": { "username": USERNAME, "password": PASSWORD },
        "client": { "client_id": app.id, "client_secret": app.secret, "redirect_uri": redirect_uri },
    })
}

/// With the pages of the sidecar, and the app elsewhere.
async fn at_our_page(flow: &str) {
    let sidecar = Sidecar::with(LIKE).await;
    let app = User::sign_in(&sidecar, USERNAME).await.app("workouts:read workouts:write profile:read").await;
    let stub = Stub::start("fittrackee", &sidecar).await;
    python(python_interpreter(), flow, &given(&sidecar.service.settings.issuer, &app, CALLBACK, &stub)).await;
}

#[tokio::test]
async fn garmin_to_fittrackee_works_behind_the_nginx_that_leaves_the_page_to_the_app() {
    let authority = Authority::new();
    authority.issue("server", "IP:127.0.0.1");
    let site = Site::without_tls().await;
    site.serve("/whoami", document(&[], r#"{"sub":"42","name":"Ann"}"#));
    let start = async |issuer: String| {
        let sidecar = Sidecar::with(&format!(
            "{LIKE}issuer = '{issuer}'\n[http]\ntrusted_proxies = ['127.0.0.1']\n\
             [login]\nmethod = 'session_probe'\nurl = '{issuer}/login'\nprobe_url = 'http://{}/whoami'\n",
            site.address
        ))
        .await;
        let stub = Stub::start("fittrackee", &sidecar).await;
        (sidecar, stub)
    };
    let upstreams = async |(sidecar, stub): &(Sidecar, Stub)| {
        vec![("127.0.0.1:8080;", sidecar.addresses.http.only_tcp().unwrap()), ("127.0.0.1:5000;", stub.address)]
    };
    let configuration = include_str!("../../deploy/nginx/fittrackee.conf");
    let (_front, (sidecar, stub)) = Front::with(configuration, &authority, start, upstreams).await;
    let headers = [("authorization", "Bearer of.the.app"), ("content-type", "application/json")];
    // What it asks for, and where it has its user go.
    let (scopes, redirect_uri) = ("workouts:read workouts:write profile:read", "https://localhost/");
    let made = sidecar.http().send(Method::POST, APPS, &headers, &draft(scopes, &[redirect_uri])).await;
    let mut command = python_interpreter();
    command.env("REQUESTS_CA_BUNDLE", authority.file("ca.pem"));
    let given = given(&sidecar.service.settings.issuer, &registered(&made), redirect_uri, &stub);
    python(command, "garmin_to_fittrackee", &given).await;
}

#[tokio::test]
async fn requests_oauthlib_does_what_the_document_says() {
    at_our_page("requests_oauthlib").await;
}

#[tokio::test]
async fn authlib_does_what_the_document_says() {
    at_our_page("authlib").await;
}

#[tokio::test]
async fn strava_to_fittrackee_may_say_a_redirect_uri_that_is_none_of_its_own() {
    at_our_page("strava_to_fittrackee").await;
}
