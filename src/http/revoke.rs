//! `POST /revoke` (RFC 7009).

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, Form, Keys};

pub(super) async fn revoke(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    Form(form): Form,
) -> Result<Response, OAuthFailure> {
    service.revoke_for_client(&authorization.caller(&shown), &form).await?;
    Ok(no_store().into_response())
}
