//! Requests that a proxy in front had over http, where the issuer is https: codes, tokens and cookies are for https alone (RFC 6749 §3.1
//! and §3.2, RFC 9700 §4.12). A proxy that is reached without TLS shows itself by what it says of its requests.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, LOCATION};
use http::{HeaderValue, Method, StatusCode};

use super::Context;
use super::error::{self, no_store};
use super::extract::ClientAddress;
use super::original_request::is_check;
use crate::service::Settings;

/// Whether any request can be refused.
pub(super) fn is_noticed(settings: &Settings) -> bool {
    let proxies = &settings.client_addresses;
    settings.is_https() && proxies.tell_targets && !proxies.proxies.is_empty()
}

/// Sends browsers to https, and tells clients, whose secrets were readable on their way, that it has to be https.
pub(super) async fn refuse(State(service): State<Context>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get().map(|ClientAddress(peer)| *peer);
    let in_clear = service.settings.client_addresses.target(request.headers(), peer).is_in_clear();
    // What a proxy says at `/check` is about a request to the application.
    if !in_clear || is_check(request.uri().path()) {
        return next.run(request).await;
    }
    tracing::warn!(
        ?peer,
        path = request.uri().path(),
        "a proxy says that it had a request over http, and the issuer is https: the request was not served"
    );
    let secret = request.headers().contains_key(AUTHORIZATION);
    let is_page = !secret && matches!(*request.method(), Method::GET | Method::HEAD);
    match secure_location(&service.settings.issuer, &request).filter(|_| is_page) {
        Some(location) => (StatusCode::PERMANENT_REDIRECT, no_store(), [(LOCATION, location)]).into_response(),
        None => error::invalid(StatusCode::BAD_REQUEST, "TLS is required: the request came to the proxy over http."),
    }
}

/// The same at the issuer.
fn secure_location(issuer: &str, request: &Request) -> Option<HeaderValue> {
    let target = request.uri().path_and_query()?.as_str();
    HeaderValue::try_from(format!("{issuer}{target}")).ok().filter(|_| target.starts_with('/'))
}
