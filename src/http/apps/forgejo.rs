//! Forgejo: `/api/v1/user/applications/oauth2`. A token of ours manages apps for its user if its scopes say so. The settings page is our
//! own.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderName, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::super::error::{OAuthFailure, no_store};
use super::super::{Context, pages};
use super::{Page, Said, Sender, date_time, number, query, text, texts, uris};
use crate::domain::registration::AppDraft;
use crate::domain::secret::RandomSecret;
use crate::service::Settings;
use crate::service::apps::{AppCaller, AppChange, AppFailure, AppName, MadeApp, Scopes};
use crate::store::App;

const PATH: &str = "/api/v1/user/applications/oauth2";
const READ: Scopes = &["read:user", "write:user", "all"];
const WRITE: Scopes = &["write:user", "all"];
const PAGE_SIZE: usize = 30;
const MAX_PAGE_SIZE: usize = 50;
const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

pub(super) fn router(settings: &Settings) -> Router<Context> {
    let router = Router::new()
        .route(PATH, get(list).post(create))
        .route(&format!("{PATH}/{{id}}"), get(show).patch(change).delete(delete));
    let page = match (&settings.account.clients, settings.account.apps) {
        _ if !settings.login.is_built_in() => return router,
        (Some(_), _) => "/account/clients",
        (None, true) => "/account/apps",
        (None, false) => return router,
    };
    router.route("/user/settings/applications", get(async move || pages::redirect(page)))
}

async fn list(State(service): State<Context>, Sender(caller): Sender, uri: Uri) -> Response {
    match service.apps(&caller, READ).await {
        Ok(apps) => {
            let asked = |name: &str| query(&uri, name).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
            let size = asked("limit").unwrap_or(PAGE_SIZE).min(MAX_PAGE_SIZE);
            let page = Page { number: asked("page").unwrap_or(1), size };
            let shown: Vec<_> = page.of(&apps).iter().map(|app| application(app, None)).collect();
            let mut response = super::json(StatusCode::OK, &shown);
            response.headers_mut().insert(X_TOTAL_COUNT, apps.len().into());
            response
        }
        Err(failure) => failed(&service, failure),
    }
}

async fn create(State(service): State<Context>, Sender(caller): Sender, Said(said): Said) -> Response {
    let draft = match options(said.as_ref()) {
        Ok(Options { name, redirect_uris, confidential }) => AppDraft {
            name,
            redirect_uris,
            scopes: service.settings.apps.scopes.iter().map(str::to_owned).collect(),
            // As upstream: who does not say that it keeps a secret has none, and needs PKCE.
            public: !confidential.unwrap_or(false),
            ..AppDraft::default()
        },
        Err(why) => return refused(&service, &caller, why).await,
    };
    match service.make_app(&caller, WRITE, draft).await {
        Ok(MadeApp { app, secret }) => super::json(StatusCode::CREATED, &application(&app, secret.as_ref())),
        Err(failure) => failed(&service, failure),
    }
}

async fn show(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    match service.app(&caller, READ, name(&id)).await {
        Ok(app) => super::json(StatusCode::OK, &application(&app, None)),
        Err(failure) => failed(&service, failure),
    }
}

/// It gets another secret each time, as upstream. Other than there, one stays confidential where nothing is said.
async fn change(
    State(service): State<Context>,
    Sender(caller): Sender,
    Path(id): Path<String>,
    Said(said): Said,
) -> Response {
    let change = match options(said.as_ref()) {
        Ok(Options { name, redirect_uris, confidential }) => AppChange {
            name: Some(name),
            redirect_uris: Some(redirect_uris),
            public: confidential.map(|confidential| !confidential),
            renews_secret: true,
            ..AppChange::default()
        },
        Err(why) => return refused(&service, &caller, why).await,
    };
    match service.change_app(&caller, WRITE, name(&id), change).await {
        Ok(MadeApp { app, secret }) => super::json(StatusCode::OK, &application(&app, secret.as_ref())),
        Err(failure) => failed(&service, failure),
    }
}

async fn delete(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    match service.delete_app(&caller, WRITE, name(&id)).await {
        Ok(()) => (StatusCode::NO_CONTENT, no_store()).into_response(),
        Err(failure) => failed(&service, failure),
    }
}

/// No app has the number 0.
fn name(id: &str) -> AppName<'static> {
    AppName::Number(id.parse().unwrap_or(0))
}

fn application(app: &App, secret: Option<&RandomSecret>) -> Value {
    json!({
        "id": number(app),
        "name": app.client.name,
        "client_id": app.client.id.as_str(),
        "client_secret": secret.map(RandomSecret::expose).unwrap_or_default(),
        "confidential_client": app.client.is_confidential(),
        "redirect_uris": uris(app),
        "created": date_time(app.client.created_at),
    })
}

struct Options {
    name: String,
    redirect_uris: Vec<String>,
    /// Whether it says that it keeps a secret.
    confidential: Option<bool>,
}

fn options(said: Option<&Map<String, Value>>) -> Result<Options, &'static str> {
    let said = said.ok_or("the body is a JSON object")?;
    let confidential = match said.get("confidential_client") {
        None => None,
        Some(value) => Some(value.as_bool().ok_or("[ConfidentialClient]: this is true or false")?),
    };
    Ok(Options {
        name: text(said, "name").filter(|name| !name.is_empty()).ok_or("[Name]: Required")?,
        redirect_uris: texts(said, "redirect_uris")
            .filter(|uris| !uris.is_empty())
            .ok_or("[RedirectURIs]: Required")?,
        confidential,
    })
}

/// Whoever is nobody learns nothing of what is wrong.
async fn refused(service: &Context, caller: &AppCaller, why: &str) -> Response {
    match service.apps(caller, WRITE).await {
        Ok(_) => error(service, StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(failure) => failed(service, failure),
    }
}

fn failed(service: &Context, failure: AppFailure) -> Response {
    let error = |status, message: &str| error(service, status, message);
    match failure {
        AppFailure::Anonymous => error(StatusCode::UNAUTHORIZED, "token is required"),
        AppFailure::Unauthenticated => error(StatusCode::UNAUTHORIZED, "user does not exist [uid: 0, name: ]"),
        AppFailure::NotByToken(scopes) => {
            let needed = scopes.first().copied().unwrap_or_default();
            let message = format!("token does not have at least one of required scope(s): [{needed}]");
            error(StatusCode::FORBIDDEN, &message)
        }
        AppFailure::Refused => error(StatusCode::FORBIDDEN, "user is not allowed to sign in"),
        AppFailure::Unknown => super::json(
            StatusCode::NOT_FOUND,
            &json!({ "errors": [], "message": "The target couldn't be found.", "url": documentation(service) }),
        ),
        AppFailure::Invalid(cause) => error(StatusCode::UNPROCESSABLE_ENTITY, &cause.to_string()),
        AppFailure::TooMany => error(StatusCode::UNPROCESSABLE_ENTITY, "there are too many applications"),
        AppFailure::TooOften(seconds) => {
            super::later(error(StatusCode::TOO_MANY_REQUESTS, "too many requests, try again later"), seconds)
        }
        AppFailure::Unavailable(error) => OAuthFailure::from(error).into_response(),
    }
}

fn error(service: &Context, status: StatusCode, message: &str) -> Response {
    super::json(status, &json!({ "message": message, "url": documentation(service) }))
}

fn documentation(service: &Context) -> String {
    format!("{}/api/swagger", service.settings.issuer)
}
