//! DPoP beyond the token itself: nonces, the endpoint for claims about the user, devices, every algorithm, and clients with many keys (RFC 9449).

use http::Method;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::effects::Clock as _;
use scopegate::proto::scopegate::v1 as api;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::device::connect;
use crate::dpop::{ADDRESS, Key, check, claims, code_for, encode, post, redeem, refresh};
use crate::harness::{REDIRECT_URI, Reply, Sidecar, form};
use crate::openid::provider;

const REQUIRED: &str = "[tokens]\ndpop_nonce = 'required'";

/// A proof with a nonce, and for a token if there is one.
fn proof(key: &Key, sidecar: &Sidecar, (method, uri): (&str, &str), nonce: &str, token: Option<&str>) -> String {
    let mut claims = claims(sidecar, method, uri);
    if !nonce.is_empty() {
        claims["nonce"] = nonce.into();
    }
    if let Some(token) = token {
        claims["ath"] = encode(Sha256::digest(token)).into();
    }
    key.sign(&claims)
}

fn nonce(reply: &Reply) -> String {
    reply.header("dpop-nonce").unwrap_or_else(|| panic!("no nonce: {reply:?}")).to_owned()
}

#[tokio::test]
async fn x13_where_a_nonce_is_required_no_proof_passes_without_a_fresh_one() {
    let sidecar = Sidecar::with(REQUIRED).await;
    let (key, base) = (Key::new(), format!("http://{}", sidecar.addresses.http));
    let (token, par) = (format!("{base}/token"), format!("{base}/par"));
    let code = code_for(&sidecar, &sidecar.app, &[]).await;
    let refused = redeem(&sidecar, &sidecar.app, &[&key.proof(&sidecar, "/token")], &code).await;
    refused.assert_error(400, "use_dpop_nonce");
    let first = nonce(&refused);
    for wrong in ["x", &first[1..], &"A".repeat(32)] {
        let proof = proof(&key, &sidecar, ("POST", &token), wrong, None);
        redeem(&sidecar, &sidecar.app, &[&proof], &code).await.assert_error(400, "use_dpop_nonce");
    }
    let reply = redeem(&sidecar, &sidecar.app, &[&proof(&key, &sidecar, ("POST", &token), &first, None)], &code).await;
    let (second, tokens) = (nonce(&reply), reply.tokens());

    let request = [
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", crate::harness::CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let push = async |nonce: &str| {
        let proof = proof(&key, &sidecar, ("POST", &par), nonce, None);
        post(&sidecar, &sidecar.app, "/par", &[&proof], &request).await
    };
    push("").await.assert_error(400, "use_dpop_nonce");
    let pushed = push(&second).await;
    assert_eq!(pushed.status.as_u16(), 201, "{}", pushed.body);
    nonce(&pushed);

    let ask = async |nonce: &str| {
        let proof = proof(&key, &sidecar, ("GET", ADDRESS), nonce, Some(&tokens.access));
        check(&sidecar, &tokens.access, &[&proof]).await
    };
    let refused = ask("").await;
    assert_eq!((refused.decision(), refused.http_status), (api::Decision::InvalidProof, 401));
    assert!(refused.www_authenticate.starts_with(r#"DPoP error="use_dpop_nonce""#), "{}", refused.www_authenticate);
    let allowed = ask(&refused.dpop_nonce).await;
    assert_eq!(allowed.decision(), api::Decision::Allowed, "{}", allowed.www_authenticate);
    assert_eq!(allowed.dpop_nonce, second, "another one, for the next request");
    sidecar.clock.advance(240);
    let stale = ask(&second).await;
    assert!(stale.www_authenticate.starts_with(r#"DPoP error="use_dpop_nonce""#), "{}", stale.www_authenticate);
    assert_eq!(ask(&stale.dpop_nonce).await.decision(), api::Decision::Allowed);

    let bearer = sidecar.tokens().await;
    let plain = sidecar.check(&bearer.access, &["a"]).await;
    assert_eq!((plain.decision(), plain.dpop_nonce.as_str()), (api::Decision::Allowed, ""), "it is not about DPoP");
}

#[tokio::test]
async fn a_nonce_of_one_server_is_good_at_every_other_and_nobody_gets_one_where_it_is_off() {
    let sidecar = Sidecar::with(REQUIRED).await;
    let off = Sidecar::start().await;
    let (key, token) = (Key::new(), format!("http://{}/token", off.addresses.http));
    let given = nonce(&sidecar.http().post("/token", &[]).await);
    let code = code_for(&off, &off.app, &[]).await;
    let reply = redeem(&off, &off.app, &[&proof(&key, &off, ("POST", &token), "anything", None)], &code).await;
    assert_eq!((reply.status.as_u16(), reply.header("dpop-nonce")), (200, None), "{}", reply.body);
    if !sidecar.database().await.is_shared() {
        return;
    }
    let beside = sidecar.beside_with(REQUIRED).await;
    let token = format!("http://{}/token", beside.addresses.http);
    let code = code_for(&beside, &sidecar.app, &[]).await;
    redeem(&beside, &sidecar.app, &[&proof(&key, &beside, ("POST", &token), &given, None)], &code).await.tokens();
}

#[tokio::test]
async fn x13_user_info_takes_a_bound_token_with_a_proof_and_not_otherwise() {
    let sidecar = provider("").await;
    let (key, other) = (Key::new(), Key::new());
    let (http, uri) = (sidecar.http(), format!("http://{}/userinfo", sidecar.addresses.http));
    let code = code_for(&sidecar, &sidecar.shop, &[("scope", "openid")]).await;
    let bound = redeem(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], &code).await.tokens().access;
    let code = code_for(&sidecar, &sidecar.shop, &[("scope", "openid")]).await;
    let bearer = redeem(&sidecar, &sidecar.shop, &[], &code).await.tokens().access;
    let ask = async |scheme: &str, token: &str, method: Method, proofs: &[String]| {
        let authorization = format!("{scheme} {token}");
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(proofs.iter().map(|proof| ("dpop", proof.as_str())));
        http.send(method, "/userinfo", &headers, "").await
    };
    let with = |key: &Key, method: &str, token: &str| proof(key, &sidecar, (method, &uri), "", Some(token));
    for (method, name) in [(Method::GET, "GET"), (Method::POST, "POST")] {
        let reply = ask("dpop", &bound, method, &[with(&key, name, &bound)]).await;
        assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
        assert_eq!(reply.json()["sub"], Value::from(sidecar.introspect(&bound).await.sub));
    }
    let replayed = with(&key, "GET", &bound);
    assert_eq!(ask("DPoP", &bound, Method::GET, std::slice::from_ref(&replayed)).await.status.as_u16(), 200);
    let elsewhere = proof(&key, &sidecar, ("GET", &format!("{uri}s")), "", Some(&bound));
    for (scheme, token, proofs, challenge) in [
        ("DPoP", &bound, vec![], r#"DPoP error="invalid_dpop_proof""#),
        ("DPoP", &bound, vec![replayed], r#"DPoP error="invalid_dpop_proof""#),
        ("DPoP", &bound, vec![with(&key, "POST", &bound)], r#"DPoP error="invalid_dpop_proof""#),
        ("DPoP", &bound, vec![with(&key, "GET", &bearer)], r#"DPoP error="invalid_dpop_proof""#),
        ("DPoP", &bound, vec![elsewhere], r#"DPoP error="invalid_dpop_proof""#),
        (
            "DPoP",
            &bound,
            vec![with(&key, "GET", &bound), with(&key, "GET", &bound)],
            r#"DPoP error="invalid_dpop_proof""#,
        ),
        ("DPoP", &bound, vec![with(&other, "GET", &bound)], r#"DPoP error="invalid_token""#),
        ("Bearer", &bound, vec![], r#"DPoP error="invalid_token""#),
        ("Bearer", &bound, vec![with(&key, "GET", &bound)], r#"DPoP error="invalid_token""#),
        ("DPoP", &bearer, vec![], r#"DPoP error="invalid_dpop_proof""#),
        ("DPoP", &bearer, vec![with(&key, "GET", &bearer)], r#"DPoP error="invalid_token""#),
    ] {
        let reply = ask(scheme, token, Method::GET, &proofs).await;
        let actual = reply.header("www-authenticate").unwrap_or_default();
        assert!(reply.status.as_u16() == 401 && actual.starts_with(challenge), "{scheme} {proofs:?}: {reply:?}");
    }
    let reply = ask("Bearer", &bearer, Method::GET, &[with(&key, "GET", &bearer)]).await;
    assert_eq!(reply.status.as_u16(), 200, "with the other scheme, a proof counts for nothing");
    let proven = with(&key, "POST", &bound);
    let in_form = http.post_text("/userinfo", &[("dpop", &proven)], &form(&[("access_token", &bound)])).await;
    assert_eq!(in_form.status.as_u16(), 401, "a token in the form is a bearer token");

    let headers = [("origin", "https://app.example")];
    let reply = http.send(Method::GET, "/userinfo", &headers, "").await;
    assert_eq!(reply.header("access-control-expose-headers"), Some("www-authenticate,dpop-nonce"));
}

#[tokio::test]
async fn user_info_asks_for_a_nonce_where_one_is_required() {
    let sidecar = provider(REQUIRED).await;
    let (key, base) = (Key::new(), format!("http://{}", sidecar.addresses.http));
    let (token, uri) = (format!("{base}/token"), format!("{base}/userinfo"));
    let given = nonce(&sidecar.http().post("/token", &[]).await);
    let code = code_for(&sidecar, &sidecar.shop, &[("scope", "openid")]).await;
    let proven = proof(&key, &sidecar, ("POST", &token), &given, None);
    let access = redeem(&sidecar, &sidecar.shop, &[&proven], &code).await.tokens().access;
    let ask = async |nonce: &str| {
        let proof = proof(&key, &sidecar, ("GET", &uri), nonce, Some(&access));
        let headers = [("authorization", format!("DPoP {access}")), ("dpop", proof)];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        sidecar.http().send(Method::GET, "/userinfo", &headers, "").await
    };
    let refused = ask("").await;
    assert_eq!(refused.status.as_u16(), 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with(r#"DPoP error="use_dpop_nonce""#), "{refused:?}");
    assert_eq!(ask(&nonce(&refused)).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_proof_with_a_device_authorization_request_binds_the_code() {
    let sidecar = Sidecar::start().await;
    let metadata = ClientMetadata { grant_types: vec![GrantType::DeviceCode], ..ClientMetadata::default() };
    let client = sidecar.register(true, Introspects::Own, metadata).await;
    let (key, other, path) = (Key::new(), Key::new(), "/device_authorization");
    let start = async |proofs: &[&str], more: &[(&str, &str)]| {
        post(&sidecar, &client, path, proofs, &[&[("scope", "a")], more].concat()).await
    };
    let used = key.proof(&sidecar, path);
    let device = start(&[&used], &[]).await.json();
    let thumbprint = other.thumbprint();
    for (proofs, more) in [
        (vec![used], vec![]),
        (vec![key.proof(&sidecar, "/token")], vec![]),
        (vec!["garbage".to_owned()], vec![]),
        (vec![key.proof(&sidecar, path), key.proof(&sidecar, path)], vec![]),
        (vec![key.proof(&sidecar, path)], vec![("dpop_jkt", thumbprint.as_str())]),
    ] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        start(&proofs, &more).await.assert_error(400, "invalid_dpop_proof");
    }
    connect(&sidecar, &device).await;
    let poll = async |proofs: &[&str]| {
        sidecar.clock.advance(5);
        let grant_type = GrantType::DeviceCode.as_str();
        let more = [("grant_type", grant_type), ("device_code", device["device_code"].as_str().unwrap())];
        post(&sidecar, &client, "/token", proofs, &more).await
    };
    poll(&[]).await.assert_error(400, "invalid_grant");
    poll(&[&other.proof(&sidecar, "/token")]).await.assert_error(400, "invalid_grant");
    let access = poll(&[&key.proof(&sidecar, "/token")]).await.access_token();
    assert_eq!(sidecar.introspect(&access).await.cnf.unwrap().jkt, key.thumbprint());
}

#[tokio::test]
async fn x13_every_algorithm_of_the_metadata_binds_tokens() {
    let sidecar = Sidecar::start().await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    let algorithms = metadata["dpop_signing_alg_values_supported"].as_array().unwrap().clone();
    assert!(!algorithms.is_empty());
    for algorithm in algorithms {
        let key = Key::of(algorithm.as_str().unwrap());
        let code = code_for(&sidecar, &sidecar.shop, &[]).await;
        let tokens = redeem(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
        assert_eq!(sidecar.introspect(&tokens.access).await.cnf.unwrap().jkt, key.thumbprint(), "{algorithm}");
        let allowed = check(&sidecar, &tokens.access, &[&key.proof_with(&sidecar, &tokens.access)]).await;
        assert_eq!(allowed.decision(), api::Decision::Allowed, "{algorithm}: {}", allowed.www_authenticate);
    }
}

#[tokio::test]
async fn a_confidential_client_may_have_any_number_of_keys_one_after_another() {
    let sidecar = Sidecar::start().await;
    let renew =
        async |key: &Key, token: &str| refresh(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], token).await;
    let jkt = async |token: &str| sidecar.introspect(token).await.cnf.map(|cnf| cnf.jkt);
    let (first, early, late) = (Key::new(), Key::new(), Key::new());
    let code = code_for(&sidecar, &sidecar.shop, &[]).await;
    let original = redeem(&sidecar, &sidecar.shop, &[&first.proof(&sidecar, "/token")], &code).await.tokens();
    let second = renew(&early, &original.refresh).await.tokens();
    assert_eq!(jkt(&second.access).await, Some(early.thumbprint()), "the facts are cached");

    // As if many more keys had come at once.
    let now = sidecar.clock.now().as_unix();
    let others = (0..253).map(|n| format!("a b\t\tjkt:{n}\t{now}-{}-{}", now + 900, now + 1_560));
    let others = others.collect::<Vec<_>>().join("\n");
    let more = format!("UPDATE grants SET variants = variants || '\n{others}'");
    sidecar.database().await.run(more).await;
    renew(&late, &second.refresh).await.assert_error(400, "invalid_scope");
    let third = renew(&early, &second.refresh).await.tokens();
    assert_eq!(jkt(&third.access).await, Some(early.thumbprint()), "one that is there needs no place");

    sidecar.clock.advance(1_560);
    let fourth = renew(&late, &third.refresh).await.tokens();
    assert_eq!(jkt(&fourth.access).await, Some(late.thumbprint()), "not what is cached of its place");
    assert_eq!(sidecar.introspect(&fourth.access).await.cnf.unwrap().jkt, late.thumbprint());
    let fifth = renew(&early, &fourth.refresh).await.tokens();
    assert_eq!(jkt(&fifth.access).await, Some(early.thumbprint()));
    let denied = check(&sidecar, &fourth.access, &[&early.proof_with(&sidecar, &fourth.access)]).await;
    assert_eq!(denied.decision(), api::Decision::InvalidProof);
    assert!(!sidecar.is_active(&third.access).await);
}
