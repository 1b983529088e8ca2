//! The keys that sign tokens: new ones beside old ones, and one that was given away.

use std::time::{Duration, Instant};

use scopegate::domain::revocation::Target;
use scopegate::effects::Effects;
use scopegate::server::{Server, StartError};

use crate::harness::{SECRET, Sidecar, configuration};

/// Another key, beside which the first still verifies.
fn rotated() -> String {
    let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    format!("[keys]\nsecret = '{other}'\nsecret_id = 1\n[[keys.previous]]\nid = 0\nsecret = '{SECRET}'\n")
}

#[tokio::test]
async fn a_new_key_signs_while_the_old_one_still_verifies() {
    let old = Sidecar::start().await;
    let before = old.tokens().await;
    let new = old.beside_with(&rotated()).await;
    assert!(new.is_active(&before.access).await && new.is_active(&before.refresh).await);
    let after = new.refresh(&before.refresh).await.tokens();
    assert!(new.is_active(&after.access).await);
    assert!(!old.is_active(&after.access).await, "this server does not know the key yet");
}

#[tokio::test]
async fn what_a_revoked_key_signed_is_dead_at_every_server_for_ever() {
    let old = Sidecar::start().await;
    let new = old.beside_with(&rotated()).await;
    let (stolen, code) = (old.tokens().await, old.code().await);
    let good = new.tokens().await;
    assert!(old.is_active(&stolen.access).await && new.is_active(&stolen.access).await);
    let key = || Target::Key("0".parse().unwrap());
    assert!(new.service.revoke_now(key()).await.unwrap());
    assert!(!new.service.revoke_now(key()).await.unwrap(), "it is revoked already");
    let began = Instant::now();
    while old.is_active(&stolen.access).await {
        assert!(began.elapsed() < Duration::from_secs(2), "the other server does not learn of it");
    }
    for server in [&new, &old] {
        assert!(!server.is_active(&stolen.access).await && !server.is_active(&stolen.refresh).await);
    }
    new.refresh(&stolen.refresh).await.assert_error(400, "invalid_grant");
    new.redeem(&code).await.assert_error(400, "invalid_grant");
    assert!(new.is_active(&good.access).await && new.is_active(&good.refresh).await);
    let fresh = old.beside_with(&rotated()).await;
    assert!(!fresh.is_active(&stolen.access).await && fresh.is_active(&good.access).await);

    // Whoever signs with it signs no more.
    old.redeem("x").await.assert_error(503, "temporarily_unavailable");
    match Server::start(&configuration(&old.directory, "").await, Effects::system()).await {
        Err(StartError::Config(error)) => assert!(error.to_string().contains("keys.secret_id"), "{error}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a server starts with a revoked key"),
    }
}
