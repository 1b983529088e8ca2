//! `GET|POST /userinfo` (OpenID Connect Core §5.3).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method, StatusCode};

use super::Context;
use super::answers::unauthorized;
use super::error::{OAuthFailure, no_store};
use super::extract::{AuthorizationHeaders, Form, Keys};
use crate::domain::bearer;
use crate::domain::dpop::ALGORITHMS;
use crate::domain::error::InvalidRequest;
use crate::domain::parameters::Parameters;
use crate::domain::presented::Presented;
use crate::service::Service;
use crate::service::possession::ShownKeys;
use crate::service::userinfo::UserInfoFailure;

pub(super) async fn from_header(
    State(service): State<Context>,
    method: Method,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
) -> Response {
    let other = service.settings.gateway.token_scheme.as_deref();
    answer(&service, &method, &shown, bearer::access_token(&authorization.values(), None, other)).await
}

/// A body that is no form carries no token.
pub(super) async fn from_form(
    State(service): State<Context>,
    method: Method,
    authorization: AuthorizationHeaders,
    Keys(shown): Keys,
    form: Result<Form, OAuthFailure>,
) -> Response {
    let form: Option<Parameters> = form.ok().map(|Form(parameters)| parameters);
    let other = service.settings.gateway.token_scheme.as_deref();
    answer(&service, &method, &shown, bearer::access_token(&authorization.values(), form.as_ref(), other)).await
}

async fn answer(
    service: &Service,
    method: &Method,
    shown: &ShownKeys,
    access_token: Result<Option<Presented<'_>>, InvalidRequest>,
) -> Response {
    let presented = match access_token {
        Ok(Some(presented)) => presented,
        // RFC 6750 §3.1: no error is named to who presents nothing. RFC 9449 §7.1: it may come either way.
        Ok(None) => {
            if let Some(response) = unauthorized(&service.settings.answers.userinfo_unauthorized) {
                return response;
            }
            return challenge(StatusCode::UNAUTHORIZED, &format!(r#"Bearer, DPoP algs="{}""#, ALGORITHMS.join(" ")));
        }
        Err(error) => {
            let value = format!(r#"Bearer error="invalid_request", error_description="{error}""#);
            return challenge(StatusCode::BAD_REQUEST, &value);
        }
    };
    match service.user_info(presented, method.as_str(), shown).await {
        Ok(info) => (no_store(), Json(info)).into_response(),
        Err(UserInfoFailure::Challenged { status, www_authenticate }) => {
            if status == 401
                && let Some(response) = unauthorized(&service.settings.answers.userinfo_unauthorized)
            {
                return response;
            }
            challenge(StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED), &www_authenticate)
        }
        Err(UserInfoFailure::Unavailable(error)) => OAuthFailure::from(error).into_response(),
    }
}

fn challenge(status: StatusCode, value: &str) -> Response {
    let value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("Bearer"));
    (status, no_store(), [(WWW_AUTHENTICATE, value)]).into_response()
}
