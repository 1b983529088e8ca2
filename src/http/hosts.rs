//! Several issuers on one port: the host that a request is for says to which of them it goes (RFC 9110 §7.2).
//!
//! Where a proxy that is trusted says which host it was asked for, that counts. It has to set `Host` itself or pass on its own, and where
//! the two name two issuers, a client has added what the proxy did not set: neither gets the request.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::header::{HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use tower::ServiceExt as _;

use super::error;
use super::extract::ClientAddress;
use super::original_request::is_check;
use crate::domain::authority::Authority;
use crate::domain::resource::METADATA_PATH;
use crate::service::client_address::ClientAddresses;

/// The issuers of a port.
struct Hosts {
    issuers: Vec<(Authority, Router)>,
    proxies: ClientAddresses,
}

/// Why a request goes to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misdirected {
    /// RFC 9112 §3.2.
    NoHost,
    Unknown,
    TwoHosts,
}

/// All of them on one port. No request is for two (`config::Deployment`).
pub fn by_host(issuers: Vec<(Authority, Router)>, proxies: ClientAddresses) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Hosts { issuers, proxies }))
}

async fn answer(State(hosts): State<Arc<Hosts>>, request: Request) -> Response {
    let (status, message) = match hosts.of(&request) {
        Ok(router) => return router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(Misdirected::NoHost) => (StatusCode::BAD_REQUEST, "A request names one host."),
        Err(Misdirected::Unknown) => (StatusCode::MISDIRECTED_REQUEST, "There is no issuer of this host here."),
        Err(Misdirected::TwoHosts) => (
            StatusCode::MISDIRECTED_REQUEST,
            "The request names one issuer, and a proxy says that it is for another one.",
        ),
    };
    let host: String = asked_host(&request).unwrap_or_default().chars().take(255).collect();
    tracing::info!(host, why = message, "a request went to no issuer");
    let mut response = error::invalid(status, message);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Hosts {
    fn of(&self, request: &Request) -> Result<&Router, Misdirected> {
        let named = self.position(asked_host(request).ok_or(Misdirected::NoHost)?);
        let peer = request.extensions().get().map(|ClientAddress(peer)| *peer);
        // What a proxy says at `/check` is about a request to the application.
        let told =
            if is_check(request.uri().path()) { None } else { self.proxies.target(request.headers(), peer).host };
        let position = match (named, told.map(|host| self.position(host))) {
            (named, None) => named,
            // A proxy at a resource was asked for the resource's host, whose metadata the issuer has.
            (named, Some(None)) if request.uri().path().starts_with(METADATA_PATH) => named,
            (Some(named), Some(Some(told))) if named != told => return Err(Misdirected::TwoHosts),
            (_, Some(told)) => told,
        };
        position.map(|position| &self.issuers[position].1).ok_or(Misdirected::Unknown)
    }

    fn position(&self, host: &str) -> Option<usize> {
        self.issuers.iter().position(|(authority, _)| authority.is_named_by(host))
    }
}

/// The host of the target in absolute form, which `Host` does not overrule (RFC 9112 §3.2.2), or `Host`, which is there once.
fn asked_host(request: &Request) -> Option<&str> {
    let only = only_host(request.headers());
    match request.uri().authority() {
        Some(authority) => only.map(|_| authority.as_str()),
        None => only,
    }
}

fn only_host(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HOST).iter();
    let host = values.next()?.to_str().ok()?;
    (!host.is_empty() && values.next().is_none()).then_some(host)
}
