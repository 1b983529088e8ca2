//! `scopegate client`.

mod consent;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::{Args, Subcommand};
use serde::Serialize;

use self::consent::Consent;
use super::{CliError, ConfigSource, Output, OutputFormat, output};
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, GrantType, Introspects, RefreshTokenRotation,
};
use crate::domain::client_keys::ClientKeys;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::outgoing::{MalformedUrl, OutgoingUrl};
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::RandomSecret;
use crate::domain::timestamp::Timestamp;
use crate::service::Service;
use crate::service::clients::{ClientError, NewClient};
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
        /// A resource that it is: it may introspect the access tokens that are meant for it; may be given several times
        #[arg(long, value_name = "URI", conflicts_with = "public")]
        resource: Vec<Box<str>>,
        /// It has to push its authorization requests (RFC 9126)
        #[arg(long)]
        require_pushed_authorization_requests: bool,
        /// It gets tokens only with a DPoP proof (RFC 9449)
        #[arg(long)]
        dpop_bound_access_tokens: bool,
        /// It gets tokens only with its certificate, and bound to it (RFC 8705)
        #[arg(long, conflicts_with = "dpop_bound_access_tokens")]
        tls_client_certificate_bound_access_tokens: bool,
        /// It may introspect the tokens of every client
        #[arg(long, conflicts_with = "public")]
        resource_server: bool,
        /// It signs with keys of its own: a file with the public ones, as a JSON Web Key Set
        #[arg(long, value_name = "FILE", conflicts_with = "public")]
        jwks: Option<PathBuf>,
        /// It signs with keys of its own: where it publishes the public ones, as a JSON Web Key Set
        #[arg(long, value_name = "URL", conflicts_with_all = ["public", "jwks"], value_parser = https_url)]
        jwks_uri: Option<OutgoingUrl>,
        #[command(flatten)]
        logout: BackchannelLogout,
        #[command(flatten)]
        policy: Policy,
        #[command(flatten)]
        consent: Consent,
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
        #[command(flatten)]
        logout: BackchannelLogout,
        /// It is not told any more that users were signed out
        #[arg(long, conflicts_with_all = ["backchannel_logout_uri", "backchannel_logout_session_required"])]
        no_backchannel_logout: bool,
        #[command(flatten)]
        policy: Policy,
        #[command(flatten)]
        consent: Consent,
        /// Replaces the keys of a client that signs
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
        /// Replaces the keys of a client that signs by those at this URL
        #[arg(long, value_name = "URL", conflicts_with = "jwks", value_parser = https_url)]
        jwks_uri: Option<OutgoingUrl>,
        /// Refuse it everything and revoke its grants
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Let it work again; its users have to grant again
        #[arg(long)]
        enable: bool,
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

/// How a client comes by tokens, and how long they live.
#[derive(Args)]
struct Policy {
    /// How it comes by tokens, all of it; may be given several times [default: `authorization_code` and `refresh_token`]
    #[arg(long, value_name = "TYPE")]
    grant_type: Vec<GrantType>,
    /// 0: as configured for all
    #[arg(long, value_name = "SECONDS")]
    access_token_lifetime: Option<u32>,
    /// 0: as configured for all
    #[arg(long, value_name = "SECONDS")]
    refresh_token_idle_lifetime: Option<u32>,
    /// For grants from now on; 0: as configured for all
    #[arg(long, value_name = "SECONDS")]
    refresh_token_absolute_lifetime: Option<u32>,
    /// Whether a refresh replaces the refresh token; a public client's is always replaced [default: rotate]
    #[arg(long, value_name = "rotate|keep")]
    refresh_token_rotation: Option<RefreshTokenRotation>,
    /// How its access tokens are written; `jwt` is RFC 9068, and lives a day at most [default: opaque]
    #[arg(long, value_name = "opaque|jwt")]
    access_token_format: Option<AccessTokenFormat>,
}

/// How a client learns that a user was signed out.
#[derive(Args)]
struct BackchannelLogout {
    /// Where it is told that a user was signed out (OpenID Connect Back-Channel Logout)
    #[arg(long, value_name = "URI")]
    backchannel_logout_uri: Option<OutgoingUrl>,
    /// It has to be told which session has ended, not only whose
    #[arg(long)]
    backchannel_logout_session_required: bool,
}

impl BackchannelLogout {
    fn is_given(&self) -> bool {
        self.backchannel_logout_uri.is_some() || self.backchannel_logout_session_required
    }

    /// What is not given stays.
    fn over(self, mut metadata: ClientMetadata) -> ClientMetadata {
        if self.backchannel_logout_uri.is_some() {
            metadata.backchannel_logout_uri = self.backchannel_logout_uri;
        }
        metadata.backchannel_logout_session_required |= self.backchannel_logout_session_required;
        metadata
    }
}

impl Policy {
    fn is_given(&self) -> bool {
        !self.grant_type.is_empty()
            || self.access_token_lifetime.is_some()
            || self.refresh_token_idle_lifetime.is_some()
            || self.refresh_token_absolute_lifetime.is_some()
            || self.refresh_token_rotation.is_some()
            || self.access_token_format.is_some()
    }

    /// What is not given stays.
    fn over(self, mut metadata: ClientMetadata) -> ClientMetadata {
        if !self.grant_type.is_empty() {
            metadata.grant_types = self.grant_type;
        }
        for (given, lifetime) in [
            (self.access_token_lifetime, &mut metadata.access_token_lifetime),
            (self.refresh_token_idle_lifetime, &mut metadata.refresh_token_idle_lifetime),
            (self.refresh_token_absolute_lifetime, &mut metadata.refresh_token_absolute_lifetime),
        ] {
            match given {
                None => {}
                Some(0) => *lifetime = None,
                Some(seconds) => *lifetime = Some(seconds),
            }
        }
        if let Some(rotation) = self.refresh_token_rotation {
            metadata.refresh_token_rotation = rotation;
        }
        if let Some(format) = self.access_token_format {
            metadata.access_token_format = format;
        }
        metadata
    }
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
    client_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos_uri: Option<&'a str>,
    token_endpoint_auth_method: &'static str,
    disabled: bool,
    resource_server: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    resources: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<&'a str>,
    /// It registered itself (RFC 7591), or is what a document at its id says.
    self_registered: bool,
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
            client_uri: client.metadata.client_uri.as_deref(),
            policy_uri: client.metadata.policy_uri.as_deref(),
            tos_uri: client.metadata.tos_uri.as_deref(),
            token_endpoint_auth_method: client.authentication_method().as_str(),
            disabled: client.disabled_at.is_some(),
            resource_server: client.introspects == Introspects::Any,
            resources: &client.metadata.resources,
            jwks_uri: client.metadata.jwks_uri.as_ref().map(OutgoingUrl::as_str),
            self_registered: !client.is_verified(),
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
            ("client_uri", &self.client_uri.unwrap_or_default()),
            ("policy_uri", &self.policy_uri.unwrap_or_default()),
            ("tos_uri", &self.tos_uri.unwrap_or_default()),
            ("token_endpoint_auth_method", &self.token_endpoint_auth_method),
            ("disabled", &self.disabled),
            ("resource_server", &self.resource_server),
            ("resources", &self.resources.join(" ")),
            ("jwks_uri", &self.jwks_uri.unwrap_or_default()),
            ("self_registered", &self.self_registered),
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
        Verb::Create {
            name,
            redirect_uri,
            post_logout_redirect_uri,
            scope,
            public,
            resource,
            require_pushed_authorization_requests,
            dpop_bound_access_tokens,
            tls_client_certificate_bound_access_tokens,
            resource_server,
            jwks,
            jwks_uri,
            logout,
            policy,
            consent,
            common,
        } => {
            let metadata = ClientMetadata {
                resources: resource,
                require_pushed_authorization_requests,
                dpop_bound_access_tokens,
                tls_client_certificate_bound_access_tokens,
                ..SigningKeys::given(jwks.as_deref(), jwks_uri)?.map(signing_metadata).unwrap_or_default()
            };
            let service = common.source.open().await?.service;
            let new = NewClient {
                name,
                redirect_uris: redirect_uri,
                scopes: scope.into_iter().collect(),
                public,
                introspects: if resource_server { Introspects::Any } else { Introspects::Own },
                metadata: consent.over(policy.over(logout.over(metadata))),
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
        Verb::Update {
            client_id,
            name,
            redirect_uri,
            post_logout_redirect_uri,
            scope,
            jwks,
            jwks_uri,
            logout,
            no_backchannel_logout,
            policy,
            consent,
            disable,
            enable,
            common,
        } => {
            let service = common.source.open().await?.service;
            let keys = SigningKeys::given(jwks.as_deref(), jwks_uri)?;
            let given = keys.is_some() || policy.is_given() || consent.is_given() || logout.is_given();
            let metadata = if given || no_backchannel_logout {
                let client = service.client(client_id.clone()).await?;
                let mut metadata = match keys {
                    None => client.metadata,
                    Some(keys) => with_keys(client, keys)?,
                };
                if no_backchannel_logout {
                    metadata.backchannel_logout_uri = None;
                    metadata.backchannel_logout_session_required = false;
                }
                Some(consent.over(policy.over(logout.over(metadata))))
            } else {
                None
            };
            let changes = ClientChanges {
                name,
                redirect_uris: (!redirect_uri.is_empty()).then_some(redirect_uri),
                scopes: (!scope.is_empty()).then(|| scope.into_iter().collect::<ScopeSet>()),
                metadata,
            };
            let client = update(&service, client_id, changes, disable, enable).await?;
            set_post_logout(&service, &client.id, post_logout_redirect_uri).await?;
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

/// The keys that a client signs with, or where they are.
struct SigningKeys {
    jwks: Option<ClientKeys>,
    jwks_uri: Option<OutgoingUrl>,
}

impl SigningKeys {
    /// `None` when neither is given.
    fn given(jwks: Option<&Path>, jwks_uri: Option<OutgoingUrl>) -> Result<Option<Self>, CliError> {
        let keys = Self { jwks: jwks.map(keys).transpose()?, jwks_uri };
        Ok((keys.jwks.is_some() || keys.jwks_uri.is_some()).then_some(keys))
    }
}

/// What a client registers that signs with these keys.
fn signing_metadata(keys: SigningKeys) -> ClientMetadata {
    ClientMetadata {
        token_endpoint_auth_method: Some(AuthenticationMethod::PrivateKeyJwt),
        jwks: keys.jwks,
        jwks_uri: keys.jwks_uri,
        ..ClientMetadata::default()
    }
}

/// The metadata of a client that signs, with other keys.
fn with_keys(client: Client, keys: SigningKeys) -> Result<ClientMetadata, CliError> {
    if client.client_type != ClientType::Signing {
        return Err(ClientError::AuthenticationMethod.into());
    }
    Ok(ClientMetadata { jwks: keys.jwks, jwks_uri: keys.jwks_uri, ..client.metadata })
}

fn https_url(text: &str) -> Result<OutgoingUrl, MalformedUrl> {
    text.parse().and_then(|url: OutgoingUrl| if url.is_https() { Ok(url) } else { Err(MalformedUrl) })
}

fn keys(path: &Path) -> Result<ClientKeys, CliError> {
    let failed = |cause| CliError::File { path: path.to_owned(), cause };
    let text = fs::read(path).map_err(failed)?;
    let document = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    ClientKeys::parse(document).map_err(|error| failed(io::Error::other(error)))
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
