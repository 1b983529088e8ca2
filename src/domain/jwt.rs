//! JSON Web Tokens that we sign (RFC 7519), in the compact serialization (RFC 7515 §7.1). Each says of which type it is, and one of
//! another type is none (RFC 8725 §3.11).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::json::object;
use super::jwk::{PublicKey, SigningAlgorithm};

/// Longer than any of ours that we take back, in bytes.
pub const MAX_LENGTH: usize = 8 << 10;
/// The type of an ID token.
pub const ID_TOKEN: &str = "JWT";

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

/// All that our headers have. What else a header could have, such as `jwk`, `jku`, `x5u` or `crit`, makes it none of ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

impl<'a> Presented<'a> {
    /// `None` for what has not the form, or is of another type.
    pub fn parse(text: &'a str, typ: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (signing_input, signature) = text.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        let header: Header = object(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?)?;
        if header.typ != typ {
            return None;
        }
        Some(Self { header, signing_input, claims, signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()? })
    }

    /// Which key it says has signed it.
    pub fn kid(&self) -> &str {
        &self.header.kid
    }

    /// Whether this key has signed it. The algorithm is that of the key, whatever the header says (RFC 8725 §3.1).
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.header.alg == key.algorithm().name() && key.verifies(self.signing_input.as_bytes(), &self.signature)
    }

    /// The claims, if this key has signed them.
    pub fn claims<C: DeserializeOwned>(&self, key: &PublicKey) -> Option<C> {
        if self.is_signed_by(key) { self.unverified() } else { None }
    }

    /// What it claims, whoever has written it.
    pub fn unverified<C: DeserializeOwned>(&self) -> Option<C> {
        object(&BASE64_URL_SAFE_NO_PAD.decode(self.claims).ok()?)
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
            let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","kid":"k","typ":"JWT"}}"#));
            let text = format!("{header}.e30.");
            let presented = Presented::parse(&text, ID_TOKEN).expect("it has the form");
            assert_eq!(presented.kid(), "k");
            assert_eq!(presented.claims::<serde_json::Value>(&key), None, "{alg}");
        }
    }

    #[test]
    fn a_header_of_ours_has_three_members_and_the_type_that_is_expected() {
        let parsed = |header: &str| {
            let text = format!("{}.e30.", BASE64_URL_SAFE_NO_PAD.encode(header));
            Presented::parse(&text, ID_TOKEN).is_some()
        };
        assert!(parsed(r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#));
        for header in [
            r#"{"alg":"RS256","kid":"k"}"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"RS256","kid":"k","typ":"at+jwt"}"#,
            r#"{"alg":"RS256","kid":"k","typ":"jwt"}"#,
            r#"{"alg":"RS256","kid":"k","typ":"JWT","typ":"JWT"}"#,
            r#"{"alg":"RS256","kid":"k","typ":"JWT","crit":["exp"]}"#,
            r#"{"alg":"RS256","kid":"k","typ":"JWT","jwk":{}}"#,
            r#"{"alg":"RS256","kid":"k","typ":"JWT","jku":"https://e"}"#,
            r#"{"alg":"RS256","kid":"k","typ":"JWT","x5u":"https://e"}"#,
            r#"{"alg":"RS256","kid":"k","typ":"JWT","zip":"DEF"}"#,
            r#"["RS256","k","JWT"]"#,
        ] {
            assert!(!parsed(header), "{header}");
        }
        let huge = format!(
            "{}.e30.{}",
            BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#),
            "A".repeat(MAX_LENGTH)
        );
        assert!(Presented::parse(&huge, ID_TOKEN).is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_.-]{0,80}") {
            let _ = Presented::parse(&text, ID_TOKEN);
        }
    }
}
