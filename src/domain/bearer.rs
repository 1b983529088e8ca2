//! Access tokens as requests carry them (RFC 6750 §2, RFC 9449 §7.1): in the header or in the form, never in the query.

use super::challenge::Scheme;
use super::error::InvalidRequest;
use super::parameters::Parameters;
use super::presented::Presented;

/// The access token of a request; `None` where it carries none. In a header, it may also stand behind a scheme that is spelled exactly like
/// `other`.
pub fn access_token<'r>(
    authorization: &[&'r [u8]],
    form: Option<&'r Parameters>,
    other: Option<&str>,
) -> Result<Option<Presented<'r>>, InvalidRequest> {
    let in_form = match form {
        Some(form) if form.is_repeated("access_token") => return Err(InvalidRequest::Repeated),
        Some(form) => form.get("access_token"),
        None => None,
    };
    match (authorization, in_form) {
        ([], token) => Ok(token.map(|token| Presented { token, scheme: Scheme::Bearer })),
        ([header], None) => Ok(in_header(header, other)),
        ([_, ..], _) => Err(InvalidRequest::SeveralAuthentications),
    }
}

/// `None` for another scheme, whose name is compared without regard to case (RFC 9110 §11.1).
fn in_header<'r>(header: &'r [u8], other: Option<&str>) -> Option<Presented<'r>> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let scheme = match scheme {
        scheme if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        scheme if scheme.eq_ignore_ascii_case("dpop") => Scheme::DPoP,
        scheme if other == Some(scheme) => Scheme::Bearer,
        _ => return None,
    };
    Some(token.trim()).filter(|token| !token.is_empty()).map(|token| Presented { scheme, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u1_a_token_comes_in_one_way_alone() {
        let form = |text: &str| Parameters::parse(text.as_bytes()).expect("few parameters");
        let (with, without, twice) = (form("access_token=t"), form(""), form("access_token=t&access_token=t"));
        let header = [b"bearer  t".as_slice()];
        let presented = |scheme| Ok(Some(Presented { token: "t", scheme }));
        assert_eq!(access_token(&header, None, None), presented(Scheme::Bearer));
        assert_eq!(access_token(&header, Some(&without), None), presented(Scheme::Bearer));
        assert_eq!(access_token(&[], Some(&with), None), presented(Scheme::Bearer));
        assert_eq!(access_token(&[b"dpop t"], None, None), presented(Scheme::DPoP));
        assert_eq!(access_token(&[b"DPoP t"], Some(&with), None), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[], None, None), Ok(None));
        assert_eq!(access_token(&[b"Basic dDp0"], None, None), Ok(None));
        assert_eq!(access_token(&[b"token t"], None, None), Ok(None));
        assert_eq!(access_token(&[b"token t"], None, Some("token")), presented(Scheme::Bearer));
        assert_eq!(access_token(&[b"Token t"], None, Some("token")), Ok(None));
        assert_eq!(access_token(&[b"Bearer "], None, None), Ok(None));
        assert_eq!(access_token(&header, Some(&with), None), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[b"Bearer t", b"Bearer t"], None, None), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[], Some(&twice), None), Err(InvalidRequest::Repeated));
    }
}
