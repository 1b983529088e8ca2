//! `/api/client` and `/api/clients`.

use http::{Method, StatusCode};
use serde_json::json;

use super::{ann, assert_json, nobody, redeem, registered};
use crate::harness::{REDIRECT_URI, Sidecar};

const ON: &str = "[apps]\napi = 'gancio'\nscopes = ['event:write']\nper_address = 6\naddress_seconds = 300\n\
    [scopes.catalogue]\n'event:write' = 'Add and edit your events'\n";
const CREATE: &str = "/api/client";

#[tokio::test]
async fn anybody_makes_a_client_and_users_see_it() {
    let sidecar = Sidecar::with(ON).await;
    let (ann, nobody) = (ann(&sidecar).await, nobody(&sidecar));
    let fields = [
        ("client_name", "WPGancio"),
        ("redirect_uris", "http://127.0.0.1/wp-admin/options-general.php?page=wpgancio"),
        ("scopes", "event:write"),
        ("website", "https://gancio.org"),
    ];
    let made = sidecar.http().post(CREATE, &fields).await;
    let app = registered(&made.json());
    let shown = json!({
        "client_id": app.id,
        "name": "WPGancio",
        "redirect_uris": fields[1].1,
        "scopes": "event:write",
        "website": "https://gancio.org",
    });
    let mut whole = shown.clone();
    whole["client_secret"] = app.secret.clone().into();
    whole["redirectUris"] = fields[1].1.into();
    assert_json(&made, 200, &whole);
    let path = format!("{CREATE}/{}", app.id);
    assert_json(&ann.get(&path).await, 200, &shown);
    let missing = ann.get("/api/client/unknown").await;
    assert_eq!((missing.status, missing.body.as_str()), (StatusCode::NOT_FOUND, "Not found!"));
    for path in [&path, "/api/client/unknown", "/api/clients"] {
        let refused = nobody.get(path).await;
        assert_eq!((refused.status, refused.body.as_str()), (StatusCode::FORBIDDEN, "Forbidden"), "{path}");
    }

    let small = json!({"client_name": "Small", "redirect_uris": REDIRECT_URI});
    let made = nobody.post(CREATE, &small).await;
    let app = registered(&made.json());
    assert_eq!(
        (made.status, &made.json()["scopes"], &made.json()["website"]),
        (StatusCode::OK, &json!("event:write"), &json!(null))
    );
    assert_json(&ann.get("/api/clients").await, 200, &json!([]));
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &app.id), ("scope", "event:write")])).await;
    redeem(&sidecar, &app, &code).await.tokens();
    let granted = ann.get("/api/clients").await.json();
    assert_eq!(
        (&granted[0]["scope"], &granted[0]["client"]["name"]),
        (&json!("event:write"), &json!("Small")),
        "{granted}"
    );
}

#[tokio::test]
async fn a_client_has_the_one_scope_and_an_address_makes_six_in_five_minutes() {
    let sidecar = Sidecar::with(ON).await;
    let http = sidecar.http();
    let app = |scopes: &str| json!({"client_name": "App", "redirect_uris": REDIRECT_URI, "scopes": scopes}).to_string();
    let headers = [("content-type", "application/json")];
    for scopes in ["event:read", "event:write a", "EVENT:WRITE", "\u{0}"] {
        let refused = http.send(Method::POST, CREATE, &headers, &app(scopes)).await;
        assert_json(&refused, 422, &json!({"error": "Invalid scopes"}));
    }
    let body = app("");
    let requests = (0..12).map(|_| http.send(Method::POST, CREATE, &headers, &body));
    let replies = futures_util::future::join_all(requests).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == StatusCode::OK).count(), 6);
    let refused = replies.iter().find(|reply| reply.status != StatusCode::OK).unwrap();
    assert_json(refused, 429, &json!({"error": "Too many requests, please try again later."}));
    assert_eq!(refused.header("retry-after"), Some("50"));
    sidecar.clock.advance(50);
    assert_eq!(http.send(Method::POST, CREATE, &headers, &body).await.status, StatusCode::OK);
    assert_eq!(http.send(Method::POST, CREATE, &headers, &body).await.status, StatusCode::TOO_MANY_REQUESTS);
}
