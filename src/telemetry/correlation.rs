//! What ties a log line to the request that caused it: the trace (W3C Trace Context §3.2) and the id that a proxy gave the request.
//!
//! Whoever sends a request chooses both, so they say nothing about it but what it calls itself.

/// The target of the lines that tell of every check, at level `debug`: `telemetry.log = "info,scopegate::checks=debug"`.
pub const CHECKS: &str = "scopegate::checks";
/// The longest request id that is logged, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Each empty where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Correlation<'r> {
    pub trace_id: &'r str,
    pub request_id: &'r str,
}

impl<'r> Correlation<'r> {
    /// Of the values of `traceparent` and of `x-request-id`. There should be one of each: others are none.
    pub fn new(traceparents: &[&'r [u8]], request_ids: &[&'r [u8]]) -> Self {
        let one = |values: &[&'r [u8]]| match values {
            [value] => str::from_utf8(value).ok(),
            _ => None,
        };
        Self {
            trace_id: one(traceparents).and_then(trace_id).unwrap_or_default(),
            request_id: one(request_ids).filter(|id| is_plain(id)).unwrap_or_default(),
        }
    }

    pub fn of(headers: &'r http::HeaderMap) -> Self {
        let all = |name| headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
        Self::new(&all("traceparent"), &all("x-request-id"))
    }
}

/// `version-trace_id-parent_id-flags`, in lower-case hexadecimal digits. Versions to come may have more behind (§3.2.4).
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace_id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let is_known = match version {
        "ff" => false,
        "00" => parts.next().is_none(),
        _ => is_hex(version, 2),
    };
    (is_known && is_id(trace_id, 32) && is_id(parent, 16) && is_hex(flags, 2)).then_some(trace_id)
}

fn is_plain(id: &str) -> bool {
    id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn traces_as_w3c_writes_them() {
        for (header, expected) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TRACE),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", TRACE),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", ""),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", ""),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", ""),
            ("00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", ""),
            ("", ""),
        ] {
            assert_eq!(Correlation::new(&[header.as_bytes()], &[]).trace_id, expected, "{header}");
        }
    }

    #[test]
    fn ids_are_plain_and_there_is_one() {
        let of = |ids: &[&'static str]| {
            let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
            Correlation::new(&[], &ids).request_id
        };
        assert_eq!(of(&["6f1c-2"]), "6f1c-2");
        let long: &str = Box::leak("x".repeat(MAX_REQUEST_ID + 1).into_boxed_str());
        for ids in [&[][..], &["a", "b"], &["a b"], &["a\x1b"], &["\u{e9}"], &[long]] {
            assert_eq!(of(ids), "", "{ids:?}");
        }
    }
}
