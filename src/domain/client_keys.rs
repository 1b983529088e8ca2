//! The public keys with which a client signs (RFC 7517), as it registered them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most keys that are tried.
const MAX_KEYS: usize = 10;
const MAX_KEY_ID_LENGTH: usize = 256;
/// A modulus of 2048 to 8192 bits, in bytes.
const RSA_MODULUS_LENGTHS: std::ops::RangeInclusive<usize> = 256..=1024;

/// The algorithms that a client may sign with (RFC 7518 §3.1, RFC 8037 §3.1). Neither `none` nor anything symmetric is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    /// With Ed25519, the one curve for it here; RFC 9864 §2.2 calls it so.
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    EdDsa,
}

impl SigningAlgorithm {
    /// Their registered names.
    pub const NAMES: [&'static str; 5] = ["RS256", "PS256", "ES256", "Ed25519", "EdDSA"];
}

/// One public key or more, each of a kind that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "JwkSet", into = "JwkSet")]
pub struct ClientKeys(Vec<ClientKey>);

/// Why keys cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    #[error("jwks is a JSON Web Key Set: an object with an array named keys (RFC 7517 section 5)")]
    Malformed,
    #[error("jwks has a private or symmetric key: keep it for yourself and make another one")]
    Private,
    #[error("jwks has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("jwks has no key for a signature by RS256, PS256, ES256 or Ed25519")]
    Unusable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientKey {
    id: Option<String>,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<SigningAlgorithm>,
    public: PublicKey,
}

/// A public key of a kind that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { x: [u8; 32], y: [u8; 32] },
    Ed25519 { x: [u8; 32] },
}

#[derive(Serialize, Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// RFC 7517 §4, RFC 7518 §6 and RFC 8037 §2. Of the private members, only whether they are there matters.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_ops: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl ClientKeys {
    /// Reads a JSON Web Key Set. Keys of other kinds and for other uses are left out (RFC 7517 §5).
    pub fn parse(document: Value) -> Result<Self, InvalidKeys> {
        if !document.is_object() {
            return Err(InvalidKeys::Malformed);
        }
        let set: JwkSet = serde_json::from_value(document).map_err(|_| InvalidKeys::Malformed)?;
        Self::try_from(set)
    }

    /// Whether one of the keys made this signature: one with this id, where an id is named.
    pub fn verify(&self, algorithm: SigningAlgorithm, key_id: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        self.0
            .iter()
            .filter(|key| key_id.is_none() || key.id.as_deref() == key_id)
            .filter(|key| key.algorithm.is_none_or(|only| only == algorithm))
            .any(|key| key.public.verify(algorithm, message, signature))
    }

    /// Whether this is one of them.
    pub fn contain(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|known| known.public == *key)
    }
}

impl TryFrom<JwkSet> for ClientKeys {
    type Error = InvalidKeys;

    fn try_from(set: JwkSet) -> Result<Self, InvalidKeys> {
        if set.keys.len() > MAX_KEYS {
            return Err(InvalidKeys::TooMany);
        }
        // RFC 7518 §6.2.2, §6.3.2 and §6.4.1.
        if set
            .keys
            .iter()
            .any(|key| ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| key.get(name).is_some()))
        {
            return Err(InvalidKeys::Private);
        }
        let keys: Vec<ClientKey> = set.keys.into_iter().filter(Value::is_object).filter_map(ClientKey::read).collect();
        if keys.is_empty() { Err(InvalidKeys::Unusable) } else { Ok(Self(keys)) }
    }
}

impl From<ClientKeys> for JwkSet {
    fn from(keys: ClientKeys) -> Self {
        let value = |key: ClientKey| serde_json::to_value(Jwk::from(key)).unwrap_or_default();
        Self { keys: keys.0.into_iter().map(value).collect() }
    }
}

impl ClientKey {
    /// `None` for a key that cannot be used here.
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.usage.is_some_and(|usage| usage != "sig")
            || jwk.key_ops.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify"))
            || jwk.kid.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID_LENGTH)
        {
            return None;
        }
        let algorithm = match jwk.alg {
            Some(name) => Some(serde_json::from_value(Value::String(name)).ok()?),
            None => None,
        };
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", None) => PublicKey::Rsa { n: integer(&jwk.n?)?, e: integer(&jwk.e?)? },
            ("EC", Some("P-256")) => PublicKey::P256 { x: octets(&jwk.x?)?, y: octets(&jwk.y?)? },
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519 { x: octets(&jwk.x?)? },
            _ => return None,
        };
        let suits = algorithm.is_none_or(|algorithm| public.suits(algorithm));
        (suits && public.is_valid()).then_some(Self { id: jwk.kid, algorithm, public })
    }
}

impl From<ClientKey> for Jwk {
    fn from(key: ClientKey) -> Self {
        let text = |bytes: &[u8]| Some(BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let algorithm = key.algorithm.and_then(|algorithm| serde_json::to_value(algorithm).ok());
        let jwk = Self {
            kid: key.id,
            alg: algorithm.and_then(|name| name.as_str().map(str::to_owned)),
            usage: Some("sig".into()),
            ..Self::default()
        };
        match key.public {
            PublicKey::Rsa { n, e } => Self { kty: "RSA".into(), n: text(&n), e: text(&e), ..jwk },
            PublicKey::P256 { x, y } => {
                Self { kty: "EC".into(), crv: Some("P-256".into()), x: text(&x), y: text(&y), ..jwk }
            }
            PublicKey::Ed25519 { x } => Self { kty: "OKP".into(), crv: Some("Ed25519".into()), x: text(&x), ..jwk },
        }
    }
}

impl PublicKey {
    /// The algorithm goes with the kind of the key, so no key can be taken for one of another kind.
    fn suits(&self, algorithm: SigningAlgorithm) -> bool {
        match self {
            Self::Rsa { .. } => matches!(algorithm, SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256),
            Self::P256 { .. } => algorithm == SigningAlgorithm::Es256,
            Self::Ed25519 { .. } => algorithm == SigningAlgorithm::EdDsa,
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Rsa { n, e } => RSA_MODULUS_LENGTHS.contains(&n.len()) && (1..=4).contains(&e.len()) && e != &[1],
            Self::P256 { x, y } => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(x, y)).is_ok(),
            Self::Ed25519 { x } => ParsedPublicKey::new(&ED25519, x).is_ok(),
        }
    }

    fn verify(&self, algorithm: SigningAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (self, algorithm) {
            (Self::Rsa { n, e }, SigningAlgorithm::Rs256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Self::Rsa { n, e }, SigningAlgorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Self::P256 { x, y }, SigningAlgorithm::Es256) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(x, y))
                    .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
                    .then_some(())
                    .ok_or(aws_lc_rs::error::Unspecified)
            }
            (Self::Ed25519 { x }, SigningAlgorithm::EdDsa) => ParsedPublicKey::new(&ED25519, x)
                .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
                .then_some(())
                .ok_or(aws_lc_rs::error::Unspecified),
            _ => return false,
        };
        verified.is_ok()
    }
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(x: &[u8; 32], y: &[u8; 32]) -> Vec<u8> {
    [&[4], &x[..], &y[..]].concat()
}

/// A `Base64urlUInt` (RFC 7518 §2), without the leading zeros that it should not have.
fn integer(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    Some(bytes[zeros..].to_vec())
}

fn octets(text: &str) -> Option<[u8; 32]> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn keys_come_back_as_they_were_registered_without_what_cannot_be_used() {
        let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "kid": "1", "use": "sig" });
        let keys = ClientKeys::parse(json!({ "keys": [
            ed25519,
            { "kty": "OKP", "crv": "X25519", "x": ED25519_X },
            { "kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "use": "enc" },
            { "kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "alg": "RS256" },
            { "kty": "EC", "crv": "P-256", "x": ED25519_X, "y": ED25519_X },
            { "kty": "RSA", "n": "AQAB", "e": "AQAB" },
            { "kty": "new" },
        ] }));
        let keys = keys.expect("one can be used");
        assert_eq!(serde_json::to_value(&keys).expect("JSON"), json!({ "keys": [ed25519] }));
        assert_eq!(serde_json::from_value::<ClientKeys>(json!({ "keys": [ed25519] })).expect("keys"), keys);
    }

    #[test]
    fn private_and_unusable_keys_are_refused() {
        for (document, because) in [
            (json!([]), InvalidKeys::Malformed),
            (json!([[{ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X }]]), InvalidKeys::Malformed),
            (json!({ "keys": "x" }), InvalidKeys::Malformed),
            (json!({ "keys": [] }), InvalidKeys::Unusable),
            (json!({ "keys": ["x", 1, null] }), InvalidKeys::Unusable),
            (json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }), InvalidKeys::Private),
            (
                json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "d": ED25519_X }] }),
                InvalidKeys::Private,
            ),
            (
                json!({ "keys": vec![json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X }); 11] }),
                InvalidKeys::TooMany,
            ),
        ] {
            assert_eq!(ClientKeys::parse(document.clone()), Err(because), "{document}");
        }
    }
}
