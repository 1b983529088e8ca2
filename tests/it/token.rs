//! The token endpoint: transport, client authentication and codes (RFC 6749 §3.2, RFC 7636).

use http::{Method, StatusCode};

use crate::harness::{CHALLENGE, REDIRECT_URI, Registered, Sidecar, USERNAME, VERIFIER, basic, form};

fn redemption(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ]
}

#[tokio::test]
async fn k1_t19_t20_a_code_is_exchanged_for_tokens() {
    let sidecar = Sidecar::start().await;
    let reply = sidecar.redeem(&sidecar.code().await).await;
    assert_eq!(reply.status, StatusCode::OK);
    for (header, value) in [("content-type", "application/json"), ("cache-control", "no-store"), ("pragma", "no-cache")]
    {
        assert_eq!(reply.header(header), Some(value), "t19");
    }
    let json = reply.json();
    assert_eq!(
        (&json["token_type"], &json["expires_in"], &json["scope"]),
        (&"Bearer".into(), &600.into(), &"a b".into()),
        "t20"
    );
    assert!(reply.tokens().access.starts_with("sg_at_") && reply.tokens().refresh.starts_with("sg_rt_"));
}

#[tokio::test]
async fn a_public_client_exchanges_its_code_with_its_proof_alone() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &sidecar.app.id)])).await;
    let reply = sidecar.http().post_as(&sidecar.app, "/token", &redemption(&code)).await;
    assert_eq!(reply.tokens().scope, "a b");
}

#[tokio::test]
async fn t1_t2_t3_t4_t17_t25_only_forms_in_a_post_body_count() {
    let sidecar = Sidecar::start().await;
    let http = sidecar.http();
    assert_eq!(http.get("/token").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let authorization = basic(&sidecar.shop.id, &sidecar.shop.secret);
    let send = async |content_type: &str, body: &str| {
        let headers = [("authorization", authorization.as_str()), ("content-type", content_type)];
        http.send(Method::POST, "/token", &headers, body).await
    };
    send("application/json", "{}").await.assert_error(400, "invalid_request");
    send("multipart/form-data; boundary=x", "--x--").await.assert_error(400, "invalid_request");
    send("", "grant_type=authorization_code").await.assert_error(400, "invalid_request");
    let form_type = "application/x-www-form-urlencoded; charset=utf-8";
    send(form_type, &"x".repeat(70_000)).await.assert_error(413, "invalid_request");
    send(form_type, &"a=1&".repeat(1_000)).await.assert_error(400, "invalid_request");
    send(form_type, "grant_type=refresh_token&grant_type=refresh_token").await.assert_error(400, "invalid_request");
    send(form_type, "").await.assert_error(400, "invalid_request");
    send(form_type, "grant_type=&x=y").await.assert_error(400, "invalid_request");
    send(form_type, "grant_type=password&username=x&password=y").await.assert_error(400, "unsupported_grant_type");
    send(form_type, "grant_type=client_credentials").await.assert_error(400, "unauthorized_client");
    send(form_type, "grant_type=authorization_code").await.assert_error(400, "invalid_request");
    send(form_type, "grant_type=refresh_token").await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn t6_parameters_in_the_uri_do_not_count() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    let path = format!("/token?{}", form(&redemption(&code)));
    sidecar.http().post_as(&sidecar.shop, &path, &[]).await.assert_error(400, "invalid_request");
    let path = format!("/token?{}", form(&[("client_id", &sidecar.shop.id), ("client_secret", &sidecar.shop.secret)]));
    sidecar.http().post(&path, &redemption(&code)).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn t8_to_t13_t15_who_does_not_prove_to_be_the_client_is_refused_and_the_code_stays_good() {
    let sidecar = Sidecar::start().await;
    let http = sidecar.http();
    let code = sidecar.code().await;
    let (id, secret) = (sidecar.shop.id.clone(), sidecar.shop.secret.clone());
    let mut bodies = Vec::new();
    for header in [
        basic(&id, "wrong"),
        basic("unknown", &secret),
        basic(&id, ""),
        "Basic !".into(),
        "Bearer x".into(),
        "Basic".into(),
    ] {
        let reply = http.post_text("/token", &[("authorization", &header)], &form(&redemption(&code))).await;
        reply.assert_error(401, "invalid_client");
        assert!(reply.header("www-authenticate").unwrap().starts_with("Basic realm="), "t9");
        bodies.push(reply.body);
    }
    assert_eq!(bodies[0], bodies[1], "t15: an unknown client and a wrong secret get the same answer");
    for (parameters, error, status) in [
        (vec![("client_id", id.as_str()), ("client_secret", "wrong")], "invalid_client", 401),
        (vec![("client_id", id.as_str())], "invalid_client", 401),
        (vec![], "invalid_client", 401),
    ] {
        http.post("/token", &[redemption(&code), parameters].concat()).await.assert_error(status, error);
    }
    let both = [redemption(&code), vec![("client_secret", secret.as_str())]].concat();
    http.post_as(&sidecar.shop, "/token", &both).await.assert_error(400, "invalid_request");
    let other_id = [redemption(&code), vec![("client_id", sidecar.app.id.as_str())]].concat();
    http.post_as(&sidecar.shop, "/token", &other_id).await.assert_error(400, "invalid_request");
    let public_with_secret = Registered { id: sidecar.app.id.clone(), secret: "x".into() };
    http.post_as(&public_with_secret, "/token", &redemption(&code)).await.assert_error(401, "invalid_client");
    let posted = [redemption(&code), vec![("client_id", id.as_str()), ("client_secret", secret.as_str())]].concat();
    assert_eq!(http.post("/token", &posted).await.tokens().scope, "a b", "client_secret_post");
}

#[tokio::test]
async fn k2_a_replayed_code_revokes_its_grant_however_often_it_was_refreshed() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    let first = sidecar.redeem(&code).await.tokens();
    let second = sidecar.refresh(&first.refresh).await.tokens();
    sidecar.clock.advance(3_600);
    let third = sidecar.refresh(&second.refresh).await.tokens();
    assert!(sidecar.is_active(&third.access).await);
    sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(&third.access).await);
    sidecar.refresh(&third.refresh).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn k5_a_code_in_the_hands_of_another_client_is_worth_nothing_and_stays_good() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    sidecar.http().post_as(&sidecar.app, "/token", &redemption(&code)).await.assert_error(400, "invalid_grant");
    let tokens = sidecar.redeem(&code).await.tokens();
    sidecar.http().post_as(&sidecar.app, "/token", &redemption(&code)).await.assert_error(400, "invalid_grant");
    assert!(sidecar.is_active(&tokens.access).await, "another client's replay is not a replay");
}

#[tokio::test]
async fn k6_k8_k10_to_k13_a_wrong_proof_does_not_burn_the_code_and_five_do() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    let attempt = async |code: &str, other: &[(&str, &str)]| {
        let mut parameters = redemption(code);
        for (name, value) in other {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, value));
        }
        sidecar.http().post_as(&sidecar.shop, "/token", &parameters).await
    };
    attempt(&code, &[("redirect_uri", "http://127.0.0.1:1/callback")]).await.assert_error(400, "invalid_grant");
    attempt(&code, &[("redirect_uri", "")]).await.assert_error(400, "invalid_grant");
    attempt(&code, &[("code_verifier", "")]).await.assert_error(400, "invalid_grant");
    attempt(&code, &[("code_verifier", &"a".repeat(42))]).await.assert_error(400, "invalid_request");
    attempt(&code, &[("code_verifier", &"a".repeat(129))]).await.assert_error(400, "invalid_request");
    attempt(&code, &[("code_verifier", CHALLENGE)]).await.assert_error(400, "invalid_grant");
    attempt(&code, &[("code_verifier", &"a".repeat(43))]).await.assert_error(400, "invalid_grant");
    assert_eq!(attempt(&code, &[]).await.tokens().scope, "a b");

    let code = sidecar.code().await;
    for _ in 0..5 {
        attempt(&code, &[("code_verifier", &"a".repeat(43))]).await.assert_error(400, "invalid_grant");
    }
    attempt(&code, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn k7_a_code_expires() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    sidecar.clock.advance(60);
    sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
    let code = sidecar.code().await;
    sidecar.clock.advance(59);
    sidecar.redeem(&code).await.tokens();
}

#[tokio::test]
async fn k15_what_is_no_code_costs_no_lookup() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let code = sidecar.code().await;
    let read = "scopegate_store_operations_total{operation=\"read a grant\"}";
    let before = sidecar.metric("scopegate_store_operations_total{operation=\"redeem a code\"}").await;
    let reads = sidecar.metric(read).await;
    let cut = &code[..code.len() - 1];
    for bad in
        [cut, &format!("{code}="), &tokens.access, &tokens.refresh, &tokens.access.replace("sg_at_", "sg_ac_"), "x"]
    {
        sidecar.redeem(bad).await.assert_error(400, "invalid_grant");
    }
    assert_eq!(sidecar.metric("scopegate_store_operations_total{operation=\"redeem a code\"}").await, before);
    assert_eq!(sidecar.metric(read).await, reads);
}

#[tokio::test]
async fn k16_a_user_or_a_client_that_is_disabled_before_the_exchange_gets_nothing() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
    sidecar.service.enable_account(USERNAME.into()).await.unwrap();
    sidecar.redeem(&code).await.assert_error(400, "invalid_grant");

    let code = sidecar.code().await;
    sidecar.service.disable_client(sidecar.shop.id.parse().unwrap()).await.unwrap();
    sidecar.redeem(&code).await.assert_error(401, "invalid_client");
    sidecar.service.enable_client(sidecar.shop.id.parse().unwrap()).await.unwrap();
    sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn t26_a_rotated_secret_replaces_the_old_one() {
    let sidecar = Sidecar::start().await;
    let secret = sidecar.service.rotate_client_secret(sidecar.shop.id.parse().unwrap(), 0).await.unwrap();
    let code = sidecar.code().await;
    sidecar.redeem(&code).await.assert_error(401, "invalid_client");
    let rotated = Registered { id: sidecar.shop.id.clone(), secret: secret.expose().into() };
    sidecar.http().post_as(&rotated, "/token", &redemption(&code)).await.tokens();
}
