//! Revocation over HTTP (RFC 7009) and gRPC: in force on the very next call.

use http::StatusCode;
use scopegate::proto::scopegate::v1 as api;

use crate::harness::{Sidecar, USERNAME, basic};

async fn revoke_over_grpc(sidecar: &Sidecar, token: &str) -> api::RevokeResponse {
    let request = api::RevokeRequest { token: token.into(), ..Default::default() };
    sidecar.grpc().await.revoke(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn r1_r2_r3_revoking_either_token_ends_the_whole_grant_at_once() {
    let sidecar = Sidecar::start().await;
    for pick in [true, false] {
        let tokens = sidecar.tokens().await;
        assert!(sidecar.is_active(&tokens.access).await, "it is cached now");
        let token = if pick { &tokens.access } else { &tokens.refresh };
        let reply = sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", token)]).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""));
        assert!(!sidecar.is_active(&tokens.access).await);
        assert!(!sidecar.is_active(&tokens.refresh).await);
        sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_revocation_over_grpc_is_seen_by_the_very_next_call() {
    let sidecar = Sidecar::start().await;
    for _ in 0..20 {
        let tokens = sidecar.tokens().await;
        assert_eq!(sidecar.check(&tokens.access, &["a"]).await.decision(), api::Decision::Allowed);
        revoke_over_grpc(&sidecar, &tokens.access).await;
        assert_eq!(sidecar.check(&tokens.access, &["a"]).await.decision(), api::Decision::InactiveToken);
    }
}

#[tokio::test]
async fn a_revocation_ends_one_grant_and_no_other() {
    let sidecar = Sidecar::start().await;
    let (one, other) = (sidecar.tokens().await, sidecar.tokens().await);
    revoke_over_grpc(&sidecar, &one.access).await;
    assert!(sidecar.is_active(&other.access).await && sidecar.is_active(&other.refresh).await);
}

#[tokio::test]
async fn r4_r6_r13_unknown_dead_and_wrongly_hinted_tokens_are_fine() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    for token in ["unknown", "sg_at_", &tokens.access.to_uppercase(), &tokens.access[..79]] {
        let reply = sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", token)]).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""), "{token}");
    }
    assert!(sidecar.is_active(&tokens.access).await);
    let mut positions = Vec::new();
    for hint in ["refresh_token", "nonsense", "access_token"] {
        let reply = sidecar
            .http()
            .post_as(&sidecar.shop, "/revoke", &[("token", &tokens.access), ("token_type_hint", hint)])
            .await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(!sidecar.is_active(&tokens.access).await);
        positions.push(revoke_over_grpc(&sidecar, &tokens.access).await.consistency_token);
    }
    assert_eq!(positions, ["1:1", "1:1", "1:1"], "the log has one entry for it");
}

#[tokio::test]
async fn r5_a_client_cannot_revoke_another_clients_token_and_learns_nothing() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let reply = sidecar.http().post_as(&sidecar.app, "/revoke", &[("token", &tokens.access)]).await;
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""));
    assert!(sidecar.is_active(&tokens.access).await);
    assert!(sidecar.is_active(&tokens.refresh).await);
}

#[tokio::test]
async fn r7_r8_r10_a_request_that_is_none_is_refused() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let http = sidecar.http();
    http.post_as(&sidecar.shop, "/revoke", &[]).await.assert_error(400, "invalid_request");
    http.post_as(&sidecar.shop, "/revoke", &[("token", "x"), ("token", "x")])
        .await
        .assert_error(400, "invalid_request");
    http.post("/revoke", &[("token", &tokens.access)]).await.assert_error(401, "invalid_client");
    let wrong = basic(&sidecar.shop.id, "wrong");
    http.post_text("/revoke", &[("authorization", &wrong)], "token=x").await.assert_error(401, "invalid_client");
    assert_eq!(http.get("/revoke?token=x").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(sidecar.is_active(&tokens.access).await);
}

#[tokio::test]
async fn r9_a_public_client_revokes_its_own_token() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &sidecar.app.id)])).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", crate::harness::REDIRECT_URI),
        ("code_verifier", crate::harness::VERIFIER),
    ];
    let tokens = sidecar.http().post_as(&sidecar.app, "/token", &body).await.tokens();
    assert_eq!(
        sidecar.http().post_as(&sidecar.app, "/revoke", &[("token", &tokens.refresh)]).await.status,
        StatusCode::OK
    );
    assert!(!sidecar.is_active(&tokens.access).await);
}

#[tokio::test]
async fn r12_a_revocation_survives_a_restart() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    revoke_over_grpc(&sidecar, &tokens.access).await;
    let directory = sidecar.directory.clone();
    sidecar.stop().await;
    let sidecar = Sidecar::on(directory, "").await;
    assert!(!sidecar.is_active(&tokens.access).await);
}

#[tokio::test]
async fn t27_i20_f12_r15_disabling_ends_what_was_granted_and_enabling_does_not_bring_it_back() {
    let sidecar = Sidecar::start().await;
    let id = || sidecar.shop.id.parse().unwrap();
    let tokens = sidecar.tokens().await;
    assert!(sidecar.is_active(&tokens.access).await);
    sidecar.service.disable_client(id()).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
    sidecar.service.enable_client(id()).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await);
    sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");

    let tokens = sidecar.tokens().await;
    assert!(sidecar.is_active(&tokens.access).await, "r15: what is granted afterwards is good");
    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
    sidecar.service.enable_account(USERNAME.into()).await.unwrap();
    let tokens = sidecar.tokens().await;
    sidecar.service.set_password(USERNAME.into(), "another password".to_owned().into()).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await, "f12: a new password");
    sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
}
