//! Gancio: `POST /api/client`, for everybody, and what users see of clients.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::error::{OAuthFailure, no_store};
use super::{Said, Sender, text, uris, words};
use crate::domain::registration::{AppDraft, InvalidClientMetadata, RegistrationError};
use crate::domain::scope::ScopeSet;
use crate::domain::secret::RandomSecret;
use crate::service::apps::{AppFailure, MadeApp};
use crate::store::App;

pub(super) fn router() -> Router<Context> {
    Router::new()
        .route("/api/client", post(create))
        .route("/api/client/{id}", get(show))
        .route("/api/clients", get(granted))
}

async fn create(State(service): State<Context>, Sender(caller): Sender, Said(said): Said) -> Response {
    let said = said.unwrap_or_default();
    let scopes = &service.settings.apps.scopes;
    let Some(draft) = draft(&said, scopes) else {
        return failed(AppFailure::Invalid(InvalidClientMetadata::Scope.into()));
    };
    match service.make_anonymous_app(&caller, &draft).await {
        Ok(MadeApp { app, secret }) => {
            let mut client = client(&app);
            client["website"] = draft.website.into();
            // The documentation has the one, the code the other.
            client["redirectUris"] = client["redirect_uris"].clone();
            client["client_secret"] = secret.as_ref().map(RandomSecret::expose).into();
            super::json(StatusCode::OK, &client)
        }
        Err(failure) => failed(failure),
    }
}

async fn show(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    match service.app_for_user(&caller, &id).await {
        Ok(app) => super::json(StatusCode::OK, &client(&app)),
        Err(failure) => failed(failure),
    }
}

/// What the user lets use the account. The tokens themselves, which upstream lists here, nobody has.
async fn granted(State(service): State<Context>, Sender(caller): Sender) -> Response {
    match service.granted_apps(&caller).await {
        Ok(apps) => {
            let tokens = apps.iter().map(|app| json!({ "scope": app.client.scopes.as_str(), "client": client(app) }));
            super::json(StatusCode::OK, &tokens.collect::<Vec<_>>())
        }
        Err(failure) => failed(failure),
    }
}

fn client(app: &App) -> Value {
    json!({
        "client_id": app.client.id.as_str(),
        "name": app.client.name,
        "redirect_uris": uris(app).join(" "),
        "scopes": app.client.scopes.as_str(),
        "website": app.website(),
    })
}

/// `None` where it wants scopes that there are not.
fn draft(said: &Map<String, Value>, scopes: &ScopeSet) -> Option<AppDraft> {
    let given = text(said, "scopes").map(|given| words(&given)).filter(|given| !given.is_empty());
    if given.iter().flatten().any(|scope| !scopes.contains(scope)) {
        return None;
    }
    Some(AppDraft {
        name: text(said, "client_name").unwrap_or_default(),
        website: text(said, "website").filter(|website| !website.is_empty()),
        redirect_uris: text(said, "redirect_uris").map(|uris| words(&uris)).unwrap_or_default(),
        scopes: given.unwrap_or_else(|| scopes.iter().map(str::to_owned).collect()),
        ..AppDraft::default()
    })
}

fn failed(failure: AppFailure) -> Response {
    match failure {
        AppFailure::Anonymous | AppFailure::Unauthenticated | AppFailure::NotByToken(_) | AppFailure::Refused => {
            (StatusCode::FORBIDDEN, no_store(), "Forbidden").into_response()
        }
        AppFailure::Unknown => (StatusCode::NOT_FOUND, no_store(), "Not found!").into_response(),
        AppFailure::Invalid(RegistrationError::InvalidClientMetadata(InvalidClientMetadata::Scope)) => {
            error(StatusCode::UNPROCESSABLE_ENTITY, "Invalid scopes")
        }
        AppFailure::Invalid(cause) => error(StatusCode::UNPROCESSABLE_ENTITY, &cause.to_string()),
        AppFailure::TooMany => error(StatusCode::SERVICE_UNAVAILABLE, "There are too many clients, try again later"),
        AppFailure::TooOften(seconds) => {
            super::later(error(StatusCode::TOO_MANY_REQUESTS, "Too many requests, please try again later."), seconds)
        }
        AppFailure::Unavailable(error) => OAuthFailure::from(error).into_response(),
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    super::json(status, &json!({ "error": message }))
}
