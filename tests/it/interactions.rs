//! Users whom an app signs in that browsers are sent to with a challenge (`login.method = "challenge"`), and that answers over gRPC or REST.

use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use prost_types::value::Kind;
use prost_types::{FieldMask, Struct, Value as Field};
use scopegate::domain::client::ClientMetadata;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::admin_service_client::AdminServiceClient;
use scopegate::proto::scopegate::v1::interaction_service_client::InteractionServiceClient;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::harness::{
    Browser, Chromium, REDIRECT_URI, Reply, Sidecar, basic, encode, form, hidden_fields, query_of, screenshots,
    ticked_scopes,
};
use crate::openid::claims;

const APP: &str = "http://app.example/login";
const TOKEN: &str = "app-app-app-app-app-app-app-app-app-app";
const OTHER_TOKEN: &str = "other-other-other-other-other-other-";

/// A sidecar whose users an app signs in.
async fn sidecar(more: &str) -> Sidecar {
    with(&format!("[login]\nmethod = 'challenge'\nurl = '{APP}'\n{more}")).await
}

async fn with(login: &str) -> Sidecar {
    let callers = format!(
        "[[grpc.callers]]\nname = 'app'\ntokens = ['{TOKEN}']\nall = true\nmay = ['interact']\n\
         [[grpc.callers]]\nname = 'other'\ntokens = ['{OTHER_TOKEN}']\nall = true\n\
         may = ['check', 'introspect', 'revoke', 'watch', 'admin']\n"
    );
    let sidecar = Sidecar::with(&format!("{login}\n{callers}")).await;
    let scopes = Some("a b openid profile email".parse().unwrap());
    let changes = ClientChanges { scopes, ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    sidecar
}

async fn interactions(sidecar: &Sidecar) -> InteractionServiceClient<Channel> {
    let address = sidecar.addresses.grpc.to_string();
    let tcp = address.split(',').find(|address| !address.starts_with("unix:")).unwrap().to_owned();
    InteractionServiceClient::connect(format!("http://{tcp}")).await.unwrap()
}

/// Opens a path; the address of the app that the browser is sent to.
async fn to_app(browser: &mut Browser, path: &str) -> String {
    let first = browser.get(path).await;
    let login = first.header("location").unwrap_or_else(|| panic!("{first:?}")).to_owned();
    assert!(login.starts_with("/login?request="), "{login}");
    let second = browser.get(&login).await;
    second.header("location").unwrap_or_else(|| panic!("{second:?}")).to_owned()
}

async fn challenge(browser: &mut Browser, request: &str) -> String {
    let location = to_app(browser, &format!("/authorize?{request}")).await;
    query_of(&location, "login_challenge").unwrap_or_else(|| panic!("{location}"))
}

/// One request of the app over REST.
async fn rest(sidecar: &Sidecar, token: &str, method: Method, what: &str, challenge: &str, body: &Value) -> Reply {
    let name = if what.starts_with("login") { "login_challenge" } else { "consent_challenge" };
    let path = format!("/admin/oauth2/auth/requests/{what}?{}", form(&[(name, challenge)]));
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    sidecar.http().send(method, &path, &headers[usize::from(token.is_empty())..], &body).await
}

/// What the app answers; the path that the browser is sent to.
async fn answer(sidecar: &Sidecar, what: &str, challenge: &str, body: Value) -> String {
    let reply = rest(sidecar, TOKEN, Method::PUT, what, challenge, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let location = reply.json()["redirect_to"].as_str().unwrap().to_owned();
    location.strip_prefix(&format!("http://{}", sidecar.addresses.http)).unwrap().to_owned()
}

async fn accept(sidecar: &Sidecar, challenge: &str, body: Value) -> String {
    answer(sidecar, "login/accept", challenge, body).await
}

/// Signs a browser in as the user 42, for a request; the page that comes then, or where it is sent.
async fn sign_in(sidecar: &Sidecar, browser: &mut Browser, request: &str, remember: bool) -> Reply {
    let challenge = challenge(browser, request).await;
    let back = accept(sidecar, &challenge, json!({ "subject": "42", "remember": remember })).await;
    let next = browser.get(&back).await;
    assert_eq!(next.status, StatusCode::SEE_OTHER, "{next:?}");
    browser.get(next.header("location").unwrap()).await
}

/// The same browser at another server.
fn with_cookies_of(browser: &Browser, sidecar: &Sidecar) -> Browser {
    let mut other = sidecar.browser();
    other.cookies.clone_from(&browser.cookies);
    other
}

async fn allow(browser: &mut Browser, page: &Reply) -> String {
    let fields =
        [hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]].concat();
    let reply = browser.post("/consent", &encode(&fields)).await;
    reply.header("location").unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

fn error_of(location: &str) -> Option<String> {
    query_of(location, "error")
}

/// The example, running, with a sidecar that sends browsers there.
async fn example() -> (Sidecar, String, tokio::process::Child) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let app = format!("http://127.0.0.1:{port}");
    let sidecar = with(&format!("[login]\nmethod = 'challenge'\nurl = '{app}/login'")).await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    let running = tokio::process::Command::new("python3")
        .args([concat!(env!("CARGO_MANIFEST_DIR"), "/examples/challenge_app.py"), &port.to_string(), &issuer])
        .env("TOKEN", TOKEN)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is there: apt install python3");
    let started = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), started).await.expect("the example listens");
    (sidecar, app, running)
}

/// Lets the browser come back to its client; where that is.
async fn with_client_of(browser: &Chromium, sidecar: &Sidecar) -> String {
    let redirect_uri = format!("{}/callback", browser.client);
    let changes =
        ClientChanges { redirect_uris: Some(vec![redirect_uri.parse().unwrap()]), ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    redirect_uri
}

#[tokio::test]
async fn somebody_who_takes_too_long_at_the_login_app_starts_again_in_a_real_browser() {
    let (sidecar, app, _running) = example().await;
    let browser = Chromium::get().await;
    let redirect_uri = with_client_of(browser, &sidecar).await;
    // Whoever connects there makes it later than what the app answers is good for.
    let later = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = later.local_addr().unwrap();
    let clock = sidecar.clock.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = later.accept().await {
            clock.advance(2_000);
            let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut connection, answer.as_bytes()).await.unwrap();
        }
    });
    let world = json!({
        "issuer": format!("http://{}", sidecar.addresses.http),
        "app": app,
        "later": format!("http://{address}/"),
        "request": sidecar.request(&[("redirect_uri", &redirect_uri)]),
        "password": "correct horse",
        "screenshots": screenshots(),
    });
    browser.play("comesTooLate", &world).await;
}

#[tokio::test]
async fn a_login_app_of_a_few_lines_signs_people_in_in_several_tabs_of_a_real_browser() {
    let (sidecar, app, _running) = example().await;
    let browser = Chromium::get().await;
    let redirect_uri = with_client_of(browser, &sidecar).await;
    let request = |more: &[(&str, &str)]| sidecar.request(&[&[("redirect_uri", redirect_uri.as_str())], more].concat());
    let world = json!({
        "issuer": format!("http://{}", sidecar.addresses.http),
        "app": app,
        "request": request(&[("login_hint", "ann")]),
        "again": request(&[("prompt", "login")]),
        "password": "correct horse",
    });
    browser.play("login_app", &world).await;
}

#[tokio::test]
async fn the_login_app_says_who_the_user_is_and_how_the_user_signed_in() {
    let sidecar = sidecar("[openid]\ngroups = true\n[authorization]\nunknown_scopes = 'keep'").await;
    let mut grpc = interactions(&sidecar).await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[
        ("scope", "openid profile email groups a"),
        ("login_hint", "ann@example.com"),
        ("ui_locales", "de en"),
        ("max_age", "300"),
        ("nonce", "n-1"),
    ]);
    let challenge = challenge(&mut browser, &request).await;
    let asked = grpc.get_interaction(api::GetInteractionRequest { challenge: challenge.clone() }).await.unwrap();
    let asked = asked.into_inner().interaction.unwrap();
    assert_eq!(asked.kind(), api::InteractionKind::Login);
    assert_eq!((&*asked.client_id, &*asked.client_name), (&*sidecar.shop.id, "Shop"));
    assert_eq!(asked.request_url, format!("http://{}/authorize?{request}", sidecar.addresses.http));
    assert_eq!((asked.login_hint.as_str(), asked.max_age), ("ann@example.com", Some(300)));
    assert!(asked.must_sign_in && asked.client_verified && asked.subject.is_empty());
    assert_eq!(
        (asked.requested_scopes.join(" "), asked.ui_locales.join(" ")),
        ("a email groups openid profile".into(), "de en".into())
    );

    let accept = api::AcceptLoginRequest {
        challenge,
        subject: "42".into(),
        acr: "urn:example:2".into(),
        amr: vec!["pwd".into(), "otp".into()],
        claims: Some(api::UserClaims {
            name: "Ann".into(),
            email: "ann@example.com".into(),
            email_verified: Some(true),
            groups: vec!["org".into(), "org:team".into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let redirect_to = grpc.accept_login(accept).await.unwrap().into_inner().redirect_to;
    let back = redirect_to.strip_prefix(&format!("http://{}", sidecar.addresses.http)).unwrap();
    let next = browser.get(back).await;
    let page = browser.get(next.header("location").unwrap()).await;
    assert!(page.body.contains(">Ann</"), "{}", page.body);
    let code = query_of(&allow(&mut browser, &page).await, "code").unwrap();
    let tokens = sidecar.redeem(&code).await.json();
    let claims = claims(&tokens);
    for (name, expected) in [
        ("sub", json!("42")),
        ("name", json!("Ann")),
        ("email", json!("ann@example.com")),
        ("groups", json!(["org", "org:team"])),
        ("acr", json!("urn:example:2")),
        ("amr", json!(["pwd", "otp"])),
        ("nonce", json!("n-1")),
    ] {
        assert_eq!(claims[name], expected, "{claims}");
    }
    assert!(claims["auth_time"].as_i64().is_some_and(|at| (sidecar.now() - at).abs() < 60), "{claims}");
    let introspected = sidecar.introspect(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((introspected.sub.as_str(), introspected.acr.as_str()), ("42", "urn:example:2"));
}

#[tokio::test]
async fn what_the_app_says_nothing_of_is_not_told() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    let page = sign_in(&sidecar, &mut browser, &sidecar.request(&[("scope", "openid a")]), false).await;
    let code = query_of(&allow(&mut browser, &page).await, "code").unwrap();
    let claims = claims(&sidecar.redeem(&code).await.json());
    assert!(claims.get("amr").is_none() && claims.get("acr").is_none() && claims.get("name").is_none(), "{claims}");
    let metadata = sidecar.http().get("/.well-known/openid-configuration").await.json();
    assert!(metadata.get("acr_values_supported").is_none() && metadata["end_session_endpoint"].is_string());
    let class = sidecar.browser().get(&format!("/authorize?{}", sidecar.request(&[("acr_values", "1")]))).await;
    assert_eq!(error_of(class.header("location").unwrap()).as_deref(), Some("unmet_authentication_requirements"));
    // There are no passwords here.
    let reply = sidecar.http().post("/login", &[("username", "ann"), ("password", "correct horse")]).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_app_that_is_written_for_hydra_finds_what_it_knows() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[("login_hint", "ann"), ("ui_locales", "de")]);
    let challenge = challenge(&mut browser, &request).await;
    let asked = rest(&sidecar, TOKEN, Method::GET, "login", &challenge, &Value::Null).await;
    assert_eq!((asked.status, asked.header("cache-control")), (StatusCode::OK, Some("no-store")));
    let asked = asked.json();
    assert_eq!(asked["client"]["client_id"], json!(sidecar.shop.id));
    assert_eq!(asked["client"]["redirect_uris"], json!([REDIRECT_URI]));
    let url = format!("http://{}/authorize?{request}", sidecar.addresses.http);
    for (name, expected) in [
        ("challenge", json!(challenge)),
        ("requested_scope", json!(["a", "b"])),
        ("requested_access_token_audience", json!([])),
        ("skip", json!(false)),
        ("subject", json!("")),
        ("session_id", json!("")),
        ("oidc_context", json!({ "login_hint": "ann", "ui_locales": ["de"] })),
        ("request_url", json!(url)),
    ] {
        assert_eq!(asked[name], expected, "{name}");
    }
    assert!(!asked.to_string().contains(&sidecar.shop.secret));
    // As its SDKs send it, with members that mean nothing here.
    let body = json!({ "subject": "42", "remember": true, "remember_for": 3600, "acr": "0", "amr": null, "context": {},
        "force_subject_identifier": "", "extend_session_lifespan": false });
    let back = accept(&sidecar, &challenge, body).await;
    let next = browser.get(&back).await;
    assert!(next.header("set-cookie").unwrap().contains("; Max-Age=3600; HttpOnly; SameSite=Lax"), "{next:?}");
    assert_eq!(browser.get(next.header("location").unwrap()).await.status, StatusCode::OK);

    let gone = rest(&sidecar, TOKEN, Method::GET, "login", &challenge, &Value::Null).await;
    assert_eq!((gone.status, gone.json()), (StatusCode::GONE, json!({ "redirect_to": url })));
    let body = json!({ "subject": "42" });
    let gone = rest(&sidecar, TOKEN, Method::PUT, "login/accept", &challenge, &body).await;
    assert_eq!((gone.status, gone.json()), (StatusCode::GONE, json!({ "redirect_to": url })));
}

#[tokio::test]
async fn an_app_that_refuses_has_the_client_told() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[]);
    let challenge = challenge(&mut browser, &request).await;
    let body = json!({ "error": "login_required", "error_description": "No \"account\"", "status_code": 400 });
    let back = answer(&sidecar, "login/reject", &challenge, body).await;
    let location = browser.get(&back).await.header("location").unwrap().to_owned();
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    assert_eq!(error_of(&location).as_deref(), Some("login_required"));
    assert_eq!(query_of(&location, "error_description").as_deref(), Some("No account"));
    assert_eq!(query_of(&location, "state").as_deref(), Some("xyz"));
    assert_eq!(browser.get(&back).await.status, StatusCode::GONE, "once");
    let denied = api::RejectInteractionRequest {
        challenge: self::challenge(&mut browser, &request).await,
        ..Default::default()
    };
    let redirect_to = interactions(&sidecar).await.reject_interaction(denied).await.unwrap().into_inner().redirect_to;
    let path = &redirect_to[format!("http://{}", sidecar.addresses.http).len()..];
    let location = browser.get(path).await.header("location").unwrap().to_owned();
    assert_eq!(error_of(&location).as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn c12_only_the_browser_that_was_sent_to_the_app_comes_back_signed_in() {
    let sidecar = sidecar("").await;
    let request = sidecar.request(&[]);
    let (mut victim, mut attacker) = (sidecar.browser(), sidecar.browser());
    challenge(&mut victim, &request).await;
    let challenge = challenge(&mut attacker, &request).await;
    let back = accept(&sidecar, &challenge, json!({ "subject": "attacker", "remember": true })).await;
    let lured = victim.get(&back).await;
    assert_eq!((lured.status, lured.header("set-cookie")), (StatusCode::FORBIDDEN, None));
    let without = sidecar.http().get(&back).await;
    assert_eq!((without.status, without.header("set-cookie")), (StatusCode::FORBIDDEN, None));
    // What the browser had before is worth nothing afterwards.
    attacker.cookies.insert("scopegate_session".into(), "planted".into());
    assert_eq!(attacker.get(&back).await.status, StatusCode::SEE_OTHER, "it was not used up");
    assert_ne!(attacker.cookies["scopegate_session"], "planted");
    let mark = attacker.cookies.keys().filter(|name| name.starts_with("scopegate_browser_")).count();
    assert_eq!(mark, 1, "one for all that it does");
}

#[tokio::test]
async fn an_answer_counts_once_and_the_last_one() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[("ui_locales", "de")]);
    let challenge = challenge(&mut browser, &request).await;
    let first = accept(&sidecar, &challenge, json!({ "subject": "41" })).await;
    let second = accept(&sidecar, &challenge, json!({ "subject": "42" })).await;
    let over = browser.get(&first).await;
    assert_eq!((over.status, over.header("set-cookie")), (StatusCode::GONE, None), "another one took its place");
    let next = browser.get(&second).await.header("location").unwrap().to_owned();
    assert!(browser.get(&next).await.body.contains(">42</"));

    let used = browser.get(&second).await;
    assert_eq!(used.status, StatusCode::GONE);
    assert!(used.body.contains("Diese Anmeldung ist vorbei"), "{}", used.body);
    let again = format!("href=\"/authorize?{request}\"").replace('&', "&amp;").replace('/', "&#x2f;");
    assert!(used.body.contains(&again), "{} in {}", again, used.body);
    for garbage in ["", "x", "AAAA", &"A".repeat(64), &"A".repeat(9_000)] {
        let reply = browser.get(&format!("/interaction?verifier={garbage}")).await;
        assert!(matches!(reply.status, StatusCode::GONE | StatusCode::URI_TOO_LONG), "{garbage}: {reply:?}");
    }
}

#[tokio::test]
async fn a_challenge_that_is_forged_expired_or_of_another_server_is_none() {
    let sidecar = sidecar("challenge_lifetime = 60").await;
    let other = sidecar
        .beside_with(&format!(
            "issuer = 'http://127.0.0.1:1'\n[login]\nmethod = 'challenge'\nurl = '{APP}'\n\
             [[grpc.callers]]\nname = 'app'\ntokens = ['{TOKEN}']\nall = true\nmay = ['interact']"
        ))
        .await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[]);
    let challenge = challenge(&mut browser, &request).await;
    let body = json!({ "subject": "42" });
    let ask = async |sidecar: &Sidecar, challenge: &str, what: &str| {
        let (method, body) = if what.contains('/') { (Method::PUT, &body) } else { (Method::GET, &Value::Null) };
        rest(sidecar, TOKEN, method, what, challenge, body).await
    };
    let mut forged = challenge.clone().into_bytes();
    for at in [0, 20, 60, 100, forged.len() - 1] {
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(forged.clone()).unwrap();
        assert_eq!(ask(&sidecar, &text, "login").await.status, StatusCode::NOT_FOUND, "{at}");
        assert_eq!(ask(&sidecar, &text, "login/accept").await.status, StatusCode::NOT_FOUND, "{at}");
    }
    assert_eq!(ask(&sidecar, "", "login").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&sidecar, &challenge, "consent").await.status, StatusCode::NOT_FOUND, "of another kind");
    for what in ["login", "login/accept"] {
        assert_eq!(ask(&other, &challenge, what).await.status, StatusCode::NOT_FOUND, "of another issuer");
    }
    let back = accept(&sidecar, &challenge, body.clone()).await;
    let elsewhere = with_cookies_of(&browser, &other).get(&back).await;
    assert_eq!((elsewhere.status, elsewhere.header("set-cookie")), (StatusCode::GONE, None), "at another issuer");

    sidecar.clock.advance(60);
    let late = ask(&sidecar, &challenge, "login/accept").await;
    let url = format!("http://{}/authorize?{request}", sidecar.addresses.http);
    assert_eq!((late.status, late.json()), (StatusCode::GONE, json!({ "redirect_to": url })));
    let mut grpc = interactions(&sidecar).await;
    let status = grpc.get_interaction(api::GetInteractionRequest { challenge }).await.unwrap_err();
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!((status.code(), info.reason.as_str()), (Code::FailedPrecondition, "INTERACTION_OVER"));
    assert_eq!(info.metadata["redirect_to"], url);
    assert_eq!(browser.get(&back).await.status, StatusCode::SEE_OTHER, "it was accepted in time");
    let challenge = self::challenge(&mut sidecar.browser(), &request).await;
    let back = accept(&sidecar, &challenge, body.clone()).await;
    sidecar.clock.advance(120);
    let over = browser.get(&back).await;
    assert!(over.status != StatusCode::SEE_OTHER && over.header("set-cookie").is_none(), "{over:?}");
}

#[tokio::test]
async fn only_callers_that_may_interact_hear_or_say_anything() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    let challenge = challenge(&mut browser, &sidecar.request(&[])).await;
    let body = json!({ "subject": "42" });
    for (what, method) in [
        ("login", Method::GET),
        ("login/accept", Method::PUT),
        ("login/reject", Method::PUT),
        ("consent", Method::GET),
        ("consent/accept", Method::PUT),
        ("consent/reject", Method::PUT),
    ] {
        for (token, expected) in
            [("", StatusCode::UNAUTHORIZED), ("wrong", StatusCode::UNAUTHORIZED), (OTHER_TOKEN, StatusCode::FORBIDDEN)]
        {
            let sent = if method == Method::GET { &Value::Null } else { &body };
            let reply = rest(&sidecar, token, method.clone(), what, &challenge, sent).await;
            assert_eq!(reply.status, expected, "{what} with {token:?}");
            assert!(!reply.body.contains("Shop") && !reply.body.contains("redirect_to"), "{}", reply.body);
        }
    }
    let mut grpc = interactions(&sidecar).await;
    let mut request = tonic::Request::new(api::AcceptLoginRequest {
        challenge: challenge.clone(),
        subject: "42".into(),
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", format!("Bearer {OTHER_TOKEN}").parse().unwrap());
    assert_eq!(grpc.accept_login(request).await.unwrap_err().code(), Code::PermissionDenied);

    let off = self::sidecar("rest = false").await;
    let reply = rest(&off, TOKEN, Method::GET, "login", &challenge, &Value::Null).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let built_in = Sidecar::start().await;
    for path in ["/interaction?verifier=x", "/admin/oauth2/auth/requests/login"] {
        assert_eq!(built_in.http().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_the_app_cannot_say_is_refused_by_its_name() {
    let sidecar = sidecar("").await;
    let challenge = challenge(&mut sidecar.browser(), &sidecar.request(&[])).await;
    for (body, member) in [
        (json!({ "subject": "" }), "subject"),
        (json!({ "subject": "client:shop" }), "subject"),
        (json!({ "subject": "x".repeat(256) }), "subject"),
        (json!({ "subject": "42", "acr": "a b" }), "acr"),
        (json!({ "subject": "42", "amr": vec!["pwd"; 17] }), "amr"),
        (json!({ "subject": "42", "context": "x".repeat(5_000) }), "context"),
        (json!({ "subject": "42", "claims": { "name": "x".repeat(5_000) } }), "claims"),
        (json!({ "subject": "42", "remember_for": 365 * 86_400 + 1 }), "remember_for"),
        (json!({ "subject": 42 }), "body"),
        (json!([]), "body"),
    ] {
        let reply = rest(&sidecar, TOKEN, Method::PUT, "login/accept", &challenge, &body).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_request"), "{body}");
        assert!(reply.json()["error_description"].as_str().unwrap().contains(member), "{reply:?}");
    }
    let rejected = rest(&sidecar, TOKEN, Method::PUT, "login/reject", &challenge, &json!({ "error": "a b" })).await;
    assert_eq!(rejected.status, StatusCode::BAD_REQUEST);
    let accept = api::AcceptLoginRequest { challenge, ..Default::default() };
    let status = interactions(&sidecar).await.accept_login(accept).await.unwrap_err();
    let blamed = status.get_error_details().bad_request().unwrap().field_violations[0].field.clone();
    assert_eq!((status.code(), blamed.as_str()), (Code::InvalidArgument, "subject"));
}

#[tokio::test]
async fn x12_a_thousand_requests_without_a_user_leave_nothing_behind() {
    let sidecar = sidecar("").await;
    let http = sidecar.http();
    // But for what a server writes by itself, as time goes by.
    let by_itself = |line: &String| line.starts_with("sidecar_leases:") || line.starts_with("pruning_turn:");
    let stored = async || -> Vec<String> {
        let entries = sidecar.database().await.entries().await;
        entries.into_iter().filter(|line| !by_itself(line)).collect()
    };
    let before = stored().await;
    let good = sidecar.request(&[]);
    for number in 0..1_000_u32 {
        let path = match number % 5 {
            0 => format!("/authorize?{good}&state={number}"),
            1 => format!("/login?{}", form(&[("request", &format!("{good}&n={number}"))])),
            2 => format!("/login?{}", form(&[("request", "/device?user_code=BCDF-GHJK")])),
            3 => format!("/interaction?verifier={}", "A".repeat(64)),
            _ => format!("/login?request=client_id%3D{number}"),
        };
        let reply = http.get(&path).await;
        assert!(reply.status.as_u16() < 500, "{path}: {reply:?}");
    }
    assert_eq!(stored().await, before);
    // What the app decides is there until nobody can come back with it.
    let challenge = challenge(&mut sidecar.browser(), &good).await;
    accept(&sidecar, &challenge, json!({ "subject": "42" })).await;
    sidecar.clock.advance(2_000);
    sidecar.service.prune().await.unwrap();
    assert!(!sidecar.database().await.dump().await.contains(&challenge));
}

#[tokio::test]
async fn a_browser_stays_signed_in_only_where_the_app_says_so() {
    let sidecar = sidecar("").await;
    let (mut once, mut stays) = (sidecar.browser(), sidecar.browser());
    let request = sidecar.request(&[]);
    let path = format!("/authorize?{request}");
    let silently = format!("/authorize?{}", sidecar.request(&[("prompt", "none")]));
    assert_eq!(sign_in(&sidecar, &mut once, &request, false).await.status, StatusCode::OK);
    assert_eq!(once.get(&path).await.status, StatusCode::SEE_OTHER, "it was for one request");
    let reply = once.get(&silently).await;
    assert_eq!(error_of(reply.header("location").unwrap()).as_deref(), Some("login_required"));

    assert_eq!(sign_in(&sidecar, &mut stays, &request, true).await.status, StatusCode::OK);
    assert_eq!(stays.get(&path).await.status, StatusCode::OK);
    let reply = stays.get(&silently).await;
    assert_eq!(error_of(reply.header("location").unwrap()).as_deref(), Some("consent_required"));
    // A sign-in that is to be of now takes it to the app again, once, though it were for this request alone.
    sidecar.clock.advance(400);
    for (wanted, value) in [("prompt", "login"), ("max_age", "300"), ("max_age", "0")] {
        let request = sidecar.request(&[(wanted, value)]);
        assert_eq!(sign_in(&sidecar, &mut stays, &request, false).await.status, StatusCode::OK, "{wanted}");
        assert_eq!(stays.get(&path).await.status, StatusCode::OK, "it stays signed in all the same");
        sidecar.clock.advance(400);
    }
    sidecar.clock.advance(43_200);
    assert_eq!(stays.get(&path).await.status, StatusCode::SEE_OTHER, "login.session_lifetime is over");
}

#[tokio::test]
async fn tabs_that_are_open_at_once_do_not_get_into_each_others_way() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    let request = |state: &str| sidecar.request(&[("state", state)]);
    // None of them had a cookie when it was opened.
    let mut challenges = Vec::new();
    let mut cookies = browser.cookies.clone();
    for state in ["1", "2", "3"] {
        browser.cookies.clear();
        challenges.push(challenge(&mut browser, &request(state)).await);
        cookies.extend(browser.cookies.clone());
    }
    browser.cookies = cookies;
    let mut pages = Vec::new();
    for challenge in [&challenges[2], &challenges[0], &challenges[1]] {
        let back = accept(&sidecar, challenge, json!({ "subject": "42" })).await;
        let next = browser.get(&back).await.header("location").unwrap().to_owned();
        pages.push(browser.get(&next).await);
    }
    for (page, state) in pages.iter().zip(["3", "1", "2"]) {
        let location = allow(&mut browser, page).await;
        assert_eq!(query_of(&location, "state").as_deref(), Some(state));
        assert!(query_of(&location, "code").is_some(), "{location}");
    }
    // Somebody else who signs in does not inherit what a tab shows.
    let page = sign_in(&sidecar, &mut browser, &request("4"), false).await;
    let challenge = challenge(&mut browser, &request("5")).await;
    let back = accept(&sidecar, &challenge, json!({ "subject": "43" })).await;
    browser.get(&back).await;
    let fields = [hidden_fields(&page.body), vec![("decision".into(), "approve".into())]].concat();
    assert_eq!(browser.post("/consent", &encode(&fields)).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_client_may_have_a_login_page_of_its_own() {
    let sidecar = sidecar("").await;
    let own: ClientMetadata = ClientMetadata {
        login_url: Some("https://partner.example/in?x=1".parse().unwrap()),
        ..ClientMetadata::default()
    };
    sidecar.change(&sidecar.shop, own).await;
    let location = to_app(&mut sidecar.browser(), &format!("/authorize?{}", sidecar.request(&[]))).await;
    assert!(location.starts_with("https://partner.example/in?x=1&login_challenge="), "{location}");
    // Over gRPC, too.
    let address = sidecar.addresses.grpc.to_string();
    let tcp = address.split(',').find(|address| !address.starts_with("unix:")).unwrap().to_owned();
    let mut admin = AdminServiceClient::connect(format!("http://{tcp}")).await.unwrap();
    let client = api::Client { client_id: sidecar.shop.id.clone(), login_url: APP.into(), ..Default::default() };
    let update_mask = Some(FieldMask { paths: vec!["login_url".into()] });
    let update = api::UpdateClientRequest { client: Some(client), update_mask };
    let changed = admin.update_client(update).await.unwrap().into_inner().client.unwrap();
    assert_eq!(changed.login_url, APP);
    let other = sidecar.request(&[("client_id", &sidecar.app.id)]);
    let location = to_app(&mut sidecar.browser(), &format!("/authorize?{other}")).await;
    assert!(location.starts_with(&format!("{APP}?login_challenge=")), "{location}");
}

#[tokio::test]
async fn a_user_who_is_disabled_or_of_others_is_not_let_in() {
    let sidecar = sidecar("").await;
    let account = sidecar.service.subject_of("ann".into()).await.unwrap();
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[]);
    let mut come = async |subject: &str| {
        let challenge = challenge(&mut browser, &request).await;
        let back = accept(&sidecar, &challenge, json!({ "subject": subject, "remember": true })).await;
        let reply = browser.get(&back).await;
        if reply.status == StatusCode::SEE_OTHER {
            browser.cookies.remove("scopegate_session");
        }
        reply.status
    };
    assert_eq!(come(account.as_str()).await, StatusCode::FORBIDDEN, "an account has this subject");
    assert_eq!(come("42").await, StatusCode::SEE_OTHER);
    sidecar.service.disable_account("42".into()).await.unwrap();
    assert_eq!(come("42").await, StatusCode::FORBIDDEN, "disabled");
    sidecar.service.enable_account("42".into()).await.unwrap();
    assert_eq!(come("42").await, StatusCode::SEE_OTHER);
    // A session of the built-in login is none of the app's, and the other way round.
    let built_in = sidecar.beside().await;
    let mut of_account = built_in.browser();
    of_account.approve(&built_in.request(&[])).await;
    let mut at_app = with_cookies_of(&of_account, &sidecar);
    assert_eq!(at_app.get(&format!("/authorize?{request}")).await.status, StatusCode::SEE_OTHER);
    let mut of_app = sidecar.browser();
    sign_in(&sidecar, &mut of_app, &request, true).await;
    let mut at_built_in = with_cookies_of(&of_app, &built_in);
    assert_eq!(at_built_in.get(&format!("/authorize?{request}")).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn devices_the_pages_for_apps_and_signing_out_know_users_of_the_app() {
    let sidecar = sidecar("").await;
    let mut browser = sidecar.browser();
    for path in ["/device?user_code=BCDF-GHJK", "/account/apps"] {
        let location = to_app(&mut browser, path).await;
        let challenge = query_of(&location, "login_challenge").unwrap();
        let asked = rest(&sidecar, TOKEN, Method::GET, "login", &challenge, &Value::Null).await.json();
        assert_eq!(asked["request_url"], json!(format!("http://{}{path}", sidecar.addresses.http)));
        assert_eq!((&asked["client"]["client_id"], &asked["client"]["client_name"]), (&json!(""), &json!("")));
        let rejected = answer(&sidecar, "login/reject", &challenge, json!({})).await;
        assert_eq!(browser.get(&rejected).await.status, StatusCode::FORBIDDEN);
        let location = to_app(&mut browser, path).await;
        let challenge = query_of(&location, "login_challenge").unwrap();
        let back = accept(&sidecar, &challenge, json!({ "subject": "42", "remember": true })).await;
        let next = browser.get(&back).await;
        assert_eq!(next.header("location"), Some(path));
        assert_ne!(browser.get(path).await.status, StatusCode::SEE_OTHER, "{path}");
        // Another account: the sign-in begins anew.
        let switched = browser.post("/login/switch", &form(&[("request", path)])).await;
        assert_eq!(switched.header("refresh"), Some(&*format!("0; url=/login?{}", form(&[("request", path)]))));
    }
    // A sign-in for one request is none for these pages, and one for a page is none for clients.
    let mut once = sidecar.browser();
    sign_in(&sidecar, &mut once, &sidecar.request(&[]), false).await;
    for path in ["/device", "/account/apps"] {
        assert_eq!(once.get(path).await.status, StatusCode::SEE_OTHER, "{path}");
    }
    let location = to_app(&mut once, "/account/apps").await;
    let back = accept(&sidecar, &query_of(&location, "login_challenge").unwrap(), json!({ "subject": "42" })).await;
    once.get(&back).await;
    assert_eq!(once.get("/account/apps").await.status, StatusCode::OK);
    assert_eq!(once.get(&format!("/authorize?{}", sidecar.request(&[]))).await.status, StatusCode::SEE_OTHER);
    let reply = browser.get("/login?request=%2F%2Fevil.example").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "no path of ours");

    sign_in(&sidecar, &mut browser, &sidecar.request(&[]), true).await;
    let page = browser.get("/logout").await;
    assert!(page.body.contains(">42</"), "{}", page.body);
    browser.post("/logout/confirm", &encode(&hidden_fields(&page.body))).await;
    assert_eq!(browser.get("/account/apps").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_pushed_request_waits_for_its_user_at_the_app() {
    let sidecar = sidecar("[par]\nlifetime = 60").await;
    let basic = basic(&sidecar.shop.id, &sidecar.shop.secret);
    let pushed = sidecar.http().post_text("/par", &[("authorization", &basic)], &sidecar.request(&[])).await.json();
    let request_uri = pushed["request_uri"].as_str().unwrap();
    let request = form(&[("client_id", &sidecar.shop.id), ("request_uri", request_uri)]);
    let mut browser = sidecar.browser();
    let challenge = challenge(&mut browser, &request).await;
    sidecar.clock.advance(900);
    let asked = rest(&sidecar, TOKEN, Method::GET, "login", &challenge, &Value::Null).await.json();
    assert_eq!(asked["requested_scope"], json!(["a", "b"]));
    let back = accept(&sidecar, &challenge, json!({ "subject": "42" })).await;
    let next = browser.get(&back).await.header("location").unwrap().to_owned();
    let page = browser.get(&next).await;
    let location = allow(&mut browser, &page).await;
    assert!(query_of(&location, "code").is_some(), "{location}");
    let late = sidecar.browser().get(&format!("/authorize?{request}")).await;
    assert_eq!(late.status, StatusCode::BAD_REQUEST, "for nobody else");
}

#[tokio::test]
async fn a_request_that_is_too_long_for_an_address_is_told_so() {
    let sidecar = sidecar("").await;
    let long = sidecar.request(&[("state", &"x".repeat(6_000))]);
    let login = format!("/login?{}", form(&[("request", &long)]));
    let reply = sidecar.browser().get(&login).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None));
    assert!(reply.body.contains("too long"), "{}", reply.body);
}

#[tokio::test]
async fn an_app_may_ask_for_consent_itself() {
    let sidecar = sidecar("consent_url = 'http://app.example/consent'\n[consent]\nremember = 'confidential'").await;
    let mut grpc = interactions(&sidecar).await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[("scope", "openid profile a b")]);
    let field = Field { kind: Some(Kind::StringValue("blue".into())) };
    let accept_login = api::AcceptLoginRequest {
        challenge: challenge(&mut browser, &request).await,
        subject: "42".into(),
        remember: true,
        amr: vec!["otp".into()],
        context: Some(Struct { fields: [("team".to_owned(), field)].into() }),
        ..Default::default()
    };
    let redirect_to = grpc.accept_login(accept_login).await.unwrap().into_inner().redirect_to;
    let base = format!("http://{}", sidecar.addresses.http);
    let next = browser.get(redirect_to.strip_prefix(&base).unwrap()).await.header("location").unwrap().to_owned();
    let location = browser.get(&next).await.header("location").unwrap().to_owned();
    assert!(location.starts_with("http://app.example/consent?consent_challenge="), "{location}");
    let consent = query_of(&location, "consent_challenge").unwrap();
    let asked = rest(&sidecar, TOKEN, Method::GET, "consent", &consent, &Value::Null).await.json();
    for (name, expected) in [
        ("subject", json!("42")),
        ("amr", json!(["otp"])),
        ("context", json!({ "team": "blue" })),
        ("requested_scope", json!(["a", "b", "openid", "profile"])),
        ("skip", json!(false)),
    ] {
        assert_eq!(asked[name], expected, "{name}");
    }
    let over_grpc = grpc.get_interaction(api::GetInteractionRequest { challenge: consent.clone() }).await.unwrap();
    let over_grpc = over_grpc.into_inner().interaction.unwrap();
    assert_eq!(over_grpc.kind(), api::InteractionKind::Consent);
    assert_eq!((&*over_grpc.subject, json!(over_grpc.session_id)), ("42", asked["login_session_id"].clone()));

    for body in [
        json!({ "grant_scope": ["a", "c"] }),
        json!({ "grant_scope": ["a"], "grant_access_token_audience": ["https://api.example"] }),
    ] {
        // The second is no audience that was asked for, and is left out; the first is a scope that was not.
        let reply = rest(&sidecar, TOKEN, Method::PUT, "consent/accept", &consent, &body).await;
        let expected = if body["grant_scope"][1] == "c" { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        assert_eq!(reply.status, expected, "{body}");
    }
    let body = json!({ "grant_scope": ["openid", "profile", "a"], "grant_access_token_audience": [], "remember": true,
        "remember_for": 0, "session": { "access_token": {}, "id_token": { "name": "Ann", "other": 1 } } });
    let back = answer(&sidecar, "consent/accept", &consent, body).await;
    let mut other = sidecar.browser();
    sign_in_only(&sidecar, &mut other, &request).await;
    assert_eq!(other.get(&back).await.status, StatusCode::FORBIDDEN, "in another browser");
    let location = browser.get(&back).await.header("location").unwrap().to_owned();
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.json();
    assert_eq!(tokens["scope"], json!("a openid profile"));
    assert_eq!(claims(&tokens)["name"], json!("Ann"));
    assert_eq!(browser.get(&back).await.status, StatusCode::GONE, "once");

    // It was remembered, and what is more is asked for.
    let remembered = browser.get(&format!("/authorize?{}", sidecar.request(&[("scope", "openid a")]))).await;
    assert!(query_of(remembered.header("location").unwrap(), "code").is_some(), "{remembered:?}");
    let more = browser.get(&format!("/authorize?{request}")).await.header("location").unwrap().to_owned();
    let consent = query_of(&more, "consent_challenge").unwrap();
    let back = answer(&sidecar, "consent/reject", &consent, json!({ "error": "access_denied" })).await;
    let location = browser.get(&back).await.header("location").unwrap().to_owned();
    assert_eq!(error_of(&location).as_deref(), Some("access_denied"));

    // Somebody else has signed in meanwhile.
    let more = browser.get(&format!("/authorize?{request}")).await.header("location").unwrap().to_owned();
    let consent = query_of(&more, "consent_challenge").unwrap();
    let back = answer(&sidecar, "consent/accept", &consent, json!({ "grant_scope": ["b"] })).await;
    browser.cookies.remove("scopegate_session");
    assert_eq!(browser.get(&back).await.status, StatusCode::GONE);
    let gone = browser.get(&format!("/authorize?{request}")).await;
    assert!(gone.header("location").unwrap().starts_with("/login?"), "{gone:?}");
}

async fn sign_in_only(sidecar: &Sidecar, browser: &mut Browser, request: &str) {
    let challenge = challenge(browser, request).await;
    let back = accept(sidecar, &challenge, json!({ "subject": "43" })).await;
    browser.get(&back).await;
}

#[tokio::test]
async fn what_the_app_decides_is_in_the_audit_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let more = format!("consent_url = 'http://app.example/consent'\n[audit]\npath = '{}'", path.display());
    let sidecar = sidecar(&more).await;
    let mut browser = sidecar.browser();
    let to_consent = sign_in(&sidecar, &mut browser, &sidecar.request(&[]), false).await;
    let consent = query_of(to_consent.header("location").unwrap(), "consent_challenge").unwrap();
    let allowed = answer(&sidecar, "consent/accept", &consent, json!({ "grant_scope": ["a"] })).await;
    let location = browser.get(&allowed).await.header("location").unwrap().to_owned();
    assert!(query_of(&location, "code").is_some(), "{location}");
    let challenge = challenge(&mut browser, &sidecar.request(&[])).await;
    let rejected = answer(&sidecar, "login/reject", &challenge, json!({})).await;
    rest(&sidecar, "wrong", Method::GET, "login", &challenge, &Value::Null).await;
    let shop = sidecar.shop.id.clone();
    sidecar.stop().await;
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let one =
        |event: &str| lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("{event}: {log}"));
    assert_eq!(one("login.accepted")["actor"], json!({ "type": "caller", "id": "app" }));
    assert_eq!((&one("login.accepted")["subject"], &one("sign_in.succeeded")["subject"]), (&json!("42"), &json!("42")));
    assert_eq!(one("sign_in.succeeded")["actor"], json!({ "type": "user", "id": "42" }));
    assert_eq!(one("interaction.rejected")["outcome"], "denied");
    assert_eq!(one("caller.refused")["reason"], "unknown_caller");
    let client = json!(shop);
    assert_eq!((&one("consent.accepted")["client_id"], &one("consent.given")["client_id"]), (&client, &client));
    for secret in [&challenge, &consent, &allowed, &rejected] {
        let secret = secret.rsplit('=').next().unwrap();
        assert!(!log.contains(secret), "{secret}");
    }
}
