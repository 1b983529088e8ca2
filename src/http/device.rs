//! `POST /device_authorization` and `GET|POST /device` (RFC 8628 §3.1 and §3.3).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use serde_json::json;

use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, Form, Keys, PageForm, SessionCookie};
use super::pages::{self, DeviceAlert, Notice};
use super::{Context, authorize};
use crate::domain::parameters::Parameters;
use crate::service::device::{DeviceDecision, DeviceStep};

pub(super) async fn authorize(
    State(service): State<Context>,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    Form(form): Form,
) -> Result<Response, OAuthFailure> {
    let answer = service.authorize_device(&authorization.caller(&shown), &shown, &form).await?;
    let body = json!({
        "device_code": answer.device_code.expose(),
        "user_code": answer.user_code.to_string(),
        "verification_uri": answer.verification_uri,
        "verification_uri_complete": answer.verification_uri_complete,
        "expires_in": answer.expires_in,
        "interval": answer.interval,
    });
    Ok((no_store(), Json(body)).into_response())
}

pub(super) async fn show(State(service): State<Context>, cookie: SessionCookie, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let parameters = Parameters::parse(query.as_bytes()).unwrap_or_default();
    match service.device_step(parameters.get("user_code"), cookie.visitor()).await {
        Ok(DeviceStep::SignIn) => pages::redirect(&pages::with_request("/login", &format!("{PATH}{query}"))),
        Ok(DeviceStep::SignInAt(location)) => pages::redirect(&location),
        Ok(DeviceStep::EnterCode) => pages::device(StatusCode::OK, None),
        Ok(DeviceStep::UnknownCode) => pages::device(StatusCode::NOT_FOUND, Some(DeviceAlert::Unknown)),
        Ok(DeviceStep::TooManyCodes) => pages::device(StatusCode::TOO_MANY_REQUESTS, Some(DeviceAlert::TooMany)),
        Ok(DeviceStep::Confirm(consent)) => pages::device_consent(&consent),
        Err(failure) => authorize::failed(&service, failure.into()),
    }
}

pub(super) async fn decide(
    State(service): State<Context>,
    cookie: SessionCookie,
    PageForm(form): PageForm,
) -> Response {
    match service.decide_device(&form, cookie.visitor()).await {
        Ok(DeviceDecision::Connected) => pages::notice(Notice::DeviceConnected),
        Ok(DeviceDecision::Denied) => pages::notice(Notice::DeviceDenied),
        Err(failure) => authorize::not_decided(&service, failure),
    }
}

/// How an authorization request that waits for a sign-in differs from a device that does: no query begins like this.
const PATH: &str = "/device?";

/// Where a sign-in leads if it is for a device.
pub(super) fn continuation(request: &str) -> Option<String> {
    request.strip_prefix(PATH).map(|query| format!("{PATH}{query}"))
}
