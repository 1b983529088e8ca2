//! The proxies that ask at `/check`, with the configurations that we ship, in front of an application.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::envoy::{Envoy, Raw, raw, replace};

/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Somebody else may take a free port before the proxy does.
const ATTEMPTS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Traefik,
    Caddy,
    /// Asking over HTTP.
    Envoy,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Traefik, Self::Caddy, Self::Envoy];
}

pub struct Gate {
    pub address: SocketAddr,
    _process: Process,
}

#[expect(dead_code, reason = "they are kept until the end")]
enum Process {
    Own(TempDir, Child),
    Envoy(Envoy),
}

impl Gate {
    /// The configuration with the addresses of this test.
    pub async fn start(kind: Kind, sidecar: SocketAddr, application: SocketAddr) -> Self {
        if kind == Kind::Envoy {
            return Envoy::over_http(sidecar, application, &[]).await.into();
        }
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let mut process = spawn(kind, directory.path(), [free, sidecar, application]);
            let began = Instant::now();
            while process.try_wait().unwrap().is_none() {
                if is_ready(free).await {
                    return Self { address: free, _process: Process::Own(directory, process) };
                }
                assert!(began.elapsed() < PATIENCE, "{kind:?} does not start");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            eprintln!("{}", std::fs::read_to_string(directory.path().join("log")).unwrap());
        }
        panic!("{kind:?} does not start");
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Raw {
        self.request("GET", path, headers).await
    }

    pub async fn with_token(&self, path: &str, token: &str) -> Raw {
        self.get(path, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Raw {
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        // Proxies treat what `Connection` names as their own: it comes once.
        let connection = if headers.concat().contains("Connection: ") { "" } else { "Connection: close\r\n" };
        let text = format!("{method} {path} HTTP/1.1\r\nHost: api.example.com\r\n{connection}{}\r\n", headers.concat());
        self.send(text.as_bytes()).await
    }

    /// Bytes as they are. The request has to close the connection.
    pub async fn send(&self, request: &[u8]) -> Raw {
        raw(self.address, request).await
    }
}

impl From<Envoy> for Gate {
    fn from(envoy: Envoy) -> Self {
        Self { address: envoy.address, _process: Process::Envoy(envoy) }
    }
}

/// Whether it listens and has its routes, which Traefik reads later: no route is 404.
async fn is_ready(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
        && raw(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.status != 404
}

/// One process, which ends with the test.
pub(super) fn nginx(directory: &Path, file: &Path) -> Command {
    // Debian puts it where not everybody's PATH leads.
    let debian = Path::new("/usr/sbin/nginx");
    let mut command = Command::new(if debian.exists() { debian } else { Path::new("nginx") });
    command.arg("-p").arg(directory).arg("-c").arg(file).args(["-e", "error.log"]);
    command.args(["-g", "daemon off; master_process off;"]);
    command
}

fn spawn(kind: Kind, directory: &Path, [own, sidecar, application]: [SocketAddr; 3]) -> Child {
    let [public, sidecar, application] = [own, sidecar, application].map(|address| address.to_string());
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin");
    let write = |name: &str, text: &str, changes: &[(&str, &str)]| {
        let file = directory.join(name);
        std::fs::write(&file, replace(text, changes)).unwrap();
        file
    };
    let addresses = [("127.0.0.1:8080", &*sidecar), ("127.0.0.1:3000", &*application)];
    let mut command = match kind {
        Kind::Nginx => {
            let changes = [&addresses[..], &[("0.0.0.0:8000", &*public), ("orders:read", "a"), ("orders:write", "b")]];
            let file = write("nginx.conf", include_str!("../../../deploy/nginx/nginx.conf"), &changes.concat());
            nginx(directory, &file)
        }
        Kind::Traefik => {
            let changes = [&addresses[..], &[("orders:read", "a"), ("orders:write", "b")]].concat();
            let dynamic = write("dynamic.yaml", include_str!("../../../deploy/traefik/dynamic.yaml"), &changes);
            let changes = [("0.0.0.0:8000", &*public), ("/etc/traefik/dynamic.yaml", dynamic.to_str().unwrap())];
            let file = write("traefik.yaml", include_str!("../../../deploy/traefik/traefik.yaml"), &changes);
            let mut command = Command::new(tools.join("traefik"));
            command.arg("--configfile").arg(file);
            command
        }
        Kind::Caddy => {
            let listen = format!("http://:{} {{\n\tbind 127.0.0.1", own.port());
            let listen = [("http://:8000 {", &*listen), ("orders:read", "a"), ("orders:write", "b")];
            let changes = [&addresses[..], &listen].concat();
            // The comment at the top names the addresses, too.
            let file = write("Caddyfile", include_str!("../../../deploy/caddy/Caddyfile"), &changes);
            let mut command = Command::new(tools.join("caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            command
        }
        Kind::Envoy => unreachable!("Envoy is started elsewhere"),
    };
    let log = std::fs::File::create(directory.join("log")).unwrap();
    command.current_dir(directory).env("HOME", directory).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("tests/run.sh installs {kind:?}: {error}"))
}
