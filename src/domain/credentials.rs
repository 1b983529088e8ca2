//! How a client says who it is (RFC 6749 §2.3, RFC 7521 §4.2): what it presented, before anybody looks whether it is true.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::client::{AuthenticationMethod, ClientId};
use super::client_assertion::{ASSERTION_TYPE, ClientAssertion, InvalidAssertion};
use super::error::{InvalidClient, InvalidRequest, OAuthError};
use super::parameters::Parameters;

/// What a client presented.
pub struct ClientCredentials {
    pub id: ClientId,
    pub proof: Proof,
}

/// By what it says that it is who it says.
#[derive(Debug)]
pub enum Proof {
    /// It only named itself, as public clients do.
    None,
    Secret {
        secret: PresentedSecret,
        /// Basic or post.
        sent_by: AuthenticationMethod,
    },
    Assertion(Box<ClientAssertion>),
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

/// What happens to a secret that comes twice, in the header and in the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedCredentials {
    /// It is refused (RFC 6749 §2.3).
    Refuse,
    /// It counts as one, if both are the same.
    IfEqual,
}

impl Proof {
    /// How the client authenticates by it; `None` for one that only named itself, or shows a certificate.
    pub fn method(&self) -> Option<AuthenticationMethod> {
        match self {
            Self::None => None,
            Self::Secret { sent_by, .. } => Some(*sent_by),
            Self::Assertion(_) => Some(AuthenticationMethod::PrivateKeyJwt),
        }
    }
}

impl ClientCredentials {
    /// Reads the `Authorization` headers and the form. Two ways at once are refused (RFC 6749 §2.3), unless they agree and may.
    pub fn parse(
        authorization: &[&[u8]],
        form: &Parameters,
        repeated: RepeatedCredentials,
    ) -> Result<Self, OAuthError> {
        let in_form = form.get("client_id");
        let form_secret = form.get("client_secret");
        let assertion = (form.get("client_assertion"), form.get("client_assertion_type"));
        let credentials = match (authorization, form_secret, assertion) {
            ([], None, (None, None)) => {
                return Ok(Self { id: client_id(in_form.ok_or(InvalidClient::Missing)?)?, proof: Proof::None });
            }
            ([], Some(secret), (None, None)) => Self {
                id: client_id(in_form.ok_or(InvalidClient::Missing)?)?,
                proof: Proof::Secret {
                    secret: PresentedSecret(Zeroizing::new(secret.to_owned())),
                    sent_by: AuthenticationMethod::ClientSecretPost,
                },
            },
            ([header], None, (None, None)) => Self::basic(header)?,
            ([header], Some(secret), (None, None)) if repeated == RepeatedCredentials::IfEqual => {
                return Self::basic(header)?.agreeing(in_form, secret);
            }
            ([], None, (Some(assertion), Some(ASSERTION_TYPE))) => Self::assertion(assertion)?,
            ([], None, _) => return Err(InvalidClient::Assertion(InvalidAssertion::Type).into()),
            _ => return Err(InvalidRequest::SeveralAuthentications.into()),
        };
        if in_form.is_some_and(|id| id != credentials.id.as_str()) {
            return Err(InvalidRequest::ClientMismatch.into());
        }
        Ok(credentials)
    }

    /// Itself, if the form says the same.
    fn agreeing(self, id: Option<&str>, secret: &str) -> Result<Self, OAuthError> {
        if id.is_some_and(|id| id != self.id.as_str()) {
            return Err(InvalidRequest::ClientMismatch.into());
        }
        match &self.proof {
            Proof::Secret { secret: in_header, .. } if in_header.expose() == secret => Ok(self),
            _ => Err(InvalidRequest::SecretMismatch.into()),
        }
    }

    /// RFC 7521 §4.2: the assertion names the client, so `client_id` may be missing.
    fn assertion(assertion: &str) -> Result<Self, InvalidClient> {
        let assertion = ClientAssertion::parse(assertion)?;
        Ok(Self { id: assertion.client().clone(), proof: Proof::Assertion(Box::new(assertion)) })
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
            proof: if secret.is_empty() {
                Proof::None
            } else {
                Proof::Secret { secret: PresentedSecret(secret), sent_by: AuthenticationMethod::ClientSecretBasic }
            },
        })
    }
}

/// An id that cannot be one is an unknown client, no more.
fn client_id(text: &str) -> Result<ClientId, InvalidClient> {
    text.parse().map_err(|_| InvalidClient::Unknown)
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
        let credentials = ClientCredentials::parse(&headers, &form, RepeatedCredentials::Refuse)?;
        let secret = match credentials.proof {
            Proof::Secret { secret, .. } => Some(secret.expose().to_owned()),
            Proof::None | Proof::Assertion(_) => None,
        };
        Ok((credentials.id.to_string(), secret))
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
        for form in ["client_assertion=x", "client_assertion_type=x", "client_assertion=x&client_secret=x"] {
            assert_eq!(parse(&[&header], form), Err(InvalidRequest::SeveralAuthentications.into()), "{form}");
        }
        let both = "client_id=app&client_secret=x&client_assertion=x";
        assert_eq!(parse(&[], both), Err(InvalidRequest::SeveralAuthentications.into()));
    }

    #[test]
    fn a_secret_that_comes_twice_counts_as_one_where_it_may_and_is_the_same() {
        let header = basic("app:x");
        let parsed = |form: &str| {
            let form = Parameters::parse(form.as_bytes()).expect("few parameters");
            let credentials = ClientCredentials::parse(&[header.as_bytes()], &form, RepeatedCredentials::IfEqual)?;
            Ok(credentials.proof.method())
        };
        let mismatch = |cause: InvalidRequest| Err(OAuthError::from(cause));
        for (form, expected) in [
            ("client_secret=x", Ok(Some(AuthenticationMethod::ClientSecretBasic))),
            ("client_id=app&client_secret=x", Ok(Some(AuthenticationMethod::ClientSecretBasic))),
            ("client_id=app&client_secret=y", mismatch(InvalidRequest::SecretMismatch)),
            ("client_id=other&client_secret=x", mismatch(InvalidRequest::ClientMismatch)),
            ("client_id=other", mismatch(InvalidRequest::ClientMismatch)),
            ("client_secret=x&client_assertion=y", mismatch(InvalidRequest::SeveralAuthentications)),
        ] {
            assert_eq!(parsed(form), expected, "{form}");
        }
    }

    #[test]
    fn t23_an_assertion_comes_with_its_type() {
        for form in [
            "client_assertion=x",
            "client_assertion=x&client_assertion_type=x",
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        ] {
            assert_eq!(parse(&[], form), Err(InvalidClient::Assertion(InvalidAssertion::Type).into()), "{form}");
        }
        let malformed =
            "client_assertion=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(parse(&[], malformed), Err(InvalidClient::Assertion(InvalidAssertion::Malformed).into()));
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
            let refuse = RepeatedCredentials::Refuse;
            let _ = ClientCredentials::parse(&[&header], &Parameters::default(), refuse);
            let _ = ClientCredentials::parse(&[basic(&text).as_bytes()], &Parameters::default(), refuse);
        }
    }
}
