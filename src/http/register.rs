//! `POST /register` (RFC 7591) and `GET|PUT|DELETE /register/{client_id}` (RFC 7592).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::json;

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, JsonText, Origin};
use crate::domain::client::ClientMetadata;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::registration::RegistrationError;
use crate::domain::secret::RandomSecret;
use crate::service::registration::{RegisteredClient, RegistrationFailure};

/// Client information (RFC 7591 §3.2.1, RFC 7592 §3).
#[derive(Serialize)]
struct ClientInformation<'a> {
    client_id: &'a str,
    client_id_issued_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    /// Required beside a secret; 0 means that it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u8>,
    registration_access_token: &'a str,
    registration_client_uri: String,
    client_name: &'a str,
    redirect_uris: Vec<&'a str>,
    response_types: [&'static str; 1],
    scope: &'a str,
    #[serde(flatten)]
    metadata: &'a ClientMetadata,
}

pub(super) async fn register(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Origin(address): Origin,
    JsonText(body): JsonText,
) -> Response {
    match service.register(&authorization.values(), address, &body).await {
        Ok(registered) => information(StatusCode::CREATED, &registered, &service.settings.issuer),
        Err(failure) => failed(failure),
    }
}

pub(super) async fn show(State(service): State<Context>, authorization: AuthorizationHeaders, uri: Uri) -> Response {
    match service.registration(&authorization.values(), client_id(&uri)).await {
        Ok(registered) => information(StatusCode::OK, &registered, &service.settings.issuer),
        Err(failure) => failed(failure),
    }
}

pub(super) async fn change(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    uri: Uri,
    JsonText(body): JsonText,
) -> Response {
    match service.change_registration(&authorization.values(), client_id(&uri), &body).await {
        Ok(registered) => information(StatusCode::OK, &registered, &service.settings.issuer),
        Err(failure) => failed(failure),
    }
}

pub(super) async fn end(State(service): State<Context>, authorization: AuthorizationHeaders, uri: Uri) -> Response {
    match service.end_registration(&authorization.values(), client_id(&uri)).await {
        Ok(()) => (StatusCode::NO_CONTENT, no_store()).into_response(),
        Err(failure) => failed(failure),
    }
}

/// As it is written: the ids that are issued here need no encoding, so what is encoded is none of them.
fn client_id(uri: &Uri) -> &str {
    uri.path().rsplit('/').next().unwrap_or_default()
}

fn information(status: StatusCode, registered: &RegisteredClient, issuer: &str) -> Response {
    let RegisteredClient { client, secret, access_token } = registered;
    let body = ClientInformation {
        client_id: client.id.as_str(),
        client_id_issued_at: client.created_at.as_unix(),
        client_secret: secret.as_ref().map(RandomSecret::expose),
        client_secret_expires_at: secret.as_ref().map(|_| 0),
        registration_access_token: access_token,
        registration_client_uri: format!("{issuer}/register/{}", client.id),
        client_name: &client.name,
        redirect_uris: client.redirect_uris.iter().map(RedirectUri::as_str).collect(),
        response_types: ["code"],
        scope: client.scopes.as_str(),
        metadata: &client.metadata,
    };
    (status, no_store(), Json(body)).into_response()
}

fn failed(failure: RegistrationFailure) -> Response {
    match failure {
        RegistrationFailure::Refused(error) => refused(&error),
        RegistrationFailure::Unavailable(error) => OAuthFailure::from(error).into_response(),
    }
}

/// RFC 7591 §3.2.2, RFC 7592 §2 and RFC 6750 §3.
fn refused(error: &RegistrationError) -> Response {
    tracing::info!(error = error.code(), cause = %error, "a registration was refused");
    let status = match error {
        RegistrationError::Off => StatusCode::NOT_FOUND,
        RegistrationError::TokenMissing | RegistrationError::TokenInvalid => StatusCode::UNAUTHORIZED,
        RegistrationError::TooOften => StatusCode::TOO_MANY_REQUESTS,
        RegistrationError::Full => StatusCode::SERVICE_UNAVAILABLE,
        RegistrationError::InvalidRedirectUri(_)
        | RegistrationError::RedirectUris
        | RegistrationError::PrivateUseScheme
        | RegistrationError::InvalidClientMetadata(_) => StatusCode::BAD_REQUEST,
    };
    let body = Json(json!({ "error": error.code(), "error_description": error.to_string() }));
    let mut response = (status, no_store(), body).into_response();
    let header = match error {
        RegistrationError::TokenMissing => Some((WWW_AUTHENTICATE, r#"Bearer realm="scopegate""#)),
        RegistrationError::TokenInvalid => {
            Some((WWW_AUTHENTICATE, r#"Bearer realm="scopegate", error="invalid_token""#))
        }
        RegistrationError::TooOften | RegistrationError::Full => Some((RETRY_AFTER, "600")),
        RegistrationError::Off
        | RegistrationError::InvalidRedirectUri(_)
        | RegistrationError::RedirectUris
        | RegistrationError::PrivateUseScheme
        | RegistrationError::InvalidClientMetadata(_) => None,
    };
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
