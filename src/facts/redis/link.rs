//! The connection to Redis, and when there is none.
//!
//! One task keeps it: it connects, lets one command show that Redis answers within the budget, and offers the connection to
//! all. Whoever finds it broken, or is the one failure too many, takes it away from all at once. So while Redis is away or
//! slow, nobody waits for it, and the task alone tries again, at most once a second.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::redis::{Cmd, RedisError, Value};
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::RedisMetrics;
use super::endpoint::{Connection, Endpoint};
use super::failures::Failures;

/// How long anybody waits for a reply.
pub(super) const BUDGET: Duration = Duration::from_millis(50);
/// At most one attempt to connect in so long.
const RETRY: Duration = Duration::from_secs(1);
/// How long an attempt may take, however many servers have to be asked.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// So often an idle connection shows that it still is one.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What came of a command.
pub(super) enum Reply {
    Value(Value),
    /// Redis answers, but with an error.
    Refused(RedisError),
    /// Nothing came in time, or there is no connection.
    None,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Down {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("it does not answer in time")]
    Late,
    #[error("the connection was lost")]
    Lost,
}

/// The way to Redis.
pub(super) struct Link {
    endpoint: Endpoint,
    /// The command that shows that Redis answers.
    probe: Cmd,
    live: RwLock<Option<Arc<Live>>>,
    metrics: RedisMetrics,
}

/// A connection that works, as far as we know.
struct Live {
    connection: Connection,
    failures: Mutex<Failures>,
    ended: Notify,
}

impl Link {
    pub(super) fn new(endpoint: Endpoint, probe: Cmd, metrics: RedisMetrics) -> Self {
        Self { endpoint, probe, live: RwLock::default(), metrics }
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.live().is_some()
    }

    /// Sends a command and waits for the reply, within the budget.
    pub(super) async fn ask(&self, command: &Cmd) -> Reply {
        let Some(live) = self.live() else { return Reply::None };
        let result = timeout(BUDGET, live.connection.clone().ask(command)).await;
        match result {
            Ok(Ok(value)) => return Reply::Value(value),
            Ok(Err(error)) if error.is_unrecoverable_error() => self.end(&live),
            Ok(Err(error)) if !error.is_timeout() => {
                tracing::debug!(%error, "Redis refuses a command");
                self.metrics.errors.inc();
                return Reply::Refused(error);
            }
            Ok(Err(_)) | Err(_) => {
                let too_many = live.failures.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
                if too_many {
                    self.end(&live);
                }
            }
        }
        self.metrics.errors.inc();
        Reply::None
    }

    /// Keeps a connection for as long as it is polled. An outage is one warning, however long.
    pub(super) async fn keep(&self) {
        let mut warned = false;
        loop {
            let began = Instant::now();
            let down = match timeout(CONNECT_LIMIT, self.connect()).await.unwrap_or(Err(Down::Late)) {
                Ok(live) => {
                    if warned {
                        tracing::info!("Redis answers again");
                    }
                    warned = false;
                    self.offer(live.clone());
                    self.metrics.up.set(1);
                    self.watch(&live).await;
                    self.metrics.up.set(0);
                    Down::Lost
                }
                Err(down) => {
                    self.metrics.errors.inc();
                    down
                }
            };
            if !warned {
                tracing::warn!(error = %down, "Redis does not answer: going on without it");
            }
            warned = true;
            sleep_until(began + RETRY).await;
        }
    }

    /// Hears a channel until the connection ends.
    pub(super) async fn listen(
        &self,
        channel: &str,
        attempt: usize,
        on_message: &mut (impl FnMut(String) + Send),
    ) -> Result<(), Down> {
        let subscribe = async {
            let mut subscription = self.endpoint.node(attempt).await?.get_async_pubsub().await?;
            subscription.subscribe(channel).await?;
            Ok::<_, RedisError>(subscription.split())
        };
        let (mut sink, mut messages) = timeout(CONNECT_LIMIT, subscribe).await.map_err(|_| Down::Late)??;
        loop {
            match timeout(HEARTBEAT, messages.next()).await {
                Ok(Some(message)) => {
                    // What is not text is not ours.
                    if let Ok(text) = message.get_payload::<String>() {
                        on_message(text);
                    }
                }
                Ok(None) => return Err(Down::Lost),
                Err(_) => {
                    let _: Value = timeout(RETRY, sink.ping()).await.map_err(|_| Down::Late)??;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Arc<Live>, Down> {
        let connection = self.endpoint.connect().await?;
        timeout(BUDGET, connection.clone().ask(&self.probe)).await.map_err(|_| Down::Late)??;
        Ok(Arc::new(Live { connection, failures: Mutex::default(), ended: Notify::new() }))
    }

    /// Returns when the connection was taken away.
    async fn watch(&self, live: &Arc<Live>) {
        while timeout(HEARTBEAT, live.ended.notified()).await.is_err() {
            if let Reply::None = self.ask(&self.probe).await {
                return self.end(live);
            }
        }
    }

    /// Takes a connection away from all, unless there is a newer one.
    fn end(&self, live: &Arc<Live>) {
        let mut offered = self.live.write().unwrap_or_else(PoisonError::into_inner);
        offered.take_if(|offered| Arc::ptr_eq(offered, live));
        live.ended.notify_one();
    }

    fn offer(&self, live: Arc<Live>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
