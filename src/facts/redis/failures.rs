//! When a connection is not worth waiting for any more.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures within [`WINDOW`] are too many.
const FEW: usize = 5;
const WINDOW: Duration = Duration::from_secs(1);

/// The latest failures of a connection, oldest first.
#[derive(Default)]
pub(super) struct Failures([Option<Instant>; FEW]);

impl Failures {
    /// Counts one. `true` when they have become too many.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        self.0.rotate_left(1);
        self.0[FEW - 1] = Some(now);
        self.0[0].is_some_and(|oldest| now - oldest <= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_within_a_second_are_too_many() {
        let start = Instant::now();
        let count = |milliseconds: [u64; 6]| {
            let mut failures = Failures::default();
            milliseconds.map(|after| failures.count(start + Duration::from_millis(after)))
        };
        assert_eq!(count([0, 1, 2, 3, 4, 5]), [false, false, false, false, true, true]);
        assert_eq!(count([0, 250, 500, 750, 1_000, 1_001]), [false, false, false, false, true, true]);
        assert_eq!(count([0, 251, 502, 753, 1_004, 1_255]), [false; 6]);
        assert_eq!(count([0, 5_000, 5_001, 5_002, 5_003, 5_004]), [false, false, false, false, false, true]);
    }
}
