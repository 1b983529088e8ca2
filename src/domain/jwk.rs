//! Public keys as JSON Web Keys (RFC 7517), their names (RFC 7638), and what they verify.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

/// How ID tokens, and whatever else others verify, are signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// What every client can verify (OpenID Connect Core §15.1).
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
    /// With Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// Its registered name, `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The left half of the hash that belongs to the algorithm: `at_hash` (OpenID Connect Core §3.1.3.6). Ed25519 hashes with SHA-512.
    pub fn half_hash(self, text: &str) -> String {
        let encode = |hash: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2]);
        match self {
            Self::Rs256 | Self::Es256 => encode(&Sha256::digest(text)),
            Self::EdDsa => encode(&Sha512::digest(text)),
        }
    }
}

/// A public key. The members are those of its JSON Web Key (RFC 7518 §6, RFC 8037 §2), in base64url; in the order of their
/// names, as the thumbprint wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty", deny_unknown_fields)]
pub enum PublicKey {
    #[serde(rename = "RSA")]
    Rsa { e: String, n: String },
    #[serde(rename = "EC")]
    P256 { crv: P256, x: String, y: String },
    #[serde(rename = "OKP")]
    Ed25519 { crv: Ed25519, x: String },
}

/// The one curve for ES256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum P256 {
    #[serde(rename = "P-256")]
    P256,
}

/// The one curve for EdDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ed25519 {
    Ed25519,
}

impl PublicKey {
    /// From the big-endian modulus and exponent.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa { e: encoded(exponent), n: encoded(modulus) }
    }

    /// From an uncompressed point: 4, x, y (SEC 1 §2.3.3).
    pub fn p256(point: &[u8; 65]) -> Self {
        Self::P256 { crv: P256::P256, x: encoded(&point[1..33]), y: encoded(&point[33..]) }
    }

    pub fn ed25519(key: &[u8]) -> Self {
        Self::Ed25519 { crv: Ed25519::Ed25519, x: encoded(key) }
    }

    pub const fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::Rsa { .. } => SigningAlgorithm::Rs256,
            Self::P256 { .. } => SigningAlgorithm::Es256,
            Self::Ed25519 { .. } => SigningAlgorithm::EdDsa,
        }
    }

    /// The name of the key, `kid`: the SHA-256 of its required members in the order of their names (RFC 7638 §3).
    pub fn thumbprint(&self) -> String {
        // The members are base64url and names of curves, so nothing needs escaping.
        let members = match self {
            Self::Rsa { e, n } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::P256 { x, y, .. } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Ed25519 { x, .. } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
        };
        encoded(&Sha256::digest(members))
    }

    /// The key for a JSON Web Key Set (RFC 7517 §4).
    pub fn to_jwk(&self) -> Value {
        let mut jwk = json!(self);
        jwk["kid"] = self.thumbprint().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().name().into();
        jwk
    }

    /// Whether this key has signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { e, n } => match (decoded(n), decoded(e)) {
                (Some(n), Some(e)) => {
                    PublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
                }
                _ => false,
            },
            Self::P256 { x, y, .. } => match (decoded(x), decoded(y)) {
                (Some(x), Some(y)) => {
                    let point = [&[4], x.as_slice(), &y].concat();
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
                }
                _ => false,
            },
            Self::Ed25519 { x, .. } => {
                decoded(x).is_some_and(|x| UnparsedPublicKey::new(&ED25519, x).verify(message, signature).is_ok())
            }
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(jwk: &str) -> PublicKey {
        serde_json::from_str(jwk).expect("a public key")
    }

    #[test]
    fn the_thumbprints_of_rfc_7638_and_rfc_8037() {
        let rsa = key(concat!(
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"#,
            r#"V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5"#,
            r#"hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB"}"#,
        ));
        assert_eq!(rsa.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ed25519 = key(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
        assert_eq!(ed25519.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_signatures_of_rfc_8037_and_rfc_7515() {
        let ed25519 = key(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            decoded("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
                .expect("base64url");
        assert!(ed25519.verifies(message, &signature));
        assert!(!ed25519.verifies(b"another", &signature));

        let p256 = key(
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        );
        let message = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature =
            decoded("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
                .expect("base64url");
        assert!(p256.verifies(message.as_bytes(), &signature));
        assert!(!p256.verifies(message.as_bytes(), &signature[1..]));
    }

    #[test]
    fn a_private_member_is_no_part_of_a_public_key() {
        let private = r#"{"kty":"OKP","crv":"Ed25519","x":"11qY","d":"nWGx"}"#;
        assert!(serde_json::from_str::<PublicKey>(private).is_err());
    }
}
