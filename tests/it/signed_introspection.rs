//! Introspection answers that are signed (RFC 9701).

use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::domain::jwk::SigningAlgorithm;
use scopegate::effects::Clock as _;
use serde_json::{Value, json};

use crate::harness::{Registered, Reply, Sidecar, basic, form, query_of};
use crate::jwt_access_tokens::part;

const SIGNED: &str = "application/token-introspection+jwt";

/// The answer to a client that accepts this.
async fn ask(sidecar: &Sidecar, caller: &Registered, accept: &[&str], token: &str) -> Reply {
    let authorization = basic(&caller.id, &caller.secret);
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(accept.iter().map(|accept| ("accept", *accept)));
    sidecar.http().post_text("/introspect", &headers, &form(&[("token", token)])).await
}

#[tokio::test]
async fn i10_i6_a_signed_answer_says_who_said_what_to_whom() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let api = sidecar.register(false, Introspects::Any, ClientMetadata::default()).await;
    let stranger = sidecar.register(false, Introspects::Own, ClientMetadata::default()).await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    for (caller, token) in [
        (&sidecar.shop, tokens.access.as_str()),
        (&sidecar.shop, &tokens.refresh),
        (&api, &tokens.access),
        (&stranger, &tokens.access),
        (&api, "garbage"),
    ] {
        let plain = ask(&sidecar, caller, &["application/json"], token).await.json();
        let reply = ask(&sidecar, caller, &[SIGNED], token).await;
        assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, Some(SIGNED)));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let kid = sidecar.http().get("/jwks").await.json()["keys"][0]["kid"].clone();
        assert_eq!(part(&reply.body, 0), json!({ "alg": "RS256", "kid": kid, "typ": "token-introspection+jwt" }));
        let iat = sidecar.clock.now().as_unix();
        let expected = json!({ "iss": issuer, "aud": caller.id, "iat": iat, "token_introspection": plain });
        assert_eq!(part(&reply.body, 1), expected);
        if caller.id == stranger.id || token == "garbage" {
            assert_eq!(plain, json!({ "active": false }), "and nothing else");
        } else {
            assert_eq!(plain["active"], true);
        }
    }
    for (caller, error) in [(&Registered { secret: "wrong".into(), ..api.clone() }, 401), (&sidecar.app, 401)] {
        ask(&sidecar, caller, &[SIGNED], &tokens.access).await.assert_error(error, "invalid_client");
    }
    ask(&sidecar, &api, &[SIGNED], "").await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn i10_an_answer_is_signed_for_those_alone_who_would_rather_have_it() {
    let sidecar = Sidecar::start().await;
    for (accept, signed) in [
        (&[][..], false),
        (&["*/*"], false),
        (&["application/*"], false),
        (&["application/json"], false),
        (&["application/jwt"], false),
        (&[SIGNED], true),
        (&["Application/Token-Introspection+JWT"], true),
        (&["text/html, application/token-introspection+jwt;q=0.5"], true),
        (&["application/json", SIGNED], true),
        (&["application/json;q=0.5, application/token-introspection+jwt;q=0.4"], false),
        (&["application/json;q=0.4, application/token-introspection+jwt; q=0.5"], true),
        (&["application/token-introspection+jwt;q=0"], false),
        (&["application/token-introspection+jwt;q=x"], false),
        (&["application/token-introspection+jwtx"], false),
    ] {
        let reply = ask(&sidecar, &sidecar.shop, accept, "x").await;
        let expected = if signed { SIGNED } else { "application/json" };
        assert_eq!(reply.header("content-type"), Some(expected), "{accept:?}");
    }
}

#[tokio::test]
async fn d6_a_signed_answer_is_neither_an_access_token_nor_an_id_token() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let answer = ask(&sidecar, &sidecar.shop, &[SIGNED], &tokens.access).await.body;
    assert!(!sidecar.is_active(&answer).await);
    let bearer = format!("Bearer {answer}");
    let reply = sidecar.http().send(Method::GET, "/userinfo", &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    let hinted = sidecar.request(&[("id_token_hint", &answer), ("prompt", "none")]);
    let reply = sidecar.http().get(&format!("/authorize?{hinted}")).await;
    assert_eq!(query_of(reply.header("location").unwrap(), "error").as_deref(), Some("invalid_request"));
    let reply = sidecar.http().get(&format!("/logout?id_token_hint={answer}")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let assertion = [
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", answer.as_str()),
        ("token", "x"),
    ];
    sidecar.http().post("/introspect", &assertion).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn i10_the_metadata_says_whether_and_how_answers_are_signed() {
    let metadata = async |sidecar: &Sidecar| sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    let sidecar = Sidecar::with("[keys]\nsigning_algorithm = 'ES256'").await;
    let said = metadata(&sidecar).await;
    assert_eq!(said["introspection_signing_alg_values_supported"], json!(["ES256"]));
    for encryption in ["alg", "enc"] {
        assert_eq!(said[format!("introspection_encryption_{encryption}_values_supported")], Value::Null);
    }
    let wants =
        |algorithm| ClientMetadata { introspection_signed_response_alg: Some(algorithm), ..ClientMetadata::default() };
    sidecar.change(&sidecar.shop, wants(SigningAlgorithm::Es256)).await;
    let reply = ask(&sidecar, &sidecar.shop, &[SIGNED], "x").await;
    assert_eq!(part(&reply.body, 0)["alg"], "ES256");
    sidecar.change(&sidecar.shop, wants(SigningAlgorithm::Rs256)).await;
    let reply = ask(&sidecar, &sidecar.shop, &[SIGNED], "x").await;
    reply.assert_error(503, "temporarily_unavailable");
    let off = Sidecar::with("[jwt]\nintrospection_responses = false").await;
    assert_eq!(metadata(&off).await["introspection_signing_alg_values_supported"], Value::Null);
    assert_eq!(ask(&off, &off.shop, &[SIGNED], "x").await.json(), json!({ "active": false }));
}
