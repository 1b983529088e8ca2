//! Whom a certificate has to name for a client to be authenticated by it (RFC 8705 §2.1.2).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::{TbsCertificate, attr::AttributeTypeAndValue};

/// The longest value that can be registered, in bytes.
const MAX_LENGTH: usize = 1_024;
/// The types of attributes by their short names (RFC 4514 §3), and two more that certificates often have.
const TYPES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

/// The one name that the certificates of a client have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateSubject {
    #[serde(rename = "tls_client_auth_subject_dn")]
    Name(DistinguishedName),
    #[serde(rename = "tls_client_auth_san_dns")]
    Dns(String),
    #[serde(rename = "tls_client_auth_san_uri")]
    Uri(String),
    #[serde(rename = "tls_client_auth_san_ip")]
    Ip(IpAddr),
    #[serde(rename = "tls_client_auth_san_email")]
    Email(String),
}

/// Text that names no subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the subject of a certificate is a distinguished name (RFC 4514), a DNS name, a URI, an IP address or an e-mail address"
)]
pub struct MalformedSubject;

impl CertificateSubject {
    /// From the value of one of the members of RFC 8705 §2.1.2, without `tls_client_auth_`.
    pub fn parse(member: &str, value: &str) -> Result<Self, MalformedSubject> {
        let text = || {
            let is_good = (1..=MAX_LENGTH).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
            is_good.then(|| value.to_owned()).ok_or(MalformedSubject)
        };
        match member {
            "subject_dn" => value.parse().map(Self::Name),
            "san_dns" => text().map(Self::Dns),
            "san_uri" => text().map(Self::Uri),
            "san_ip" => value.parse().map(Self::Ip).map_err(|_| MalformedSubject),
            "san_email" => text().map(Self::Email),
            _ => Err(MalformedSubject),
        }
    }

    /// Whether a certificate has the name. Names are compared character by character; of DNS names, case does not count.
    pub(super) fn is_of(&self, certificate: &TbsCertificate) -> bool {
        let alternative = |is_it: &dyn Fn(&GeneralName) -> bool| {
            let extension = certificate.get_extension::<SubjectAltName>().ok().flatten();
            extension.is_some_and(|(_, names)| names.0.iter().any(is_it))
        };
        match self {
            Self::Name(name) => name.is(certificate.subject()),
            Self::Dns(dns) => alternative(
                &|name| matches!(name, GeneralName::DnsName(name) if name.as_str().eq_ignore_ascii_case(dns)),
            ),
            Self::Uri(uri) => alternative(
                &|name| matches!(name, GeneralName::UniformResourceIdentifier(name) if name.as_str() == uri),
            ),
            Self::Ip(address) => alternative(&|name| match (name, address) {
                (GeneralName::IpAddress(bytes), IpAddr::V4(address)) => bytes.as_bytes() == address.octets(),
                (GeneralName::IpAddress(bytes), IpAddr::V6(address)) => bytes.as_bytes() == address.octets(),
                _ => false,
            }),
            Self::Email(email) => {
                alternative(&|name| matches!(name, GeneralName::Rfc822Name(name) if name.as_str() == email))
            }
        }
    }
}

/// For people to read.
impl fmt::Display for CertificateSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => f.write_str(text),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A distinguished name, written as of RFC 4514: the last part first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DistinguishedName {
    text: String,
    /// In the order of certificates. Each part is a set, in ascending order.
    parts: Vec<Vec<Attribute>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute {
    kind: ObjectIdentifier,
    value: String,
}

impl DistinguishedName {
    fn is(&self, name: &Name) -> bool {
        let parts = name.iter_rdn().map(|part| part.iter().map(Attribute::read).collect::<Option<_>>().map(sorted));
        parts.collect::<Option<Vec<_>>>().is_some_and(|parts| parts == self.parts)
    }
}

impl Attribute {
    /// `None` for a value that is no text.
    fn read(attribute: &AttributeTypeAndValue) -> Option<Self> {
        let value = match attribute.value.tag() {
            Tag::Utf8String => Utf8StringRef::try_from(&attribute.value).ok()?.as_str().to_owned(),
            Tag::PrintableString => PrintableStringRef::try_from(&attribute.value).ok()?.as_str().to_owned(),
            Tag::Ia5String => Ia5StringRef::try_from(&attribute.value).ok()?.as_str().to_owned(),
            _ => return None,
        };
        Some(Self { kind: attribute.oid, value })
    }

    /// `type=value`.
    fn parse(text: &str) -> Result<Self, MalformedSubject> {
        let (kind, value) = text.split_once('=').ok_or(MalformedSubject)?;
        let kind = kind.trim();
        let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map_or(kind, |(_, kind)| kind);
        Ok(Self { kind: known.parse().map_err(|_| MalformedSubject)?, value: unescaped(value.trim_start())? })
    }
}

impl FromStr for DistinguishedName {
    type Err = MalformedSubject;

    fn from_str(text: &str) -> Result<Self, MalformedSubject> {
        if !(1..=MAX_LENGTH).contains(&text.len()) || text.chars().any(char::is_control) {
            return Err(MalformedSubject);
        }
        let part =
            |part: &str| split(part, '+').into_iter().map(Attribute::parse).collect::<Result<_, _>>().map(sorted);
        let parts = split(text, ',').into_iter().rev().map(part).collect::<Result<_, _>>()?;
        Ok(Self { text: text.into(), parts })
    }
}

impl TryFrom<String> for DistinguishedName {
    type Error = MalformedSubject;

    fn try_from(text: String) -> Result<Self, MalformedSubject> {
        text.parse()
    }
}

impl From<DistinguishedName> for String {
    fn from(name: DistinguishedName) -> Self {
        name.text
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn sorted(mut attributes: Vec<Attribute>) -> Vec<Attribute> {
    attributes.sort_unstable();
    attributes
}

/// At each separator without a backslash before it.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut from, mut escaped) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        if character == separator && !escaped {
            pieces.push(&text[from..at]);
            from = at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    pieces.push(&text[from..]);
    pieces
}

/// RFC 4514 §2.4 and §3. A value that is written as `#` and hexadecimal digits, and one without any character, is refused.
fn unescaped(text: &str) -> Result<String, MalformedSubject> {
    let mut bytes = Vec::new();
    // So much of it does not end in a space that nobody escaped.
    let mut kept = 0;
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                let escaped = rest.next().ok_or(MalformedSubject)?;
                bytes.push(match escaped {
                    b' ' | b'"' | b'#' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\' => escaped,
                    high => {
                        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(MalformedSubject);
                        let (high, low) = (digit(high)?, digit(rest.next().ok_or(MalformedSubject)?)?);
                        u8::try_from(high << 4 | low).map_err(|_| MalformedSubject)?
                    }
                });
                kept = bytes.len();
            }
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | 0 => return Err(MalformedSubject),
            b'#' if bytes.is_empty() => return Err(MalformedSubject),
            b' ' => bytes.push(b' '),
            other => {
                bytes.push(other);
                kept = bytes.len();
            }
        }
    }
    bytes.truncate(kept);
    if bytes.is_empty() { Err(MalformedSubject) } else { String::from_utf8(bytes).map_err(|_| MalformedSubject) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> Vec<Vec<(String, String)>> {
        let name: DistinguishedName = text.parse().unwrap_or_else(|_| panic!("{text} is a name"));
        let pairs = |part: Vec<Attribute>| part.into_iter().map(|one| (one.kind.to_string(), one.value)).collect();
        name.parts.into_iter().map(pairs).collect()
    }

    fn part(kind: &str, value: &str) -> Vec<(String, String)> {
        vec![(kind.into(), value.into())]
    }

    /// The examples of RFC 4514 §4, and what people write.
    #[test]
    fn distinguished_names_are_written_as_of_rfc_4514() {
        let (dc, cn, ou) = ("0.9.2342.19200300.100.1.25", "2.5.4.3", "2.5.4.11");
        assert_eq!(
            parts("UID=jsmith,DC=example,DC=net"),
            [part(dc, "net"), part(dc, "example"), part("0.9.2342.19200300.100.1.1", "jsmith")]
        );
        let both = [part(cn, "J.  Smith"), part(ou, "Sales")].concat();
        assert_eq!(parts("OU=Sales+CN=J.  Smith,DC=example"), [part(dc, "example"), both.clone()]);
        assert_eq!(parts("cn=J.  Smith+ou=Sales, dc=example"), [part(dc, "example"), both]);
        assert_eq!(parts(r#"CN=James \"Jim\" Smith\, III"#), [part(cn, r#"James "Jim" Smith, III"#)]);
        assert_eq!(parts(r"CN=Before\0dAfter"), [part(cn, "Before\rAfter")]);
        assert_eq!(parts(r"CN=Lu\C4\8Di\C4\87"), [part(cn, "Lučić")]);
        assert_eq!(parts(r"CN=a\\,OU=b\ "), [part(ou, "b "), part(cn, r"a\")]);
        assert_eq!(parts("2.5.4.3= a=b "), [part(cn, "a=b")]);
        for bad in [
            "",
            "CN",
            "CN=",
            "=a",
            "CN=a,",
            ",CN=a",
            "CN=a,,O=b",
            "X=a",
            "CN=#0401",
            "CN=a;O=b",
            "CN=\"a\"",
            "CN=a\\",
            "CN=a\\g",
            "CN=a\\4",
            "CN=\\ff",
            "CN=a\n",
            "CN=<a>",
            "CN=a+",
            "1.2.x=a",
        ] {
            assert_eq!(bad.parse::<DistinguishedName>(), Err(MalformedSubject), "{bad:?}");
        }
        assert_eq!(format!("CN={}", "a".repeat(1_022)).parse::<DistinguishedName>(), Err(MalformedSubject));
    }

    #[test]
    fn a_subject_is_kept_under_the_name_of_its_member() {
        for (member, value) in [
            ("subject_dn", "CN=a"),
            ("san_dns", "c.example"),
            ("san_uri", "spiffe://example/c"),
            ("san_ip", "2001:db8::1"),
            ("san_email", "c@example"),
        ] {
            let subject = CertificateSubject::parse(member, value).expect(value);
            let json = serde_json::json!({ format!("tls_client_auth_{member}"): value });
            assert_eq!(serde_json::to_value(&subject).expect("JSON"), json);
            assert_eq!(serde_json::from_value::<CertificateSubject>(json).expect("a subject"), subject);
            assert_eq!(CertificateSubject::parse(member, ""), Err(MalformedSubject));
        }
        for (member, value) in [("san_ip", "10.0.0.0/8"), ("san_dns", "a b"), ("san_dns", "ä"), ("x", "y")] {
            assert_eq!(CertificateSubject::parse(member, value), Err(MalformedSubject), "{member} {value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[CNO=,+\\#";<> 0-9a-fé]{0,24}"#, any in ".{0,32}") {
            let _ = text.parse::<DistinguishedName>();
            let _ = format!("CN={any}").parse::<DistinguishedName>();
        }

        #[test]
        fn what_is_escaped_is_itself(value in "[^\\p{Cc}]{1,20}") {
            let escaped = value.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
            let (one, several) = (format!("CN={escaped}"), format!("CN={escaped}+O=x,C=y"));
            prop_assert_eq!(parts(&several).len(), 2);
            prop_assert_eq!(parts(&one), [part("2.5.4.3", &value)]);
        }
    }
}
