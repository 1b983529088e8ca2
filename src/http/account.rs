//! `/account/…`: the pages on which users manage the apps that may use their account, and those that they make.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::header::SET_COOKIE;
use http::{StatusCode, Uri};

use super::Context;
use super::error::unavailable_page;
use super::extract::{PageForm, SessionCookie};
use super::pages::account::{self as page, Nav, Place};
use super::pages::{self, Notice, Problem};
use crate::service::Settings;
use crate::service::app_sign_in::Again;
use crate::service::managing::ManagingFailure;
use crate::service::own_clients::{Said, Sent};

const APPS: &str = "/account/apps";
const CLIENTS: &str = "/account/clients";
const NEW: &str = "/account/clients/new";

/// Those pages that are offered.
pub(super) fn forms(settings: &Settings) -> Router<Context> {
    let (apps_are, clients_are) = (settings.account.apps, offers_clients(settings));
    let mut router = Router::new();
    if apps_are {
        router = router.route(APPS, get(apps)).route("/account/apps/revoke", post(revoke));
    }
    if clients_are {
        router = router
            .route(CLIENTS, get(clients))
            .route(NEW, get(new).post(create))
            .route("/account/clients/{id}", get(show).post(change))
            .route("/account/clients/{id}/secret", get(ask_for_secret).post(rotate))
            .route("/account/clients/{id}/delete", get(ask_to_delete).post(delete));
    }
    if settings.login.has_sessions() && (apps_are || clients_are) {
        router = router.route("/account/sign-out", post(sign_out));
    }
    router
}

/// Their forms ask for a recent sign-in, so it has to be known when that was.
fn offers_clients(settings: &Settings) -> bool {
    settings.account.clients.is_some() && settings.login.tells_sign_in_times()
}

/// Where a sign-in leads if it is for one of these pages: a path of ours, in which nothing means anything to a browser.
pub(super) fn continuation(request: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-');
    let is_ours = request.starts_with("/account/") && request.len() <= 200 && request.bytes().all(is_plain);
    is_ours.then(|| request.to_owned())
}

async fn apps(State(service): State<Context>, cookie: SessionCookie, uri: Uri) -> Response {
    match service.connected_apps(cookie.visitor()).await {
        Ok(shown) => page::apps(&shown, &nav(&service, &shown.username, Place::Apps)),
        Err(failure) => failed(&service, failure, APPS, uri.query()),
    }
}

async fn revoke(State(service): State<Context>, cookie: SessionCookie, PageForm(form): PageForm) -> Response {
    match Box::pin(service.disconnect_app(&form, cookie.visitor())).await {
        Ok(()) => pages::redirect(APPS),
        Err(failure) => failed(&service, failure, APPS, None),
    }
}

async fn clients(State(service): State<Context>, cookie: SessionCookie, uri: Uri) -> Response {
    match service.own_clients(cookie.visitor()).await {
        Ok(shown) => page::clients(&shown, &nav(&service, &shown.username, Place::Clients)),
        Err(failure) => failed(&service, failure, CLIENTS, uri.query()),
    }
}

async fn new(State(service): State<Context>, cookie: SessionCookie, uri: Uri) -> Response {
    filled(&service, &cookie, uri.query(), Said::nothing()).await
}

/// The form for a new one, with this in it. Who has to sign in first finds it empty.
pub(super) async fn filled(service: &Context, cookie: &SessionCookie, query: Option<&str>, said: Said) -> Response {
    match service.new_own_client(cookie.visitor(), said).await {
        Ok(form) => page::client(&form, &nav(service, &form.username, Place::Below)),
        Err(failure) => failed(service, failure, NEW, query),
    }
}

async fn create(State(service): State<Context>, cookie: SessionCookie, uri: Uri, PageForm(form): PageForm) -> Response {
    match service.create_own_client(&form, cookie.visitor()).await {
        Ok(Sent::Done(made)) => page::made(&made, &nav(&service, &made.username, Place::Below)),
        Ok(Sent::Again(form)) => page::client(&form, &nav(&service, &form.username, Place::Below)),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

async fn show(State(service): State<Context>, cookie: SessionCookie, uri: Uri, Path(id): Path<String>) -> Response {
    match service.own_client(&id, cookie.visitor()).await {
        Ok(form) => page::client(&form, &nav(&service, &form.username, Place::Below)),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

async fn change(
    State(service): State<Context>,
    cookie: SessionCookie,
    uri: Uri,
    Path(id): Path<String>,
    PageForm(form): PageForm,
) -> Response {
    match service.change_own_client(&id, &form, cookie.visitor()).await {
        Ok(Sent::Done(())) => pages::redirect(CLIENTS),
        Ok(Sent::Again(form)) => page::client(&form, &nav(&service, &form.username, Place::Below)),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

async fn ask_for_secret(
    State(service): State<Context>,
    cookie: SessionCookie,
    uri: Uri,
    Path(id): Path<String>,
) -> Response {
    match service.ask_for_own_secret(&id, cookie.visitor()).await {
        Ok(question) => page::rotate(&question, &nav(&service, &question.username, Place::Below)),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

async fn rotate(
    State(service): State<Context>,
    cookie: SessionCookie,
    uri: Uri,
    Path(id): Path<String>,
    PageForm(form): PageForm,
) -> Response {
    match service.rotate_own_secret(&id, &form, cookie.visitor()).await {
        Ok(made) => page::made(&made, &nav(&service, &made.username, Place::Below)),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

async fn ask_to_delete(
    State(service): State<Context>,
    cookie: SessionCookie,
    uri: Uri,
    Path(id): Path<String>,
) -> Response {
    match service.ask_to_delete_own_client(&id, cookie.visitor()).await {
        Ok(question) => page::delete(&question, &nav(&service, &question.username, Place::Below)),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

async fn delete(
    State(service): State<Context>,
    cookie: SessionCookie,
    uri: Uri,
    Path(id): Path<String>,
    PageForm(form): PageForm,
) -> Response {
    match Box::pin(service.delete_own_client(&id, &form, cookie.visitor())).await {
        Ok(()) => pages::redirect(CLIENTS),
        Err(failure) => failed(&service, failure, uri.path(), uri.query()),
    }
}

/// Our own form asks; nobody else may send it.
async fn sign_out(State(service): State<Context>, cookie: SessionCookie) -> Response {
    match service.sign_out(cookie.value()).await {
        Ok(()) => {
            ([(SET_COOKIE, SessionCookie::ended(&service.settings))], pages::notice(Notice::SignedOut)).into_response()
        }
        Err(error) => unavailable_page(&error),
    }
}

fn nav<'a>(service: &Context, username: &'a str, place: Place) -> Nav<'a> {
    let settings = &service.settings;
    let here = if place == Place::Apps { APPS } else { CLIENTS };
    let both = settings.account.apps && offers_clients(settings);
    Nav { username, place, both, switching: service.switching(here) }
}

/// `path` is where to go on after signing in: the form is shown there anew, if one was sent.
fn failed(service: &Context, failure: ManagingFailure, path: &str, query: Option<&str>) -> Response {
    let not_admitted = || pages::error(StatusCode::FORBIDDEN, Problem::NotAdmitted);
    let no_sign_in_time = || pages::error(StatusCode::FORBIDDEN, Problem::NoSignInTime);
    match failure {
        ManagingFailure::SignIn(_) if service.settings.login.has_sessions() => {
            pages::redirect(&pages::with_request("/login", path))
        }
        ManagingFailure::SignIn(again) => {
            let path = continuation(path).unwrap_or_else(|| APPS.to_owned());
            match (service.app_login_for_page(&path, query, again), again) {
                (Some(page), _) => pages::redirect(&page),
                (None, Again::No) => not_admitted(),
                (None, Again::Yes) => no_sign_in_time(),
            }
        }
        ManagingFailure::NoSignInTime => no_sign_in_time(),
        ManagingFailure::NotAdmitted => not_admitted(),
        ManagingFailure::Stale => pages::error(StatusCode::FORBIDDEN, Problem::Stale),
        ManagingFailure::Unknown => pages::error(StatusCode::NOT_FOUND, Problem::NotFound),
        ManagingFailure::Unavailable(error) => unavailable_page(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c18_a_continuation_is_a_plain_path_of_these_pages() {
        for good in [APPS, CLIENTS, "/account/clients/new", "/account/clients/0123abcd/secret"] {
            assert_eq!(continuation(good).as_deref(), Some(good));
        }
        let long = format!("/account/{}", "a".repeat(200));
        for other in [
            "",
            "/account",
            "//evil.example/account/apps",
            "/\\evil.example",
            "https://evil.example/account/",
            "/account/../login",
            "/account/%2f%2fevil.example",
            "/account/apps?next=//evil.example",
            "/account/apps\r\nlocation: //evil.example",
            "/account/apps#x",
            "/account/ä",
            long.as_str(),
        ] {
            assert_eq!(continuation(other), None, "{other:?}");
        }
    }
}
