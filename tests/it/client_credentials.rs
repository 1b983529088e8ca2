//! Tokens for a client itself (RFC 6749 §4.4).

use std::collections::HashSet;
use std::sync::Arc;

use scopegate::domain::client::{ClientMetadata, GrantType};
use scopegate::domain::revocation::Target;
use scopegate::store::ClientChanges;
use serde_json::Value;

use crate::dpop::{Key, post};
use crate::harness::{Registered, Reply, Sidecar};

async fn machine(sidecar: &Sidecar) -> Registered {
    sidecar.register_for(&[GrantType::ClientCredentials]).await
}

async fn ask(sidecar: &Sidecar, client: &Registered, scope: &str) -> Reply {
    sidecar.http().post_as(client, "/token", &[("grant_type", "client_credentials"), ("scope", scope)]).await
}

#[tokio::test]
async fn g1_g2_g3_a_confidential_client_gets_an_access_token_for_itself_and_no_refresh_token() {
    let sidecar = Sidecar::start().await;
    let client = machine(&sidecar).await;
    let reply = ask(&sidecar, &client, "a").await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let json = reply.json();
    assert_eq!(
        (&json["token_type"], &json["expires_in"], &json["scope"]),
        (&"Bearer".into(), &600.into(), &"a".into())
    );
    let token = reply.access_token();
    let answer = sidecar.introspect(&token).await;
    assert!(answer.active);
    assert_eq!((answer.sub, answer.client_id.as_str()), (format!("client:{}", client.id), client.id.as_str()));
    assert_eq!((answer.username.as_str(), answer.exp - answer.iat), ("", 600));
    let http = sidecar.http().post_as(&client, "/introspect", &[("token", &token)]).await.json();
    assert_eq!((&http["active"], http.get("username")), (&Value::Bool(true), None));
    assert_eq!(ask(&sidecar, &client, "").await.json()["scope"], "a b c", "without a scope, all that it may ask for");
    for scope in ["d", "a d", "\"", " "] {
        ask(&sidecar, &client, scope).await.assert_error(400, "invalid_scope");
    }
    sidecar.clock.advance(600);
    assert!(!sidecar.is_active(&token).await);

    sidecar
        .http()
        .post("/token", &[("grant_type", "client_credentials"), ("client_id", &client.id)])
        .await
        .assert_error(401, "invalid_client");
    for other in [&sidecar.shop, &sidecar.app] {
        ask(&sidecar, other, "a").await.assert_error(400, "unauthorized_client");
    }
}

#[tokio::test]
async fn a_machine_is_no_user_to_tell_of() {
    let sidecar = Sidecar::start().await;
    let client = machine(&sidecar).await;
    let changes = ClientChanges { scopes: Some("a openid profile".parse().unwrap()), ..ClientChanges::default() };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    let reply = ask(&sidecar, &client, "a openid profile").await;
    assert_eq!(reply.json()["scope"], "a");
    assert!(reply.json().get("id_token").is_none());
    let bearer = format!("Bearer {}", reply.access_token());
    let http = sidecar.http();
    let reply = http.send(http::Method::GET, "/userinfo", &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, 403);
    ask(&sidecar, &client, "openid").await.assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn ten_thousand_tokens_add_one_row() {
    let sidecar = Arc::new(Sidecar::start().await);
    let client = machine(&sidecar).await;
    let mut database = sidecar.database().await;
    let (before, subjects) = (database.rows().await, database.count("subjects").await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (sidecar, client) = (sidecar.clone(), client.clone());
            tokio::spawn(async move {
                let http = sidecar.http();
                let mut tokens = HashSet::new();
                for _ in 0..500 {
                    let body = [("grant_type", "client_credentials"), ("scope", "a")];
                    let token = http.post_as(&client, "/token", &body).await.access_token();
                    tokens.insert(token);
                    sidecar.clock.advance(1);
                }
                tokens
            })
        })
        .collect();
    let mut tokens = HashSet::new();
    for task in tasks {
        tokens.extend(task.await.unwrap());
    }
    assert_eq!(tokens.len(), 10_000, "each is another one, in the same second, too");
    assert_eq!(database.count("grants").await, 1);
    assert_eq!(database.count("subjects").await, subjects + 1, "and what names the client as a subject");
    assert_eq!(database.rows().await, before + 2);
    assert!(sidecar.is_active(&ask(&sidecar, &client, "a").await.access_token()).await);
    assert_eq!(database.count("grants").await, 1);
}

#[tokio::test]
async fn issuing_again_writes_nothing() {
    let sidecar = Sidecar::start().await;
    let client = machine(&sidecar).await;
    ask(&sidecar, &client, "a").await.access_token();
    let mut database = sidecar.database().await;
    database.hold_writes().await;
    ask(&sidecar, &client, "a").await.access_token();
    ask(&sidecar, &client, "b").await.assert_error(503, "temporarily_unavailable");
    database.execute("COMMIT").await;
}

#[tokio::test]
async fn a_revoked_token_is_dead_for_good_and_the_next_one_works() {
    let sidecar = Sidecar::start().await;
    let client = machine(&sidecar).await;
    let mut database = sidecar.database().await;
    let mut dead = Vec::new();
    for round in 0..3 {
        let token = ask(&sidecar, &client, "a").await.access_token();
        assert!(sidecar.is_active(&token).await);
        match round {
            0 => drop(sidecar.http().post_as(&client, "/revoke", &[("token", &token)]).await),
            1 => assert!(sidecar.service.revoke_now(Target::Client(client.id.parse().unwrap())).await.unwrap()),
            _ => {
                let id = client.id.parse().unwrap();
                sidecar.service.disable_client(id).await.unwrap();
                ask(&sidecar, &client, "a").await.assert_error(401, "invalid_client");
                sidecar.service.enable_client(client.id.parse().unwrap()).await.unwrap();
            }
        }
        dead.push(token);
        let next = ask(&sidecar, &client, "a").await.access_token();
        assert!(sidecar.is_active(&next).await, "round {round}");
        for token in &dead {
            assert!(!sidecar.is_active(token).await, "round {round}");
        }
    }
    assert_eq!(database.count("grants").await, 4, "one, and one more for each revocation");
}

#[tokio::test]
async fn i20_the_tokens_of_a_disabled_client_are_inactive() {
    let sidecar = Sidecar::start().await;
    let client = machine(&sidecar).await;
    let token = ask(&sidecar, &client, "a").await.access_token();
    sidecar.service.disable_client(client.id.parse().unwrap()).await.unwrap();
    assert!(!sidecar.is_active(&token).await);
}

#[tokio::test]
async fn a_grant_that_would_end_before_its_token_is_replaced_and_its_tokens_live_on() {
    let sidecar = Sidecar::with("[tokens]\nrefresh_token_absolute_lifetime = 1000").await;
    let client = machine(&sidecar).await;
    let first = ask(&sidecar, &client, "a").await.access_token();
    sidecar.clock.advance(1_000);
    let second = ask(&sidecar, &client, "a").await.access_token();
    sidecar.clock.advance(1);
    let reply = ask(&sidecar, &client, "a").await;
    assert_eq!(reply.json()["expires_in"], 600);
    assert!(!sidecar.is_active(&first).await);
    assert!(sidecar.is_active(&second).await && sidecar.is_active(&reply.access_token()).await);
    assert_eq!(sidecar.database().await.count("grants").await, 2);

    let metadata = ClientMetadata {
        grant_types: vec![GrantType::ClientCredentials],
        access_token_lifetime: Some(5_000),
        ..ClientMetadata::default()
    };
    sidecar.change(&client, metadata).await;
    let long = ask(&sidecar, &client, "a").await;
    assert_eq!(long.json()["expires_in"], 5_000);
    sidecar.clock.advance(4_999);
    assert!(sidecar.is_active(&long.access_token()).await);
}

#[tokio::test]
async fn scopes_of_a_machine_do_not_fill_the_database() {
    let sidecar = Sidecar::start().await;
    let client = machine(&sidecar).await;
    let (mut database, id) = (sidecar.database().await, &client.id);
    ask(&sidecar, &client, "a").await.access_token();
    let columns = "client_id, subject_id, variants, state, generation, created_at, created_seq, redirect_uri, code_challenge, \
                   failed_redemptions, refresh_serial, refresh_variant, rotated_at, expires_at";
    for number in 0..255 {
        let blob = format!("{number:032x}");
        let blob = if database.is_shared() { format!("'\\x{blob}'::bytea") } else { format!("x'{blob}'") };
        let copy = format!(
            "INSERT INTO grants (id, machine, {columns}) SELECT {blob}, '{number}', {columns} FROM grants WHERE length(machine) = 43 AND client_id = '{id}'"
        );
        database.run(copy).await;
    }
    ask(&sidecar, &client, "b").await.assert_error(400, "invalid_scope");
    ask(&sidecar, &client, "a").await.access_token();
}

#[tokio::test]
async fn a_machine_restricts_its_tokens_and_binds_them_to_its_keys() {
    let more = "[resources.catalogue]\n'https://r' = ['a']\n'https://s' = []";
    let sidecar = Sidecar::with(more).await;
    let client = machine(&sidecar).await;
    let ask = async |key: Option<&Key>, resource: &str| {
        let proof = key.map(|key| key.proof(&sidecar, "/token"));
        let body = [("grant_type", "client_credentials"), ("scope", "a b"), ("resource", resource)];
        post(&sidecar, &client, "/token", &proof.iter().map(String::as_str).collect::<Vec<_>>(), &body).await
    };
    ask(None, "https://t").await.assert_error(400, "invalid_target");
    let plain = ask(None, "https://r").await;
    assert_eq!((&plain.json()["scope"], &plain.json()["token_type"]), (&"a".into(), &"Bearer".into()));
    let plain = sidecar.introspect(&plain.access_token()).await;
    assert_eq!((plain.aud, plain.cnf), (vec!["https://r".to_owned()], None));

    // More keys than a grant has room for.
    let rows = sidecar.database().await.count("grants").await;
    let mut first = None;
    for _ in 0..260 {
        let key = Key::new();
        let reply = ask(Some(&key), "https://r").await;
        assert_eq!(reply.json()["token_type"], "DPoP");
        let token = reply.access_token();
        first.get_or_insert((token.clone(), key.thumbprint()));
        assert_eq!(sidecar.introspect(&token).await.cnf.unwrap().jkt, key.thumbprint());
    }
    assert_eq!(sidecar.database().await.count("grants").await, rows + 1);
    let (token, thumbprint) = first.unwrap();
    assert_eq!(sidecar.introspect(&token).await.cnf.unwrap().jkt, thumbprint);
}
