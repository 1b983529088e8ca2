//! Dynamic registration (RFC 7591), and the management of a registration (RFC 7592).

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{CHALLENGE, Http, REDIRECT_URI, Registered, Reply, Sidecar, Tokens, VERIFIER, query_of};

const OPEN: &str = "[registration]\nmode = 'open'\nper_hour = 3600";
const INITIAL_TOKEN: &str = "an initial access token with 32 characters";
const DAY: i64 = 86_400;

async fn send(http: &Http, method: Method, path: &str, token: &str, body: &Value) -> Reply {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("content-type", "application/json")];
    if !token.is_empty() {
        headers.push(("authorization", &authorization));
    }
    http.send(method, path, &headers, &body.to_string()).await
}

async fn register(sidecar: &Sidecar, other: Value) -> Reply {
    send(&sidecar.http(), Method::POST, "/register", "", &document(other)).await
}

fn document(other: Value) -> Value {
    let mut document = json!({ "redirect_uris": [REDIRECT_URI], "client_name": "Third", "scope": "a b", "grant_types": ["authorization_code", "refresh_token"] });
    let Value::Object(other) = other else { panic!("{other}") };
    document.as_object_mut().unwrap().extend(other);
    document
}

/// A client that registered itself, its registration access token and the path of its registration.
struct App {
    client: Registered,
    token: String,
    path: String,
}

impl App {
    async fn register(sidecar: &Sidecar, other: Value) -> Self {
        let reply = register(sidecar, other).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        let json = reply.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let client = Registered { id: text("client_id"), secret: text("client_secret") };
        Self { path: format!("/register/{}", client.id), token: text("registration_access_token"), client }
    }

    async fn send(&self, sidecar: &Sidecar, method: Method, body: &Value) -> Reply {
        send(&sidecar.http(), method, &self.path, &self.token, body).await
    }

    async fn redeem(&self, sidecar: &Sidecar) -> Reply {
        let location = sidecar.browser().approve(&sidecar.request(&[("client_id", &self.client.id)])).await;
        let code = query_of(&location, "code").unwrap();
        let redemption = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        sidecar.http().post_as(&self.client, "/token", &redemption).await
    }

    async fn tokens(&self, sidecar: &Sidecar) -> Tokens {
        self.redeem(sidecar).await.tokens()
    }
}

#[tokio::test]
async fn n1_a_registration_is_answered_with_all_that_was_registered() {
    let sidecar = Sidecar::with(OPEN).await;
    let reply = register(&sidecar, json!({ "contacts": ["a@c"], "logo_uri": "https://c/logo", "x": "ignored" })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), (Some("no-store"), Some("no-cache")));
    let mut json = reply.json();
    let mut taken = |name: &str| json.as_object_mut().unwrap().remove(name).unwrap_or_default();
    let id = taken("client_id");
    assert_eq!(id.as_str().unwrap().len(), 32);
    assert_eq!(taken("client_secret").as_str().unwrap().len(), 43);
    assert_eq!(taken("registration_access_token").as_str().unwrap().len(), 43);
    let uri = taken("registration_client_uri");
    assert!(uri.as_str().unwrap().ends_with(&format!("/register/{}", id.as_str().unwrap())), "{uri}");
    assert!(taken("client_id_issued_at").as_i64().unwrap() > 1_700_000_000);
    assert_eq!(
        json,
        json!({
            "client_secret_expires_at": 0,
            "client_name": "Third",
            "redirect_uris": [REDIRECT_URI],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_basic",
            "scope": "a b",
            "contacts": ["a@c"],
            "logo_uri": "https://c/logo",
        })
    );
    let public = register(&sidecar, json!({ "token_endpoint_auth_method": "none" })).await.json();
    assert_eq!((public.get("client_secret"), public.get("client_secret_expires_at")), (None, None));
}

#[tokio::test]
async fn n2_a_client_that_registered_itself_does_the_main_job_with_its_secret_alone() {
    let sidecar = Sidecar::with(OPEN).await;
    let client = App::register(&sidecar, json!({})).await;
    let tokens = client.tokens(&sidecar).await;
    assert!(sidecar.is_active(&tokens.access).await);
    let secret = client.client.secret.clone();
    let nameless = App { client: Registered { secret: String::new(), ..client.client.clone() }, ..client };
    nameless.redeem(&sidecar).await.assert_error(401, "invalid_client");
    let wrong = App { client: Registered { secret: "wrong".into(), ..nameless.client.clone() }, ..nameless };
    wrong.redeem(&sidecar).await.assert_error(401, "invalid_client");
    let posted = [("token", "x"), ("client_id", wrong.client.id.as_str()), ("client_secret", secret.as_str())];
    sidecar.http().post("/revoke", &posted).await.assert_error(401, "invalid_client");

    let public = App::register(&sidecar, json!({ "token_endpoint_auth_method": "none" })).await;
    assert!(sidecar.is_active(&public.tokens(&sidecar).await.access).await);
}

#[tokio::test]
async fn n3_n4_n6_n7_n9_what_an_app_may_not_say_about_itself() {
    let sidecar = Sidecar::with(OPEN).await;
    for (other, error) in [
        (json!({ "redirect_uris": [] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://c/cb#f"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["http://c/cb"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["JavaScript:alert(1)"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://*.c/cb"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["https://u:p@c/cb"] }), "invalid_redirect_uri"),
        (json!({ "redirect_uris": ["com.example.app:/cb"] }), "invalid_redirect_uri"),
        (
            json!({ "token_endpoint_auth_method": "none", "grant_types": ["client_credentials"] }),
            "invalid_client_metadata",
        ),
        (json!({ "grant_types": ["password"] }), "invalid_client_metadata"),
        (json!({ "response_types": ["token"] }), "invalid_client_metadata"),
        (json!({ "scope": "a admin" }), "invalid_client_metadata"),
        (json!({ "jwks_uri": "http://127.0.0.1:1/" }), "invalid_client_metadata"),
        (json!({ "jwks_uri": "https://c/jwks", "jwks": { "keys": [] } }), "invalid_client_metadata"),
    ] {
        register(&sidecar, other).await.assert_error(400, error);
    }
    let http = sidecar.http();
    for (content_type, body, error, status) in [
        ("application/json", "{", "invalid_client_metadata", 400),
        ("application/json", "[]", "invalid_client_metadata", 400),
        ("application/x-www-form-urlencoded", "a=b", "invalid_request", 400),
        ("application/json", &" ".repeat(65 << 10), "invalid_request", 413),
    ] {
        let reply = http.send(Method::POST, "/register", &[("content-type", content_type)], body).await;
        reply.assert_error(status, error);
    }
    let chosen = json!({ "client_id": sidecar.shop.id, "client_secret": "mine", "software_statement": "e30.e30." });
    let registered = App::register(&sidecar, chosen).await.client;
    assert!(registered.id != sidecar.shop.id && registered.secret != "mine");
}

#[tokio::test]
async fn n5_nobody_registers_a_client_unless_that_is_configured() {
    let sidecar = Sidecar::start().await;
    assert_eq!(register(&sidecar, json!({})).await.status, StatusCode::NOT_FOUND);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let path = format!("/register/{}", sidecar.shop.id);
        assert_eq!(send(&sidecar.http(), method, &path, "x", &json!({})).await.status, StatusCode::NOT_FOUND);
    }
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata.get("registration_endpoint"), None);
}

#[tokio::test]
async fn n5_with_a_token_only_who_has_it_registers_a_client() {
    let more = format!("[registration]\nmode = 'token'\ninitial_access_token = '{INITIAL_TOKEN}'\nscopes = ['a']");
    let sidecar = Sidecar::with(&more).await;
    let http = sidecar.http();
    let metadata = http.get("/.well-known/oauth-authorization-server").await.json();
    assert!(metadata["registration_endpoint"].as_str().unwrap().ends_with("/register"));
    let document = json!({ "redirect_uris": [REDIRECT_URI] });
    for (token, challenge) in
        [("", r#"Bearer realm="scopegate""#), ("wrong", r#"Bearer realm="scopegate", error="invalid_token""#)]
    {
        let reply = send(&http, Method::POST, "/register", token, &document).await;
        reply.assert_error(401, "invalid_token");
        assert_eq!(reply.header("www-authenticate"), Some(challenge));
    }
    let reply = send(&http, Method::POST, "/register", INITIAL_TOKEN, &document).await;
    assert_eq!((reply.status, &reply.json()["scope"]), (StatusCode::CREATED, &"a".into()));
    let beyond = json!({ "redirect_uris": [REDIRECT_URI], "scope": "b" });
    send(&http, Method::POST, "/register", INITIAL_TOKEN, &beyond).await.assert_error(400, "invalid_client_metadata");
}

#[tokio::test]
async fn n5_open_registration_has_a_rate_and_an_end() {
    let sidecar = Sidecar::with("[registration]\nmode = 'open'\nper_hour = 3\nmax_clients = 4").await;
    for status in [201, 201, 201, 429, 429] {
        assert_eq!(register(&sidecar, json!({})).await.status, status);
    }
    sidecar.clock.advance(3_600);
    assert_eq!(register(&sidecar, json!({})).await.status, StatusCode::CREATED);
    let full = register(&sidecar, json!({})).await;
    full.assert_error(503, "temporarily_unavailable");
    assert!(full.header("retry-after").is_some());
}

#[tokio::test]
async fn n5_a_client_that_gets_no_token_within_a_day_is_deleted() {
    let sidecar = Sidecar::with(OPEN).await;
    let (unused, used, late) = (
        App::register(&sidecar, json!({})).await,
        App::register(&sidecar, json!({})).await,
        App::register(&sidecar, json!({})).await,
    );
    let tokens = used.tokens(&sidecar).await;
    sidecar.clock.advance(DAY);
    let push = [
        ("client_id", unused.client.id.as_str()),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let pushed = sidecar.http().post_as(&unused.client, "/par", &push).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "what it pushed does not keep it: {}", pushed.body);
    // Somebody has approved, and the code is still good.
    sidecar.browser().approve(&sidecar.request(&[("client_id", &late.client.id)])).await;
    sidecar.service.prune().await.unwrap();
    assert_eq!(unused.send(&sidecar, Method::GET, &json!({})).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(used.send(&sidecar, Method::GET, &json!({})).await.status, StatusCode::OK);
    assert_eq!(late.send(&sidecar, Method::GET, &json!({})).await.status, StatusCode::OK);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    sidecar.http().post_as(&used.client, "/token", &refresh).await.tokens();

    sidecar.clock.advance(2 * 3_600);
    sidecar.service.prune().await.unwrap();
    assert_eq!(late.send(&sidecar, Method::GET, &json!({})).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(used.send(&sidecar, Method::DELETE, &json!({})).await.status, StatusCode::NO_CONTENT);
    sidecar.clock.advance(100 * DAY);
    sidecar.service.prune().await.unwrap();
    let mut database = sidecar.database().await;
    assert_eq!(database.count("clients WHERE registration_hash IS NOT NULL").await, 0);
    assert_eq!(database.count("clients").await, 2, "an operator's clients stay");
}

#[tokio::test]
async fn n8_a_registration_access_token_is_for_its_own_client_alone() {
    let sidecar = Sidecar::with(OPEN).await;
    let (client, other) = (App::register(&sidecar, json!({})).await, App::register(&sidecar, json!({})).await);
    let shown = client.send(&sidecar, Method::GET, &json!({})).await;
    assert_eq!((shown.status, shown.header("cache-control")), (StatusCode::OK, Some("no-store")));
    let json = shown.json();
    assert_eq!((&json["client_id"], &json["client_name"]), (&client.client.id.clone().into(), &"Third".into()));
    assert_eq!((&json["registration_access_token"], json.get("client_secret")), (&client.token.clone().into(), None));

    let http = sidecar.http();
    let shop = format!("/register/{}", sidecar.shop.id);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let body = document(json!({ "client_id": client.client.id }));
        for (path, token) in [
            (client.path.as_str(), other.token.as_str()),
            (&client.path, "wrong"),
            (&client.path, ""),
            (&client.path, &client.client.secret),
            (&shop, &client.token),
            (&shop, ""),
            ("/register/unknown", &client.token),
            ("/register/%20", &client.token),
            ("/register/%ff", &client.token),
        ] {
            let reply = send(&http, method.clone(), path, token, &body).await;
            reply.assert_error(401, "invalid_token");
        }
    }
    let mut database = sidecar.database().await;
    let hashed = if database.is_shared() { "octet_length(registration_hash)" } else { "length(registration_hash)" };
    assert_eq!(database.count(&format!("clients WHERE {hashed} = 32")).await, 2, "at rest, it is a hash");
}

#[tokio::test]
async fn n8_a_client_changes_its_registration_and_not_what_it_is() {
    let sidecar = Sidecar::with(OPEN).await;
    let client = App::register(&sidecar, json!({ "tos_uri": "https://c/tos" })).await;
    let id = client.client.id.as_str();
    let change = document(json!({
        "client_id": id, "client_secret": client.client.secret, "client_name": "New", "scope": "a",
        "redirect_uris": ["https://c/new"], "token_endpoint_auth_method": "client_secret_post",
    }));
    let changed = client.send(&sidecar, Method::PUT, &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let json = client.send(&sidecar, Method::GET, &json!({})).await.json();
    assert_eq!(json, changed.json());
    assert_eq!(
        (&json["client_name"], &json["scope"], &json["redirect_uris"], json.get("tos_uri")),
        (&"New".into(), &"a".into(), &json!(["https://c/new"]), None)
    );
    for other in [
        json!({}),
        json!({ "client_id": sidecar.shop.id }),
        json!({ "client_id": id, "client_secret": "chosen" }),
        json!({ "client_id": id, "registration_access_token": client.token }),
        json!({ "client_id": id, "token_endpoint_auth_method": "none" }),
        json!({ "client_id": id, "scope": "admin" }),
    ] {
        client.send(&sidecar, Method::PUT, &document(other)).await.assert_error(400, "invalid_client_metadata");
    }
    let fragment = document(json!({ "client_id": id, "redirect_uris": ["https://c/#f"] }));
    client.send(&sidecar, Method::PUT, &fragment).await.assert_error(400, "invalid_redirect_uri");
    assert_eq!(client.send(&sidecar, Method::GET, &json!({})).await.json(), json, "nothing of these was stored");
}

#[tokio::test]
async fn n8_a_client_that_ends_its_registration_takes_its_tokens_along() {
    let sidecar = Sidecar::with(OPEN).await;
    let client = App::register(&sidecar, json!({})).await;
    let tokens = client.tokens(&sidecar).await;
    assert!(sidecar.is_active(&tokens.access).await);
    let ended = client.send(&sidecar, Method::DELETE, &json!({})).await;
    assert_eq!((ended.status, ended.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert!(!sidecar.is_active(&tokens.access).await);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let body = document(json!({ "client_id": client.client.id }));
        client.send(&sidecar, method, &body).await.assert_error(401, "invalid_token");
    }
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    sidecar.http().post_as(&client.client, "/token", &refresh).await.assert_error(401, "invalid_client");
    let request = [("client_id", client.client.id.as_str()), ("code_challenge", CHALLENGE)];
    let page = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&request))).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_disabled_client_manages_nothing() {
    let sidecar = Sidecar::with(OPEN).await;
    let client = App::register(&sidecar, json!({})).await;
    sidecar.service.disable_client(client.client.id.parse().unwrap()).await.unwrap();
    client.send(&sidecar, Method::GET, &json!({})).await.assert_error(401, "invalid_token");
}

#[tokio::test]
async fn a44_c21_people_are_told_that_nobody_knows_a_client_and_are_not_sent_to_it() {
    let sidecar = Sidecar::with(OPEN).await;
    let client = App::register(&sidecar, json!({ "client_name": "<b>Third</b>" })).await;
    let unverified = "registered itself";
    let bad = [("client_id", client.client.id.as_str()), ("scope", "admin")];
    let page = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&bad))).await;
    assert_eq!((page.status, page.header("location")), (StatusCode::BAD_REQUEST, None));
    let unchecked = page.body.contains("Nobody here has checked who is behind this app");
    assert!(unchecked && page.body.contains("error=invalid_scope"), "{}", page.body);
    assert!(!page.body.contains("<b>") && page.header("content-security-policy").is_some(), "{}", page.body);
    let known = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[("scope", "admin")]))).await;
    assert_eq!(known.status, StatusCode::SEE_OTHER);
    let strict = json!({ "require_pushed_authorization_requests": true, "dpop_bound_access_tokens": true });
    let strict = App::register(&sidecar, strict).await;
    let plain = sidecar.request(&[("client_id", &strict.client.id)]);
    let page = sidecar.http().get(&format!("/authorize?{plain}")).await;
    assert_eq!((page.status, page.header("location")), (StatusCode::BAD_REQUEST, None), "it has to push");
    let redeem = [("grant_type", "authorization_code"), ("code", "x"), ("code_verifier", VERIFIER)];
    let reply = sidecar.http().post_as(&strict.client, "/token", &redeem).await;
    reply.assert_error(400, "invalid_dpop_proof");

    let request = sidecar.request(&[("client_id", &client.client.id)]);
    assert!(sidecar.browser().consent_page(&request).await.body.contains(unverified));
    assert!(!sidecar.browser().consent_page(&sidecar.request(&[])).await.body.contains(unverified));
}

#[tokio::test]
async fn rg44_a_client_that_registered_as_confidential_is_nowhere_taken_for_a_public_one() {
    let sidecar = Sidecar::with(OPEN).await;
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    for method in [None, Some("client_secret_basic"), Some("client_secret_post"), Some("private_key_jwt")] {
        let mut said = json!({});
        if let Some(method) = method {
            said["token_endpoint_auth_method"] = method.into();
        }
        if method == Some("private_key_jwt") {
            said["jwks"] = json!({ "keys": [key] });
        }
        let app = App::register(&sidecar, said).await;
        let registered = app.send(&sidecar, Method::GET, &json!({})).await.json();
        assert_eq!(registered["token_endpoint_auth_method"], method.unwrap_or("client_secret_basic"));
        let code = sidecar.code_for(&sidecar.request(&[("client_id", &app.client.id)])).await;
        let redemption = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let (id, none) = (("client_id", app.client.id.as_str()), ("client_secret", ""));
        for (path, parameters) in [
            ("/token", &redemption[..]),
            ("/token", &[("grant_type", "refresh_token"), ("refresh_token", "x")]),
            ("/introspect", &[("token", "x")]),
            ("/revoke", &[("token", "x")]),
            ("/par", &[("response_type", "code"), ("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]),
            ("/device_authorization", &[("scope", "a")]),
        ] {
            for proof in [&[id][..], &[id, none], &[id, ("client_secret", "x")]] {
                let reply = sidecar.http().post(path, &[parameters, proof].concat()).await;
                assert_eq!(
                    (reply.status, reply.error().as_str()),
                    (StatusCode::UNAUTHORIZED, "invalid_client"),
                    "{method:?} {path} {proof:?}"
                );
            }
        }
        let none = json!({ "client_id": app.client.id, "token_endpoint_auth_method": "none" });
        app.send(&sidecar, Method::PUT, &document(none)).await.assert_error(400, "invalid_client_metadata");
    }
    assert_eq!(sidecar.database().await.count("grants WHERE state = 'active'").await, 0);
}

#[tokio::test]
async fn an_app_says_that_its_tokens_are_jwts_only_where_operators_let_it() {
    let jwt = json!({ "access_token_format": "jwt" });
    let wrong = json!({ "access_token_format": "jwe" });
    let closed = Sidecar::with(OPEN).await;
    register(&closed, jwt.clone()).await.assert_error(400, "invalid_client_metadata");
    let app = App::register(&closed, json!({ "access_token_format": "opaque" })).await;
    assert!(app.tokens(&closed).await.access.starts_with("sg_at_"));
    let change = |other: &Value| {
        let mut change = document(json!({ "client_id": app.client.id }));
        change.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        change
    };
    app.send(&closed, Method::PUT, &change(&jwt)).await.assert_error(400, "invalid_client_metadata");
    let mut metadata = closed.service.client(app.client.id.parse().unwrap()).await.unwrap().metadata;
    metadata.access_token_format = scopegate::domain::jwt_access_token::AccessTokenFormat::Jwt;
    closed.change(&app.client, metadata).await;
    for sent in [jwt.clone(), json!({})] {
        let reply = app.send(&closed, Method::PUT, &change(&sent)).await;
        assert_eq!(
            (reply.status, &reply.json()["access_token_format"]),
            (StatusCode::OK, &json!("jwt")),
            "what the operator said stays"
        );
    }

    let let_in = Sidecar::with(&format!("{OPEN}\njwt_access_tokens = true")).await;
    register(&let_in, wrong).await.assert_error(400, "invalid_client_metadata");
    let app = App::register(&let_in, jwt).await;
    assert_eq!(app.send(&let_in, Method::GET, &json!({})).await.json()["access_token_format"], "jwt");
    let tokens = app.tokens(&let_in).await;
    assert!(tokens.access.starts_with("eyJ") && let_in.is_active(&tokens.access).await);
}

#[tokio::test]
async fn an_app_says_by_which_algorithm_introspection_is_signed_for_it() {
    let sidecar = Sidecar::with(OPEN).await;
    let wants = |algorithm: &str| json!({ "introspection_signed_response_alg": algorithm });
    for wrong in ["ES256", "none", "HS256", "rs256"] {
        register(&sidecar, wants(wrong)).await.assert_error(400, "invalid_client_metadata");
    }
    let registered = register(&sidecar, wants("RS256")).await.json();
    assert_eq!(registered["introspection_signed_response_alg"], "RS256");
    let off = Sidecar::with(&format!("{OPEN}\n[jwt]\nintrospection_responses = false")).await;
    register(&off, wants("RS256")).await.assert_error(400, "invalid_client_metadata");
}
