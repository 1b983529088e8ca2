//! `/admin/oauth2/auth/requests`: what [`crate::proto::scopegate::v1`] calls `InteractionService`, in the shape of the login and consent
//! API of Ory Hydra v2, for login apps that are written for it. Only callers with the permission `interact` get anything but 401 and 403.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Context;
use super::error::{OAuthFailure, no_store};
use super::extract::JsonText;
use crate::domain::app_user::UserClaims;
use crate::domain::audit::{Actor, CallerRefusal, Event};
use crate::domain::caller::{Callers, Permission};
use crate::domain::client::Client;
use crate::domain::interaction::{AppSignIn, Kind, Rejection, Unacceptable};
use crate::domain::redirect_uri::RedirectUri;
use crate::service::audit::acting_as;
use crate::service::interaction::{Asked, ConsentAnswer, InteractionFailure, SignInAnswer};

const PATH: &str = "/admin/oauth2/auth/requests";

/// Why there is no answer.
enum Failure {
    CallerUnknown,
    CallerNotPermitted,
    Malformed(&'static str),
    Interaction(InteractionFailure),
}

impl From<InteractionFailure> for Failure {
    fn from(failure: InteractionFailure) -> Self {
        Self::Interaction(failure)
    }
}

impl From<Unacceptable> for Failure {
    fn from(error: Unacceptable) -> Self {
        Self::Interaction(error.into())
    }
}

/// The body that accepts a login. What is not named here does nothing.
#[derive(Deserialize)]
struct AcceptLogin {
    subject: String,
    #[serde(default)]
    remember: bool,
    #[serde(default)]
    remember_for: u32,
    #[serde(default)]
    acr: Option<String>,
    #[serde(default)]
    amr: Option<Vec<String>>,
    #[serde(default)]
    context: Option<Value>,
    /// Of ours: what is known of the user.
    #[serde(default)]
    claims: UserClaims,
}

/// The body that accepts a consent.
#[derive(Deserialize)]
struct AcceptConsent {
    #[serde(default)]
    grant_scope: Option<Vec<String>>,
    #[serde(default)]
    grant_access_token_audience: Option<Vec<String>>,
    #[serde(default)]
    remember: bool,
    #[serde(default)]
    remember_for: u32,
    #[serde(default)]
    session: Option<ConsentSession>,
}

#[derive(Deserialize)]
struct ConsentSession {
    #[serde(default)]
    id_token: Option<UserClaims>,
}

/// The body that rejects.
#[derive(Default, Deserialize)]
struct Reject {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

pub(super) fn router(callers: Arc<Callers>) -> Router<Context> {
    Router::new()
        .route(&format!("{PATH}/login"), get(login))
        .route(&format!("{PATH}/login/accept"), put(accept_login))
        .route(&format!("{PATH}/login/reject"), put(reject_login))
        .route(&format!("{PATH}/consent"), get(consent))
        .route(&format!("{PATH}/consent/accept"), put(accept_consent))
        .route(&format!("{PATH}/consent/reject"), put(reject_consent))
        .layer(Extension(callers))
}

type Known = Extension<Arc<Callers>>;

async fn login(State(service): State<Context>, Extension(callers): Known, headers: HeaderMap, uri: Uri) -> Response {
    asked(&service, &callers, &headers, &uri, Kind::Login).await.into_response()
}

async fn consent(State(service): State<Context>, Extension(callers): Known, headers: HeaderMap, uri: Uri) -> Response {
    asked(&service, &callers, &headers, &uri, Kind::Consent).await.into_response()
}

async fn asked(
    service: &Context,
    callers: &Callers,
    headers: &HeaderMap,
    uri: &Uri,
    kind: Kind,
) -> Result<Response, Failure> {
    caller(service, callers, headers)?;
    let challenge = challenge(uri, kind)?;
    let asked = service.interaction_asked(Some(kind), &challenge).await?;
    Ok((no_store(), Json(described(&challenge, asked))).into_response())
}

async fn accept_login(
    State(service): State<Context>,
    Extension(callers): Known,
    headers: HeaderMap,
    uri: Uri,
    body: Result<JsonText, OAuthFailure>,
) -> Response {
    let accepted = async |actor: Actor, body: AcceptLogin| {
        let challenge = challenge(&uri, Kind::Login)?;
        let context = body.context.filter(|context| !context.is_null());
        let answer = SignInAnswer {
            subject: body.subject,
            claims: body.claims,
            sign_in: AppSignIn {
                acr: body.acr.filter(|acr| !acr.is_empty()),
                amr: body.amr.unwrap_or_default(),
                remembered: body.remember,
                for_pages: false,
                context: context.map(|context| context.to_string()),
            },
            remember_for: body.remember_for,
        };
        Ok(acting_as(actor, service.accept_login(&challenge, answer)).await?)
    };
    changed(&service, &callers, &headers, body, accepted).await
}

async fn accept_consent(
    State(service): State<Context>,
    Extension(callers): Known,
    headers: HeaderMap,
    uri: Uri,
    body: Result<JsonText, OAuthFailure>,
) -> Response {
    let accepted = async |actor: Actor, body: AcceptConsent| {
        let challenge = challenge(&uri, Kind::Consent)?;
        let answer = ConsentAnswer {
            scopes: body.grant_scope.unwrap_or_default(),
            resources: body.grant_access_token_audience.unwrap_or_default(),
            // For how long is the operator's to say: what should end sooner is asked again.
            remember: body.remember && body.remember_for == 0,
            claims: body.session.and_then(|session| session.id_token).unwrap_or_default(),
        };
        Ok(acting_as(actor, service.accept_consent(&challenge, answer)).await?)
    };
    changed(&service, &callers, &headers, body, accepted).await
}

async fn reject_login(
    state: State<Context>,
    callers: Known,
    headers: HeaderMap,
    uri: Uri,
    body: Result<JsonText, OAuthFailure>,
) -> Response {
    reject(state, callers, headers, &uri, body, Kind::Login).await
}

async fn reject_consent(
    state: State<Context>,
    callers: Known,
    headers: HeaderMap,
    uri: Uri,
    body: Result<JsonText, OAuthFailure>,
) -> Response {
    reject(state, callers, headers, &uri, body, Kind::Consent).await
}

async fn reject(
    State(service): State<Context>,
    Extension(callers): Known,
    headers: HeaderMap,
    uri: &Uri,
    body: Result<JsonText, OAuthFailure>,
    kind: Kind,
) -> Response {
    let rejected = async |actor: Actor, Reject { error, error_description }: Reject| {
        let challenge = challenge(uri, kind)?;
        let rejection = Rejection::new(&error.unwrap_or_default(), &error_description.unwrap_or_default())?;
        Ok(acting_as(actor, service.reject_interaction(Some(kind), &challenge, rejection)).await?)
    };
    changed(&service, &callers, &headers, body, rejected).await
}

/// Who calls comes first: nobody else is told even that a body is wrong.
async fn changed<B: DeserializeOwned>(
    service: &Context,
    callers: &Callers,
    headers: &HeaderMap,
    body: Result<JsonText, OAuthFailure>,
    change: impl AsyncFnOnce(Actor, B) -> Result<String, Failure>,
) -> Response {
    let actor = match caller(service, callers, headers) {
        Ok(actor) => actor,
        Err(failure) => return failure.into_response(),
    };
    let body = match body {
        Ok(JsonText(body)) => body,
        Err(failure) => return failure.into_response(),
    };
    let changed = match serde_json::from_slice(&body) {
        Ok(body) => change(actor, body).await,
        Err(_) => Err(Failure::Malformed("the body is no JSON object with members of their types")),
    };
    match changed {
        Ok(redirect_to) => (no_store(), Json(json!({ "redirect_to": redirect_to }))).into_response(),
        Err(failure) => failure.into_response(),
    }
}

fn caller(service: &Context, callers: &Callers, headers: &HeaderMap) -> Result<Actor, Failure> {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    let token = match (presented.next(), presented.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")),
        _ => None,
    };
    let Some(id) = token.and_then(|token| callers.with_token(token)) else {
        service.audit.record(Event::CallerRefused(CallerRefusal::Unknown));
        return Err(Failure::CallerUnknown);
    };
    let caller = callers.get(id);
    if !caller.may(Permission::Interact) {
        tracing::warn!(caller = &*caller.name, "a caller asked for what it may not do");
        service.audit.record(Event::CallerRefused(CallerRefusal::NotPermitted));
        return Err(Failure::CallerNotPermitted);
    }
    Ok(Actor::Caller(caller.name.clone()))
}

/// The one that browsers bring. It is the longest parameter that there is, and may be called `challenge` as in older versions.
fn challenge(uri: &Uri, kind: Kind) -> Result<String, Failure> {
    let name = match kind {
        Kind::Login => "login_challenge",
        Kind::Consent => "consent_challenge",
    };
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let found = pairs.find(|(key, value)| (key == name || key == "challenge") && !value.is_empty());
    found.map(|(_, value)| value.into_owned()).ok_or(Failure::Malformed("the challenge is missing"))
}

/// Texts that are not there are empty, as in Hydra's answers.
fn described(challenge: &str, asked: Asked) -> Value {
    let mut said = Map::new();
    let mut say = |name: &str, value: Value| said.insert(name.to_owned(), value);
    say("challenge", challenge.into());
    say("request_url", asked.request_url.into());
    say("client", asked.client.as_ref().map_or_else(|| json!({ "client_id": "", "client_name": "" }), client));
    // Nobody is sent to the app where nothing has to be asked.
    say("skip", false.into());
    let (scopes, resources, sign_in) = match asked.request {
        Some(request) => (
            request.scopes.iter().map(str::to_owned).collect(),
            request.resources.iter().map(ToString::to_string).collect(),
            request.sign_in,
        ),
        None => (Vec::<String>::new(), Vec::<String>::new(), crate::domain::openid::SignInRequest::default()),
    };
    say("requested_scope", scopes.into());
    say("requested_access_token_audience", resources.into());
    let mut context = Map::new();
    if let Some(hint) = sign_in.login_hint {
        context.insert("login_hint".to_owned(), hint.into());
    }
    if let Some(locales) = sign_in.ui_locales {
        context.insert("ui_locales".to_owned(), locales.split_ascii_whitespace().collect::<Vec<_>>().into());
    }
    say("oidc_context", context.into());
    match asked.session {
        None => {
            say("subject", "".into());
            say("session_id", "".into());
        }
        Some(session) => {
            let sign_in = *session.sign_in.unwrap_or_default();
            say("subject", session.subject.as_str().into());
            say("login_session_id", session.id.to_string().into());
            say("acr", sign_in.acr.unwrap_or_default().into());
            say("amr", sign_in.amr.into());
            let context = sign_in.context.and_then(|context| serde_json::from_str(&context).ok());
            say("context", context.unwrap_or_else(|| json!({})));
        }
    }
    said.into()
}

fn client(client: &Client) -> Value {
    let metadata = &client.metadata;
    json!({
        "client_id": client.id.as_str(),
        "client_name": client.name,
        "redirect_uris": client.redirect_uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>(),
        "grant_types": metadata.grant_types.iter().map(|grant_type| grant_type.as_str()).collect::<Vec<_>>(),
        "response_types": ["code"],
        "scope": client.scopes.to_string(),
        "client_uri": metadata.client_uri.as_deref().unwrap_or_default(),
        "logo_uri": metadata.logo_uri.as_deref().unwrap_or_default(),
        "policy_uri": metadata.policy_uri.as_deref().unwrap_or_default(),
        "tos_uri": metadata.tos_uri.as_deref().unwrap_or_default(),
        "contacts": metadata.contacts,
        "token_endpoint_auth_method": client.authentication_method().as_str(),
        "subject_type": "public",
        // Of ours: whether an operator vouches for it.
        "metadata": { "verified": client.is_verified() },
    })
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error, description) = match self {
            Self::CallerUnknown => {
                let why = "present a caller token as `authorization: Bearer …`";
                let response = (StatusCode::UNAUTHORIZED, body("request_unauthorized", why));
                return ([(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))], response).into_response();
            }
            Self::CallerNotPermitted => {
                (StatusCode::FORBIDDEN, "request_forbidden", "this caller may not interact".to_owned())
            }
            Self::Malformed(why) => (StatusCode::BAD_REQUEST, "invalid_request", why.to_owned()),
            Self::Interaction(InteractionFailure::Unknown) => {
                (StatusCode::NOT_FOUND, "not_found", "there is no such challenge".to_owned())
            }
            Self::Interaction(InteractionFailure::Over { restart }) => {
                let body = Json(json!({ "redirect_to": restart }));
                return (StatusCode::GONE, no_store(), body).into_response();
            }
            Self::Interaction(InteractionFailure::Unacceptable(error)) => {
                (StatusCode::BAD_REQUEST, "invalid_request", error.to_string())
            }
            Self::Interaction(InteractionFailure::Unavailable(error)) => {
                return OAuthFailure::from(error).into_response();
            }
        };
        (status, body(error, &description)).into_response()
    }
}

fn body(error: &str, description: &str) -> impl IntoResponse {
    (no_store(), Json(json!({ "error": error, "error_description": description })))
}
