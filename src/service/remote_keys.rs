//! The keys of clients that publish them at a URL of theirs (`jwks_uri`, RFC 7591 §2).
//!
//! They are kept for as long as the answer says, within bounds, in this process. A signature that none of them made has them read
//! anew, since the client may have changed over, but not more often than once a minute: who sends bad signatures does not send us
//! to the client at his own rate. All who wait for the same keys wait for one request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::StatusCode;
use quick_cache::sync::Cache;

use crate::domain::client::ClientId;
use crate::domain::client_assertion::ClientAssertion;
use crate::domain::client_keys::ClientKeys;
use crate::domain::error::Unavailable;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::timestamp::Timestamp;
use crate::effects::outgoing::{Document, MAX_BODY, Outgoing, OutgoingError};

/// Of how many clients the keys are kept. The ones used least go first.
const CLIENTS: usize = 512;
/// How long it takes until they are read again because of a signature, and after a fault, in seconds.
const PAUSE: u32 = 60;
const PAUSE_AFTER_FAULT: u32 = 10;

/// The keys of all clients that publish them.
pub(super) struct RemoteKeys {
    outgoing: Outgoing,
    sets: Cache<(ClientId, OutgoingUrl), Arc<Mutex<KeySet>>>,
}

/// The keys of one client at one URL.
#[derive(Default)]
struct KeySet {
    /// The keys, since when, and until when they are good.
    kept: Option<(Arc<ClientKeys>, Timestamp, Timestamp)>,
    last: Option<(Timestamp, Answer)>,
    under_way: Option<Shared<BoxFuture<'static, Answer>>>,
}

/// What came of a request.
#[derive(Clone)]
enum Answer {
    Keys {
        keys: Arc<ClientKeys>,
        lifetime: u32,
    },
    /// There are none, or none that can be used: that is the client's to mend.
    None,
    /// Nobody knows.
    Fault(Arc<str>),
}

impl RemoteKeys {
    pub(super) fn new(outgoing: Outgoing) -> Self {
        Self { outgoing, sets: Cache::new(CLIENTS) }
    }

    /// Whether one of the keys at this URL signed the assertion.
    pub(super) async fn verify(
        &self,
        client: &ClientId,
        url: &OutgoingUrl,
        assertion: &ClientAssertion,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let name = (client.clone(), url.clone());
        let set = self.sets.get_or_insert_with(&name, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(set) = set;
        let kept = lock(&set).kept(now);
        if kept.is_some_and(|keys| assertion.is_signed_by(&keys)) {
            return Ok(true);
        }
        match self.read(client, url, &set, now).await {
            Answer::Keys { keys, .. } => Ok(assertion.is_signed_by(&keys)),
            Answer::None => Ok(false),
            Answer::Fault(cause) => {
                Err(Unavailable { operation: "read the keys of a client", cause: cause.to_string().into() })
            }
        }
    }

    /// What was read lately, or is read now.
    async fn read(&self, client: &ClientId, url: &OutgoingUrl, set: &Mutex<KeySet>, now: Timestamp) -> Answer {
        let flight = {
            let mut set = lock(set);
            if let Some(answer) = set.answered_lately(now) {
                return answer;
            }
            let (outgoing, client, url) = (self.outgoing.clone(), client.clone(), url.clone());
            set.under_way.get_or_insert_with(|| read(outgoing, client, url).boxed().shared()).clone()
        };
        let answer = flight.clone().await;
        lock(set).land(&flight, &answer, now);
        answer
    }
}

impl KeySet {
    /// The keys, while they are good. A clock that was set back makes them old.
    fn kept(&self, now: Timestamp) -> Option<Arc<ClientKeys>> {
        let (keys, from, until) = self.kept.as_ref()?;
        (*from <= now && now < *until).then(|| keys.clone())
    }

    fn answered_lately(&self, now: Timestamp) -> Option<Answer> {
        let (at, answer) = self.last.as_ref()?;
        let pause = match answer {
            Answer::Keys { .. } | Answer::None => PAUSE,
            Answer::Fault(_) => PAUSE_AFTER_FAULT,
        };
        (*at <= now && now < at.plus(pause)).then(|| answer.clone())
    }

    /// A fault leaves the keys for as long as they are good.
    fn land(&mut self, flight: &Shared<BoxFuture<'static, Answer>>, answer: &Answer, now: Timestamp) {
        if !self.under_way.as_ref().is_some_and(|under_way| under_way.ptr_eq(flight)) {
            return;
        }
        self.under_way = None;
        self.last = Some((now, answer.clone()));
        match answer {
            Answer::Keys { keys, lifetime } => self.kept = Some((keys.clone(), now, now.plus(*lifetime))),
            Answer::None => self.kept = None,
            Answer::Fault(_) => {}
        }
    }
}

async fn read(outgoing: Outgoing, client: ClientId, url: OutgoingUrl) -> Answer {
    let answer = outgoing.get(&url, "application/jwk-set+json, application/json", MAX_BODY).await;
    match judge(answer) {
        Ok(answer) => answer,
        Err(cause) => {
            tracing::warn!(client_id = %client, url = %url, cause = %cause, "a client has no keys at its jwks_uri");
            Answer::None
        }
    }
}

/// What an answer says about the keys; why there are none.
fn judge(answer: Result<Document, OutgoingError>) -> Result<Answer, String> {
    let document = match answer {
        Ok(document) => document,
        Err(error) if error.is_refusal() => return Err(error.to_string()),
        Err(error) => return Ok(Answer::Fault(error.to_string().into())),
    };
    let status = document.status;
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        return Ok(Answer::Fault(format!("the answer is {status}").into()));
    }
    if status != StatusCode::OK {
        return Err(format!("the answer is {status}"));
    }
    let json = serde_json::from_slice(&document.body).map_err(|_| "the answer is no JSON")?;
    let keys = ClientKeys::parse(json).map_err(|error| error.to_string())?;
    Ok(Answer::Keys { keys: Arc::new(keys), lifetime: document.lifetime() })
}

fn lock(set: &Mutex<KeySet>) -> MutexGuard<'_, KeySet> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
