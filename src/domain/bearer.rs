//! Access tokens as requests carry them (RFC 6750 §2, RFC 9449 §7.1): in the header or in the form, never in the query.

use super::challenge::Scheme;
use super::error::InvalidRequest;
use super::parameters::Parameters;
use super::presented::Presented;

/// The access token of a request; `None` where it carries none.
pub fn access_token<'r>(
    authorization: &[&'r [u8]],
    form: Option<&'r Parameters>,
) -> Result<Option<Presented<'r>>, InvalidRequest> {
    let in_form = match form {
        Some(form) if form.is_repeated("access_token") => return Err(InvalidRequest::Repeated),
        Some(form) => form.get("access_token"),
        None => None,
    };
    match (authorization, in_form) {
        ([], token) => Ok(token.map(|token| Presented { token, scheme: Scheme::Bearer })),
        ([header], None) => Ok(in_header(header)),
        ([_, ..], _) => Err(InvalidRequest::SeveralAuthentications),
    }
}

/// `None` for another scheme, whose name is compared without regard to case (RFC 9110 §11.1).
fn in_header(header: &[u8]) -> Option<Presented<'_>> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let scheme = match scheme {
        scheme if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        scheme if scheme.eq_ignore_ascii_case("dpop") => Scheme::DPoP,
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
        assert_eq!(access_token(&header, None), presented(Scheme::Bearer));
        assert_eq!(access_token(&header, Some(&without)), presented(Scheme::Bearer));
        assert_eq!(access_token(&[], Some(&with)), presented(Scheme::Bearer));
        assert_eq!(access_token(&[b"dpop t"], None), presented(Scheme::DPoP));
        assert_eq!(access_token(&[b"DPoP t"], Some(&with)), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[], None), Ok(None));
        assert_eq!(access_token(&[b"Basic dDp0"], None), Ok(None));
        assert_eq!(access_token(&[b"Bearer "], None), Ok(None));
        assert_eq!(access_token(&header, Some(&with)), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[b"Bearer t", b"Bearer t"], None), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[], Some(&twice)), Err(InvalidRequest::Repeated));
    }
}
