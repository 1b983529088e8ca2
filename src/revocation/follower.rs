//! Keeping the index up to date with the log that other processes write to, such as an operator's `scopegate grant revoke`.

use std::sync::Arc;
use std::time::Duration;

use super::RevocationIndex;
use crate::domain::error::Unavailable;
use crate::domain::timestamp::Timestamp;
use crate::effects::Effects;
use crate::store::Store;

/// How often the log is read. What another process revokes is in force here after so long, at the latest.
const INTERVAL: Duration = Duration::from_millis(300);
/// How long the index keeps an entry, in seconds. Facts are read again after a revocation became older than this.
const WINDOW: i64 = 600;

/// Reads the log and applies it to the index.
pub struct Follower {
    store: Store,
    index: Arc<RevocationIndex>,
    effects: Effects,
}

impl Follower {
    pub fn new(store: Store, index: Arc<RevocationIndex>, effects: Effects) -> Self {
        Self { store, index, effects }
    }

    /// Applies everything that is in the log by now.
    pub async fn catch_up(&self) -> Result<(), Unavailable> {
        let now = self.effects.now();
        loop {
            let applied = self.index.applied();
            let news = self.store.revocations_after(applied).await?;
            if news.is_empty() {
                return Ok(());
            }
            for revocation in &news {
                self.index.apply(revocation, now);
            }
            if self.index.applied() == applied {
                let cause = format!("the log lacks position {}: was a backup restored?", applied + 1);
                return Err(Unavailable { operation: "follow the revocation log", cause: cause.into() });
            }
        }
    }

    /// Catches up at intervals, for ever.
    pub async fn run(&self) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(error) = self.catch_up().await {
                tracing::warn!(error = %error, cause = %error.cause, "the revocation log could not be read");
            }
            self.index.prune(Timestamp::from_unix(self.effects.now().as_unix() - WINDOW));
        }
    }
}
