//! Decisions: whether what a token stands for satisfies a requirement. Evaluated on every call, never cached.

use serde::{Deserialize, Serialize};

use super::challenge::ChallengeError;
use super::dpop::InvalidProof;
use super::scope::{Implications, MalformedScope, Scope, ScopeSet};

/// Whether all or any of the required scopes must be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    All,
    Any,
}

/// What a caller requires of an access token.
#[derive(Clone, Copy, Debug)]
pub struct Requirement<'a> {
    scopes: &'a [String],
    matching: Match,
    /// The names of the resource that asks; none means that any token will do.
    audiences: &'a [String],
}

impl<'a> Requirement<'a> {
    pub fn new(scopes: &'a [String], matching: Match, audiences: &'a [String]) -> Result<Self, MalformedScope> {
        if scopes.iter().all(|scope| Scope::is_well_formed(scope)) {
            Ok(Self { scopes, matching, audiences })
        } else {
            Err(MalformedScope)
        }
    }

    pub fn scopes(&self) -> &'a [String] {
        self.scopes
    }

    pub fn audiences(&self) -> &'a [String] {
        self.audiences
    }

    /// Decides for an active access token with these scopes and audiences.
    pub fn decide(&self, granted: &ScopeSet, audiences: &[Box<str>], rules: &Implications) -> Decision<'a> {
        if !self.audiences.is_empty()
            && !self.audiences.iter().any(|wanted| audiences.iter().any(|aud| **aud == **wanted))
        {
            return Decision::InvalidAudience;
        }
        let satisfied = |scope: &&str| rules.satisfy(granted, scope);
        let mut scopes = self.scopes.iter().map(String::as_str);
        let enough = match self.matching {
            Match::All => scopes.all(|scope| satisfied(&scope)),
            Match::Any => self.scopes.is_empty() || scopes.any(|scope| satisfied(&scope)),
        };
        if enough {
            return Decision::Allowed;
        }
        let missing = self.scopes.iter().map(String::as_str).filter(|scope| !satisfied(scope)).collect();
        Decision::InsufficientScope { missing }
    }
}

/// What an access token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Allowed,
    /// Malformed, unknown, expired, revoked or no access token.
    InactiveToken,
    InsufficientScope {
        /// The required scopes that the token lacks, in the order of the requirement.
        missing: Vec<&'a str>,
    },
    InvalidAudience,
    /// The request does not prove that it may use the token, or the token is not bound to the key that it proves.
    InvalidProof(InvalidProof),
}

impl Decision<'_> {
    /// What a resource server answers (RFC 6750 §3.1); `None` when allowed.
    pub fn challenge<'r>(&self, requirement: &Requirement<'r>) -> Option<ChallengeError<'r>> {
        match self {
            Self::Allowed => None,
            Self::InactiveToken => Some(ChallengeError::InvalidToken),
            Self::InsufficientScope { .. } => Some(ChallengeError::InsufficientScope { required: requirement.scopes }),
            Self::InvalidAudience => Some(ChallengeError::InvalidAudience),
            Self::InvalidProof(cause) => Some(ChallengeError::InvalidProof(*cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_as_a_table() {
        let none: [&str; 0] = [];
        let missing = |scopes: &[&'static str]| Decision::InsufficientScope { missing: scopes.to_vec() };
        for (granted, required, matching, audiences, expected) in [
            ("a b", &["a"][..], Match::All, &none[..], Decision::Allowed),
            ("a b", &["b", "a"], Match::All, &none, Decision::Allowed),
            ("a b", &[], Match::All, &none, Decision::Allowed),
            ("a b", &[], Match::Any, &none, Decision::Allowed),
            ("", &[], Match::All, &none, Decision::Allowed),
            ("a", &["c", "a", "b"], Match::All, &none, missing(&["c", "b"])),
            ("a", &["c", "a"], Match::Any, &none, Decision::Allowed),
            ("a", &["c", "b"], Match::Any, &none, missing(&["c", "b"])),
            ("read", &["readonly"], Match::All, &none, missing(&["readonly"])),
            ("a", &["a"], Match::All, &["https://r"], Decision::Allowed),
            ("a", &["a"], Match::All, &["https://x", "https://r"], Decision::Allowed),
            ("a", &["a"], Match::All, &["https://R"], Decision::InvalidAudience),
            ("a", &["b"], Match::All, &["https://x"], Decision::InvalidAudience),
        ] {
            let required: Vec<String> = required.iter().map(|&scope| scope.into()).collect();
            let audiences: Vec<String> = audiences.iter().map(|&name| name.into()).collect();
            let requirement = Requirement::new(&required, matching, &audiences).expect("well-formed scopes");
            let decision =
                requirement.decide(&granted.parse().expect("scopes"), &["https://r".into()], &Implications::default());
            assert_eq!(decision, expected, "{granted} for {required:?} {matching:?} at {audiences:?}");
        }
    }

    #[test]
    fn a_requirement_has_one_scope_per_element() {
        for bad in ["a b", "", "\""] {
            assert_eq!(Requirement::new(&[bad.into()], Match::All, &[]).err(), Some(MalformedScope));
        }
    }
}
