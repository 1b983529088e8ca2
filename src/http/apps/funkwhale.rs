//! Funkwhale: `/api/v1/oauth/apps` and `/api/v1/oauth/grants`, with a slash at the end or without. Whoever is nobody registers apps, too.
//! No token of ours manages them: its API has the scope `security` for that, which no app can have. Where users are those of the built-in
//! login, the page for a new app is our own.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::super::error::{OAuthFailure, no_store};
use super::super::extract::SessionCookie;
use super::super::{Context, account};
use super::{Page, Said, Sender, date_time, query, text, uris, words};
use crate::domain::registration::{AppDraft, InvalidClientMetadata, RegistrationError};
use crate::domain::secret::RandomSecret;
use crate::service::Settings;
use crate::service::apps::{AppChange, AppFailure, AppName, MadeApp};
use crate::service::own_clients;
use crate::store::App;

const APPS: &str = "/api/v1/oauth/apps/";
const GRANTS: &str = "/api/v1/oauth/grants/";
const PAGE_SIZE: usize = 25;
const MAX_PAGE_SIZE: usize = 50;
const REQUIRED: &str = "This field is required.";
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
const NEW: &str = "/settings/applications/new";

/// The page for a new app, if it is ours.
pub(super) fn page(settings: &Settings) -> Router<Context> {
    let is_ours = settings.account.clients.is_some() && settings.login.is_built_in();
    if is_ours { Router::new().route(NEW, get(new)) } else { Router::new() }
}

pub(super) fn router() -> Router<Context> {
    let both = |router: Router<Context>, path: &str, methods: MethodRouter<Context>| {
        router.route(path.trim_end_matches('/'), methods.clone()).route(path, methods)
    };
    let router = both(Router::new(), APPS, get(list).post(create));
    let router = both(router, &format!("{APPS}{{id}}/"), get(show).patch(change).put(replace).delete(delete));
    let router = both(router, GRANTS, get(grants));
    both(router, &format!("{GRANTS}{{id}}/"), get(grant).delete(revoke))
}

/// Clients send their users here with what the form should say.
async fn new(State(service): State<Context>, cookie: SessionCookie, uri: Uri) -> Response {
    let asked = |name: &str, default: &str| query(&uri, name).unwrap_or_else(|| default.to_owned());
    let said = own_clients::Said {
        name: asked("name", ""),
        redirect_uris: words(&asked("redirect_uris", OUT_OF_BAND)).join("\n"),
        scopes: words(&asked("scopes", "read")),
        ..own_clients::Said::nothing()
    };
    account::filled(&service, &cookie, None, said).await
}

async fn list(State(service): State<Context>, Sender(caller): Sender, uri: Uri) -> Response {
    let mut apps = match service.apps(&caller, &[]).await {
        Ok(apps) => apps,
        Err(failure) => return failed(failure),
    };
    apps.reverse();
    let number = |name: &str| query(&uri, name).map(|text| text.parse::<usize>().unwrap_or(0));
    let size = number("page_size").filter(|size| *size > 0).unwrap_or(PAGE_SIZE).min(MAX_PAGE_SIZE);
    let page = Page { number: number("page").unwrap_or(1), size };
    let last = page.count(apps.len()).max(1);
    if !(1..=last).contains(&page.number) {
        return detail(StatusCode::NOT_FOUND, "Invalid page.");
    }
    let url = |number: usize| {
        let size = query(&uri, "page_size").map_or_else(String::new, |_| format!("&page_size={size}"));
        format!("{}{APPS}?page={number}{size}", service.settings.issuer)
    };
    super::json(
        StatusCode::OK,
        &json!({
            "count": apps.len(),
            "next": (page.number < last).then(|| url(page.number + 1)),
            "previous": (page.number > 1).then(|| url(page.number - 1)),
            "results": page.of(&apps).iter().map(public).collect::<Vec<_>>(),
        }),
    )
}

async fn create(State(service): State<Context>, Sender(caller): Sender, Said(said): Said) -> Response {
    let Some(said) = said else { return unreadable() };
    let draft = match change_of(&said) {
        Ok(AppChange { name: Some(name), redirect_uris, scopes, .. }) => AppDraft {
            name,
            redirect_uris: redirect_uris.unwrap_or_default(),
            scopes: scopes.unwrap_or_else(|| words("read")),
            ..AppDraft::default()
        },
        Ok(_) => return field("name", REQUIRED),
        Err(response) => return *response,
    };
    let made = match service.make_app(&caller, &[], draft.clone()).await {
        Err(AppFailure::Anonymous) => service.make_anonymous_app(&caller, &draft).await,
        made => made,
    };
    match made {
        Ok(MadeApp { app, secret }) => super::json(StatusCode::CREATED, &private(&app, secret.as_ref())),
        Err(failure) => failed(failure),
    }
}

async fn show(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    match service.app_of_anybody(&caller, &id).await {
        Ok((app, true)) => super::json(StatusCode::OK, &private(&app, None)),
        Ok((app, false)) => super::json(StatusCode::OK, &public(&app)),
        Err(failure) => failed(failure),
    }
}

async fn change(
    State(service): State<Context>,
    Sender(caller): Sender,
    Path(id): Path<String>,
    Said(said): Said,
) -> Response {
    let Some(said) = said else { return unreadable() };
    let change = match change_of(&said) {
        Ok(change) => change,
        Err(response) => return *response,
    };
    match service.change_app(&caller, &[], AppName::ClientId(&id), change).await {
        Ok(MadeApp { app, .. }) => super::json(StatusCode::OK, &private(&app, None)),
        Err(failure) => failed(failure),
    }
}

/// What is optional stays as it is, as upstream.
async fn replace(sender: State<Context>, caller: Sender, id: Path<String>, said: Said) -> Response {
    if said.0.as_ref().is_some_and(|said| !said.contains_key("name")) {
        return field("name", REQUIRED);
    }
    change(sender, caller, id, said).await
}

async fn delete(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    done(service.delete_app(&caller, &[], AppName::ClientId(&id)).await)
}

async fn grants(State(service): State<Context>, Sender(caller): Sender) -> Response {
    match service.granted_apps(&caller).await {
        Ok(apps) => super::json(StatusCode::OK, &apps.iter().map(public).collect::<Vec<_>>()),
        Err(failure) => failed(failure),
    }
}

async fn grant(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    let granted = match service.granted_apps(&caller).await {
        Ok(apps) => apps.into_iter().find(|app| app.client.id.as_str() == id),
        Err(failure) => return failed(failure),
    };
    granted.map_or_else(|| failed(AppFailure::Unknown), |app| super::json(StatusCode::OK, &public(&app)))
}

async fn revoke(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    done(service.revoke_granted_app(&caller, &id).await)
}

fn done(outcome: Result<(), AppFailure>) -> Response {
    match outcome {
        Ok(()) => (StatusCode::NO_CONTENT, no_store()).into_response(),
        Err(failure) => failed(failure),
    }
}

/// What everybody may know of an app.
fn public(app: &App) -> Value {
    json!({
        "client_id": app.client.id.as_str(),
        "name": app.client.name,
        "scopes": app.client.scopes.as_str(),
        "created": date_time(app.client.created_at),
        "updated": date_time(app.updated_at()),
    })
}

/// What its owner may. Nobody knows an old secret.
fn private(app: &App, secret: Option<&RandomSecret>) -> Value {
    let mut shown = public(app);
    shown["client_secret"] = secret.map(RandomSecret::expose).unwrap_or_default().into();
    shown["redirect_uris"] = uris(app).join(" ").into();
    shown
}

fn change_of(said: &Map<String, Value>) -> Result<AppChange, Box<Response>> {
    let member = |name: &str| match said.get(name) {
        None => Ok(None),
        Some(Value::String(_)) => Ok(text(said, name)),
        Some(Value::Null) => Err(Box::new(field(name, "This field may not be null."))),
        Some(_) => Err(Box::new(field(name, "Not a valid string."))),
    };
    let name = member("name")?;
    if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(Box::new(field("name", "This field may not be blank.")));
    }
    Ok(AppChange {
        name,
        redirect_uris: member("redirect_uris")?.map(|uris| words(&uris)),
        scopes: member("scopes")?.map(|scopes| words(&scopes)).filter(|scopes| !scopes.is_empty()),
        ..AppChange::default()
    })
}

fn failed(failure: AppFailure) -> Response {
    match failure {
        AppFailure::Anonymous => challenged("Authentication credentials were not provided.", r#"Bearer realm="api""#),
        AppFailure::Unauthenticated => challenged(
            "Authentication credentials were not provided.",
            r#"Bearer realm="api",error="invalid_token",error_description="The access token is invalid.""#,
        ),
        AppFailure::NotByToken(_) | AppFailure::Refused => {
            detail(StatusCode::FORBIDDEN, "You do not have permission to perform this action.")
        }
        AppFailure::Unknown => detail(StatusCode::NOT_FOUND, "Not found."),
        AppFailure::Invalid(cause) => field(
            match cause {
                RegistrationError::InvalidRedirectUri(_)
                | RegistrationError::RedirectUris
                | RegistrationError::PrivateUseScheme => "redirect_uris",
                RegistrationError::InvalidClientMetadata(InvalidClientMetadata::Scope) => "scopes",
                _ => "name",
            },
            &cause.to_string(),
        ),
        AppFailure::TooMany => detail(StatusCode::BAD_REQUEST, "There are too many applications."),
        AppFailure::TooOften(seconds) => {
            let message = format!("Request was throttled. Expected available in {seconds} seconds.");
            super::later(detail(StatusCode::TOO_MANY_REQUESTS, &message), seconds)
        }
        AppFailure::Unavailable(error) => OAuthFailure::from(error).into_response(),
    }
}

fn challenged(message: &str, challenge: &'static str) -> Response {
    let mut response = detail(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn unreadable() -> Response {
    detail(StatusCode::BAD_REQUEST, "Malformed request.")
}

fn detail(status: StatusCode, message: &str) -> Response {
    super::json(status, &json!({ "detail": message }))
}

fn field(name: &str, message: &str) -> Response {
    super::json(StatusCode::BAD_REQUEST, &json!({ name: [message] }))
}
