//! Ending many grants at once: those that exist, in one row, and none that are made afterwards.

use api::batch_revoke_request::Target;
use scopegate::proto::scopegate::v1 as api;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{REDIRECT_URI, Sidecar, Tokens, VERIFIER};

async fn end(sidecar: &Sidecar, target: Target) {
    let request = api::BatchRevokeRequest { target: Some(target), ..Default::default() };
    let reply = sidecar.grpc().await.batch_revoke(request).await.unwrap().into_inner();
    assert!(!reply.consistency_token.is_empty() && reply.effective_time.is_some());
}

/// Tokens of the app, in a browser session of their own.
async fn app_tokens(sidecar: &Sidecar) -> Tokens {
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &sidecar.app.id)])).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    sidecar.http().post_as(&sidecar.app, "/token", &body).await.tokens()
}

async fn is_alive(sidecar: &Sidecar, tokens: &Tokens) -> bool {
    let alive = [sidecar.is_active(&tokens.access).await, sidecar.is_active(&tokens.refresh).await];
    assert_eq!(alive[0], alive[1], "both or none");
    alive[0]
}

#[tokio::test]
async fn each_target_ends_its_grants_and_no_other() {
    let sidecar = Sidecar::start().await;
    for kind in ["subject", "client", "pair", "grant", "session"] {
        let (shop, again, app) = (sidecar.tokens().await, sidecar.tokens().await, app_tokens(&sidecar).await);
        assert!(is_alive(&sidecar, &shop).await && is_alive(&sidecar, &again).await && is_alive(&sidecar, &app).await);
        let known = sidecar.introspect(&shop.access).await;
        let target = match kind {
            "subject" => Target::Subject(known.sub),
            "client" => Target::ClientId(known.client_id),
            "pair" => {
                Target::SubjectAndClient(api::SubjectAndClient { subject: known.sub, client_id: known.client_id })
            }
            "grant" => Target::GrantId(known.grant_id),
            _ => Target::SessionId(known.session_id),
        };
        end(&sidecar, target.clone()).await;
        let expected = match kind {
            "subject" => [false, false, false],
            "client" | "pair" => [false, false, true],
            _ => [false, true, true],
        };
        for (tokens, expected) in [&shop, &again, &app].into_iter().zip(expected) {
            assert_eq!(is_alive(&sidecar, tokens).await, expected, "{kind}");
        }
        sidecar.refresh(&shop.refresh).await.assert_error(400, "invalid_grant");
        assert!(is_alive(&sidecar, &sidecar.tokens().await).await, "{kind}: what is granted afterwards is good");
        end(&sidecar, target).await;
    }
    // The same to a server that knows nothing but the database.
    let tokens = sidecar.tokens().await;
    let known = sidecar.introspect(&tokens.access).await;
    end(&sidecar, Target::SessionId(known.session_id)).await;
    assert!(!is_alive(&Sidecar::beside(&sidecar).await, &tokens).await);
}

#[tokio::test]
async fn a_code_that_waits_ends_with_its_set_and_a_session_is_signed_out() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let location = browser.approve(&sidecar.request(&[])).await;
    let session = sidecar
        .introspect(&sidecar.redeem(&crate::harness::query_of(&location, "code").unwrap()).await.tokens().access)
        .await
        .session_id;
    let waiting = crate::harness::query_of(&browser.approve(&sidecar.request(&[])).await, "code").unwrap();
    end(&sidecar, Target::SessionId(session)).await;
    sidecar.redeem(&waiting).await.assert_error(400, "invalid_grant");
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await;
    assert!(
        page.header("location").is_some_and(|location| location.starts_with("/login"))
            || page.body.contains("name=\"password\"")
    );
}

#[tokio::test]
async fn what_does_not_exist_is_a_success_and_what_cannot_be_read_is_not() {
    let sidecar = Sidecar::start().await;
    let nothing = "0".repeat(32);
    for target in [
        Target::Subject("nobody".into()),
        Target::ClientId("nothing".into()),
        Target::SubjectAndClient(api::SubjectAndClient {
            subject: "nobody".into(),
            client_id: sidecar.shop.id.clone(),
        }),
        Target::GrantId(nothing.clone()),
        Target::SessionId(nothing),
    ] {
        end(&sidecar, target).await;
    }
    for (target, reason) in [
        (None, "TARGET_MISSING"),
        (Some(Target::Subject(String::new())), "TARGET_MISSING"),
        (Some(Target::ClientId("two words".into())), "TARGET_MALFORMED"),
        (Some(Target::GrantId("x".into())), "TARGET_MALFORMED"),
        (Some(Target::SessionId("x".into())), "TARGET_MALFORMED"),
    ] {
        let request = api::BatchRevokeRequest { target, ..Default::default() };
        let status = sidecar.grpc().await.batch_revoke(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_error_info().unwrap().reason, reason);
    }
}

#[tokio::test]
async fn many_revocations_at_once_share_transactions_and_all_count() {
    let sidecar = Sidecar::start().await;
    let mut tokens = Vec::new();
    for _ in 0..40 {
        tokens.push(sidecar.tokens().await);
    }
    let grpc = sidecar.grpc().await;
    let name = "scopegate_store_operations_total{operation=\"revoke\"}";
    let before = sidecar.metric(name).await;
    // Each twice: the second changes nothing.
    let calls: Vec<_> = tokens
        .iter()
        .chain(&tokens)
        .map(|tokens| {
            let mut grpc = grpc.clone();
            let request = api::RevokeRequest { token: tokens.access.clone(), ..Default::default() };
            tokio::spawn(async move { grpc.revoke(request).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    for tokens in &tokens {
        assert!(!is_alive(&sidecar, tokens).await);
    }
    assert_eq!(sidecar.database().await.count("revocation_log").await, 40);
    let transactions = sidecar.metric(name).await - before;
    assert!(transactions < 40, "{transactions} transactions for 80 revocations");
}
