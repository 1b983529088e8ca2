//! Tokens that are bound to a client certificate (RFC 8705 §3), which a proxy in front passes on.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use scopegate::domain::client::ClientMetadata;
use scopegate::proto::scopegate::v1 as api;
use scopegate::store::ClientChanges;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER, basic, form};

const TRUSTING: &str =
    "[http]\nclient_certificate_header = 'Client-Cert'\ntrusted_proxies = ['10.0.0.0/8', '127.0.0.1']";
const ONE: [u8; 4] = [0x30, 2, 1, 1];
const OTHER: [u8; 4] = [0x30, 2, 1, 2];

fn header(der: [u8; 4]) -> String {
    format!(":{}:", BASE64_STANDARD.encode(der))
}

fn thumbprint(der: [u8; 4]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(der))
}

async fn bind(sidecar: &Sidecar, client: &Registered) {
    let metadata = ClientMetadata { tls_client_certificate_bound_access_tokens: true, ..ClientMetadata::default() };
    let changes = ClientChanges { metadata: Some(metadata), ..ClientChanges::default() };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
}

async fn post(sidecar: &Sidecar, client: &Registered, certificates: &[&str], more: &[(&str, &str)]) -> Reply {
    let authorization = basic(&client.id, &client.secret);
    let mut headers: Vec<(&str, &str)> = certificates.iter().map(|value| ("client-cert", *value)).collect();
    let mut parameters = more.to_vec();
    if client.secret.is_empty() {
        parameters.push(("client_id", &client.id));
    } else {
        headers.push(("authorization", &authorization));
    }
    sidecar.http().post_text("/token", &headers, &form(&parameters)).await
}

async fn redeem(sidecar: &Sidecar, client: &Registered, certificates: &[&str], code: &str) -> Reply {
    let more = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    post(sidecar, client, certificates, &more).await
}

async fn check(sidecar: &Sidecar, token: &str, certificate: &str) -> api::CheckScopesResponse {
    let request = api::CheckScopesRequest {
        token: token.into(),
        proof: Some(api::Proof { client_certificate_sha256: certificate.into(), ..Default::default() }),
        ..Default::default()
    };
    sidecar.grpc().await.check_scopes(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_that_its_client_presented() {
    let sidecar = Sidecar::with(TRUSTING).await;
    bind(&sidecar, &sidecar.shop).await;
    let code = sidecar.code().await;
    for none in [&[][..], &["garbage"], &[":AAAA:"], &[&header(ONE), &header(ONE)]] {
        redeem(&sidecar, &sidecar.shop, none, &code).await.assert_error(400, "invalid_request");
    }
    let reply = redeem(&sidecar, &sidecar.shop, &[&header(ONE)], &code).await;
    assert_eq!(reply.json()["token_type"], "Bearer");
    let tokens = reply.tokens();
    let http = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &tokens.access)]).await.json();
    assert_eq!(http["cnf"], json!({ "x5t#S256": thumbprint(ONE) }), "i6");
    assert_eq!(sidecar.introspect(&tokens.access).await.cnf.unwrap().x5t_s256, thumbprint(ONE));
    assert_eq!(check(&sidecar, &tokens.access, &thumbprint(ONE)).await.decision(), api::Decision::Allowed);
    for wrong in ["", &thumbprint(OTHER)] {
        let refused = check(&sidecar, &tokens.access, wrong).await;
        assert_eq!((refused.decision(), refused.http_status), (api::Decision::InvalidProof, 401));
        assert!(
            refused.www_authenticate.starts_with(r#"Bearer error="invalid_token""#),
            "{}",
            refused.www_authenticate
        );
    }
    assert_eq!(sidecar.check(&tokens.access, &["a"]).await.decision(), api::Decision::InvalidProof);
}

#[tokio::test]
async fn u2_user_info_takes_a_bound_token_with_its_certificate_alone() {
    let sidecar = Sidecar::with(TRUSTING).await;
    let scopes = Some("openid a b".parse().unwrap());
    let changes = ClientChanges { scopes, ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    bind(&sidecar, &sidecar.shop).await;
    let code = sidecar.code_for(&sidecar.request(&[("scope", "openid")])).await;
    let tokens = redeem(&sidecar, &sidecar.shop, &[&header(ONE)], &code).await.tokens();
    let bearer = format!("Bearer {}", tokens.access);
    let (one, other) = (header(ONE), header(OTHER));
    for (certificates, status) in [(vec![&one], 200), (vec![&other], 401), (vec![], 401), (vec![&one, &one], 401)] {
        let certificates = certificates.iter().map(|certificate| ("client-cert", certificate.as_str()));
        let headers: Vec<(&str, &str)> = certificates.chain([("authorization", bearer.as_str())]).collect();
        let reply = sidecar.http().send(http::Method::GET, "/userinfo", &headers, "").await;
        assert_eq!(reply.status.as_u16(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn f16_the_refresh_token_of_a_public_client_is_bound_to_its_certificate() {
    let sidecar = Sidecar::with(TRUSTING).await;
    bind(&sidecar, &sidecar.app).await;
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &sidecar.app.id)])).await;
    let tokens = redeem(&sidecar, &sidecar.app, &[&header(ONE)], &code).await.tokens();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    post(&sidecar, &sidecar.app, &[&header(OTHER)], &refresh).await.assert_error(400, "invalid_grant");
    post(&sidecar, &sidecar.app, &[&header(ONE)], &refresh).await.tokens();
}

#[tokio::test]
async fn x6_a_certificate_header_of_anybody_else_does_not_count() {
    let elsewhere = TRUSTING.replace(", '127.0.0.1'", "");
    for (configuration, advertised) in [("", false), (elsewhere.as_str(), true)] {
        let sidecar = Sidecar::with(configuration).await;
        bind(&sidecar, &sidecar.shop).await;
        let code = sidecar.code().await;
        let refused = redeem(&sidecar, &sidecar.shop, &[&header(ONE)], &code).await;
        refused.assert_error(400, "invalid_request");
        let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
        assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], advertised);
    }
}
