//! Gancio: its document "OAuth" from top to bottom, the plugin for `WordPress` and requests-oauthlib, and the faults of upstream that are not
//! here. The single knobs are tested elsewhere (`profiles_*`, `apps`).

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use scopegate::proto::scopegate::v1 as api;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};

use crate::foreign_clients::python_with;
use crate::harness::{
    Browser, PASSWORD, REDIRECT_URI, Raw, Registered, Reply, Sidecar, USERNAME, VERIFIER, encode, form, hidden_fields,
    query_of, raw, ticked_scopes,
};
use crate::profiles_stubs::Stub;

const PROFILE: &str = "profile = 'gancio'\n";
const DOORS: [&str; 2] = ["/authorize", "/oauth/authorize"];
const EVENT: &str =
    "title=An+event&description=Bring+cake&start_datetime=1700000000&place_name=Park&place_address=Main+Street";
/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn gancio() -> Sidecar {
    Sidecar::with(PROFILE).await
}

fn address(sidecar: &Sidecar) -> SocketAddr {
    sidecar.addresses.http.only_tcp().unwrap()
}

/// Opens a page, and signs in where that is asked.
async fn open(browser: &mut Browser, path: &str) -> Reply {
    let mut reply = browser.get(path).await;
    for _ in 0..6 {
        if let Some(location) = reply.header("location").filter(|location| location.starts_with('/')) {
            let location = location.to_owned();
            reply = browser.get(&location).await;
        } else if reply.body.contains("name=\"password\"") {
            let own = [("username", USERNAME), ("password", PASSWORD)].map(|(name, value)| (name.into(), value.into()));
            reply = browser.post("/login", &encode(&[hidden_fields(&reply.body), own.to_vec()].concat())).await;
        } else {
            break;
        }
    }
    reply
}

/// Presses a button of the consent page; where that leads.
async fn press(browser: &mut Browser, page: &Reply, button: (&str, &str)) -> String {
    let button = vec![(button.0.to_owned(), button.1.to_owned())];
    let fields = encode(&[hidden_fields(&page.body), ticked_scopes(&page.body), button].concat());
    let reply = browser.post("/oauth/authorize", &fields).await;
    assert_eq!(reply.status, StatusCode::FOUND, "{}", reply.body);
    reply.header("location").unwrap().to_owned()
}

async fn allow(sidecar: &Sidecar, path: &str) -> String {
    let mut browser = sidecar.browser();
    let page = open(&mut browser, path).await;
    press(&mut browser, &page, ("allow", "Allow")).await
}

/// A client as the document has it, with this redirect URI.
async fn client(sidecar: &Sidecar, redirect_uri: &str) -> Registered {
    let fields = [("client_name", "App"), ("redirect_uris", redirect_uri), ("website", "https://myapp.example")];
    let made = sidecar.http().post("/api/client", &fields).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let member = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    Registered { id: member("client_id"), secret: member("client_secret") }
}

fn request(client: &Registered, redirect_uri: &str) -> String {
    form(&[
        ("response_type", "code"),
        ("redirect_uri", redirect_uri),
        ("scope", "event:write"),
        ("client_id", &client.id),
    ])
}

async fn code(sidecar: &Sidecar, client: &Registered, redirect_uri: &str) -> String {
    let location = allow(sidecar, &format!("/authorize?{}", request(client, redirect_uri))).await;
    query_of(&location, "code").unwrap_or_else(|| panic!("no code in {location}"))
}

async fn redeem(sidecar: &Sidecar, client: &Registered, code: &str) -> Reply {
    let grant = [
        ("client_id", client.id.as_str()),
        ("client_secret", &client.secret),
        ("scope", "event:write"),
        ("grant_type", "authorization_code"),
        ("code", code),
    ];
    sidecar.http().post("/oauth/token", &grant).await
}

/// What the application says to a new event.
async fn event(stub: &Stub, method: &Method, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let began = Instant::now();
    loop {
        let headers = [("authorization", bearer.as_str()), form];
        let reply = stub.http.send(method.clone(), "/api/event", &headers, EVENT).await;
        if reply.status != 503 {
            return reply;
        }
        assert!(began.elapsed() < PATIENCE, "the application does not know");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_answer(reply: &Reply, status: u16, body: &Value) {
    assert_eq!((reply.status.as_u16(), &reply.json()), (status, body));
}

#[tokio::test]
async fn the_document_from_top_to_bottom() {
    let sidecar = gancio().await;
    let stub = Stub::start("gancio", &sidecar).await;
    // "Create client": the example, as curl sends what it is given, with a space in it.
    let body = "client_name=Wordpress Event Manager&redirect_uris=https://noblogs.org/&website=https://myapp.example";
    let head = format!(
        "POST /api/client HTTP/1.1\r\nHost: {}\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        sidecar.addresses.http,
        body.len()
    );
    let made = raw(address(&sidecar), format!("{head}{body}").as_bytes()).await;
    let client: Value = serde_json::from_str(&made.body).unwrap();
    let member = |name: &str| client[name].as_str().unwrap().to_owned();
    let client_of = Registered { id: member("client_id"), secret: member("client_secret") };
    let expected = json!({
        "name": "Wordpress Event Manager",
        "scopes": "event:write",
        "website": "https://myapp.example",
        "client_secret": client_of.secret,
        // As it was sent. The example lacks the slash, which upstream keeps, too.
        "redirect_uris": "https://noblogs.org/",
        "redirectUris": "https://noblogs.org/",
        "client_id": client_of.id,
    });
    assert_eq!((made.status, &client), (200, &expected));

    // "Authorize a user": the form, and back with a code, or without one.
    let mut browser = sidecar.browser();
    let path = format!("/authorize?{}", request(&client_of, "https://noblogs.org/"));
    let page = open(&mut browser, &path).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in ["Wordpress Event Manager", "Add and edit your events", "This lasts until it is revoked."] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let denied = press(&mut browser, &page, ("cancel", "Deny")).await;
    assert!(denied.starts_with("https://noblogs.org/?error=access_denied"), "{denied}");
    assert!(!denied.contains("state="), "none was sent: {denied}");
    let page = open(&mut browser, &path).await;
    let allowed = press(&mut browser, &page, ("allow", "Allow")).await;
    let code = allowed.strip_prefix("https://noblogs.org/?code=").unwrap_or_else(|| panic!("{allowed}"));
    assert!(!code.contains('&'), "nothing but the code: {allowed}");

    // "Obtain a token".
    let issued = redeem(&sidecar, &client_of, code).await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    assert_eq!(issued.header("content-type"), Some("application/json"));
    assert_eq!((issued.header("cache-control"), issued.header("pragma")), (Some("no-store"), Some("no-cache")));
    let tokens = issued.json();
    assert_eq!(members(&tokens), ["access_token", "refresh_token", "scope", "token_type", "username"]);
    let said = [&tokens["scope"], &tokens["token_type"], &tokens["username"]];
    assert_eq!(said, [&json!("event:write"), &json!("Bearer"), &json!(USERNAME)]);

    // What it is good for: "Grant access to add/update events".
    let token = tokens["access_token"].as_str().unwrap();
    for method in [Method::POST, Method::PUT] {
        assert_eq!(event(&stub, &method, token).await.status, StatusCode::OK, "{method}");
    }
    let known = sidecar.introspect(token).await;
    assert_eq!((known.active, known.exp, known.scope.as_str()), (true, 0, "event:write"));
    assert_eq!((known.username.as_str(), &known.client_id), (USERNAME, &client_of.id));
    assert_eq!(sidecar.check(token, &["event:write"]).await.decision(), api::Decision::Allowed);
    assert_eq!(sidecar.check(token, &["event:read"]).await.decision(), api::Decision::InsufficientScope);
}

#[tokio::test]
async fn errors_of_the_token_endpoint_have_upstreams_words_and_the_statuses_of_the_standard() {
    let sidecar = gancio().await;
    let (own, other) = (client(&sidecar, REDIRECT_URI).await, client(&sidecar, REDIRECT_URI).await);
    let invalid = json!({"error": "invalid_grant", "error_description": "Invalid authorization code"});
    assert_answer(&redeem(&sidecar, &own, "nonsense").await, 400, &invalid);
    let code = code(&sidecar, &own, REDIRECT_URI).await;
    assert_answer(&redeem(&sidecar, &other, &code).await, 400, &invalid);
    redeem(&sidecar, &own, &code).await.tokens();
    assert_answer(&redeem(&sidecar, &own, &code).await, 400, &invalid);

    let credentials = [("client_id", own.id.as_str()), ("client_secret", &own.secret)];
    let post = async |more: &[(&str, &str)]| sidecar.http().post("/oauth/token", &[&credentials, more].concat()).await;
    let missing = json!({"error": "invalid_request", "error_description": "Missing required parameter: code"});
    assert_answer(&post(&[("grant_type", "authorization_code")]).await, 400, &missing);
    post(&[("grant_type", "unknown")]).await.assert_error(400, "unsupported_grant_type");
    let wrong = redeem(&sidecar, &Registered { secret: "wrong".into(), ..own.clone() }, &code).await;
    wrong.assert_error(401, "invalid_client");
    assert_eq!(wrong.header("www-authenticate"), Some(r#"Bearer realm="Users""#));
    // A form alone.
    let body =
        json!({"client_id": own.id, "client_secret": own.secret, "grant_type": "authorization_code", "code": "x"});
    let json = [("content-type", "application/json")];
    let refused = sidecar.http().send(Method::POST, "/oauth/token", &json, &body.to_string()).await;
    assert!(refused.status.is_client_error() && refused.json().get("access_token").is_none(), "{refused:?}");
}

#[tokio::test]
async fn authentication_and_authorization_as_upstreams_own_test_has_it() {
    let sidecar = gancio().await;
    let stub = Stub::start("gancio", &sidecar).await;
    let nobody = stub.send(&Method::GET, "/api/user", &[]).await;
    assert_eq!((nobody.status, nobody.body.as_str()), (StatusCode::FORBIDDEN, "Forbidden"));
    let own = client(&sidecar, REDIRECT_URI).await;
    let code = code(&sidecar, &own, REDIRECT_URI).await;
    let token = redeem(&sidecar, &own, &code).await.tokens().access;
    let bearer = format!("Bearer {token}");
    let user = stub.send(&Method::GET, "/api/user", &[("authorization", &bearer)]).await;
    assert_eq!((user.status, &user.json()["email"]), (StatusCode::OK, &json!(USERNAME)));
    // The built-in client `self` gets no token for a password, here or there (RFC 9700 §2.4).
    let login = [("username", USERNAME), ("password", PASSWORD), ("grant_type", "password"), ("client_id", "self")];
    let there = sidecar.http().post("/oauth/login", &login).await;
    assert_eq!(there.status, StatusCode::NOT_FOUND, "{}", there.body);
    assert!(!there.body.contains("access_token"));
    sidecar.http().post("/oauth/token", &login).await.assert_error(401, "invalid_client");
    let login = [("username", USERNAME), ("password", PASSWORD), ("grant_type", "password")];
    let here = sidecar.http().post_as(&own, "/oauth/token", &login).await;
    here.assert_error(400, "unsupported_grant_type");
}

/// `wpgancio`, as PHP sends its requests: it has to be installed in a `WordPress`, whose pages are its own and need a browser, so its requests
/// are here byte for byte.
struct WordPress {
    instance: SocketAddr,
    site: &'static str,
    /// Without the extension cURL, `WordPress` writes to the socket itself.
    has_curl: bool,
}

impl WordPress {
    /// `wp_remote_post` (`WordPress` 6.4).
    async fn post(&self, path: &str, body: &str) -> Raw {
        let (host, length, site) = (self.instance, body.len(), self.site);
        let agent = format!("User-Agent: WordPress/6.4.3; {site}");
        let request = if self.has_curl {
            format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\n{agent}\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n\
                 Content-Length: {length}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
            )
        } else {
            format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\n{agent}\r\n\
                 Accept-Encoding: deflate;q=1.0, compress;q=0.5, gzip;q=0.5\r\nContent-Length: {length}\r\n\
                 Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nConnection: Close\r\n\r\n{body}"
            )
        };
        raw(self.instance, request.as_bytes()).await
    }

    /// `wpgancio_instance_url_validate`.
    async fn register(&self) -> Registered {
        let uri = self.site.replace(':', "%3A").replace('/', "%2F");
        let body = format!(
            "client_name=WPGancio&redirect_uris={uri}%2Fwp-admin%2Foptions-general.php%3Fpage%3Dwpgancio\
             &scopes=event%3Awrite&website=https%3A%2F%2Fgancio.org"
        );
        let answer = self.post("/api/client", &body).await;
        let data: Value = serde_json::from_str(&answer.body).unwrap();
        Registered { id: sanitize_key(&data["client_id"]), secret: sanitize_key(&data["client_secret"]) }
    }

    /// Its page of settings, where the browser comes back to.
    fn page(&self) -> String {
        format!("{}/wp-admin/options-general.php?page=wpgancio", self.site)
    }

    /// `wpgancio_options_page_html`: what is kept of the tokens, where the status is 200.
    async fn redeem(&self, client: &Registered, location: &str) -> Option<(String, String)> {
        let code = sanitize_key(&query_of(location, "code").unwrap().into());
        let Registered { id, secret } = client;
        let body = format!(
            "client_id={id}&client_secret={secret}&scope=event%3Awrite&grant_type=authorization_code&code={code}"
        );
        let answer = self.post("/oauth/token", &body).await;
        if answer.status != 200 {
            return None;
        }
        let data: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(data.get("expires_in"), None, "it never looks");
        Some((sanitize_key(&data["access_token"]), sanitize_key(&data["refresh_token"])))
    }
}

/// That of `WordPress`.
fn sanitize_key(value: &Value) -> String {
    let key = value.as_str().unwrap().to_lowercase();
    let key: String =
        key.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c)).collect();
    assert_eq!(value, &key, "it is what it was");
    key
}

#[tokio::test]
async fn the_plugin_for_wordpress_is_associated_at_either_door_and_publishes() {
    let sidecar = gancio().await;
    let stub = Stub::start("gancio", &sidecar).await;
    for (has_curl, site, door) in [
        (true, "https://blog.example", DOORS[1]),
        (false, "https://blog.example:8443", DOORS[0]),
        (true, "http://127.0.0.1:8080", DOORS[0]),
    ] {
        let plugin = WordPress { instance: address(&sidecar), site, has_curl };
        let client = plugin.register().await;
        let page = plugin.page();
        let encoded = page.replace(':', "%3A").replace('/', "%2F").replace('?', "%3F").replace('=', "%3D");
        // `add_query_arg` encodes nothing; some browsers and proxies do.
        for uri in [&page, &encoded] {
            let query = format!("response_type=code&redirect_uri={uri}&scope=event:write&client_id={}", client.id);
            let location = allow(&sidecar, &format!("{door}?{query}")).await;
            let code = location.strip_prefix(&format!("{page}&code=")).unwrap_or_else(|| panic!("{location}"));
            assert!(!code.contains(['&', '=', '#']), "nothing but the code: {location}");
            let (token, refresh) = plugin.redeem(&client, &location).await.expect("Association completed!");
            assert_eq!(event(&stub, &Method::POST, &token).await.status, StatusCode::OK);
            assert!(sidecar.is_active(&refresh).await);
            // The code stays in the address of its page, which redeems it whenever it is opened: also when its form is saved. It does not
            // get in, and what the plugin keeps stays good.
            sidecar.clock.advance(3_600);
            assert_eq!(plugin.redeem(&client, &location).await, None);
            assert_eq!(event(&stub, &Method::POST, &token).await.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_code_that_comes_again_ends_no_tokens_of_a_client_that_proved_itself_where_it_is_so_configured() {
    let sidecar = Sidecar::with("[tokens]\ncode_reuse = 'refuse'").await;
    for (client, stays) in [(&sidecar.shop, true), (&sidecar.app, false)] {
        let code = sidecar.code_for(&sidecar.request(&[("client_id", &client.id)])).await;
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let tokens = sidecar.http().post_as(client, "/token", &grant).await.tokens();
        sidecar.http().post_as(client, "/token", &grant).await.assert_error(400, "invalid_grant");
        assert_eq!(sidecar.is_active(&tokens.access).await, stays);
        assert_eq!(sidecar.is_active(&tokens.refresh).await, stays);
    }
}

#[tokio::test]
async fn requests_oauthlib_registers_asks_and_adds_an_event() {
    let sidecar = gancio().await;
    let stub = Stub::start("gancio", &sidecar).await;
    let given = json!({
        "http": sidecar.service.settings.issuer,
        "account": { "username": USERNAME, "password": PASSWORD },
        "redirect_uri": REDIRECT_URI,
        "application": stub.http.base(),
    });
    println!("{}", python_with("clients/gancio.py", Stdio::null(), &given).await);
}

#[tokio::test]
async fn a_part_of_the_redirect_uri_or_more_than_it_is_none() {
    let sidecar = gancio().await;
    let client = client(&sidecar, "https://noblogs.org/cb").await;
    let mut browser = sidecar.browser();
    for uri in [
        "https://noblogs.org/",
        "https://noblogs.org",
        "https://noblogs.org/c",
        "noblogs.org/cb",
        "h",
        "https://noblogs.org/cb/",
        "https://noblogs.org/cb/../x",
        "https://noblogs.org/cb?next=x",
        "https://noblogs.org/cb#x",
        "https://noblogs.org.evil.example/cb",
        "https://evil.example/?https://noblogs.org/cb",
        "javascript:alert(1)//https://noblogs.org/cb",
    ] {
        for door in DOORS {
            let reply = open(&mut browser, &format!("{door}?{}", request(&client, uri))).await;
            let seen = (reply.status, reply.header("location"));
            assert_eq!(seen, (StatusCode::BAD_REQUEST, None), "{door} {uri}");
        }
    }
}

#[tokio::test]
async fn a_state_comes_back_as_it_was_and_none_is_made_up() {
    let sidecar = gancio().await;
    let client = client(&sidecar, REDIRECT_URI).await;
    for (state, back) in [("", ""), ("&state=antani", "&state=antani"), ("&state=undefined", "&state=undefined")] {
        for door in DOORS {
            let location = allow(&sidecar, &format!("{door}?{}{state}", request(&client, REDIRECT_URI))).await;
            let code = query_of(&location, "code").unwrap();
            assert_eq!(location, format!("{REDIRECT_URI}?code={code}{back}"));
        }
    }
}

#[tokio::test]
async fn codes_end_and_refreshing_is_answered() {
    let sidecar = gancio().await;
    let client = client(&sidecar, REDIRECT_URI).await;
    let late = code(&sidecar, &client, REDIRECT_URI).await;
    sidecar.clock.advance(301);
    redeem(&sidecar, &client, &late).await.assert_error(400, "invalid_grant");
    let tokens = redeem(&sidecar, &client, &code(&sidecar, &client, REDIRECT_URI).await).await.tokens();
    let http = sidecar.http();
    let refresh = async |token: &str| {
        let grant = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let answer = http.post_as(&client, "/oauth/token", &grant);
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer")
    };
    let renewed = refresh(&tokens.refresh).await.tokens();
    assert!(sidecar.is_active(&tokens.access).await && sidecar.is_active(&renewed.access).await);
    refresh("nonsense").await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_token_without_end_outlives_everything_but_what_its_user_says() {
    let sidecar = gancio().await;
    let beside = sidecar.beside_with(PROFILE).await;
    let stub = Stub::start("gancio", &sidecar).await;
    let client = client(&sidecar, REDIRECT_URI).await;
    let token = redeem(&sidecar, &client, &code(&sidecar, &client, REDIRECT_URI).await).await.tokens().access;
    // Another app of the same user stays.
    let other = self::client(&sidecar, REDIRECT_URI).await;
    let others = redeem(&sidecar, &other, &code(&sidecar, &other, REDIRECT_URI).await).await.tokens().access;
    for server in [&sidecar, &beside] {
        server.clock.advance(40 * 365 * 86_400);
        server.service.prune().await.unwrap();
    }
    for server in [&sidecar, &beside] {
        assert_eq!(server.check(&token, &["event:write"]).await.decision(), api::Decision::Allowed);
    }
    assert_eq!(event(&stub, &Method::POST, &token).await.status, StatusCode::OK);

    let mut browser = sidecar.browser();
    let page = open(&mut browser, "/account/apps").await;
    let forms: Vec<&str> = page.body.split("action=\"/account/apps/revoke\"").skip(1).collect();
    assert_eq!(forms.len(), 2, "{}", page.body);
    let own = forms.iter().map(|form| hidden_fields(form)).find(|fields| fields.iter().any(|(_, v)| *v == client.id));
    let reply = browser.post("/account/apps/revoke", &encode(&own.expect("the app is listed"))).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
    assert_eq!(sidecar.check(&token, &["event:write"]).await.decision(), api::Decision::InactiveToken);
    let refused = event(&stub, &Method::POST, &token).await;
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::FORBIDDEN, "Forbidden"));
    // Everywhere else, within the bound of a revocation.
    let began = Instant::now();
    while beside.is_active(&token).await {
        assert!(began.elapsed() < PATIENCE, "it stays good beside");
    }
    for server in [&sidecar, &beside] {
        server.clock.advance(40 * 365 * 86_400);
        server.service.prune().await.unwrap();
        assert!(!server.is_active(&token).await, "pruning brings nothing back");
        assert!(server.is_active(&others).await);
    }
}

#[tokio::test]
async fn tokens_without_end_mean_what_they_meant_however_many_came_after_them() {
    let sidecar = gancio().await;
    let changes = ClientChanges { scopes: Some("event:write a b c".parse().unwrap()), ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    let wanted = sidecar.request(&[("scope", "a b c event:write")]);
    let location = allow(&sidecar, &format!("/oauth/authorize?{wanted}")).await;
    let code = query_of(&location, "code").unwrap();
    let grant = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", VERIFIER)];
    let mut last = sidecar.http().post_as(&sidecar.shop, "/oauth/token", &grant).await.tokens();
    let mut held = vec![last.clone()];
    for subset in 1..16 {
        let scope = ["a", "b", "c", "event:write"].into_iter().enumerate();
        let scope: Vec<&str> = scope.filter(|(bit, _)| subset >> bit & 1 == 1).map(|(_, scope)| scope).collect();
        let grant =
            [("grant_type", "refresh_token"), ("refresh_token", last.refresh.as_str()), ("scope", &scope.join(" "))];
        last = sidecar.http().post_as(&sidecar.shop, "/oauth/token", &grant).await.tokens();
        assert_eq!(last.scope, scope.join(" "));
        held.push(last.clone());
        sidecar.clock.advance(365 * 86_400);
    }
    sidecar.service.prune().await.unwrap();
    for tokens in &held {
        let known = sidecar.introspect(&tokens.access).await;
        assert_eq!((known.active, known.exp, &known.scope), (true, 0, &tokens.scope));
    }
    sidecar.http().post_as(&sidecar.shop, "/oauth/revoke", &[("token", &held[0].access)]).await;
    for tokens in &held {
        assert!(!sidecar.is_active(&tokens.access).await, "{}", tokens.scope);
    }
}
