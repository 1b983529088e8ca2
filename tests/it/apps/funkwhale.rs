//! `/api/v1/oauth/apps` and `/api/v1/oauth/grants`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ann, assert_json, nobody, redeem, registered, request, signed_in, tokens, tokens_of};
use crate::harness::{REDIRECT_URI, Reply, Sidecar, form};

const ON: &str = "[apps]\napi = 'funkwhale'\n[scopes.catalogue]\nread = 'Read'\nwrite = 'Write'\n";
const APPS: &str = "/api/v1/oauth/apps/";
const GRANTS: &str = "/api/v1/oauth/grants/";

async fn server(more: &str) -> Sidecar {
    Sidecar::with(&format!("{}{more}", ON.replace("[scopes", "per_address = 100\n[scopes"))).await
}

fn player() -> Value {
    json!({"name": "Player", "redirect_uris": format!("{REDIRECT_URI} https://player.example/cb"), "scopes": "a read unknown"})
}

fn anonymous() -> Value {
    json!({"detail": "Authentication credentials were not provided."})
}

/// What others see of an app.
fn public(app: &Value) -> Value {
    let mut app = app.clone();
    for member in ["client_secret", "redirect_uris"] {
        app.as_object_mut().unwrap().remove(member);
    }
    app
}

#[tokio::test]
async fn anybody_registers_an_app_as_json_or_as_a_form_of_either_kind() {
    let sidecar = server("").await;
    let nobody = nobody(&sidecar);
    let made = nobody.post(APPS, &player()).await;
    let shown = made.json();
    let created = shown["created"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() == 20, "RFC 3339: {created}");
    let app = registered(&shown);
    let expected = json!({
        "client_id": app.id,
        "name": "Player",
        "scopes": "a read",
        "client_secret": app.secret,
        "created": created,
        "updated": created,
        "redirect_uris": format!("{REDIRECT_URI} https://player.example/cb"),
    });
    assert_json(&made, 201, &expected);
    assert!(sidecar.is_active(&tokens(&sidecar, &app).await.access).await);

    let defaults =
        nobody.post("/api/v1/oauth/apps", &json!({"name": "Small", "website": "https://x", "scopes": ""})).await;
    assert_eq!(
        (defaults.status, &defaults.json()["scopes"], &defaults.json()["redirect_uris"]),
        (StatusCode::CREATED, &json!("read"), &json!(""))
    );
    let http = sidecar.http();
    let fields = [("name", "Form"), ("redirect_uris", REDIRECT_URI), ("scopes", "read write")];
    let made = http.post(APPS, &fields).await;
    assert_eq!((made.status, &made.json()["scopes"]), (StatusCode::CREATED, &json!("read write")));
    let part = |(name, value): &(&str, &str)| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}--xyz--\r\n", fields.iter().map(part).collect::<String>());
    let kind = [("content-type", "multipart/form-data; boundary=xyz")];
    let made = http.send(Method::POST, APPS, &kind, &body).await;
    assert_eq!((made.status, &made.json()["redirect_uris"]), (StatusCode::CREATED, &json!(REDIRECT_URI)));

    for (body, member, message) in [
        (json!({}), "name", "This field is required."),
        (json!({"name": " "}), "name", "This field may not be blank."),
        (json!({"name": null}), "name", "This field may not be null."),
        (json!({"name": ["x"]}), "name", "Not a valid string."),
        (json!({"name": "x", "scopes": "unknown"}), "scopes", "scope has a scope that clients may not register"),
    ] {
        assert_json(&nobody.post(APPS, &body).await, 400, &json!({member: [message]}));
    }
    assert_eq!(nobody.send(Method::POST, APPS, "[]").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_app_is_its_owners_and_everybody_sees_what_it_is() {
    let sidecar = server("").await;
    let (ann, bob, nobody) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await, nobody(&sidecar));
    let made = ann.post(APPS, &player()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let (mut app, client) = (made.json(), registered(&made.json()));
    let path = format!("{APPS}{}/", client.id);
    app["client_secret"] = "".into();
    assert_json(&ann.get(&path).await, 200, &app);
    assert_json(&ann.get(path.trim_end_matches('/')).await, 200, &app);
    for other in [&bob, &nobody] {
        assert_json(&other.get(&path).await, 200, &public(&app));
    }
    assert_json(&nobody.get(&format!("{APPS}unknown/")).await, 404, &json!({"detail": "Not found."}));
    let of_nobody = nobody.post(APPS, &player()).await.json();
    let list = json!({"count": 1, "next": null, "previous": null, "results": [public(&app)]});
    assert_json(&ann.get(APPS).await, 200, &list);
    assert_json(&nobody.get(APPS).await, 401, &anonymous());

    sidecar.clock.advance(60);
    for (method, body) in [
        (Method::PATCH, json!({"scopes": "write"})),
        (Method::PUT, json!({"name": "New"})),
        (Method::DELETE, json!({})),
    ] {
        assert_json(&nobody.send(method.clone(), &path, &body.to_string()).await, 401, &anonymous());
        for foreign in [&path, &format!("{APPS}{}/", of_nobody["client_id"].as_str().unwrap())] {
            let refused = if *foreign == path { &bob } else { &ann };
            let reply = refused.send(method.clone(), foreign, &body.to_string()).await;
            assert_json(&reply, 404, &json!({"detail": "Not found."}));
        }
        let reply = ann.send(method.clone(), &path, &body.to_string()).await;
        if method == Method::DELETE {
            assert_eq!((reply.status, reply.body.as_str()), (StatusCode::NO_CONTENT, ""));
            assert_eq!(ann.get(&path).await.status, StatusCode::NOT_FOUND);
        } else {
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
            assert_ne!(reply.json()["updated"], reply.json()["created"]);
            assert_eq!(reply.json()["redirect_uris"], app["redirect_uris"], "what is not said stays");
            assert_eq!(reply.json()["scopes"], "write");
            assert_eq!(reply.json()["name"], if method == Method::PUT { "New" } else { "Player" });
        }
    }
    let nameless = ann.send(Method::PUT, &path, "{}").await;
    assert_json(&nameless, 400, &json!({"name": ["This field is required."]}));
}

#[tokio::test]
async fn a_list_of_apps_has_pages() {
    let sidecar = server("").await;
    let ann = ann(&sidecar).await;
    for number in 0..5 {
        ann.post(APPS, &json!({"name": format!("App {number}")})).await;
    }
    let issuer = format!("http://{}", sidecar.addresses.http);
    let url = |page: u8| json!(format!("{issuer}{APPS}?page={page}&page_size=2"));
    for (page, names, next, previous) in [
        (1, &["App 4", "App 3"][..], url(2), Value::Null),
        (2, &["App 2", "App 1"], url(3), url(1)),
        (3, &["App 0"], Value::Null, url(2)),
    ] {
        let list = ann.get(&format!("{APPS}?page={page}&page_size=2")).await.json();
        assert_eq!((&list["count"], &list["next"], &list["previous"]), (&json!(5), &next, &previous));
        let shown: Vec<_> = list["results"].as_array().unwrap().iter().map(|app| app["name"].clone()).collect();
        assert_eq!(shown, names);
    }
    for page in ["0", "4", "x", "-1"] {
        let reply = ann.get(&format!("{APPS}?page={page}&page_size=2")).await;
        assert_json(&reply, 404, &json!({"detail": "Invalid page."}));
    }
}

#[tokio::test]
async fn a_user_ends_what_it_granted_an_app_and_nobody_elses() {
    let sidecar = server("").await;
    let (ann, bob) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await);
    let player = ann.post(APPS, &player()).await.json();
    let app = registered(&player);
    assert_json(&ann.get(GRANTS).await, 200, &json!([]));
    let path = format!("{GRANTS}{}/", app.id);
    let missing = json!({"detail": "Not found."});
    assert_json(&ann.get(&path).await, 404, &missing);
    assert_json(&ann.delete(&path).await, 404, &missing);

    let (own, others) = (tokens(&sidecar, &app).await, tokens_of(&sidecar, &app, &bob).await);
    let of_shop = sidecar.tokens().await;
    let waiting = sidecar.code_for(&request(&sidecar, &app)).await;
    let list = ann.get(GRANTS.trim_end_matches('/')).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    assert!(list.as_array().unwrap().contains(&public(&player)), "{list}");
    assert_json(&ann.get(&path).await, 200, &public(&player));
    assert_eq!(ann.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert!(!sidecar.is_active(&own.access).await && !sidecar.is_active(&own.refresh).await);
    assert_eq!(redeem(&sidecar, &app, &waiting).await.error(), "invalid_grant");
    assert!(sidecar.is_active(&others.access).await && sidecar.is_active(&of_shop.access).await);
    assert_json(&ann.delete(&path).await, 404, &missing);

    sidecar.code_for(&request(&sidecar, &app)).await;
    assert_eq!(ann.get(&path).await.status, StatusCode::OK, "a code that waits counts");
    for path in [GRANTS, &path] {
        assert_json(&super::nobody(&sidecar).get(path).await, 401, &anonymous());
    }
}

/// How many of these are so.
fn count(replies: &[Reply], status: StatusCode) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[tokio::test]
async fn n5_only_so_many_are_registered_however_many_come_at_once() {
    let sidecar = Sidecar::with(&ON.replace("[scopes", "per_user = 4\n[scopes")).await;
    let (ann, bob) = (ann(&sidecar).await, signed_in(&sidecar, "bob").await);
    let body = json!({"name": "Many"}).to_string();
    let http = sidecar.http();
    let requests = (0..30).map(|_| http.send(Method::POST, APPS, &[("content-type", "application/json")], &body));
    let replies = futures_util::future::join_all(requests).await;
    assert_eq!((count(&replies, StatusCode::CREATED), count(&replies, StatusCode::TOO_MANY_REQUESTS)), (10, 20));
    let refused = replies.iter().find(|reply| reply.status == StatusCode::TOO_MANY_REQUESTS).unwrap();
    assert_eq!(refused.header("retry-after"), Some("8640"));
    assert_eq!(refused.json()["detail"], "Request was throttled. Expected available in 8640 seconds.");
    let elsewhere = http.at_address([127, 0, 0, 9]).post(APPS, &[("name", "Elsewhere")]).await;
    assert_eq!(elsewhere.status, StatusCode::CREATED);

    let replies = futures_util::future::join_all((0..9).map(|_| ann.send(Method::POST, APPS, &body))).await;
    assert_eq!((count(&replies, StatusCode::CREATED), count(&replies, StatusCode::TOO_MANY_REQUESTS)), (4, 5));
    assert_eq!(bob.send(Method::POST, APPS, &body).await.status, StatusCode::CREATED, "each user has a number");
    sidecar.clock.advance(899);
    assert_eq!(ann.send(Method::POST, APPS, &body).await.status, StatusCode::TOO_MANY_REQUESTS);
    sidecar.clock.advance(1);
    assert_eq!(ann.send(Method::POST, APPS, &body).await.status, StatusCode::CREATED);
    assert_eq!(http.post_text(APPS, &[], &form(&[("name", "x")])).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_app_of_nobody_that_gets_no_tokens_in_time_is_deleted() {
    let sidecar = server("[registration]\nunused_lifetime = 100\nmax_clients = 2\n").await;
    let nobody = nobody(&sidecar);
    let [used, unused] = [nobody.post(APPS, &player()).await.json(), nobody.post(APPS, &player()).await.json()];
    let full = nobody.post(APPS, &player()).await;
    assert_json(&full, 400, &json!({"detail": "There are too many applications."}));
    tokens(&sidecar, &registered(&used)).await;
    sidecar.clock.advance(101);
    sidecar.service.prune().await.unwrap();
    let status = async |app: &Value| nobody.get(&format!("{APPS}{}", app["client_id"].as_str().unwrap())).await.status;
    assert_eq!((status(&used).await, status(&unused).await), (StatusCode::OK, StatusCode::NOT_FOUND));
}
