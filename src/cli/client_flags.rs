//! What `client create` and `client update` take: the same, and what is not given stays as it is.

mod consent;

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Args, ValueEnum};

use self::consent::Asking;
use super::CliError;
use crate::domain::certificate_subject::CertificateSubject;
use crate::domain::client::{
    AuthenticationMethod, Client, ClientMetadata, ClientType, GrantType, Introspects, RefreshTokenRotation,
};
use crate::domain::client_keys::ClientKeys;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::outgoing::{MalformedUrl, OutgoingUrl};
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::{Scope, ScopeSet};
use crate::service::clients::ClientError;
use crate::store::ClientChanges;

/// What a client registers. Of what may be given several times, an update replaces all.
#[derive(Args)]
pub(super) struct Flags {
    /// Where answers may be sent to; may be given several times
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<RedirectUri>,
    /// Where browsers may be sent after signing out; may be given several times
    #[arg(long, value_name = "URI")]
    post_logout_redirect_uri: Vec<RedirectUri>,
    /// What it may ask for; may be given several times
    #[arg(long)]
    scope: Vec<Scope>,
    /// A resource that it is: it may introspect the access tokens that are meant for it; may be given several times
    #[arg(long, value_name = "URI")]
    resource: Vec<Box<str>>,
    /// It may introspect the tokens of every client
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    resource_server: Option<bool>,
    /// It has to push its authorization requests (RFC 9126)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_pushed_authorization_requests: Option<bool>,
    /// It gets tokens only with a DPoP proof (RFC 9449)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dpop_bound_access_tokens: Option<bool>,
    /// It gets tokens only with its certificate, and bound to it (RFC 8705)
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_client_certificate_bound_access_tokens: Option<bool>,
    /// It has keys of its own: a file with the public ones, as a JSON Web Key Set. It signs with them (`private_key_jwt`)
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// It signs with keys of its own: where it publishes the public ones, as a JSON Web Key Set
    #[arg(long, value_name = "URL", conflicts_with = "jwks", value_parser = https_url)]
    jwks_uri: Option<OutgoingUrl>,
    /// It does not sign with the keys of `--jwks`; its certificates have them (RFC 8705)
    #[arg(long, requires = "jwks")]
    self_signed_tls_client_auth: bool,
    #[command(flatten)]
    certificate: Certificate,
    /// Where it is told that a user was signed out (OpenID Connect Back-Channel Logout)
    #[arg(long, value_name = "URI")]
    backchannel_logout_uri: Option<OutgoingUrl>,
    /// It has to be told which session has ended, not only whose
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    backchannel_logout_session_required: Option<bool>,
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
    #[command(flatten)]
    asking: Asking,
}

/// Whom its certificate names (RFC 8705 §2.1.2): it authenticates by it.
#[derive(Args)]
#[group(multiple = false, conflicts_with_all = ["jwks", "jwks_uri"])]
#[expect(clippy::struct_field_names, reason = "they are the names of the flags")]
struct Certificate {
    /// Its certificate has this subject, as in `CN=shop,O=Example` (RFC 4514)
    #[arg(long, value_name = "NAME", value_parser = |value: &str| CertificateSubject::parse("subject_dn", value))]
    tls_client_auth_subject_dn: Option<CertificateSubject>,
    /// Its certificate is for this DNS name
    #[arg(long, value_name = "NAME", value_parser = |value: &str| CertificateSubject::parse("san_dns", value))]
    tls_client_auth_san_dns: Option<CertificateSubject>,
    /// Its certificate is for this URI
    #[arg(long, value_name = "URI", value_parser = |value: &str| CertificateSubject::parse("san_uri", value))]
    tls_client_auth_san_uri: Option<CertificateSubject>,
    /// Its certificate is for this IP address
    #[arg(long, value_name = "ADDRESS", value_parser = |value: &str| CertificateSubject::parse("san_ip", value))]
    tls_client_auth_san_ip: Option<CertificateSubject>,
    /// Its certificate is for this e-mail address
    #[arg(long, value_name = "ADDRESS", value_parser = |value: &str| CertificateSubject::parse("san_email", value))]
    tls_client_auth_san_email: Option<CertificateSubject>,
}

/// What an update takes away.
#[derive(Args, Default)]
pub(super) struct Removals {
    /// Empties a list; may be given several times
    #[arg(long, value_name = "LIST")]
    clear: Vec<Cleared>,
    /// It is not told any more that users were signed out
    #[arg(long, conflicts_with_all = ["backchannel_logout_uri", "backchannel_logout_session_required"])]
    no_backchannel_logout: bool,
}

/// A list that is to be empty.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cleared {
    RedirectUri,
    PostLogoutRedirectUri,
    Scope,
    Resource,
}

/// Keys of its own.
enum Keys {
    /// In this file; whether its certificates have them.
    Here(PathBuf, bool),
    /// It publishes them at this URL.
    There(OutgoingUrl),
}

/// What the flags come to.
pub(super) struct Settled {
    pub changes: ClientChanges,
    pub post_logout_redirect_uris: Option<Vec<RedirectUri>>,
}

impl Flags {
    /// Over what the client is now, if there is one. A list that is cleared and given is what is given.
    pub(super) fn over(self, present: Option<Client>, removals: &Removals) -> Result<Settled, CliError> {
        let (client_type, before) = present.map(|client| (client.client_type, client.metadata)).unzip();
        let mut metadata = before.clone().unwrap_or_default();
        let cleared = &removals.clear;
        let keys = match (self.jwks, self.jwks_uri) {
            (Some(path), _) => Some(Keys::Here(path, self.self_signed_tls_client_auth)),
            (None, Some(url)) => Some(Keys::There(url)),
            (None, None) => None,
        };
        self.certificate.or_keys(keys, client_type.as_ref(), &mut metadata)?;
        if removals.no_backchannel_logout {
            metadata.backchannel_logout_uri = None;
            metadata.backchannel_logout_session_required = false;
        }
        metadata.backchannel_logout_uri = self.backchannel_logout_uri.or(metadata.backchannel_logout_uri);
        if let Some(resources) = list(self.resource, Cleared::Resource, cleared) {
            metadata.resources = resources;
        }
        for (given, member) in [
            (self.require_pushed_authorization_requests, &mut metadata.require_pushed_authorization_requests),
            (self.dpop_bound_access_tokens, &mut metadata.dpop_bound_access_tokens),
            (self.tls_client_certificate_bound_access_tokens, &mut metadata.tls_client_certificate_bound_access_tokens),
            (self.backchannel_logout_session_required, &mut metadata.backchannel_logout_session_required),
        ] {
            *member = given.unwrap_or(*member);
        }
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
        metadata.refresh_token_rotation = self.refresh_token_rotation.unwrap_or(metadata.refresh_token_rotation);
        metadata.access_token_format = self.access_token_format.unwrap_or(metadata.access_token_format);
        let metadata = self.asking.over(metadata);
        Ok(Settled {
            changes: ClientChanges {
                name: None,
                redirect_uris: list(self.redirect_uri, Cleared::RedirectUri, cleared),
                scopes: list(self.scope, Cleared::Scope, cleared)
                    .map(|scopes| scopes.into_iter().collect::<ScopeSet>()),
                introspects: self.resource_server.map(|any| if any { Introspects::Any } else { Introspects::Own }),
                metadata: (before.as_ref() != Some(&metadata)).then_some(metadata),
            },
            post_logout_redirect_uris: list(self.post_logout_redirect_uri, Cleared::PostLogoutRedirectUri, cleared),
        })
    }
}

impl Certificate {
    /// What it proves itself with, where that is said. Whether it has a secret, keys or a certificate does not change.
    fn or_keys(
        self,
        keys: Option<Keys>,
        present: Option<&ClientType>,
        metadata: &mut ClientMetadata,
    ) -> Result<(), CliError> {
        let subject = [
            self.tls_client_auth_subject_dn,
            self.tls_client_auth_san_dns,
            self.tls_client_auth_san_uri,
            self.tls_client_auth_san_ip,
            self.tls_client_auth_san_email,
        ];
        let stays = |kind| present.is_none_or(|present| *present == kind);
        let is_certified = present == Some(&ClientType::Certified);
        let (method, stays) = match (subject.into_iter().flatten().next(), keys) {
            (None, None) => return Ok(()),
            (Some(subject), _) => {
                metadata.certificate_subject = Some(subject);
                (AuthenticationMethod::TlsClientAuth, stays(ClientType::Certified))
            }
            (None, Some(Keys::There(url))) => {
                (metadata.jwks, metadata.jwks_uri) = (None, Some(url));
                (AuthenticationMethod::PrivateKeyJwt, stays(ClientType::Signing))
            }
            (None, Some(Keys::Here(path, in_certificate))) => {
                (metadata.jwks, metadata.jwks_uri) = (Some(read_keys(&path)?), None);
                metadata.certificate_subject = None;
                if in_certificate || is_certified {
                    (AuthenticationMethod::SelfSignedTlsClientAuth, stays(ClientType::Certified))
                } else {
                    (AuthenticationMethod::PrivateKeyJwt, stays(ClientType::Signing))
                }
            }
        };
        metadata.token_endpoint_auth_method = Some(method);
        if stays { Ok(()) } else { Err(ClientError::AuthenticationMethod.into()) }
    }
}

/// None given: those that are there stay.
fn list<T>(given: Vec<T>, name: Cleared, cleared: &[Cleared]) -> Option<Vec<T>> {
    (!given.is_empty() || cleared.contains(&name)).then_some(given)
}

fn https_url(text: &str) -> Result<OutgoingUrl, MalformedUrl> {
    text.parse().and_then(|url: OutgoingUrl| if url.is_https() { Ok(url) } else { Err(MalformedUrl) })
}

fn read_keys(path: &Path) -> Result<ClientKeys, CliError> {
    let failed = |cause| CliError::File { path: path.to_owned(), cause };
    let text = fs::read(path).map_err(failed)?;
    let document = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    ClientKeys::parse(document).map_err(|error| failed(io::Error::other(error)))
}
