//! JSON Web Tokens that we sign (RFC 7519), in the compact serialization (RFC 7515 §7.1).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::jwk::{PublicKey, SigningAlgorithm};

/// Longer than any of ours.
const MAX_LENGTH: usize = 8 << 10;

/// What is signed: the header and the claims.
pub fn signing_input(algorithm: SigningAlgorithm, kid: &str, typ: &str, claims: &impl Serialize) -> String {
    let header = json!({ "alg": algorithm.name(), "kid": kid, "typ": typ });
    let claims = serde_json::to_vec(claims).expect("claims are made of text and numbers");
    format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()), BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// What was signed, with its signature.
pub fn signed(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A token that somebody presents. Nothing is known of it until it is verified.
pub struct Presented<'a> {
    header: Header,
    signing_input: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: String,
}

impl<'a> Presented<'a> {
    /// `None` for what has not the form.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (signing_input, signature) = text.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?).ok()?,
            signing_input,
            claims,
            signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// What kind of token it says it is (RFC 8725 §3.11); empty where it says nothing.
    pub fn typ(&self) -> &str {
        &self.header.typ
    }

    /// Which key it says has signed it.
    pub fn kid(&self) -> &str {
        &self.header.kid
    }

    /// The claims, if this key has signed them. The algorithm is that of the key, whatever the header says (RFC 8725 §3.1).
    pub fn claims<C: DeserializeOwned>(&self, key: &PublicKey) -> Option<C> {
        if self.header.alg != key.algorithm().name() || !key.verifies(self.signing_input.as_bytes(), &self.signature) {
            return None;
        }
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(self.claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn d5_another_algorithm_than_the_key_has_is_refused() {
        let key: PublicKey =
            serde_json::from_str(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)
                .expect("a public key");
        for alg in ["none", "HS256", "RS256", "EdDSA"] {
            let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","kid":"k"}}"#));
            let text = format!("{header}.e30.");
            let presented = Presented::parse(&text).expect("it has the form");
            assert_eq!(presented.kid(), "k");
            assert_eq!(presented.claims::<serde_json::Value>(&key), None, "{alg}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_.-]{0,80}") {
            let _ = Presented::parse(&text);
        }
    }
}
