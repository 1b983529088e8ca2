//! The two families of errors, and why nothing else is one.
//!
//! [`OAuthError`] is the client's fault and has a registered code; [`Unavailable`] is ours and means that we do not know.
//! An unknown token or a missing row is neither: it is an answer.

use std::error::Error;

use super::client_assertion::InvalidAssertion;
use super::dpop::{InvalidProof, MalformedThumbprint};
use super::pkce::{MalformedCodeChallenge, MalformedCodeVerifier};
use super::resource::InvalidTarget;
use super::scope::MalformedScope;

/// An error of RFC 6749 §4.1.2.1 and §5.2, RFC 7009 §2.2.1, OpenID Connect Core §3.1.2.6, RFC 8628 §3.5 and RFC 8693 §2.2.2. `Display` is the
/// `error_description`: ASCII without `"` and `\`,
/// and never a value that the client sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    #[error(transparent)]
    InvalidRequest(#[from] InvalidRequest),
    #[error(transparent)]
    InvalidClient(#[from] InvalidClient),
    #[error(transparent)]
    InvalidGrant(#[from] InvalidGrant),
    #[error(transparent)]
    InvalidScope(#[from] InvalidScope),
    #[error(transparent)]
    InvalidDPoPProof(#[from] InvalidProof),
    #[error(transparent)]
    InvalidTarget(#[from] InvalidTarget),
    #[error(transparent)]
    AccessDenied(#[from] AccessDenied),
    #[error("the grant_type is not supported")]
    UnsupportedGrantType,
    #[error("token_type_hint is access_token or refresh_token")]
    UnsupportedTokenType,
    #[error("the client is not registered for this grant type")]
    UnauthorizedClient,
    #[error("the user has not decided yet")]
    AuthorizationPending,
    #[error("the user has not decided yet, and the device asks too often: wait 5 seconds longer from now on")]
    SlowDown,
    #[error("the device code has expired")]
    ExpiredToken,
    #[error("response_type is code")]
    UnsupportedResponseType,
    #[error("request objects are not supported")]
    RequestNotSupported,
    #[error("request_uri is not supported")]
    RequestUriNotSupported,
    #[error("registration is not supported")]
    RegistrationNotSupported,
    #[error("the user has to sign in")]
    LoginRequired,
    #[error("the user has to be asked")]
    ConsentRequired,
    #[error("nobody can sign in here in one of the ways that acr_values names")]
    UnmetAuthenticationRequirements,
}

impl OAuthError {
    /// The registered `error` code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidDPoPProof(cause) => cause.code(),
            Self::InvalidTarget(_) => "invalid_target",
            Self::AccessDenied(_) => "access_denied",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
        }
    }
}

/// Why a request is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    #[error("a parameter is repeated")]
    Repeated,
    #[error("the body is not application/x-www-form-urlencoded")]
    NotAForm,
    #[error("the body is of a content type that is not taken here")]
    ContentType,
    #[error("URL query parameters are not allowed")]
    Query,
    #[error("the body is not application/json")]
    NotJson,
    #[error("the body could not be read")]
    Unreadable,
    #[error("the body is too large")]
    TooLarge,
    #[error("there are too many parameters")]
    TooManyParameters,
    #[error("the client authenticates in more than one way")]
    SeveralAuthentications,
    #[error("client_id is not the client that authenticates")]
    ClientMismatch,
    #[error("client_secret is not the secret in the Authorization header")]
    SecretMismatch,
    #[error("PKCE is required: code_challenge is missing (RFC 7636)")]
    ChallengeMissing,
    #[error("code_challenge_method is S256")]
    ChallengeMethod,
    #[error(transparent)]
    Challenge(#[from] MalformedCodeChallenge),
    #[error(transparent)]
    Verifier(#[from] MalformedCodeVerifier),
    #[error("response_mode is query or form_post")]
    ResponseMode,
    #[error("redirect_uri is not registered for this client")]
    RedirectUri,
    #[error("request_uri is not for pushed requests")]
    RequestUriPushed,
    #[error("the client has to push its authorization requests (RFC 9126)")]
    NotPushed,
    #[error("the client has to present its certificate (RFC 8705)")]
    CertificateMissing,
    #[error("a token is bound to a DPoP key or to a certificate, not to both")]
    SeveralKeys,
    #[error("dpop_jkt: {0}")]
    Thumbprint(#[from] MalformedThumbprint),
    #[error("subject_token is invalid, expired, revoked or of another client")]
    SubjectToken,
    #[error("subject_token_type and requested_token_type are urn:ietf:params:oauth:token-type:access_token")]
    TokenType,
    #[error("there is no acting on behalf of others: actor_token is not supported")]
    ActorToken,
    #[error("prompt is none alone, or some of login, consent and select_account")]
    Prompt,
    #[error("max_age is a number of seconds")]
    MaxAge,
    #[error("nonce is too long")]
    Nonce,
    #[error("id_token_hint is no ID token of this server for this client")]
    IdTokenHint,
}

/// Why a client is not authenticated. The same text whether the client is unknown or its secret is wrong: they are told apart only where
/// the operator has them spelled otherwise ([`super::answers`]), for systems in which the ids of clients are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClient {
    #[error("client authentication is missing")]
    Missing,
    #[error("the Authorization header is not Basic with a client id and secret (RFC 6749 section 2.3.1)")]
    MalformedHeader,
    #[error("the client is unknown or its authentication is wrong")]
    Unknown,
    #[error("the client is unknown or its authentication is wrong")]
    WrongSecret,
    #[error("the client is unknown or its authentication is wrong")]
    NoSecret,
    #[error("clients do not authenticate in this way here")]
    Method,
    /// In any other way.
    #[error("the client is unknown or its authentication is wrong")]
    Failed,
    #[error(transparent)]
    TooManyAttempts(#[from] TooManyAttempts),
    #[error(transparent)]
    Assertion(#[from] InvalidAssertion),
}

/// A guess that is not looked at, because there were too many: what it would have been, nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there were too many failed attempts from here: try again in {retry_after} seconds")]
pub struct TooManyAttempts {
    /// Seconds.
    pub retry_after: u32,
}

/// Why a code or a refresh token is refused. Causes with the same text are told apart as those of [`InvalidClient`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    #[error("the authorization code is invalid, expired, used or of another client")]
    Code,
    #[error("the authorization code is invalid, expired, used or of another client")]
    ForeignCode,
    #[error("code_verifier or redirect_uri is not that of the authorization request")]
    NoVerifier,
    #[error("code_verifier or redirect_uri is not that of the authorization request")]
    Verifier,
    #[error("code_verifier or redirect_uri is not that of the authorization request")]
    RedirectUri,
    #[error("the authorization code was used before: its grant is revoked")]
    CodeReplayed,
    #[error("the refresh token is invalid, expired, revoked or of another client")]
    RefreshToken,
    #[error("the refresh token is invalid, expired, revoked or of another client")]
    ForeignRefreshToken,
    #[error("the refresh token is invalid, expired, revoked or of another client")]
    Ended,
    #[error("the token is of another client")]
    ForeignToken,
    #[error("the refresh token was used before: its grant is revoked")]
    RefreshTokenReplayed,
    #[error("the grant is bound to another key than the request proves")]
    OtherKey,
    #[error("the grant is not bound to a key: authorize again with one")]
    Unbound,
    #[error("the device code is invalid, used or of another client")]
    DeviceCode,
}

/// Why a scope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    #[error(transparent)]
    Malformed(#[from] MalformedScope),
    #[error("the client may not ask for this scope")]
    NotAllowed,
    #[error("the scope exceeds what was granted")]
    NotGranted,
    #[error("the grant has tokens for too many different scopes, resources and keys at the same time: try again later")]
    TooManyVariants,
    #[error("the scopes and resources do not fit into a token: ask for fewer")]
    TooLong,
}

/// Why there is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    #[error("the user denied the request")]
    ByUser,
    #[error("the user kept none of the requested scopes")]
    NoScopeKept,
    #[error("the user allowed other scopes before: that has to be revoked first")]
    OtherScopes,
}

/// We do not know, and asking again may help. Never an answer about a token.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed")]
pub struct Unavailable {
    /// What we were doing.
    pub operation: &'static str,
    /// Why it failed: for the log, never for the caller.
    #[source]
    pub cause: Box<dyn Error + Send + Sync>,
}

/// Why there is no answer: the client's fault or ours.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Refused(#[from] OAuthError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

macro_rules! refused {
    ($($cause:ident),*) => {$(
        impl From<$cause> for Failure {
            fn from(cause: $cause) -> Self {
                Self::Refused(cause.into())
            }
        }
    )*};
}
refused!(InvalidRequest, InvalidClient, InvalidGrant, InvalidScope, InvalidTarget, InvalidProof, AccessDenied);
