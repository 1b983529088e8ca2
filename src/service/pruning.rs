//! Pruning: what nobody can use any more is deleted, by one server at a time. No answer depends on it.

use std::time::Duration;

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::Service;
use crate::domain::error::Unavailable;
use crate::store::{Prunable, Store};

/// How long one server has the turn, in seconds, and how often each asks for it.
const TURN: u32 = 60;
/// What is left to others between two full batches.
const PAUSE: Duration = Duration::from_millis(50);

/// What is counted about pruning.
#[derive(Clone, Default)]
pub struct PruningMetrics {
    /// Rows that were deleted, by table.
    pub pruned_rows: Family<[(&'static str, &'static str); 1], Counter>,
    /// For how many seconds the grant that waits longest could have been pruned.
    pub oldest_expired_age: Gauge,
}

impl Service {
    /// Prunes once a turn, for ever.
    pub async fn prune_for_ever(&self) {
        let mut interval = tokio::time::interval(Duration::from_secs(TURN.into()));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(error) = self.prune().await {
                tracing::warn!(error = %error, cause = %error.cause, "what nobody can use any more could not be deleted");
            }
        }
    }

    /// Deletes what nobody can use any more, if nobody else has the turn, and measures what is left whoever has it.
    pub async fn prune(&self) -> Result<(), Unavailable> {
        let pruned = self.prune_in_turn().await;
        let age = self.store.oldest_expired(self.effects.now()).await?;
        self.pruning.oldest_expired_age.set(age.into());
        pruned
    }

    /// Stops where the turn ends. The next one goes on from there.
    async fn prune_in_turn(&self) -> Result<(), Unavailable> {
        let now = self.effects.now();
        let until = now.plus(TURN);
        if !self.store.claim_pruning_turn(now, until).await? {
            return Ok(());
        }
        for what in Prunable::ALL {
            let by = match (what, self.settings.consent.horizon(now)) {
                (Prunable::Consents, None) => continue,
                (Prunable::Consents, Some(horizon)) => horizon,
                _ => now,
            };
            while self.effects.now() < until {
                let deleted = self.store.prune(what, by).await?;
                self.pruning.pruned_rows.get_or_create(&[("table", what.table())]).inc_by(deleted);
                if deleted < Store::PRUNING_BATCH {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}
