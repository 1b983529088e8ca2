//! `scopegate grant`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::domain::client::ClientId;
use crate::domain::grant::{Grant, GrantState};
use crate::domain::token::GrantId;

/// How many grants are listed at most.
const LIMIT: u32 = 1_000;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the newest grants, 1,000 at most
    List {
        /// Only those of this user: name or `sub`
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Only those of this client
        #[arg(long, value_name = "CLIENT_ID")]
        client: Option<ClientId>,
        #[command(flatten)]
        source: ConfigSource,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Revoke a grant: every access and refresh token of it
    Revoke {
        grant_id: GrantId,
        #[command(flatten)]
        source: ConfigSource,
    },
}

#[derive(Serialize)]
struct GrantDocument {
    grant_id: String,
    client_id: String,
    username: String,
    sub: String,
    scope: String,
    state: &'static str,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl From<&Grant> for GrantDocument {
    fn from(grant: &Grant) -> Self {
        let (state, expires_at) = match grant.state {
            GrantState::Pending => ("pending", None),
            GrantState::Active(rotation) => ("active", Some(rotation.expires_at.as_unix())),
            GrantState::Revoked => ("revoked", None),
        };
        Self {
            grant_id: grant.id.to_string(),
            client_id: grant.client.to_string(),
            username: grant.username.clone(),
            sub: grant.subject.as_str().to_owned(),
            scope: grant.variants.first().map(ToString::to_string).unwrap_or_default(),
            state,
            created_at: grant.created_at.as_unix(),
            expires_at,
        }
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::List { account, client, source, format } => {
            let grants = source.open().await?.service.list_grants(account, client, LIMIT).await?;
            let documents: Vec<GrantDocument> = grants.iter().map(GrantDocument::from).collect();
            match format.output {
                Output::Json => output::json(&documents)?,
                Output::Text => output::table(
                    ["GRANT ID", "USER", "CLIENT ID", "SCOPES", "STATE"],
                    documents.into_iter().map(|grant| {
                        [grant.grant_id, grant.username, grant.client_id, grant.scope, grant.state.into()]
                    }),
                ),
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Revoke { grant_id, source } => {
            if source.open().await?.service.revoke_grant_by_id(grant_id).await? {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("scopegate: there is no grant {grant_id}, or it was revoked before");
            Ok(ExitCode::FAILURE)
        }
    }
}
