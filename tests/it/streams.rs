//! `StreamCheckScopes`: answers in the order of the requests, for as long as the caller asks.

use std::time::Duration;

use api::stream_check_scopes_response::Result as Item;
use futures_util::{StreamExt as _, stream};
use scopegate::proto::scopegate::v1 as api;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::harness::Sidecar;

type Answers = Streaming<api::StreamCheckScopesResponse>;

fn ask(token: &str, scope: &str) -> api::StreamCheckScopesRequest {
    let required_scopes = vec![scope.into()];
    let request = api::CheckScopesRequest { token: token.into(), required_scopes, ..Default::default() };
    api::StreamCheckScopesRequest { request: Some(request) }
}

/// A stream that is open until the sender is dropped.
async fn open(sidecar: &Sidecar) -> (mpsc::Sender<api::StreamCheckScopesRequest>, Answers) {
    let (sender, receiver) = mpsc::channel(1);
    let requests = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let answers = sidecar.grpc().await.stream_check_scopes(requests).await.unwrap();
    (sender, answers.into_inner())
}

async fn next(answers: &mut Answers) -> Result<Option<Item>, tonic::Status> {
    let next = timeout(Duration::from_secs(5), answers.message()).await.expect("an answer");
    Ok(next?.map(|answer| answer.result.unwrap()))
}

fn decision(item: &Item) -> Result<api::Decision, i32> {
    match item {
        Item::Response(response) => Ok(response.decision()),
        Item::Error(error) => Err(error.code),
    }
}

#[tokio::test]
async fn a_stream_answers_each_request_in_order_and_a_failure_concerns_one_alone() {
    let sidecar = Sidecar::start().await;
    let token = sidecar.tokens().await.access;
    let kinds = [
        (ask(&token, "a"), Ok(api::Decision::Allowed)),
        (ask(&token, "c"), Ok(api::Decision::InsufficientScope)),
        (ask("sg_at_AAAA", "a"), Ok(api::Decision::InactiveToken)),
        (ask("", "a"), Err(Code::InvalidArgument.into())),
        (ask(&token, "a b"), Err(Code::InvalidArgument.into())),
        (api::StreamCheckScopesRequest { request: None }, Err(Code::InvalidArgument.into())),
    ];
    // Many more than are under way at a time, all before the first answer is read; then nothing more.
    let (many, expected): (Vec<_>, Vec<_>) = kinds.iter().cycle().take(1_000).cloned().unzip();
    let mut answers = sidecar.grpc().await.stream_check_scopes(stream::iter(many)).await.unwrap().into_inner();
    for (number, expected) in expected.into_iter().enumerate() {
        let item = next(&mut answers).await.unwrap().unwrap();
        assert_eq!(decision(&item), expected, "answer {number}");
    }
    assert!(next(&mut answers).await.unwrap().is_none(), "the end is OK");
}

#[tokio::test]
async fn a_stream_outlives_the_limits_of_a_call_and_sees_what_was_revoked_meanwhile() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let (requests, mut answers) = open(&sidecar).await;
    requests.send(ask(&tokens.access, "a")).await.unwrap();
    assert_eq!(decision(&next(&mut answers).await.unwrap().unwrap()), Ok(api::Decision::Allowed));
    sidecar.revoke(&tokens.access, api::RevocationMode::Strict).await;
    // A unary check may take half a second, and the beginning of a stream two.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    requests.send(ask(&tokens.access, "a")).await.unwrap();
    assert_eq!(decision(&next(&mut answers).await.unwrap().unwrap()), Ok(api::Decision::InactiveToken));
    drop(requests);
    assert!(next(&mut answers).await.unwrap().is_none());
}

#[tokio::test]
async fn a_caller_that_reads_no_answers_is_read_no_further() {
    let sidecar = Sidecar::start().await;
    let token = sidecar.tokens().await.access;
    let (requests, mut answers) = open(&sidecar).await;
    let mut long = ask(&token, "a");
    long.request.as_mut().unwrap().include_introspection = true;
    let mut sent = 0;
    while timeout(Duration::from_secs(1), requests.send(long.clone())).await.is_ok() {
        sent += 1;
        // Their answers are several times what the buffers on the way take.
        assert!(sent < 100_000, "everything is taken in");
    }
    // Nothing is lost of what was taken.
    for number in 0..sent {
        let item = next(&mut answers).await.unwrap().unwrap();
        assert_eq!(decision(&item), Ok(api::Decision::Allowed), "answer {number} of {sent}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_a_clear_status_when_the_server_stops_or_the_deadline_of_the_caller_passes() {
    let sidecar = Sidecar::start().await;
    let token = sidecar.tokens().await.access;
    let waiting = stream::iter([ask(&token, "a")]).chain(stream::pending());
    let mut request = tonic::Request::new(waiting);
    // As other clients send it, who leave the counting to the server.
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut answers = sidecar.grpc().await.stream_check_scopes(request).await.unwrap().into_inner();
    assert_eq!(decision(&next(&mut answers).await.unwrap().unwrap()), Ok(api::Decision::Allowed));
    assert_eq!(next(&mut answers).await.unwrap_err().code(), Code::DeadlineExceeded);

    let (requests, mut answers) = open(&sidecar).await;
    requests.send(ask(&token, "a")).await.unwrap();
    assert_eq!(decision(&next(&mut answers).await.unwrap().unwrap()), Ok(api::Decision::Allowed));
    let ((), last) = tokio::join!(sidecar.stop(), next(&mut answers));
    let status = last.unwrap_err();
    assert_eq!(
        (status.code(), status.get_details_error_info().unwrap().reason.as_str()),
        (Code::Unavailable, "SERVER_STOPPING")
    );
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_a_stream_after_the_answers_before_it() {
    let sidecar = Sidecar::start().await;
    let token = sidecar.tokens().await.access;
    let requests = stream::iter([ask(&token, "a"), ask(&"x".repeat(300 << 10), "a"), ask(&token, "a")]);
    let mut answers = sidecar.grpc().await.stream_check_scopes(requests).await.unwrap().into_inner();
    let first = next(&mut answers).await;
    let failed = match first {
        Ok(Some(item)) => {
            assert_eq!(decision(&item), Ok(api::Decision::Allowed));
            next(&mut answers).await.unwrap_err()
        }
        other => other.unwrap_err(),
    };
    assert_eq!(failed.code(), Code::OutOfRange);
}
