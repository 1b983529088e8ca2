//! Writing revocations: those that come while one transaction is on its way share the next one, so that however many there are, the
//! lock on the head of the log is taken once for all of them.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::follower::Follower;
use super::hints::Hints;
use super::index::RevocationIndex;
use crate::domain::error::Unavailable;
use crate::domain::revocation::LogEntry;
use crate::effects::Effects;
use crate::store::{Ending, Store};

/// How many share a transaction at most.
const MAX_BATCH: usize = 256;

/// Writes this server's revocations and brings them into force.
pub struct Revoker {
    queue: mpsc::Sender<Job>,
    index: Arc<RevocationIndex>,
    follower: Arc<Follower>,
}

struct Job {
    ending: Ending,
    done: oneshot::Sender<Result<Option<u64>, Arc<Unavailable>>>,
}

/// What the writing task works with.
struct Writer {
    store: Store,
    index: Arc<RevocationIndex>,
    hints: Hints,
    effects: Effects,
}

impl Revoker {
    /// Writes on the runtime that calls. A caller that goes away interrupts nothing.
    pub fn new(
        store: Store,
        index: Arc<RevocationIndex>,
        follower: Arc<Follower>,
        hints: Hints,
        effects: Effects,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(MAX_BATCH);
        tokio::spawn(Writer { store, index: index.clone(), hints, effects }.run(jobs));
        Self { queue, index, follower }
    }

    /// Ends something. When this returns it is durable, and in force in this process. The position that says so; `None` when
    /// there was nothing to end.
    pub async fn revoke(&self, ending: Ending) -> Result<Option<u64>, Unavailable> {
        let (done, outcome) = oneshot::channel();
        self.queue.send(Job { ending, done }).await.map_err(unavailable)?;
        let seq = outcome.await.map_err(unavailable)?.map_err(unavailable)?;
        // Others wrote to the log in between: the position that is answered covers theirs, too. Where there was nothing to end, another
        // server may have ended it a moment ago, and this one not know yet.
        if seq.is_none_or(|seq| self.index.applied() < seq) {
            self.follower.catch_up().await?;
        }
        Ok(seq)
    }
}

impl Writer {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let (endings, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(|job| (job.ending, job.done)).unzip();
            match self.store.end(endings, self.effects.now()).await {
                Ok(ended) => {
                    let entries = self.in_force(ended.iter().flatten());
                    for (done, entry) in waiting.into_iter().zip(ended) {
                        // Whoever asked may be gone; it is done all the same.
                        let _ = done.send(Ok(entry.map(|entry| entry.revocation.seq)));
                    }
                    if !entries.is_empty() {
                        self.hints.tell(&entries).await;
                    }
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for done in waiting {
                        let _ = done.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Applies what was committed to the index.
    fn in_force<'e>(&self, ended: impl Iterator<Item = &'e LogEntry>) -> Vec<LogEntry> {
        let now = self.effects.clock.boottime();
        let mut entries: Vec<LogEntry> = ended.cloned().collect();
        entries.sort_by_key(|entry| entry.revocation.seq);
        for entry in &entries {
            self.index.commit(entry, now);
        }
        entries
    }
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> Unavailable {
    Unavailable { operation: "revoke", cause: Box::new(cause) }
}
