//! `WatchRevocations`: everything that was revoked, in order, from any position that is remembered.

use std::time::Duration;

use api::batch_revoke_request::Target as End;
use api::revocation::Target;
use scopegate::proto::scopegate::v1 as api;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::harness::Sidecar;

type Watch = Streaming<api::WatchRevocationsResponse>;

async fn watch(sidecar: &Sidecar, cursor: &str) -> Watch {
    let request = api::WatchRevocationsRequest { consistency_token: cursor.into() };
    sidecar.grpc().await.watch_revocations(request).await.unwrap().into_inner()
}

async fn next(watch: &mut Watch) -> api::WatchRevocationsResponse {
    timeout(Duration::from_secs(5), watch.message()).await.expect("something is told").unwrap().expect("a message")
}

/// The next message that is no checkpoint.
async fn next_revoked(watch: &mut Watch) -> api::WatchRevocationsResponse {
    loop {
        let message = next(watch).await;
        if !message.revocations.is_empty() {
            return message;
        }
    }
}

async fn refusal(sidecar: &Sidecar, cursor: &str) -> Status {
    let request = api::WatchRevocationsRequest { consistency_token: cursor.into() };
    match sidecar.grpc().await.watch_revocations(request).await {
        Ok(stream) => stream.into_inner().message().await.unwrap_err(),
        Err(status) => status,
    }
}

fn grants(message: &api::WatchRevocationsResponse) -> Vec<String> {
    let grant = |revocation: &api::Revocation| match revocation.target.clone() {
        Some(Target::GrantId(grant)) => grant,
        other => panic!("no grant: {other:?}"),
    };
    message.revocations.iter().map(grant).collect()
}

#[tokio::test]
async fn a_watcher_is_told_what_any_server_revokes_and_goes_on_where_it_was() {
    let one = Sidecar::start().await;
    let other = Sidecar::beside(&one).await;
    let mut watching = watch(&one, "").await;
    let start = next(&mut watching).await;
    assert!(start.revocations.is_empty(), "a checkpoint comes first");
    let mut expected = Vec::new();
    let mut told = Vec::new();
    for server in [&one, &other, &one] {
        let tokens = server.tokens().await;
        expected.push(server.introspect(&tokens.access).await.grant_id);
        server.revoke(&tokens.access, api::RevocationMode::Strict).await;
        let message = next_revoked(&mut watching).await;
        assert!(message.revocations[0].revoke_time.is_some());
        told.extend(grants(&message));
    }
    assert_eq!(told, expected);
    let checkpoint = next(&mut watching).await;
    assert!(checkpoint.revocations.is_empty(), "nothing else was revoked");

    // From the beginning, at the other server, and at one that has just started.
    for server in [&other, &Sidecar::beside(&one).await] {
        let mut told = Vec::new();
        let mut watching = watch(server, &start.consistency_token).await;
        while told.len() < expected.len() {
            told.extend(grants(&next_revoked(&mut watching).await));
        }
        assert_eq!(told, expected);
        let mut resumed = watch(server, &checkpoint.consistency_token).await;
        assert!(next(&mut resumed).await.revocations.is_empty(), "nothing is told twice");
    }
}

#[tokio::test]
async fn sets_are_told_as_sets() {
    let sidecar = Sidecar::start().await;
    let mut watching = watch(&sidecar, "").await;
    let known = sidecar.introspect(&sidecar.tokens().await.access).await;
    let pair = api::SubjectAndClient { subject: known.sub.clone(), client_id: known.client_id.clone() };
    for (end, told) in [
        (End::Subject(known.sub.clone()), Target::Subject(known.sub.clone())),
        (End::ClientId(known.client_id.clone()), Target::ClientId(known.client_id.clone())),
        (End::SubjectAndClient(pair.clone()), Target::SubjectAndClient(pair)),
        (End::SessionId(known.session_id.clone()), Target::SessionId(known.session_id.clone())),
    ] {
        let request = api::BatchRevokeRequest { target: Some(end), ..Default::default() };
        sidecar.grpc().await.batch_revoke(request).await.unwrap();
        assert_eq!(next_revoked(&mut watching).await.revocations[0].target, Some(told));
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_resumed_says_what_to_do() {
    let sidecar = Sidecar::start().await;
    let mut watching = watch(&sidecar, "").await;
    let start = next(&mut watching).await.consistency_token;
    for _ in 0..3 {
        sidecar.revoke(&sidecar.tokens().await.access, api::RevocationMode::Bounded).await;
    }
    assert_eq!(refusal(&sidecar, "1:ff").await.get_details_error_info().unwrap().reason, "BEHIND_CONSISTENCY_TOKEN");
    assert_eq!(refusal(&sidecar, "nonsense").await.code(), Code::InvalidArgument);
    // The log was pruned before another server started.
    sidecar.database().await.execute("DELETE FROM revocation_log WHERE seq < 3").await;
    let later = Sidecar::beside(&sidecar).await;
    let status = refusal(&later, &start).await;
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(status.get_details_error_info().unwrap().reason, "CURSOR_TOO_OLD");
    let mut watching = watch(&later, "").await;
    assert!(next(&mut watching).await.revocations.is_empty(), "from now on is always possible");
}

#[tokio::test]
async fn no_checkpoint_comes_while_a_server_does_not_know_and_a_stopping_one_says_so() {
    let sidecar = Sidecar::start().await;
    let mut watching = watch(&sidecar, "").await;
    next(&mut watching).await;
    sidecar.database().await.execute("ALTER TABLE revocation_log RENAME TO lost").await;
    let silence = async {
        // One or two may be on their way, under the lease that is left.
        for _ in 0..5 {
            watching.message().await.unwrap();
        }
    };
    assert!(timeout(Duration::from_millis(3_500), silence).await.is_err(), "there are still checkpoints");
    sidecar.database().await.execute("ALTER TABLE lost RENAME TO revocation_log").await;
    next(&mut watching).await;
    let (stopped, last) = tokio::join!(sidecar.stop(), async {
        loop {
            match watching.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    let () = stopped;
    assert_eq!(last.unwrap_err().get_details_error_info().unwrap().reason, "SERVER_STOPPING");
}
