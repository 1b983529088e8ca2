//! Several servers, one truth.

use std::time::{Duration, Instant};

use scopegate::proto::scopegate::v1 as api;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::Sidecar;

/// The lease, and what a loaded machine may take on top.
const BOUND: Duration = Duration::from_secs(2);

#[tokio::test]
async fn what_one_server_revokes_is_dead_at_the_others_within_the_lease() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    let third = Sidecar::beside(&one).await;
    for _ in 0..5 {
        let tokens = one.tokens().await;
        assert!(other.is_active(&tokens.access).await && third.is_active(&tokens.access).await, "they have it cached");
        one.revoke(&tokens.access, api::RevocationMode::Bounded).await;
        let began = Instant::now();
        for server in [&other, &third] {
            while server.is_active(&tokens.access).await {
                assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
            }
        }
    }
}

#[tokio::test]
async fn a_strict_revocation_waits_until_every_other_server_denies_the_token() {
    let one = Sidecar::start().await;
    let others = [Sidecar::beside(&one).await, Sidecar::beside(&one).await];
    let shared = one.database().await.is_shared();
    for mode in [api::RevocationMode::Unspecified, api::RevocationMode::Strict].repeat(20) {
        let tokens = one.tokens().await;
        for other in &others {
            assert!(other.is_active(&tokens.access).await, "it has it cached");
        }
        let request = api::RevokeRequest { token: tokens.access.clone(), mode: mode.into(), ..Default::default() };
        one.grpc().await.revoke(request).await.unwrap();
        assert!(!one.is_active(&tokens.access).await);
        for other in &others {
            // SQLite is for one server, which has nobody to wait for.
            assert!(!shared || !other.is_active(&tokens.access).await);
        }
    }
}

#[tokio::test]
async fn a_strict_revocation_of_what_another_server_has_just_ended_holds_everywhere_too() {
    // Nobody is told, and the log is read seldom.
    let seldom = "[cache]\nlease = 6000\n[database]\nnotify = false";
    let one = Sidecar::with(seldom).await;
    let (other, third) = (one.beside_with(seldom).await, one.beside_with(seldom).await);
    let shared = one.database().await.is_shared();
    for _ in 0..3 {
        let tokens = one.tokens().await;
        assert!(other.is_active(&tokens.access).await && third.is_active(&tokens.access).await);
        one.revoke(&tokens.access, api::RevocationMode::Bounded).await;
        other.revoke(&tokens.access, api::RevocationMode::Strict).await;
        assert!(!other.is_active(&tokens.access).await);
        assert!(!shared || !third.is_active(&tokens.access).await);
    }
}

#[tokio::test]
async fn a_strict_revocation_waits_for_a_server_that_is_silent_until_its_lease_has_ended() {
    let one = Sidecar::start().await;
    let mut database = one.database().await;
    if !database.is_shared() {
        let (tokens, began) = (one.tokens().await, Instant::now());
        one.revoke(&tokens.access, api::RevocationMode::Strict).await;
        assert!(began.elapsed() < Duration::from_secs(1), "there can be no other server");
        return;
    }
    let tokens = one.tokens().await;
    database
        .execute(
            "INSERT INTO sidecar_leases (id, applied, lease, expires_at) \
             VALUES ('silent', 0, 1000, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + 800)",
        )
        .await;
    let began = Instant::now();
    one.revoke(&tokens.access, api::RevocationMode::Strict).await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(700) && waited < BOUND, "{waited:?}");
    let tokens = one.tokens().await;
    let began = Instant::now();
    one.revoke(&tokens.access, api::RevocationMode::Strict).await;
    assert!(began.elapsed() < Duration::from_millis(700), "its lease has ended: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_caller_with_a_consistency_token_sees_its_own_revocation_at_any_server() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    for _ in 0..10 {
        let tokens = one.tokens().await;
        assert!(other.is_active(&tokens.access).await);
        let revoked = one.revoke(&tokens.access, api::RevocationMode::Bounded).await;
        let request = api::IntrospectRequest {
            token: tokens.access,
            consistency: Some(api::Consistency { at_least_as_fresh: revoked.consistency_token }),
            ..Default::default()
        };
        assert!(!other.grpc().await.introspect(request).await.unwrap().into_inner().active);
    }
}

#[tokio::test]
async fn a_wrong_clock_moves_expiry_at_its_own_server_and_revives_nothing() {
    let one = Sidecar::start().await;
    let (ahead, behind) = (Sidecar::beside(&one).await, Sidecar::beside(&one).await);
    ahead.clock.advance(3_600);
    behind.clock.advance(-3_600);
    let (live, revoked) = (one.tokens().await, one.tokens().await);
    assert!(one.is_active(&live.access).await && !ahead.is_active(&live.access).await);
    assert!(behind.is_active(&live.access).await && behind.is_active(&revoked.access).await);
    one.revoke(&revoked.access, api::RevocationMode::Bounded).await;
    behind.revoke(&live.access, api::RevocationMode::Bounded).await;
    let began = Instant::now();
    for token in [&live.access, &live.refresh, &revoked.access, &revoked.refresh] {
        for server in [&one, &ahead, &behind] {
            while server.is_active(token).await {
                assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
            }
        }
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
async fn r17_what_a_failover_loses_is_revoked_again_and_everything_goes_on() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    let (early, lost, kept) = (one.tokens().await, one.tokens().await, one.tokens().await);
    one.revoke(&early.access, api::RevocationMode::Bounded).await;
    one.revoke(&lost.access, api::RevocationMode::Bounded).await;
    other.revoke(&one.tokens().await.access, api::RevocationMode::Bounded).await;
    assert!(one.is_active(&kept.access).await && other.is_active(&kept.access).await);
    // As a standby that had got the first revocation and no more.
    let mut database = one.database().await;
    database
        .execute(
            "UPDATE grants SET state = 'active', revoked_at = NULL \
             WHERE state = 'revoked' AND EXISTS (SELECT 1 FROM revocation_log WHERE seq = 2)",
        )
        .await;
    database
        .execute(
            "UPDATE revocation_head SET head = 1, chain = (SELECT chain FROM revocation_log WHERE seq = 1); \
             DELETE FROM revocation_log WHERE seq > 1",
        )
        .await;
    let began = Instant::now();
    while database.count("revocation_log WHERE kind = 'flush'").await == 0 {
        assert!(began.elapsed() < BOUND, "it goes unnoticed");
    }
    for server in [&one, &other] {
        let began = Instant::now();
        while !server.is_active(&kept.access).await {
            assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        }
        assert!(!server.is_active(&lost.access).await, "what was revoked stays dead");
        assert!(!server.is_active(&lost.refresh).await, "in the database, too");
        one.revoke(&one.tokens().await.access, api::RevocationMode::Strict).await;
    }
    let fresh = Sidecar::beside(&one).await;
    assert!(!fresh.is_active(&lost.access).await && fresh.is_active(&kept.access).await);
    assert_eq!(database.count("revocation_log WHERE kind = 'flush'").await, 1, "one of them wrote it");
}

#[tokio::test]
async fn a_server_that_has_seen_no_revocation_yet_follows_a_log_that_was_pruned_meanwhile() {
    let one = Sidecar::start().await;
    let tokens = one.tokens().await;
    assert!(one.is_active(&tokens.access).await);
    let mut database = one.database().await;
    database
        .execute(
            "BEGIN; UPDATE revocation_head SET head = 7; \
             INSERT INTO revocation_log (seq, kind, target, value, at) VALUES (7, 'subject', 'somebody', 0, 0); COMMIT",
        )
        .await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(one.is_active(&tokens.access).await);
    assert_eq!(database.count("revocation_log").await, 1, "nothing was lost, so nothing is written again");
}

#[tokio::test]
async fn a_server_that_slept_longer_than_the_log_is_kept_reads_every_fact_again() {
    let one = Sidecar::start().await;
    let (revoked, kept) = (one.tokens().await, one.tokens().await);
    assert!(one.is_active(&revoked.access).await && one.is_active(&kept.access).await);
    let mut database = one.database().await;
    // What others did meanwhile, all of it pruned but the last.
    database
        .execute(
            "UPDATE revocation_head SET head = 7; \
             INSERT INTO revocation_log (seq, kind, target, value, at) VALUES (7, 'subject', 'somebody', 0, 0); \
             UPDATE grants SET state = 'revoked' WHERE id = (SELECT id FROM grants ORDER BY id LIMIT 1)",
        )
        .await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let active = [one.is_active(&revoked.access).await, one.is_active(&kept.access).await];
    assert_eq!(active.iter().filter(|active| **active).count(), 1, "{active:?}");
}
