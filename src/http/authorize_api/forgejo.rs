//! `POST /login/oauth/grant` of Forgejo: `granted`, and the request once more, which has to be that of the page.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::super::Context;
use super::super::extract::{PageForm, SessionCookie};
use super::super::pages::{self, ConsentForm, Problem};
use super::{folded, take_folded, unfolded};
use crate::domain::parameters::Parameters;
use crate::service::authorization::Verdict;

const TICKET: &str = "_csrf";
/// What the form has of the request.
const SHOWN: [&str; 5] = ["client_id", "state", "scope", "nonce", "redirect_uri"];

pub(super) async fn decide(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    if !is_what_was_shown(&form) {
        return pages::error(StatusCode::BAD_REQUEST, Problem::Forged);
    }
    let verdict = match form.get("granted") {
        Some("true") => Some(Verdict::Approve),
        Some("false") => Some(Verdict::Deny),
        _ => None,
    };
    take_folded(&service, TICKET, verdict, &form, &cookie).await
}

pub(super) fn page_form(action: String, ticket: &str, request: &str) -> ConsentForm {
    let shown = Parameters::parse(request.as_bytes()).unwrap_or_default();
    let hidden = SHOWN.map(|name| (name, shown.get(name).unwrap_or_default().to_owned()));
    ConsentForm {
        action,
        hidden: std::iter::once((TICKET, folded(ticket, request))).chain(hidden).collect(),
        approve: ("granted", "true"),
        deny: ("granted", "false"),
    }
}

/// What counts is what is sealed. Who sends the rest, too, sends the same. A page that lets users choose has a `scope` for each.
fn is_what_was_shown(form: &Parameters) -> bool {
    let sealed = form.get(TICKET).and_then(unfolded);
    let Some(shown) = sealed.and_then(|(_, request)| Parameters::parse(request.as_bytes()).ok()) else { return true };
    SHOWN
        .iter()
        .filter(|name| **name != "scope")
        .all(|name| form.get(name).is_none_or(|value| shown.get(name) == Some(value)))
}
