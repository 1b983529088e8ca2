//! Single flight: of all who miss the same grant at the same time, one asks the database and all get its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::error::Unavailable;
use crate::domain::grant::GrantFacts;
use crate::domain::token::GrantId;

type Answer = Result<Option<Arc<GrantFacts>>, Arc<Unavailable>>;

/// The reads that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<GrantId, watch::Sender<Option<Answer>>>>);

/// One that somebody waits for.
pub(super) struct Flight(watch::Receiver<Option<Answer>>);

impl Flights {
    /// Waits for a read of this grant. `true` for the one who has to make it, and to [`Flights::land`] it.
    pub(super) fn join(&self, grant: GrantId) -> (Flight, bool) {
        let mut flights = self.lock();
        if let Some(sender) = flights.get(&grant) {
            return (Flight(sender.subscribe()), false);
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(grant, sender);
        (Flight(receiver), true)
    }

    /// Gives all who wait their answer.
    pub(super) fn land(&self, grant: GrantId, answer: Result<Option<Arc<GrantFacts>>, Unavailable>) {
        let sender = self.lock().remove(&grant);
        if let Some(sender) = sender {
            // Nobody may be waiting any more; that is fine.
            let _ = sender.send(Some(answer.map_err(Arc::new)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GrantId, watch::Sender<Option<Answer>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) async fn landed(mut self) -> Result<Option<Arc<GrantFacts>>, Unavailable> {
        let unavailable = |cause| Unavailable { operation: "read the facts of a grant", cause };
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(facts))) => Ok(facts.clone()),
            Ok(Some(Err(error))) => Err(unavailable(Box::new(error.clone()))),
            Ok(None) => Err(unavailable("the read ended without an answer".into())),
            Err(error) => Err(unavailable(Box::new(error.clone()))),
        }
    }
}
