//! Envoy's `ext_authz` with scopegate on an L1 hit, beside an allow-all tonic server and Envoy's own `jwt_authn`, in one run.
//!
//! One Envoy (the one that `tests/run.sh` installs, with one worker) answers every request by itself, `ok`, behind a filter that differs
//! from port to port; the ports take turns. Envoy and the servers that it asks over Unix sockets are on core 0, the load comes from core 1.
//! Absolute figures move with the machine; what counts are the ratios of the throughputs, round by round. scopegate checks scopes and
//! revocation, and says who the user is; `jwt_authn` verifies signature, issuer, audience and expiry. A run counts when core 0 is
//! busy (0.95 or more) and the allow-all's own spread is small (10 % or less). Missed goals are for people to judge: the exit status only says
//! whether every request was answered as it should be, and from the cache.
//!
//! `cargo bench --bench ext_authz -- --rounds 7 --seconds 2`

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use scopegate::domain::jwk::SigningAlgorithm;
use scopegate::domain::jwt;
use scopegate::effects::Effects;
use scopegate::effects::signing::SigningKey;
use scopegate::proto::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use scopegate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use scopegate::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use scopegate::proto::google::rpc;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tonic::codegen::tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use self::processes::{Outcome, Process, lookups, median, pin_to_core_1, report, server};

#[path = "measuring/processes.rs"]
mod processes;

/// The program's allocator for the allow-all, too, so that the pair differs in our own work alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLERS: usize = 4;
const CONNECTIONS_OF_EACH: usize = 8;
/// Of each kind, in turn: enough that nobody answers by what it did last.
const TOKENS: usize = 64;
const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";
const SCOPE: &str = "orders:read";
/// What a start may take.
const PATIENCE: Duration = Duration::from_secs(20);
const CLUSTERS: [&str; 2] = ["allow-all", "scopegate"];
const JWTS: [(&str, SigningAlgorithm); 2] = [("RS256", SigningAlgorithm::Rs256), ("ES256", SigningAlgorithm::Es256)];

#[derive(Parser)]
struct Arguments {
    /// Turns of each way of checking
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Be the allow-all server on this socket
    #[arg(long, hide = true)]
    allow_all: Option<PathBuf>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Outcome<()> {
    // `cargo test` runs benches, too, with arguments of its own.
    if !env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench, which `cargo bench` passes");
        return Ok(());
    }
    let arguments = Arguments::parse();
    match &arguments.allow_all {
        Some(socket) => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(allow_all(socket)),
        None => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let pinned = available_parallelism()?.get() > 1 && pin_to_core_1();
    if !pinned {
        println!("not pinned, for want of a second core or of taskset: load and servers disturb each other");
    }
    let directory = tempfile::tempdir()?;
    let servers = Servers::start(pinned, directory.path())?;
    let opaque = servers.scopegate.tokens()?;
    let jwts = JWTS.map(|(_, algorithm)| Jwts::sign(algorithm));
    let [rs256, es256] = jwts;
    let (rs256, es256) = (rs256?, es256?);
    let envoy = Envoy::start(pinned, directory.path(), &[&rs256, &es256])?;
    // In the order of the figures below.
    let ways = [
        ("nothing", &opaque),
        ("allow-all", &opaque),
        ("scopegate", &opaque),
        ("RS256", &rs256.tokens),
        ("ES256", &es256.tokens),
    ];
    let mut ports = Vec::new();
    for (name, tokens) in ways {
        let way = Way { port: envoy.port(name)?, requests: tokens.iter().map(|token| request(token)).collect() };
        way.check_each(name)?;
        ports.push(way);
    }

    let length = Duration::from_secs_f64(arguments.seconds);
    let round = || ports.iter().map(|way| turn(way, &envoy, &servers, length)).collect::<Outcome<Vec<Turn>>>();
    round()?; // warms up
    let before = lookups(servers.scopegate.ops)?;
    let rounds = (0..arguments.rounds).map(|_| round()).collect::<Outcome<Vec<_>>>()?;
    // The cache was filled by lookups, so there are some to compare.
    let after = lookups(servers.scopegate.ops)?;
    if before.is_empty() || after != before {
        return Err(format!("the database was asked during the measurement: {before:?}, then {after:?}").into());
    }

    let over = |figure: &dyn Fn(&[Turn]) -> f64| median(rounds.iter().map(|turns| figure(turns)).collect());
    let rates = || rounds.iter().map(|turns| turns[1].rate);
    let spread = (rates().fold(f64::MIN, f64::max) - rates().fold(f64::MAX, f64::min)) / median(rates().collect());
    // Before `nothing`, the load is what is busy.
    let busy = over(&|turns| turns[1..].iter().map(|turn| turn.busy).fold(f64::MAX, f64::min));
    if !pinned || busy < 0.95 || spread > 0.1 {
        println!("this run does not count: something else kept the machine busy, or the load was too small");
    }
    let rate = |way: usize| over(&|turns| turns[way].rate);
    let cpu = |way: usize| over(&|turns| turns[way].cpu);
    let ratio = |way: usize| over(&|turns| turns[2].rate / turns[way].rate);
    report(&[
        ("rounds", arguments.rounds as f64),
        ("seconds_per_turn", arguments.seconds),
        ("pinned", f64::from(pinned)),
        ("nothing_requests_per_second", rate(0)),
        ("allow_all_requests_per_second", rate(1)),
        ("scopegate_requests_per_second", rate(2)),
        ("rs256_requests_per_second", rate(3)),
        ("es256_requests_per_second", rate(4)),
        ("allow_all_server_cpu_microseconds", cpu(1)),
        ("scopegate_server_cpu_microseconds", cpu(2)),
        ("core_busy_at_least", busy),
        ("allow_all_spread_of_throughput", spread),
        ("scopegate_to_allow_all_goal_0.97", ratio(1)),
        ("scopegate_to_rs256_goal_0.90", ratio(3)),
        ("scopegate_to_es256_goal_1.50", ratio(4)),
    ]);
    Ok(())
}

// The load.

/// A port of Envoy, and what is asked there.
struct Way {
    port: SocketAddr,
    requests: Vec<Vec<u8>>,
}

impl Way {
    /// Each token passes. Where tokens are looked at, one that was changed does not.
    fn check_each(&self, name: &str) -> Outcome<()> {
        let mut connection = Connection::open(self.port)?;
        for request in &self.requests {
            connection.send(request)?;
            connection.passed()?;
        }
        connection.send(&request("sg_at_AAAA"))?;
        let refused = connection.passed().is_err();
        let looked_at = !matches!(name, "nothing" | "allow-all");
        if refused == looked_at { Ok(()) } else { Err(format!("{name} checks nothing, or too much").into()) }
    }
}

fn request(token: &str) -> Vec<u8> {
    let agent = "user-agent: bench\r\naccept: */*\r\n";
    format!("GET /orders/7 HTTP/1.1\r\nhost: api.example.com\r\n{agent}authorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// What came of one turn.
struct Turn {
    /// Requests in a second.
    rate: f64,
    /// Microseconds of the processor time of the servers that Envoy asks, for one request.
    cpu: f64,
    /// The share of the time that core 0 was running Envoy or one of them.
    busy: f64,
}

/// As many requests as are answered in `length`.
fn turn(way: &Way, envoy: &Envoy, servers: &Servers, length: Duration) -> Outcome<Turn> {
    let (began, envoy_before, before) = (Instant::now(), envoy.process.cpu_seconds()?, servers.cpu_seconds()?);
    let caller = |n: usize| {
        let requests = way.requests.iter().cycle().skip(n * TOKENS / CALLERS);
        ask(way.port, requests, began + length)
    };
    let answers = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|n| scope.spawn(move || caller(n))).collect();
        callers.into_iter().map(|caller| caller.join().map_err(|_| "a caller panicked")?).sum::<Outcome<usize>>()
    })? as f64;
    let seconds = began.elapsed().as_secs_f64();
    let asked = servers.cpu_seconds()? - before;
    let all = asked + envoy.process.cpu_seconds()? - envoy_before;
    Ok(Turn { rate: answers / seconds, cpu: asked / answers * 1e6, busy: all / seconds })
}

/// The next request on each connection as soon as the one before is answered.
fn ask<'r>(port: SocketAddr, mut requests: impl Iterator<Item = &'r Vec<u8>>, until: Instant) -> Outcome<usize> {
    let mut next = || requests.next().ok_or("the requests are cycled");
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS_OF_EACH {
        let mut connection = Connection::open(port)?;
        connection.send(next()?)?;
        connections.push(connection);
    }
    let mut answered = 0;
    while Instant::now() < until {
        for connection in &mut connections {
            connection.passed()?;
            connection.send(next()?)?;
            answered += 1;
        }
    }
    for connection in &mut connections {
        connection.passed()?;
        answered += 1;
    }
    Ok(answered)
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, answer: vec![0; 16 << 10] })
    }

    fn send(&mut self, request: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(request)?)
    }

    /// Reads an answer, which is short, and wants it to be the direct response.
    fn passed(&mut self) -> Outcome<()> {
        let mut length = 0;
        while !self.answer[..length].ends_with(b"\r\n\r\nok") {
            let read = self.stream.read(&mut self.answer[length..])?;
            length += read;
            let text = || String::from_utf8_lossy(&self.answer[..length]).into_owned();
            if read == 0 || (length > 12 && !self.answer.starts_with(b"HTTP/1.1 200")) {
                return Err(text().into());
            }
        }
        Ok(())
    }
}

// The tokens that Envoy checks by itself.

struct Jwts {
    name: &'static str,
    keys: Value,
    tokens: Vec<String>,
}

impl Jwts {
    /// With the claims of an access token of RFC 9068.
    fn sign(algorithm: SigningAlgorithm) -> Outcome<Self> {
        let (name, _) = JWTS.into_iter().find(|(_, known)| *known == algorithm).ok_or("no such listener")?;
        let key = SigningKey::generate(algorithm)?;
        let mut public = key.public_key()?.to_jwk();
        public["kid"] = name.into();
        public["alg"] = name.into();
        let now = Effects::system().now().as_unix();
        let token = |n: usize| {
            let claims = json!({
                "iss": ISSUER, "sub": format!("5f0c8a1e4b7d4e6f9a2b3c4d5e6f{n:04}"), "aud": AUDIENCE, "client_id": "f3k9Zq2LxV7bNw8RtY1mPa",
                "scope": "orders:read orders:write", "iat": now, "exp": now + 86_400, "jti": format!("AZqk3l9XvB7nWm2RtY{n:04}"),
            });
            let input = jwt::signing_input(algorithm, name, "at+jwt", &claims);
            Ok(jwt::signed(&input, &key.sign(input.as_bytes())?))
        };
        Ok(Self { name, keys: json!({ "keys": [public] }), tokens: (0..TOKENS).map(token).collect::<Outcome<_>>()? })
    }
}

// The servers.

struct Servers {
    allow_all: Process,
    scopegate: Scopegate,
}

impl Servers {
    fn start(pinned: bool, directory: &Path) -> Outcome<Self> {
        let socket = directory.join("allow-all");
        let mut command = server(pinned, &env::current_exe()?);
        command.args(["--bench", "--allow-all"]).arg(&socket);
        let allow_all = Process(command.spawn()?);
        let began = Instant::now();
        while !socket.exists() {
            if began.elapsed() > PATIENCE {
                return Err("the allow-all server does not start".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { allow_all, scopegate: Scopegate::start(pinned, directory)? })
    }

    fn cpu_seconds(&self) -> Outcome<f64> {
        Ok(self.allow_all.cpu_seconds()? + self.scopegate.process.cpu_seconds()?)
    }
}

struct Scopegate {
    process: Process,
    http: SocketAddr,
    ops: SocketAddr,
    /// `Basic …` of the one client.
    credentials: String,
}

impl Scopegate {
    fn start(pinned: bool, directory: &Path) -> Outcome<Self> {
        let (file, secret) = (directory.join("scopegate.toml"), "A".repeat(43));
        let text = format!(
            "workers = 1\nhttp.listen = \"127.0.0.1:0\"\ngrpc.listen = \"unix:{}\"\nops.listen = \"127.0.0.1:0\"\n\
             database.url = \"sqlite:{}\"\ndatabase.auto_migrate = true\nkeys.secret = \"{secret}=\"\ntelemetry.log = \"error\"\n\
             [scopes.catalogue]\n\"orders:read\" = \"See orders\"\n\"orders:write\" = \"Change orders\"\n",
            directory.join("scopegate").display(),
            directory.join("scopegate.db").display(),
        );
        fs::write(&file, text)?;
        let program = Path::new(env!("CARGO_BIN_EXE_scopegate"));
        let mut command = server(pinned, program);
        let mut process = Process(command.args(["serve", "--config"]).arg(&file).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let address = |name| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
        let (http, ops) = (address("http="), address("ops="));
        let (Some(http), Some(ops)) = (http, ops) else { return Err(format!("scopegate says: {line}").into()) };

        let mut create = Command::new(program);
        create.args(["client", "create", "--config"]).arg(&file).args(["--name", "Bench", "--output", "json"]);
        create.args(["--grant-type", "client_credentials", "--scope", "orders:read", "--scope", "orders:write"]);
        let created = create.output()?;
        let client: Value = serde_json::from_slice(&created.stdout)
            .map_err(|_| String::from_utf8_lossy(&created.stderr).into_owned())?;
        let text = |name: &str| client[name].as_str().ok_or(format!("the client has no {name}: {client}"));
        let credentials = format!("{}:{}", text("client_id")?, text("client_secret")?);
        Ok(Self { process, http, ops, credentials: BASE64_STANDARD.encode(credentials) })
    }

    fn tokens(&self) -> Outcome<Vec<String>> {
        let body = "grant_type=client_credentials&scope=orders:read+orders:write";
        let request = format!(
            "POST /token HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Basic {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            self.credentials,
            body.len(),
        );
        let token = || {
            let mut stream = TcpStream::connect(self.http)?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
            let body: Value = serde_json::from_str(body).map_err(|_| answer.clone())?;
            Ok(body["access_token"].as_str().ok_or(answer)?.to_owned())
        };
        (0..TOKENS).map(|_| token()).collect()
    }
}

struct AllowAll;

#[tonic::async_trait]
impl Authorization for AllowAll {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            dynamic_metadata: None,
        }))
    }
}

async fn allow_all(socket: &Path) -> Outcome<()> {
    let incoming = UnixListenerStream::new(UnixListener::bind(socket)?);
    let service = AuthorizationServer::new(AllowAll);
    Ok(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await?)
}

struct Envoy {
    process: Process,
    admin: SocketAddr,
}

impl Envoy {
    fn start(pinned: bool, directory: &Path, jwts: &[&Jwts]) -> Outcome<Self> {
        let (file, admin) = (directory.join("envoy.json"), directory.join("admin"));
        fs::write(&file, configuration(directory, jwts).to_string())?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/envoy");
        if !program.exists() {
            return Err("tests/run.sh installs Envoy into .tools".into());
        }
        let mut command = server(pinned, &program);
        command.arg("--config-path").arg(&file).arg("--admin-address-path").arg(&admin);
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "error"]);
        let process = Process(command.stdout(Stdio::null()).spawn()?);
        let began = Instant::now();
        let admin = loop {
            let address = fs::read_to_string(&admin).ok().and_then(|address| address.trim().parse().ok());
            match address {
                Some(address) => break address,
                None if began.elapsed() > PATIENCE => return Err("Envoy does not start".into()),
                None => thread::sleep(Duration::from_millis(50)),
            }
        };
        let envoy = Self { process, admin };
        while envoy.port("ES256").is_err() {
            if began.elapsed() > PATIENCE {
                return Err("Envoy has no listeners".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(envoy)
    }

    fn port(&self, listener: &str) -> Outcome<SocketAddr> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /listeners HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let address = text.lines().find_map(|line| line.strip_prefix(listener)?.strip_prefix("::"));
        Ok(address.ok_or("no such listener")?.trim().parse()?)
    }
}

/// The filters are configured as in `deploy/envoy/envoy.yaml`. But Envoy has patience: on a busy machine, the run should say that it
/// does not count.
fn configuration(directory: &Path, jwts: &[&Jwts]) -> Value {
    let socket = |name: &str| json!({ "pipe": { "path": directory.join(name) } });
    let cluster = |name: &str| {
        let protocol = typed(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            json!({
                "explicit_http_config": { "http2_protocol_options": { "connection_keepalive": { "interval": "5s", "timeout": "1s" } } },
            }),
        );
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol },
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(name) } }] }],
            },
        })
    };
    let mut listeners = vec![listener("nothing", None, &json!({}))];
    for name in CLUSTERS {
        let filter = typed(
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            json!({
                "transport_api_version": "V3",
                "grpc_service": { "envoy_grpc": { "cluster_name": name }, "timeout": "5s" },
                "failure_mode_allow": false,
                "status_on_error": { "code": "ServiceUnavailable" },
                "encode_raw_headers": true,
                "include_peer_certificate": true,
                "validate_mutations": true,
            }),
        );
        let route = typed(
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            json!({
                "check_settings": { "context_extensions": { "required_scopes": SCOPE } },
            }),
        );
        let filter = json!({ "name": "envoy.filters.http.ext_authz", "typed_config": filter });
        listeners.push(listener(name, Some(filter), &json!({ "envoy.filters.http.ext_authz": route })));
    }
    for jwts in jwts {
        let filter = typed(
            "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            json!({
                "providers": { "bench": {
                    "issuer": ISSUER, "audiences": [AUDIENCE], "forward": true,
                    "local_jwks": { "inline_string": jwts.keys.to_string() },
                } },
                "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "bench" } }],
            }),
        );
        let filter = json!({ "name": "envoy.filters.http.jwt_authn", "typed_config": filter });
        listeners.push(listener(jwts.name, Some(filter), &json!({})));
    }
    json!({
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "static_resources": { "listeners": listeners, "clusters": CLUSTERS.map(cluster) },
    })
}

fn listener(name: &str, filter: Option<Value>, of_route: &Value) -> Value {
    let router =
        json!({ "name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({})) });
    let filters: Vec<Value> = filter.into_iter().chain([router]).collect();
    let manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": name, "codec_type": "HTTP1", "normalize_path": true, "merge_slashes": true, "use_remote_address": true,
            "http_filters": filters,
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [{
                "match": { "prefix": "/" },
                "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
                "typed_per_filter_config": of_route,
            }] }] },
        }),
    );
    json!({
        "name": name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
        "filter_chains": [{ "filters": [{ "name": "connections", "typed_config": manager }] }],
    })
}

fn typed(name: &str, mut message: Value) -> Value {
    message["@type"] = format!("type.googleapis.com/{name}").into();
    message
}
