//! Client assertions (RFC 7523 §2.2 and §3, OpenID Connect Core §9 `private_key_jwt`): a JSON Web Token by which a client proves
//! who it is, once.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

use super::client::ClientId;
use super::client_keys::{ClientKeys, SigningAlgorithm};
use super::json::object;
use super::timestamp::Timestamp;

/// The only `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest assertion that is read, in bytes.
const MAX_LENGTH: usize = 8 << 10;
const MAX_JTI_LENGTH: usize = 256;
/// How far ahead its end may be, in seconds: so long it has to be remembered.
const MAX_LIFETIME: u32 = 300;
/// What the clocks may differ by, in seconds.
const LEEWAY: u32 = 10;

/// An assertion that nobody has verified yet.
pub struct ClientAssertion {
    /// Whom it is about.
    client: ClientId,
    header: Header,
    claims: Claims,
    signed: String,
    signature: Vec<u8>,
}

/// Why an assertion is refused, as far as it says so itself. Whether the client is there or the signature is right, this does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssertion {
    #[error("client_assertion_type is {ASSERTION_TYPE}")]
    Type,
    #[error(
        "client_assertion is no JSON Web Token with iss, sub, aud, exp and jti, signed by RS256, PS256, ES256 or Ed25519"
    )]
    Malformed,
    #[error("client_assertion has header parameters that have to be understood and are not")]
    Critical,
    #[error("client_assertion is not about the client that signs it: iss and sub are the client_id")]
    Subject,
    #[error("client_assertion is for another audience: aud is the issuer or the token endpoint, and nothing else")]
    Audience,
    #[error("client_assertion has expired or is not good yet")]
    Time,
    #[error("client_assertion is good for too long: exp is {MAX_LIFETIME} seconds ahead at most")]
    Lifetime,
}

/// An assertion that is about to be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssertionUse {
    /// Stands for the client and the `jti`.
    pub key: [u8; 32],
    /// From then on, the assertion itself is refused.
    pub expires_at: Timestamp,
}

/// RFC 7515 §4.1. Where a key is or what it is, is never taken from here.
#[derive(Deserialize)]
struct Header {
    alg: SigningAlgorithm,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    /// Whether it is there, whatever it is.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// RFC 7523 §3.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    iat: Option<NumericDate>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Seconds; fractions are allowed (RFC 7519 §2) and cut off.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct NumericDate(Timestamp);

impl TryFrom<f64> for NumericDate {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, &'static str> {
        // Until the year 9999.
        if !(0.0..=253_402_300_799.0).contains(&seconds) {
            return Err("out of range");
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is in range, and the fraction is to be cut off")]
        let whole = seconds as i64;
        Ok(Self(Timestamp::from_unix(whole)))
    }
}

impl ClientAssertion {
    pub fn parse(text: &str) -> Result<Self, InvalidAssertion> {
        let malformed = InvalidAssertion::Malformed;
        if text.len() > MAX_LENGTH {
            return Err(malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(malformed)?;
        let header: Header = json(header).ok_or(malformed)?;
        let claims: Claims = json(claims).ok_or(malformed)?;
        if header.crit {
            return Err(InvalidAssertion::Critical);
        }
        // Another kind of token is not an assertion, whoever signed it (RFC 8725 §3.11).
        if header.typ.as_deref().is_some_and(|typ| !is_assertion_type(typ))
            || !(1..=MAX_JTI_LENGTH).contains(&claims.jti.len())
        {
            return Err(malformed);
        }
        if claims.iss != claims.sub {
            return Err(InvalidAssertion::Subject);
        }
        Ok(Self {
            client: claims.sub.parse().map_err(|_| InvalidAssertion::Subject)?,
            signature: BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?,
            signed: signed.to_owned(),
            header,
            claims,
        })
    }

    /// Whom it is about.
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// Checks what it says about itself. An audience beside ours means that somebody else could present it here, so there is none.
    pub fn check(&self, audiences: &[String], now: Timestamp) -> Result<AssertionUse, InvalidAssertion> {
        let is_ours = |audience: &String| audiences.contains(audience);
        let for_us = match &self.claims.aud {
            Audience::One(audience) => is_ours(audience),
            Audience::Several(audiences) => !audiences.is_empty() && audiences.iter().all(is_ours),
        };
        if !for_us {
            return Err(InvalidAssertion::Audience);
        }
        let Claims { exp: NumericDate(expires_at), nbf, iat, jti, .. } = &self.claims;
        let expires_at = expires_at.plus(LEEWAY);
        let latest = now.plus(LEEWAY);
        if expires_at <= now || [nbf, iat].into_iter().flatten().any(|NumericDate(from)| *from > latest) {
            return Err(InvalidAssertion::Time);
        }
        if expires_at > latest.plus(MAX_LIFETIME) {
            return Err(InvalidAssertion::Lifetime);
        }
        let mut key = Sha256::new();
        // A client id has no zero byte.
        for part in [self.client.as_str().as_bytes(), &[0], jti.as_bytes()] {
            key.update(part);
        }
        Ok(AssertionUse { key: key.finalize().into(), expires_at })
    }

    /// Whether one of these keys signed it.
    pub fn is_signed_by(&self, keys: &ClientKeys) -> bool {
        keys.verify(self.header.alg, self.header.kid.as_deref(), self.signed.as_bytes(), &self.signature)
    }
}

impl fmt::Debug for ClientAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAssertion({}, ***)", self.client)
    }
}

fn json<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    object(&BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?)
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn is_assertion_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "client-authentication+jwt")
}

#[cfg(test)]
mod tests {
    use super::InvalidAssertion as Because;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ISSUER: &str = "https://issuer";
    const NOW: i64 = 1_000_000;

    fn assertion(header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(claims))
    }

    fn claims(other: &Value) -> Value {
        let mut claims = json!({ "iss": "app", "sub": "app", "aud": ISSUER, "exp": NOW + 60, "jti": "1" });
        for (name, value) in other.as_object().expect("an object") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn check(header: &Value, other: &Value) -> Result<AssertionUse, InvalidAssertion> {
        ClientAssertion::parse(&assertion(header, &claims(other)))?
            .check(&[ISSUER.to_owned(), "https://issuer/token".to_owned()], Timestamp::from_unix(NOW))
    }

    #[test]
    fn t22_what_an_assertion_has_to_say() {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "1" });
        for other in [
            json!({}),
            json!({ "aud": "https://issuer/token" }),
            json!({ "aud": [ISSUER, "https://issuer/token"] }),
            json!({ "exp": NOW - 9 }),
            json!({ "exp": NOW + 300 }),
            json!({ "exp": 1_000_060.5, "iat": NOW + 10, "nbf": NOW - 1_000 }),
        ] {
            assert!(check(&header, &other).is_ok(), "{other}");
        }
        for (other, because) in [
            (json!({ "aud": "https://other" }), Because::Audience),
            (json!({ "aud": [ISSUER, "https://other"] }), Because::Audience),
            (json!({ "aud": [] }), Because::Audience),
            (json!({ "aud": "https://issuer/" }), Because::Audience),
            (json!({ "aud": null }), Because::Malformed),
            (json!({ "exp": NOW - 10 }), Because::Time),
            (json!({ "exp": NOW + 301 }), Because::Lifetime),
            (json!({ "exp": "soon" }), Because::Malformed),
            (json!({ "exp": -1 }), Because::Malformed),
            (json!({ "exp": 1e300 }), Because::Malformed),
            (json!({ "exp": null }), Because::Malformed),
            (json!({ "nbf": NOW + 11 }), Because::Time),
            (json!({ "iat": NOW + 11 }), Because::Time),
            (json!({ "jti": null }), Because::Malformed),
            (json!({ "jti": "" }), Because::Malformed),
            (json!({ "jti": "x".repeat(257) }), Because::Malformed),
            (json!({ "iss": "other" }), Because::Subject),
            (json!({ "iss": null }), Because::Malformed),
            (json!({ "iss": "a b", "sub": "a b" }), Because::Subject),
        ] {
            assert_eq!(check(&header, &other), Err(because), "{other}");
        }
    }

    #[test]
    fn t22_what_its_header_may_say() {
        for (header, because) in [
            (json!({ "alg": "none" }), Because::Malformed),
            (json!({ "alg": "HS256" }), Because::Malformed),
            (json!({ "alg": "es256" }), Because::Malformed),
            (json!({}), Because::Malformed),
            (json!({ "alg": "ES256", "crit": ["exp"], "exp": 1 }), Because::Critical),
            (json!({ "alg": "ES256", "crit": [] }), Because::Critical),
            (json!({ "alg": "ES256", "crit": null }), Because::Critical),
            (json!({ "alg": "ES256", "typ": "dpop+jwt" }), Because::Malformed),
        ] {
            assert_eq!(check(&header, &json!({})), Err(because), "{header}");
        }
    }

    #[test]
    fn t22_its_parts_are_objects() {
        let header = json!({ "alg": "ES256" });
        let refused = |header: &Value, claims: &Value| ClientAssertion::parse(&assertion(header, claims)).err();
        assert_eq!(refused(&json!(["ES256"]), &claims(&json!({}))), Some(Because::Malformed));
        let claims = json!(["app", "app", ISSUER, NOW + 60, null, null, "1"]);
        assert_eq!(refused(&header, &claims), Some(Because::Malformed));
    }

    #[test]
    fn t22_each_client_has_its_own_jtis_and_huge_tokens_are_refused() {
        let header = json!({ "alg": "ES256" });
        let key = |other: Value| check(&header, &other).expect("a good assertion").key;
        assert_eq!(key(json!({})), key(json!({ "exp": NOW + 61 })));
        assert_ne!(key(json!({})), key(json!({ "jti": "2" })));
        assert_ne!(key(json!({})), key(json!({ "iss": "other", "sub": "other" })));
        assert_eq!(check(&header, &json!({ "x": "x".repeat(MAX_LENGTH) })), Err(Because::Malformed));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,64}", header in ".{0,32}", claims in ".{0,64}") {
            let _ = ClientAssertion::parse(&text);
            let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
            let _ = ClientAssertion::parse(&format!("{}.{}.x", encode(&header), encode(&claims)));
        }
    }
}
