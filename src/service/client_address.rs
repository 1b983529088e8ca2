//! Where requests come from, for limits that count by address.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::domain::forwarded::{self, Syntax};
use crate::domain::network::Network;

/// Who says where a request comes from: the connection, or a proxy in front.
#[derive(Clone, Debug)]
pub struct ClientAddresses {
    /// The header in which proxies say so.
    pub header: HeaderName,
    pub proxies: Vec<Network>,
}

impl ClientAddresses {
    /// The address that a request comes from. `None` where a trusted proxy does not say.
    pub fn of(&self, headers: &HeaderMap, peer: IpAddr) -> Option<IpAddr> {
        if self.proxies.is_empty() {
            return Some(peer);
        }
        let syntax = if self.header == http::header::FORWARDED { Syntax::Forwarded } else { Syntax::Addresses };
        // What is not ASCII stays in its place as something that nobody understands.
        let lines = headers.get_all(&self.header).iter().map(|value| value.to_str().unwrap_or_default());
        forwarded::client_address(peer, &self.proxies, syntax, lines)
    }
}

/// An address, or of IPv6 the 64 bits of the network: the rest is the host's to choose.
pub(super) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    }
}
