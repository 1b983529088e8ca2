//! Cached facts about grants: in this process first, then the database, once per grant however many ask.
//!
//! Only facts are kept here, never decisions, and nothing about a token that its key did not sign. Whether facts are still
//! good is for the revocation index to say, so in which order they are filled and revoked does not matter.

mod flight;
mod local;

use std::sync::Arc;

use tokio::runtime::Handle;

use self::flight::Flights;
pub use self::local::LocalCache;
use crate::domain::error::Unavailable;
use crate::domain::grant::GrantFacts;
use crate::domain::token::GrantId;
use crate::store::Store;

/// Where facts came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing was looked up.
    Nowhere,
    /// The cache in this process.
    Local,
    /// The database, through the cache.
    Store,
    /// The database, past the cache.
    Bypassed,
}

/// The facts about grants.
pub struct Facts {
    local: Arc<LocalCache>,
    flights: Arc<Flights>,
    store: Store,
    background: Handle,
}

impl Facts {
    /// Fetches on the runtime that calls.
    pub fn new(store: Store, local: Arc<LocalCache>) -> Self {
        Self { local, flights: Arc::default(), store, background: Handle::current() }
    }

    /// What the cache in this process holds. Never waits.
    pub fn cached(&self, grant: GrantId) -> Option<Arc<GrantFacts>> {
        self.local.get(grant)
    }

    /// Reads the facts from the database and keeps them; `None` when there is no such grant. Callers that ask for
    /// the same grant at the same time share one read.
    pub async fn fetch(&self, grant: GrantId) -> Result<Option<Arc<GrantFacts>>, Unavailable> {
        let (flight, leads) = self.flights.join(grant);
        if leads {
            // A task of its own: if this caller goes away, the others still get their answer.
            let (local, flights, store) = (self.local.clone(), self.flights.clone(), self.store.clone());
            self.background.spawn(async move {
                let facts = store.facts(grant).await.map(|facts| facts.map(Arc::new));
                if let Ok(Some(facts)) = &facts {
                    local.put(grant, facts.clone());
                }
                flights.land(grant, facts);
            });
        }
        flight.landed().await
    }
}
