//! `POST /token` (RFC 6749 §3.2).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, Form, Keys};

pub(super) async fn issue(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    Form(form): Form,
) -> Result<Response, OAuthFailure> {
    let tokens = service.issue(&authorization.caller(&shown), &shown, &form).await?;
    let mut body = json!({
        "access_token": tokens.access_token.expose(),
        "token_type": tokens.token_type,
        "expires_in": tokens.expires_in,
        "scope": tokens.scope.as_str(),
    });
    if let Some(refresh_token) = &tokens.refresh_token {
        body["refresh_token"] = refresh_token.expose().into();
    }
    if let Some(issued_token_type) = tokens.issued_token_type {
        body["issued_token_type"] = issued_token_type.into();
    }
    if let Some(id_token) = tokens.id_token {
        body["id_token"] = id_token.into();
    }
    Ok((no_store(), Json(body)).into_response())
}
