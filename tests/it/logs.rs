//! What the program logs, at its most talkative.

use std::fs::File;
use std::process::Stdio;

use http::Method;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::command_line::{code, post, redeem};
use crate::harness::{Http, VERIFIER};

/// Runs `dev` with every line of its log in a file.
async fn start_talkative(directory: &std::path::Path) -> (tokio::process::Child, Value) {
    let log = File::create(directory.join("log")).unwrap();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(["dev", "--output", "json"])
        .current_dir(directory)
        .env_clear()
        .envs(["HTTP", "GRPC", "OPS"].map(|name| (format!("SCOPEGATE_{name}__LISTEN"), "127.0.0.1:0")))
        .env("SCOPEGATE_TELEMETRY__LOG", "trace")
        .env("SCOPEGATE_GRPC__CALLER_TOKEN", "callers-token")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn x1_x3_t1_f19_the_log_tells_no_secret_and_cannot_be_forged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, dev) = start_talkative(directory.path()).await;
    let http = Http::new(dev["http"].as_str().unwrap());
    let (code, cookie) = code(&dev).await;
    let first = redeem(&dev, &code).await.tokens();
    let refresh = async |token: &str| {
        post(&dev, "/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await.tokens()
    };
    let second = refresh(&first.refresh).await;
    let mut grpc = TokenServiceClient::connect(format!("http://{}", dev["grpc"].as_str().unwrap())).await.unwrap();
    let message = api::CheckScopesRequest { token: second.access.clone(), ..Default::default() };
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer callers-token".parse().unwrap());
    grpc.check_scopes(request).await.unwrap();
    post(&dev, "/introspect", &[("token", &second.refresh)]).await;
    // Secrets where they should not be, and all that the server refuses.
    for path in ["/token", "/revoke", "/introspect", "/authorize", "/login", "/nowhere"] {
        http.get(&format!("{path}?code={code}&refresh_token={}&client_secret=in-the-uri", second.refresh)).await;
    }
    redeem(&dev, &code).await.assert_error(400, "invalid_grant");
    let wrong = [("client_id", dev["client"]["client_id"].as_str().unwrap()), ("client_secret", "not-the-secret")];
    http.post("/token", &wrong).await.assert_error(401, "invalid_client");
    let forged = "\u{1b}[2Jx\r\nFORGED\u{7}";
    for name in ["grant_type", "client_id", "scope", "token", "username", "code"] {
        for path in ["/token", "/revoke", "/authorize", "/login"] {
            http.post(path, &[(name, forged)]).await;
        }
    }
    http.send(Method::GET, "/%1b%5b2J%0d%0aFORGED", &[("user-agent", "x\u{9}FORGED")], "").await;
    child.kill().await.unwrap();

    let log = String::from_utf8(std::fs::read(directory.path().join("log")).unwrap()).unwrap();
    assert!(log.contains("\"TRACE\"") && log.contains("a request was refused"), "it is talkative: {log}");
    let master = std::fs::read_to_string(directory.path().join("scopegate-data/scopegate.toml")).unwrap();
    let master = master.lines().find_map(|line| line.strip_prefix("secret = ")).unwrap().trim_matches(['"', '\'']);
    for (name, secret) in [
        ("master secret", master),
        ("client secret", dev["client"]["client_secret"].as_str().unwrap()),
        ("wrong secret", "not-the-secret"),
        ("secret in a URI", "in-the-uri"),
        ("password", dev["account"]["password"].as_str().unwrap()),
        ("token of a gRPC caller", "callers-token"),
        ("cookie", &cookie),
        ("code", &code),
        ("access token", &first.access),
        ("access token", &second.access),
        ("refresh token", &first.refresh),
        ("refresh token", &second.refresh),
        ("verifier", VERIFIER),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{name}");
    }
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "each line is one event: {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
