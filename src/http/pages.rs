//! Pages for people: what is on them, their headers, and redirects. Nothing from elsewhere, and no script but the one line that sends a
//! form on, which works without it.
//!
//! A handler returns an answer that has a page but no body yet. `renderer` puts it into words, in the language of who reads it.

pub(super) mod branding;
pub(super) mod problem;
pub(super) mod renderer;
mod samples;
mod texts;

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};
use minijinja::{Value, context};
use sha2::{Digest as _, Sha256};
use url::Url;

pub(super) use self::problem::Problem;
use self::renderer::Meaning;
use crate::domain::authorization::AuthorizationResponse;
use crate::domain::client::Registrar;
use crate::domain::language::ScopeMeaning;
use crate::service::authorization::{Consent, DescribedScope, LoginPrompt};
use crate::service::device::DeviceConsent;
use crate::service::logout::Confirmation;

/// The script that sends a form on, and its name in the policy.
const SUBMIT: &str = "document.forms[0].submit()";
static SUBMIT_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(SUBMIT))));

/// A page that is not in words yet. It travels with the answer.
#[derive(Clone)]
struct Page {
    template: &'static str,
    values: Value,
}

/// The languages that a client asked for. They travel with the answer, too.
#[derive(Clone)]
struct UiLocales(String);

/// Who asks whom for what.
struct Asked<'a> {
    client_name: &'a str,
    username: &'a str,
    ticket: &'a str,
    scopes: &'a [DescribedScope],
}

/// Why a code did not do.
#[derive(Clone, Copy)]
pub(super) enum DeviceAlert {
    Unknown,
    TooMany,
}

/// What came of it.
#[derive(Clone, Copy)]
pub(super) enum Notice {
    DeviceConnected,
    DeviceDenied,
    SignedOut,
}

/// The login page for an app; with `refused` set, the last try of this user failed.
pub(super) fn login_to_app(prompt: &LoginPrompt, request: &str, refused: Option<&str>) -> Response {
    let page =
        login(Some(&prompt.client.name), Some(&prompt.redirect_uri), prompt.login_hint.as_deref(), request, refused);
    in_language(prompt.ui_locales.as_deref(), page)
}

/// The login page for a device. Which app runs on it, nobody is told who has not signed in.
pub(super) fn login_to_device(request: &str, refused: Option<&str>) -> Response {
    login(None, None, None, request, refused)
}

fn login(
    client_name: Option<&str>,
    leads_to: Option<&str>,
    login_hint: Option<&str>,
    request: &str,
    refused: Option<&str>,
) -> Response {
    let status = if refused.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let values = context! {
        client_name,
        request,
        refused => refused.is_some(),
        username => refused.or(login_hint).unwrap_or_default(),
    };
    page(status, "login.html", values, leads_to)
}

/// An authorization response on its way to the client.
pub(super) fn answer(answer: &AuthorizationResponse) -> Response {
    match answer {
        AuthorizationResponse::Redirect(location) => redirect(location),
        AuthorizationResponse::FormPost { action, fields } => form_post(action, fields),
    }
}

/// A form that sends itself, or by its button where scripts do not run (OAuth 2.0 Form Post Response Mode §2).
fn form_post(action: &str, fields: &[(&'static str, String)]) -> Response {
    let fields: Vec<Value> = fields.iter().map(|(name, value)| context! { name => *name, value }).collect();
    let mut response =
        page(StatusCode::OK, "form_post.html", context! { action, fields, script => SUBMIT }, Some(action));
    if let Some(policy) = response.headers_mut().get_mut(CONTENT_SECURITY_POLICY)
        && let Ok(text) = policy.to_str()
        && let Ok(with_script) = HeaderValue::from_str(&format!("{text}; script-src {}", *SUBMIT_SOURCE))
    {
        *policy = with_script;
    }
    response
}

/// The page that asks whether to sign out.
pub(super) fn log_out(confirmation: &Confirmation, request: &str) -> Response {
    let Confirmation { username, client_name, redirect_uri } = confirmation;
    in_language_of(request, log_out_page(username, client_name.as_deref(), redirect_uri.as_deref(), request))
}

fn log_out_page(username: &str, client_name: Option<&str>, leads_to: Option<&str>, request: &str) -> Response {
    page(StatusCode::OK, "logout.html", context! { username, client_name, request }, leads_to)
}

/// The consent page: who asks whom for what, and where the answer goes.
pub(super) fn consent(consent: &Consent, request: &str) -> Response {
    let asked = Asked {
        client_name: &consent.client.name,
        username: &consent.username,
        ticket: &consent.ticket,
        scopes: &consent.scopes,
    };
    let unverified = matches!(consent.client.registrar, Registrar::Itself { .. });
    in_language(consent.ui_locales.as_deref(), consent_page(&asked, &consent.redirect_uri, unverified, request))
}

fn consent_page(asked: &Asked<'_>, redirect_uri: &str, unverified: bool, request: &str) -> Response {
    let values = context! { destination => destination(redirect_uri), unverified, request, ..asked.values() };
    page(StatusCode::OK, "consent.html", values, Some(redirect_uri))
}

/// The page that asks for the code of a device.
pub(super) fn device(status: StatusCode, alert: Option<DeviceAlert>) -> Response {
    let alert = alert.map(|alert| match alert {
        DeviceAlert::Unknown => "device_unknown",
        DeviceAlert::TooMany => "device_too_many",
    });
    page(status, "device.html", context! { alert }, None)
}

/// The consent page for a device: which app, which code, and what for.
pub(super) fn device_consent(consent: &DeviceConsent) -> Response {
    let asked = Asked {
        client_name: &consent.client.name,
        username: &consent.username,
        ticket: &consent.ticket,
        scopes: &consent.scopes,
    };
    device_consent_page(&asked, &consent.user_code.to_string())
}

fn device_consent_page(asked: &Asked<'_>, user_code: &str) -> Response {
    let values = context! { user_code, request => format!("/device?user_code={user_code}"), ..asked.values() };
    page(StatusCode::OK, "device_consent.html", values, None)
}

impl Asked<'_> {
    /// With the scopes in two groups: who the user is, and what is theirs.
    fn values(&self) -> Value {
        let group = |standard: bool| -> Vec<Value> {
            let scopes = self.scopes.iter().filter(|scope| matches!(scope.meaning, ScopeMeaning::Standard) == standard);
            let scope = |scope: &DescribedScope| {
                context! { name => &scope.name, meaning => Value::from_object(Meaning(scope.meaning.clone())) }
            };
            scopes.map(scope).collect()
        };
        let Self { client_name, username, ticket, .. } = *self;
        context! { client_name, username, ticket, identity => group(true), access => group(false) }
    }
}

/// A page that says what came of it.
pub(super) fn notice(notice: Notice) -> Response {
    let (notice, good) = match notice {
        Notice::DeviceConnected => ("device_connected", true),
        Notice::DeviceDenied => ("device_denied", false),
        Notice::SignedOut => ("signed_out", true),
    };
    page(StatusCode::OK, "notice.html", context! { notice, good }, None)
}

/// A page that says what went wrong and what the user can do.
pub(super) fn error(status: StatusCode, problem: impl Into<Problem>) -> Response {
    page(status, "error.html", context! { problem => problem.into().key() }, None)
}

/// A page that leaves it to the user whether to go back to an app that nobody here knows.
pub(super) fn return_to(client_name: &str, location: &str) -> Response {
    let values = context! { client_name, location, destination => destination(location) };
    page(StatusCode::BAD_REQUEST, "return.html", values, None)
}

/// A page with a code that the user carries to the app by hand, for an app that nothing can be sent to.
pub(super) fn code_to_copy(client_name: &str, code: &str) -> Response {
    page(StatusCode::OK, "code.html", context! { client_name, code }, None)
}

/// 303, so that the browser never repeats a POST with credentials elsewhere (RFC 9700 §4.12).
pub(super) fn redirect(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            (StatusCode::SEE_OTHER, [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))])
                .into_response()
        }
        Err(_) => error(StatusCode::BAD_REQUEST, Problem::Malformed),
    }
}

/// A path of ours that carries an authorization request along.
pub(super) fn with_request(path: &str, request: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("request", request).finish();
    format!("{path}?{query}")
}

/// The same answer, in a language that the authorization request asks for. For answers to forms: where the request is in the address, it
/// is found there.
pub(super) fn in_language_of(request: &str, response: Response) -> Response {
    in_language(UiLocales::of(request).as_ref().map(|UiLocales(locales)| locales.as_str()), response)
}

fn in_language(ui_locales: Option<&str>, mut response: Response) -> Response {
    if let Some(ui_locales) = ui_locales
        && response.extensions().get::<UiLocales>().is_none()
    {
        response.extensions_mut().insert(UiLocales(ui_locales.to_owned()));
    }
    response
}

/// To other sites, browsers tell no referrer. To us they do, and with it the origin of a form: those that send no `Sec-Fetch-Site` are
/// told from forgeries by that alone.
fn page(status: StatusCode, template: &'static str, values: Value, leads_to: Option<&str>) -> Response {
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (CONTENT_SECURITY_POLICY, content_security_policy(leads_to)),
    ];
    let mut response = (status, headers).into_response();
    response.extensions_mut().insert(Page { template, values });
    response
}

/// Browsers apply `form-action` to the redirects after a form too, so it names where the answer goes.
fn content_security_policy(leads_to: Option<&str>) -> HeaderValue {
    let target = leads_to.and_then(|uri| Url::parse(uri).ok()).map(|url| match url.origin() {
        origin if origin.is_tuple() => format!(" {}", origin.ascii_serialization()),
        _ => format!(" {}:", url.scheme()),
    });
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'{}",
        target.unwrap_or_default()
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

/// Where the user will be sent, short enough to read: the host, or the scheme of an app on the device.
fn destination(redirect_uri: &str) -> Value {
    let name = |name: String, is_app: bool| context! { name, is_app };
    match Url::parse(redirect_uri) {
        Ok(url) => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => name(format!("{host}:{port}"), false),
            (Some(host), None) => name(host.to_owned(), false),
            (None, _) => name(url.scheme().to_owned(), true),
        },
        Err(_) => name(redirect_uri.to_owned(), false),
    }
}
