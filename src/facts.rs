//! Cached facts about grants: in this process first, then Redis, if there is one, then the database, once per grant however
//! many ask.
//!
//! Only facts are kept here, never decisions, and nothing about a token that its key did not sign. Whether facts are still
//! good is for the revocation index to say, so in which order they are filled and revoked does not matter.

mod clients;
mod flight;
mod local;
pub mod redis;
mod source;

use std::sync::Arc;

use tokio::runtime::Handle;

pub use self::clients::ClientScopes;
use self::flight::Flights;
pub use self::local::LocalCache;
use self::redis::{Replacement, Shared, SharedCache};
use self::source::Counts;
pub use self::source::{CoreCounter, Shards, Source, TierCounter};
use crate::domain::error::Unavailable;
use crate::domain::grant::GrantFacts;
use crate::domain::token::GrantId;
use crate::store::Store;

/// How far a lookup goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// To Redis, and to the database for what is not there.
    Shared,
    /// To the database: what the caches hold was not good enough.
    Store,
}

/// Facts, and where they came from.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub facts: Arc<GrantFacts>,
    pub source: Source,
}

/// The facts about grants.
pub struct Facts {
    tiers: Arc<Tiers>,
    counts: Counts,
    background: Handle,
}

/// Where facts are kept and read.
struct Tiers {
    local: Arc<LocalCache>,
    shared: Option<Arc<SharedCache>>,
    store: Store,
    flights: Flights,
}

impl Facts {
    /// Fetches on the runtime that calls.
    pub fn new(store: Store, local: Arc<LocalCache>, shared: Option<Arc<SharedCache>>, counter: &TierCounter) -> Self {
        let tiers = Tiers { local, shared, store, flights: Flights::default() };
        Self { tiers: Arc::new(tiers), counts: Counts::new(counter), background: Handle::current() }
    }

    /// What the cache in this process holds. Never waits.
    pub fn cached(&self, grant: GrantId) -> Option<Arc<GrantFacts>> {
        let facts = self.tiers.local.get(grant)?;
        self.counts.count(Source::Local);
        Some(facts)
    }

    /// Looks the facts up and keeps them; `None` when there is no such grant. Callers that ask for the same grant at the
    /// same time share one lookup. `applied` is how far this server has followed the log.
    pub async fn fetch(&self, grant: GrantId, depth: Depth, applied: u64) -> Result<Option<Fetched>, Unavailable> {
        let (flight, leads) = self.tiers.flights.join((grant, depth));
        if leads {
            // A task of its own: if this caller goes away, the others still get their answer.
            let tiers = self.tiers.clone();
            self.background.spawn(async move {
                let fetched = tiers.fetch(grant, depth, applied).await;
                if let Ok(Some(fetched)) = &fetched {
                    tiers.local.put(grant, fetched.facts.clone());
                }
                tiers.flights.land((grant, depth), fetched);
            });
        }
        let fetched = flight.landed().await?;
        if let Some(fetched) = &fetched {
            self.counts.count(fetched.source);
        }
        Ok(fetched)
    }
}

impl Tiers {
    async fn fetch(&self, grant: GrantId, depth: Depth, applied: u64) -> Result<Option<Fetched>, Unavailable> {
        // Facts may come from beyond what this server has read of the log. A failover can take that back without the server ever
        // knowing, so they count for no more than it has read.
        let usable = |facts: GrantFacts, source| {
            let facts = GrantFacts { as_of: facts.as_of.min(applied), ..facts };
            Fetched { facts: Arc::new(facts), source }
        };
        // The history that the database is in: each flush begins another.
        let epoch = applied >> 32;
        let replacement = match (&self.shared, depth) {
            (Some(shared), Depth::Shared) => match shared.get(grant, epoch).await {
                Shared::Facts(facts) => return Ok(Some(usable(facts, Source::Shared))),
                Shared::Missing => Replacement::Keep,
                Shared::Unusable => Replacement::Replace,
            },
            _ => Replacement::Replace,
        };
        let Some(facts) = self.store.facts(grant).await? else { return Ok(None) };
        let fetched = usable(facts, Source::Store);
        if let Some(shared) = &self.shared {
            shared.put(grant, epoch, &fetched.facts, replacement);
        }
        Ok(Some(fetched))
    }
}
