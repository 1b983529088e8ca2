//! `POST /revoke` (RFC 7009).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, ClientForm, Keys};
use crate::domain::answers::RevokedBody;

pub(super) async fn revoke(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    ClientForm(form): ClientForm,
) -> Result<Response, OAuthFailure> {
    service.revoke_for_client(&authorization.caller(&shown), &form).await?;
    Ok(match service.settings.answers.revoked {
        RevokedBody::Empty => no_store().into_response(),
        RevokedBody::Object => (no_store(), Json(json!({}))).into_response(),
    })
}
