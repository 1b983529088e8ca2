//! `GET|POST /logout` (OpenID Connect RP-Initiated Logout §2), and `POST /logout/confirm`: the user's answer.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::{StatusCode, Uri};

use super::Context;
use super::error::unavailable_page;
use super::extract::{Form, FormText, SessionCookie};
use super::pages::{self, Notice, Problem};
use crate::service::logout::{Agreement, LogoutFailure, LogoutStep};

pub(super) async fn from_query(State(service): State<Context>, cookie: SessionCookie, uri: Uri) -> Response {
    log_out(&service, uri.query().unwrap_or_default(), &cookie, Agreement::Unasked).await
}

/// Sent on as a query: with a form from another site browsers send no cookie, with the address that it leads to they do
/// (`SameSite=Lax`). Otherwise everybody would look signed out here.
pub(super) async fn from_form(uri: Uri, FormText(form): FormText) -> Response {
    match uri.query() {
        None | Some("") => pages::redirect(&format!("/logout?{form}")),
        Some(_) => failed(LogoutFailure::Malformed),
    }
}

pub(super) async fn confirm(State(service): State<Context>, cookie: SessionCookie, Form(form): Form) -> Response {
    log_out(&service, form.get("request").unwrap_or_default(), &cookie, Agreement::Confirmed).await
}

async fn log_out(service: &Context, request: &str, cookie: &SessionCookie, agreement: Agreement) -> Response {
    match service.log_out(request, cookie.value(), agreement).await {
        Ok(LogoutStep::Confirm(confirmation)) => pages::log_out(&confirmation, request),
        Ok(LogoutStep::SignedOut(location)) => {
            let page = match location {
                Some(location) => pages::redirect(&location),
                None => pages::in_language_of(request, pages::notice(Notice::SignedOut)),
            };
            match cookie.value() {
                Some(_) => ([(SET_COOKIE, SessionCookie::ended(&service.settings))], page).into_response(),
                None => page,
            }
        }
        Err(failure) => failed(failure),
    }
}

fn failed(failure: LogoutFailure) -> Response {
    match failure {
        LogoutFailure::Malformed => pages::error(StatusCode::BAD_REQUEST, Problem::MalformedLogout),
        LogoutFailure::Unavailable(error) => unavailable_page(&error),
    }
}
