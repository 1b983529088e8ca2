//! What the server may be told to reach: URLs that others named, and the addresses behind them.
//!
//! Whoever names a URL must not reach through us what they cannot reach themselves. So an address has to be one of the public
//! internet, whatever its name is, unless the operator listed its network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::network::Network;

/// The longest URL, in bytes.
const MAX_URL_LENGTH: usize = 2048;

/// IPv4 networks that are not of the public internet, or not one host of it (the registry of RFC 6890).
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // A cloud's platform answers here, to every machine in it.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved and broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Of IPv6, only `2000::/3` is given out (RFC 4291 §2.4); this is what is special in it. Loopback, mapped and translated IPv4, NAT64,
/// unique local, link-local and multicast addresses are all outside.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 5] = [
    // Protocol assignments: Teredo, benchmarking, ORCHID and others.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4, which has an IPv4 address in it.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// A URL that the server may be asked to call: absolute, http or https, without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutgoingUrl {
    text: Box<str>,
    parsed: Box<Url>,
}

/// Text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is an https URL without user, password and fragment, of printable ASCII characters, {MAX_URL_LENGTH} at most"
)]
pub struct MalformedUrl;

impl OutgoingUrl {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_https(&self) -> bool {
        self.parsed.scheme() == "https"
    }

    /// Its parts, as browsers read them.
    pub fn parsed(&self) -> &Url {
        &self.parsed
    }
}

impl FromStr for OutgoingUrl {
    type Err = MalformedUrl;

    fn from_str(text: &str) -> Result<Self, MalformedUrl> {
        // What parsers do not agree about is refused: `\` and whatever else they would normalise away.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}#".contains(&byte);
        if text.len() > MAX_URL_LENGTH || !text.bytes().all(plain) {
            return Err(MalformedUrl);
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(MalformedUrl)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let parsed = Box::new(Url::parse(text).map_err(|_| MalformedUrl)?);
        let has_host = match parsed.host() {
            Some(Host::Domain(name)) => !name.is_empty(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            None => false,
        };
        if authority.is_empty() || authority.contains('@') || !has_host {
            return Err(MalformedUrl);
        }
        Ok(Self { text: text.into(), parsed })
    }
}

impl TryFrom<String> for OutgoingUrl {
    type Error = MalformedUrl;

    fn try_from(text: String) -> Result<Self, MalformedUrl> {
        text.parse()
    }
}

impl From<OutgoingUrl> for String {
    fn from(url: OutgoingUrl) -> Self {
        url.text.into()
    }
}

impl fmt::Display for OutgoingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether an address may be called: over https a public one, and any of a network that the operator listed.
pub fn may_reach(address: IpAddr, https: bool, listed: &[Network]) -> bool {
    (https && is_public(address)) || listed.iter().any(|network| network.contains(address))
}

/// Whether an address is that of one host on the public internet. One that has another address inside is not: who knows what would
/// become of it on the way.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let begins_like = |(network, prefix): &(Ipv4Addr, u32)| {
                (address.to_bits() ^ network.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
            };
            !NOT_PUBLIC_V4.iter().any(begins_like)
        }
        IpAddr::V6(address) => {
            let begins_like = |(network, prefix): &(Ipv6Addr, u32)| {
                (address.to_bits() ^ network.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
            };
            begins_like(&(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)) && !NOT_PUBLIC_V6.iter().any(begins_like)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn n6_rg55_which_addresses_are_of_the_public_internet() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "3ffe::1",
        ] {
            assert!(may_reach(address(public), true, &[]), "{public}");
            assert!(!may_reach(address(public), false, &[]), "{public} without TLS");
        }
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.31.196.1",
            "192.52.193.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::10.0.0.1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2620:4f:8000::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!may_reach(address(inside), true, &[]), "{inside}");
        }
    }

    #[test]
    fn n6_rg55_only_what_the_operator_listed_is_reached_inside_and_without_tls() {
        let listed: Vec<Network> =
            ["10.1.0.0/16", "::1"].iter().map(|network| network.parse().expect("a network")).collect();
        for https in [true, false] {
            for (text, reached) in [
                ("10.1.2.3", true),
                ("::ffff:10.1.2.3", true),
                ("::1", true),
                ("10.2.0.1", false),
                ("127.0.0.1", false),
            ] {
                assert_eq!(may_reach(address(text), https, &listed), reached, "{text}");
            }
        }
    }

    #[test]
    fn n6_which_urls_may_be_named() {
        for good in [
            "https://a.example",
            "https://a.example:8443/x?y=z",
            "http://10.0.0.1/",
            "https://[2001:db8::1]/",
            "https://xn--bcher-kva.example/",
        ] {
            assert_eq!(good.parse::<OutgoingUrl>().map(|url| url.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "a.example",
            "/x",
            "https:",
            "https://",
            "https:///x",
            "https:a.example",
            "https:/a.example",
            "HTTPS://a.example",
            "ftp://a.example",
            "file:///etc/passwd",
            "gopher://a.example",
            "https://user@a.example",
            "https://user:password@a.example",
            "https://@a.example",
            "https://:@a.example",
            "https://a.example#x",
            "https://a.example/#",
            "https://a.example\\@b.example",
            "https://a.example /",
            "https://a.example/\n",
            "https://b\u{fc}cher.example",
            "https://a.example:99999",
            "https://[::1",
            "https://%00",
            "https://1.2.3.4.5",
            &format!("https://a.example/{}", "x".repeat(MAX_URL_LENGTH)),
        ] {
            assert_eq!(bad.parse::<OutgoingUrl>(), Err(MalformedUrl), "{bad}");
        }
    }

    /// However a literal is written, it is read as the address that is called.
    #[test]
    fn n6_other_spellings_of_an_address_are_that_address() {
        for spelling in
            ["https://127.1", "https://2130706433", "https://0x7f.1", "https://0177.0.0.1", "https://%31%32%37.0.0.1"]
        {
            let url: OutgoingUrl = spelling.parse().expect("a URL");
            assert_eq!(url.parsed().host(), Some(Host::Ipv4(Ipv4Addr::LOCALHOST)), "{spelling}");
        }
    }
}
