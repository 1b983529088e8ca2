//! The device flow (RFC 8628).

use std::sync::Arc;

use http::StatusCode;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::store::ClientChanges;
use serde_json::Value;

use crate::dpop::{Key, post};
use crate::harness::{
    Browser, PASSWORD, Registered, Reply, Sidecar, USERNAME, encode, form, hidden_fields, ticked_scopes,
};
use crate::openid::claims;

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A public client, as a television's app is.
async fn television(sidecar: &Sidecar) -> Registered {
    let metadata = ClientMetadata {
        grant_types: vec![GrantType::DeviceCode, GrantType::RefreshToken],
        ..ClientMetadata::default()
    };
    sidecar.register(true, Introspects::Own, metadata).await
}

pub(crate) async fn start(sidecar: &Sidecar, client: &Registered) -> Value {
    let reply = sidecar.http().post_as(client, "/device_authorization", &[("scope", "a b")]).await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::OK, Some("no-store")), "{}", reply.body);
    reply.json()
}

pub(crate) async fn poll(sidecar: &Sidecar, client: &Registered, device: &Value) -> Reply {
    let body = [("grant_type", DEVICE_CODE), ("device_code", device["device_code"].as_str().unwrap())];
    sidecar.http().post_as(client, "/token", &body).await
}

/// Signs a browser in on the page for devices; where that leads.
pub async fn sign_in(browser: &mut Browser, path: &str) -> Reply {
    let to_login = browser.get(path).await;
    let page = browser.get(to_login.header("location").unwrap()).await;
    let fields =
        [hidden_fields(&page.body), vec![("username".into(), USERNAME.into()), ("password".into(), PASSWORD.into())]];
    let reply = browser.post("/login", &encode(&fields.concat())).await;
    browser.get(reply.header("location").unwrap()).await
}

fn path(user_code: &Value) -> String {
    format!("/device?user_code={}", user_code.as_str().unwrap())
}

pub async fn decide(browser: &mut Browser, page: &Reply, decision: &str) -> Reply {
    let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), decision.into())]];
    browser.post("/device", &encode(&fields.concat())).await
}

pub(crate) async fn connect(sidecar: &Sidecar, device: &Value) {
    let mut browser = sidecar.browser();
    let page = sign_in(&mut browser, &path(&device["user_code"])).await;
    assert_eq!(decide(&mut browser, &page, "approve").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_tokens_of_a_device_tell_when_its_user_signed_in() {
    let sidecar = Sidecar::start().await;
    let metadata = ClientMetadata {
        grant_types: vec![GrantType::DeviceCode, GrantType::RefreshToken],
        ..ClientMetadata::default()
    };
    let client = sidecar.register(true, Introspects::Own, metadata).await;
    let changes = ClientChanges { scopes: Some("a b openid".parse().unwrap()), ..ClientChanges::default() };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    let ask = [("scope", "a b openid")];
    let device = sidecar.http().post_as(&client, "/device_authorization", &ask).await.json();
    let mut browser = sidecar.browser();
    let page = sign_in(&mut browser, &path(&device["user_code"])).await;
    let signed_in_at = sidecar.now();
    sidecar.clock.advance(10);
    decide(&mut browser, &page, "approve").await;
    let reply = poll(&sidecar, &client, &device).await;
    let (tokens, id_token) = (reply.tokens(), claims(&reply.json()));
    assert_eq!((&id_token["auth_time"], id_token.get("nonce")), (&signed_in_at.into(), None));
    let answer = sidecar.introspect(&tokens.access).await;
    assert_eq!(
        (answer.auth_time, answer.acr.as_str(), answer.sub.into()),
        (signed_in_at, "1", id_token["sub"].clone())
    );
}

#[tokio::test]
async fn g5_g7_a_device_gets_tokens_once_its_user_has_entered_the_code_and_confirmed() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    let user_code = device["user_code"].as_str().unwrap();
    assert_eq!(device["verification_uri"], format!("{issuer}/device"));
    assert_eq!(device["verification_uri_complete"], format!("{issuer}/device?user_code={user_code}"));
    assert_eq!((&device["expires_in"], &device["interval"]), (&600.into(), &5.into()));
    assert_eq!((user_code.len(), &user_code[4..5]), (9, "-"));
    poll(&sidecar, &client, &device).await.assert_error(400, "authorization_pending");

    let mut browser = sidecar.browser();
    let page = sign_in(&mut browser, "/device").await;
    assert!(page.body.contains("name=\"user_code\""), "{}", page.body);
    let entered = form(&[("user_code", &user_code.to_lowercase().replace('-', " "))]);
    let page = browser.get(&format!("/device?{entered}")).await;
    assert!(page.body.contains(user_code) && page.body.contains("Another"), "the code and the app: {}", page.body);
    assert!(page.body.contains("See A") && !page.body.contains("Delete C") && !page.body.contains("<script"));
    assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    sidecar.clock.advance(5);
    poll(&sidecar, &client, &device).await.assert_error(400, "authorization_pending");
    let done = decide(&mut browser, &page, "approve").await;
    assert!(done.body.contains("connected"), "{}", done.body);

    let tokens = poll(&sidecar, &client, &device).await.tokens();
    assert_eq!(tokens.scope, "a b");
    let answer = sidecar.introspect(&tokens.access).await;
    assert_eq!((answer.username.as_str(), answer.client_id), (USERNAME, client.id.clone()));
    let body = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    sidecar.http().post_as(&client, "/token", &body).await.tokens();
    poll(&sidecar, &client, &device).await.assert_error(400, "invalid_grant");
    assert!(sidecar.is_active(&tokens.access).await);
    assert_eq!(decide(&mut browser, &page, "approve").await.status, StatusCode::CONFLICT);
    let again = browser.get(&path(&device["user_code"])).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "a code is good for one decision");
}

#[tokio::test]
async fn g4_a_device_that_asks_too_often_waits_5_seconds_longer_each_time() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    for (seconds, error) in [
        (0, "authorization_pending"),
        (5, "authorization_pending"),
        (3, "slow_down"),
        (9, "authorization_pending"),
        (5, "slow_down"),
        (10, "slow_down"),
        (20, "authorization_pending"),
        (18, "slow_down"),
        (25, "authorization_pending"),
    ] {
        sidecar.clock.advance(seconds);
        poll(&sidecar, &client, &device).await.assert_error(400, error);
    }
    connect(&sidecar, &device).await;
    poll(&sidecar, &client, &device).await.tokens();
}

#[tokio::test]
async fn g4_a_device_learns_that_its_user_denied_or_took_too_long() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let mut browser = sidecar.browser();
    let denied = start(&sidecar, &client).await;
    let page = sign_in(&mut browser, &path(&denied["user_code"])).await;
    let answer = decide(&mut browser, &page, "deny").await;
    assert!(answer.body.contains("not connected"), "{}", answer.body);
    poll(&sidecar, &client, &denied).await.assert_error(400, "access_denied");
    assert_eq!(decide(&mut browser, &page, "approve").await.status, StatusCode::CONFLICT);
    poll(&sidecar, &client, &denied).await.assert_error(400, "access_denied");

    let nothing = start(&sidecar, &client).await;
    let page = browser.get(&path(&nothing["user_code"])).await;
    let fields = [hidden_fields(&page.body), vec![("decision".into(), "approve".into())]];
    browser.post("/device", &encode(&fields.concat())).await;
    poll(&sidecar, &client, &nothing).await.assert_error(400, "access_denied");

    let late = start(&sidecar, &client).await;
    let page = browser.get(&path(&late["user_code"])).await;
    sidecar.clock.advance(600);
    poll(&sidecar, &client, &late).await.assert_error(400, "expired_token");
    assert_eq!(decide(&mut browser, &page, "approve").await.status, StatusCode::GONE);
    assert_eq!(browser.get(&path(&late["user_code"])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_user_may_keep_some_of_the_scopes() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    let mut browser = sidecar.browser();
    let page = sign_in(&mut browser, &path(&device["user_code"])).await;
    let fields = [
        hidden_fields(&page.body),
        vec![("scope".into(), "b".into()), ("scope".into(), "c".into()), ("decision".into(), "approve".into())],
    ];
    browser.post("/device", &encode(&fields.concat())).await;
    assert_eq!(poll(&sidecar, &client, &device).await.tokens().scope, "b", "and never more");
}

#[tokio::test]
async fn g5_a_device_code_is_for_its_client_alone() {
    let sidecar = Sidecar::start().await;
    let (client, other) = (television(&sidecar).await, television(&sidecar).await);
    let device = start(&sidecar, &client).await;
    connect(&sidecar, &device).await;
    poll(&sidecar, &other, &device).await.assert_error(400, "invalid_grant");
    poll(&sidecar, &sidecar.shop, &device).await.assert_error(400, "unauthorized_client");
    let code = device["device_code"].as_str().unwrap();
    for wrong in ["x", &code[..79], &code.replace("sg_dc_", "sg_ac_"), &sidecar.code().await] {
        let body = [("grant_type", DEVICE_CODE), ("device_code", wrong)];
        sidecar.http().post_as(&client, "/token", &body).await.assert_error(400, "invalid_grant");
    }
    sidecar.redeem(code).await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(code).await);
    poll(&sidecar, &client, &device).await.tokens();
    sidecar.http().post_as(&sidecar.shop, "/device_authorization", &[]).await.assert_error(400, "unauthorized_client");
    let confidential = sidecar.register_for(&[GrantType::DeviceCode]).await;
    sidecar
        .http()
        .post("/device_authorization", &[("client_id", &confidential.id)])
        .await
        .assert_error(401, "invalid_client");
    let reply = sidecar.http().post_as(&confidential, "/device_authorization", &[("scope", "d")]).await;
    reply.assert_error(400, "invalid_scope");
    let device = start(&sidecar, &confidential).await;
    connect(&sidecar, &device).await;
    poll(&sidecar, &confidential, &device).await.access_token();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g5_of_twenty_that_redeem_a_device_code_at_the_same_time_one_gets_tokens() {
    let sidecar = Arc::new(Sidecar::start().await);
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    connect(&sidecar, &device).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (sidecar, client, device) = (sidecar.clone(), client.clone(), device.clone());
            tokio::spawn(async move { poll(&sidecar, &client, &device).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        let reply = task.await.unwrap();
        if reply.status == StatusCode::OK {
            won += 1;
        } else {
            reply.assert_error(400, "invalid_grant");
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn g6_a_user_may_enter_few_codes_that_are_none() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    let mut browser = sidecar.browser();
    sign_in(&mut browser, "/device").await;
    for _ in 0..10 {
        assert_eq!(browser.get(&path(&device["user_code"])).await.status, StatusCode::OK, "good ones do not count");
    }
    for _ in 0..5 {
        assert_eq!(browser.get("/device?user_code=BBBB-BBBB").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(browser.get("/device?user_code=BBBB-BBBB").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(browser.get(&path(&device["user_code"])).await.status, StatusCode::TOO_MANY_REQUESTS);
    let mut other = sidecar.browser();
    let page = sign_in(&mut other, &path(&device["user_code"])).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "another sign-in of the same user is no way around");
    sidecar.clock.advance(600);
    let device = start(&sidecar, &client).await;
    assert_eq!(browser.get(&path(&device["user_code"])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn g7_a_decision_counts_only_from_the_page_that_the_user_was_shown() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let (device, other) = (start(&sidecar, &client).await, start(&sidecar, &client).await);
    let (mut victim, mut attacker) = (sidecar.browser(), sidecar.browser());
    sign_in(&mut victim, "/device").await;
    let page = sign_in(&mut attacker, &path(&device["user_code"])).await;
    assert_eq!(
        decide(&mut victim, &page, "approve").await.status,
        StatusCode::FORBIDDEN,
        "the ticket of another browser"
    );
    let fields: Vec<_> = hidden_fields(&page.body)
        .into_iter()
        .map(|(name, value)| match name.as_str() {
            "user_code" => (name, other["user_code"].as_str().unwrap().to_owned()),
            _ => (name, value),
        })
        .chain([("scope".into(), "a".into()), ("decision".into(), "approve".into())])
        .collect();
    assert_eq!(attacker.post("/device", &encode(&fields)).await.status, StatusCode::FORBIDDEN, "that of another code");
    assert_eq!(sidecar.browser().post("/device", &encode(&fields)).await.status, StatusCode::FORBIDDEN);
    let foreign = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let reply = sidecar.http().post_text("/device", &foreign, &encode(&fields)).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    poll(&sidecar, &client, &other).await.assert_error(400, "authorization_pending");
    poll(&sidecar, &client, &device).await.assert_error(400, "authorization_pending");
}

#[tokio::test]
async fn k16_a_user_or_a_client_that_is_disabled_meanwhile_connects_nothing() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    connect(&sidecar, &device).await;
    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    poll(&sidecar, &client, &device).await.assert_error(400, "invalid_grant");
    sidecar.service.enable_account(USERNAME.into()).await.unwrap();
    poll(&sidecar, &client, &device).await.assert_error(400, "invalid_grant");

    let device = start(&sidecar, &client).await;
    sidecar.service.disable_client(client.id.parse().unwrap()).await.unwrap();
    let mut browser = sidecar.browser();
    let page = sign_in(&mut browser, &path(&device["user_code"])).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    poll(&sidecar, &client, &device).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn x12_what_devices_leave_behind_is_pruned() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let mut database = sidecar.database().await;
    let device = start(&sidecar, &client).await;
    start(&sidecar, &client).await;
    connect(&sidecar, &device).await;
    assert_eq!([database.count("device_requests").await, database.count("user_code_attempts").await], [2, 1]);
    sidecar.clock.advance(600 + 3_600 + 60);
    sidecar.service.prune().await.unwrap();
    assert_eq!([database.count("device_requests").await, database.count("user_code_attempts").await], [0, 0]);
}

#[tokio::test]
async fn k18_a_device_names_resources_and_its_key_when_it_starts() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let (key, other) = (Key::new(), Key::new());
    let thumbprint = key.thumbprint();
    for (name, value, error) in [("dpop_jkt", "x", "invalid_request"), ("resource", "x", "invalid_target")] {
        let body = [("scope", "a"), (name, value)];
        sidecar.http().post_as(&client, "/device_authorization", &body).await.assert_error(400, error);
    }
    let body = [("scope", "a"), ("dpop_jkt", &thumbprint), ("resource", "https://r"), ("resource", "https://s")];
    let device = sidecar.http().post_as(&client, "/device_authorization", &body).await.json();
    connect(&sidecar, &device).await;
    let poll = async |proofs: &[&str], resource: &str| {
        let code = device["device_code"].as_str().unwrap();
        let body = [("grant_type", DEVICE_CODE), ("device_code", code), ("resource", resource)];
        post(&sidecar, &client, "/token", proofs, &body).await
    };
    poll(&[], "").await.assert_error(400, "invalid_grant");
    poll(&[&other.proof(&sidecar, "/token")], "").await.assert_error(400, "invalid_grant");
    poll(&[&key.proof(&sidecar, "/token")], "https://t").await.assert_error(400, "invalid_target");
    let reply = poll(&[&key.proof(&sidecar, "/token")], "https://s").await;
    assert_eq!(reply.json()["token_type"], "DPoP");
    let tokens = reply.tokens();
    let answer = sidecar.introspect(&tokens.access).await;
    assert_eq!((answer.cnf.unwrap().jkt, answer.aud), (thumbprint.clone(), vec!["https://s".to_owned()]));
    let body = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    post(&sidecar, &client, "/token", &[], &body).await.assert_error(400, "invalid_grant");
    let proof = key.proof(&sidecar, "/token");
    let tokens = post(&sidecar, &client, "/token", &[&proof], &body).await.tokens();
    assert_eq!(sidecar.introspect(&tokens.access).await.aud, ["https://r", "https://s"]);
}

#[tokio::test]
async fn somebody_else_can_sign_in_for_the_same_device() {
    let sidecar = Sidecar::start().await;
    let client = television(&sidecar).await;
    let device = start(&sidecar, &client).await;
    let mut browser = sidecar.browser();
    let page = sign_in(&mut browser, &path(&device["user_code"])).await;
    let (_, account) = page.body.split_once("id=\"switch\"").unwrap();
    let action = page.body.split("action=\"").last().unwrap().split('"').next().unwrap();
    let reply = browser.post(action, &encode(&hidden_fields(account))).await;
    let login = browser.get(reply.header("location").unwrap()).await;
    assert!(login.body.contains("name=\"password\""), "{}", login.body);
    let fields =
        [hidden_fields(&login.body), vec![("username".into(), USERNAME.into()), ("password".into(), PASSWORD.into())]];
    let reply = browser.post("/login", &encode(&fields.concat())).await;
    let page = browser.get(reply.header("location").unwrap()).await;
    assert_eq!(decide(&mut browser, &page, "approve").await.status, StatusCode::OK);
    poll(&sidecar, &client, &device).await.tokens();
}
