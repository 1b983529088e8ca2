//! The shape `fittrackee`: `/api/oauth/apps`. A user manages apps with what the app knows the user by; no token of ours does.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::error::{OAuthFailure, no_store};
use super::{Page, Said, Sender, number, query, text, texts, uris, words};
use crate::domain::registration::{AppDraft, InvalidClientMetadata, RegistrationError};
use crate::domain::secret::RandomSecret;
use crate::domain::timestamp::Timestamp;
use crate::service::apps::{AppFailure, AppName, MadeApp};
use crate::store::App;

const PAGE_SIZE: usize = 5;
const REQUIRED: [&str; 4] = ["client_name", "client_uri", "redirect_uris", "scope"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) fn router() -> Router<Context> {
    Router::new()
        .route("/api/oauth/apps", get(list).post(create))
        .route("/api/oauth/apps/{id}", get(by_client_id).delete(delete))
        .route("/api/oauth/apps/{id}/by_id", get(by_number))
        .route("/api/oauth/apps/{id}/revoke", post(revoke))
}

async fn list(State(service): State<Context>, Sender(caller): Sender, uri: Uri) -> Response {
    match service.apps(&caller, &[]).await {
        Ok(mut apps) => {
            apps.reverse();
            let asked = query(&uri, "page").and_then(|page| page.parse().ok());
            let page = Page { number: asked.filter(|page| *page > 0).unwrap_or(1), size: PAGE_SIZE };
            let (clients, pages): (Vec<_>, _) = (page.of(&apps).iter().map(client).collect(), page.count(apps.len()));
            let pagination = json!({
                "has_next": page.number < pages,
                "has_prev": page.number > 1,
                "page": page.number,
                "pages": pages,
                "total": apps.len(),
            });
            super::json(
                StatusCode::OK,
                &json!({ "status": "success", "data": { "clients": clients }, "pagination": pagination }),
            )
        }
        Err(failure) => failed(failure),
    }
}

async fn create(State(service): State<Context>, Sender(caller): Sender, Said(said): Said) -> Response {
    let draft = match draft(said.as_ref()) {
        Ok(draft) => draft,
        // Whoever is nobody learns nothing of what is missing.
        Err(message) => {
            return match service.apps(&caller, &[]).await {
                Ok(_) => error(StatusCode::BAD_REQUEST, "error", &message),
                Err(failure) => failed(failure),
            };
        }
    };
    match service.make_app(&caller, &[], draft).await {
        Ok(MadeApp { app, secret }) => {
            let mut client = client(&app);
            client["client_secret"] = secret.as_ref().map(RandomSecret::expose).into();
            super::json(StatusCode::CREATED, &json!({ "status": "created", "data": { "client": client } }))
        }
        Err(failure) => failed(failure),
    }
}

async fn by_client_id(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    shown(service.app(&caller, &[], AppName::ClientId(&id)).await)
}

async fn by_number(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    shown(service.app(&caller, &[], name(&id)).await)
}

async fn delete(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    match service.delete_app(&caller, &[], name(&id)).await {
        Ok(()) => (StatusCode::NO_CONTENT, no_store()).into_response(),
        Err(failure) => failed(failure),
    }
}

async fn revoke(State(service): State<Context>, Sender(caller): Sender, Path(id): Path<String>) -> Response {
    match service.revoke_tokens_of_app(&caller, name(&id)).await {
        Ok(()) => super::json(StatusCode::OK, &json!({ "status": "success" })),
        Err(failure) => failed(failure),
    }
}

/// No app has the number 0.
fn name(id: &str) -> AppName<'static> {
    AppName::Number(id.parse().unwrap_or(0))
}

fn shown(app: Result<App, AppFailure>) -> Response {
    match app {
        Ok(app) => super::json(StatusCode::OK, &json!({ "status": "success", "data": { "client": client(&app) } })),
        Err(failure) => failed(failure),
    }
}

fn client(app: &App) -> Value {
    json!({
        "client_id": app.client.id.as_str(),
        "client_description": app.details.as_ref().and_then(|details| details.description.as_deref()),
        "id": number(app),
        "issued_at": issued_at(app.client.created_at),
        "name": app.client.name,
        "redirect_uris": uris(app),
        "scope": app.client.scopes.as_str(),
        "website": app.website().unwrap_or_default(),
    })
}

/// As `Thu, 14 July 2022 06:27:53 GMT`.
fn issued_at(at: Timestamp) -> String {
    let (days, seconds) = (at.as_unix().div_euclid(86_400), at.as_unix().rem_euclid(86_400));
    let weekday = usize::try_from(days.rem_euclid(7)).map_or("", |day| DAYS[day]);
    let date = at.date();
    let mut parts = date.rsplitn(3, '-');
    let (day, month, year) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1))).unwrap_or(&"");
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day} {month} {year} {hours:02}:{minutes:02}:{seconds:02} GMT")
}

fn draft(said: Option<&Map<String, Value>>) -> Result<AppDraft, String> {
    let Some(said) = said.filter(|said| !said.is_empty()) else { return Err("OAuth2 client metadata missing".into()) };
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|key| !said.contains_key(*key)).collect();
    if !missing.is_empty() {
        return Err(format!("OAuth2 client metadata missing keys: {}", missing.join(", ")));
    }
    let mistyped = |key: &str| format!("OAuth2 client metadata invalid: {key}");
    let text = |key: &str| text(said, key).ok_or_else(|| mistyped(key));
    let website = Some(text("client_uri")?).filter(|uri| !uri.is_empty());
    let description = match said.get("client_description") {
        None | Some(Value::Null) => None,
        Some(_) => Some(text("client_description")?),
    };
    let redirect_uris = texts(said, "redirect_uris").filter(|uris| !uris.is_empty());
    Ok(AppDraft {
        name: text("client_name")?,
        website,
        description,
        redirect_uris: redirect_uris.ok_or_else(|| mistyped("redirect_uris"))?,
        scopes: words(&text("scope")?),
        public: false,
    })
}

fn failed(failure: AppFailure) -> Response {
    match failure {
        AppFailure::Anonymous | AppFailure::Unauthenticated | AppFailure::NotByToken(_) => {
            error(StatusCode::UNAUTHORIZED, "error", "provide a valid auth token")
        }
        AppFailure::Refused => {
            error(StatusCode::FORBIDDEN, "error", "you do not have permissions, your account is suspended")
        }
        AppFailure::Unknown => error(StatusCode::NOT_FOUND, "not found", "OAuth2 client not found"),
        AppFailure::Invalid(RegistrationError::InvalidClientMetadata(InvalidClientMetadata::Scope)) => {
            error(StatusCode::BAD_REQUEST, "error", "OAuth2 client invalid scopes")
        }
        AppFailure::Invalid(cause) => {
            error(StatusCode::BAD_REQUEST, "error", &format!("OAuth2 client metadata invalid: {cause}"))
        }
        AppFailure::TooMany => error(StatusCode::BAD_REQUEST, "error", "there are too many OAuth2 clients"),
        AppFailure::TooOften(seconds) => {
            super::later(error(StatusCode::TOO_MANY_REQUESTS, "error", "too many requests, try again later"), seconds)
        }
        AppFailure::Unavailable(error) => OAuthFailure::from(error).into_response(),
    }
}

fn error(code: StatusCode, status: &str, message: &str) -> Response {
    super::json(code, &json!({ "status": status, "message": message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_upstream_writes_them() {
        for (seconds, text) in [
            (1_657_780_073, "Thu, 14 July 2022 06:27:53 GMT"),
            (0, "Thu, 01 January 1970 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 February 2024 23:59:59 GMT"),
            (1_795_305_600, "Sun, 22 November 2026 00:00:00 GMT"),
        ] {
            assert_eq!(issued_at(Timestamp::from_unix(seconds)), text);
        }
    }
}
