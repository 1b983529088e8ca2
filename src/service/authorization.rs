//! The authorization endpoint (RFC 6749 §4.1.1) and the user's decision.
//!
//! No row is written before the user approves. What the consent page needs afterwards travels in its form: the
//! authorization request as it came, which is validated again, and a ticket, which binds it to this browser session
//! and names the grant that approving would make. So approving twice makes one grant.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::sign_in::BrowserSession;
use super::{Service, Settings};
use crate::domain::authorization::{AuthorizationRequest, Fatal, Rejection, ResponseTarget, client_id};
use crate::domain::client::{Client, Registrar};
use crate::domain::error::{AccessDenied, InvalidRequest, OAuthError, Unavailable};
use crate::domain::grant::{Confirmation, Restriction, SessionId, Variant};
use crate::domain::parameters::Parameters;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, Token, TokenKind, TokenText};
use crate::store::NewGrant;

/// How long the user may think, in seconds.
const TICKET_LIFETIME: u32 = 600;
const TICKET_TAG: usize = 20;

/// What to show for a valid authorization request.
pub enum AuthorizationStep {
    /// Nobody is signed in.
    SignIn,
    /// Ask the user.
    Consent(Box<Consent>),
}

/// What the consent page says, and what its form carries.
pub struct Consent {
    pub client: Client,
    pub username: String,
    pub redirect_uri: String,
    pub scopes: Vec<DescribedScope>,
    pub ticket: String,
}

/// A scope and what it means.
pub struct DescribedScope {
    pub name: String,
    /// The scope itself where the catalogue does not know it.
    pub description: String,
}

/// Why there is no step to take.
#[derive(Debug)]
pub enum AuthorizationFailure {
    /// Tell the user.
    Page(Fatal),
    /// Tell the client: go there.
    Redirect(String),
    /// Tell the user, who may go there: nobody here knows the client (RFC 9700 §4.11.2).
    Return { client_name: String, location: String },
    /// We cannot say anything about the request.
    Unavailable(Unavailable),
}

/// Why a decision was not taken.
#[derive(Debug)]
pub enum DecisionFailure {
    /// Nobody is signed in any more.
    SignedOut,
    /// The form is not one that this browser session was shown for this request.
    Forged,
    /// It was shown too long ago.
    Expired,
    /// It was used before.
    Used,
    Authorization(AuthorizationFailure),
}

impl From<Fatal> for AuthorizationFailure {
    fn from(fatal: Fatal) -> Self {
        Self::Page(fatal)
    }
}

impl From<Unavailable> for AuthorizationFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl<E: Into<AuthorizationFailure>> From<E> for DecisionFailure {
    fn from(error: E) -> Self {
        Self::Authorization(error.into())
    }
}

impl Service {
    /// `query` is the authorization request as it came; `cookie` the browser's session.
    pub async fn authorize(
        &self,
        query: &str,
        cookie: Option<&str>,
    ) -> Result<AuthorizationStep, AuthorizationFailure> {
        let (client, request) = self.validate(query, 0).await?;
        let session = match self.browser_session(cookie).await {
            Ok(session) => session,
            Err(error) => return Err(self.temporarily_unavailable(&request, &error)),
        };
        let Some(session) = session else { return Ok(AuthorizationStep::SignIn) };
        Ok(AuthorizationStep::Consent(Box::new(Consent {
            ticket: self.ticket(self.effects.grant_id(), &session, query),
            client,
            username: session.session.username,
            redirect_uri: request.target.redirect_uri().to_owned(),
            scopes: request.scopes.iter().map(|scope| self.describe(scope)).collect(),
        })))
    }

    /// Whether a request is valid, and where its answers will go: what a login page has to know.
    pub async fn authorization_target(&self, query: &str) -> Result<(Client, String), AuthorizationFailure> {
        let (client, request) = self.validate(query, 0).await?;
        Ok((client, request.target.redirect_uri().to_owned()))
    }

    /// Takes the user's decision from the consent form; where to send the browser.
    pub async fn decide(&self, form: &Parameters, cookie: Option<&str>) -> Result<String, DecisionFailure> {
        let session = self.browser_session(cookie).await?.ok_or(DecisionFailure::SignedOut)?;
        let query = form.get("request").ok_or(DecisionFailure::Forged)?;
        let grant = self.open_ticket(form.get("ticket").ok_or(DecisionFailure::Forged)?, &session, query)?;
        let (_, request) = self.validate(query, TICKET_LIFETIME).await?;
        let denied = |cause: AccessDenied| request.target.with_error(&cause.into(), &self.settings.issuer);
        let now = self.effects.now();
        if !self.use_up(query, now).await? {
            return Err(DecisionFailure::Used);
        }
        match form.get("decision") {
            Some("approve") => {}
            Some("deny") => return Ok(denied(AccessDenied::ByUser)),
            _ => return Err(Fatal::Malformed.into()),
        }
        let kept = request.scopes.filter(|scope| form.all("scope").any(|kept| kept == scope));
        if kept.is_empty() {
            return Ok(denied(AccessDenied::NoScopeKept));
        }
        self.can_sign()?;
        let confirmation = request.key.map(|key| Confirmation::Jkt(key.as_str().into()));
        let inserted = self
            .store
            .insert_grant(NewGrant {
                id: grant,
                client: request.client,
                subject: session.session.subject,
                session: SessionId::of(&session.id),
                variant: Variant::new(kept, Restriction { resources: request.resources, confirmation }),
                redirect_uri_parameter: request.redirect_uri_parameter,
                challenge: request.challenge,
                now,
                expires_at: now.plus(self.settings.lifetimes.code),
            })
            .await;
        match inserted {
            Ok(true) => Ok(request.target.with_code(self.code(grant, now).expose(), &self.settings.issuer)),
            Ok(false) => Err(DecisionFailure::Used),
            Err(error) => {
                tracing::error!(error = %error, cause = %error.cause, "a grant could not be stored");
                Ok(request.target.with_temporarily_unavailable(&self.settings.issuer))
            }
        }
    }

    /// `patience`: for so many seconds after it has expired, a pushed request is good.
    async fn validate(
        &self,
        query: &str,
        patience: u32,
    ) -> Result<(Client, AuthorizationRequest), AuthorizationFailure> {
        let parameters = Parameters::parse(query.as_bytes()).map_err(|_| Fatal::Malformed)?;
        let client = self.store.client(client_id(&parameters)?).await?;
        let client = client.filter(|client| client.disabled_at.is_none()).ok_or(Fatal::ClientUnknown)?;
        let after = Timestamp::from_unix(self.effects.now().as_unix() - i64::from(patience));
        let pushed = self.pushed(&parameters, &client.id, after).await?;
        let Settings { implications, resources, pushed_requests, .. } = &self.settings;
        let may_come_by_browser = !pushed_requests.required && !client.metadata.require_pushed_authorization_requests;
        match AuthorizationRequest::validate(pushed.as_ref().unwrap_or(&parameters), &client, implications, resources) {
            // RFC 9126 §5 and §6.
            Ok(request) if pushed.is_none() && !may_come_by_browser => {
                Err(self.redirect(&request.target, &InvalidRequest::NotPushed.into()))
            }
            Ok(request) => Ok((client, request)),
            Err(Rejection::Page(fatal)) => Err(fatal.into()),
            Err(Rejection::Redirect { target, error }) => {
                tracing::info!(client_id = %client.id, error = error.code(), cause = %error, "an authorization request was refused");
                match (&client.registrar, self.redirect(&target, &error)) {
                    (Registrar::Itself { .. }, AuthorizationFailure::Redirect(location)) => {
                        Err(AuthorizationFailure::Return { client_name: client.name, location })
                    }
                    (_, failure) => Err(failure),
                }
            }
        }
    }

    fn redirect(&self, target: &ResponseTarget, error: &OAuthError) -> AuthorizationFailure {
        AuthorizationFailure::Redirect(target.with_error(error, &self.settings.issuer))
    }

    fn temporarily_unavailable(&self, request: &AuthorizationRequest, error: &Unavailable) -> AuthorizationFailure {
        tracing::error!(error = %error, cause = %error.cause, "an authorization request could not be answered");
        AuthorizationFailure::Redirect(request.target.with_temporarily_unavailable(&self.settings.issuer))
    }

    pub(super) fn describe(&self, scope: &str) -> DescribedScope {
        let description = self.settings.catalogue.get(scope).map_or(scope, String::as_str);
        DescribedScope { name: scope.to_owned(), description: description.to_owned() }
    }

    fn code(&self, grant: GrantId, now: Timestamp) -> TokenText {
        self.token_keys.seal(&Token {
            kind: TokenKind::AuthorizationCode,
            variant: 0,
            grant,
            generation: 0,
            serial: 0,
            issued_at: now,
            lifetime: self.settings.lifetimes.code,
        })
    }

    /// Grant id and time, sealed together with the session and the request.
    pub(super) fn ticket(&self, grant: GrantId, session: &BrowserSession, query: &str) -> String {
        let now = self.effects.now();
        let mut ticket = Vec::with_capacity(16 + 8 + TICKET_TAG);
        ticket.extend(grant.as_bytes());
        ticket.extend(now.as_unix().to_be_bytes());
        let tag: [u8; TICKET_TAG] = self.form_key.tag(&[session.id.as_bytes(), &ticket, query.as_bytes()]);
        ticket.extend(tag);
        BASE64_URL_SAFE_NO_PAD.encode(ticket)
    }

    pub(super) fn open_ticket(
        &self,
        text: &str,
        session: &BrowserSession,
        query: &str,
    ) -> Result<GrantId, DecisionFailure> {
        let ticket = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| DecisionFailure::Forged)?;
        let ticket: [u8; 16 + 8 + TICKET_TAG] = ticket.try_into().map_err(|_| DecisionFailure::Forged)?;
        let tag: [u8; TICKET_TAG] = std::array::from_fn(|i| ticket[24 + i]);
        if !self.form_key.verifies(&[session.id.as_bytes(), &ticket[..24], query.as_bytes()], &tag) {
            return Err(DecisionFailure::Forged);
        }
        let shown_at = Timestamp::from_unix(i64::from_be_bytes(std::array::from_fn(|i| ticket[16 + i])));
        if self.effects.now() >= shown_at.plus(TICKET_LIFETIME) {
            return Err(DecisionFailure::Expired);
        }
        Ok(GrantId::from_bytes(std::array::from_fn(|i| ticket[i])))
    }
}
