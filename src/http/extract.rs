//! What handlers take from a request.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::convert::Infallible;

use super::error::{OAuthFailure, unreadable_page};
use super::{Context, DPOP};
use crate::domain::certificate::ClientCertificate;
use crate::domain::error::InvalidRequest;
use crate::domain::multipart;
use crate::domain::parameters::Parameters;
use crate::service::Settings;
use crate::service::app_sign_in::Visitor;
use crate::service::client_authentication::Caller;
use crate::service::known_browser;
use crate::service::possession::ShownKeys;
use crate::service::sign_in::SignedIn;
use crate::service::token_endpoint::{ClientRequests, ContentType};

/// The largest form or document.
const MAX_FORM_BYTES: usize = 64 << 10;
/// How long a client may take to send it.
const FORM_PATIENCE: Duration = Duration::from_secs(10);

/// The address that a connection comes from: that of the proxy in front, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// The certificate of the client at the other end of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionCertificate(pub ClientCertificate);

/// The body of a browser's request, as it came: `application/x-www-form-urlencoded`.
pub(super) struct FormText(pub(super) String);

impl FormText {
    async fn read(request: Request) -> Result<Self, InvalidRequest> {
        if !has_type(&request, "application/x-www-form-urlencoded") {
            return Err(InvalidRequest::NotAForm);
        }
        String::from_utf8(body(request).await?.into()).map(Self).map_err(|_| InvalidRequest::NotAForm)
    }
}

/// The body of a request, as it came: `application/json`.
pub(super) struct JsonText(pub(super) Bytes);

impl FromRequest<Context> for JsonText {
    type Rejection = OAuthFailure;

    async fn from_request(request: Request, _: &Context) -> Result<Self, OAuthFailure> {
        if !has_type(&request, "application/json") {
            return Err(InvalidRequest::NotJson.into());
        }
        Ok(Self(body(request).await?))
    }
}

pub(super) fn has_type(request: &Request, expected: &str) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

pub(super) async fn body(request: Request) -> Result<Bytes, InvalidRequest> {
    let body = Limited::new(request.into_body(), MAX_FORM_BYTES).collect();
    match tokio::time::timeout(FORM_PATIENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(InvalidRequest::TooLarge),
        Ok(Err(_)) | Err(_) => Err(InvalidRequest::Unreadable),
    }
}

impl FromRequest<Context> for FormText {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Context) -> Result<Self, Response> {
        Self::read(request).await.map_err(|error| unreadable_page(&error))
    }
}

/// The parameters of a page's form. Whoever sends another one is told on a page too.
pub(super) struct PageForm(pub(super) Parameters);

impl FromRequest<Context> for PageForm {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Context) -> Result<Self, Response> {
        let read = async { Parameters::parse(FormText::read(request).await?.0.as_bytes()) };
        read.await.map(Self).map_err(|error| unreadable_page(&error))
    }
}

/// The parameters of a form that a page of the app sends itself, or a script of it, which may write `FormData` as it is. Whoever reads it says
/// in the words of that app what is wrong with it.
pub(super) struct AppForm(pub(super) Result<Parameters, InvalidRequest>);

impl FromRequest<Context> for AppForm {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &Context) -> Result<Self, Infallible> {
        Ok(Self(if has_type(&request, ContentType::Multipart.media_type()) {
            multipart_parameters(request).await
        } else {
            FormText::read(request).await.and_then(|form| Parameters::parse(form.0.as_bytes()))
        }))
    }
}

async fn multipart_parameters(request: Request) -> Result<Parameters, InvalidRequest> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    multipart::parse(&content_type, &body(request).await?)
}

/// The parameters of a form that a client sends.
pub(super) struct Form(pub(super) Parameters);

impl FromRequest<Context> for Form {
    type Rejection = OAuthFailure;

    async fn from_request(request: Request, _: &Context) -> Result<Self, OAuthFailure> {
        let FormText(text) = FormText::read(request).await?;
        Ok(Self(Parameters::parse(text.as_bytes())?))
    }
}

/// The parameters of a request to an endpoint for clients, in whatever content type is taken there (`[token_endpoint]`).
pub(super) struct ClientForm(pub(super) Parameters);

impl FromRequest<Context> for ClientForm {
    type Rejection = OAuthFailure;

    async fn from_request(request: Request, service: &Context) -> Result<Self, OAuthFailure> {
        let ClientRequests { content_types, refuse_query, .. } = &service.settings.client_requests;
        if *refuse_query && request.uri().query().is_some() {
            return Err(InvalidRequest::Query.into());
        }
        let taken = content_types.iter().find(|taken| has_type(&request, taken.media_type())).copied();
        Ok(Self(match taken {
            Some(ContentType::Form) => Form::from_request(request, service).await?.0,
            Some(ContentType::Json) => Parameters::from_json(&body(request).await?)?,
            Some(ContentType::Multipart) => multipart_parameters(request).await?,
            None if content_types == &[ContentType::Form] => return Err(InvalidRequest::NotAForm.into()),
            None => return Err(InvalidRequest::ContentType.into()),
        }))
    }
}

/// Where a request comes from: the peer, or whoever the proxies in front name. `None` where one of them does not say.
#[derive(Clone, Copy)]
pub(super) struct Origin(pub(super) Option<IpAddr>);

impl FromRequestParts<Context> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        let peer: Option<&ClientAddress> = parts.extensions.get();
        Ok(Self(peer.and_then(|ClientAddress(peer)| service.settings.client_addresses.of(&parts.headers, *peer))))
    }
}

/// Every `Authorization` header: there should be one at most, and whoever reads them has to see when there are more.
pub(super) struct AuthorizationHeaders {
    values: Vec<Vec<u8>>,
    origin: Origin,
}

impl AuthorizationHeaders {
    pub(super) fn values(&self) -> Vec<&[u8]> {
        self.values.iter().map(Vec::as_slice).collect()
    }

    /// Who sends them, with these keys.
    pub(super) fn caller<'a>(&'a self, shown: &'a ShownKeys) -> Caller<'a> {
        Caller { authorization: self.values(), address: self.origin.0, certificate: shown.certificate.as_ref() }
    }
}

impl FromRequestParts<Context> for AuthorizationHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        let values = parts.headers.get_all(AUTHORIZATION).iter().map(|value| value.as_bytes().to_vec()).collect();
        Ok(Self { values, origin: Origin::from_request_parts(parts, service).await? })
    }
}

/// Every `DPoP` header, for the same reason (RFC 9449 §4.3), and the client's certificate.
pub(super) struct Keys(pub(super) ShownKeys);

impl FromRequestParts<Context> for Keys {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        let binds = service.settings.binds_by_dpop;
        let proofs = parts.headers.get_all(DPOP).iter().filter(|_| binds);
        let proofs = proofs.map(|value| value.as_bytes().to_vec()).collect();
        let certificate = match (&service.settings.client_certificates, parts.extensions.get()) {
            (Some(certificates), Some(ClientAddress(peer))) => {
                let connection = parts.extensions.get().map(|ConnectionCertificate(certificate)| certificate);
                certificates.of(&parts.headers, *peer, connection)
            }
            _ => None,
        };
        Ok(Self(ShownKeys { path: parts.uri.path().to_owned(), proofs, certificate }))
    }
}

/// The browser's session cookie, and what else shows who sends a request.
pub(super) struct SessionCookie(Visitor);

impl SessionCookie {
    pub(super) fn value(&self) -> Option<&str> {
        self.0.cookie.as_deref()
    }

    pub(super) fn visitor(&self) -> &Visitor {
        &self.0
    }

    pub(super) fn into_visitor(self) -> Visitor {
        self.0
    }

    /// Its name. The `__Host-` prefix makes browsers refuse a cookie that another host or path planted.
    pub(super) fn name(settings: &Settings) -> &'static str {
        if settings.is_https() { "__Host-scopegate_session" } else { "scopegate_session" }
    }

    /// What gives it to a browser.
    pub(super) fn of(settings: &Settings, signed_in: &SignedIn) -> String {
        Self::set(settings, signed_in.cookie.expose(), signed_in.max_age)
    }

    /// What takes it from a browser.
    pub(super) fn ended(settings: &Settings) -> String {
        Self::set(settings, "", 0)
    }

    fn set(settings: &Settings, value: &str, max_age: u32) -> String {
        set_cookie(settings, Self::name(settings), value, max_age)
    }
}

/// The cookie by which a browser is known in which somebody signed in before.
pub(super) struct KnownBrowserCookie(Option<String>);

impl KnownBrowserCookie {
    pub(super) fn value(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn name(settings: &Settings) -> &'static str {
        if settings.is_https() { "__Host-scopegate_signed_in_before" } else { "scopegate_signed_in_before" }
    }

    /// What gives it to a browser.
    pub(super) fn of(settings: &Settings, value: &str) -> String {
        set_cookie(settings, Self::name(settings), value, known_browser::LIFETIME)
    }
}

impl FromRequestParts<Context> for KnownBrowserCookie {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        Ok(Self(cookie(parts, Self::name(&service.settings))))
    }
}

pub(super) fn set_cookie(settings: &Settings, name: &str, value: &str, max_age: u32) -> String {
    let secure = if settings.is_https() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}")
}

/// The first cookie of this name.
fn cookie(parts: &Parts, name: &str) -> Option<String> {
    parts
        .headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
}

impl FromRequestParts<Context> for SessionCookie {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Context) -> Result<Self, Infallible> {
        let peer = parts.extensions.get().map(|ClientAddress(peer)| *peer);
        let evidence = service.settings.login.evidence(&parts.headers, peer);
        Ok(Self(Visitor { cookie: cookie(parts, Self::name(&service.settings)), evidence }))
    }
}
