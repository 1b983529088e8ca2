//! A sidecar of one's own for each test: in this process, on free ports, with its own database and a clock that is set by hand.

mod application;
mod authority;
mod browser;
mod chromium;
mod database;
mod envoy;
mod front;
mod gate;
mod http;
mod postgres;
mod process;
mod proxy;
mod redis;
mod site;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use scopegate::config::{Config, Deployment, Layers, ListenAddress};
use scopegate::domain::client::{Client, ClientMetadata, GrantType, Introspects};
use scopegate::domain::timestamp::Timestamp;
use scopegate::effects::{Clock, Effects, Entropy};
use scopegate::facts::redis::SharedCache;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use scopegate::server::{Addresses, Issuer, Server};
use scopegate::service::Service;
use scopegate::service::clients::NewClient;
use scopegate::store::ClientChanges;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::transport::Channel;
use zeroize::Zeroizing;

pub use self::application::Application;
pub use self::authority::{Authority, HOST};
pub use self::browser::{Browser, encode, hidden_fields, query_of, ticked_scopes};
pub use self::chromium::{Chromium, screenshots};
pub use self::database::{Database, line};
pub use self::envoy::{Envoy, Raw, raw};
pub use self::front::Front;
pub use self::gate::{Gate, Kind};
pub use self::http::{Http, Reply, basic, form};
pub use self::postgres::Postgres;
pub use self::process::halt;
pub use self::proxy::{Line, Proxy, Target};
pub use self::redis::Redis;
pub use self::site::{Answer, Site, document};

pub const REDIRECT_URI: &str = "http://127.0.0.1:8765/callback";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const USERNAME: &str = "ann";
pub const PASSWORD: &str = "correct horse";
pub const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A server and what it was given.
pub struct Sidecar {
    pub addresses: Addresses,
    pub clock: Arc<ManualClock>,
    pub service: Arc<Service>,
    /// What it shares with others through Redis, if it has one.
    pub shared: Option<Arc<SharedCache>>,
    /// A confidential client with the scopes `a`, `b` and `c`.
    pub shop: Registered,
    /// A public one.
    pub app: Registered,
    pub directory: Arc<TempDir>,
    /// What `Host` says in its requests, where several share a port.
    host: Option<&'static str>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A client and its secret; a public one has an empty secret.
#[derive(Clone)]
pub struct Registered {
    pub id: String,
    pub secret: String,
}

/// The tokens of a token response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub scope: String,
}

/// A clock that moves when it is told to.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }
}

/// Randomness of the operating system, as production has it.
struct SystemEntropy(Effects);

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(16) {
            chunk.copy_from_slice(&self.0.random_bytes::<16>()[..chunk.len()]);
        }
    }
}

impl Sidecar {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With more configuration, as TOML.
    pub async fn with(more: &str) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::on(directory, more).await
    }

    /// On the database of an earlier one. Its clients and its account are made anew where they are missing.
    pub async fn on(directory: Arc<TempDir>, more: &str) -> Self {
        let config = configuration(&directory, more).await;
        Self::run(vec![(directory, config)], None).await.remove(0)
    }

    /// Issuers in one process: their hosts, and more configuration for each. They share the ports for HTTP and for the probes, and all
    /// of them end with the first.
    pub async fn side_by_side<const N: usize>(issuers: [(&'static str, &str); N]) -> [Self; N] {
        let mut places = Vec::new();
        for (number, (host, more)) in issuers.iter().enumerate() {
            let directory = Arc::new(tempfile::tempdir().unwrap());
            let own = format!("issuer = 'https://{host}'\n[keys]\nsecret = '{number}{}'\n", &SECRET[1..]);
            let config = Layers::new().text(&configuration_text(&directory).await).unwrap().text(&own).unwrap();
            places.push((directory, config.text(more).unwrap().build().unwrap()));
        }
        let hosts = Some(issuers.map(|(host, _)| host).to_vec());
        Self::run(places, hosts).await.try_into().unwrap_or_else(|_| panic!("as many as configurations"))
    }

    async fn run(places: Vec<(Arc<TempDir>, Config)>, hosts: Option<Vec<&'static str>>) -> Vec<Self> {
        #[expect(clippy::disallowed_methods, reason = "the manual clock starts at the real time")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let clock = Arc::new(ManualClock(AtomicI64::new(i64::try_from(now).unwrap())));
        let effects = Effects::new(clock.clone(), Arc::new(SystemEntropy(Effects::system())));
        let (ready, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (directories, configs): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let files = configs.into_iter().enumerate().map(|(number, config)| (number.to_string().into(), config));
        let deployment = Deployment::new(files.collect()).unwrap();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::start_all(&deployment, effects).await.unwrap();
                let mut issuers = Vec::new();
                for Issuer { addresses, backend } in &server.issuers {
                    let (service, shared) = (backend.service.clone(), backend.shared.clone());
                    let clients = [register(&service, "Shop", false).await, register(&service, "App", true).await];
                    let _ = service.create_account(USERNAME.into(), Zeroizing::new(PASSWORD.into())).await;
                    issuers.push((addresses.clone(), service, shared, clients));
                }
                let _ = ready.send(issuers);
                let _ = stopped.await;
                server.stop().await;
            });
        });
        let (mut stop, mut thread) = (Some(stop), Some(thread));
        let issuers = started.await.unwrap().into_iter().zip(directories).enumerate();
        let sidecar = |(number, (issuer, directory))| {
            let (addresses, service, shared, [shop, app]): (_, _, _, [Registered; 2]) = issuer;
            let host = hosts.as_ref().map(|hosts: &Vec<&'static str>| hosts[number]);
            let (clock, stop, thread) = (clock.clone(), stop.take(), thread.take());
            Self { addresses, clock, service, shared, shop, app, directory, host, stop, thread }
        };
        issuers.map(sidecar).collect()
    }

    /// Another one on the same database, with the same clients.
    pub async fn beside(&self) -> Self {
        self.beside_with("").await
    }

    /// With more configuration, as TOML.
    pub async fn beside_with(&self, more: &str) -> Self {
        let mut other = Self::on(self.directory.clone(), more).await;
        (other.shop, other.app) = (self.shop.clone(), self.app.clone());
        other
    }

    /// Stops it, as SIGTERM would, and waits for its end. Dropping it only stops it: its clients live on the runtime of
    /// the test, which must not be blocked while they say goodbye.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    }

    /// Another client, with the scopes `a`, `b` and `c`.
    pub async fn register(&self, public: bool, introspects: Introspects, metadata: ClientMetadata) -> Registered {
        let new = NewClient {
            name: "Another".into(),
            redirect_uris: vec![REDIRECT_URI.parse().unwrap()],
            scopes: "a b c".parse().unwrap(),
            public,
            introspects,
            metadata,
        };
        let (client, secret) = self.service.create_client(new).await.unwrap();
        Registered {
            id: client.id.to_string(),
            secret: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        }
    }

    /// A confidential client that comes by tokens in these ways alone.
    pub async fn register_for(&self, grant_types: &[GrantType]) -> Registered {
        let metadata = ClientMetadata { grant_types: grant_types.to_vec(), ..ClientMetadata::default() };
        self.register(false, Introspects::Own, metadata).await
    }

    /// Gives a client other metadata.
    pub async fn change(&self, client: &Registered, metadata: ClientMetadata) {
        let changes = ClientChanges { metadata: Some(metadata), ..ClientChanges::default() };
        self.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    }

    /// What its clock says, in Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.now().as_unix()
    }

    pub fn http(&self) -> Http {
        let http = Http::new(&format!("http://{}", self.addresses.http));
        match self.host {
            Some(host) => http.for_host(host),
            None => http,
        }
    }

    pub fn browser(&self) -> Browser {
        Browser::new(self.http())
    }

    pub async fn grpc(&self) -> TokenServiceClient<Channel> {
        let address = self.addresses.grpc.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        TokenServiceClient::connect(format!("http://{}", address.unwrap())).await.unwrap()
    }

    /// Where its gRPC port is for others than this machine, if it listens on all addresses.
    pub fn grpc_from_outside(&self) -> SocketAddr {
        let port = self.addresses.grpc.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        });
        (own_address(), port.unwrap()).into()
    }

    /// The query of an authorization request for the shop, with other parameters over it; an empty one is left out.
    pub fn request(&self, other: &[(&str, &str)]) -> String {
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", self.shop.id.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "a b"),
            ("state", "xyz"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in other {
            parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                parameters.push((name, value));
            }
        }
        form(&parameters)
    }

    /// A code for the shop, with the scopes `a b`, by a user who allows everything.
    pub async fn code(&self) -> String {
        self.code_for(&self.request(&[])).await
    }

    pub async fn code_for(&self, request: &str) -> String {
        let location = self.browser().approve(request).await;
        query_of(&location, "code").unwrap_or_else(|| panic!("no code in {location}"))
    }

    /// Redeems a code of the shop.
    pub async fn redeem(&self, code: &str) -> Reply {
        let body = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.http().post_as(&self.shop, "/token", &body).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Reply {
        self.http()
            .post_as(&self.shop, "/token", &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
            .await
    }

    /// Tokens for the shop, with the scopes `a b`.
    pub async fn tokens(&self) -> Tokens {
        self.redeem(&self.code().await).await.tokens()
    }

    /// As many tokens for the shop, by one user in one browser session.
    pub async fn many_tokens(&self, number: usize) -> Vec<Tokens> {
        let mut browser = self.browser();
        let mut tokens = Vec::with_capacity(number);
        for _ in 0..number {
            let location = browser.approve(&self.request(&[])).await;
            tokens.push(self.redeem(&query_of(&location, "code").unwrap()).await.tokens());
        }
        tokens
    }

    pub async fn check(&self, token: &str, scopes: &[&str]) -> api::CheckScopesResponse {
        let request = api::CheckScopesRequest {
            token: token.into(),
            required_scopes: scopes.iter().map(|&scope| scope.into()).collect(),
            ..Default::default()
        };
        self.grpc().await.check_scopes(request).await.unwrap().into_inner()
    }

    pub async fn introspect(&self, token: &str) -> api::IntrospectResponse {
        let request = api::IntrospectRequest { token: token.into(), ..Default::default() };
        self.grpc().await.introspect(request).await.unwrap().into_inner()
    }

    pub async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await.active
    }

    pub async fn revoke(&self, token: &str, mode: api::RevocationMode) -> api::RevokeResponse {
        let request = api::RevokeRequest { token: token.into(), mode: mode.into(), ..Default::default() };
        self.grpc().await.revoke(request).await.unwrap().into_inner()
    }

    /// What `/metrics` says of one metric; 0 where it says nothing.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = Http::new(&format!("http://{}", self.addresses.ops)).get("/metrics").await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Operations on the database that requests caused: all but following the revocation log, pruning and looking for clients to tell of
    /// a logout.
    pub async fn store_operations(&self) -> u64 {
        let text = Http::new(&format!("http://{}", self.addresses.ops)).get("/metrics").await.body;
        text.lines()
            .filter(|line| {
                line.starts_with("scopegate_store_operations_total{")
                    && !line.contains("follow the revocation log")
                    && !line.contains("prune")
                    && !line.contains("to tell of a logout")
            })
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// A connection to the database beside the server's own.
    pub async fn database(&self) -> Database {
        Database::connect(self.directory.path()).await
    }
}

/// An address of this machine that is not loopback: who connects to it comes from it.
pub fn own_address() -> IpAddr {
    // Nothing is sent. It only asks where packets would leave from.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = socket.connect("203.0.113.1:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    match address {
        Ok(address) if !address.is_loopback() => address,
        other => panic!(
            "this machine has loopback addresses alone ({other:?}); `ip link add dummy0 type dummy && ip addr add 10.99.0.1/24 dev dummy0 \
             && ip link set dummy0 up && ip route add default dev dummy0` gives it another one"
        ),
    }
}

/// The configuration of a sidecar on this directory, with `more` over it. Users are asked each time, so that each test can have its page.
pub async fn configuration(directory: &TempDir, more: &str) -> Config {
    Layers::new().text(&configuration_text(directory).await).unwrap().text(more).unwrap().build().unwrap()
}

async fn configuration_text(directory: &TempDir) -> String {
    format!(
        "workers = 2\n[http]\nlisten = '127.0.0.1:0'\n[grpc]\nlisten = ['127.0.0.1:0', 'unix:{socket}']\n[ops]\nlisten = '127.0.0.1:0'\n\
         [database]\nurl = '{database}'\nauto_migrate = true\n[keys]\nsecret = '{SECRET}'\n\
         [consent]\nremember = 'never'\n\
         [scopes.catalogue]\na = 'See A'\nb = 'Change B'\nc = 'Delete C'\n",
        socket = free_socket(directory).display(),
        database = database::url(directory.path()).await,
    )
}

/// The first server of a directory has `grpc.sock` there.
fn free_socket(directory: &TempDir) -> PathBuf {
    let numbered = (1..).map(|number| directory.path().join(format!("grpc-{number}.sock")));
    std::iter::once(directory.path().join("grpc.sock")).chain(numbered).find(|path| !path.exists()).unwrap()
}

async fn register(service: &Service, name: &str, public: bool) -> Registered {
    let new = NewClient {
        name: name.into(),
        redirect_uris: vec![REDIRECT_URI.parse().unwrap()],
        scopes: "a b c".parse().unwrap(),
        public,
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
    };
    let (client, secret): (Client, _) = service.create_client(new).await.unwrap();
    Registered {
        id: client.id.to_string(),
        secret: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
    }
}
