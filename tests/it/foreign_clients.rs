//! Clients that nobody here wrote, from the registries. `tests/run.sh` installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::command_line::start_dev;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program against `dev`; what it says, if it ends well.
async fn run(mut command: tokio::process::Command, program: PathBuf, input: Stdio, dev: &Value) -> String {
    let output = command
        .arg(&program)
        .env("SCOPEGATE_DEV", dev.to_string())
        .env("SCOPEGATE_STUBS", root().join(".tools/stubs"))
        .stdin(input)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{} does not start: {error}: run tests/run.sh", program.display()));
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}{failed}", program.display());
    said.into_owned()
}

/// Runs a Python program of `tests/python`.
pub async fn python_with(program: &str, input: Stdio, dev: &Value) -> String {
    let interpreter = root().join(".tools/bin/python");
    assert!(interpreter.exists(), "the Python clients are missing: run tests/run.sh, which installs them");
    run(tokio::process::Command::new(interpreter), root().join("tests/python").join(program), input, dev).await
}

/// Runs a JavaScript program of `tests/node` with what it is given.
pub async fn node_with(program: &str, given: &Value) -> String {
    let installed = root().join("tests/node/node_modules");
    assert!(installed.exists(), "the JavaScript clients are missing: run tests/run.sh, which installs them");
    run(tokio::process::Command::new("node"), root().join("tests/node").join(program), Stdio::null(), given).await
}

/// Runs a JavaScript program of `tests/node` against a `dev` of its own.
async fn node(program: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_dev(directory.path()).await;
    println!("{}", node_with(program, &dev).await);
}

#[tokio::test]
async fn requests_oauthlib_authlib_and_grpcio_do_the_main_job() {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_dev(directory.path()).await;
    println!("{}", python_with("main_job.py", Stdio::null(), &dev).await);
}

#[tokio::test]
async fn openid_client_does_what_it_can() {
    node("openid_client.js").await;
}

#[tokio::test]
async fn oauth4webapi_does_what_it_can() {
    node("oauth4webapi.js").await;
}
