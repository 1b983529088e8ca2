//! Nonces for DPoP proofs (RFC 9449 §8 and §9): that a proof was made a short while ago, and not in advance by who had the key then.
//!
//! A nonce is the number of a stretch of time and a MAC over it, so every server of a deployment knows the others' and none is stored. It is
//! good in its stretch and in the next, and in the one before, because clocks differ: for 2 to 4 minutes from when it was given.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::secret::MacKey;
use super::timestamp::Timestamp;

/// The length of a stretch, in seconds.
const STRETCH: i64 = 120;
const NUMBER: usize = 8;
const TAG: usize = 16;

/// The keys that make and know nonces: the first makes, all know.
#[derive(Debug)]
pub struct NonceKeys(Vec<MacKey>);

impl NonceKeys {
    pub fn new(present: MacKey, previous: impl IntoIterator<Item = MacKey>) -> Self {
        Self([present].into_iter().chain(previous).collect())
    }

    /// The nonce of now.
    pub fn nonce(&self, now: Timestamp) -> String {
        let number = stretch(now).to_be_bytes();
        // There is at least one.
        let tag: [u8; TAG] = self.0[0].tag(&[&number]);
        BASE64_URL_SAFE_NO_PAD.encode([&number[..], &tag].concat())
    }

    /// Whether a text is a nonce that one of the servers gave a short while ago.
    pub fn knows(&self, nonce: &str, now: Timestamp) -> bool {
        let mut bytes = [0; NUMBER + TAG];
        // What is longer does not fit, and what is shorter leaves some.
        if BASE64_URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(bytes.len()) {
            return false;
        }
        let (Some(number), Some(tag)) = (bytes.first_chunk::<NUMBER>(), bytes.last_chunk::<TAG>()) else {
            return false;
        };
        stretch(now).abs_diff(i64::from_be_bytes(*number)) <= 1 && self.0.iter().any(|key| key.verifies(&[number], tag))
    }
}

fn stretch(now: Timestamp) -> i64 {
    now.as_unix().div_euclid(STRETCH)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::secret::MasterSecret;

    fn key(byte: u8) -> MacKey {
        let master = MasterSecret::from_base64(&BASE64_STANDARD.encode([byte; 32])).expect("32 bytes");
        MacKey::derive(&master, "nonce")
    }

    #[test]
    fn a_nonce_is_good_for_two_to_four_minutes_at_every_server() {
        let (one, other) = (NonceKeys::new(key(1), []), NonceKeys::new(key(1), []));
        let nonce = one.nonce(Timestamp::from_unix(1_200));
        for (now, expected) in
            [(1_079, false), (1_080, true), (1_200, true), (1_319, true), (1_439, true), (1_440, false)]
        {
            assert_eq!(other.knows(&nonce, Timestamp::from_unix(now)), expected, "{now}");
        }
        assert_eq!(nonce, other.nonce(Timestamp::from_unix(1_319)), "it tells nobody apart");
        assert_ne!(nonce, other.nonce(Timestamp::from_unix(1_320)));
    }

    #[test]
    fn the_nonces_of_an_earlier_secret_are_known_and_those_of_others_are_not() {
        let now = Timestamp::from_unix(1_200);
        let nonce = NonceKeys::new(key(1), []).nonce(now);
        assert!(NonceKeys::new(key(2), [key(1)]).knows(&nonce, now));
        assert!(!NonceKeys::new(key(2), []).knows(&nonce, now));
        for wrong in ["", "x", &nonce[1..], &format!("{nonce}A"), &format!("{nonce}="), &"A".repeat(8_192)] {
            assert!(!NonceKeys::new(key(1), []).knows(wrong, now), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_nonce(text in "[A-Za-z0-9_-]{32}", position in 0..32_usize) {
            let now = Timestamp::from_unix(1_200);
            let keys = NonceKeys::new(key(1), []);
            prop_assert!(!keys.knows(&text, now));
            let mut nonce = keys.nonce(now).into_bytes();
            nonce[position] = text.as_bytes()[position];
            let changed = String::from_utf8(nonce).expect("base64url");
            prop_assert_eq!(keys.knows(&changed, now), changed == keys.nonce(now));
        }
    }
}
