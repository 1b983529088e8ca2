//! `POST /api/oauth/authorize` of `FitTrackee`: the request and `confirm=true`, as its page sends `FormData`; the answer is JSON for a script.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::super::Context;
use super::super::error::{no_store, unavailable_page};
use super::super::extract::{AppForm, SessionCookie};
use super::is_from_own_page;
use crate::domain::parameters::Parameters;
use crate::service::app_sign_in::SessionFailure;
use crate::service::authorization::Verdict;
use crate::service::direct_authorization::DirectFailure;

pub(super) async fn authorize(
    State(service): State<Context>,
    headers: HeaderMap,
    cookie: SessionCookie,
    AppForm(form): AppForm,
) -> Response {
    if !is_from_own_page(&headers, &service.settings) {
        return error(StatusCode::FORBIDDEN, "this request does not come from the app");
    }
    let session = match service.browser_session(cookie.visitor()).await {
        Ok(Some(session)) => session,
        Ok(None) => return error(StatusCode::UNAUTHORIZED, "provide a valid auth token"),
        Err(SessionFailure::Refused) => {
            return error(StatusCode::FORBIDDEN, "you do not have permissions, your account is suspended");
        }
        Err(SessionFailure::Unavailable(error)) => return unavailable_page(&error),
    };
    let is_asked = |form: &Parameters| form.get("client_id").is_some() && form.get("response_type") == Some("code");
    let Some(form) = form.ok().filter(is_asked) else {
        return error(StatusCode::BAD_REQUEST, "invalid payload");
    };
    let confirmed = form.get("confirm").is_some_and(|confirm| confirm.eq_ignore_ascii_case("true"));
    let verdict = if confirmed { Verdict::Approve } else { Verdict::Deny };
    let spellings = &service.settings.authorization.spellings;
    match service.authorize_directly(&form, verdict, session).await {
        Ok(code) => answer(StatusCode::OK, json!({ "redirect_url": code.location })),
        Err(DirectFailure::Page(fatal)) => {
            let redirect_uri = form.get("redirect_uri").unwrap_or_default();
            let spelled = spellings.of_request(fatal, redirect_uri);
            error(StatusCode::BAD_REQUEST, &spelled.unwrap_or_else(|| fatal.to_string()))
        }
        Err(DirectFailure::Refused { error: cause, .. }) => error(StatusCode::BAD_REQUEST, &spellings.spell(&cause).1),
        Err(DirectFailure::Unavailable(error)) => unavailable_page(&error),
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    answer(status, json!({ "status": "error", "message": message }))
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, no_store(), Json(body)).into_response()
}
