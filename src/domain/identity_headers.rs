//! The headers by which an application behind a proxy is told who sends a request.

use std::fmt::Write as _;

pub const SUBJECT: &str = "x-auth-subject";
pub const CLIENT_ID: &str = "x-auth-client-id";
pub const SCOPES: &str = "x-auth-scopes";
pub const GRANT_ID: &str = "x-auth-grant-id";

pub const ALL: [&str; 4] = [SUBJECT, CLIENT_ID, SCOPES, GRANT_ID];
/// What the names of all begin with: nobody else's may.
const PREFIX: &str = "x-auth-";

/// Whether a header of a request could pass for one of ours behind the proxy: some servers read an underscore as a hyphen.
pub fn could_pass_for_one(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.replace('_', "-").eq_ignore_ascii_case(PREFIX))
}

/// Every way of writing our names with underscores. A proxy that does not tell which headers a request has removes all of them.
pub fn other_spellings() -> Vec<String> {
    let mut spellings = Vec::new();
    for name in ALL {
        let hyphens: Vec<usize> = name.match_indices('-').map(|(at, _)| at).collect();
        // The empty choice is the name itself.
        for choice in 1..1_usize << hyphens.len() {
            let mut spelling = name.to_owned();
            for at in hyphens.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, &at)| at) {
                spelling.replace_range(at..=at, "_");
            }
            spellings.push(spelling);
        }
    }
    spellings
}

/// A value as a header can carry it: visible ASCII and spaces as they are, anything else, and the percent sign, percent-encoded.
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e16_values_are_visible_ascii() {
        assert_eq!(encode("ann smith"), "ann smith");
        assert_eq!(encode("a\r\nx: y\0%é\u{7f}"), "a%0D%0Ax: y%00%25%C3%A9%7F");
    }

    #[test]
    fn e10_every_spelling_of_a_name_is_known() {
        let spellings = other_spellings();
        assert_eq!(spellings.len(), 3 + 7 + 3 + 7);
        for spelling in ["x_auth_subject", "x-auth_subject", "x_auth-client-id", "x-auth-grant_id"] {
            assert!(spellings.iter().any(|own| own == spelling), "{spelling}");
        }
        assert!(spellings.iter().all(|spelling| could_pass_for_one(spelling) && !ALL.contains(&spelling.as_str())));
        assert!(
            could_pass_for_one("X_Auth-anything") && !could_pass_for_one("x-author") && !could_pass_for_one("x-aut")
        );
    }
}
