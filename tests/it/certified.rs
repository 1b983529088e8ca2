//! Clients that authenticate by a certificate (RFC 8705 §2), which a proxy in front passes on. `tests/it/certificates` has some of them,
//! good from 2020 to 2120, and the keys of three as a JSON Web Key Set.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use scopegate::domain::certificate::ClientCertificate;
use scopegate::domain::certificate_subject::CertificateSubject;
use scopegate::domain::client::{AuthenticationMethod, ClientMetadata, GrantType, Introspects};
use scopegate::domain::client_keys::ClientKeys;
use scopegate::domain::timestamp::Timestamp;
use scopegate::service::clients::{ClientError, NewClient};
use serde_json::json;

use crate::harness::{Registered, Reply, Sidecar, basic, form};

const SHOP: &str = include_str!("certificates/shop.pem");
const OTHER: &str = include_str!("certificates/other.pem");
const RSA: &str = include_str!("certificates/rsa.pem");
const ED25519: &str = include_str!("certificates/ed25519.pem");
const P384: &str = include_str!("certificates/p384.pem");
const KEYS: &str = include_str!("certificates/keys.json");
const YEAR: i64 = 365 * 86_400;

fn trusting(method: &str) -> String {
    format!(
        "[http]\nclient_certificate_header = 'Client-Cert'\ntrusted_proxies = ['127.0.0.1']\n\
         client_certificate_authentication = '{method}'"
    )
}

/// As of RFC 9440.
fn header(pem: &str) -> String {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    format!(":{base64}:")
}

/// As nginx writes it.
fn escaped(pem: &str) -> String {
    pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B").replace('=', "%3D")
}

fn machine(method: AuthenticationMethod) -> ClientMetadata {
    ClientMetadata {
        grant_types: vec![GrantType::ClientCredentials],
        token_endpoint_auth_method: Some(method),
        ..ClientMetadata::default()
    }
}

fn named(member: &str, value: &str) -> ClientMetadata {
    let certificate_subject = Some(CertificateSubject::parse(member, value).unwrap());
    ClientMetadata { certificate_subject, ..machine(AuthenticationMethod::TlsClientAuth) }
}

fn with_keys() -> ClientMetadata {
    let jwks = Some(ClientKeys::parse(serde_json::from_str(KEYS).unwrap()).unwrap());
    ClientMetadata { jwks, ..machine(AuthenticationMethod::SelfSignedTlsClientAuth) }
}

async fn post(sidecar: &Sidecar, client: &Registered, path: &str, headers: &[String], more: &[(&str, &str)]) -> Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|value| ("client-cert", value.as_str())).collect();
    let parameters = [&[("client_id", client.id.as_str())], more].concat();
    sidecar.http().post_text(path, &headers, &form(&parameters)).await
}

async fn token(sidecar: &Sidecar, client: &Registered, headers: &[String]) -> Reply {
    post(sidecar, client, "/token", headers, &[("grant_type", "client_credentials")]).await
}

#[tokio::test]
async fn t24_a_certificate_proves_the_client_whose_name_it_has() {
    let sidecar = Sidecar::with(&trusting("tls_client_auth")).await;
    for (member, value) in [
        ("subject_dn", r"CN=shop,O=Example\, Inc.,C=XX"),
        ("subject_dn", r"cn=shop, 2.5.4.10=Example\2c Inc.,C=XX"),
        ("san_dns", "shop.example"),
        ("san_uri", "spiffe://example/shop"),
        ("san_ip", "192.0.2.1"),
        ("san_ip", "2001:db8:0::1"),
        ("san_email", "shop@example"),
    ] {
        let client = sidecar.register(false, Introspects::Own, named(member, value)).await;
        assert_eq!(client.secret, "", "it has none");
        for good in [header(SHOP), escaped(SHOP)] {
            let reply = token(&sidecar, &client, &[good]).await;
            assert_eq!(reply.status.as_u16(), 200, "{member} {value}: {reply:?}");
        }
        let wrong =
            [vec![], vec![header(OTHER)], vec![header(RSA)], vec!["x".into()], vec![header(SHOP), header(SHOP)]];
        for headers in wrong {
            token(&sidecar, &client, &headers).await.assert_error(401, "invalid_client");
        }
        let authorization = basic(&client.id, "secret");
        let (shop, parameters) = (header(SHOP), form(&[("grant_type", "client_credentials")]));
        let both = [("client-cert", shop.as_str()), ("authorization", authorization.as_str())];
        sidecar.http().post_text("/token", &both, &parameters).await.assert_error(401, "invalid_client");
    }
    for (member, value) in [
        ("subject_dn", r"C=XX,O=Example\, Inc.,CN=shop"),
        ("subject_dn", "CN=shop"),
        ("subject_dn", r"CN=Shop,O=Example\, Inc.,C=XX"),
        ("subject_dn", r"CN=shop+O=Example\, Inc.,C=XX"),
        ("subject_dn", r"OU=shop,O=Example\, Inc.,C=XX"),
        ("san_dns", "shop"),
        ("san_dns", "spiffe://example/shop"),
        ("san_uri", "spiffe://example/Shop"),
        ("san_ip", "192.0.2.2"),
        ("san_ip", "::ffff:192.0.2.1"),
        ("san_email", "shop@example.com"),
    ] {
        let client = sidecar.register(false, Introspects::Own, named(member, value)).await;
        token(&sidecar, &client, &[header(SHOP)]).await.assert_error(401, "invalid_client");
    }
    let secret = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    token(&sidecar, &secret, &[header(SHOP)]).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn t24_at_every_endpoint_where_clients_authenticate() {
    let sidecar = Sidecar::with(&trusting("tls_client_auth")).await;
    let client = sidecar.register(false, Introspects::Own, named("san_dns", "shop.example")).await;
    let access = token(&sidecar, &client, &[header(SHOP)]).await.access_token();
    let more = [("token", access.as_str())];
    for (path, refused) in [("/introspect", 401), ("/revoke", 401), ("/par", 401), ("/device_authorization", 401)] {
        post(&sidecar, &client, path, &[header(OTHER)], &more).await.assert_error(refused, "invalid_client");
    }
    let active = post(&sidecar, &client, "/introspect", &[header(SHOP)], &more).await;
    assert_eq!(active.json()["active"], true);
    for (path, error) in [("/par", "invalid_request"), ("/device_authorization", "unauthorized_client")] {
        post(&sidecar, &client, path, &[header(SHOP)], &more).await.assert_error(400, error);
    }
    assert_eq!(post(&sidecar, &client, "/revoke", &[header(SHOP)], &more).await.status.as_u16(), 200);
    assert!(!sidecar.is_active(&access).await);
}

#[tokio::test]
async fn t24_a_certificate_that_signed_itself_proves_the_client_that_registered_its_key() {
    let sidecar = Sidecar::with(&trusting("self_signed_tls_client_auth")).await;
    let client = sidecar.register(false, Introspects::Own, with_keys()).await;
    for known in [SHOP, RSA, ED25519] {
        assert_eq!(token(&sidecar, &client, &[header(known)]).await.status.as_u16(), 200, "{known}");
    }
    for unknown in [OTHER, P384] {
        token(&sidecar, &client, &[header(unknown)]).await.assert_error(401, "invalid_client");
    }
    token(&sidecar, &client, &[]).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn t24_a_certificate_that_has_expired_or_is_not_good_yet_proves_nothing() {
    for (method, metadata) in
        [("tls_client_auth", named("san_dns", "shop.example")), ("self_signed_tls_client_auth", with_keys())]
    {
        let sidecar = Sidecar::with(&trusting(method)).await;
        let client = sidecar.register(false, Introspects::Own, metadata).await;
        assert_eq!(token(&sidecar, &client, &[header(SHOP)]).await.status.as_u16(), 200);
        sidecar.clock.advance(100 * YEAR);
        token(&sidecar, &client, &[header(SHOP)]).await.assert_error(401, "invalid_client");
        sidecar.clock.advance(-150 * YEAR);
        token(&sidecar, &client, &[header(SHOP)]).await.assert_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn t24_x6_what_is_not_configured_is_neither_offered_nor_accepted() {
    let elsewhere = trusting("tls_client_auth").replace("127.0.0.1", "10.0.0.1");
    for (configuration, offered) in [
        (String::new(), None),
        (trusting("off"), None),
        (trusting("self_signed_tls_client_auth"), Some("self_signed_tls_client_auth")),
        (elsewhere, Some("tls_client_auth")),
    ] {
        let sidecar = Sidecar::with(&configuration).await;
        let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
        for (endpoint, last) in [("token", Some("none")), ("revocation", Some("none")), ("introspection", None)] {
            let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
            let expected: Vec<&str> = methods.into_iter().chain(offered).chain(last).collect();
            assert_eq!(metadata[format!("{endpoint}_endpoint_auth_methods_supported")], json!(expected));
        }
        // A client of a time when it was configured.
        let client = sidecar.register_for(&[GrantType::ClientCredentials]).await;
        let before = serde_json::to_string(&named("san_dns", "shop.example")).unwrap();
        let change = format!("UPDATE clients SET metadata = '{before}', secret_hash = NULL WHERE id = '{}'", client.id);
        sidecar.database().await.run(change).await;
        token(&sidecar, &client, &[header(SHOP)]).await.assert_error(401, "invalid_client");
    }
    let sidecar = Sidecar::start().await;
    for metadata in [named("san_dns", "shop.example"), with_keys()] {
        let new = NewClient {
            name: "X".into(),
            redirect_uris: Vec::new(),
            scopes: "a".parse().unwrap(),
            public: false,
            introspects: Introspects::Own,
            metadata,
        };
        let refused = sidecar.service.create_client(new).await;
        assert!(matches!(refused, Err(ClientError::CertificatesOff)));
    }
}

#[tokio::test]
async fn a_client_registers_itself_with_its_certificate() {
    let open = "[registration]\nmode = 'open'\n";
    let document = json!({
        "redirect_uris": ["https://c/cb"],
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": r"CN=shop,O=Example\, Inc.,C=XX",
    });
    let json_type = [("content-type", "application/json")];
    let register = async |sidecar: &Sidecar| {
        sidecar.http().send(http::Method::POST, "/register", &json_type, &document.to_string()).await
    };
    register(&Sidecar::with(open).await).await.assert_error(400, "invalid_client_metadata");
    let sidecar = Sidecar::with(&format!("{}\n{open}", trusting("tls_client_auth"))).await;
    let reply = register(&sidecar).await;
    assert_eq!(reply.status.as_u16(), 201, "{}", reply.body);
    let registered = reply.json();
    assert_eq!(registered.get("client_secret"), None);
    for member in ["token_endpoint_auth_method", "tls_client_auth_subject_dn"] {
        assert_eq!(registered[member], document[member]);
    }
    let client = Registered { id: registered["client_id"].as_str().unwrap().into(), secret: String::new() };
    let ask = async |certificate| {
        post(&sidecar, &client, "/introspect", &[header(certificate)], &[("token", "nonsense")]).await
    };
    assert_eq!(ask(SHOP).await.json(), json!({ "active": false }));
    ask(OTHER).await.assert_error(401, "invalid_client");
}

proptest! {
    /// Certificates come from outside, and here nobody has looked at them before.
    #[test]
    fn no_bytes_in_place_of_a_certificate_make_it_panic(
        position in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        length in any::<proptest::sample::Index>(),
    ) {
        let base64: String = SHOP.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = BASE64_STANDARD.decode(base64).unwrap();
        let at = position.index(der.len());
        der[at] = byte;
        let short = &der[..length.index(der.len())];
        for der in [&der[..], short] {
            let header = format!(":{}:", BASE64_STANDARD.encode(der));
            if let Some(certificate) = ClientCertificate::from_header(header.as_bytes()) {
                let now = Timestamp::from_unix(1_900_000_000);
                let _ = certificate.public_key(now);
                for (member, value) in [("subject_dn", "CN=shop"), ("san_ip", "192.0.2.1")] {
                    let _ = certificate.is_of(&CertificateSubject::parse(member, value).unwrap(), now);
                }
            }
        }
    }
}
