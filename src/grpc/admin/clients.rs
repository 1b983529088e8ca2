//! Clients as messages: what a client is, and what a message makes of one.

use std::str::FromStr;

use tonic::Status;

use super::super::revocations::time;
use super::{invalid_field, parsed};
use crate::domain::certificate_subject::CertificateSubject;
use crate::domain::client::{AuthenticationMethod, ClientMetadata, Introspects, Registrar};
use crate::domain::client_keys::ClientKeys;
use crate::domain::grant::SubjectId;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::{Scope, ScopeSet};
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::client::CertificateSubject as Subject;
use crate::service::administration::{ClientEdit, MetadataEdit};
use crate::service::clients::NewClient;
use crate::store::RegisteredClient;

/// What can be changed about a client.
pub(super) const CHANGEABLE: [&str; 33] = [
    "client_name",
    "redirect_uris",
    "post_logout_redirect_uris",
    "scopes",
    "grant_types",
    "resource_server",
    "resources",
    "require_pushed_authorization_requests",
    "dpop_bound_access_tokens",
    "tls_client_certificate_bound_access_tokens",
    "jwks",
    "jwks_uri",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "access_token_lifetime",
    "refresh_token_idle_lifetime",
    "refresh_token_absolute_lifetime",
    "refresh_token_rotation",
    "access_token_format",
    "token_endpoint_auth_method",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
    "login_url",
    "consent",
    "required_scopes",
    "client_uri",
    "policy_uri",
    "tos_uri",
    "verified",
    "disabled",
];
/// What names the subject of a certificate.
const SUBJECT: &str = "tls_client_auth_";

pub(super) fn message(registered: &RegisteredClient, etag: String) -> api::Client {
    let RegisteredClient { client, post_logout_redirect_uris } = registered;
    let metadata = &client.metadata;
    let url = |url: &Option<OutgoingUrl>| url.as_ref().map(|url| url.as_str().to_owned()).unwrap_or_default();
    let link = |link: &Option<String>| link.clone().unwrap_or_default();
    api::Client {
        client_id: client.id.to_string(),
        client_name: client.name.clone(),
        redirect_uris: client.redirect_uris.iter().map(ToString::to_string).collect(),
        post_logout_redirect_uris: post_logout_redirect_uris.iter().map(ToString::to_string).collect(),
        scopes: client.scopes.iter().map(str::to_owned).collect(),
        grant_types: metadata.grant_types.iter().map(|grant_type| grant_type.as_str().to_owned()).collect(),
        public: !client.is_confidential(),
        resource_server: client.introspects == Introspects::Any,
        resources: metadata.resources.iter().map(ToString::to_string).collect(),
        require_pushed_authorization_requests: metadata.require_pushed_authorization_requests,
        dpop_bound_access_tokens: metadata.dpop_bound_access_tokens,
        tls_client_certificate_bound_access_tokens: metadata.tls_client_certificate_bound_access_tokens,
        jwks: metadata.jwks.as_ref().and_then(|keys| serde_json::to_string(keys).ok()).unwrap_or_default(),
        jwks_uri: url(&metadata.jwks_uri),
        backchannel_logout_uri: url(&metadata.backchannel_logout_uri),
        backchannel_logout_session_required: metadata.backchannel_logout_session_required,
        access_token_lifetime: metadata.access_token_lifetime.unwrap_or_default(),
        refresh_token_idle_lifetime: metadata.refresh_token_idle_lifetime.unwrap_or_default(),
        refresh_token_absolute_lifetime: metadata.refresh_token_absolute_lifetime.unwrap_or_default(),
        refresh_token_rotation: client.rotation().as_str().into(),
        access_token_format: metadata.access_token_format.as_str().into(),
        token_endpoint_auth_method: client.authentication_method().as_str().into(),
        disabled: client.disabled_at.is_some(),
        kind: match client.registrar {
            Registrar::Operator => api::ClientKind::Operator,
            Registrar::Itself { .. } => api::ClientKind::SelfRegistered,
            Registrar::Document { .. } => api::ClientKind::Document,
            Registrar::User { .. } => api::ClientKind::User,
        }
        .into(),
        create_time: Some(time(client.created_at)),
        last_use_time: client.last_used_at.map(time),
        etag,
        certificate_subject: metadata.certificate_subject.as_ref().map(|subject| match subject {
            CertificateSubject::Name(_) => Subject::TlsClientAuthSubjectDn(subject.to_string()),
            CertificateSubject::Dns(name) => Subject::TlsClientAuthSanDns(name.clone()),
            CertificateSubject::Uri(uri) => Subject::TlsClientAuthSanUri(uri.clone()),
            CertificateSubject::Ip(address) => Subject::TlsClientAuthSanIp(address.to_string()),
            CertificateSubject::Email(address) => Subject::TlsClientAuthSanEmail(address.clone()),
        }),
        login_url: url(&metadata.login_url),
        consent: metadata.consent.as_str().into(),
        required_scopes: metadata.required_scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        client_uri: link(&metadata.client_uri),
        policy_uri: link(&metadata.policy_uri),
        tos_uri: link(&metadata.tos_uri),
        owner: client.owner().map(SubjectId::as_str).unwrap_or_default().to_owned(),
        verified: client.is_verified(),
    }
}

/// The client to be that a message is about, and where browsers may be sent after signing out of it.
pub(super) fn new(client: &api::Client) -> Result<(NewClient, Vec<RedirectUri>), Status> {
    let is_given = |field: &str| match field {
        "grant_types" => !client.grant_types.is_empty(),
        "token_endpoint_auth_method" => !client.token_endpoint_auth_method.is_empty(),
        _ => !field.starts_with(SUBJECT) || client.certificate_subject.is_some(),
    };
    let edit = edit(client, is_given)?;
    let signs = !client.jwks.is_empty() || !client.jwks_uri.is_empty();
    let mut metadata = edit.metadata.over(ClientMetadata::default());
    if metadata.token_endpoint_auth_method.is_none() {
        let by_name = metadata.certificate_subject.is_some().then_some(AuthenticationMethod::TlsClientAuth);
        metadata.token_endpoint_auth_method = by_name.or(signs.then_some(AuthenticationMethod::PrivateKeyJwt));
    }
    let new = NewClient {
        name: client.client_name.clone(),
        redirect_uris: edit.redirect_uris.unwrap_or_default(),
        scopes: edit.scopes.unwrap_or_default(),
        public: client.public,
        introspects: edit.introspects.unwrap_or(Introspects::Own),
        metadata,
    };
    Ok((new, edit.post_logout_redirect_uris.unwrap_or_default()))
}

/// What a message says about the fields that count.
pub(super) fn edit(client: &api::Client, includes: impl Fn(&str) -> bool) -> Result<ClientEdit, Status> {
    Ok(ClientEdit {
        name: includes("client_name").then(|| client.client_name.clone()),
        redirect_uris: list(includes("redirect_uris"), "redirect_uris", &client.redirect_uris)?,
        post_logout_redirect_uris: list(
            includes("post_logout_redirect_uris"),
            "post_logout_redirect_uris",
            &client.post_logout_redirect_uris,
        )?,
        scopes: list::<Scope>(includes("scopes"), "scopes", &client.scopes)?
            .map(|scopes| scopes.into_iter().collect::<ScopeSet>()),
        introspects: includes("resource_server").then_some(if client.resource_server {
            Introspects::Any
        } else {
            Introspects::Own
        }),
        metadata: metadata(client, &includes)?,
        verified: includes("verified").then_some(client.verified),
        disabled: includes("disabled").then_some(client.disabled),
    })
}

fn metadata(client: &api::Client, includes: &impl Fn(&str) -> bool) -> Result<MetadataEdit, Status> {
    let lifetime = |field, seconds: u32| includes(field).then_some((seconds > 0).then_some(seconds));
    let optional = |field: &str, value: &str| match (includes(field), value) {
        (false, _) => Ok(None),
        (true, "") => Ok(Some(None)),
        (true, url) => parsed::<OutgoingUrl>(field, url).map(|url| Some(Some(url))),
    };
    let jwks_uri = optional("jwks_uri", &client.jwks_uri)?;
    if jwks_uri.as_ref().is_some_and(|url| url.as_ref().is_some_and(|url| !url.is_https())) {
        return Err(invalid_field("client.jwks_uri", "this is an https URL"));
    }
    let link = |field, link: &str| includes(field).then(|| (!link.is_empty()).then(|| link.to_owned()));
    Ok(MetadataEdit {
        grant_types: list(includes("grant_types"), "grant_types", &client.grant_types)?,
        resources: includes("resources")
            .then(|| client.resources.iter().map(|resource| resource.as_str().into()).collect()),
        consent: word(includes("consent"), "consent", &client.consent, "configured")?,
        required_scopes: list(includes("required_scopes"), "required_scopes", &client.required_scopes)?,
        require_pushed_authorization_requests: includes("require_pushed_authorization_requests")
            .then_some(client.require_pushed_authorization_requests),
        dpop_bound_access_tokens: includes("dpop_bound_access_tokens").then_some(client.dpop_bound_access_tokens),
        tls_client_certificate_bound_access_tokens: includes("tls_client_certificate_bound_access_tokens")
            .then_some(client.tls_client_certificate_bound_access_tokens),
        token_endpoint_auth_method: includes("token_endpoint_auth_method")
            .then(|| parsed("token_endpoint_auth_method", &client.token_endpoint_auth_method))
            .transpose()?,
        certificate_subject: subject(client, includes)?,
        client_uri: link("client_uri", &client.client_uri),
        policy_uri: link("policy_uri", &client.policy_uri),
        tos_uri: link("tos_uri", &client.tos_uri),
        jwks: match (includes("jwks"), client.jwks.as_str()) {
            (false, _) => None,
            (true, "") => Some(None),
            (true, text) => {
                let document = serde_json::from_str(text).map_err(|_| invalid_field("client.jwks", "this is JSON"))?;
                let keys = ClientKeys::parse(document);
                Some(Some(keys.map_err(|error| invalid_field("client.jwks", &error.to_string()))?))
            }
        },
        jwks_uri,
        login_url: optional("login_url", &client.login_url)?,
        backchannel_logout_uri: optional("backchannel_logout_uri", &client.backchannel_logout_uri)?,
        backchannel_logout_session_required: includes("backchannel_logout_session_required")
            .then_some(client.backchannel_logout_session_required),
        access_token_lifetime: lifetime("access_token_lifetime", client.access_token_lifetime),
        refresh_token_idle_lifetime: lifetime("refresh_token_idle_lifetime", client.refresh_token_idle_lifetime),
        refresh_token_absolute_lifetime: lifetime(
            "refresh_token_absolute_lifetime",
            client.refresh_token_absolute_lifetime,
        ),
        refresh_token_rotation: word(
            includes("refresh_token_rotation"),
            "refresh_token_rotation",
            &client.refresh_token_rotation,
            "rotate",
        )?,
        access_token_format: word(
            includes("access_token_format"),
            "access_token_format",
            &client.access_token_format,
            "opaque",
        )?,
    })
}

/// Whom its certificate names. A mask that has one of the names has to come with that one.
fn subject(client: &api::Client, includes: &impl Fn(&str) -> bool) -> Result<Option<CertificateSubject>, Status> {
    let said = client.certificate_subject.as_ref().map(|subject| match subject {
        Subject::TlsClientAuthSubjectDn(name) => ("subject_dn", name),
        Subject::TlsClientAuthSanDns(name) => ("san_dns", name),
        Subject::TlsClientAuthSanUri(uri) => ("san_uri", uri),
        Subject::TlsClientAuthSanIp(address) => ("san_ip", address),
        Subject::TlsClientAuthSanEmail(address) => ("san_email", address),
    });
    let masked = CHANGEABLE.iter().filter(|field| field.starts_with(SUBJECT) && includes(field));
    let mut named = None;
    for field in masked {
        named = Some(*field);
        if let Some((member, value)) = said
            && field[SUBJECT.len()..] == *member
        {
            let subject = CertificateSubject::parse(member, value);
            return subject.map(Some).map_err(|error| invalid_field(field, &error.to_string()));
        }
    }
    match named {
        Some(field) => Err(invalid_field(field, "a client that has a certificate keeps having a name in it")),
        None => Ok(None),
    }
}

/// A word, or the usual one where it is empty.
fn word<T: FromStr<Err: std::fmt::Display>>(
    is_included: bool,
    field: &str,
    value: &str,
    usual: &str,
) -> Result<Option<T>, Status> {
    is_included.then(|| parsed(field, if value.is_empty() { usual } else { value })).transpose()
}

fn list<T: FromStr<Err: std::fmt::Display>>(
    is_included: bool,
    field: &str,
    values: &[String],
) -> Result<Option<Vec<T>>, Status> {
    is_included.then(|| values.iter().map(|value| parsed(field, value)).collect()).transpose()
}
