//! The APIs by which users manage apps in the shapes of other systems (`apps.api`), and the clients that the configuration names.

mod built_in;
mod first_party;
mod fittrackee;
mod forgejo;
mod funkwhale;
mod gancio;
mod hostile;

use http::{Method, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::harness::{
    Http, PASSWORD, REDIRECT_URI, Registered, Reply, Sidecar, Tokens, USERNAME, VERIFIER, form, query_of,
};

/// Somebody who sends requests, with a session cookie or without one.
struct Person {
    http: Http,
    cookie: String,
}

impl Person {
    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "").await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &body.to_string()).await
    }

    /// A body is JSON.
    async fn send(&self, method: Method, path: &str, body: &str) -> Reply {
        let headers = [("cookie", self.cookie.as_str()), ("content-type", "application/json")];
        self.http.send(method, path, &headers, body).await
    }
}

fn nobody(sidecar: &Sidecar) -> Person {
    Person { http: sidecar.http(), cookie: String::new() }
}

async fn signed_in(sidecar: &Sidecar, username: &str) -> Person {
    let _ = sidecar.service.create_account(username.into(), Zeroizing::new(PASSWORD.into())).await;
    let mut browser = sidecar.browser();
    let fields = [("request", "/account/apps"), ("username", username), ("password", PASSWORD)];
    let reply = browser.post("/login", &form(&fields)).await;
    assert_eq!(reply.header("location"), Some("/account/apps"), "{reply:?}");
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Person { http: sidecar.http(), cookie: cookies.join("; ") }
}

async fn ann(sidecar: &Sidecar) -> Person {
    signed_in(sidecar, USERNAME).await
}

/// The client of an answer.
fn registered(client: &Value) -> Registered {
    let member = |name: &str| client[name].as_str().unwrap_or_default().to_owned();
    Registered { id: member("client_id"), secret: member("client_secret") }
}

/// A request of this app for the scope `a`.
fn request(sidecar: &Sidecar, app: &Registered) -> String {
    sidecar.request(&[("client_id", &app.id), ("scope", "a")])
}

/// Tokens that the user of the harness allows this app.
async fn tokens(sidecar: &Sidecar, app: &Registered) -> Tokens {
    redeem(sidecar, app, &sidecar.code_for(&request(sidecar, app)).await).await.tokens()
}

async fn redeem(sidecar: &Sidecar, app: &Registered, code: &str) -> Reply {
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    sidecar.http().post_as(app, "/token", &body).await
}

/// Tokens that somebody else allows it.
async fn tokens_of(sidecar: &Sidecar, app: &Registered, person: &Person) -> Tokens {
    let mut browser = sidecar.browser();
    for pair in person.cookie.split("; ") {
        let (name, value) = pair.split_once('=').unwrap();
        browser.cookies.insert(name.into(), value.into());
    }
    let location = browser.approve(&request(sidecar, app)).await;
    redeem(sidecar, app, &query_of(&location, "code").unwrap()).await.tokens()
}

#[track_caller]
fn assert_json(reply: &Reply, status: u16, expected: &Value) {
    assert_eq!((reply.status.as_u16(), &reply.json()), (status, expected));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn there_is_no_such_api_unless_it_is_configured() {
    let sidecar = Sidecar::start().await;
    let ann = ann(&sidecar).await;
    for path in ["/api/oauth/apps", "/api/v1/oauth/apps/", "/api/client", "/api/v1/user/applications/oauth2"] {
        assert_eq!(ann.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(ann.send(Method::POST, path, "{}").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(ann.get("/user/settings/applications").await.status, StatusCode::NOT_FOUND);
}
