//! `/check`: a request at nginx, Traefik, Caddy or Envoy (over HTTP) → one use case → pass or answer.
//!
//! The answer is 200, 401, 403 or 503 and nothing else: nginx takes any other status for a fault of ours. What is 400 elsewhere is
//! 401 where it has a challenge that says so, and 403 where it has none.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::timeout;

use super::Context;
use super::error::no_store;
use super::extract::ClientAddress;
use super::original_request::{CHECK_PATH, OriginalRequest};
use crate::domain::caller::Sight;
use crate::domain::denial::Body;
use crate::domain::identity_headers::{self, CLIENT_ID, GRANT_ID, SCOPES, SUBJECT};
use crate::domain::request_path::RequestPath;
use crate::domain::scope::ScopeSet;
use crate::service::Service;
use crate::service::gateway::{Asked, GatewayFailure, GatewayRequest, Passage, Refusal};
use crate::service::introspection::ActiveToken;
use crate::telemetry::correlation::{CHECKS, Correlation};

/// As for Envoy's `ext_authz`: so that a denial arrives before the proxy gives up.
const LIMIT: Duration = Duration::from_millis(150);

pub(super) async fn check(State(service): State<Context>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let answer = match timeout(LIMIT, AssertUnwindSafe(judge(&service, &parts)).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_panic)) => unknown(),
        Err(_elapsed) => {
            let Correlation { trace_id, request_id } = Correlation::of(&parts.headers);
            tracing::error!(trace_id, request_id, "a request at a proxy could not be judged in time");
            unknown()
        }
    };
    if tracing::enabled!(target: CHECKS, tracing::Level::DEBUG) {
        let Correlation { trace_id, request_id } = Correlation::of(&parts.headers);
        let status = answer.status().as_u16();
        tracing::debug!(target: CHECKS, trace_id, request_id, status, "a request at a proxy was judged");
    }
    answer
}

async fn judge(service: &Service, parts: &Parts) -> Response {
    let peer = parts.extensions.get::<ClientAddress>().map(|ClientAddress(peer)| *peer);
    let Some(peer) = peer.filter(|&peer| service.settings.gateway.proxies.iter().any(|own| own.contains(peer))) else {
        tracing::warn!(?peer, "a peer that http.trusted_proxies does not list asked at /check and was refused");
        return denied(StatusCode::FORBIDDEN, "access_denied", "who asks is no proxy that is trusted here");
    };
    let original = match OriginalRequest::of(parts) {
        Ok(original) => original,
        Err(cause) => {
            tracing::error!(%peer, %cause, "a proxy does not say clearly what it asks about: the request is denied");
            return denied(StatusCode::FORBIDDEN, "access_denied", "the proxy does not say clearly what it asks about");
        }
    };
    let asked = match asked(parts) {
        Ok(asked) => asked,
        Err(cause) => {
            tracing::error!(%peer, cause, "the query of /check at a proxy makes no sense: its requests are denied");
            return unknown();
        }
    };
    // Proxies choose a route by their own reading of a path and hand on what they got: where there is more than one reading, none counts.
    if let Err(cause) = RequestPath::of_target(original.target) {
        return denied(StatusCode::FORBIDDEN, "invalid_request", &cause.to_string());
    }
    let gateway = &service.settings.gateway;
    let all = |name: &HeaderName| parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let certificates = service.settings.client_certificates.as_ref();
    let request = GatewayRequest {
        method: original.method,
        scheme: original.scheme,
        host: original.host,
        target: original.target,
        authorization: all(&AUTHORIZATION),
        proofs: all(&HeaderName::from_static("dpop")),
        token_headers: gateway.token_header.as_ref().map(all).unwrap_or_default(),
        cookies: all(&COOKIE),
        // That of the connection is the proxy's own.
        certificate: certificates
            .and_then(|certificates| Some(certificates.of(&parts.headers, peer, None)?.thumbprint())),
    };
    match service.admit(&request, &asked, &Sight::All).await {
        Ok(Passage::Allowed { active, dpop_nonce }) => {
            with_nonce(allowed(&active, &service.scopes_of(&active)), dpop_nonce.as_deref())
        }
        Ok(Passage::Anonymous) => (StatusCode::OK, no_store()).into_response(),
        Ok(Passage::Refused(refusal)) => with_nonce(refused(&refusal), refusal.dpop_nonce.as_deref()),
        Err(GatewayFailure::UnknownPolicy(name)) => {
            let Correlation { trace_id, request_id } = Correlation::of(&parts.headers);
            tracing::error!(%peer, name, trace_id, request_id, "a proxy asks for a policy that gateway.policies does not have: its requests are denied");
            unknown()
        }
        Err(GatewayFailure::Unavailable(error)) => {
            let Correlation { trace_id, request_id } = Correlation::of(&parts.headers);
            tracing::error!(trace_id, request_id, error = %error, cause = %error.cause, "a request at a proxy could not be judged");
            let mut response = refused(&service.cannot_judge());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// What the proxy requires. Behind `/check`, the query is that of the request.
fn asked(parts: &Parts) -> Result<Asked, &'static str> {
    let query = parts.uri.query().filter(|_| parts.uri.path() == CHECK_PATH).unwrap_or_default();
    Asked::said(form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into_owned(), value.into_owned())))
}

fn allowed(active: &ActiveToken, scopes: &ScopeSet) -> Response {
    let mut response = (StatusCode::OK, no_store()).into_response();
    for (name, value) in [
        (SUBJECT, active.facts.subject.as_str()),
        (CLIENT_ID, active.facts.client.as_str()),
        (SCOPES, scopes.as_str()),
        (GRANT_ID, &active.token.grant.to_string()),
    ] {
        let value = HeaderValue::from_str(&identity_headers::encode(value)).expect("encoded values are visible ASCII");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

fn refused(refusal: &Refusal) -> Response {
    let status = match (refusal.status, &refusal.www_authenticate) {
        (401, _) | (400, Some(_)) => StatusCode::UNAUTHORIZED,
        (500.., _) => StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
        _ => StatusCode::FORBIDDEN,
    };
    let mut response = match refusal.body() {
        Some(Body { content_type, text }) => (status, no_store(), [(CONTENT_TYPE, content_type)], text).into_response(),
        None => (status, no_store()).into_response(),
    };
    if let Some(challenge) = &refusal.www_authenticate {
        let challenge = HeaderValue::from_str(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The nonce for the next proofs (RFC 9449 §8.2).
fn with_nonce(mut response: Response, nonce: Option<&str>) -> Response {
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::from_str(nonce).ok()) {
        response.headers_mut().insert(HeaderName::from_static("dpop-nonce"), nonce);
    }
    response
}

/// Neither yes nor no.
fn unknown() -> Response {
    let why = "the access token cannot be checked now";
    let mut response = denied(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn denied(status: StatusCode, error: &str, description: &str) -> Response {
    let body = Json(serde_json::json!({ "error": error, "error_description": description }));
    (status, no_store(), body).into_response()
}
