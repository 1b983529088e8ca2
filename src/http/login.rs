//! `GET|POST /login` and `POST /login/switch`: the built-in login.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::{StatusCode, Uri};

use super::Context;
use super::error::unavailable_page;
use super::extract::{PageForm, SessionCookie};
use super::pages::{self, Problem};
use super::{authorize, device};
use crate::domain::parameters::Parameters;
use crate::service::Service;

pub(super) async fn show(State(service): State<Context>, uri: Uri) -> Response {
    let parameters = Parameters::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    login_page(&service, parameters.get("request"), None).await
}

pub(super) async fn sign_in(State(service): State<Context>, PageForm(form): PageForm) -> Response {
    let (username, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    match service.sign_in(username, password).await {
        Ok(Some(signed_in)) => {
            let request = form.get("request").unwrap_or_default();
            let cookie = SessionCookie::of(&service.settings, &signed_in);
            let next = device::continuation(request)
                .unwrap_or_else(|| format!("/authorize?{}", service.after_sign_in(&signed_in, request)));
            ([(SET_COOKIE, cookie)], pages::redirect(&next)).into_response()
        }
        Ok(None) => login_page(&service, form.get("request"), Some(username)).await,
        Err(error) => unavailable_page(&error),
    }
}

/// Signs out, so that somebody else can sign in for the same request.
pub(super) async fn switch(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    match service.sign_out(cookie.value()).await {
        Ok(()) => pages::redirect(&pages::with_request("/login", form.get("request").unwrap_or_default())),
        Err(error) => unavailable_page(&error),
    }
}

/// The page, with the user name again where it was refused.
async fn login_page(service: &Service, request: Option<&str>, refused: Option<&str>) -> Response {
    let Some(request) = request else {
        return pages::error(StatusCode::BAD_REQUEST, Problem::NothingToSignInTo);
    };
    if device::continuation(request).is_some() {
        return pages::login_to_device(request, refused);
    }
    match service.login_prompt(request).await {
        Ok(prompt) => pages::login_to_app(&prompt, request, refused),
        Err(failure) => pages::in_language_of(request, authorize::failed(failure)),
    }
}
