//! TLS on a port: `[grpc.tls]` and `[http.tls]`.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::ConfigError;

/// TLS 1.2 and 1.3, with certificates from PEM files. They are read again when they change; until the new ones are good, the old ones
/// stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate and those between it and its authority, in this order. Empty: no TLS.
    pub certificate_file: String,
    /// The key of the certificate.
    pub key_file: String,
    /// The authorities whose client certificates count. Clients are then asked for one and need not have it; one of another authority,
    /// or one that has expired, ends the connection. Empty: clients are not asked.
    pub client_ca_file: String,
    /// The lists of the client certificates that were revoked, one of each authority in a chain. Empty: none were.
    pub client_crl_file: String,
}

impl Tls {
    pub fn is_on(&self) -> bool {
        !self.certificate_file.is_empty()
    }

    /// Whether clients are asked for certificates.
    pub fn asks_clients(&self) -> bool {
        !self.client_ca_file.is_empty()
    }

    /// The files that there are.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate_file, &self.key_file, &self.client_ca_file, &self.client_crl_file]
            .into_iter()
            .filter(|file| !file.is_empty())
            .map(Path::new)
    }

    pub(super) fn validate(&self, section: &str) -> Result<(), ConfigError> {
        if self.is_on() {
            return self.server(section, &[]).map(drop);
        }
        match self.files().next() {
            None => Ok(()),
            Some(_) => Err(ConfigError::new(&format!("{section}.certificate_file"), "TLS needs a certificate")),
        }
    }

    /// What the files say now. `protocols` are those of ALPN.
    pub fn server(&self, section: &str, protocols: &[&[u8]]) -> Result<ServerConfig, ConfigError> {
        let wrong = |key: &str, why: &dyn ToString| ConfigError::new(&format!("{section}.{key}"), &why.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| wrong("certificate_file", &error))?;
        let builder = if self.asks_clients() {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&self.client_ca_file).map_err(|why| wrong("client_ca_file", &why))? {
                roots.add(certificate).map_err(|error| wrong("client_ca_file", &error))?;
            }
            let lists = lists(&self.client_crl_file).map_err(|why| wrong("client_crl_file", &why))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .with_crls(lists)
                .enforce_revocation_expiration()
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong("client_ca_file", &error))?;
            builder.with_client_cert_verifier(verifier)
        } else if self.client_crl_file.is_empty() {
            builder.with_no_client_auth()
        } else {
            return Err(wrong("client_crl_file", &"this needs client_ca_file"));
        };
        let chain = certificates(&self.certificate_file).map_err(|why| wrong("certificate_file", &why))?;
        let key = PrivateKeyDer::from_pem_file(&self.key_file).map_err(|error| wrong("key_file", &error))?;
        let mut server = builder.with_single_cert(chain, key).map_err(|error| wrong("key_file", &error))?;
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        if self.asks_clients() {
            // A resumed session would not ask again whether the client's certificate is good.
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        }
        Ok(server)
    }
}

/// One at least: an empty file is one that somebody has just begun to write.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(format!("{path}: there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn lists(path: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    match CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(found) if found.is_empty() => Err(format!("{path}: there is no list in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{path}: {error}")),
    }
}
