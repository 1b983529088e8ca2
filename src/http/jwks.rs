//! `GET /jwks`: the public keys (RFC 7517 §5).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use super::Context;
use super::error::OAuthFailure;

/// A new key is published for a day before it signs, so an hour-old answer has it.
pub(super) async fn keys(State(service): State<Context>) -> Result<Response, OAuthFailure> {
    let keys = service.signing_keys.published().await?;
    let headers = [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, "public, max-age=3600")];
    Ok((headers, Json(json!({ "keys": keys }))).into_response())
}
