//! Configuration: one TOML file, and environment variables over it. Every default stands here, once.
//!
//! The documentation of each field is the reference; `scopegate config show` prints the effective values.

mod account;
mod answers;
mod apps;
mod attempts;
mod audit;
mod authorization;
mod callers;
mod clients;
mod consent;
mod deployment;
mod gateway;
mod grants;
mod jwt;
mod keys;
mod layers;
mod listen;
mod login;
mod outgoing;
mod pages;
mod pkce;
mod profile;
mod registration;
mod scopes;
mod tls;
mod token_endpoint;
mod validation;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr as _;

use http::HeaderName;
use http::header::FORWARDED;
use serde::{Deserialize, Serialize};

pub use self::account::Account;
pub use self::answers::Answers;
pub use self::apps::Apps;
pub use self::attempts::Attempts;
pub use self::audit::Audit;
pub use self::authorization::Authorization;
pub use self::callers::{ConfiguredCaller, LocalCallers};
pub use self::clients::{Clients, IdFormat};
pub use self::consent::Consent;
pub use self::deployment::Deployment;
pub use self::gateway::{Gateway, RouteConfig};
pub use self::grants::Grants;
pub use self::jwt::Jwt;
pub use self::layers::{ConfigError, Environment, Layers};
pub use self::listen::{ListenAddress, ListenAddresses};
pub use self::login::{Login, Method};
pub use self::outgoing::Outgoing;
pub use self::pages::Pages;
pub use self::pkce::Pkce;
pub use self::registration::{Registration, RegistrationMode};
pub use self::tls::Tls;
pub use self::token_endpoint::TokenEndpoint;
use crate::domain::client::AuthenticationMethod;
use crate::domain::grant::{CodeReuse, Lifetimes};
use crate::domain::jwk::SigningAlgorithm;
use crate::domain::language::{Languages, ScopeMeaning, Wording};
use crate::domain::network::Network;
use crate::domain::openid;
use crate::domain::paths::Paths;
use crate::domain::resource::ResourceCatalogue;
use crate::domain::scope::{Implications, Scope};
use crate::domain::token::Alphabet;
use crate::facts::redis::{Endpoint, MalformedEndpoint};
use crate::http::Renderer;
use crate::service::client_address::ClientAddresses;
use crate::service::possession::ClientCertificates;
use crate::service::pushed_requests::PushedRequests;
use crate::service::{OpenId, Settings};

/// The whole configuration. Every key can be set as `SCOPEGATE_` + path with `__` between the parts:
/// `SCOPEGATE_HTTP__LISTEN`. With `_FILE` appended, the value is read from the file that the variable names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The issuer identifier (RFC 8414 §2) and the base of every URL: https, or http on a loopback address. Empty:
    /// `http://` and the address of `http.listen`, if that is a loopback address.
    pub issuer: String,
    /// Which system to stand in for: `standard`, `fittrackee`, `forgejo`, `funkwhale`, `gancio`, `oauthlib`, or a file whose name ends in
    /// `.toml`. A profile is a layer of this configuration between the defaults and the file; whatever it sets can be set otherwise.
    pub profile: String,
    /// Threads that serve requests. 0: one per core.
    pub workers: usize,
    pub paths: Paths,
    pub http: Http,
    pub grpc: Grpc,
    pub ops: Ops,
    pub database: Database,
    pub cache: Cache,
    pub redis: Redis,
    pub tokens: Tokens,
    pub token_endpoint: TokenEndpoint,
    pub answers: Answers,
    pub clients: Clients,
    pub keys: Keys,
    pub openid: OpenIdConnect,
    pub jwt: Jwt,
    pub login: Login,
    pub attempts: Attempts,
    pub audit: Audit,
    pub authorization: Authorization,
    pub pkce: Pkce,
    pub consent: Consent,
    pub scopes: Scopes,
    pub resources: Resources,
    pub par: Par,
    pub registration: Registration,
    pub account: Account,
    pub apps: Apps,
    pub grants: Grants,
    pub gateway: Gateway,
    /// Rules about requests at proxies, in their order.
    pub routes: Vec<RouteConfig>,
    pub outgoing: Outgoing,
    pub pages: Pages,
    pub telemetry: Telemetry,
}

/// The public OAuth front.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// One address, `ip:port`. Port 0 picks a free one.
    pub listen: ListenAddresses,
    /// The proxies in front, addresses or networks such as `10.0.0.0/8`: what they say of client certificates and of where a request
    /// comes from is believed, and of requests at `/check`.
    pub trusted_proxies: Vec<Network>,
    /// The header to which each of them adds the address that it has a request from: as of `X-Forwarded-For`, or `Forwarded` (RFC 7239).
    pub client_address_header: String,
    /// Whether it counts what scheme and host they say they were asked for: `X-Forwarded-Proto` and `X-Forwarded-Host`, or `proto` and `host`
    /// where `client_address_header` is `Forwarded`. Where the issuer is https, a request that one of them had over http is not served,
    /// and where several issuers listen on one address, the host says which of them is meant. No URL is ever made of either.
    pub forwarded_target: bool,
    /// The header in which they pass on the certificate of the client, as of RFC 9440 or as percent-encoded PEM. They have to remove
    /// what clients send under this name. Empty: there are no client certificates.
    pub client_certificate_header: String,
    /// How client certificates authenticate clients (RFC 8705 §2): `off`; `tls_client_auth`, where nobody lets a certificate through that no
    /// authority of yours has signed, neither `http.tls.client_ca_file` nor the proxies; or `self_signed_tls_client_auth`, where the proxies
    /// only see to it that the client has the key.
    pub client_certificate_authentication: CertificateAuthentication,
    /// Off: TLS ends in front.
    pub tls: Tls,
}

/// How client certificates authenticate clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateAuthentication {
    Off,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
}

impl CertificateAuthentication {
    fn method(self) -> Option<AuthenticationMethod> {
        match self {
            Self::Off => None,
            Self::TlsClientAuth => Some(AuthenticationMethod::TlsClientAuth),
            Self::SelfSignedTlsClientAuth => Some(AuthenticationMethod::SelfSignedTlsClientAuth),
        }
    }
}

/// The front for services.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    /// Addresses, `ip:port` and `unix:/path`, separated by commas or as a list.
    pub listen: ListenAddresses,
    /// What callers present as `authorization: Bearer …` that see all tokens and may do everything. Empty: there are no such callers.
    pub caller_token: Secret,
    /// Callers on a loopback address and on the Unix socket: `all`, or `none`, where they have to be known as all others. Who presents a
    /// token or a known certificate is judged by that.
    pub local_callers: LocalCallers,
    /// Callers that see less, or are known by a certificate.
    pub callers: Vec<ConfiguredCaller>,
    /// Off: TLS ends in front. The Unix socket has none in any case.
    pub tls: Tls,
}

/// Metrics and probes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// One address, `ip:port`, for `/metrics`, `/livez` and `/readyz`.
    pub listen: ListenAddresses,
}

/// The truth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH`, for one server, or `postgres://user:password@host/database`, for many.
    pub url: Secret,
    /// Bring the schema up to date at start: `true`, `false`, or `auto`, which does so on SQLite. Where many servers share
    /// a database, that is for `scopegate migrate`.
    pub auto_migrate: AutoMigrate,
    /// Tell other servers of a revocation at once by PostgreSQL's `NOTIFY`, and hear them by `LISTEN`. Off where a pooler in between
    /// does not carry it; then they learn of it from the log.
    pub notify: bool,
}

/// Cached facts about grants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// How much memory they may take, in bytes.
    pub max_bytes: u64,
    /// For so long after the revocation log was read, in milliseconds, "active" is answered from the cache: what another server
    /// revokes is dead here after so long at the latest, whatever fails. 100 to 30000.
    pub lease: u64,
    /// How long callers may keep a permission (`cache_ttl` in answers), in milliseconds: by so much later does a revocation reach them.
    pub answer_ttl: u64,
}

/// A cache that servers share. Nothing depends on it: without it, the database is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `redis://user:password@host:port/database`, `rediss://` with TLS, `redis+unix:///path`; through Sentinels
    /// `redis+sentinel://user:password@host:port,host:port/master/database`, the password being that of the master; a cluster
    /// `redis+cluster://user:password@host:port,host:port`; these two with TLS as `rediss+…`. Empty: no Redis.
    pub url: Secret,
    /// What every key and channel begins with. Each database that is used with the same Redis needs one of its own.
    pub key_prefix: String,
    /// A file of PEM certificates to trust with TLS in place of the system's.
    pub ca_path: String,
}

/// Lifetimes, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Of an authorization code (RFC 6749 §4.1.2: 600 at most).
    pub code_lifetime: u32,
    /// Of an access token. 0: it does not expire; that needs `tokens.refresh_token_absolute_lifetime` 0, because no token outlives its
    /// grant, and `jwt.access_tokens` off.
    pub access_token_lifetime: u32,
    /// A refresh token that is not used for so long expires. 0: it does not.
    pub refresh_token_idle_lifetime: u32,
    /// A grant ends so long after it was made, however often it is refreshed. 0: when it is revoked, and until then its row stays.
    pub refresh_token_absolute_lifetime: u32,
    /// For so long after a rotation, the preceding refresh token gets the same successor again. 0: never.
    pub refresh_grace: u32,
    /// Whether DPoP proofs need a nonce (RFC 9449 §8 and §9): `off` or `required`. It is good for 2 to 4 minutes at every server with the
    /// same `keys.secret`. Services that check tokens pass `CheckScopesResponse.dpop_nonce` on as `DPoP-Nonce`.
    pub dpop_nonce: DPoPNonce,
    /// Whether tokens are bound to keys that clients prove (RFC 9449). Off: proofs are headers like any other, and the metadata name no
    /// algorithms for them. Tokens that are bound already stay so.
    pub dpop: bool,
    /// In which characters codes, tokens and client secrets are written: `base64url`, or `lowercase`, `[a-z0-9_]` alone, for clients that
    /// take no others. Tokens in the other alphabet stay good.
    pub alphabet: Alphabet,
    /// Whether a refresh ends the access tokens of before, on every server as a revocation does. It costs an entry of the revocation log.
    /// Clients whose refresh token stays (`scopegate client update --refresh-token-rotation keep`) keep theirs.
    pub refresh_ends_access_tokens: bool,
    /// What becomes of the tokens of a code that comes again: `revoke` (RFC 6749 §4.1.2); or `refuse`, they stay, where the client proved
    /// who it is, for clients that redeem the code of their page whenever it is opened. Those of a public client always end.
    pub code_reuse: CodeReuse,
}

/// Whether DPoP proofs need a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DPoPNonce {
    Off,
    Required,
}

/// Secrets of the deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The master secret from which the MAC keys derive: base64 of at least 32 random bytes. Required.
    pub secret: Secret,
    /// The key id that tokens signed with it carry: 0 to 15.
    pub secret_id: u8,
    /// How ID tokens, and whatever else others verify, are signed: `RS256`, `ES256` or `EdDSA`. The keys for it are made, published and replaced by themselves.
    pub signing_algorithm: SigningAlgorithm,
    /// Earlier secrets that still verify, and open the signing keys that were stored under them.
    pub previous: Vec<PreviousKey>,
}

/// OpenID Connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that an operator wants or not")]
pub struct OpenIdConnect {
    /// Whether requests with the scope `openid` get ID tokens, and `/userinfo` and `/logout` are there. Where not, `openid` is a scope
    /// like any other.
    pub enabled: bool,
    /// Of an ID token, in seconds; a day at most.
    pub id_token_lifetime: u32,
    /// Whether clients that registered a `backchannel_logout_uri` are told that users were signed out.
    pub backchannel_logout: bool,
    /// Whether clients with the scope `groups` get to know of which groups the app says that a user is.
    pub groups: bool,
    /// Whether `aud` of ID tokens is an array of one client, and not its id alone (OpenID Connect Core §2 has both).
    pub audience_array: bool,
}

/// A secret that signed earlier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousKey {
    /// Its key id, 0 to 15, another than every other's.
    pub id: u8,
    /// The master secret of then.
    pub secret: Secret,
}

/// What may be granted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scopes {
    /// Each scope, and what it means to the user who is asked for it: a text, or a table of texts by language that has the first of
    /// `pages.languages`. Empty: any scope, undescribed.
    pub catalogue: BTreeMap<String, Wording>,
    /// By which rules one scope implies others.
    pub implications: Implications,
    /// Whether a token may do no more than its client may ask for now. It is read again after `cache.lease`, so fewer scopes of a client
    /// count everywhere by then.
    pub limit_to_client: bool,
    /// What tokens can do at all, with what it implies, whatever was granted. Empty: everything. The scopes of OpenID Connect are in it.
    pub allowed: Vec<Scope>,
    /// A scope that counts as granted where a user granted nothing that it implies, and no restriction. Empty: nothing granted is nothing
    /// allowed.
    pub fallback_without_api_scope: String,
    /// Scopes that are no permissions: nothing implies them, users cannot leave them out, whoever narrows a token keeps them, and
    /// `CheckScopes` tells the application of them.
    pub restrictions: Vec<Scope>,
}

/// Where tokens may be good (RFC 8707).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Each resource, an absolute URI without a fragment, and the scopes that belong to it; an empty list: every scope. Each gets a
    /// metadata document (RFC 9728). Empty: any resource.
    pub catalogue: BTreeMap<Box<str>, Vec<Scope>>,
}

/// Pushed authorization requests (RFC 9126).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Par {
    /// Whether `/par` is there.
    pub enabled: bool,
    /// Refuse authorization requests that were not pushed, of whichever client.
    pub required: bool,
    /// In so many seconds after the request was pushed, the user has to be asked. 60 to 600.
    pub lifetime: u32,
}

/// Logs, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives as of tracing-subscriber's `EnvFilter`. With
    /// `scopegate::checks=debug` among them, every check has a line with its trace and request id.
    pub log: String,
    /// `text`, `json`, or `auto`: text on a terminal.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Whether the server migrates its database itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "toml::Value")]
pub enum AutoMigrate {
    Auto,
    True,
    False,
}

impl TryFrom<toml::Value> for AutoMigrate {
    type Error = &'static str;

    /// As TOML has it, and as an environment variable has it.
    fn try_from(value: toml::Value) -> Result<Self, &'static str> {
        match value {
            toml::Value::Boolean(true) => Ok(Self::True),
            toml::Value::Boolean(false) => Ok(Self::False),
            toml::Value::String(text) if text == "auto" => Ok(Self::Auto),
            toml::Value::String(text) if text == "true" => Ok(Self::True),
            toml::Value::String(text) if text == "false" => Ok(Self::False),
            _ => Err("this is true, false or auto"),
        }
    }
}

/// A value that is never shown.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            profile: profile::STANDARD.into(),
            workers: 0,
            paths: Paths::default(),
            http: Http::default(),
            grpc: Grpc::default(),
            ops: Ops::default(),
            database: Database::default(),
            cache: Cache::default(),
            redis: Redis::default(),
            tokens: Tokens::default(),
            token_endpoint: TokenEndpoint::default(),
            answers: Answers::default(),
            clients: Clients::default(),
            keys: Keys::default(),
            openid: OpenIdConnect::default(),
            jwt: Jwt::default(),
            login: Login::default(),
            attempts: Attempts::default(),
            audit: Audit::default(),
            authorization: Authorization::default(),
            pkce: Pkce::default(),
            consent: Consent::default(),
            scopes: Scopes::default(),
            resources: Resources::default(),
            par: Par::default(),
            registration: Registration::default(),
            account: Account::default(),
            apps: Apps::default(),
            grants: Grants::default(),
            gateway: Gateway::default(),
            routes: Vec::new(),
            outgoing: Outgoing::default(),
            pages: Pages::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: ListenAddresses::tcp([127, 0, 0, 1], 8080),
            trusted_proxies: Vec::new(),
            client_address_header: "X-Forwarded-For".into(),
            forwarded_target: true,
            client_certificate_header: String::new(),
            tls: Tls::default(),
            client_certificate_authentication: CertificateAuthentication::Off,
        }
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            listen: ListenAddresses::tcp([127, 0, 0, 1], 50051),
            caller_token: Secret::default(),
            local_callers: LocalCallers::All,
            callers: Vec::new(),
            tls: Tls::default(),
        }
    }
}

impl Default for Ops {
    fn default() -> Self {
        Self { listen: ListenAddresses::tcp([127, 0, 0, 1], 9464) }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: Secret("sqlite:scopegate.db".into()), auto_migrate: AutoMigrate::Auto, notify: true }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, lease: 1_000, answer_ttl: 0 }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: Secret::default(), key_prefix: "scopegate:".into(), ca_path: String::new() }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            code_lifetime: 60,
            access_token_lifetime: 600,
            refresh_token_idle_lifetime: 30 * 86_400,
            refresh_token_absolute_lifetime: 90 * 86_400,
            refresh_grace: 10,
            dpop_nonce: DPoPNonce::Off,
            dpop: true,
            alphabet: Alphabet::Base64url,
            refresh_ends_access_tokens: false,
            code_reuse: CodeReuse::Revoke,
        }
    }
}

impl Default for OpenIdConnect {
    fn default() -> Self {
        Self { enabled: true, id_token_lifetime: 600, backchannel_logout: true, groups: false, audience_array: false }
    }
}

impl Default for Par {
    fn default() -> Self {
        Self { enabled: true, required: false, lifetime: 600 }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".into(), log_format: LogFormat::Auto }
    }
}

impl Database {
    /// Whether the server brings the schema up to date at start.
    pub fn migrates_itself(&self) -> bool {
        match self.auto_migrate {
            AutoMigrate::Auto => self.url.expose().starts_with("sqlite:"),
            AutoMigrate::True => true,
            AutoMigrate::False => false,
        }
    }
}

impl Config {
    /// What makes HTML of the pages of this issuer.
    pub fn renderer(&self, issuer: &str) -> Result<Renderer, ConfigError> {
        self.pages.renderer(issuer)
    }

    /// Where the cache that servers share is, if there is one.
    pub fn redis_endpoint(&self) -> Result<Option<Endpoint>, ConfigError> {
        let Redis { url, ca_path, .. } = &self.redis;
        if url.expose().is_empty() {
            return Ok(None);
        }
        let wrong = |error: &dyn fmt::Display| ConfigError::new("redis.ca_path", &error.to_string());
        let authorities = match ca_path.as_str() {
            "" => None,
            path => Some(std::fs::read(path).map_err(|error| wrong(&error))?),
        };
        match Endpoint::parse(url.expose(), authorities) {
            Ok(endpoint) => Ok(Some(endpoint)),
            Err(error @ MalformedEndpoint::Url) => Err(ConfigError::new("redis.url", &error.to_string())),
            Err(error @ MalformedEndpoint::Certificates) => Err(wrong(&error)),
        }
    }

    /// What the use cases need of all this; `http` is the address that was bound.
    pub fn settings(&self, http: std::net::SocketAddr) -> Settings {
        let issuer = if self.issuer.is_empty() {
            format!("{}://{http}", if self.http.tls.is_on() { "https" } else { "http" })
        } else {
            self.issuer.trim_end_matches('/').to_owned()
        };
        Settings {
            jwt_access_tokens: self.jwt.access_tokens(&issuer),
            signs_introspection: self.jwt.introspection_responses,
            issuer,
            paths: self.paths.clone(),
            lifetimes: Lifetimes {
                code: self.tokens.code_lifetime,
                access_token: self.tokens.access_token_lifetime,
                refresh_token_idle: self.tokens.refresh_token_idle_lifetime,
                refresh_token_absolute: self.tokens.refresh_token_absolute_lifetime,
                refresh_grace: self.tokens.refresh_grace,
            },
            login: self.login.settings(&self.http.trusted_proxies),
            session_lifetime: self.login.session_lifetime,
            catalogue: self.catalogue(),
            languages: self.pages.languages().unwrap_or_else(|_| Languages::all()),
            implications: self.scopes.implications.clone(),
            scope_rules: self.scopes.rules(self.openid.enabled),
            client_certificates: self.client_certificates(),
            client_addresses: ClientAddresses {
                header: HeaderName::from_str(&self.http.client_address_header).unwrap_or(FORWARDED),
                proxies: self.http.trusted_proxies.clone(),
                tell_targets: self.http.forwarded_target,
            },
            attempts: self.attempts.limits(),
            authorization: self
                .authorization
                .rules(self.pkce.rules(), self.catalogue().keys().filter_map(|scope| scope.parse().ok()).collect()),
            consent: self.consent.rules(),
            pushed_requests: PushedRequests {
                offered: self.par.enabled,
                required: self.par.required,
                lifetime: self.par.lifetime,
            },
            resources: ResourceCatalogue::new(
                self.resources
                    .catalogue
                    .iter()
                    .map(|(resource, scopes)| (resource.clone(), scopes.iter().cloned().collect())),
            ),
            answer_ttl: std::time::Duration::from_millis(self.cache.answer_ttl),
            registration: self.registration.policy(&self.catalogue()),
            account: self.account.pages(&self.scopes),
            apps: self.apps.policy(&self.catalogue(), self.account.max_clients_per_user),
            gateway: self.gateway.rules(&self.routes, &self.http.trusted_proxies),
            client_requests: self.token_endpoint.rules(),
            answers: self.answers.rules(),
            client_names: self.clients.names(self.tokens.alphabet),
            refresh_ends_access_tokens: self.tokens.refresh_ends_access_tokens,
            code_reuse: self.tokens.code_reuse,
            grant_types: self.grants.types(),
            binds_by_dpop: self.tokens.dpop,
            openid: self.openid.enabled.then_some(OpenId {
                id_token_lifetime: self.openid.id_token_lifetime,
                backchannel_logout: self.openid.backchannel_logout,
                groups: self.openid.groups,
                audience_array: self.openid.audience_array,
            }),
        }
    }

    fn client_certificates(&self) -> Option<ClientCertificates> {
        let header = HeaderName::from_str(&self.http.client_certificate_header).ok();
        self.sees_certificates().then(|| ClientCertificates {
            header,
            proxies: self.http.trusted_proxies.clone(),
            method: self.http.client_certificate_authentication.method(),
        })
    }

    /// Whether the certificates of clients come to the HTTP port.
    fn sees_certificates(&self) -> bool {
        !self.http.client_certificate_header.is_empty() || self.http.tls.asks_clients()
    }

    /// With the scopes of OpenID Connect. An empty catalogue knows every scope, so it stays empty.
    fn catalogue(&self) -> BTreeMap<String, ScopeMeaning> {
        let said = |(scope, wording): (&String, &Wording)| (scope.clone(), ScopeMeaning::Said(wording.clone()));
        let mut catalogue: BTreeMap<String, ScopeMeaning> = self.scopes.catalogue.iter().map(said).collect();
        if self.openid.enabled && !catalogue.is_empty() {
            let email = (self.login.method != Method::Accounts).then_some(openid::EMAIL);
            for scope in [openid::OPENID, openid::PROFILE].into_iter().chain(email) {
                catalogue.entry(scope.into()).or_insert(ScopeMeaning::Standard);
            }
        }
        catalogue
    }
}
