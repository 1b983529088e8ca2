//! `scopegate grant`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::registry::{Place, seconds};
use super::{CliError, Output, OutputFormat, output};
use crate::domain::client::ClientId;
use crate::domain::grant::SessionId;
use crate::domain::token::GrantId;
use crate::proto::scopegate::v1 as api;

/// How many grants are listed at most.
const LIMIT: usize = 1_000;

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
        /// Only those that are active and have not expired
        #[arg(long)]
        active: bool,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Show one grant
    Show {
        grant_id: GrantId,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Revoke a grant, or all that exist now of a user, a client, both, or a browser session: every token of them
    Revoke {
        #[arg(required_unless_present_any = ["account", "client", "session"])]
        grant_id: Option<GrantId>,
        /// Those of this user: name or `sub`
        #[arg(long, value_name = "NAME", conflicts_with_all = ["grant_id", "session"])]
        account: Option<String>,
        /// Those of this client; with `--account`, those of this user alone
        #[arg(long, value_name = "CLIENT_ID", conflicts_with_all = ["grant_id", "session"])]
        client: Option<ClientId>,
        /// Those that were authorized in this browser session, as `grant list` and introspection name it
        #[arg(long, value_name = "SESSION_ID", conflicts_with = "grant_id")]
        session: Option<SessionId>,
        #[command(flatten)]
        place: Place,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl From<api::Grant> for GrantDocument {
    fn from(grant: api::Grant) -> Self {
        let state = match grant.state() {
            api::GrantState::Pending => "pending",
            api::GrantState::Active => "active",
            api::GrantState::Revoked => "revoked",
            // Of a newer server.
            api::GrantState::Unspecified => "unknown",
        };
        Self {
            state,
            scope: grant.scopes.join(" "),
            created_at: seconds(grant.create_time.as_ref()),
            expires_at: grant.expire_time.map(|time| time.seconds),
            session_id: Some(grant.session_id).filter(|session| !session.is_empty()),
            grant_id: grant.grant_id,
            client_id: grant.client_id,
            username: grant.username,
            sub: grant.subject,
        }
    }
}

impl GrantDocument {
    fn print(&self, format: &OutputFormat) -> Result<(), CliError> {
        if format.output == Output::Json {
            return output::json(self);
        }
        output::pairs(&[
            ("grant_id", &self.grant_id),
            ("client_id", &self.client_id),
            ("username", &self.username),
            ("sub", &self.sub),
            ("scope", &self.scope),
            ("state", &self.state),
            ("session_id", &self.session_id.as_deref().unwrap_or_default()),
            ("created_at", &self.created_at),
            ("expires_at", &self.expires_at.map(|at| at.to_string()).unwrap_or_default()),
        ]);
        Ok(())
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::List { account, client, active, place, format } => {
            let filter = api::ListGrantsRequest {
                account: account.unwrap_or_default(),
                client_id: client.map(|client| client.to_string()).unwrap_or_default(),
                active,
                ..Default::default()
            };
            let grants = place.open().await?.grants(filter, LIMIT).await?;
            let documents: Vec<GrantDocument> = grants.into_iter().map(GrantDocument::from).collect();
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
        Verb::Show { grant_id, place, format } => {
            let request = api::GetGrantRequest { grant_id: grant_id.to_string() };
            let grant = place.open().await?.get_grant(request).await?.grant.unwrap_or_default();
            GrantDocument::from(grant).print(&format)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Revoke { grant_id, account, client, session, place } => {
            let request = api::RevokeGrantsRequest {
                grant_id: grant_id.map(|id| id.to_string()).unwrap_or_default(),
                session_id: session.map(|id| id.to_string()).unwrap_or_default(),
                account: account.unwrap_or_default(),
                client_id: client.map(|id| id.to_string()).unwrap_or_default(),
            };
            if place.open().await?.revoke_grants(request).await?.revoked {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("scopegate: there is nothing of that name, or it was revoked before");
            Ok(ExitCode::FAILURE)
        }
    }
}
