//! Client certificates, of a connection or as a proxy that ends TLS passes them on (RFC 8705 §2 and §3.1).

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Reader as _, SliceReader};

use super::certificate_subject::CertificateSubject;
use super::client_keys::PublicKey;
use super::dpop::Thumbprint;
use super::timestamp::Timestamp;

/// The longest header that is read, in bytes.
const MAX_LENGTH: usize = 32 << 10;
/// The most names of a certificate that count.
const MAX_NAMES: usize = 64;

/// A certificate whose key the client has proven, to us or to the proxy. To bind a token to it, what it says does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(Arc<[u8]>);

impl ClientCertificate {
    /// From a header: `:base64 of DER:` (RFC 9440 §2.1), or percent-encoded PEM, as nginx writes it. `None` for anything else.
    pub fn from_header(header: &[u8]) -> Option<Self> {
        let text = str::from_utf8(header).ok().filter(|text| text.len() <= MAX_LENGTH)?.trim();
        let der = match text.strip_prefix(':') {
            Some(rest) => BASE64_STANDARD.decode(rest.strip_suffix(':')?).ok()?,
            None => from_pem(text)?,
        };
        // A DER sequence: an empty value or a piece of something else is no certificate.
        (der.len() > 2 && der[0] == 0x30).then(|| Self(der.into()))
    }

    /// That of a connection, in DER.
    pub fn of_connection(der: &[u8]) -> Self {
        Self(der.into())
    }

    /// The names that it is for: its URIs, such as SPIFFE IDs, and its hosts (RFC 5280 §4.2.1.6). Whether it is to be trusted, the
    /// handshake has said.
    pub fn names(&self) -> Vec<String> {
        let der = CertificateDer::from(&*self.0);
        let Ok(certificate) = EndEntityCert::try_from(&der) else { return Vec::new() };
        certificate.valid_uri_names().chain(certificate.valid_dns_names()).take(MAX_NAMES).map(str::to_owned).collect()
    }

    /// Its `x5t#S256` (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.0)
    }

    /// Whether it names this subject, and has not expired. That an authority says so is for the proxy to see to.
    pub fn is_of(&self, subject: &CertificateSubject, now: Timestamp) -> bool {
        self.current(now).is_some_and(|certificate| subject.is_of(certificate.tbs_certificate()))
    }

    /// Its key, unless it has expired or the key is of a kind that is not known here. Whoever signed it does not matter.
    pub fn public_key(&self, now: Timestamp) -> Option<PublicKey> {
        let certificate = self.current(now)?;
        let info = certificate.tbs_certificate().subject_public_key_info();
        let key = info.subject_public_key.as_bytes()?;
        match info.algorithm.oid {
            RSA => {
                // RSAPublicKey (RFC 8017 A.1.1).
                let mut reader = SliceReader::new(key).ok()?;
                let (n, e) = reader
                    .sequence(|fields| {
                        Ok::<_, x509_cert::der::Error>((UintRef::decode(fields)?, UintRef::decode(fields)?))
                    })
                    .ok()?;
                reader.is_finished().then(|| PublicKey::Rsa { n: n.as_bytes().into(), e: e.as_bytes().into() })
            }
            ELLIPTIC_CURVE => {
                let curve: ObjectIdentifier = info.algorithm.parameters.as_ref()?.decode_as().ok()?;
                let (form, point) = key.split_first()?;
                let (x, y) = point.split_at_checked(32)?;
                let is_plain = curve == P256 && *form == 4;
                is_plain.then_some(PublicKey::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? })
            }
            ED25519 => Some(PublicKey::Ed25519 { x: key.try_into().ok()? }),
            _ => None,
        }
    }

    /// What it says, where it is one and the time is within its validity.
    fn current(&self, now: Timestamp) -> Option<Certificate> {
        let certificate = Certificate::from_der(&self.0).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let now = u64::try_from(now.as_unix()).ok()?;
        let within = validity.not_before.to_unix_duration().as_secs()..=validity.not_after.to_unix_duration().as_secs();
        within.contains(&now).then_some(certificate)
    }
}

/// RFC 8017 A.1, RFC 5480 §2.1.1, RFC 8410 §3.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

fn from_pem(encoded: &str) -> Option<Vec<u8>> {
    // In percent-encoding, unlike in forms, a plus is a plus.
    let form = format!("pem={}", encoded.replace('+', "%2B"));
    let (_, pem) = form_urlencoded::parse(form.as_bytes()).next()?;
    let body = pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----")?.strip_suffix("-----END CERTIFICATE-----")?;
    let base64: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(base64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_certificate_are_one() {
        // DER whose base64 has a plus, a slash and padding.
        let der = [0x30, 5, 0, 0xFB, 0xEF, 0xBE, 0xFF];
        let base64 = BASE64_STANDARD.encode(der);
        assert!(base64.contains('+') && base64.contains('/') && base64.ends_with('='), "{base64}");
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let escape = |text: &str, more: &[char]| {
            let escaped = |character: char| match character {
                '\n' => "%0A".into(),
                ' ' => "%20".into(),
                other if more.contains(&other) => format!("%{:02X}", u32::from(other)),
                other => other.to_string(),
            };
            text.chars().map(escaped).collect::<Vec<_>>().concat()
        };
        let thumbprint =
            |header: &[u8]| ClientCertificate::from_header(header).map(|certificate| certificate.thumbprint());
        let expected = Some(Thumbprint::of(der));
        for header in [format!(":{base64}:"), escape(&pem, &[]), escape(&pem, &['+', '/', '='])] {
            assert_eq!(thumbprint(header.as_bytes()), expected, "{header}");
        }
        let twice = escape(&format!("{pem}{pem}"), &[]);
        for bad in ["", ":", "::", ":AAAA:", &base64, &format!(":{base64}"), &twice, "Hash=00", "\u{e9}"] {
            assert_eq!(thumbprint(bad.as_bytes()), None, "{bad}");
        }
    }
}
