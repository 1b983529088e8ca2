//! The APIs by which users manage apps in the shapes of other systems (`apps.api`). Each shape has a file: its paths, members and texts.
//! What they have in common is here: who sends a request, and what its body says.
//!
//! Pages of every origin may call these APIs with the user's token of the app. Cookies, and passwords that browsers send by themselves,
//! count only where no other site has the browser send them.

mod fittrackee;
mod forgejo;
mod funkwhale;
mod gancio;

use std::convert::Infallible;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use tower_http::cors::{Any, CorsLayer};

use super::Context;
use super::error::{self, OAuthFailure, no_store};
use super::extract::{self, Origin, SessionCookie};
use crate::domain::multipart;
use crate::domain::parameters::MAX_PARAMETERS;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::timestamp::Timestamp;
use crate::service::Settings;
use crate::service::app_sign_in::{Evidence, LoginMethod};
use crate::service::apps::{AppCaller, AppsApi};
use crate::store::App;

/// The API that is offered, if one is.
pub(super) fn router(settings: &Settings) -> Router<Context> {
    let router = match settings.apps.api {
        AppsApi::None => return Router::new(),
        AppsApi::FitTrackee => fittrackee::router(),
        AppsApi::Funkwhale => funkwhale::router(),
        AppsApi::Gancio => gancio::router(),
        AppsApi::Forgejo => forgejo::router(settings),
    };
    let page = if settings.apps.api == AppsApi::Funkwhale { funkwhale::page(settings) } else { Router::new() };
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    // Before the layer, so that it answers when browsers ask first.
    router
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_methods(methods)
                .allow_headers([AUTHORIZATION, CONTENT_TYPE])
                .expose_headers([RETRY_AFTER]),
        )
        .merge(page)
}

/// Who sends a request.
struct Sender(AppCaller);

impl FromRequestParts<Context> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        let Origin(address) = Origin::from_request_parts(parts, service).await?;
        let by_proxy = matches!(service.settings.login.method, LoginMethod::TrustedHeader(_));
        let from_elsewhere = is_from_elsewhere(&parts.headers, &service.settings.issuer);
        let mut shown = parts.clone();
        let names_itself = parts.headers.get_all(AUTHORIZATION).iter().any(|value| is_token(value.as_bytes()));
        if from_elsewhere || names_itself {
            // A token alone says who it is.
            shown.headers.remove(COOKIE);
        }
        if from_elsewhere && !names_itself {
            shown.headers.remove(AUTHORIZATION);
        }
        let authorization =
            shown.headers.get_all(AUTHORIZATION).iter().map(|value| value.as_bytes().to_vec()).collect();
        let mut visitor = SessionCookie::from_request_parts(&mut shown, service).await?.into_visitor();
        if from_elsewhere && by_proxy {
            // By which the proxy knows its user is what browsers send by themselves.
            visitor.evidence = Evidence::None;
        }
        Ok(Self(AppCaller { visitor, authorization, address }))
    }
}

/// Whether a header has what no browser adds by itself.
fn is_token(authorization: &[u8]) -> bool {
    let scheme = authorization.split(|byte| *byte == b' ').next().unwrap_or_default();
    [&b"bearer"[..], b"token", b"dpop"].iter().any(|token| scheme.eq_ignore_ascii_case(token))
}

/// Whether a page of another origin may have the browser send this. What no browser sends is from nowhere else.
fn is_from_elsewhere(headers: &HeaderMap, issuer: &str) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site != "same-origin" && site != "none",
        None => headers.get_all(ORIGIN).iter().any(|origin| origin != issuer),
    }
}

/// The members of a body: a JSON object or a form. `None` for what cannot be read.
struct Said(Option<Map<String, Value>>);

impl FromRequest<Context> for Said {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Context) -> Result<Self, Response> {
        let kinds = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"];
        let kind = kinds.iter().position(|kind| extract::has_type(&request, kind));
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let body = extract::body(request).await.map_err(|error| OAuthFailure::from(error).into_response())?;
        Ok(Self(match kind {
            Some(0) => serde_json::from_slice(&body).ok(),
            Some(1) => {
                let pairs: Vec<_> = form_urlencoded::parse(&body).take(MAX_PARAMETERS + 1).collect();
                (pairs.len() <= MAX_PARAMETERS).then(|| {
                    pairs.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()
                })
            }
            Some(_) => multipart::fields(&content_type, &body)
                .ok()
                .filter(|fields| fields.len() <= MAX_PARAMETERS)
                .map(|fields| fields.into_iter().map(|(name, value)| (name, value.as_str().into())).collect()),
            None => None,
        }))
    }
}

/// A member that is text.
fn text(said: &Map<String, Value>, name: &str) -> Option<String> {
    said.get(name)?.as_str().map(str::to_owned)
}

/// A member that is a list of texts. `None` where it is something else.
fn texts(said: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    said.get(name)?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Where the answers to an app go.
fn uris(app: &App) -> Vec<&str> {
    app.client.redirect_uris.iter().map(RedirectUri::as_str).collect()
}

fn number(app: &App) -> u64 {
    app.details.as_ref().map_or(0, |details| details.number)
}

/// RFC 3339.
fn date_time(at: Timestamp) -> String {
    prost_types::Timestamp { seconds: at.as_unix(), nanos: 0 }.to_string()
}

/// A page of a list, from 1, and how many it has.
struct Page {
    number: usize,
    size: usize,
}

impl Page {
    fn of<'l, T>(&self, list: &'l [T]) -> &'l [T] {
        let start = self.number.saturating_sub(1).saturating_mul(self.size).min(list.len());
        &list[start..start.saturating_add(self.size).min(list.len())]
    }

    fn count(&self, length: usize) -> usize {
        length.div_ceil(self.size)
    }
}

/// A parameter of a query.
fn query(uri: &http::Uri, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.into_iter().find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    (status, no_store(), Json(body)).into_response()
}

fn later(mut response: Response, seconds: u32) -> Response {
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_site_has_a_browser_send_is_told_apart() {
        let is_elsewhere = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
            is_from_elsewhere(&headers.collect(), "https://i")
        };
        for own in
            [&[][..], &[("sec-fetch-site", "same-origin")], &[("sec-fetch-site", "none")], &[("origin", "https://i")]]
        {
            assert!(!is_elsewhere(own), "{own:?}");
        }
        for other in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://i")],
            &[("origin", "https://evil")],
            &[("origin", "null")],
            &[("origin", "http://i")],
        ] {
            assert!(is_elsewhere(other), "{other:?}");
        }
        assert!(is_token(b"Bearer x") && is_token(b"token x") && !is_token(b"Basic x") && !is_token(b"Negotiate x"));
    }
}
