//! `scopegate client`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::domain::client::{Client, ClientId, Introspects};
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::RandomSecret;
use crate::service::Service;
use crate::service::clients::NewClient;
use crate::store::ClientChanges;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct Common {
    #[command(flatten)]
    source: ConfigSource,
    #[command(flatten)]
    format: OutputFormat,
}

#[derive(Subcommand)]
enum Verb {
    /// Register a client; its secret is shown this once
    Create {
        /// The name that users are shown
        #[arg(long)]
        name: String,
        /// Where answers may be sent to; may be given several times
        #[arg(long, value_name = "URI")]
        redirect_uri: Vec<RedirectUri>,
        /// Where browsers may be sent after signing out; may be given several times
        #[arg(long, value_name = "URI")]
        post_logout_redirect_uri: Vec<RedirectUri>,
        /// What it may ask for; may be given several times
        #[arg(long)]
        scope: Vec<Scope>,
        /// It cannot keep a secret: an app on a phone or in a browser
        #[arg(long)]
        public: bool,
        /// It may introspect the tokens of every client
        #[arg(long, conflicts_with = "public")]
        resource_server: bool,
        #[command(flatten)]
        common: Common,
    },
    /// List the clients
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one client
    Show {
        client_id: ClientId,
        #[command(flatten)]
        common: Common,
    },
    /// Change a client; what is not given stays
    Update {
        client_id: ClientId,
        #[arg(long)]
        name: Option<String>,
        /// Replaces all redirect URIs; may be given several times
        #[arg(long, value_name = "URI")]
        redirect_uri: Vec<RedirectUri>,
        /// Replaces all URIs for after signing out; may be given several times
        #[arg(long, value_name = "URI")]
        post_logout_redirect_uri: Vec<RedirectUri>,
        /// Replaces all scopes; may be given several times
        #[arg(long)]
        scope: Vec<Scope>,
        /// Refuse it everything and revoke its grants
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Let it work again; its users have to grant again
        #[arg(long)]
        enable: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Give a client a new secret, shown this once; the old one ends at once
    RotateSecret {
        client_id: ClientId,
        #[command(flatten)]
        common: Common,
    },
    /// Remove a client and revoke its grants
    Delete {
        client_id: ClientId,
        #[command(flatten)]
        source: ConfigSource,
    },
}

/// A client under the names of RFC 7591 §2 and §3.2.1.
#[derive(Serialize)]
struct ClientDocument<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    /// Required beside a secret; 0 means that it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u8>,
    client_id_issued_at: i64,
    client_name: &'a str,
    redirect_uris: Vec<&'a str>,
    scope: &'a str,
    grant_types: [&'static str; 2],
    response_types: [&'static str; 1],
    token_endpoint_auth_method: &'static str,
    disabled: bool,
    resource_server: bool,
}

impl<'a> ClientDocument<'a> {
    fn new(client: &'a Client, secret: Option<&'a RandomSecret>) -> Self {
        Self {
            client_id: client.id.as_str(),
            client_secret: secret.map(RandomSecret::expose),
            client_secret_expires_at: secret.map(|_| 0),
            client_id_issued_at: client.created_at.as_unix(),
            client_name: &client.name,
            redirect_uris: client.redirect_uris.iter().map(RedirectUri::as_str).collect(),
            scope: client.scopes.as_str(),
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
            token_endpoint_auth_method: if client.is_confidential() { "client_secret_basic" } else { "none" },
            disabled: client.disabled_at.is_some(),
            resource_server: client.introspects == Introspects::Any,
        }
    }

    fn print(&self, format: &OutputFormat) -> Result<(), CliError> {
        if format.output == Output::Json {
            return output::json(self);
        }
        output::pairs(&[
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret.unwrap_or_default()),
            ("client_name", &self.client_name),
            ("redirect_uris", &self.redirect_uris.join(" ")),
            ("scope", &self.scope),
            ("token_endpoint_auth_method", &self.token_endpoint_auth_method),
            ("disabled", &self.disabled),
            ("resource_server", &self.resource_server),
        ]);
        Ok(())
    }
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Create { name, redirect_uri, post_logout_redirect_uri, scope, public, resource_server, common } => {
            let service = common.source.open().await?.service;
            let new = NewClient {
                name,
                redirect_uris: redirect_uri,
                scopes: scope.into_iter().collect(),
                public,
                introspects: if resource_server { Introspects::Any } else { Introspects::Own },
            };
            let (client, secret) = service.create_client(new).await?;
            set_post_logout(&service, &client.id, post_logout_redirect_uri).await?;
            ClientDocument::new(&client, secret.as_ref()).print(&common.format)?;
        }
        Verb::List { common } => list(&common).await?,
        Verb::Show { client_id, common } => {
            let client = common.source.open().await?.service.client(client_id).await?;
            ClientDocument::new(&client, None).print(&common.format)?;
        }
        Verb::Update { client_id, name, redirect_uri, post_logout_redirect_uri, scope, disable, enable, common } => {
            let service = common.source.open().await?.service;
            let changes = ClientChanges {
                name,
                redirect_uris: (!redirect_uri.is_empty()).then_some(redirect_uri),
                scopes: (!scope.is_empty()).then(|| scope.into_iter().collect::<ScopeSet>()),
                secret: None,
            };
            let client = update(&service, client_id, changes, disable, enable).await?;
            set_post_logout(&service, &client.id, post_logout_redirect_uri).await?;
            ClientDocument::new(&client, None).print(&common.format)?;
        }
        Verb::RotateSecret { client_id, common } => {
            let service = common.source.open().await?.service;
            let secret = service.rotate_client_secret(client_id.clone()).await?;
            let client = service.client(client_id).await?;
            ClientDocument::new(&client, Some(&secret)).print(&common.format)?;
        }
        Verb::Delete { client_id, source } => source.open().await?.service.delete_client(client_id).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// None given: those that are there stay.
async fn set_post_logout(service: &Service, id: &ClientId, uris: Vec<RedirectUri>) -> Result<(), CliError> {
    if !uris.is_empty() {
        service.set_post_logout_redirect_uris(id.clone(), uris).await?;
    }
    Ok(())
}

async fn update(
    service: &Service,
    id: ClientId,
    changes: ClientChanges,
    disable: bool,
    enable: bool,
) -> Result<Client, CliError> {
    let client = service.update_client(id.clone(), changes).await?;
    if disable {
        service.disable_client(id.clone()).await?;
    } else if enable {
        service.enable_client(id.clone()).await?;
    } else {
        return Ok(client);
    }
    Ok(service.client(id).await?)
}

async fn list(common: &Common) -> Result<(), CliError> {
    let clients = common.source.open().await?.service.list_clients().await?;
    if common.format.output == Output::Json {
        return output::json(&clients.iter().map(|client| ClientDocument::new(client, None)).collect::<Vec<_>>());
    }
    let rows = clients.iter().map(|client| {
        let kind = if client.is_confidential() { "confidential" } else { "public" };
        let state = if client.disabled_at.is_some() { "disabled" } else { "" };
        [client.id.to_string(), client.name.clone(), kind.into(), client.scopes.to_string(), state.into()]
    });
    output::table(["CLIENT ID", "NAME", "TYPE", "SCOPES", "STATE"], rows);
    Ok(())
}
