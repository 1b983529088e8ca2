//! `GET|POST /authorize` (RFC 6749 §3.1) and `POST /consent`: the user's decision.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::error::unavailable_page;
use super::extract::{FormText, Origin, PageForm, SessionCookie};
use super::interaction::BrowserMarks;
use super::pages::{self, Problem};
use super::{Context, MAX_QUERY_BYTES, authorize_api, interaction};
use crate::domain::authorization::Fatal;
use crate::domain::parameters::Parameters;
use crate::service::Service;
use crate::service::authorization::{AuthorizationFailure, AuthorizationStep, Decision, DecisionFailure, Verdict};

pub(super) async fn from_query(
    State(service): State<Context>,
    cookie: SessionCookie,
    marks: BrowserMarks,
    Origin(address): Origin,
    uri: Uri,
) -> Response {
    authorize(&service, uri.query().unwrap_or_default(), &cookie, &marks, address).await
}

/// As the query; both at once are refused, because it would not be clear which one counts.
pub(super) async fn from_form(
    State(service): State<Context>,
    cookie: SessionCookie,
    marks: BrowserMarks,
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
        None | Some("") => pages::in_language_of(&form, authorize(&service, &form, &cookie, &marks, address).await),
        Some(_) => failed(&service, AuthorizationFailure::Page(Fatal::Malformed)),
    }
}

/// The same request as a query, if it is not too long for one. With a form of another site, browsers send no cookie that is `SameSite=Lax`;
/// with what they are sent on to, they do, and so the session counts.
fn as_query(form: &str) -> Option<String> {
    let parameters = form_urlencoded::parse(form.as_bytes());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    (query.len() <= MAX_QUERY_BYTES).then_some(query)
}

async fn authorize(
    service: &Service,
    query: &str,
    cookie: &SessionCookie,
    marks: &BrowserMarks,
    address: Option<IpAddr>,
) -> Response {
    match service.authorize(query, cookie.visitor(), address).await {
        Ok(AuthorizationStep::SignIn) => pages::redirect(&pages::with_request("/login", query)),
        Ok(AuthorizationStep::SignInAt(location)) => pages::redirect(&location),
        Ok(AuthorizationStep::Consent(consent)) => {
            let form = authorize_api::page_form(service, &consent.ticket, query);
            pages::consent(&consent, query, &form)
        }
        Ok(AuthorizationStep::ConsentAtApp(session)) => match service.consent_at_app(query, session, &marks.0) {
            Ok(to_app) => interaction::go(&service.settings, &to_app),
            Err(failure) => failed(service, failure),
        },
        Ok(AuthorizationStep::Answer(answer)) => pages::answer(&answer),
        Err(failure) => failed(service, failure),
    }
}

pub(super) async fn decide(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    let decision = Decision {
        request: form.get("request"),
        ticket: form.get("ticket"),
        verdict: match form.get("decision") {
            Some("approve") => Some(Verdict::Approve),
            Some("deny") => Some(Verdict::Deny),
            _ => None,
        },
    };
    take(&service, decision, &form, &cookie).await
}

/// Takes a decision from whichever form.
pub(super) async fn take(
    service: &Service,
    decision: Decision<'_>,
    form: &Parameters,
    cookie: &SessionCookie,
) -> Response {
    let request = decision.request.unwrap_or_default().to_owned();
    let response = match service.decide(decision, form, cookie.visitor()).await {
        Ok(answer) => pages::answer(&answer),
        Err(failure) => not_decided(service, failure),
    };
    pages::in_language_of(&request, response)
}

/// What a form gets that does not decide anything.
pub(super) fn not_decided(service: &Service, failure: DecisionFailure) -> Response {
    match failure {
        DecisionFailure::Forged => pages::error(StatusCode::FORBIDDEN, Problem::Forged),
        DecisionFailure::SignedOut => pages::error(StatusCode::FORBIDDEN, Problem::SignedOut),
        DecisionFailure::Expired => pages::error(StatusCode::GONE, Problem::Expired),
        DecisionFailure::Used => pages::error(StatusCode::CONFLICT, Problem::Used),
        DecisionFailure::Authorization(failure) => failed(service, failure),
    }
}

/// What an authorization request that cannot go on gets.
pub(super) fn failed(service: &Service, failure: AuthorizationFailure) -> Response {
    match failure {
        AuthorizationFailure::Page(fatal) => {
            let detail = service.settings.authorization.spellings.of_page(fatal);
            pages::error_with(StatusCode::BAD_REQUEST, fatal, detail.as_deref())
        }
        AuthorizationFailure::Answer(answer) => pages::answer(&answer),
        AuthorizationFailure::Return { client_name, location } => pages::return_to(&client_name, &location),
        AuthorizationFailure::NotAdmitted => pages::error(StatusCode::FORBIDDEN, Problem::NotAdmitted),
        AuthorizationFailure::Unavailable(error) => unavailable_page(&error),
    }
}
