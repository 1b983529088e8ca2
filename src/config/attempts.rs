//! The section `[attempts]`.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::service::attempts::AttemptLimits;

/// How often passwords of the built-in login and secrets of clients may be guessed, at each server. Right ones do not count. 0 in a
/// limit: any number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attempts {
    /// In how many seconds what was used up comes back, evenly; an hour at most.
    pub window: u32,
    /// Wrong passwords for one account from one address, and so many more from each browser in which its user signed in before: what
    /// others do does not lock such a browser out. 0: browsers are not known again.
    pub per_account_and_address: u32,
    /// Wrong passwords for one account from everywhere, other than from such browsers.
    pub per_account: u32,
    /// Wrong passwords from one address for all accounts, other than from such browsers; and as many wrong secrets for all clients.
    pub per_address: u32,
    /// Wrong secrets for one client from one address.
    pub per_client_and_address: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            window: 900,
            per_account_and_address: 10,
            per_account: 100,
            per_address: 300,
            per_client_and_address: 100,
        }
    }
}

impl Attempts {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(60..=3_600).contains(&self.window) {
            return Err(ConfigError::new("attempts.window", "this is a number of seconds from 60 to 3600"));
        }
        for (key, limit) in [
            ("per_account_and_address", self.per_account_and_address),
            ("per_account", self.per_account),
            ("per_address", self.per_address),
            ("per_client_and_address", self.per_client_and_address),
        ] {
            if limit > 10_000 {
                return Err(ConfigError::new(&format!("attempts.{key}"), "this is a number from 0 to 10000"));
            }
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> AttemptLimits {
        AttemptLimits {
            window: self.window,
            per_account_and_address: self.per_account_and_address,
            per_account: self.per_account,
            per_address: self.per_address,
            per_client_and_address: self.per_client_and_address,
        }
    }
}
