//! Private keys that sign, and the keys under which they are stored. Making a key, sealing it and some signatures take randomness,
//! which comes from the cryptographic library itself.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::domain::jwk::{PublicKey, SigningAlgorithm};
use crate::domain::secret::{MacKey, MasterSecret};

const NONCE: usize = 12;

/// A key that cannot be made, used or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused")]
pub struct Refused;

impl From<Unspecified> for Refused {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl From<aws_lc_rs::error::KeyRejected> for Refused {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self
    }
}

/// A private key.
pub struct SigningKey(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new one. RSA takes a noticeable part of a second.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, Refused> {
        Ok(Self(match algorithm {
            SigningAlgorithm::Rs256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
            SigningAlgorithm::Es256 => Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            SigningAlgorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate()?),
        }))
    }

    pub fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, Refused> {
        Ok(Self(match algorithm {
            SigningAlgorithm::Rs256 => Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8)?),
            SigningAlgorithm::Es256 => Pair::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?),
            SigningAlgorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8)?),
        }))
    }

    /// The whole key (RFC 5958). Only ever sealed.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Refused> {
        Ok(Zeroizing::new(match &self.0 {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der>::as_der(pair)?.as_ref().to_vec(),
            Pair::P256(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8()?.as_ref().to_vec(),
        }))
    }

    pub fn public_key(&self) -> Result<PublicKey, Refused> {
        Ok(match &self.0 {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                PublicKey::rsa(
                    key.modulus().big_endian_without_leading_zero(),
                    key.exponent().big_endian_without_leading_zero(),
                )
            }
            Pair::P256(pair) => PublicKey::p256(pair.public_key().as_ref().try_into().map_err(|_| Refused)?),
            Pair::Ed25519(pair) => PublicKey::ed25519(pair.public_key().as_ref()),
        })
    }

    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let random = SystemRandom::new();
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            Pair::P256(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }
}

/// A key under which private keys are stored: AES-256-GCM with random nonces.
pub struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    pub fn derive(master: &MasterSecret) -> Self {
        let key: [u8; 32] = MacKey::derive(master, "scopegate/v1/signing-key").tag(&[b"AES-256-GCM"]);
        Self(RandomizedNonceKey::new(&AES_256_GCM, &*Zeroizing::new(key)).expect("AES-256 takes keys of 32 bytes"))
    }

    /// `name` is bound to the text: it opens under the same name alone.
    pub fn seal(&self, name: &str, text: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut sealed = text.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(name), &mut sealed)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// `None` when it was sealed under another key or name.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.0.open_in_place(nonce, Aad::from(name), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    fn sealing(byte: u8) -> SealingKey {
        let secret = base64::prelude::BASE64_STANDARD.encode([byte; 32]);
        SealingKey::derive(&MasterSecret::from_base64(&secret).expect("32 bytes"))
    }

    #[test]
    fn a_key_survives_being_stored_and_signs_what_its_public_half_verifies() {
        for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
            let key = SigningKey::generate(algorithm).expect("a key");
            let public = key.public_key().expect("its public half");
            assert_eq!(public.algorithm(), algorithm);
            let stored = key.to_pkcs8().expect("the whole key");
            let again = SigningKey::from_pkcs8(algorithm, &stored).expect("the key again");
            assert_eq!(again.public_key(), Ok(public.clone()));
            let signature = again.sign(b"message").expect("a signature");
            assert!(public.verifies(b"message", &signature), "{algorithm:?}");
            assert!(!public.verifies(b"massage", &signature), "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_sealed_opens_under_its_key_and_name_alone() {
        let sealed = sealing(7).seal("kid", b"private").expect("sealed");
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(sealing(7).open("kid", &sealed).as_deref().map(Vec::as_slice), Some(b"private".as_slice()));
        assert!(sealing(8).open("kid", &sealed).is_none());
        assert!(sealing(7).open("another", &sealed).is_none());
        assert!(sealing(7).open("kid", &sealed[..20]).is_none());
        assert!(sealing(7).open("kid", &[]).is_none());
        assert_ne!(sealing(7).seal("kid", b"private").expect("sealed"), sealed, "each nonce is new");
    }
}
