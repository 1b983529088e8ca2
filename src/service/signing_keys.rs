//! The keys that sign ID tokens, and whatever else others verify: made when first needed, the same for every server on the database, replaced by themselves.
//!
//! Each server keeps them in memory and reads them again every minute, so it knows a successor long before that signs. What it
//! has in memory it can use while the database is away.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::domain::error::Unavailable;
use crate::domain::jwk::{PublicKey, SigningAlgorithm};
use crate::domain::jwt;
use crate::domain::signing_key::{Phase, Term};
use crate::domain::timestamp::Timestamp;
use crate::effects::Effects;
use crate::effects::signing::{Refused, SealingKey, SigningKey};
use crate::store::{Store, StoredKey};

/// How often keys are read again.
const INTERVAL: Duration = Duration::from_mins(1);
/// Keys that were read so many seconds ago are read again before they are used: reading them in the background has failed.
const STALE: u32 = 120;
/// So many seconds after a read, an unknown key makes for another one.
const UNKNOWN_KEY_PAUSE: u32 = 5;
/// So many names of keys are remembered that are none.
const MAX_ABSENT: usize = 64;
/// How often a key is made anew because another server was faster.
const ATTEMPTS: usize = 3;

/// The keys of the deployment, as one server knows them. Works on the runtime that made it.
pub struct SigningKeys {
    algorithm: SigningAlgorithm,
    sealing: Vec<SealingKey>,
    store: Store,
    effects: Effects,
    ring: RwLock<Arc<Ring>>,
    /// Names that no key had. None ever will: a name is that of its key, and nobody is told of one before it is stored.
    absent: RwLock<VecDeque<Box<str>>>,
    /// Held while keys are read and made, so that a server makes one at a time.
    turn: Mutex<()>,
    background: Handle,
}

/// A moment's keys, oldest first.
#[derive(Default)]
struct Ring {
    keys: Vec<Key>,
    read_at: Option<Timestamp>,
}

#[derive(Clone)]
struct Key {
    kid: String,
    stored: StoredKey,
    /// `None` when it was sealed under a secret that is not ours any more.
    private: Option<Arc<SigningKey>>,
}

/// A key, for an operator.
#[derive(Clone, Debug)]
pub struct KeyDescription {
    pub kid: String,
    pub algorithm: SigningAlgorithm,
    pub phase: Phase,
    pub created_at: Timestamp,
    pub term: Term,
}

/// How a key is replaced before it is time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Its successor is published now and signs in a day.
    Announced,
    /// Its successor signs now, and all others are forgotten: they were given away.
    AtOnce,
}

/// The key that signs now.
pub struct Signer {
    key: Key,
    private: Arc<SigningKey>,
    background: Handle,
}

impl Signer {
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.key.stored.public.algorithm()
    }

    /// Signs a JSON Web Token, on a blocking thread: RSA takes as long as hundreds of checks.
    pub async fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, Unavailable> {
        const OPERATION: &str = "sign a token";
        let private = self.private.clone();
        let input = jwt::signing_input(self.algorithm(), &self.key.kid, typ, claims);
        let signed = self.background.spawn_blocking(move || {
            let signature = private.sign(input.as_bytes())?;
            Ok::<_, Refused>(jwt::signed(&input, &signature))
        });
        match signed.await {
            Ok(signed) => signed.map_err(|error| Unavailable { operation: OPERATION, cause: Box::new(error) }),
            Err(error) => Err(Unavailable { operation: OPERATION, cause: Box::new(error) }),
        }
    }
}

impl SigningKeys {
    /// `sealing`: the first seals, all open.
    pub fn new(algorithm: SigningAlgorithm, sealing: Vec<SealingKey>, store: Store, effects: Effects) -> Self {
        Self {
            algorithm,
            sealing,
            store,
            effects,
            ring: RwLock::default(),
            absent: RwLock::default(),
            turn: Mutex::default(),
            background: Handle::current(),
        }
    }

    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The key that signs now.
    pub async fn signer(&self) -> Result<Signer, Unavailable> {
        let ring = self.current().await?;
        let (key, private) = ring.signer(self.algorithm, self.effects.now()).ok_or_else(|| Unavailable {
            operation: "find a key to sign with",
            cause: "no key that this server can open was there or could be made".into(),
        })?;
        Ok(Signer { key: key.clone(), private: private.clone(), background: self.background.clone() })
    }

    /// The public keys that clients need (RFC 7517 §5).
    pub async fn published(&self) -> Result<Vec<Value>, Unavailable> {
        let now = self.effects.now();
        let ring = self.current().await?;
        let published = ring.keys.iter().filter(|key| key.stored.term.phase(now) != Phase::Withdrawn);
        Ok(published.map(|key| key.stored.public.to_jwk()).collect())
    }

    /// The key of this name, also one that is published no more.
    pub async fn key(&self, kid: &str) -> Result<Option<PublicKey>, Unavailable> {
        let ring = self.ring();
        if let Some(key) = ring.key(kid) {
            return Ok(Some(key));
        }
        let now = self.effects.now();
        if ring.read_at.is_some_and(|read_at| now.seconds_since(read_at) < UNKNOWN_KEY_PAUSE) {
            return Ok(None);
        }
        let _turn = self.turn.lock().await;
        Ok(self.read().await?.key(kid))
    }

    /// The key of this name, or that there is none now. This may read, so it is for what is known to be ours but for the signature.
    pub async fn present_key(&self, kid: &str) -> Result<Option<PublicKey>, Unavailable> {
        if let Some(key) = self.ring().key(kid) {
            return Ok(Some(key));
        }
        if self.is_absent(kid) {
            return Ok(None);
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have looked for the same.
        if let Some(key) = self.ring().key(kid) {
            return Ok(Some(key));
        }
        if self.is_absent(kid) {
            return Ok(None);
        }
        let key = self.read().await?.key(kid);
        if key.is_none() {
            let mut absent = self.absent.write().unwrap_or_else(PoisonError::into_inner);
            absent.truncate(MAX_ABSENT - 1);
            absent.push_front(kid.into());
        }
        Ok(key)
    }

    fn is_absent(&self, kid: &str) -> bool {
        self.absent.read().unwrap_or_else(PoisonError::into_inner).iter().any(|absent| **absent == *kid)
    }

    /// All keys, oldest first.
    pub async fn list(&self) -> Result<Vec<KeyDescription>, Unavailable> {
        let now = self.effects.now();
        let ring = {
            let _turn = self.turn.lock().await;
            self.read().await?
        };
        let describe = |key: &Key| KeyDescription {
            kid: key.kid.clone(),
            algorithm: key.stored.public.algorithm(),
            phase: key.stored.term.phase(now),
            created_at: key.stored.created_at,
            term: key.stored.term,
        };
        Ok(ring.keys.iter().map(describe).collect())
    }

    /// Replaces the key before it is time.
    pub async fn replace(&self, replacement: Replacement) -> Result<(), Unavailable> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let (ring, now) = (self.read().await?, self.effects.now());
            let predecessor = ring.newest(self.algorithm).map(|key| key.stored.number);
            let made = match (replacement, predecessor) {
                (Replacement::Announced, Some(_)) => self.make(&ring, Term::early_successor(now), predecessor).await?,
                (Replacement::Announced, None) | (Replacement::AtOnce, _) => {
                    self.make(&ring, Term::at_once(now), None).await?
                }
            };
            if let Some(number) = made {
                if replacement == Replacement::AtOnce {
                    self.store.delete_signing_keys_before(number).await?;
                }
                self.read().await?;
                return Ok(());
            }
        }
        Err(Unavailable { operation: "replace a signing key", cause: "other servers keep replacing it".into() })
    }

    /// Reads the keys again and again, and makes the next one when it is time. The first one is made when it is needed.
    pub async fn renew_for_ever(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = self.renew_known().await {
                tracing::warn!(error = %error, cause = %error.cause, "the signing keys could not be read or replaced");
            }
        }
    }

    async fn renew_known(&self) -> Result<(), Unavailable> {
        let _turn = self.turn.lock().await;
        let ring = self.read().await?;
        if ring.newest(self.algorithm).is_some() {
            self.renew(ring).await?;
        }
        Ok(())
    }

    /// The keys in memory, unless they are too old or the next one is due.
    async fn current(&self) -> Result<Arc<Ring>, Unavailable> {
        let (ring, now) = (self.ring(), self.effects.now());
        let is_stale = ring.read_at.is_none_or(|read_at| now.seconds_since(read_at) >= STALE);
        if !is_stale && ring.due(self.algorithm, now).is_none() {
            return Ok(ring);
        }
        let _turn = self.turn.lock().await;
        let renewed = match self.read().await {
            Ok(ring) => self.renew(ring).await,
            Err(error) => Err(error),
        };
        match renewed {
            Err(error) if ring.signer(self.algorithm, now).is_some() => {
                tracing::warn!(error = %error, cause = %error.cause, "the signing keys could not be read or replaced");
                Ok(ring)
            }
            renewed => renewed,
        }
    }

    /// Makes the next key if it is due.
    async fn renew(&self, mut ring: Arc<Ring>) -> Result<Arc<Ring>, Unavailable> {
        for _ in 0..ATTEMPTS {
            let Some((term, predecessor)) = ring.due(self.algorithm, self.effects.now()) else { break };
            self.make(&ring, term, predecessor).await?;
            ring = self.read().await?;
        }
        Ok(ring)
    }

    /// Makes the key after all that are known; its number. `None` when another server has made one meanwhile.
    async fn make(&self, ring: &Ring, term: Term, predecessor: Option<u32>) -> Result<Option<u32>, Unavailable> {
        let failed = |cause: Refused| Unavailable { operation: "make a signing key", cause: Box::new(cause) };
        let algorithm = self.algorithm;
        let generated = self.background.spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let key = generated
            .map_err(|error| Unavailable { operation: "make a signing key", cause: Box::new(error) })?
            .map_err(failed)?;
        let public = key.public_key().map_err(failed)?;
        let kid = public.thumbprint();
        let seal = self.sealing.first().ok_or(Refused).map_err(failed)?;
        let sealed = seal.seal(&kid, &key.to_pkcs8().map_err(failed)?).map_err(failed)?;
        let number = ring.keys.last().map_or(0, |last| last.stored.number + 1);
        let created_at = self.effects.now();
        let stored = StoredKey { number, public, sealed, created_at, term };
        let made = self.store.insert_signing_key(stored, predecessor).await?;
        if made {
            tracing::info!(kid, activates_at = %term.activates_at, "a signing key was made");
        }
        Ok(made.then_some(number))
    }

    /// Under the turn.
    async fn read(&self) -> Result<Arc<Ring>, Unavailable> {
        let (known, now) = (self.ring(), self.effects.now());
        let keys = self.store.signing_keys().await?.into_iter().map(|stored| self.open(&known, stored)).collect();
        let ring = Arc::new(Ring { keys, read_at: Some(now) });
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring.clone();
        Ok(ring)
    }

    fn open(&self, known: &Ring, stored: StoredKey) -> Key {
        let kid = stored.public.thumbprint();
        let private = known.keys.iter().find(|key| key.kid == kid).and_then(|key| key.private.clone()).or_else(|| {
            let pkcs8 = self.sealing.iter().find_map(|key| key.open(&kid, &stored.sealed));
            let key = pkcs8.and_then(|pkcs8| SigningKey::from_pkcs8(stored.public.algorithm(), &pkcs8).ok());
            if key.is_none() {
                tracing::warn!(kid, "a signing key was stored under another secret: it only verifies");
            }
            key.map(Arc::new)
        });
        Key { kid, stored, private }
    }

    fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Ring {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        self.keys.iter().find(|key| key.kid == kid).map(|key| key.stored.public.clone())
    }

    /// Those that this server can sign with.
    fn usable(&self, algorithm: SigningAlgorithm) -> impl DoubleEndedIterator<Item = (&Key, &Arc<SigningKey>)> {
        let of_algorithm = self.keys.iter().filter(move |key| key.stored.public.algorithm() == algorithm);
        of_algorithm.filter_map(|key| Some((key, key.private.as_ref()?)))
    }

    fn newest(&self, algorithm: SigningAlgorithm) -> Option<&Key> {
        self.usable(algorithm).next_back().map(|(key, _)| key)
    }

    /// The newest that is active; the oldest where none is yet, by a clock that is behind.
    fn signer(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<(&Key, &Arc<SigningKey>)> {
        let is_active = |(key, _): &(&Key, &Arc<SigningKey>)| key.stored.term.activates_at <= now;
        self.usable(algorithm).rfind(is_active).or_else(|| self.usable(algorithm).next())
    }

    /// The term of the next key and the number of its predecessor, if the next one is to be made now.
    fn due(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<(Term, Option<u32>)> {
        match self.newest(algorithm) {
            None => Some((Term::at_once(now), None)),
            Some(newest) => newest.stored.term.successor(now).map(|term| (term, Some(newest.stored.number))),
        }
    }
}
