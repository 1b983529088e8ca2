//! `scopegate key`.
//!
//! There are two kinds. The keys that sign access tokens, refresh tokens and codes derive from `keys.secret` in the configuration,
//! which the operator replaces, and are numbered: `revoke` is about them. The keys that sign ID tokens, and whatever else others verify,
//! are made and replaced by the servers and live in the database: `list` and `rotate` are about those. An access token that is a JSON
//! Web Token is of one of each, and ends with either.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::registry::{Place, seconds};
use super::{CliError, Output, OutputFormat, output};
use crate::domain::token::KeyId;
use crate::proto::scopegate::v1 as api;

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
        place: Place,
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
        place: Place,
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
        place: Place,
    },
}

/// A key that signs ID tokens and other JSON Web Tokens.
#[derive(Serialize)]
struct KeyDocument {
    kid: String,
    alg: String,
    state: String,
    created_at: i64,
    activates_at: i64,
    retires_at: i64,
}

impl From<api::Key> for KeyDocument {
    fn from(key: api::Key) -> Self {
        Self {
            kid: key.kid,
            alg: key.alg,
            state: key.state,
            created_at: seconds(key.create_time.as_ref()),
            activates_at: seconds(key.activate_time.as_ref()),
            retires_at: seconds(key.retire_time.as_ref()),
        }
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::List { place, format } => list(&place, &format).await,
        Verb::Rotate { compromised, place } => {
            place.open().await?.rotate_key(api::RotateKeyRequest { compromised }).await?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Revoke { key_id, place } => {
            let request = api::RevokeKeyRequest { key_id: key_id.number().into() };
            if place.open().await?.revoke_key(request).await?.revoked {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("scopegate: the key {key_id} was revoked before");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn list(place: &Place, format: &OutputFormat) -> Result<ExitCode, CliError> {
    let keys = place.open().await?.list_keys(api::ListKeysRequest {}).await?.keys;
    let keys: Vec<KeyDocument> = keys.into_iter().map(KeyDocument::from).collect();
    if format.output == Output::Json {
        output::json(&keys)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = keys
        .into_iter()
        .map(|key| [key.kid, key.alg, key.state, key.activates_at.to_string(), key.retires_at.to_string()]);
    output::table(["KEY ID", "ALGORITHM", "STATE", "ACTIVATES AT", "RETIRES AT"], rows);
    Ok(ExitCode::SUCCESS)
}
