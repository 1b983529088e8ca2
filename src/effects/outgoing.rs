//! Requests to URLs that others named: clients, or whoever registers one.
//!
//! Where they go is decided by address, not by name: a name is resolved once, every address that it has must be allowed
//! ([`may_reach`]), and those very addresses are connected to, so a name server that changes its mind changes nothing. No redirect is
//! followed, no proxy of the environment is used, nothing is remembered between two requests. Each has a deadline, and so many are
//! under way at once; they run on the background runtime, to their end, whether whoever asked still waits or not.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::domain::network::Network;
use crate::domain::outgoing::{OutgoingUrl, may_reach};

/// The most bytes of an answer's body.
pub const MAX_BODY: usize = 64 << 10;
/// The most bytes of an answer's head, and how many headers it may have.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// For how long an answer is kept, in seconds: where it does not say, at least, and at most.
const LIFETIME: u32 = 300;
const MIN_LIFETIME: u32 = 60;
const MAX_LIFETIME: u32 = 86_400;
/// How many requests are under way at once. The others wait, and their time runs.
const AT_ONCE: usize = 32;
/// How many addresses of a name are tried, and how long each may take to connect.
const ADDRESSES: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const AGENT: &str = concat!("scopegate/", env!("CARGO_PKG_VERSION"));

/// What the operator says of requests that go out.
#[derive(Clone, Debug)]
pub struct OutgoingPolicy {
    /// Whether anything is called at all.
    pub enabled: bool,
    /// What is reached though it is inside, and without TLS too.
    pub allowed_networks: Vec<Network>,
    pub authorities: Authorities,
    /// From the question to the end of the answer.
    pub timeout: Duration,
}

/// Who may sign the certificates of servers.
#[derive(Clone, Debug)]
pub enum Authorities {
    /// Those that the system trusts. They are read when they are needed first.
    System,
    Own(Arc<RootCertStore>),
}

/// A file without certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is a file of PEM certificates")]
pub struct MalformedAuthorities;

/// Makes requests. Clones share their limits.
#[derive(Clone)]
pub struct Outgoing(Arc<Shared>);

struct Shared {
    policy: OutgoingPolicy,
    background: Handle,
    permits: Arc<Semaphore>,
    tls: OnceLock<Option<Arc<ClientConfig>>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Document {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. It is for the log: whoever named the URL is not told what is inside.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    #[error("nothing is called from here (outgoing.enabled)")]
    Off,
    #[error("the URL leads to an address that is not public (outgoing.allowed_networks)")]
    Inside,
    #[error("the name of the host was not resolved: {0}")]
    Name(#[source] io::Error),
    #[error("there is no connection: {0}")]
    Connection(#[source] io::Error),
    #[error("the system has no certificates to trust (outgoing.ca_path)")]
    NoAuthorities,
    #[error("the exchange failed: {0}")]
    Exchange(#[source] hyper::Error),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("the answer broke off")]
    BrokenOff,
    #[error("the answer is compressed, which was not asked for")]
    Encoded,
    #[error("there was no answer in time")]
    Timeout,
    #[error("the request ended without an answer")]
    Ended,
}

impl OutgoingError {
    /// Whether the URL or the answer was refused here, so that asking again would change nothing. Any other error is a fault.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Off | Self::Inside | Self::TooLong(_) | Self::Encoded)
    }
}

impl Authorities {
    pub fn from_pem(pem: &[u8]) -> Result<Self, MalformedAuthorities> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| MalformedAuthorities)?;
            roots.add(certificate).map_err(|_| MalformedAuthorities)?;
        }
        if roots.is_empty() { Err(MalformedAuthorities) } else { Ok(Self::Own(Arc::new(roots))) }
    }

    /// `None` when there are none.
    fn roots(&self) -> Option<Arc<RootCertStore>> {
        match self {
            Self::Own(roots) => Some(roots.clone()),
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::warn!(%error, "certificates of the system could not be read");
                }
                let mut roots = RootCertStore::empty();
                let (added, _) = roots.add_parsable_certificates(found.certs);
                (added > 0).then(|| Arc::new(roots))
            }
        }
    }
}

impl Document {
    /// The media type, without its parameters.
    pub fn media_type(&self) -> &str {
        let header = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        header.split(';').next().unwrap_or_default().trim()
    }

    /// For how many seconds it is kept here: as it says, within bounds.
    pub fn lifetime(&self) -> u32 {
        self.max_age().unwrap_or(LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME)
    }

    /// What it says itself (RFC 9111 §5.2.2): 0 for one that is not to be stored.
    fn max_age(&self) -> Option<u32> {
        let mut max_age = None;
        for header in self.headers.get_all(CACHE_CONTROL) {
            for directive in header.to_str().unwrap_or_default().split(',') {
                let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
                if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                    return Some(0);
                }
                if name.eq_ignore_ascii_case("max-age") {
                    max_age = max_age.or_else(|| value.trim_matches('"').parse().ok());
                }
            }
        }
        max_age
    }
}

impl Outgoing {
    /// Its requests run on the runtime that calls.
    pub fn new(policy: OutgoingPolicy) -> Self {
        let shared = Shared {
            policy,
            background: Handle::current(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            tls: OnceLock::new(),
        };
        Self(Arc::new(shared))
    }

    pub fn is_enabled(&self) -> bool {
        self.0.policy.enabled
    }

    /// Reads a document of at most `limit` bytes. Any status is an answer, redirects included.
    pub async fn get(&self, url: &OutgoingUrl, accept: &'static str, limit: usize) -> Result<Document, OutgoingError> {
        let request = Request::get("/").header(ACCEPT, accept).body(Full::default());
        self.send(url, request.expect("this is a request"), limit.min(MAX_BODY)).await
    }

    /// The same with these headers.
    pub async fn get_with(
        &self,
        url: &OutgoingUrl,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<Document, OutgoingError> {
        let mut request = Request::new(Full::default());
        *request.headers_mut() = headers;
        self.send(url, request, limit.min(MAX_BODY)).await
    }

    /// Sends a form (`application/x-www-form-urlencoded`). The answer is its status.
    pub async fn post_form(&self, url: &OutgoingUrl, form: String) -> Result<StatusCode, OutgoingError> {
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "*/*")
            .body(Full::from(form));
        self.send(url, request.expect("this is a request"), 0).await.map(|document| document.status)
    }

    async fn send(
        &self,
        url: &OutgoingUrl,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Document, OutgoingError> {
        if !self.is_enabled() {
            return Err(OutgoingError::Off);
        }
        let (shared, url) = (self.0.clone(), url.parsed().clone());
        let exchange = async move {
            let limit_of_time = shared.policy.timeout;
            timeout(limit_of_time, shared.exchange(&url, request, limit)).await.unwrap_or(Err(OutgoingError::Timeout))
        };
        self.0.background.spawn(exchange).await.unwrap_or(Err(OutgoingError::Ended))
    }
}

impl Shared {
    async fn exchange(
        &self,
        url: &Url,
        mut request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Document, OutgoingError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| OutgoingError::Ended)?;
        let permit = Arc::new(permit);
        let host = url.host().ok_or(OutgoingError::Inside)?;
        let https = url.scheme() == "https";
        let addresses = addresses(&host, url.port_or_known_default().unwrap_or(443), &permit).await?;
        if !addresses.iter().all(|address| may_reach(address.ip(), https, &self.policy.allowed_networks)) {
            return Err(OutgoingError::Inside);
        }
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let headers = request.headers_mut();
        headers.insert(HOST, authority.parse().map_err(|_| OutgoingError::Inside)?);
        headers.insert(USER_AGENT, AGENT.parse().expect("this is a header"));
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        *request.uri_mut() = target.parse().map_err(|_| OutgoingError::Inside)?;

        let stream = connect(&addresses).await?;
        if !https {
            return converse(stream, request, limit).await;
        }
        let config = self.tls.get_or_init(|| self.policy.authorities.roots().map(tls_config));
        let config = config.clone().ok_or(OutgoingError::NoAuthorities)?;
        let stream =
            TlsConnector::from(config).connect(server_name(&host)?, stream).await.map_err(OutgoingError::Connection)?;
        converse(stream, request, limit).await
    }
}

/// The addresses of a host. The system's resolver cannot be stopped: whatever becomes of the request, its permit is kept until then.
async fn addresses(
    host: &Host<&str>,
    port: u16,
    permit: &Arc<OwnedSemaphorePermit>,
) -> Result<Vec<SocketAddr>, OutgoingError> {
    let name = match host {
        Host::Ipv4(address) => return Ok(vec![(IpAddr::V4(*address), port).into()]),
        Host::Ipv6(address) => return Ok(vec![(IpAddr::V6(*address), port).into()]),
        Host::Domain(name) => (*name).to_owned(),
    };
    let permit = permit.clone();
    let resolved = tokio::task::spawn_blocking(move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        drop(permit);
        addresses
    });
    match resolved.await {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(OutgoingError::Name(io::ErrorKind::NotFound.into())),
        Ok(addresses) => addresses.map_err(OutgoingError::Name),
        Err(_) => Err(OutgoingError::Ended),
    }
}

/// Connects to the first that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, OutgoingError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses.iter().take(ADDRESSES) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(OutgoingError::Connection(last))
}

fn tls_config(roots: Arc<RootCertStore>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, OutgoingError> {
    match host {
        Host::Ipv4(address) => Ok(IpAddr::V4(*address).into()),
        Host::Ipv6(address) => Ok(IpAddr::V6(*address).into()),
        Host::Domain(name) => ServerName::try_from((*name).to_owned())
            .map_err(|_| OutgoingError::Name(io::ErrorKind::InvalidInput.into())),
    }
}

/// One request and its answer. The connection ends with it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Document, OutgoingError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(OutgoingError::Exchange)?;
    let wants_body = request.method() != Method::POST;
    let answer = async {
        let response = sender.send_request(request).await.map_err(OutgoingError::Exchange)?;
        if wants_body { read(response, limit).await } else { Ok(Document::without_body(response)) }
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // It ends before the answer is read when the server closes it: what has come is there to be read.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(OutgoingError::Exchange(error)),
        },
    }
}

async fn read(response: Response<Incoming>, limit: usize) -> Result<Document, OutgoingError> {
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(OutgoingError::Encoded);
    }
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { OutgoingError::TooLong(limit) } else { OutgoingError::BrokenOff }
    })?;
    Ok(Document { status: parts.status, headers: parts.headers, body: body.to_bytes() })
}

impl Document {
    fn without_body(response: Response<Incoming>) -> Self {
        let (parts, _) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body: Bytes::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn for_how_long_an_answer_may_be_kept() {
        for (headers, expected) in [
            (&[][..], None),
            (&["public"], None),
            (&["max-age=60"], Some(60)),
            (&["public, Max-Age=\"60\""], Some(60)),
            (&["max-age=60", "max-age=3600"], Some(60)),
            (&["max-age=-1"], None),
            (&["max-age=99999999999"], None),
            (&["max-age=60, no-store"], Some(0)),
            (&["no-cache"], Some(0)),
        ] {
            let headers = headers.iter().map(|&value| (CACHE_CONTROL, HeaderValue::from_static(value))).collect();
            let document = Document { status: StatusCode::OK, headers, body: Bytes::new() };
            assert_eq!(document.max_age(), expected, "{document:?}");
        }
    }
}
