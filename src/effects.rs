//! Time and randomness: the only ambient effects, and the only trait objects. Production has one of each; tests bring their own.
//! Beside them, requests that go out.

pub mod outgoing;
pub mod signing;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRng as _;
use rustix::time::{ClockId, clock_gettime};

use crate::domain::secret::RandomSecret;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;

/// What time it is.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Time since the machine started, counting when it slept (`CLOCK_BOOTTIME`): for what must not depend on anybody setting the
    /// wall clock.
    fn boottime(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The clock and the source of randomness of one server.
#[derive(Clone)]
pub struct Effects {
    pub clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Effects {
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The operating system's clock and random number generator.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    pub fn grant_id(&self) -> GrantId {
        GrantId::from_bytes(self.random_bytes())
    }

    /// 32 hexadecimal digits, for what has to have a unique name: safe in a URL, a shell and a form.
    pub fn random_name(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.random_bytes()))
    }

    pub fn secret(&self) -> RandomSecret {
        RandomSecret::from_entropy(&self.random_bytes())
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rngs::SysRng
            .try_fill_bytes(bytes)
            .expect("without the kernel's random numbers no secret can be made, and going on would be worse");
    }
}
