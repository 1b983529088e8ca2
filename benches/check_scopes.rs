//! `CheckScopes` on an L1 hit beside a no-op tonic server, in one run.
//!
//! Two server processes take turns on core 0, and the load comes from core 1: `scopegate serve` with one worker, and tonic's
//! own server with an answer that is always the same. Absolute figures move with the machine; what counts is the pair: the
//! ratio of the throughputs, and the server's CPU time per request above the no-op's. A run counts when the servers are
//! busy (0.95 or more) and the no-op's own spread is small (10 % or less). Missed goals are for people to judge: the exit
//! status only says whether every request was answered, and answered from the cache.
//!
//! `cargo bench --bench check_scopes -- --grants 1000000 --rounds 9 --seconds 3`

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures for people, and lengths that are known to be small"
)]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};
use std::{env, fs};

use clap::Parser;
use futures_util::stream::Empty;
use prost::Message as _;
use scopegate::config::{Config, Layers};
use scopegate::domain::client::{Client, ClientMetadata, ClientType, Introspects, Registrar};
use scopegate::domain::scope::ScopeSet;
use scopegate::domain::token::{GrantId, TOKEN_LENGTH, Token, TokenKind};
use scopegate::effects::Effects;
use scopegate::proto::scopegate::v1::batch_check_scopes_result::Result as Item;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use scopegate::proto::scopegate::v1::token_service_server::{TokenService, TokenServiceServer};
use scopegate::proto::scopegate::v1::{self as api, CacheStatus, CheckScopesRequest, CheckScopesResponse, Decision};
use scopegate::store::{OperationCounter, Store};
use sqlx::SqlitePool;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// The program's allocator for the no-op, too, so that the pair differs in our own work alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 16;
/// Requests that are drawn before the clock runs.
const DRAWN: usize = 1 << 20;
const STARTS: usize = 5;
const SCOPES: [&str; 2] = ["orders:read", "orders:write"];

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Arguments {
    /// Grants, each with one access token
    #[arg(long, default_value_t = 10_000)]
    grants: usize,
    /// Turns of each server
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Be the no-op server
    #[arg(long, hide = true)]
    noop: bool,
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if arguments.noop { runtime.block_on(serve_noop()) } else { measure(&arguments, &runtime) }
}

fn measure(arguments: &Arguments, runtime: &tokio::runtime::Runtime) -> Outcome<()> {
    let pinned = available_parallelism()?.get() > 1 && pin_to_core_1();
    if !pinned {
        println!("not pinned, for want of a second core or of taskset: load and servers disturb each other");
    }
    let directory = tempfile::tempdir()?;
    let database = format!("sqlite:{}", directory.path().join("scopegate.db").display());
    let file = directory.path().join("scopegate.toml");
    fs::write(&file, configuration(&database, arguments.grants))?;
    let mut tokens = runtime.block_on(make_tokens(&Layers::new().file(&file)?.build()?, arguments.grants))?;

    let this = env::current_exe()?;
    let start_noop = || Server::start(pinned, &this, &["--bench".as_ref(), "--noop".as_ref()]);
    let program = Path::new(env!("CARGO_BIN_EXE_scopegate"));
    let start_ours = || Server::start(pinned, program, &["serve".as_ref(), "--config".as_ref(), &file]);
    let (mut noop_starts, mut our_starts) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        noop_starts.push(start_noop()?.milliseconds_to_start);
        our_starts.push(start_ours()?.milliseconds_to_start);
    }
    let (noop, ours) = (start_noop()?, start_ours()?);
    let idle = ours.resident_megabytes()?;
    for expected in [CacheStatus::Store, CacheStatus::Local] {
        runtime.block_on(check_each(ours.grpc, &tokens, expected))?;
    }
    let warm = ours.resident_megabytes()?;

    let mut random = Random(1);
    // The popular tokens must not be neighbours in memory because they were cached one after the other.
    for last in (1..tokens.len()).rev() {
        tokens.swap(last, random.below(last + 1));
    }
    let draws = zipf(tokens.len(), &mut random);
    let forged: Vec<_> = tokens.iter().map(forge).collect();
    let length = Duration::from_secs_f64(arguments.seconds);
    let before = ours.lookups()?;
    let round = || -> Outcome<[Turn; 3]> {
        Ok([
            turn(&noop, &tokens, &draws, Decision::Allowed, length)?,
            turn(&ours, &tokens, &draws, Decision::Allowed, length)?,
            turn(&ours, &forged, &draws, Decision::InactiveToken, length)?,
        ])
    };
    round()?; // warms up
    let rounds = (0..arguments.rounds).map(|_| round()).collect::<Outcome<Vec<_>>>()?;
    // The cache was filled by lookups, so there are some to compare.
    if before.is_empty() || ours.lookups()? != before {
        return Err("the database was asked during the measurement".into());
    }

    let over_rounds = |figure: &dyn Fn(&[Turn; 3]) -> f64| median(rounds.iter().map(figure).collect());
    let noop_spread = |figure: &dyn Fn(&Turn) -> f64| {
        let all = || rounds.iter().map(|[noop, ..]| figure(noop));
        (all().fold(f64::MIN, f64::max) - all().fold(f64::MAX, f64::min)) / median(all().collect())
    };
    let (busy, spread) = (over_rounds(&|[noop, ..]| noop.busy), noop_spread(&|turn| turn.rate));
    if busy < 0.95 || spread > 0.1 {
        println!("this run does not count: something else kept the machine busy, or the load was too small");
    }
    report(&[
        ("grants", arguments.grants as f64),
        ("rounds", arguments.rounds as f64),
        ("seconds_per_turn", arguments.seconds),
        ("pinned", f64::from(pinned)),
        ("noop_requests_per_second", over_rounds(&|[noop, ..]| noop.rate)),
        ("hit_requests_per_second", over_rounds(&|[_, hit, _]| hit.rate)),
        ("garbage_requests_per_second", over_rounds(&|[.., garbage]| garbage.rate)),
        ("noop_cpu_microseconds", over_rounds(&|[noop, ..]| noop.cpu)),
        ("hit_cpu_microseconds", over_rounds(&|[_, hit, _]| hit.cpu)),
        ("garbage_cpu_microseconds", over_rounds(&|[.., garbage]| garbage.cpu)),
        ("noop_busy", busy),
        ("hit_busy", over_rounds(&|[_, hit, _]| hit.busy)),
        ("noop_spread_of_throughput", spread),
        ("noop_spread_of_cpu", noop_spread(&|turn| turn.cpu)),
        ("hit_throughput_to_noop", over_rounds(&|[noop, hit, _]| hit.rate / noop.rate)),
        ("hit_cpu_to_noop", over_rounds(&|[noop, hit, _]| hit.cpu / noop.cpu)),
        ("hit_cpu_above_noop_microseconds", over_rounds(&|[noop, hit, _]| hit.cpu - noop.cpu)),
        ("garbage_cpu_above_noop_microseconds", over_rounds(&|[noop, _, garbage]| garbage.cpu - noop.cpu)),
        ("noop_start_milliseconds", median(noop_starts)),
        ("start_milliseconds", median(our_starts)),
        ("idle_megabytes", idle),
        ("warm_megabytes", warm),
    ]);
    Ok(())
}

fn report(figures: &[(&str, f64)]) {
    for (name, value) in figures {
        println!("{name:<36} {value:>12.3}");
    }
    println!("{}", figures.iter().copied().collect::<serde_json::Value>());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

// The data.

fn configuration(database: &str, grants: usize) -> String {
    let secret = "A".repeat(43);
    // Ample: what is measured is a hit.
    let cache = (64 << 20) + 1_024 * grants;
    format!(
        "workers = 1\n\
         http.listen = \"127.0.0.1:0\"\n\
         grpc.listen = \"127.0.0.1:0\"\n\
         ops.listen = \"127.0.0.1:0\"\n\
         database.url = {database:?}\n\
         cache.max_bytes = {cache}\n\
         keys.secret = \"{secret}=\"\n\
         telemetry.log = \"error\"\n"
    )
}

type TokenBytes = [u8; TOKEN_LENGTH];

/// Grants of one client, each of a subject of its own, and an access token of each. In bulk, past the store: it makes one
/// durable write of each grant.
async fn make_tokens(config: &Config, grants: usize) -> Outcome<Vec<TokenBytes>> {
    let effects = Effects::system();
    let scopes: ScopeSet = SCOPES.join(" ").parse()?;
    let client = Client {
        id: effects.random_name().parse()?,
        name: "Shop".into(),
        client_type: ClientType::Public,
        redirect_uris: Vec::new(),
        scopes: scopes.clone(),
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
        created_at: effects.now(),
        disabled_at: None,
        registrar: Registrar::Operator,
        last_used_at: None,
    };
    let store = Store::open(config.database.url.expose(), OperationCounter::default()).await?;
    store.migrate().await?;
    store.insert_client(client.clone()).await?;
    store.close().await;

    let database = SqlitePool::connect(config.database.url.expose()).await?;
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
         INSERT INTO subjects (id, name, created_at, disabled_at, revoked_seq) SELECT lower(hex(randomblob(16))), 'user-' || i, $2, NULL, 0 FROM n",
    )
    .bind(i64::try_from(grants)?)
    .bind(client.created_at.as_unix())
    .execute(&database)
    .await?;
    sqlx::query(
        "INSERT INTO grants (id, client_id, subject_id, variants, state, generation, created_at, created_seq, redirect_uri, \
         code_challenge, failed_redemptions, refresh_serial, refresh_variant, rotated_at, expires_at, revoked_at) SELECT randomblob(16), $1, id, $2, 'active', 0, $3, 0, '', '', 0, 0, 0, $3, $3 + 86400, NULL \
         FROM subjects",
    )
    .bind(client.id.as_str())
    .bind(scopes.as_str())
    .bind(client.created_at.as_unix())
    .execute(&database)
    .await?;
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM grants").fetch_all(&database).await?;
    database.close().await;

    let keys = config.token_keys()?;
    let token = |id: Vec<u8>| {
        let token = Token {
            kind: TokenKind::AccessToken,
            variant: 0,
            grant: GrantId::from_bytes(id.as_slice().try_into()?),
            generation: 0,
            serial: 0,
            issued_at: client.created_at,
            lifetime: 86_400,
        };
        Ok(keys.seal(&token).expose().as_bytes().try_into()?)
    };
    ids.into_iter().map(token).collect()
}

/// Checks every token once: the first time fills the cache, the second time proves that it holds them all.
async fn check_each(server: SocketAddr, tokens: &[TokenBytes], expected: CacheStatus) -> Outcome<()> {
    let mut client = TokenServiceClient::connect(format!("http://{server}")).await?;
    for batch in tokens.chunks(500) {
        let check = |token: &TokenBytes| {
            let token = str::from_utf8(token)?.to_owned();
            Ok(CheckScopesRequest { token, required_scopes: SCOPES.map(Into::into).into(), ..Default::default() })
        };
        let requests = batch.iter().map(check).collect::<Outcome<_>>()?;
        for result in client.batch_check_scopes(api::BatchCheckScopesRequest { requests }).await?.into_inner().results {
            match result.result {
                Some(Item::Response(answer))
                    if answer.decision() == Decision::Allowed && answer.cache_status() == expected => {}
                other => return Err(format!("expected an allowed token from {expected:?}, not {other:?}").into()),
            }
        }
    }
    Ok(())
}

/// The same shape, another tag.
fn forge(token: &TokenBytes) -> TokenBytes {
    let mut forged = *token;
    forged[70] = if forged[70] == b'A' { b'B' } else { b'A' };
    forged
}

/// Which token is asked for, in turn: the most popular one twice as often as the second, thrice as often as the third.
fn zipf(tokens: usize, random: &mut Random) -> Vec<usize> {
    let mut sums = vec![0.0];
    sums.extend((1..=tokens).scan(0.0, |sum, rank| {
        *sum += 1.0 / rank as f64;
        Some(*sum)
    }));
    let draw = |_| {
        let point = random.unit() * sums[tokens];
        sums[1..tokens].partition_point(|sum| *sum <= point)
    };
    (0..DRAWN).map(draw).collect()
}

/// `SplitMix64`: the same numbers in every run.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize
    }
}

// The servers.

/// Ends with its owner, also where a start fails half way.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    process: Process,
    grpc: SocketAddr,
    ops: Option<SocketAddr>,
    milliseconds_to_start: f64,
}

impl Server {
    /// Started when it has answered on a connection.
    fn start(pinned: bool, program: &Path, arguments: &[&Path]) -> Outcome<Self> {
        let began = Instant::now();
        let mut command = if pinned { Command::new("taskset") } else { Command::new(program) };
        if pinned {
            command.args(["--cpu-list", "0"]).arg(program);
        }
        let mut process = Process(command.args(arguments).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let address = |name| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
        let (grpc, ops) = (address("grpc=").ok_or("the server did not say where it listens")?, address("ops="));
        Caller::connect(grpc)?.receive()?;
        Ok(Self { process, grpc, ops, milliseconds_to_start: began.elapsed().as_secs_f64() * 1e3 })
    }

    /// The processor time of all threads, at 100 ticks a second as Linux reports it everywhere.
    fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        // The name in front, in parentheses, may have spaces; utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().skip(11).take(2);
        Ok(fields.map(str::parse::<f64>).sum::<Result<f64, _>>()? / 100.0)
    }

    fn resident_megabytes(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1_024.0 / 1e6)
    }

    /// How often the database was asked about a grant so far.
    fn lookups(&self) -> Outcome<Vec<String>> {
        let mut stream = TcpStream::connect(self.ops.ok_or("no metrics")?)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let text = io::read_to_string(stream)?;
        let operations = text.lines().filter(|line| line.starts_with("scopegate_store_operations_total{"));
        Ok(operations.filter(|line| line.contains("read the facts of a grant")).map(Into::into).collect())
    }
}

/// `taskset` because the standard library cannot. Threads that start later inherit it.
fn pin_to_core_1() -> bool {
    let own = std::process::id().to_string();
    let taskset = Command::new("taskset").args(["--cpu-list", "--pid", "1", &own]).stdout(Stdio::null()).status();
    taskset.is_ok_and(|status| status.success())
}

struct Noop;

macro_rules! noop_service {
    ($($call:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl TokenService for Noop {
            type StreamCheckScopesStream = Empty<Result<api::StreamCheckScopesResponse, Status>>;
            type WatchRevocationsStream = Empty<Result<api::WatchRevocationsResponse, Status>>;

            async fn check_scopes(&self, _: Request<CheckScopesRequest>) -> Result<Response<CheckScopesResponse>, Status> {
                Ok(Response::new(CheckScopesResponse {
                    decision: Decision::Allowed.into(),
                    http_status: 200,
                    cache_status: CacheStatus::Local.into(),
                    consistency_token: "1:0".into(),
                    ..CheckScopesResponse::default()
                }))
            }

            $(async fn $call(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented(""))
            })*
        }
    };
}

noop_service! {
    introspect(api::IntrospectRequest) -> api::IntrospectResponse;
    batch_introspect(api::BatchIntrospectRequest) -> api::BatchIntrospectResponse;
    batch_check_scopes(api::BatchCheckScopesRequest) -> api::BatchCheckScopesResponse;
    stream_check_scopes(Streaming<api::StreamCheckScopesRequest>) -> Self::StreamCheckScopesStream;
    revoke(api::RevokeRequest) -> api::RevokeResponse;
    batch_revoke(api::BatchRevokeRequest) -> api::BatchRevokeResponse;
    watch_revocations(api::WatchRevocationsRequest) -> Self::WatchRevocationsStream;
}

async fn serve_noop() -> Outcome<()> {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?.with_nodelay(Some(true));
    println!("listening grpc={}", incoming.local_addr()?);
    Ok(tonic::transport::Server::builder()
        .add_service(TokenServiceServer::new(Noop))
        .serve_with_incoming(incoming)
        .await?)
}

// The load.

/// What a server did in one turn.
struct Turn {
    /// Requests in a second.
    rate: f64,
    /// Microseconds of the server's processor time for one request.
    cpu: f64,
    /// The share of the time that the server was running.
    busy: f64,
}

/// As many requests as the server answers in `length`.
fn turn(
    server: &Server,
    tokens: &[TokenBytes],
    draws: &[usize],
    expected: Decision,
    length: Duration,
) -> Outcome<Turn> {
    let (began, cpu) = (Instant::now(), server.cpu_seconds()?);
    let caller = |n: usize| {
        let tokens = draws.iter().cycle().skip(n * DRAWN / CONNECTIONS).map(|&draw| &tokens[draw]);
        Caller::connect(server.grpc)?.ask(tokens, expected, began + length)
    };
    let answers = thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS).map(|n| scope.spawn(move || caller(n))).collect();
        callers.into_iter().map(|caller| caller.join().map_err(|_| "a caller panicked")?).sum::<Outcome<u64>>()
    })? as f64;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu);
    Ok(Turn { rate: answers / seconds, cpu: cpu / answers * 1e6, busy: cpu / seconds })
}

/// A connection of a caller that writes and reads the frames of HTTP/2 (RFC 9113) itself: a real client costs more than the
/// servers do, and would be what is measured.
struct Caller {
    incoming: BufReader<TcpStream>,
    /// The payload of the last frame that came.
    payload: Vec<u8>,
    /// Frames that wait to be sent.
    outgoing: Vec<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
/// The flags of `SETTINGS` and `PING`, and those of `DATA` and `HEADERS`.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The first request brings its headers into the connection's table (RFC 7541 §6.2.1), the others point to them.
const FIRST_HEADERS: &[u8] = b"\x83\x86\
    \x44\x26/scopegate.v1.TokenService/CheckScopes\
    \x41\x09localhost\
    \x5f\x10application/grpc\
    \x40\x02te\x08trailers\
    \x7a\x05bench";
const NEXT_HEADERS: &[u8] = b"\x83\x86\xc2\xc1\xc0\xbf\xbe";

impl Caller {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut caller = Self {
            incoming: BufReader::with_capacity(64 << 10, stream),
            payload: Vec::new(),
            outgoing: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        };
        caller.send(SETTINGS, 0, 0, &[]);
        // The largest window: answers are never held back.
        caller.send(WINDOW_UPDATE, 0, 0, &[&(0x7FFF_FFFF_u32 - 0xFFFF).to_be_bytes()]);
        Ok(caller)
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[&[u8]]) {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        self.outgoing.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
        self.outgoing.extend_from_slice(&[kind, flags]);
        self.outgoing.extend_from_slice(&stream.to_be_bytes());
        for part in payload {
            self.outgoing.extend_from_slice(part);
        }
    }

    /// The kind and the flags of the next frame. Sends what waits only when there is nothing left to read, so that what
    /// was answered together is asked together.
    fn receive(&mut self) -> io::Result<(u8, u8)> {
        if self.incoming.buffer().is_empty() {
            self.incoming.get_mut().write_all(&self.outgoing)?;
            self.outgoing.clear();
        }
        let mut head = [0; 9];
        self.incoming.read_exact(&mut head)?;
        self.payload.resize(usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]), 0);
        self.incoming.read_exact(&mut self.payload)?;
        Ok((head[3], head[4]))
    }

    /// Asks as fast as the server answers. The number of answers, all of them as expected.
    fn ask<'t>(
        mut self,
        mut tokens: impl Iterator<Item = &'t TokenBytes>,
        expected: Decision,
        until: Instant,
    ) -> Outcome<u64> {
        // Encoded messages can be joined: these lack the token, which goes in front.
        let requirements = [1, 2].map(|scopes| {
            let required_scopes = SCOPES[..scopes].iter().map(|&scope| scope.into()).collect();
            CheckScopesRequest { required_scopes, ..CheckScopesRequest::default() }.encode_to_vec()
        });
        let mut request = |caller: &mut Self, n: u32| {
            let headers = if n == 0 { FIRST_HEADERS } else { NEXT_HEADERS };
            let (token, requirement) = (tokens.next().expect("the draws are cycled"), &requirements[n as usize % 2]);
            let prefix = [0, 0, 0, 0, (2 + TOKEN_LENGTH + requirement.len()) as u8, 0x0A, TOKEN_LENGTH as u8];
            caller.send(HEADERS, END_HEADERS, 2 * n + 1, &[headers]);
            caller.send(DATA, END_STREAM, 2 * n + 1, &[&prefix, token, requirement]);
        };
        let (mut asked, mut answered, mut ended) = (0, 0, 0);
        for _ in 0..IN_FLIGHT {
            request(&mut self, asked);
            asked += 1;
        }
        while ended < asked {
            match self.receive()? {
                // The decision is the first field of the message.
                (DATA, _) if self.payload.get(5..7) == Some(&[0x08, expected as u8]) => answered += 1,
                (HEADERS, flags) if flags & END_STREAM != 0 => {
                    ended += 1;
                    if Instant::now() < until {
                        request(&mut self, asked);
                        asked += 1;
                    }
                }
                (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]),
                (PING, 0) => {
                    let payload = std::mem::take(&mut self.payload);
                    self.send(PING, ACK, 0, &[&payload]);
                }
                (HEADERS | WINDOW_UPDATE, _) | (SETTINGS | PING, ACK) => {}
                (kind, _) => return Err(format!("an unexpected frame of type {kind}: {:?}", self.payload).into()),
            }
        }
        // A call that failed ends without a message.
        if answered == ended { Ok(u64::from(answered)) } else { Err("a call failed".into()) }
    }
}
