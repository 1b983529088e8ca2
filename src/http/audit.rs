//! Every request gets a name, `X-Request-Id`, under which the audit log has what happened in it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;

use super::Context;
use super::extract::{ClientAddress, Origin};
use crate::domain::audit::{Actor, request_id};
use crate::service::audit::within;

const REQUEST_ID: &str = "x-request-id";

/// A name that a proxy in front gave is kept; what others send is not believed.
pub(super) async fn name_request(
    State(service): State<Context>,
    Origin(address): Origin,
    request: Request,
    next: Next,
) -> Response {
    let peer: Option<&ClientAddress> = request.extensions().get();
    let is_proxy = peer.is_some_and(|ClientAddress(peer)| service.settings.client_addresses.trusts(*peer));
    let given = request.headers().get(REQUEST_ID).filter(|_| is_proxy).and_then(|value| request_id(value.as_bytes()));
    let origin = service.origin(Actor::Anonymous, address, given);
    let name = HeaderValue::from_str(&origin.request_id);
    let mut response = within(origin, next.run(request)).await;
    if let Ok(name) = name {
        response.headers_mut().insert(REQUEST_ID, name);
    }
    response
}
