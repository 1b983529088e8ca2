//! Browsers on their way to the app and back (`login.method = "challenge"`): `GET /interaction`, and what they are known by meanwhile.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::extract::{SessionCookie, set_cookie};
use super::pages::{self, Problem};
use super::{Context, account, authorize, device};
use crate::domain::parameters::Parameters;
use crate::service::Settings;
use crate::service::interaction::{BrowserMark, Completed, CompletionFailure, ToApp};

/// How long a browser is known, in seconds: longer than it may be at the app, since the cookie is set anew each time.
const LIFETIME: u32 = 86_400;
/// The most marks of a browser that are read, and the longest.
const MOST: usize = 8;
const MAX_VALUE: usize = 64;
const NAME: usize = 8;

/// What a browser is known by while it is at the app. Several tabs that are opened at once each get a cookie of their own name, so none
/// takes the place of another one.
pub(super) struct BrowserMarks(pub(super) Vec<BrowserMark>);

impl BrowserMarks {
    fn prefix(settings: &Settings) -> &'static str {
        if settings.is_https() { "__Host-scopegate_browser_" } else { "scopegate_browser_" }
    }
}

impl FromRequestParts<Context> for BrowserMarks {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        if service.settings.login.app_pages().is_none() {
            return Ok(Self(Vec::new()));
        }
        let prefix = Self::prefix(&service.settings);
        let pairs = parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let marks = pairs.filter_map(|(key, value)| {
            let name = key.strip_prefix(prefix)?;
            let is_ours = name.len() == NAME && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_short = (1..=MAX_VALUE).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
            (is_ours && is_short).then(|| BrowserMark { name: name.to_owned(), value: value.to_owned() })
        });
        Ok(Self(marks.take(MOST).collect()))
    }
}

/// Sends a browser to the app to sign in.
pub(super) async fn login(service: &Context, request: &str, marks: &BrowserMarks) -> Response {
    let is_path = request.starts_with('/');
    if is_path && device::continuation(request).or_else(|| account::continuation(request)).is_none() {
        return pages::error(StatusCode::BAD_REQUEST, Problem::NothingToSignInTo);
    }
    match service.login_at_app(request, &marks.0).await {
        Ok(to_app) => go(&service.settings, &to_app),
        Err(failure) => pages::in_language_of(request, authorize::failed(service, failure)),
    }
}

/// Sends a browser on.
pub(super) fn go(settings: &Settings, ToApp { location, mark }: &ToApp) -> Response {
    let name = format!("{}{}", BrowserMarks::prefix(settings), mark.name);
    let cookie = HeaderValue::try_from(set_cookie(settings, &name, &mark.value, LIFETIME)).ok();
    let cookies: HeaderMap = cookie.into_iter().map(|cookie| (SET_COOKIE, cookie)).collect();
    (cookies, pages::redirect(location)).into_response()
}

/// Takes a browser back.
pub(super) async fn complete(
    State(service): State<Context>,
    cookie: SessionCookie,
    marks: BrowserMarks,
    uri: Uri,
) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let verifier = parameters.get("verifier").unwrap_or_default();
    match service.complete(verifier, &marks.0, cookie.value()).await {
        Ok(Completed::SignedIn { signed_in, next }) => {
            ([(SET_COOKIE, SessionCookie::of(&service.settings, &signed_in))], pages::redirect(&next)).into_response()
        }
        Ok(Completed::Answer(answer)) => pages::answer(&answer),
        Err(CompletionFailure::Forged) => pages::error(StatusCode::FORBIDDEN, Problem::Forged),
        Err(CompletionFailure::Over(restart)) => {
            let request = restart.as_deref().and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
            pages::in_language_of(request, pages::start_again(restart.as_deref()))
        }
        Err(CompletionFailure::Rejected) => pages::error(StatusCode::FORBIDDEN, Problem::NotAdmitted),
        Err(CompletionFailure::Authorization(failure)) => authorize::failed(&service, failure),
    }
}
