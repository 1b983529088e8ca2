//! Two systems in one process: `FitTrackee`'s apps at one host, Gancio's at the other, each at the paths of its own, and nothing of one is
//! good at the other. What holds for any two issuers is in `hosts`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use scopegate::proto::scopegate::v1 as api;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::{
    Browser, Http, PASSWORD, REDIRECT_URI, Registered, Reply, SECRET, Sidecar, Tokens, USERNAME, encode, form,
    hidden_fields, query_of, ticked_scopes,
};
use crate::profiles_stubs::Stub;

const HOSTS: [&str; 2] = ["fittrackee.example", "gancio.example"];

/// One of the two, an app of its own, and its user, signed in.
struct System {
    sidecar: Sidecar,
    authorize: &'static str,
    /// Where the form of its page goes, and the button that allows.
    decide: (&'static str, (&'static str, &'static str)),
    token: &'static str,
    revoke: &'static str,
    apps: &'static str,
    scope: &'static str,
    app: Registered,
    browser: Browser,
    stub: Stub,
    /// What its application needs the scope for, and how it refuses.
    use_of_token: (Method, &'static str, u16),
}

async fn both() -> [System; 2] {
    let [fittrackee, gancio] =
        Sidecar::side_by_side([(HOSTS[0], "profile = 'fittrackee'\n"), (HOSTS[1], "profile = 'gancio'\n")]).await;
    assert_eq!(fittrackee.addresses.http.to_string(), gancio.addresses.http.to_string(), "one port");
    let browser = signed_in(&fittrackee).await;
    let calendar = json!({
        "client_name": "Calendar",
        "client_uri": "https://calendar.example",
        "redirect_uris": [REDIRECT_URI],
        "scope": "workouts:read",
    });
    let made = with_cookies(&fittrackee, &browser, Method::POST, "/api/oauth/apps", &calendar.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let app = registered(&made.json()["data"]["client"]);
    let stub = Stub::start("fittrackee", &fittrackee).await;
    let first = System {
        sidecar: fittrackee,
        authorize: "/profile/apps/authorize",
        decide: ("/consent", ("decision", "approve")),
        token: "/api/oauth/token",
        revoke: "/api/oauth/revoke",
        apps: "/api/oauth/apps",
        scope: "workouts:read",
        app,
        browser,
        stub,
        use_of_token: (Method::GET, "/api/workouts", 401),
    };
    let wordpress = [("client_name", "WPGancio"), ("redirect_uris", REDIRECT_URI), ("scopes", "event:write")];
    let made = gancio.http().post("/api/client", &wordpress).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let (app, browser) = (registered(&made.json()), signed_in(&gancio).await);
    let stub = Stub::start("gancio", &gancio).await;
    let second = System {
        sidecar: gancio,
        authorize: "/oauth/authorize",
        decide: ("/oauth/authorize", ("allow", "Allow")),
        token: "/oauth/token",
        revoke: "/oauth/revoke",
        apps: "/api/clients",
        scope: "event:write",
        app,
        browser,
        stub,
        use_of_token: (Method::POST, "/api/event", 403),
    };
    [first, second]
}

async fn signed_in(sidecar: &Sidecar) -> Browser {
    let mut browser = sidecar.browser();
    let fields = [("request", "/account/apps"), ("username", USERNAME), ("password", PASSWORD)];
    let reply = browser.post("/login", &form(&fields)).await;
    assert_eq!(reply.header("location"), Some("/account/apps"), "{reply:?}");
    browser
}

/// A request with the cookies of this browser, wherever they are from.
async fn with_cookies(sidecar: &Sidecar, browser: &Browser, method: Method, path: &str, body: &str) -> Reply {
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookies = cookies.join("; ");
    let headers = [("cookie", cookies.as_str()), ("content-type", "application/json")];
    sidecar.http().send(method, path, &headers, body).await
}

fn registered(client: &serde_json::Value) -> Registered {
    let member = |name: &str| client[name].as_str().unwrap_or_else(|| panic!("no {name}: {client}")).to_owned();
    Registered { id: member("client_id"), secret: member("client_secret") }
}

/// The ticket of a consent page and the request that it is for, however its form carries them.
fn ticket_of(page: &str) -> (String, String) {
    let fields = hidden_fields(page);
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    if let Some(transaction) = field("transaction_id") {
        let (ticket, request) = transaction.split_once('.').unwrap();
        return (ticket.into(), String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(request).unwrap()).unwrap());
    }
    (field("ticket").unwrap(), field("request").unwrap())
}

/// The way of the one form and of the other.
fn decision((ticket, request): &(String, String)) -> String {
    let transaction = format!("{ticket}.{}", BASE64_URL_SAFE_NO_PAD.encode(request));
    form(&[
        ("ticket", ticket),
        ("request", request),
        ("transaction_id", &transaction),
        ("decision", "approve"),
        ("scope", "workouts:read"),
        ("scope", "event:write"),
    ])
}

impl System {
    fn request(&self) -> String {
        let parameters = [
            ("response_type", "code"),
            ("client_id", self.app.id.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("scope", self.scope),
            ("state", "xyz"),
        ];
        format!("{}?{}", self.authorize, form(&parameters))
    }

    async fn page(&mut self) -> Reply {
        let page = self.browser.get(&self.request()).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        page
    }

    async fn code(&mut self) -> String {
        let page = self.page().await;
        let (path, (name, value)) = self.decide;
        let button = vec![(name.to_owned(), value.to_owned())];
        let fields = encode(&[hidden_fields(&page.body), ticked_scopes(&page.body), button].concat());
        let reply = self.browser.post(path, &fields).await;
        let location = reply.header("location").unwrap_or_else(|| panic!("not allowed: {reply:?}"));
        query_of(location, "code").unwrap_or_else(|| panic!("no code in {location}"))
    }

    /// With the credentials of an app in the form.
    async fn post(&self, path: &str, app: &Registered, more: &[(&str, &str)]) -> Reply {
        let credentials = [("client_id", app.id.as_str()), ("client_secret", app.secret.as_str())];
        self.sidecar.http().post(path, &[&credentials, more].concat()).await
    }

    async fn redeem(&self, app: &Registered, code: &str) -> Reply {
        let grant = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT_URI)];
        self.post(self.token, app, &grant).await
    }

    async fn refresh(&self, app: &Registered, token: &str) -> Reply {
        self.post(self.token, app, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn tokens(&mut self) -> Tokens {
        let code = self.code().await;
        self.redeem(&self.app, &code).await.tokens()
    }

    async fn takes(&self, token: &str) -> bool {
        let decision = self.sidecar.check(token, &[self.scope]).await.decision();
        assert!([api::Decision::Allowed, api::Decision::InactiveToken].contains(&decision), "{decision:?}");
        let bearer = format!("Bearer {token}");
        let (method, path, refused) = &self.use_of_token;
        let reply = self.stub.send(method, path, &[("authorization", &bearer)]).await;
        let allowed = decision == api::Decision::Allowed;
        assert_eq!(reply.status.as_u16(), if allowed { 200 } else { *refused }, "{}", reply.body);
        allowed
    }
}

#[tokio::test]
async fn nothing_that_a_client_has_of_fittrackee_is_good_at_gancio_nor_the_other_way_round() {
    let [mut fittrackee, mut gancio] = both().await;
    for turn in 0..2 {
        let (own, other) = if turn == 0 { (&mut fittrackee, &mut gancio) } else { (&mut gancio, &mut fittrackee) };
        // Its paths.
        for path in [own.token, own.revoke, own.apps] {
            let reply = other.sidecar.http().post(path, &[("grant_type", "authorization_code")]).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        }
        // Its client.
        let code = own.code().await;
        let refused = other.redeem(&own.app, &code).await;
        assert_eq!((refused.status.is_client_error(), refused.error().as_str()), (true, "invalid_client"));
        let request = own.request();
        let (_, query) = request.split_once('?').unwrap();
        let page = other.browser.get(&format!("{}?{query}", other.authorize)).await;
        assert_eq!((page.status, page.header("location")), (StatusCode::BAD_REQUEST, None), "it is unknown");
        // Its code, which stays good where it is from.
        other.redeem(&other.app, &code).await.assert_error(400, "invalid_grant");
        let tokens = own.redeem(&own.app, &code).await.tokens();
        assert_eq!(tokens.scope, own.scope);
        // Its tokens.
        assert!(own.takes(&tokens.access).await && !other.takes(&tokens.access).await);
        assert!(!other.takes(&tokens.refresh).await);
        other.refresh(&other.app, &tokens.refresh).await.assert_error(400, "invalid_grant");
        for token in [&tokens.access, &tokens.refresh] {
            other.post(other.revoke, &other.app, &[("token", token)]).await;
            other.post(other.revoke, &own.app, &[("token", token)]).await;
            other.sidecar.revoke(token, api::RevocationMode::Strict).await;
        }
        assert!(own.takes(&tokens.access).await, "nobody there can end it");
        let tokens = own.refresh(&own.app, &tokens.refresh).await.tokens();
        own.post(own.revoke, &own.app, &[("token", &tokens.access)]).await;
        assert!(!own.takes(&tokens.access).await);
    }
    // Each is good in its own place all the while.
    let (one, two) = (fittrackee.tokens().await, gancio.tokens().await);
    assert!(fittrackee.takes(&one.access).await && gancio.takes(&two.access).await);
}

#[tokio::test]
async fn neither_the_session_of_a_user_nor_a_decision_nor_the_api_for_apps_is_anything_at_the_other_system() {
    let [mut fittrackee, mut gancio] = both().await;
    for turn in 0..2 {
        let (own, other) = if turn == 0 { (&mut fittrackee, &mut gancio) } else { (&mut gancio, &mut fittrackee) };
        // The session.
        let mut astray = other.sidecar.browser();
        astray.cookies = own.browser.cookies.clone();
        let reply = astray.get(&other.request()).await;
        assert!(reply.header("location").is_some_and(|location| location.starts_with("/login")), "{reply:?}");
        let reply = astray.get("/account/apps").await;
        assert!(reply.header("location").is_some_and(|location| location.starts_with("/login")), "{reply:?}");
        // The API for apps: that session, a token of the other system, and a token of its own, which manages nothing there.
        let reply = with_cookies(&other.sidecar, &own.browser, Method::GET, other.apps, "").await;
        assert!([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status), "{reply:?}");
        let tokens = own.tokens().await;
        let own_tokens = other.tokens().await;
        for token in [&tokens.access, &own_tokens.access] {
            let bearer = format!("Bearer {token}");
            let reply = other.sidecar.http().send(Method::GET, other.apps, &[("authorization", &bearer)], "").await;
            assert!([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status), "{reply:?}");
        }
        let reply = with_cookies(&other.sidecar, &other.browser, Method::GET, other.apps, "").await;
        assert_eq!(reply.status, StatusCode::OK, "its own user");
        assert!(reply.body.contains(&other.app.id) && !reply.body.contains(&own.app.id), "{}", reply.body);
        // What a user was shown: who is signed in there, too, decides nothing with it.
        let page = own.page().await;
        let body = decision(&ticket_of(&page.body));
        for path in [other.decide.0, own.decide.0] {
            let reply = other.browser.post(path, &body).await;
            assert!(reply.status.is_client_error() && reply.header("location").is_none(), "{path}: {reply:?}");
        }
        // Allowing an app here allows nothing there: its page still asks, and shows no app of the other.
        ticket_of(&other.page().await.body);
        let listed = other.browser.get("/account/apps").await.body;
        assert!(listed.contains(&other.app.id) && !listed.contains(&own.app.id), "{listed}");
        let reply = own.browser.post(own.decide.0, &body).await;
        assert!(
            query_of(reply.header("location").unwrap(), "code").is_some(),
            "it is good where it is from: {reply:?}"
        );
    }
}

#[tokio::test]
async fn the_command_serves_two_systems_from_two_files() {
    let directory = tempfile::tempdir().unwrap();
    for (number, host) in HOSTS.into_iter().enumerate() {
        let name = host.split('.').next().unwrap();
        let text = format!(
            "profile = '{name}'\nissuer = 'https://{host}'\n[http]\nlisten = '127.0.0.1:0'\n[grpc]\nlisten = '127.0.0.1:0'\n\
             [ops]\nlisten = '127.0.0.1:0'\n[database]\nurl = 'sqlite:{name}.db'\n[keys]\nsecret = '{number}{}'\n",
            &SECRET[1..]
        );
        std::fs::write(directory.path().join(format!("{name}.toml")), text).unwrap();
    }
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(["serve", "--config", "fittrackee.toml", "--config", "gancio.toml"]);
    command.current_dir(directory.path()).env_clear().kill_on_drop(true);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for (host, token, page) in
        [(HOSTS[0], "/api/oauth/token", "/profile/apps/authorize"), (HOSTS[1], "/oauth/token", "/oauth/authorize")]
    {
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.split(" http=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let http = Http::new(&format!("http://{address}")).for_host(host);
        let metadata = http.get("/.well-known/oauth-authorization-server").await.json();
        assert_eq!(metadata["token_endpoint"], format!("https://{host}{token}"));
        assert_eq!(metadata["authorization_endpoint"], format!("https://{host}{page}"));
        let made = http.post("/api/client", &[("client_name", "App"), ("redirect_uris", REDIRECT_URI)]).await;
        let expected = if host == HOSTS[1] { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(made.status, expected, "{host}: {}", made.body);
    }
}
