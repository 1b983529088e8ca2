//! `POST /par` (RFC 9126).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, Form, Keys};

pub(super) async fn push(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    Form(form): Form,
) -> Result<Response, OAuthFailure> {
    let pushed = service.push(&authorization.caller(&shown), &shown, &form).await?;
    let body = json!({ "request_uri": pushed.request_uri, "expires_in": pushed.expires_in });
    Ok((StatusCode::CREATED, no_store(), Json(body)).into_response())
}
