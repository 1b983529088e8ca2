//! Keeping the index up to date with the log that others write to: other servers, and an operator's `scopegate grant revoke`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use super::hints::Hints;
use super::index::RevocationIndex;
use super::replica::{Acknowledged, Divergence, Progress};
use crate::domain::error::Unavailable;
use crate::domain::revocation::Revocation;
use crate::effects::Effects;
use crate::store::{LiveLeases, Store};

/// How long a check waits for the log when the lease has ended.
const PATIENCE: Duration = Duration::from_millis(250);

/// Reads the log, applies it to the index, and holds the lease under which the index may be trusted.
pub struct Follower {
    store: Store,
    index: Arc<RevocationIndex>,
    hints: Hints,
    effects: Effects,
    /// The name under which this process says how far it has come.
    server: String,
    /// One round at a time: when the lease has ended, all who wait want the same one.
    round: Mutex<()>,
    /// How far the others had come when that was last read, and when the read was sent.
    acknowledgements: Mutex<Option<(Duration, LiveLeases)>>,
    hinted: Notify,
}

impl Follower {
    pub fn new(store: Store, index: Arc<RevocationIndex>, hints: Hints, effects: Effects) -> Self {
        let server = effects.random_name();
        Self {
            store,
            index,
            hints,
            effects,
            server,
            round: Mutex::default(),
            acknowledgements: Mutex::default(),
            hinted: Notify::new(),
        }
    }

    /// Whether "active" may be answered from the index as it is.
    pub fn lease_holds(&self) -> bool {
        self.index.lease_holds(self.effects.clock.boottime())
    }

    /// How long after a commit no server can still answer from before it: a lease, and what clocks and threads may differ by.
    pub fn bound(&self) -> Duration {
        bound(self.index.lease())
    }

    /// Makes sure that the lease holds, by reading the log if need be.
    pub async fn renew_lease(&self) -> Result<(), Unavailable> {
        let renewed = timeout(PATIENCE, async {
            let _round = self.round.lock().await;
            if self.lease_holds() { Ok(()) } else { self.full_round().await.map(drop) }
        });
        renewed.await.unwrap_or_else(|elapsed| Err(unavailable(elapsed)))
    }

    /// Applies everything that is in the log by now.
    pub async fn catch_up(&self) -> Result<(), Unavailable> {
        let _round = self.round.lock().await;
        self.read(None).await.map(drop)
    }

    /// Follows the log for ever: three times in a lease, and at once on a hint.
    pub async fn run(&self) {
        let mut interval = tokio::time::interval(self.index.lease() / 3);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                // What a hint told of is applied first and then acknowledged: who revokes strictly waits for that.
                () = self.hinted.notified() => if self.catch_up().await.is_err() { continue },
            }
            let followed = self.follow().await;
            match &followed {
                Err(error) if !failing => {
                    tracing::warn!(error = %error, cause = %error.cause, "the revocation log could not be read; without it nothing is active after the lease");
                }
                Ok(()) if failing => tracing::info!("the revocation log can be read again"),
                _ => {}
            }
            failing = followed.is_err();
            self.index.prune(self.effects.clock.boottime());
        }
    }

    /// Takes in what other servers tell, for ever. It denies at once, and is a reason to read the log.
    pub async fn listen(&self) {
        let hear = |told: Option<Vec<Revocation>>| {
            let now = self.effects.clock.boottime();
            let news = |told: Vec<Revocation>| {
                told.iter().map(|revocation| self.index.hint(revocation, now)).fold(false, |news, new| news | new)
            };
            if told.is_none_or(news) {
                self.hinted.notify_one();
            }
        };
        self.hints.listen(hear).await;
    }

    /// Says good-bye: nobody has to wait for this server any more. It must not answer "active" afterwards.
    pub async fn leave(&self) {
        if let Err(error) = self.store.end_lease(self.server.clone()).await {
            tracing::warn!(error = %error, cause = %error.cause, "the lease of this server ends by itself");
        }
    }

    /// Waits until no other server can answer from before `seq`, which this one has committed. `true` when all have
    /// acknowledged it, `false` when the leases of the others have ended instead.
    pub async fn all_have_reached(&self, seq: u64) -> bool {
        let committed = self.effects.clock.boottime();
        let mut looked = committed;
        let mut longest = self.bound();
        let mut pause = Duration::from_millis(2);
        loop {
            match self.acknowledgements_since(looked).await {
                Ok(leases) if leases.applied.is_none_or(|applied| applied >= seq) => return true,
                Ok(leases) => longest = longest.max(bound(leases.longest)),
                // They go on without us knowing; their leases end all the same.
                Err(error) => {
                    tracing::warn!(error = %error, cause = %error.cause, "acknowledgements could not be read");
                }
            }
            looked = self.effects.clock.boottime();
            if looked.saturating_sub(committed) >= longest {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// What a read says that was sent after `since`. Those who wait at the same time share it.
    async fn acknowledgements_since(&self, since: Duration) -> Result<LiveLeases, Unavailable> {
        let mut last = self.acknowledgements.lock().await;
        if let Some((sent, leases)) = *last
            && sent > since
        {
            return Ok(leases);
        }
        let sent = self.effects.clock.boottime();
        let leases = self.store.live_leases(self.server.clone()).await?;
        *last = Some((sent, leases));
        Ok(leases)
    }

    async fn follow(&self) -> Result<(), Unavailable> {
        let _round = self.round.lock().await;
        let news = self.full_round().await?;
        // There was news, so say at once that it was applied.
        if news && self.store.is_shared() { self.full_round().await.map(drop) } else { Ok(()) }
    }

    /// A round as [`super::Replica::begin`] wants it: the acknowledgement is committed before the log is read. Whether there was news.
    async fn full_round(&self) -> Result<bool, Unavailable> {
        let round = self.index.begin(self.effects.clock.boottime());
        self.store.renew_lease(self.server.clone(), round.applied(), self.index.lease(), self.bound()).await?;
        self.read(Some(round.acknowledged())).await
    }

    /// Reads the log to its head; with an acknowledged round, the lease is confirmed by it. Whether there was news.
    async fn read(&self, round: Option<Acknowledged>) -> Result<bool, Unavailable> {
        let mut any_news = false;
        loop {
            let from = self.index.position();
            let excerpt = self.store.log_after(from.seq).await?;
            let now = self.effects.clock.boottime();
            let progress = match round {
                Some(round) => self.index.conclude(round, from, &excerpt, now),
                None => self.index.absorb(from, &excerpt, now),
            };
            match progress {
                Ok(Progress::CaughtUp { news }) => return Ok(any_news | news),
                Ok(Progress::Behind) => any_news = true,
                Err(divergence) => {
                    self.recover(divergence).await?;
                    any_news = true;
                }
            }
        }
    }

    /// Makes the log whole again where it lost what this server knows, and goes on from where the two agree.
    async fn recover(&self, divergence: Divergence) -> Result<(), Unavailable> {
        match divergence {
            Divergence::Forgotten(_) => {
                tracing::warn!(%divergence, "every cached fact is read again");
                let start = self.store.log_start(self.effects.now()).await?;
                self.index.restart_at(start);
            }
            Divergence::Rewritten(_) => {
                let log = self.store.whole_log().await?;
                let (fork, lost) = self.index.lost_in(&log);
                tracing::error!(%divergence, lost = lost.len(), "what was revoked is revoked again, and every cached fact is read again");
                self.store.write_again(self.index.applied(), lost, self.effects.now()).await?;
                match fork {
                    Some(fork) => self.index.resume_at(fork),
                    None => self.index.restart_at(self.store.log_start(self.effects.now()).await?),
                }
            }
        }
        Ok(())
    }
}

/// By when a lease has ended everywhere: one clock may run 1 % slow and another 1 % fast, and a thread may be late.
pub(super) fn bound(lease: Duration) -> Duration {
    lease * 103 / 100 + Duration::from_millis(10)
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> Unavailable {
    Unavailable { operation: "follow the revocation log", cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_clock_ends_a_lease_before_the_fastest_has_waited_for_it() {
        for lease in [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(30)] {
            assert!(lease * 100 / 99 < bound(lease) * 100 / 101, "{lease:?}");
        }
    }
}
