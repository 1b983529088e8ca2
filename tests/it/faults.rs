//! Unknown is neither active nor inactive.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use scopegate::proto::scopegate::v1 as api;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::Sidecar;

/// Takes the grants away, as a broken database would.
async fn break_database(sidecar: &Sidecar) {
    sidecar.database().await.execute("ALTER TABLE grants RENAME TO lost").await;
}

async fn mend_database(sidecar: &Sidecar) {
    sidecar.database().await.execute("ALTER TABLE lost RENAME TO grants").await;
}

#[tokio::test]
async fn i15_r11_a_fault_of_the_database_is_unavailable_and_passes() {
    let sidecar = Sidecar::start().await;
    let (cold, cached) = (sidecar.tokens().await, sidecar.tokens().await);
    assert!(sidecar.is_active(&cached.access).await);
    let code = sidecar.code().await;
    break_database(&sidecar).await;

    let mut grpc = sidecar.grpc().await;
    let unavailable = |status: tonic::Status| {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.get_details_error_info().unwrap().reason, "STORE_UNAVAILABLE");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
        assert!(!status.message().contains("grants"), "no detail of the database: {}", status.message());
    };
    let introspect = |token: &str| api::IntrospectRequest { token: token.into(), ..Default::default() };
    unavailable(grpc.introspect(introspect(&cold.access)).await.unwrap_err());
    unavailable(grpc.introspect(introspect(&cached.refresh)).await.unwrap_err());
    unavailable(
        grpc.check_scopes(api::CheckScopesRequest { token: cold.access.clone(), ..Default::default() })
            .await
            .unwrap_err(),
    );
    unavailable(
        grpc.revoke(api::RevokeRequest { token: cold.access.clone(), ..Default::default() }).await.unwrap_err(),
    );
    let batch = api::BatchIntrospectRequest {
        requests: vec![introspect(&cold.access), introspect(&cached.access), introspect("x")],
    };
    let results = grpc.batch_introspect(batch).await.unwrap().into_inner().results;
    let seen: Vec<String> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            api::batch_introspect_result::Result::Response(response) => response.active.to_string(),
            api::batch_introspect_result::Result::Error(error) => error.code.to_string(),
        })
        .collect();
    assert_eq!(seen, ["14", "true", "false"], "only what has to be read is unknown");

    for reply in [
        sidecar.redeem(&code).await,
        sidecar.refresh(&cold.refresh).await,
        sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", &cached.access)]).await,
        sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &cold.access)]).await,
    ] {
        reply.assert_error(503, "temporarily_unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(!reply.body.contains("grants"), "{}", reply.body);
    }

    mend_database(&sidecar).await;
    assert!(
        sidecar.is_active(&cold.access).await && sidecar.is_active(&cached.access).await,
        "what failed changed nothing"
    );
    sidecar.redeem(&code).await.tokens();
}

#[tokio::test]
async fn a_fault_while_the_user_decides_goes_back_to_the_app() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[]);
    browser.consent_page(&request).await;
    break_database(&sidecar).await;
    let location = browser.approve(&request).await;
    assert_eq!(crate::harness::query_of(&location, "error").as_deref(), Some("temporarily_unavailable"));
    assert_eq!(crate::harness::query_of(&location, "state").as_deref(), Some("xyz"));
}

#[tokio::test]
async fn i18_a_deadline_that_runs_out_is_deadline_exceeded_and_never_a_default_answer() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    // Not through a gRPC client: it would end the call by its own clock.
    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let message = api::RevokeRequest { token: tokens.access.clone(), ..Default::default() }.encode_to_vec();
    let frame = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let address = sidecar.addresses.grpc.iter().next().unwrap().to_string();
    // Somebody else writes, so the revocation has to wait.
    let mut database = sidecar.database().await;
    database.hold_writes().await;
    for (timeout, code) in [("300m", Code::DeadlineExceeded), ("-5S", Code::InvalidArgument)] {
        let request = Request::post(format!("http://{address}/scopegate.v1.TokenService/Revoke"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", timeout);
        let response = http2.request(request.body(frame.clone().into()).unwrap()).await.unwrap();
        let status = tonic::Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), code);
        assert!(status.get_details_error_info().is_some());
    }
    database.execute("COMMIT").await;
    let began = Instant::now();
    while sidecar.is_active(&tokens.access).await {
        assert!(began.elapsed() < Duration::from_secs(5), "what was begun goes on to its end");
    }
}

#[tokio::test]
async fn readiness_follows_the_database_and_liveness_does_not() {
    let sidecar = Sidecar::start().await;
    let ops = crate::harness::Http::new(&format!("http://{}", sidecar.addresses.ops));
    assert_eq!(ops.get("/readyz").await.status, StatusCode::OK);
    sidecar.database().await.execute("ALTER TABLE revocation_head RENAME TO lost").await;
    assert_eq!(ops.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ops.get("/livez").await.status, StatusCode::OK);
}
