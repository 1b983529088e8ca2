//! Clients: the third-party apps and resource servers that an operator or a user registered, or that registered themselves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::certificate_subject::CertificateSubject;
use super::client_keys::ClientKeys;
use super::consent::ConsentPolicy;
use super::grant::{Lifetimes, SubjectId};
use super::jwk::SigningAlgorithm;
use super::jwt_access_token::AccessTokenFormat;
use super::outgoing::OutgoingUrl;
use super::redirect_uri::RedirectUri;
use super::scope::{Scope, ScopeSet};
use super::secret::SecretHash;
use super::signing_key::AFTERLIFE;
use super::timestamp::{Timestamp, shorter};

/// The identifier of a client: 1 to 256 printable ASCII characters other than space, `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Box<str>);

/// Text that is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id has 1 to 256 printable ASCII characters")]
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
        if (1..=256).contains(&text.len()) && text.bytes().all(allowed) {
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
    Confidential { secret: SecretHash, previous: Option<PreviousSecret> },
    /// It signs assertions with a key of its own (RFC 7523 §2.2); [`ClientMetadata::jwks`] has the public half, or
    /// [`ClientMetadata::jwks_uri`] says where it is.
    Signing,
    /// Its certificate proves it to the proxy that ends TLS (RFC 8705 §2); the metadata say which.
    Certified,
}

/// The secret that a client had before it was given the present one. It is good for a while, so that a client in many places
/// can change over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    pub secret: SecretHash,
    pub until: Timestamp,
}

/// How a client authenticates (`token_endpoint_auth_method`, RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationMethod {
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    /// RFC 8705 §2.1.
    TlsClientAuth,
    /// RFC 8705 §2.2.
    SelfSignedTlsClientAuth,
    None,
}

impl AuthenticationMethod {
    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::None => "none",
        }
    }

    /// Whether it takes a certificate.
    pub const fn is_by_certificate(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }
}

/// Text that is no such method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none"
)]
pub struct UnknownMethod;

impl FromStr for AuthenticationMethod {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        let all = [
            Self::ClientSecretBasic,
            Self::ClientSecretPost,
            Self::PrivateKeyJwt,
            Self::TlsClientAuth,
            Self::SelfSignedTlsClientAuth,
            Self::None,
        ];
        all.into_iter().find(|method| method.as_str() == text).ok_or(UnknownMethod)
    }
}

/// What kind of app it is (`application_type`, OpenID Connect Dynamic Client Registration §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    Web,
    Native,
}

/// Who made a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registrar {
    Operator,
    /// It registered itself (RFC 7591).
    Itself {
        /// What it manages its registration with (RFC 7592 §3).
        access_token: SecretHash,
        /// It is deleted then, unless it gets tokens before.
        unused_until: Option<Timestamp>,
    },
    /// A user, on a page of ours.
    User {
        owner: SubjectId,
        /// When an operator said that it is what it says. What its owner changes ends that.
        verified_at: Option<Timestamp>,
    },
    /// Nobody: its id is the URL of a document that says what it is.
    Document {
        /// When the document was read.
        read_at: Timestamp,
        /// Until when that is good enough.
        fresh_until: Timestamp,
    },
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
    /// RFC 6749 §4.4.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8628 §3.4.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// RFC 8693 §2.1.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// Text that is no grant type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a grant type is authorization_code, refresh_token, client_credentials, urn:ietf:params:oauth:grant-type:device_code or \
     urn:ietf:params:oauth:grant-type:token-exchange"
)]
pub struct UnknownGrantType;

impl GrantType {
    pub const ALL: [Self; 5] =
        [Self::AuthorizationCode, Self::RefreshToken, Self::ClientCredentials, Self::DeviceCode, Self::TokenExchange];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
}

impl FromStr for GrantType {
    type Err = UnknownGrantType;

    fn from_str(text: &str) -> Result<Self, UnknownGrantType> {
        Self::ALL.into_iter().find(|grant_type| grant_type.as_str() == text).ok_or(UnknownGrantType)
    }
}

/// What a refresh does to the refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshTokenRotation {
    /// It is replaced by its successor (RFC 9700 §4.14.2).
    #[default]
    Rotate,
    /// It stays. For confidential clients, whose secret a thief of the token lacks.
    Keep,
}

/// Text that is no such policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is rotate or keep")]
pub struct UnknownRotation;

impl RefreshTokenRotation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Keep => "keep",
        }
    }

    /// Whether it needs no mention.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    fn is_usual(&self) -> bool {
        *self == Self::Rotate
    }
}

impl FromStr for RefreshTokenRotation {
    type Err = UnknownRotation;

    fn from_str(text: &str) -> Result<Self, UnknownRotation> {
        [Self::Rotate, Self::Keep].into_iter().find(|policy| policy.as_str() == text).ok_or(UnknownRotation)
    }
}

/// What a client registered beside the rest: the names are those of RFC 7591 §2 and the extensions that add to it. Every member
/// has a default, so that what was written earlier can be read later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "its members are those of the standards")]
pub struct ClientMetadata {
    pub grant_types: Vec<GrantType>,
    /// The configuration names it, so nobody changes it elsewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub built_in: bool,
    /// The resources that it is (RFC 8707): it may introspect the access tokens that are meant for them. For operators to say, never
    /// for the client itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Box<str>>,
    /// Whether its users are asked. For operators to say, never for the client itself.
    #[serde(skip_serializing_if = "ConsentPolicy::is_usual")]
    pub consent: ConsentPolicy,
    /// The scopes that it is of no use without: users allow them with the rest, or deny all. For operators to say, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_scopes: Vec<Scope>,
    /// It has to push its authorization requests (RFC 9126 §6).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed_authorization_requests: bool,
    /// It gets tokens only with a DPoP proof (RFC 9449 §5.2).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens: bool,
    /// It gets tokens only with its certificate, and bound to it (RFC 8705 §3.4).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// The only method that it may authenticate by. `None`: by its secret, however it is sent, or, if public, not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<AuthenticationMethod>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<ApplicationType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Never fetched from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<ClientKeys>,
    /// Whom its certificate names, with `tls_client_auth`.
    #[serde(flatten)]
    pub certificate_subject: Option<CertificateSubject>,
    /// Where its keys are, when they are not in `jwks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<OutgoingUrl>,
    /// Where it is told that a user was signed out (OpenID Connect Back-Channel Logout §2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<OutgoingUrl>,
    /// It has to be told which session has ended, not only whose.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backchannel_logout_session_required: bool,
    /// Lifetimes in seconds; `None`: as configured for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_idle_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_absolute_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "RefreshTokenRotation::is_usual")]
    pub refresh_token_rotation: RefreshTokenRotation,
    /// For operators to say, and for the client itself where they let it.
    #[serde(skip_serializing_if = "AccessTokenFormat::is_usual")]
    pub access_token_format: AccessTokenFormat,
    /// Where its users sign in with `login.method = "challenge"`; `None`: where all do. For operators to say, never for the client itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_url: Option<OutgoingUrl>,
    /// How introspection answers to it are signed if it asks for that (RFC 9701 §6). `None`: as everything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_signed_response_alg: Option<SigningAlgorithm>,
}

impl Default for ClientMetadata {
    fn default() -> Self {
        Self {
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            built_in: false,
            resources: Vec::new(),
            consent: ConsentPolicy::Configured,
            required_scopes: Vec::new(),
            require_pushed_authorization_requests: false,
            dpop_bound_access_tokens: false,
            tls_client_certificate_bound_access_tokens: false,
            token_endpoint_auth_method: None,
            application_type: None,
            client_uri: None,
            logo_uri: None,
            tos_uri: None,
            policy_uri: None,
            contacts: Vec::new(),
            software_id: None,
            software_version: None,
            jwks: None,
            certificate_subject: None,
            jwks_uri: None,
            backchannel_logout_uri: None,
            backchannel_logout_session_required: false,
            access_token_lifetime: None,
            refresh_token_idle_lifetime: None,
            refresh_token_absolute_lifetime: None,
            refresh_token_rotation: RefreshTokenRotation::Rotate,
            access_token_format: AccessTokenFormat::Opaque,
            login_url: None,
            introspection_signed_response_alg: None,
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
    pub registrar: Registrar,
    /// When it last got tokens, to the day.
    pub last_used_at: Option<Timestamp>,
}

impl Client {
    pub fn is_confidential(&self) -> bool {
        !matches!(self.client_type, ClientType::Public)
    }

    /// Whether an operator vouches for it.
    pub fn is_verified(&self) -> bool {
        matches!(self.registrar, Registrar::Operator | Registrar::User { verified_at: Some(_), .. })
    }

    /// The user who made it, if one did.
    pub fn owner(&self) -> Option<&SubjectId> {
        match &self.registrar {
            Registrar::User { owner, .. } => Some(owner),
            Registrar::Operator | Registrar::Itself { .. } | Registrar::Document { .. } => None,
        }
    }

    /// How it authenticates; for one that may send its secret either way, the better one.
    pub fn authentication_method(&self) -> AuthenticationMethod {
        match self.client_type {
            ClientType::Public => AuthenticationMethod::None,
            ClientType::Signing => AuthenticationMethod::PrivateKeyJwt,
            ClientType::Certified => {
                self.metadata.token_endpoint_auth_method.unwrap_or(AuthenticationMethod::TlsClientAuth)
            }
            ClientType::Confidential { .. } => {
                self.metadata.token_endpoint_auth_method.unwrap_or(AuthenticationMethod::ClientSecretBasic)
            }
        }
    }

    /// Whether it may come by tokens this way.
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.metadata.grant_types.contains(&grant_type)
    }

    /// How long its tokens live, where it has lifetimes of its own. What is signed lives no longer than its key stays published.
    pub fn lifetimes(&self, configured: &Lifetimes) -> Lifetimes {
        let ClientMetadata {
            access_token_lifetime, refresh_token_idle_lifetime, refresh_token_absolute_lifetime, ..
        } = self.metadata;
        let access_token = access_token_lifetime.unwrap_or(configured.access_token);
        Lifetimes {
            access_token: match self.metadata.access_token_format {
                AccessTokenFormat::Opaque => access_token,
                AccessTokenFormat::Jwt => shorter(access_token, AFTERLIFE),
            },
            refresh_token_idle: refresh_token_idle_lifetime.unwrap_or(configured.refresh_token_idle),
            refresh_token_absolute: refresh_token_absolute_lifetime.unwrap_or(configured.refresh_token_absolute),
            ..*configured
        }
    }

    /// Whether a user can only allow it this scope or deny it everything.
    pub fn requires(&self, scope: &str) -> bool {
        self.metadata.required_scopes.iter().any(|required| required.as_str() == scope)
    }

    /// What a refresh does to its refresh token. That of a public client is always replaced: nothing else tells that it was
    /// stolen (RFC 9700 §2.2.2).
    pub fn rotation(&self) -> RefreshTokenRotation {
        if self.is_confidential() { self.metadata.refresh_token_rotation } else { RefreshTokenRotation::Rotate }
    }
}
