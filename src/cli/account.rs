//! `scopegate account`.

use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::service::accounts::MAX_PASSWORD_LENGTH;
use crate::store::Account;

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
        source: ConfigSource,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// List the accounts
    List {
        #[command(flatten)]
        source: ConfigSource,
        #[command(flatten)]
        format: OutputFormat,
    },
    /// Change a password; signs the user out and revokes what the user granted
    SetPassword {
        username: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        source: ConfigSource,
    },
    /// Refuse sign-in, sign the user out and revoke what the user granted
    Disable {
        /// A name, or the `sub` of a user of the app
        username: String,
        #[command(flatten)]
        source: ConfigSource,
    },
    /// Let a disabled user sign in again
    Enable {
        /// A name, or the `sub` of a user of the app
        username: String,
        #[command(flatten)]
        source: ConfigSource,
    },
}

#[derive(Serialize)]
struct AccountDocument<'a> {
    username: &'a str,
    sub: &'a str,
    created_at: i64,
    disabled: bool,
}

impl<'a> From<&'a Account> for AccountDocument<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            username: &account.username,
            sub: account.subject.as_str(),
            created_at: account.created_at.as_unix(),
            disabled: account.disabled_at.is_some(),
        }
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Create { username, password, source, format } => {
            let password = password.read()?;
            let account = source.open().await?.service.create_account(username, password).await?;
            match format.output {
                Output::Json => output::json(&AccountDocument::from(&account))?,
                Output::Text => output::pairs(&[("username", &account.username), ("sub", &account.subject.as_str())]),
            }
        }
        Verb::List { source, format } => {
            let accounts = source.open().await?.service.list_accounts().await?;
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
        Verb::SetPassword { username, password, source } => {
            let password = password.read()?;
            source.open().await?.service.set_password(username, password).await?;
        }
        Verb::Disable { username, source } => source.open().await?.service.disable_account(username).await?,
        Verb::Enable { username, source } => source.open().await?.service.enable_account(username).await?,
    }
    Ok(ExitCode::SUCCESS)
}

impl PasswordSource {
    fn read(&self) -> Result<Zeroizing<String>, CliError> {
        debug_assert!(self.password_stdin, "the command line requires it");
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().take(MAX_PASSWORD_LENGTH as u64 + 2).read_to_string(&mut text)?;
        let line = text.split(['\r', '\n']).next().unwrap_or_default();
        Ok(Zeroizing::new(line.to_owned()))
    }
}
