//! `/api/v1/user/applications/oauth2`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ann, assert_json, redeem, registered, request, signed_in, tokens};
use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar};

const ON: &str = "[apps]\napi = 'forgejo'\n[scopes.catalogue]\n'read:user' = 'See'\n'write:user' = 'Change'\n";
const APPS: &str = "/api/v1/user/applications/oauth2";

fn forge() -> Value {
    json!({"name": "Forge", "redirect_uris": [REDIRECT_URI], "confidential_client": true})
}

fn missing(sidecar: &Sidecar) -> Value {
    json!({"errors": [], "message": "The target couldn't be found.", "url": documentation(sidecar)})
}

fn documentation(sidecar: &Sidecar) -> String {
    format!("http://{}/api/swagger", sidecar.addresses.http)
}

/// How the token endpoint answers to this secret.
async fn answer_to(sidecar: &Sidecar, app: &Registered) -> String {
    let body = [("grant_type", "refresh_token"), ("refresh_token", "none")];
    sidecar.http().post_as(app, "/token", &body).await.error()
}

#[tokio::test]
async fn a_user_manages_apps_as_upstream_has_it() {
    let sidecar = Sidecar::with(ON).await;
    let (ann, bob, nobody) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await, super::nobody(&sidecar));
    let made = ann.post(APPS, &forge()).await;
    let mut shown = made.json();
    let app = registered(&shown);
    let id = shown["id"].as_u64().unwrap();
    assert!(shown["created"].as_str().unwrap().ends_with('Z'), "{shown}");
    let expected = json!({
        "id": id,
        "name": "Forge",
        "client_id": app.id,
        "client_secret": app.secret,
        "confidential_client": true,
        "redirect_uris": [REDIRECT_URI],
        "created": shown["created"],
    });
    assert_json(&made, 201, &expected);
    let before = tokens(&sidecar, &app).await;

    shown["client_secret"] = "".into();
    let path = format!("{APPS}/{id}");
    assert_json(&ann.get(&path).await, 200, &shown);
    let list = ann.get(APPS).await;
    assert_json(&list, 200, &json!([shown]));
    assert_eq!(list.header("x-total-count"), Some("1"));
    assert_json(&ann.get(&format!("{APPS}?page=2&limit=1")).await, 200, &json!([]));
    assert_json(&bob.get(APPS).await, 200, &json!([]));

    let other = json!({"name": "Renamed", "redirect_uris": [REDIRECT_URI, "https://forge.example/cb"], "confidential_client": true});
    let changed = ann.send(Method::PATCH, &path, &other.to_string()).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    let renewed = registered(&changed.json());
    assert_eq!((&changed.json()["name"], &changed.json()["redirect_uris"]), (&other["name"], &other["redirect_uris"]));
    assert_eq!(
        (answer_to(&sidecar, &app).await, answer_to(&sidecar, &renewed).await),
        ("invalid_client".into(), "invalid_grant".into())
    );
    assert!(sidecar.is_active(&before.access).await, "tokens outlive the secret");

    for (method, body) in [(Method::GET, Value::Null), (Method::PATCH, other), (Method::DELETE, Value::Null)] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        assert_json(&bob.send(method.clone(), &path, &body).await, 404, &missing(&sidecar));
        let required = json!({"message": "token is required", "url": documentation(&sidecar)});
        assert_json(&nobody.send(method, &path, &body).await, 401, &required);
    }
    assert_json(&ann.get(&format!("{APPS}/{}", app.id)).await, 404, &missing(&sidecar));
    assert_eq!(ann.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert!(!sidecar.is_active(&before.access).await);
    assert_json(&ann.delete(&path).await, 404, &missing(&sidecar));
}

#[tokio::test]
async fn an_app_becomes_public_and_confidential_again() {
    let sidecar = Sidecar::with(ON).await;
    let ann = ann(&sidecar).await;
    let mut body = forge();
    body["confidential_client"] = false.into();
    let made = ann.post(APPS, &body).await.json();
    assert_eq!((&made["confidential_client"], &made["client_secret"]), (&json!(false), &json!("")));
    let public = registered(&made);
    assert!(sidecar.is_active(&tokens(&sidecar, &public).await.access).await);
    body.as_object_mut().unwrap().remove("confidential_client");
    assert_eq!(ann.post(APPS, &body).await.json()["confidential_client"], false, "nothing said is false, as upstream");
    let path = format!("{APPS}/{}", made["id"]);
    let change = async |confidential: bool| {
        let mut body = forge();
        body["confidential_client"] = confidential.into();
        registered(&ann.send(Method::PATCH, &path, &body.to_string()).await.json())
    };
    let confidential = change(true).await;
    let renewed = ann.send(Method::PATCH, &path, &body.to_string()).await.json();
    assert_eq!(renewed["confidential_client"], true, "but it does not take a client's secret away");
    let confidential = Registered { secret: registered(&renewed).secret, ..confidential };
    assert_eq!(answer_to(&sidecar, &public).await, "invalid_client", "it needs its secret now");
    assert!(sidecar.is_active(&tokens(&sidecar, &confidential).await.access).await);
    assert_eq!(change(false).await.secret, "");
    assert_eq!(answer_to(&sidecar, &public).await, "invalid_grant");
    assert_eq!(answer_to(&sidecar, &confidential).await, "invalid_client", "an old secret is worth nothing");
}

#[tokio::test]
async fn where_there_are_no_public_clients_no_app_is_one() {
    let sidecar =
        Sidecar::with(&format!("{ON}[token_endpoint]\nclient_authentication = ['client_secret_post']\n")).await;
    let ann = ann(&sidecar).await;
    let made = ann.post(APPS, &forge()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let mut body = forge();
    body["confidential_client"] = false.into();
    assert!(ann.post(APPS, &body).await.status.is_client_error());
    let path = format!("{APPS}/{}", made.json()["id"]);
    assert!(ann.send(Method::PATCH, &path, &body.to_string()).await.status.is_client_error());
    assert_eq!(ann.get(&path).await.json()["confidential_client"], true);
}

#[tokio::test]
async fn what_is_no_app_is_refused() {
    let sidecar = Sidecar::with(ON).await;
    let (ann, nobody) = (ann(&sidecar).await, super::nobody(&sidecar));
    for (member, value, message) in [
        ("name", json!(""), "[Name]: Required"),
        ("name", json!(1), "[Name]: Required"),
        ("redirect_uris", json!([]), "[RedirectURIs]: Required"),
        ("redirect_uris", json!([1]), "[RedirectURIs]: Required"),
        ("confidential_client", json!("yes"), "[ConfidentialClient]: this is true or false"),
    ] {
        let mut body = forge();
        body[member] = value;
        let expected = json!({"message": message, "url": documentation(&sidecar)});
        assert_json(&ann.post(APPS, &body).await, 422, &expected);
        assert_eq!(nobody.post(APPS, &body).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_token_manages_apps_for_its_user_as_far_as_its_scopes_go() {
    let sidecar = Sidecar::with(ON).await;
    let ann = ann(&sidecar).await;
    let app = registered(&ann.post(APPS, &forge()).await.json());
    let token = async |scope: &str| {
        let code = sidecar.code_for(&request(&sidecar, &app).replace("scope=a", &format!("scope={scope}"))).await;
        redeem(&sidecar, &app, &code).await.tokens().access
    };
    let send = async |method: Method, token: &str, cookie: &str| -> Reply {
        let authorization = format!("token {token}");
        let headers =
            [("authorization", authorization.as_str()), ("content-type", "application/json"), ("cookie", cookie)];
        sidecar.http().send(method, APPS, &headers, &forge().to_string()).await
    };
    let (reads, writes, neither) = (token("read%3Auser").await, token("write%3Auser").await, token("a").await);
    assert_eq!(send(Method::GET, &reads, "").await.json().as_array().unwrap().len(), 1);
    assert_eq!(send(Method::POST, &writes, "").await.status, StatusCode::CREATED);
    assert_eq!(ann.get(APPS).await.json().as_array().unwrap().len(), 2, "it is its user's");
    for (method, token, scope) in [
        (Method::GET, &neither, "read:user"),
        (Method::POST, &neither, "write:user"),
        (Method::POST, &reads, "write:user"),
    ] {
        let message = format!("token does not have at least one of required scope(s): [{scope}]");
        let expected = json!({"message": message, "url": documentation(&sidecar)});
        assert_json(&send(method, token, &ann.cookie).await, 403, &expected);
    }
    assert_eq!(
        send(Method::GET, "garbage", &ann.cookie).await.status,
        StatusCode::UNAUTHORIZED,
        "the cookie is no way out"
    );
}

#[tokio::test]
async fn the_settings_page_is_where_users_manage_their_apps() {
    for (more, page) in [("[account]\nclients = true\n", "/account/clients"), ("", "/account/apps")] {
        let sidecar = Sidecar::with(&format!("{ON}{more}")).await;
        let reply = sidecar.http().get("/user/settings/applications").await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some(page)));
    }
    let sidecar = Sidecar::with(&format!("{ON}[account]\napps = false\n")).await;
    assert_eq!(sidecar.http().get("/user/settings/applications").await.status, StatusCode::NOT_FOUND);
}
