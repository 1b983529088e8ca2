//! What `client create` and `client update` take: the same, and what is not given stays as it is.

mod consent;

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Args, ValueEnum};

use self::consent::Asking;
use super::CliError;
use crate::domain::certificate_subject::CertificateSubject;
use crate::domain::client::{AuthenticationMethod, GrantType, RefreshTokenRotation};
use crate::domain::client_keys::ClientKeys;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::outgoing::{MalformedUrl, OutgoingUrl};
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::Scope;
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::client::CertificateSubject as Subject;

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

/// The names of the fields that were given a value.
#[derive(Default)]
pub(super) struct Mask(pub(super) Vec<String>);

impl Mask {
    /// Gives a field its value, if there is one.
    pub(super) fn lay<T>(&mut self, name: &str, field: &mut T, given: Option<T>) {
        if let Some(value) = given {
            *field = value;
            self.0.push(name.to_owned());
        }
    }
}

impl Flags {
    /// Lays what is given over a client. A list that is cleared and given is what is given.
    pub(super) fn over(self, client: &mut api::Client, removals: &Removals, mask: &mut Mask) -> Result<(), CliError> {
        let cleared = &removals.clear;
        let uris = list(&self.redirect_uri, Cleared::RedirectUri, cleared);
        mask.lay("redirect_uris", &mut client.redirect_uris, uris);
        let uris = list(&self.post_logout_redirect_uri, Cleared::PostLogoutRedirectUri, cleared);
        mask.lay("post_logout_redirect_uris", &mut client.post_logout_redirect_uris, uris);
        let scopes = list(&self.scope, Cleared::Scope, cleared);
        mask.lay("scopes", &mut client.scopes, scopes);
        mask.lay("resources", &mut client.resources, list(&self.resource, Cleared::Resource, cleared));
        self.certificate.over(client, mask);
        if let Some(path) = &self.jwks {
            mask.lay("jwks", &mut client.jwks, Some(read_keys(path)?));
        }
        let uri = self.jwks_uri.map(|uri| uri.as_str().to_owned());
        mask.lay("jwks_uri", &mut client.jwks_uri, uri);
        let method = AuthenticationMethod::SelfSignedTlsClientAuth.as_str().to_owned();
        let method = self.self_signed_tls_client_auth.then_some(method);
        mask.lay("token_endpoint_auth_method", &mut client.token_endpoint_auth_method, method);
        let no_logout = removals.no_backchannel_logout;
        let uri = self.backchannel_logout_uri.map(|uri| uri.as_str().to_owned());
        let uri = uri.or(no_logout.then(String::new));
        mask.lay("backchannel_logout_uri", &mut client.backchannel_logout_uri, uri);
        for (name, field, given) in [
            ("resource_server", &mut client.resource_server, self.resource_server),
            (
                "require_pushed_authorization_requests",
                &mut client.require_pushed_authorization_requests,
                self.require_pushed_authorization_requests,
            ),
            ("dpop_bound_access_tokens", &mut client.dpop_bound_access_tokens, self.dpop_bound_access_tokens),
            (
                "tls_client_certificate_bound_access_tokens",
                &mut client.tls_client_certificate_bound_access_tokens,
                self.tls_client_certificate_bound_access_tokens,
            ),
            (
                "backchannel_logout_session_required",
                &mut client.backchannel_logout_session_required,
                self.backchannel_logout_session_required.or(no_logout.then_some(false)),
            ),
        ] {
            mask.lay(name, field, given);
        }
        let grant_types = self.grant_type.iter().map(|grant_type| grant_type.as_str().to_owned()).collect();
        let grant_types = Some(grant_types).filter(|_| !self.grant_type.is_empty());
        mask.lay("grant_types", &mut client.grant_types, grant_types);
        for (name, field, given) in [
            ("access_token_lifetime", &mut client.access_token_lifetime, self.access_token_lifetime),
            ("refresh_token_idle_lifetime", &mut client.refresh_token_idle_lifetime, self.refresh_token_idle_lifetime),
            (
                "refresh_token_absolute_lifetime",
                &mut client.refresh_token_absolute_lifetime,
                self.refresh_token_absolute_lifetime,
            ),
        ] {
            mask.lay(name, field, given);
        }
        let rotation = self.refresh_token_rotation.map(|rotation| rotation.as_str().to_owned());
        mask.lay("refresh_token_rotation", &mut client.refresh_token_rotation, rotation);
        let format = self.access_token_format.map(|format| format.as_str().to_owned());
        mask.lay("access_token_format", &mut client.access_token_format, format);
        self.asking.over(client, mask);
        Ok(())
    }
}

impl Certificate {
    fn over(self, client: &mut api::Client, mask: &mut Mask) {
        let subject = [
            self.tls_client_auth_subject_dn,
            self.tls_client_auth_san_dns,
            self.tls_client_auth_san_uri,
            self.tls_client_auth_san_ip,
            self.tls_client_auth_san_email,
        ];
        let Some(subject) = subject.into_iter().flatten().next() else { return };
        let text = subject.to_string();
        let (name, subject) = match subject {
            CertificateSubject::Name(_) => ("tls_client_auth_subject_dn", Subject::TlsClientAuthSubjectDn(text)),
            CertificateSubject::Dns(_) => ("tls_client_auth_san_dns", Subject::TlsClientAuthSanDns(text)),
            CertificateSubject::Uri(_) => ("tls_client_auth_san_uri", Subject::TlsClientAuthSanUri(text)),
            CertificateSubject::Ip(_) => ("tls_client_auth_san_ip", Subject::TlsClientAuthSanIp(text)),
            CertificateSubject::Email(_) => ("tls_client_auth_san_email", Subject::TlsClientAuthSanEmail(text)),
        };
        mask.lay(name, &mut client.certificate_subject, Some(Some(subject)));
    }
}

/// None given: those that are there stay.
fn list<T: ToString>(given: &[T], name: Cleared, cleared: &[Cleared]) -> Option<Vec<String>> {
    (!given.is_empty() || cleared.contains(&name)).then(|| given.iter().map(ToString::to_string).collect())
}

fn https_url(text: &str) -> Result<OutgoingUrl, MalformedUrl> {
    text.parse().and_then(|url: OutgoingUrl| if url.is_https() { Ok(url) } else { Err(MalformedUrl) })
}

/// The public keys of a file. Whatever else is in it stays here.
fn read_keys(path: &Path) -> Result<String, CliError> {
    let failed = |cause| CliError::File { path: path.to_owned(), cause };
    let text = fs::read(path).map_err(failed)?;
    let document = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    let keys = ClientKeys::parse(document).map_err(|error| failed(io::Error::other(error)))?;
    serde_json::to_string(&keys).map_err(|error| failed(error.into()))
}
