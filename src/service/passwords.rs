//! People's passwords: argon2id, and never more of it at a time than there are cores. Each run takes 19 MiB and some 20 ms, so
//! without a bound a flood of sign-ins would be a flood of memory. Few wait for their turn: the rest are told at once to come again.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::domain::error::Unavailable;
use crate::effects::Effects;

/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);

/// So many wait for each turn: as many as get one in time.
const WAITING: usize = 64;

/// Verified where there is no account, so that an unknown name takes the same time as a wrong password.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hash(b"nobody", &[0; 16]).expect("argon2 takes this password and salt"));

/// Hashes and verifies on blocking threads of the background runtime.
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    places: Semaphore,
    background: Handle,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, Into::into);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            places: Semaphore::new(cores * (1 + WAITING)),
            background: Handle::current(),
        }
    }

    /// The hash to store, in PHC string format.
    pub(super) async fn hash(&self, password: Zeroizing<String>, effects: &Effects) -> Result<String, Unavailable> {
        let salt: [u8; 16] = effects.random_bytes();
        self.run("hash a password", move || hash(password.as_bytes(), &salt)).await
    }

    /// Whether `password` is the one that was hashed. Without a hash it is not, after the same time.
    pub(super) async fn verify(
        &self,
        password: Zeroizing<String>,
        stored: Option<String>,
    ) -> Result<bool, Unavailable> {
        self.run("verify a password", move || {
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(&NOBODY))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && stored.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| Unavailable { operation, cause: "too many wait for their turn".into() })?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned())
            .await
            .map_err(|error| Unavailable { operation, cause: Box::new(error) })?;
        let task = self.background.spawn_blocking(move || {
            // Held until the work is done, also when nobody waits for it any more.
            let _turn = turn;
            work()
        });
        match task.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Unavailable { operation, cause: error.to_string().into() }),
            Err(error) => Err(Unavailable { operation, cause: Box::new(error) }),
        }
    }
}

fn hash(password: &[u8], salt: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password_with_salt(password, salt).map(|hash: PasswordHash| hash.to_string())
}
