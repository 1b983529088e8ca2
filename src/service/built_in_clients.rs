//! The clients that the configuration names (`apps.built_in`). They are public, and nobody changes them elsewhere.

use super::Service;
use super::apps::BuiltInClient;
use crate::domain::audit::Event;
use crate::domain::client::{Client, ClientId, ClientMetadata, ClientType, Introspects, Registrar};
use crate::domain::error::Unavailable;
use crate::store::Ending;

/// Why the clients cannot be those that the configuration names.
#[derive(Debug, thiserror::Error)]
pub enum BuiltInFailure {
    #[error("apps.built_in: {0} is the id of another client, or of one that was deleted")]
    Taken(ClientId),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Service {
    /// Makes those that are named, as they are named now, and takes those out of use that are not named any more: their tokens are
    /// revoked. Several servers may do so at once.
    pub async fn keep_built_in_clients(&self) -> Result<(), BuiltInFailure> {
        let present = self.store.built_in_clients().await?;
        for named in &self.settings.apps.built_in {
            let client = self.built_in(named);
            let is_there = present.iter().any(|present| same(present, &client));
            if !is_there && !self.store.put_built_in_client(client).await? {
                return Err(BuiltInFailure::Taken(named.id.clone()));
            }
        }
        for client in present {
            let is_named = self.settings.apps.built_in.iter().any(|named| named.id == client.id);
            if !is_named && self.revoker.revoke(Ending::DisableClient(client.id.clone())).await?.is_some() {
                tracing::info!(client_id = %client.id, "the configuration names this client no more");
                self.audit.record(Event::ClientDisabled(&client.id));
            }
        }
        Ok(())
    }

    fn built_in(&self, named: &BuiltInClient) -> Client {
        let BuiltInClient { id, name, redirect_uris, scopes } = named.clone();
        Client {
            id,
            name,
            client_type: ClientType::Public,
            redirect_uris,
            scopes,
            introspects: Introspects::Own,
            metadata: ClientMetadata { built_in: true, ..ClientMetadata::default() },
            created_at: self.effects.now(),
            disabled_at: None,
            registrar: Registrar::Operator,
            last_used_at: None,
        }
    }
}

/// Whether nothing has to be written.
fn same(present: &Client, named: &Client) -> bool {
    let (present, named) = (present.clone(), named.clone());
    let as_named = Client { created_at: named.created_at, last_used_at: named.last_used_at, ..present };
    as_named == named
}
