//! The lease: for how long this server may go on trusting its index without having read the log again.
//!
//! Whoever answers under the lease has read the log at most one lease ago, so a revocation that was committed before is in the
//! index. That bounds how long any server can accept what another one revoked, in any partition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Until when the index is good enough to answer "active" from. Times are of the clock that also counts while the machine sleeps
/// (`CLOCK_BOOTTIME`); what the wall clock does is of no matter.
pub(super) struct Lease {
    length: Duration,
    /// When the read was *sent* that last confirmed the index, in nanoseconds. 0: never.
    confirmed: AtomicU64,
}

impl Lease {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, confirmed: AtomicU64::new(0) }
    }

    /// A read that was sent at `sent` found nothing that the index does not hold.
    pub(super) fn confirm(&self, sent: Duration) {
        self.confirmed.fetch_max(nanoseconds(sent), Ordering::AcqRel);
    }

    pub(super) fn holds(&self, now: Duration) -> bool {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        confirmed != 0 && nanoseconds(now) < confirmed.saturating_add(nanoseconds(self.length))
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_sending_of_the_read_and_never_goes_back() {
        let at = Duration::from_millis;
        let lease = Lease::new(at(1_000));
        assert!(!lease.holds(at(1)), "nothing was read yet");
        lease.confirm(at(500));
        assert!(lease.holds(at(500)) && lease.holds(at(1_499)) && !lease.holds(at(1_500)));
        lease.confirm(at(400));
        assert!(lease.holds(at(1_499)), "an older read that ends later changes nothing");
    }
}
