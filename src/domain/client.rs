//! Clients: the third-party apps and resource servers that an operator registered.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::redirect_uri::RedirectUri;
use super::scope::ScopeSet;
use super::secret::SecretHash;
use super::timestamp::Timestamp;

/// The identifier of a client: 1 to 128 printable ASCII characters other than space, `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Box<str>);

/// Text that is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id has 1 to 128 printable ASCII characters")]
pub struct MalformedClientId;

impl ClientId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = MalformedClientId;

    fn from_str(text: &str) -> Result<Self, MalformedClientId> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(MalformedClientId)
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a client proves who it is (RFC 6749 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// It cannot keep a secret: an app on a phone or in a browser.
    Public,
    /// It has a secret.
    Confidential { secret: SecretHash },
}

/// Which tokens a client may introspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introspects {
    /// Those that were issued to it.
    Own,
    /// Every one: it is a resource server.
    Any,
}

/// How a client comes by tokens (`grant_types`, RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantType {
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    #[serde(rename = "refresh_token")]
    RefreshToken,
}

/// What a client registered beside the rest: the names are those of RFC 7591 §2 and the extensions that add to it. Every member
/// has a default, so that what was written earlier can be read later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientMetadata {
    pub grant_types: Vec<GrantType>,
    /// The resources that it is (RFC 8707): it may introspect the access tokens that are meant for them. For operators to say, never
    /// for the client itself.
    pub resources: Vec<Box<str>>,
    /// It has to push its authorization requests (RFC 9126 §6).
    pub require_pushed_authorization_requests: bool,
    /// It gets tokens only with a DPoP proof (RFC 9449 §5.2).
    pub dpop_bound_access_tokens: bool,
    /// It gets tokens only with its certificate, and bound to it (RFC 8705 §3.4).
    pub tls_client_certificate_bound_access_tokens: bool,
}

impl Default for ClientMetadata {
    fn default() -> Self {
        Self {
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            resources: Vec::new(),
            require_pushed_authorization_requests: false,
            dpop_bound_access_tokens: false,
            tls_client_certificate_bound_access_tokens: false,
        }
    }
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: ClientId,
    /// For people to read.
    pub name: String,
    pub client_type: ClientType,
    pub redirect_uris: Vec<RedirectUri>,
    /// What it may ask for.
    pub scopes: ScopeSet,
    pub introspects: Introspects,
    pub metadata: ClientMetadata,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

impl Client {
    pub fn is_confidential(&self) -> bool {
        matches!(self.client_type, ClientType::Confidential { .. })
    }

    /// Whether it may come by tokens this way.
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.metadata.grant_types.contains(&grant_type)
    }
}
