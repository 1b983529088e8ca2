//! Tokens as signed pointers to grants.
//!
//! A code, an access token and a refresh token are never stored. Each is 55 bytes, big-endian, behind a prefix
//! that names its kind (`sg_ac_`, `sg_at_`, `sg_rt_`, and `sg_dc_` for the code of a device), in base64url without padding: 80 characters.
//! For clients that take tokens of `[a-z0-9_-]` alone, it is lower-case base32 without padding: 94 characters.
//!
//! | offset | bytes | field | meaning |
//! |---:|---:|---|---|
//! | 0 | 1 | version, key id | 4 bits each; version is 1 |
//! | 1 | 1 | variant | index into the grant's list of variants, as it was when the token was issued |
//! | 2 | 16 | grant id | random |
//! | 18 | 4 | generation | the grant's generation when the token was made |
//! | 22 | 4 | serial | tells tokens of one grant apart: counts its rotations; with the first bit set, random |
//! | 26 | 5 | issued at | Unix seconds |
//! | 31 | 4 | lifetime | seconds; 0 means that it does not expire |
//! | 35 | 20 | tag | HMAC-SHA-256 over prefix ‖ bytes 0 to 34 ‖ the name of the alphabet, its first 160 bits |
//!
//! An access token that is a JSON Web Token (`jwt_access_token`) has the same in a claim, behind `sg_jt_`, which is good for nothing
//! outside of it.
//!
//! So garbage costs one MAC and no lookup, and guessing one succeeds with probability 2⁻¹⁶⁰ (RFC 6749 §10.10).
//! The encoding is canonical, and the tag is good in its own alphabet alone: no two texts are the same token. The name of base64url is
//! empty.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::base32;
use super::hexadecimal::hexadecimal_name;
use super::secret::{MacKey, RandomSecret};
use super::timestamp::Timestamp;

const VERSION: u8 = 1;
const BODY: usize = 35;
const TAG: usize = 20;
const PREFIX: usize = 6;
/// Stands before what a JSON Web Token has in place of a token.
const POINTER: &str = "sg_jt_";
/// The length of every token in base64url, in bytes of text.
pub const TOKEN_LENGTH: usize = PREFIX + ((BODY + TAG) * 8).div_ceil(6);
/// The length of every token in base32. It fills the last digit, so each text is canonical.
const LOWERCASE_LENGTH: usize = PREFIX + (BODY + TAG) * 8 / 5;

/// In which characters tokens and secrets are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alphabet {
    /// Base64url (RFC 4648 §5).
    #[default]
    Base64url,
    /// Base32 (RFC 4648 §6) in lower case: tokens are of `[a-z0-9_]`, secrets of `[a-z2-7]`.
    Lowercase,
}

impl Alphabet {
    /// A secret of these random bytes behind a prefix.
    pub fn secret(self, prefix: &str, bytes: &[u8; 32]) -> RandomSecret {
        let mut text = String::with_capacity(prefix.len() + 52);
        text.push_str(prefix);
        match self {
            Self::Base64url => BASE64_URL_SAFE_NO_PAD.encode_string(bytes, &mut text),
            Self::Lowercase => base32::encode(bytes, &mut text),
        }
        RandomSecret::from_text(text)
    }

    /// What the tag of a token is over beside the rest.
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Base64url => b"",
            Self::Lowercase => b"lowercase",
        }
    }
}

/// The random name of a grant. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId([u8; 16]);

hexadecimal_name!(GrantId);

/// What a token is for. A token of one kind is garbage where another kind is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    AuthorizationCode,
    AccessToken,
    RefreshToken,
    /// RFC 8628 §3.2.
    DeviceCode,
}

impl TokenKind {
    pub const ALL: [Self; 4] = [Self::AuthorizationCode, Self::AccessToken, Self::RefreshToken, Self::DeviceCode];

    pub const fn prefix(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "sg_ac_",
            Self::AccessToken => "sg_at_",
            Self::RefreshToken => "sg_rt_",
            Self::DeviceCode => "sg_dc_",
        }
    }
}

/// What a token says: which grant it points to, and since when and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    /// Index into the grant's list of variants ([`super::variant_list`]).
    pub variant: u8,
    pub grant: GrantId,
    pub generation: u32,
    pub serial: u32,
    pub issued_at: Timestamp,
    /// Seconds; 0 means that it does not expire.
    pub lifetime: u32,
}

impl Token {
    /// Set in the serial of an access token beside those of the rotations: the rest of its serial is random.
    pub const FURTHER: u32 = 1 << 31;

    /// When the token expires: at this second it is no longer valid (RFC 7519 §4.1.4).
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.lifetime != 0).then(|| self.issued_at.plus(self.lifetime))
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|expiry| now >= expiry)
    }

    /// The token's own name (`jti`, RFC 7519 §4.1.7).
    pub fn jti(&self) -> String {
        if self.serial & Self::FURTHER == 0 {
            format!("{}.{}", self.grant, self.serial)
        } else {
            format!("{}.{}.{}", self.grant, self.serial, self.issued_at)
        }
    }

    fn to_body(self, key_id: KeyId) -> [u8; BODY] {
        let mut body = [0; BODY];
        body[0] = VERSION << 4 | key_id.0;
        body[1] = self.variant;
        body[2..18].copy_from_slice(&self.grant.0);
        body[18..22].copy_from_slice(&self.generation.to_be_bytes());
        body[22..26].copy_from_slice(&self.serial.to_be_bytes());
        body[26..31].copy_from_slice(&self.issued_at.as_unix().to_be_bytes()[3..]);
        body[31..35].copy_from_slice(&self.lifetime.to_be_bytes());
        body
    }

    fn from_body(kind: TokenKind, body: &[u8; BODY]) -> Self {
        let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| body[at + i]));
        let issued_at = body[26..31].iter().fold(0, |seconds, byte| seconds << 8 | i64::from(*byte));
        Self {
            kind,
            variant: body[1],
            grant: GrantId(std::array::from_fn(|i| body[2 + i])),
            generation: number(18),
            serial: number(22),
            issued_at: Timestamp::from_unix(issued_at),
            lifetime: number(31),
        }
    }
}

/// The text of a token: a secret, for its holder alone.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// The text, for the holder. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for TokenText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(***)")
    }
}

/// Which key signed a token: 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u8);

/// Text that is not a key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 0 to 15")]
pub struct MalformedKeyId;

impl KeyId {
    pub const fn new(id: u8) -> Option<Self> {
        if id < 16 { Some(Self(id)) } else { None }
    }

    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for KeyId {
    type Err = MalformedKeyId;

    fn from_str(text: &str) -> Result<Self, MalformedKeyId> {
        text.parse().ok().and_then(Self::new).ok_or(MalformedKeyId)
    }
}

/// Some of the 16 keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeySet(u16);

impl KeySet {
    pub const fn contains(self, id: KeyId) -> bool {
        self.0 & (1 << id.0) != 0
    }

    pub const fn insert(&mut self, id: KeyId) {
        self.0 |= 1 << id.0;
    }

    /// One bit a key.
    pub const fn bits(self) -> u16 {
        self.0
    }

    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

/// A token that one of our keys signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    pub token: Token,
    pub key: KeyId,
}

/// The keys that sign and verify tokens: several verify, one signs.
#[derive(Debug)]
pub struct TokenKeys {
    signing: KeyId,
    alphabet: Alphabet,
    keys: [Option<MacKey>; 16],
}

impl TokenKeys {
    pub fn new(signing: KeyId, key: MacKey) -> Self {
        let mut keys = Self { signing, alphabet: Alphabet::default(), keys: Default::default() };
        keys.accept(signing, key);
        keys
    }

    /// Write tokens so from now on. Those that were written otherwise stay good.
    #[must_use]
    pub fn writing(self, alphabet: Alphabet) -> Self {
        Self { alphabet, ..self }
    }

    /// Also verify with `key`, which signed earlier.
    pub fn accept(&mut self, id: KeyId, key: MacKey) {
        self.keys[usize::from(id.0)] = Some(key);
    }

    /// The key that signs.
    pub const fn signing(&self) -> KeyId {
        self.signing
    }

    pub fn seal(&self, token: &Token) -> TokenText {
        self.seal_behind(token.kind.prefix(), token, self.alphabet)
    }

    /// What a JSON Web Token has in place of this access token. By itself, it is no token.
    pub fn seal_pointer(&self, token: &Token) -> TokenText {
        self.seal_behind(POINTER, token, Alphabet::Base64url)
    }

    fn seal_behind(&self, prefix: &str, token: &Token, alphabet: Alphabet) -> TokenText {
        let body = token.to_body(self.signing);
        let key =
            self.keys[usize::from(self.signing.0)].as_ref().expect("the constructor puts the signing key in its place");
        let tag: [u8; TAG] = key.tag(&[prefix.as_bytes(), &body, alphabet.name()]);
        let mut text = String::with_capacity(LOWERCASE_LENGTH);
        text.push_str(prefix);
        let mut bytes = [0; BODY + TAG];
        bytes[..BODY].copy_from_slice(&body);
        bytes[BODY..].copy_from_slice(&tag);
        match alphabet {
            Alphabet::Base64url => BASE64_URL_SAFE_NO_PAD.encode_string(bytes, &mut text),
            Alphabet::Lowercase => base32::encode(&bytes, &mut text),
        }
        TokenText(Zeroizing::new(text))
    }

    /// The token that `text` is, or `None` for anything that these keys did not sign. Costs one MAC at most,
    /// and no allocation.
    pub fn open(&self, text: &str) -> Option<Signed> {
        let alphabet = match text.len() {
            TOKEN_LENGTH => Alphabet::Base64url,
            LOWERCASE_LENGTH => Alphabet::Lowercase,
            _ => return None,
        };
        let (prefix, encoded) = text.split_at_checked(PREFIX)?;
        let kind = TokenKind::ALL.into_iter().find(|kind| kind.prefix() == prefix)?;
        self.open_behind(prefix, kind, encoded, alphabet)
    }

    /// The access token that a JSON Web Token stands for.
    pub fn open_pointer(&self, text: &str) -> Option<Signed> {
        if text.len() != TOKEN_LENGTH {
            return None;
        }
        self.open_behind(POINTER, TokenKind::AccessToken, text.strip_prefix(POINTER)?, Alphabet::Base64url)
    }

    fn open_behind(&self, prefix: &str, kind: TokenKind, encoded: &str, alphabet: Alphabet) -> Option<Signed> {
        let mut bytes = [0; BODY + TAG];
        let length = match alphabet {
            Alphabet::Base64url => BASE64_URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes).ok()?,
            Alphabet::Lowercase => base32::decode(encoded.as_bytes(), &mut bytes)?,
        };
        if length != BODY + TAG || bytes[0] >> 4 != VERSION {
            return None;
        }
        let body: [u8; BODY] = std::array::from_fn(|i| bytes[i]);
        let tag: [u8; TAG] = std::array::from_fn(|i| bytes[BODY + i]);
        let id = KeyId(bytes[0] & 0x0F);
        let key = self.keys[usize::from(id.0)].as_ref()?;
        key.verifies(&[prefix.as_bytes(), &body, alphabet.name()], &tag)
            .then(|| Signed { token: Token::from_body(kind, &body), key: id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::MasterSecret;
    use proptest::prelude::*;

    fn key(byte: u8) -> MacKey {
        let secret = base64::prelude::BASE64_STANDARD.encode([byte; 32]);
        MacKey::derive(&MasterSecret::from_base64(&secret).expect("32 bytes"), "scopegate/v1/token")
    }

    fn keys() -> TokenKeys {
        TokenKeys::new(KeyId(3), key(7))
    }

    fn token(kind: TokenKind) -> Token {
        Token {
            kind,
            variant: 2,
            grant: GrantId::from_bytes(*b"0123456789abcdef"),
            generation: 5,
            serial: 9,
            issued_at: Timestamp::from_unix(1_700_000_000),
            lifetime: 600,
        }
    }

    fn any_token() -> impl Strategy<Value = Token> {
        (
            0..TokenKind::ALL.len(),
            any::<u8>(),
            any::<[u8; 16]>(),
            any::<u32>(),
            any::<u32>(),
            0..1_i64 << 40,
            any::<u32>(),
        )
            .prop_map(|(kind, variant, grant, generation, serial, issued_at, lifetime)| Token {
                kind: TokenKind::ALL[kind],
                variant,
                grant: GrantId::from_bytes(grant),
                generation,
                serial,
                issued_at: Timestamp::from_unix(issued_at),
                lifetime,
            })
    }

    /// Master secret: 32 bytes of 7. Computed independently with Python's `hmac` and `base64`.
    #[test]
    fn test_vectors() {
        for (kind, text) in [
            (
                TokenKind::AuthorizationCode,
                "sg_ac_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAli4RZPclopXz7xm9_jRvuqDAT5feA",
            ),
            (
                TokenKind::AccessToken,
                "sg_at_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAlhr_BZnnulIao0aDD6J7azP4-g7uQ",
            ),
            (
                TokenKind::RefreshToken,
                "sg_rt_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAlg8abx_ZEeYk7fnSreEs32cCnfclA",
            ),
        ] {
            assert_eq!(keys().seal(&token(kind)).expose(), text);
            assert_eq!(keys().open(text), Some(Signed { token: token(kind), key: KeyId(3) }));
        }
    }

    #[test]
    fn every_flipped_bit_truncation_and_extension_is_garbage() {
        let keys = keys();
        let sealed = keys.seal(&token(TokenKind::AccessToken));
        let text = sealed.expose();
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes[position] ^= 1 << bit;
                if let Ok(other) = String::from_utf8(bytes) {
                    assert_eq!(keys.open(&other), None, "bit {bit} of byte {position}");
                }
            }
            assert_eq!(keys.open(&text[..position]), None);
            assert_eq!(keys.open(&text[position + 1..]), None);
        }
        for extra in ["A", "=", " ", "\n", ".", "\0", "é"] {
            assert_eq!(keys.open(&format!("{text}{extra}")), None);
            assert_eq!(keys.open(&format!("{extra}{text}")), None);
        }
        assert_eq!(keys.open(&text.to_uppercase()), None);
        assert_eq!(keys.open(&text.to_lowercase()), None);
    }

    /// The vector was computed as those above, with Python's `b32encode`.
    #[test]
    fn a_token_in_lower_case_is_good_in_that_alphabet_alone() {
        let (plain, lowercase) = (keys(), keys().writing(Alphabet::Lowercase));
        assert_eq!(
            lowercase.seal(&token(TokenKind::AccessToken)).expose(),
            "sg_at_cmbdamjsgm2dknrxha4wcytdmrswmaaaaacqaaaabeagku7raaaaaasy3grmyh32jt4wqocznngj6dqtbgjtlwei"
        );
        for kind in TokenKind::ALL {
            let text = lowercase.seal(&token(kind));
            let text = text.expose();
            assert_eq!(text.len(), LOWERCASE_LENGTH);
            assert!(text.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit()));
            assert_eq!(plain.open(text), Some(Signed { token: token(kind), key: KeyId(3) }));
            assert_eq!(lowercase.open(plain.seal(&token(kind)).expose()).map(|signed| signed.token), Some(token(kind)));
            let mut bytes = [0; BODY + TAG];
            base32::decode(&text.as_bytes()[PREFIX..], &mut bytes).expect("base32");
            let rewritten = format!("{}{}", kind.prefix(), BASE64_URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(plain.open(&rewritten), None, "the same bytes in the other alphabet");
            for position in 0..text.len() {
                for bit in 0..8 {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[position] ^= 1 << bit;
                    if let Ok(other) = String::from_utf8(bytes) {
                        assert_eq!(plain.open(&other), None, "bit {bit} of byte {position}");
                    }
                }
            }
            assert_eq!(plain.open(&text.to_uppercase()), None);
        }
    }

    #[test]
    fn a_token_of_one_kind_is_not_one_of_another() {
        let keys = keys();
        for kind in TokenKind::ALL {
            for other in TokenKind::ALL.into_iter().filter(|other| *other != kind) {
                let sealed = keys.seal(&token(kind));
                let disguised = sealed.expose().replacen(kind.prefix(), other.prefix(), 1);
                assert_eq!(keys.open(&disguised), None);
            }
        }
    }

    /// The vector was computed as those above.
    #[test]
    fn d6_a_pointer_is_no_token_and_a_token_no_pointer() {
        let keys = keys();
        let token = token(TokenKind::AccessToken);
        let pointer = keys.seal_pointer(&token);
        assert_eq!(
            pointer.expose(),
            "sg_jt_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAlh8zdOLisxCkKlCoThWgsUx2xk2sA"
        );
        assert_eq!(keys.open_pointer(pointer.expose()), Some(Signed { token, key: KeyId(3) }));
        assert_eq!(keys.open(pointer.expose()), None);
        for kind in TokenKind::ALL {
            let sealed = keys.seal(&Token { kind, ..token });
            assert_eq!(keys.open_pointer(sealed.expose()), None);
            assert_eq!(keys.open_pointer(&sealed.expose().replacen(kind.prefix(), POINTER, 1)), None);
            assert_eq!(keys.open(&pointer.expose().replacen(POINTER, kind.prefix(), 1)), None);
        }
    }

    #[test]
    fn several_keys_verify_and_a_foreign_one_does_not() {
        let old = keys();
        let sealed = old.seal(&token(TokenKind::AccessToken));
        let mut new = TokenKeys::new(KeyId(4), key(8));
        assert_eq!(new.open(sealed.expose()), None);
        new.accept(KeyId(3), key(7));
        assert_eq!(new.open(sealed.expose()).map(|signed| signed.token), Some(token(TokenKind::AccessToken)));
        assert_eq!(TokenKeys::new(KeyId(3), key(9)).open(sealed.expose()), None);
    }

    #[test]
    fn a_token_is_expired_in_the_second_of_its_expiry() {
        let token = token(TokenKind::AccessToken);
        assert!(!token.is_expired(Timestamp::from_unix(1_700_000_599)));
        assert!(token.is_expired(Timestamp::from_unix(1_700_000_600)));
        assert!(!Token { lifetime: 0, ..token }.is_expired(Timestamp::from_unix(i64::MAX)));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same(token in any_token()) {
            prop_assert_eq!(keys().open(keys().seal(&token).expose()).map(|signed| signed.token), Some(token));
        }

        #[test]
        fn what_is_sealed_in_lower_case_opens_to_the_same(token in any_token()) {
            let lowercase = keys().writing(Alphabet::Lowercase);
            prop_assert_eq!(keys().open(lowercase.seal(&token).expose()).map(|signed| signed.token), Some(token));
        }

        #[test]
        fn no_text_in_lower_case_of_the_right_shape_opens(text in "sg_(ac|at|rt|dc)_[a-z2-7]{88}") {
            prop_assert_eq!(keys().open(&text), None);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,120}") {
            prop_assert_eq!(keys().open(&text), None);
        }

        #[test]
        fn no_text_of_the_right_shape_opens(text in "sg_(ac|at|rt|dc)_[A-Za-z0-9_-]{74}") {
            prop_assert_eq!(keys().open(&text), None);
        }
    }
}
