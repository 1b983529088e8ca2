//! Many at once: one outcome.

use std::collections::HashSet;
use std::sync::Arc;

use scopegate::proto::scopegate::v1 as api;

use crate::harness::{Reply, Sidecar};

async fn fifty<F: Future<Output = Reply> + Send + 'static>(
    ask: impl Fn(Arc<Sidecar>) -> F,
    sidecar: &Arc<Sidecar>,
) -> Vec<Reply> {
    let tasks: Vec<_> = (0..50).map(|_| tokio::spawn(ask(sidecar.clone()))).collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap());
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k3_fifty_redemptions_of_one_code_make_one_token_set_at_most_and_leave_a_revoked_grant() {
    let sidecar = Arc::new(Sidecar::start().await);
    let code = sidecar.code().await;
    let replies = fifty(
        |sidecar| {
            let code = code.clone();
            async move { sidecar.redeem(&code).await }
        },
        &sidecar,
    )
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!(won.len(), 1, "exactly one of them is the first");
    for reply in lost {
        reply.assert_error(400, "invalid_grant");
    }
    let tokens = won[0].tokens();
    assert!(!sidecar.is_active(&tokens.access).await, "a replayed code ends its grant");
    sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_fifty_uses_of_one_refresh_token_get_the_same_successor() {
    let sidecar = Arc::new(Sidecar::start().await);
    let first = sidecar.tokens().await;
    let replies = fifty(
        |sidecar| {
            let refresh = first.refresh.clone();
            async move { sidecar.refresh(&refresh).await }
        },
        &sidecar,
    )
    .await;
    let successors: HashSet<_> = replies.iter().map(|reply| (reply.tokens().access, reply.tokens().refresh)).collect();
    assert_eq!(successors.len(), 1);
    let (access, refresh) = successors.into_iter().next().unwrap();
    assert!(sidecar.is_active(&access).await);
    sidecar.refresh(&refresh).await.tokens();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_no_token_survives_a_revocation_that_races_with_refreshes() {
    let sidecar = Arc::new(Sidecar::start().await);
    for _ in 0..20 {
        let first = sidecar.tokens().await;
        let refreshing = {
            let (sidecar, refresh) = (sidecar.clone(), first.refresh.clone());
            tokio::spawn(async move { sidecar.refresh(&refresh).await })
        };
        let mut grpc = sidecar.grpc().await;
        grpc.revoke(api::RevokeRequest { token: first.access.clone(), ..Default::default() }).await.unwrap();
        assert!(!sidecar.is_active(&first.access).await);
        let reply = refreshing.await.unwrap();
        if reply.status == 200 {
            let tokens = reply.tokens();
            assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
        } else {
            reply.assert_error(400, "invalid_grant");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cold_grant_is_read_once_however_many_ask() {
    let sidecar = Arc::new(Sidecar::start().await);
    let tokens = sidecar.tokens().await;
    let name = "scopegate_store_operations_total{operation=\"read the facts of a grant\"}";
    let before = sidecar.metric(name).await;
    let request = api::CheckScopesRequest { token: tokens.access, ..Default::default() };
    // A connection carries 256 calls at a time.
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(sidecar.grpc().await);
    }
    let calls: Vec<_> = (0..1_000)
        .map(|number| {
            let (mut grpc, request) = (connections[number % 5].clone(), request.clone());
            tokio::spawn(async move { grpc.check_scopes(request).await.unwrap().into_inner().decision() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), api::Decision::Allowed);
    }
    assert_eq!(sidecar.metric(name).await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_request_that_is_dropped_leaves_a_whole_rotation_or_none() {
    let sidecar = Arc::new(Sidecar::start().await);
    let mut tokens = sidecar.tokens().await;
    for microseconds in (0..4_000).step_by(100) {
        let patience = std::time::Duration::from_micros(microseconds);
        let _ = tokio::time::timeout(patience, sidecar.refresh(&tokens.refresh)).await;
        // Whatever became of it, the client that asks again goes on: with the successor, or as the first.
        tokens = sidecar.refresh(&tokens.refresh).await.tokens();
        assert!(sidecar.is_active(&tokens.access).await);
    }
}
