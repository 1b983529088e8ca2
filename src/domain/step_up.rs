//! Step-up authentication (RFC 9470): how the user behind a token authenticated, and what a resource requires of that.

use super::timestamp::Timestamp;

const MAX_ACR_VALUES: usize = 16;
const MAX_ACR_LENGTH: usize = 255;

/// When and how the user behind a grant authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAuthentication {
    pub auth_time: Timestamp,
    /// The authentication context class (OpenID Connect Core §2).
    pub acr: Option<Box<str>>,
}

/// What a resource requires of it (RFC 9470 §3). The default requires nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthenticationRequirement<'a> {
    /// One of these classes; none: any will do.
    acr_values: &'a [String],
    /// So many seconds ago at most.
    max_age: Option<u32>,
}

/// Text that names no authentication context class, or too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are {MAX_ACR_VALUES} authentication context classes at most, each of 1 to {MAX_ACR_LENGTH} printable ASCII characters \
     without space, quote and backslash"
)]
pub struct MalformedAcrValues;

impl<'a> AuthenticationRequirement<'a> {
    pub fn new(acr_values: &'a [String], max_age: Option<u32>) -> Result<Self, MalformedAcrValues> {
        let is_well_formed = |acr: &String| {
            (1..=MAX_ACR_LENGTH).contains(&acr.len())
                && acr.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        if acr_values.len() <= MAX_ACR_VALUES && acr_values.iter().all(is_well_formed) {
            Ok(Self { acr_values, max_age })
        } else {
            Err(MalformedAcrValues)
        }
    }

    pub fn acr_values(&self) -> &'a [String] {
        self.acr_values
    }

    pub fn max_age(&self) -> Option<u32> {
        self.max_age
    }

    /// Whether this authentication does. Where none is known, as for a machine, none does but the one of which nothing is required.
    pub fn is_met_by(&self, known: Option<&UserAuthentication>, now: Timestamp) -> bool {
        if self.acr_values.is_empty() && self.max_age.is_none() {
            return true;
        }
        known.is_some_and(|known| {
            let is_of_class =
                || known.acr.as_deref().is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr));
            self.max_age.is_none_or(|max_age| now.seconds_since(known.auth_time) <= max_age)
                && (self.acr_values.is_empty() || is_of_class())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authentication_is_of_a_class_and_of_an_age() {
        let at = |auth_time, acr: Option<&str>| {
            Some(UserAuthentication { auth_time: Timestamp::from_unix(auth_time), acr: acr.map(Into::into) })
        };
        for (acr_values, max_age, known, expected) in [
            (&[][..], None, None, true),
            (&[], None, at(0, None), true),
            (&[], Some(10), at(90, None), true),
            (&[], Some(10), at(89, None), false),
            (&[], Some(0), at(100, None), true),
            (&[], Some(0), at(99, None), false),
            (&[], Some(u32::MAX), None, false),
            (&["2", "1"], None, at(0, Some("1")), true),
            (&["2"], None, at(0, Some("1")), false),
            (&["1"], None, at(0, None), false),
            (&["1"], None, None, false),
            (&["1"], Some(10), at(90, Some("1")), true),
            (&["1"], Some(10), at(89, Some("1")), false),
            (&["2"], Some(10), at(90, Some("1")), false),
        ] {
            let acr_values: Vec<String> = acr_values.iter().map(|&acr: &&str| acr.into()).collect();
            let required = AuthenticationRequirement::new(&acr_values, max_age).expect("well-formed classes");
            let met = required.is_met_by(known.as_ref(), Timestamp::from_unix(100));
            assert_eq!(met, expected, "{acr_values:?} {max_age:?} by {known:?}");
        }
    }

    #[test]
    fn what_would_break_the_header_is_refused() {
        for bad in ["", "a b", "\"", "\\", "\r\n", "é", &"x".repeat(256)] {
            assert_eq!(AuthenticationRequirement::new(&[bad.into()], None), Err(MalformedAcrValues), "{bad}");
        }
        assert_eq!(AuthenticationRequirement::new(&vec!["1".to_owned(); 17], None), Err(MalformedAcrValues));
    }
}
