//! Decisions: whether what a token stands for satisfies a requirement. Evaluated on every call, never cached.

use serde::{Deserialize, Serialize};

use super::challenge::ChallengeError;
use super::dpop::InvalidProof;
use super::scope::{Implications, MalformedScope, Scope};
use super::scope_rules::HeldScopes;
use super::step_up::{AuthenticationRequirement, UserAuthentication};
use super::timestamp::Timestamp;

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
    authentication: AuthenticationRequirement<'a>,
}

/// What an active access token stands for, as far as it is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Held<'t> {
    pub scopes: HeldScopes<'t>,
    pub audiences: &'t [Box<str>],
    /// How its user authenticated, if that is known.
    pub authentication: Option<&'t UserAuthentication>,
}

impl<'a> Requirement<'a> {
    pub fn new(scopes: &'a [String], matching: Match, audiences: &'a [String]) -> Result<Self, MalformedScope> {
        if scopes.iter().all(|scope| Scope::is_well_formed(scope)) {
            Ok(Self { scopes, matching, audiences, authentication: AuthenticationRequirement::default() })
        } else {
            Err(MalformedScope)
        }
    }

    /// The same, with what is required of how the user authenticated.
    #[must_use]
    pub fn with_authentication(self, authentication: AuthenticationRequirement<'a>) -> Self {
        Self { authentication, ..self }
    }

    pub fn scopes(&self) -> &'a [String] {
        self.scopes
    }

    pub fn audiences(&self) -> &'a [String] {
        self.audiences
    }

    /// Decides for an active access token that stands for this. A user who has to authenticate anew is told so before scopes are:
    /// both can then be asked for at once (RFC 9470 §3).
    pub fn decide(&self, held: &Held<'_>, rules: &Implications, now: Timestamp) -> Decision<'a> {
        if !self.audiences.is_empty()
            && !self.audiences.iter().any(|wanted| held.audiences.iter().any(|aud| **aud == **wanted))
        {
            return Decision::InvalidAudience;
        }
        let authenticated = self.authentication.is_met_by(held.authentication, now);
        let satisfied = |scope: &&str| held.scopes.satisfy(rules, scope);
        let mut scopes = self.scopes.iter().map(String::as_str);
        let enough = match self.matching {
            Match::All => scopes.all(|scope| satisfied(&scope)),
            Match::Any => self.scopes.is_empty() || scopes.any(|scope| satisfied(&scope)),
        };
        let missing = || self.scopes.iter().map(String::as_str).filter(|scope| !satisfied(scope)).collect();
        match (authenticated, enough) {
            (true, true) => Decision::Allowed,
            (true, false) => Decision::InsufficientScope { missing: missing() },
            (false, true) => Decision::InsufficientUserAuthentication { missing: Vec::new() },
            (false, false) => Decision::InsufficientUserAuthentication { missing: missing() },
        }
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
    /// The user has not authenticated as is required, or it is not known (RFC 9470 §3).
    InsufficientUserAuthentication {
        /// The required scopes that the token lacks besides, in the order of the requirement.
        missing: Vec<&'a str>,
    },
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
            Self::InsufficientUserAuthentication { missing } => Some(ChallengeError::InsufficientUserAuthentication {
                required: requirement.authentication,
                scopes: if missing.is_empty() { &[] } else { requirement.scopes },
            }),
            Self::InvalidProof(cause) => Some(ChallengeError::InvalidProof(*cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scope::ScopeSet;

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
            let granted_scopes: ScopeSet = granted.parse().expect("scopes");
            let held =
                Held { scopes: (&granted_scopes).into(), audiences: &["https://r".into()], authentication: None };
            let decision = requirement.decide(&held, &Implications::default(), Timestamp::from_unix(0));
            assert_eq!(decision, expected, "{granted} for {required:?} {matching:?} at {audiences:?}");
        }
    }

    #[test]
    fn a_user_who_has_to_authenticate_anew_is_told_all_that_is_missing() {
        let scopes = ["a".to_owned(), "c".to_owned()];
        let authentication = AuthenticationRequirement::new(&[], Some(5)).expect("no classes");
        let granted: ScopeSet = "a b".parse().expect("scopes");
        let known = UserAuthentication { auth_time: Timestamp::from_unix(10), acr: None };
        let held = Held { scopes: (&granted).into(), audiences: &[], authentication: Some(&known) };
        let decide = |scopes, held: &Held<'_>, now| {
            let requirement = Requirement::new(scopes, Match::All, &[]).expect("well-formed scopes");
            let requirement = requirement.with_authentication(authentication);
            let decision = requirement.decide(held, &Implications::default(), Timestamp::from_unix(now));
            (decision.challenge(&requirement), decision)
        };
        assert_eq!(decide(&scopes[..1], &held, 15).1, Decision::Allowed);
        assert_eq!(decide(&scopes, &held, 15).1, Decision::InsufficientScope { missing: vec!["c"] });
        let refused = |scopes| ChallengeError::InsufficientUserAuthentication { required: authentication, scopes };
        let (challenge, decision) = decide(&scopes[..1], &held, 16);
        assert_eq!(decision, Decision::InsufficientUserAuthentication { missing: vec![] });
        assert_eq!(challenge, Some(refused(&[])));
        let (challenge, decision) = decide(&scopes, &held, 16);
        assert_eq!(decision, Decision::InsufficientUserAuthentication { missing: vec!["c"] });
        assert_eq!(challenge, Some(refused(&scopes)));
        let unknown = Held { authentication: None, ..held };
        assert_eq!(decide(&[], &unknown, 10).1, Decision::InsufficientUserAuthentication { missing: vec![] });
    }

    #[test]
    fn a_requirement_has_one_scope_per_element() {
        for bad in ["a b", "", "\""] {
            assert_eq!(Requirement::new(&[bad.into()], Match::All, &[]).err(), Some(MalformedScope));
        }
    }
}
