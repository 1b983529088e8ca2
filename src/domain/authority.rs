//! The host and port by which an issuer is asked for: what `Host` says when a request is for it (RFC 9110 §7.2).

use url::Url;

/// Host and port of an issuer's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// In lower case, an IPv6 address in brackets.
    host: Box<str>,
    port: u16,
    /// Whether requests may leave it out, because it is that of the scheme.
    is_default: bool,
}

impl Authority {
    /// `None` where this is no URL with a host.
    pub fn of(issuer: &str) -> Option<Self> {
        let url = Url::parse(issuer).ok()?;
        let port = url.port_or_known_default()?;
        Some(Self { host: url.host_str()?.to_ascii_lowercase().into(), port, is_default: url.port().is_none() })
    }

    /// Whether a request for `host`, or `host:port`, is for this one. Letters count the same in either case.
    pub fn is_named_by(&self, text: &str) -> bool {
        split(text).is_some_and(|(host, port)| {
            host.eq_ignore_ascii_case(&self.host) && port.map_or(self.is_default, |port| port == self.port)
        })
    }

    /// Whether there is a request that would be for both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.host == other.host && (self.port == other.port || (self.is_default && other.is_default))
    }
}

/// Host and port. A colon without a port is one without a port (RFC 3986 §3.2.3).
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Some((text, None));
    };
    match port {
        "" => Some((host, None)),
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(issuer: &str) -> Authority {
        Authority::of(issuer).expect("a URL")
    }

    #[test]
    fn an_issuer_is_named_by_its_host_and_port_in_each_way_of_writing_them() {
        for (issuer, named, not_named) in [
            (
                "https://a.example",
                &["a.example", "A.Example", "a.example:443", "a.example:0443", "a.example:"][..],
                &[
                    "",
                    "b.example",
                    "a.example.",
                    "a.example:80",
                    "a.example:8443",
                    "x@a.example",
                    "a.example:+443",
                    "a.example:443:443",
                    "a.example,b",
                ][..],
            ),
            ("https://A.example:443/", &["a.example", "a.example:443"], &["a.example:80"]),
            ("https://a.example:8443", &["a.example:8443"], &["a.example", "a.example:443", "a.example:"]),
            ("http://localhost", &["localhost", "localhost:80"], &["localhost:443"]),
            ("http://[::1]:8080", &["[::1]:8080"], &["[::1]", "::1:8080", "::1", "[::1]:8081"]),
            ("http://[::1]", &["[::1]", "[::1]:80"], &["::1"]),
        ] {
            let own = authority(issuer);
            for text in named {
                assert!(own.is_named_by(text), "{issuer} {text}");
            }
            for text in not_named {
                assert!(!own.is_named_by(text), "{issuer} {text}");
            }
        }
        assert_eq!(Authority::of("urn:a"), None);
    }

    #[test]
    fn two_issuers_overlap_where_one_request_could_be_for_both() {
        for (one, other, overlap) in [
            ("https://a", "https://a", true),
            ("https://a", "https://a:443", true),
            ("https://a", "http://a", true),
            ("https://a", "https://a:8443", false),
            ("https://a", "https://b", false),
            ("https://a:8443", "http://a:8443", true),
        ] {
            assert_eq!(authority(one).overlaps(&authority(other)), overlap, "{one} {other}");
        }
    }
}
