//! The use cases: the only place where the store, the facts, the revocation index, the clock and randomness meet.
//!
//! A front calls one method here and renders what it returns. `now` is read once per call.

pub mod accounts;
pub mod administration;
pub mod app_sign_in;
pub mod apps;
pub mod attempts;
pub mod audit;
pub mod authorization;
pub mod backchannel_logout;
pub mod built_in_clients;
pub mod client_address;
pub mod client_authentication;
mod client_documents;
mod client_credentials;
pub mod clients;
pub mod connected_apps;
mod consent;
pub mod device;
pub mod direct_authorization;
pub mod discovery;
pub mod gateway;
pub mod interaction;
pub mod introspection;
pub mod jwt_access_tokens;
pub mod known_browser;
pub mod logout;
pub mod managing;
pub mod openid;
pub mod own_clients;
pub mod passwords;
pub mod possession;
pub mod protected_resources;
pub mod pruning;
pub mod pushed_requests;
pub mod registration;
mod remote_keys;
mod registration_rate;
pub mod revocation;
pub mod sign_in;
mod signed_introspection;
pub mod signing_keys;
pub mod token_endpoint;
mod token_exchange;
pub mod userinfo;
pub mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::app_sign_in::Login;
use self::apps::{AppRates, AppsPolicy};
use self::attempts::{AttemptLimits, Attempts, RefusedAttempts};
use self::audit::Audit;
use self::backchannel_logout::LogoutMetrics;
use self::client_address::ClientAddresses;
use self::client_documents::ClientDocuments;
use self::clients::ClientNames;
use self::gateway::Gateway;
use self::jwt_access_tokens::JwtAccessTokens;
use self::passwords::Passwords;
use self::possession::ClientCertificates;
use self::pruning::PruningMetrics;
use self::pushed_requests::PushedRequests;
use self::registration_rate::RegistrationRate;
use self::remote_keys::RemoteKeys;
use self::signing_keys::SigningKeys;
use self::token_endpoint::ClientRequests;
use crate::domain::answers::Answers;
use crate::domain::authorization_rules::AuthorizationRules;
use crate::domain::client::GrantType;
use crate::domain::consent::ConsentRules;
use crate::domain::dpop_nonce::NonceKeys;
use crate::domain::error::Unavailable;
use crate::domain::grant::{CodeReuse, Lifetimes};
use crate::domain::language::{Languages, ScopeMeaning};
use crate::domain::openid::{EMAIL, OPENID, PROFILE};
use crate::domain::paths::Paths;
use crate::domain::registration::RegistrationPolicy;
use crate::domain::resource::ResourceCatalogue;
use crate::domain::scope::{Implications, ScopeSet};
use crate::domain::scope_rules::ScopeRules;
use crate::domain::secret::MacKey;
use crate::domain::token::{Token, TokenKeys};
use crate::effects::Effects;
use crate::effects::outgoing::Outgoing;
use crate::facts::{ClientScopes, Facts};
use crate::revocation::{Follower, RevocationIndex, Revoker};
use crate::store::Store;

/// What the operator configured.
#[derive(Debug)]
pub struct Settings {
    /// The issuer identifier (RFC 8414 §2), without a trailing slash.
    pub issuer: String,
    /// Where the endpoints are.
    pub paths: Paths,
    pub lifetimes: Lifetimes,
    /// How users are known.
    pub login: Login,
    /// How long a browser stays signed in, in seconds.
    pub session_lifetime: u32,
    /// What each scope means, for people to read.
    pub catalogue: BTreeMap<String, ScopeMeaning>,
    /// What the pages speak.
    pub languages: Languages,
    pub implications: Implications,
    /// What they come to at a resource beyond that, if there are rules.
    pub scope_rules: Option<ScopeRules>,
    /// Where tokens may be good.
    pub resources: ResourceCatalogue,
    pub pushed_requests: PushedRequests,
    /// Where client certificates come from, if they do.
    pub client_certificates: Option<ClientCertificates>,
    /// Who says where requests come from.
    pub client_addresses: ClientAddresses,
    /// How often passwords and client secrets may be guessed.
    pub attempts: AttemptLimits,
    /// How authorization requests are judged and answered.
    pub authorization: AuthorizationRules,
    /// When users are asked again.
    pub consent: ConsentRules,
    /// How long a caller may keep a permission.
    pub answer_ttl: Duration,
    pub registration: RegistrationPolicy,
    /// Which pages users have to manage their apps.
    pub account: AccountPages,
    /// How they manage them over an API.
    pub apps: AppsPolicy,
    /// How requests at proxies are judged.
    pub gateway: Gateway,
    /// Which requests the endpoints for clients take, and how they answer.
    pub client_requests: ClientRequests,
    pub answers: Answers,
    pub client_names: ClientNames,
    /// Whether a refresh ends the access tokens of before.
    pub refresh_ends_access_tokens: bool,
    /// What becomes of the tokens of a code that comes again.
    pub code_reuse: CodeReuse,
    /// The ways to tokens that there are.
    pub grant_types: Vec<GrantType>,
    /// Whether tokens are bound to the keys of DPoP proofs.
    pub binds_by_dpop: bool,
    /// `None`: OpenID Connect is not offered, and `openid` is a scope like any other.
    pub openid: Option<OpenId>,
    /// `None`: every access token is opaque.
    pub jwt_access_tokens: Option<JwtAccessTokens>,
    /// Whether introspection answers are signed for those who ask for it (RFC 9701).
    pub signs_introspection: bool,
}

/// The pages on which users manage their apps.
#[derive(Clone, Debug)]
pub struct AccountPages {
    /// Those that may use the account.
    pub apps: bool,
    /// Those that the user makes; `None`: users make none.
    pub clients: Option<OwnClientsPolicy>,
}

/// What users may make.
#[derive(Clone, Debug)]
pub struct OwnClientsPolicy {
    /// What their clients may ask for.
    pub scopes: ScopeSet,
    /// How many one user may have.
    pub per_user: u32,
}

/// How OpenID Connect is offered.
#[derive(Debug)]
pub struct OpenId {
    /// Of ID tokens, in seconds.
    pub id_token_lifetime: u32,
    /// Whether clients are told that users were signed out.
    pub backchannel_logout: bool,
    /// Whether clients get to know of the groups of users.
    pub groups: bool,
    /// Whether the audience is an array of one.
    pub audience_array: bool,
}

impl Settings {
    pub fn offers(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// Cookies are `Secure` and `__Host-` exactly when people come over https.
    pub fn is_https(&self) -> bool {
        self.issuer.starts_with("https://")
    }

    /// The scopes that mean something to us.
    pub fn standard_scopes(&self) -> &'static [&'static str] {
        match &self.openid {
            None => &[],
            Some(_) if self.login.is_built_in() => &[OPENID, PROFILE],
            Some(_) => &[OPENID, PROFILE, EMAIL],
        }
    }

    /// Whether anything is signed that others verify.
    pub fn signs(&self) -> bool {
        self.openid.is_some() || self.jwt_access_tokens.is_some() || self.signs_introspection
    }
}

/// All use cases of one server.
pub struct Service {
    pub settings: Settings,
    pub audit: Audit,
    store: Store,
    facts: Facts,
    /// What clients may ask for now.
    client_scopes: ClientScopes,
    index: Arc<RevocationIndex>,
    follower: Arc<Follower>,
    revoker: Revoker,
    token_keys: TokenKeys,
    pub signing_keys: SigningKeys,
    /// Requests to URLs that clients named.
    pub outgoing: Outgoing,
    /// Requests to the app, whose URLs the operator named.
    app: Outgoing,
    /// Seals the forms that users are shown.
    form_key: MacKey,
    /// Seals page tokens and etags.
    page_key: MacKey,
    /// Where DPoP proofs need a nonce.
    nonce_keys: Option<NonceKeys>,
    passwords: Passwords,
    attempts: Attempts,
    pruning: PruningMetrics,
    logouts: LogoutMetrics,
    registrations: RegistrationRate,
    app_rates: AppRates,
    remote_keys: RemoteKeys,
    client_documents: ClientDocuments,
    effects: Effects,
    stopping: watch::Sender<bool>,
}

/// What a service is made of.
pub struct Parts {
    pub settings: Settings,
    pub audit: Audit,
    pub store: Store,
    pub facts: Facts,
    pub index: Arc<RevocationIndex>,
    pub follower: Arc<Follower>,
    pub revoker: Revoker,
    pub token_keys: TokenKeys,
    pub signing_keys: SigningKeys,
    pub outgoing: Outgoing,
    pub app: Outgoing,
    pub form_key: MacKey,
    pub page_key: MacKey,
    pub nonce_keys: Option<NonceKeys>,
    pub pruning: PruningMetrics,
    pub logouts: LogoutMetrics,
    pub refused_attempts: RefusedAttempts,
    pub effects: Effects,
}

impl Service {
    /// Works on the runtime that calls.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            settings,
            audit,
            store,
            facts,
            index,
            follower,
            revoker,
            token_keys,
            signing_keys,
            outgoing,
            app,
            form_key,
            page_key,
            nonce_keys,
            pruning,
            logouts,
            refused_attempts,
            effects,
        } = parts;
        Self {
            attempts: Attempts::new(settings.attempts, refused_attempts),
            settings,
            audit,
            client_scopes: ClientScopes::new(store.clone(), index.lease()),
            store,
            facts,
            index,
            follower,
            revoker,
            token_keys,
            signing_keys,
            remote_keys: RemoteKeys::new(outgoing.clone()),
            client_documents: ClientDocuments::new(),
            outgoing,
            app,
            form_key,
            page_key,
            nonce_keys,
            passwords: Passwords::new(),
            pruning,
            logouts,
            registrations: RegistrationRate::new(),
            app_rates: AppRates::new(),
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
