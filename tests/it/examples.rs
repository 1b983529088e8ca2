//! The services of `examples/`, each in its own language: run as they are, against a sidecar. `tests/examples.sh` builds them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Method;
use scopegate::config::ListenAddress;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::proto::scopegate::v1::RevocationMode;
use scopegate::service::clients::NewClient;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::dpop::{self, Key};
use crate::harness::{Http, Line, Proxy, Registered, Reply, Sidecar, Target};

const SCOPES: &str = "[scopes.catalogue]\n'orders:read' = 'See orders'\n'orders:write' = 'Change orders'\n";
/// Where the proofs of `dpop::Key` say that the service is.
const PUBLIC_URL: &str = "https://api.example";
/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_mins(1);

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn program(of: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(of);
    command.args(arguments.iter().map(|&argument| {
        assert!(!argument.starts_with("examples/") || path(argument).exists(), "no {argument}: run tests/examples.sh");
        if argument.starts_with("examples/") { path(argument) } else { argument.into() }
    }));
    command
}

/// A running example.
struct Example {
    http: Http,
    _process: Child,
}

impl Example {
    async fn start(mut command: Command, sidecar: &str) -> Self {
        command.env("SCOPEGATE", sidecar).env("LISTEN", "127.0.0.1:0").env("PUBLIC_URL", PUBLIC_URL);
        // The tokens are not for the proxy by which a service reaches the rest of the world.
        command.envs(["grpc_proxy", "http_proxy", "https_proxy"].map(|name| (name, "http://127.0.0.1:1")));
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut process = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}: run tests/examples.sh"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{command:?} says: {line}"));
        Self { http: Http::new(&format!("http://{address}")), _process: process }
    }

    async fn send(&self, method: Method, headers: &[(&str, &str)]) -> Reply {
        self.http.send(method, "/orders", headers, "").await
    }

    /// What it answers when it knows: a machine under load may take longer than the deadline of an example, and a client asks again after 503.
    async fn known(&self, method: Method, headers: &[(&str, &str)]) -> Reply {
        let began = Instant::now();
        loop {
            let reply = self.send(method.clone(), headers).await;
            if reply.status != 503 {
                return reply;
            }
            assert!(began.elapsed() < PATIENCE, "{reply:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, token: &str) -> Reply {
        self.known(Method::GET, &[("authorization", &format!("Bearer {token}"))]).await
    }

    /// Nobody knows: neither the service nor anybody else says that the token is bad, and the answer does not keep anybody waiting.
    async fn does_not_know(&self, token: &str) {
        let began = Instant::now();
        let reply = self.send(Method::GET, &[("authorization", &format!("Bearer {token}"))]).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("1")), "{reply:?}");
        assert_eq!(reply.header("www-authenticate"), None);
        assert!(began.elapsed() < Duration::from_secs(5), "the answer took {:?}", began.elapsed());
    }
}

/// A client that gets tokens for itself.
async fn machine(sidecar: &Sidecar) -> Registered {
    let new = NewClient {
        name: "Machine".into(),
        redirect_uris: Vec::new(),
        scopes: "orders:read orders:write".parse().unwrap(),
        public: false,
        introspects: Introspects::Own,
        metadata: ClientMetadata { grant_types: vec![GrantType::ClientCredentials], ..ClientMetadata::default() },
    };
    let (client, secret) = sidecar.service.create_client(new).await.unwrap();
    Registered { id: client.id.to_string(), secret: secret.unwrap().expose().to_owned() }
}

async fn token(sidecar: &Sidecar, client: &Registered, scope: &str, proofs: &[&str]) -> String {
    let body = [("grant_type", "client_credentials"), ("scope", scope)];
    dpop::post(sidecar, client, "/token", proofs, &body).await.access_token()
}

/// All that an example has to do.
async fn protects(command: impl Fn() -> Command) {
    let sidecar = Sidecar::with(SCOPES).await;
    let socket = sidecar.directory.path().join("grpc.sock");
    let example = Example::start(command(), &format!("unix:{}", socket.display())).await;
    let client = machine(&sidecar).await;
    let writer = token(&sidecar, &client, "orders:read orders:write", &[]).await;
    let reader = token(&sidecar, &client, "orders:read", &[]).await;

    // Allowed, and the service knows whose token it is.
    let orders = format!("orders of client:{}\n", client.id);
    for (method, token) in [(Method::GET, &reader), (Method::GET, &writer), (Method::POST, &writer)] {
        let reply = example.known(method, &[("authorization", &format!("bEARER {token}"))]).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &orders));
    }
    // Without a token, or with something else.
    for headers in [&[][..], &[("authorization", "Basic YTpi")]] {
        let reply = example.known(Method::GET, headers).await;
        let challenge = (reply.status.as_u16(), reply.header("www-authenticate"));
        assert_eq!(challenge, (401, Some(r#"Bearer scope="orders:read""#)), "{headers:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    let (bearer, joined) = (format!("Bearer {writer}"), format!("Bearer {writer}, Bearer {writer}"));
    for headers in [
        &[("authorization", &*bearer), ("authorization", &*bearer)][..],
        &[("authorization", &*joined)],
        &[("authorization", "Bearer")],
        &[("authorization", "")],
    ] {
        let reply = example.known(Method::GET, headers).await;
        assert!(matches!(reply.status.as_u16(), 400 | 401), "{headers:?}: {reply:?}");
    }
    // What the sidecar says of the token reaches the client as it is.
    let bad = format!("{}x", &writer[..writer.len() - 1]);
    let lacking = example.known(Method::POST, &[("authorization", &format!("Bearer {reader}"))]).await;
    for (reply, token, status) in [(example.get(&bad).await, &bad, 401), (lacking, &reader, 403)] {
        let said = sidecar.check(token, &["orders:read", "orders:write"]).await.www_authenticate;
        assert_eq!((reply.status.as_u16(), reply.header("www-authenticate")), (status, Some(&*said)));
        assert_eq!((reply.header("cache-control"), &*reply.body), (Some("no-store"), ""));
    }
    needs_proof(&example, &sidecar, &client).await;
    // Revoked a moment ago.
    sidecar.revoke(&reader, RevocationMode::Strict).await;
    let revoked = example.get(&reader).await;
    assert_eq!(revoked.status, 401);
    assert!(revoked.header("www-authenticate").unwrap().contains("invalid_token"), "{revoked:?}");

    // Gone, and back.
    let directory = sidecar.directory.clone();
    sidecar.stop().await;
    example.does_not_know(&writer).await;
    let _ = std::fs::remove_file(&socket);
    let sidecar = Sidecar::on(directory, SCOPES).await;
    assert_eq!(example.get(&writer).await.status, 200);
    drop(example);
    survives_its_line(command(), &sidecar, &writer).await;
}

/// A token that is bound to a key passes with a proof, once.
async fn needs_proof(example: &Example, sidecar: &Sidecar, client: &Registered) {
    let key = Key::new();
    let bound = token(sidecar, client, "orders:read", &[&key.proof(sidecar, "/token")]).await;
    assert_eq!(example.get(&bound).await.status, 401);
    let authorization = format!("DPoP {bound}");
    let mut proof = key.proof_with(sidecar, &bound);
    // One that was used up in vain does not pass later.
    let began = Instant::now();
    while example.send(Method::GET, &[("authorization", &authorization), ("dpop", &proof)]).await.status != 200 {
        assert!(began.elapsed() < PATIENCE, "no proof passes");
        proof = key.proof_with(sidecar, &bound);
    }
    let other = key.proof_with(sidecar, &bound);
    for headers in [
        &[("authorization", &*authorization), ("dpop", &*proof)][..],
        &[("authorization", &*authorization), ("dpop", &*other), ("dpop", &*other)],
        &[("authorization", &*authorization)],
    ] {
        let reply = example.known(Method::GET, headers).await;
        assert_eq!(reply.status, 401, "{headers:?}");
        assert!(reply.header("www-authenticate").unwrap().starts_with("DPoP "), "{reply:?}");
    }
}

/// Over TCP, by a line that falls silent and is cut.
async fn survives_its_line(command: Command, sidecar: &Sidecar, token: &str) {
    let tcp = sidecar.addresses.grpc.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address.to_string()),
        ListenAddress::Unix(_) => None,
    });
    let line = Proxy::to(Target::Tcp(tcp.unwrap())).await;
    let example = Example::start(command, &format!("127.0.0.1:{}", line.port)).await;
    assert_eq!(example.get(token).await.status, 200);
    for fault in [Line::Silent, Line::Closed] {
        line.set(fault);
        example.does_not_know(token).await;
        line.set(Line::Whole);
        assert_eq!(example.get(token).await.status, 200, "after {fault:?}");
    }
}

#[test]
fn what_is_to_be_copied_is_short() {
    for file in [
        "go/scopegate/require.go",
        "go/scopegate/sidecar.go",
        "java/src/main/java/orders/Gate.java",
        "java/src/main/java/orders/Sidecar.java",
        "node/scopegate.js",
        "python/scopegate_wsgi.py",
        "rust/main.rs",
    ] {
        let text = std::fs::read_to_string(path("examples").join(file)).unwrap();
        assert!(text.lines().count() <= 60, "{file} has {} lines", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 150), "{file} has lines that are too long");
    }
}

#[tokio::test]
async fn a_service_in_go_passes_what_may_and_answers_the_rest_as_the_sidecar_says() {
    let built = path("examples/go/target/orders");
    protects(|| program(built.to_str().unwrap(), &[])).await;
}

#[tokio::test]
async fn a_service_in_java_passes_what_may_and_answers_the_rest_as_the_sidecar_says() {
    protects(|| program("java", &["-jar", "examples/java/target/orders.jar"])).await;
}

#[tokio::test]
async fn a_service_in_javascript_passes_what_may_and_answers_the_rest_as_the_sidecar_says() {
    assert!(path("examples/node/node_modules").exists(), "run tests/examples.sh");
    protects(|| program("node", &["examples/node/orders.js"])).await;
}

#[tokio::test]
async fn a_service_in_python_passes_what_may_and_answers_the_rest_as_the_sidecar_says() {
    let interpreter = path(".tools/bin/python");
    assert!(interpreter.exists() && path("examples/python/target/built").exists(), "run tests/run.sh");
    protects(|| {
        let mut command = program(interpreter.to_str().unwrap(), &["examples/python/orders.py"]);
        command.env("PYTHONPATH", path("examples/python/target/stubs")).stderr(Stdio::null());
        command
    })
    .await;
}

#[tokio::test]
async fn a_service_in_rust_passes_what_may_and_answers_the_rest_as_the_sidecar_says() {
    let built = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("orders");
    assert!(built.exists(), "no {}: cargo build --locked --example orders", built.display());
    protects(|| program(built.to_str().unwrap(), &[])).await;
}
