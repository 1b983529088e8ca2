//! What servers share in Redis, and that losing or spoiling it is never worse than a miss.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scopegate::domain::secret::MasterSecret;
use scopegate::facts::redis::{Endpoint, RedisMetrics, SharedCache, SharedKeys};
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::CacheStatus;
use tokio::sync::mpsc::unbounded_channel;

use crate::harness::{Redis, SECRET, Sidecar};

/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn configuration(url: &str) -> String {
    format!("[redis]\nurl = '{url}'\nkey_prefix = 'test:'\n")
}

/// Waits until a server has a connection to Redis, or has none.
async fn is_up(server: &Sidecar, up: u64) {
    let began = Instant::now();
    while server.metric("scopegate_redis_up").await != up {
        assert!(began.elapsed() < PATIENCE, "Redis is not {up}");
    }
}

async fn connected(more: &str) -> Sidecar {
    let server = Sidecar::with(more).await;
    is_up(&server, 1).await;
    server
}

async fn connected_beside(one: &Sidecar, more: &str) -> Sidecar {
    let server = one.beside_with(more).await;
    is_up(&server, 1).await;
    server
}

/// Whether a token is active, and where that was read.
async fn look_up(server: &Sidecar, token: &str) -> (bool, CacheStatus) {
    let answer = server.introspect(token).await;
    (answer.active, answer.cache_status())
}

/// A token that this server has looked up in the database.
async fn known_token(server: &Sidecar) -> String {
    let token = server.tokens().await.access;
    assert_eq!(look_up(server, &token).await, (true, CacheStatus::Store));
    token
}

/// Revokes a token, and has a later check of it come as far at any server.
async fn revoke(server: &Sidecar, token: &str) -> api::IntrospectRequest {
    let request =
        api::RevokeRequest { token: token.into(), mode: api::RevocationMode::Bounded.into(), ..Default::default() };
    let revoked = server.grpc().await.revoke(request).await.unwrap().into_inner();
    api::IntrospectRequest {
        token: token.into(),
        consistency: Some(api::Consistency { at_least_as_fresh: revoked.consistency_token }),
        ..Default::default()
    }
}

async fn is_dead(server: &Sidecar, request: &api::IntrospectRequest) -> bool {
    !server.grpc().await.introspect(request.clone()).await.unwrap().into_inner().active
}

/// What `one` looks up, `other` soon gets from Redis. Once is enough: on a loaded machine a reply may come too late.
async fn share(one: &Sidecar, other: &Sidecar) {
    let began = Instant::now();
    loop {
        let token = one.tokens().await.access;
        assert!(one.is_active(&token).await);
        let (active, source) = look_up(other, &token).await;
        assert!(active);
        if source == CacheStatus::Shared {
            return assert_eq!(look_up(other, &token).await, (true, CacheStatus::Local));
        }
        assert!(began.elapsed() < PATIENCE, "nothing comes from Redis");
    }
}

/// Two servers share facts and hear each other through this Redis.
async fn serves(url: &str, more: &str) {
    let configuration = configuration(url) + more;
    let one = connected(&configuration).await;
    let other = connected_beside(&one, &configuration).await;
    share(&one, &other).await;

    let (one, other) = (one.shared.clone().unwrap(), other.shared.clone().unwrap());
    let (sender, mut heard) = unbounded_channel();
    let subscription = tokio::spawn(async move {
        other.subscribe("hints", |message| sender.send(message).unwrap()).await;
    });
    let hears = async {
        while heard.is_empty() {
            one.publish("hints", "a hint").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        heard.recv().await
    };
    assert_eq!(tokio::time::timeout(PATIENCE, hears).await.unwrap().as_deref(), Some("a hint"));
    subscription.abort();
}

#[tokio::test]
async fn what_one_server_has_looked_up_another_gets_from_redis() {
    let redis = Redis::start().await;
    let one = connected(&configuration(&redis.url())).await;
    let other = connected_beside(&one, &configuration(&redis.url())).await;
    // On a loaded machine a reply may come too late, which is a miss.
    let mut misses = 0;
    loop {
        let token = known_token(&one).await;
        let operations = other.store_operations().await;
        if look_up(&other, &token).await == (true, CacheStatus::Shared) {
            assert_eq!(look_up(&other, &token).await, (true, CacheStatus::Local));
            assert_eq!(other.store_operations().await, operations, "nothing was read from the database");
            break;
        }
        misses += 1;
        assert!(misses < 20, "nothing comes from Redis");
    }
    for (tier, count) in [("local", 1), ("shared", 1), ("store", misses)] {
        assert_eq!(other.metric(&format!("scopegate_facts_total{{tier=\"{tier}\"}}")).await, count, "{tier}");
    }
    let key = &redis.keys().await[0];
    assert!(key.starts_with("test:f:"), "{key}");
    assert!((1..=600_000).contains(&redis.ask::<i64>(&["PTTL", key]).await));
}

#[tokio::test]
async fn rg90_a_user_with_few_permissions_is_enough() {
    let permissions = "on >s3cret resetchannels ~test:* &test:* -@all +get +set +publish +subscribe +ping";
    let user: Vec<&str> = ["--user", "scopegate"].into_iter().chain(permissions.split(' ')).collect();
    let redis = Redis::start_with(&user).await;
    serves(&redis.url_as("scopegate:s3cret@"), "").await;
}

#[tokio::test]
async fn redis_may_be_behind_a_unix_socket() {
    let redis = Redis::start_with(&["--unixsocket", "redis.sock"]).await;
    let socket = redis.directory.path().join("redis.sock");
    serves(&format!("redis+unix://{}?pass=p%40ss", socket.display()), "").await;
}

#[tokio::test]
async fn redis_may_be_behind_a_sentinel() {
    let master = Redis::start().await;
    let sentinel = Redis::sentinel(&master).await;
    let away = "127.0.0.1:1";
    serves(&format!("redis+sentinel://:p%40ss@{away},127.0.0.1:{}/mymaster", sentinel.port), "").await;
}

#[tokio::test]
async fn redis_may_be_a_cluster() {
    let node = Redis::cluster().await;
    serves(&format!("redis+cluster://:p%40ss@127.0.0.1:{}", node.port), "").await;
}

#[tokio::test]
async fn redis_may_speak_tls_and_has_to_prove_who_it_is() {
    let (redis, port) = Redis::with_tls().await;
    let url = format!("rediss://:p%40ss@127.0.0.1:{port}");
    let authority = redis.directory.path().join("ca.pem");
    serves(&url, &format!("ca_path = '{}'\n", authority.display())).await;

    let stranger = Sidecar::with(&configuration(&url)).await;
    let began = Instant::now();
    while stranger.metric("scopegate_redis_errors_total").await == 0 {
        assert!(began.elapsed() < PATIENCE);
    }
    is_up(&stranger, 0).await;
    known_token(&stranger).await;
}

#[tokio::test]
async fn what_redis_lost_or_brings_back_is_only_a_miss() {
    let mut redis = Redis::start().await;
    let configuration = configuration(&redis.url());
    let one = connected(&configuration).await;
    let other = connected_beside(&one, &configuration).await;
    let (live, revoked) = (known_token(&one).await, known_token(&one).await);
    redis.holds(2).await;
    let () = redis.ask(&["SAVE"]).await;
    let check = revoke(&one, &revoked).await;

    let () = redis.ask(&["FLUSHALL"]).await;
    assert!(one.is_active(&live).await && other.is_active(&live).await);
    assert!(is_dead(&one, &check).await && is_dead(&other, &check).await);

    redis.restart().await;
    redis.holds(2).await;
    let third = connected_beside(&one, &configuration).await;
    assert_eq!(
        look_up(&third, &revoked).await,
        (false, CacheStatus::Shared),
        "the log outweighs what Redis brings back"
    );
    assert_eq!(look_up(&third, &live).await, (true, CacheStatus::Shared));
    is_up(&one, 1).await;
    is_up(&other, 1).await;
    for server in [&one, &other] {
        assert!(server.is_active(&live).await && !server.is_active(&revoked).await);
    }
}

#[tokio::test]
async fn rg10_garbage_in_redis_is_only_a_miss_and_is_replaced() {
    let redis = Redis::start().await;
    let configuration = configuration(&redis.url());
    let one = connected(&configuration).await;
    let other = connected_beside(&one, &configuration).await;
    let replace = async |key: &str, value: &[u8]| {
        let mut connection =
            redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let () = redis::cmd("SET").arg(key).arg(value).query_async(&mut connection).await.unwrap();
    };
    for spoil in ["flip", "truncate", "extend", "swap", "list", "random", "empty", "large"] {
        // What the servers still write of the round before is written within their budget, or not at all.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let () = redis.ask(&["FLUSHALL"]).await;
        let (live, revoked) = (known_token(&one).await, known_token(&one).await);
        redis.holds(2).await;
        let check = revoke(&one, &revoked).await;
        let keys = redis.keys().await;
        let values: Vec<Vec<u8>> = redis.ask(&["MGET", &keys[0], &keys[1]]).await;
        for (key, value, other) in [(&keys[0], &values[0], &values[1]), (&keys[1], &values[1], &values[0])] {
            match spoil {
                "flip" => {
                    let mut value = value.clone();
                    value[5] ^= 1;
                    replace(key, &value).await;
                }
                "truncate" => replace(key, &value[..value.len() - 1]).await,
                "extend" => replace(key, &[&value[..], b"\0"].concat()).await,
                "swap" => replace(key, other).await,
                "list" => {
                    let () = redis.ask(&["DEL", key]).await;
                    let () = redis.ask(&["RPUSH", key, "x"]).await;
                }
                "random" => replace(key, &[0x5A; 64]).await,
                "empty" => replace(key, b"").await,
                _ => replace(key, &vec![1; 1 << 20]).await,
            }
        }
        assert_eq!(look_up(&other, &live).await, (true, CacheStatus::Store), "{spoil}");
        assert!(is_dead(&other, &check).await, "{spoil}");
    }
    assert!(other.metric("scopegate_redis_unusable_total").await > 0);
    share(&one, &other).await;

    // What was spoilt is good again: the last value that this server replaces is read by the next.
    let token = known_token(&one).await;
    let began = Instant::now();
    loop {
        for key in redis.keys().await {
            let () = redis.ask(&["SET", &key, "spoilt"]).await;
        }
        let reader = connected_beside(&one, &configuration).await;
        assert!(reader.is_active(&token).await);
        let next = connected_beside(&one, &configuration).await;
        if look_up(&next, &token).await == (true, CacheStatus::Shared) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it is not replaced");
    }
}

#[tokio::test]
async fn rg77_without_redis_every_check_is_still_answered_and_quickly() {
    let mut redis = Redis::start().await;
    let configuration = configuration(&redis.url());
    let one = connected(&configuration).await;
    let other = connected_beside(&one, &configuration).await;
    for pauses in [true, false] {
        let (mut live, mut revoked) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            live.push(known_token(&one).await);
        }
        for _ in 0..2 {
            let token = known_token(&one).await;
            revoked.push(revoke(&one, &token).await);
        }
        if pauses {
            redis.pause().await;
        } else {
            redis.stop().await;
        }
        let errors = other.metric("scopegate_redis_errors_total").await;
        let began = Instant::now();
        for token in &live {
            assert!(other.is_active(token).await);
        }
        for check in &revoked {
            assert!(is_dead(&other, check).await);
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let errors = other.metric("scopegate_redis_errors_total").await - errors;
        assert!(errors < 10, "after a few failures Redis is not asked any more: {errors}");

        is_up(&other, 0).await;
        let late = one.beside_with(&configuration).await;
        assert!(late.is_active(&live[0]).await, "a server starts without Redis");
        if pauses {
            redis.resume().await;
        } else {
            redis.restart().await;
        }
        for server in [&one, &other, &late] {
            is_up(server, 1).await;
        }
        share(&one, &other).await;
    }
}

#[tokio::test]
async fn a_revoked_grant_is_not_revived_by_its_old_facts_in_redis() {
    let redis = Redis::start().await;
    let configuration = configuration(&redis.url());
    let one = connected(&configuration).await;
    let token = known_token(&one).await;
    redis.holds(1).await;
    revoke(&one, &token).await;
    let old: Vec<u8> = redis.ask(&["GET", &redis.keys().await[0]]).await;
    assert!(!old.is_empty(), "Redis still has the grant as it was");
    let later = connected_beside(&one, &configuration).await;
    assert_eq!(look_up(&later, &token).await, (false, CacheStatus::Shared), "the log says what Redis does not");

    let live = known_token(&one).await;
    redis.holds(2).await;
    for _ in 0..2 {
        revoke(&one, &known_token(&one).await).await;
    }
    one.database().await.execute("DELETE FROM revocation_log WHERE seq < 3").await;
    let latest = connected_beside(&one, &configuration).await;
    assert_eq!(
        look_up(&latest, &token).await,
        (false, CacheStatus::Store),
        "facts from before what the log still holds"
    );
    assert_eq!(look_up(&latest, &live).await, (true, CacheStatus::Store));
}

#[tokio::test]
async fn a_new_scope_subset_is_known_at_a_server_that_gets_older_facts() {
    let redis = Redis::start().await;
    let configuration = configuration(&redis.url());
    let one = connected(&configuration).await;
    let other = connected_beside(&one, &configuration).await;
    let tokens = one.tokens().await;
    assert!(one.is_active(&tokens.access).await);
    redis.holds(1).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh), ("scope", "a")];
    let narrowed = one.http().post_as(&one.shop, "/token", &form).await.tokens();
    let answer = other.introspect(&narrowed.access).await;
    assert_eq!((answer.active, answer.scope.as_str(), answer.cache_status()), (true, "a", CacheStatus::Store));
    assert_eq!(redis.keys().await.len(), 1, "the older facts are replaced, under the same name");
    // The facts that `one` has in its own cache are too old as well. What it gets from Redis now is not.
    let (active, source) = look_up(&one, &narrowed.access).await;
    assert!(active && [CacheStatus::Shared, CacheStatus::Store].contains(&source), "{source:?}");
}

#[tokio::test]
async fn a_subscription_survives_a_restart_of_redis() {
    let mut redis = Redis::start().await;
    let endpoint = Endpoint::parse(&redis.url(), None).unwrap();
    let keys = SharedKeys::derive(&MasterSecret::from_base64(SECRET).unwrap());
    let shared = Arc::new(SharedCache::new(endpoint, "test:", keys, RedisMetrics::default()));
    let (sender, mut heard) = unbounded_channel();
    let (keeping, subscribing) = (shared.clone(), shared.clone());
    let keeper = tokio::spawn(async move { keeping.run().await });
    let subscription = tokio::spawn(async move {
        subscribing.subscribe("hints", |message| sender.send(message).unwrap()).await;
    });
    for message in ["before", "after"] {
        let hears = async {
            loop {
                shared.publish("hints", message).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                while let Ok(heard) = heard.try_recv() {
                    if heard == message {
                        return;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, hears).await.expect(message);
        redis.restart().await;
    }
    subscription.abort();
    keeper.abort();
}
