//! Pages for people: templates, their headers, and redirects. Nothing from elsewhere, and no script but the one line that sends a form
//! on, which works without it.

use std::sync::LazyLock;

use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};
use minijinja::{Environment, Value, context};
use sha2::{Digest as _, Sha256};
use url::{Position, Url};

use crate::domain::authorization::AuthorizationResponse;
use crate::domain::client::{Client, Registrar};
use crate::domain::client_document::DocumentUrl;
use crate::service::authorization::{Consent, DescribedScope};
use crate::service::device::DeviceConsent;
use crate::service::logout::Confirmation;

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    for (name, source) in [
        ("layout.html", include_str!("templates/layout.html")),
        ("login.html", include_str!("templates/login.html")),
        ("consent.html", include_str!("templates/consent.html")),
        ("device.html", include_str!("templates/device.html")),
        ("device_consent.html", include_str!("templates/device_consent.html")),
        ("notice.html", include_str!("templates/notice.html")),
        ("form_post.html", include_str!("templates/form_post.html")),
        ("logout.html", include_str!("templates/logout.html")),
        ("signed_out.html", include_str!("templates/signed_out.html")),
        ("error.html", include_str!("templates/error.html")),
        ("return.html", include_str!("templates/return.html")),
    ] {
        templates.add_template(name, source).expect("the templates are part of the program, and the tests render each");
    }
    templates
});

/// The script that sends a form on, and its name in the policy.
const SUBMIT: &str = "document.forms[0].submit()";
static SUBMIT_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(SUBMIT))));

/// What came of the last try to sign in, if there was one.
#[derive(Clone, Copy)]
pub(super) enum LastSignIn<'a> {
    None,
    Refused {
        username: &'a str,
    },
    /// Nobody looked, nor will before so many seconds.
    TooMany {
        username: &'a str,
        seconds: u32,
    },
}

/// The login page: who asks, where that leads unless it is here, who is expected, and what came of the last try.
pub(super) fn login(
    client_name: &str,
    leads_to: Option<&str>,
    login_hint: Option<&str>,
    request: &str,
    last: LastSignIn<'_>,
) -> Response {
    let (status, username, alert) = match last {
        LastSignIn::None => (StatusCode::OK, None, None),
        LastSignIn::Refused { username } => {
            let alert = "This user name and password do not match. Please try again.".to_owned();
            (StatusCode::FORBIDDEN, Some(username), Some(alert))
        }
        LastSignIn::TooMany { username, seconds } => {
            let minutes = match seconds.div_ceil(60) {
                1 => "a minute".to_owned(),
                minutes => format!("{minutes} minutes"),
            };
            let alert = format!("There were too many attempts to sign in. Please wait {minutes} and try again.");
            (StatusCode::TOO_MANY_REQUESTS, Some(username), Some(alert))
        }
    };
    let values = context! {
        client_name,
        request,
        alert,
        username => username.or(login_hint).unwrap_or_default(),
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
    let values = context! { username => &confirmation.username, client_name => &confirmation.client_name, request };
    page(StatusCode::OK, "logout.html", values, confirmation.redirect_uri.as_deref())
}

pub(super) fn signed_out() -> Response {
    page(StatusCode::OK, "signed_out.html", context! {}, None)
}

/// The consent page: who asks whom for what, and where the answer goes.
pub(super) fn consent(consent: &Consent, request: &str) -> Response {
    let scopes = described(&consent.scopes);
    let values = context! {
        client_name => &consent.client.name,
        username => &consent.username,
        destination => destination(&consent.redirect_uri),
        ticket => &consent.ticket,
        unverified => !consent.client.is_verified(),
        document => document_host(&consent.client),
        scopes,
        resources => readable(&consent.resources),
        request,
    };
    page(StatusCode::OK, "consent.html", values, Some(&consent.redirect_uri))
}

/// The page that asks for the code of a device.
pub(super) fn device(status: StatusCode, alert: Option<&str>) -> Response {
    page(status, "device.html", context! { alert }, None)
}

/// The consent page for a device: which app, which code, and what for.
pub(super) fn device_consent(consent: &DeviceConsent) -> Response {
    let scopes = described(&consent.scopes);
    let values = context! {
        client_name => &consent.client.name,
        username => &consent.username,
        user_code => consent.user_code.to_string(),
        ticket => &consent.ticket,
        scopes,
        resources => readable(&consent.resources),
    };
    page(StatusCode::OK, "device_consent.html", values, None)
}

/// Who a client is that is what a document says: whoever has that host.
fn document_host(client: &Client) -> Option<String> {
    match client.registrar {
        Registrar::Document { .. } => client.id.as_str().parse().ok().map(|url: DocumentUrl| url.host()),
        Registrar::Operator | Registrar::Itself { .. } => None,
    }
}

fn described(scopes: &[DescribedScope]) -> Vec<Value> {
    scopes.iter().map(|scope| context! { name => &scope.name, description => &scope.description }).collect()
}

/// Resources, as people can tell them apart: host and path. A user name in front of the host would pose as one.
fn readable(resources: &[Box<str>]) -> Vec<String> {
    let readable = |resource: &str| match Url::parse(resource) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "https" | "http") => {
            let path = &url[Position::BeforePath..];
            let path = if path == "/" { "" } else { path };
            format!("{}{path}", &url[Position::BeforeHost..Position::AfterPort])
        }
        _ => resource.to_owned(),
    };
    resources.iter().map(|resource| readable(resource)).collect()
}

/// A page that says what came of it.
pub(super) fn notice(heading: &str, message: &str) -> Response {
    page(StatusCode::OK, "notice.html", context! { heading, message }, None)
}

/// A page that says what went wrong and what the user can do.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    page(status, "error.html", context! { message }, None)
}

/// A page that leaves it to the user whether to go back to an app that nobody here knows.
pub(super) fn return_to(client_name: &str, location: &str) -> Response {
    let values = context! { client_name, location, destination => destination(location) };
    page(StatusCode::BAD_REQUEST, "return.html", values, None)
}

/// 303, so that the browser never repeats a POST with credentials elsewhere (RFC 9700 §4.12).
pub(super) fn redirect(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            (StatusCode::SEE_OTHER, [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))])
                .into_response()
        }
        Err(_) => error(StatusCode::BAD_REQUEST, "The app sent something that makes no sense."),
    }
}

/// A path of ours that carries an authorization request along.
pub(super) fn with_request(path: &str, request: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("request", request).finish();
    format!("{path}?{query}")
}

pub(super) async fn style_sheet() -> Response {
    let style = include_str!("assets/scopegate.css");
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")], style).into_response()
}

fn page(status: StatusCode, template: &str, values: Value, leads_to: Option<&str>) -> Response {
    let rendered = TEMPLATES.get_template(template).and_then(|template| template.render(values));
    let html = match rendered {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(template, error = %error, "a page could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (CONTENT_SECURITY_POLICY, content_security_policy(leads_to)),
    ];
    (status, headers, Html(html)).into_response()
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
fn destination(redirect_uri: &str) -> String {
    match Url::parse(redirect_uri) {
        Ok(url) => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => format!("the app {}", url.scheme()),
        },
        Err(_) => redirect_uri.to_owned(),
    }
}
