//! Where a request comes from, and what it asked for, as the proxies in front of us say.
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
        Syntax::Forwarded => parameter(entry, "for")?,
    };
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|node| node.ip()))?;
    Some(address.to_canonical())
}

/// A parameter of an entry of RFC 7239. One that is there twice was said by two: it is empty, which is no value of any.
fn parameter<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    match (values.next()?, values.next()) {
        (value, None) => Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)),
        (_, Some(_)) => Some(""),
    }
}

/// What a request asked for, as far as a proxy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    pub scheme: Option<&'a str>,
    /// With the port, if there was one.
    pub host: Option<&'a str>,
}

impl Target<'_> {
    /// Whether a proxy says that it was asked without TLS. What it says in a way that nobody understands is no TLS.
    pub fn is_in_clear(&self) -> bool {
        self.scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("https"))
    }
}

/// What the farthest trusted proxy was asked for, by `proto` and `host` of RFC 7239, from a peer that is one. `lines` are the values of
/// `Forwarded` in their order.
pub fn forwarded_target<'a>(proxies: &[Network], lines: impl DoubleEndedIterator<Item = &'a str>) -> Target<'a> {
    let is_proxy = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    let mut target = Target::default();
    for entry in lines.rev().flat_map(|line| line.rsplit(',')).take(MAX_PROXIES) {
        target = Target { scheme: parameter(entry, "proto"), host: parameter(entry, "host") };
        if !address(entry, Syntax::Forwarded).is_some_and(is_proxy) {
            break;
        }
    }
    target
}

/// The same by `X-Forwarded-Proto` and `X-Forwarded-Host`, of which the last value is that of the peer.
pub fn last_value<'a>(mut lines: impl DoubleEndedIterator<Item = &'a str>) -> Option<&'a str> {
    lines.next_back().and_then(|line| line.rsplit(',').next()).map(str::trim)
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

    #[test]
    fn the_farthest_trusted_proxy_says_what_it_was_asked_for() {
        let proxies = ["10.0.0.0/8".parse().expect("a network")];
        for (lines, scheme, host) in [
            (&[][..], None, None),
            (&["for=203.0.113.1"], None, None),
            (&["for=203.0.113.1;proto=https;host=a"], Some("https"), Some("a")),
            (&["proto=HTTP;Host=\"a:8443\""], Some("HTTP"), Some("a:8443")),
            // What a client sent stands before what the proxy adds.
            (&["proto=https;host=evil, for=203.0.113.1;proto=http"], Some("http"), None),
            (&["proto=https;host=evil", "for=203.0.113.1;proto=http;host=a"], Some("http"), Some("a")),
            (&["host=\"evil", "for=203.0.113.1;host=a"], None, Some("a")),
            // The proxy before said what it was asked for itself.
            (
                &["proto=http, for=203.0.113.1;proto=https;host=a, for=10.2.3.4;proto=http;host=b"],
                Some("https"),
                Some("a"),
            ),
            (&["proto=https, for=unknown;proto=http"], Some("http"), None),
            (&["for=203.0.113.1;proto=https;proto=http;host=a;host=b"], Some(""), Some("")),
        ] {
            let target = forwarded_target(&proxies, lines.iter().copied());
            assert_eq!(target, Target { scheme, host }, "{lines:?}");
        }
        assert_eq!(last_value(["https, http"].into_iter()), Some("http"));
        assert_eq!(last_value(["https", "http"].into_iter()), Some("http"));
        assert_eq!(last_value([].into_iter()), None);
    }

    #[test]
    fn only_https_is_https() {
        for (scheme, clear) in [
            (None, false),
            (Some("https"), false),
            (Some("HTTPS"), false),
            (Some("http"), true),
            (Some(""), true),
            (Some("wss"), true),
        ] {
            assert_eq!(Target { scheme, host: None }.is_in_clear(), clear, "{scheme:?}");
        }
    }
}
