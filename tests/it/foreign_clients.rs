//! Clients that nobody here wrote, from the registries. `tests/run.sh` installs them.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::command_line::start_dev;

/// Runs a Python program of `tests/python`, which reads `dev` from `SCOPEGATE_DEV`.
pub async fn python(program: &str, dev: &Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".tools/bin/python");
    assert!(interpreter.exists(), "the Python clients are missing: run tests/run.sh, which installs them");
    let output = tokio::process::Command::new(interpreter)
        .arg(root.join("tests/python").join(program))
        .env("SCOPEGATE_DEV", dev.to_string())
        .env("SCOPEGATE_STUBS", root.join(".tools/stubs"))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{program}: {said}{failed}");
}

#[tokio::test]
async fn requests_oauthlib_authlib_and_grpcio_do_the_main_job() {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_dev(directory.path()).await;
    python("main_job.py", &dev).await;
}
