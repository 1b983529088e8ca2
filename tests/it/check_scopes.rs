//! `CheckScopes`, its batch, and consistency tokens.

use scopegate::proto::google::rpc;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::batch_check_scopes_result::Result as Item;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::Sidecar;

#[tokio::test]
async fn allowed_insufficient_and_inactive_are_answers_with_what_to_tell_the_client() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let allowed = sidecar.check(&tokens.access, &["a", "b"]).await;
    assert_eq!(
        (allowed.decision(), allowed.http_status, allowed.www_authenticate.as_str()),
        (api::Decision::Allowed, 200, "")
    );
    let lacking = sidecar.check(&tokens.access, &["a", "c"]).await;
    assert_eq!((lacking.decision(), lacking.http_status), (api::Decision::InsufficientScope, 403));
    assert_eq!(lacking.missing_scopes, ["c"]);
    assert!(
        lacking.www_authenticate.contains(r#"error="insufficient_scope""#)
            && lacking.www_authenticate.ends_with(r#"scope="a c""#)
    );
    let inactive = sidecar.check("unknown", &["a"]).await;
    assert_eq!((inactive.decision(), inactive.http_status), (api::Decision::InactiveToken, 401));
    assert!(inactive.www_authenticate.starts_with(r#"Bearer error="invalid_token""#));
    assert!(inactive.introspection.is_none());
}

#[tokio::test]
async fn i11_the_decision_is_made_anew_on_a_cached_token() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let first = sidecar.check(&tokens.access, &["a"]).await;
    assert_eq!((first.decision(), first.cache_status()), (api::Decision::Allowed, api::CacheStatus::Store));
    let second = sidecar.check(&tokens.access, &["c"]).await;
    assert_eq!((second.decision(), second.cache_status()), (api::Decision::InsufficientScope, api::CacheStatus::Local));
    let third = sidecar.check(&tokens.access, &["b"]).await;
    assert_eq!((third.decision(), third.cache_status()), (api::Decision::Allowed, api::CacheStatus::Local));
}

#[tokio::test]
async fn any_scope_audiences_and_introspection_on_request() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let mut grpc = sidecar.grpc().await;
    let request = api::CheckScopesRequest {
        token: tokens.access.clone(),
        required_scopes: vec!["c".into(), "a".into()],
        r#match: api::Match::Any.into(),
        include_introspection: true,
        ..Default::default()
    };
    let answer = grpc.check_scopes(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.decision(), api::Decision::Allowed);
    assert_eq!(answer.introspection.unwrap().client_id, sidecar.shop.id);
    let request = api::CheckScopesRequest { required_audiences: vec!["https://api".into()], ..request };
    let answer = grpc.check_scopes(request).await.unwrap().into_inner();
    assert_eq!((answer.decision(), answer.http_status), (api::Decision::InvalidAudience, 401));
}

#[tokio::test]
async fn i17_a_batch_keeps_its_order_and_an_error_fails_its_item_alone() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let item = |token: &str, scope: &str| api::CheckScopesRequest {
        token: token.into(),
        required_scopes: vec![scope.into()],
        ..Default::default()
    };
    let requests: Vec<_> = (0..1_000)
        .map(|n| match n % 5 {
            0 => item(&tokens.access, "a"),
            1 => item(&tokens.access, "c"),
            2 => item("unknown", "a"),
            3 => item("", "a"),
            _ => item(&tokens.access, "a b"),
        })
        .collect();
    let mut grpc = sidecar.grpc().await;
    let answer = grpc
        .batch_check_scopes(api::BatchCheckScopesRequest { requests: requests.clone() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.results.len(), 1_000);
    for (n, result) in answer.results.into_iter().enumerate() {
        match (n % 5, result.result.unwrap()) {
            (0, Item::Response(response)) => assert_eq!(response.decision(), api::Decision::Allowed),
            (1, Item::Response(response)) => assert_eq!(response.decision(), api::Decision::InsufficientScope),
            (2, Item::Response(response)) => assert_eq!(response.decision(), api::Decision::InactiveToken),
            (3 | 4, Item::Error(rpc::Status { code, details, .. })) => {
                assert_eq!((code, details.len()), (Code::InvalidArgument as i32, 1));
            }
            (kind, other) => panic!("item {n} of kind {kind}: {other:?}"),
        }
    }
    let too_many = api::BatchCheckScopesRequest { requests: [requests, vec![item("x", "a")]].concat() };
    let status = grpc.batch_check_scopes(too_many).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_error_info().unwrap().reason, "BATCH_TOO_LARGE");
}

#[tokio::test]
async fn a_batch_of_introspections_keeps_its_order() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let requests = [tokens.access.as_str(), "unknown", "", &tokens.refresh]
        .map(|token| api::IntrospectRequest { token: token.into(), ..Default::default() });
    let mut grpc = sidecar.grpc().await;
    let answer =
        grpc.batch_introspect(api::BatchIntrospectRequest { requests: requests.into() }).await.unwrap().into_inner();
    let seen: Vec<String> = answer
        .results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            api::batch_introspect_result::Result::Response(response) => response.token_type,
            api::batch_introspect_result::Result::Error(error) => error.message,
        })
        .collect();
    assert_eq!(seen, ["Bearer", "", "token is required", "refresh_token"]);
}

#[tokio::test]
async fn what_cannot_be_answered_is_an_invalid_argument_with_a_reason() {
    let sidecar = Sidecar::start().await;
    let mut grpc = sidecar.grpc().await;
    let reason = |status: tonic::Status| (status.code(), status.get_details_error_info().unwrap().reason);
    let request =
        api::CheckScopesRequest { token: "x".into(), required_scopes: vec!["a b".into()], ..Default::default() };
    assert_eq!(
        reason(grpc.check_scopes(request).await.unwrap_err()),
        (Code::InvalidArgument, "SCOPE_MALFORMED".into())
    );
    let status = grpc.introspect(api::IntrospectRequest::default()).await.unwrap_err();
    assert_eq!(reason(status), (Code::InvalidArgument, "TOKEN_MISSING".into()));
    let status = grpc.revoke(api::RevokeRequest::default()).await.unwrap_err();
    assert_eq!(reason(status), (Code::InvalidArgument, "TOKEN_MISSING".into()));
}

#[tokio::test]
async fn an_answer_is_never_older_than_the_callers_consistency_token() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let mut grpc = sidecar.grpc().await;
    let revoked = grpc
        .revoke(api::RevokeRequest { token: tokens.access.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let ask = |token: &str| api::IntrospectRequest {
        token: tokens.access.clone(),
        consistency: Some(api::Consistency { at_least_as_fresh: token.into() }),
        ..Default::default()
    };
    let answer = grpc.introspect(ask(&revoked.consistency_token)).await.unwrap().into_inner();
    assert_eq!((answer.active, &answer.consistency_token), (false, &revoked.consistency_token));
    assert_eq!(
        grpc.introspect(ask("1:ffff")).await.unwrap_err().code(),
        Code::Unavailable,
        "a position that is not reached"
    );
    assert_eq!(grpc.introspect(ask("nonsense")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn implied_scopes_are_allowed() {
    let rules = "[scopes.implications]\nexplicit = { a = ['c'] }\nhierarchy = true";
    let sidecar = Sidecar::with(rules).await;
    let tokens = sidecar.tokens().await;
    assert_eq!(sidecar.check(&tokens.access, &["c", "b.read", "c.x.y"]).await.decision(), api::Decision::Allowed);
    assert_eq!(sidecar.check(&tokens.access, &["d"]).await.missing_scopes, ["d"]);
}
