//! `scopegate client`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use prost_types::FieldMask;
use serde::Serialize;

use super::client_flags::{Flags, Mask, Removals};
use super::registry::{Place, seconds};
use super::{CliError, Output, OutputFormat, output};
use crate::domain::client::{ClientId, GrantType};
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::client::CertificateSubject as Subject;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct Common {
    #[command(flatten)]
    place: Place,
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
        /// Only if this is its etag, as `client show` has it: nobody has changed it since
        #[arg(long)]
        etag: Option<String>,
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
        /// Only if this is its etag, as `client show` has it: nobody has changed it since
        #[arg(long)]
        etag: Option<String>,
        #[command(flatten)]
        place: Place,
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
    redirect_uris: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    post_logout_redirect_uris: &'a [String],
    scope: String,
    grant_types: &'a [String],
    response_types: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_idle_lifetime: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_absolute_lifetime: Option<u32>,
    refresh_token_rotation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backchannel_logout_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backchannel_logout_session_required: bool,
    access_token_format: &'a str,
    /// Whether its users are asked.
    consent: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    required_scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos_uri: Option<&'a str>,
    token_endpoint_auth_method: &'a str,
    #[serde(flatten)]
    certificate_subject: Option<CertificateSubject<'a>>,
    require_pushed_authorization_requests: bool,
    dpop_bound_access_tokens: bool,
    tls_client_certificate_bound_access_tokens: bool,
    disabled: bool,
    resource_server: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: &'a [String],
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
    /// Changes whenever the client does.
    etag: &'a str,
}

/// Under the names of RFC 8705 §2.1.2.
#[derive(Serialize)]
enum CertificateSubject<'a> {
    #[serde(rename = "tls_client_auth_subject_dn")]
    Name(&'a str),
    #[serde(rename = "tls_client_auth_san_dns")]
    Dns(&'a str),
    #[serde(rename = "tls_client_auth_san_uri")]
    Uri(&'a str),
    #[serde(rename = "tls_client_auth_san_ip")]
    Ip(&'a str),
    #[serde(rename = "tls_client_auth_san_email")]
    Email(&'a str),
}

impl<'a> CertificateSubject<'a> {
    fn of(subject: &'a Subject) -> Self {
        match subject {
            Subject::TlsClientAuthSubjectDn(name) => Self::Name(name),
            Subject::TlsClientAuthSanDns(name) => Self::Dns(name),
            Subject::TlsClientAuthSanUri(uri) => Self::Uri(uri),
            Subject::TlsClientAuthSanIp(address) => Self::Ip(address),
            Subject::TlsClientAuthSanEmail(address) => Self::Email(address),
        }
    }

    const fn as_str(&self) -> &'a str {
        match self {
            Self::Name(text) | Self::Dns(text) | Self::Uri(text) | Self::Ip(text) | Self::Email(text) => text,
        }
    }
}

impl<'a> ClientDocument<'a> {
    /// With its secret, where it has just got one.
    fn new(client: &'a api::Client, secret: Option<&'a str>) -> Self {
        let given = |text: &'a String| Some(text.as_str()).filter(|text| !text.is_empty());
        let lifetime = |seconds: u32| Some(seconds).filter(|seconds| *seconds > 0);
        let code = GrantType::AuthorizationCode.as_str();
        Self {
            client_id: &client.client_id,
            client_secret: secret,
            client_secret_expires_at: secret.map(|_| 0),
            client_id_issued_at: seconds(client.create_time.as_ref()),
            client_name: &client.client_name,
            redirect_uris: &client.redirect_uris,
            post_logout_redirect_uris: &client.post_logout_redirect_uris,
            scope: client.scopes.join(" "),
            grant_types: &client.grant_types,
            response_types: client.grant_types.iter().any(|name| name == code).then_some("code").into_iter().collect(),
            access_token_lifetime: lifetime(client.access_token_lifetime),
            refresh_token_idle_lifetime: lifetime(client.refresh_token_idle_lifetime),
            refresh_token_absolute_lifetime: lifetime(client.refresh_token_absolute_lifetime),
            refresh_token_rotation: &client.refresh_token_rotation,
            backchannel_logout_uri: given(&client.backchannel_logout_uri),
            backchannel_logout_session_required: client.backchannel_logout_session_required,
            access_token_format: &client.access_token_format,
            consent: &client.consent,
            required_scopes: &client.required_scopes,
            login_url: given(&client.login_url),
            client_uri: given(&client.client_uri),
            policy_uri: given(&client.policy_uri),
            tos_uri: given(&client.tos_uri),
            token_endpoint_auth_method: &client.token_endpoint_auth_method,
            certificate_subject: client.certificate_subject.as_ref().map(CertificateSubject::of),
            require_pushed_authorization_requests: client.require_pushed_authorization_requests,
            dpop_bound_access_tokens: client.dpop_bound_access_tokens,
            tls_client_certificate_bound_access_tokens: client.tls_client_certificate_bound_access_tokens,
            disabled: client.disabled,
            resource_server: client.resource_server,
            resources: &client.resources,
            jwks_uri: given(&client.jwks_uri),
            self_registered: matches!(client.kind(), api::ClientKind::SelfRegistered | api::ClientKind::Document),
            owner: given(&client.owner),
            verified: client.verified,
            last_used_at: client.last_use_time.map(|time| time.seconds),
            etag: &client.etag,
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
            ("post_logout_redirect_uris", &self.post_logout_redirect_uris.join(" ")),
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
            (
                "certificate_subject",
                &self.certificate_subject.as_ref().map(CertificateSubject::as_str).unwrap_or_default(),
            ),
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
            ("etag", &self.etag),
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
            let mut client = api::Client { client_name: name, public, ..Default::default() };
            flags.over(&mut client, &Removals::default(), &mut Mask::default())?;
            let request = api::CreateClientRequest { client: Some(client) };
            let made = common.place.open().await?.create_client(request).await?;
            let secret = Some(made.client_secret.as_str()).filter(|secret| !secret.is_empty());
            ClientDocument::new(&made.client.unwrap_or_default(), secret).print(&common.format)?;
        }
        Verb::List { common } => list(&common).await?,
        Verb::Show { client_id, common } => {
            let request = api::GetClientRequest { client_id: client_id.to_string() };
            let client = common.place.open().await?.get_client(request).await?.client.unwrap_or_default();
            ClientDocument::new(&client, None).print(&common.format)?;
        }
        Verb::Update { client_id, name, flags, removals, disable, enable, verified, unverified, etag, common } => {
            let mut registry = common.place.open().await?;
            let get = api::GetClientRequest { client_id: client_id.to_string() };
            let mut client = registry.get_client(get).await?.client.unwrap_or_default();
            let mut mask = Mask::default();
            mask.lay("client_name", &mut client.client_name, name);
            mask.lay("disabled", &mut client.disabled, (disable || enable).then_some(disable));
            mask.lay("verified", &mut client.verified, (verified || unverified).then_some(verified));
            flags.over(&mut client, &removals, &mut mask)?;
            client.etag = etag.unwrap_or(client.etag);
            if !mask.0.is_empty() {
                let update_mask = Some(FieldMask { paths: mask.0 });
                let request = api::UpdateClientRequest { client: Some(client), update_mask };
                client = registry.update_client(request).await?.client.unwrap_or_default();
            }
            ClientDocument::new(&client, None).print(&common.format)?;
        }
        Verb::RotateSecret { client_id, overlap, common } => {
            let request = api::RotateClientSecretRequest { client_id: client_id.to_string(), overlap };
            let rotated = common.place.open().await?.rotate_client_secret(request).await?;
            let client = rotated.client.unwrap_or_default();
            ClientDocument::new(&client, Some(&rotated.client_secret)).print(&common.format)?;
        }
        Verb::Delete { client_id, etag, place } => {
            let request = api::DeleteClientRequest { client_id: client_id.to_string(), etag: etag.unwrap_or_default() };
            place.open().await?.delete_client(request).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> Result<(), CliError> {
    let clients = common.place.open().await?.clients().await?;
    if common.format.output == Output::Json {
        return output::json(&clients.iter().map(|client| ClientDocument::new(client, None)).collect::<Vec<_>>());
    }
    let rows = clients.into_iter().map(|client| {
        let kind = if client.public { "public" } else { "confidential" };
        let state = if client.disabled { "disabled" } else { "" };
        [client.client_id, client.client_name, kind.into(), client.scopes.join(" "), state.into()]
    });
    output::table(["CLIENT ID", "NAME", "TYPE", "SCOPES", "STATE"], rows);
    Ok(())
}
