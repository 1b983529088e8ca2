//! `WWW-Authenticate` values for resource servers (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1).

use std::fmt;

use super::dpop::{ALGORITHMS, InvalidProof};

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
            ChallengeError::InvalidToken | ChallengeError::InvalidAudience | ChallengeError::InvalidProof(_) => 401,
            ChallengeError::InsufficientScope { .. } => 403,
        }
    }
}

impl ChallengeError<'_> {
    const fn code(self) -> &'static str {
        match self {
            Self::InsufficientScope { .. } => "insufficient_scope",
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
        // Neither these URLs nor scope tokens can hold `"` or `\`, so nothing needs quoting.
        if let Some(url) = &self.resource_metadata {
            write!(f, r#", resource_metadata="{url}""#)?;
        }
        if let ChallengeError::InsufficientScope { required } = self.error {
            write!(f, r#", scope="{}""#, required.join(" "))?;
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
