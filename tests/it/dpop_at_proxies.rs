//! Tokens that are bound to a key (RFC 9449), at the proxies: a proof is for the address as the client saw it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use scopegate::effects::{Clock as _, Effects};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::{Application, Envoy, Gate, Kind, REDIRECT_URI, Raw, Sidecar, VERIFIER, basic, form};

/// Signs proofs.
struct Signer(EcdsaKeyPair);

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn proof(&self, sidecar: &Sidecar, method: &str, uri: &str, token: Option<&str>) -> String {
        let point = self.0.public_key().as_ref();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let jti = Effects::system().random_name();
        let mut claims = json!({ "jti": jti, "htm": method, "htu": uri, "iat": sidecar.clock.now().as_unix() });
        if let Some(token) = token {
            claims["ath"] = encode(Sha256::digest(token)).into();
        }
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }
}

/// What a proxy makes of a bound token, with a proof for the address as it came and with others.
async fn try_proofs(
    name: &str,
    sidecar: &Sidecar,
    application: &Application,
    send: impl AsyncFn(&str, &[(&str, &str)]) -> Raw,
) {
    let signer = Signer(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let code = sidecar.code().await;
    let parameters = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let token_endpoint = format!("http://{}/token", sidecar.addresses.http);
    let proof = signer.proof(sidecar, "POST", &token_endpoint, None);
    let headers = [("dpop", &*proof), ("authorization", &*basic(&sidecar.shop.id, &sidecar.shop.secret))];
    let token = sidecar.http().post_text("/token", &headers, &form(&parameters)).await.tokens().access;

    let before = application.served();
    let (bound, bearer) = (format!("DPoP {token}"), format!("Bearer {token}"));
    let address = "http://api.example.com/orders/7";
    let good = signer.proof(sidecar, "GET", address, Some(&token));
    let answer = send("/orders/7?x=1", &[("Authorization", &bound), ("DPoP", &good)]).await;
    assert_eq!(answer.status, 200, "{name}: {answer:?}");

    let other = Signer(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let fresh = |method: &str, uri: &str| signer.proof(sidecar, method, uri, Some(&token));
    let wrong = [
        good,
        fresh("POST", address),
        fresh("GET", "http://api.example.com/orders/8"),
        fresh("GET", "https://api.example.com/orders/7"),
        fresh("GET", "http://other.example.com/orders/7"),
        fresh("GET", &format!("http://{}/check", sidecar.addresses.http)),
        signer.proof(sidecar, "GET", address, None),
        other.proof(sidecar, "GET", address, Some(&token)),
        "x.y.z".into(),
    ];
    for proof in &wrong {
        // With what a client says of the address, too, which makes nothing true.
        let lies =
            [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "other.example.com"), ("X-Forwarded-Method", "POST")];
        let headers = [&[("Authorization", &*bound), ("DPoP", proof)][..], &lies].concat();
        for headers in [&headers[..2], &headers] {
            let answer = send("/orders/7", headers).await;
            assert_eq!(answer.status, 401, "{name}: {proof} {headers:?}: {answer:?}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("DPoP "), "{name}: {answer:?}");
        }
    }
    let twice = [("Authorization", &*bound), ("DPoP", &fresh("GET", address)), ("DPoP", &fresh("GET", address))];
    for headers in [&[("Authorization", &*bearer)][..], &[("Authorization", &bound)], &twice] {
        let answer = send("/orders/7", headers).await;
        assert_eq!(answer.status, 401, "{name}: {headers:?}: {answer:?}");
    }
    assert_eq!(application.served(), before + 1, "{name}");
}

#[tokio::test]
async fn a_proof_passes_at_each_proxy_once_and_for_the_address_as_the_client_saw_it() {
    let trust = "[http]\ntrusted_proxies = ['127.0.0.1']\n";
    for kind in Kind::ALL {
        let (sidecar, application) = (Sidecar::with(trust).await, Application::start().await);
        let gate = Gate::start(kind, sidecar.addresses.http.only_tcp().unwrap(), application.address).await;
        try_proofs(&format!("{kind:?}"), &sidecar, &application, async |path, headers| gate.get(path, headers).await)
            .await;
    }
    let (sidecar, application) = (Sidecar::start().await, Application::start().await);
    let socket = sidecar.directory.path().join("grpc.sock");
    let scopes = [("orders:read orders:write", "a b"), ("orders:read", "a")];
    let envoy = Envoy::start(&socket, application.address, &scopes).await;
    try_proofs("ext_authz", &sidecar, &application, async |path, headers| envoy.get(path, headers).await).await;
}
