//! Where requests come from, for limits that count by address; and what they asked a proxy in front for.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::domain::forwarded::{self, Syntax, Target};
use crate::domain::network::Network;

/// Who says where a request comes from: the connection, or a proxy in front.
#[derive(Clone, Debug)]
pub struct ClientAddresses {
    /// The header in which proxies say so.
    pub header: HeaderName,
    pub proxies: Vec<Network>,
    /// Whether it counts what they were asked for.
    pub tell_targets: bool,
}

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl ClientAddresses {
    /// Whether a connection comes from a proxy that is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(peer))
    }

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

    /// What a trusted proxy was asked for. It speaks either of the two languages, and what comes in the other one is a client's.
    pub fn target<'h>(&self, headers: &'h HeaderMap, peer: Option<IpAddr>) -> Target<'h> {
        if !self.tell_targets || !peer.is_some_and(|peer| self.trusts(peer)) {
            return Target::default();
        }
        let lines = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
        if self.header == http::header::FORWARDED {
            return forwarded::forwarded_target(&self.proxies, lines(http::header::FORWARDED));
        }
        Target {
            scheme: forwarded::last_value(lines(FORWARDED_PROTO)),
            host: forwarded::last_value(lines(FORWARDED_HOST)),
        }
    }
}

/// An address, or of IPv6 the 64 bits of the network: the rest is the host's to choose.
pub(super) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    }
}
