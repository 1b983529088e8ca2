//! Paths of requests, as rules may judge them. A path that different servers could take for different things is judged by no rule.

/// Why no rule may judge a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path could mean more than one thing")]
pub struct AmbiguousPath;

/// The path of a request target, without query. It is in normal form: it begins with a slash, has no empty segment but the last, no
/// `.` and `..`, and is percent-encoded only where it has to be (RFC 3986 §6.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPath<'r>(&'r str);

impl<'r> RequestPath<'r> {
    /// The path of a request target in origin form (RFC 9112 §3.2.1). What Envoy, a proxy behind it and a framework could read in two
    /// ways is refused, whichever they do: nothing is decoded, merged or cut here.
    pub fn of_target(target: &'r [u8]) -> Result<Self, AmbiguousPath> {
        let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        let path = str::from_utf8(path).map_err(|_| AmbiguousPath)?;
        let segments = path.strip_prefix('/').ok_or(AmbiguousPath)?.split('/');
        let last = segments.clone().count() - 1;
        for (index, segment) in segments.enumerate() {
            if (segment.is_empty() && index != last) || segment == "." || segment == ".." || !is_unambiguous(segment) {
                return Err(AmbiguousPath);
            }
        }
        Ok(Self(path))
    }

    /// The parts between the slashes, percent-encoded as they came.
    pub fn segments(&self) -> impl Iterator<Item = &'r str> {
        self.0[1..].split('/')
    }
}

/// Characters of a segment (RFC 3986 §3.3) without `;`, at which some servers cut; encoded are only those that cannot stand there, and
/// they are UTF-8. An encoded slash, backslash, percent sign, semicolon or control character is read in many ways.
fn is_unambiguous(segment: &str) -> bool {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return false };
                let Ok(byte) = u8::try_from(high * 16 + low) else { return false };
                if is_plain(byte) || byte.is_ascii_control() || b"/\\%;?#".contains(&byte) {
                    return false;
                }
                decoded.push(byte);
            }
            plain if is_plain(plain) => decoded.push(plain),
            _ => return false,
        }
    }
    str::from_utf8(&decoded).is_ok()
}

/// The unreserved characters and those of the reserved that mean nothing in a path.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e8_a_path_that_could_mean_two_things_is_refused() {
        for ambiguous in [
            &b"//admin"[..],
            b"/x/..//admin",
            b"/x/../admin",
            b"/admin%2f",
            b"/admin%2Fx",
            b"/%61dmin",
            b"/admin;v=1",
            b"/admin/.",
            b"/..;/admin",
            b"/admin#x",
            b"\\admin",
            b"/\\admin",
            b"/x\\admin",
            b"/admin%5c",
            b"/admin%00",
            b"/admin\0",
            b"/%c0%afadmin",
            b"/admin%c0%80",
            b"/admin\xff",
            b"/%2e%2e/admin",
            b"/.%2e/admin",
            b"/admin%252f",
            b"/admin%",
            b"/admin%2",
            b"/admin%zz",
            b"/admin%3bv",
            b"/admin%3f",
            b"/admin%23",
            b"/a b",
            b"/\xc3\xa9",
            b"admin",
            b"",
            b"*",
            b"http://host/admin",
            b"host:443",
            b"/admin%0d%0a",
            b"/admin\t",
            b"/a/./b",
            b"/a//",
            b"/<",
            b"/admin%+1",
        ] {
            assert_eq!(RequestPath::of_target(ambiguous), Err(AmbiguousPath), "{}", ambiguous.escape_ascii());
        }
    }

    #[test]
    fn e9_the_query_is_no_part_of_the_path() {
        for (target, segments) in [
            (&b"/"[..], &[""][..]),
            (b"/orders", &["orders"]),
            (b"/orders/", &["orders", ""]),
            (b"/orders?x=/../admin", &["orders"]),
            (b"/orders?", &["orders"]),
            (b"/a%20b/%C3%A9/...", &["a%20b", "%C3%A9", "..."]),
            (b"/orders.v1.Orders/List", &["orders.v1.Orders", "List"]),
            (b"/users/@ann:1(x)", &["users", "@ann:1(x)"]),
        ] {
            let path = RequestPath::of_target(target).expect("unambiguous");
            assert_eq!(path.segments().collect::<Vec<_>>(), segments, "{}", target.escape_ascii());
        }
    }
}
