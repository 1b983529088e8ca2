//! Token exchange, for narrowing only (RFC 8693).

use std::sync::Arc;

use scopegate::domain::caller::Sight;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};

use crate::dpop::{Key, post};
use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn exchanging() -> ClientMetadata {
    let grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::TokenExchange];
    ClientMetadata { grant_types, ..ClientMetadata::default() }
}

async fn exchange(sidecar: &Sidecar, client: &Registered, token: &str, other: &[(&str, &str)]) -> Reply {
    let body = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    sidecar.http().post_as(client, "/token", &[&body[..], other].concat()).await
}

/// The same by the shop, with a proof of a key.
async fn proving(sidecar: &Sidecar, key: &Key, token: &str, other: &[(&str, &str)]) -> Reply {
    let body = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    let more = [&body[..], other].concat();
    post(sidecar, &sidecar.shop, "/token", &[&key.proof(sidecar, "/token")], &more).await
}

async fn ready() -> Sidecar {
    let sidecar = Sidecar::start().await;
    sidecar.change(&sidecar.shop, exchanging()).await;
    sidecar
}

#[tokio::test]
async fn a_token_is_exchanged_for_one_that_may_do_less() {
    let sidecar = ready().await;
    let tokens = sidecar.tokens().await;
    let rows = sidecar.database().await.rows().await;
    sidecar.clock.advance(100);
    let reply = exchange(&sidecar, &sidecar.shop, &tokens.access, &[("scope", "a")]).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let json = reply.json();
    assert_eq!(
        (&json["issued_token_type"], &json["token_type"], &json["expires_in"], &json["scope"]),
        (&ACCESS_TOKEN.into(), &"Bearer".into(), &500.into(), &"a".into()),
        "it ends no later than the subject token"
    );
    let narrow = reply.access_token();
    let (before, after) = (sidecar.introspect(&tokens.access).await, sidecar.introspect(&narrow).await);
    assert_eq!((after.scope.as_str(), &after.sub, &after.grant_id), ("a", &before.sub, &before.grant_id));
    assert_ne!(after.jti, before.jti);
    assert_eq!((before.scope.as_str(), before.exp), ("a b", after.exp), "the subject token stays what it is");

    exchange(&sidecar, &sidecar.shop, &narrow, &[("scope", "b")]).await.assert_error(400, "invalid_scope");
    exchange(&sidecar, &sidecar.shop, &narrow, &[("scope", "a b")]).await.assert_error(400, "invalid_scope");
    let same = exchange(&sidecar, &sidecar.shop, &narrow, &[]).await;
    assert_eq!(same.json()["scope"], "a", "without a scope, that of the subject token");
    let typed = exchange(&sidecar, &sidecar.shop, &narrow, &[("requested_token_type", ACCESS_TOKEN)]).await;
    typed.access_token();
    assert_eq!(sidecar.database().await.rows().await, rows, "no row is added");

    sidecar.revoke(&narrow, scopegate::proto::scopegate::v1::RevocationMode::Strict).await;
    for dead in [&tokens.access, &narrow, &same.access_token()] {
        assert!(!sidecar.is_active(dead).await, "one revocation ends all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrowing_beside_refreshes_mixes_nothing_up() {
    let sidecar = Arc::new(ready().await);
    let mut tokens = sidecar.tokens().await;
    let mut issued = Vec::new();
    for round in 0..5 {
        let spawn = |scope: &'static str| {
            let (sidecar, access) = (sidecar.clone(), tokens.access.clone());
            tokio::spawn(async move { (exchange(&sidecar, &sidecar.shop, &access, &[("scope", scope)]).await, scope) })
        };
        let tasks = ["a", "b", "a b", "b", "a"].map(spawn);
        let scope = ["b", "a", "a b"][round % 3];
        let body = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str()), ("scope", scope)];
        let refreshed = sidecar.http().post_as(&sidecar.shop, "/token", &body).await.tokens();
        issued.push((refreshed.access, scope));
        for task in tasks {
            let (reply, scope) = task.await.unwrap();
            issued.push((reply.access_token(), scope));
        }
        tokens = sidecar.refresh(&refreshed.refresh).await.tokens();
    }
    for (token, scope) in issued {
        assert_eq!(sidecar.introspect(&token).await.scope, scope);
    }
}

#[tokio::test]
async fn g8_what_is_no_access_token_of_the_client_is_refused() {
    let sidecar = ready().await;
    let other = sidecar.register(false, Introspects::Own, exchanging()).await;
    let service = sidecar.register(false, Introspects::Any, exchanging()).await;
    let tokens = sidecar.tokens().await;
    for wrong in [&tokens.refresh, &sidecar.code().await, "x", &tokens.access[..79]] {
        exchange(&sidecar, &sidecar.shop, wrong, &[]).await.assert_error(400, "invalid_request");
    }
    exchange(&sidecar, &other, &tokens.access, &[]).await.assert_error(400, "invalid_request");
    let seen = exchange(&sidecar, &service, &tokens.access, &[("scope", "a")]).await.access_token();
    assert_eq!(sidecar.introspect(&seen).await.client_id, sidecar.shop.id, "it is a token of the same grant");
    exchange(&sidecar, &sidecar.app, &tokens.access, &[]).await.assert_error(400, "unauthorized_client");
    for (name, value) in [
        ("actor_token", tokens.access.as_str()),
        ("actor_token_type", ACCESS_TOKEN),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ] {
        exchange(&sidecar, &sidecar.shop, &tokens.access, &[(name, value)]).await.assert_error(400, "invalid_request");
    }
    for subject_token_type in ["", "urn:ietf:params:oauth:token-type:jwt"] {
        let body =
            [("grant_type", EXCHANGE), ("subject_token", &tokens.access), ("subject_token_type", subject_token_type)];
        sidecar.http().post_as(&sidecar.shop, "/token", &body).await.assert_error(400, "invalid_request");
    }
    exchange(&sidecar, &sidecar.shop, &tokens.access, &[("scope", "c")]).await.assert_error(400, "invalid_scope");
    sidecar.clock.advance(600);
    exchange(&sidecar, &sidecar.shop, &tokens.access, &[]).await.assert_error(400, "invalid_request");
    let tokens = sidecar.refresh(&tokens.refresh).await.tokens();
    exchange(&sidecar, &sidecar.shop, &tokens.access, &[]).await.access_token();
    sidecar.revoke(&tokens.refresh, scopegate::proto::scopegate::v1::RevocationMode::Strict).await;
    exchange(&sidecar, &sidecar.shop, &tokens.access, &[]).await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn implied_scopes_count() {
    let more = "[scopes.catalogue]\n'write:x' = 'W'\n'read:x' = 'R'\n[scopes.implications]\nwrite_implies_read = true";
    let sidecar = Sidecar::with(more).await;
    let client = sidecar.register(false, Introspects::Own, exchanging()).await;
    let scopes = Some("write:x".parse().unwrap());
    let changes = scopegate::store::ClientChanges { scopes, ..Default::default() };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &client.id), ("scope", "write:x")])).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let wide = sidecar.http().post_as(&client, "/token", &body).await.tokens().access;
    let narrow = exchange(&sidecar, &client, &wide, &[("scope", "read:x")]).await.access_token();
    assert_eq!(sidecar.introspect(&narrow).await.scope, "read:x");
    exchange(&sidecar, &client, &narrow, &[("scope", "write:x")]).await.assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn resources_and_the_key_can_be_narrowed_and_not_widened() {
    let sidecar = ready().await;
    let plain = sidecar.tokens().await.access;
    exchange(&sidecar, &sidecar.shop, &plain, &[("resource", "https://r")]).await.assert_error(400, "invalid_target");
    let tokens = sidecar.tokens().await;
    let (key, other) = (Key::new(), Key::new());
    let bound = format!("jkt:{}", key.thumbprint());
    let variants = format!("a b\thttps://r https://s\t{bound}");
    // As if they had been asked for.
    sidecar.database().await.run(format!("UPDATE grants SET variants = '{variants}'")).await;
    let less = [("scope", "b"), ("resource", "https://s")];
    exchange(&sidecar, &sidecar.shop, &tokens.access, &less).await.assert_error(400, "invalid_dpop_proof");
    let foreign = proving(&sidecar, &other, &tokens.access, &less).await;
    foreign.assert_error(400, "invalid_dpop_proof");
    let narrow = proving(&sidecar, &key, &tokens.access, &less).await;
    assert_eq!(narrow.json()["token_type"], "DPoP");
    let narrow = narrow.access_token();
    let kept = sidecar.service.introspect(&narrow, &Sight::All).await.unwrap().active.unwrap();
    assert_eq!(kept.variant().to_string(), format!("b\thttps://s\t{bound}"));
    for (name, value) in [("resource", "https://r"), ("audience", "https://t")] {
        proving(&sidecar, &key, &narrow, &[(name, value)]).await.assert_error(400, "invalid_target");
    }
    proving(&sidecar, &key, &narrow, &[("audience", "https://s")]).await.access_token();

    let bearer = sidecar.tokens().await.access;
    let fresh = proving(&sidecar, &other, &bearer, &[("scope", "a")]).await.access_token();
    assert_eq!(
        sidecar.introspect(&fresh).await.cnf.unwrap().jkt,
        other.thumbprint(),
        "it is bound to who asked for it"
    );
    assert!(sidecar.introspect(&bearer).await.cnf.is_none());

    let variants = "a b\t\tx5t#S256:certificate";
    let certified = sidecar.tokens().await;
    sidecar.database().await.run(format!("UPDATE grants SET variants = '{variants}'")).await;
    exchange(&sidecar, &sidecar.shop, &certified.access, &[]).await.assert_error(400, "invalid_dpop_proof");
    proving(&sidecar, &key, &certified.access, &[]).await.assert_error(400, "invalid_dpop_proof");
}
