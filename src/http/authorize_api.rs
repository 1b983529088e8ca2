//! What other systems have in place of `POST /consent`, for their pages and those who read them: the shapes, one a file.
//!
//! Two kinds: the form of our own page under other names, which carries a ticket as ever; and requests that a page of the app's own sends,
//! with the user's cookies alone. Those count only if they certainly come from the app's origin.

mod fittrackee;
mod forgejo;
mod funkwhale;
mod gancio;

use axum::Router;
use axum::response::Response;
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, ORIGIN};

use super::Context;
use super::authorize::take;
use super::extract::SessionCookie;
use super::pages::ConsentForm;
use crate::domain::authorization_rules::{ApiShape, DecisionApi};
use crate::domain::parameters::Parameters;
use crate::service::authorization::{Decision, Verdict};
use crate::service::{Service, Settings};

/// Where our page sends what the user decided, where that is not `/consent`. Requests from elsewhere are to be refused before.
pub(super) fn forms(api: &DecisionApi) -> Router<Context> {
    match api.shape {
        ApiShape::Gancio => Router::new().route(&api.path, post(gancio::decide)),
        ApiShape::Forgejo => Router::new().route(&api.path, post(forgejo::decide)),
        ApiShape::None | ApiShape::FitTrackee | ApiShape::Funkwhale => Router::new(),
    }
}

/// Where a page of the app does.
pub(super) fn direct(api: &DecisionApi) -> Router<Context> {
    match api.shape {
        ApiShape::FitTrackee => Router::new().route(&api.path, post(fittrackee::authorize)),
        ApiShape::Funkwhale => Router::new().route(&api.path, post(funkwhale::authorize)),
        ApiShape::None | ApiShape::Gancio | ApiShape::Forgejo => Router::new(),
    }
}

/// The form of the consent page.
pub(super) fn page_form(service: &Service, ticket: &str, request: &str) -> ConsentForm {
    let api = service.settings.authorization.api.as_ref();
    match api.map(|api| (api.shape, api.path.clone())) {
        Some((ApiShape::Gancio, path)) => gancio::page_form(path, ticket, request),
        Some((ApiShape::Forgejo, path)) => forgejo::page_form(path, ticket, request),
        Some((ApiShape::None | ApiShape::FitTrackee | ApiShape::Funkwhale, _)) | None => {
            ConsentForm::ours(ticket, request)
        }
    }
}

/// The request and its ticket in one field.
fn folded(ticket: &str, request: &str) -> String {
    format!("{ticket}.{}", BASE64_URL_SAFE_NO_PAD.encode(request))
}

fn unfolded(text: &str) -> Option<(String, String)> {
    let (ticket, request) = text.split_once('.')?;
    let request = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(request).ok()?).ok()?;
    Some((ticket.to_owned(), request))
}

/// Takes a decision whose request and ticket are in `field`.
async fn take_folded(
    service: &Service,
    field: &str,
    verdict: Option<Verdict>,
    form: &Parameters,
    cookie: &SessionCookie,
) -> Response {
    let unfolded = form.get(field).and_then(unfolded);
    let (ticket, request) = unfolded.as_ref().map(|(ticket, request)| (ticket.as_str(), request.as_str())).unzip();
    take(service, Decision { request, ticket, verdict }, form, cookie).await
}

/// Whether a page of our origin sends this: its browser says so. Or nobody's form does: no other site can add an `Authorization` header,
/// since browsers ask before (Fetch §3.2), and nobody here allows it.
fn is_from_own_page(headers: &HeaderMap, settings: &Settings) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin == settings.issuer,
        (None, None) => headers.contains_key(AUTHORIZATION),
    }
}
