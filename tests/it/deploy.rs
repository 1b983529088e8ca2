//! What `deploy/` has for Kubernetes. Its Envoy configuration is driven in `envoy.rs`.

use std::path::Path;

use tokio::process::Command;

#[tokio::test]
async fn the_manifests_fit_the_schemas_of_kubernetes_are_restricted_and_carry_a_good_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".tools/bin/python");
    assert!(interpreter.exists(), "the tools are missing: run tests/run.sh, which installs them");
    let mut command = Command::new(interpreter);
    command.arg(root.join("tests/python/manifests.py")).env("SCOPEGATE", env!("CARGO_BIN_EXE_scopegate"));
    let output = command.output().await.unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
}
