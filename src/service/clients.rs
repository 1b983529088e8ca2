//! Clients, as an operator manages them. Those that register themselves are in `registration`.

use super::Service;
use crate::domain::audit::Event;
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, GrantType, Introspects, RefreshTokenRotation,
    Registrar,
};
use crate::domain::consent::ConsentPolicy;
use crate::domain::error::Unavailable;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::redirect_uri::{InvalidRedirectUri, RedirectUri};
use crate::domain::registration::is_public_url;
use crate::domain::resource;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::RandomSecret;
use crate::domain::token::Alphabet;
use crate::store::{ClientChanges, Ending};

/// How often the use of a client is noted, in seconds.
const DAY: u32 = 86_400;

/// How the ids and secrets of clients look.
#[derive(Clone, Debug)]
pub struct ClientNames {
    /// Ids are UUIDs; otherwise, hexadecimal digits.
    pub uuids: bool,
    pub secret_prefix: String,
    pub alphabet: Alphabet,
}

/// A client to be.
pub struct NewClient {
    pub name: String,
    pub redirect_uris: Vec<RedirectUri>,
    pub scopes: ScopeSet,
    pub public: bool,
    pub introspects: Introspects,
    pub metadata: ClientMetadata,
}

/// Why a client cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("there is no client {0}")]
    Unknown(ClientId),
    #[error("the scope {0} is not in [scopes.catalogue] of the configuration")]
    UnknownScope(String),
    #[error("the name of a client has 1 to 200 characters and no control characters")]
    Name,
    #[error("only a client that a user made can be verified; those of operators are, and others cannot be")]
    NotOfUser,
    #[error("this client has no secret")]
    NoSecret,
    #[error("apps.built_in of the configuration says what this client is, and whether it is there")]
    BuiltIn,
    #[error(
        "a client that signs has keys or a URL of keys, and one that is public neither signs nor has a secret; that does not change"
    )]
    AuthenticationMethod,
    #[error("http.client_certificate_authentication of the configuration is another method")]
    CertificatesOff,
    #[error("a public client cannot introspect: anybody could pose as it")]
    PublicIntrospection,
    #[error("a resource is an absolute URI without a fragment, one of [resources.catalogue] if there are any: {0}")]
    Resource(Box<str>),
    #[error("a public client cannot use client_credentials: anybody could pose as it")]
    PublicMachine,
    #[error("the refresh token of a public client is always rotated")]
    PublicKeep,
    #[error("a token is bound to a DPoP key or to a certificate, not to both")]
    BothBindings,
    #[error("a client has at least one grant type")]
    NoGrantType,
    #[error("access tokens that are JSON Web Tokens are off: jwt.access_tokens")]
    AccessTokenFormat,
    #[error("the lifetime of a token is 1 to {MAX_LIFETIME} seconds")]
    Lifetime,
    #[error("only an app that the operator registered can do without consent")]
    Skip,
    #[error("{0} is an https URL without a user name")]
    Url(&'static str),
    #[error(transparent)]
    RedirectUri(#[from] InvalidRedirectUri),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A year, in seconds.
const MAX_LIFETIME: u32 = 365 * 86_400;

impl Service {
    /// Registers a client. The secret is shown this once.
    pub async fn create_client(&self, new: NewClient) -> Result<(Client, Option<RandomSecret>), ClientError> {
        check_name(&new.name)?;
        self.settings.authorization.redirects.check(&new.redirect_uris)?;
        self.check_scopes_known(&new.scopes)?;
        self.check_resources(&new.metadata)?;
        self.check_scopes_known(&new.metadata.required_scopes.iter().cloned().collect())?;
        if new.public && (new.introspects == Introspects::Any || !new.metadata.resources.is_empty()) {
            return Err(ClientError::PublicIntrospection);
        }
        check_metadata(&new.metadata, new.public)?;
        self.check_format(&new.metadata)?;
        let (client_type, secret) = self.credentials(new.public, &new.metadata)?;
        let client = Client {
            id: self.new_client_id(),
            name: new.name,
            client_type,
            redirect_uris: new.redirect_uris,
            scopes: new.scopes,
            introspects: new.introspects,
            metadata: new.metadata,
            created_at: self.effects.now(),
            disabled_at: None,
            registrar: Registrar::Operator,
            last_used_at: None,
        };
        self.store.insert_client(client.clone()).await?;
        self.audit.record(Event::ClientCreated(&client.id));
        Ok((client, secret))
    }

    pub async fn client(&self, id: ClientId) -> Result<Client, ClientError> {
        self.store.client(id.clone()).await?.ok_or(ClientError::Unknown(id))
    }

    /// One that the configuration does not rule over.
    pub(super) async fn changeable_client(&self, id: ClientId) -> Result<Client, ClientError> {
        let client = self.client(id).await?;
        if client.metadata.built_in { Err(ClientError::BuiltIn) } else { Ok(client) }
    }

    pub async fn update_client(&self, id: ClientId, changes: ClientChanges) -> Result<Client, ClientError> {
        if let Some(name) = &changes.name {
            check_name(name)?;
        }
        if let Some(uris) = &changes.redirect_uris {
            self.settings.authorization.redirects.check(uris)?;
        }
        if let Some(scopes) = &changes.scopes {
            self.check_scopes_known(scopes)?;
        }
        self.changeable_client(id.clone()).await?;
        if changes.metadata.is_some() || changes.introspects.is_some() {
            let present = self.client(id.clone()).await?;
            self.check_change(&present, &changes)?;
        }
        if self.store.update_client(id.clone(), changes).await? {
            self.client_scopes.forget(&id);
            self.audit.record(Event::ClientChanged(&id));
        }
        self.client(id).await
    }

    /// What a client becomes has to be something that it may be.
    pub(super) fn check_change(&self, present: &Client, changes: &ClientChanges) -> Result<(), ClientError> {
        let public = !present.is_confidential();
        let metadata = changes.metadata.as_ref().unwrap_or(&present.metadata);
        if public && (changes.introspects == Some(Introspects::Any) || !metadata.resources.is_empty()) {
            return Err(ClientError::PublicIntrospection);
        }
        // Those that it is already were known once.
        if metadata.resources != present.metadata.resources {
            self.check_resources(metadata)?;
        }
        let method = metadata.token_endpoint_auth_method;
        if method != present.metadata.token_endpoint_auth_method && !method.is_none_or(|method| self.offers(method)) {
            return Err(ClientError::CertificatesOff);
        }
        if metadata.access_token_format != present.metadata.access_token_format {
            self.check_format(metadata)?;
        }
        if metadata.required_scopes != present.metadata.required_scopes {
            self.check_scopes_known(&metadata.required_scopes.iter().cloned().collect())?;
        }
        if metadata.consent == ConsentPolicy::Skip && !present.is_verified() {
            return Err(ClientError::Skip);
        }
        check_metadata(metadata, public)
    }

    /// Gives a client with a secret a new one, which is shown this once. The one that it had stays good for `overlap` seconds, 0 being
    /// none; one before that ends at once, so there are never more than two.
    pub async fn rotate_client_secret(&self, id: ClientId, overlap: u32) -> Result<RandomSecret, ClientError> {
        if !matches!(self.client(id.clone()).await?.client_type, ClientType::Confidential { .. }) {
            return Err(ClientError::NoSecret);
        }
        let secret = self.new_client_secret();
        let previous_until = (overlap > 0).then(|| self.effects.now().plus(overlap));
        if self.store.rotate_secret(id.clone(), secret.hash(), previous_until).await? {
            self.audit.record(Event::ClientSecretRotated(&id));
            Ok(secret)
        } else {
            Err(ClientError::Unknown(id))
        }
    }

    /// Keeps, once a day, that a client got tokens. No answer depends on it.
    pub(super) async fn note_client_use(&self, client: &Client) {
        let now = self.effects.now();
        if client.last_used_at.is_some_and(|at| now.seconds_since(at) < DAY) {
            return;
        }
        if let Err(error) = self.store.note_client_use(client.id.clone(), now).await {
            tracing::warn!(client_id = %client.id, error = %error, cause = %error.cause, "the use of a client could not be noted");
        }
    }

    /// Refuses the client everything and revokes its grants.
    pub async fn disable_client(&self, id: ClientId) -> Result<(), ClientError> {
        self.changeable_client(id.clone()).await?;
        if self.revoker.revoke(Ending::DisableClient(id.clone())).await?.is_some() {
            self.audit.record(Event::ClientDisabled(&id));
        }
        Ok(())
    }

    /// Lets a disabled client work again. Its users have to grant again.
    pub async fn enable_client(&self, id: ClientId) -> Result<(), ClientError> {
        self.changeable_client(id.clone()).await?;
        if self.store.enable_client(id.clone()).await? {
            self.audit.record(Event::ClientEnabled(&id));
        }
        Ok(())
    }

    /// Removes the client and revokes its grants.
    pub async fn delete_client(&self, id: ClientId) -> Result<(), ClientError> {
        self.changeable_client(id.clone()).await?;
        if self.revoker.revoke(Ending::DeleteClient(id.clone(), None)).await?.is_none() {
            return Err(ClientError::Unknown(id));
        }
        self.audit.record(Event::ClientDeleted(&id));
        Ok(())
    }

    /// What it proves itself with, as it registered: nothing, keys or a secret.
    fn credentials(
        &self,
        public: bool,
        metadata: &ClientMetadata,
    ) -> Result<(ClientType, Option<RandomSecret>), ClientError> {
        if !metadata.token_endpoint_auth_method.is_none_or(|method| self.offers(method)) {
            return Err(ClientError::CertificatesOff);
        }
        match (public, metadata.token_endpoint_auth_method) {
            (true, None | Some(AuthenticationMethod::None)) => Ok((ClientType::Public, None)),
            (false, Some(AuthenticationMethod::PrivateKeyJwt))
                if metadata.jwks.is_some() != metadata.jwks_uri.is_some() =>
            {
                Ok((ClientType::Signing, None))
            }
            (false, Some(AuthenticationMethod::TlsClientAuth)) if metadata.certificate_subject.is_some() => {
                Ok((ClientType::Certified, None))
            }
            (false, Some(AuthenticationMethod::SelfSignedTlsClientAuth)) if metadata.jwks.is_some() => {
                Ok((ClientType::Certified, None))
            }
            (false, None | Some(AuthenticationMethod::ClientSecretBasic | AuthenticationMethod::ClientSecretPost)) => {
                let secret = self.new_client_secret();
                Ok((ClientType::Confidential { secret: secret.hash(), previous: None }, Some(secret)))
            }
            _ => Err(ClientError::AuthenticationMethod),
        }
    }

    pub(super) fn new_client_id(&self) -> ClientId {
        self.client_id_of(self.effects.random_bytes())
    }

    /// The client id that these random bytes are.
    pub(super) fn client_id_of(&self, mut bytes: [u8; 16]) -> ClientId {
        let uuids = self.settings.client_names.uuids;
        if uuids {
            // RFC 9562 §5.4: version 4, and the variant.
            bytes[6] = bytes[6] & 0x0F | 0x40;
            bytes[8] = bytes[8] & 0x3F | 0x80;
        }
        let mut id = format!("{:032x}", u128::from_be_bytes(bytes));
        if uuids {
            for at in [20, 16, 12, 8] {
                id.insert(at, '-');
            }
        }
        id.parse().expect("hexadecimal digits and hyphens are within the alphabet of client ids")
    }

    pub(super) fn new_client_secret(&self) -> RandomSecret {
        let ClientNames { secret_prefix, alphabet, .. } = &self.settings.client_names;
        alphabet.secret(secret_prefix, &self.effects.random_bytes())
    }

    fn check_resources(&self, metadata: &ClientMetadata) -> Result<(), ClientError> {
        let known = |resource: &str| resource::is_well_formed(resource) && self.settings.resources.is_known(resource);
        match metadata.resources.iter().find(|resource| !known(resource)) {
            Some(unknown) => Err(ClientError::Resource(unknown.clone())),
            None => Ok(()),
        }
    }

    fn check_format(&self, metadata: &ClientMetadata) -> Result<(), ClientError> {
        let is_off = self.settings.jwt_access_tokens.is_none();
        if is_off && metadata.access_token_format == AccessTokenFormat::Jwt {
            return Err(ClientError::AccessTokenFormat);
        }
        Ok(())
    }

    /// An empty catalogue knows every scope.
    pub(super) fn check_scopes_known(&self, scopes: &ScopeSet) -> Result<(), ClientError> {
        let catalogue = &self.settings.catalogue;
        match scopes.iter().find(|scope| !catalogue.is_empty() && !catalogue.contains_key(*scope)) {
            Some(unknown) => Err(ClientError::UnknownScope(unknown.to_owned())),
            None => Ok(()),
        }
    }
}

pub(super) fn check_metadata(metadata: &ClientMetadata, public: bool) -> Result<(), ClientError> {
    if metadata.grant_types.is_empty() {
        return Err(ClientError::NoGrantType);
    }
    if metadata.dpop_bound_access_tokens && metadata.tls_client_certificate_bound_access_tokens {
        return Err(ClientError::BothBindings);
    }
    if public && metadata.grant_types.contains(&GrantType::ClientCredentials) {
        return Err(ClientError::PublicMachine);
    }
    if public && metadata.refresh_token_rotation == RefreshTokenRotation::Keep {
        return Err(ClientError::PublicKeep);
    }
    for (member, url) in
        [("client_uri", &metadata.client_uri), ("policy_uri", &metadata.policy_uri), ("tos_uri", &metadata.tos_uri)]
    {
        if !url.as_deref().is_none_or(is_public_url) {
            return Err(ClientError::Url(member));
        }
    }
    let lifetimes = [
        metadata.access_token_lifetime,
        metadata.refresh_token_idle_lifetime,
        metadata.refresh_token_absolute_lifetime,
    ];
    if lifetimes.into_iter().flatten().all(|seconds| (1..=MAX_LIFETIME).contains(&seconds)) {
        Ok(())
    } else {
        Err(ClientError::Lifetime)
    }
}

pub(super) fn check_name(name: &str) -> Result<(), ClientError> {
    let length = name.chars().count();
    if (1..=200).contains(&length) && !name.chars().any(char::is_control) { Ok(()) } else { Err(ClientError::Name) }
}
