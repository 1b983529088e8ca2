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

#[tokio::test]
async fn pages_speak_the_language_that_is_asked_for() {
    let catalogue = "[scopes.catalogue]\na = { en = 'See A', de = 'A sehen' }";
    let sidecar = Sidecar::with(catalogue).await;
    let german = [("accept", "text/html"), ("accept-language", "pt, de-CH;q=0.9, en;q=0.1")];
    let get = async |path: &str| sidecar.http().send(http::Method::GET, path, &german, "").await;
    let page = get("/nowhere").await;
    assert_eq!((page.header("content-language"), page.header("vary")), (Some("de"), Some("accept-language")));
    assert!(page.body.contains("<html lang=\"de\">") && page.body.contains("Hier gibt es nichts"), "{}", page.body);

    // The client's wish goes before the browser's, wherever the request travels.
    let request = sidecar.request(&[("ui_locales", "ja fr-CA en")]);
    let carried = form(&[("request", &request)]);
    assert_eq!(get(&format!("/login?{carried}")).await.header("content-language"), Some("fr"));
    assert_eq!(get("/authorize?ui_locales=it").await.header("content-language"), Some("it"), "an error, too");
    let refused = form(&[("username", USERNAME), ("password", "wrong"), ("request", &request)]);
    let page = sidecar.http().post_text("/login", &german, &refused).await;
    assert_eq!((page.status, page.header("content-language")), (StatusCode::FORBIDDEN, Some("fr")));
    let page = sidecar.http().post_text("/consent", &german, &carried).await;
    assert_eq!((page.status, page.header("content-language")), (StatusCode::FORBIDDEN, Some("fr")));
    // Without a session, a form is sent on as a query.
    let signed_in = [&german[..], &[("cookie", "scopegate_session=of-nobody")]].concat();
    let page = sidecar.http().post_text("/authorize", &signed_in, &request.replace("client_id", "nobody")).await;
    assert_eq!((page.status, page.header("content-language")), (StatusCode::BAD_REQUEST, Some("fr")));
    let page = get("/logout?ui_locales=es").await;
    assert_eq!(page.header("content-language"), Some("es"));

    // What scopes mean is told in it, or else in the language for everybody.
    let consent = |locales: &'static str| sidecar.request(&[("ui_locales", locales), ("scope", "a")]);
    assert!(sidecar.browser().consent_page(&consent("de")).await.body.contains("A sehen"));
    assert!(sidecar.browser().consent_page(&consent("fr")).await.body.contains("See A"));
}

#[tokio::test]
async fn a_pushed_request_says_the_language_too() {
    let sidecar = Sidecar::start().await;
    let fields: Vec<(String, String)> =
        form_urlencoded::parse(sidecar.request(&[("ui_locales", "it")]).as_bytes()).into_owned().collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let pushed = sidecar.http().post_as(&sidecar.shop, "/par", &fields).await.json();
    let request = form(&[("client_id", &sidecar.shop.id), ("request_uri", pushed["request_uri"].as_str().unwrap())]);
    let login = sidecar.http().get(&format!("/login?{}", form(&[("request", &request)]))).await;
    assert_eq!(login.header("content-language"), Some("it"));
    assert_eq!(sidecar.browser().consent_page(&request).await.header("content-language"), Some("it"));
}

#[tokio::test]
async fn only_the_languages_that_the_operator_wants_are_spoken() {
    let sidecar = Sidecar::with("[pages]\nlanguages = ['fr', 'de']").await;
    let page = async |accepted: &str| {
        let headers = [("accept", "text/html"), ("accept-language", accepted)];
        sidecar.http().send(http::Method::GET, "/nowhere", &headers, "").await
    };
    for (accepted, spoken) in [("en, es;q=0.5", "fr"), ("en, de;q=0.5", "de"), ("", "fr")] {
        assert_eq!(page(accepted).await.header("content-language"), Some(spoken), "{accepted}");
    }
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["ui_locales_supported"], serde_json::json!(["fr", "de"]));
}

#[tokio::test]
async fn an_operator_gives_name_picture_links_and_templates() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    std::fs::write(
        directory.path().join("logo.svg"),
        "<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>",
    )
    .unwrap();
    std::fs::write(directory.path().join("notice.html"), "<p>Ours: {{ t(notice ~ \"_title\") }} {{ site.name }}")
        .unwrap();
    let sidecar = Sidecar::with(&format!(
        "[pages]\nname = 'A & <B>'\nlogo = '{path}/logo.svg'\ntemplate_dir = '{path}'\nsupport_url = 'https://b.example/?a=1&b=2'"
    ))
    .await;
    let notice = sidecar.http().get("/logout").await;
    assert_eq!(notice.body, "<p>Ours: Signed out A &amp; &lt;B&gt;");
    let policy = notice.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self';"), "{policy}");
    let error = sidecar.http().get("/authorize").await;
    assert!(error.body.contains("<span>A &amp; &lt;B&gt;</span>"), "{}", error.body);
    assert!(
        error.body.contains("href=\"https:&#x2f;&#x2f;b.example&#x2f;?a=1&amp;b=2\" rel=\"noreferrer\""),
        "{}",
        error.body
    );
    let source = error.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let logo = sidecar.http().get(&source.replace("&#x2f;", "/")).await;
    assert_eq!(
        (logo.header("content-type"), logo.header("x-content-type-options")),
        (Some("image/svg+xml"), Some("nosniff"))
    );
    let policy = logo.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.ends_with("sandbox"), "{policy}");
}
