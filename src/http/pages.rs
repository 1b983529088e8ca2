//! Pages for people: what is on them, their headers, and redirects. Nothing from elsewhere, and two scripts, without which everything works,
//! too: a line that sends a form on, and one for a button that copies a field.
//!
//! A handler returns an answer that has a page but no body yet. `renderer` puts it into words, in the language of who reads it.

pub(super) mod account;
pub(super) mod branding;
pub(super) mod problem;
pub(super) mod renderer;
mod samples;
mod texts;

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, REFRESH, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};
use minijinja::{Value, context};
use sha2::{Digest as _, Sha256};
use url::{Position, Url};

pub(super) use self::problem::Problem;
use self::renderer::{COPY_ADDRESS, Meaning};
use crate::domain::authorization::AuthorizationResponse;
use crate::domain::client::{Client, Registrar};
use crate::domain::client_document::DocumentUrl;
use crate::domain::language::ScopeMeaning;
use crate::domain::redirect_uri::is_out_of_band;
use crate::domain::registration::is_public_url;
use crate::service::app_sign_in::Switching;
use crate::service::authorization::{Consent, DescribedScope, LoginPrompt};
use crate::service::device::DeviceConsent;
use crate::service::logout::Confirmation;

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
    about: About,
    username: &'a str,
    switching: &'a Switching,
    ticket: &'a str,
    scopes: &'a [DescribedScope],
    resources: &'a [Box<str>],
    /// Seconds; 0: until it is revoked.
    lasts: u32,
}

/// Where the form of a consent page goes, and what is in it beside the scopes.
pub(super) struct ConsentForm {
    pub(super) action: String,
    pub(super) hidden: Vec<(&'static str, String)>,
    /// Names and values of the two buttons.
    pub(super) approve: (&'static str, &'static str),
    pub(super) deny: (&'static str, &'static str),
}

impl ConsentForm {
    /// The usual one.
    pub(super) fn ours(ticket: &str, request: &str) -> Self {
        Self {
            action: "/consent".into(),
            hidden: vec![("request", request.to_owned()), ("ticket", ticket.to_owned())],
            approve: ("decision", "approve"),
            deny: ("decision", "deny"),
        }
    }

    fn value(&self) -> Value {
        let hidden = self.hidden.iter().map(|(name, value)| context! { name => *name, value }).collect::<Vec<_>>();
        let button = |(name, value): (&str, &str)| context! { name, value };
        // A path of ours or of the configuration: nothing in it means anything in HTML.
        let action = Value::from_safe_string(self.action.clone());
        context! { action, hidden, approve => button(self.approve), deny => button(self.deny) }
    }
}

/// What an app says of itself, to be read and followed. Its picture is not shown: nothing comes from elsewhere.
#[derive(Default)]
struct About {
    site: Option<Link>,
    policy: Option<Link>,
    terms: Option<Link>,
}

/// An address, and the host that people can tell it by.
struct Link {
    url: String,
    host: String,
}

/// Who says what an app is.
#[derive(PartialEq, Eq)]
enum Trust {
    /// The operator.
    Verified,
    /// The app.
    Itself,
    /// Another user, who made it.
    User,
    /// The user who is asked made it.
    Own,
    /// Whoever has this host.
    Document(String),
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

/// The login page for an app.
pub(super) fn login_to_app(prompt: &LoginPrompt, request: &str, last: LastSignIn<'_>) -> Response {
    let page =
        login(Some(&prompt.client.name), Some(&prompt.redirect_uri), prompt.login_hint.as_deref(), request, last);
    in_language(prompt.ui_locales.as_deref(), page)
}

/// The login page for a device. Which app runs on it, nobody is told who has not signed in.
pub(super) fn login_to_device(request: &str, last: LastSignIn<'_>) -> Response {
    login(None, None, None, request, last)
}

/// The login page for managing one's apps.
pub(super) fn login_to_account(request: &str, last: LastSignIn<'_>) -> Response {
    login(None, None, None, request, last)
}

fn login(
    client_name: Option<&str>,
    leads_to: Option<&str>,
    login_hint: Option<&str>,
    request: &str,
    last: LastSignIn<'_>,
) -> Response {
    let (status, username, minutes) = match last {
        LastSignIn::None => (StatusCode::OK, None, None),
        LastSignIn::Refused { username } => (StatusCode::FORBIDDEN, Some(username), None),
        LastSignIn::TooMany { username, seconds } => {
            (StatusCode::TOO_MANY_REQUESTS, Some(username), Some(seconds.div_ceil(60)))
        }
    };
    let values = context! {
        client_name,
        account => request.starts_with("/account/"),
        request,
        refused => status != StatusCode::OK,
        minutes,
        username => username.or(login_hint).unwrap_or_default(),
    };
    page(status, "login.html", values, leads_to)
}

/// An authorization response on its way to the client.
pub(super) fn answer(answer: &AuthorizationResponse) -> Response {
    match answer {
        AuthorizationResponse::Redirect(location) => redirect(location),
        AuthorizationResponse::RedirectFound(location) => redirect_with(StatusCode::FOUND, location),
        AuthorizationResponse::FormPost { action, fields } => form_post(action, fields),
        AuthorizationResponse::Show { client_name, code } => code_to_copy(client_name, code),
        AuthorizationResponse::ShowError { error: code } if code == "access_denied" => {
            error(StatusCode::FORBIDDEN, Problem::Denied)
        }
        AuthorizationResponse::ShowError { error: code } => {
            error_with(StatusCode::BAD_REQUEST, Problem::Malformed, Some(code))
        }
    }
}

/// A form that sends itself, or by its button where scripts do not run (OAuth 2.0 Form Post Response Mode §2).
fn form_post(action: &str, fields: &[(&'static str, String)]) -> Response {
    let fields: Vec<Value> = fields.iter().map(|(name, value)| context! { name => *name, value }).collect();
    let page = page(StatusCode::OK, "form_post.html", context! { action, fields, script => SUBMIT }, Some(action));
    running(page, &SUBMIT_SOURCE)
}

/// A page with fields that are there to be copied.
fn copying(template: &'static str, values: Value) -> Response {
    running(page(StatusCode::OK, template, context! { script => COPY_ADDRESS.as_str(), ..values }, None), "'self'")
}

/// The same answer, on whose page scripts from `source` run.
fn running(mut response: Response, source: &str) -> Response {
    if let Some(policy) = response.headers_mut().get_mut(CONTENT_SECURITY_POLICY)
        && let Ok(text) = policy.to_str()
        && let Ok(with_script) = HeaderValue::from_str(&format!("{text}; script-src {source}"))
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
pub(super) fn consent(consent: &Consent, request: &str, form: &ConsentForm) -> Response {
    let asked = Asked {
        client_name: &consent.client.name,
        about: About::of(&consent.client),
        username: &consent.username,
        switching: &consent.switching,
        ticket: &consent.ticket,
        scopes: &consent.scopes,
        resources: &consent.resources,
        lasts: consent.lasts,
    };
    let trust = match document_host(&consent.client) {
        Some(host) => Trust::Document(host),
        None if consent.client.is_verified() => Trust::Verified,
        None if consent.is_own => Trust::Own,
        None if consent.client.owner().is_some() => Trust::User,
        None => Trust::Itself,
    };
    in_language(consent.ui_locales.as_deref(), consent_page(&asked, &consent.redirect_uri, &trust, request, form))
}

fn consent_page(asked: &Asked<'_>, redirect_uri: &str, trust: &Trust, request: &str, form: &ConsentForm) -> Response {
    let document = if let Trust::Document(host) = trust { Some(host) } else { None };
    let unverified = *trust != Trust::Verified;
    let of_user = *trust == Trust::User;
    let values = context! {
        destination => destination(redirect_uri),
        unverified,
        of_user,
        own => *trust == Trust::Own,
        document,
        request,
        form => form.value(),
        ..asked.values()
    };
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
        about: About::of(&consent.client),
        username: &consent.username,
        switching: &consent.switching,
        ticket: &consent.ticket,
        scopes: &consent.scopes,
        resources: &consent.resources,
        lasts: consent.lasts,
    };
    device_consent_page(&asked, &consent.user_code.to_string())
}

fn device_consent_page(asked: &Asked<'_>, user_code: &str) -> Response {
    let values = context! { user_code, request => format!("/device?user_code={user_code}"), ..asked.values() };
    page(StatusCode::OK, "device_consent.html", values, None)
}

/// Who a client is that is what a document says: whoever has that host.
fn document_host(client: &Client) -> Option<String> {
    match client.registrar {
        Registrar::Document { .. } => client.id.as_str().parse().ok().map(|url: DocumentUrl| url.host()),
        Registrar::Operator | Registrar::User { .. } | Registrar::Itself { .. } => None,
    }
}

impl About {
    fn of(client: &Client) -> Self {
        let metadata = &client.metadata;
        Self {
            site: Link::to(metadata.client_uri.as_deref()),
            policy: Link::to(metadata.policy_uri.as_deref()),
            terms: Link::to(metadata.tos_uri.as_deref()),
        }
    }
}

impl Link {
    /// Whoever registered it, no other link than one by https is shown.
    fn to(url: Option<&str>) -> Option<Self> {
        let url = url.filter(|url| is_public_url(url))?;
        let host = Url::parse(url).ok()?.host_str()?.to_owned();
        Some(Self { url: url.to_owned(), host })
    }

    fn value(&self) -> Value {
        context! { url => &self.url, host => &self.host }
    }
}

impl Asked<'_> {
    /// With the scopes in two groups: who the user is and what is theirs; or, where some were allowed before, what is new and what is not.
    fn values(&self) -> Value {
        let group = |belongs: &dyn Fn(&DescribedScope) -> bool| -> Vec<Value> {
            let scope = |scope: &DescribedScope| {
                let meaning = Value::from_object(Meaning(scope.meaning.clone()));
                context! { name => &scope.name, meaning, required => scope.is_required }
            };
            self.scopes.iter().filter(|scope| belongs(scope)).map(scope).collect()
        };
        let is_standard = |scope: &DescribedScope| matches!(scope.meaning, ScopeMeaning::Standard);
        let Self { client_name, username, switching, ticket, .. } = *self;
        let link = |link: &Option<Link>| link.as_ref().map(Link::value);
        context! {
            client_name,
            username,
            ticket,
            identity => group(&is_standard),
            access => group(&|scope| !is_standard(scope)),
            added => group(&|scope| !scope.was_allowed),
            before => group(&|scope| scope.was_allowed),
            optional => self.scopes.iter().any(|scope| !scope.is_required),
            resources => readable(self.resources),
            site_of_app => link(&self.about.site),
            policy => link(&self.about.policy),
            terms => link(&self.about.terms),
            lasts => lasts(self.lasts),
            ..switching_values(switching)
        }
    }
}

/// Whether there is a form of ours with which somebody else signs in, or else the page of the app.
fn switching_values(switching: &Switching) -> Value {
    match switching {
        Switching::Here => context! { switches_account => true },
        Switching::At(page) => context! { switch_page => page },
        Switching::Nowhere => context! {},
    }
}

/// A time as people say it, not shorter than it is.
fn lasts(seconds: u32) -> Value {
    const MINUTE: u32 = 60;
    const HOUR: u32 = 60 * MINUTE;
    const DAY: u32 = 24 * HOUR;
    let (days, hours, minutes) = (seconds.div_ceil(DAY), seconds.div_ceil(HOUR), seconds.div_ceil(MINUTE).max(2));
    if seconds == 0 {
        context! { forever => true }
    } else if seconds > 2 * DAY {
        context! { days }
    } else if seconds > 2 * HOUR {
        context! { hours }
    } else {
        context! { minutes }
    }
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
    error_with(status, problem, None)
}

/// The same, and what is said below it, for those who know what to make of that.
pub(super) fn error_with(status: StatusCode, problem: impl Into<Problem>, detail: Option<&str>) -> Response {
    page(status, "error.html", context! { problem => problem.into().key(), detail }, None)
}

/// A page that leaves it to the user whether to go back to an app that nobody here knows.
pub(super) fn return_to(client_name: &str, location: &str) -> Response {
    let values = context! { client_name, location, destination => destination(location) };
    page(StatusCode::BAD_REQUEST, "return.html", values, None)
}

/// A page that says that a way back from the app leads nowhere any more, and where it begins again.
pub(super) fn start_again(restart: Option<&str>) -> Response {
    page(StatusCode::GONE, "start_again.html", context! { restart }, None)
}

/// A page with a code that the user carries to the app by hand, for an app that nothing can be sent to.
pub(super) fn code_to_copy(client_name: &str, code: &str) -> Response {
    copying("code.html", context! { client_name, code })
}

/// 303, so that the browser never repeats a POST with credentials elsewhere (RFC 9700 §4.12).
pub(super) fn redirect(location: &str) -> Response {
    redirect_with(StatusCode::SEE_OTHER, location)
}

fn redirect_with(status: StatusCode, location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            (status, [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response()
        }
        Err(_) => error(StatusCode::BAD_REQUEST, Problem::Malformed),
    }
}

/// As [`redirect`], for an answer to a form that leads on to another site: browsers apply `form-action` to redirects, wherever they come
/// from, and who knows where the site leads on to.
pub(super) fn go_on(to: &str) -> Response {
    let mut response = page(StatusCode::OK, "go_on.html", context! { to }, None);
    if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={to}")) {
        response.headers_mut().insert(REFRESH, refresh);
    }
    response
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
    if is_out_of_band(redirect_uri) {
        return context! { is_code => true };
    }
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
