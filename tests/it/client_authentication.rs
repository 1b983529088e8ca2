//! Client authentication beyond one secret: several secrets, one method, and keys (RFC 7523).

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use scopegate::domain::client::{AuthenticationMethod, ClientMetadata, Introspects};
use scopegate::domain::client_keys::ClientKeys;
use scopegate::domain::timestamp::Timestamp;
use scopegate::effects::Clock as _;
use scopegate::service::clients::NewClient;
use serde_json::{Value, json};

use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// What a client signs with.
pub enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl Key {
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn public(&self) -> Value {
        match self {
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]), "kid": "1" })
            }
            Self::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) }),
            Self::Rsa(pair, _) => {
                // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: the modulus after nine bytes, the exponent in the last three.
                let der = pair.public_key().as_ref();
                let [n, e] = [&der[9..265], &der[der.len() - 3..]];
                json!({ "kty": "RSA", "n": encode(n), "e": encode(e) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A client that signs, on a sidecar.
pub struct Signer<'s> {
    pub sidecar: &'s Sidecar,
    pub id: String,
    pub key: Key,
    pub algorithm: &'static str,
}

impl<'s> Signer<'s> {
    async fn new(sidecar: &'s Sidecar, key: Key, algorithm: &'static str) -> Self {
        let metadata = ClientMetadata {
            token_endpoint_auth_method: Some(AuthenticationMethod::PrivateKeyJwt),
            jwks: Some(ClientKeys::parse(json!({ "keys": [key.public()] })).unwrap()),
            ..ClientMetadata::default()
        };
        let id = create(sidecar, metadata).await.id;
        Self { sidecar, id, key, algorithm }
    }

    fn now(&self) -> i64 {
        Timestamp::as_unix(self.sidecar.clock.now())
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.sidecar.addresses.http)
    }

    pub fn claims(&self, other: Value) -> Value {
        let mut claims = json!({
            "iss": self.id, "sub": self.id, "aud": self.issuer(), "exp": self.now() + 60, "iat": self.now(),
            "jti": encode(rand()),
        });
        let Value::Object(other) = other else { panic!("{other}") };
        claims.as_object_mut().unwrap().extend(other);
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    pub fn assertion(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        format!("{signed}.{}", encode(self.key.sign(signed.as_bytes())))
    }

    pub fn good(&self) -> String {
        self.assertion(&json!({ "alg": self.algorithm, "typ": "JWT" }), &self.claims(json!({})))
    }

    pub async fn introspect(&self, assertion: &str) -> Reply {
        introspect_at(self.sidecar, assertion, &[]).await
    }
}

async fn introspect_at(sidecar: &Sidecar, assertion: &str, other: &[(&str, &str)]) -> Reply {
    let parameters = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion), ("token", "x")];
    sidecar.http().post("/introspect", &[&parameters[..], other].concat()).await
}

fn rand() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

async fn create(sidecar: &Sidecar, metadata: ClientMetadata) -> Registered {
    let new = NewClient {
        name: "Partner".into(),
        redirect_uris: vec![REDIRECT_URI.parse().unwrap()],
        scopes: "a b".parse().unwrap(),
        public: false,
        introspects: Introspects::Own,
        metadata,
    };
    let (client, secret) = sidecar.service.create_client(new).await.unwrap();
    Registered {
        id: client.id.to_string(),
        secret: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
    }
}

#[tokio::test]
async fn a_client_that_signs_gets_tokens_asks_about_them_and_revokes_them() {
    let sidecar = Sidecar::start().await;
    let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    for (key, algorithm) in [
        (Key::p256(), "ES256"),
        (Key::Ed25519(Ed25519KeyPair::generate().unwrap()), "EdDSA"),
        (Key::Ed25519(Ed25519KeyPair::generate().unwrap()), "Ed25519"),
        (Key::Rsa(rsa(), &RSA_PKCS1_SHA256), "RS256"),
        (Key::Rsa(rsa(), &RSA_PSS_SHA256), "PS256"),
    ] {
        let signer = Signer::new(&sidecar, key, algorithm).await;
        let code = sidecar.code_for(&sidecar.request(&[("client_id", &signer.id)])).await;
        let http = sidecar.http();
        let post = async |path: &str, parameters: &[(&str, &str)]| {
            let assertion = signer.good();
            let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())];
            http.post(path, &[&proof, parameters].concat()).await
        };
        let redemption = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let tokens = post("/token", &redemption).await.tokens();
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
        let tokens = post("/token", &[&refresh[..], &[("client_id", &signer.id)]].concat()).await.tokens();
        let token = [("token", tokens.access.as_str())];
        assert_eq!(post("/introspect", &token).await.json()["active"], true, "{algorithm}");
        assert_eq!(post("/revoke", &token).await.status, 200);
        assert!(!sidecar.is_active(&tokens.access).await, "{algorithm}");
    }
}

#[tokio::test]
async fn t22_rg50_an_assertion_that_is_not_right_is_no_authentication() {
    let sidecar = Sidecar::start().await;
    let signer = Signer::new(&sidecar, Key::p256(), "ES256").await;
    let (now, header) = (signer.now(), json!({ "alg": "ES256" }));
    let endpoint = format!("{}/token", signer.issuer());
    for claims in [
        json!({ "aud": endpoint }),
        json!({ "aud": [endpoint, signer.issuer()] }),
        json!({ "exp": now + 300 }),
        json!({ "iat": null }),
    ] {
        let reply = signer.introspect(&signer.assertion(&header, &signer.claims(claims.clone()))).await;
        assert_eq!(reply.status, 200, "{claims}: {}", reply.body);
    }
    for claims in [
        json!({ "aud": "https://other.example" }),
        json!({ "aud": [signer.issuer(), "https://other.example"] }),
        json!({ "aud": format!("{}/introspect", signer.issuer()) }),
        json!({ "aud": null }),
        json!({ "exp": now - 60 }),
        json!({ "exp": now + 3_600 }),
        json!({ "exp": null }),
        json!({ "nbf": now + 60 }),
        json!({ "jti": null }),
        json!({ "iss": sidecar.shop.id }),
        json!({ "iss": sidecar.shop.id, "sub": sidecar.shop.id }),
        json!({ "iss": sidecar.app.id, "sub": sidecar.app.id }),
        json!({ "iss": "unknown", "sub": "unknown" }),
        json!({ "x": "x".repeat(9 << 10) }),
    ] {
        let reply = signer.introspect(&signer.assertion(&header, &signer.claims(claims))).await;
        reply.assert_error(401, "invalid_client");
    }
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "ES256", "kid": "other" }),
        json!({ "alg": "ES256", "crit": ["x"], "x": 1 }),
        json!({ "alg": "ES256", "typ": "dpop+jwt" }),
    ] {
        let reply = signer.introspect(&signer.assertion(&header, &signer.claims(json!({})))).await;
        reply.assert_error(401, "invalid_client");
    }

    let good = signer.good();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut flipped = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[10] ^= 1;
    let other = Signer { key: Key::p256(), id: signer.id.clone(), ..signer };
    for bad in [format!("{signed}."), format!("{signed}.{}", encode(flipped)), signed.to_owned(), other.good()] {
        signer_less(&sidecar, &bad).await.assert_error(401, "invalid_client");
    }
    assert_eq!(signer_less(&sidecar, &good).await.status, 200, "what was refused did not use it up");
}

async fn signer_less(sidecar: &Sidecar, assertion: &str) -> Reply {
    introspect_at(sidecar, assertion, &[]).await
}

#[tokio::test]
async fn t22_a_public_key_is_no_secret_to_hash_with() {
    let sidecar = Sidecar::start().await;
    let signer = Signer::new(&sidecar, Key::p256(), "ES256").await;
    for secret in [signer.key.public().to_string(), encode(signer.key.public()["x"].as_str().unwrap())] {
        let header = encode(json!({ "alg": "HS256" }).to_string());
        let signed = format!("{header}.{}", encode(signer.claims(json!({})).to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let assertion = format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes())));
        signer.introspect(&assertion).await.assert_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn t22_rg39_an_assertion_is_good_once_on_whichever_server() {
    let sidecar = Sidecar::start().await;
    let issuer = format!("issuer = 'http://{}'", sidecar.addresses.http);
    let others = [sidecar.beside_with(&issuer).await, sidecar.beside_with(&issuer).await];
    let signer = Signer::new(&sidecar, Key::p256(), "ES256").await;
    for server in [&sidecar, &others[0], &others[1]] {
        let assertion = signer.good();
        assert_eq!(introspect_at(server, &assertion, &[]).await.status, 200);
        for again in [&sidecar, &others[0], &others[1]] {
            introspect_at(again, &assertion, &[]).await.assert_error(401, "invalid_client");
        }
    }
    let assertion = signer.good();
    let attempts = (0..12).map(|index| {
        let server = [&sidecar, &others[0], &others[1]][index % 3];
        introspect_at(server, &assertion, &[])
    });
    let good = futures_util::future::join_all(attempts).await.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(good, 1);

    let mut database = sidecar.database().await;
    assert_eq!(database.count("used_assertions").await, 4);
    sidecar.clock.advance(2 * 3_600);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("used_assertions").await, 0);
    introspect_at(&sidecar, &assertion, &[]).await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn t11_t12_t13_t23_a_client_authenticates_in_one_way() {
    let sidecar = Sidecar::start().await;
    let signer = Signer::new(&sidecar, Key::p256(), "ES256").await;
    let http = sidecar.http();
    introspect_at(&sidecar, &signer.good(), &[("client_secret", "x")]).await.assert_error(400, "invalid_request");
    introspect_at(&sidecar, &signer.good(), &[("client_id", &sidecar.shop.id)])
        .await
        .assert_error(400, "invalid_request");
    let assertion = signer.good();
    let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str()), ("token", "x")];
    http.post_as(&sidecar.shop, "/introspect", &proof).await.assert_error(400, "invalid_request");
    assert_eq!(introspect_at(&sidecar, &assertion, &[("client_id", &signer.id)]).await.status, 200);
    for proof in [
        vec![("client_assertion", assertion.as_str())],
        vec![("client_assertion", assertion.as_str()), ("client_assertion_type", "urn:other")],
        vec![("client_assertion_type", ASSERTION_TYPE)],
        vec![("client_id", signer.id.as_str())],
        vec![("client_id", signer.id.as_str()), ("client_secret", "x")],
    ] {
        http.post("/introspect", &[&[("token", "x")], &proof[..]].concat()).await.assert_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn t14_a_client_that_registered_one_method_uses_no_other() {
    let sidecar = Sidecar::start().await;
    let http = sidecar.http();
    for (method, basic, post) in [
        (None, 200, 200),
        (Some(AuthenticationMethod::ClientSecretBasic), 200, 401),
        (Some(AuthenticationMethod::ClientSecretPost), 401, 200),
    ] {
        let metadata = ClientMetadata { token_endpoint_auth_method: method, ..ClientMetadata::default() };
        let client = create(&sidecar, metadata).await;
        assert_eq!(http.post_as(&client, "/introspect", &[("token", "x")]).await.status, basic, "{method:?}");
        let posted = [("token", "x"), ("client_id", &client.id), ("client_secret", &client.secret)];
        assert_eq!(http.post("/introspect", &posted).await.status, post, "{method:?}");
    }
}

#[tokio::test]
async fn t26_the_secret_before_is_good_for_the_overlap_and_never_a_third() {
    let sidecar = Sidecar::start().await;
    let id = || sidecar.shop.id.parse().unwrap();
    let works = async |secret: &str| {
        let client = Registered { id: sidecar.shop.id.clone(), secret: secret.into() };
        sidecar.http().post_as(&client, "/introspect", &[("token", "x")]).await.status == 200
    };
    let first = sidecar.shop.secret.as_str();
    let second = sidecar.service.rotate_client_secret(id(), 100).await.unwrap();
    assert!(works(first).await && works(second.expose()).await);
    sidecar.clock.advance(99);
    assert!(works(first).await && works(second.expose()).await);
    sidecar.clock.advance(1);
    assert!(!works(first).await && works(second.expose()).await);

    let third = sidecar.service.rotate_client_secret(id(), 100).await.unwrap();
    let fourth = sidecar.service.rotate_client_secret(id(), 100).await.unwrap();
    assert!(!works(second.expose()).await && works(third.expose()).await && works(fourth.expose()).await);
    let fifth = sidecar.service.rotate_client_secret(id(), 0).await.unwrap();
    assert!(!works(third.expose()).await && !works(fourth.expose()).await && works(fifth.expose()).await);
    let mut database = sidecar.database().await;
    assert_eq!(database.count("clients WHERE previous_secret_hash IS NOT NULL").await, 0);
    assert!(sidecar.service.rotate_client_secret(sidecar.app.id.parse().unwrap(), 0).await.is_err());
}

#[tokio::test]
async fn a_fault_is_not_an_authentication_nor_a_refusal() {
    let sidecar = Sidecar::start().await;
    let signer = Signer::new(&sidecar, Key::p256(), "ES256").await;
    let mut database = sidecar.database().await;
    database.execute("ALTER TABLE used_assertions RENAME TO gone").await;
    signer.introspect(&signer.good()).await.assert_error(503, "temporarily_unavailable");
}

#[tokio::test]
async fn the_metadata_says_by_which_methods_and_algorithms_clients_authenticate() {
    let sidecar = Sidecar::start().await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    let secrets_and_keys = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    assert_eq!(metadata["introspection_endpoint_auth_methods_supported"], secrets_and_keys);
    for endpoint in ["token", "revocation", "introspection"] {
        let methods = metadata[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().unwrap();
        assert!(methods.contains(&"private_key_jwt".into()));
        let algorithms = &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert_eq!(algorithms, &json!(["RS256", "PS256", "ES256", "Ed25519", "EdDSA"]));
    }
    let secrets = Sidecar::with("[token_endpoint]\nclient_authentication = ['client_secret_basic', 'none']").await;
    let metadata = secrets.http().get("/.well-known/oauth-authorization-server").await.json();
    for endpoint in ["token", "revocation", "introspection"] {
        assert_eq!(metadata.get(format!("{endpoint}_endpoint_auth_signing_alg_values_supported")), None, "{endpoint}");
    }
}

#[tokio::test]
async fn the_use_of_a_client_is_noted_once_a_day() {
    let sidecar = Sidecar::start().await;
    let name = "scopegate_store_operations_total{operation=\"note the use of a client\"}";
    let tokens = sidecar.tokens().await;
    let tokens = sidecar.refresh(&tokens.refresh).await.tokens();
    sidecar.redeem("x").await.assert_error(400, "invalid_grant");
    assert_eq!(sidecar.metric(name).await, 1);
    sidecar.clock.advance(86_400);
    sidecar.refresh(&tokens.refresh).await.tokens();
    assert_eq!(sidecar.metric(name).await, 2);
    let client = sidecar.service.client(sidecar.shop.id.parse().unwrap()).await.unwrap();
    assert_eq!(client.last_used_at, Some(sidecar.clock.now()));
}
