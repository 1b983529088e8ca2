//! `POST /api/v1/oauth/authorize/` of Funkwhale: the request and `allow`, as a form of either kind. The answer is a redirect, or JSON for a
//! script that says that it is one, errors included.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::error::{invalid_request_status, no_store, unavailable_page};
use super::super::extract::{AppForm, SessionCookie};
use super::super::pages;
use super::is_from_own_page;
use crate::domain::authorization::Fatal;
use crate::domain::error::InvalidRequest;
use crate::domain::parameters::Parameters;
use crate::service::app_sign_in::SessionFailure;
use crate::service::authorization::Verdict;
use crate::service::direct_authorization::DirectFailure;

const REQUIRED: [&str; 4] = ["redirect_uri", "client_id", "response_type", "scope"];

pub(super) async fn authorize(
    State(service): State<Context>,
    headers: HeaderMap,
    cookie: SessionCookie,
    AppForm(form): AppForm,
) -> Response {
    let session = match service.browser_session(cookie.visitor()).await {
        Ok(Some(session)) => session,
        Ok(None) => return detail(StatusCode::UNAUTHORIZED, "Authentication credentials were not provided."),
        Err(SessionFailure::Refused) => {
            return detail(StatusCode::FORBIDDEN, "You do not have permission to perform this action.");
        }
        Err(SessionFailure::Unavailable(error)) => return unavailable_page(&error),
    };
    if !is_from_own_page(&headers, &service.settings) {
        return detail(StatusCode::FORBIDDEN, "CSRF Failed: Origin checking failed.");
    }
    let form = match form {
        Ok(form) => form,
        // What is no form has no fields, as upstream.
        Err(InvalidRequest::NotAForm) => Parameters::default(),
        Err(error) => return detail(invalid_request_status(error), &error.to_string()),
    };
    if let Some(missing) = missing(&form) {
        return answer(StatusCode::BAD_REQUEST, missing);
    }
    let allowed =
        form.get("allow").is_some_and(|allow| matches!(allow.to_ascii_lowercase().as_str(), "true" | "on" | "1"));
    let verdict = if allowed { Verdict::Approve } else { Verdict::Deny };
    let is_script = headers.get("x-requested-with").is_some_and(|with| with == "XMLHttpRequest");
    let spellings = &service.settings.authorization.spellings;
    match service.authorize_directly(&form, verdict, session).await {
        Ok(code) if is_script => {
            answer(StatusCode::OK, json!({ "redirect_uri": code.location, "code": code.code.expose() }))
        }
        Ok(code) => pages::answer(&code.response),
        Err(DirectFailure::Page(Fatal::ClientUnknown)) => {
            answer(StatusCode::BAD_REQUEST, json!({ "non_field_errors": ["Invalid application"] }))
        }
        Err(DirectFailure::Page(fatal)) => {
            detail(StatusCode::BAD_REQUEST, &spellings.of_page(fatal).unwrap_or_else(|| fatal.to_string()))
        }
        Err(DirectFailure::Refused { error, .. }) if is_script => {
            let (error, description) = spellings.spell(&error);
            answer(StatusCode::BAD_REQUEST, json!({ "error": error, "detail": description }))
        }
        Err(DirectFailure::Refused { target, error }) => {
            pages::answer(&target.with_error(spellings.spell(&error), &service.settings.issuer))
        }
        Err(DirectFailure::Unavailable(error)) => unavailable_page(&error),
    }
}

fn missing(form: &Parameters) -> Option<Value> {
    let missing = REQUIRED.iter().filter(|name| form.get(name).is_none());
    let errors: Map<String, Value> =
        missing.map(|name| ((*name).to_owned(), json!(["This field is required."]))).collect();
    (!errors.is_empty()).then_some(Value::Object(errors))
}

fn detail(status: StatusCode, detail: &str) -> Response {
    answer(status, json!({ "detail": detail }))
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, no_store(), Json(body)).into_response()
}
