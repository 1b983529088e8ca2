//! The Envoy that `tests/run.sh` installs, on a free port, with the configuration that we ship.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Envoy {
    pub address: SocketAddr,
    _directory: TempDir,
    _process: Child,
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    /// The names in lower case.
    pub head: String,
    pub body: String,
}

impl Raw {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            line.split_once(": ").filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    }
}

impl Envoy {
    /// `deploy/envoy/envoy.yaml` with the addresses of this test, and with one text for another for each of `changes`.
    pub async fn start(socket: &Path, application: SocketAddr, changes: &[(&str, &str)]) -> Self {
        let port = application.port().to_string();
        let own = [
            ("address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0"),
            ("address: 127.0.0.1, port_value: 9901", "address: 127.0.0.1, port_value: 0"),
            ("/run/scopegate/grpc.sock", &socket.display().to_string()),
            ("port_value: 3000", &format!("port_value: {port}")),
        ];
        Self::run(&replace(include_str!("../../../deploy/envoy/envoy.yaml"), &[&own[..], changes].concat())).await
    }

    /// `deploy/envoy/envoy-http.yaml`, in the same way.
    pub async fn over_http(sidecar: SocketAddr, application: SocketAddr, changes: &[(&str, &str)]) -> Self {
        let port = |address: SocketAddr| format!("port_value: {}", address.port());
        let own = [
            ("address: 0.0.0.0, port_value: 10000", "address: 127.0.0.1, port_value: 0"),
            ("address: 127.0.0.1, port_value: 9901", "address: 127.0.0.1, port_value: 0"),
            ("port_value: 8080", &port(sidecar)),
            ("port_value: 3000", &port(application)),
        ];
        Self::run(&replace(include_str!("../../../deploy/envoy/envoy-http.yaml"), &[&own[..], changes].concat())).await
    }

    async fn run(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (file, admin) = (directory.path().join("envoy.yaml"), directory.path().join("admin"));
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/envoy"));
        command.arg("--config-path").arg(&file).arg("--admin-address-path").arg(&admin);
        command.args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            "--disable-hot-restart",
        ]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn();
        let process = process.expect("tests/run.sh installs envoy into .tools");
        let began = Instant::now();
        let address = loop {
            if let Some(address) = listener(&admin).await {
                break address;
            }
            let log = || std::fs::read_to_string(directory.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "Envoy does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        Self { address, _directory: directory, _process: process }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Raw {
        self.request("GET", path, headers).await
    }

    pub async fn with_token(&self, path: &str, token: &str) -> Raw {
        self.get(path, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Raw {
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n{}\r\n",
            headers.concat()
        );
        self.send(text.as_bytes()).await
    }

    /// Bytes as they are. The request has to close the connection.
    pub async fn send(&self, request: &[u8]) -> Raw {
        raw(self.address, request).await
    }
}

/// One text for another, in a configuration that we ship.
#[track_caller]
pub fn replace(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "the configuration has no {from}");
        // The first lines are a comment.
        text = text.replace(from, to);
    }
    text
}

/// Sends bytes as they are, and reads the answer until the connection closes.
pub async fn raw(address: SocketAddr, request: &[u8]) -> Raw {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        // A server that refuses a request may reset the connection after its answer, or close it much later.
        while !is_whole(&answer) && matches!(stream.read_buf(&mut answer).await, Ok(1..)) {}
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer that ends");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Raw { status, head: head.to_owned(), body: unchunked(head, body) }
}

/// Whether an answer that says how long it is has come to its end.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

/// The content of an answer that came in chunks.
fn unchunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut content) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        content.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    content
}

/// The address of the public listener, once Envoy has it.
async fn listener(admin: &Path) -> Option<SocketAddr> {
    let admin: SocketAddr = std::fs::read_to_string(admin).ok()?.trim().parse().ok()?;
    TcpStream::connect(admin).await.ok()?;
    let listeners = raw(admin, b"GET /listeners HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n").await;
    let address = listeners.body.lines().find_map(|line| line.strip_prefix("public::")?.parse().ok())?;
    TcpStream::connect(address).await.ok()?;
    Some(address)
}
