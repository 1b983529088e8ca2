//! The use cases: the only place where the store, the facts, the revocation index, the clock and randomness meet.
//!
//! A front calls one method here and renders what it returns. `now` is read once per call.

pub mod accounts;
pub mod authorization;
mod client_authentication;
mod client_credentials;
pub mod clients;
pub mod device;
pub mod discovery;
pub mod introspection;
pub mod logout;
pub mod openid;
pub mod passwords;
pub mod possession;
pub mod protected_resources;
pub mod pruning;
pub mod pushed_requests;
pub mod registration;
mod registration_rate;
pub mod revocation;
pub mod sign_in;
pub mod signing_keys;
pub mod token_endpoint;
mod token_exchange;
pub mod userinfo;
pub mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::passwords::Passwords;
use self::possession::ClientCertificates;
use self::pruning::PruningMetrics;
use self::pushed_requests::PushedRequests;
use self::registration_rate::RegistrationRate;
use self::signing_keys::SigningKeys;
use crate::domain::dpop_nonce::NonceKeys;
use crate::domain::error::Unavailable;
use crate::domain::grant::Lifetimes;
use crate::domain::registration::RegistrationPolicy;
use crate::domain::resource::ResourceCatalogue;
use crate::domain::scope::Implications;
use crate::domain::secret::MacKey;
use crate::domain::token::{Token, TokenKeys};
use crate::effects::Effects;
use crate::facts::Facts;
use crate::revocation::{Follower, RevocationIndex, Revoker};
use crate::store::Store;

/// What the operator configured.
#[derive(Debug)]
pub struct Settings {
    /// The issuer identifier (RFC 8414 §2), without a trailing slash.
    pub issuer: String,
    pub lifetimes: Lifetimes,
    /// How long a browser stays signed in, in seconds.
    pub session_lifetime: u32,
    /// What each scope means, for people to read.
    pub catalogue: BTreeMap<String, String>,
    pub implications: Implications,
    /// Where tokens may be good.
    pub resources: ResourceCatalogue,
    pub pushed_requests: PushedRequests,
    /// Where client certificates come from, if they do.
    pub client_certificates: Option<ClientCertificates>,
    /// How long a caller may keep a permission.
    pub answer_ttl: Duration,
    pub registration: RegistrationPolicy,
    /// `None`: OpenID Connect is not offered, and `openid` is a scope like any other.
    pub openid: Option<OpenId>,
}

/// How OpenID Connect is offered.
#[derive(Debug)]
pub struct OpenId {
    /// Of ID tokens, in seconds.
    pub id_token_lifetime: u32,
}

impl Settings {
    /// Cookies are `Secure` and `__Host-` exactly when people come over https.
    pub fn is_https(&self) -> bool {
        self.issuer.starts_with("https://")
    }
}

/// All use cases of one server.
pub struct Service {
    pub settings: Settings,
    store: Store,
    facts: Facts,
    index: Arc<RevocationIndex>,
    follower: Arc<Follower>,
    revoker: Revoker,
    token_keys: TokenKeys,
    pub signing_keys: SigningKeys,
    /// Seals the forms that users are shown.
    form_key: MacKey,
    /// Where DPoP proofs need a nonce.
    nonce_keys: Option<NonceKeys>,
    passwords: Passwords,
    pruning: PruningMetrics,
    registrations: RegistrationRate,
    effects: Effects,
    stopping: watch::Sender<bool>,
}

/// What a service is made of.
pub struct Parts {
    pub settings: Settings,
    pub store: Store,
    pub facts: Facts,
    pub index: Arc<RevocationIndex>,
    pub follower: Arc<Follower>,
    pub revoker: Revoker,
    pub token_keys: TokenKeys,
    pub signing_keys: SigningKeys,
    pub form_key: MacKey,
    pub nonce_keys: Option<NonceKeys>,
    pub pruning: PruningMetrics,
    pub effects: Effects,
}

impl Service {
    /// Works on the runtime that calls.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            settings,
            store,
            facts,
            index,
            follower,
            revoker,
            token_keys,
            signing_keys,
            form_key,
            nonce_keys,
            pruning,
            effects,
        } = parts;
        Self {
            settings,
            store,
            facts,
            index,
            follower,
            revoker,
            token_keys,
            signing_keys,
            form_key,
            nonce_keys,
            passwords: Passwords::new(),
            pruning,
            registrations: RegistrationRate::new(),
            effects,
            stopping: watch::Sender::new(false),
        }
    }

    /// The token that a text is, if a key signed it that was not revoked.
    fn open(&self, text: &str) -> Option<Token> {
        self.token_keys.open(text).filter(|signed| !self.index.is_revoked(signed.key)).map(|signed| signed.token)
    }

    /// What a revoked key would sign is dead at once: better nothing.
    fn can_sign(&self) -> Result<(), Unavailable> {
        if self.index.is_revoked(self.token_keys.signing()) {
            let cause = "the key that signs was revoked: set keys.secret and keys.secret_id to another one".into();
            return Err(Unavailable { operation: "sign a token", cause });
        }
        Ok(())
    }
}
