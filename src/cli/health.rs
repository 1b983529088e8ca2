//! `scopegate health`: a probe for images without a shell.

use std::process::ExitCode;

use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::target::Target;
use super::{CliError, StatusError};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
}

/// Status 0 when the server serves, 1 otherwise.
pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CliError> {
    let mut client = HealthClient::new(arguments.target.connect().await?);
    let request = HealthCheckRequest { service: String::new() };
    let answer = client.check(request).await.map_err(StatusError)?.into_inner();
    let status = answer.status();
    println!("{}", status.as_str_name());
    Ok(if status == ServingStatus::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
