//! The section `[grants]`.

use serde::{Deserialize, Serialize};

use crate::domain::client::GrantType;

/// Which ways to tokens there are beside a user's approval in a browser. A client has to be registered for each all the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Clients that act for themselves (RFC 6749 §4.4).
    pub client_credentials: bool,
    /// Devices whose users decide elsewhere (RFC 8628). Off: `/device_authorization` and `/device` are not there.
    pub device_code: bool,
    /// Tokens for tokens that may do more (RFC 8693).
    pub token_exchange: bool,
}

impl Default for Grants {
    fn default() -> Self {
        Self { client_credentials: true, device_code: true, token_exchange: true }
    }
}

impl Grants {
    /// Those that are offered, in the order of [`GrantType::ALL`].
    pub(super) fn types(&self) -> Vec<GrantType> {
        let offered = |grant_type: &GrantType| match grant_type {
            GrantType::AuthorizationCode | GrantType::RefreshToken => true,
            GrantType::ClientCredentials => self.client_credentials,
            GrantType::DeviceCode => self.device_code,
            GrantType::TokenExchange => self.token_exchange,
        };
        GrantType::ALL.into_iter().filter(offered).collect()
    }
}
