//! A running server, as the verbs that ask it over gRPC reach it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use clap::Args;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::CliError;

/// How long a server has to take a connection, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct Target {
    /// The server: `https://host:port`, `http://host:port`, `host:port` or `unix:/path`
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    endpoint: String,
    #[command(flatten)]
    tls: Tls,
}

#[derive(Args)]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
pub(super) struct Tls {
    /// The authorities to trust with https, as PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A client certificate to show, as PEM
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// The key of the client certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
}

/// Who calls, where the connection does not say it.
#[derive(Args)]
pub(super) struct Caller {
    /// A file with the caller token to present to the server
    #[arg(long, value_name = "FILE", env = "SCOPEGATE_CALLER_TOKEN_FILE")]
    caller_token_file: Option<PathBuf>,
}

/// Presents the caller token, if there is one.
#[derive(Clone)]
pub(super) struct CallerToken(Option<MetadataValue<Ascii>>);

impl Interceptor for CallerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Caller {
    pub(super) fn token(&self) -> Result<CallerToken, CliError> {
        let Some(path) = &self.caller_token_file else { return Ok(CallerToken(None)) };
        let value = format!("Bearer {}", read(path)?.trim());
        let mut value: MetadataValue<Ascii> = value.parse().map_err(|_| CliError::File {
            path: path.clone(),
            cause: io::Error::other("a caller token is made of printable ASCII characters"),
        })?;
        value.set_sensitive(true);
        Ok(CallerToken(Some(value)))
    }
}

impl Target {
    /// A connection to the server.
    pub(super) async fn connect(&self) -> Result<Channel, CliError> {
        self.tls.connect(&self.endpoint).await
    }
}

impl Tls {
    /// A connection to the server there.
    pub(super) async fn connect(&self, server: &str) -> Result<Channel, CliError> {
        let failed = |error: tonic::transport::Error| {
            // What went wrong is said last: below are "transport error" and the like.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            CliError::Endpoint { endpoint: server.to_owned(), cause: cause.to_string() }
        };
        if let Some(path) = server.strip_prefix("unix:") {
            let path = path.to_owned();
            let connector = tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            // The URI only names the authority of the requests.
            let endpoint = Endpoint::from_static("http://localhost").timeout(PATIENCE);
            return endpoint.connect_with_connector(connector).await.map_err(failed);
        }
        let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let mut endpoint = Endpoint::from_shared(url).map_err(failed)?.connect_timeout(PATIENCE).timeout(PATIENCE);
        if server.starts_with("https://") {
            endpoint = endpoint.tls_config(self.config()?).map_err(failed)?;
        }
        endpoint.connect().await.map_err(failed)
    }

    fn config(&self) -> Result<ClientTlsConfig, CliError> {
        let tls = match &self.ca_file {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        Ok(match (&self.cert_file, &self.key_file) {
            (Some(certificate), Some(key)) => tls.identity(Identity::from_pem(read(certificate)?, read(key)?)),
            _ => tls,
        })
    }
}

/// The text of a file that the command line names.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|cause| CliError::File { path: path.to_owned(), cause })
}
