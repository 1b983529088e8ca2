//! `WWW-Authenticate` values for resource servers (RFC 6750 §3).

use std::fmt;

/// What to answer to a request whose token does not do. `Display` is the header value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge<'a> {
    InvalidToken,
    InsufficientScope {
        /// What the request needs, not only what is missing: the client asks for these.
        required: &'a [String],
    },
    InvalidAudience,
}

impl Challenge<'_> {
    /// The status that goes with it (RFC 6750 §3.1).
    pub fn http_status(&self) -> u16 {
        match self {
            Self::InvalidToken | Self::InvalidAudience => 401,
            Self::InsufficientScope { .. } => 403,
        }
    }
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidToken => f.write_str(
                r#"Bearer error="invalid_token", error_description="The access token is expired, revoked or malformed""#,
            ),
            Self::InvalidAudience => {
                f.write_str(r#"Bearer error="invalid_token", error_description="The access token is for another audience""#)
            }
            Self::InsufficientScope { required } => {
                f.write_str(
                    r#"Bearer error="insufficient_scope", error_description="The access token lacks a required scope", scope=""#,
                )?;
                // Scope tokens cannot hold `"` or `\`, so nothing needs quoting.
                for (i, scope) in required.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { " " })?;
                    f.write_str(scope)?;
                }
                f.write_str("\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_values_of_rfc_6750_section_3() {
        let required = ["orders:read".to_owned(), "orders:write".to_owned()];
        assert_eq!(
            Challenge::InsufficientScope { required: &required }.to_string(),
            r#"Bearer error="insufficient_scope", error_description="The access token lacks a required scope", scope="orders:read orders:write""#
        );
        assert_eq!(Challenge::InsufficientScope { required: &required }.http_status(), 403);
        assert_eq!(Challenge::InvalidToken.http_status(), 401);
        assert!(Challenge::InvalidToken.to_string().starts_with(r#"Bearer error="invalid_token""#));
    }
}
