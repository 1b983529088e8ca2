//! Funkwhale's `docs/developers/authentication.rst`, from top to bottom, with the profile as it is and a stub of the API that asks
//! `CheckScopes`; then what the tests of its views send and read; then what it does wrong and we do not; then its clients. What the parts of
//! the profile do is tested where they are: `apps/funkwhale.rs`, `profiles_*.rs`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::foreign_clients::client_flow;
use crate::harness::{
    Browser, PASSWORD, REDIRECT_URI, Registered, Reply, Sidecar, Site, USERNAME, document, encode, form, hidden_fields,
    query_of, ticked_scopes,
};
use crate::profiles_stubs::Stub;

const APPS: &str = "/api/v1/oauth/apps/";
const AUTHORIZE: &str = "/api/v1/oauth/authorize/";
const TOKEN: &str = "/api/v1/oauth/token/";
const REVOKE: &str = "/api/v1/oauth/revoke/";
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
const HOUR: i64 = 3_600;

async fn funkwhale() -> Sidecar {
    Sidecar::with("profile = 'funkwhale'\n").await
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}")).to_owned()
}

/// An app that somebody registers who is not signed in.
async fn app(sidecar: &Sidecar, redirect_uris: &str, scopes: &str) -> Registered {
    let app = json!({"name": "Player", "redirect_uris": redirect_uris, "scopes": scopes}).to_string();
    let made = sidecar.http().send(Method::POST, APPS, &[("content-type", "application/json")], &app).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    Registered { id: text(&made.json(), "client_id"), secret: text(&made.json(), "client_secret") }
}

/// A code for it, by the page.
async fn code(browser: &mut Browser, app: &Registered, scope: &str) -> String {
    let request = [
        ("response_type", "code"),
        ("client_id", &*app.id),
        ("redirect_uri", REDIRECT_URI),
        ("scope", scope),
        ("state", "hello"),
    ];
    let location = browser.approve(&form(&request)).await;
    let code = query_of(&location, "code").unwrap_or_else(|| panic!("no code in {location}"));
    assert_eq!(location, format!("{REDIRECT_URI}?code={code}&state=hello"));
    code
}

/// A request with the app's credentials in the form.
async fn post(sidecar: &Sidecar, path: &str, app: &Registered, fields: &[(&str, &str)]) -> Reply {
    let credentials = [("client_id", &*app.id), ("client_secret", &*app.secret)];
    sidecar.http().post(path, &[fields, &credentials].concat()).await
}

async fn redeem(sidecar: &Sidecar, app: &Registered, code: &str) -> Reply {
    let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT_URI)];
    post(sidecar, TOKEN, app, &fields).await
}

async fn refresh(sidecar: &Sidecar, app: &Registered, token: &str) -> Reply {
    post(sidecar, TOKEN, app, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

/// The answer of the token endpoint for a new grant.
async fn granted(sidecar: &Sidecar, browser: &mut Browser, app: &Registered, scope: &str) -> Value {
    let code = code(browser, app, scope).await;
    let reply = redeem(sidecar, app, &code).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()
}

async fn asked(stub: &Stub, method: Method, path: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    stub.send(&method, path, &[("authorization", &bearer)]).await.status.as_u16()
}

#[track_caller]
fn assert_refused(reply: &Reply, body: &Value) {
    assert_eq!((reply.status, &reply.json()), (StatusCode::BAD_REQUEST, body), "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn the_page_for_a_new_app_is_where_clients_send_their_users_and_says_what_they_say() {
    let sidecar = funkwhale().await;
    let link = "/settings/applications/new?name=Mopidy-Funkwhale&scopes=read%3Alibraries+read%3Afavorites+read%3Asecurity\
                &redirect_uris=urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob";
    let mut browser = sidecar.browser();
    let reply = browser.get(link).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let login = reply.header("location").unwrap().to_owned();
    assert!(login.starts_with("/login?request="), "{login}");
    let page = browser.get(&login).await;
    let fields = [("username", USERNAME), ("password", PASSWORD)].map(|(name, value)| (name.into(), value.into()));
    let reply = browser.post("/login", &encode(&[&hidden_fields(&page.body)[..], &fields].concat())).await;
    assert_eq!(reply.header("location"), Some("/account/clients/new"));

    let page = browser.get(link).await;
    assert_eq!((page.status, page.header("access-control-allow-origin")), (StatusCode::OK, None), "{page:?}");
    assert!(page.body.contains("value=\"Mopidy-Funkwhale\""), "{}", page.body);
    assert!(page.body.contains(&format!(">\n{OUT_OF_BAND}</textarea>")), "{}", page.body);
    let ticked = ticked_scopes(&page.body);
    let scopes: Vec<&str> =
        ticked.iter().filter(|(name, _)| name == "scope").map(|(_, scope)| scope.as_str()).collect();
    assert_eq!(scopes, ["read:favorites", "read:libraries"], "what apps can have, alone");
    let said =
        [("name", "Mopidy-Funkwhale"), ("redirect_uris", OUT_OF_BAND)].map(|(name, value)| (name.into(), value.into()));
    let fields = [hidden_fields(&page.body), ticked, said.to_vec()].concat();
    let made = browser.post("/account/clients/new", &encode(&fields)).await;
    assert!(made.status == StatusCode::OK && made.body.contains("id=\"client_secret\""), "{made:?}");

    let page = browser.get("/settings/applications/new").await;
    assert!(page.body.contains(&format!(">\n{OUT_OF_BAND}</textarea>")), "{}", page.body);
    assert!(ticked_scopes(&page.body).contains(&("scope".into(), "read".into())), "{}", page.body);
    let hostile =
        browser.get("/settings/applications/new?name=%22%3E%3Cscript%3E&redirect_uris=%3C%2Ftextarea%3E").await;
    assert!(!hostile.body.contains("<script>") && hostile.body.matches("</textarea>").count() == 1, "{}", hostile.body);
}

#[tokio::test]
async fn an_app_gets_tokens_by_a_code_and_the_api_takes_them_in_each_way() {
    let sidecar = funkwhale().await;
    let (mut browser, stub) = (sidecar.browser(), Stub::start("funkwhale", &sidecar).await);
    let app = app(&sidecar, REDIRECT_URI, "read write").await;
    let code = code(&mut browser, &app, "read write:favorites").await;
    let reply = redeem(&sidecar, &app, &code).await;
    let tokens = reply.json();
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    assert_eq!(
        tokens,
        json!({
            "access_token": access,
            "expires_in": 36_000,
            "token_type": "Bearer",
            "scope": "read write:favorites",
            "refresh_token": refresh,
        })
    );
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, Some("application/json")));
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), (Some("no-store"), Some("no-cache")));

    assert_eq!(asked(&stub, Method::GET, "/api/v1/users/me/", &access).await, 200);
    for parameter in ["token", "access_token"] {
        let path = format!("/api/v1/listen/1/?{parameter}={access}");
        assert_eq!(stub.send(&Method::GET, &path, &[]).await.status, StatusCode::OK, "{parameter}");
    }
    let ended = post(&sidecar, REVOKE, &app, &[("token", &access)]).await;
    assert_eq!((ended.status, ended.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(asked(&stub, Method::GET, "/api/v1/users/me/", &access).await, 401);

    // The same without the last slashes, which upstream would redirect.
    let code = self::code(&mut browser, &app, "read").await;
    let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", REDIRECT_URI)];
    let tokens = post(&sidecar, TOKEN.trim_end_matches('/'), &app, &fields).await.json();
    let access = text(&tokens, "access_token");
    let ended = post(&sidecar, REVOKE.trim_end_matches('/'), &app, &[("token", &access)]).await;
    assert_eq!((ended.status, asked(&stub, Method::GET, "/api/v1/users/me/", &access).await), (StatusCode::OK, 401));
}

#[tokio::test]
async fn codes_are_good_for_five_minutes_access_tokens_for_ten_hours_and_refresh_tokens_for_fifteen_days_more() {
    let sidecar = funkwhale().await;
    let mut browser = sidecar.browser();
    let app = app(&sidecar, REDIRECT_URI, "read").await;
    let (early, late) = (code(&mut browser, &app, "read").await, code(&mut browser, &app, "read").await);
    sidecar.clock.advance(299);
    let tokens = redeem(&sidecar, &app, &early).await.json();
    sidecar.clock.advance(2);
    assert_refused(&redeem(&sidecar, &app, &late).await, &json!({"error": "invalid_grant"}));

    let access = text(&tokens, "access_token");
    sidecar.clock.advance(10 * HOUR - 3);
    assert!(sidecar.is_active(&access).await);
    sidecar.clock.advance(2);
    assert!(!sidecar.is_active(&access).await);
    sidecar.clock.advance(15 * 24 * HOUR - 2);
    let renewed = refresh(&sidecar, &app, &text(&tokens, "refresh_token")).await;
    assert_eq!(renewed.status, StatusCode::OK, "{renewed:?}");
    assert!(sidecar.is_active(&text(&renewed.json(), "access_token")).await);
    sidecar.clock.advance(15 * 24 * HOUR + 10 * HOUR + 1);
    let late = refresh(&sidecar, &app, &text(&renewed.json(), "refresh_token")).await;
    assert_refused(&late, &json!({"error": "invalid_grant"}));
}

#[tokio::test]
async fn each_refresh_gives_another_refresh_token_and_ends_the_tokens_of_before() {
    let sidecar = funkwhale().await;
    let (mut browser, stub) = (sidecar.browser(), Stub::start("funkwhale", &sidecar).await);
    let app = app(&sidecar, REDIRECT_URI, "read").await;
    let mut tokens = granted(&sidecar, &mut browser, &app, "read").await;
    for _ in 0..2 {
        let (access, old) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
        tokens = refresh(&sidecar, &app, &old).await.json();
        assert_ne!(text(&tokens, "refresh_token"), old);
        assert_eq!((&tokens["expires_in"], &tokens["scope"]), (&json!(36_000), &json!("read")));
        assert_eq!(asked(&stub, Method::GET, "/api/v1/users/me/", &access).await, 401);
        assert_eq!(asked(&stub, Method::GET, "/api/v1/users/me/", &text(&tokens, "access_token")).await, 200);
    }
}

#[tokio::test]
async fn every_scope_of_the_document_opens_what_it_names_and_nothing_else() {
    const PATHS: [(&str, &str); 10] = [
        ("profile", "/api/v1/users/me/"),
        ("libraries", "/api/v1/libraries/"),
        ("favorites", "/api/v1/favorites/tracks/"),
        ("listenings", "/api/v1/history/listenings/"),
        ("follows", "/api/v1/federation/follows/library/"),
        ("playlists", "/api/v1/playlists/"),
        ("radios", "/api/v1/radios/radios/"),
        ("filters", "/api/v1/moderation/content-filters/"),
        ("notifications", "/api/v1/federation/inbox/"),
        ("edits", "/api/v1/mutations/"),
    ];
    let sidecar = funkwhale().await;
    let (mut browser, stub) = (sidecar.browser(), Stub::start("funkwhale", &sidecar).await);
    let app = app(&sidecar, REDIRECT_URI, "read write").await;
    let statuses = |reads: bool| if reads { (200, 403) } else { (403, 201) };
    for (scope, reads) in [("read", true), ("write", false)] {
        let token = text(&granted(&sidecar, &mut browser, &app, scope).await, "access_token");
        for (name, path) in PATHS {
            let seen = (asked(&stub, Method::GET, path, &token).await, asked(&stub, Method::POST, path, &token).await);
            assert_eq!(seen, statuses(reads), "{scope}: {name}");
        }
        for closed in ["/api/v1/oauth/grants/", "/api/v1/instance/admin/settings/"] {
            for method in [Method::GET, Method::POST] {
                assert_eq!(asked(&stub, method.clone(), closed, &token).await, 403, "{scope}: {method} {closed}");
            }
        }
    }
    for (number, (name, path)) in PATHS.into_iter().enumerate() {
        let (_, other) = PATHS[(number + 1) % PATHS.len()];
        for (kind, reads) in [("read", true), ("write", false)] {
            let tokens = granted(&sidecar, &mut browser, &app, &format!("{kind}:{name}")).await;
            let token = text(&tokens, "access_token");
            let seen = (asked(&stub, Method::GET, path, &token).await, asked(&stub, Method::POST, path, &token).await);
            assert_eq!(seen, statuses(reads), "{kind}:{name}");
            let method = if reads { Method::GET } else { Method::POST };
            assert_eq!(asked(&stub, method, other, &token).await, 403, "{kind}:{name} at {other}");
        }
    }
}

/// Somebody who is signed in, and sends forms as the page of the app does.
struct Page {
    sidecar: Sidecar,
    cookie: String,
}

impl Page {
    async fn of(sidecar: Sidecar) -> Self {
        let mut browser = sidecar.browser();
        let fields = [("request", "/account/apps"), ("username", USERNAME), ("password", PASSWORD)];
        let reply = browser.post("/login", &form(&fields)).await;
        assert_eq!(reply.header("location"), Some("/account/apps"), "{reply:?}");
        let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self { sidecar, cookie: cookies.join("; ") }
    }

    /// As Django's test client does, and `FormData` of a browser.
    async fn multipart(&self, fields: &[(&str, &str)], more: &[(&str, &str)]) -> Reply {
        let part = |(name, value): &(&str, &str)| {
            format!("--BoUnDaRyStRiNg\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!("{}--BoUnDaRyStRiNg--\r\n", fields.iter().map(part).collect::<String>());
        self.send("multipart/form-data; boundary=BoUnDaRyStRiNg", &body, more).await
    }

    async fn send(&self, content_type: &str, body: &str, more: &[(&str, &str)]) -> Reply {
        let issuer = format!("http://{}", self.sidecar.addresses.http);
        let own = [("content-type", content_type), ("cookie", &self.cookie), ("origin", &issuer)];
        self.sidecar.http().send(Method::POST, AUTHORIZE, &[&own, more].concat(), body).await
    }
}

const AJAX: [(&str, &str); 1] = [("x-requested-with", "XMLHttpRequest")];

/// What upstream's tests send, with one field changed.
fn decision<'a>(app: &'a Registered, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let fields = [
        ("allow", "True"),
        ("redirect_uri", REDIRECT_URI),
        ("client_id", &*app.id),
        ("state", "hello"),
        ("response_type", "code"),
        ("scope", "read"),
    ];
    fields.into_iter().map(|(known, old)| (known, if known == name { value } else { old })).collect()
}

#[tokio::test]
async fn the_authorize_view_answers_the_forms_of_upstreams_tests_with_their_literal_texts() {
    let page = Page::of(funkwhale().await).await;
    let app = app(&page.sidecar, &format!("{REDIRECT_URI} {OUT_OF_BAND}"), "read").await;
    let posted = page.multipart(&decision(&app, "", ""), &[]).await;
    assert_eq!(posted.status, StatusCode::FOUND, "{posted:?}");
    let location = posted.header("location").unwrap();
    let code = query_of(location, "code").unwrap();
    assert_eq!(location, format!("{REDIRECT_URI}?code={code}&state=hello"));
    assert_eq!(redeem(&page.sidecar, &app, &code).await.status, StatusCode::OK);
    for uri in [REDIRECT_URI, OUT_OF_BAND] {
        let posted = page.multipart(&decision(&app, "redirect_uri", uri), &AJAX).await;
        let code = text(&posted.json(), "code");
        let expected = json!({"redirect_uri": format!("{uri}?code={code}&state=hello"), "code": code});
        assert_eq!((posted.status, posted.json()), (StatusCode::OK, expected));
    }
    for (name, value, expected) in [
        ("redirect_uri", "", json!({"redirect_uri": ["This field is required."]})),
        ("redirect_uri", "http://wrong.url", json!({"detail": "Mismatching redirect URI."})),
        ("client_id", "wrong_id", json!({"non_field_errors": ["Invalid application"]})),
    ] {
        assert_refused(&page.multipart(&decision(&app, name, value), &[]).await, &expected);
    }
    let all: Value = ["redirect_uri", "client_id", "response_type", "scope"]
        .map(|name| (name, json!(["This field is required."])))
        .into_iter()
        .collect();
    assert_refused(&page.multipart(&[], &[]).await, &all);
    let as_json = json!({"allow": true, "client_id": app.id, "redirect_uri": REDIRECT_URI}).to_string();
    assert_refused(&page.send("application/json", &as_json, &[]).await, &all);
    let broken = page.send("multipart/form-data; boundary=x", "--x\r\n", &[]).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert!(broken.json()["detail"].is_string(), "{broken:?}");
    let twice = [decision(&app, "", ""), vec![("client_id", "other")]].concat();
    assert_eq!(page.multipart(&twice, &[]).await.status, StatusCode::BAD_REQUEST);

    let anonymous = page.sidecar.http().post(AUTHORIZE, &[]).await;
    let expected = json!({"detail": "Authentication credentials were not provided."});
    assert_eq!((anonymous.status, anonymous.json()), (StatusCode::UNAUTHORIZED, expected));
}

#[tokio::test]
async fn redirect_uris_out_of_band_are_those_of_upstreams_tests() {
    let sidecar = funkwhale().await;
    for good in [OUT_OF_BAND, "urn:ietf:wg:oauth:2.0:oob:auto"] {
        app(&sidecar, good, "read").await;
    }
    for bad in ["urn:ietf:wg:oauth:2.0:invalid", "noop", "http://test.app"] {
        let refused = sidecar.http().post(APPS, &[("name", "App"), ("redirect_uris", bad)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        assert!(refused.json()["redirect_uris"][0].is_string(), "{refused:?}");
    }
}

#[tokio::test]
async fn a_client_revokes_no_token_of_another() {
    let sidecar = funkwhale().await;
    let (app, other) = (app(&sidecar, REDIRECT_URI, "read").await, app(&sidecar, REDIRECT_URI, "read").await);
    let tokens = granted(&sidecar, &mut sidecar.browser(), &app, "read").await;
    for token in [text(&tokens, "access_token"), text(&tokens, "refresh_token")] {
        let reply = post(&sidecar, REVOKE, &other, &[("token", &token)]).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""), "as garbage");
        assert!(sidecar.is_active(&token).await);
    }
}

#[tokio::test]
async fn a_refresh_after_the_access_token_was_revoked_is_refused_and_no_failure() {
    let sidecar = funkwhale().await;
    let app = app(&sidecar, REDIRECT_URI, "read").await;
    let tokens = granted(&sidecar, &mut sidecar.browser(), &app, "read").await;
    let ended = post(&sidecar, REVOKE, &app, &[("token", &text(&tokens, "access_token"))]).await;
    assert_eq!(ended.status, StatusCode::OK);
    let refused = refresh(&sidecar, &app, &text(&tokens, "refresh_token")).await;
    assert_refused(&refused, &json!({"error": "invalid_grant"}));
}

#[tokio::test]
async fn a_script_learns_of_an_error_and_not_of_a_failure() {
    let page = Page::of(funkwhale().await).await;
    let app = app(&page.sidecar, REDIRECT_URI, "read").await;
    for (name, value, error) in [
        ("allow", "", "access_denied"),
        ("scope", "read:nothing", "invalid_scope"),
        ("response_type", "token", "unsupported_response_type"),
    ] {
        let reply = page.multipart(&decision(&app, name, value), &AJAX).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, error), "{reply:?}");
        assert_eq!(reply.header("location"), None);
        let redirected = page.multipart(&decision(&app, name, value), &[]).await;
        let location = redirected.header("location").unwrap_or_else(|| panic!("{redirected:?}"));
        assert_eq!(query_of(location, "error").as_deref(), Some(error), "{location}");
        assert_eq!(query_of(location, "state").as_deref(), Some("hello"), "{location}");
    }
}

/// What a client's program is told, with a stub of the API.
async fn given(sidecar: &Sidecar, more: &Value) -> (Stub, Value) {
    let stub = Stub::start("funkwhale", sidecar).await;
    let mut given = json!({
        "http": sidecar.service.settings.issuer,
        "api": stub.http.base(),
        "account": { "username": USERNAME, "password": PASSWORD },
        "redirect_uri": REDIRECT_URI,
    });
    given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (stub, given)
}

async fn client(flow: &str) {
    let sidecar = funkwhale().await;
    let (_stub, given) = given(&sidecar, &json!({})).await;
    println!("{}", client_flow("funkwhale.py", flow, &given).await);
}

#[tokio::test]
async fn funkwhale_api_client_manages_apps_and_grants_with_the_apps_own_token() {
    let app = Site::without_tls().await;
    app.serve("/whoami", document(&[], r#"{"sub":"42","name":"ann"}"#));
    let more = format!(
        "profile = 'funkwhale'\n[login]\nmethod = 'session_probe'\nurl = 'http://{app}/login'\nprobe_url = 'http://{app}/whoami'\n",
        app = app.address
    );
    let sidecar = Sidecar::with(&more).await;
    assert_eq!(
        sidecar.http().get("/settings/applications/new").await.status,
        StatusCode::NOT_FOUND,
        "that is the app's"
    );
    let (_stub, given) = given(&sidecar, &json!({"own_token": "of.the.app"})).await;
    println!("{}", client_flow("funkwhale.py", "api_client", &given).await);
    let asked = app.requests();
    assert!(asked.iter().any(|request| request.contains("Bearer of.the.app")), "{asked:?}");
    assert!(asked.iter().any(|request| request.contains("sessionid=1")), "{asked:?}");
}

#[tokio::test]
async fn mopidy_has_its_user_copy_the_code_refreshes_and_streams() {
    client("mopidy").await;
}

#[tokio::test]
async fn listenbrainz_registers_itself_and_reads_the_history() {
    client("listenbrainz").await;
}

#[tokio::test]
async fn funkwhales_app_for_android_registers_itself_and_uses_pkce() {
    client("android").await;
}

#[tokio::test]
async fn requests_oauthlib_refreshes_by_itself_at_funkwhales_api() {
    client("requests_oauthlib").await;
}
