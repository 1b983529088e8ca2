//! How a client says who it is (RFC 6749 §2.3): what it presented, before anybody looks whether it is true.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::client::ClientId;
use super::error::{InvalidClient, InvalidRequest, OAuthError};
use super::parameters::Parameters;

/// What a client presented.
pub struct ClientCredentials {
    pub id: ClientId,
    /// `None` where it only named itself, as public clients do.
    pub secret: Option<PresentedSecret>,
}

/// A secret that may or may not be right.
pub struct PresentedSecret(Zeroizing<String>);

impl PresentedSecret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresentedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedSecret(***)")
    }
}

impl ClientCredentials {
    /// Reads the `Authorization` headers and the form. Two ways at once are refused (RFC 6749 §2.3).
    pub fn parse(authorization: &[&[u8]], form: &Parameters) -> Result<Self, OAuthError> {
        let in_form = form.get("client_id");
        let form_secret = form.get("client_secret");
        match authorization {
            [] => Ok(Self {
                id: client_id(in_form.ok_or(InvalidClient::Missing)?)?,
                secret: form_secret.map(|secret| PresentedSecret(Zeroizing::new(secret.to_owned()))),
            }),
            [header] => {
                let credentials = Self::basic(header)?;
                if form_secret.is_some() {
                    return Err(InvalidRequest::SeveralAuthentications.into());
                }
                if in_form.is_some_and(|id| id != credentials.id.as_str()) {
                    return Err(InvalidRequest::ClientMismatch.into());
                }
                Ok(credentials)
            }
            _ => Err(InvalidRequest::SeveralAuthentications.into()),
        }
    }

    /// RFC 6749 §2.3.1: id and secret are form-urlencoded, then joined by a colon and put into base64 (RFC 7617). An
    /// empty secret is none.
    fn basic(header: &[u8]) -> Result<Self, InvalidClient> {
        let malformed = InvalidClient::MalformedHeader;
        let header = str::from_utf8(header).map_err(|_| malformed)?;
        let (scheme, encoded) = header.split_once(' ').ok_or(malformed)?;
        if !scheme.eq_ignore_ascii_case("Basic") {
            return Err(malformed);
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).map_err(|_| malformed)?);
        let text = str::from_utf8(&decoded).map_err(|_| malformed)?;
        let (id, secret) = text.split_once(':').ok_or(malformed)?;
        let secret = form_decode(secret).ok_or(malformed)?;
        Ok(Self {
            id: client_id(&form_decode(id).ok_or(malformed)?)?,
            secret: (!secret.is_empty()).then_some(PresentedSecret(secret)),
        })
    }
}

/// An id that cannot be one is an unknown client, no more.
fn client_id(text: &str) -> Result<ClientId, InvalidClient> {
    text.parse().map_err(|_| InvalidClient::Failed)
}

/// Decodes one form value (RFC 6749 Appendix B). `None` for a `%` that is not followed by two hexadecimal digits, and
/// for what is not UTF-8.
fn form_decode(text: &str) -> Option<Zeroizing<String>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            other => other,
        });
    }
    Some(Zeroizing::new(str::from_utf8(&decoded).ok()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(authorization: &[&str], form: &str) -> Result<(String, Option<String>), OAuthError> {
        let headers: Vec<&[u8]> = authorization.iter().map(|header| header.as_bytes()).collect();
        let form = Parameters::parse(form.as_bytes()).expect("few parameters");
        let credentials = ClientCredentials::parse(&headers, &form)?;
        Ok((credentials.id.to_string(), credentials.secret.map(|secret| secret.expose().to_owned())))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    #[test]
    fn t7_basic_is_decoded_as_a_form() {
        for (text, id, secret) in [
            ("app:s3cret", "app", Some("s3cret")),
            ("a%3Ab:%2B+%C3%A4", "a:b", Some("+ ä")),
            ("app:a:b", "app", Some("a:b")),
            ("app:", "app", None),
        ] {
            assert_eq!(parse(&[&basic(text)], ""), Ok((id.into(), secret.map(str::to_owned))), "{text}");
        }
        assert!(parse(&[&basic("app:x").replace("Basic", "bASIC")], "").is_ok());
    }

    #[test]
    fn t8_a_header_that_is_not_basic_is_no_authentication() {
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!",
            "Bearer x",
            &basic("no colon"),
            &basic("app:%"),
            &basic("app:%zz"),
            &basic("app:%ff"),
            "Basic\u{e9}",
        ] {
            assert_eq!(parse(&[header], ""), Err(InvalidClient::MalformedHeader.into()), "{header}");
        }
    }

    #[test]
    fn t11_t12_two_ways_at_once_are_refused() {
        let header = basic("app:x");
        assert_eq!(parse(&[&header], "client_secret=x"), Err(InvalidRequest::SeveralAuthentications.into()));
        assert_eq!(parse(&[&header, &header], ""), Err(InvalidRequest::SeveralAuthentications.into()));
        assert_eq!(parse(&[&header], "client_id=other"), Err(InvalidRequest::ClientMismatch.into()));
        assert!(parse(&[&header], "client_id=app").is_ok());
    }

    #[test]
    fn a_client_that_names_itself_in_the_form() {
        assert_eq!(parse(&[], "client_id=app"), Ok(("app".into(), None)));
        assert_eq!(parse(&[], "client_id=app&client_secret=x"), Ok(("app".into(), Some("x".into()))));
        assert_eq!(parse(&[], "client_id=app&client_secret="), Ok(("app".into(), None)));
        assert_eq!(parse(&[], ""), Err(InvalidClient::Missing.into()));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in proptest::collection::vec(any::<u8>(), 0..64), text in ".{0,32}") {
            let _ = ClientCredentials::parse(&[&header], &Parameters::default());
            let _ = ClientCredentials::parse(&[basic(&text).as_bytes()], &Parameters::default());
        }
    }
}
