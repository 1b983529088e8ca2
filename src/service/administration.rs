//! Clients, grants and accounts as somebody administers them from elsewhere: in pages, and changed only as they were read.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Service;
use super::clients::{ClientError, NewClient, check_metadata, check_name};
use crate::domain::audit::Event;
use crate::domain::client::{Client, ClientId, ClientMetadata, ClientType, GrantType, RefreshTokenRotation};
use crate::domain::client_keys::ClientKeys;
use crate::domain::error::Unavailable;
use crate::domain::grant::Grant;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::{MacKey, RandomSecret};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;
use crate::store::{Account, ClientChanges, ClientFilter, GrantFilter, RegisteredClient};

/// Of a page token, and of an etag.
const TAG: usize = 16;
/// Beyond the longest cursor: a time and a client id.
const MAX_PAGE_TOKEN: usize = 512;

/// A list as somebody asked for it: what a page token is bound to.
pub struct Listing([u8; 32]);

impl Listing {
    /// `parts`: which list, who asks, and each filter.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
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
    pub metadata: MetadataEdit,
    pub disabled: Option<bool>,
}

/// What to change about a client's metadata; `None` leaves it, and within, `None` takes it away.
#[derive(Default)]
pub struct MetadataEdit {
    pub grant_types: Option<Vec<GrantType>>,
    pub jwks: Option<Option<ClientKeys>>,
    pub jwks_uri: Option<Option<OutgoingUrl>>,
    pub backchannel_logout_uri: Option<Option<OutgoingUrl>>,
    pub backchannel_logout_session_required: Option<bool>,
    pub access_token_lifetime: Option<Option<u32>>,
    pub refresh_token_idle_lifetime: Option<Option<u32>>,
    pub refresh_token_absolute_lifetime: Option<Option<u32>>,
    pub refresh_token_rotation: Option<RefreshTokenRotation>,
    pub access_token_format: Option<AccessTokenFormat>,
}

impl ClientEdit {
    /// Whether there is more to change than whether it works.
    fn changes_more(&self) -> bool {
        self.name.is_some()
            || self.redirect_uris.is_some()
            || self.post_logout_redirect_uris.is_some()
            || self.scopes.is_some()
            || self.metadata.is_given()
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
        set(&mut metadata.jwks, self.jwks);
        set(&mut metadata.jwks_uri, self.jwks_uri);
        set(&mut metadata.backchannel_logout_uri, self.backchannel_logout_uri);
        set(&mut metadata.backchannel_logout_session_required, self.backchannel_logout_session_required);
        set(&mut metadata.access_token_lifetime, self.access_token_lifetime);
        set(&mut metadata.refresh_token_idle_lifetime, self.refresh_token_idle_lifetime);
        set(&mut metadata.refresh_token_absolute_lifetime, self.refresh_token_absolute_lifetime);
        set(&mut metadata.refresh_token_rotation, self.refresh_token_rotation);
        set(&mut metadata.access_token_format, self.access_token_format);
        metadata
    }

    fn is_given(&self) -> bool {
        self.names_keys()
            || self.grant_types.is_some()
            || self.backchannel_logout_uri.is_some()
            || self.backchannel_logout_session_required.is_some()
            || self.access_token_lifetime.is_some()
            || self.refresh_token_idle_lifetime.is_some()
            || self.refresh_token_absolute_lifetime.is_some()
            || self.refresh_token_rotation.is_some()
            || self.access_token_format.is_some()
    }

    fn names_keys(&self) -> bool {
        self.jwks.is_some() || self.jwks_uri.is_some()
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
    pub async fn edit_client(&self, id: ClientId, etag: String, edit: ClientEdit) -> Result<(), EditError> {
        if let Some(name) = &edit.name {
            check_name(name)?;
        }
        if let Some(scopes) = &edit.scopes {
            self.check_scopes_known(scopes)?;
        }
        if edit.metadata.access_token_format == Some(AccessTokenFormat::Jwt)
            && self.settings.jwt_access_tokens.is_none()
        {
            return Err(ClientError::AccessTokenFormat.into());
        }
        self.changeable_client(id.clone()).await?;
        let key = self.page_key.clone();
        let disabled = edit.disabled;
        let changes_more = edit.changes_more();
        let changed = self.store.change_client(id.clone(), move |present| {
            if !etag.is_empty() && etag != self::etag(&key, &present) {
                return Err(EditError::Etag);
            }
            let metadata = edit.metadata.is_given().then(|| edited(present.client, edit.metadata)).transpose()?;
            let ClientEdit { name, redirect_uris, post_logout_redirect_uris, scopes, .. } = edit;
            Ok((ClientChanges { name, redirect_uris, scopes, metadata, introspects: None }, post_logout_redirect_uris))
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

    /// Changes whenever the client does, other than by use.
    pub fn etag(&self, client: &RegisteredClient) -> String {
        etag(&self.page_key, client)
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
        let tag: [u8; TAG] = self.page_key.tag(&[&listing.0, &token]);
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
            if !self.page_key.verifies(&[&listing.0, cursor], tag) {
                return None;
            }
            let (time, name) = cursor.split_first_chunk::<8>()?;
            read(Timestamp::from_unix(i64::from_be_bytes(*time)), name)
        };
        opened().map(Some).ok_or(ListError::PageToken)
    }
}

/// The metadata that a client has then.
fn edited(client: Client, edit: MetadataEdit) -> Result<ClientMetadata, ClientError> {
    let (is_public, names_keys) = (!client.is_confidential(), edit.names_keys());
    let metadata = edit.over(client.metadata);
    let has_keys = metadata.jwks.is_some() != metadata.jwks_uri.is_some();
    if names_keys && !(client.client_type == ClientType::Signing && has_keys) {
        return Err(ClientError::AuthenticationMethod);
    }
    check_metadata(&metadata, is_public)?;
    Ok(metadata)
}

/// Of all that can be changed. The label keeps it apart from page tokens, which begin with the hash of a list.
fn etag(key: &MacKey, registered: &RegisteredClient) -> String {
    let RegisteredClient { client, post_logout_redirect_uris } = registered;
    let metadata = serde_json::to_string(&client.metadata).unwrap_or_default();
    let uris = |uris: &[RedirectUri]| uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>().join("\n");
    let secret = match &client.client_type {
        ClientType::Confidential { secret, .. } => BASE64_URL_SAFE_NO_PAD.encode(secret.as_bytes()),
        ClientType::Public | ClientType::Signing | ClientType::Certified => String::new(),
    };
    let row = Listing::of(&[
        client.id.as_str(),
        &client.name,
        client.scopes.as_str(),
        &uris(&client.redirect_uris),
        &uris(post_logout_redirect_uris),
        &metadata,
        &secret,
        &client.disabled_at.map(|at| at.to_string()).unwrap_or_default(),
    ]);
    let tag: [u8; TAG] = key.tag(&[b"scopegate/etag", &row.0]);
    BASE64_URL_SAFE_NO_PAD.encode(tag)
}
