//! `scopegate token`: a gRPC client of a running server.

use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::target::{Caller, CallerToken, Target};
use super::{CliError, Output, OutputFormat, StatusError, output};
use crate::domain::jwt::MAX_LENGTH;
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::token_service_client::TokenServiceClient;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct Common {
    /// The token, or - to read it from standard input, which keeps it out of the process list
    token: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    caller: Caller,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Subcommand)]
enum Verb {
    /// Say what a token is; status 1 when it is not active
    Introspect {
        /// The resource that asks: a token that is not meant for it is not active
        #[arg(long, value_name = "URI")]
        resource: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Say whether an access token may do a thing; status 1 when it may not
    Check {
        /// A scope that is required; may be given several times
        #[arg(long)]
        scope: Vec<String>,
        /// One of them is enough
        #[arg(long)]
        any: bool,
        /// An authentication context class: the user must have signed in as one of these says; may be given several times
        #[arg(long, value_name = "CLASS")]
        acr: Vec<String>,
        /// The user must have signed in so many seconds ago at most
        #[arg(long, value_name = "SECONDS")]
        max_age: Option<u32>,
        #[command(flatten)]
        common: Common,
    },
    /// Revoke a token and the grant behind it
    Revoke {
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Introspect { resource, common } => introspect(&common, resource).await,
        Verb::Check { scope, any, acr, max_age, common } => {
            let request = api::CheckScopesRequest {
                token: common.token()?,
                required_scopes: scope,
                r#match: if any { api::Match::Any } else { api::Match::All }.into(),
                acr_values: acr,
                max_age,
                ..Default::default()
            };
            check(&common, request).await
        }
        Verb::Revoke { common } => {
            let request = api::RevokeRequest { token: common.token()?, ..Default::default() };
            common.tokens().await?.revoke(request).await.map_err(StatusError)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn introspect(common: &Common, resource: Option<String>) -> Result<ExitCode, CliError> {
    let resource = resource.unwrap_or_default();
    let request = api::IntrospectRequest { token: common.token()?, resource, ..Default::default() };
    let answer = common.tokens().await?.introspect(request).await.map_err(StatusError)?.into_inner();
    match common.format.output {
        Output::Json if answer.active => output::json(&json!({
            "active": true, "scope": answer.scope, "client_id": answer.client_id, "username": answer.username,
            "token_type": answer.token_type, "exp": answer.exp, "iat": answer.iat, "nbf": answer.nbf,
            "sub": answer.sub, "iss": answer.iss, "jti": answer.jti, "grant_id": answer.grant_id,
            "auth_time": answer.auth_time, "acr": answer.acr,
        }))?,
        Output::Json => output::json(&json!({ "active": false }))?,
        Output::Text => output::pairs(&[
            ("active", &answer.active),
            ("scope", &answer.scope),
            ("client_id", &answer.client_id),
            ("username", &answer.username),
            ("sub", &answer.sub),
            ("token_type", &answer.token_type),
            ("exp", &if answer.active { answer.exp.to_string() } else { String::new() }),
            ("grant_id", &answer.grant_id),
            ("auth_time", &if answer.auth_time == 0 { String::new() } else { answer.auth_time.to_string() }),
            ("acr", &answer.acr),
        ]),
    }
    Ok(if answer.active { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(common: &Common, request: api::CheckScopesRequest) -> Result<ExitCode, CliError> {
    let answer = common.tokens().await?.check_scopes(request).await.map_err(StatusError)?.into_inner();
    let decision = answer.decision().as_str_name().trim_start_matches("DECISION_");
    match common.format.output {
        Output::Json => output::json(&json!({
            "decision": decision, "missing_scopes": answer.missing_scopes, "http_status": answer.http_status,
            "www_authenticate": answer.www_authenticate,
        }))?,
        Output::Text => output::pairs(&[
            ("decision", &decision),
            ("missing_scopes", &answer.missing_scopes.join(" ")),
            ("http_status", &answer.http_status),
            ("www_authenticate", &answer.www_authenticate),
        ]),
    }
    Ok(if answer.decision() == api::Decision::Allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Common {
    async fn tokens(&self) -> Result<TokenServiceClient<InterceptedService<Channel, CallerToken>>, CliError> {
        let token = self.caller.token()?;
        Ok(TokenServiceClient::with_interceptor(self.target.connect().await?, token))
    }

    fn token(&self) -> Result<String, CliError> {
        if self.token != "-" {
            return Ok(self.token.clone());
        }
        let mut text = String::new();
        std::io::stdin().take(2 * MAX_LENGTH as u64).read_to_string(&mut text)?;
        Ok(text.trim().to_owned())
    }
}
