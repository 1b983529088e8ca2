//! `scopegate account`.

use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::registry::{Place, seconds};
use super::{CliError, Output, OutputFormat, output};
use crate::proto::scopegate::v1 as api;
use crate::service::accounts::MAX_PASSWORD_LENGTH;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct PasswordSource {
    /// Read the password from standard input, up to its end or its first line feed
    #[arg(long, required = true)]
    password_stdin: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Make an account
    Create {
        username: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// List the accounts
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Change a password; signs the user out and revokes what the user granted
    SetPassword {
        username: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: Place,
    },
    /// Refuse sign-in, sign the user out and revoke what the user granted; the clients that the user made stop working, too
    Disable {
        /// A name, or the `sub` of a user of the app
        username: String,
        #[command(flatten)]
        place: Place,
    },
    /// Let a disabled user sign in again; the clients that the user made work again, too
    Enable {
        /// A name, or the `sub` of a user of the app
        username: String,
        #[command(flatten)]
        place: Place,
    },
    /// Forget a user for good: what disabling does, and the password, what is known of the user and the clients that the user made go
    Delete {
        /// A name, or the `sub` of a user of the app
        username: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Serialize)]
struct AccountDocument<'a> {
    username: &'a str,
    sub: &'a str,
    created_at: i64,
    disabled: bool,
}

impl<'a> From<&'a api::Account> for AccountDocument<'a> {
    fn from(account: &'a api::Account) -> Self {
        Self {
            username: &account.username,
            sub: &account.subject,
            created_at: seconds(account.create_time.as_ref()),
            disabled: account.disabled,
        }
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Create { username, password, place, format } => {
            let request = api::CreateAccountRequest { username, password: password.read()? };
            let account = place.open().await?.create_account(request).await?.account.unwrap_or_default();
            match format.output {
                Output::Json => output::json(&AccountDocument::from(&account))?,
                Output::Text => output::pairs(&[("username", &account.username), ("sub", &account.subject)]),
            }
        }
        Verb::List { place, format } => {
            let accounts = place.open().await?.accounts().await?;
            let documents: Vec<AccountDocument<'_>> = accounts.iter().map(AccountDocument::from).collect();
            match format.output {
                Output::Json => output::json(&documents)?,
                Output::Text => output::table(
                    ["USERNAME", "SUB", "STATE"],
                    documents.iter().map(|account| {
                        [
                            account.username.into(),
                            account.sub.into(),
                            if account.disabled { "disabled" } else { "" }.into(),
                        ]
                    }),
                ),
            }
        }
        Verb::SetPassword { username, password, place } => {
            let request = api::SetAccountPasswordRequest { username, password: password.read()? };
            place.open().await?.set_account_password(request).await?;
        }
        Verb::Disable { username, place } => {
            place.open().await?.disable_account(api::DisableAccountRequest { username }).await?;
        }
        Verb::Delete { username, place } => {
            place.open().await?.delete_account(api::DeleteAccountRequest { username }).await?;
        }
        Verb::Enable { username, place } => {
            place.open().await?.enable_account(api::EnableAccountRequest { username }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl PasswordSource {
    fn read(&self) -> Result<String, CliError> {
        debug_assert!(self.password_stdin, "the command line requires it");
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().take(MAX_PASSWORD_LENGTH as u64 + 2).read_to_string(&mut text)?;
        Ok(text.split(['\r', '\n']).next().unwrap_or_default().to_owned())
    }
}
