//! A running server, as the verbs that ask it over gRPC reach it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::CliError;

#[derive(Args)]
pub(super) struct Target {
    /// The server: `https://host:port`, `http://host:port`, `host:port` or `unix:/path`
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    endpoint: String,
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

impl Target {
    /// A connection to the server.
    pub(super) async fn connect(&self) -> Result<Channel, CliError> {
        let failed = |error: tonic::transport::Error| {
            // What went wrong is said last: below are "transport error" and the like.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            CliError::Endpoint { endpoint: self.endpoint.clone(), cause: cause.to_string() }
        };
        if let Some(path) = self.endpoint.strip_prefix("unix:") {
            let path = path.to_owned();
            let connector = tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            // The URI only names the authority of the requests.
            return Endpoint::from_static("http://localhost").connect_with_connector(connector).await.map_err(failed);
        }
        let url =
            if self.endpoint.contains("://") { self.endpoint.clone() } else { format!("http://{}", self.endpoint) };
        let mut endpoint = Endpoint::from_shared(url).map_err(failed)?;
        if self.endpoint.starts_with("https://") {
            endpoint = endpoint.tls_config(self.tls()?).map_err(failed)?;
        }
        endpoint.connect().await.map_err(failed)
    }

    fn tls(&self) -> Result<ClientTlsConfig, CliError> {
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
