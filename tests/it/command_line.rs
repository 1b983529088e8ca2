//! The program as a user runs it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::harness::{Browser, Http, Registered, Reply, SECRET, encode, form, hidden_fields, query_of, ticked_scopes};

const PORTS: [(&str, &str); 3] = [
    ("SCOPEGATE_HTTP__LISTEN", "127.0.0.1:0"),
    ("SCOPEGATE_GRPC__LISTEN", "127.0.0.1:0"),
    ("SCOPEGATE_OPS__LISTEN", "127.0.0.1:0"),
];

fn scopegate(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(arguments).current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    scopegate(directory, arguments).output().unwrap()
}

/// The output of a command that has to work.
#[track_caller]
pub(crate) fn ok(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn json(directory: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&ok(directory, &[arguments, &["--output", "json"]].concat())).unwrap()
}

#[track_caller]
pub(crate) fn fails(directory: &Path, arguments: &[&str], status: i32, says: &str) {
    let output = run(directory, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(status), &b""[..]), "{arguments:?}: {text}");
    assert!(text.contains(says), "{arguments:?}: {text}");
}

/// A running `scopegate`, and its first line of output.
async fn start(directory: &Path, arguments: &[&str]) -> (Child, String) {
    let mut command = tokio::process::Command::from(scopegate(directory, arguments));
    let mut child = command.envs(PORTS).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    (child, line)
}

/// A running `dev`, and what it printed. A second one on the same directory has other ports.
pub async fn start_dev(directory: &Path) -> (Child, Value) {
    let (child, line) = start(directory, &["dev", "--output", "json"]).await;
    (child, serde_json::from_str(&line).unwrap())
}

/// Ends a process as Kubernetes does; whether it ended well.
async fn terminate(mut child: Child) -> bool {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    child.wait().await.unwrap().success()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A code through the pages that `dev` serves, and the cookie of the browser that got it.
pub async fn code(dev: &Value) -> (String, String) {
    let (client, account) = (&dev["client"], &dev["account"]);
    let request = form(&[
        ("response_type", "code"),
        ("client_id", &text(&client["client_id"])),
        ("code_challenge", crate::harness::CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let mut browser = Browser::new(Http::new(&text(&dev["http"])));
    let login = form(&[
        ("username", &text(&account["username"])),
        ("password", &text(&account["password"])),
        ("request", &request),
    ]);
    let reply = browser.post("/login", &login).await;
    let mut reply = browser.get(reply.header("location").unwrap()).await;
    // What was allowed before is not asked again.
    if reply.header("location").is_none() {
        let decision = encode(
            &[hidden_fields(&reply.body), ticked_scopes(&reply.body), vec![("decision".into(), "approve".into())]]
                .concat(),
        );
        reply = browser.post("/consent", &decision).await;
    }
    let code = query_of(reply.header("location").unwrap(), "code").unwrap();
    (code, browser.cookies.values().next().unwrap().clone())
}

/// Asks an endpoint of `dev` as its client.
pub async fn post(dev: &Value, path: &str, parameters: &[(&str, &str)]) -> Reply {
    let (id, secret) = (text(&dev["client"]["client_id"]), text(&dev["client"]["client_secret"]));
    Http::new(&text(&dev["http"])).post_as(&Registered { id, secret }, path, parameters).await
}

pub async fn redeem(dev: &Value, code: &str) -> Reply {
    let body = [("grant_type", "authorization_code"), ("code", code), ("code_verifier", crate::harness::VERIFIER)];
    post(dev, "/token", &body).await
}

/// Tokens through the pages that `dev` serves.
async fn tokens(dev: &Value) -> Value {
    redeem(dev, &code(dev).await.0).await.json()
}

#[tokio::test]
async fn dev_needs_nothing_and_the_verbs_work_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let (child, dev) = start_dev(here).await;
    assert!(dev["client"]["redirect_uri"].as_str().unwrap().starts_with("http://127.0.0.1"));
    assert!(dev["client"]["scopes"].as_array().unwrap().len() >= 2);
    let grpc = dev["grpc"].as_str().unwrap();
    let issued = tokens(&dev).await;
    let access = issued["access_token"].as_str().unwrap();

    assert_eq!(ok(here, &["health", "--endpoint", grpc]), "SERVING\n");
    let url = format!("http://{grpc}");
    let allowed = json(here, &["token", "check", access, "--scope", "orders:read", "--endpoint", &url]);
    assert_eq!(allowed["decision"], "ALLOWED");
    let recent = ["token", "check", access, "--acr", "1", "--max-age", "3600", "--endpoint", grpc];
    assert_eq!(json(here, &recent)["decision"], "ALLOWED");
    let output = run(here, &["token", "check", access, "--acr", "2", "--endpoint", grpc]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("INSUFFICIENT_USER_AUTHENTICATION"));
    let output = run(here, &["token", "check", access, "--scope", "other", "--endpoint", grpc]);
    assert_eq!(output.status.code(), Some(1), "the answer is no");
    assert!(String::from_utf8(output.stdout).unwrap().contains("INSUFFICIENT_SCOPE"));
    let introspection = json(here, &["token", "introspect", access, "--endpoint", grpc]);
    let elsewhere = ["token", "introspect", access, "--resource", "https://r.example", "--endpoint", grpc];
    assert_eq!(run(here, &elsewhere).status.code(), Some(1), "it is not meant for this resource");
    assert_eq!(introspection["username"], dev["account"]["username"]);

    fails(here, &["dev"], 1, "another scopegate works on scopegate-data");

    // Another process revokes; the server learns it from the log.
    let grants = json(here, &["grant", "list", "--account", "demo"]);
    assert_eq!(grants[0]["state"], "active");
    ok(here, &["grant", "revoke", grants[0]["grant_id"].as_str().unwrap()]);
    let began = Instant::now();
    while run(here, &["token", "introspect", access, "--endpoint", grpc]).status.success() {
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "a revocation by another process is in force within a second"
        );
    }
    fails(here, &["grant", "revoke", grants[0]["grant_id"].as_str().unwrap()], 1, "revoked before");

    let issued = tokens(&dev).await;
    let access = issued["access_token"].as_str().unwrap();
    ok(here, &["token", "revoke", access, "--endpoint", grpc]);
    assert_eq!(
        json_of(&run(here, &["token", "introspect", access, "--endpoint", grpc, "--output", "json"])),
        serde_json::json!({ "active": false })
    );
    assert!(terminate(child).await);
    fails(here, &["health", "--endpoint", grpc], 1, grpc);

    let (child, again) = start_dev(here).await;
    assert_eq!(
        (&again["account"], &again["client"]),
        (&dev["account"], &dev["client"]),
        "a second start finds what the first made"
    );
    assert!(terminate(child).await);
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn d3_serve_names_what_it_bound_and_ends_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("secret"), format!("{SECRET}\n")).unwrap();
    let config = format!("[database]\nurl = 'sqlite:{}/x.db'", here.display());
    std::fs::write(here.join("c.toml"), config).unwrap();
    let mut command = tokio::process::Command::from(scopegate(here, &["serve", "--config", "c.toml"]));
    let mut child = command
        .envs(PORTS)
        .env("SCOPEGATE_KEYS__SECRET_FILE", here.join("secret"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let parts: Vec<&str> = line.trim().split(' ').collect();
    assert_eq!(parts[0], "listening");
    for (part, name) in parts[1..].iter().zip(["http=127.0.0.1:", "grpc=127.0.0.1:", "ops=127.0.0.1:"]) {
        let port = part.strip_prefix(name).unwrap_or_else(|| panic!("{line}"));
        assert_ne!(port, "0");
    }
    let http = Http::new(&format!("http://{}", parts[1].strip_prefix("http=").unwrap()));
    let metadata = http.get("/.well-known/oauth-authorization-server").await;
    assert_eq!((metadata.status.as_u16(), metadata.header("content-type")), (200, Some("application/json")));
    assert_eq!(metadata.json()["scopes_supported"], serde_json::json!(["openid", "profile"]), "there is no catalogue");
    assert!(terminate(child).await);
}

#[test]
fn bad_configuration_is_status_78_and_names_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let check = |text: &str, says: &str| {
        std::fs::write(here.join("c.toml"), text).unwrap();
        for arguments in [
            &["serve", "--config", "c.toml"][..],
            &["config", "check", "--config", "c.toml"],
            &["client", "list", "--config", "c.toml"],
        ] {
            fails(here, arguments, 78, says);
        }
    };
    check("", "keys.secret");
    check("[http]\nlisten = '0.0.0.0:8080'", "issuer");
    check("issuer = 'https://a.example'", "keys.secret");
    check("issuer = 'https://a.example'\n[keys]\nsecret = 'short'", "keys.secret");
    check("issuer = 'http://a.example'", "issuer");
    check("[http]\nlisten = 'x'", "http.listen");
    check(&format!("[keys]\nsecret = '{SECRET}'\n[audit]\npath = 'missing/audit.log'"), "audit.path");
    check("[htpp]\nlisten = 'x'", "htpp");
    check("not toml", "c.toml");
    let good = format!("issuer = 'https://a.example'\n[keys]\nsecret = '{SECRET}'\n[pages]\ntemplate_dir = 't'");
    std::fs::create_dir(here.join("t")).unwrap();
    for (template, says) in [
        ("{% extends 'layout.html' %}\n{% block content %}\n{% if %}", "t/login.html:3: "),
        ("one\n{{ t('no_such_text') }}", "t/login.html:2: "),
        ("one\ntwo\nthree {{ nothing }}", "t/login.html:3: "),
        ("{{ username|no_such_filter }}", "t/login.html:1: "),
        ("{% include 'nowhere.html' %}", "t/login.html:1: "),
    ] {
        std::fs::write(here.join("t/login.html"), template).unwrap();
        check(&good, says);
    }
    fails(here, &["serve", "--config", "missing.toml"], 78, "missing.toml");
    let output = scopegate(here, &["config", "check"]).env("SCOPEGATE_HTTP__COLOUR", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("SCOPEGATE_HTTP__COLOUR"));
    fails(here, &["config"], 2, "Usage");
    fails(here, &["nonsense"], 2, "Usage");
    fails(here, &["client", "create", "--name", "x", "--redirect-uri", "http://evil.example/"], 2, "loopback");
}

#[test]
fn a_client_that_signs_says_where_its_keys_are_or_brings_them() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let config = format!("issuer = 'https://a.example'\n[keys]\nsecret = '{SECRET}'\n");
    std::fs::write(here.join("c.toml"), config).unwrap();
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    std::fs::write(here.join("keys.json"), key).unwrap();
    let config = ["--config", "c.toml"];
    let published = ["client", "create", "--name", "Publishes", "--jwks-uri", "https://partner.example/jwks"];
    let publishing = json(here, &[&published, &config[..]].concat());
    assert_eq!(publishing["jwks_uri"], "https://partner.example/jwks");
    let publishing_id = publishing["client_id"].as_str().unwrap();
    let changed = json(here, &[&["client", "update", publishing_id, "--jwks", "keys.json"], &config[..]].concat());
    assert_eq!((changed.get("jwks_uri"), &changed["token_endpoint_auth_method"]), (None, &"private_key_jwt".into()));
    let insecure = ["client", "create", "--name", "Publishes", "--jwks-uri", "http://partner.example/jwks"];
    fails(here, &[&insecure, &config[..]].concat(), 2, "an https URL");
    fails(here, &[&published[..], &["--jwks", "keys.json"], &config[..]].concat(), 2, "cannot be used with");
}

#[test]
fn an_operator_says_whether_the_users_of_a_client_are_asked_and_what_they_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let config = format!("issuer = 'https://a.example'\n[keys]\nsecret = '{SECRET}'\n");
    std::fs::write(here.join("c.toml"), config).unwrap();
    let config = ["--config", "c.toml"];
    let create = ["client", "create", "--name", "Own", "--scope", "a", "--required-scope", "a", "--first-party"];
    let own = json(here, &[&create[..], &["--policy-uri", "https://own.example/privacy"], &config].concat());
    assert_eq!(
        (&own["consent"], &own["required_scopes"], &own["policy_uri"]),
        (&"skip".into(), &serde_json::json!(["a"]), &"https://own.example/privacy".into())
    );
    let update = ["client", "update", own["client_id"].as_str().unwrap()];
    let more = ["--consent", "always-ask", "--no-required-scopes", "--policy-uri", ""];
    let changed = json(here, &[&update[..], &more, &config].concat());
    assert_eq!(
        (&changed["consent"], changed.get("required_scopes"), changed.get("policy_uri")),
        (&"always-ask".into(), None, None)
    );
    fails(here, &[&update[..], &["--tos-uri", "javascript:alert(1)"], &config].concat(), 1, "tos_uri is an https URL");
    fails(here, &[&update[..], &["--consent", "never"], &config].concat(), 2, "always-ask");
    fails(here, &[&create[..], &["--consent", "remember"], &config].concat(), 2, "cannot be used with");
}

#[test]
fn a_profile_lies_between_the_defaults_and_the_file_and_every_value_says_where_it_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("own.toml"), "[paths]\ntoken = ['/here']\n[cache]\nlease = 500\n").unwrap();
    std::fs::write(here.join("c.toml"), "profile = 'own.toml'\n[cache]\nlease = 600\n").unwrap();
    let shown = ok(here, &["config", "show", "--config", "c.toml"]);
    for line in ["token = [\"/here\"] # profile own.toml", "lease = 600 # c.toml", "max_bytes = 67108864 # default"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    let shown = ok(here, &["config", "show", "--config", "c.toml", "--profile", "forgejo"]);
    assert!(shown.contains("token = [\"/login/oauth/access_token\"] # profile forgejo"), "{shown}");
    assert!(shown.parse::<toml::Table>().is_ok(), "it is TOML");
}

#[test]
fn c15_clients_and_accounts_are_managed_on_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let config = format!(
        "issuer = 'https://a.example'\n[database]\nurl = 'sqlite:{}/x.db'\n[keys]\nsecret = '{SECRET}'\n[scopes.catalogue]\na = 'A'\nb = 'B'",
        here.display()
    );
    std::fs::write(here.join("c.toml"), config).unwrap();
    let config = ["--config", "c.toml"];
    assert!(ok(here, &[&["config", "show"], &config[..]].concat()).contains("secret = \"***\" # c.toml"));
    ok(here, &[&["migrate"], &config[..]].concat());

    let create = [
        "client",
        "create",
        "--name",
        "Shop",
        "--redirect-uri",
        "https://shop.example/cb",
        "--scope",
        "a",
        "--scope",
        "b",
    ];
    let client = json(here, &[&create, &config[..]].concat());
    let id = client["client_id"].as_str().unwrap();
    assert_eq!(client["client_secret"].as_str().unwrap().len(), 43);
    assert_eq!(
        (&client["client_name"], &client["scope"], &client["client_secret_expires_at"]),
        (&"Shop".into(), &"a b".into(), &0.into())
    );
    let public = json(here, &[&["client", "create", "--name", "App", "--public"], &config[..]].concat());
    assert_eq!((public.get("client_secret"), &public["token_endpoint_auth_method"]), (None, &"none".into()));
    fails(here, &[&["client", "create", "--name", "X", "--scope", "unknown"], &config[..]].concat(), 1, "unknown");

    let shown = json(here, &[&["client", "show", id], &config[..]].concat());
    assert_eq!(shown.get("client_secret"), None, "c15: a secret is shown once");
    let policy = ["--grant-type", "client_credentials", "--access-token-lifetime", "50"];
    let machine = json(here, &[&["client", "update", id], &policy[..], &config[..]].concat());
    assert_eq!(
        (&machine["grant_types"], &machine["response_types"], &machine["access_token_lifetime"]),
        (&serde_json::json!(["client_credentials"]), &serde_json::json!([]), &50.into())
    );
    let reset = ["client", "update", id, "--access-token-lifetime", "0", "--refresh-token-rotation", "keep"];
    let reset = json(here, &[&reset, &config[..]].concat());
    assert_eq!(
        (reset.get("access_token_lifetime"), &reset["refresh_token_rotation"], &reset["grant_types"]),
        (None, &"keep".into(), &machine["grant_types"])
    );
    let public_machine = ["client", "create", "--name", "X", "--public", "--grant-type", "client_credentials"];
    fails(here, &[&public_machine, &config[..]].concat(), 1, "anybody could pose as it");
    fails(here, &["client", "create", "--name", "X", "--grant-type", "password"], 2, "a grant type is");
    let updated =
        json(here, &[&["client", "update", id, "--name", "New", "--scope", "a", "--disable"], &config[..]].concat());
    assert_eq!(
        (&updated["client_name"], &updated["scope"], &updated["disabled"]),
        (&"New".into(), &"a".into(), &true.into())
    );
    let uris = ["--post-logout-redirect-uri", "https://shop.example/signed-out"];
    ok(here, &[&["client", "update", id][..], &uris, &config[..]].concat());
    let rotated = json(here, &[&["client", "rotate-secret", id], &config[..]].concat());
    assert_ne!(rotated["client_secret"], client["client_secret"]);
    assert_eq!(json(here, &[&["client", "list"], &config[..]].concat()).as_array().unwrap().len(), 2);
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    std::fs::write(here.join("keys.json"), key).unwrap();
    let signs = ["client", "create", "--name", "Signs", "--jwks", "keys.json"];
    let signing = json(here, &[&signs, &config[..]].concat());
    assert_eq!(
        (signing.get("client_secret"), &signing["token_endpoint_auth_method"]),
        (None, &"private_key_jwt".into())
    );
    let signing_id = signing["client_id"].as_str().unwrap();
    ok(here, &[&["client", "update", signing_id, "--jwks", "keys.json"], &config[..]].concat());
    fails(here, &[&["client", "update", id, "--jwks", "keys.json"], &config[..]].concat(), 1, "signs");
    fails(here, &[&["client", "rotate-secret", signing_id], &config[..]].concat(), 1, "no secret");
    std::fs::write(here.join("keys.json"), key.replace("\"x\"", "\"d\":\"x\",\"x\"")).unwrap();
    fails(here, &[&signs, &config[..]].concat(), 1, "private");
    ok(here, &[&["client", "delete", id], &config[..]].concat());
    fails(here, &[&["client", "show", id], &config[..]].concat(), 1, id);

    let with_password = |arguments: &[&str], password: &str| {
        let mut command = scopegate(here, &[arguments, &config[..]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(with_password(&["account", "create", "ann", "--password-stdin"], "correct horse\n").status.success());
    let twice = with_password(&["account", "create", "ann", "--password-stdin"], "correct horse");
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("there is an account ann already"));
    assert_eq!(with_password(&["account", "create", "bob", "--password-stdin"], "short").status.code(), Some(1));
    assert!(with_password(&["account", "set-password", "ann", "--password-stdin"], "another horse").status.success());
    ok(here, &[&["account", "disable", "ann"], &config[..]].concat());
    let accounts = json(here, &[&["account", "list"], &config[..]].concat());
    assert_eq!((&accounts[0]["username"], &accounts[0]["disabled"]), (&"ann".into(), &true.into()));
    fails(here, &[&["account", "create", "x"], &config[..]].concat(), 2, "--password-stdin");
}

#[test]
fn a_client_is_told_of_logouts_where_its_operator_says() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let config = format!("issuer = 'https://a.example'\n[keys]\nsecret = '{SECRET}'\n");
    std::fs::write(here.join("c.toml"), config).unwrap();
    let run = |arguments: &[&str]| json(here, &[&["client"], arguments, &["--config", "c.toml"]].concat());
    let created = run(&["create", "--name", "Shop", "--backchannel-logout-uri", "https://shop.example/"]);
    assert_eq!(created["backchannel_logout_uri"], "https://shop.example/");
    assert_eq!(created.get("backchannel_logout_session_required"), None);
    let id = created["client_id"].as_str().unwrap();
    run(&["update", id, "--access-token-lifetime", "60"]);
    let required = run(&["update", id, "--backchannel-logout-session-required"]);
    assert_eq!(required["backchannel_logout_uri"], "https://shop.example/");
    assert_eq!(required["backchannel_logout_session_required"], true);
    let moved = run(&["update", id, "--backchannel-logout-uri", "https://shop.example/logout"]);
    assert_eq!(moved["backchannel_logout_uri"], "https://shop.example/logout");
    let ended = run(&["update", id, "--no-backchannel-logout"]);
    assert_eq!(ended.get("backchannel_logout_uri"), None);
    assert_eq!(ended.get("backchannel_logout_session_required"), None);
    assert_eq!(ended["access_token_lifetime"], 60);
    let wrong = ["client", "update", id, "--backchannel-logout-uri", "https://u:p@shop.example/"];
    fails(here, &wrong, 2, "this is an https URL");
}

#[test]
fn an_operator_says_how_the_access_tokens_of_a_client_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let text = format!("[database]\nurl = 'sqlite:{}/x.db'\n[keys]\nsecret = '{SECRET}'\n", here.display());
    std::fs::write(here.join("c.toml"), &text).unwrap();
    let client = json(here, &["client", "create", "--name", "Shop", "--config", "c.toml"]);
    assert_eq!(client["access_token_format"], "opaque");
    let id = client["client_id"].as_str().unwrap();
    for format in ["jwt", "opaque"] {
        json(here, &["client", "update", id, "--access-token-format", format, "--config", "c.toml"]);
        assert_eq!(json(here, &["client", "show", id, "--config", "c.toml"])["access_token_format"], format);
    }
    let jwts = ["client", "create", "--name", "Jwts", "--access-token-format", "jwt", "--config", "c.toml"];
    assert_eq!(json(here, &jwts)["access_token_format"], "jwt");
    fails(here, &["client", "create", "--name", "X", "--access-token-format", "jwe"], 2, "opaque or jwt");
    std::fs::write(here.join("c.toml"), format!("{text}[jwt]\naccess_tokens = false\n")).unwrap();
    fails(here, &jwts, 1, "jwt.access_tokens");
    std::fs::write(here.join("c.toml"), format!("{text}[jwt]\ndefault_audience = 'api'\n")).unwrap();
    fails(here, &["config", "check", "--config", "c.toml"], 78, "jwt.default_audience");
}

#[test]
fn a_database_of_another_schema_is_refused_until_it_is_migrated() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let config = format!(
        "[database]\nurl = 'sqlite:{}/x.db'\nauto_migrate = false\n[keys]\nsecret = '{SECRET}'",
        here.display()
    );
    std::fs::write(here.join("c.toml"), config).unwrap();
    fails(here, &["serve", "--config", "c.toml"], 1, "run `scopegate migrate`");
    ok(here, &["migrate", "--config", "c.toml"]);
    ok(here, &["migrate", "--config", "c.toml"]);
    assert_eq!(json(here, &["client", "list", "--config", "c.toml"]), serde_json::json!([]));
}

#[test]
fn d4_the_keys_for_id_tokens_are_listed_and_rotated() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let text = format!(
        "[database]\nurl = 'sqlite:{}'\n[keys]\nsecret = '{SECRET}'\nsigning_algorithm = 'ES256'\n",
        here.join("c.db").display()
    );
    std::fs::write(here.join("c.toml"), text).unwrap();
    let list = || json(here, &["key", "list", "--config", "c.toml"]);
    let states = || list().as_array().unwrap().iter().map(|key| key["state"].clone()).collect::<Vec<_>>();
    assert_eq!(list(), serde_json::json!([]));
    ok(here, &["key", "rotate", "--config", "c.toml"]);
    let first = list()[0]["kid"].clone();
    ok(here, &["key", "rotate", "--config", "c.toml"]);
    assert_eq!(states(), ["active", "announced"]);
    let shown = ok(here, &["key", "list", "--config", "c.toml"]);
    assert!(shown.starts_with("KEY ID") && shown.contains(first.as_str().unwrap()), "{shown}");
    ok(here, &["key", "rotate", "--compromised", "--config", "c.toml"]);
    assert_eq!(states(), ["active"]);
    assert_ne!(list()[0]["kid"], first);
}
