//! Client authentication (RFC 6749 §2.3): basic, post, `private_key_jwt` (RFC 7523), by certificate (RFC 8705 §2) and none.

use std::net::IpAddr;

use super::Service;
use crate::domain::audit::{ClientRefusal, Event};
use crate::domain::certificate::ClientCertificate;
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
    /// The certificate that it shows.
    pub certificate: Option<&'a ClientCertificate>,
}

/// A proof, as far as it can be looked at before the client is known.
enum Examined {
    None,
    Secret(SecretHash, AuthenticationMethod),
    Assertion(Box<ClientAssertion>, AssertionUse),
}

impl Service {
    /// The client that a request comes from. Unknown, disabled and wrongly authenticated clients get the same answer, and
    /// nearly the same time: one lookup and one hash. A certificate is looked at only for a client that registered one. Wrong secrets
    /// count ([`super::attempts`]).
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
                let proven = || client.filter(|client| self.proves(client, &examined, caller.certificate, now));
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
                let paths = self.settings.paths.token.iter().chain(["/par"]).map(|path| format!("{issuer}{path}"));
                let audiences: Vec<String> = paths.chain([issuer.clone()]).collect();
                let once = assertion.check(&audiences, now)?;
                Examined::Assertion(assertion, once)
            }
        })
    }

    /// A public client has no secret, so it must not present one: whoever does takes it for another client.
    fn proves(
        &self,
        client: &Client,
        proof: &Examined,
        certificate: Option<&ClientCertificate>,
        now: Timestamp,
    ) -> bool {
        let metadata = &client.metadata;
        match (&client.client_type, proof) {
            (ClientType::Public, Examined::None) => true,
            (ClientType::Confidential { secret, previous }, Examined::Secret(presented, sent_by)) => {
                let is_previous = previous.as_ref().is_some_and(|old| now < old.until && old.secret == *presented);
                (secret == presented || is_previous) && allows(metadata, *sent_by)
            }
            (ClientType::Signing, Examined::Assertion(assertion, _)) => {
                metadata.jwks.as_ref().is_some_and(|keys| assertion.is_signed_by(keys))
            }
            (ClientType::Certified, Examined::None) => {
                certificate.is_some_and(|certificate| self.is_certified(metadata, certificate, now))
            }
            _ => false,
        }
    }

    /// RFC 8705 §2, by the one method that the proxies allow for.
    fn is_certified(&self, metadata: &ClientMetadata, certificate: &ClientCertificate, now: Timestamp) -> bool {
        if !metadata.token_endpoint_auth_method.is_some_and(|method| self.offers(method)) {
            return false;
        }
        match metadata.token_endpoint_auth_method {
            Some(AuthenticationMethod::TlsClientAuth) => {
                metadata.certificate_subject.as_ref().is_some_and(|subject| certificate.is_of(subject, now))
            }
            Some(AuthenticationMethod::SelfSignedTlsClientAuth) => {
                let key = certificate.public_key(now);
                key.zip(metadata.jwks.as_ref()).is_some_and(|(key, keys)| keys.contain(&key))
            }
            _ => false,
        }
    }

    /// Whether clients may authenticate so here.
    pub(super) fn offers(&self, method: AuthenticationMethod) -> bool {
        let certificates = self.settings.client_certificates.as_ref();
        !method.is_by_certificate() || certificates.and_then(|certificates| certificates.method) == Some(method)
    }

    /// The ways in which clients may authenticate (RFC 8414 §2), public ones left out.
    pub(super) fn authentication_methods(&self) -> Vec<&'static str> {
        use AuthenticationMethod::{
            ClientSecretBasic, ClientSecretPost, PrivateKeyJwt, SelfSignedTlsClientAuth, TlsClientAuth,
        };
        let methods = [ClientSecretBasic, ClientSecretPost, PrivateKeyJwt, TlsClientAuth, SelfSignedTlsClientAuth];
        methods.into_iter().filter(|method| self.offers(*method)).map(AuthenticationMethod::as_str).collect()
    }
}

/// Whether its keys are elsewhere.
fn has_remote_keys(client: &Client) -> bool {
    client.client_type == ClientType::Signing && client.metadata.jwks_uri.is_some()
}

/// A client that registered one method uses no other (RFC 7591 §2).
fn allows(metadata: &ClientMetadata, method: AuthenticationMethod) -> bool {
    metadata.token_endpoint_auth_method.is_none_or(|registered| registered == method)
}
