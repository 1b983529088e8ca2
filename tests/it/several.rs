//! Several servers, one truth.

use std::time::{Duration, Instant};

use scopegate::proto::scopegate::v1 as api;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::Sidecar;

/// The lease, and what a loaded machine may take on top.
const BOUND: Duration = Duration::from_secs(2);

async fn revoke(sidecar: &Sidecar, token: &str) -> api::RevokeResponse {
    let request =
        api::RevokeRequest { token: token.into(), mode: api::RevocationMode::Bounded.into(), ..Default::default() };
    sidecar.grpc().await.revoke(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_one_server_revokes_is_dead_at_the_others_within_the_lease() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    let third = Sidecar::beside(&one).await;
    for _ in 0..5 {
        let tokens = one.tokens().await;
        assert!(other.is_active(&tokens.access).await && third.is_active(&tokens.access).await, "they have it cached");
        revoke(&one, &tokens.access).await;
        let began = Instant::now();
        for server in [&other, &third] {
            while server.is_active(&tokens.access).await {
                assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
            }
        }
    }
}

#[tokio::test]
async fn a_strict_revocation_waits_until_no_other_server_can_accept_the_token() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    let shared = one.database().await.is_shared();
    for mode in [api::RevocationMode::Unspecified, api::RevocationMode::Strict] {
        let tokens = one.tokens().await;
        assert!(other.is_active(&tokens.access).await, "it has it cached");
        let request = api::RevokeRequest { token: tokens.access.clone(), mode: mode.into(), ..Default::default() };
        let began = Instant::now();
        one.grpc().await.revoke(request).await.unwrap();
        let waited = began.elapsed() >= Duration::from_secs(1);
        assert_eq!(waited, shared, "SQLite is for one server, which has nobody to wait for");
        assert!(!one.is_active(&tokens.access).await);
        if shared {
            assert!(!other.is_active(&tokens.access).await);
        }
    }
}

#[tokio::test]
async fn a_caller_with_a_consistency_token_sees_its_own_revocation_at_any_server() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    for _ in 0..10 {
        let tokens = one.tokens().await;
        assert!(other.is_active(&tokens.access).await);
        let revoked = revoke(&one, &tokens.access).await;
        let request = api::IntrospectRequest {
            token: tokens.access,
            consistency: Some(api::Consistency { at_least_as_fresh: revoked.consistency_token }),
            ..Default::default()
        };
        assert!(!other.grpc().await.introspect(request).await.unwrap().into_inner().active);
    }
}

#[tokio::test]
async fn a_server_that_cannot_read_the_log_says_so_after_the_lease_and_recovers() {
    let one = Sidecar::start().await;
    let tokens = one.tokens().await;
    assert!(one.is_active(&tokens.access).await);
    one.database().await.execute("ALTER TABLE revocation_log RENAME TO lost").await;
    let began = Instant::now();
    let mut grpc = one.grpc().await;
    let request = api::IntrospectRequest { token: tokens.access.clone(), ..Default::default() };
    let status = loop {
        match grpc.introspect(request.clone()).await {
            Ok(answer) => assert!(answer.into_inner().active, "it is not known to be bad"),
            Err(status) => break status,
        }
        assert!(began.elapsed() < BOUND, "cached answers go on for {:?}", began.elapsed());
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some());
    assert!(!one.is_active("garbage").await, "what needs no lookup is still known");
    one.database().await.execute("ALTER TABLE lost RENAME TO revocation_log").await;
    assert!(one.is_active(&tokens.access).await);
}

#[tokio::test]
async fn a_log_that_was_set_back_is_noticed_and_nothing_is_active_on_its_word() {
    let one = Sidecar::start().await;
    let (revoked, kept) = (one.tokens().await, one.tokens().await);
    revoke(&one, &revoked.access).await;
    assert!(one.is_active(&kept.access).await);
    one.database().await.execute("UPDATE revocation_head SET head = 0").await;
    let began = Instant::now();
    let request = api::IntrospectRequest { token: kept.access, ..Default::default() };
    let mut grpc = one.grpc().await;
    while grpc.introspect(request.clone()).await.is_ok() {
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    }
    assert!(!one.is_active(&revoked.access).await, "what was revoked stays dead");
}
