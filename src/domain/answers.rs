//! How answers of the endpoints that clients call are spelled, where a client expects what another system answered. What they say is
//! decided elsewhere; nothing here makes an error a success.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{InvalidClient, InvalidGrant, InvalidRequest, InvalidScope, OAuthError};

/// The longest client id that a description repeats, in characters.
const MAX_REPEATED_ID: usize = 255;
/// What stands for the client id in a description.
const CLIENT_ID: &str = "{client_id}";

/// How answers are spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    pub token_type: BearerSpelling,
    pub scope: ScopeMember,
    pub expires_in: bool,
    pub username: bool,
    /// Members of every token response. None has a name of ours.
    pub extra: Map<String, Value>,
    pub content_type: String,
    pub invalid_grant_status: u16,
    pub invalid_client_status: u16,
    pub www_authenticate: String,
    pub revoked: RevokedBody,
    pub foreign_token: ForeignToken,
    pub unknown_hint: UnknownHint,
    pub introspection: IntrospectionShape,
    pub introspection_unauthorized: Unauthorized,
    pub userinfo_unauthorized: Unauthorized,
    pub errors: BTreeMap<Reason, ErrorSpelling>,
}

/// How `token_type` of a bearer token is written. It has no case (RFC 6749 §7.1), but clients compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BearerSpelling {
    Bearer,
    #[serde(rename = "bearer")]
    Lowercase,
}

impl BearerSpelling {
    /// Another type is written as it is.
    pub fn spell(self, token_type: &'static str) -> &'static str {
        match (self, token_type) {
            (Self::Lowercase, "Bearer") => "bearer",
            (Self::Bearer | Self::Lowercase, other) => other,
        }
    }
}

/// Whether token responses have `scope` (RFC 6749 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeMember {
    Always,
    WhenNotEmpty,
    Never,
}

/// What a revocation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBody {
    /// Nothing (RFC 7009 §2.2).
    Empty,
    /// `{}`.
    Object,
}

/// What a client is told that revokes the token of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignToken {
    /// What it is told about garbage.
    Ignore,
    /// `invalid_grant`.
    Refuse,
}

/// What happens to a `token_type_hint` that is neither `access_token` nor `refresh_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownHint {
    Ignore,
    /// `unsupported_token_type`.
    Refuse,
}

/// Which members an active token has in an introspection answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntrospectionShape {
    /// All that is known (RFC 7662 §2.2).
    Full,
    /// `active`, `scope`, `username`, `iss`, `sub`, and in `aud` the client alone.
    Brief,
}

/// What is answered with 401 in place of the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Unauthorized {
    /// The body, plain text. Empty: the usual answer.
    pub text: String,
    /// The header `WWW-Authenticate`.
    pub www_authenticate: String,
}

/// How an error is spelled. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorSpelling {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `{client_id}` in it stands for the client id of the request. Empty: the answer has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl ErrorSpelling {
    /// The description, with the client id of the request in it.
    pub fn describe(&self, client_id: &str) -> Option<String> {
        let repeated = || client_id.chars().filter(|c| !c.is_control()).take(MAX_REPEATED_ID).collect::<String>();
        self.description.as_ref().map(|text| text.replace(CLIENT_ID, &repeated()))
    }
}

/// Causes of errors that can be spelled otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The body is of a content type that is not taken.
    ContentType,
    /// The address has a query.
    QueryParameters,
    RepeatedParameter,
    MissingGrantType,
    MissingCode,
    MissingCodeVerifier,
    MissingRefreshToken,
    MissingToken,
    /// Any other parameter is missing.
    MissingParameter,
    UnsupportedGrantType,
    /// The client is not registered for the grant type.
    UnauthorizedGrantType,
    /// The request names no client.
    MissingClient,
    /// The `Authorization` header cannot be read.
    MalformedAuthorization,
    /// Two ways of authentication at once.
    SeveralAuthentications,
    /// `client_id` and the `Authorization` header disagree.
    ClientIdMismatch,
    /// `client_secret` and the `Authorization` header disagree.
    ClientSecretMismatch,
    /// Clients do not authenticate in this way.
    AuthenticationMethod,
    UnknownClient,
    WrongClientSecret,
    /// A client that has a secret did not send it.
    MissingClientSecret,
    /// Any other authentication failed.
    ClientAuthentication,
    /// The code is unknown, expired or revoked.
    InvalidCode,
    UsedCode,
    ForeignCode,
    /// `redirect_uri` is not that of the authorization request.
    WrongRedirectUri,
    WrongCodeVerifier,
    MalformedCodeVerifier,
    /// The refresh token is unknown or expired.
    InvalidRefreshToken,
    UsedRefreshToken,
    ForeignRefreshToken,
    /// The grant of the refresh token was revoked or has expired.
    EndedGrant,
    MalformedScope,
    /// The client may not ask for the scope.
    ScopeNotAllowed,
    /// The scope exceeds what was granted.
    ScopeNotGranted,
    /// The token to be revoked is of another client.
    ForeignToken,
    UnsupportedTokenType,
}

impl Reason {
    /// Why there is this error; `None` for one that has one spelling.
    pub fn of(error: &OAuthError) -> Option<Self> {
        match error {
            OAuthError::InvalidRequest(cause) => Self::of_request(*cause),
            OAuthError::InvalidClient(cause) => Self::of_client(*cause),
            OAuthError::InvalidGrant(cause) => Self::of_grant(*cause),
            OAuthError::InvalidScope(cause) => Self::of_scope(*cause),
            OAuthError::UnsupportedGrantType => Some(Self::UnsupportedGrantType),
            OAuthError::UnauthorizedClient => Some(Self::UnauthorizedGrantType),
            OAuthError::UnsupportedTokenType => Some(Self::UnsupportedTokenType),
            OAuthError::InvalidDPoPProof(_)
            | OAuthError::InvalidTarget(_)
            | OAuthError::AccessDenied(_)
            | OAuthError::AuthorizationPending
            | OAuthError::SlowDown
            | OAuthError::ExpiredToken
            | OAuthError::UnsupportedResponseType
            | OAuthError::RequestNotSupported
            | OAuthError::RequestUriNotSupported
            | OAuthError::RegistrationNotSupported
            | OAuthError::LoginRequired
            | OAuthError::ConsentRequired
            | OAuthError::UnmetAuthenticationRequirements => None,
        }
    }

    fn of_request(cause: InvalidRequest) -> Option<Self> {
        match cause {
            InvalidRequest::Missing("grant_type") => Some(Self::MissingGrantType),
            InvalidRequest::Missing("code") => Some(Self::MissingCode),
            InvalidRequest::Missing("refresh_token") => Some(Self::MissingRefreshToken),
            InvalidRequest::Missing("token") => Some(Self::MissingToken),
            InvalidRequest::Missing(_) => Some(Self::MissingParameter),
            InvalidRequest::Repeated => Some(Self::RepeatedParameter),
            InvalidRequest::NotAForm | InvalidRequest::NotJson | InvalidRequest::ContentType => Some(Self::ContentType),
            InvalidRequest::Query => Some(Self::QueryParameters),
            InvalidRequest::SeveralAuthentications => Some(Self::SeveralAuthentications),
            InvalidRequest::ClientMismatch => Some(Self::ClientIdMismatch),
            InvalidRequest::SecretMismatch => Some(Self::ClientSecretMismatch),
            InvalidRequest::Verifier(_) => Some(Self::MalformedCodeVerifier),
            // The rest comes about elsewhere, or has a status of its own.
            _ => None,
        }
    }

    fn of_client(cause: InvalidClient) -> Option<Self> {
        match cause {
            InvalidClient::Missing => Some(Self::MissingClient),
            InvalidClient::MalformedHeader => Some(Self::MalformedAuthorization),
            InvalidClient::Unknown => Some(Self::UnknownClient),
            InvalidClient::WrongSecret => Some(Self::WrongClientSecret),
            InvalidClient::NoSecret => Some(Self::MissingClientSecret),
            InvalidClient::Method => Some(Self::AuthenticationMethod),
            InvalidClient::Failed | InvalidClient::Assertion(_) => Some(Self::ClientAuthentication),
            InvalidClient::TooManyAttempts(_) => None,
        }
    }

    fn of_grant(cause: InvalidGrant) -> Option<Self> {
        match cause {
            InvalidGrant::Code => Some(Self::InvalidCode),
            InvalidGrant::CodeReplayed => Some(Self::UsedCode),
            InvalidGrant::ForeignCode => Some(Self::ForeignCode),
            InvalidGrant::NoVerifier => Some(Self::MissingCodeVerifier),
            InvalidGrant::Verifier => Some(Self::WrongCodeVerifier),
            InvalidGrant::RedirectUri => Some(Self::WrongRedirectUri),
            InvalidGrant::RefreshToken => Some(Self::InvalidRefreshToken),
            InvalidGrant::RefreshTokenReplayed => Some(Self::UsedRefreshToken),
            InvalidGrant::ForeignRefreshToken => Some(Self::ForeignRefreshToken),
            InvalidGrant::Ended => Some(Self::EndedGrant),
            InvalidGrant::ForeignToken => Some(Self::ForeignToken),
            InvalidGrant::OtherKey | InvalidGrant::Unbound | InvalidGrant::DeviceCode => None,
        }
    }

    fn of_scope(cause: InvalidScope) -> Option<Self> {
        match cause {
            InvalidScope::Malformed(_) => Some(Self::MalformedScope),
            InvalidScope::NotAllowed => Some(Self::ScopeNotAllowed),
            InvalidScope::NotGranted => Some(Self::ScopeNotGranted),
            InvalidScope::TooManyVariants | InvalidScope::TooLong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_repeats_a_client_id_only_so_far() {
        let spelling =
            ErrorSpelling { description: Some("no client '{client_id}'".into()), ..ErrorSpelling::default() };
        for (id, expected) in [
            ("???", "no client '???'"),
            ("", "no client ''"),
            ("a\nb\0", "no client 'ab'"),
            (CLIENT_ID, "no client '{client_id}'"),
        ] {
            assert_eq!(spelling.describe(id).as_deref(), Some(expected));
        }
        let long = spelling.describe(&"ä".repeat(1_000)).expect("a description");
        assert_eq!(long.chars().filter(|c| *c == 'ä').count(), MAX_REPEATED_ID);
    }
}
