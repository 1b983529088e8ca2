//! Signing out because a client says so (OpenID Connect RP-Initiated Logout 1.0).
//!
//! A client that shows an ID token of the session that is there is believed. Otherwise the user is asked: anybody can send a browser
//! here.

use super::Service;
use super::clients::ClientError;
use super::sign_in::BrowserSession;
use crate::domain::authorization::with_query;
use crate::domain::client::{Client, ClientId};
use crate::domain::error::Unavailable;
use crate::domain::openid::Hint;
use crate::domain::parameters::Parameters;
use crate::domain::redirect_uri::RedirectUri;

/// What to show for a logout request.
pub enum LogoutStep {
    /// Ask the user.
    Confirm(Confirmation),
    /// The browser is signed out. Go there, or say so.
    SignedOut(Option<String>),
}

/// What the page that asks says.
pub struct Confirmation {
    pub username: String,
    /// The client that wants it, if that is known, and where it wants the browser to go.
    pub client_name: Option<String>,
    pub redirect_uri: Option<String>,
}

/// Why nothing was done.
#[derive(Debug)]
pub enum LogoutFailure {
    /// The request makes no sense, or wants to go where its client has not registered to.
    Malformed,
    Unavailable(Unavailable),
}

impl From<Unavailable> for LogoutFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// Who has agreed to the signing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The user has not been asked yet.
    Unasked,
    /// The user has confirmed.
    Confirmed,
}

/// A valid logout request.
struct LogoutRequest {
    client: Option<Client>,
    hint: Option<Hint>,
    redirect_uri: Option<String>,
    state: Option<String>,
}

impl Service {
    /// `request` is the logout request as it came; `cookie` the browser's session.
    pub async fn log_out(
        &self,
        request: &str,
        cookie: Option<&str>,
        agreement: Agreement,
    ) -> Result<LogoutStep, LogoutFailure> {
        let request = self.logout_request(request).await?;
        if let Some(session) = self.own_session(cookie).await? {
            if agreement == Agreement::Unasked && !request.is_about(&session) {
                return Ok(LogoutStep::Confirm(Confirmation {
                    username: session.session.username,
                    client_name: request.client.map(|client| client.name),
                    redirect_uri: request.redirect_uri,
                }));
            }
            self.sign_out(cookie).await?;
        }
        Ok(LogoutStep::SignedOut(request.location()))
    }

    /// Lets a client have browsers sent there after signing out, and nowhere else.
    pub async fn set_post_logout_redirect_uris(
        &self,
        client: ClientId,
        uris: Vec<RedirectUri>,
    ) -> Result<(), ClientError> {
        self.settings.authorization.redirects.check(&uris)?;
        if self.store.set_post_logout_redirect_uris(client.clone(), uris).await? {
            Ok(())
        } else {
            Err(ClientError::Unknown(client))
        }
    }

    /// RP-Initiated Logout §2 and §3: who asks is told by the hint, or else by `client_id`, and the redirect URI is one that it has
    /// registered, byte for byte.
    async fn logout_request(&self, request: &str) -> Result<LogoutRequest, LogoutFailure> {
        let parameters = Parameters::parse(request.as_bytes()).map_err(|_| LogoutFailure::Malformed)?;
        parameters.refuse_repeated().map_err(|_| LogoutFailure::Malformed)?;
        let hint = match parameters.get("id_token_hint") {
            Some(text) => Some(self.hint(text).await?.ok_or(LogoutFailure::Malformed)?),
            None => None,
        };
        let named = parameters.get("client_id");
        let hinted = hint.as_ref().map(|hint| hint.client.as_str());
        if named.zip(hinted).is_some_and(|(named, hinted)| named != hinted) {
            return Err(LogoutFailure::Malformed);
        }
        let client = match hinted.or(named) {
            Some(id) => {
                let id: ClientId = id.parse().map_err(|_| LogoutFailure::Malformed)?;
                self.store.client(id).await?
            }
            None => None,
        };
        let redirect_uri = match (parameters.get("post_logout_redirect_uri"), &client) {
            (None, _) => None,
            (Some(uri), Some(client)) => {
                let registered = self.store.post_logout_redirect_uris(client.id.clone()).await?;
                Some(registered.iter().find(|known| known.as_str() == uri).ok_or(LogoutFailure::Malformed)?.to_string())
            }
            (Some(_), None) => return Err(LogoutFailure::Malformed),
        };
        Ok(LogoutRequest { client, hint, redirect_uri, state: parameters.get("state").map(str::to_owned) })
    }
}

impl LogoutRequest {
    /// Whether the client has shown an ID token of this session.
    fn is_about(&self, session: &BrowserSession) -> bool {
        self.hint
            .as_ref()
            .is_some_and(|hint| hint.subject == session.session.subject && hint.session == Some(session.session.id))
    }

    fn location(self) -> Option<String> {
        let state = self.state.map(|state| ("state", state));
        self.redirect_uri.map(|uri| match state {
            Some(state) => with_query(&uri, &[state]),
            None => uri,
        })
    }
}
