//! Access tokens as requests carry them (RFC 6750 §2): in the header or in the form, never in the query.

use super::error::InvalidRequest;
use super::parameters::Parameters;

/// The access token of a request; `None` where it carries none.
pub fn access_token<'r>(
    authorization: &[&'r [u8]],
    form: Option<&'r Parameters>,
) -> Result<Option<&'r str>, InvalidRequest> {
    let in_form = match form {
        Some(form) if form.is_repeated("access_token") => return Err(InvalidRequest::Repeated),
        Some(form) => form.get("access_token"),
        None => None,
    };
    match (authorization, in_form) {
        ([], token) => Ok(token),
        ([header], None) => Ok(bearer(header)),
        ([_, ..], _) => Err(InvalidRequest::SeveralAuthentications),
    }
}

/// `None` for another scheme, whose name is compared without regard to case (RFC 9110 §11.1).
fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u1_a_token_comes_in_one_way_alone() {
        let form = |text: &str| Parameters::parse(text.as_bytes()).expect("few parameters");
        let (with, without, twice) = (form("access_token=t"), form(""), form("access_token=t&access_token=t"));
        let header = [b"bearer  t".as_slice()];
        assert_eq!(access_token(&header, None), Ok(Some("t")));
        assert_eq!(access_token(&header, Some(&without)), Ok(Some("t")));
        assert_eq!(access_token(&[], Some(&with)), Ok(Some("t")));
        assert_eq!(access_token(&[], None), Ok(None));
        assert_eq!(access_token(&[b"Basic dDp0"], None), Ok(None));
        assert_eq!(access_token(&[b"Bearer "], None), Ok(None));
        assert_eq!(access_token(&header, Some(&with)), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[b"Bearer t", b"Bearer t"], None), Err(InvalidRequest::SeveralAuthentications));
        assert_eq!(access_token(&[], Some(&twice)), Err(InvalidRequest::Repeated));
    }
}
