//! The keys that derive from the secrets of the deployment.

use super::{Config, ConfigError, DPoPNonce};
use crate::domain::dpop_nonce::NonceKeys;
use crate::domain::secret::{MacKey, MasterSecret};
use crate::domain::token::{KeyId, TokenKeys};
use crate::effects::signing::SealingKey;
use crate::facts::redis::SharedKeys;

impl Config {
    /// The keys that sign and verify tokens.
    pub fn token_keys(&self) -> Result<TokenKeys, ConfigError> {
        const PURPOSE: &str = "scopegate/v1/token";
        let id = |key: &str, id: u8| KeyId::new(id).ok_or_else(|| ConfigError::new(key, "a key id is 0 to 15"));
        let mut keys =
            TokenKeys::new(id("keys.secret_id", self.keys.secret_id)?, MacKey::derive(&self.master_secret()?, PURPOSE));
        let mut taken = vec![self.keys.secret_id];
        for previous in &self.keys.previous {
            if taken.contains(&previous.id) {
                return Err(ConfigError::new("keys.previous", "each key has an id of its own"));
            }
            taken.push(previous.id);
            let master = MasterSecret::from_base64(previous.secret.expose())
                .map_err(|error| ConfigError::new("keys.previous.secret", &error.to_string()))?;
            keys.accept(id("keys.previous.id", previous.id)?, MacKey::derive(&master, PURPOSE));
        }
        Ok(keys.writing(self.tokens.alphabet))
    }

    /// The keys under which signing keys are stored. The first seals, all open.
    pub fn sealing_keys(&self) -> Result<Vec<SealingKey>, ConfigError> {
        let mut keys = vec![SealingKey::derive(&self.master_secret()?)];
        for previous in &self.keys.previous {
            let master = MasterSecret::from_base64(previous.secret.expose())
                .map_err(|error| ConfigError::new("keys.previous.secret", &error.to_string()))?;
            keys.push(SealingKey::derive(&master));
        }
        Ok(keys)
    }

    /// The key that seals forms.
    pub fn form_key(&self) -> Result<MacKey, ConfigError> {
        Ok(MacKey::derive(&self.master_secret()?, "scopegate/v1/form"))
    }

    /// The key that seals page tokens and etags.
    pub fn page_key(&self) -> Result<MacKey, ConfigError> {
        Ok(MacKey::derive(&self.master_secret()?, "scopegate/v1/page"))
    }

    /// The keys of DPoP nonces, where proofs need one.
    pub fn nonce_keys(&self) -> Result<Option<NonceKeys>, ConfigError> {
        const PURPOSE: &str = "scopegate/v1/dpop-nonce";
        if self.tokens.dpop_nonce == DPoPNonce::Off {
            return Ok(None);
        }
        let present = MacKey::derive(&self.master_secret()?, PURPOSE);
        let mut previous = Vec::new();
        for key in &self.keys.previous {
            let master = MasterSecret::from_base64(key.secret.expose())
                .map_err(|error| ConfigError::new("keys.previous.secret", &error.to_string()))?;
            previous.push(MacKey::derive(&master, PURPOSE));
        }
        Ok(Some(NonceKeys::new(present, previous)))
    }

    /// The key that seals what servers tell each other of revocations.
    pub fn hint_key(&self) -> Result<MacKey, ConfigError> {
        Ok(MacKey::derive(&self.master_secret()?, "scopegate/v1/hint"))
    }

    /// The keys that name and authenticate what is in Redis.
    pub fn shared_keys(&self) -> Result<SharedKeys, ConfigError> {
        Ok(SharedKeys::derive(&self.master_secret()?))
    }

    /// Whether a token, a form or a stored key of one would open at the other.
    pub(super) fn shares_a_secret_with(&self, other: &Self) -> Result<bool, ConfigError> {
        let (own, others) = (self.master_secrets()?, other.master_secrets()?);
        Ok(own.iter().any(|own| others.iter().any(|other| own.is_same_as(other))))
    }

    /// The one that signs, and those that still verify.
    fn master_secrets(&self) -> Result<Vec<MasterSecret>, ConfigError> {
        let mut secrets = vec![self.master_secret()?];
        for previous in &self.keys.previous {
            let secret = MasterSecret::from_base64(previous.secret.expose())
                .map_err(|error| ConfigError::new("keys.previous.secret", &error.to_string()))?;
            secrets.push(secret);
        }
        Ok(secrets)
    }

    fn master_secret(&self) -> Result<MasterSecret, ConfigError> {
        MasterSecret::from_base64(self.keys.secret.expose())
            .map_err(|error| ConfigError::new("keys.secret", &error.to_string()))
    }
}
