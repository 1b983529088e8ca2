//! `WWW-Authenticate` values for resource servers (RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1).

use std::fmt;

use super::dpop::{ALGORITHMS, InvalidProof};
use super::step_up::AuthenticationRequirement;

/// What to answer to a request whose token does not do. `Display` is the header value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    pub error: ChallengeError<'a>,
    pub scheme: Scheme,
    /// Where the metadata of the resource is that was asked for (RFC 9728 §5.1).
    pub resource_metadata: Option<String>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError<'a> {
    InvalidToken,
    InsufficientScope {
        /// What the request needs, not only what is missing: the client asks for these.
        required: &'a [String],
    },
    InvalidAudience,
    /// The user has to authenticate as this requires.
    InsufficientUserAuthentication {
        required: AuthenticationRequirement<'a>,
        /// What the request needs, where the token lacks some of it.
        scopes: &'a [String],
    },
    /// The token is bound to a key, and the request does not show it; or the other way round.
    InvalidProof(InvalidProof),
}

/// How the token has to be presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Bearer,
    DPoP,
}

impl Challenge<'_> {
    /// The status that goes with it (RFC 6750 §3.1).
    pub fn http_status(&self) -> u16 {
        match self.error {
            ChallengeError::InvalidToken
            | ChallengeError::InvalidAudience
            | ChallengeError::InsufficientUserAuthentication { .. }
            | ChallengeError::InvalidProof(_) => 401,
            ChallengeError::InsufficientScope { .. } => 403,
        }
    }
}

impl ChallengeError<'_> {
    pub const fn code(self) -> &'static str {
        match self {
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::InsufficientUserAuthentication { .. } => "insufficient_user_authentication",
            Self::InvalidProof(cause) if !cause.concerns_token() => cause.code(),
            Self::InvalidToken | Self::InvalidAudience | Self::InvalidProof(_) => "invalid_token",
        }
    }
}

/// The `error_description`: ASCII without `"` and `\`.
impl fmt::Display for ChallengeError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidToken => f.write_str("The access token is expired, revoked or malformed"),
            Self::InvalidAudience => f.write_str("The access token is for another audience"),
            Self::InsufficientScope { .. } => f.write_str("The access token lacks a required scope"),
            Self::InsufficientUserAuthentication { .. } => {
                f.write_str("The user has to authenticate again, or in another way")
            }
            Self::InvalidProof(cause) => cause.fmt(f),
        }
    }
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Bearer => "Bearer",
            Scheme::DPoP => "DPoP",
        };
        write!(f, r#"{scheme} error="{}", error_description="{}""#, self.error.code(), self.error)?;
        if self.scheme == Scheme::DPoP {
            write!(f, r#", algs="{}""#, ALGORITHMS.join(" "))?;
        }
        // Neither these URLs nor scope tokens nor names of authentication context classes can hold `"` or `\`, so nothing needs quoting.
        if let Some(url) = &self.resource_metadata {
            write!(f, r#", resource_metadata="{url}""#)?;
        }
        let scopes = match self.error {
            ChallengeError::InsufficientScope { required } => required,
            ChallengeError::InsufficientUserAuthentication { required, scopes } => {
                if !required.acr_values().is_empty() {
                    write!(f, r#", acr_values="{}""#, required.acr_values().join(" "))?;
                }
                if let Some(max_age) = required.max_age() {
                    write!(f, r#", max_age="{max_age}""#)?;
                }
                scopes
            }
            ChallengeError::InvalidToken | ChallengeError::InvalidAudience | ChallengeError::InvalidProof(_) => &[],
        };
        if !scopes.is_empty() {
            write!(f, r#", scope="{}""#, scopes.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_values_of_rfc_6750_section_3() {
        let required = ["orders:read".to_owned(), "orders:write".to_owned()];
        let bearer = |error| Challenge { error, scheme: Scheme::Bearer, resource_metadata: None };
        let insufficient = bearer(ChallengeError::InsufficientScope { required: &required });
        assert_eq!(
            insufficient.to_string(),
            r#"Bearer error="insufficient_scope", error_description="The access token lacks a required scope", scope="orders:read orders:write""#
        );
        assert_eq!(insufficient.http_status(), 403);
        assert_eq!(bearer(ChallengeError::InvalidToken).http_status(), 401);
        assert!(bearer(ChallengeError::InvalidToken).to_string().starts_with(r#"Bearer error="invalid_token""#));
    }

    #[test]
    fn the_header_values_of_rfc_9470_section_3() {
        let (acr_values, scopes) = (["2".to_owned(), "urn:x".to_owned()], ["a".to_owned()]);
        let prefix = r#"Bearer error="insufficient_user_authentication", error_description="The user has to authenticate again, or in another way""#;
        for (acr_values, max_age, scopes, expected) in [
            (&acr_values[..], None, &[][..], r#", acr_values="2 urn:x""#),
            (&[], Some(0), &[], r#", max_age="0""#),
            (&acr_values, Some(5), &scopes, r#", acr_values="2 urn:x", max_age="5", scope="a""#),
        ] {
            let required = AuthenticationRequirement::new(acr_values, max_age).expect("well-formed classes");
            let error = ChallengeError::InsufficientUserAuthentication { required, scopes };
            let challenge = Challenge { error, scheme: Scheme::Bearer, resource_metadata: None };
            assert_eq!((challenge.to_string(), challenge.http_status()), (format!("{prefix}{expected}"), 401));
        }
    }

    #[test]
    fn the_header_values_of_rfc_9449_section_7_1_and_rfc_9728_section_5_1() {
        for (cause, expected) in [
            (
                InvalidProof::Missing,
                r#"DPoP error="invalid_token", error_description="the token is bound to a key, and the request has no proof of it", algs="ES256 Ed25519 EdDSA RS256 PS256", resource_metadata="https://r/x""#,
            ),
            (
                InvalidProof::Method,
                r#"DPoP error="invalid_dpop_proof", error_description="the proof is for another method", algs="ES256 Ed25519 EdDSA RS256 PS256", resource_metadata="https://r/x""#,
            ),
        ] {
            let error = ChallengeError::InvalidProof(cause);
            let challenge = Challenge { error, scheme: Scheme::DPoP, resource_metadata: Some("https://r/x".into()) };
            assert_eq!((challenge.to_string().as_str(), challenge.http_status()), (expected, 401));
        }
    }
}
