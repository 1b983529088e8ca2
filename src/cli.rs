//! The command line: one file per verb.
//!
//! Exit status: 0 fine, 1 the answer is no or the work failed, 2 wrong usage, 78 bad configuration.

mod account;
mod client;
mod client_flags;
mod dev;
mod grant;
mod health;
mod key;
mod output;
mod serve;
mod target;
mod token;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, ConfigError, Environment, Layers};
use crate::domain::audit::{Actor, Origin};
use crate::domain::error::Unavailable;
use crate::effects::Effects;
use crate::server::{Backend, StartError};
use crate::service::accounts::AccountError;
use crate::service::audit::within;
use crate::service::clients::ClientError;
use crate::store::{OperationCounter, SchemaError, Store};

/// `EX_CONFIG` of `sysexits.h`.
const BAD_CONFIGURATION: u8 = 78;
/// Where `dev` keeps everything unless told otherwise.
const DEV_DATA_DIR: &str = "scopegate-data";

/// OAuth 2.0 in front of an existing app, and token checks over gRPC for its services.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run everything on embedded defaults, with a demo account and clients, and print what to try
    Dev(dev::Arguments),
    /// Run the server
    Serve(ConfigSource),
    /// Check or show the configuration
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Bring the database schema up to date
    Migrate(ConfigSource),
    /// Manage clients: third-party apps and resource servers
    Client(Box<client::Arguments>),
    /// Manage the accounts of the built-in login
    Account(account::Arguments),
    /// List and revoke what users granted
    Grant(grant::Arguments),
    /// List and replace the keys that sign ID tokens, and revoke those that sign other tokens
    Key(key::Arguments),
    /// Ask a running server about a token
    Token(token::Arguments),
    /// Ask a running server whether it serves
    Health(health::Arguments),
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Say whether the server could work with it
    Check(ConfigSource),
    /// Print the effective values, without secrets, and where each comes from
    Show {
        #[command(flatten)]
        source: ConfigSource,
        /// As if the configuration named this profile
        #[arg(long)]
        profile: Option<String>,
    },
}

/// Where the configuration comes from. Environment variables lie over it in any case.
#[derive(Args)]
struct ConfigSource {
    /// The configuration file [default: that of `dev` in ./scopegate-data, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How to print answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Args)]
struct OutputFormat {
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{0}: {cause}", cause = .0.cause)]
    Unavailable(#[from] Unavailable),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: io::Error },
    #[error("another scopegate works on {0}: stop it, or choose another directory with --data-dir")]
    Locked(PathBuf),
    #[error("{endpoint}: {cause}")]
    Endpoint { endpoint: String, cause: String },
    #[error("{0}")]
    Status(#[from] StatusError),
}

/// What a server answered instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .0.code(), .0.message())]
pub struct StatusError(tonic::Status);

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl CliError {
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Start(StartError::Config(_)) => BAD_CONFIGURATION.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs one command on the current runtime.
pub async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.verb {
        Verb::Dev(arguments) => dev::run(arguments).await,
        Verb::Serve(source) => serve::run(&source.load()?).await,
        Verb::Config { verb: ConfigVerb::Check(source) } => {
            source.load()?;
            println!("the configuration is good");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Config { verb: ConfigVerb::Show { source, profile } } => {
            let layers = source.layers()?;
            let layers = match profile {
                Some(name) => layers.text(&format!("profile = {name:?}"))?,
                None => layers,
            };
            print!("{}", layers.describe()?);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Migrate(source) => {
            let store = Store::open(source.load()?.database.url.expose(), OperationCounter::default()).await?;
            store.migrate().await?;
            store.check_schema().await?;
            println!("the database schema is up to date");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Client(arguments) => Box::pin(within(origin(), client::run(*arguments))).await,
        Verb::Account(arguments) => Box::pin(within(origin(), account::run(arguments))).await,
        Verb::Grant(arguments) => Box::pin(within(origin(), grant::run(arguments))).await,
        Verb::Key(arguments) => Box::pin(within(origin(), key::run(arguments))).await,
        Verb::Token(arguments) => token::run(arguments).await,
        Verb::Health(arguments) => health::run(arguments).await,
    }
}

/// On whose behalf a command works.
fn origin() -> Origin {
    let uid = rustix::process::getuid().as_raw();
    Origin { actor: Actor::CommandLine(uid), address: None, request_id: Box::default() }
}

impl ConfigSource {
    fn load(&self) -> Result<Config, ConfigError> {
        self.layers()?.build()
    }

    fn layers(&self) -> Result<Layers, ConfigError> {
        let dev = Path::new(DEV_DATA_DIR).join(dev::CONFIG_FILE);
        let file = self.config.as_deref().or_else(|| dev.exists().then_some(dev.as_path()));
        let layers = match file {
            Some(file) => Layers::new().file(file)?,
            None => Layers::new(),
        };
        layers.environment(&Environment::of_process())
    }

    /// The use cases on the configured database.
    async fn open(&self) -> Result<Backend, CliError> {
        let config = self.load()?;
        let address =
            config.http.listen.only_tcp().ok_or_else(|| ConfigError::new("http.listen", "this takes one address"))?;
        Ok(Backend::open(&config, address, Effects::system()).await?)
    }
}
