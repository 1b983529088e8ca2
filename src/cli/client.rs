//! `scopegate client`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client_flags::{Flags, Removals, Settled};
use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::domain::certificate_subject::CertificateSubject;
use crate::domain::client::{Client, ClientId, GrantType, Introspects, Registrar};
use crate::domain::grant::SubjectId;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::Scope;
use crate::domain::secret::RandomSecret;
use crate::domain::timestamp::Timestamp;
use crate::service::Service;
use crate::service::clients::NewClient;
use crate::service::own_clients::Verdict;
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
        /// It cannot keep a secret: an app on a phone or in a browser
        #[arg(long, conflicts_with_all = ["resource", "resource_server", "jwks", "jwks_uri", "Certificate"])]
        public: bool,
        #[command(flatten)]
        flags: Box<Flags>,
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
        #[command(flatten)]
        flags: Box<Flags>,
        #[command(flatten)]
        removals: Removals,
        /// Refuse it everything and revoke its grants
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Let it work again; its users have to grant again
        #[arg(long)]
        enable: bool,
        /// Say of a client that a user made that it is what it says; a change by the user ends this
        #[arg(long, conflicts_with = "unverified")]
        verified: bool,
        /// Say so no more
        #[arg(long)]
        unverified: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Give a client a new secret, shown this once; the old one stays good for a while
    RotateSecret {
        client_id: ClientId,
        /// For how long; 0: not at all
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(0..=30 * 86_400))]
        overlap: u32,
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
#[expect(clippy::struct_excessive_bools, reason = "its members are those of the standards")]
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
    grant_types: Vec<&'static str>,
    response_types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_idle_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_absolute_lifetime: Option<u32>,
    refresh_token_rotation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backchannel_logout_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backchannel_logout_session_required: bool,
    access_token_format: &'static str,
    /// Whether its users are asked.
    consent: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required_scopes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos_uri: Option<&'a str>,
    token_endpoint_auth_method: &'static str,
    #[serde(flatten)]
    certificate_subject: Option<&'a CertificateSubject>,
    require_pushed_authorization_requests: bool,
    dpop_bound_access_tokens: bool,
    tls_client_certificate_bound_access_tokens: bool,
    disabled: bool,
    resource_server: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<&'a str>,
    /// It registered itself (RFC 7591), or is what a document at its id says.
    self_registered: bool,
    /// The `sub` of the user who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    /// An operator made it or vouches for it.
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<i64>,
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
            grant_types: client.metadata.grant_types.iter().map(|grant_type| grant_type.as_str()).collect(),
            response_types: client.may_use(GrantType::AuthorizationCode).then_some("code").into_iter().collect(),
            access_token_lifetime: client.metadata.access_token_lifetime,
            refresh_token_idle_lifetime: client.metadata.refresh_token_idle_lifetime,
            refresh_token_absolute_lifetime: client.metadata.refresh_token_absolute_lifetime,
            refresh_token_rotation: client.rotation().as_str(),
            backchannel_logout_uri: client.metadata.backchannel_logout_uri.as_ref().map(OutgoingUrl::as_str),
            backchannel_logout_session_required: client.metadata.backchannel_logout_session_required,
            access_token_format: client.metadata.access_token_format.as_str(),
            consent: client.metadata.consent.as_str(),
            required_scopes: client.metadata.required_scopes.iter().map(Scope::as_str).collect(),
            login_url: client.metadata.login_url.as_ref().map(OutgoingUrl::as_str),
            client_uri: client.metadata.client_uri.as_deref(),
            policy_uri: client.metadata.policy_uri.as_deref(),
            tos_uri: client.metadata.tos_uri.as_deref(),
            token_endpoint_auth_method: client.authentication_method().as_str(),
            certificate_subject: client.metadata.certificate_subject.as_ref(),
            require_pushed_authorization_requests: client.metadata.require_pushed_authorization_requests,
            dpop_bound_access_tokens: client.metadata.dpop_bound_access_tokens,
            tls_client_certificate_bound_access_tokens: client.metadata.tls_client_certificate_bound_access_tokens,
            disabled: client.disabled_at.is_some(),
            resource_server: client.introspects == Introspects::Any,
            resources: &client.metadata.resources,
            jwks_uri: client.metadata.jwks_uri.as_ref().map(OutgoingUrl::as_str),
            self_registered: matches!(client.registrar, Registrar::Itself { .. } | Registrar::Document { .. }),
            owner: client.owner().map(SubjectId::as_str),
            verified: client.is_verified(),
            last_used_at: client.last_used_at.map(Timestamp::as_unix),
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
            ("grant_types", &self.grant_types.join(" ")),
            ("access_token_lifetime", &lifetime(self.access_token_lifetime)),
            ("refresh_token_idle_lifetime", &lifetime(self.refresh_token_idle_lifetime)),
            ("refresh_token_absolute_lifetime", &lifetime(self.refresh_token_absolute_lifetime)),
            ("refresh_token_rotation", &self.refresh_token_rotation),
            ("backchannel_logout_uri", &self.backchannel_logout_uri.unwrap_or_default()),
            ("access_token_format", &self.access_token_format),
            ("consent", &self.consent),
            ("required_scopes", &self.required_scopes.join(" ")),
            ("login_url", &self.login_url.unwrap_or_default()),
            ("client_uri", &self.client_uri.unwrap_or_default()),
            ("policy_uri", &self.policy_uri.unwrap_or_default()),
            ("tos_uri", &self.tos_uri.unwrap_or_default()),
            ("token_endpoint_auth_method", &self.token_endpoint_auth_method),
            ("certificate_subject", &self.certificate_subject.map(ToString::to_string).unwrap_or_default()),
            ("require_pushed_authorization_requests", &self.require_pushed_authorization_requests),
            ("dpop_bound_access_tokens", &self.dpop_bound_access_tokens),
            ("tls_client_certificate_bound_access_tokens", &self.tls_client_certificate_bound_access_tokens),
            ("disabled", &self.disabled),
            ("resource_server", &self.resource_server),
            ("resources", &self.resources.join(" ")),
            ("jwks_uri", &self.jwks_uri.unwrap_or_default()),
            ("self_registered", &self.self_registered),
            ("owner", &self.owner.unwrap_or_default()),
            ("verified", &self.verified),
        ]);
        Ok(())
    }
}

/// Seconds; nothing where it is as configured for all.
fn lifetime(seconds: Option<u32>) -> String {
    seconds.map(|seconds| seconds.to_string()).unwrap_or_default()
}

pub(super) async fn run(Arguments { verb }: Arguments) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Create { name, public, flags, common } => {
            let Settled { changes, post_logout_redirect_uris } = flags.over(None, &Removals::default())?;
            let service = common.source.open().await?.service;
            let new = NewClient {
                name,
                redirect_uris: changes.redirect_uris.unwrap_or_default(),
                scopes: changes.scopes.unwrap_or_default(),
                public,
                introspects: changes.introspects.unwrap_or(Introspects::Own),
                metadata: changes.metadata.unwrap_or_default(),
            };
            let (client, secret) = service.create_client(new).await?;
            set_post_logout(&service, &client.id, post_logout_redirect_uris).await?;
            ClientDocument::new(&client, secret.as_ref()).print(&common.format)?;
        }
        Verb::List { common } => list(&common).await?,
        Verb::Show { client_id, common } => {
            let client = common.source.open().await?.service.client(client_id).await?;
            ClientDocument::new(&client, None).print(&common.format)?;
        }
        Verb::Update { client_id, name, flags, removals, disable, enable, verified, unverified, common } => {
            let service = common.source.open().await?.service;
            let present = service.client(client_id.clone()).await?;
            let Settled { changes, post_logout_redirect_uris } = flags.over(Some(present), &removals)?;
            if let Some(verdict) = verdict(verified, unverified) {
                service.verify_own_client(client_id.clone(), verdict).await?;
            }
            let client = update(&service, client_id, ClientChanges { name, ..changes }, disable, enable).await?;
            set_post_logout(&service, &client.id, post_logout_redirect_uris).await?;
            ClientDocument::new(&client, None).print(&common.format)?;
        }
        Verb::RotateSecret { client_id, overlap, common } => {
            let service = common.source.open().await?.service;
            let secret = service.rotate_client_secret(client_id.clone(), overlap).await?;
            let client = service.client(client_id).await?;
            ClientDocument::new(&client, Some(&secret)).print(&common.format)?;
        }
        Verb::Delete { client_id, source } => source.open().await?.service.delete_client(client_id).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// None given: those that are there stay.
async fn set_post_logout(service: &Service, id: &ClientId, uris: Option<Vec<RedirectUri>>) -> Result<(), CliError> {
    if let Some(uris) = uris {
        service.set_post_logout_redirect_uris(id.clone(), uris).await?;
    }
    Ok(())
}

fn verdict(verified: bool, unverified: bool) -> Option<Verdict> {
    match (verified, unverified) {
        (true, _) => Some(Verdict::Verified),
        (false, true) => Some(Verdict::Unverified),
        (false, false) => None,
    }
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
