//! Back-channel logout: clients are told that a user was signed out, at least once and not for ever.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::domain::grant::GrantFacts;
use scopegate::domain::jwk::PublicKey;
use scopegate::domain::jwt::Presented;
use scopegate::domain::revocation::Target;
use scopegate::service::administration::Listing;
use scopegate::store::{ClientChanges, GrantFilter};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::harness::{
    Answer, Browser, PASSWORD, REDIRECT_URI, Registered, Sidecar, Site, USERNAME, VERIFIER, document, encode, form,
    hidden_fields, query_of,
};
use crate::openid::claims;

const DAY: i64 = 86_400;

/// Waits for something that the server does by itself.
macro_rules! eventually {
    ($condition:expr) => {
        let began = Instant::now();
        while !$condition {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", stringify!($condition));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
}

/// A sidecar that may call this site, and whose shop is told at `/shop` there.
async fn provider(site: &Site, more: &str) -> Sidecar {
    let sidecar = Sidecar::with(&format!("{more}\n{}timeout = 30000\n", site.allowed())).await;
    tell_at(&sidecar, &sidecar.shop, &site.url("/shop"), false).await;
    sidecar
}

/// Has a client told of logouts, and lets it ask for an ID token.
async fn tell_at(sidecar: &Sidecar, client: &Registered, uri: &str, session_required: bool) {
    let metadata = ClientMetadata {
        backchannel_logout_uri: Some(uri.parse().unwrap()),
        backchannel_logout_session_required: session_required,
        ..ClientMetadata::default()
    };
    let changes = ClientChanges {
        scopes: Some("a openid".parse().unwrap()),
        metadata: Some(metadata),
        ..ClientChanges::default()
    };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
}

async fn another_client(sidecar: &Sidecar, uri: &str) -> Registered {
    let client = sidecar.register(false, Introspects::Own, ClientMetadata::default()).await;
    tell_at(sidecar, &client, uri, true).await;
    client
}

/// A sign-in at a client; what its ID token says, and the token itself.
async fn sign_in_at(sidecar: &Sidecar, browser: &mut Browser, client: &Registered) -> (Value, String) {
    let request = sidecar.request(&[("client_id", client.id.as_str()), ("scope", "openid a")]);
    let code = query_of(&browser.approve(&request).await, "code").unwrap();
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let reply = sidecar.http().post_as(client, "/token", &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    (claims(&reply.json()), reply.json()["id_token"].as_str().unwrap().to_owned())
}

async fn log_out(browser: &mut Browser, hint: &str) {
    let reply = browser.get(&format!("/logout?{}", form(&[("id_token_hint", hint)]))).await;
    assert!(reply.body.contains("Signed out"), "{}", reply.body);
}

/// The logout tokens that came to a path of a site.
fn tokens_at(site: &Site, path: &str) -> Vec<String> {
    let of_path = |request: &&String| request.starts_with(&format!("POST {path} HTTP/1.1\r\n"));
    let token = |request: &String| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
        let fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let [(name, token)] = &fields[..] else { panic!("{body}") };
        assert_eq!(name, "logout_token");
        token.clone()
    };
    site.requests().iter().filter(of_path).map(token).collect()
}

/// What a logout token says, as the keys that are published verify it.
async fn verified(sidecar: &Sidecar, token: &str) -> Value {
    let presented = Presented::parse(token, "logout+jwt").unwrap();
    let keys = sidecar.http().get("/jwks").await.json();
    let mut key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == presented.kid()).unwrap().clone();
    key.as_object_mut().unwrap().retain(|name, _| !["alg", "kid", "use"].contains(&name.as_str()));
    let key: PublicKey = serde_json::from_value(key).unwrap();
    presented.claims(&key).unwrap()
}

async fn notices(sidecar: &Sidecar) -> i64 {
    sidecar.database().await.count("logout_notices").await
}

async fn outcomes(sidecar: &Sidecar, outcome: &str) -> u64 {
    sidecar.metric(&format!("scopegate_logout_tokens_total{{outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn signing_out_tells_each_client_of_the_session_and_no_other() {
    let site = Site::start().await;
    for path in ["/shop", "/second", "/third"] {
        site.serve(path, document(&[], ""));
    }
    let sidecar = provider(&site, "").await;
    let (second, third) =
        (another_client(&sidecar, &site.url("/second")).await, another_client(&sidecar, &site.url("/third")).await);
    let (mut browser, mut elsewhere) = (sidecar.browser(), sidecar.browser());
    let changes = ClientChanges { scopes: Some("a openid".parse().unwrap()), ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.app.id.parse().unwrap(), changes).await.unwrap();
    sign_in_at(&sidecar, &mut browser, &sidecar.app).await;
    sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    let (at_shop, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    let (at_second, _) = sign_in_at(&sidecar, &mut browser, &second).await;
    sign_in_at(&sidecar, &mut elsewhere, &third).await;
    sign_in_at(&sidecar, &mut elsewhere, &sidecar.shop).await;
    // A code that nobody has redeemed has told its client nothing.
    browser.approve(&sidecar.request(&[("client_id", third.id.as_str()), ("scope", "openid a")])).await;

    sidecar.clock.advance(60);
    log_out(&mut browser, &hint).await;
    eventually!(outcomes(&sidecar, "delivered").await == 2);
    eventually!(notices(&sidecar).await == 0);
    assert_eq!(site.requests().len(), 2, "{:?}", site.requests());
    let mut names = BTreeSet::new();
    for (path, client, expected) in [("/shop", &sidecar.shop, &at_shop), ("/second", &second, &at_second)] {
        let token = tokens_at(&site, path).pop().unwrap();
        let mut claims = verified(&sidecar, &token).await;
        let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
        assert!(names.insert(jti.as_str().unwrap().to_owned()));
        assert_eq!(
            claims,
            json!({
                "iss": expected["iss"], "aud": client.id, "sub": expected["sub"], "sid": expected["sid"],
                "iat": sidecar.now(), "exp": sidecar.now() + 120,
                "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
            })
        );
    }
}

#[tokio::test]
async fn who_signs_in_again_goes_on_with_the_session_and_somebody_else_ends_it() {
    let site = Site::start().await;
    site.serve("/shop", document(&[], ""));
    site.serve("/second", document(&[], ""));
    let sidecar = provider(&site, "").await;
    let second = another_client(&sidecar, &site.url("/second")).await;
    sidecar.service.create_account("bob".into(), Zeroizing::new(PASSWORD.into())).await.unwrap();
    let mut browser = sidecar.browser();
    let (first, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    let cookies = browser.cookies.clone();
    sidecar.clock.advance(10);
    let again = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &sidecar.request(&[]))]);
    assert_eq!(browser.post("/login", &again).await.status, StatusCode::SEE_OTHER);
    assert_ne!(browser.cookies, cookies, "the cookie is another one");
    let (later, _) = sign_in_at(&sidecar, &mut browser, &second).await;
    assert_eq!((&later["sid"], &later["auth_time"]), (&first["sid"], &sidecar.now().into()));
    let current = std::mem::replace(&mut browser.cookies, cookies);
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[("scope", "openid a")]))).await;
    assert!(page.header("location").unwrap().starts_with("/login?"), "the earlier cookie is worth nothing");
    assert_eq!(notices(&sidecar).await, 0);

    browser.cookies = current;
    let of_bob = form(&[("username", "bob"), ("password", PASSWORD), ("request", &sidecar.request(&[]))]);
    assert_eq!(browser.post("/login", &of_bob).await.status, StatusCode::SEE_OTHER);
    eventually!(outcomes(&sidecar, "delivered").await == 2);
    for path in ["/shop", "/second"] {
        assert_eq!(verified(&sidecar, &tokens_at(&site, path)[0]).await["sid"], first["sid"]);
    }
    let (of_bob, _) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    assert!(of_bob["sid"] != first["sid"] && of_bob["sub"] != first["sub"]);
    let reply = browser.get(&format!("/logout?{}", form(&[("id_token_hint", &hint)]))).await;
    assert!(!reply.body.contains("Signed out"), "a hint of another session: the user is asked");
}

#[tokio::test]
async fn a_logout_token_is_no_id_token_and_no_access_token() {
    let site = Site::start().await;
    site.serve("/shop", document(&[], ""));
    let sidecar = provider(&site, "").await;
    let mut browser = sidecar.browser();
    let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    log_out(&mut browser, &hint).await;
    eventually!(!tokens_at(&site, "/shop").is_empty());
    let token = tokens_at(&site, "/shop").pop().unwrap();
    let request = |hint| sidecar.request(&[("scope", "openid a"), ("prompt", "none"), ("id_token_hint", hint)]);
    for (hint, error) in [(token.as_str(), "invalid_request"), (&hint, "login_required")] {
        let reply = browser.get(&format!("/authorize?{}", request(hint))).await;
        assert_eq!(query_of(reply.header("location").unwrap(), "error").as_deref(), Some(error));
    }
    let reply = browser.get(&format!("/logout?{}", form(&[("id_token_hint", &token)]))).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let bearer = format!("Bearer {token}");
    let reply = sidecar.http().send(Method::GET, "/userinfo", &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(!sidecar.is_active(&token).await);
}

#[tokio::test]
async fn whatever_signs_a_user_out_tells_the_clients_of_all_that_ended() {
    let site = Site::start().await;
    site.serve("/shop", Answer::Raw("HTTP/1.1 204 No Content\r\n\r\n".into()));
    let sidecar = provider(&site, "").await;
    sidecar.service.create_account("bob".into(), Zeroizing::new(PASSWORD.into())).await.unwrap();
    let user = |claims: &Value| scopegate::domain::grant::SubjectId::new(claims["sub"].as_str().unwrap());
    let mut expected = BTreeSet::new();
    let mut told = async |why: &str, ended: &[&Value]| {
        expected.extend(ended.iter().map(|claims| claims["sid"].as_str().unwrap().to_owned()));
        eventually!(notices(&sidecar).await == 0);
        let mut seen = BTreeSet::new();
        for token in tokens_at(&site, "/shop") {
            let claims = verified(&sidecar, &token).await;
            assert_eq!(claims["sub"], ended[0]["sub"]);
            seen.insert(claims["sid"].as_str().unwrap().to_owned());
        }
        assert_eq!(seen, expected, "{why}");
    };
    let two_sessions = async || {
        let (one, _) = sign_in_at(&sidecar, &mut sidecar.browser(), &sidecar.shop).await;
        let (two, _) = sign_in_at(&sidecar, &mut sidecar.browser(), &sidecar.shop).await;
        (one, two)
    };

    let (one, two) = two_sessions().await;
    let grants = sidecar.service.page_of_grants(&Listing::of(&[]), "", GrantFilter::default(), 1).await;
    let grant = grants.unwrap()[0].id;
    sidecar.service.revoke_now(Target::Grant { id: grant, generation: GrantFacts::REVOKED }).await.unwrap();
    assert_eq!(notices(&sidecar).await, 0, "one grant is no session");
    sidecar.service.revoke_now(Target::Session(one["sid"].as_str().unwrap().parse().unwrap())).await.unwrap();
    told("a session", &[&one]).await;
    sidecar.service.set_password(USERNAME.into(), Zeroizing::new(PASSWORD.into())).await.unwrap();
    told("a password", &[&one, &two]).await;
    let (one, two) = two_sessions().await;
    sidecar.service.revoke_now(Target::Subject(user(&one))).await.unwrap();
    told("all that a user granted", &[&one, &two]).await;
    let (one, two) = two_sessions().await;
    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    told("an account", &[&one, &two]).await;
    assert_eq!(outcomes(&sidecar, "failed").await, 0);

    sidecar.service.enable_account(USERNAME.into()).await.unwrap();
    let mut browser = sidecar.browser();
    let (three, _) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    let page = browser.consent_page(&sidecar.request(&[("scope", "openid a")])).await;
    let switch = page.body.split("action=\"/login/switch\"").nth(1).map(hidden_fields).unwrap_or_default();
    browser.post("/login/switch", &encode(&switch)).await;
    told("somebody else", &[&three]).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_well_is_told_again_by_any_server_and_later_each_time() {
    let (site, other) = (Site::start().await, Site::start().await);
    let sidecar = provider(&site, "").await;
    let mut browser = sidecar.browser();
    let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    site.serve("/shop", Answer::Raw(format!("HTTP/1.1 302 Found\r\nlocation: {}\r\n\r\n", other.url("/"))));
    log_out(&mut browser, &hint).await;
    eventually!(outcomes(&sidecar, "failed").await == 1);
    let mut database = sidecar.database().await;
    for (attempt, pause) in [(1, 10), (2, 20), (3, 40)] {
        let waits = format!("logout_notices WHERE attempts = {attempt} AND due_at = {}", sidecar.now() + pause);
        eventually!(database.count(&waits).await == 1);
        eventually!(database.count("logout_notices WHERE claimed_until = 0").await == 1);
        if attempt < 3 {
            sidecar.clock.advance(pause);
            eventually!(outcomes(&sidecar, "failed").await == attempt + 1);
        }
    }
    assert_eq!(other.requests().len(), 0, "no redirect is followed");
    let directory = sidecar.directory.clone();
    sidecar.stop().await;
    let again = Sidecar::on(directory, &site.allowed()).await;
    site.serve("/shop", document(&[], ""));
    again.clock.advance(200);
    eventually!(outcomes(&again, "delivered").await == 1);
    eventually!(notices(&again).await == 0);
    let tokens = tokens_at(&site, "/shop");
    assert_eq!((tokens.len(), tokens.iter().collect::<BTreeSet<_>>().len()), (4, 4), "each attempt has its own");
}

#[tokio::test]
async fn after_a_day_a_client_need_not_be_told() {
    let site = Site::start().await;
    let sidecar = provider(&site, "").await;
    let mut browser = sidecar.browser();
    let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    log_out(&mut browser, &hint).await;
    eventually!(outcomes(&sidecar, "failed").await == 1);
    eventually!(sidecar.database().await.count("logout_notices WHERE claimed_until = 0").await == 1);
    sidecar.clock.advance(DAY - 5);
    eventually!(outcomes(&sidecar, "abandoned").await == 1);
    eventually!(notices(&sidecar).await == 0);

    let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    log_out(&mut browser, &hint).await;
    eventually!(outcomes(&sidecar, "failed").await == 2);
    sidecar.clock.advance(DAY);
    sidecar.service.prune().await.unwrap();
    assert_eq!(notices(&sidecar).await, 0, "while no server ran, it has expired");
}

#[tokio::test]
async fn a_client_that_is_slow_keeps_no_other_waiting() {
    let site = Site::start().await;
    site.serve("/slow", Answer::Silence);
    site.serve("/shop", document(&[], ""));
    let sidecar = provider(&site, "").await;
    let slow = another_client(&sidecar, &site.url("/slow")).await;
    for _ in 0..12 {
        let mut browser = sidecar.browser();
        sign_in_at(&sidecar, &mut browser, &slow).await;
        let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
        log_out(&mut browser, &hint).await;
    }
    eventually!(outcomes(&sidecar, "delivered").await == 12);
    assert_eq!((tokens_at(&site, "/slow").len(), outcomes(&sidecar, "failed").await), (1, 0));
}

#[tokio::test]
async fn of_several_servers_one_tells_a_client() {
    let site = Site::start().await;
    site.serve("/shop", document(&[], ""));
    let one = provider(&site, "").await;
    let others = [one.beside_with(&site.allowed()).await, one.beside_with(&site.allowed()).await];
    let mut sessions = BTreeSet::new();
    for _ in 0..8 {
        let mut browser = one.browser();
        let (claims, hint) = sign_in_at(&one, &mut browser, &one.shop).await;
        sessions.insert(claims["sid"].as_str().unwrap().to_owned());
        log_out(&mut browser, &hint).await;
    }
    eventually!(notices(&one).await == 0);
    let mut delivered = outcomes(&one, "delivered").await;
    for other in &others {
        delivered += outcomes(other, "delivered").await;
    }
    let tokens = tokens_at(&site, "/shop");
    assert_eq!((delivered, tokens.len()), (8, 8));
    let mut told = BTreeSet::new();
    for token in tokens {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        told.insert(claims["sid"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, sessions);
}

#[tokio::test]
async fn a_client_that_wants_it_no_more_or_is_gone_is_not_told() {
    let site = Site::start().await;
    let sidecar = provider(&site, "").await;
    let (gone, disabled) =
        (another_client(&sidecar, &site.url("/gone")).await, another_client(&sidecar, &site.url("/disabled")).await);
    let mut browser = sidecar.browser();
    for client in [&gone, &disabled] {
        sign_in_at(&sidecar, &mut browser, client).await;
    }
    let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    sidecar.service.delete_client(gone.id.parse().unwrap()).await.unwrap();
    sidecar.service.disable_client(disabled.id.parse().unwrap()).await.unwrap();
    log_out(&mut browser, &hint).await;
    eventually!(outcomes(&sidecar, "failed").await == 1);
    sidecar.change(&sidecar.shop, ClientMetadata::default()).await;
    sidecar.clock.advance(10);
    eventually!(notices(&sidecar).await == 0);
    assert_eq!(site.requests().len(), 1, "{:?}", site.requests());
}

#[tokio::test]
async fn nothing_is_called_inside_without_the_operators_word() {
    let site = Site::start().await;
    let careful = format!("[outgoing]\nca_path = '{}'\n", site.authority());
    let sidecar = Sidecar::with(&careful).await;
    tell_at(&sidecar, &sidecar.shop, &site.url("/shop"), false).await;
    let mut browser = sidecar.browser();
    let (_, hint) = sign_in_at(&sidecar, &mut browser, &sidecar.shop).await;
    log_out(&mut browser, &hint).await;
    eventually!(outcomes(&sidecar, "failed").await == 1);
    assert_eq!(site.requests().len(), 0);
}

#[tokio::test]
async fn where_it_is_off_nobody_is_told_and_discovery_says_so() {
    let site = Site::start().await;
    let on = provider(&site, "").await;
    let off = provider(&site, "[openid]\nbackchannel_logout = false").await;
    for (sidecar, supported) in [(&on, true), (&off, false)] {
        let metadata = sidecar.http().get("/.well-known/openid-configuration").await.json();
        for name in ["backchannel_logout_supported", "backchannel_logout_session_supported"] {
            assert_eq!(metadata[name], supported, "{name}");
        }
    }
    let mut browser = off.browser();
    let (_, hint) = sign_in_at(&off, &mut browser, &off.shop).await;
    log_out(&mut browser, &hint).await;
    assert_eq!(notices(&off).await, 0);
}

#[tokio::test]
async fn a_client_that_registers_itself_says_where_it_is_told() {
    let sidecar = Sidecar::with("[registration]\nmode = 'open'").await;
    let register = async |uri: &str| {
        let body = json!({
            "redirect_uris": ["https://c.example/cb"], "backchannel_logout_uri": uri, "backchannel_logout_session_required": true,
        });
        let header = [("content-type", "application/json")];
        sidecar.http().send(Method::POST, "/register", &header, &body.to_string()).await
    };
    let reply = register("https://c.example/logout?x=y").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    assert_eq!(reply.json()["backchannel_logout_uri"], "https://c.example/logout?x=y");
    assert_eq!(reply.json()["backchannel_logout_session_required"], true);
    for uri in ["http://c.example/", "https://c.example/#f", "https://u@c.example/", "ftp://c.example/", "/", ""] {
        register(uri).await.assert_error(400, "invalid_client_metadata");
    }
}
