//! `POST /introspect` (RFC 7662).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, Form, Keys};
use crate::domain::grant::Confirmation;
use crate::service::introspection::ActiveToken;

pub(super) async fn introspect(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    Form(form): Form,
) -> Result<Response, OAuthFailure> {
    let standing = service.introspect_for_client(&authorization.values(), shown.certificate.as_ref(), &form).await?;
    let body = match &standing.active {
        Some(active) => describe(active, &service.settings.issuer),
        None => json!({ "active": false }),
    };
    Ok((no_store(), Json(body)).into_response())
}

/// The members of RFC 7662 §2.2.
fn describe(active: &ActiveToken, issuer: &str) -> Value {
    let mut body = json!({
        "active": true,
        "scope": active.scopes().as_str(),
        "client_id": active.facts.client.as_str(),
        "token_type": active.token_type(),
        "iat": active.token.issued_at.as_unix(),
        "nbf": active.token.issued_at.as_unix(),
        "sub": active.facts.subject.as_str(),
        "iss": issuer,
        "jti": active.token.jti(),
    });
    // A machine has none.
    if !active.facts.username.is_empty() {
        body["username"] = (*active.facts.username).into();
    }
    if !active.variant().resources().is_empty() {
        body["aud"] = json!(active.variant().resources());
    }
    match active.variant().confirmation() {
        None => {}
        Some(Confirmation::Jkt(thumbprint)) => body["cnf"] = json!({ "jkt": thumbprint }),
        Some(Confirmation::X5tS256(thumbprint)) => body["cnf"] = json!({ "x5t#S256": thumbprint }),
    }
    if let Some(expiry) = active.token.expires_at() {
        body["exp"] = expiry.as_unix().into();
    }
    body
}
