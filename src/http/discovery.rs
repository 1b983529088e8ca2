//! `GET /.well-known/oauth-authorization-server` (RFC 8414 §3) and `/.well-known/openid-configuration` (OpenID Connect
//! Discovery §4): the same document.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;

use super::Context;

pub(super) async fn metadata(State(service): State<Context>) -> Response {
    ([(CACHE_CONTROL, "public, max-age=300")], Json(service.metadata())).into_response()
}
