//! The cache in this process: facts by grant, bounded by bytes.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::domain::grant::GrantFacts;
use crate::domain::token::GrantId;

/// What an entry costs beside its strings: key, table slot, reference counts, allocation overhead.
const ENTRY_OVERHEAD: usize = 256;

/// Facts by grant. The least useful are dropped when the sum of their sizes passes the limit.
pub struct LocalCache(Cache<GrantId, Arc<GrantFacts>, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<GrantId, Arc<GrantFacts>> for Bytes {
    fn weight(&self, _: &GrantId, facts: &Arc<GrantFacts>) -> u64 {
        let acr = facts.authentication.as_ref().and_then(|known| known.acr.as_ref()).map_or(0, |acr| acr.len());
        let strings = facts.client.as_str().len() + facts.subject.as_str().len() + facts.username.len() + acr;
        (ENTRY_OVERHEAD + facts.variants.heap_size() + strings) as u64
    }
}

impl LocalCache {
    pub fn new(max_bytes: u64) -> Self {
        let items = usize::try_from(max_bytes).unwrap_or(usize::MAX) / (2 * ENTRY_OVERHEAD);
        Self(Cache::with_weighter(items, max_bytes, Bytes))
    }

    pub fn get(&self, grant: GrantId) -> Option<Arc<GrantFacts>> {
        self.0.get(&grant)
    }

    pub fn put(&self, grant: GrantId, facts: Arc<GrantFacts>) {
        self.0.insert(grant, facts);
    }

    /// The number of grants.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their estimated size in memory.
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::SubjectId;

    #[test]
    fn the_cache_stays_within_its_bytes() {
        let cache = LocalCache::new(100_000);
        for n in 0..10_000_u128 {
            let facts = GrantFacts {
                client: "client".parse().expect("a client id"),
                subject: SubjectId::new(format!("subject {n}")),
                username: "x".repeat(100).into(),
                session: None,
                authentication: None,
                variants: "a b".parse().expect("a list"),
                generation: 0,
                created_seq: 0,
                as_of: 0,
            };
            cache.put(GrantId::from_bytes(n.to_be_bytes()), Arc::new(facts));
            assert!(cache.bytes() <= 100_000);
        }
        assert!(cache.len() > 100, "{} grants", cache.len());
    }
}
