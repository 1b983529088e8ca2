//! Base32 (RFC 4648 §6) in lower case and without padding, of whole digits alone: 5 bytes are 8 digits. So every text that decodes is
//! canonical.

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The value of each byte as a digit; [`NONE`] where it is none.
const VALUES: [u8; 256] = values();
const NONE: u8 = 0xFF;

const fn values() -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
}

/// Appends the digits of `bytes`. The last digit is filled up with zero bits where their number is no multiple of 5.
pub fn encode(bytes: &[u8], text: &mut String) {
    for chunk in bytes.chunks(5) {
        let group = (0..5).fold(0_u64, |group, i| group << 8 | u64::from(chunk.get(i).copied().unwrap_or(0)));
        let digits = (chunk.len() * 8).div_ceil(5);
        text.extend((0..digits).map(|digit| char::from(DIGITS[(group >> (35 - 5 * digit) & 31) as usize])));
    }
}

/// Fills `bytes`, whose length is a multiple of 5, and returns that length. `None` for other text than the digits of so many bytes.
pub fn decode(text: &[u8], bytes: &mut [u8]) -> Option<usize> {
    if text.len() * 5 != bytes.len() * 8 {
        return None;
    }
    for (digits, chunk) in text.chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
        let mut group = 0_u64;
        for digit in digits {
            let value = VALUES[usize::from(*digit)];
            if value == NONE {
                return None;
            }
            group = group << 5 | u64::from(value);
        }
        chunk.copy_from_slice(&group.to_be_bytes()[3..]);
    }
    Some(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        encode(bytes, &mut text);
        text
    }

    /// RFC 4648 §10, in lower case and without padding.
    #[test]
    fn test_vectors() {
        for (bytes, text) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(encoded(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn other_characters_and_lengths_do_not_decode() {
        let mut bytes = [0; 5];
        for bad in ["", "mzxw6yt", "mzxw6ytbo", "MZXW6YTB", "mzxw6yt1", "mzxw6yt=", "mzxw6yt8", "mzxw6yt\n"] {
            assert_eq!(decode(bad.as_bytes(), &mut bytes), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(bytes in any::<[u8; 55]>()) {
            let mut decoded = [0; 55];
            prop_assert_eq!(decode(encoded(&bytes).as_bytes(), &mut decoded), Some(55));
            prop_assert_eq!(decoded, bytes);
        }
    }
}
