//! What an operator sets for one client: lifetimes, grant types, and what a refresh does to the refresh token.

use scopegate::domain::client::{ClientMetadata, GrantType, Introspects, RefreshTokenRotation};
use scopegate::service::clients::ClientError;
use scopegate::store::ClientChanges;

use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER, query_of};

const DAY: i64 = 86_400;

fn keeping() -> ClientMetadata {
    ClientMetadata { refresh_token_rotation: RefreshTokenRotation::Keep, ..ClientMetadata::default() }
}

async fn redeem(sidecar: &Sidecar, client: &Registered) -> Reply {
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &client.id)])).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    sidecar.http().post_as(client, "/token", &body).await
}

async fn refresh(sidecar: &Sidecar, client: &Registered, token: &str, scope: &str) -> Reply {
    let body = [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
    sidecar.http().post_as(client, "/token", &body).await
}

#[tokio::test]
async fn a_client_has_lifetimes_of_its_own() {
    let sidecar = Sidecar::start().await;
    let metadata = ClientMetadata {
        access_token_lifetime: Some(50),
        refresh_token_idle_lifetime: Some(100),
        refresh_token_absolute_lifetime: Some(250),
        ..ClientMetadata::default()
    };
    let client = sidecar.register(false, Introspects::Own, metadata).await;
    let reply = redeem(&sidecar, &client).await;
    assert_eq!(reply.json()["expires_in"], 50);
    assert_eq!(sidecar.redeem(&sidecar.code().await).await.json()["expires_in"], 600, "others keep theirs");
    let idle = reply.tokens();
    let exp = sidecar.introspect(&idle.refresh).await;
    assert_eq!(exp.exp - exp.iat, 100);
    sidecar.clock.advance(50);
    assert!(!sidecar.is_active(&idle.access).await);
    sidecar.clock.advance(50);
    assert!(!sidecar.is_active(&idle.refresh).await);
    refresh(&sidecar, &client, &idle.refresh, "").await.assert_error(400, "invalid_grant");

    let mut tokens = redeem(&sidecar, &client).await.tokens();
    for _ in 0..3 {
        sidecar.clock.advance(80);
        tokens = refresh(&sidecar, &client, &tokens.refresh, "").await.tokens();
    }
    assert!(sidecar.is_active(&tokens.access).await);
    sidecar.clock.advance(10);
    assert!(!sidecar.is_active(&tokens.access).await, "no access token outlives its grant");
    refresh(&sidecar, &client, &tokens.refresh, "").await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn f4_a_policy_that_changes_does_not_change_what_a_repeated_refresh_gets() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.tokens().await;
    let second = sidecar.refresh(&first.refresh).await.tokens();
    for metadata in [
        ClientMetadata { access_token_lifetime: Some(50), ..ClientMetadata::default() },
        ClientMetadata { refresh_token_idle_lifetime: Some(5), ..ClientMetadata::default() },
        ClientMetadata { refresh_token_absolute_lifetime: Some(5), ..ClientMetadata::default() },
        keeping(),
    ] {
        sidecar.change(&sidecar.shop, metadata).await;
        assert_eq!(sidecar.refresh(&first.refresh).await.tokens(), second);
    }
    sidecar
        .change(&sidecar.shop, ClientMetadata { access_token_lifetime: Some(50), ..ClientMetadata::default() })
        .await;
    let reply = sidecar.refresh(&second.refresh).await;
    assert_eq!(reply.json()["expires_in"], 50, "the next rotation has the new policy");
    sidecar.clock.advance(50);
    assert!(sidecar.is_active(&second.access).await, "an issued token keeps its lifetime");
    assert!(!sidecar.is_active(&reply.tokens().access).await);
}

#[tokio::test]
async fn t17_a16_a_client_uses_the_grant_types_alone_that_it_has() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let machine = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    for grant_type in GrantType::ALL {
        let reply = sidecar.http().post_as(&sidecar.shop, "/token", &[("grant_type", grant_type.as_str())]).await;
        match grant_type {
            GrantType::AuthorizationCode | GrantType::RefreshToken => reply.assert_error(400, "invalid_request"),
            _ => reply.assert_error(400, "unauthorized_client"),
        }
    }
    sidecar
        .http()
        .post_as(&sidecar.shop, "/token", &[("grant_type", "password")])
        .await
        .assert_error(400, "unsupported_grant_type");
    refresh(&sidecar, &machine, &tokens.refresh, "").await.assert_error(400, "unauthorized_client");
    let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[("client_id", &machine.id)]))).await;
    let location = reply.header("location").unwrap();
    assert!(location.starts_with(REDIRECT_URI));
    assert_eq!(query_of(location, "error").as_deref(), Some("unauthorized_client"));
}

#[tokio::test]
async fn a_client_without_refresh_tokens_gets_none() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.register_for(&[GrantType::AuthorizationCode]).await;
    let access = redeem(&sidecar, &client).await.access_token();
    sidecar.clock.advance(599);
    assert!(sidecar.is_active(&access).await);
    sidecar.clock.advance(1);
    assert!(!sidecar.is_active(&access).await);
}

#[tokio::test]
async fn a_kept_refresh_token_stays_and_each_use_puts_off_its_end() {
    let sidecar =
        Sidecar::with("[tokens]\nrefresh_token_idle_lifetime = 100\nrefresh_token_absolute_lifetime = 1000").await;
    let client = sidecar.register(false, Introspects::Own, keeping()).await;
    let first = redeem(&sidecar, &client).await.tokens();
    let mut accesses = vec![first.access.clone()];
    for (scope, expected) in [("", "a b"), ("a", "a"), ("a", "a"), ("b", "b"), ("", "a b")] {
        let tokens = refresh(&sidecar, &client, &first.refresh, scope).await.tokens();
        assert_eq!((&tokens.refresh, tokens.scope.as_str()), (&first.refresh, expected));
        assert_eq!(sidecar.introspect(&tokens.access).await.scope, expected);
        assert!(!accesses.contains(&tokens.access), "each access token is another one, in the same second, too");
        accesses.push(tokens.access);
        sidecar.clock.advance(50);
    }
    let mut names = Vec::new();
    for access in &accesses {
        let answer = sidecar.introspect(access).await;
        assert!(answer.active && !names.contains(&answer.jti), "{}", answer.jti);
        names.push(answer.jti);
    }
    refresh(&sidecar, &client, &first.refresh, "c").await.assert_error(400, "invalid_scope");
    sidecar.clock.advance(49);
    assert!(sidecar.is_active(&first.refresh).await);
    sidecar.clock.advance(1);
    assert!(!sidecar.is_active(&first.refresh).await);
    refresh(&sidecar, &client, &first.refresh, "").await.assert_error(400, "invalid_grant");

    let second = redeem(&sidecar, &client).await.tokens();
    let mut last = second.access.clone();
    for _ in 0..12 {
        sidecar.clock.advance(80);
        last = refresh(&sidecar, &client, &second.refresh, "").await.tokens().access;
    }
    sidecar.clock.advance(40);
    refresh(&sidecar, &client, &second.refresh, "").await.assert_error(400, "invalid_grant");
    assert!(!sidecar.is_active(&last).await, "no access token outlives its grant");

    let third = redeem(&sidecar, &client).await.tokens();
    let access = refresh(&sidecar, &client, &third.refresh, "").await.tokens().access;
    sidecar.http().post_as(&client, "/revoke", &[("token", &access)]).await;
    for dead in [&access, &third.access, &third.refresh] {
        assert!(!sidecar.is_active(dead).await);
    }
    refresh(&sidecar, &client, &third.refresh, "").await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_public_client_always_rotates_and_is_no_machine() {
    let sidecar = Sidecar::start().await;
    let id = sidecar.app.id.parse::<scopegate::domain::client::ClientId>().unwrap();
    let change = async |metadata| {
        let changes = ClientChanges { metadata: Some(metadata), ..ClientChanges::default() };
        sidecar.service.update_client(id.clone(), changes).await.err()
    };
    let with =
        |grant_types: &[GrantType]| ClientMetadata { grant_types: grant_types.to_vec(), ..ClientMetadata::default() };
    assert!(matches!(change(keeping()).await, Some(ClientError::PublicKeep)));
    assert!(matches!(change(with(&[GrantType::ClientCredentials])).await, Some(ClientError::PublicMachine)));
    assert!(matches!(change(with(&[])).await, Some(ClientError::NoGrantType)));
    let endless = ClientMetadata { access_token_lifetime: Some(0), ..ClientMetadata::default() };
    assert!(matches!(change(endless).await, Some(ClientError::Lifetime)));

    // Whatever the database says.
    let metadata = r#"{"refresh_token_rotation":"keep","grant_types":["authorization_code","refresh_token","client_credentials"]}"#;
    sidecar.database().await.run(format!("UPDATE clients SET metadata = '{metadata}' WHERE id = '{id}'")).await;
    let first = redeem(&sidecar, &sidecar.app).await.tokens();
    let second = refresh(&sidecar, &sidecar.app, &first.refresh, "").await.tokens();
    assert_ne!(first.refresh, second.refresh);
    let body = [("grant_type", "client_credentials")];
    sidecar.http().post_as(&sidecar.app, "/token", &body).await.assert_error(400, "unauthorized_client");
}

#[tokio::test]
async fn f20_refreshing_for_a_year_adds_no_row() {
    let sidecar = Sidecar::with(&format!("[tokens]\nrefresh_token_absolute_lifetime = {}", 400 * DAY)).await;
    let kept = sidecar.register(false, Introspects::Own, keeping()).await;
    let mut rotated = sidecar.tokens().await;
    let first = redeem(&sidecar, &kept).await.tokens();
    let mut database = sidecar.database().await;
    let before = database.rows().await;
    let mut last = first.clone();
    for _ in 0..365 {
        sidecar.clock.advance(DAY);
        rotated = sidecar.refresh(&rotated.refresh).await.tokens();
        last = refresh(&sidecar, &kept, &first.refresh, "").await.tokens();
    }
    assert!(sidecar.is_active(&rotated.access).await && sidecar.is_active(&last.access).await);
    // The browser sessions have expired meanwhile, and may be pruned.
    assert!(database.rows().await <= before);
    assert_eq!(database.count("grants").await, 2);
}
