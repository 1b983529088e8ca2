//! `POST /introspect` (RFC 7662), signed if the caller asks for it (RFC 9701).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use super::Context;
use super::answers::unauthorized;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, ClientForm, Keys};
use crate::domain::answers::IntrospectionShape;
use crate::domain::scope::ScopeSet;
use crate::service::introspection::ActiveToken;

/// A signed answer (RFC 9701 §4).
const SIGNED: &str = "application/token-introspection+jwt";

pub(super) async fn introspect(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    headers: HeaderMap,
    ClientForm(form): ClientForm,
) -> Result<Response, OAuthFailure> {
    let answers = &service.settings.answers;
    let introspected = service.introspect_for_client(&authorization.caller(&shown), &form).await;
    let (caller, standing) = match introspected.map_err(OAuthFailure::from) {
        Ok(introspected) => introspected,
        Err(failure) if failure.is_unauthorized() => {
            return unauthorized(&answers.introspection_unauthorized).ok_or(failure);
        }
        Err(failure) => return Err(failure),
    };
    let body = match &standing.active {
        Some(active) if answers.introspection == IntrospectionShape::Brief => {
            describe_briefly(active, &service.scopes_of(active), &service.settings.issuer)
        }
        Some(active) => describe(active, &service.scopes_of(active), &service.settings.issuer),
        None => json!({ "active": false }),
    };
    if service.settings.signs_introspection && wants_signed(&headers) {
        let signed = service.sign_introspection(&caller, &body).await?;
        return Ok((no_store(), [(CONTENT_TYPE, SIGNED)], signed).into_response());
    }
    Ok((no_store(), Json(body)).into_response())
}

/// Whether the caller would rather have a signed answer than a plain one (RFC 9110 §12.5.1). One that takes anything gets a plain one.
fn wants_signed(headers: &HeaderMap) -> bool {
    let ranges =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let (mut signed, mut plain) = (0.0, 0.0_f32);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        if media_type.eq_ignore_ascii_case(SIGNED) {
            signed = quality;
        } else if media_type.eq_ignore_ascii_case("application/json") {
            plain = quality;
        }
    }
    signed > 0.0 && signed >= plain
}

/// Fewer members, with the client as the audience.
fn describe_briefly(active: &ActiveToken, scopes: &ScopeSet, issuer: &str) -> Value {
    json!({
        "active": true,
        "scope": scopes.as_str(),
        "username": &*active.facts.username,
        "iss": issuer,
        "sub": active.facts.subject.as_str(),
        "aud": [active.facts.client.as_str()],
    })
}

/// The members of RFC 7662 §2.2 and RFC 9470 §6.2.
fn describe(active: &ActiveToken, scopes: &ScopeSet, issuer: &str) -> Value {
    let mut body = json!({
        "active": true,
        "scope": scopes.as_str(),
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
    if let Some(known) = &active.facts.authentication {
        body["auth_time"] = known.auth_time.as_unix().into();
        if let Some(acr) = &known.acr {
            body["acr"] = (**acr).into();
        }
    }
    if !active.variant().resources().is_empty() {
        body["aud"] = json!(active.variant().resources());
    }
    if let Some(key) = active.variant().confirmation() {
        body["cnf"] = json!(key);
    }
    if let Some(expiry) = active.token.expires_at() {
        body["exp"] = expiry.as_unix().into();
    }
    body
}
