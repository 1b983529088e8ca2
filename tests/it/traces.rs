//! Traces: a check can be found in the log by the trace and the request that it belongs to.

use std::path::Path;
use std::process::Stdio;

use futures_util::stream;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::command_line::{code, redeem};
use crate::harness::{Application, Envoy, Gate, Http, Kind};

/// Runs `dev`, which trusts the proxies of this machine, with its log in a file.
pub async fn start_trusting(directory: &Path, log: &str) -> (Child, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(["dev", "--output", "json"])
        .current_dir(directory)
        .env_clear()
        .envs(["HTTP", "GRPC", "OPS"].map(|name| (format!("SCOPEGATE_{name}__LISTEN"), "127.0.0.1:0")))
        .env("SCOPEGATE_HTTP__TRUSTED_PROXIES", "['127.0.0.1']")
        .env("SCOPEGATE_TELEMETRY__LOG", log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(directory.join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

/// The lines about checks, by the trace.
fn lines(directory: &Path, trace_id: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(directory.join("log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["trace_id"] == trace_id).collect()
}

fn trace(digit: char) -> (String, String) {
    let id = digit.to_string().repeat(32);
    (id.clone(), format!("00-{id}-b7ad6b7169203331-01"))
}

#[tokio::test]
async fn a_trace_crosses_the_proxy_and_is_in_the_log_of_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_trusting(directory.path(), "info,scopegate::checks=debug").await;
    let token = redeem(&dev, &code(&dev).await.0).await.tokens().access;
    let application = Application::start().await;
    let (host, port) = dev["grpc"].as_str().unwrap().rsplit_once(':').unwrap();
    let tcp = format!("{{ socket_address: {{ address: {host}, port_value: {port} }} }}");
    let envoy = Envoy::start("/nowhere".as_ref(), application.address, &[("{ pipe: { path: /nowhere } }", &tcp)]).await;
    let http = dev["http"].as_str().unwrap();
    let gates = [
        Gate::start(Kind::Nginx, http.strip_prefix("http://").unwrap().parse().unwrap(), application.address).await,
        Gate::start(Kind::Envoy, http.strip_prefix("http://").unwrap().parse().unwrap(), application.address).await,
    ];
    let bearer = format!("Bearer {token}");
    for (digit, gate) in [('1', None), ('2', Some(&gates[0])), ('3', Some(&gates[1]))] {
        let (id, traceparent) = trace(digit);
        let headers = [("Authorization", &*bearer), ("traceparent", &*traceparent)];
        let answer = match gate {
            None => envoy.get("/elsewhere", &headers).await,
            Some(gate) => gate.get("/elsewhere", &headers).await,
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(seen["headers"]["traceparent"][0].as_str().unwrap().contains(&id), "{seen}");
        let lines = lines(directory.path(), &id);
        assert_eq!(lines.len(), 1, "{digit}: {lines:?}");
        assert_eq!((&lines[0]["level"], &lines[0]["status"]), (&"DEBUG".into(), &200.into()));
        // Envoy gives each request an id, which the application gets, too.
        if seen["headers"]["x-request-id"].is_array() {
            assert_eq!(lines[0]["request_id"], seen["headers"]["x-request-id"][0]);
        } else {
            assert_eq!((digit, &lines[0]["request_id"]), ('2', &"".into()));
        }
    }
    let mut grpc = TokenServiceClient::connect(format!("http://{}", dev["grpc"].as_str().unwrap())).await.unwrap();
    let (id, traceparent) = trace('4');
    for (asked, scope) in [(&*token, ""), ("dead", ""), (&*token, "a b")] {
        let required_scopes = if scope.is_empty() { vec![] } else { vec![scope.into()] };
        let message = api::CheckScopesRequest { token: asked.into(), required_scopes, ..Default::default() };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        request.metadata_mut().insert("x-request-id", "r-1".parse().unwrap());
        let _ = grpc.check_scopes(request).await;
    }
    let said = lines(directory.path(), &id);
    let said: Vec<&Value> = said.iter().map(|line| line.get("decision").unwrap_or(&line["code"])).collect();
    assert_eq!(said, ["DECISION_ALLOWED", "DECISION_INACTIVE_TOKEN", "InvalidArgument"]);
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(!log.contains(&token), "a token is in the log");
}

#[tokio::test]
async fn each_check_of_a_batch_and_of_a_stream_has_the_trace_of_its_call() {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_trusting(directory.path(), "info,scopegate::checks=debug").await;
    let token = redeem(&dev, &code(&dev).await.0).await.tokens().access;
    let mut grpc = TokenServiceClient::connect(format!("http://{}", dev["grpc"].as_str().unwrap())).await.unwrap();
    let check = |token: &str| api::CheckScopesRequest { token: token.into(), ..Default::default() };
    let asked = [check(&token), check("dead"), check(""), check("")];

    let (id, traceparent) = trace('6');
    let mut batch = tonic::Request::new(api::BatchCheckScopesRequest { requests: asked.to_vec() });
    batch.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    grpc.batch_check_scopes(batch).await.unwrap();
    let said = lines(directory.path(), &id);
    let decisions: Vec<&Value> = said.iter().filter_map(|line| line.get("decision")).collect();
    assert_eq!(decisions, ["DECISION_ALLOWED", "DECISION_INACTIVE_TOKEN"]);
    let failures: Vec<(&Value, &Value)> =
        said.iter().filter_map(|line| Some((line.get("code")?, &line["failed"]))).collect();
    assert_eq!(failures, [(&"InvalidArgument".into(), &2.into())], "one line for all that failed");

    let (id, traceparent) = trace('7');
    let asked = asked.map(|request| api::StreamCheckScopesRequest { request: Some(request) });
    let mut call = tonic::Request::new(stream::iter(asked));
    call.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    call.metadata_mut().insert("x-request-id", "r-2".parse().unwrap());
    let mut answers = grpc.stream_check_scopes(call).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let said = lines(directory.path(), &id);
    assert!(said.iter().all(|line| line["request_id"] == "r-2"), "{said:?}");
    // Those of a stream are made at a time, and end in any order.
    let mut said: Vec<&str> =
        said.iter().map(|line| line.get("decision").unwrap_or(&line["code"]).as_str().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, ["DECISION_ALLOWED", "DECISION_INACTIVE_TOKEN", "InvalidArgument", "InvalidArgument"]);
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(!log.contains(&token), "a token is in the log");
}

#[tokio::test]
async fn without_being_asked_for_only_a_check_that_failed_has_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_trusting(directory.path(), "info").await;
    let http = Http::new(dev["http"].as_str().unwrap());
    let (id, traceparent) = trace('5');
    let headers = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.example.com"),
        ("x-forwarded-uri", "/orders"),
        ("traceparent", &*traceparent),
    ];
    let ask = async |query: &str| http.send(http::Method::GET, &format!("/check{query}"), &headers, "").await.status;
    assert_eq!(ask("").await, 401);
    assert_eq!(lines(directory.path(), &id).len(), 0);
    assert_eq!(ask("?policy=nobody").await, 503);
    let lines = lines(directory.path(), &id);
    assert_eq!((lines.len(), &lines[0]["level"]), (1, &"ERROR".into()), "{lines:?}");
}
