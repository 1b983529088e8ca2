//! Pushed authorization requests (RFC 9126): a client says over its own connection what it will ask the user for.
//!
//! A request is validated when it is pushed and again whenever it is used, and it is used up by the user's decision.

use super::authorization::AuthorizationFailure;
use super::client_authentication::Caller;
use super::possession::{ShownKeys, named_key};
use super::{Service, Settings};
use crate::domain::authorization::{AuthorizationRequest, Fatal, REQUEST_URI_PREFIX, Rejection, request_uri};
use crate::domain::client::{Client, ClientId};
use crate::domain::dpop::Proof;
use crate::domain::error::{Failure, InvalidRequest, OAuthError, Unavailable};
use crate::domain::parameters::Parameters;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;
use crate::store::PushedRequest;

/// The longest request that is kept, in bytes.
const MAX_REQUEST_LENGTH: usize = 16 << 10;
/// What authenticates the client, and is not part of what it asks for.
const AUTHENTICATION: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// How requests are pushed.
#[derive(Clone, Copy, Debug)]
pub struct PushedRequests {
    /// Whether there are any.
    pub offered: bool,
    /// Whether every request has to be pushed, of whichever client.
    pub required: bool,
    /// Seconds from pushing a request until the user has to be asked.
    pub lifetime: u32,
}

/// What a client gets for the request that it pushed.
pub struct Pushed {
    /// Stands for the request, once.
    pub request_uri: String,
    /// Seconds.
    pub expires_in: u32,
}

impl Service {
    /// RFC 9126 §2.1.
    pub async fn push(&self, caller: &Caller<'_>, shown: &ShownKeys, form: &Parameters) -> Result<Pushed, Failure> {
        form.refuse_repeated()?;
        if self.settings.registration.documents.is_some() {
            Box::pin(self.learn_pushing_client(&caller.authorization, form, caller.address)).await?;
        }
        let client = self.authenticate_client(caller, form).await?;
        if form.get("request_uri").is_some() {
            return Err(InvalidRequest::RequestUriPushed.into());
        }
        let proof = self.proof(shown)?;
        let text = pushed_text(&client, proof.as_ref(), form)?;
        self.validate_pushed(&text, &client)?;
        if let Some(proof) = &proof {
            self.claim_proof(proof).await?;
        }
        let (secret, now) = (self.effects.secret(), self.effects.now());
        let lifetime = self.settings.pushed_requests.lifetime;
        let pushed =
            PushedRequest { id: secret.hash(), client: client.id, request: text, expires_at: now.plus(lifetime) };
        if !self.store.insert_pushed_request(pushed, now).await? {
            let cause = "too many requests of this client wait already".into();
            return Err(Unavailable { operation: "push a request", cause }.into());
        }
        Ok(Pushed { request_uri: format!("{REQUEST_URI_PREFIX}{}", secret.expose()), expires_in: lifetime })
    }

    fn validate_pushed(&self, text: &str, client: &Client) -> Result<(), OAuthError> {
        let parameters = Parameters::parse(text.as_bytes())?;
        let Settings { authorization, implications, resources, .. } = &self.settings;
        match AuthorizationRequest::validate(&parameters, client, authorization, implications, resources) {
            Ok(_) => Ok(()),
            Err(Rejection::Redirect { error, .. }) => Err(error),
            Err(Rejection::Page(_)) => Err(InvalidRequest::RedirectUri.into()),
        }
    }

    /// The request that a `request_uri` stands for (RFC 9126 §4); what else came with it does not count. `after` is when it has to be
    /// good still. `None` when the request is not a pushed one.
    pub(super) async fn pushed(
        &self,
        parameters: &Parameters,
        client: &ClientId,
        after: Timestamp,
    ) -> Result<Option<Parameters>, AuthorizationFailure> {
        let Some(name) = request_uri(parameters)? else { return Ok(None) };
        let text = self.store.pushed_request(SecretHash::of(name), client.clone(), after).await?;
        let text = text.ok_or(Fatal::RequestUri)?;
        Ok(Some(Parameters::parse(text.as_bytes()).map_err(|_| Fatal::Malformed)?))
    }

    /// Uses a pushed request up. `false` when that was done before.
    pub(super) async fn use_up(&self, query: &str, now: Timestamp) -> Result<bool, AuthorizationFailure> {
        let parameters = Parameters::parse(query.as_bytes()).map_err(|_| Fatal::Malformed)?;
        match request_uri(&parameters)? {
            Some(name) => Ok(self.store.use_pushed_request(SecretHash::of(name), now).await?),
            None => Ok(true),
        }
    }
}

/// The request without the client's secrets. A key that the client proves with it binds the code (RFC 9449 §10.1).
fn pushed_text(client: &Client, proof: Option<&Proof>, form: &Parameters) -> Result<String, OAuthError> {
    let mut more = vec![("client_id", client.id.as_str())];
    let key = named_key(form, proof)?;
    if let Some(key) = key.as_ref().filter(|_| form.get("dpop_jkt").is_none()) {
        more.push(("dpop_jkt", key.as_str()));
    }
    let text = form.encode(&AUTHENTICATION, &more);
    if text.len() > MAX_REQUEST_LENGTH { Err(InvalidRequest::TooLarge.into()) } else { Ok(text) }
}
