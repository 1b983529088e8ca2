//! `POST /token` (RFC 6749 §3.2).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, ClientForm, Keys};
use crate::domain::answers::ScopeMember;
use crate::domain::credentials::{ClientCredentials, RepeatedCredentials};
use crate::domain::parameters::Parameters;
use crate::service::client_authentication::Caller;

pub(super) async fn issue(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    ClientForm(form): ClientForm,
) -> Result<Response, OAuthFailure> {
    let caller = authorization.caller(&shown);
    let issued = service.issue(&caller, &shown, &form).await;
    let tokens = issued.map_err(|failure| OAuthFailure::from(failure).of_client(named(&caller, &form).as_deref()))?;
    let answers = &service.settings.answers;
    let mut body = json!({
        "access_token": tokens.access_token.expose(),
        "token_type": answers.token_type.spell(tokens.token_type),
    });
    if answers.expires_in && tokens.expires_in != 0 {
        body["expires_in"] = tokens.expires_in.into();
    }
    let has_scope = match answers.scope {
        ScopeMember::Always => true,
        ScopeMember::WhenNotEmpty => !tokens.scope.is_empty(),
        ScopeMember::Never => false,
    };
    if has_scope {
        body["scope"] = tokens.scope.as_str().into();
    }
    if answers.username && !tokens.username.is_empty() {
        body["username"] = tokens.username.into();
    }
    for (name, value) in &answers.extra {
        body[name] = value.clone();
    }
    if let Some(refresh_token) = &tokens.refresh_token {
        body["refresh_token"] = refresh_token.expose().into();
    }
    if let Some(issued_token_type) = tokens.issued_token_type {
        body["issued_token_type"] = issued_token_type.into();
    }
    if let Some(id_token) = tokens.id_token {
        body["id_token"] = id_token.into();
    }
    Ok((no_store(), Json(body)).into_response())
}

/// The client id of a request, whoever sent it.
fn named(caller: &Caller<'_>, form: &Parameters) -> Option<String> {
    let in_header = || ClientCredentials::parse(&caller.authorization, form, RepeatedCredentials::IfEqual).ok();
    form.get("client_id").map(str::to_owned).or_else(|| Some(in_header()?.id.to_string()))
}
