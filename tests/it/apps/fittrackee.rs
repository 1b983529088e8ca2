//! `/api/oauth/apps`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ann, assert_json, nobody, redeem, registered, request, signed_in, tokens, tokens_of};
use crate::harness::{PASSWORD, REDIRECT_URI, Sidecar, VERIFIER, form, query_of};

const ON: &str = "[apps]\napi = 'fittrackee'\n";
const APPS: &str = "/api/oauth/apps";

fn calendar() -> Value {
    json!({
        "client_name": "Calendar",
        "client_uri": "http://calendar.example/about",
        "client_description": "Shows what you did.\nAnd when.",
        "redirect_uris": [REDIRECT_URI, "https://calendar.example/cb/"],
        "scope": "c unknown a a",
        "grant_types": ["password"],
        "token_endpoint_auth_method": "none",
    })
}

fn not_found() -> Value {
    json!({"status": "not found", "message": "OAuth2 client not found"})
}

#[tokio::test]
async fn a_user_makes_sees_and_deletes_apps_as_upstream_has_it() {
    let sidecar = Sidecar::with(ON).await;
    let (ann, bob) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await);
    let empty = json!({
        "status": "success",
        "data": {"clients": []},
        "pagination": {"has_next": false, "has_prev": false, "page": 1, "pages": 0, "total": 0},
    });
    assert_json(&ann.get(APPS).await, 200, &empty);

    let made = ann.post(APPS, &calendar()).await;
    let client = made.json()["data"]["client"].clone();
    let app = registered(&client);
    assert!(app.secret.len() >= 40 && !app.id.is_empty(), "{client}");
    let issued_at = client["issued_at"].as_str().unwrap();
    assert!(issued_at.ends_with(" GMT") && issued_at.contains(" 20"), "{issued_at}");
    let mut shown = json!({
        "client_id": app.id,
        "client_description": "Shows what you did.\nAnd when.",
        "id": client["id"].as_u64().unwrap(),
        "issued_at": issued_at,
        "name": "Calendar",
        "redirect_uris": [REDIRECT_URI, "https://calendar.example/cb/"],
        "scope": "a c",
        "website": "http://calendar.example/about",
    });
    let success = json!({"status": "success", "data": {"client": shown.clone()}});
    shown["client_secret"] = app.secret.clone().into();
    assert_json(&made, 201, &json!({"status": "created", "data": {"client": shown}}));

    let (by_name, number) = (format!("{APPS}/{}", app.id), client["id"].as_u64().unwrap());
    let by_number = format!("{APPS}/{number}/by_id");
    for path in [&by_name, &by_number] {
        assert_json(&ann.get(path).await, 200, &success);
        assert_json(&bob.get(path).await, 404, &not_found());
    }
    for path in [format!("{APPS}/{number}"), format!("{APPS}/0/by_id"), format!("{APPS}/{}/by_id", app.id)] {
        assert_json(&ann.get(&path).await, 404, &not_found());
    }
    for path in [format!("{APPS}/{number}"), format!("{APPS}/{}", app.id), format!("{APPS}/-1")] {
        assert_json(&bob.delete(&path).await, 404, &not_found());
    }
    let deleted = ann.delete(&format!("{APPS}/{number}")).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_json(&ann.delete(&format!("{APPS}/{number}")).await, 404, &not_found());
    assert_json(&ann.get(APPS).await, 200, &empty);
    let again = ann.post(APPS, &calendar()).await.json();
    assert!(again["data"]["client"]["id"].as_u64().unwrap() > number, "a number is not used again");
}

#[tokio::test]
async fn a_list_has_five_apps_a_page_and_the_newest_first() {
    let sidecar = Sidecar::with(&format!("{ON}[account]\nmax_clients_per_user = 7\n")).await;
    let (ann, bob) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await);
    bob.post(APPS, &calendar()).await;
    for number in 0..7 {
        let mut app = calendar();
        app["client_name"] = format!("App {number}").into();
        assert_eq!(ann.post(APPS, &app).await.status, StatusCode::CREATED);
    }
    for (query, names, has_next, has_prev, page) in [
        ("", &["App 6", "App 5", "App 4", "App 3", "App 2"][..], true, false, 1),
        ("?page=2", &["App 1", "App 0"], false, true, 2),
        ("?page=3", &[], false, true, 3),
        ("?page=0", &["App 6", "App 5", "App 4", "App 3", "App 2"], true, false, 1),
        ("?page=x", &["App 6", "App 5", "App 4", "App 3", "App 2"], true, false, 1),
        ("?page=18446744073709551615", &[], false, true, usize::MAX),
    ] {
        let list = ann.get(&format!("{APPS}{query}")).await.json();
        let shown: Vec<_> = list["data"]["clients"].as_array().unwrap().iter().map(|app| app["name"].clone()).collect();
        assert_eq!(shown, names, "{query}");
        let expected = json!({"has_next": has_next, "has_prev": has_prev, "page": page, "pages": 2, "total": 7});
        assert_eq!(list["pagination"], expected, "{query}");
    }
    let one_more = ann.post(APPS, &calendar()).await;
    assert_json(&one_more, 400, &json!({"status": "error", "message": "there are too many OAuth2 clients"}));
}

#[tokio::test]
async fn what_is_no_app_is_refused_with_upstreams_words() {
    let sidecar = Sidecar::with(ON).await;
    let ann = ann(&sidecar).await;
    let with = |member: &str, value: Value| {
        let mut app = calendar();
        app[member] = value;
        app.to_string()
    };
    for (body, message) in [
        (String::new(), "OAuth2 client metadata missing"),
        ("{}".into(), "OAuth2 client metadata missing"),
        ("[]".into(), "OAuth2 client metadata missing"),
        ("{".into(), "OAuth2 client metadata missing"),
        (
            json!({"client_name": "x", "scope": "a"}).to_string(),
            "OAuth2 client metadata missing keys: client_uri, redirect_uris",
        ),
        (with("scope", "unknown".into()), "OAuth2 client invalid scopes"),
        (with("scope", "".into()), "OAuth2 client invalid scopes"),
        (with("redirect_uris", json!([])), "OAuth2 client metadata invalid: redirect_uris"),
        (with("redirect_uris", REDIRECT_URI.into()), "OAuth2 client metadata invalid: redirect_uris"),
        (with("client_name", json!(1)), "OAuth2 client metadata invalid: client_name"),
        (
            with("client_uri", "javascript:alert(1)".into()),
            "OAuth2 client metadata invalid: client_uri is an https URL",
        ),
    ] {
        let reply = ann.send(Method::POST, APPS, &body).await;
        assert_json(&reply, 400, &json!({"status": "error", "message": message}));
    }
    let unknown = json!({"status": "error", "message": "provide a valid auth token"});
    let nobody = nobody(&sidecar);
    for (method, path) in [
        (Method::GET, APPS),
        (Method::POST, APPS),
        (Method::GET, "/api/oauth/apps/x"),
        (Method::GET, "/api/oauth/apps/1/by_id"),
        (Method::DELETE, "/api/oauth/apps/1"),
        (Method::POST, "/api/oauth/apps/1/revoke"),
    ] {
        assert_json(&nobody.send(method, path, "").await, 401, &unknown);
    }
}

#[tokio::test]
async fn revoking_or_deleting_an_app_kills_the_tokens_of_all_its_users() {
    let sidecar = Sidecar::with(ON).await;
    let (ann, bob) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await);
    let client = ann.post(APPS, &calendar()).await.json()["data"]["client"].clone();
    let (app, number) = (registered(&client), client["id"].as_u64().unwrap());
    let both = [tokens(&sidecar, &app).await, tokens_of(&sidecar, &app, &bob).await];
    let path = format!("{APPS}/{number}/revoke");

    assert_json(&bob.send(Method::POST, &path, "").await, 404, &not_found());
    assert!(sidecar.is_active(&both[1].access).await, "only the owner may");
    assert_json(&ann.send(Method::POST, &path, "").await, 200, &json!({"status": "success"}));
    for tokens in &both {
        assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
    }
    let anew = tokens(&sidecar, &app).await;
    assert!(sidecar.is_active(&anew.access).await, "the app itself is still there");
    assert_eq!(ann.delete(&format!("{APPS}/{number}")).await.status, StatusCode::NO_CONTENT);
    assert!(!sidecar.is_active(&anew.access).await);
}

#[tokio::test]
async fn the_secret_of_an_app_is_good_in_the_body_and_in_the_header() {
    let sidecar = Sidecar::with(ON).await;
    let ann = ann(&sidecar).await;
    let app = registered(&ann.post(APPS, &calendar()).await.json()["data"]["client"]);
    let code = sidecar.code_for(&request(&sidecar, &app)).await;
    assert_eq!(redeem(&sidecar, &app, &code).await.status, StatusCode::OK);
    let code = sidecar.code_for(&request(&sidecar, &app)).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("client_id", &app.id),
        ("client_secret", &app.secret),
    ];
    assert_eq!(sidecar.http().post("/token", &body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_app_that_is_for_its_owner_alone_does_not_exist_for_others() {
    let sidecar = Sidecar::with(&format!("{ON}owner_only = true\n")).await;
    let (ann, _bob) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await);
    let app = registered(&ann.post(APPS, &calendar()).await.json()["data"]["client"]);
    let request = request(&sidecar, &app);
    assert!(sidecar.is_active(&tokens(&sidecar, &app).await.access).await);
    for silent in ["", "&prompt=none"] {
        let request = format!("{request}{silent}");
        let mut browser = sidecar.browser();
        browser
            .post("/login", &form(&[("request", "/account/apps"), ("username", "bob"), ("password", PASSWORD)]))
            .await;
        let page = browser.get(&format!("/authorize?{request}")).await;
        assert_eq!((page.status, page.header("location")), (StatusCode::BAD_REQUEST, None), "{page:?}");
        let of_operator = browser.approve(&sidecar.request(&[])).await;
        assert!(query_of(&of_operator, "code").is_some(), "what no user made is for all");
    }
}
