//! `scopegate key`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{CliError, ConfigSource};
use crate::domain::revocation::Target;
use crate::domain::token::KeyId;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// End everything that a key has signed, for ever and at every server, because the key was given away
    ///
    /// First give every server another `keys.secret` with another `keys.secret_id`: a server whose own key is revoked signs no
    /// more tokens.
    Revoke {
        /// 0 to 15, as in `keys.secret_id`
        key_id: KeyId,
        #[command(flatten)]
        source: ConfigSource,
    },
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    let Verb::Revoke { key_id, source } = verb;
    if source.open().await?.service.revoke_now(Target::Key(key_id)).await? {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("scopegate: the key {key_id} was revoked before");
    Ok(ExitCode::FAILURE)
}
