//! Who the user is: whoever the app or a session says, and nobody that another site or a third party's token would like to be.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ann, registered};
use crate::harness::{Answer, REDIRECT_URI, Reply, Sidecar, Site, basic, document};

const APPS: &str = "/api/oauth/apps";

fn app() -> String {
    json!({"client_name": "A", "client_uri": "", "redirect_uris": [REDIRECT_URI], "scope": "a"}).to_string()
}

async fn send(sidecar: &Sidecar, method: Method, headers: &[(&str, &str)]) -> Reply {
    let headers = [headers, &[("content-type", "application/json")]].concat();
    sidecar.http().send(method, APPS, &headers, &app()).await
}

#[tokio::test]
async fn another_site_cannot_use_the_session_of_a_user() {
    let sidecar = Sidecar::with("[apps]\napi = 'fittrackee'\n").await;
    let cookie = ann(&sidecar).await.cookie;
    let issuer = format!("http://{}", sidecar.addresses.http);
    for other in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        let reply = send(&sidecar, Method::POST, &[&[("cookie", cookie.as_str())], other].concat()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{other:?}");
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    for own in [&[][..], &[("sec-fetch-site", "same-origin")], &[("origin", &issuer)]] {
        let reply = send(&sidecar, Method::POST, &[&[("cookie", cookie.as_str())], own].concat()).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{own:?}: {reply:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask_with_a_token() {
    let sidecar = Sidecar::with("[apps]\napi = 'funkwhale'\nscopes = ['a']\n").await;
    let preflight = [
        ("origin", "https://player.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let reply = sidecar.http().send(Method::OPTIONS, "/api/v1/oauth/apps/x/", &preflight, "").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn a_token_of_a_third_party_is_not_the_user() {
    for (api, path, status, answer) in [
        ("fittrackee", APPS, 401, json!({"status": "error", "message": "provide a valid auth token"})),
        (
            "funkwhale",
            "/api/v1/oauth/apps/",
            403,
            json!({"detail": "You do not have permission to perform this action."}),
        ),
        (
            "funkwhale",
            "/api/v1/oauth/grants/",
            403,
            json!({"detail": "You do not have permission to perform this action."}),
        ),
        ("gancio", "/api/clients", 403, Value::Null),
    ] {
        let sidecar = Sidecar::with(&format!("[apps]\napi = '{api}'\n")).await;
        let (cookie, token) = (ann(&sidecar).await.cookie, sidecar.tokens().await);
        for presented in [
            format!("Bearer {}", token.access),
            format!("bearer  {}", token.access),
            format!("token {}", token.access),
            basic("ann", &token.access),
            basic(&token.access, "x-oauth-basic"),
        ] {
            let headers = [("authorization", presented.as_str()), ("cookie", cookie.as_str())];
            let reply = sidecar.http().send(Method::GET, path, &headers, "").await;
            assert_eq!(reply.status.as_u16(), status, "{api}: {reply:?}");
            assert!(answer.is_null() || reply.json() == answer, "{reply:?}");
        }
        for dead in [&token.refresh, "garbage"] {
            let presented = format!("Bearer {dead}");
            let headers = [("authorization", presented.as_str()), ("cookie", cookie.as_str())];
            let reply = sidecar.http().send(Method::GET, path, &headers, "").await;
            assert_eq!(reply.status.as_u16(), if api == "gancio" { 403 } else { 401 }, "{api}: {reply:?}");
        }
    }
}

/// The sidecar and the app that it asks.
async fn probing(more: &str) -> (Site, Sidecar) {
    let app = Site::without_tls().await;
    let login = format!(
        "[apps]\napi = 'fittrackee'\n[login]\nmethod = 'session_probe'\nurl = 'http://{app}/login'\nprobe_url = 'http://{app}/whoami'\n{more}",
        app = app.address
    );
    app.serve("/whoami", document(&[], r#"{"sub":"42","name":"Ann"}"#));
    (app, Sidecar::with(&login).await)
}

/// What the app was asked with last.
fn asked(app: &Site, header: &str) -> Option<String> {
    let last = app.requests().pop()?;
    let line = last.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{header}: ")))?;
    Some(line.split_once(": ")?.1.to_owned())
}

#[tokio::test]
async fn the_app_says_whose_its_own_token_is() {
    let (app, sidecar) = probing("probe_authorization = ['Bearer']\n").await;
    // From another site, too: no browser adds such a header by itself. Cookies count for nothing beside it.
    let headers = [("authorization", "bearer of.the.app"), ("cookie", "session=1"), ("sec-fetch-site", "cross-site")];
    let made = send(&sidecar, Method::POST, &headers).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!((asked(&app, "authorization").as_deref(), asked(&app, "cookie")), (Some("bearer of.the.app"), None));
    let list = send(&sidecar, Method::GET, &[("cookie", "session=1")]).await.json();
    assert_eq!(list["data"]["clients"][0]["name"], "A", "the same user by a cookie: {list}");
    assert_eq!((asked(&app, "authorization"), asked(&app, "cookie").as_deref()), (None, Some("session=1")));

    let before = app.requests().len();
    for (headers, why) in [
        (&[("authorization", "Basic YTpi")][..], "another scheme"),
        (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], "two of them"),
        (&[("cookie", "session=1"), ("sec-fetch-site", "cross-site")], "cookies that another site had sent"),
        (&[], "nothing"),
    ] {
        assert_eq!(send(&sidecar, Method::POST, headers).await.status, StatusCode::UNAUTHORIZED, "{why}");
    }
    assert_eq!(app.requests().len(), before, "the app was not asked");
    app.serve("/whoami", Answer::Raw("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".into()));
    let refused = send(&sidecar, Method::POST, &[("authorization", "Bearer other")]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_app_gets_no_authorization_header_unless_it_is_configured_and_never_a_token_of_ours() {
    let (app, sidecar) = probing("").await;
    assert_eq!(
        send(&sidecar, Method::GET, &[("authorization", "Bearer of.the.app")]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert!(app.requests().is_empty());

    let (app, sidecar) = probing("probe_authorization = ['bearer', 'token', 'basic']\n").await;
    let made = send(&sidecar, Method::POST, &[("authorization", "Bearer of.the.app")]).await.json();
    let client = registered(&made["data"]["client"]);
    let mut browser = sidecar.browser();
    browser.cookies.insert("session".into(), "1".into());
    let location = browser.approve(&super::request(&sidecar, &client)).await;
    let code = crate::harness::query_of(&location, "code").unwrap();
    let access = super::redeem(&sidecar, &client, &code).await.tokens().access;
    let before = app.requests().len();
    for presented in [
        format!("Bearer {access}"),
        format!("token {access}"),
        format!("Bearer  {access} "),
        basic("42", &access),
        basic(&access, ""),
    ] {
        assert_eq!(
            send(&sidecar, Method::GET, &[("authorization", &presented)]).await.status,
            StatusCode::UNAUTHORIZED
        );
        let page = [("authorization", presented.as_str())];
        let reply = sidecar
            .http()
            .send(Method::GET, &format!("/authorize?{}", super::request(&sidecar, &client)), &page, "")
            .await;
        assert!(reply.header("location").unwrap().starts_with(&format!("http://{}/login", app.address)), "{reply:?}");
    }
    assert_eq!(app.requests().len(), before, "a third party's token would be the user there");
}

#[tokio::test]
async fn a_user_whom_a_proxy_names_has_apps_and_one_who_is_disabled_has_none() {
    let login = "[apps]\napi = 'fittrackee'\n[http]\ntrusted_proxies = ['127.0.0.1']\n[login]\nmethod = 'trusted_header'\nsubject_header = 'x-user'\n";
    let sidecar = Sidecar::with(login).await;
    assert_eq!(send(&sidecar, Method::POST, &[("x-user", "42")]).await.status, StatusCode::CREATED);
    let from_elsewhere = [("x-user", "42"), ("sec-fetch-site", "cross-site")];
    assert_eq!(send(&sidecar, Method::POST, &from_elsewhere).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&sidecar, Method::POST, &[]).await.status, StatusCode::UNAUTHORIZED);
    sidecar.service.disable_account("42".into()).await.ok();
    let twice = [("x-user", "42"), ("x-user", "43")];
    let refused = send(&sidecar, Method::POST, &twice).await;
    let message = "you do not have permissions, your account is suspended";
    assert_eq!((refused.status, &refused.json()["message"]), (StatusCode::FORBIDDEN, &json!(message)));
}

#[tokio::test]
async fn whoever_signs_out_manages_nothing_more() {
    let sidecar = Sidecar::with("[apps]\napi = 'fittrackee'\n").await;
    let ann = ann(&sidecar).await;
    assert_eq!(ann.get(APPS).await.status, StatusCode::OK);
    let page = ann.get("/account/apps").await;
    assert_eq!(page.status, StatusCode::OK);
    let headers = [("cookie", ann.cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    sidecar.http().send(Method::POST, "/account/sign-out", &headers, "").await;
    assert_eq!(ann.get(APPS).await.status, StatusCode::UNAUTHORIZED);
}
