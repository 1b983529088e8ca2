//! Dynamic registration (RFC 7591), and what a client that registered itself does with its registration (RFC 7592).
//!
//! The registration access token stays the same until the client is deleted: a new one that got lost on its way would lock the client
//! out. What is registered with it says nothing about a client that the server would trust.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::Service;
use super::audit::acting_as;
use super::clients::ClientError;
use crate::domain::audit::{Actor, Event};
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, Introspects, Registrar,
};
use crate::domain::error::Unavailable;
use crate::domain::jwt_access_token::AccessTokenFormat;
use crate::domain::registration::{Gate, InvalidClientMetadata, Registration, RegistrationChange, RegistrationError};
use crate::domain::secret::{RandomSecret, SecretHash};
use crate::store::ClientChanges;

/// A client that registered itself, and what it is told about itself (RFC 7591 §3.2.1).
pub struct RegisteredClient {
    pub client: Client,
    /// Shown once.
    pub secret: Option<RandomSecret>,
    /// The registration access token: the one that was presented, if one was.
    pub access_token: Zeroizing<String>,
}

/// Why there is no registration, or no change of it.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationFailure {
    #[error(transparent)]
    Refused(#[from] RegistrationError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<InvalidClientMetadata> for RegistrationFailure {
    fn from(cause: InvalidClientMetadata) -> Self {
        Self::Refused(cause.into())
    }
}

impl Service {
    /// Registers a client for whoever may (RFC 7591 §3). `address` is where the request comes from.
    pub async fn register(
        &self,
        authorization: &[&[u8]],
        address: Option<IpAddr>,
        body: &[u8],
    ) -> Result<RegisteredClient, RegistrationFailure> {
        let now = self.effects.now();
        let policy = &self.settings.registration;
        match &policy.gate {
            Gate::Nobody => return Err(RegistrationError::Off.into()),
            Gate::Token(expected) => {
                if SecretHash::of(bearer(authorization)?) != *expected {
                    return Err(RegistrationError::TokenInvalid.into());
                }
            }
            Gate::Everybody { per_hour } => {
                if !self.registrations.admits(address, *per_hour, now) {
                    return Err(RegistrationError::TooOften.into());
                }
            }
        }
        let registration = Registration::parse(body, &policy.scopes)?;
        if !self.offers(registration.method) {
            return Err(InvalidClientMetadata::AuthenticationMethod.into());
        }
        self.settings.authorization.redirects.check(&registration.redirect_uris).map_err(RegistrationError::from)?;
        self.can_read_keys(&registration)?;
        self.check_signed(&registration, &ClientMetadata::default())?;
        let secret = match registration.method {
            AuthenticationMethod::ClientSecretBasic | AuthenticationMethod::ClientSecretPost => {
                Some(self.new_client_secret())
            }
            AuthenticationMethod::PrivateKeyJwt
            | AuthenticationMethod::TlsClientAuth
            | AuthenticationMethod::SelfSignedTlsClientAuth
            | AuthenticationMethod::None => None,
        };
        let access_token = self.effects.secret();
        let id = self.new_client_id();
        let client = Client {
            name: registration.name.clone().unwrap_or_else(|| id.to_string()),
            id,
            client_type: match (registration.method, &secret) {
                (_, Some(secret)) => ClientType::Confidential { secret: secret.hash(), previous: None },
                (AuthenticationMethod::PrivateKeyJwt, None) => ClientType::Signing,
                (method, None) if method.is_by_certificate() => ClientType::Certified,
                (_, None) => ClientType::Public,
            },
            metadata: registration.metadata(ClientMetadata::default()),
            redirect_uris: registration.redirect_uris,
            scopes: registration.scopes,
            introspects: Introspects::Own,
            created_at: now,
            disabled_at: None,
            registrar: Registrar::Itself {
                access_token: access_token.hash(),
                unused_until: Some(now.plus(policy.unused_lifetime)),
            },
            last_used_at: None,
        };
        if !self.store.insert_registered_client(client.clone(), policy.max_clients).await? {
            tracing::warn!(max_clients = policy.max_clients, "no more clients may register themselves");
            return Err(RegistrationError::Full.into());
        }
        tracing::info!(client_id = %client.id, "a client registered itself");
        self.audit.record(Event::ClientRegistered(&client.id));
        Ok(RegisteredClient { client, secret, access_token: Zeroizing::new(access_token.expose().to_owned()) })
    }

    /// The registration of a client (RFC 7592 §2.1).
    pub async fn registration(
        &self,
        authorization: &[&[u8]],
        id: &str,
    ) -> Result<RegisteredClient, RegistrationFailure> {
        let (client, access_token) = self.registered_client(authorization, id).await?;
        Ok(RegisteredClient { client, secret: None, access_token })
    }

    /// Replaces the registration of a client (RFC 7592 §2.2).
    pub async fn change_registration(
        &self,
        authorization: &[&[u8]],
        id: &str,
        body: &[u8],
    ) -> Result<RegisteredClient, RegistrationFailure> {
        let (client, access_token) = self.registered_client(authorization, id).await?;
        let change = RegistrationChange::parse(body, &self.settings.registration.scopes)?;
        let knows_secret = match (&client.client_type, &change.client_secret) {
            (_, None) => true,
            (ClientType::Confidential { secret, .. }, Some(presented)) => secret == presented,
            (ClientType::Public | ClientType::Signing | ClientType::Certified, Some(_)) => false,
        };
        if change.client_id != client.id.as_str() || !knows_secret {
            return Err(InvalidClientMetadata::Identity.into());
        }
        let registration = change.registration;
        self.settings.authorization.redirects.check(&registration.redirect_uris).map_err(RegistrationError::from)?;
        self.can_read_keys(&registration)?;
        // One that was confidential does not become public by what whoever has this token says.
        if kind(registration.method) != kind(client.authentication_method()) {
            return Err(InvalidClientMetadata::AuthenticationKind.into());
        }
        self.check_signed(&registration, &client.metadata)?;
        let changes = ClientChanges {
            name: Some(registration.name.clone().unwrap_or_else(|| client.id.to_string())),
            metadata: Some(registration.metadata(client.metadata)),
            redirect_uris: Some(registration.redirect_uris),
            scopes: Some(registration.scopes),
            introspects: None,
        };
        self.store.update_client(client.id.clone(), changes).await?;
        self.client_scopes.forget(&client.id);
        let client = self.store.client(client.id).await?.ok_or(RegistrationError::TokenInvalid)?;
        tracing::info!(client_id = %client.id, "a client changed its registration");
        acting_as(Actor::Client(client.id.clone()), async { self.audit.record(Event::ClientChanged(&client.id)) })
            .await;
        Ok(RegisteredClient { client, secret: None, access_token })
    }

    /// What it says about what is signed is offered, or what it has already: clients send back what they were told.
    fn check_signed(&self, registration: &Registration, present: &ClientMetadata) -> Result<(), InvalidClientMetadata> {
        let settings = &self.settings;
        let is_offered = |format| match format {
            AccessTokenFormat::Opaque => true,
            AccessTokenFormat::Jwt => settings.registration.jwt_access_tokens && settings.jwt_access_tokens.is_some(),
        };
        let format = registration.access_token_format;
        if format.is_some_and(|format| format != present.access_token_format && !is_offered(format)) {
            return Err(InvalidClientMetadata::AccessTokenFormat);
        }
        let offered = settings.signs_introspection.then(|| self.signing_keys.algorithm());
        let wanted = registration.introspection_signed_response_alg;
        if wanted.is_some() && wanted != present.introspection_signed_response_alg && wanted != offered {
            return Err(InvalidClientMetadata::IntrospectionAlgorithm);
        }
        Ok(())
    }

    /// Deletes a client and revokes its grants (RFC 7592 §2.3).
    pub async fn end_registration(&self, authorization: &[&[u8]], id: &str) -> Result<(), RegistrationFailure> {
        let (client, _) = self.registered_client(authorization, id).await?;
        match acting_as(Actor::Client(client.id.clone()), self.delete_client(client.id)).await {
            Ok(()) => Ok(()),
            Err(ClientError::Unavailable(error)) => Err(error.into()),
            // Somebody else deleted it just now.
            Err(_) => Err(RegistrationError::TokenInvalid.into()),
        }
    }

    fn can_read_keys(&self, registration: &Registration) -> Result<(), InvalidClientMetadata> {
        if registration.names_keys() && !self.outgoing.is_enabled() {
            return Err(InvalidClientMetadata::JwksUri);
        }
        Ok(())
    }

    /// The client whose registration access token was presented. Unknown, disabled and others' clients get the same answer (RFC 7592 §2).
    async fn registered_client(
        &self,
        authorization: &[&[u8]],
        id: &str,
    ) -> Result<(Client, Zeroizing<String>), RegistrationFailure> {
        if matches!(self.settings.registration.gate, Gate::Nobody) {
            return Err(RegistrationError::Off.into());
        }
        let presented = bearer(authorization)?;
        let hash = SecretHash::of(presented);
        let id: ClientId = id.parse().map_err(|_| RegistrationError::TokenInvalid)?;
        let client = self.store.client(id).await?.filter(|client| {
            client.disabled_at.is_none()
                && matches!(&client.registrar, Registrar::Itself { access_token, .. } if *access_token == hash)
        });
        let client = client.ok_or(RegistrationError::TokenInvalid)?;
        Ok((client, Zeroizing::new(presented.to_owned())))
    }
}

/// RFC 6750 §2.1, in one header.
fn bearer<'a>(authorization: &[&'a [u8]]) -> Result<&'a str, RegistrationError> {
    let [header] = authorization else {
        return Err(if authorization.is_empty() {
            RegistrationError::TokenMissing
        } else {
            RegistrationError::TokenInvalid
        });
    };
    let header = str::from_utf8(header).map_err(|_| RegistrationError::TokenInvalid)?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(token.trim()),
        _ => Err(RegistrationError::TokenMissing),
    }
}

/// A method, or one that proves as much.
fn kind(method: AuthenticationMethod) -> AuthenticationMethod {
    match method {
        AuthenticationMethod::ClientSecretPost => AuthenticationMethod::ClientSecretBasic,
        other => other,
    }
}
