//! Dynamic registration (RFC 7591, RFC 7592): what an app may say about itself, and who may register.
//!
//! Of what is written here, `jwks_uri` alone is ever fetched, and nothing that an app says about itself makes it more than a client whose
//! users decide: it gets no grant type that works without them.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::certificate_subject::CertificateSubject;
use super::client::{ApplicationType, AuthenticationMethod, ClientMetadata, GrantType};
use super::client_document::DocumentPolicy;
use super::client_keys::{ClientKeys, InvalidKeys};
use super::json::object;
use super::jwk::SigningAlgorithm;
use super::jwt_access_token::AccessTokenFormat;
use super::outgoing::OutgoingUrl;
use super::redirect_uri::{InvalidRedirectUri, MAX_REDIRECT_URI_LENGTH, RedirectUri, is_out_of_band};
use super::scope::ScopeSet;
use super::secret::SecretHash;

const MAX_REDIRECT_URIS: usize = 20;
const MAX_CONTACTS: usize = 10;
/// The longest name, contact or software id, in characters.
const MAX_TEXT_LENGTH: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION_LENGTH: usize = 1_000;

/// Who may register a client, and how much there may be.
#[derive(Clone, Debug)]
pub struct RegistrationPolicy {
    pub gate: Gate,
    /// What clients that register themselves may ask for.
    pub scopes: ScopeSet,
    /// How many of them there may be.
    pub max_clients: u32,
    /// One that gets no token for so long after its registration is deleted, in seconds.
    pub unused_lifetime: u32,
    /// Whether clients are taken for whom a document says that they are; `None`: they are not.
    pub documents: Option<DocumentPolicy>,
    /// Whether they may say that their access tokens are JSON Web Tokens.
    pub jwt_access_tokens: bool,
}

/// Who may register a client.
#[derive(Clone, Debug)]
pub enum Gate {
    Nobody,
    /// Whoever has the initial access token (RFC 7591 §3).
    Token(SecretHash),
    /// Everybody, so many times an hour from one address.
    Everybody {
        per_hour: u32,
    },
}

/// Why a registration is refused. `Display` is the `error_description`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    #[error("clients do not register themselves here")]
    Off,
    #[error("an access token is required: Authorization: Bearer")]
    TokenMissing,
    #[error("the access token is wrong, or the client is gone")]
    TokenInvalid,
    #[error("too many clients were registered from this address: try again later")]
    TooOften,
    #[error("there are too many clients: try again later")]
    Full,
    #[error(transparent)]
    InvalidRedirectUri(#[from] InvalidRedirectUri),
    #[error("redirect_uris has 1 to {MAX_REDIRECT_URIS} redirect URIs")]
    RedirectUris,
    #[error("a private-use scheme is for native apps: application_type native, or token_endpoint_auth_method none")]
    PrivateUseScheme,
    #[error(transparent)]
    InvalidClientMetadata(#[from] InvalidClientMetadata),
}

impl RegistrationError {
    /// The code of RFC 7591 §3.2.2, RFC 6750 §3.1 or RFC 6749 §4.1.2.1.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off => "invalid_request",
            Self::TokenMissing | Self::TokenInvalid => "invalid_token",
            Self::TooOften | Self::Full => "temporarily_unavailable",
            Self::InvalidRedirectUri(_) | Self::RedirectUris | Self::PrivateUseScheme => "invalid_redirect_uri",
            Self::InvalidClientMetadata(_) => "invalid_client_metadata",
        }
    }
}

/// What is wrong with what an app says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClientMetadata {
    #[error("the body is a JSON object with the members of RFC 7591 section 2, each once and of its type")]
    Malformed,
    #[error("{0} has 1 to {MAX_TEXT_LENGTH} characters that can be seen")]
    Text(&'static str),
    #[error("{0} is an https URL")]
    Url(&'static str),
    #[error("the description has at most {MAX_DESCRIPTION_LENGTH} characters that can be seen")]
    Description,
    #[error("there are more than {MAX_CONTACTS} contacts")]
    Contacts,
    #[error("token_endpoint_auth_method is one of token_endpoint_auth_methods_supported of the metadata")]
    AuthenticationMethod,
    #[error("token_endpoint_auth_method stays of its kind: a secret, keys or none")]
    AuthenticationKind,
    #[error("grant_types has authorization_code, and refresh_token or nothing beside it")]
    GrantTypes,
    #[error("response_types is code alone")]
    ResponseTypes,
    #[error("scope has a scope that clients may not register")]
    Scope,
    #[error(transparent)]
    Keys(#[from] InvalidKeys),
    #[error("private_key_jwt requires jwks or jwks_uri, and self_signed_tls_client_auth jwks")]
    KeysMissing,
    #[error("tls_client_auth requires one of the tls_client_auth members of RFC 8705 section 2.1.2")]
    CertificateSubject,
    #[error("access_token_format is opaque")]
    AccessTokenFormat,
    #[error("introspection_signed_response_alg is the algorithm in introspection_signing_alg_values_supported")]
    IntrospectionAlgorithm,
    #[error("jwks_uri is not fetched here: send the keys as jwks")]
    JwksUri,
    #[error("keys come as jwks or from jwks_uri, not both (RFC 7591 section 2)")]
    KeysTwice,
    #[error("client_id is that of the client, and client_secret, if it is sent, its secret (RFC 7592 section 2.2)")]
    Identity,
    #[error("what the server issued is not sent back, other than client_id and client_secret (RFC 7592 section 2.2)")]
    Issued,
}

/// What an app says about itself, valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub name: Option<String>,
    pub redirect_uris: Vec<RedirectUri>,
    pub scopes: ScopeSet,
    pub method: AuthenticationMethod,
    /// How its access tokens shall be written, if it says so. Whether it may is for [`RegistrationPolicy`] to say.
    pub access_token_format: Option<AccessTokenFormat>,
    /// Which algorithm it wants introspection answers signed by (RFC 9701 §6).
    pub introspection_signed_response_alg: Option<SigningAlgorithm>,
    metadata: ClientMetadata,
}

/// What a user says about an app, as it was typed.
pub struct UserApp<'a> {
    pub name: Option<&'a str>,
    pub site: Option<&'a str>,
    pub redirect_uris: Vec<&'a str>,
    pub scopes: Vec<&'a str>,
    /// It cannot keep a secret.
    pub public: bool,
}

/// What somebody says about an app over an API that is laxer than RFC 7591.
#[derive(Clone, Debug, Default)]
pub struct AppDraft {
    pub name: String,
    pub website: Option<String>,
    pub description: Option<String>,
    pub redirect_uris: Vec<String>,
    pub scopes: Vec<String>,
    /// It cannot keep a secret.
    pub public: bool,
}

/// A change of a registration, with what it says to know of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationChange {
    pub client_id: String,
    pub client_secret: Option<SecretHash>,
    pub registration: Registration,
}

/// The members of RFC 7591 §2, RFC 9126 §6, RFC 9449 §5.2, RFC 8705 §2.1.2 and §3.4 and RFC 9701 §6 that mean something here; others are ignored, and so are a `client_id` that an app would like to have
/// and a software statement, which nobody here could verify.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    redirect_uris: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    application_type: Option<ApplicationType>,
    client_name: Option<String>,
    client_uri: Option<String>,
    logo_uri: Option<String>,
    tos_uri: Option<String>,
    policy_uri: Option<String>,
    scope: Option<String>,
    contacts: Option<Vec<String>>,
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    software_id: Option<String>,
    software_version: Option<String>,
    require_pushed_authorization_requests: Option<bool>,
    dpop_bound_access_tokens: Option<bool>,
    backchannel_logout_uri: Option<String>,
    backchannel_logout_session_required: Option<bool>,
    tls_client_certificate_bound_access_tokens: Option<bool>,
    tls_client_auth_subject_dn: Option<String>,
    tls_client_auth_san_dns: Option<String>,
    tls_client_auth_san_uri: Option<String>,
    tls_client_auth_san_ip: Option<String>,
    tls_client_auth_san_email: Option<String>,
    access_token_format: Option<String>,
    introspection_signed_response_alg: Option<String>,
    /// It may have no redirect URI yet. Nobody says so in JSON.
    #[serde(skip)]
    waits_for_redirect_uris: bool,
}

impl Document {
    /// RFC 8705 §2.1.2: exactly one where the method needs it; for others, they mean nothing.
    fn certificate_subject(
        &self,
        method: AuthenticationMethod,
    ) -> Result<Option<CertificateSubject>, InvalidClientMetadata> {
        if method != AuthenticationMethod::TlsClientAuth {
            return Ok(None);
        }
        let members = [
            ("subject_dn", &self.tls_client_auth_subject_dn),
            ("san_dns", &self.tls_client_auth_san_dns),
            ("san_uri", &self.tls_client_auth_san_uri),
            ("san_ip", &self.tls_client_auth_san_ip),
            ("san_email", &self.tls_client_auth_san_email),
        ];
        let mut said = members.into_iter().filter_map(|(member, value)| Some((member, value.as_deref()?)));
        match (said.next(), said.next()) {
            (Some((member, value)), None) => CertificateSubject::parse(member, value).ok().map(Some),
            _ => None,
        }
        .ok_or(InvalidClientMetadata::CertificateSubject)
    }
}

/// RFC 7592 §2.2.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Identity {
    client_id: Option<String>,
    client_secret: Option<String>,
    registration_access_token: Option<Value>,
    registration_client_uri: Option<Value>,
    client_secret_expires_at: Option<Value>,
    client_id_issued_at: Option<Value>,
}

impl Registration {
    /// Whether its keys would have to be fetched.
    pub fn names_keys(&self) -> bool {
        self.metadata.jwks_uri.is_some()
    }

    /// Reads a client registration request (RFC 7591 §3.1). `allowed` are the scopes that clients may register.
    pub fn parse(body: &[u8], allowed: &ScopeSet) -> Result<Self, RegistrationError> {
        Self::validate(json(body)?, allowed)
    }

    /// What goes into the metadata of the client; what it cannot say itself stays as it is.
    pub fn metadata(&self, mut present: ClientMetadata) -> ClientMetadata {
        let said = self.metadata.clone();
        present.grant_types = said.grant_types;
        present.token_endpoint_auth_method = said.token_endpoint_auth_method;
        present.application_type = said.application_type;
        present.client_uri = said.client_uri;
        present.logo_uri = said.logo_uri;
        present.tos_uri = said.tos_uri;
        present.policy_uri = said.policy_uri;
        present.contacts = said.contacts;
        present.software_id = said.software_id;
        present.software_version = said.software_version;
        present.jwks = said.jwks;
        present.certificate_subject = said.certificate_subject;
        present.jwks_uri = said.jwks_uri;
        present.require_pushed_authorization_requests = said.require_pushed_authorization_requests;
        present.dpop_bound_access_tokens = said.dpop_bound_access_tokens;
        present.backchannel_logout_uri = said.backchannel_logout_uri;
        present.backchannel_logout_session_required = said.backchannel_logout_session_required;
        present.tls_client_certificate_bound_access_tokens = said.tls_client_certificate_bound_access_tokens;
        present.introspection_signed_response_alg = self.introspection_signed_response_alg;
        present.access_token_format = self.access_token_format.unwrap_or(present.access_token_format);
        present
    }

    /// Reads what a user says about an app. The same rules hold as for one that registers itself.
    pub fn of_user(app: &UserApp<'_>, allowed: &ScopeSet) -> Result<Self, RegistrationError> {
        let name = app.name.ok_or(InvalidClientMetadata::Text("client_name"))?;
        let method = if app.public { AuthenticationMethod::None } else { AuthenticationMethod::ClientSecretBasic };
        Self::validate(
            Document {
                client_name: Some(name.to_owned()),
                client_uri: app.site.map(str::to_owned),
                redirect_uris: Some(app.redirect_uris.iter().map(|&uri| uri.to_owned()).collect()),
                scope: Some(app.scopes.join(" ")),
                token_endpoint_auth_method: Some(method.as_str().to_owned()),
                grant_types: Some(
                    [GrantType::AuthorizationCode, GrantType::RefreshToken].map(|it| it.as_str().to_owned()).into(),
                ),
                ..Document::default()
            },
            allowed,
        )
    }

    /// Reads what is said about an app over an API. Scopes that apps may not have are left out, and it may say later where its answers go:
    /// until then, it gets none. Whoever redirects to a private-use scheme is a native app. The website is text to show, so http is good
    /// enough; what pages lead to is [`Self::site`].
    pub fn of_app(app: &AppDraft, allowed: &ScopeSet) -> Result<Self, RegistrationError> {
        if !app.website.as_deref().is_none_or(is_web_address) {
            return Err(InvalidClientMetadata::Url("client_uri").into());
        }
        if app.description.as_deref().is_some_and(|text| !is_prose(text)) {
            return Err(InvalidClientMetadata::Description.into());
        }
        let scopes: Vec<&str> = app.scopes.iter().map(String::as_str).filter(|scope| allowed.contains(scope)).collect();
        let is_web = |uri: &String| ["https:", "http:"].iter().any(|scheme| has_scheme(uri, scheme));
        let method = if app.public { AuthenticationMethod::None } else { AuthenticationMethod::ClientSecretBasic };
        Self::validate(
            Document {
                client_name: Some(app.name.clone()),
                client_uri: app.website.clone().filter(|website| is_public_url(website)),
                redirect_uris: Some(app.redirect_uris.clone()),
                application_type: (!app.redirect_uris.iter().all(is_web)).then_some(ApplicationType::Native),
                scope: Some(scopes.join(" ")),
                token_endpoint_auth_method: Some(method.as_str().to_owned()),
                waits_for_redirect_uris: true,
                ..Document::default()
            },
            allowed,
        )
    }

    /// The site of the app.
    pub fn site(&self) -> Option<&str> {
        self.metadata.client_uri.as_deref()
    }

    #[allow(clippy::needless_update, reason = "members that only operators set are none of its business")]
    fn validate(document: Document, allowed: &ScopeSet) -> Result<Self, RegistrationError> {
        // RFC 7591 §2: the default is client_secret_basic.
        let method = match document.token_endpoint_auth_method.as_deref() {
            None => AuthenticationMethod::ClientSecretBasic,
            Some(name) => serde_json::from_value(Value::String(name.into()))
                .map_err(|_| InvalidClientMetadata::AuthenticationMethod)?,
        };
        let certificate_subject = document.certificate_subject(method)?;
        let redirect_uris = match document.redirect_uris {
            Some(uris) if uris.is_empty() && document.waits_for_redirect_uris => Vec::new(),
            uris => redirect_uris(uris, method, document.application_type)?,
        };
        let grant_types = grant_types(document.grant_types)?;
        if document.response_types.is_some_and(|types| types != ["code"]) {
            return Err(InvalidClientMetadata::ResponseTypes.into());
        }
        let scopes = match document.scope {
            None => allowed.clone(),
            Some(text) => text
                .parse::<ScopeSet>()
                .ok()
                .filter(|scopes| !scopes.is_empty() && scopes.iter().all(|scope| allowed.contains(scope)))
                .ok_or(InvalidClientMetadata::Scope)?,
        };
        if document.jwks.is_some() && document.jwks_uri.is_some() {
            return Err(InvalidClientMetadata::KeysTwice.into());
        }
        let jwks_uri = document.jwks_uri.map(|text| keys_url(&text)).transpose()?;
        let jwks = document.jwks.map(ClientKeys::parse).transpose().map_err(InvalidClientMetadata::from)?;
        let has_keys = match method {
            AuthenticationMethod::PrivateKeyJwt => jwks.is_some() || jwks_uri.is_some(),
            AuthenticationMethod::SelfSignedTlsClientAuth => jwks.is_some(),
            _ => true,
        };
        if !has_keys {
            return Err(InvalidClientMetadata::KeysMissing.into());
        }
        let format = document.access_token_format.map(|format| format.parse());
        let algorithm = document.introspection_signed_response_alg.map(|name| serde_json::from_value(name.into()));
        let contacts = document.contacts.unwrap_or_default();
        if contacts.len() > MAX_CONTACTS {
            return Err(InvalidClientMetadata::Contacts.into());
        }
        for contact in &contacts {
            text("contacts", Some(contact.clone()))?;
        }
        Ok(Self {
            name: text("client_name", document.client_name)?,
            redirect_uris,
            scopes,
            method,
            access_token_format: format.transpose().map_err(|_| InvalidClientMetadata::AccessTokenFormat)?,
            introspection_signed_response_alg: algorithm
                .transpose()
                .map_err(|_| InvalidClientMetadata::IntrospectionAlgorithm)?,
            metadata: ClientMetadata {
                grant_types,
                token_endpoint_auth_method: Some(method),
                application_type: document.application_type,
                client_uri: https("client_uri", document.client_uri)?,
                logo_uri: https("logo_uri", document.logo_uri)?,
                tos_uri: https("tos_uri", document.tos_uri)?,
                policy_uri: https("policy_uri", document.policy_uri)?,
                contacts,
                software_id: text("software_id", document.software_id)?,
                software_version: text("software_version", document.software_version)?,
                jwks,
                certificate_subject,
                jwks_uri,
                // RFC 9126 §6, RFC 9449 §5.2, RFC 8705 §3.4.
                require_pushed_authorization_requests: document.require_pushed_authorization_requests.unwrap_or(false),
                dpop_bound_access_tokens: document.dpop_bound_access_tokens.unwrap_or(false),
                backchannel_logout_uri: backchannel_logout_uri(document.backchannel_logout_uri)?,
                backchannel_logout_session_required: document.backchannel_logout_session_required.unwrap_or(false),
                tls_client_certificate_bound_access_tokens: document
                    .tls_client_certificate_bound_access_tokens
                    .unwrap_or(false),
                ..ClientMetadata::default()
            },
        })
    }
}

/// The only URL of a client that the server calls.
fn keys_url(text: &str) -> Result<OutgoingUrl, InvalidClientMetadata> {
    text.parse().ok().filter(OutgoingUrl::is_https).ok_or(InvalidClientMetadata::Url("jwks_uri"))
}

impl RegistrationChange {
    /// Reads a client update request (RFC 7592 §2.2): it says everything anew, and who the client is.
    pub fn parse(body: &[u8], allowed: &ScopeSet) -> Result<Self, RegistrationError> {
        let identity: Identity = json(body)?;
        let issued = [
            identity.registration_access_token,
            identity.registration_client_uri,
            identity.client_secret_expires_at,
            identity.client_id_issued_at,
        ];
        if issued.iter().any(Option::is_some) {
            return Err(InvalidClientMetadata::Issued.into());
        }
        Ok(Self {
            client_id: identity.client_id.ok_or(InvalidClientMetadata::Identity)?,
            client_secret: identity.client_secret.as_deref().map(SecretHash::of),
            registration: Registration::parse(body, allowed)?,
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, InvalidClientMetadata> {
    object(body).ok_or(InvalidClientMetadata::Malformed)
}

/// RFC 7591 §2 and §5. A private-use scheme leads to an app on the user's device, so only such an app has one. Out-of-band URIs lead nowhere.
fn redirect_uris(
    texts: Option<Vec<String>>,
    method: AuthenticationMethod,
    application_type: Option<ApplicationType>,
) -> Result<Vec<RedirectUri>, RegistrationError> {
    let texts = texts.filter(|uris| (1..=MAX_REDIRECT_URIS).contains(&uris.len()));
    let uris = texts.ok_or(RegistrationError::RedirectUris)?;
    let uris: Vec<RedirectUri> = uris.iter().map(|uri| uri.parse()).collect::<Result<_, _>>()?;
    let is_native = application_type == Some(ApplicationType::Native) || method == AuthenticationMethod::None;
    // The scheme of a valid redirect URI begins with `http` in these two cases alone.
    let is_web = |uri: &RedirectUri| ["https:", "http:"].iter().any(|scheme| has_scheme(uri.as_str(), scheme));
    if !is_native && !uris.iter().all(|uri| is_web(uri) || is_out_of_band(uri.as_str())) {
        return Err(RegistrationError::PrivateUseScheme);
    }
    Ok(uris)
}

fn has_scheme(uri: &str, scheme: &str) -> bool {
    uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// What works without a user is not for apps that nobody here knows.
fn grant_types(names: Option<Vec<String>>) -> Result<Vec<GrantType>, InvalidClientMetadata> {
    let Some(names) = names else { return Ok(vec![GrantType::AuthorizationCode]) };
    let mut types = Vec::new();
    for name in names {
        let grant_type = match name.as_str() {
            "authorization_code" => GrantType::AuthorizationCode,
            "refresh_token" => GrantType::RefreshToken,
            _ => return Err(InvalidClientMetadata::GrantTypes),
        };
        if !types.contains(&grant_type) {
            types.push(grant_type);
        }
    }
    if types.contains(&GrantType::AuthorizationCode) { Ok(types) } else { Err(InvalidClientMetadata::GrantTypes) }
}

/// What makes text look like another.
fn hides(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Lines of text, or none.
fn is_prose(text: &str) -> bool {
    text.chars().count() <= MAX_DESCRIPTION_LENGTH && !text.chars().any(|char| hides(char) && !"\r\n\t".contains(char))
}

/// An address that is shown, and never fetched.
fn is_web_address(text: &str) -> bool {
    let is_plain = text.len() <= MAX_REDIRECT_URI_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain
        && Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
        })
}

/// People will read it: no control characters, and none that make text look like another.
fn text(member: &'static str, text: Option<String>) -> Result<Option<String>, InvalidClientMetadata> {
    match text {
        Some(text)
            if !(1..=MAX_TEXT_LENGTH).contains(&text.chars().count())
                || text.chars().any(hides)
                || text.trim().is_empty() =>
        {
            Err(InvalidClientMetadata::Text(member))
        }
        text => Ok(text),
    }
}

/// OpenID Connect Back-Channel Logout §2.2.
fn backchannel_logout_uri(text: Option<String>) -> Result<Option<OutgoingUrl>, InvalidClientMetadata> {
    let malformed = InvalidClientMetadata::Url("backchannel_logout_uri");
    let uri: Option<OutgoingUrl> = text.map(|text| text.parse()).transpose().map_err(|_| malformed)?;
    if uri.as_ref().is_none_or(OutgoingUrl::is_https) { Ok(uri) } else { Err(malformed) }
}

/// Whether it is a link that people may be shown: https, with a host that they can read.
pub fn is_public_url(text: &str) -> bool {
    text.len() <= MAX_REDIRECT_URI_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https" && url.host_str().is_some() && url.username().is_empty() && url.password().is_none()
        })
}

fn https(member: &'static str, text: Option<String>) -> Result<Option<String>, InvalidClientMetadata> {
    match text {
        Some(text) if !is_public_url(&text) => Err(InvalidClientMetadata::Url(member)),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::InvalidClientMetadata as Because;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn allowed() -> ScopeSet {
        "a b".parse().expect("scopes")
    }

    fn parse(other: &Value) -> Result<Registration, RegistrationError> {
        let mut document = json!({ "redirect_uris": ["https://c/cb"] });
        for (name, value) in other.as_object().expect("an object") {
            document[name] = value.clone();
        }
        Registration::parse(document.to_string().as_bytes(), &allowed())
    }

    #[test]
    fn n4_unknown_members_are_ignored_and_defaults_are_those_of_the_rfc() {
        let registration = parse(&json!({ "client_id": "mine", "software_statement": "x", "x": { "y": [1] } }));
        let registration = registration.expect("a good registration");
        assert_eq!(registration.method, AuthenticationMethod::ClientSecretBasic);
        assert_eq!(registration.metadata.grant_types, [GrantType::AuthorizationCode]);
        assert_eq!((registration.scopes, registration.name), (allowed(), None));
    }

    #[test]
    fn n4_what_makes_no_sense_is_refused() {
        for (other, because) in [
            (json!({ "redirect_uris": "https://c/cb" }), Because::Malformed),
            (json!({ "client_name": 1 }), Because::Malformed),
            (json!({ "client_name": "" }), Because::Text("client_name")),
            (json!({ "client_name": "x".repeat(201) }), Because::Text("client_name")),
            (json!({ "client_name": "Bank\u{202e}knaB" }), Because::Text("client_name")),
            (json!({ "software_id": "a\nb" }), Because::Text("software_id")),
            (json!({ "client_uri": "http://c" }), Because::Url("client_uri")),
            (json!({ "logo_uri": "javascript:alert(1)" }), Because::Url("logo_uri")),
            (json!({ "tos_uri": "https://u:p@c" }), Because::Url("tos_uri")),
            (json!({ "backchannel_logout_uri": "http://c/" }), Because::Url("backchannel_logout_uri")),
            (json!({ "backchannel_logout_uri": "https://c/#f" }), Because::Url("backchannel_logout_uri")),
            (json!({ "backchannel_logout_uri": "https://u@c/" }), Because::Url("backchannel_logout_uri")),
            (json!({ "contacts": vec!["x"; 11] }), Because::Contacts),
            (json!({ "contacts": ["\u{7}"] }), Because::Text("contacts")),
            (json!({ "token_endpoint_auth_method": "client_secret_jwt" }), Because::AuthenticationMethod),
            (json!({ "token_endpoint_auth_method": "private_key_jwt" }), Because::KeysMissing),
            (json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth" }), Because::KeysMissing),
            (json!({ "token_endpoint_auth_method": "tls_client_auth" }), Because::CertificateSubject),
            (
                json!({ "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "x" }),
                Because::CertificateSubject,
            ),
            (
                json!({
                    "token_endpoint_auth_method": "tls_client_auth",
                    "tls_client_auth_san_dns": "c",
                    "tls_client_auth_san_ip": "::1",
                }),
                Because::CertificateSubject,
            ),
            (
                json!({ "token_endpoint_auth_method": "none", "grant_types": ["client_credentials"] }),
                Because::GrantTypes,
            ),
            (json!({ "grant_types": ["authorization_code", "client_credentials"] }), Because::GrantTypes),
            (json!({ "grant_types": ["refresh_token"] }), Because::GrantTypes),
            (json!({ "grant_types": [] }), Because::GrantTypes),
            (json!({ "response_types": ["token"] }), Because::ResponseTypes),
            (json!({ "response_types": [] }), Because::ResponseTypes),
            (json!({ "scope": "a c" }), Because::Scope),
            (json!({ "scope": "" }), Because::Scope),
            (json!({ "jwks_uri": "http://c/jwks" }), Because::Url("jwks_uri")),
            (json!({ "jwks_uri": "https://u@c/jwks" }), Because::Url("jwks_uri")),
            (json!({ "jwks_uri": "https://c/jwks#x" }), Because::Url("jwks_uri")),
            (json!({ "jwks_uri": "https://c/jwks", "jwks": { "keys": [] } }), Because::KeysTwice),
            (json!({ "jwks": {} }), Because::Keys(InvalidKeys::Malformed)),
        ] {
            assert_eq!(parse(&other), Err(because.into()), "{other}");
        }
        let twice = br#"{"redirect_uris":["https://c/cb"],"scope":"a","scope":"b"}"#;
        for body in [&b""[..], b"[]", b"null", b"\xff", twice] {
            assert_eq!(Registration::parse(body, &allowed()), Err(Because::Malformed.into()));
        }
    }

    #[test]
    fn n3_redirect_uris_lead_to_the_app_alone() {
        for uri in ["https://c/cb", "http://127.0.0.1/cb", "http://[::1]:1/cb", "http://localhost:3000/cb"] {
            assert!(parse(&json!({ "redirect_uris": [uri] })).is_ok(), "{uri}");
        }
        for uri in
            ["https://c/cb#f", "http://c/cb", "javascript:alert(1)", "https://*.c/cb", "https://u@c/cb", "/cb", ""]
        {
            let refused = parse(&json!({ "redirect_uris": ["https://c/cb", uri] })).expect_err(uri);
            assert_eq!(refused.code(), "invalid_redirect_uri", "{uri}");
        }
        for uris in [json!([]), json!(null), json!(vec!["https://c/cb"; 21])] {
            assert_eq!(parse(&json!({ "redirect_uris": uris })), Err(RegistrationError::RedirectUris));
        }
        let private_use = |other: &Value| {
            let mut document = json!({ "redirect_uris": ["com.example.app:/cb"] });
            document.as_object_mut().expect("an object").extend(other.as_object().expect("an object").clone());
            parse(&document)
        };
        assert_eq!(private_use(&json!({})), Err(RegistrationError::PrivateUseScheme));
        assert_eq!(private_use(&json!({ "application_type": "web" })), Err(RegistrationError::PrivateUseScheme));
        assert!(private_use(&json!({ "application_type": "native" })).is_ok());
        assert!(private_use(&json!({ "token_endpoint_auth_method": "none" })).is_ok());
        let disguised = json!({ "redirect_uris": ["http.evil:/cb"] });
        assert_eq!(parse(&disguised), Err(RegistrationError::PrivateUseScheme));
    }

    #[test]
    fn a_change_says_which_client_and_nothing_that_was_issued() {
        let change = |other: Value| {
            let mut document = json!({ "client_id": "x", "redirect_uris": ["https://c/cb"] });
            document.as_object_mut().expect("an object").extend(other.as_object().expect("an object").clone());
            RegistrationChange::parse(document.to_string().as_bytes(), &allowed())
        };
        assert!(change(json!({ "client_secret": "x" })).is_ok());
        assert_eq!(change(json!({ "client_id": null })), Err(Because::Identity.into()));
        for issued in
            ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"]
        {
            assert_eq!(change(json!({ issued: 0 })), Err(Because::Issued.into()), "{issued}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in ".{0,32}") {
            let _ = Registration::parse(&bytes, &allowed());
            let _ = parse(&json!({ "redirect_uris": [text], "client_name": text, "client_uri": text, "scope": text }));
        }
    }
}
