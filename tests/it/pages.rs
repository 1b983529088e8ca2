//! Pages: what browsers are told to allow, and that nothing of the outside becomes markup.

use http::StatusCode;
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::service::clients::NewClient;

use crate::harness::{Browser, Http, PASSWORD, REDIRECT_URI, Reply, Sidecar, USERNAME, form};

async fn every_page(sidecar: &Sidecar) -> Vec<(&'static str, Reply)> {
    let request = sidecar.request(&[]);
    let login = sidecar.http().get(&format!("/login?{}", form(&[("request", &request)]))).await;
    let consent = sidecar.browser().consent_page(&request).await;
    let mut browser = sidecar.browser();
    browser.consent_page(&request).await;
    let logout = browser.get("/logout").await;
    let signed_out = sidecar.http().get("/logout").await;
    let error = sidecar.http().get("/authorize").await;
    let html = [("accept", "text/html")];
    let missing = sidecar.http().send(http::Method::GET, "/nowhere", &html, "").await;
    vec![
        ("login", login),
        ("consent", consent),
        ("logout", logout),
        ("signed out", signed_out),
        ("error", error),
        ("missing", missing),
    ]
}

#[tokio::test]
async fn c1_c3_c4_c20_every_page_is_locked_down() {
    let sidecar = Sidecar::start().await;
    for (name, page) in every_page(&sidecar).await {
        let policy = page.header("content-security-policy").unwrap();
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(directive), "{name}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{name}: {policy}");
        for (header, value) in [
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(page.header(header), Some(value), "{name}");
        }
        assert!(page.header("permissions-policy").is_some());
        assert!(
            !page.body.contains("<script") && !page.body.contains("http:") && !page.body.contains("https:"),
            "{}",
            page.body
        );
    }
}

#[tokio::test]
async fn the_policy_lets_the_browser_follow_the_answer_to_the_client() {
    let sidecar = Sidecar::start().await;
    let page = sidecar.browser().consent_page(&sidecar.request(&[])).await;
    assert!(page.header("content-security-policy").unwrap().ends_with("form-action 'self' http://127.0.0.1:8765"));
}

#[tokio::test]
async fn c9_c10_a_name_or_a_parameter_never_becomes_markup() {
    let sidecar = Sidecar::start().await;
    let name = "<script>alert(1)</script>\"'>&\u{202e}".to_owned();
    let new = NewClient {
        name,
        redirect_uris: vec![REDIRECT_URI.parse().unwrap()],
        scopes: "a".parse().unwrap(),
        public: true,
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
    };
    let (client, _) = sidecar.service.create_client(new).await.unwrap();
    let request =
        sidecar.request(&[("client_id", client.id.as_str()), ("scope", "a"), ("state", "\"><script>x</script>")]);
    let page = sidecar.browser().consent_page(&request).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.body.contains("<script"), "{}", page.body);
    let body = form(&[("username", "\"><script>"), ("password", "x"), ("request", &request)]);
    let page = sidecar.http().post_text("/login", &[], &body).await;
    assert!(!page.body.contains("<script"), "{}", page.body);
    let page = sidecar
        .http()
        .get("/authorize?error_description=%3Cscript%3E&error_hint=%3Cscript%3E&client_id=%3Cscript%3E")
        .await;
    assert!(!page.body.contains("<script"), "{}", page.body);
}

#[tokio::test]
async fn c12_the_session_cookie_is_new_at_each_sign_in_and_bound_to_the_host() {
    for (issuer, expected_name, secure) in
        [("", "scopegate_session", false), ("issuer = 'https://auth.example'", "__Host-scopegate_session", true)]
    {
        let sidecar = Sidecar::with(issuer).await;
        let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &sidecar.request(&[]))]);
        let planted = format!("{expected_name}=planted");
        let reply = sidecar.http().post_text("/login", &[("cookie", &planted)], &body).await;
        let cookie = reply.header("set-cookie").unwrap();
        let (name, rest) = cookie.split_once('=').unwrap();
        assert_eq!(name, expected_name);
        assert!(!rest.starts_with("planted"));
        assert!(
            rest.ends_with(if secure {
                "; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"
            } else {
                "; HttpOnly; SameSite=Lax"
            }),
            "{cookie}"
        );
        assert_eq!(reply.header("strict-transport-security").is_some(), secure);
    }
}

#[tokio::test]
async fn c18_after_signing_in_the_browser_stays_with_us() {
    let sidecar = Sidecar::start().await;
    for request in ["//evil", "\\evil", "https:evil", "/%2f%2fevil", "x\r\nlocation: https://evil", ""] {
        let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", request)]);
        let reply = sidecar.http().post_text("/login", &[], &body).await;
        if let Some(location) = reply.header("location") {
            assert!(location.starts_with("/authorize?"), "{location}");
        }
    }
}

#[tokio::test]
async fn a_login_page_without_a_request_says_where_to_start() {
    let sidecar = Sidecar::start().await;
    let page = sidecar.http().get("/login").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.body.contains("Go back to the app"), "{}", page.body);
}

#[tokio::test]
async fn x10_what_is_not_there_is_told_in_the_form_that_was_asked_for() {
    let sidecar = Sidecar::start().await;
    let http: Http = sidecar.http();
    let json = http.get("/nowhere").await;
    assert_eq!((json.status, json.error().as_str()), (StatusCode::NOT_FOUND, "invalid_request"));
    let page = http.send(http::Method::GET, "/nowhere", &[("accept", "text/html,*/*")], "").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.body.starts_with("<!doctype html>"));
    for path in ["/authorize", "/login", "/consent", "/logout"] {
        for (content_type, body, status) in [
            ("application/json", "{}".to_owned(), StatusCode::BAD_REQUEST),
            ("application/x-www-form-urlencoded", "x".repeat(70_000), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let headers = [("accept", "text/html,*/*"), ("content-type", content_type)];
            let page = http.send(http::Method::POST, path, &headers, &body).await;
            assert_eq!(page.status, status, "{path}");
            assert!(page.body.starts_with("<!doctype html>"), "{path}: {}", page.body);
            assert_eq!(page.header("cache-control"), Some("no-store"));
        }
    }
    let style = Browser::new(http).get("/assets/scopegate.css").await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
}
