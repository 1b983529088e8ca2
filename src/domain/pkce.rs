//! Proof Key for Code Exchange (RFC 7636).
//!
//! Whatever the method, what is kept is a challenge of S256: that of a `plain` one is its hash. So what answers it is decided in one way.

use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::client::Client;
use super::error::InvalidRequest;
use super::parameters::Parameters;

/// The longest verifier of clients that do not keep to RFC 7636.
const MAX_VERIFIER_LENGTH: usize = 256;

/// Who has to prove that a code is for the one who asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PkceRules {
    pub required: PkceRequired,
    pub methods: Vec<ChallengeMethod>,
    pub verifier: VerifierSyntax,
}

/// Who has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PkceRequired {
    Always,
    PublicClients,
    Never,
}

/// How a challenge is made (`code_challenge_method`, RFC 7636 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChallengeMethod {
    S256,
    #[serde(rename = "plain")]
    Plain,
}

/// What a verifier is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifierSyntax {
    Rfc7636,
    /// Any characters, 256 at most.
    Any,
}

impl Default for PkceRules {
    fn default() -> Self {
        Self { required: PkceRequired::Always, methods: vec![ChallengeMethod::S256], verifier: VerifierSyntax::Rfc7636 }
    }
}

impl PkceRules {
    pub fn is_required_of(&self, client: &Client) -> bool {
        match self.required {
            PkceRequired::Always => true,
            PkceRequired::PublicClients => !client.is_confidential(),
            PkceRequired::Never => false,
        }
    }

    /// The challenge of an authorization request (RFC 7636 §4.3 and §4.4.1). An omitted method means `plain`. Who names a method meant to
    /// send a challenge.
    pub fn challenge(&self, parameters: &Parameters, client: &Client) -> Result<Option<CodeChallenge>, InvalidRequest> {
        let (challenge, name) = (parameters.get("code_challenge"), parameters.get("code_challenge_method"));
        if challenge.is_none() && self.is_required_of(client) {
            return Err(InvalidRequest::ChallengeMissing);
        }
        let method = name.map(|name| match name {
            "S256" => Some(ChallengeMethod::S256),
            "plain" => Some(ChallengeMethod::Plain),
            _ => None,
        });
        let method = match (challenge, method) {
            (None, None) => return Ok(None),
            (_, method) => method.unwrap_or(Some(ChallengeMethod::Plain)),
        };
        let method = method.filter(|method| self.methods.contains(method)).ok_or(InvalidRequest::ChallengeMethod)?;
        let challenge = challenge.ok_or(InvalidRequest::ChallengeMissing)?;
        Ok(Some(match method {
            ChallengeMethod::S256 => challenge.parse()?,
            ChallengeMethod::Plain => self.parse_verifier(challenge)?.challenge(),
        }))
    }

    pub fn parse_verifier(&self, text: &str) -> Result<CodeVerifier, MalformedCodeVerifier> {
        match self.verifier {
            VerifierSyntax::Rfc7636 => text.parse(),
            VerifierSyntax::Any if (1..=MAX_VERIFIER_LENGTH).contains(&text.len()) => {
                Ok(CodeVerifier(Zeroizing::new(text.to_owned())))
            }
            VerifierSyntax::Any => Err(MalformedCodeVerifier),
        }
    }
}

impl ChallengeMethod {
    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S256 => "S256",
            Self::Plain => "plain",
        }
    }
}

/// The S256 challenge: base64url of a SHA-256, 43 characters (RFC 7636 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(Box<str>);

/// Text that cannot be the S256 challenge of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code_challenge of method S256 is the unpadded base64url form of 32 bytes")]
pub struct MalformedCodeChallenge;

impl CodeChallenge {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CodeChallenge {
    type Err = MalformedCodeChallenge;

    fn from_str(text: &str) -> Result<Self, MalformedCodeChallenge> {
        match BASE64_URL_SAFE_NO_PAD.decode(text) {
            Ok(digest) if digest.len() == 32 => Ok(Self(text.into())),
            _ => Err(MalformedCodeChallenge),
        }
    }
}

/// The secret that the client proves possession of: 43 to 128 unreserved characters (RFC 7636 §4.1).
pub struct CodeVerifier(Zeroizing<String>);

/// Text that is not a code verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code_verifier has 43 to 128 characters out of A-Z a-z 0-9 - . _ ~")]
pub struct MalformedCodeVerifier;

impl CodeVerifier {
    /// The challenge that this verifier answers (RFC 7636 §4.6).
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.as_bytes())).into())
    }
}

impl FromStr for CodeVerifier {
    type Err = MalformedCodeVerifier;

    fn from_str(text: &str) -> Result<Self, MalformedCodeVerifier> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(MalformedCodeVerifier)
        }
    }
}

impl std::fmt::Debug for CodeVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeVerifier(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let verifier: CodeVerifier =
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".parse().expect("the verifier of the RFC");
        assert_eq!(verifier.challenge().as_str(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn verifiers_outside_the_grammar_are_refused() {
        for bad in ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(43)), format!("{} ", "a".repeat(43))] {
            assert_eq!(bad.parse::<CodeVerifier>().err(), Some(MalformedCodeVerifier), "{bad}");
        }
        for good in ["a".repeat(43), "~".repeat(128)] {
            assert!(good.parse::<CodeVerifier>().is_ok());
        }
    }

    #[test]
    fn challenges_that_are_no_digest_are_refused() {
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(good.parse::<CodeChallenge>().is_ok());
        for bad in [&good[..42], &format!("{good}A"), &format!("{good}="), &good.replace('-', "+"), ""] {
            assert_eq!(bad.parse::<CodeChallenge>(), Err(MalformedCodeChallenge), "{bad}");
        }
    }
}
