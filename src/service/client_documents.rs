//! Clients that nobody registered: their `client_id` is the URL of a document about them (Client ID Metadata Documents).
//!
//! The document is read when the client asks for an authorization, at `/authorize` or `/par`, and is not known or was read too long
//! ago. What it says is then a client like any other, in the database, for as long as it has grants. Nothing else has it read:
//! wherever tokens are redeemed or checked, the client is what it was.
//!
//! Anybody can send us to any URL, so it costs: so many an hour from one address and from all, so many at once, and so many clients.
//! An answer that makes nobody a client is not remembered.

use std::net::IpAddr;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::Service;
use super::authorization::AuthorizationFailure;
use super::registration_rate::RegistrationRate;
use crate::domain::authorization::{Fatal, client_id};
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, Introspects, Registrar,
};
use crate::domain::client_document::{self, DocumentPolicy, DocumentUrl, InvalidDocument, MAX_DOCUMENT};
use crate::domain::credentials::ClientCredentials;
use crate::domain::error::{Failure, InvalidClient, Unavailable};
use crate::domain::parameters::Parameters;
use crate::domain::registration::Registration;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
use crate::effects::outgoing::Document;

/// How many documents are read at once.
const AT_ONCE: usize = 8;
/// How many addresses' worth of documents are read in an hour.
const ADDRESSES: u32 = 5;
/// For how long a document is good, in seconds, whatever its answer says. A client without a grant is pruned after two hours: later
/// than anybody could still be deciding about it.
const MIN_LIFETIME: u32 = 300;
const MAX_LIFETIME: u32 = 3_600;
const OPERATION: &str = "read the document of a client";

/// What bounds the reading of documents.
pub(super) struct ClientDocuments {
    rate: RegistrationRate,
    permits: Semaphore,
}

/// Why a client is none.
pub(super) enum DocumentFailure {
    Refused,
    Unavailable(Unavailable),
}

impl From<Unavailable> for DocumentFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<DocumentFailure> for AuthorizationFailure {
    fn from(failure: DocumentFailure) -> Self {
        match failure {
            DocumentFailure::Refused => Fatal::ClientDocument.into(),
            DocumentFailure::Unavailable(error) => error.into(),
        }
    }
}

impl From<DocumentFailure> for Failure {
    fn from(failure: DocumentFailure) -> Self {
        match failure {
            DocumentFailure::Refused => InvalidClient::Failed.into(),
            DocumentFailure::Unavailable(error) => error.into(),
        }
    }
}

impl ClientDocuments {
    pub(super) fn new() -> Self {
        Self { rate: RegistrationRate::new(), permits: Semaphore::new(AT_ONCE) }
    }

    /// Whether one more may be read for a request from this address.
    fn admits(&self, address: Option<IpAddr>, policy: &DocumentPolicy, now: Timestamp) -> bool {
        // Who has used up his own share takes nothing from the others.
        self.rate.admits(address, policy.per_hour, now) && self.rate.admits(None, policy.per_hour * ADDRESSES, now)
    }
}

impl Service {
    /// Gets to know the client of an authorization request.
    pub(super) async fn learn_asking_client(
        &self,
        query: &str,
        address: Option<IpAddr>,
    ) -> Result<(), AuthorizationFailure> {
        let parameters = Parameters::parse(query.as_bytes()).map_err(|_| Fatal::Malformed)?;
        Ok(self.learn_client(&client_id(&parameters)?, address).await?)
    }

    /// Gets to know the client that pushes a request.
    pub(super) async fn learn_pushing_client(
        &self,
        authorization: &[&[u8]],
        form: &Parameters,
        address: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let credentials = ClientCredentials::parse(authorization, form, self.settings.client_requests.repeated)?;
        Ok(self.learn_client(&credentials.id, address).await?)
    }

    /// Reads the document of a client that is not known, or was read too long ago. Any other id is left alone.
    async fn learn_client(&self, id: &ClientId, address: Option<IpAddr>) -> Result<(), DocumentFailure> {
        let Some(policy) = &self.settings.registration.documents else { return Ok(()) };
        let Ok(url) = id.as_str().parse::<DocumentUrl>() else { return Ok(()) };
        let host = url.url.parsed().host_str().unwrap_or_default();
        if !policy.hosts.is_empty() && !policy.hosts.iter().any(|allowed| allowed == host) {
            return Ok(());
        }
        let now = self.effects.now();
        let known = self.store.client(id.clone()).await?;
        if known.as_ref().is_some_and(|client| client.disabled_at.is_some() || !is_stale(client, now)) {
            return Ok(());
        }
        if !self.client_documents.admits(address, policy, now) {
            tracing::warn!(client_id = %id, "too many documents of clients were asked for");
            return Err(Unavailable { operation: OPERATION, cause: "too many were read lately".into() }.into());
        }
        let document = self.read_document(&url).await?;
        let lifetime = document.lifetime().clamp(MIN_LIFETIME, MAX_LIFETIME);
        let registration = judge(&url, &document, &self.settings.registration.scopes).map_err(|cause| {
            tracing::info!(client_id = %id, cause = %cause, "the document of a client makes it none");
            DocumentFailure::Refused
        })?;
        if !self.offers(registration.method) {
            tracing::info!(client_id = %id, "the document of a client names a method that is not offered");
            return Err(DocumentFailure::Refused);
        }
        let present = known.map(|client| client.metadata).unwrap_or_default();
        let registrar = Registrar::Document { read_at: now, fresh_until: now.plus(lifetime) };
        let client = client(&url, registration, present, registrar, now);
        let most = self.settings.registration.max_clients;
        if !self.store.put_document_client(client, most).await? {
            tracing::warn!(client_id = %id, max_clients = most, "no more clients may come by documents, or this one was deleted");
            return Err(Unavailable { operation: OPERATION, cause: "there are too many clients".into() }.into());
        }
        self.client_scopes.forget(id);
        tracing::info!(client_id = %id, "the document of a client was read");
        Ok(())
    }

    async fn read_document(&self, url: &DocumentUrl) -> Result<Document, DocumentFailure> {
        let busy = |_| Unavailable { operation: OPERATION, cause: "too many are read at the moment".into() };
        let _permit = self.client_documents.permits.try_acquire().map_err(busy)?;
        match self.outgoing.get(&url.url, "application/json", MAX_DOCUMENT).await {
            Ok(document) if document.status.is_server_error() || document.status == StatusCode::TOO_MANY_REQUESTS => {
                let cause = format!("the answer is {}", document.status).into();
                Err(Unavailable { operation: OPERATION, cause }.into())
            }
            Ok(document) => Ok(document),
            Err(error) if error.is_refusal() => {
                tracing::info!(client_id = %url.client, cause = %error, "the document of a client is not read");
                Err(DocumentFailure::Refused)
            }
            Err(error) => Err(Unavailable { operation: OPERATION, cause: Box::new(error) }.into()),
        }
    }
}

/// Whether the document has to be read again. A client of another kind has none.
fn is_stale(client: &Client, now: Timestamp) -> bool {
    match client.registrar {
        Registrar::Document { read_at, fresh_until } => now < read_at || fresh_until <= now,
        Registrar::Operator | Registrar::User { .. } | Registrar::Itself { .. } => false,
    }
}

fn judge(url: &DocumentUrl, document: &Document, allowed: &ScopeSet) -> Result<Registration, InvalidDocument> {
    if document.status != StatusCode::OK {
        return Err(InvalidDocument::Status);
    }
    let media_type = document.media_type().to_ascii_lowercase();
    let is_json =
        media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if !is_json {
        return Err(InvalidDocument::MediaType);
    }
    client_document::parse(url, &document.body, allowed)
}

/// What an operator says of a client stays: `present`.
fn client(
    url: &DocumentUrl,
    registration: Registration,
    present: ClientMetadata,
    registrar: Registrar,
    now: Timestamp,
) -> Client {
    Client {
        id: url.client.clone(),
        name: registration.name.clone().unwrap_or_else(|| url.host()),
        client_type: match registration.method {
            AuthenticationMethod::PrivateKeyJwt => ClientType::Signing,
            method if method.is_by_certificate() => ClientType::Certified,
            _ => ClientType::Public,
        },
        metadata: registration.metadata(present),
        redirect_uris: registration.redirect_uris,
        scopes: registration.scopes,
        introspects: Introspects::Own,
        created_at: now,
        disabled_at: None,
        registrar,
        last_used_at: None,
    }
}
