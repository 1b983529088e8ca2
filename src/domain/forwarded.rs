//! Where a request comes from, as the proxies in front of us say.
//!
//! Each proxy adds at the end where its own request came from, so what it says is true of the last entry alone: whatever stands before
//! was sent to it. The list is read from its end, for as long as it is a trusted proxy that speaks.

use std::net::{IpAddr, SocketAddr};

use super::network::Network;

/// More proxies than that do not stand in a row.
const MAX_PROXIES: usize = 16;

/// How the entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Addresses alone, as of `X-Forwarded-For`.
    Addresses,
    /// As of RFC 7239.
    Forwarded,
}

/// The address that the trusted proxies say a request came from. `lines` are the values of the header in their order. `None` where the
/// peer is a proxy that says nothing we understand.
pub fn client_address<'a>(
    peer: IpAddr,
    proxies: &[Network],
    syntax: Syntax,
    lines: impl DoubleEndedIterator<Item = &'a str>,
) -> Option<IpAddr> {
    let is_proxy = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    if !is_proxy(peer) {
        return Some(peer);
    }
    let mut farthest = None;
    // Not even a quoted comma divides differently: what a client quotes must not swallow what a proxy adds.
    for entry in lines.rev().flat_map(|line| line.rsplit(',')).take(MAX_PROXIES) {
        let Some(address) = address(entry, syntax) else { break };
        farthest = Some(address);
        if !is_proxy(address) {
            break;
        }
    }
    farthest
}

fn address(entry: &str, syntax: Syntax) -> Option<IpAddr> {
    let node = match syntax {
        Syntax::Addresses => entry.trim(),
        Syntax::Forwarded => {
            let pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
            let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, value)| value);
            let node = nodes.next().filter(|_| nodes.next().is_none())?;
            node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node)
        }
    };
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|node| node.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, syntax: Syntax, lines: &[&str]) -> Option<String> {
        let proxies = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().expect("a network"));
        let peer = peer.parse().expect("an address");
        client_address(peer, &proxies, syntax, lines.iter().copied()).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_clients() {
        for (peer, lines, expected) in [
            ("192.0.2.9", &["203.0.113.1"][..], Some("192.0.2.9")),
            ("10.0.0.1", &["203.0.113.1"], Some("203.0.113.1")),
            ("::ffff:10.0.0.1", &["203.0.113.1"], Some("203.0.113.1")),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.1"], Some("203.0.113.1")),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.1"], Some("203.0.113.1")),
            ("10.0.0.1", &["1.1.1.1,203.0.113.1 , 10.2.3.4"], Some("203.0.113.1")),
            ("10.0.0.1", &["10.9.9.9, 10.2.3.4"], Some("10.9.9.9")),
            ("10.0.0.1", &["203.0.113.1:4711"], Some("203.0.113.1")),
            ("10.0.0.1", &["2001:db9::1"], Some("2001:db9::1")),
            ("10.0.0.1", &["[2001:db9::1]:80"], Some("2001:db9::1")),
            ("10.0.0.1", &["[2001:db9::1]"], Some("2001:db9::1")),
            ("10.0.0.1", &["::ffff:203.0.113.1"], Some("203.0.113.1")),
            ("10.0.0.1", &["203.0.113.1, unknown"], None),
            ("10.0.0.1", &["203.0.113.1, unknown, 10.2.3.4"], Some("10.2.3.4")),
            ("10.0.0.1", &["203.0.113.1,"], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &[], None),
        ] {
            assert_eq!(seen(peer, Syntax::Addresses, lines).as_deref(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_in_the_same_way() {
        for (lines, expected) in [
            (&["for=203.0.113.1"][..], Some("203.0.113.1")),
            (&["for=1.1.1.1, For=\"203.0.113.1:80\";proto=https;by=10.0.0.1"], Some("203.0.113.1")),
            (&["proto=http; for=\"[2001:db9::1]:4711\""], Some("2001:db9::1")),
            (&["for=\"[2001:db9::1]\"", "for=10.1.1.1"], Some("2001:db9::1")),
            (&["for=\"1.1.1.1", "for=203.0.113.1"], Some("203.0.113.1")),
            (&["for=\"1.1.1.1, for=203.0.113.1"], Some("203.0.113.1")),
            (&["for=_hidden"], None),
            (&["for=1.1.1.1;for=2.2.2.2"], None),
            (&["203.0.113.1"], None),
        ] {
            assert_eq!(seen("10.0.0.1", Syntax::Forwarded, lines).as_deref(), expected, "{lines:?}");
        }
    }
}
