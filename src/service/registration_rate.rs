//! How often an address, or a user, may register a client. In this process alone, and in bounded memory: addresses share a bucket where they fall
//! into the same one, so however many there are, none is forgotten and nothing grows.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;

use super::client_address::network;
use crate::domain::timestamp::Timestamp;

const BUCKETS: usize = 4_096;
/// What a full bucket lasts for, in seconds.
const HOUR: u32 = 3_600;

/// So many in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub number: u32,
    pub seconds: u32,
}

/// The generic cell rate algorithm: of each bucket, when it will be full again, in seconds times the number that the limit allows. Each
/// rate has one limit.
pub(super) struct RegistrationRate {
    /// Nobody outside can tell which addresses share a bucket.
    hasher: RandomState,
    full_at: Mutex<Box<[i64]>>,
}

impl RegistrationRate {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), full_at: Mutex::new(vec![0; BUCKETS].into_boxed_slice()) }
    }

    /// Whether one more may be registered from an address, `per_hour` being allowed.
    pub(super) fn admits(&self, address: Option<IpAddr>, per_hour: u32, now: Timestamp) -> bool {
        self.take(address.map(network), RateLimit { number: per_hour, seconds: HOUR }, now).is_ok()
    }

    /// Takes one for whoever this is; in how many seconds there will be another one, where there is none now.
    pub(super) fn take(&self, who: impl Hash, limit: RateLimit, now: Timestamp) -> Result<(), u32> {
        let bucket = usize::try_from(self.hasher.hash_one(who) % BUCKETS as u64).unwrap_or_default();
        let number = i64::from(limit.number.max(1));
        let (now, whole) = (now.as_unix().saturating_mul(number), i64::from(limit.seconds) * number);
        // A panic elsewhere does not open the gate.
        let Ok(mut full_at) = self.full_at.lock() else { return Err(limit.seconds) };
        // A clock that was set back must not close it for longer than the whole time.
        full_at[bucket] = full_at[bucket].clamp(now, now + whole);
        let next = full_at[bucket] + i64::from(limit.seconds);
        if next > now + whole {
            let missing = next - now - whole;
            return Err(u32::try_from((missing + number - 1) / number).unwrap_or(limit.seconds));
        }
        full_at[bucket] = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n5_an_address_has_so_many_an_hour_and_others_have_their_own() {
        let rate = RegistrationRate::new();
        let [one, same_network]: [IpAddr; 2] =
            ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().expect("an address"));
        let now = Timestamp::from_unix(1_000_000);
        assert_eq!((0..9).filter(|_| rate.admits(Some(one), 4, now)).count(), 4);
        assert!(!rate.admits(Some(same_network), 4, now));
        assert!(!rate.admits(Some(one), 4, now.plus(899)));
        assert!(rate.admits(Some(one), 4, now.plus(900)) && !rate.admits(Some(one), 4, now.plus(900)));
        assert!(rate.admits(Some(one), 4, Timestamp::from_unix(1_000_000 + 2 * i64::from(HOUR))));
        let others = (0..100_u32).filter(|number| rate.admits(Some(IpAddr::V4((*number).into())), 1, now)).count();
        assert!(others > 80, "{others}");
    }

    #[test]
    fn a_clock_that_is_set_back_closes_it_for_an_hour_at_most() {
        let rate = RegistrationRate::new();
        assert!(rate.admits(None, 1, Timestamp::from_unix(1_000_000)));
        assert!(!rate.admits(None, 1, Timestamp::from_unix(1_000)));
        assert!(rate.admits(None, 1, Timestamp::from_unix(1_000 + i64::from(HOUR))));
    }
}
