//! `GET /.well-known/oauth-protected-resource`, and with the path of a resource appended (RFC 9728 §3).

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HOST};

use super::extract::ClientAddress;
use super::{Context, error};

pub(super) async fn metadata(State(service): State<Context>, request: Request) -> Response {
    let peer = request.extensions().get().map(|ClientAddress(peer)| *peer);
    let told = service.settings.client_addresses.target(request.headers(), peer).host;
    let host = told.or_else(|| request.headers().get(HOST).and_then(|host| host.to_str().ok()));
    match service.resource_metadata(request.uri().path(), host) {
        Some(metadata) => ([(CACHE_CONTROL, "public, max-age=300")], Json(metadata)).into_response(),
        None => error::not_found(request).await,
    }
}
