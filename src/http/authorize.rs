//! `GET|POST /authorize` (RFC 6749 §3.1) and `POST /consent`: the user's decision.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::error::unavailable_page;
use super::extract::{FormText, Origin, PageForm, SessionCookie};
use super::pages::{self, Problem};
use super::{Context, MAX_QUERY_BYTES};
use crate::domain::authorization::Fatal;
use crate::service::authorization::{AuthorizationFailure, AuthorizationStep, DecisionFailure};

pub(super) async fn from_query(
    State(service): State<Context>,
    cookie: SessionCookie,
    Origin(address): Origin,
    uri: Uri,
) -> Response {
    authorize(&service, uri.query().unwrap_or_default(), &cookie, address).await
}

/// As the query; both at once are refused, because it would not be clear which one counts.
pub(super) async fn from_form(
    State(service): State<Context>,
    cookie: SessionCookie,
    Origin(address): Origin,
    uri: Uri,
    FormText(form): FormText,
) -> Response {
    match uri.query() {
        None | Some("")
            if cookie.value().is_none()
                && let Some(query) = as_query(&form) =>
        {
            pages::redirect(&format!("{}?{query}", service.settings.paths.authorize.first()))
        }
        None | Some("") => pages::in_language_of(&form, authorize(&service, &form, &cookie, address).await),
        Some(_) => failed(AuthorizationFailure::Page(Fatal::Malformed)),
    }
}

/// The same request as a query, if it is not too long for one. With a form of another site, browsers send no cookie that is `SameSite=Lax`;
/// with what they are sent on to, they do, and so the session counts.
fn as_query(form: &str) -> Option<String> {
    let parameters = form_urlencoded::parse(form.as_bytes());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    (query.len() <= MAX_QUERY_BYTES).then_some(query)
}

async fn authorize(service: &Context, query: &str, cookie: &SessionCookie, address: Option<IpAddr>) -> Response {
    match service.authorize(query, cookie.visitor(), address).await {
        Ok(AuthorizationStep::SignIn) => pages::redirect(&pages::with_request("/login", query)),
        Ok(AuthorizationStep::SignInAt(location)) => pages::redirect(&location),
        Ok(AuthorizationStep::Consent(consent)) => pages::consent(&consent, query),
        Ok(AuthorizationStep::Answer(answer)) => pages::answer(&answer),
        Err(failure) => failed(failure),
    }
}

pub(super) async fn decide(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    let response = match service.decide(&form, cookie.visitor()).await {
        Ok(answer) => pages::answer(&answer),
        Err(failure) => not_decided(failure),
    };
    pages::in_language_of(form.get("request").unwrap_or_default(), response)
}

/// What a form gets that does not decide anything.
pub(super) fn not_decided(failure: DecisionFailure) -> Response {
    match failure {
        DecisionFailure::Forged => pages::error(StatusCode::FORBIDDEN, Problem::Forged),
        DecisionFailure::SignedOut => pages::error(StatusCode::FORBIDDEN, Problem::SignedOut),
        DecisionFailure::Expired => pages::error(StatusCode::GONE, Problem::Expired),
        DecisionFailure::Used => pages::error(StatusCode::CONFLICT, Problem::Used),
        DecisionFailure::Authorization(failure) => failed(failure),
    }
}

/// What an authorization request that cannot go on gets.
pub(super) fn failed(failure: AuthorizationFailure) -> Response {
    match failure {
        AuthorizationFailure::Page(fatal) => pages::error(StatusCode::BAD_REQUEST, fatal),
        AuthorizationFailure::Answer(answer) => pages::answer(&answer),
        AuthorizationFailure::Return { client_name, location } => pages::return_to(&client_name, &location),
        AuthorizationFailure::NotAdmitted => pages::error(StatusCode::FORBIDDEN, Problem::NotAdmitted),
        AuthorizationFailure::Unavailable(error) => unavailable_page(&error),
    }
}
