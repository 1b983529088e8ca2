//! Users whom the app knows: it is asked who has its cookies, or a proxy in front says it.

use std::process::Stdio;
use std::time::Duration;

use http::StatusCode;
use scopegate::proto::scopegate::v1 as api;
use scopegate::store::ClientChanges;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    Answer, Browser, Http, Reply, Sidecar, Site, document, encode, form, hidden_fields, query_of, ticked_scopes,
};
use crate::openid::claims;

const ANN: &str = r#"{"sub":"42","name":"Ann","email":"ann@example.com","email_verified":true}"#;

/// An app that answers as it is told, and a sidecar that asks it.
async fn asking(more: &str) -> (Site, Sidecar) {
    let app = Site::without_tls().await;
    let login = format!(
        "[login]\nmethod = 'session_probe'\nurl = 'http://{app}/login'\nprobe_url = 'http://{app}/whoami'\n{more}",
        app = app.address
    );
    (app, with_openid(&login).await)
}

/// Its shop may ask for `openid`, `profile` and `email`.
async fn with_openid(more: &str) -> Sidecar {
    let sidecar = Sidecar::with(more).await;
    let scopes = Some("a b openid profile email".parse().unwrap());
    let changes = ClientChanges { scopes, ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    sidecar
}

fn status(line: &str) -> Answer {
    Answer::Raw(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n"))
}

/// A browser that is signed in to the app.
fn visitor(sidecar: &Sidecar) -> Browser {
    let mut browser = sidecar.browser();
    browser.cookies.insert("session".into(), "of-ann".into());
    browser
}

fn decision(page: &Reply) -> String {
    let fields =
        [hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]].concat();
    encode(&fields)
}

#[tokio::test]
async fn the_app_that_is_asked_says_who_the_user_is_and_when_it_signed_in() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let app = format!("http://127.0.0.1:{port}");
    let sidecar = with_openid(&format!(
        "[login]\nmethod = 'session_probe'\nurl = '{app}/login'\nprobe_url = '{app}/whoami'\nprobe_cookies = ['session']"
    ))
    .await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/session_probe_app.py");
    let _running = tokio::process::Command::new("python3")
        .args([example, &port.to_string(), &issuer])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is there: apt install python3");
    let started = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), started).await.expect("the example listens");

    let request = sidecar.request(&[("scope", "openid profile email a"), ("max_age", "300")]);
    let mut browser = sidecar.browser();
    let to_app = browser.get(&format!("/authorize?{request}")).await;
    let login = to_app.header("location").unwrap();
    assert!(login.starts_with(&format!("{app}/login?return_to=")), "{login}");
    let back = query_of(login, "return_to").unwrap();
    assert!(back.starts_with(&format!("{issuer}/authorize?")), "{back}");

    let fields = [("user", "ann"), ("password", "correct horse"), ("return_to", &*back)];
    let signed_in = Http::new(&app).post("/login", &fields).await;
    assert_eq!(signed_in.header("location"), Some(&*back));
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().split_once('=').unwrap();
    browser.cookies.insert(cookie.0.into(), cookie.1.into());
    let page = browser.get(back.strip_prefix(&issuer).unwrap()).await;
    assert!(page.body.contains(">ann</") && !page.body.contains("/login/switch"), "{}", page.body);
    let switch = link(&page, "Use another account").expect("there is a way to switch");
    assert!(switch.starts_with(&format!("{app}/login?")), "{switch}");
    assert_eq!(query_of(&switch, "prompt").as_deref(), Some("login"));
    assert!(query_of(&switch, "return_to").unwrap().starts_with(&format!("{issuer}/authorize?")), "{switch}");
    let location = browser.post("/consent", &decision(&page)).await;
    let code = query_of(location.header("location").unwrap(), "code").unwrap();
    let tokens = sidecar.redeem(&code).await.json();

    let claims = claims(&tokens);
    for (name, expected) in [("sub", json!("42")), ("name", json!("ann")), ("email", json!("ann@example.com"))] {
        assert_eq!(claims[name], expected);
    }
    assert!(claims["auth_time"].as_i64().is_some_and(|at| (sidecar.now() - at).abs() < 60), "{claims}");
    assert!(claims.get("amr").is_none() && claims.get("acr").is_none(), "how it was is not known: {claims}");
    let access_token = tokens["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {access_token}");
    let told = sidecar.http().send(http::Method::GET, "/userinfo", &[("authorization", &bearer)], "").await.json();
    assert_eq!(told, json!({"sub": "42", "name": "ann", "email": "ann@example.com"}));
    let introspect = api::IntrospectRequest { token: access_token.into(), ..Default::default() };
    assert_eq!(sidecar.grpc().await.introspect(introspect).await.unwrap().into_inner().sub, "42");
}

/// Where the link with this text leads.
fn link(page: &Reply, text: &str) -> Option<String> {
    let before = page.body.split_once(&format!("\">{text}</a>"))?.0;
    let url = before.rsplit_once("href=\"")?.1;
    Some(url.replace("&#x2f;", "/").replace("&amp;", "&"))
}

#[tokio::test]
async fn users_of_the_app_see_and_end_what_they_allowed_and_make_apps_after_a_recent_sign_in() {
    let config =
        "switch_url = 'http://app.example/sign-out'\n[account]\nclients = true\n[scopes.catalogue]\na = 'A'\nb = 'B'";
    let (app, sidecar) = asking(config).await;
    let (apps, new) = ("/account/apps", "/account/clients/new");
    let issuer = format!("http://{}", sidecar.addresses.http);
    let back = |reply: &Reply| {
        let location = reply.header("location").unwrap();
        assert!(location.starts_with(&format!("http://{}/login?", app.address)), "{location}");
        let to = query_of(location, "return_to").unwrap();
        (to.strip_prefix(&issuer).unwrap().to_owned(), query_of(location, "prompt"))
    };
    let serve = |auth_time: Option<i64>| {
        let user = json!({"sub": "42", "name": "Ann", "auth_time": auth_time}).to_string();
        app.serve("/whoami", document(&[], &user));
    };
    let (to, prompt) = back(&sidecar.browser().get(apps).await);
    assert!(to.starts_with(&format!("{apps}?")) && prompt.is_none(), "{to}");
    assert_eq!(sidecar.browser().get(&to).await.status, StatusCode::FORBIDDEN, "back without a sign-in");

    serve(None);
    let mut browser = visitor(&sidecar);
    let location = browser.approve(&sidecar.request(&[("scope", "a")])).await;
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    let page = browser.get(apps).await;
    assert!(page.body.contains("Shop") && page.body.contains(">Ann</") && !page.body.contains("/account/sign-out"));
    let switch = link(&page, "Use another account").unwrap();
    assert_eq!(switch, format!("http://app.example/sign-out?{}", form(&[("return_to", &format!("{issuer}{apps}"))])));
    let fields = encode(&hidden_fields(&page.body));
    serve_other(&app);
    let of_bob = browser.post("/account/apps/revoke", &fields).await;
    assert_eq!(of_bob.status, StatusCode::FORBIDDEN, "another user of the same browser");
    serve(None);
    let ended = browser.post("/account/apps/revoke", &fields).await;
    assert_eq!((ended.status, ended.header("location")), (StatusCode::SEE_OTHER, Some(apps)));
    assert!(!sidecar.is_active(&tokens.access).await);

    let untold = browser.get(new).await;
    assert_eq!(untold.status, StatusCode::FORBIDDEN, "the app does not say when");
    assert!(untold.body.contains("This page needs a new sign-in"), "{}", untold.body);
    serve(Some(sidecar.now() - 901));
    let (to, prompt) = back(&browser.get(new).await);
    assert!(to.starts_with(&format!("{new}?")) && prompt.as_deref() == Some("login"), "{to}");
    assert_eq!(browser.get(&to).await.status, StatusCode::FORBIDDEN, "back without a new sign-in");
    let elsewhere = to.replace(new, "/account/clients/other");
    assert_eq!(browser.get(&elsewhere).await.status, StatusCode::SEE_OTHER, "the note is of one page");

    // A user of whom nothing is known here yet.
    let user = json!({"sub": "43", "name": "Eve", "auth_time": sidecar.now()}).to_string();
    app.serve("/whoami", document(&[], &user));
    let page = browser.get(new).await;
    let more = [("name", "Calendar"), ("redirect_uris", crate::harness::REDIRECT_URI), ("scope", "a")];
    let more = more.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let made = browser.post(new, &encode(&[hidden_fields(&page.body), more].concat())).await;
    assert!(made.status == StatusCode::OK && made.body.contains("client_secret"), "{made:?}");
    let consent = browser.get("/account/clients").await;
    assert!(consent.body.contains("Calendar"), "{}", consent.body);
}

fn serve_other(app: &Site) {
    app.serve("/whoami", document(&[], r#"{"sub":"43","name":"Bob"}"#));
}

#[tokio::test]
async fn a_user_of_the_app_who_is_deleted_is_forgotten_and_a_stranger_a_day_later() {
    let (app, sidecar) = asking("").await;
    app.serve("/whoami", document(&[], ANN));
    let mut browser = visitor(&sidecar);
    let location = browser.approve(&sidecar.request(&[("scope", "a email")])).await;
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    sidecar.service.delete_account("42".into()).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await);
    let mut database = sidecar.database().await;
    assert_eq!(database.count("subjects WHERE claims <> '' OR name = 'Ann'").await, 0);
    let path = format!("/authorize?{}", sidecar.request(&[]));
    assert_eq!(browser.get(&path).await.status, StatusCode::FORBIDDEN, "not yet");
    assert!(sidecar.service.enable_account("42".into()).await.is_err(), "it cannot be had back");
    let machine = format!("client:{}", sidecar.shop.id);
    assert!(sidecar.service.delete_account(machine).await.is_err());
}

#[tokio::test]
async fn c6_a_consent_form_is_for_one_user_in_one_session_of_the_app() {
    let (app, sidecar) = asking("").await;
    app.serve("/whoami", document(&[], ANN));
    let mut browser = visitor(&sidecar);
    let form = decision(&browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await);

    app.serve("/whoami", document(&[], r#"{"sub":"43","name":"Bob"}"#));
    assert_eq!(browser.post("/consent", &form).await.status, StatusCode::FORBIDDEN, "another user");
    app.serve("/whoami", document(&[], ANN));
    browser.cookies.insert("session".into(), "another".into());
    assert_eq!(browser.post("/consent", &form).await.status, StatusCode::FORBIDDEN, "another session");
    browser.cookies.insert("session".into(), "of-ann".into());
    app.serve("/whoami", status("401 Unauthorized"));
    assert_eq!(browser.post("/consent", &form).await.status, StatusCode::FORBIDDEN, "signed out of the app");
    app.serve("/whoami", document(&[], ANN));
    let allowed = browser.post("/consent", &form).await;
    assert!(query_of(allowed.header("location").unwrap(), "code").is_some(), "{allowed:?}");
    assert_eq!(browser.post("/consent", &form).await.status, StatusCode::CONFLICT, "it counts once");
}

#[tokio::test]
async fn c12_the_app_gets_its_own_cookies_and_no_other() {
    let cookies = |requests: &[String]| {
        let last = requests.last().unwrap().to_ascii_lowercase();
        last.lines().find_map(|line| line.strip_prefix("cookie: ")).unwrap_or_default().to_owned()
    };
    for (more, expected) in [("", "other=1; session=of-ann"), ("probe_cookies = ['session']", "session=of-ann")] {
        let (app, sidecar) = asking(more).await;
        app.serve("/whoami", document(&[], ANN));
        let mut browser = visitor(&sidecar);
        for name in ["other", "scopegate_session", "__Host-scopegate_session"] {
            browser.cookies.insert(name.into(), "1".into());
        }
        browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await;
        assert_eq!(cookies(&app.requests()), expected);
        browser.cookies.retain(|name, _| name.contains("scopegate"));
        let reply = browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await;
        assert!(reply.header("location").unwrap().starts_with(&format!("http://{}/login?", app.address)));
        assert_eq!(app.requests().len(), 1, "who has no cookie of the app is not signed in to it");
    }
}

#[tokio::test]
async fn c18_the_app_is_told_to_send_browsers_back_to_us_alone_and_they_are_sent_there_once() {
    let (app, sidecar) = asking("return_to = 'next'").await;
    app.serve("/whoami", status("403 Forbidden"));
    let mut browser = visitor(&sidecar);
    let request = sidecar.request(&[("state", "//evil.example"), ("next", "https://evil.example")]);
    let reply = browser.get(&format!("/authorize?{request}")).await;
    let location = reply.header("location").unwrap();
    assert_eq!(location.matches("next=").count(), 1, "{location}");
    let back = query_of(location, "next").unwrap();
    let path = back.strip_prefix(&format!("http://{}", sidecar.addresses.http)).unwrap();
    assert!(path.starts_with("/authorize?"), "{path}");
    // Whose cookies do not reach us would go to and fro for ever.
    assert_eq!(browser.get(path).await.status, StatusCode::FORBIDDEN);
    // A note that we did not make says nothing.
    let forged = browser.get(&format!("/authorize?{request}&scopegate_sent_to_sign_in=AAAA")).await;
    assert_eq!(forged.status, StatusCode::SEE_OTHER);
    let device = browser.get("/device?user_code=BCDF-GHJK").await;
    let back = query_of(device.header("location").unwrap(), "next").unwrap();
    assert_eq!(back, format!("http://{}/device?user_code=BCDF-GHJK", sidecar.addresses.http));
}

#[tokio::test]
async fn x12_a_user_of_the_app_who_does_nothing_leaves_nothing_behind() {
    let (app, sidecar) = asking("").await;
    app.serve("/whoami", document(&[], ANN));
    let before = sidecar.database().await.dump().await.lines().count();
    let mut browser = visitor(&sidecar);
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await;
    assert_eq!(page.status, StatusCode::OK);
    browser.get("/device").await;
    let silently = browser.get(&format!("/authorize?{}", sidecar.request(&[("prompt", "none")]))).await;
    assert_eq!(query_of(silently.header("location").unwrap(), "error").as_deref(), Some("consent_required"));
    assert_eq!(sidecar.database().await.dump().await.lines().count(), before);
    browser.post("/consent", &decision(&page)).await;
    let dump = sidecar.database().await.dump().await;
    assert!(dump.contains("ann@example.com") && dump.lines().count() > before, "{dump}");
}

#[tokio::test]
async fn nobody_is_signed_out_because_the_app_fails() {
    let (app, sidecar) = asking("probe_timeout = 300").await;
    let mut browser = visitor(&sidecar);
    let request = sidecar.request(&[]);
    for answer in [
        status("500 Internal Server Error"),
        status("404 Not Found"),
        Answer::Raw("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n".into()),
        document(&[], "<html>Sign in</html>"),
        document(&[], r#"{"name":"Ann"}"#),
        document(&[], r#"{"sub":"client:shop"}"#),
        Answer::Silence,
        Answer::Endless,
    ] {
        app.serve("/whoami", answer);
        assert_eq!(browser.get(&format!("/authorize?{request}")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let silently = browser.get(&format!("/authorize?{}", sidecar.request(&[("prompt", "none")]))).await;
    assert_eq!(query_of(silently.header("location").unwrap(), "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(browser.get("/device").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_client_that_wants_a_new_sign_in_gets_one_or_an_error() {
    let (app, sidecar) = asking("").await;
    let serve = |auth_time: Option<i64>| {
        let user = json!({"sub": "42", "auth_time": auth_time}).to_string();
        app.serve("/whoami", document(&[], &user));
    };
    let mut browser = visitor(&sidecar);
    let error = |reply: &Reply| query_of(reply.header("location").unwrap(), "error");
    for (wanted, value) in [("prompt", "login"), ("max_age", "60")] {
        let path = format!("/authorize?{}", sidecar.request(&[(wanted, value)]));
        serve(None);
        assert_eq!(error(&browser.get(&path).await).as_deref(), Some("login_required"), "the app does not say when");
        serve(Some(sidecar.now() + 1_000_000));
        assert_eq!(error(&browser.get(&path).await).as_deref(), Some("login_required"), "that is no time of a sign-in");

        let old = sidecar.now() - 61;
        serve(Some(old));
        let sent = browser.get(&path).await;
        let location = sent.header("location").unwrap();
        assert_eq!(query_of(location, "prompt").as_deref(), Some("login"), "{location}");
        let back = query_of(location, "return_to").unwrap();
        let back = back.strip_prefix(&format!("http://{}", sidecar.addresses.http)).unwrap();
        assert_eq!(error(&browser.get(back).await).as_deref(), Some("login_required"), "back without a new sign-in");
        sidecar.clock.advance(30);
        serve(Some(sidecar.now()));
        assert_eq!(browser.get(back).await.status, StatusCode::OK, "{wanted}");
        sidecar.clock.advance(601);
        let late = browser.get(back).await;
        assert_eq!(late.status, StatusCode::SEE_OTHER, "the note was of another time");
    }
    serve(Some(sidecar.now() - 61));
    let silently =
        browser.get(&format!("/authorize?{}", sidecar.request(&[("prompt", "none"), ("max_age", "60")]))).await;
    assert_eq!(error(&silently).as_deref(), Some("login_required"));
    let class = browser.get(&format!("/authorize?{}", sidecar.request(&[("acr_values", "1")]))).await;
    assert_eq!(error(&class).as_deref(), Some("unmet_authentication_requirements"));
}

#[tokio::test]
async fn a_name_that_is_known_from_elsewhere_or_is_disabled_is_not_let_in() {
    let (app, sidecar) = asking("").await;
    let account = sidecar.service.subject_of("ann".into()).await.unwrap();
    let mut browser = visitor(&sidecar);
    let path = format!("/authorize?{}", sidecar.request(&[]));
    app.serve("/whoami", document(&[], &json!({"sub": account.as_str()}).to_string()));
    assert_eq!(browser.get(&path).await.status, StatusCode::FORBIDDEN, "an account has this subject");
    app.serve("/whoami", document(&[], ANN));
    browser.approve(&sidecar.request(&[])).await;

    let probe = format!("url = 'http://{app}/login'\nprobe_url = 'http://{app}/whoami'", app = app.address);
    let method = "[login]\nmethod = 'session_probe'\n";
    let elsewhere = sidecar.beside_with(&format!("{method}realm = 'customers'\n{probe}")).await;
    assert_eq!(visitor(&elsewhere).get(&path).await.status, StatusCode::FORBIDDEN, "a name of another realm");
    let request = sidecar.request(&[("prompt", "none")]);
    let silently = visitor(&elsewhere).get(&format!("/authorize?{request}")).await;
    assert_eq!(query_of(silently.header("location").unwrap(), "error").as_deref(), Some("login_required"));

    sidecar.service.disable_account("42".into()).await.unwrap();
    assert_eq!(browser.get(&path).await.status, StatusCode::FORBIDDEN, "disabled");
    sidecar.service.enable_account("42".into()).await.unwrap();
    assert_eq!(browser.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_built_in_login_is_not_there_for_users_of_the_app() {
    let (_app, sidecar) = asking("").await;
    let http = sidecar.http();
    for path in ["/login", "/logout"] {
        assert_eq!(http.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let metadata = http.get("/.well-known/openid-configuration").await.json();
    assert!(metadata.get("end_session_endpoint").is_none() && metadata.get("acr_values_supported").is_none());
    assert!(metadata["scopes_supported"].as_array().unwrap().contains(&json!("email")));
    assert!(metadata["claims_supported"].as_array().unwrap().contains(&json!("email_verified")));
}

#[tokio::test]
async fn a_header_that_names_the_user_is_believed_of_the_proxy_alone_and_once() {
    let sidecar = with_openid(
        "[http]\ntrusted_proxies = ['127.0.0.1']\n[login]\nmethod = 'trusted_header'\nsubject_header = 'X-Forwarded-User'\n\
         name_header = 'X-Forwarded-Name'\nemail_header = 'X-Forwarded-Email'\n[consent]\nremember = 'confidential'",
    )
    .await;
    let (proxy, outside) = (sidecar.http(), sidecar.http().at_address([127, 0, 0, 2]));
    let path = format!("/authorize?{}", sidecar.request(&[]));
    let get = async |from: &Http, headers: &[(&str, &str)]| from.send(http::Method::GET, &path, headers, "").await;
    let ann = [("x-forwarded-user", "ann-1"), ("x-forwarded-name", "Ann"), ("x-forwarded-email", "ann@example.com")];
    for (why, from, headers) in [
        ("past the proxy", &outside, &ann[..]),
        ("past the proxy, nobody", &outside, &[]),
        ("nobody", &proxy, &[]),
        ("nobody, in so many words", &proxy, &[("x-forwarded-user", "")]),
        ("two", &proxy, &[("x-forwarded-user", "ann-1"), ("x-forwarded-user", "bob")]),
        ("twice", &proxy, &[("x-forwarded-user", "ann-1"), ("x-forwarded-user", "ann-1")]),
        ("a machine", &proxy, &[("x-forwarded-user", "client:shop")]),
        ("two names", &proxy, &[ann[0], ann[1], ann[1]]),
    ] {
        let reply = get(from, headers).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::FORBIDDEN, None), "{why}");
    }
    let page = get(&proxy, &ann).await;
    assert!(page.body.contains(">Ann</"), "{}", page.body);
    assert_eq!(link(&page, "Use another account"), None, "there is no page for it");
    let managing = proxy.send(http::Method::GET, "/account/apps", &ann, "").await;
    assert!(managing.body.contains(">Ann</"), "{}", managing.body);
    let past = outside.send(http::Method::GET, "/account/apps", &ann, "").await;
    assert_eq!(past.status, StatusCode::FORBIDDEN);
    let form = decision(&page);
    let bob = [("x-forwarded-user", "bob")];
    for (from, headers) in [(&proxy, &bob[..]), (&outside, &ann), (&proxy, &[])] {
        assert_eq!(from.post_text("/consent", headers, &form).await.status, StatusCode::FORBIDDEN);
    }
    let allowed = proxy.post_text("/consent", &ann, &form).await;
    let tokens = sidecar.redeem(&query_of(allowed.header("location").unwrap(), "code").unwrap()).await.tokens();
    let introspect = api::IntrospectRequest { token: tokens.access, ..Default::default() };
    assert_eq!(sidecar.grpc().await.introspect(introspect).await.unwrap().into_inner().sub, "ann-1");
    let silently = format!("/authorize?{}", sidecar.request(&[("prompt", "none")]));
    let nobody = proxy.get(&silently).await;
    assert_eq!(query_of(nobody.header("location").unwrap(), "error").as_deref(), Some("login_required"));
    let ann_silently = proxy.send(http::Method::GET, &silently, &ann, "").await;
    assert!(query_of(ann_silently.header("location").unwrap(), "code").is_some());
}
