//! Refresh tokens and their rotation (RFC 6749 §6, RFC 9700 §4.14.2).

use crate::harness::{REDIRECT_URI, Sidecar, VERIFIER};

#[tokio::test]
async fn f1_refreshing_gives_new_tokens_and_the_old_refresh_token_is_no_longer_active() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.tokens().await;
    sidecar.clock.advance(100);
    let second = sidecar.refresh(&first.refresh).await.tokens();
    assert!(second.access != first.access && second.refresh != first.refresh);
    assert_eq!(second.scope, "a b");
    assert!(!sidecar.is_active(&first.refresh).await);
    for active in [&second.refresh, &second.access, &first.access] {
        assert!(sidecar.is_active(active).await);
    }
}

#[tokio::test]
async fn f2_a_refresh_token_that_is_used_again_later_revokes_the_grant() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.tokens().await;
    let second = sidecar.refresh(&first.refresh).await.tokens();
    sidecar.clock.advance(10);
    sidecar.refresh(&first.refresh).await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(&second.access).await);
    sidecar.refresh(&second.refresh).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn f4_inside_the_grace_window_the_preceding_token_gets_the_same_successor_and_an_older_one_revokes() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.tokens().await;
    let second = sidecar.refresh(&first.refresh).await.tokens();
    sidecar.clock.advance(9);
    assert_eq!(sidecar.refresh(&first.refresh).await.tokens(), second);
    let third = sidecar.refresh(&second.refresh).await.tokens();
    assert_eq!(sidecar.refresh(&second.refresh).await.tokens(), third);
    sidecar.refresh(&first.refresh).await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(&third.access).await);
}

#[tokio::test]
async fn without_a_grace_window_the_preceding_token_revokes_at_once() {
    let sidecar = Sidecar::with("[tokens]\nrefresh_grace = 0").await;
    let first = sidecar.tokens().await;
    sidecar.refresh(&first.refresh).await.tokens();
    sidecar.refresh(&first.refresh).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn f5_a_restart_does_not_bring_a_rotated_token_back() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.tokens().await;
    let second = sidecar.refresh(&first.refresh).await.tokens();
    let (directory, shop) = (sidecar.directory.clone(), sidecar.shop.clone());
    sidecar.stop().await;
    let mut sidecar = Sidecar::on(directory, "").await;
    sidecar.shop = shop;
    assert!(sidecar.is_active(&second.access).await);
    sidecar.clock.advance(60);
    sidecar.refresh(&first.refresh).await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(&second.access).await);
}

#[tokio::test]
async fn f6_f7_another_client_or_nobody_cannot_refresh_and_the_token_survives() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let body = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    sidecar.http().post_as(&sidecar.app, "/token", &body).await.assert_error(400, "invalid_grant");
    sidecar.http().post("/token", &body).await.assert_error(401, "invalid_client");
    let named = [&body[..], &[("client_id", sidecar.shop.id.as_str())]].concat();
    sidecar.http().post("/token", &named).await.assert_error(401, "invalid_client");
    sidecar.refresh(&tokens.refresh).await.tokens();
}

#[tokio::test]
async fn f8_f9_the_access_token_can_be_narrowed_and_widened_again_but_not_beyond_the_grant() {
    let sidecar = Sidecar::start().await;
    let mut tokens = sidecar.tokens().await;
    let mut accesses = Vec::new();
    for (scope, expected) in [("b", "b"), ("a", "a"), ("", "a b"), ("b a", "a b"), ("b", "b")] {
        let body = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str()), ("scope", scope)];
        tokens = sidecar.http().post_as(&sidecar.shop, "/token", &body).await.tokens();
        assert_eq!(tokens.scope, expected);
        accesses.push((tokens.access.clone(), expected));
    }
    for (access, scope) in accesses {
        assert_eq!(sidecar.introspect(&access).await.scope, scope, "each keeps the scopes that it was issued with");
    }
    for scope in ["a c", "c", "unknown", "\""] {
        let body = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str()), ("scope", scope)];
        sidecar.http().post_as(&sidecar.shop, "/token", &body).await.assert_error(400, "invalid_scope");
    }
    sidecar.refresh(&tokens.refresh).await.tokens();
}

#[tokio::test]
async fn f10_f11_idle_and_absolute_lifetimes_end_a_refresh_token_when_it_is_presented() {
    let sidecar =
        Sidecar::with("[tokens]\nrefresh_token_idle_lifetime = 100\nrefresh_token_absolute_lifetime = 250").await;
    let idle = sidecar.tokens().await;
    sidecar.clock.advance(100);
    sidecar.refresh(&idle.refresh).await.assert_error(400, "invalid_grant");

    let mut tokens = sidecar.tokens().await;
    for _ in 0..3 {
        sidecar.clock.advance(80);
        tokens = sidecar.refresh(&tokens.refresh).await.tokens();
    }
    assert!(sidecar.is_active(&tokens.access).await);
    sidecar.clock.advance(10);
    sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(&tokens.access).await, "no access token outlives its grant");
}

#[tokio::test]
async fn f14_f15_tokens_of_one_kind_do_not_work_as_another() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    sidecar.refresh(&tokens.access).await.assert_error(400, "invalid_grant");
    sidecar.redeem(&tokens.refresh).await.assert_error(400, "invalid_grant");
    let answer = sidecar.check(&tokens.refresh, &[]).await;
    assert_eq!(answer.decision, scopegate::proto::scopegate::v1::Decision::InactiveToken as i32);
}

#[tokio::test]
async fn f20_refreshing_adds_no_row() {
    let sidecar = Sidecar::start().await;
    let mut tokens = sidecar.tokens().await;
    let mut database = sidecar.database().await;
    let mut counts = Vec::new();
    for _ in 0..2 {
        let mut rows = 0_i64;
        for table in
            ["grants", "clients", "subjects", "accounts", "browser_sessions", "revocation_log", "revocation_head"]
        {
            rows += database.count(table).await;
        }
        counts.push(rows);
        for _ in 0..50 {
            tokens = sidecar.refresh(&tokens.refresh).await.tokens();
        }
    }
    assert_eq!(counts[0], counts[1]);
}

#[tokio::test]
async fn t5_a_junk_parameter_in_a_refresh_is_ignored() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("params", "{'page': 1}"),
        ("allow_redirects", "True"),
    ];
    sidecar.http().post_as(&sidecar.shop, "/token", &body).await.tokens();
}
