//! Where facts came from, and how often.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::{Atomic, Counter};
use prometheus_client::metrics::family::Family;

/// Where facts came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing was looked up.
    Nowhere,
    /// The cache in this process.
    Local,
    /// Redis, which servers share.
    Shared,
    /// The database, through the caches.
    Store,
    /// The database, past the caches.
    Bypassed,
}

/// A counter that every core may count on at the same time.
pub type CoreCounter = Counter<u64, Shards>;
/// Counts of facts by the tier that they came from.
pub type TierCounter = Family<[(&'static str, &'static str); 1], CoreCounter>;

/// The counter of each tier, so that counting looks nothing up.
pub(super) struct Counts {
    local: CoreCounter,
    shared: CoreCounter,
    store: CoreCounter,
}

impl Counts {
    pub(super) fn new(tiers: &TierCounter) -> Self {
        let tier = |name| tiers.get_or_create(&[("tier", name)]).clone();
        Self { local: tier("local"), shared: tier("shared"), store: tier("store") }
    }

    pub(super) fn count(&self, source: Source) {
        match source {
            Source::Local => self.local.inc(),
            Source::Shared => self.shared.inc(),
            Source::Store => self.store.inc(),
            Source::Nowhere | Source::Bypassed => 0,
        };
    }
}

const SHARDS: usize = 16;

/// A count in parts, of which each thread increases one. Threads that increase the same number at the same time would wait
/// for each other.
#[derive(Debug, Default)]
pub struct Shards([Shard; SHARDS]);

/// A cache line of its own, and the one that processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

thread_local! {
    /// Which part this thread increases.
    static SHARD: Cell<usize> = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS)
    };
}

impl Atomic<u64> for Shards {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// What this thread's part was.
    fn inc_by(&self, by: u64) -> u64 {
        self.0[SHARD.get()].0.fetch_add(by, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_count_is_counted() {
        let counter = CoreCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counter.inc();
                    }
                });
            }
        });
        assert_eq!(counter.get(), 32_000);
    }
}
