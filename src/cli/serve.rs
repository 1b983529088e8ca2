//! `scopegate serve`.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CliError;
use crate::config::Deployment;
use crate::effects::Effects;
use crate::server::{Issuer, Server};
use crate::telemetry;

pub(super) async fn run(deployment: &Deployment) -> Result<ExitCode, CliError> {
    telemetry::start_logging(&deployment.first().telemetry)?;
    let stop = StopSignals::new()?;
    let server = Server::start_all(deployment, Effects::system()).await?;
    match server.issuers.as_slice() {
        [issuer] => println!("listening {}", issuer.addresses),
        several => {
            for Issuer { addresses, backend } in several {
                println!("listening issuer={} {addresses}", backend.service.settings.issuer);
            }
        }
    }
    stop.received().await;
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT. Caught from the beginning, so that one that comes as soon as the server is ready ends it in good order.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn new() -> Result<Self, CliError> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(super) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("stopping");
    }
}
