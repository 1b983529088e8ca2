//! Access tokens as requests to a resource present them, in the `Authorization` header (RFC 6750 §2.1, RFC 9449 §7.1).

use super::challenge::Scheme;

/// A token and its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented<'r> {
    pub scheme: Scheme,
    pub token: &'r str,
}

/// A header that presents a token in a way that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is presented in no way that is known, or in two")]
pub struct Malformed;

/// What the `Authorization` headers of a request present. `None` where there is none, or one of another scheme, which is not ours to judge.
/// A bearer token may also stand behind another scheme that is spelled exactly like `other`.
pub fn in_headers<'r>(authorization: &[&'r [u8]], other: Option<&str>) -> Result<Option<Presented<'r>>, Malformed> {
    let header = match authorization {
        [] => return Ok(None),
        [header] => str::from_utf8(header).map_err(|_| Malformed)?,
        [_, ..] => return Err(Malformed),
    };
    // The name of a scheme is compared without regard to case (RFC 9110 §11.1).
    let (name, token) = header.split_once(' ').unwrap_or((header, ""));
    let scheme = match name.to_ascii_lowercase().as_str() {
        "bearer" => Scheme::Bearer,
        "dpop" => Scheme::DPoP,
        _ if other == Some(name) => Scheme::Bearer,
        // Two headers that a proxy joined, or something that is no scheme.
        other if other.is_empty() || !other.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            return Err(Malformed);
        }
        _ if names_a_token(token, other) => return Err(Malformed),
        _ => return Ok(None),
    };
    let token = token.trim_matches(' ');
    if is_token68(token) { Ok(Some(Presented { scheme, token })) } else { Err(Malformed) }
}

/// Whether a header of another scheme was joined with one of ours.
fn names_a_token(rest: &str, other: Option<&str>) -> bool {
    rest.split(',').any(|part| {
        let name = part.trim_start().split(' ').next().unwrap_or_default();
        name.eq_ignore_ascii_case("bearer") || name.eq_ignore_ascii_case("dpop") || other == Some(name)
    })
}

/// `b64token` (RFC 6750 §2.1).
pub fn is_token68(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e2_what_presents_no_token_clearly_is_malformed() {
        for bad in [
            &[&b"Bearer"[..]][..],
            &[b"Bearer "],
            &[b"Bearer a b"],
            &[b"Bearer a,Bearer b"],
            &[b"Bearer a, Bearer b"],
            &[b"Bearer !"],
            &[b"Bearer \xff"],
            &[b""],
            &[b" Bearer a"],
            &[b"Bearer\ta"],
            &[b"DPoP"],
            &[b"Bearer a", b"Bearer b"],
            &[b"Basic YTpi,Bearer a"],
            &[b"Basic YTpi, bearer a"],
            &[b"Basic,Bearer a"],
            &[b"Bearer a,"],
            &[b"Bearer =a"],
        ] {
            assert_eq!(in_headers(bad, None), Err(Malformed), "{}", bad[0].escape_ascii());
            assert_eq!(in_headers(bad, Some("token")), Err(Malformed), "{}", bad[0].escape_ascii());
        }
    }

    #[test]
    fn another_scheme_is_spelled_as_it_is_configured() {
        let token = Presented { scheme: Scheme::Bearer, token: "a" };
        let bearer = Ok(Some(token));
        for (header, expected) in [
            ("token a", bearer),
            ("token  a", bearer),
            ("bearer a", bearer),
            ("Token a", Ok(None)),
            ("TOKEN a", Ok(None)),
            ("tokens a", Ok(None)),
            ("token", Err(Malformed)),
            ("token a b", Err(Malformed)),
            ("token a,Bearer b", Err(Malformed)),
            ("Basic YTpi, token a", Err(Malformed)),
        ] {
            assert_eq!(in_headers(&[header.as_bytes()], Some("token")), expected, "{header}");
        }
        assert_eq!(in_headers(&[b"token a"], None), Ok(None));
        assert_eq!(in_headers(&[b"token a", b"Bearer b"], Some("token")), Err(Malformed));
    }

    #[test]
    fn e5_the_name_of_the_scheme_has_no_case() {
        for (header, scheme) in
            [("Bearer a", Scheme::Bearer), ("bEaReR  a==", Scheme::Bearer), ("dpop a.b-c", Scheme::DPoP)]
        {
            let presented = in_headers(&[header.as_bytes()], None).expect("well-formed").expect("a token");
            assert_eq!(presented.scheme, scheme);
        }
        assert_eq!(in_headers(&[b"Basic YTpi"], None), Ok(None));
        assert_eq!(in_headers(&[], None), Ok(None));
    }
}
