//! Failures as HTTP has them. The one mapping from errors to statuses, and the one place where causes are logged.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::{ACCEPT, CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::answers::Refusal;
use super::pages::{self, Problem};
use crate::domain::error::{Failure, InvalidClient, InvalidRequest, OAuthError, Unavailable};

/// When to ask again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The answer of an endpoint that clients call, when it is no success (RFC 6749 §5.2).
pub(super) struct OAuthFailure {
    failure: Failure,
    client_id: Option<Arc<str>>,
}

#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    pub(super) error: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) error_description: &'a str,
}

impl OAuthFailure {
    /// With the client id that the request named.
    pub(super) fn of_client(self, client_id: Option<&str>) -> Self {
        Self { client_id: client_id.map(Arc::from), ..self }
    }

    /// Whether the client did not prove who it is.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(
            &self.failure,
            Failure::Refused(OAuthError::InvalidClient(cause)) if !matches!(cause, InvalidClient::TooManyAttempts(_))
        )
    }
}

impl<E: Into<Failure>> From<E> for OAuthFailure {
    fn from(error: E) -> Self {
        Self { failure: error.into(), client_id: None }
    }
}

impl IntoResponse for OAuthFailure {
    fn into_response(self) -> Response {
        match self.failure {
            Failure::Refused(error) => {
                let response = refused(&error);
                (Extension(Refusal { error, client_id: self.client_id }), response).into_response()
            }
            Failure::Unavailable(error) => unavailable(&error),
        }
    }
}

fn refused(error: &OAuthError) -> Response {
    tracing::info!(error = error.code(), cause = %error, "a request was refused");
    let status = match error {
        OAuthError::InvalidClient(InvalidClient::TooManyAttempts(_)) => StatusCode::TOO_MANY_REQUESTS,
        OAuthError::InvalidClient(_) => StatusCode::UNAUTHORIZED,
        OAuthError::InvalidRequest(error) => invalid_request_status(*error),
        OAuthError::InvalidGrant(_)
        | OAuthError::InvalidScope(_)
        | OAuthError::InvalidTarget(_)
        | OAuthError::InvalidDPoPProof(_)
        | OAuthError::AccessDenied(_)
        | OAuthError::UnsupportedGrantType
        | OAuthError::UnsupportedTokenType
        | OAuthError::UnauthorizedClient
        | OAuthError::AuthorizationPending
        | OAuthError::SlowDown
        | OAuthError::ExpiredToken
        | OAuthError::UnsupportedResponseType
        | OAuthError::RequestNotSupported
        | OAuthError::RequestUriNotSupported
        | OAuthError::RegistrationNotSupported
        | OAuthError::LoginRequired
        | OAuthError::ConsentRequired
        | OAuthError::UnmetAuthenticationRequirements => StatusCode::BAD_REQUEST,
    };
    let mut response = (status, json(error.code(), &error.to_string())).into_response();
    if let OAuthError::InvalidClient(InvalidClient::TooManyAttempts(too_many)) = error {
        response.headers_mut().insert(RETRY_AFTER, too_many.retry_after.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="scopegate", charset="UTF-8""#));
    }
    response
}

/// We do not know: never a 200, never a statement about a token (RFC 7009 §2.2.1).
fn unavailable(error: &Unavailable) -> Response {
    log(error);
    let body = json("temporarily_unavailable", "the server cannot answer now; try again");
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_AFTER_SECONDS)], body).into_response()
}

/// The same on a page.
pub(super) fn unavailable_page(error: &Unavailable) -> Response {
    log(error);
    let page = pages::error(StatusCode::SERVICE_UNAVAILABLE, Problem::Unavailable);
    ([(RETRY_AFTER, RETRY_AFTER_SECONDS)], page).into_response()
}

/// A form of a browser that cannot be read.
pub(super) fn unreadable_page(error: &InvalidRequest) -> Response {
    tracing::info!(cause = %error, "a form was refused");
    pages::error(invalid_request_status(*error), Problem::Unreadable)
}

pub(super) fn invalid_request_status(error: InvalidRequest) -> StatusCode {
    if error == InvalidRequest::TooLarge { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST }
}

fn log(error: &Unavailable) {
    tracing::error!(error = %error, cause = %error.cause, "a request could not be answered");
}

/// What concerns the request alone, in JSON for everybody.
pub(super) fn invalid(status: StatusCode, message: &str) -> Response {
    (status, json("invalid_request", message)).into_response()
}

fn json(error: &str, error_description: &str) -> impl IntoResponse {
    (no_store(), Json(ErrorBody { error, error_description }).into_response())
}

/// What answers with secrets, or about them, carry (RFC 6749 §5.1).
pub(super) fn no_store() -> [(http::HeaderName, HeaderValue); 2] {
    [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (PRAGMA, HeaderValue::from_static("no-cache"))]
}

pub(super) async fn not_found(request: Request) -> Response {
    plain(request.headers(), StatusCode::NOT_FOUND, Problem::NotFound, "There is nothing at this address.")
}

/// The router adds `Allow`.
pub(super) async fn method_not_allowed(request: Request) -> Response {
    let why = "This address does not take requests of this kind.";
    plain(request.headers(), StatusCode::METHOD_NOT_ALLOWED, Problem::MethodNotAllowed, why)
}

/// After a panic, which the log tells about.
pub(super) fn internal() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, json("server_error", "")).into_response()
}

/// What concerns HTTP alone: a page for browsers, JSON for others.
pub(super) fn plain(headers: &HeaderMap, status: StatusCode, problem: Problem, message: &str) -> Response {
    let wants_page =
        headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    if wants_page { pages::error(status, problem) } else { (status, json("invalid_request", message)).into_response() }
}
