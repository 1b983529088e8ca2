//! Consistency tokens: positions of the revocation log, opaque to callers.

use tonic::Status;

use super::status;

/// The token for a position.
pub(super) fn token(position: u64) -> String {
    format!("1:{position:x}")
}

/// The position of a token that an answer carried.
pub(super) fn position(token: &str) -> Result<u64, Status> {
    token
        .strip_prefix("1:")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| status::invalid("CONSISTENCY_TOKEN_MALFORMED", "the consistency token is not one of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_for_its_position() {
        for at in [0, 1, 255, u64::MAX] {
            assert_eq!(position(&token(at)).ok(), Some(at));
        }
        for bad in ["", "1", "1:", "1:x", "2:1", "1:1 ", "1:10000000000000000"] {
            assert!(position(bad).is_err(), "{bad}");
        }
    }
}
