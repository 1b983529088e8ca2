//! Clients, grants and accounts as somebody administers them from elsewhere: in pages, and changed only as they were read.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Service;
use super::clients::{ClientError, NewClient, check_name};
use crate::domain::audit::Event;
use crate::domain::certificate_subject::CertificateSubject;
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, GrantType, Introspects, RefreshTokenRotation,
    Registrar,
};
use crate::domain::client_keys::ClientKeys;
use crate::domain::consent::ConsentPolicy;
use crate::domain::error::Unavailable;
use crate::domain::grant::Grant;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::RandomSecret;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;
use crate::store::{
    Account, ClientChanges, ClientFilter, ClientRewrite, Ending, Fingerprint, GrantFilter, RegisteredClient,
};

/// Of a page token, and of an etag.
const TAG: usize = 16;
/// Beyond the longest cursor: a time and a client id.
const MAX_PAGE_TOKEN: usize = 512;

/// A list as somebody asked for it: what a page token is bound to.
pub struct Listing(Fingerprint);

impl Listing {
    /// `parts`: which list, who asks, and each filter.
    pub fn of(parts: &[&str]) -> Self {
        Self(Fingerprint::of(parts))
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("this is no page token of this list")]
    PageToken,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a client was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("the client was changed since it was read")]
    Etag,
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl From<Unavailable> for EditError {
    fn from(error: Unavailable) -> Self {
        Self::Client(error.into())
    }
}

/// What to change about a client; `None` leaves it.
#[derive(Default)]
pub struct ClientEdit {
    pub name: Option<String>,
    pub redirect_uris: Option<Vec<RedirectUri>>,
    pub post_logout_redirect_uris: Option<Vec<RedirectUri>>,
    pub scopes: Option<ScopeSet>,
    pub introspects: Option<Introspects>,
    pub metadata: MetadataEdit,
    /// Whether an operator says of a client of a user that it is what it says it is.
    pub verified: Option<bool>,
    pub disabled: Option<bool>,
}

/// What to change about a client's metadata; `None` leaves it, and within, `None` takes it away.
#[derive(Default, PartialEq, Eq)]
pub struct MetadataEdit {
    pub grant_types: Option<Vec<GrantType>>,
    pub resources: Option<Vec<Box<str>>>,
    pub consent: Option<ConsentPolicy>,
    pub required_scopes: Option<Vec<Scope>>,
    pub require_pushed_authorization_requests: Option<bool>,
    pub dpop_bound_access_tokens: Option<bool>,
    pub tls_client_certificate_bound_access_tokens: Option<bool>,
    pub token_endpoint_auth_method: Option<AuthenticationMethod>,
    pub certificate_subject: Option<CertificateSubject>,
    pub client_uri: Option<Option<String>>,
    pub policy_uri: Option<Option<String>>,
    pub tos_uri: Option<Option<String>>,
    pub jwks: Option<Option<ClientKeys>>,
    pub jwks_uri: Option<Option<OutgoingUrl>>,
    pub backchannel_logout_uri: Option<Option<OutgoingUrl>>,
    pub backchannel_logout_session_required: Option<bool>,
    pub access_token_lifetime: Option<Option<u32>>,
    pub refresh_token_idle_lifetime: Option<Option<u32>>,
    pub refresh_token_absolute_lifetime: Option<Option<u32>>,
    pub refresh_token_rotation: Option<RefreshTokenRotation>,
    pub access_token_format: Option<AccessTokenFormat>,
    pub login_url: Option<Option<OutgoingUrl>>,
}

impl ClientEdit {
    /// Whether there is more to change than whether it works.
    fn changes_more(&self) -> bool {
        self.name.is_some()
            || self.redirect_uris.is_some()
            || self.post_logout_redirect_uris.is_some()
            || self.scopes.is_some()
            || self.introspects.is_some()
            || self.metadata.is_given()
            || self.verified.is_some()
    }
}

impl MetadataEdit {
    pub fn over(self, mut metadata: ClientMetadata) -> ClientMetadata {
        fn set<T>(field: &mut T, edit: Option<T>) {
            if let Some(value) = edit {
                *field = value;
            }
        }
        // A client has its keys in one place.
        if matches!(self.jwks, Some(Some(_))) {
            metadata.jwks_uri = None;
        }
        if matches!(self.jwks_uri, Some(Some(_))) {
            metadata.jwks = None;
        }
        set(&mut metadata.grant_types, self.grant_types);
        set(&mut metadata.resources, self.resources);
        set(&mut metadata.consent, self.consent);
        set(&mut metadata.required_scopes, self.required_scopes);
        set(&mut metadata.require_pushed_authorization_requests, self.require_pushed_authorization_requests);
        set(&mut metadata.dpop_bound_access_tokens, self.dpop_bound_access_tokens);
        set(&mut metadata.tls_client_certificate_bound_access_tokens, self.tls_client_certificate_bound_access_tokens);
        set(&mut metadata.token_endpoint_auth_method, self.token_endpoint_auth_method.map(Some));
        set(&mut metadata.certificate_subject, self.certificate_subject.map(Some));
        set(&mut metadata.client_uri, self.client_uri);
        set(&mut metadata.policy_uri, self.policy_uri);
        set(&mut metadata.tos_uri, self.tos_uri);
        set(&mut metadata.jwks, self.jwks);
        set(&mut metadata.jwks_uri, self.jwks_uri);
        set(&mut metadata.backchannel_logout_uri, self.backchannel_logout_uri);
        set(&mut metadata.backchannel_logout_session_required, self.backchannel_logout_session_required);
        set(&mut metadata.access_token_lifetime, self.access_token_lifetime);
        set(&mut metadata.refresh_token_idle_lifetime, self.refresh_token_idle_lifetime);
        set(&mut metadata.refresh_token_absolute_lifetime, self.refresh_token_absolute_lifetime);
        set(&mut metadata.refresh_token_rotation, self.refresh_token_rotation);
        set(&mut metadata.access_token_format, self.access_token_format);
        set(&mut metadata.login_url, self.login_url);
        metadata
    }

    fn is_given(&self) -> bool {
        *self != Self::default()
    }
}

impl Service {
    pub async fn administered_client(&self, id: ClientId) -> Result<RegisteredClient, ClientError> {
        self.store.registered_client(id.clone()).await?.ok_or(ClientError::Unknown(id))
    }

    /// Registers a client with all that belongs to it. The secret is shown this once.
    pub async fn register_client(
        &self,
        new: NewClient,
        post_logout_redirect_uris: Vec<RedirectUri>,
    ) -> Result<(RegisteredClient, Option<RandomSecret>), ClientError> {
        let (client, secret) = self.create_client(new).await?;
        if !post_logout_redirect_uris.is_empty() {
            self.set_post_logout_redirect_uris(client.id.clone(), post_logout_redirect_uris.clone()).await?;
        }
        Ok((RegisteredClient { client, post_logout_redirect_uris }, secret))
    }

    /// Changes a client, if it is the one with this etag; an empty one is any.
    pub async fn edit_client(self: &Arc<Self>, id: ClientId, etag: String, edit: ClientEdit) -> Result<(), EditError> {
        if let Some(name) = &edit.name {
            check_name(name)?;
        }
        if let Some(scopes) = &edit.scopes {
            self.check_scopes_known(scopes)?;
        }
        self.changeable_client(id.clone()).await?;
        let service = self.clone();
        let disabled = edit.disabled;
        let changes_more = edit.changes_more();
        let changed = self.store.change_client(id.clone(), move |present| {
            if !etag.is_empty() && etag != service.etag(&present) {
                return Err(EditError::Etag);
            }
            Ok(service.rewritten(present.client, edit)?)
        });
        changed.await?.ok_or_else(|| ClientError::Unknown(id.clone()))??;
        if changes_more {
            self.audit.record(Event::ClientChanged(&id));
        }
        match disabled {
            Some(true) => self.disable_client(id).await?,
            Some(false) => self.enable_client(id).await?,
            None => {}
        }
        Ok(())
    }

    /// What a client becomes, if it may.
    fn rewritten(&self, mut client: Client, edit: ClientEdit) -> Result<ClientRewrite, ClientError> {
        let verified_at = edit.verified.map(|verified| verified.then(|| self.effects.now()));
        match (&mut client.registrar, verified_at) {
            (Registrar::User { verified_at: present, .. }, Some(verified_at)) => *present = verified_at,
            (_, Some(_)) => return Err(ClientError::NotOfUser),
            (_, None) => {}
        }
        let metadata = edit.metadata.is_given().then(|| edited(&client, edit.metadata)).transpose()?;
        let ClientEdit { name, redirect_uris, post_logout_redirect_uris, scopes, introspects, .. } = edit;
        let changes = ClientChanges { name, redirect_uris, scopes, introspects, metadata };
        if changes.metadata.is_some() || changes.introspects.is_some() {
            self.check_change(&client, &changes)?;
        }
        Ok(ClientRewrite { changes, post_logout_redirect_uris, verified_at })
    }

    /// Removes a client and revokes its grants, if it is the one with this etag; an empty one is any.
    pub async fn delete_client_as_read(&self, id: ClientId, etag: &str) -> Result<(), EditError> {
        if etag.is_empty() {
            return Ok(self.delete_client(id).await?);
        }
        self.changeable_client(id.clone()).await?;
        let present = self.administered_client(id.clone()).await?;
        if etag != self.etag(&present) {
            return Err(EditError::Etag);
        }
        let ending = Ending::DeleteClient(id.clone(), Some(Box::new(present.fingerprint())));
        if self.revoker.revoke(ending).await?.is_none() {
            // It is another one by now, unless it is gone.
            self.administered_client(id).await?;
            return Err(EditError::Etag);
        }
        self.audit.record(Event::ClientDeleted(&id));
        Ok(())
    }

    /// Changes whenever the client does, other than by use. The label keeps it apart from page tokens, which begin with the fingerprint of a
    /// list.
    pub fn etag(&self, client: &RegisteredClient) -> String {
        let tag: [u8; TAG] = self.page_key.tag(&[b"scopegate/etag", client.fingerprint().as_bytes()]);
        BASE64_URL_SAFE_NO_PAD.encode(tag)
    }

    pub async fn page_of_clients(
        &self,
        listing: &Listing,
        page_token: &str,
        filter: ClientFilter,
        limit: u32,
    ) -> Result<Vec<RegisteredClient>, ListError> {
        let after =
            self.cursor(listing, page_token, |time, id| Some((time, str::from_utf8(id).ok()?.parse().ok()?)))?;
        Ok(self.store.page_of_clients(filter, after, limit).await?)
    }

    pub async fn page_of_grants(
        &self,
        listing: &Listing,
        page_token: &str,
        mut filter: GrantFilter,
        limit: u32,
    ) -> Result<Vec<Grant>, ListError> {
        let after =
            self.cursor(listing, page_token, |time, id| Some((time, GrantId::from_bytes(id.try_into().ok()?))))?;
        filter.active_at = filter.active_at.map(|_| self.effects.now());
        Ok(self.store.page_of_grants(filter, after, limit).await?)
    }

    pub async fn page_of_accounts(
        &self,
        listing: &Listing,
        page_token: &str,
        limit: u32,
    ) -> Result<Vec<Account>, ListError> {
        let after = self.cursor(listing, page_token, |_, name| str::from_utf8(name).ok().map(str::to_owned))?;
        Ok(self.store.page_of_accounts(after.unwrap_or_default(), limit).await?)
    }

    pub async fn administered_grant(&self, id: GrantId) -> Result<Option<Grant>, Unavailable> {
        self.store.grant(id).await
    }

    /// What goes on after an item, which its list has by a time and a name.
    pub fn page_token(&self, listing: &Listing, time: Timestamp, name: &[u8]) -> String {
        let mut token = [&time.as_unix().to_be_bytes(), name].concat();
        let tag: [u8; TAG] = self.page_key.tag(&[listing.0.as_bytes(), &token]);
        token.extend(tag);
        BASE64_URL_SAFE_NO_PAD.encode(token)
    }

    fn cursor<T>(
        &self,
        listing: &Listing,
        token: &str,
        read: impl FnOnce(Timestamp, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, ListError> {
        if token.is_empty() {
            return Ok(None);
        }
        let opened = || {
            let bytes =
                BASE64_URL_SAFE_NO_PAD.decode(Some(token).filter(|token| token.len() <= MAX_PAGE_TOKEN)?).ok()?;
            let (cursor, tag) = bytes.split_last_chunk::<TAG>()?;
            if !self.page_key.verifies(&[listing.0.as_bytes(), cursor], tag) {
                return None;
            }
            let (time, name) = cursor.split_first_chunk::<8>()?;
            read(Timestamp::from_unix(i64::from_be_bytes(*time)), name)
        };
        opened().map(Some).ok_or(ListError::PageToken)
    }
}

/// The metadata that a client has then. Whether it has a secret, keys or a certificate does not change.
fn edited(client: &Client, edit: MetadataEdit) -> Result<ClientMetadata, ClientError> {
    use AuthenticationMethod::{
        ClientSecretBasic, ClientSecretPost, PrivateKeyJwt, SelfSignedTlsClientAuth, TlsClientAuth,
    };
    let (names_keys, names_subject) =
        (edit.jwks.is_some() || edit.jwks_uri.is_some(), edit.certificate_subject.is_some());
    let method = edit.token_endpoint_auth_method;
    if !names_keys && !names_subject && method.is_none() {
        return Ok(edit.over(client.metadata.clone()));
    }
    let mut metadata = edit.over(client.metadata.clone());
    let is_good = match client.client_type {
        ClientType::Public => !names_keys && !names_subject && method == Some(AuthenticationMethod::None),
        ClientType::Confidential { .. } => {
            !names_keys && !names_subject && matches!(method, Some(ClientSecretBasic | ClientSecretPost))
        }
        ClientType::Signing => {
            let has_keys = metadata.jwks.is_some() != metadata.jwks_uri.is_some();
            has_keys && !names_subject && method.is_none_or(|method| method == PrivateKeyJwt)
        }
        // By a name or by keys, whichever was said last.
        ClientType::Certified => {
            if names_subject {
                metadata.jwks = None;
            } else if names_keys {
                metadata.certificate_subject = None;
            }
            let by_name = metadata.certificate_subject.is_some();
            let present = if by_name { TlsClientAuth } else { SelfSignedTlsClientAuth };
            metadata.token_endpoint_auth_method = Some(present);
            metadata.jwks_uri.is_none()
                && by_name != metadata.jwks.is_some()
                && !(names_subject && names_keys)
                && method.is_none_or(|method| method == present)
        }
    };
    if is_good { Ok(metadata) } else { Err(ClientError::AuthenticationMethod) }
}
