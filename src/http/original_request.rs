//! The request that a proxy asks about, as it tells of it: in headers, or by what it puts behind `/check`.
//!
//! Each part has to be told once and in one way. Whatever is missing may be what a client was to fill in, and whatever is there
//! twice was told by two.

use http::HeaderMap;
use http::request::Parts;

/// Where proxies ask.
pub(super) const CHECK_PATH: &str = "/check";

/// Whether this is where proxies ask, or behind it.
pub(super) fn is_check(path: &str) -> bool {
    path.strip_prefix(CHECK_PATH).is_some_and(|behind| behind.is_empty() || behind.starts_with('/'))
}

/// What a client asked of a proxy. The target is bytes: a path and a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OriginalRequest<'r> {
    pub(super) method: &'r str,
    pub(super) scheme: &'r str,
    pub(super) host: &'r str,
    pub(super) target: &'r [u8],
}

/// Why nobody knows what the proxy asks about.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    #[error("the proxy does not send {0}")]
    Missing(&'static str),
    #[error("{0} has more than one value, or one that cannot be read")]
    Unclear(&'static str),
    #[error(
        "more than one of X-Original-URI, X-Original-URL and X-Forwarded-Uri is there: the proxy has to remove those that it does not set"
    )]
    TwoWays,
}

impl<'r> OriginalRequest<'r> {
    /// At `/check` itself, headers tell of the request. Behind it, the request of the proxy is the request (Envoy's `path_prefix`).
    pub(super) fn of(parts: &'r Parts) -> Result<Self, Untold> {
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        match target.strip_prefix(CHECK_PATH) {
            Some(behind) if behind.starts_with('/') => Ok(Self {
                method: parts.method.as_str(),
                scheme: word(&parts.headers, "x-forwarded-proto")?,
                host: word(&parts.headers, "host")?,
                target: behind.as_bytes(),
            }),
            _ => Self::told(&parts.headers),
        }
    }

    fn told(headers: &'r HeaderMap) -> Result<Self, Untold> {
        let forwarded = |method, target| {
            let (scheme, host) = (word(headers, "x-forwarded-proto")?, word(headers, "x-forwarded-host")?);
            Ok(Self { method: word(headers, method)?, scheme, host, target })
        };
        match (value(headers, "x-original-uri")?, value(headers, "x-original-url")?, value(headers, "x-forwarded-uri")?)
        {
            (Some(uri), None, None) => forwarded("x-original-method", uri),
            (None, None, Some(uri)) => forwarded("x-forwarded-method", uri),
            (None, Some(url), None) => {
                let (scheme, host, target) = split(url).ok_or(Untold::Unclear("x-original-url"))?;
                Ok(Self { method: word(headers, "x-original-method")?, scheme, host, target })
            }
            (None, None, None) => Err(Untold::Missing("X-Original-URI, X-Original-URL or X-Forwarded-Uri")),
            _ => Err(Untold::TwoWays),
        }
    }
}

/// The only value of a header.
fn value<'r>(headers: &'r HeaderMap, name: &'static str) -> Result<Option<&'r [u8]>, Untold> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
        (_, Some(_)) => Err(Untold::Unclear(name)),
    }
}

/// The only value of a header that is one word: two that a proxy joined are none.
fn word<'r>(headers: &'r HeaderMap, name: &'static str) -> Result<&'r str, Untold> {
    let value = value(headers, name)?.ok_or(Untold::Missing(name))?;
    let is_word = !value.is_empty() && value.iter().all(|&byte| byte.is_ascii_graphic() && byte != b',');
    str::from_utf8(value).ok().filter(|_| is_word).ok_or(Untold::Unclear(name))
}

/// Scheme, host and target of a URL. The target keeps every byte.
fn split(url: &[u8]) -> Option<(&str, &str, &[u8])> {
    let colon = url.iter().position(|&byte| byte == b':')?;
    let rest = url[colon..].strip_prefix(b"://")?;
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    let (scheme, host) = (str::from_utf8(&url[..colon]).ok()?, str::from_utf8(&rest[..slash]).ok()?);
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b",@?#\\".contains(&byte));
    (matches!(scheme, "http" | "https") && is_host).then_some((scheme, host, &rest[slash..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uri: &str, headers: &[(&str, &[u8])]) -> Parts {
        let mut request = http::Request::builder().method("GET").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn each_proxy_tells_of_a_request_in_its_own_way() {
        let of = |method, scheme, host, target| Ok(OriginalRequest { method, scheme, host, target });
        let nginx = told(
            "/check",
            &[
                ("x-original-uri", b"/a?b=//c"),
                ("x-original-method", b"PUT"),
                ("x-forwarded-proto", b"https"),
                ("x-forwarded-host", b"api.example"),
                ("x-forwarded-method", b"GET"),
            ],
        );
        assert_eq!(OriginalRequest::of(&nginx), of("PUT", "https", "api.example", b"/a?b=//c"));
        let ingress = told(
            "/check?audience=x",
            &[("x-original-url", b"https://api.example:1//a\xff?b"), ("x-original-method", b"GET")],
        );
        assert_eq!(OriginalRequest::of(&ingress), of("GET", "https", "api.example:1", b"//a\xff?b"));
        let traefik = told(
            "/check",
            &[
                ("x-forwarded-uri", b"/a"),
                ("x-forwarded-method", b"POST"),
                ("x-forwarded-proto", b"http"),
                ("x-forwarded-host", b"[::1]:80"),
                ("x-original-method", b"GET"),
            ],
        );
        assert_eq!(OriginalRequest::of(&traefik), of("POST", "http", "[::1]:80", b"/a"));
        let envoy = told("/check//a?b", &[("host", b"api.example"), ("x-forwarded-proto", b"https")]);
        assert_eq!(OriginalRequest::of(&envoy), of("GET", "https", "api.example", b"//a?b"));
    }

    #[test]
    fn what_two_could_have_told_or_nobody_is_refused() {
        let good: [(&str, &[u8]); 4] = [
            ("x-forwarded-uri", b"/a"),
            ("x-forwarded-method", b"GET"),
            ("x-forwarded-proto", b"http"),
            ("x-forwarded-host", b"api.example"),
        ];
        assert!(OriginalRequest::of(&told("/check", &good)).is_ok());
        for (index, (name, value)) in good.iter().enumerate() {
            let mut lacking = good.to_vec();
            lacking.remove(index);
            assert!(matches!(OriginalRequest::of(&told("/check", &lacking)), Err(Untold::Missing(_))), "{name}");
            let twice = [&good[..], &[(*name, *value)]].concat();
            assert!(matches!(OriginalRequest::of(&told("/check", &twice)), Err(Untold::Unclear(_))), "{name}");
            if index > 0 {
                for joined in [&b"GET,GET"[..], b"GET, GET", b"", b"\xff"] {
                    let mut other = good;
                    other[index].1 = joined;
                    assert_eq!(OriginalRequest::of(&told("/check", &other)), Err(Untold::Unclear(name)), "{joined:?}");
                }
            }
        }
        for other in ["x-original-uri", "x-original-url"] {
            let both = [&good[..], &[(other, b"http://x/a".as_slice())]].concat();
            assert_eq!(OriginalRequest::of(&told("/check", &both)), Err(Untold::TwoWays), "{other}");
        }
        for url in
            ["/a", "http:///a", "http://a", "ftp://a/b", "http://user@a/b", "http://a?/b", "http://a,b/c", "://a/b"]
        {
            let parts = told("/check", &[("x-original-url", url.as_bytes()), ("x-original-method", b"GET")]);
            assert_eq!(OriginalRequest::of(&parts), Err(Untold::Unclear("x-original-url")), "{url}");
        }
    }
}
