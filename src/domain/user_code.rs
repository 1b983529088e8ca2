//! The codes that users carry from a device to their browser (RFC 8628 §6.1).

use std::fmt;
use std::str::FromStr;

/// Consonants: no words, nothing that looks like something else.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// Eight letters out of twenty: 34 bits. `Display` is how people read it, `XXXX-XXXX`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserCode([u8; LENGTH]);

/// Text that is no user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user code has eight letters")]
pub struct MalformedUserCode;

impl UserCode {
    /// So many bits leave no letter likelier than another by more than 2⁻⁹⁰.
    pub fn from_entropy(bytes: [u8; 16]) -> Self {
        let mut rest = u128::from_be_bytes(bytes);
        Self(std::array::from_fn(|_| {
            let letter = usize::try_from(rest % 20).unwrap_or_default();
            rest /= 20;
            ALPHABET[letter]
        }))
    }

    /// The letters alone.
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl FromStr for UserCode {
    type Err = MalformedUserCode;

    /// Upper or lower case; dashes, spaces and whatever else is no letter or digit may be left out or put in (RFC 8628 §6.1).
    fn from_str(text: &str) -> Result<Self, MalformedUserCode> {
        if text.len() > 64 {
            return Err(MalformedUserCode);
        }
        let letters: Vec<u8> = text
            .chars()
            .filter(|c| c.is_alphanumeric())
            .map(|c| u8::try_from(c.to_ascii_uppercase()).unwrap_or(0))
            .collect();
        let letters: [u8; LENGTH] = letters.try_into().map_err(|_| MalformedUserCode)?;
        if letters.iter().all(|letter| ALPHABET.contains(letter)) { Ok(Self(letters)) } else { Err(MalformedUserCode) }
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in self.0.iter().enumerate() {
            if index == LENGTH / 2 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn g6_case_and_dashes_do_not_matter_and_other_letters_are_refused() {
        let code: UserCode = "WDJB-MJHT".parse().expect("a user code");
        for same in ["wdjbmjht", " wdjb mjht ", "WDJB–MJHT", "W-D-J-B-M-J-H-T"] {
            assert_eq!(same.parse(), Ok(code), "{same}");
        }
        assert_eq!(code.to_string(), "WDJB-MJHT");
        assert_eq!(format!("{code:?}"), "UserCode(***)");
        for bad in ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "WDJB-MJH0", "WDJB-MJHÄ", "WDJB-MJHŤ", &"W".repeat(65)]
        {
            assert_eq!(bad.parse::<UserCode>(), Err(MalformedUserCode), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_code_reads_as_itself(bytes in any::<[u8; 16]>()) {
            let code = UserCode::from_entropy(bytes);
            prop_assert_eq!(code.to_string().parse(), Ok(code));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = text.parse::<UserCode>();
        }
    }
}
