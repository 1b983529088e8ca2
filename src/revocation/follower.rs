//! Keeping the index up to date with the log that others write to: other servers, and an operator's `scopegate grant revoke`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::RevocationIndex;
use super::lease::Lease;
use crate::domain::error::Unavailable;
use crate::domain::timestamp::Timestamp;
use crate::effects::Effects;
use crate::store::Store;

/// How long the index keeps an entry, in seconds. Facts are read again after a revocation became older than this.
const WINDOW: i64 = 600;

/// Reads the log, applies it to the index, and holds the lease under which the index may be trusted.
pub struct Follower {
    store: Store,
    index: Arc<RevocationIndex>,
    effects: Effects,
    lease: Lease,
    /// One read at a time: when the lease has ended, all who wait want the same one.
    reading: Mutex<()>,
}

impl Follower {
    pub fn new(store: Store, index: Arc<RevocationIndex>, effects: Effects, lease: Duration) -> Self {
        Self { store, index, effects, lease: Lease::new(lease), reading: Mutex::default() }
    }

    /// Whether "active" may be answered from the index as it is.
    pub fn lease_holds(&self) -> bool {
        self.lease.holds(self.effects.clock.boottime())
    }

    /// How long after a commit no server can still answer from before it: a lease, and what clocks and threads may differ by.
    pub fn bound(&self) -> Duration {
        self.lease.length() * 101 / 100 + Duration::from_millis(10)
    }

    /// Makes sure that the lease holds, by reading the log if need be.
    pub async fn renew_lease(&self) -> Result<(), Unavailable> {
        let _reading = self.reading.lock().await;
        if self.lease_holds() { Ok(()) } else { self.read().await }
    }

    /// Applies everything that is in the log by now.
    pub async fn catch_up(&self) -> Result<(), Unavailable> {
        let _reading = self.reading.lock().await;
        self.read().await
    }

    /// Catches up three times in a lease, for ever.
    pub async fn run(&self) {
        let mut interval = tokio::time::interval(self.lease.length() / 3);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(error) = self.catch_up().await {
                tracing::warn!(error = %error, cause = %error.cause, "the revocation log could not be read");
            }
            self.index.prune(Timestamp::from_unix(self.effects.now().as_unix() - WINDOW));
        }
    }

    async fn read(&self) -> Result<(), Unavailable> {
        let diverged = |cause: String| Unavailable { operation: "follow the revocation log", cause: cause.into() };
        loop {
            let (sent, applied) = (self.effects.clock.boottime(), self.index.applied());
            let news = self.store.revocations_after(applied).await?;
            if news.head < applied {
                return Err(diverged(format!(
                    "the log is at {}, it was at {applied}: was a backup restored?",
                    news.head
                )));
            }
            let now = self.effects.now();
            for revocation in &news.entries {
                self.index.apply(revocation, now);
            }
            if self.index.applied() >= news.head {
                self.lease.confirm(sent);
                return Ok(());
            }
            if self.index.applied() == applied {
                return Err(diverged(format!("the log lacks position {}: was a backup restored?", applied + 1)));
            }
        }
    }
}
