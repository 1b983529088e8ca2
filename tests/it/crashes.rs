//! The program, killed at the worst moment.

use std::time::Duration;

use scopegate::effects::Effects;
use serde_json::{Value, json};

use crate::command_line::{code, post, redeem, start_dev};

async fn is_active(dev: &Value, token: &str) -> bool {
    post(dev, "/introspect", &[("token", token)]).await.json()["active"] == json!(true)
}

#[tokio::test]
async fn r12_a_revocation_that_was_answered_survives_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, mut dev) = start_dev(directory.path()).await;
    let (one, other) =
        (redeem(&dev, &code(&dev).await.0).await.tokens(), redeem(&dev, &code(&dev).await.0).await.tokens());
    assert_eq!(post(&dev, "/revoke", &[("token", &one.access)]).await.status, 200);
    child.kill().await.unwrap();
    (child, dev) = start_dev(directory.path()).await;
    assert!(!is_active(&dev, &one.access).await && !is_active(&dev, &one.refresh).await);
    assert!(is_active(&dev, &other.access).await);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn k17_a_crash_during_the_exchange_never_gives_two_token_sets() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, mut dev) = start_dev(directory.path()).await;
    for _ in 0..6 {
        let code = code(&dev).await.0;
        // The answer that a killed server does not give any more is none.
        let (before, wanted) = (dev.clone(), code.clone());
        let first = tokio::spawn(async move { redeem(&before, &wanted).await.tokens() });
        let random = u16::from_be_bytes(Effects::system().random_bytes());
        tokio::time::sleep(Duration::from_micros(u64::from(random) % 8_000)).await;
        child.kill().await.unwrap();
        let first = first.await.ok();
        (child, dev) = start_dev(directory.path()).await;
        let second = redeem(&dev, &code).await;
        match (first, second.status.as_u16()) {
            (Some(first), 400) => assert!(!is_active(&dev, &first.access).await, "the code was replayed"),
            (None, 200) => assert!(is_active(&dev, &second.tokens().access).await),
            (None, 400) => second.assert_error(400, "invalid_grant"),
            (first, status) => panic!("first {first:?}, then {status}"),
        }
    }
    child.kill().await.unwrap();
}
