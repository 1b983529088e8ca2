//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document): a `client_id` that is the URL of a document in which
//! the app says what it would otherwise register.
//!
//! Whoever controls the URL is the client, and nobody here has checked who that is. The same rules hold as for a registration; what
//! an app says for other servers, such as grant types and scopes that are not for it here, is left out instead of being refused.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::client::{AuthenticationMethod, ClientId};
use super::json::object;
use super::outgoing::OutgoingUrl;
use super::registration::{Registration, RegistrationError};
use super::scope::ScopeSet;

/// The longest document, in bytes: what the draft recommends.
pub const MAX_DOCUMENT: usize = 5 << 10;

/// Whose documents are read, and how often.
#[derive(Clone, Debug)]
pub struct DocumentPolicy {
    /// The hosts of the URLs. Empty: any.
    pub hosts: Vec<String>,
    /// How many documents are read for one address in an hour.
    pub per_hour: u32,
}

/// A `client_id` that is the URL of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentUrl {
    pub client: ClientId,
    pub url: OutgoingUrl,
}

/// A `client_id` that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("such a client_id is an https URL with a path and without dot segments, in its normal form")]
pub struct NoDocumentUrl;

/// Why a document makes nobody a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    #[error("the answer is not 200")]
    Status,
    #[error("the answer is not application/json")]
    MediaType,
    #[error("the document is no JSON object")]
    Malformed,
    #[error("client_id in the document is not the URL of the document")]
    ClientId,
    #[error("the document has a client secret, or says that there is one")]
    Secret,
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

impl DocumentUrl {
    /// Its host, and the port where it is not the usual one.
    pub fn host(&self) -> String {
        let url = self.url.parsed();
        let host = url.host_str().unwrap_or_default();
        url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl FromStr for DocumentUrl {
    type Err = NoDocumentUrl;

    /// What a parser would write differently is refused: a default port, dot segments however they are encoded, capitals in the host.
    fn from_str(text: &str) -> Result<Self, NoDocumentUrl> {
        let url: OutgoingUrl = text.parse().map_err(|_| NoDocumentUrl)?;
        let parsed = url.parsed();
        if !url.is_https() || parsed.path() == "/" || parsed.as_str() != text {
            return Err(NoDocumentUrl);
        }
        Ok(Self { client: text.parse().map_err(|_| NoDocumentUrl)?, url })
    }
}

/// Reads a document that was at `url`. `allowed` are the scopes that clients may register.
pub fn parse(url: &DocumentUrl, body: &[u8], allowed: &ScopeSet) -> Result<Registration, InvalidDocument> {
    let mut document: Map<String, Value> = object(body).ok_or(InvalidDocument::Malformed)?;
    if document.get("client_id").and_then(Value::as_str) != Some(url.client.as_str()) {
        return Err(InvalidDocument::ClientId);
    }
    if ["client_secret", "client_secret_expires_at"].iter().any(|member| document.contains_key(*member)) {
        return Err(InvalidDocument::Secret);
    }
    let method = document.entry("token_endpoint_auth_method").or_insert(AuthenticationMethod::None.as_str().into());
    let is_secret = |method: &str| method.starts_with("client_secret");
    if method.is_null() || method.as_str().is_some_and(is_secret) {
        return Err(InvalidDocument::Secret);
    }
    keep(&mut document, "grant_types", &["authorization_code", "refresh_token"]);
    keep(&mut document, "response_types", &["code"]);
    if let Some(Value::String(scope)) = document.get_mut("scope") {
        let known: Vec<&str> = scope.split(' ').filter(|scope| allowed.contains(scope)).collect();
        *scope = known.join(" ");
    }
    let body = serde_json::to_vec(&document).map_err(|_| InvalidDocument::Malformed)?;
    Ok(Registration::parse(&body, allowed)?)
}

/// Leaves the others out of a list.
fn keep(document: &mut Map<String, Value>, member: &str, known: &[&str]) {
    if let Some(Value::Array(values)) = document.get_mut(member) {
        values.retain(|value| known.iter().any(|known| value == known));
    }
}

#[cfg(test)]
mod tests {
    use super::InvalidDocument as Because;
    use super::*;
    use crate::domain::client::{ClientMetadata, GrantType};
    use proptest::prelude::*;
    use serde_json::json;

    const URL: &str = "https://app.example/client.json";

    fn parse(other: &Value) -> Result<Registration, InvalidDocument> {
        let mut document = json!({ "client_id": URL, "redirect_uris": ["https://app.example/cb"] });
        for (name, value) in other.as_object().expect("an object") {
            document[name] = value.clone();
        }
        super::parse(&URL.parse().expect("a URL"), document.to_string().as_bytes(), &"a b".parse().expect("scopes"))
    }

    #[test]
    fn which_client_ids_are_urls_of_documents() {
        for (good, host) in [
            (URL, "app.example"),
            ("https://app.example:8443/a/b?c=d", "app.example:8443"),
            ("https://192.0.2.1/x", "192.0.2.1"),
            ("https://[2001:db8::1]:1/x", "[2001:db8::1]:1"),
        ] {
            assert_eq!(good.parse::<DocumentUrl>().map(|url| url.host()), Ok(host.to_owned()), "{good}");
        }
        for bad in [
            "app",
            "http://app.example/x",
            "https://app.example",
            "https://app.example/",
            "https://app.example:443/x",
            "https://APP.example/x",
            "https://app.example/./x",
            "https://app.example/a/../x",
            "https://app.example/a/..",
            "https://app.example/%2e%2E/x",
            "https://app.example/x#y",
            "https://app.example/x#",
            "https://u@app.example/x",
            "https://u:p@app.example/x",
            "https://app.example\\x",
            "https://0x7f.1/x",
            "https://app.example/\u{e4}",
            &format!("https://app.example/{}", "x".repeat(256)),
        ] {
            assert_eq!(bad.parse::<DocumentUrl>(), Err(NoDocumentUrl), "{bad}");
        }
    }

    #[test]
    fn what_is_meant_for_other_servers_is_left_out() {
        let registration = parse(&json!({
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code", "code id_token"],
            "scope": "a admin",
        }));
        let registration = registration.expect("a good document");
        assert_eq!(registration.scopes.as_str(), "a");
        let metadata = registration.metadata(ClientMetadata::default());
        assert_eq!(metadata.grant_types, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
        let plain = parse(&json!({})).expect("a good document");
        assert_eq!((plain.method, plain.scopes.as_str()), (AuthenticationMethod::None, "a b"));
    }

    #[test]
    fn what_makes_nobody_a_client() {
        for (other, because) in [
            (json!({ "client_id": "https://app.example/client.json?" }), Because::ClientId),
            (json!({ "client_id": null }), Because::ClientId),
            (json!({ "client_id": [URL] }), Because::ClientId),
            (json!({ "client_secret": "x" }), Because::Secret),
            (json!({ "client_secret_expires_at": 0 }), Because::Secret),
            (json!({ "token_endpoint_auth_method": "client_secret_basic" }), Because::Secret),
            (json!({ "token_endpoint_auth_method": "client_secret_post" }), Because::Secret),
            (json!({ "token_endpoint_auth_method": "client_secret_jwt" }), Because::Secret),
            // Where nothing is said, it is client_secret_basic (RFC 7591 section 2).
            (json!({ "token_endpoint_auth_method": null }), Because::Secret),
        ] {
            assert_eq!(parse(&other), Err(because), "{other}");
        }
        for other in [
            json!({ "token_endpoint_auth_method": "private_key_jwt" }),
            json!({ "token_endpoint_auth_method": 1 }),
            json!({ "redirect_uris": [] }),
            json!({ "redirect_uris": ["http://app.example/cb"] }),
            json!({ "redirect_uris": ["javascript:alert(1)"] }),
            json!({ "grant_types": ["client_credentials"] }),
            json!({ "response_types": ["token"] }),
            json!({ "scope": "admin" }),
            json!({ "client_name": "Bank\u{202e}knaB" }),
        ] {
            let refused = parse(&other);
            assert!(matches!(refused, Err(Because::Registration(_))), "{other} {refused:?}");
        }
        for body in [&b""[..], b"[]", b"null", b"\xff", b"{"] {
            let parsed = super::parse(&URL.parse().expect("a URL"), body, &ScopeSet::default());
            assert_eq!(parsed, Err(Because::Malformed));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in ".{0,32}") {
            let _ = super::parse(&URL.parse().expect("a URL"), &bytes, &ScopeSet::default());
            let _ = parse(&json!({ "grant_types": text, "scope": text, "token_endpoint_auth_method": text }));
            let _ = text.parse::<DocumentUrl>();
            let _ = format!("https://{text}").parse::<DocumentUrl>();
        }
    }
}
