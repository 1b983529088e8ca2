//! Client authentication (RFC 6749 §2.3): basic, post and none.

use super::Service;
use crate::domain::client::{Client, ClientType};
use crate::domain::credentials::ClientCredentials;
use crate::domain::error::{Failure, InvalidClient};
use crate::domain::parameters::Parameters;
use crate::domain::secret::SecretHash;

impl Service {
    /// The client that a request comes from. Unknown, disabled and wrongly authenticated clients get the same answer, and
    /// nearly the same time: one lookup and one hash.
    pub(super) async fn authenticate_client(
        &self,
        authorization: &[&[u8]],
        form: &Parameters,
    ) -> Result<Client, Failure> {
        let credentials = ClientCredentials::parse(authorization, form)?;
        let presented = credentials.secret.map(|secret| SecretHash::of(secret.expose()));
        let client = self.store.client(credentials.id).await?;
        client
            .filter(|client| client.disabled_at.is_none() && proves(client, presented))
            .ok_or(InvalidClient::Failed.into())
    }
}

/// A public client has no secret, so it must not present one: whoever does takes it for another client.
fn proves(client: &Client, presented: Option<SecretHash>) -> bool {
    match &client.client_type {
        ClientType::Public => presented.is_none(),
        ClientType::Confidential { secret } => presented.is_some_and(|presented| presented == *secret),
    }
}
