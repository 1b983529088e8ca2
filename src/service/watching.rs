//! Telling callers what was revoked, in order, for as long as they care to listen.

use tokio::sync::watch;
use tokio::time::timeout;

use super::Service;
use crate::domain::error::Unavailable;
use crate::domain::revocation::{Revocation, Target};

/// How many revocations one message tells of.
const MAX_TOLD: usize = 1_000;

/// Somebody who listens, and how far they have been told.
pub struct Watcher {
    told: u64,
    positions: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// Nothing was said yet.
    new: bool,
}

/// What a watcher is told.
#[derive(Debug)]
pub struct Told {
    /// None: nothing else was revoked up to `position`.
    pub revocations: Vec<Revocation>,
    pub position: u64,
}

/// Why a watcher is told nothing more.
#[derive(Debug)]
pub enum WatchFailure {
    /// What came after the position cannot be told any more.
    TooOld,
    /// The position is one that this server has not come to.
    Behind,
    Stopping,
    Unavailable(Unavailable),
}

impl Service {
    /// Begins to watch after a position, or from now on.
    pub async fn watch(&self, after: Option<u64>) -> Result<Watcher, WatchFailure> {
        let positions = self.index.watch();
        let told = match after {
            Some(position) if !self.reaches(position).await.map_err(WatchFailure::Unavailable)? => {
                return Err(WatchFailure::Behind);
            }
            Some(position) => position,
            None => self.index.applied(),
        };
        Ok(Watcher { told, positions, stopping: self.stopping.subscribe(), new: true })
    }

    /// Waits until there is something to tell: revocations, or that there were none for a lease.
    pub async fn tell(&self, watcher: &mut Watcher) -> Result<Told, WatchFailure> {
        loop {
            if *watcher.stopping.borrow() {
                return Err(WatchFailure::Stopping);
            }
            watcher.positions.borrow_and_update();
            // The lease is asked for first: what it vouches for is then in the entries.
            let up_to_date = self.follower.lease_holds();
            let revocations = self.index.entries_after(watcher.told, MAX_TOLD).ok_or(WatchFailure::TooOld)?;
            if revocations.iter().any(|revocation| matches!(revocation.target, Target::Key(_) | Target::Flush)) {
                return Err(WatchFailure::TooOld);
            }
            if let Some(last) = revocations.last() {
                (watcher.told, watcher.new) = (last.seq, false);
                return Ok(Told { position: last.seq, revocations });
            }
            if watcher.new && up_to_date {
                watcher.new = false;
                return Ok(Told { revocations, position: watcher.told });
            }
            tokio::select! {
                _ = watcher.stopping.changed() => {}
                changed = timeout(self.index.lease(), watcher.positions.changed()) => watcher.new = changed.is_err(),
            }
        }
    }

    /// Waits until the server goes away.
    pub async fn stopping(&self) {
        // The sender lives as long as the service.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Ends all watching, and all other streams: the server goes away.
    pub fn stop_watching(&self) {
        self.stopping.send_replace(true);
    }
}
