//! Client authentication (RFC 6749 §2.3): basic, post, `private_key_jwt` (RFC 7523) and none.

use std::net::IpAddr;

use super::Service;
use crate::domain::audit::{ClientRefusal, Event};
use crate::domain::client::{AuthenticationMethod, Client, ClientMetadata, ClientType};
use crate::domain::client_assertion::{AssertionUse, ClientAssertion};
use crate::domain::credentials::{ClientCredentials, Proof};
use crate::domain::error::{Failure, InvalidClient, Unavailable};
use crate::domain::parameters::Parameters;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;

/// Who sends a request to an endpoint for clients, as far as its headers and its connection tell.
pub struct Caller<'a> {
    /// Every value of the `Authorization` header.
    pub authorization: Vec<&'a [u8]>,
    /// Where it comes from, if somebody says.
    pub address: Option<IpAddr>,
}

/// A proof, as far as it can be looked at before the client is known.
enum Examined {
    None,
    Secret(SecretHash, AuthenticationMethod),
    Assertion(Box<ClientAssertion>, AssertionUse),
}

impl Service {
    /// The client that a request comes from. Unknown, disabled and wrongly authenticated clients get the same answer, and
    /// nearly the same time: one lookup and one hash. Wrong secrets count ([`super::attempts`]).
    pub(super) async fn authenticate_client(&self, caller: &Caller<'_>, form: &Parameters) -> Result<Client, Failure> {
        let now = self.effects.now();
        let credentials = ClientCredentials::parse(&caller.authorization, form)?;
        let examined = self.examine(credentials.proof, now)?;
        // Only a secret can be guessed.
        let is_guess = matches!(examined, Examined::Secret(..));
        let guess = is_guess.then(|| self.attempts.at_secret(&credentials.id.to_string(), caller.address, now));
        if let Some(guess) = &guess {
            guess.check().inspect_err(|_| self.audit.record(Event::ClientLimited)).map_err(InvalidClient::from)?;
        }
        let client = self.store.client(credentials.id).await?;
        let known = client.as_ref().map(|client| (client.id.clone(), client.disabled_at.is_some()));
        let client = client.filter(|client| client.disabled_at.is_none());
        let client = match (&examined, client) {
            (Examined::Assertion(assertion, _), Some(client)) if has_remote_keys(&client) => {
                Box::pin(self.verify_remotely(&client, assertion, now)).await?.then_some(client)
            }
            (_, client) => {
                let proven = || client.filter(|client| proves(client, &examined, now));
                match &guess {
                    Some(guess) => guess
                        .judge(proven)
                        .inspect_err(|_| self.audit.record(Event::ClientLimited))
                        .map_err(InvalidClient::from)?,
                    None => proven(),
                }
            }
        };
        let Some(client) = client else {
            let refusal = match &known {
                None => ClientRefusal::Unknown,
                Some((_, true)) => ClientRefusal::Disabled,
                Some((_, false)) => ClientRefusal::WrongProof,
            };
            self.audit.record(Event::ClientRefused(known.as_ref().map(|(id, _)| id), refusal));
            return Err(InvalidClient::Failed.into());
        };
        // RFC 7523 §3: once, on whichever server. Only what the client did sign is remembered.
        if let Examined::Assertion(_, once) = examined
            && !self.store.use_assertion(once).await?
        {
            tracing::warn!(client_id = %client.id, "a client assertion was presented again");
            self.audit.record(Event::ClientRefused(Some(&client.id), ClientRefusal::AssertionReplayed));
            return Err(InvalidClient::Failed.into());
        }
        Ok(client)
    }

    async fn verify_remotely(
        &self,
        client: &Client,
        assertion: &ClientAssertion,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        match &client.metadata.jwks_uri {
            Some(url) => self.remote_keys.verify(&client.id, url, assertion, now).await,
            None => Ok(false),
        }
    }

    fn examine(&self, proof: Proof, now: Timestamp) -> Result<Examined, InvalidClient> {
        Ok(match proof {
            Proof::None => Examined::None,
            Proof::Secret { secret, sent_by } => Examined::Secret(SecretHash::of(secret.expose()), sent_by),
            Proof::Assertion(assertion) => {
                let issuer = &self.settings.issuer;
                // RFC 9126 §2 has its endpoint accepted, too.
                let once = assertion.check(&[issuer, &format!("{issuer}/token"), &format!("{issuer}/par")], now)?;
                Examined::Assertion(assertion, once)
            }
        })
    }
}

/// Whether its keys are elsewhere.
fn has_remote_keys(client: &Client) -> bool {
    client.client_type == ClientType::Signing && client.metadata.jwks_uri.is_some()
}

/// A public client has no secret, so it must not present one: whoever does takes it for another client.
fn proves(client: &Client, proof: &Examined, now: Timestamp) -> bool {
    match (&client.client_type, proof) {
        (ClientType::Public, Examined::None) => true,
        (ClientType::Confidential { secret, previous }, Examined::Secret(presented, sent_by)) => {
            let is_previous = previous.as_ref().is_some_and(|old| now < old.until && old.secret == *presented);
            (secret == presented || is_previous) && allows(&client.metadata, *sent_by)
        }
        (ClientType::Signing, Examined::Assertion(assertion, _)) => {
            client.metadata.jwks.as_ref().is_some_and(|keys| assertion.is_signed_by(keys))
        }
        _ => false,
    }
}

/// A client that registered one method uses no other (RFC 7591 §2).
fn allows(metadata: &ClientMetadata, method: AuthenticationMethod) -> bool {
    metadata.token_endpoint_auth_method.is_none_or(|registered| registered == method)
}
