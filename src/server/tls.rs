//! TLS on a port, whose certificates are read again when their files change.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::connections::HEADER_PATIENCE;
use crate::config::{self, ConfigError};
use crate::telemetry::TlsMetrics;

/// How often it is asked whether the files changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a port makes TLS connections with.
#[derive(Clone)]
pub(super) struct Tls {
    current: watch::Receiver<Arc<ServerConfig>>,
    metrics: TlsMetrics,
}

/// Reads the files of a port again when they change.
pub(super) struct Reloader {
    section: &'static str,
    settings: config::Tls,
    protocols: &'static [&'static [u8]],
    current: watch::Sender<Arc<ServerConfig>>,
    seen: Vec<Stamp>,
    metrics: TlsMetrics,
}

/// A state of a file: another one has another stamp. `None` when it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A connection, and when it ceases to be trusted.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) trust: Option<Trust>,
}

/// That a client's certificate was good by the files as they were.
pub(super) struct Trust(watch::Receiver<Arc<ServerConfig>>);

impl Trust {
    /// Waits until the files have changed. The client has to show its certificate again.
    pub(super) async fn ended(mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Tls {
    /// `None` where TLS is off.
    pub(super) fn load(
        section: &'static str,
        settings: &config::Tls,
        protocols: &'static [&'static [u8]],
        metrics: &TlsMetrics,
    ) -> Result<Option<(Self, Reloader)>, ConfigError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let seen = stamps(settings);
        let (sender, current) = watch::channel(Arc::new(settings.server(section, protocols)?));
        let metrics = metrics.clone();
        let reloader = Reloader {
            section,
            settings: settings.clone(),
            protocols,
            current: sender,
            seen,
            metrics: metrics.clone(),
        };
        Ok(Some((Self { current, metrics }, reloader)))
    }

    /// The handshake, in the time that a client has for its first word.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Secured> {
        let mut current = self.current.clone();
        let config = current.borrow_and_update().clone();
        match timeout(HEADER_PATIENCE, TlsAcceptor::from(config).accept(stream))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
        {
            Ok(stream) => {
                let trust = stream.get_ref().1.peer_certificates().map(|_| Trust(current));
                Ok(Secured { stream, trust })
            }
            Err(error) => {
                self.metrics.handshake_failures.inc();
                Err(error)
            }
        }
    }
}

impl Reloader {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (settings, seen) = (self.settings.clone(), self.seen.clone());
            let (section, protocols) = (self.section, self.protocols);
            // A file system that hangs holds nobody else.
            let read = spawn_blocking(move || {
                // Before they are read: what changes meanwhile is read once more.
                let now = stamps(&settings);
                (now != seen).then(|| (now, settings.server(section, protocols)))
            });
            match read.await {
                Ok(Some((now, result))) => {
                    self.seen = now;
                    self.replace(result);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(error = %error, section, "the certificates could not be read again"),
            }
        }
    }

    fn replace(&self, read: Result<ServerConfig, ConfigError>) {
        match read {
            Ok(config) => {
                self.metrics.reloads.inc();
                tracing::info!(section = self.section, "the certificates have changed and were read again");
                self.current.send_replace(Arc::new(config));
            }
            Err(error) => {
                self.metrics.reload_failures.inc();
                tracing::error!(error = %error, "the certificates have changed and cannot be used: the old ones stay");
            }
        }
    }
}

fn stamps(settings: &config::Tls) -> Vec<Stamp> {
    let stamp = |path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
    };
    settings.files().map(stamp).collect()
}
