//! How the endpoints for clients spell their answers (`[answers]`), and who may call them from a browser. What comes from the standard
//! passes as it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::error::{ErrorBody, no_store};
use super::{Context, DPOP, DPOP_NONCE};
use crate::domain::answers::{Answers, ErrorSpelling, Reason, Unauthorized};
use crate::domain::error::{InvalidClient, OAuthError};

/// An error that is answered; it travels with the answer.
#[derive(Clone)]
pub(super) struct Refusal {
    pub(super) error: OAuthError,
    /// The client id of the request, if it named one.
    pub(super) client_id: Option<Arc<str>>,
}

/// Spells what was answered.
pub(super) async fn spell(State(service): State<Context>, request: Request, next: Next) -> Response {
    let answers = &service.settings.answers;
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = refused(answers, &refusal, &response);
    }
    let is_json = |value: &HeaderValue| value == "application/json";
    if answers.content_type != "application/json"
        && response.headers().get(CONTENT_TYPE).is_some_and(is_json)
        && let Ok(value) = HeaderValue::from_str(&answers.content_type)
    {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// An error in the operator's words. Its headers stay, but for that which goes with 401.
fn refused(answers: &Answers, Refusal { error, client_id }: &Refusal, usual: &Response) -> Response {
    let as_usual = ErrorSpelling::default();
    let spelling = Reason::of(error).and_then(|reason| answers.errors.get(&reason)).unwrap_or(&as_usual);
    let status = spelling.status.or(match error {
        OAuthError::InvalidGrant(_) => Some(answers.invalid_grant_status),
        OAuthError::InvalidClient(InvalidClient::TooManyAttempts(_)) => None,
        OAuthError::InvalidClient(_) => Some(answers.invalid_client_status),
        _ => None,
    });
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(usual.status());
    let description = spelling.describe(client_id.as_deref().unwrap_or_default()).unwrap_or_else(|| error.to_string());
    let body =
        Json(ErrorBody { error: spelling.error.as_deref().unwrap_or(error.code()), error_description: &description });
    let mut response = (status, no_store(), body).into_response();
    for (name, value) in usual.headers() {
        if name != WWW_AUTHENTICATE && !response.headers().contains_key(name) && name != http::header::CONTENT_LENGTH {
            response.headers_mut().append(name, value.clone());
        }
    }
    if status == StatusCode::UNAUTHORIZED
        && matches!(error, OAuthError::InvalidClient(_))
        && let Ok(value) = HeaderValue::from_str(&answers.www_authenticate)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// The 401 that an endpoint has of its own, if it has one.
pub(super) fn unauthorized(Unauthorized { text, www_authenticate }: &Unauthorized) -> Option<Response> {
    let value = HeaderValue::from_str(www_authenticate).ok().filter(|_| !text.is_empty())?;
    Some((StatusCode::UNAUTHORIZED, no_store(), [(WWW_AUTHENTICATE, value)], text.clone()).into_response())
}

/// What lets pages of these origins in; `None` where there are none.
pub(super) fn cross_origin(origins: &[HeaderValue]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.to_vec()),
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, DPOP])
            .expose_headers([WWW_AUTHENTICATE, DPOP_NONCE]),
    )
}
