//! `scopegate client`, `account`, `grant` and `key` through a server that runs, beside the same on the database.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::command_line::{fails, json as answer, ok, scopegate};
use crate::harness::SECRET;

const OPERATOR: &str = "operator-operator-operator-operator";
const READER: &str = "reader-reader-reader-reader-reader-rea";

/// A directory with the configuration of a server on a database of its own, and one of another database.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for name in ["server", "other"] {
        let text = format!(
            "[database]\nurl = 'sqlite:{0}/{name}.db'\n[keys]\nsecret = '{SECRET}'\n[http]\nlisten = '127.0.0.1:0'\n\
             [ops]\nlisten = '127.0.0.1:0'\n[audit]\npath = '{0}/{name}.log'\n\
             [grpc]\nlisten = '127.0.0.1:0,unix:{0}/s'\nlocal_callers = 'none'\n\
             [[grpc.callers]]\nname = 'operator'\ntokens = ['{OPERATOR}']\nall = true\nmay = ['admin']\n\
             [[grpc.callers]]\nname = 'reader'\ntokens = ['{READER}']\nall = true\n",
            here.display()
        );
        std::fs::write(here.join(format!("{name}.toml")), text).unwrap();
    }
    std::fs::write(here.join("operator"), format!("{OPERATOR}\n")).unwrap();
    std::fs::write(here.join("reader"), READER).unwrap();
    directory
}

/// The server, and where it takes calls.
async fn serve(here: &Path) -> (Child, String) {
    let mut command = tokio::process::Command::from(scopegate(here, &["serve", "--config", "server.toml"]));
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let grpc = line.split_whitespace().find_map(|part| part.strip_prefix("grpc=")).unwrap_or_else(|| panic!("{line}"));
    let tcp = grpc.split(',').find(|address| !address.starts_with("unix:")).unwrap().to_owned();
    (child, format!("http://{tcp}"))
}

/// What a verb came to: its status, what it printed, and, if it failed, the last thing that it said.
type Came = (Option<i32>, String, String);

/// Runs each verb, and says what came of it, without what is different each time.
fn play(here: &Path, place: &[&str]) -> Vec<(String, Came)> {
    let mut changing: Vec<String> = Vec::new();
    let mut came = Vec::new();
    let mut step = |words: &[&str], input: &str, changing: &mut Vec<String>| -> Value {
        let mut command = scopegate(here, &[words, place].concat());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let document: Value = serde_json::from_str(&printed).unwrap_or_default();
        let members = ["client_id", "client_secret", "client_id_issued_at", "created_at", "etag", "sub", "kid"];
        for document in document.as_array().unwrap_or(&vec![document.clone()]) {
            for member in members.iter().chain(&["activates_at", "retires_at"]) {
                match &document[*member] {
                    Value::Null => {}
                    Value::String(text) => changing.push(text.clone()),
                    other => changing.push(other.to_string()),
                }
            }
        }
        let said = String::from_utf8(output.stderr).unwrap();
        let hide = |text: &str| changing.iter().fold(text.to_owned(), |text, value| text.replace(value, "*"));
        came.push((hide(&words.join(" ")), (output.status.code(), hide(&printed), hide(&said))));
        document
    };
    let json = ["--output", "json"];
    let create = ["client", "create", "--name", "Shop", "--redirect-uri", "https://shop.example/cb", "--scope", "b"];
    let more = ["--scope", "a", "--resource", "https://r.example", "--consent", "skip", "--required-scope", "a"];
    let urls = ["--client-uri", "https://shop.example/", "--post-logout-redirect-uri", "https://shop.example/out"];
    let made = step(&[&create[..], &more, &urls, &json].concat(), "", &mut changing);
    let id = made["client_id"].as_str().unwrap();
    step(&[&["client", "show", id], &json[..]].concat(), "", &mut changing);
    step(&["client", "show", id], "", &mut changing);
    let update = ["client", "update", id, "--clear", "scope", "--access-token-lifetime", "60", "--disable"];
    step(&[&update[..], &["--no-required-scopes", "--resource-server"], &json].concat(), "", &mut changing);
    step(&[&["client", "update", id, "--enable", "--resource-server=false"], &json[..]].concat(), "", &mut changing);
    step(&["client", "update", id], "", &mut changing);
    step(&["client", "update", id, "--verified"], "", &mut changing);
    step(&["client", "update", id, "--tos-uri", "javascript:alert(1)"], "", &mut changing);
    step(&[&["client", "rotate-secret", id], &json[..]].concat(), "", &mut changing);
    step(&[&["client", "list"], &json[..]].concat(), "", &mut changing);
    step(&["client", "list"], "", &mut changing);
    step(&["grant", "list"], "", &mut changing);
    step(&["grant", "show", "00000000000000000000000000000000"], "", &mut changing);
    step(&["grant", "revoke", "00000000000000000000000000000000"], "", &mut changing);
    step(&["grant", "revoke", "--client", id], "", &mut changing);
    step(&["client", "delete", id, "--etag", "another"], "", &mut changing);
    step(&["client", "delete", id], "", &mut changing);
    step(&["client", "show", id], "", &mut changing);

    let create = ["account", "create", "ann", "--password-stdin", "--output", "json"];
    step(&create, "correct horse", &mut changing);
    step(&create, "correct horse", &mut changing);
    step(&["account", "create", "bob", "--password-stdin"], "short", &mut changing);
    step(&["account", "set-password", "ann", "--password-stdin"], "another horse\n", &mut changing);
    step(&["account", "disable", "ann"], "", &mut changing);
    step(&["account", "list", "--output", "json"], "", &mut changing);
    step(&["account", "enable", "ann"], "", &mut changing);
    step(&["account", "list"], "", &mut changing);
    step(&["account", "enable", "nobody"], "", &mut changing);
    step(&["account", "delete", "ann"], "", &mut changing);
    step(&["account", "delete", "ann"], "", &mut changing);
    step(&["account", "list", "--output", "json"], "", &mut changing);
    step(&["key", "rotate", "--compromised"], "", &mut changing);
    step(&["key", "list", "--output", "json"], "", &mut changing);
    step(&["key", "list"], "", &mut changing);
    step(&["key", "revoke", "9"], "", &mut changing);
    step(&["key", "revoke", "9"], "", &mut changing);
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_does_through_a_server_what_it_does_on_the_database() {
    let directory = directory();
    let here = directory.path();
    let (server, endpoint) = serve(here).await;
    let through = play(here, &["--endpoint", &endpoint, "--caller-token-file", "operator"]);
    drop(server);
    let beside = play(here, &["--config", "other.toml"]);
    assert_eq!(through.len(), beside.len());
    for ((verb, (status, printed, said)), (_, (expected, on_database, why))) in through.iter().zip(&beside) {
        assert_eq!((status, printed), (expected, on_database), "{verb}: {said} {why}");
        // A server says beside it what kind of failure it is.
        let why = why.trim_start_matches("scopegate: ").trim_end();
        assert!(said.ends_with(&format!("{why}\n")) || (why.is_empty() && said.is_empty()), "{verb}: {said} {why}");
    }
    let failed: Vec<&str> =
        through.iter().filter(|(_, (status, ..))| *status != Some(0)).map(|(verb, _)| verb.as_str()).collect();
    assert_eq!(
        failed,
        [
            "client update * --verified",
            "client update * --tos-uri javascript:alert(1)",
            "grant show 00000000000000000000000000000000",
            "grant revoke 00000000000000000000000000000000",
            "client delete * --etag another",
            "client show *",
            "account create ann --password-stdin --output json",
            "account create bob --password-stdin",
            "account enable nobody",
            "account delete ann",
            "key revoke 9",
        ]
    );
    // Each knows who it was.
    let log = |name: &str| std::fs::read_to_string(here.join(name)).unwrap();
    assert!(log("server.log").contains(r#""id":"operator""#) && !log("server.log").contains(r#""cli""#));
    assert!(log("other.log").contains(r#""type":"cli""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_why_it_refuses_a_verb() {
    let directory = directory();
    let here = directory.path();
    let (mut server, endpoint) = serve(here).await;
    let at = ["--endpoint", endpoint.as_str()];
    let operator = [&at[..], &["--caller-token-file", "operator"]].concat();
    fails(here, &[&["client", "list"], &at[..]].concat(), 1, "the caller is not known");
    let reader = [&at[..], &["--caller-token-file", "reader"]].concat();
    for verb in [&["client", "list"][..], &["account", "disable", "ann"], &["key", "rotate"], &["grant", "list"]] {
        fails(here, &[verb, &reader[..]].concat(), 1, "does not let this caller do this");
    }
    fails(here, &[&["client", "list", "--config", "server.toml"], &at[..]].concat(), 2, "cannot be used with");
    fails(here, &[&["client", "list", "--caller-token-file", "missing"], &at[..]].concat(), 1, "missing");

    // Two who read the same: one changes it.
    let made = answer(here, &[&["client", "create", "--name", "Shop"], &operator[..]].concat());
    let (id, etag) = (made["client_id"].as_str().unwrap(), made["etag"].as_str().unwrap());
    let update =
        |name: &'static str| [&["client", "update", id, "--etag", etag, "--name", name], &operator[..]].concat();
    let changed = answer(here, &update("One"));
    assert_ne!(changed["etag"], json!(etag));
    fails(here, &update("Other"), 1, "the client was changed since it was read");
    let delete = |etag: &str| ok_or_not(here, &[&["client", "delete", id, "--etag", etag], &operator[..]].concat());
    assert!(!delete(etag) && delete(changed["etag"].as_str().unwrap()));

    // By its socket, and with the token where the environment says.
    let socket = format!("unix:{}/s", here.display());
    let list = ["client", "list", "--output", "json", "--endpoint", &socket];
    let output = scopegate(here, &list).env("SCOPEGATE_CALLER_TOKEN_FILE", "operator").output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!([]));
    ok(here, &[&list[..], &["--caller-token-file", "operator"]].concat());

    server.kill().await.unwrap();
    fails(here, &[&["client", "list"], &operator[..]].concat(), 1, &endpoint);
}

fn ok_or_not(here: &Path, arguments: &[&str]) -> bool {
    scopegate(here, arguments).output().unwrap().status.success()
}
