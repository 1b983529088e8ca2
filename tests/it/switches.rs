//! What the configuration switches off is neither there nor in the metadata.

use http::StatusCode;
use scopegate::domain::client::GrantType;
use serde_json::Value;

use crate::harness::{REDIRECT_URI, Sidecar, VERIFIER, form};

const EVERYTHING_OFF: &str = "[tokens]\ndpop = false\n[grants]\nclient_credentials = false\ndevice_code = false\ntoken_exchange = false\n\
                              [par]\nenabled = false\n[openid]\nenabled = false\n\
                              [jwt]\naccess_tokens = false\nintrospection_responses = false\n";

#[tokio::test]
async fn d1_the_metadata_names_what_is_there_and_nothing_else() {
    for (more, is_there) in [("", true), (EVERYTHING_OFF, false)] {
        let sidecar = Sidecar::with(more).await;
        let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
        for (member, path) in [
            ("pushed_authorization_request_endpoint", "/par"),
            ("device_authorization_endpoint", "/device_authorization"),
            ("userinfo_endpoint", "/userinfo"),
            ("jwks_uri", "/jwks"),
            ("end_session_endpoint", "/logout"),
            ("revocation_endpoint", "/revoke"),
            ("introspection_endpoint", "/introspect"),
        ] {
            let always = ["/revoke", "/introspect"].contains(&path);
            let named = metadata.get(member).and_then(Value::as_str).is_some_and(|url| url.ends_with(path));
            assert_eq!(named, is_there || always, "{member}: {metadata}");
            let found = sidecar.http().get(path).await.status != StatusCode::NOT_FOUND;
            assert_eq!(found, named, "{path}");
        }
        assert_eq!(metadata.get("dpop_signing_alg_values_supported").is_some(), is_there);
        assert_eq!(sidecar.http().get("/device").await.status == StatusCode::NOT_FOUND, !is_there);
    }
}

#[tokio::test]
async fn t18_a_grant_that_is_switched_off_is_for_no_client() {
    let sidecar = Sidecar::with(EVERYTHING_OFF).await;
    let client = sidecar.register_for(&GrantType::ALL).await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["grant_types_supported"], serde_json::json!(["authorization_code", "refresh_token"]));
    for grant_type in GrantType::ALL {
        let reply = sidecar.http().post_as(&client, "/token", &[("grant_type", grant_type.as_str())]).await;
        let expected = match grant_type {
            GrantType::AuthorizationCode | GrantType::RefreshToken => "invalid_request",
            GrantType::ClientCredentials | GrantType::DeviceCode | GrantType::TokenExchange => "unsupported_grant_type",
        };
        reply.assert_error(400, expected);
    }
}

#[tokio::test]
async fn without_dpop_a_proof_binds_nothing() {
    let sidecar = Sidecar::with("[tokens]\ndpop = false\n").await;
    // Neither a thumbprint that is named nor a header that would be refused as a proof.
    let request = sidecar.request(&[("dpop_jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]);
    let code = sidecar.code_for(&request).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("client_id", sidecar.shop.id.as_str()),
        ("client_secret", sidecar.shop.secret.as_str()),
    ];
    let reply = sidecar.http().post_text("/token", &[("dpop", "no proof")], &form(&body)).await;
    assert_eq!(reply.json()["token_type"], "Bearer", "{}", reply.body);
    assert!(sidecar.is_active(&reply.tokens().access).await);
}
