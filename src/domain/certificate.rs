//! Client certificates, as a proxy that ends TLS passes them on (RFC 8705 §3.1).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::dpop::Thumbprint;

/// The longest header that is read, in bytes.
const MAX_LENGTH: usize = 32 << 10;

/// A certificate whose key the client has proven to the proxy. To bind a token to it, what it says does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(Vec<u8>);

impl ClientCertificate {
    /// From a header: `:base64 of DER:` (RFC 9440 §2.1), or percent-encoded PEM, as nginx writes it. `None` for anything else.
    pub fn from_header(header: &[u8]) -> Option<Self> {
        let text = str::from_utf8(header).ok().filter(|text| text.len() <= MAX_LENGTH)?.trim();
        let der = match text.strip_prefix(':') {
            Some(rest) => BASE64_STANDARD.decode(rest.strip_suffix(':')?).ok()?,
            None => from_pem(text)?,
        };
        // A DER sequence: an empty value or a piece of something else is no certificate.
        (der.len() > 2 && der[0] == 0x30).then_some(Self(der))
    }

    /// Its `x5t#S256` (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.0)
    }
}

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
