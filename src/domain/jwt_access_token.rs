//! Access tokens as JSON Web Tokens (RFC 9068), for resource servers that verify them by themselves.
//!
//! Beside its claims, one has what an opaque token is: a pointer to its grant under a MAC. Here, the claims decide nothing. A check
//! opens the pointer, which is cheap, so what is not ours ends there; verifies the signature, so that nobody may rely on claims that
//! were changed; and then goes by the grant, as for an opaque one. So all that ends an opaque token ends this one.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::grant::{Confirmation, Variant};
use super::jwk::PublicKey;
use super::jwt;
use super::timestamp::Timestamp;
use super::token::{Signed, TokenKeys};

/// The type (RFC 9068 §2.1).
pub const TYPE: &str = "at+jwt";
/// A longer `kid` is none of ours: they are thumbprints.
const KID_LENGTH: usize = 43;
/// How long the scopes and resources may be together, in bytes, so that the token stays below [`jwt::MAX_LENGTH`], which is
/// about what servers take as a header.
const MAX_VARIANT_LENGTH: usize = 4_000;

/// How the access tokens of a client are written (`access_token_format`; RFC 7591 has no name for it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessTokenFormat {
    /// A pointer that says nothing to others.
    #[default]
    Opaque,
    /// RFC 9068.
    Jwt,
}

/// Text that is no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is opaque or jwt")]
pub struct UnknownFormat;

impl AccessTokenFormat {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Jwt => "jwt",
        }
    }

    /// Whether it needs no mention.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::Opaque
    }
}

impl FromStr for AccessTokenFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        [Self::Opaque, Self::Jwt].into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
    }
}

/// What one says (RFC 9068 §2.2), and what makes it a token here.
#[derive(Serialize)]
pub struct Claims<'a> {
    pub iss: &'a str,
    pub sub: &'a str,
    pub aud: Audience<'a>,
    pub client_id: &'a str,
    pub exp: i64,
    pub iat: i64,
    /// As introspection has it: the grant, and what tells its tokens apart.
    pub jti: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<&'a str>,
    /// The browser session, for those who follow what is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// RFC 7800 §3.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<&'a Confirmation>,
    /// The pointer to the grant. A private claim (RFC 7519 §4.3).
    pub sg_ptr: &'a str,
}

/// Whom it is meant for: the resources, or where it has none, whoever the operator says (RFC 9068 §3).
#[derive(Serialize)]
#[serde(untagged)]
pub enum Audience<'a> {
    One(&'a str),
    Several(&'a [Box<str>]),
}

impl<'a> Audience<'a> {
    pub fn of(variant: &'a Variant, otherwise: &'a str) -> Self {
        match variant.resources() {
            [] => Self::One(otherwise),
            [one] => Self::One(one),
            several => Self::Several(several),
        }
    }
}

/// Whether a token that stands for this is short enough to be read everywhere.
pub fn holds(variant: &Variant) -> bool {
    let resources: usize = variant.resources().iter().map(|resource| resource.len() + 3).sum();
    variant.scopes.as_str().len() + resources <= MAX_VARIANT_LENGTH
}

/// Whether this could be one, at a glance: all our headers begin with `{"`.
pub fn may_be(text: &str) -> bool {
    text.starts_with("eyJ")
}

/// One that somebody presents. Our keys have sealed its pointer; whether the rest is ours, its signature says.
pub struct Presented<'a> {
    jwt: jwt::Presented<'a>,
    signed: Signed,
}

/// What is believed of the claims: the pointer, and that only when it opens.
#[derive(Deserialize)]
struct Pointer {
    iss: String,
    sg_ptr: String,
}

impl<'a> Presented<'a> {
    /// `None` for what has not the form, is of another issuer, or has no pointer that one of these keys sealed.
    pub fn parse(text: &'a str, keys: &TokenKeys, issuer: &str) -> Option<Self> {
        let jwt = jwt::Presented::parse(text, TYPE).filter(|jwt| jwt.kid().len() == KID_LENGTH)?;
        let pointer: Pointer = jwt.unverified()?;
        let signed = keys.open_pointer(&pointer.sg_ptr).filter(|_| pointer.iss == issuer)?;
        Some(Self { jwt, signed })
    }

    /// Which key it says has signed it.
    pub fn kid(&self) -> &str {
        self.jwt.kid()
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.signed.token.is_expired(now)
    }

    /// The access token that it stands for, if this key has signed it.
    pub fn verify(&self, key: &PublicKey) -> Option<Signed> {
        self.jwt.is_signed_by(key).then_some(self.signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Restriction;
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::json;

    use crate::domain::jwk::SigningAlgorithm;
    use crate::domain::secret::{MacKey, MasterSecret};
    use crate::domain::token::{GrantId, KeyId, Token, TokenKind};

    const ISSUER: &str = "https://issuer";

    fn keys() -> TokenKeys {
        let master = MasterSecret::from_base64(&BASE64_STANDARD.encode([7; 32])).expect("32 bytes");
        TokenKeys::new(KeyId::new(3).expect("one of 16"), MacKey::derive(&master, "scopegate/v1/token"))
    }

    fn token() -> Token {
        Token {
            kind: TokenKind::AccessToken,
            variant: 255,
            grant: GrantId::from_bytes([0xFF; 16]),
            generation: u32::MAX,
            serial: u32::MAX,
            issued_at: Timestamp::from_unix(1 << 39),
            lifetime: 600,
        }
    }

    fn variant(scopes: &str, resources: &[&str]) -> Variant {
        let resources = resources.iter().map(|&resource| resource.into()).collect();
        Variant::new(scopes.parse().expect("scopes"), Restriction { resources, confirmation: None })
    }

    #[test]
    fn d6_what_is_not_ours_in_every_respect_is_none() {
        let (keys, token) = (keys(), token());
        let kid = "k".repeat(43);
        let written = |header: serde_json::Value, claims: serde_json::Value| {
            let encode = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.c2ln", encode(header), encode(claims))
        };
        let header = || json!({ "alg": "RS256", "kid": kid, "typ": "at+jwt" });
        let pointer = keys.seal_pointer(&token);
        let claims = || json!({ "iss": ISSUER, "sg_ptr": pointer.expose(), "scope": "everything" });
        let good = written(header(), claims());
        assert_eq!(Presented::parse(&good, &keys, ISSUER).map(|presented| presented.signed.token), Some(token));
        let opaque = keys.seal(&token);
        for (header, claims) in [
            (json!({ "alg": "RS256", "kid": kid, "typ": "JWT" }), claims()),
            (json!({ "alg": "RS256", "kid": "k", "typ": "at+jwt" }), claims()),
            (json!({ "alg": "RS256", "kid": kid, "typ": "at+jwt", "crit": [] }), claims()),
            (header(), json!({ "iss": "https://other", "sg_ptr": pointer.expose() })),
            (header(), json!({ "sg_ptr": pointer.expose() })),
            (header(), json!({ "iss": ISSUER })),
            (header(), json!({ "iss": ISSUER, "sg_ptr": opaque.expose() })),
            (header(), json!([ISSUER, pointer.expose()])),
            (header(), json!({ "iss": ISSUER, "x": { "sg_ptr": pointer.expose() } })),
        ] {
            let text = written(header.clone(), claims.clone());
            assert!(Presented::parse(&text, &keys, ISSUER).is_none(), "{header} {claims}");
        }
        assert!(Presented::parse(pointer.expose(), &keys, ISSUER).is_none());
    }

    #[test]
    fn the_longest_is_one_that_is_read() {
        let resource = format!("https://r/{}", "x".repeat(490));
        let resources: Vec<&str> = vec![&resource; 7];
        let long = variant(&"s".repeat(256), &resources);
        assert!(holds(&long));
        assert!(!holds(&variant("a", &[resource.as_str(); 8])));
        let (name, kid) = ("x".repeat(140), "k".repeat(43));
        let cnf = Confirmation::X5tS256(kid.clone().into());
        let pointer = keys().seal_pointer(&token());
        let claims = Claims {
            iss: &"i".repeat(300),
            sub: &name,
            aud: Audience::of(&long, ""),
            client_id: &name,
            exp: 1 << 40,
            iat: 1 << 39,
            jti: token().jti(),
            scope: long.scopes.as_str(),
            auth_time: Some(1 << 39),
            acr: Some("1"),
            sid: Some("0".repeat(32)),
            cnf: Some(&cnf),
            sg_ptr: pointer.expose(),
        };
        let input = jwt::signing_input(SigningAlgorithm::Rs256, &kid, TYPE, &claims);
        let text = jwt::signed(&input, &[0; 256]);
        assert!(may_be(&text));
        assert!(text.len() <= jwt::MAX_LENGTH, "{}", text.len());
        assert!(Presented::parse(&text, &keys(), &"i".repeat(300)).is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "eyJ[A-Za-z0-9_.-]{0,80}") {
            prop_assert!(Presented::parse(&text, &keys(), ISSUER).is_none());
        }
    }
}
