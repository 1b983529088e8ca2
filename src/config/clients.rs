//! The section `[clients]`.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::service::clients::ClientNames;

/// How the ids and secrets that clients are given look. Those that are there already stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// `hex`, 32 digits, or `uuid`, a random UUID (RFC 9562 §5.4).
    pub id_format: IdFormat,
    /// What every secret begins with. What follows is random, 256 bits in `tokens.alphabet`.
    pub secret_prefix: String,
}

/// How client ids look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdFormat {
    Hex,
    Uuid,
}

impl Default for Clients {
    fn default() -> Self {
        Self { id_format: IdFormat::Hex, secret_prefix: String::new() }
    }
}

impl Clients {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let prefix = &self.secret_prefix;
        if prefix.len() <= 16 && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        {
            return Ok(());
        }
        Err(ConfigError::new("clients.secret_prefix", "this is 16 letters, digits, _ and - at most"))
    }

    pub(super) fn names(&self, alphabet: crate::domain::token::Alphabet) -> ClientNames {
        ClientNames { uuids: self.id_format == IdFormat::Uuid, secret_prefix: self.secret_prefix.clone(), alphabet }
    }
}
