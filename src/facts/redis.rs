//! The cache that servers share: facts in Redis, each under a MAC that binds it to its grant.
//!
//! Redis is not trusted and not needed. Whatever is missing, old, slow, garbled or of another grant is a miss, and no
//! one waits longer than the budget for it. That facts are too old is for the revocation index to say, as with all facts.

mod codec;
mod endpoint;
mod failures;
mod link;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use self::codec::Codec;
pub use self::endpoint::{Endpoint, MalformedEndpoint};
use self::link::{Link, Reply};
use crate::domain::grant::GrantFacts;
use crate::domain::secret::{MacKey, MasterSecret};
use crate::domain::token::GrantId;

/// How long facts stay in Redis.
const MAX_AGE: Duration = Duration::from_mins(10);
/// So many writes may be under way. Further ones are not made.
const WRITES: usize = 1_024;
/// How long a subscription that ended waits before it is made again, at first and at most.
const RESUBSCRIBE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The keys that name and authenticate what is in Redis.
pub struct SharedKeys {
    names: MacKey,
    values: MacKey,
}

impl SharedKeys {
    /// The keys that derive from the master secret.
    pub fn derive(master: &MasterSecret) -> Self {
        Self {
            names: MacKey::derive(master, "scopegate/v1/shared-cache-key"),
            values: MacKey::derive(master, "scopegate/v1/shared-cache-value"),
        }
    }
}

/// What is counted about Redis.
#[derive(Clone, Default)]
pub struct RedisMetrics {
    /// Commands without a good reply, and connections that could not be made.
    pub errors: Counter,
    /// Values that are not what one of us wrote there.
    pub unusable: Counter,
    /// 1 while Redis answers.
    pub up: Gauge,
}

/// What Redis holds about a grant.
#[derive(Debug)]
pub enum Shared {
    Facts(GrantFacts),
    /// Nothing, or it did not answer in time.
    Missing,
    /// Something that does not verify. It has to be replaced.
    Unusable,
}

/// What becomes of a value that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    Keep,
    Replace,
}

/// Facts in Redis.
pub struct SharedCache {
    link: Arc<Link>,
    codec: Codec,
    key_prefix: String,
    metrics: RedisMetrics,
    writes: Arc<Semaphore>,
    background: Handle,
}

impl SharedCache {
    /// Writes on the runtime that calls. Nothing is connected until [`SharedCache::run`].
    pub fn new(endpoint: Endpoint, key_prefix: &str, keys: SharedKeys, metrics: RedisMetrics) -> Self {
        Self {
            link: Arc::new(Link::new(endpoint, cmd("GET").arg(format!("{key_prefix}probe")).take(), metrics.clone())),
            codec: Codec::new(keys, key_prefix),
            key_prefix: key_prefix.to_owned(),
            metrics,
            writes: Arc::new(Semaphore::new(WRITES)),
            background: Handle::current(),
        }
    }

    /// Keeps a connection for as long as it is polled. Without one, everything is missing.
    pub async fn run(&self) {
        self.link.keep().await;
    }

    /// What Redis holds about a grant, within the budget.
    pub async fn get(&self, grant: GrantId, epoch: u64) -> Shared {
        let key = self.codec.key(grant, epoch);
        let value = match self.link.ask(&cmd("GET").arg(&key).take()).await {
            Reply::Value(Value::BulkString(value)) => self.codec.decode(&key, &value),
            // A list or a hash is not ours.
            Reply::Refused(error) if error.code() == Some("WRONGTYPE") => None,
            Reply::Value(_) | Reply::Refused(_) | Reply::None => return Shared::Missing,
        };
        value.map_or_else(
            || {
                self.metrics.unusable.inc();
                Shared::Unusable
            },
            Shared::Facts,
        )
    }

    /// Keeps facts in Redis. Nobody waits for it, and it may not happen.
    pub fn put(&self, grant: GrantId, epoch: u64, facts: &GrantFacts, replacement: Replacement) {
        if !self.link.is_up() {
            return;
        }
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let key = self.codec.key(grant, epoch);
        let value = self.codec.encode(&key, facts);
        let mut set: Cmd = cmd("SET").arg(&key).arg(value).arg("PX").arg(MAX_AGE.as_millis().to_string()).take();
        if replacement == Replacement::Keep {
            set.arg("NX");
        }
        let link = self.link.clone();
        self.background.spawn(async move {
            link.ask(&set).await;
            drop(permit);
        });
    }

    /// Tells all who subscribe. It may not reach them.
    pub async fn publish(&self, channel: &str, message: &str) {
        self.link.ask(&cmd("PUBLISH").arg(self.channel(channel)).arg(message).take()).await;
    }

    /// Hears what is published for as long as it is polled, on a connection of its own that is made again whenever it
    /// ends. What is published meanwhile is not heard.
    pub async fn subscribe(&self, channel: &str, mut on_message: impl FnMut(String) + Send) {
        let channel = self.channel(channel);
        let (shortest, longest) = RESUBSCRIBE;
        let mut pause = shortest;
        for attempt in 0.. {
            let began = Instant::now();
            if let Err(error) = self.link.listen(&channel, attempt, &mut on_message).await {
                tracing::debug!(%error, "a subscription in Redis ended");
            }
            if began.elapsed() > longest {
                pause = shortest;
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn channel(&self, name: &str) -> String {
        format!("{}{name}", self.key_prefix)
    }
}

/// For fuzzing: reads a payload under a right tag, which nobody but us can make, and reads again what is written for it.
#[doc(hidden)]
pub fn reread_signed_facts(payload: &[u8]) -> Option<(GrantFacts, Option<GrantFacts>)> {
    let master = MasterSecret::from_base64("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").ok()?;
    let codec = Codec::new(SharedKeys::derive(&master), "");
    let key = codec.key(GrantId::from_bytes([1; 16]), 0);
    let facts = codec.decode(&key, &codec.seal(&key, payload.to_vec()))?;
    let again = codec.decode(&key, &codec.encode(&key, &facts));
    Some((facts, again))
}
