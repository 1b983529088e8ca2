//! DPoP: tokens that are bound to a key (RFC 9449).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use scopegate::domain::client::ClientMetadata;
use scopegate::effects::Clock as _;
use scopegate::proto::scopegate::v1 as api;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER, basic, form};

pub(crate) const ADDRESS: &str = "https://api.example/orders";

/// A key of a client.
pub(crate) struct Key(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair, &'static str),
    Rsa(RsaKeyPair, &'static str),
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    pub(crate) fn new() -> Self {
        Self::of("ES256")
    }

    /// A key for an algorithm.
    pub(crate) fn of(algorithm: &str) -> Self {
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self(match algorithm {
            "ES256" => Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "Ed25519" => Pair::Ed25519(Ed25519KeyPair::generate().unwrap(), "Ed25519"),
            "EdDSA" => Pair::Ed25519(Ed25519KeyPair::generate().unwrap(), "EdDSA"),
            "RS256" => Pair::Rsa(rsa(), "RS256"),
            "PS256" => Pair::Rsa(rsa(), "PS256"),
            other => panic!("this client does not know {other}"),
        })
    }

    fn algorithm(&self) -> &'static str {
        match &self.0 {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_, algorithm) | Pair::Rsa(_, algorithm) => algorithm,
        }
    }

    fn jwk(&self) -> Value {
        match &self.0 {
            Pair::P256(key) => {
                let point = key.public_key().as_ref();
                json!({ "crv": "P-256", "kty": "EC", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
            }
            Pair::Ed25519(key, _) => json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(key.public_key().as_ref()) }),
            Pair::Rsa(key, _) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({ "e": encode(e), "kty": "RSA", "n": encode(n) })
            }
        }
    }

    /// RFC 7638 §3: the members in the order of their names, as they are written here.
    pub(crate) fn thumbprint(&self) -> String {
        encode(Sha256::digest(self.jwk().to_string()))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "dpop+jwt", "alg": self.algorithm(), "jwk": self.jwk() });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match &self.0 {
            Pair::P256(key) => key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed25519(key, _) => key.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(key, algorithm) => {
                let padding: &dyn RsaEncoding = if *algorithm == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", encode(signature))
    }

    /// A proof for an endpoint of a server.
    pub(crate) fn proof(&self, sidecar: &Sidecar, path: &str) -> String {
        self.sign(&claims(sidecar, "POST", &format!("http://{}{path}", sidecar.addresses.http)))
    }

    /// A proof for a request to a resource.
    pub(crate) fn proof_with(&self, sidecar: &Sidecar, token: &str) -> String {
        let mut claims = claims(sidecar, "GET", ADDRESS);
        claims["ath"] = encode(Sha256::digest(token)).into();
        self.sign(&claims)
    }
}

pub(crate) fn claims(sidecar: &Sidecar, method: &str, uri: &str) -> Value {
    let name = scopegate::effects::Effects::system().random_name();
    json!({ "jti": name, "htm": method, "htu": uri, "iat": sidecar.clock.now().as_unix() })
}

/// A token request, with these proofs.
pub(crate) async fn post(
    sidecar: &Sidecar,
    client: &Registered,
    path: &str,
    proofs: &[&str],
    more: &[(&str, &str)],
) -> Reply {
    let authorization = basic(&client.id, &client.secret);
    let mut headers: Vec<(&str, &str)> = proofs.iter().map(|proof| ("dpop", *proof)).collect();
    let mut parameters = more.to_vec();
    if client.secret.is_empty() {
        parameters.push(("client_id", &client.id));
    } else {
        headers.push(("authorization", &authorization));
    }
    sidecar.http().post_text(path, &headers, &form(&parameters)).await
}

pub(crate) async fn redeem(sidecar: &Sidecar, client: &Registered, proofs: &[&str], code: &str) -> Reply {
    let more = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    post(sidecar, client, "/token", proofs, &more).await
}

pub(crate) async fn refresh(sidecar: &Sidecar, client: &Registered, proofs: &[&str], token: &str) -> Reply {
    let more = [("grant_type", "refresh_token"), ("refresh_token", token)];
    post(sidecar, client, "/token", proofs, &more).await
}

pub(crate) async fn code_for(sidecar: &Sidecar, client: &Registered, more: &[(&str, &str)]) -> String {
    sidecar.code_for(&sidecar.request(&[&[("client_id", client.id.as_str())], more].concat())).await
}

fn question(token: &str, proofs: &[&str]) -> api::CheckScopesRequest {
    let proof = api::Proof {
        dpop: proofs.iter().map(|&proof| proof.into()).collect(),
        http_method: "GET".into(),
        http_uri: format!("{ADDRESS}?page=2"),
        ..Default::default()
    };
    let required_scopes = vec!["a".into()];
    api::CheckScopesRequest { token: token.into(), required_scopes, proof: Some(proof), ..Default::default() }
}

pub(crate) async fn check(sidecar: &Sidecar, token: &str, proofs: &[&str]) -> api::CheckScopesResponse {
    sidecar.grpc().await.check_scopes(question(token, proofs)).await.unwrap().into_inner()
}

#[tokio::test]
async fn x13_i6_a_bound_token_passes_with_a_proof_of_its_key_and_not_otherwise() {
    let sidecar = Sidecar::with("[cache]\nanswer_ttl = 5000").await;
    let (key, other) = (Key::new(), Key::new());
    let code = code_for(&sidecar, &sidecar.shop, &[]).await;
    let reply = redeem(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], &code).await;
    let (token_type, tokens) = (reply.json()["token_type"].clone(), reply.tokens());
    assert_eq!(token_type, "DPoP");
    let described = sidecar.introspect(&tokens.access).await;
    assert_eq!((described.token_type.as_str(), described.cnf.unwrap().jkt), ("DPoP", key.thumbprint()));
    let http = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &tokens.access)]).await.json();
    assert_eq!((&http["token_type"], &http["cnf"]), (&json!("DPoP"), &json!({ "jkt": key.thumbprint() })));

    let allowed = check(&sidecar, &tokens.access, &[&key.proof_with(&sidecar, &tokens.access)]).await;
    assert_eq!(allowed.decision(), api::Decision::Allowed, "{}", allowed.www_authenticate);
    assert!(allowed.cache_ttl.is_none(), "the answer is for one request");
    let replayed = key.proof_with(&sidecar, &tokens.access);
    assert_eq!(check(&sidecar, &tokens.access, &[&replayed]).await.decision(), api::Decision::Allowed);
    let mut wrong_method = claims(&sidecar, "POST", ADDRESS);
    wrong_method["ath"] = encode(Sha256::digest(&tokens.access)).into();
    let without_hash = key.sign(&claims(&sidecar, "GET", ADDRESS));
    for (proofs, error) in [
        (vec![], "invalid_token"),
        (vec![other.proof_with(&sidecar, &tokens.access)], "invalid_token"),
        (vec![replayed], "invalid_dpop_proof"),
        (vec![key.sign(&wrong_method)], "invalid_dpop_proof"),
        (vec![without_hash], "invalid_dpop_proof"),
        (vec![key.proof_with(&sidecar, "another token")], "invalid_dpop_proof"),
        (vec!["garbage".into()], "invalid_dpop_proof"),
        (
            vec![key.proof_with(&sidecar, &tokens.access), key.proof_with(&sidecar, &tokens.access)],
            "invalid_dpop_proof",
        ),
    ] {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let refused = check(&sidecar, &tokens.access, &proofs).await;
        assert_eq!((refused.decision(), refused.http_status), (api::Decision::InvalidProof, 401), "{proofs:?}");
        assert!(
            refused.www_authenticate.starts_with(&format!("DPoP error=\"{error}\"")),
            "{}",
            refused.www_authenticate
        );
        assert!(refused.www_authenticate.contains(r#"algs="ES256 Ed25519 EdDSA RS256 PS256""#));
    }
    let stale = key.proof_with(&sidecar, &tokens.access);
    sidecar.clock.advance(61);
    assert_eq!(check(&sidecar, &tokens.access, &[&stale]).await.decision(), api::Decision::InvalidProof);
    assert_eq!(sidecar.check(&tokens.access, &["a"]).await.decision(), api::Decision::InvalidProof, "as Bearer");
    let bearer = sidecar.tokens().await;
    let refused = check(&sidecar, &bearer.access, &[&key.proof_with(&sidecar, &bearer.access)]).await;
    assert_eq!(refused.decision(), api::Decision::InvalidProof, "a bearer token is not bound to what is shown");
}

#[tokio::test]
async fn x13_a_proof_passes_once_on_all_servers_of_a_database() {
    let sidecar = Sidecar::start().await;
    let key = Key::new();
    let code = code_for(&sidecar, &sidecar.shop, &[]).await;
    let proof = key.proof(&sidecar, "/token");
    let tokens = redeem(&sidecar, &sidecar.shop, &[&proof], &code).await.tokens();
    let again = refresh(&sidecar, &sidecar.shop, &[&proof], &tokens.refresh).await;
    again.assert_error(400, "invalid_dpop_proof");
    if !sidecar.database().await.is_shared() {
        return;
    }
    let beside = sidecar.beside().await;
    let proof = key.proof_with(&sidecar, &tokens.access);
    assert_eq!(check(&sidecar, &tokens.access, &[&proof]).await.decision(), api::Decision::Allowed);
    assert_eq!(check(&beside, &tokens.access, &[&proof]).await.decision(), api::Decision::InvalidProof);
}

#[tokio::test]
async fn f16_the_refresh_token_of_a_public_client_is_bound_too() {
    let sidecar = Sidecar::start().await;
    let (key, other) = (Key::new(), Key::new());
    let code = code_for(&sidecar, &sidecar.app, &[]).await;
    let first = redeem(&sidecar, &sidecar.app, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
    assert_eq!(sidecar.introspect(&first.refresh).await.cnf.unwrap().jkt, key.thumbprint());
    refresh(&sidecar, &sidecar.app, &[], &first.refresh).await.assert_error(400, "invalid_grant");
    let foreign = other.proof(&sidecar, "/token");
    refresh(&sidecar, &sidecar.app, &[&foreign], &first.refresh).await.assert_error(400, "invalid_grant");
    let second = refresh(&sidecar, &sidecar.app, &[&key.proof(&sidecar, "/token")], &first.refresh).await.tokens();
    let third = refresh(&sidecar, &sidecar.app, &[&key.proof(&sidecar, "/token")], &second.refresh).await.tokens();
    refresh(&sidecar, &sidecar.app, &[], &first.refresh).await.assert_error(400, "invalid_grant");
    assert!(sidecar.is_active(&third.access).await, "a stolen old token does not even end the grant");

    let code = code_for(&sidecar, &sidecar.app, &[]).await;
    let bearer = redeem(&sidecar, &sidecar.app, &[], &code).await.tokens();
    let late = refresh(&sidecar, &sidecar.app, &[&key.proof(&sidecar, "/token")], &bearer.refresh).await;
    late.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn f16_a_confidential_client_may_change_its_key() {
    let sidecar = Sidecar::start().await;
    let (key, other) = (Key::new(), Key::new());
    let code = code_for(&sidecar, &sidecar.shop, &[]).await;
    let first = redeem(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
    assert!(sidecar.introspect(&first.refresh).await.cnf.is_none());
    let second = refresh(&sidecar, &sidecar.shop, &[&other.proof(&sidecar, "/token")], &first.refresh).await;
    assert_eq!(second.json()["token_type"], "DPoP");
    let second = second.tokens();
    assert_eq!(sidecar.introspect(&second.access).await.cnf.unwrap().jkt, other.thumbprint());
    assert_eq!(sidecar.introspect(&first.access).await.cnf.unwrap().jkt, key.thumbprint());
    let bearer = refresh(&sidecar, &sidecar.shop, &[], &second.refresh).await;
    assert_eq!(bearer.json()["token_type"], "Bearer");
    assert_eq!(sidecar.check(&bearer.tokens().access, &["a", "b"]).await.decision(), api::Decision::Allowed);
}

#[tokio::test]
async fn a_code_is_redeemed_only_with_the_key_that_the_authorization_request_named() {
    let sidecar = Sidecar::start().await;
    let (key, other) = (Key::new(), Key::new());
    for client in [&sidecar.shop, &sidecar.app] {
        let code = code_for(&sidecar, client, &[("dpop_jkt", &key.thumbprint())]).await;
        redeem(&sidecar, client, &[], &code).await.assert_error(400, "invalid_grant");
        redeem(&sidecar, client, &[&other.proof(&sidecar, "/token")], &code).await.assert_error(400, "invalid_grant");
        let tokens = redeem(&sidecar, client, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
        assert_eq!(sidecar.introspect(&tokens.access).await.cnf.unwrap().jkt, key.thumbprint());
        redeem(&sidecar, client, &[], &code).await.assert_error(400, "invalid_grant");
        assert!(!sidecar.is_active(&tokens.access).await, "k2: a replayed code ends its grant whatever is proven");
    }
}

#[tokio::test]
async fn a_proof_with_a_pushed_request_binds_the_code() {
    let sidecar = Sidecar::start().await;
    let key = Key::new();
    let request = [
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("code_challenge", crate::harness::CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let foreign = Key::new().thumbprint();
    let mismatch = [&request[..], &[("dpop_jkt", &foreign)]].concat();
    post(&sidecar, &sidecar.app, "/par", &[&key.proof(&sidecar, "/par")], &mismatch)
        .await
        .assert_error(400, "invalid_dpop_proof");
    post(&sidecar, &sidecar.app, "/par", &[&key.proof(&sidecar, "/token")], &request)
        .await
        .assert_error(400, "invalid_dpop_proof");
    let pushed = post(&sidecar, &sidecar.app, "/par", &[&key.proof(&sidecar, "/par")], &request).await.json();
    let uri = pushed["request_uri"].as_str().unwrap();
    let code = sidecar.code_for(&form(&[("client_id", &sidecar.app.id), ("request_uri", uri)])).await;
    redeem(&sidecar, &sidecar.app, &[], &code).await.assert_error(400, "invalid_grant");
    redeem(&sidecar, &sidecar.app, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
}

#[tokio::test]
async fn a_client_that_is_registered_for_it_gets_no_token_without_a_proof() {
    let sidecar = Sidecar::start().await;
    let metadata = ClientMetadata { dpop_bound_access_tokens: true, ..ClientMetadata::default() };
    let changes = ClientChanges { metadata: Some(metadata), ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    let code = code_for(&sidecar, &sidecar.shop, &[]).await;
    redeem(&sidecar, &sidecar.shop, &[], &code).await.assert_error(400, "invalid_dpop_proof");
    let key = Key::new();
    let two = [key.proof(&sidecar, "/token"), key.proof(&sidecar, "/token")];
    redeem(&sidecar, &sidecar.shop, &[&two[0], &two[1]], &code).await.assert_error(400, "invalid_dpop_proof");
    let tokens = redeem(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
    refresh(&sidecar, &sidecar.shop, &[], &tokens.refresh).await.assert_error(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn a_proof_for_a_token_that_the_caller_may_not_see_is_not_used_up() {
    let caller = "mail-mail-mail-mail-mail-mail-mail";
    let sidecar = Sidecar::with(&format!(
        "[[grpc.callers]]\nname = 'mail'\ntokens = ['{caller}']\naudiences = ['https://mail.example']\n"
    ))
    .await;
    let key = Key::new();
    let code = code_for(&sidecar, &sidecar.shop, &[("resource", ADDRESS)]).await;
    let tokens = redeem(&sidecar, &sidecar.shop, &[&key.proof(&sidecar, "/token")], &code).await.tokens();
    let proof = key.proof_with(&sidecar, &tokens.access);
    let mut request = tonic::Request::new(question(&tokens.access, &[&proof]));
    request.metadata_mut().insert("authorization", format!("Bearer {caller}").parse().unwrap());
    let unseen = sidecar.grpc().await.check_scopes(request).await.unwrap().into_inner();
    assert_eq!(unseen.decision(), api::Decision::InactiveToken);
    assert_eq!(check(&sidecar, &tokens.access, &[&proof]).await.decision(), api::Decision::Allowed);
}
