//! Single flight: of all who miss the same grant at the same time, one looks it up and all get its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Depth, Fetched};
use crate::domain::error::Unavailable;
use crate::domain::token::GrantId;

type Answer = Result<Option<Fetched>, Arc<Unavailable>>;
/// Who needs the database does not join those who may be answered by Redis.
type Route = (GrantId, Depth);

/// The reads that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Route, watch::Sender<Option<Answer>>>>);

/// One that somebody waits for.
pub(super) struct Flight(watch::Receiver<Option<Answer>>);

impl Flights {
    /// Waits for a read of this grant. `true` for the one who has to make it, and to [`Flights::land`] it.
    pub(super) fn join(&self, route: Route) -> (Flight, bool) {
        let mut flights = self.lock();
        if let Some(sender) = flights.get(&route) {
            return (Flight(sender.subscribe()), false);
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(route, sender);
        (Flight(receiver), true)
    }

    /// Gives all who wait their answer.
    pub(super) fn land(&self, route: Route, answer: Result<Option<Fetched>, Unavailable>) {
        let sender = self.lock().remove(&route);
        if let Some(sender) = sender {
            // Nobody may be waiting any more; that is fine.
            let _ = sender.send(Some(answer.map_err(Arc::new)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Route, watch::Sender<Option<Answer>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    pub(super) async fn landed(mut self) -> Result<Option<Fetched>, Unavailable> {
        let unavailable = |cause| Unavailable { operation: "read the facts of a grant", cause };
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(fetched))) => Ok(fetched.clone()),
            Ok(Some(Err(error))) => Err(unavailable(Box::new(error.clone()))),
            Ok(None) => Err(unavailable("the read ended without an answer".into())),
            Err(error) => Err(unavailable(Box::new(error.clone()))),
        }
    }
}
