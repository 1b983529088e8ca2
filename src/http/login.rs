//! `GET|POST /login` and `POST /login/switch`: the built-in login. Where an app asks users in its place, `GET` leads there.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::Context;
use super::error::unavailable_page;
use super::extract::{KnownBrowserCookie, Origin, PageForm, SessionCookie};
use super::interaction::BrowserMarks;
use super::pages::{self, LastSignIn, Problem};
use super::{account, authorize, device, interaction};
use crate::domain::parameters::Parameters;
use crate::service::Service;
use crate::service::sign_in::{SignIn, SignInFailure};

pub(super) async fn show(State(service): State<Context>, marks: BrowserMarks, uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    match (parameters.get("request"), service.settings.login.app_pages()) {
        (Some(request), Some(_)) => interaction::login(&service, request, &marks).await,
        (request, _) => login_page(&service, request, LastSignIn::None).await,
    }
}

pub(super) async fn sign_in(
    State(service): State<Context>,
    cookie: SessionCookie,
    Origin(address): Origin,
    known_browser: KnownBrowserCookie,
    PageForm(form): PageForm,
) -> Response {
    let (username, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    let known_browser = known_browser.value();
    match service.sign_in(SignIn { username, password, present: cookie.value(), address, known_browser }).await {
        Ok(signed_in) => {
            let request = form.get("request").unwrap_or_default();
            let session = SessionCookie::of(&service.settings, &signed_in);
            let known =
                signed_in.known_browser.as_deref().map(|value| KnownBrowserCookie::of(&service.settings, value));
            let cookies: HeaderMap = std::iter::once(session)
                .chain(known)
                .filter_map(|cookie| Some((SET_COOKIE, HeaderValue::try_from(cookie).ok()?)))
                .collect();
            let next = device::continuation(request).or_else(|| account::continuation(request)).unwrap_or_else(|| {
                let query = service.after_sign_in(&signed_in, request);
                format!("{}?{query}", service.settings.paths.authorize.first())
            });
            (cookies, pages::redirect(&next)).into_response()
        }
        Err(SignInFailure::Refused) => {
            login_page(&service, form.get("request"), LastSignIn::Refused { username }).await
        }
        Err(SignInFailure::TooMany(too_many)) => {
            let seconds = too_many.retry_after;
            let page = login_page(&service, form.get("request"), LastSignIn::TooMany { username, seconds }).await;
            ([(RETRY_AFTER, HeaderValue::from(seconds))], page).into_response()
        }
        Err(SignInFailure::Unavailable(error)) => unavailable_page(&error),
    }
}

/// Signs out, so that somebody else can sign in for the same request.
pub(super) async fn switch(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    match service.sign_out(cookie.value()).await {
        Ok(()) => {
            let next = pages::with_request("/login", form.get("request").unwrap_or_default());
            if service.settings.login.is_built_in() { pages::redirect(&next) } else { pages::go_on(&next) }
        }
        Err(error) => unavailable_page(&error),
    }
}

/// The page, with the user name again where it did not work.
async fn login_page(service: &Service, request: Option<&str>, last: LastSignIn<'_>) -> Response {
    let Some(request) = request else {
        return pages::error(StatusCode::BAD_REQUEST, Problem::NothingToSignInTo);
    };
    if device::continuation(request).is_some() {
        return pages::login_to_device(request, last);
    }
    if account::continuation(request).is_some() {
        return pages::login_to_account(request, last);
    }
    match service.login_prompt(request).await {
        Ok(prompt) => pages::login_to_app(&prompt, request, last),
        Err(failure) => pages::in_language_of(request, authorize::failed(service, failure)),
    }
}
