//! The section `[outgoing]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::network::Network;
use crate::effects::outgoing::{Authorities, OutgoingPolicy};

/// Requests that the server makes itself, to URLs that others named. They go to public addresses over https, and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outgoing {
    /// Whether there are any. Where not, clients send their keys instead of a `jwks_uri`.
    pub enabled: bool,
    /// Networks inside, addresses or such as `10.1.0.0/16`, that are reached all the same, and without TLS too where the URL is http.
    /// Whoever may name a URL, such as a client that registers itself, has the server reach them.
    pub allowed_networks: Vec<Network>,
    /// A file of PEM certificates to trust in place of the system's.
    pub ca_path: String,
    /// How long one request may take, all in all, in milliseconds. 100 to 30000.
    pub timeout: u32,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { enabled: true, allowed_networks: Vec::new(), ca_path: String::new(), timeout: 3_000 }
    }
}

impl Outgoing {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(100..=30_000).contains(&self.timeout) {
            return Err(ConfigError::new("outgoing.timeout", "this is a number of milliseconds from 100 to 30000"));
        }
        self.policy().map(drop)
    }

    /// What requests are made by.
    pub fn policy(&self) -> Result<OutgoingPolicy, ConfigError> {
        let wrong = |why: &str| ConfigError::new("outgoing.ca_path", why);
        let authorities = match self.ca_path.as_str() {
            "" => Authorities::System,
            path => {
                let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
                Authorities::from_pem(&pem).map_err(|error| wrong(&error.to_string()))?
            }
        };
        Ok(OutgoingPolicy {
            enabled: self.enabled,
            allowed_networks: self.allowed_networks.clone(),
            authorities,
            timeout: Duration::from_millis(self.timeout.into()),
        })
    }
}
