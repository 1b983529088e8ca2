//! What `deploy/` has for Kubernetes, and for gateways there. The Envoy configuration is driven in `envoy.rs`.

use std::path::Path;

use tokio::process::Command;

async fn judge(script: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".tools/bin/python");
    assert!(interpreter.exists(), "the tools are missing: run tests/run.sh, which installs them");
    let mut command = Command::new(interpreter);
    command.arg(root.join("tests/python").join(script)).env("SCOPEGATE", env!("CARGO_BIN_EXE_scopegate"));
    let output = command.output().await.unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
}

#[tokio::test]
async fn the_manifests_fit_the_schemas_of_kubernetes_are_restricted_and_carry_a_good_configuration() {
    judge("manifests.py").await;
}

#[tokio::test]
async fn what_is_there_for_gateways_fits_their_schemas_and_fails_closed() {
    judge("gateways.py").await;
}
