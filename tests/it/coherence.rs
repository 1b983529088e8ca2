//! How fast a revocation reaches every server, healthy and not, and that none is ever late. The figures are printed:
//! `tests/with-postgres.sh cargo test --release --test it coherence -- --nocapture --test-threads 1`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::RevocationMode::{Bounded, Strict};
use scopegate::effects::Effects;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::harness::{Database, Line, Proxy, Redis, Sidecar, Target, line};

/// The lease: no check that begins so long after a revocation has returned may be answered "active".
const LEASE: Duration = Duration::from_secs(1);
/// Revocations that are under way at the same time.
const AT_ONCE: usize = 20;

type Grpc = TokenServiceClient<Channel>;

/// Servers on one database, and a connection to each.
struct Deployment {
    sidecars: Vec<Sidecar>,
    grpc: Vec<Grpc>,
}

impl Deployment {
    async fn of(sidecars: Vec<Sidecar>) -> Arc<Self> {
        let mut grpc = Vec::new();
        for sidecar in &sidecars {
            grpc.push(sidecar.grpc().await);
        }
        Arc::new(Self { sidecars, grpc })
    }

    /// Three, each with more configuration.
    async fn three(more: [&str; 3]) -> Arc<Self> {
        let one = Sidecar::with(more[0]).await;
        let two = one.beside_with(more[1]).await;
        let three = one.beside_with(more[2]).await;
        Self::of(vec![one, two, three]).await
    }

    /// More where the engine is for many servers.
    async fn revocations(&self) -> usize {
        if self.sidecars[0].database().await.is_shared() { 1_000 } else { 100 }
    }

    /// Tokens that every server has in its cache.
    async fn cached_tokens(&self, number: usize) -> Vec<String> {
        let tokens: Vec<String> =
            self.sidecars[0].many_tokens(number).await.into_iter().map(|tokens| tokens.access).collect();
        for grpc in &self.grpc {
            for token in &tokens {
                assert_eq!(is_active(&mut grpc.clone(), token).await, Ok(true));
            }
        }
        tokens
    }

    /// Revokes each token at one of the servers. How long after the call had returned the last check began that was answered "active"
    /// at another one, or zero; one figure per revocation, in ascending order.
    async fn staleness(self: &Arc<Self>, tokens: Vec<String>, mode: api::RevocationMode) -> Vec<Duration> {
        let chunks: Vec<Vec<String>> = tokens.chunks(tokens.len().div_ceil(AT_ONCE)).map(<[String]>::to_vec).collect();
        let tasks: Vec<_> = chunks
            .into_iter()
            .map(|tokens| {
                let deployment = self.clone();
                tokio::spawn(async move {
                    let mut figures = Vec::new();
                    for token in tokens {
                        figures.push(deployment.staleness_of(&token, mode).await);
                    }
                    figures
                })
            })
            .collect();
        let mut figures = Vec::new();
        for task in tasks {
            figures.extend(task.await.unwrap());
        }
        figures.sort();
        figures
    }

    async fn staleness_of(&self, token: &str, mode: api::RevocationMode) -> Duration {
        let chosen = usize::from(Effects::system().random_bytes::<1>()[0]) % self.grpc.len();
        let request = api::RevokeRequest { token: token.into(), mode: mode.into(), ..Default::default() };
        self.grpc[chosen].clone().revoke(request).await.unwrap();
        let returned = Instant::now();
        let mut stale = Duration::ZERO;
        for (index, grpc) in self.grpc.iter().enumerate() {
            loop {
                let began = returned.elapsed();
                // Not known is not active.
                if is_active(&mut grpc.clone(), token).await != Ok(true) {
                    break;
                }
                assert_ne!(index, chosen, "the server that revoked it accepts it");
                stale = stale.max(began);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        stale
    }
}

async fn is_active(grpc: &mut Grpc, token: &str) -> Result<bool, Code> {
    let request = api::IntrospectRequest { token: token.into(), ..Default::default() };
    grpc.introspect(request).await.map(|answer| answer.into_inner().active).map_err(|status| status.code())
}

/// Prints p50, p99 and the greatest of figures in ascending order, and asserts the bound.
#[track_caller]
fn report(condition: &str, figures: &[Duration]) {
    let at = |part: usize| figures[(figures.len() - 1) * part / 100];
    let (half, most, last) = (at(50), at(99), at(100));
    println!("{:>5} revocations, {condition}: p50 {half:.1?}, p99 {most:.1?}, max {last:.1?}", figures.len());
    assert!(last <= LEASE, "{condition}: accepted {last:?} after it was revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_every_server_within_the_lease_whatever_redis_does() {
    let mut redis = Redis::start().await;
    let line = Proxy::to(Target::Tcp(format!("127.0.0.1:{}", redis.port))).await;
    let with_redis = |url: &str| format!("[redis]\nurl = '{url}'");
    let (direct, by_line) = (with_redis(&redis.url()), with_redis(&redis.url_at(line.port)));
    let deployment = Deployment::three([&direct, &direct, &by_line]).await;
    let number = deployment.revocations().await;
    for condition in ["healthy", "one server cut off from Redis", "Redis hangs", "Redis stopped"] {
        let tokens = deployment.cached_tokens(number).await;
        match condition {
            "one server cut off from Redis" => line.set(Line::Silent),
            "Redis hangs" => redis.pause().await,
            "Redis stopped" => {
                redis.resume().await;
                redis.stop().await;
            }
            _ => {}
        }
        report(condition, &deployment.staleness(tokens, Bounded).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_every_server_within_the_lease_when_hints_are_lost() {
    let silent = "[database]\nnotify = false";
    let deployment = Deployment::three([silent; 3]).await;
    let number = deployment.revocations().await;
    let tokens = deployment.cached_tokens(number).await;
    report("hints lost", &deployment.staleness(tokens, Bounded).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_tell_each_other_by_redis_too() {
    let redis = Redis::start().await;
    // A long lease, so that only a hint can be as fast, and nothing but Redis to carry it.
    let more = format!("[cache]\nlease = 30000\n[database]\nnotify = false\n[redis]\nurl = '{}'", redis.url());
    let deployment = Deployment::three([&more; 3].map(String::as_str)).await;
    let began = Instant::now();
    while redis.ask::<u64>(&["PUBLISH", "scopegate:revocations", "nonsense"]).await < 3 {
        assert!(began.elapsed() < 10 * LEASE, "they do not subscribe");
    }
    let tokens = deployment.cached_tokens(100).await;
    report("told by Redis alone", &deployment.staleness(tokens, Bounded).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_strict_revocation_no_server_accepts_the_token() {
    let deployment = Deployment::three(["", "", ""]).await;
    let number = deployment.revocations().await;
    if !deployment.sidecars[0].database().await.is_shared() {
        // SQLite is for one server: the promise is that server's.
        let alone = Deployment::of(vec![Sidecar::start().await]).await;
        let tokens = alone.cached_tokens(number).await;
        assert_eq!(alone.staleness(tokens, Strict).await.last(), Some(&Duration::ZERO));
        return;
    }
    let tokens = deployment.cached_tokens(number).await;
    let began = Instant::now();
    let stale = deployment.staleness(tokens, Strict).await;
    let each = began.elapsed() / u32::try_from(number.div_ceil(AT_ONCE)).unwrap();
    println!("{number:>5} strict revocations, {AT_ONCE} at a time: {each:.1?} each, with the checks at every server");
    assert_eq!(stale.last(), Some(&Duration::ZERO), "no check that begins after the call has returned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_from_the_database_says_that_it_does_not_know() {
    let one = Sidecar::start().await;
    // Without a server there is no line to cut: `a_server_that_cannot_read_the_log_says_so_after_the_lease_and_recovers`.
    let Some((line, through)) = line(one.directory.path()).await else { return };
    let deployment = Deployment::of(vec![one.beside_with(&through).await, one]).await;
    for state in [Line::Silent, Line::Closed] {
        let tokens = deployment.cached_tokens(20).await;
        line.set(state);
        let cut = Instant::now();
        let mut figures = Vec::new();
        for token in &tokens {
            // At the server that is well.
            let request = api::RevokeRequest { token: token.clone(), mode: Bounded.into(), ..Default::default() };
            deployment.grpc[1].clone().revoke(request).await.unwrap();
            let returned = Instant::now();
            let mut stale = Duration::ZERO;
            loop {
                let began = returned.elapsed();
                match is_active(&mut deployment.grpc[0].clone(), token).await {
                    Ok(true) => stale = stale.max(began),
                    Ok(false) => panic!("who told it?"),
                    Err(code) => {
                        assert!(matches!(code, Code::Unavailable), "{code:?}");
                        break;
                    }
                }
            }
            figures.push(stale);
        }
        assert!(cut.elapsed() < 20 * LEASE);
        figures.sort();
        report("cut off from the database", &figures);
        assert_eq!(is_active(&mut deployment.grpc[0].clone(), "garbage").await, Ok(false), "that is known");
        line.set(Line::Whole);
        let mended = Instant::now();
        for token in &tokens {
            loop {
                match is_active(&mut deployment.grpc[0].clone(), token).await {
                    Ok(active) => break assert!(!active, "it was revoked meanwhile"),
                    Err(_) => assert!(mended.elapsed() < 10 * LEASE, "it does not recover"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_a_client_with_a_million_grants_is_revoked_in_the_time_of_one() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let mut database = sidecar.database().await;
    let columns = "client_id, subject_id, variants, state, generation, created_at, created_seq, redirect_uri, code_challenge, \
                   failed_redemptions, refresh_serial, refresh_variant, rotated_at, expires_at, revoked_at, session_id";
    match &mut database {
        Database::Sqlite(_) => {
            let number = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)";
            database.run(format!("INSERT INTO grants (id, {columns}) {number} SELECT randomblob(16), {columns} FROM n, (SELECT * FROM grants LIMIT 1)")).await;
        }
        Database::Postgres(_) => {
            database.run(format!("INSERT INTO grants (id, {columns}) SELECT decode(md5(i::text), 'hex'), {columns} FROM generate_series(1, 1000000) i, (SELECT * FROM grants LIMIT 1) g")).await;
        }
    }
    assert_eq!(database.count("grants").await, 1_000_001);
    let mut single = Vec::new();
    for tokens in sidecar.many_tokens(21).await {
        let began = Instant::now();
        sidecar.revoke(&tokens.access, Bounded).await;
        single.push(began.elapsed());
    }
    single.sort();
    let target = api::batch_revoke_request::Target::ClientId(sidecar.shop.id.clone());
    let request = api::BatchRevokeRequest { target: Some(target), mode: Bounded.into() };
    let mut grpc = sidecar.grpc().await;
    let began = Instant::now();
    grpc.batch_revoke(request).await.unwrap();
    let all = began.elapsed();
    println!("revoking one grant: {:.1?} (median of 21); a client with 1,000,000: {all:.1?}", single[10]);
    assert!(!sidecar.is_active(&tokens.access).await);
    assert!(all < single[10] * 10 + Duration::from_millis(20), "{all:?} for all, {:?} for one", single[10]);
}
