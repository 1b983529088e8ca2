//! Introspection over HTTP and gRPC (RFC 7662).

use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::clients::NewClient;
use serde_json::json;

use crate::harness::{Registered, Sidecar, USERNAME, basic};

#[tokio::test]
async fn i6_i7_i8_i9_an_active_token_is_described_the_same_way_over_both_fronts() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let http = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &tokens.access)]).await;
    assert_eq!((http.status, http.header("cache-control")), (StatusCode::OK, Some("no-store")), "i9");
    let grpc = sidecar.introspect(&tokens.access).await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    assert_eq!(
        http.json(),
        json!({
            "active": true, "scope": "a b", "client_id": sidecar.shop.id, "username": USERNAME, "token_type": "Bearer",
            "exp": grpc.iat + 600, "iat": grpc.iat, "nbf": grpc.iat, "sub": grpc.sub, "iss": issuer, "jti": format!("{}.0", grpc.grant_id),
            "auth_time": grpc.auth_time, "acr": grpc.acr,
        })
    );
    assert_eq!((grpc.exp, grpc.scopes, grpc.iss), (grpc.iat + 600, vec!["a".to_owned(), "b".to_owned()], issuer));
    assert_eq!(grpc.grant_id.len(), 32);
    let refresh = sidecar.introspect(&tokens.refresh).await;
    assert_eq!(
        (refresh.active, refresh.token_type.as_str(), refresh.exp),
        (true, "refresh_token", grpc.iat + 30 * 86_400),
        "i8"
    );
    sidecar.clock.advance(599);
    assert!(sidecar.is_active(&tokens.access).await);
    sidecar.clock.advance(1);
    assert!(!sidecar.is_active(&tokens.access).await);
}

#[tokio::test]
async fn i1_i4_the_caller_is_a_confidential_client_that_posts_a_form() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let http = sidecar.http();
    http.post("/introspect", &[("token", &tokens.access)]).await.assert_error(401, "invalid_client");
    http.post_as(&sidecar.app, "/introspect", &[("token", &tokens.access)]).await.assert_error(401, "invalid_client");
    http.post_as(&sidecar.shop, "/introspect", &[]).await.assert_error(400, "invalid_request");
    assert_eq!(http.get("/introspect").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let authorization = basic(&sidecar.shop.id, &sidecar.shop.secret);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    http.send(Method::POST, "/introspect", &headers, "{}").await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn i2_i3_what_the_caller_may_not_see_is_inactive_and_nothing_else() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let register = async |introspects| {
        let new = NewClient {
            name: "API".into(),
            redirect_uris: vec![],
            scopes: "a".parse().unwrap(),
            public: false,
            introspects,
            metadata: ClientMetadata::default(),
        };
        let (client, secret) = sidecar.service.create_client(new).await.unwrap();
        Registered { id: client.id.to_string(), secret: secret.unwrap().expose().into() }
    };
    let (stranger, resource_server) = (register(Introspects::Own).await, register(Introspects::Any).await);
    let introspect =
        async |caller, token| sidecar.http().post_as(caller, "/introspect", &[("token", token)]).await.json();
    assert_eq!(introspect(&stranger, &tokens.access).await, json!({ "active": false }));
    assert_eq!(introspect(&resource_server, &tokens.access).await["active"], true);
    assert_eq!(introspect(&sidecar.shop, "unknown").await, json!({ "active": false }));
    let code = sidecar.code().await;
    assert_eq!(
        introspect(&sidecar.shop, &code).await,
        json!({ "active": false }),
        "a code is for the token endpoint alone"
    );
    sidecar.redeem(&code).await.tokens();
    let empty = sidecar.introspect("unknown").await;
    assert_eq!(
        empty,
        api::IntrospectResponse { consistency_token: empty.consistency_token.clone(), ..Default::default() }
    );
}

#[tokio::test]
async fn i5_a_wrong_hint_does_no_harm() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    for hint in ["refresh_token", "nonsense"] {
        let reply = sidecar
            .http()
            .post_as(&sidecar.shop, "/introspect", &[("token", &tokens.access), ("token_type_hint", hint)])
            .await;
        assert_eq!(reply.json()["active"], true);
    }
}

#[tokio::test]
async fn a20_d2_the_metadata_names_every_endpoint_and_each_answers() {
    let sidecar = Sidecar::start().await;
    let reply = sidecar.http().get("/.well-known/oauth-authorization-server").await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, Some("application/json")));
    let metadata = reply.json();
    let issuer = format!("http://{}", sidecar.addresses.http);
    assert_eq!(metadata["issuer"], issuer);
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    let urn = "urn:ietf:params:oauth:grant-type";
    let (device_code, exchange) = (format!("{urn}:device_code"), format!("{urn}:token-exchange"));
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["authorization_code", "refresh_token", "client_credentials", device_code, exchange])
    );
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["scopes_supported"], json!(["a", "b", "c", "openid", "profile"]));
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "revocation_endpoint",
        "introspection_endpoint",
        "device_authorization_endpoint",
    ] {
        let path = metadata[endpoint].as_str().unwrap().strip_prefix(&issuer).unwrap();
        let reply = sidecar.http().post(path, &[]).await;
        // Without a cookie of ours, a browser that posts from another site is sent back for it.
        let expected: &[u16] = if endpoint == "authorization_endpoint" { &[303] } else { &[400, 401] };
        assert!(expected.contains(&reply.status.as_u16()), "{endpoint}: {}", reply.status);
    }
}
