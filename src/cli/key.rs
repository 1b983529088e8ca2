//! `scopegate key`.
//!
//! There are two kinds. The keys that sign access tokens, refresh tokens and codes derive from `keys.secret` in the configuration,
//! which the operator replaces, and are numbered: `revoke` is about them. The keys that sign ID tokens, and whatever else others verify,
//! are made and replaced by the servers and live in the database: `list` and `rotate` are about those. An access token that is a JSON
//! Web Token is of one of each, and ends with either.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::domain::revocation::Target;
use crate::domain::token::KeyId;
use crate::service::signing_keys::{KeyDescription, Replacement};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the keys that sign ID tokens and other JSON Web Tokens, oldest first
    ///
    /// They are made and replaced by themselves: each signs for 90 days, is published a day before, and stays published for a day
    /// after.
    List {
        #[command(flatten)]
        source: ConfigSource,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Replace the key that signs ID tokens and other JSON Web Tokens before it is time: the new one is published now and signs in a day
    Rotate {
        /// The keys were given away: the new one signs now, and all others are forgotten. Servers that run learn of it within a
        /// minute, clients when they read /jwks again
        #[arg(long)]
        compromised: bool,
        #[command(flatten)]
        source: ConfigSource,
    },
    /// End every access token, refresh token and code that a key has signed, for ever and at every server, because the key was
    /// given away
    ///
    /// This is about the keys that derive from `keys.secret`. First give every server another `keys.secret` with another
    /// `keys.secret_id`: a server whose own key is revoked signs no more tokens.
    Revoke {
        /// 0 to 15, as in `keys.secret_id`
        key_id: KeyId,
        #[command(flatten)]
        source: ConfigSource,
    },
}

/// A key that signs ID tokens and other JSON Web Tokens.
#[derive(Serialize)]
struct KeyDocument {
    kid: String,
    alg: &'static str,
    state: &'static str,
    created_at: i64,
    activates_at: i64,
    retires_at: i64,
}

impl From<KeyDescription> for KeyDocument {
    fn from(key: KeyDescription) -> Self {
        Self {
            kid: key.kid,
            alg: key.algorithm.name(),
            state: key.phase.name(),
            created_at: key.created_at.as_unix(),
            activates_at: key.term.activates_at.as_unix(),
            retires_at: key.term.retires_at.as_unix(),
        }
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::List { source, format } => list(&source, &format).await,
        Verb::Rotate { compromised, source } => {
            let replacement = if compromised { Replacement::AtOnce } else { Replacement::Announced };
            source.open().await?.service.signing_keys.replace(replacement).await?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Revoke { key_id, source } => {
            if source.open().await?.service.revoke_now(Target::Key(key_id)).await? {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("scopegate: the key {key_id} was revoked before");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn list(source: &ConfigSource, format: &OutputFormat) -> Result<ExitCode, CliError> {
    let keys = source.open().await?.service.signing_keys.list().await?;
    let keys: Vec<KeyDocument> = keys.into_iter().map(KeyDocument::from).collect();
    if format.output == Output::Json {
        output::json(&keys)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = keys.into_iter().map(|key| {
        [key.kid, key.alg.into(), key.state.into(), key.activates_at.to_string(), key.retires_at.to_string()]
    });
    output::table(["KEY ID", "ALGORITHM", "STATE", "ACTIVATES AT", "RETIRES AT"], rows);
    Ok(ExitCode::SUCCESS)
}
