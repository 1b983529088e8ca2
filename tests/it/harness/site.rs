//! A web site of one's own: https on a free port of 127.0.0.1, that answers as it is told and remembers what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::redis::make_certificates;

/// How a site answers for one of its paths. Paths that it does not know are 404.
#[derive(Clone)]
pub enum Answer {
    /// These bytes.
    Raw(String),
    /// Nothing, ever.
    Silence,
    /// A body without an end.
    Endless,
}

pub struct Site {
    pub address: SocketAddr,
    directory: TempDir,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    requests: Vec<String>,
}

impl Site {
    /// With a certificate for 127.0.0.1 and localhost.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_certificates(directory.path()).await;
        let file = |name| directory.path().join(name);
        let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(directory, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// Without TLS.
    pub async fn without_tls() -> Self {
        Self::listen(tempfile::tempdir().unwrap(), None).await
    }

    async fn listen(directory: TempDir, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, shared) = (tls.clone(), shared.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, &shared).await,
                        // Who does not trust the certificate hangs up.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, &shared).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, directory, state, accepting }
    }

    pub fn serve(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.into(), answer);
    }

    /// The requests so far, each with its head and body.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The file of the authority that its certificate is of.
    pub fn authority(&self) -> String {
        self.directory.path().join("ca.pem").display().to_string()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Configuration of a server that may call it, as TOML.
    pub fn allowed(&self) -> String {
        format!("[outgoing]\nallowed_networks = ['127.0.0.1']\nca_path = '{}'\n", self.authority())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A good answer with a JSON body, and more headers.
pub fn document(headers: &[&str], body: &str) -> Answer {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    let length = body.len();
    Answer::Raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    ))
}

/// `None` when the other side hung up.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> Option<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(request);
        state.answers.get(&path).cloned()
    };
    match answer {
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.ok()?,
        Some(Answer::Raw(text)) => stream.write_all(text.as_bytes()).await.ok()?,
        Some(Answer::Silence) => std::future::pending().await,
        Some(Answer::Endless) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(&[b' '; 4096]).await.ok()?;
            }
        }
    }
    stream.shutdown().await.ok()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}
