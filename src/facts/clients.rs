//! What clients may ask for now, where that limits their tokens.
//!
//! Clients change in several ways, and no log tells of it. So a reading is good for one lease from when it began, as a confirmation of the
//! revocation log is: whoever changes a client, on whichever server or by hand, it counts everywhere a lease later, and here at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::scope::ScopeSet;
use crate::store::Store;

/// How many clients are kept.
const CLIENTS: usize = 4_096;
/// So many are read at the same time at most, each of them once.
const READERS: usize = 16;

/// The scopes of clients, as they were less than a lease ago.
pub struct ClientScopes {
    store: Store,
    lease: Duration,
    known: Cache<ClientId, Known>,
    /// Counts the changes of which this process knows.
    changes: AtomicU64,
    readers: [Mutex<()>; READERS],
}

#[derive(Clone)]
struct Known {
    scopes: Arc<ScopeSet>,
    /// When the reading began, by the clock that counts on while the machine sleeps.
    since: Duration,
}

impl ClientScopes {
    pub fn new(store: Store, lease: Duration) -> Self {
        Self {
            store,
            lease,
            known: Cache::new(CLIENTS),
            changes: AtomicU64::new(0),
            readers: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// None for a client that is gone.
    pub async fn of(&self, client: &ClientId, now: impl Fn() -> Duration) -> Result<Arc<ScopeSet>, Unavailable> {
        if let Some(scopes) = self.fresh(client, now()) {
            return Ok(scopes);
        }
        let reader = client.as_str().bytes().map(usize::from).sum::<usize>() % READERS;
        let _reading = self.readers[reader].lock().await;
        // Somebody else may have read it meanwhile.
        if let Some(scopes) = self.fresh(client, now()) {
            return Ok(scopes);
        }
        let (since, changes) = (now(), self.changes.load(Ordering::SeqCst));
        let read = self.store.client(client.clone()).await?;
        let scopes = Arc::new(read.map(|client| client.scopes).unwrap_or_default());
        self.known.insert(client.clone(), Known { scopes: scopes.clone(), since });
        // What began before a change may not show it. Whoever changes something later removes it after this.
        if self.changes.load(Ordering::SeqCst) != changes {
            self.known.remove(client);
        }
        Ok(scopes)
    }

    /// To be called when a change has been committed.
    pub fn forget(&self, client: &ClientId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.known.remove(client);
    }

    fn fresh(&self, client: &ClientId, now: Duration) -> Option<Arc<ScopeSet>> {
        self.known.get(client).filter(|known| now < known.since.saturating_add(self.lease)).map(|known| known.scopes)
    }
}
