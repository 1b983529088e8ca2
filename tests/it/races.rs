//! Revocations that race with everything that could undo them, thousands of times: nothing comes back, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use api::batch_revoke_request::Target;
use scopegate::effects::Effects;
use scopegate::proto::scopegate::v1 as api;

use crate::harness::{Reply, Sidecar, Tokens, query_of};

/// Rounds of each race.
const ROUNDS: usize = 1_000;
/// Rounds that run at the same time.
const AT_ONCE: usize = 8;

/// Two servers on one database.
struct Pair {
    one: Sidecar,
    other: Sidecar,
}

async fn pair() -> Arc<Pair> {
    let one = Sidecar::start().await;
    let other = one.beside().await;
    Arc::new(Pair { one, other })
}

/// Runs the rounds of a race, each with a delay of its own of up to two milliseconds.
async fn race<F: Future<Output = ()> + Send + 'static>(round: impl Fn(usize, Duration) -> F + Send + Sync + 'static) {
    let round = Arc::new(round);
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|lane| {
            let round = round.clone();
            tokio::spawn(async move {
                for number in (lane..ROUNDS).step_by(AT_ONCE) {
                    let random = u16::from_be_bytes(Effects::system().random_bytes());
                    round(number, Duration::from_micros(u64::from(random) % 2_000)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn after<T>(delay: Duration, work: impl Future<Output = T>) -> T {
    tokio::time::sleep(delay).await;
    work.await
}

async fn end(sidecar: &Sidecar, target: Target) {
    let request = api::BatchRevokeRequest { target: Some(target), mode: api::RevocationMode::Bounded.into() };
    sidecar.grpc().await.batch_revoke(request).await.unwrap();
}

impl Pair {
    /// What the token endpoint gave is dead everywhere in the end, or it gave nothing.
    async fn assert_dead(&self, reply: Reply) {
        if reply.status != 200 {
            reply.assert_error(400, "invalid_grant");
            return;
        }
        self.assert_tokens_dead(&reply.tokens()).await;
    }

    async fn assert_tokens_dead(&self, tokens: &Tokens) {
        assert!(!self.one.is_active(&tokens.access).await && !self.one.is_active(&tokens.refresh).await);
        let began = std::time::Instant::now();
        while self.other.is_active(&tokens.access).await {
            assert!(began.elapsed() < Duration::from_secs(2), "the other server accepts it for ever");
        }
        self.one.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg7_a_fill_that_races_with_a_revocation_revives_nothing() {
    let pair = pair().await;
    let tokens = Arc::new(pair.one.many_tokens(ROUNDS).await);
    race(move |number, delay| {
        let (pair, tokens) = (pair.clone(), tokens.clone());
        async move {
            let token = &tokens[number].access;
            // Nobody has it cached: both servers read its facts while it is revoked.
            tokio::join!(
                after(delay, pair.one.revoke(token, api::RevocationMode::Bounded)),
                after(Duration::from_millis(1), pair.one.is_active(token)),
                after(Duration::from_millis(1), pair.other.is_active(token)),
            );
            pair.assert_tokens_dead(&tokens[number]).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_refresh_that_races_with_a_revocation_revives_nothing() {
    let pair = pair().await;
    let tokens = Arc::new(pair.one.many_tokens(ROUNDS).await);
    race(move |number, delay| {
        let (pair, tokens) = (pair.clone(), tokens.clone());
        async move {
            let (_, reply) = tokio::join!(
                after(delay, pair.one.revoke(&tokens[number].access, api::RevocationMode::Bounded)),
                after(Duration::from_millis(1), pair.other.refresh(&tokens[number].refresh)),
            );
            pair.assert_dead(reply).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_a_code_that_is_redeemed_while_its_grant_is_revoked_gives_no_live_token() {
    let pair = pair().await;
    race(move |_, delay| {
        let pair = pair.clone();
        async move {
            let mut browser = pair.one.browser();
            let code = query_of(&browser.approve(&pair.one.request(&[])).await, "code").unwrap();
            let session = scopegate::domain::secret::SecretHash::of(browser.cookies.values().next().unwrap());
            let session = scopegate::domain::grant::SessionId::of(&session).to_string();
            let (reply, ()) = tokio::join!(
                after(Duration::from_millis(1), pair.other.redeem(&code)),
                after(delay, end(&pair.one, Target::SessionId(session))),
            );
            pair.assert_dead(reply).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_revoking_all_while_more_is_granted_ends_what_was_before_and_nothing_after() {
    let pair = pair().await;
    let subject = pair.one.introspect(&pair.one.tokens().await.access).await.sub;
    let mut browser = pair.other.browser();
    browser.approve(&pair.other.request(&[])).await;
    // One after the other, because each round revokes everything.
    for round in 0..ROUNDS / 2 {
        let before =
            pair.other.redeem(&query_of(&browser.approve(&pair.other.request(&[])).await, "code").unwrap()).await;
        let request = pair.other.request(&[]);
        let random = u16::from_be_bytes(Effects::system().random_bytes());
        let delay = Duration::from_micros(u64::from(random) % 2_000);
        let (location, ()) =
            tokio::join!(browser.approve(&request), after(delay, end(&pair.one, Target::Subject(subject.clone()))),);
        pair.assert_tokens_dead(&before.tokens()).await;
        // The one in between is one or the other, and the same everywhere.
        let between = pair.other.redeem(&query_of(&location, "code").unwrap()).await;
        if between.status == 200 {
            let tokens = between.tokens();
            if pair.one.is_active(&tokens.access).await {
                assert!(pair.other.is_active(&tokens.access).await && pair.other.is_active(&tokens.refresh).await);
            } else {
                pair.assert_tokens_dead(&tokens).await;
            }
        }
        let after = pair.other.redeem(&query_of(&browser.approve(&request).await, "code").unwrap()).await.tokens();
        assert!(pair.one.is_active(&after.access).await, "round {round}: granted afterwards");
        assert!(pair.other.is_active(&after.access).await && pair.other.is_active(&after.refresh).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg75_ten_thousand_requests_that_are_dropped_leave_nothing_half_done() {
    const REQUESTS: usize = 10_000;
    const GRANTS: usize = 8;
    let sidecar = Arc::new(Sidecar::start().await);
    let lanes = sidecar.many_tokens(GRANTS).await;
    let tasks: Vec<_> = lanes
        .into_iter()
        .map(|tokens| {
            let sidecar = sidecar.clone();
            tokio::spawn(async move {
                let mut tokens = tokens;
                let mut dropped = 0;
                for number in 0..REQUESTS / GRANTS {
                    let random = u16::from_be_bytes(Effects::system().random_bytes());
                    let patience = Duration::from_micros(u64::from(random) % 3_000);
                    let outcome = match number % 4 {
                        0 => {
                            tokio::time::timeout(patience, async { drop(sidecar.refresh(&tokens.refresh).await) }).await
                        }
                        1 => {
                            tokio::time::timeout(patience, async { drop(sidecar.introspect(&tokens.refresh).await) })
                                .await
                        }
                        2 => {
                            tokio::time::timeout(patience, async { drop(sidecar.check(&tokens.access, &["a"]).await) })
                                .await
                        }
                        _ => {
                            let unknown = [("grant_type", "authorization_code"), ("code", tokens.refresh.as_str())];
                            tokio::time::timeout(patience, async {
                                drop(sidecar.http().post_as(&sidecar.shop, "/token", &unknown).await);
                            })
                            .await
                        }
                    };
                    dropped += usize::from(outcome.is_err());
                    // Whatever became of it, the client that asks again goes on: with the successor, or as the first.
                    if number % 40 == 39 {
                        // What was dropped may still be on its way, and would be a replay after the next rotation.
                        tokio::time::sleep(Duration::from_millis(250)).await;
                        tokens = sidecar.refresh(&tokens.refresh).await.tokens();
                    }
                }
                (sidecar.refresh(&tokens.refresh).await.tokens(), dropped)
            })
        })
        .collect();
    let mut dropped = 0;
    for task in tasks {
        let (tokens, number) = task.await.unwrap();
        assert!(sidecar.is_active(&tokens.access).await && sidecar.is_active(&tokens.refresh).await);
        dropped += number;
    }
    println!("{dropped} of {REQUESTS} requests were dropped on their way");
    assert!(dropped > REQUESTS / 4, "{dropped}");
    let mut database = sidecar.database().await;
    assert_eq!(database.count("grants WHERE state <> 'active'").await, 0, "no grant was lost");
    assert_eq!(database.open_transactions().await, 0);
    sidecar.revoke(&sidecar.tokens().await.access, api::RevocationMode::Strict).await;
}
