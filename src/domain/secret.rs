//! Secrets: keys for message authentication, random secrets and the hashes that stand for them.
//!
//! None of these types has `Display`; their `Debug` redacts; comparison takes constant time.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A key for HMAC-SHA-256 with its padded blocks already hashed: a tag over a short text costs two SHA-256
/// blocks (about 0.1 µs).
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    /// The key for one purpose, derived from the master secret: HMAC-SHA-256(master, purpose). Different purposes
    /// have independent keys.
    pub fn derive(master: &MasterSecret, purpose: &str) -> Self {
        let derived = prepared(&master.0).chain_update(purpose).finalize().into_bytes();
        Self(prepared(&derived))
    }

    /// The first `N` bytes of the tag over the concatenation of `parts`. Callers make sure that their parts cannot
    /// be divided in two ways.
    pub fn tag<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        let full = mac.finalize().into_bytes();
        std::array::from_fn(|i| full[i])
    }

    /// Whether `tag` is the (truncated) tag over `parts`, in constant time.
    pub fn verifies<const N: usize>(&self, parts: &[&[u8]], tag: &[u8; N]) -> bool {
        self.tag::<N>(parts).ct_eq(tag).into()
    }
}

fn prepared(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length (RFC 2104 section 2)")
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(***)")
    }
}

/// The secret of the deployment, from which every MAC key derives.
pub struct MasterSecret(Zeroizing<Vec<u8>>);

/// A master secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master secret is base64 of at least 32 random bytes; `openssl rand -base64 32` makes one")]
pub struct WeakMasterSecret;

impl MasterSecret {
    pub fn from_base64(text: &str) -> Result<Self, WeakMasterSecret> {
        let bytes = base64::prelude::BASE64_STANDARD
            .decode(text.trim())
            .or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(text.trim()))
            .map_err(|_| WeakMasterSecret)?;
        if bytes.len() < 32 {
            return Err(WeakMasterSecret);
        }
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// In constant time, but for the length.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(***)")
    }
}

/// A secret of 256 random bits, in base64url unless it is a client secret that has to look otherwise: a client secret or a browser session's cookie. It leaves memory to its owner
/// once, and to the database only as a [`SecretHash`].
pub struct RandomSecret(Zeroizing<String>);

impl RandomSecret {
    pub fn from_entropy(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that was written otherwise.
    pub(super) fn from_text(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for its owner. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for RandomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomSecret(***)")
    }
}

/// The SHA-256 of a random secret. 256 random bits need no slow hash: there is nothing to guess.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_secret_has_32_bytes_or_more() {
        assert!(MasterSecret::from_base64(&base64::prelude::BASE64_STANDARD.encode([7; 32])).is_ok());
        assert!(MasterSecret::from_base64(&format!("{}\n", BASE64_URL_SAFE_NO_PAD.encode([0xFB; 33]))).is_ok());
        for weak in ["", "changeme", "AAAA", "not base64 at all, but long enough to be a secret"] {
            assert_eq!(MasterSecret::from_base64(weak).err(), Some(WeakMasterSecret), "{weak}");
        }
    }

    #[test]
    fn purposes_have_independent_keys() {
        let master = MasterSecret::from_base64(&base64::prelude::BASE64_STANDARD.encode([7; 32])).expect("32 bytes");
        let one = MacKey::derive(&master, "one");
        let tag: [u8; 20] = one.tag(&[b"text"]);
        assert!(one.verifies(&[b"te", b"xt"], &tag));
        assert!(!one.verifies(&[b"texT"], &tag));
        assert!(!MacKey::derive(&master, "two").verifies(&[b"text"], &tag));
    }

    #[test]
    fn x2_debug_output_shows_no_secret() {
        let secret = RandomSecret::from_entropy(&[1; 32]);
        let shown = format!("{secret:?} {:?} {:?}", secret.hash(), MasterSecret(Zeroizing::new(vec![1; 32])));
        assert_eq!(shown, "RandomSecret(***) SecretHash(***) MasterSecret(***)");
    }
}
