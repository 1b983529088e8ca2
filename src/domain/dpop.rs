//! DPoP proofs (RFC 9449 §4): that whoever sends a request has a key.
//!
//! A proof says which request it is for, when it was made, and by its `jti` that it is another than every other. Whether it was seen
//! before is not known here.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use url::{Position, Url};

use super::dpop_nonce::NonceKeys;
use super::timestamp::Timestamp;

/// The signature algorithms that are accepted (RFC 9449 §5.1): asymmetric ones, for keys from 2048 bits on. `EdDSA` is what clients
/// called `Ed25519` before RFC 9864.
pub const ALGORITHMS: [&str; 5] = ["ES256", "Ed25519", "EdDSA", "RS256", "PS256"];
/// How far from now a proof may have been made, in seconds: clocks differ.
pub const WINDOW: u32 = 60;
/// The longest proof that is read, in bytes.
const MAX_PROOF_LENGTH: usize = 8 << 10;
/// The longest `jti`, in bytes.
const MAX_ID_LENGTH: usize = 256;
/// Sizes of an RSA modulus, in bytes: below it is weak, above it costs more to verify than it is worth.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// The SHA-256 thumbprint of a key (RFC 7638) or of a certificate (RFC 8705 §3.1), in base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbprint(Box<str>);

/// Text that is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is 43 characters of base64url (RFC 7638)")]
pub struct MalformedThumbprint;

impl Thumbprint {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(bytes)).into())
    }
}

impl std::str::FromStr for Thumbprint {
    type Err = MalformedThumbprint;

    fn from_str(text: &str) -> Result<Self, MalformedThumbprint> {
        match BASE64_URL_SAFE_NO_PAD.decode(text) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text.into())),
            Ok(_) | Err(_) => Err(MalformedThumbprint),
        }
    }
}

/// Why a proof does not do (RFC 9449 §4.3). `Display` is ASCII without `"` and `\`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    #[error("the token is bound to a key, and the request has no proof of it")]
    Missing,
    #[error("the token is not bound to a key")]
    Unbound,
    #[error("the token is bound to another key")]
    OtherKey,
    #[error("a DPoP proof is required")]
    Required,
    #[error("there is more than one DPoP header")]
    Repeated,
    #[error("the proof is no JWT of the type dpop+jwt with a public key")]
    Malformed,
    #[error("the algorithm of the proof is not supported")]
    Algorithm,
    #[error("the signature of the proof is wrong")]
    Signature,
    #[error("the proof is for another method")]
    Method,
    #[error("the proof is for another address")]
    Target,
    #[error("the proof is too old, or from the future")]
    Time,
    #[error("the proof is for another token")]
    TokenHash,
    #[error("dpop_jkt is not the thumbprint of the key of the proof")]
    ThumbprintMismatch,
    #[error("the proof was used before")]
    Replayed,
    #[error("the proof needs the nonce of the DPoP-Nonce header, which changes every few minutes")]
    Nonce,
}

impl InvalidProof {
    /// Whether it is the token that does not do, rather than the proof (RFC 9449 §7.1 and §7.2).
    pub const fn concerns_token(self) -> bool {
        matches!(self, Self::Missing | Self::Unbound | Self::OtherKey)
    }

    /// The `error` code where it is the proof that does not do (RFC 9449 §5 and §8).
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nonce => "use_dpop_nonce",
            _ => "invalid_dpop_proof",
        }
    }
}

/// A proof whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The key that signed it.
    pub key: Thumbprint,
    claims: Claims,
}

/// The request that a proof came with.
#[derive(Clone, Copy, Debug)]
pub struct ProvenRequest<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    /// The access token that it carries; none at the token endpoint.
    pub token: Option<&'a str>,
    /// Where proofs need a nonce, what knows it.
    pub nonces: Option<&'a NonceKeys>,
}

/// Unknown members are ignored, repeated ones refused.
#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Jwk,
    /// Nothing that is marked as critical is understood here (RFC 7515 §4.1.11).
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    // What only private and symmetric keys have (RFC 7518 §6).
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Proof {
    /// The one proof of a request, if it has any (RFC 9449 §4.3, 1).
    pub fn of_headers(headers: &[impl AsRef<[u8]>]) -> Result<Option<Self>, InvalidProof> {
        match headers {
            [] => Ok(None),
            [header] => Self::parse(header.as_ref()).map(Some),
            _ => Err(InvalidProof::Repeated),
        }
    }

    /// RFC 9449 §4.3, 2 to 7.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidProof> {
        const MALFORMED: InvalidProof = InvalidProof::Malformed;
        let text = str::from_utf8(text).ok().filter(|text| text.len() <= MAX_PROOF_LENGTH).ok_or(MALFORMED)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let header: Header = decode(header).and_then(|json| serde_json::from_slice(&json).ok()).ok_or(MALFORMED)?;
        let claims: Claims = decode(claims).and_then(|json| serde_json::from_slice(&json).ok()).ok_or(MALFORMED)?;
        let signature = decode(signature).ok_or(MALFORMED)?;
        if header.typ != "dpop+jwt" || header.crit.is_some() || header.jwk.is_private() {
            return Err(MALFORMED);
        }
        if claims.jti.is_empty() || claims.jti.len() > MAX_ID_LENGTH {
            return Err(MALFORMED);
        }
        let key = header.jwk.verify(&header.alg, signed.as_bytes(), &signature)?;
        Ok(Self { key, claims })
    }

    /// RFC 9449 §4.3, 8 to 12. The nonce comes last: whoever lacks it alone has only to try again.
    pub fn check(&self, request: &ProvenRequest<'_>, now: Timestamp) -> Result<(), InvalidProof> {
        let Claims { htm, htu, iat, ath, nonce, .. } = &self.claims;
        if htm != request.method {
            return Err(InvalidProof::Method);
        }
        match (target(htu), target(request.uri)) {
            (Some(claimed), Some(actual)) if claimed == actual => {}
            _ => return Err(InvalidProof::Target),
        }
        if now.as_unix().abs_diff(*iat) > WINDOW.into() {
            return Err(InvalidProof::Time);
        }
        let expected = request.token.map(|token| Thumbprint::of(token).0);
        if expected.is_some() && expected.as_deref() != ath.as_deref() {
            return Err(InvalidProof::TokenHash);
        }
        match (request.nonces, nonce) {
            (Some(nonces), Some(nonce)) if nonces.knows(nonce, now) => Ok(()),
            (Some(_), _) => Err(InvalidProof::Nonce),
            // Of none of ours, we know nothing.
            (None, _) => Ok(()),
        }
    }

    /// What tells it from every other proof: its key and `jti`.
    pub fn id(&self) -> [u8; 32] {
        // A thumbprint has a fixed length.
        Sha256::new().chain_update(self.key.as_str()).chain_update(&self.claims.jti).finalize().into()
    }

    /// From when on it is too old anyhow.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_unix(self.claims.iat).plus(WINDOW + 1)
    }
}

impl Jwk {
    fn is_private(&self) -> bool {
        let private = [&self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi, &self.oth, &self.k];
        private.into_iter().any(Option::is_some)
    }

    /// The thumbprint, if the signature is good.
    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Result<Thumbprint, InvalidProof> {
        let (wrong, malformed) = (InvalidProof::Signature, InvalidProof::Malformed);
        let member = |value: &Option<String>| Some(value.as_deref()?.to_owned()).zip(value.as_deref().and_then(decode));
        match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            ("ES256", "EC", Some("P-256")) => {
                let ((x_text, x), (y_text, y)) = member(&self.x).zip(member(&self.y)).ok_or(malformed)?;
                if x.len() != 32 || y.len() != 32 {
                    return Err(malformed);
                }
                let point = [&[4][..], &x, &y].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature).map_err(|_| wrong)?;
                Ok(Thumbprint::of(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x_text}","y":"{y_text}"}}"#)))
            }
            ("Ed25519" | "EdDSA", "OKP", Some("Ed25519")) => {
                let (text, x) = member(&self.x).filter(|(_, x)| x.len() == 32).ok_or(malformed)?;
                UnparsedPublicKey::new(&ED25519, x).verify(message, signature).map_err(|_| wrong)?;
                Ok(Thumbprint::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{text}"}}"#)))
            }
            ("RS256" | "PS256", "RSA", None) => {
                let ((n_text, n), (e_text, e)) = member(&self.n).zip(member(&self.e)).ok_or(malformed)?;
                // A leading zero would make another thumbprint for the same key (RFC 7518 §6.3.1).
                if !RSA_MODULUS.contains(&n.len()) || n[0] == 0 || e.is_empty() || e.len() > 4 || e[0] == 0 {
                    return Err(malformed);
                }
                let parameters =
                    if algorithm == "RS256" { &RSA_PKCS1_2048_8192_SHA256 } else { &RSA_PSS_2048_8192_SHA256 };
                PublicKeyComponents { n, e }.verify(parameters, message, signature).map_err(|_| wrong)?;
                Ok(Thumbprint::of(format!(r#"{{"e":"{e_text}","kty":"RSA","n":"{n_text}"}}"#)))
            }
            (known, ..) if ALGORITHMS.contains(&known) => Err(malformed),
            _ => Err(InvalidProof::Algorithm),
        }
    }
}

/// Canonical base64url without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// A target without query and fragment, normalised (RFC 9449 §4.3; RFC 3986 §6.2.2 and §6.2.3).
fn target(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(url[..Position::AfterPath].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::{MacKey, MasterSecret};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaEncoding, RsaKeyPair,
    };
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn key() -> (EcdsaKeyPair, Value) {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let point = key.public_key().as_ref().to_vec();
        (key, json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) }))
    }

    fn sign(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", encode(signature))
    }

    fn claims() -> Value {
        json!({ "jti": "1", "htm": "POST", "htu": "https://i/token", "iat": 1_000 })
    }

    #[test]
    fn x13_the_header_names_a_public_key_and_what_signed() {
        let (key, jwk) = key();
        let good = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let text = sign(&key, &good, &claims());
        let proof = Proof::parse(text.as_bytes()).expect("a proof");
        assert_eq!(proof.key.as_str().parse(), Ok(proof.key.clone()));
        let with = |name: &str, value: Value| {
            let mut header = good.clone();
            header[name] = value;
            Proof::parse(sign(&key, &header, &claims()).as_bytes()).err()
        };
        let with_jwk = |name: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[name] = value;
            with("jwk", jwk)
        };
        assert_eq!(with("kid", "x".into()), None);
        assert_eq!(with("typ", "JWT".into()), Some(InvalidProof::Malformed));
        assert_eq!(with("crit", json!(["exp"])), Some(InvalidProof::Malformed));
        for algorithm in ["none", "HS256", "ES384", ""] {
            assert_eq!(with("alg", algorithm.into()), Some(InvalidProof::Algorithm), "{algorithm}");
        }
        for algorithm in ["Ed25519", "EdDSA", "RS256", "PS256"] {
            assert_eq!(with("alg", algorithm.into()), Some(InvalidProof::Malformed), "{algorithm}");
        }
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert_eq!(with_jwk(private, "AAAA".into()), Some(InvalidProof::Malformed), "{private}");
        }
        assert_eq!(with_jwk("crv", "P-384".into()), Some(InvalidProof::Malformed));
        assert_eq!(with_jwk("x", encode([0; 31]).into()), Some(InvalidProof::Malformed));
        assert_eq!(with_jwk("x", encode([0; 32]).into()), Some(InvalidProof::Signature));
        let (_, other) = self::key();
        assert_eq!(with("jwk", other), Some(InvalidProof::Signature));
    }

    #[test]
    fn x13_no_bit_of_a_proof_can_be_changed() {
        let (key, jwk) = key();
        let text = sign(&key, &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }), &claims());
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            assert!(Proof::parse(&bytes).is_err(), "byte {position}");
        }
        assert!(Proof::parse(format!("{text}=").as_bytes()).is_err());
        assert_eq!(Proof::of_headers(&[&text, &text]), Err(InvalidProof::Repeated));
        assert_eq!(Proof::of_headers(&[] as &[&[u8]]), Ok(None));
    }

    #[test]
    fn x13_a_proof_is_for_one_request_at_one_time() {
        let (key, jwk) = key();
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let check = |name: &str, value: Value, uri: &str, token: Option<&str>, now: i64| {
            let mut claims = claims();
            claims[name] = value;
            let proof = Proof::parse(sign(&key, &header, &claims).as_bytes())?;
            proof.check(&ProvenRequest { method: "POST", uri, token, nonces: None }, Timestamp::from_unix(now))
        };
        let htu = |htu: &str, uri: &str| check("htu", htu.into(), uri, None, 1_000);
        for same in ["https://i/token", "HTTPS://I:443/token", "https://i/token?a=b#c", "https://i/x/../token"] {
            assert_eq!(htu(same, "https://i/token"), Ok(()), "{same}");
            assert_eq!(htu("https://i/token", same), Ok(()), "{same}");
        }
        for other in ["https://i/Token", "http://i/token", "https://i:8443/token", "https://i/token/", "/token", "x:y"]
        {
            assert_eq!(htu(other, "https://i/token"), Err(InvalidProof::Target), "{other}");
        }
        assert_eq!(check("htm", "post".into(), "https://i/token", None, 1_000), Err(InvalidProof::Method));
        for (now, expected) in
            [(940, Ok(())), (1_060, Ok(())), (939, Err(InvalidProof::Time)), (1_061, Err(InvalidProof::Time))]
        {
            assert_eq!(check("iat", 1_000.into(), "https://i/token", None, now), expected, "{now}");
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(check("iat", extreme.into(), "https://i/token", None, 1_000), Err(InvalidProof::Time));
        }
        let hash = encode(Sha256::digest("token"));
        let ath = |ath: Value, token| check("ath", ath, "https://i/token", Some(token), 1_000);
        assert_eq!(ath(hash.clone().into(), "token"), Ok(()));
        assert_eq!(ath(hash.into(), "other"), Err(InvalidProof::TokenHash));
        assert_eq!(ath(Value::Null, "token"), Err(InvalidProof::TokenHash));
        for (name, bad) in
            [("jti", json!("")), ("jti", json!("x".repeat(257))), ("iat", json!("1000")), ("jti", Value::Null)]
        {
            assert_eq!(check(name, bad, "https://i/token", None, 1_000), Err(InvalidProof::Malformed), "{name}");
        }
    }

    fn signed_by_rsa(key: &RsaKeyPair, algorithm: &str) -> String {
        let public = key.public_key();
        let (n, e) = (public.modulus(), public.exponent());
        let jwk = json!({
            "kty": "RSA",
            "n": encode(n.big_endian_without_leading_zero()),
            "e": encode(e.big_endian_without_leading_zero()),
        });
        let header = json!({ "typ": "dpop+jwt", "alg": algorithm, "jwk": jwk });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims().to_string()));
        let padding: &dyn RsaEncoding = if algorithm == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
        format!("{signed}.{}", encode(signature))
    }

    #[test]
    fn x13_every_algorithm_signs_proofs() {
        let ed25519 = Ed25519KeyPair::generate().expect("a key");
        let (p256, p256_jwk) = key();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        for algorithm in ALGORITHMS {
            let text = match algorithm {
                "ES256" => sign(&p256, &json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": p256_jwk }), &claims()),
                "Ed25519" | "EdDSA" => {
                    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(ed25519.public_key().as_ref()) });
                    let header = json!({ "typ": "dpop+jwt", "alg": algorithm, "jwk": jwk });
                    let signed = format!("{}.{}", encode(header.to_string()), encode(claims().to_string()));
                    format!("{signed}.{}", encode(ed25519.sign(signed.as_bytes())))
                }
                rsa_algorithm => signed_by_rsa(&rsa, rsa_algorithm),
            };
            assert!(Proof::parse(text.as_bytes()).is_ok(), "{algorithm}");
        }
        // Neither padding is taken for the other.
        for (algorithm, other) in [("RS256", "PS256"), ("PS256", "RS256")] {
            let (text, foreign) = (signed_by_rsa(&rsa, algorithm), signed_by_rsa(&rsa, other));
            let (signed, _) = text.rsplit_once('.').expect("a signature");
            let (_, signature) = foreign.rsplit_once('.').expect("a signature");
            let mixed = format!("{signed}.{signature}");
            assert_eq!(Proof::parse(mixed.as_bytes()), Err(InvalidProof::Signature), "{algorithm}");
        }
    }

    #[test]
    fn x13_an_rsa_key_has_2048_to_4096_bits() {
        for size in [KeySize::Rsa2048, KeySize::Rsa4096] {
            let key = RsaKeyPair::generate(size).expect("a key");
            assert!(
                Proof::parse(signed_by_rsa(&key, "PS256").as_bytes()).is_ok(),
                "{} bytes",
                key.public_modulus_len()
            );
        }
        // Refused before anything is computed with them, so the signature does not matter.
        let refused = |n: Vec<u8>, e: &[u8]| {
            let jwk = json!({ "kty": "RSA", "n": encode(n), "e": encode(e) });
            let header = json!({ "typ": "dpop+jwt", "alg": "RS256", "jwk": jwk });
            Proof::parse(format!("{}.{}.AAAA", encode(header.to_string()), encode(claims().to_string())).as_bytes())
                .err()
        };
        let modulus = |bytes: usize| vec![0xFF; bytes];
        for bytes in [0, 1, 128, 255, 513, 1_024] {
            assert_eq!(refused(modulus(bytes), &[1, 0, 1]), Some(InvalidProof::Malformed), "{bytes} bytes");
        }
        for exponent in [&[][..], &[0, 1, 0, 1], &[1, 0, 0, 0, 1]] {
            assert_eq!(refused(modulus(256), exponent), Some(InvalidProof::Malformed), "{exponent:?}");
        }
        assert_eq!(refused([&[0], &modulus(256)[..]].concat(), &[1, 0, 1]), Some(InvalidProof::Malformed));
        // 2041 bits, and no good modulus.
        assert_eq!(refused([&[1], &modulus(255)[..]].concat(), &[1, 0, 1]), Some(InvalidProof::Signature));
    }

    #[test]
    fn where_proofs_need_a_nonce_the_rest_is_checked_first() {
        let (key, jwk) = key();
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        let master = MasterSecret::from_base64(&BASE64_STANDARD.encode([1; 32])).expect("32 bytes");
        let nonces = NonceKeys::new(MacKey::derive(&master, "nonce"), []);
        let now = Timestamp::from_unix(1_000);
        let check = |nonce: Value, method: &str, nonces| {
            let mut claims = claims();
            claims["nonce"] = nonce;
            let proof = Proof::parse(sign(&key, &header, &claims).as_bytes())?;
            proof.check(&ProvenRequest { method, uri: "https://i/token", token: None, nonces }, now)
        };
        let good = Value::from(nonces.nonce(now));
        assert_eq!(check(good.clone(), "POST", Some(&nonces)), Ok(()));
        assert_eq!(check(good, "GET", Some(&nonces)), Err(InvalidProof::Method));
        for wrong in [Value::Null, "".into(), "x".into(), nonces.nonce(now.plus(600)).into()] {
            assert_eq!(check(wrong.clone(), "POST", Some(&nonces)), Err(InvalidProof::Nonce), "{wrong}");
            assert_eq!(check(wrong.clone(), "GET", Some(&nonces)), Err(InvalidProof::Method), "{wrong}");
            assert_eq!(check(wrong, "POST", None), Ok(()));
        }
        assert_eq!(InvalidProof::Nonce.code(), "use_dpop_nonce");
    }

    /// The example of RFC 9449 §4.1, and its thumbprint of §6.1.
    #[test]
    fn the_example_of_rfc_9449() {
        let text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        let proof = Proof::parse(text.as_bytes()).expect("the example of the RFC");
        assert_eq!(proof.key.as_str(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        let request =
            ProvenRequest { method: "POST", uri: "https://server.example.com/token", token: None, nonces: None };
        assert_eq!(proof.check(&request, Timestamp::from_unix(1_562_262_616)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,64}", header in ".{0,64}", claims in ".{0,64}") {
            let _ = Proof::parse(text.as_bytes());
            let _ = Proof::parse(format!("{}.{}.AAAA", encode(header), encode(claims)).as_bytes());
        }
    }
}
