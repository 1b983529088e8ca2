//! The composition root: builds the parts once, binds, runs, drains.
//!
//! Threads: the one that starts the server is the background, where the connections to the database and to Redis live, the
//! revocation log is followed and what has ended is pruned; each core is a thread with a runtime of its own and its own
//! listeners on the shared ports. A core hands a miss or a write to the background and awaits the answer.

mod bind;
mod connections;
mod ops;
mod tls;

use std::sync::Arc;
use std::thread::{self, JoinHandle, available_parallelism};
use std::time::Duration;
use std::{fmt, io};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic_health::server::HealthReporter;

pub use self::bind::BindError;
use self::bind::{CoreListener, Listeners, SharedListeners};
use self::connections::{ConnectionLimit, Front, Port};
use self::ops::Observed;
use self::tls::{Reloader, Tls};
use crate::config::{Config, ConfigError, Deployment, ListenAddress, ListenAddresses};
use crate::domain::authority::Authority;
use crate::domain::error::Unavailable;
use crate::effects::Effects;
use crate::effects::outgoing::Outgoing;
use crate::facts::redis::SharedCache;
use crate::facts::{Facts, LocalCache};
use crate::grpc::GrpcFront;
use crate::http;
use crate::proto::scopegate::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN_SERVICE};
use crate::proto::scopegate::v1::interaction_service_server::{
    InteractionServiceServer, SERVICE_NAME as INTERACTION_SERVICE,
};
use crate::proto::scopegate::v1::token_service_server::{SERVICE_NAME, TokenServiceServer};
use crate::revocation::{Follower, Hints, RevocationIndex, Revoker};
use crate::service::audit::Audit;
use crate::service::built_in_clients::BuiltInFailure;
use crate::service::signing_keys::SigningKeys;
use crate::service::{Parts, Service};
use crate::store::{SchemaError, Store};
use crate::telemetry::{Metrics, TlsMetrics};

/// What the ports speak, by its names in TLS (RFC 7301).
const HTTP_PROTOCOLS: &[&[u8]] = &[b"http/1.1"];
const GRPC_PROTOCOLS: &[&[u8]] = &[b"h2"];

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{0}: {cause}", cause = .0.cause)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    BuiltIn(#[from] BuiltInFailure),
    #[error("a thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// The parts that work without listening: what the commands that manage the database need, too.
pub struct Backend {
    pub service: Arc<Service>,
    pub store: Store,
    /// The cache that servers share, if one is configured.
    pub shared: Option<Arc<SharedCache>>,
    follower: Arc<Follower>,
    metrics: Arc<Metrics>,
}

impl Backend {
    /// Opens the database and builds the use cases, on the runtime that calls. `issuer_address` is where HTTP is bound, for a
    /// configuration that names no issuer.
    pub async fn open(
        config: &Config,
        issuer_address: std::net::SocketAddr,
        effects: Effects,
    ) -> Result<Self, StartError> {
        let cache = Arc::new(LocalCache::new(config.cache.max_bytes));
        let mut metrics = Metrics::new(cache.clone());
        let shared = match config.redis_endpoint()? {
            Some(endpoint) => {
                let (prefix, keys) = (&config.redis.key_prefix, config.shared_keys()?);
                Some(Arc::new(SharedCache::new(endpoint, prefix, keys, metrics.of_redis())))
            }
            None => None,
        };
        let mut store = Store::open(config.database.url.expose(), metrics.store_operations.clone()).await?;
        if config.openid.enabled && config.openid.backchannel_logout {
            store = store.announcing_logouts();
        }
        if config.database.migrates_itself() {
            store.migrate().await?;
        }
        store.check_schema().await?;
        let lease = Duration::from_millis(config.cache.lease);
        let (start, revoked_keys) = (store.log_start(effects.now()).await?, store.revoked_keys().await?);
        let index = Arc::new(RevocationIndex::starting_at(start, lease, revoked_keys));
        let hints = Hints::new(config.hint_key()?, config.database.notify.then(|| store.clone()), shared.clone());
        let follower = Arc::new(Follower::new(store.clone(), index.clone(), hints.clone(), effects.clone()));
        follower.catch_up().await?;
        let token_keys = config.token_keys()?;
        if index.is_revoked(token_keys.signing()) {
            return Err(ConfigError::new("keys.secret_id", "this key was revoked: sign with another one").into());
        }
        let revoker = Revoker::new(store.clone(), index.clone(), follower.clone(), hints, effects.clone());
        let service = Service::new(Parts {
            settings: config.settings(issuer_address),
            audit: Audit::new(config.audit.appender(metrics.audit_lost.clone())?, effects.clone()),
            facts: Facts::new(store.clone(), cache, shared.clone(), &metrics.facts),
            store: store.clone(),
            index,
            follower: follower.clone(),
            revoker,
            token_keys,
            signing_keys: SigningKeys::new(
                config.keys.signing_algorithm,
                config.sealing_keys()?,
                store.clone(),
                effects.clone(),
            ),
            outgoing: Outgoing::new(config.outgoing.policy()?),
            app: Outgoing::new(config.login.policy(&config.outgoing)?),
            form_key: config.form_key()?,
            page_key: config.page_key()?,
            nonce_keys: config.nonce_keys()?,
            pruning: metrics.pruning.clone(),
            logouts: metrics.logouts.clone(),
            refused_attempts: metrics.refused_attempts.clone(),
            effects,
        });
        Ok(Self { service: Arc::new(service), store, shared, follower, metrics: Arc::new(metrics) })
    }
}

/// What was bound.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub http: ListenAddresses,
    pub grpc: ListenAddresses,
    pub ops: ListenAddresses,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http={} grpc={} ops={}", self.http, self.grpc, self.ops)
    }
}

/// What is served of one configuration.
pub struct Issuer {
    pub addresses: Addresses,
    pub backend: Backend,
}

/// A server that accepts connections.
pub struct Server {
    /// In the order of their configurations, one at least.
    pub issuers: Vec<Issuer>,
    drain: watch::Sender<bool>,
    health: Vec<HealthReporter>,
    cores: Vec<JoinHandle<()>>,
    background: JoinSet<()>,
}

impl Server {
    /// Starts on the runtime that calls, which becomes the background. Ready when this returns.
    pub async fn start(config: &Config, effects: Effects) -> Result<Self, StartError> {
        Self::start_all(&Deployment::of(config.clone()), effects).await
    }

    /// Several issuers side by side. They have nothing in common but the process, and ports of HTTP and of the probes where their
    /// configurations name the same.
    pub async fn start_all(deployment: &Deployment, effects: Effects) -> Result<Self, StartError> {
        let cores = match deployment.first().workers {
            0 => available_parallelism().map_or(1, Into::into),
            workers => workers,
        };
        let mut listeners = Listening::bind(deployment, cores)?;
        let mut background = JoinSet::new();
        let (mut issuers, mut health) = (Vec::new(), Vec::new());
        let mut http_sites: Vec<Vec<Site>> = (0..listeners.http.len()).map(|_| Vec::new()).collect();
        let mut observed: Vec<Vec<Observed>> = (0..listeners.ops.len()).map(|_| Vec::new()).collect();
        let mut grpc_ports = Vec::new();
        for (config, place) in deployment.configs().zip(&listeners.places) {
            let addresses = place.addresses.clone();
            let http_address = addresses
                .http
                .only_tcp()
                .ok_or_else(|| ConfigError::new("http.listen", "this takes one address, ip:port"))?;
            let backend = Backend::open(config, http_address, effects.clone()).await?;
            backend.service.keep_built_in_clients().await?;
            let (reporter, health_server) = tonic_health::server::health_reporter();
            reporter.set_serving::<TokenServiceServer<()>>().await;
            reporter.set_serving::<AdminServiceServer<()>>().await;
            reporter.set_serving::<InteractionServiceServer<()>>().await;
            let grpc = GrpcFront::new(&backend.service, health_server, config.callers()?);
            let renderer = config.renderer(&backend.service.settings.issuer)?;
            let tls = &backend.metrics.tls;
            let (grpc_tls, reloader) = Tls::load("grpc.tls", &config.grpc.tls, GRPC_PROTOCOLS, tls)?.unzip();
            if let Some(reloader) = reloader {
                background.spawn(reloader.run());
            }
            grpc_ports.push(Port { front: Front::Grpc(grpc), tls: grpc_tls });
            let router = http::router(backend.service.clone(), renderer, config.callers()?);
            http_sites[place.http].push(Site { config, router, service: backend.service.clone(), tls: tls.clone() });
            let (metrics, store) = (backend.metrics.clone(), backend.store.clone());
            observed[place.ops].push(Observed { issuer: backend.service.settings.issuer.clone(), metrics, store });
            run_in_background(&backend, &mut background);
            health.push(reporter);
            issuers.push(Issuer { addresses, backend });
        }
        let mut http_ports = Vec::new();
        for sites in http_sites {
            let (port, reloader) = http_port(sites)?;
            if let Some(reloader) = reloader {
                background.spawn(reloader.run());
            }
            http_ports.push(port);
        }

        let (drain, draining) = watch::channel(false);
        let limit = ConnectionLimit::default();
        let mut threads = Vec::with_capacity(cores);
        for core in 0..cores {
            let mut ports = Vec::new();
            for (listeners, port) in listeners.http.iter_mut().zip(&http_ports) {
                ports.extend(listeners.next_core().map(|listener| (listener, port.clone())));
            }
            for (listeners, port) in listeners.grpc.iter_mut().zip(&grpc_ports) {
                ports.extend(listeners.next_core().map(|listener| (listener, port.clone())));
            }
            let (draining, limit) = (draining.clone(), limit.clone());
            threads.push(
                thread::Builder::new()
                    .name(format!("core-{core}"))
                    .spawn(move || run_core(ports, &limit, &draining))?,
            );
        }
        for (listeners, observed) in listeners.ops.iter_mut().zip(observed) {
            let port = Port { front: Front::Http(ops::router(observed)), tls: None };
            for listener in listeners.next_core() {
                background.spawn(connections::accept(listener, port.clone(), limit.clone(), draining.clone()));
            }
        }
        Ok(Self { issuers, drain, health, cores: threads, background })
    }

    /// Stops accepting, lets the requests under way finish within the drain limit, and closes the databases.
    pub async fn stop(mut self) {
        for health in &mut self.health {
            health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
            health.set_service_status(SERVICE_NAME, tonic_health::ServingStatus::NotServing).await;
            health.set_service_status(ADMIN_SERVICE, tonic_health::ServingStatus::NotServing).await;
            health.set_service_status(INTERACTION_SERVICE, tonic_health::ServingStatus::NotServing).await;
        }
        for issuer in &self.issuers {
            issuer.backend.service.stop_watching();
        }
        let _ = self.drain.send(true);
        let cores = std::mem::take(&mut self.cores);
        let joined = tokio::task::spawn_blocking(move || cores.into_iter().all(|core| core.join().is_ok()));
        if !joined.await.unwrap_or(false) {
            tracing::error!("a core ended with a panic");
        }
        self.background.shutdown().await;
        // One whose database does not answer keeps no other waiting.
        join_all(self.issuers.iter().map(|Issuer { backend, .. }| async {
            backend.follower.leave().await;
            backend.store.close().await;
        }))
        .await;
        for address in self.issuers.iter().flat_map(|issuer| issuer.addresses.grpc.iter()) {
            if let ListenAddress::Unix(path) = address {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// All that is listened on.
struct Listening {
    http: SharedListeners,
    ops: SharedListeners,
    /// One for each configuration.
    grpc: Vec<Listeners>,
    /// For each configuration, the numbers of its listeners.
    places: Vec<Place>,
}

struct Place {
    http: usize,
    ops: usize,
    addresses: Addresses,
}

impl Listening {
    fn bind(deployment: &Deployment, cores: usize) -> Result<Self, BindError> {
        let (mut http, mut ops) = (SharedListeners::default(), SharedListeners::default());
        let (mut grpc, mut places) = (Vec::new(), Vec::new());
        for config in deployment.configs() {
            let (http_number, ops_number) = (http.bind(&config.http.listen, cores)?, ops.bind(&config.ops.listen, 1)?);
            let own = bind::bind(&config.grpc.listen, cores)?;
            let addresses = Addresses {
                http: http.addresses(http_number),
                grpc: bind::addresses(&own),
                ops: ops.addresses(ops_number),
            };
            grpc.push(own);
            places.push(Place { http: http_number, ops: ops_number, addresses });
        }
        Ok(Self { http, ops, grpc, places })
    }
}

/// An issuer at a port of HTTP.
struct Site<'a> {
    config: &'a Config,
    service: Arc<Service>,
    router: axum::Router,
    tls: TlsMetrics,
}

/// What is behind a port of HTTP: an issuer, or several by their hosts.
fn http_port(mut sites: Vec<Site>) -> Result<(Port, Option<Reloader>), ConfigError> {
    let Site { config, service, tls, .. } = &sites[0];
    let (tls, reloader) = Tls::load("http.tls", &config.http.tls, HTTP_PROTOCOLS, tls)?.unzip();
    let proxies = service.settings.client_addresses.clone();
    if sites.len() == 1 {
        return Ok((Port { front: Front::Http(sites.remove(0).router), tls }, reloader));
    }
    let mut issuers = Vec::with_capacity(sites.len());
    for site in sites {
        let authority = Authority::of(&site.service.settings.issuer);
        issuers.push((authority.ok_or_else(|| ConfigError::new("issuer", "this has no host"))?, site.router));
    }
    Ok((Port { front: Front::Http(http::by_host(issuers, proxies)), tls }, reloader))
}

/// What an issuer does without being asked.
fn run_in_background(backend: &Backend, background: &mut JoinSet<()>) {
    let follower = backend.follower.clone();
    background.spawn(async move { follower.run().await });
    let follower = backend.follower.clone();
    background.spawn(async move { follower.listen().await });
    let service = backend.service.clone();
    background.spawn(async move { service.prune_for_ever().await });
    if backend.service.settings.signs() {
        let service = backend.service.clone();
        background.spawn(async move { service.signing_keys.renew_for_ever().await });
    }
    if backend.service.settings.openid.as_ref().is_some_and(|openid| openid.backchannel_logout) {
        background.spawn(backend.service.clone().deliver_logouts_for_ever());
    }
    if let Some(shared) = backend.shared.clone() {
        background.spawn(async move { shared.run().await });
    }
}

/// One core: accepts until told to drain, then waits for its connections within the limit.
fn run_core(ports: Vec<(CoreListener, Port)>, limit: &ConnectionLimit, draining: &watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs an epoll and an event file, which a process that got this far has");
    runtime.block_on(async {
        let mut accepting = JoinSet::new();
        for (listener, port) in ports {
            accepting.spawn(connections::accept(listener, port, limit.clone(), draining.clone()));
        }
        accepting.join_all().await;
    });
    runtime.shutdown_background();
}
