//! How facts are named and written in Redis. What is read there is hostile until its MAC is right.
//!
//! A name is the key prefix, `f:` and 16 bytes of a MAC over grant id ‖ epoch, in base64url. A value is
//!
//! | bytes | field |
//! |---:|---|
//! | 1 | version: 3 |
//! | | client, subject, username: length and UTF-8 each |
//! | 1 or 17 | session: 0, or 1 and its id |
//! | | authentication: 0, or 1, its time and its class, which is empty where none is known |
//! | | variants: how many, then each as length and text |
//! | | generation, created seq, as of |
//! | 16 | MAC over name ‖ all before |
//!
//! Lengths and numbers are LEB128: seven bits a byte, lowest first, the eighth says that more follow.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::SharedKeys;
use crate::domain::grant::{GrantFacts, SessionId, SubjectId};
use crate::domain::step_up::UserAuthentication;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;
use crate::domain::variant_list::{MAX_VARIANTS, VariantList};

/// No printable character, so no name can end in it: where the name ends and the value begins is certain.
const VERSION: u8 = 3;
const TAG: usize = 16;

/// Names and writes facts.
pub(super) struct Codec {
    keys: SharedKeys,
    prefix: String,
}

impl Codec {
    pub(super) fn new(keys: SharedKeys, key_prefix: &str) -> Self {
        Self { keys, prefix: format!("{key_prefix}f:") }
    }

    /// The name of a grant's facts. Who reads Redis learns no grant id from it.
    pub(super) fn key(&self, grant: GrantId, epoch: u64) -> String {
        let tag: [u8; TAG] = self.keys.names.tag(&[grant.as_bytes(), &epoch.to_be_bytes()]);
        let mut key = self.prefix.clone();
        BASE64_URL_SAFE_NO_PAD.encode_string(tag, &mut key);
        key
    }

    pub(super) fn encode(&self, key: &str, facts: &GrantFacts) -> Vec<u8> {
        let mut value = vec![VERSION];
        put_text(&mut value, facts.client.as_str());
        put_text(&mut value, facts.subject.as_str());
        put_text(&mut value, &facts.username);
        match &facts.session {
            None => value.push(0),
            Some(session) => {
                value.push(1);
                value.extend_from_slice(session.as_bytes());
            }
        }
        match &facts.authentication {
            None => value.push(0),
            Some(UserAuthentication { auth_time, acr }) => {
                value.push(1);
                put_number(&mut value, auth_time.as_unix().cast_unsigned());
                put_text(&mut value, acr.as_deref().unwrap_or_default());
            }
        }
        put_number(&mut value, facts.variants.len() as u64);
        for line in facts.variants.lines() {
            put_text(&mut value, &line);
        }
        put_number(&mut value, facts.generation.into());
        put_number(&mut value, facts.created_seq);
        put_number(&mut value, facts.as_of);
        self.seal(key, value)
    }

    /// A payload with its tag.
    pub(super) fn seal(&self, key: &str, mut payload: Vec<u8>) -> Vec<u8> {
        let tag: [u8; TAG] = self.keys.values.tag(&[key.as_bytes(), &payload]);
        payload.extend_from_slice(&tag);
        payload
    }

    /// The facts, if one of us wrote them under this name.
    pub(super) fn decode(&self, key: &str, value: &[u8]) -> Option<GrantFacts> {
        let (payload, tag) = value.split_last_chunk::<TAG>()?;
        if !self.keys.values.verifies(&[key.as_bytes(), payload], tag) {
            return None;
        }
        let mut rest = Rest(payload);
        if rest.byte()? != VERSION {
            return None;
        }
        let facts = GrantFacts {
            client: rest.text()?.parse().ok()?,
            subject: SubjectId::new(rest.text()?),
            username: rest.text()?.into(),
            session: match rest.byte()? {
                0 => None,
                1 => Some(SessionId::from_bytes(*rest.bytes()?)),
                _ => return None,
            },
            authentication: match rest.byte()? {
                0 => None,
                1 => Some(UserAuthentication {
                    auth_time: Timestamp::from_unix(rest.number()?.cast_signed()),
                    acr: Some(rest.text()?).filter(|acr| !acr.is_empty()).map(Into::into),
                }),
                _ => return None,
            },
            variants: {
                let count = usize::try_from(rest.number()?).ok().filter(|count| *count <= MAX_VARIANTS)?;
                let lines: Vec<&str> = (0..count).map(|_| rest.text()).collect::<Option<_>>()?;
                VariantList::from_lines(lines.into_iter()).ok()?
            },
            generation: rest.number()?.try_into().ok()?,
            created_seq: rest.number()?,
            as_of: rest.number()?,
        };
        rest.0.is_empty().then_some(facts)
    }
}

fn put_number(value: &mut Vec<u8>, mut number: u64) {
    loop {
        let [bits, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return value.push(bits & 0x7F);
        }
        value.push(bits | 0x80);
    }
}

fn put_text(value: &mut Vec<u8>, text: &str) {
    put_number(value, text.len() as u64);
    value.extend_from_slice(text.as_bytes());
}

/// What was not read yet. Every read fails at the end.
struct Rest<'v>(&'v [u8]);

impl<'v> Rest<'v> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes<const N: usize>(&mut self) -> Option<&'v [u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'v str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::secret::MasterSecret;

    fn codec(prefix: &str) -> Codec {
        let master = MasterSecret::from_base64(&BASE64_STANDARD.encode([7; 32])).expect("32 bytes");
        Codec::new(SharedKeys::derive(&master), prefix)
    }

    fn facts() -> impl Strategy<Value = GrantFacts> {
        let scopes = proptest::collection::vec("[!#-\\[\\]-~]{1,20}", 0..5).prop_map(|scopes| scopes.join(" "));
        let variant = (scopes, any::<bool>())
            .prop_map(|(scopes, lasts)| if lasts { scopes } else { format!("{scopes}\t\tjkt:x\t1-2-3") });
        let variants = proptest::collection::vec(variant, 0..4);
        let session = proptest::option::of(any::<[u8; 16]>());
        let authentication = proptest::option::of((any::<i64>(), proptest::option::of(".+"))).prop_map(|known| {
            known.map(|(at, acr)| UserAuthentication { auth_time: Timestamp::from_unix(at), acr: acr.map(Into::into) })
        });
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>());
        ("[!#-\\[\\]-~]{1,128}", ".*", ".*", session, authentication, variants, numbers).prop_map(
            |(client, subject, username, session, authentication, variants, (generation, created_seq, as_of))| {
                GrantFacts {
                    client: client.parse().expect("a client id"),
                    subject: SubjectId::new(subject),
                    username: username.into(),
                    session: session.map(SessionId::from_bytes),
                    authentication,
                    variants: VariantList::from_lines(variants.iter().map(String::as_str)).expect("a list"),
                    generation,
                    created_seq,
                    as_of,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn rg5_rg10_what_was_written_is_read_and_nothing_else_is(
            facts in facts(),
            position in any::<proptest::sample::Index>(),
            bit in 0..8_u8,
            more in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let codec = codec("p:");
            let key = codec.key(GrantId::from_bytes([1; 16]), 0);
            let value = codec.encode(&key, &facts);
            prop_assert_eq!(codec.decode(&key, &value), Some(facts));

            let at = position.index(value.len());
            let mut flipped = value.clone();
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(codec.decode(&key, &flipped), None);
            prop_assert_eq!(codec.decode(&key, &value[..at]), None);
            prop_assert_eq!(codec.decode(&key, &[&value[..], &more].concat()), None);
            prop_assert_eq!(codec.decode(&key, &[&more, &value[..]].concat()), None);
            for other in [codec.key(GrantId::from_bytes([2; 16]), 0), codec.key(GrantId::from_bytes([1; 16]), 1)] {
                prop_assert_eq!(codec.decode(&other, &value), None);
            }
        }

        #[test]
        fn rg9_rg70_nothing_that_carries_a_right_tag_makes_the_reader_fail(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let codec = codec("p:");
            let payload = [&[VERSION][..], &payload].concat();
            if let Some(facts) = codec.decode("key", &codec.seal("key", payload)) {
                prop_assert!(facts.variants.len() <= MAX_VARIANTS);
            }
        }
    }

    #[test]
    fn another_version_and_trailing_bytes_are_not_read() {
        let codec = codec("p:");
        let signed = |payload: &[u8]| codec.decode("key", &codec.seal("key", payload.to_vec()));
        let good = [VERSION, 1, b'c', 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(signed(&good).is_some());
        assert_eq!(signed(&[&[VERSION - 1], &good[1..]].concat()), None);
        assert_eq!(signed(&[&good[..], &[0]].concat()), None);
    }

    #[test]
    fn rg91_a_name_tells_nothing_about_its_grant() {
        let key = codec("p:").key(GrantId::from_bytes([1; 16]), 0);
        assert_eq!(key.len(), "p:f:".len() + 22);
        assert_ne!(key, codec("p:").key(GrantId::from_bytes([1; 16]), 1));
    }
}
