//! `scopegate serve`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use crate::config::Config;
use crate::effects::Effects;
use crate::server::Server;
use crate::telemetry;

pub(super) async fn run(config: &Config) -> Result<ExitCode, CliError> {
    telemetry::start_logging(&config.telemetry)?;
    let server = Server::start(config, Effects::system()).await?;
    println!("listening {}", server.addresses);
    until_stopped().await?;
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn until_stopped() -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    Ok(())
}
