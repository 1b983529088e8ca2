//! `scopegate grant`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::domain::client::ClientId;
use crate::domain::grant::{Grant, GrantFacts, GrantState, SessionId};
use crate::domain::revocation::Target;
use crate::domain::timestamp::Timestamp;
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
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl From<&Grant> for GrantDocument {
    fn from(grant: &Grant) -> Self {
        let (state, expires_at) = match grant.state {
            GrantState::Pending => ("pending", None),
            GrantState::Active(rotation) => ("active", rotation.ends_at().map(Timestamp::as_unix)),
            GrantState::Revoked => ("revoked", None),
        };
        Self {
            grant_id: grant.id.to_string(),
            client_id: grant.client.to_string(),
            username: grant.username.clone(),
            sub: grant.subject.as_str().to_owned(),
            scope: grant.variants.first().map(|variant| variant.scopes.to_string()).unwrap_or_default(),
            state,
            session_id: grant.session.map(|session| session.to_string()),
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
        Verb::Revoke { grant_id, account, client, session, source } => {
            let service = source.open().await?.service;
            let subject = match account {
                Some(account) => Some(service.subject_of(account).await?),
                None => None,
            };
            let target = match (grant_id, session, subject, client) {
                (Some(id), ..) => Target::Grant { id, generation: GrantFacts::REVOKED },
                (_, Some(session), ..) => Target::Session(session),
                (_, _, Some(subject), Some(client)) => Target::SubjectClient(subject, client),
                (_, _, Some(subject), None) => Target::Subject(subject),
                (_, _, None, Some(client)) => Target::Client(client),
                (None, None, None, None) => unreachable!("the arguments require one of them"),
            };
            if service.revoke_now(target).await? {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("scopegate: there is nothing of that name, or it was revoked before");
            Ok(ExitCode::FAILURE)
        }
    }
}
