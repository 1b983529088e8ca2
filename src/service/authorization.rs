//! The authorization endpoint (RFC 6749 §4.1.1) and the user's decision.
//!
//! No row is written before the user approves. What the consent page needs afterwards travels in its form: the
//! authorization request as it came, which is validated again, and a ticket, which binds it to this browser session
//! and names the grant that approving would make. So approving twice makes one grant.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::app_sign_in::{Again, SessionFailure, Switching, Visitor};
use super::sign_in::BrowserSession;
use super::{Service, Settings};
use crate::domain::audit::Event;
use crate::domain::authorization::{
    AuthorizationRequest, AuthorizationResponse, Fatal, Rejection, ResponseTarget, client_id,
};
use crate::domain::authorization_rules::{AuthorizationRules, ErrorsOf};
use crate::domain::client::{Client, GrantType};
use crate::domain::error::{AccessDenied, Failure, InvalidRequest, OAuthError, Unavailable};
use crate::domain::grant::{Confirmation, Restriction, SessionId, SubjectId, Variant};
use crate::domain::language::ScopeMeaning;
use crate::domain::openid::{Prompt, SignInRequest};
use crate::domain::parameters::Parameters;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, Token, TokenKind, TokenText};
use crate::store::{Basis, NewGrant};

/// How long the user may think, in seconds.
pub(super) const TICKET_LIFETIME: u32 = 600;
const TICKET_TAG: usize = 20;
/// Stands with the name of a session where other tags of the same key have a hash.
const TICKET_LABEL: &[u8; 16] = b"scopegate/ticket";

/// What a client gets, and why.
pub(super) struct Allowance {
    pub(super) scopes: ScopeSet,
    pub(super) basis: Basis,
}

/// What a user decided on a consent page.
pub struct Decision<'a> {
    /// The request that it is about.
    pub request: Option<&'a str>,
    /// What the page was sealed with.
    pub ticket: Option<&'a str>,
    /// `None`: it is not clear.
    pub verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Approve,
    Deny,
}

/// What to show for a valid authorization request.
pub enum AuthorizationStep {
    /// Nobody is signed in, or not lately enough.
    SignIn,
    /// The same, and there the app signs its users in.
    SignInAt(String),
    /// Ask the user.
    Consent(Box<Consent>),
    /// The same, and the app does so, about this session.
    ConsentAtApp(SessionId),
    /// Tell the client: there is nothing to ask.
    Answer(AuthorizationResponse),
}

/// What a login page has to know.
pub struct LoginPrompt {
    pub client: Client,
    /// Where the answer will go.
    pub redirect_uri: String,
    /// Who the client thinks is there.
    pub login_hint: Option<String>,
    /// Which languages the client asks for.
    pub ui_locales: Option<String>,
}

/// What the consent page says, and what its form carries.
pub struct Consent {
    pub client: Client,
    /// Whether this user made the client.
    pub is_own: bool,
    pub username: String,
    /// Where somebody else can sign in instead.
    pub switching: Switching,
    pub redirect_uri: String,
    pub scopes: Vec<DescribedScope>,
    /// Where they would be good (RFC 8707); none: wherever.
    pub resources: Vec<Box<str>>,
    pub ticket: String,
    /// For how many seconds the client can do all this at most.
    pub lasts: u32,
    /// Which languages the client asks for.
    pub ui_locales: Option<String>,
}

/// A scope and what it means.
pub struct DescribedScope {
    pub name: String,
    pub meaning: ScopeMeaning,
    /// The user cannot allow the rest without it.
    pub is_required: bool,
    /// The user allowed it before.
    pub was_allowed: bool,
}

/// Why there is no step to take.
#[derive(Debug)]
pub enum AuthorizationFailure {
    /// Tell the user.
    Page(Fatal),
    /// Tell the client.
    Answer(AuthorizationResponse),
    /// Tell the user, who may go there: nobody here knows the client (RFC 9700 §4.11.2).
    Return { client_name: String, location: String },
    /// Tell the user: it is not known who this is, or it is somebody who is not let in.
    NotAdmitted,
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

impl From<SessionFailure> for AuthorizationFailure {
    fn from(failure: SessionFailure) -> Self {
        match failure {
            SessionFailure::Refused => Self::NotAdmitted,
            SessionFailure::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl<E: Into<AuthorizationFailure>> From<E> for DecisionFailure {
    fn from(error: E) -> Self {
        Self::Authorization(error.into())
    }
}

impl Service {
    /// `query` is the authorization request as it came; `address` is where it comes from.
    pub async fn authorize(
        &self,
        query: &str,
        visitor: &Visitor,
        address: Option<IpAddr>,
    ) -> Result<AuthorizationStep, AuthorizationFailure> {
        if self.settings.registration.documents.is_some() {
            Box::pin(self.learn_asking_client(query, address)).await?;
        }
        let (client, request) = self.validate(query, self.patience_for(query, visitor)).await?;
        let refused = |error: OAuthError| Err(self.answer(&request.target, &error));
        let hinted = match self.hinted_subject(&client, &request).await {
            Ok(hinted) => hinted,
            Err(Failure::Refused(error)) => return refused(error),
            Err(Failure::Unavailable(error)) => return Err(self.temporarily_unavailable(&request, &error)),
        };
        // The app's sign-in is of no class that is known here.
        if request.sign_in.asks_for_class && !self.settings.login.is_built_in() {
            return refused(OAuthError::UnmetAuthenticationRequirements);
        }
        let silently = request.sign_in.prompt == Prompt::None;
        let session = match self.browser_session(visitor).await {
            Ok(session) => session,
            Err(SessionFailure::Refused) if silently => return refused(OAuthError::LoginRequired),
            Err(SessionFailure::Unavailable(error)) if silently || self.settings.login.has_sessions() => {
                return Err(self.temporarily_unavailable(&request, &error));
            }
            Err(failure) => return Err(failure.into()),
        };
        // OpenID Connect Core §3.1.2.6.
        let session = match session {
            Some(session) if self.signed_in_lately_enough(&session, &request, query) => session,
            _ if silently => return refused(OAuthError::LoginRequired),
            _ if self.settings.login.has_sessions() => return Ok(AuthorizationStep::SignIn),
            session => return self.sign_in_at_app(session.as_ref(), &request, query),
        };
        if hinted.is_some_and(|subject| subject != session.session.subject) {
            return refused(OAuthError::LoginRequired);
        }
        self.is_for(&client, &session)?;
        let standing = match self.standing(&client, &request, &session).await {
            Ok(standing) => standing,
            Err(error) => return Err(self.temporarily_unavailable(&request, &error)),
        };
        if standing.is_other() {
            return refused(AccessDenied::OtherScopes.into());
        }
        let before = standing.before().clone();
        if !request.sign_in.prompt.asks_for_consent()
            && let Some(basis) = standing.basis()
        {
            return self.authorize_unasked(query, request, session, basis).await.map(AuthorizationStep::Answer);
        }
        if silently {
            return refused(OAuthError::ConsentRequired);
        }
        if self.settings.login.app_pages().is_some_and(|pages| pages.consent.is_some()) {
            return Ok(AuthorizationStep::ConsentAtApp(session.session.id));
        }
        Ok(AuthorizationStep::Consent(Box::new(Consent {
            ticket: self.ticket(self.effects.grant_id(), &session, query),
            lasts: self.lasts(&client),
            scopes: self.described(&client, request.scopes.iter(), &before),
            is_own: client.owner() == Some(&session.session.subject),
            client,
            username: session.session.username,
            switching: self.switching(&format!("{}?{query}", self.settings.paths.authorize.first())),
            redirect_uri: request.target.redirect_uri().to_owned(),
            resources: request.resources,
            ui_locales: request.sign_in.ui_locales,
        })))
    }

    /// A pushed request may have expired while its user was at the app.
    fn patience_for(&self, query: &str, visitor: &Visitor) -> u32 {
        let patience = self.settings.login.patience();
        let is_back = |cookie| self.signed_in_for(&SecretHash::of(cookie), query);
        if patience > 0 && visitor.cookie.as_deref().is_some_and(is_back) { patience } else { 0 }
    }

    /// To the app, once: who comes back from there as before would be sent there for ever.
    fn sign_in_at_app(
        &self,
        session: Option<&BrowserSession>,
        request: &AuthorizationRequest,
        query: &str,
    ) -> Result<AuthorizationStep, AuthorizationFailure> {
        let was_there = self.was_sent_to_sign_in(query).is_some();
        let again = match session {
            Some(session) if was_there || session.signed_in_at().is_none() => {
                tracing::warn!("a client wants a new sign-in, and the app reports none (auth_time)");
                return Err(self.answer(&request.target, &OAuthError::LoginRequired));
            }
            None if was_there => return Err(AuthorizationFailure::NotAdmitted),
            Some(_) => Again::Yes,
            None => Again::No,
        };
        let page = self.app_login_page(
            &format!("{}?{}", self.settings.paths.authorize.first(), self.sent_to_sign_in(query)),
            again,
        );
        page.map(AuthorizationStep::SignInAt).ok_or(AuthorizationFailure::NotAdmitted)
    }

    /// What a login page for a request has to know, if the request is valid.
    pub async fn login_prompt(&self, query: &str) -> Result<LoginPrompt, AuthorizationFailure> {
        let (client, request) = self.validate(query, 0).await?;
        let redirect_uri = request.target.redirect_uri().to_owned();
        let SignInRequest { login_hint, ui_locales, .. } = request.sign_in;
        Ok(LoginPrompt { client, redirect_uri, login_hint, ui_locales })
    }

    /// With `apps.owner_only`, an app that another user made does not exist.
    pub(super) fn is_for(&self, client: &Client, session: &BrowserSession) -> Result<(), Fatal> {
        let is_of_another = client.owner().is_some_and(|owner| *owner != session.session.subject);
        if self.settings.apps.owner_only && is_of_another { Err(Fatal::ClientUnknown) } else { Ok(()) }
    }

    /// Without asking. What this rests on may have ended meanwhile: then the user is asked next time.
    async fn authorize_unasked(
        &self,
        query: &str,
        request: AuthorizationRequest,
        session: BrowserSession,
        basis: Basis,
    ) -> Result<AuthorizationResponse, AuthorizationFailure> {
        if !self.use_up(query, self.effects.now()).await? {
            return Err(Fatal::RequestUri.into());
        }
        let (target, scopes, prompt) = (request.target.clone(), request.scopes.clone(), request.sign_in.prompt);
        let answer = self.grant(self.effects.grant_id(), session, request, Allowance { scopes, basis }).await?;
        Ok(answer.unwrap_or_else(|| match prompt {
            Prompt::None => self.refusal(&target, &OAuthError::ConsentRequired),
            _ => target.with_temporarily_unavailable(&self.settings.issuer),
        }))
    }

    /// Takes the user's decision from the form of a consent page; what to tell the client.
    pub async fn decide(
        &self,
        decision: Decision<'_>,
        form: &Parameters,
        visitor: &Visitor,
    ) -> Result<AuthorizationResponse, DecisionFailure> {
        let session = self.browser_session(visitor).await?.ok_or(DecisionFailure::SignedOut)?;
        let Decision { request: query, ticket, verdict } = decision;
        let query = query.ok_or(DecisionFailure::Forged)?;
        let grant = self.open_ticket(ticket.ok_or(DecisionFailure::Forged)?, &session, query)?;
        let (client, request) = self.validate(query, TICKET_LIFETIME + self.settings.login.patience()).await?;
        self.is_for(&client, &session)?;
        let denied = |cause: AccessDenied| {
            let (subject, client) = (&session.session.subject, &request.client);
            self.audit.record(Event::ConsentDenied { subject, client });
            self.refusal(&request.target, &cause.into())
        };
        if !self.use_up(query, self.effects.now()).await? {
            return Err(DecisionFailure::Used);
        }
        match verdict {
            Some(Verdict::Approve) => {}
            Some(Verdict::Deny) => return Ok(denied(AccessDenied::ByUser)),
            None => return Err(Fatal::Malformed.into()),
        }
        let Some(scopes) = self.kept(&client, &request.scopes, form) else {
            return Ok(denied(AccessDenied::NoScopeKept));
        };
        let standing = self.standing(&client, &request, &session).await?;
        if standing.is_other() {
            return Ok(self.refusal(&request.target, &AccessDenied::OtherScopes.into()));
        }
        let basis = self.decided(standing, &request, &scopes);
        let subject = session.session.subject.clone();
        let answer = self.grant(grant, session, request, Allowance { scopes, basis }).await?;
        let answer = answer.ok_or(DecisionFailure::Used)?;
        self.audit.record(Event::ConsentGiven { subject: &subject, client: &client.id, grant });
        Ok(answer)
    }

    /// Makes a grant, and the answer with its code. `None` when the grant was made before, or its client or user or what it rests on is
    /// gone.
    pub(super) async fn grant(
        &self,
        id: GrantId,
        session: BrowserSession,
        request: AuthorizationRequest,
        allowance: Allowance,
    ) -> Result<Option<AuthorizationResponse>, Unavailable> {
        self.can_sign()?;
        let target = request.target.clone();
        match self.new_code(id, session, request, allowance).await {
            Ok(code) => Ok(code.map(|code| target.with_code(code.expose(), &self.settings.issuer))),
            Err(error) => {
                tracing::error!(error = %error, cause = %error.cause, "a grant could not be stored");
                Ok(Some(target.with_temporarily_unavailable(&self.settings.issuer)))
            }
        }
    }

    /// As [`Self::grant`], and the code alone.
    pub(super) async fn new_code(
        &self,
        id: GrantId,
        session: BrowserSession,
        request: AuthorizationRequest,
        Allowance { scopes, basis }: Allowance,
    ) -> Result<Option<TokenText>, Unavailable> {
        let now = self.effects.now();
        let authentication = session.authentication(&request.sign_in);
        let named = self.named_user(&session);
        let confirmation = request.key.map(|key| Confirmation::Jkt(key.as_str().into()));
        let (subject, client) = (session.session.subject.clone(), request.client.clone());
        let inserted = self
            .store
            .insert_grant(NewGrant {
                id,
                client: request.client,
                subject: session.session.subject,
                named,
                session: session.session.id,
                variant: Variant::new(scopes, Restriction { resources: request.resources, confirmation }),
                redirect_uri: request.redirect_uri_at_token,
                challenge: request.challenge,
                now,
                expires_at: now.plus(self.settings.lifetimes.code),
                authentication: Some(authentication),
                basis,
            })
            .await?;
        if inserted {
            self.audit.record(Event::GrantMade { subject: &subject, client: &client, grant: id });
        }
        Ok(inserted.then(|| self.code(id, now)))
    }

    /// Whom the client thinks is there, if its hint is an ID token that we gave to it.
    pub(super) async fn hinted_subject(
        &self,
        client: &Client,
        request: &AuthorizationRequest,
    ) -> Result<Option<SubjectId>, Failure> {
        let Some(text) = request.sign_in.id_token_hint.as_deref().filter(|_| self.settings.openid.is_some()) else {
            return Ok(None);
        };
        match self.hint(text).await? {
            Some(hint) if hint.client == client.id.as_str() => Ok(Some(hint.subject)),
            Some(_) | None => Err(InvalidRequest::IdTokenHint.into()),
        }
    }

    /// Whether a session is new enough for the request. One that was opened for this very request is. `max_age=0` says the same as
    /// `prompt=login` (OpenID Connect Core §3.1.2.1).
    pub(super) fn signed_in_lately_enough(
        &self,
        session: &BrowserSession,
        request: &AuthorizationRequest,
        query: &str,
    ) -> bool {
        let Some(signed_in_at) = session.signed_in_at() else {
            return !request.sign_in.prompt.asks_to_sign_in() && request.sign_in.max_age.is_none();
        };
        if session.is_for_one_request() && !self.signed_in_for(&session.id, query) {
            return false;
        }
        let age = self.effects.now().seconds_since(signed_in_at);
        let suffices = !request.sign_in.prompt.asks_to_sign_in()
            && request.sign_in.max_age.is_none_or(|max_age| max_age > 0 && age <= max_age);
        let since_sent = || self.was_sent_to_sign_in(query).is_some_and(|sent_at| signed_in_at >= sent_at);
        suffices
            || (age < TICKET_LIFETIME
                && if session.user.is_some() { since_sent() } else { self.signed_in_for(&session.id, query) })
    }

    /// `patience`: for so many seconds after it has expired, a pushed request is good.
    pub(super) async fn validate(
        &self,
        query: &str,
        patience: u32,
    ) -> Result<(Client, AuthorizationRequest), AuthorizationFailure> {
        let parameters = self.settings.authorization.parameters(query)?;
        let client = self.store.client(client_id(&parameters)?).await?;
        let client = client.filter(|client| client.disabled_at.is_none()).ok_or(Fatal::ClientUnknown)?;
        let after = Timestamp::from_unix(self.effects.now().as_unix() - i64::from(patience));
        let pushed = self.pushed(&parameters, &client.id, after).await?;
        let asked = pushed.as_ref().unwrap_or(&parameters);
        match self.valid_request(asked, &client, &self.settings.authorization, pushed.is_some()) {
            Ok(request) => Ok((client, request)),
            Err(Rejection::Page(fatal)) => Err(fatal.into()),
            Err(Rejection::Redirect { target, error }) => {
                tracing::info!(client_id = %client.id, error = error.code(), cause = %error, "an authorization request was refused");
                let goes_back =
                    client.is_verified() || self.settings.authorization.answers.errors_of == ErrorsOf::AllClients;
                Err(match self.refusal(&target, &error) {
                    answer if goes_back => AuthorizationFailure::Answer(answer),
                    AuthorizationResponse::Redirect(location) | AuthorizationResponse::RedirectFound(location) => {
                        AuthorizationFailure::Return { client_name: client.name, location }
                    }
                    // A form would send itself.
                    AuthorizationResponse::FormPost { .. } => Fatal::Malformed.into(),
                    answer @ (AuthorizationResponse::Show { .. } | AuthorizationResponse::ShowError { .. }) => {
                        AuthorizationFailure::Answer(answer)
                    }
                })
            }
        }
    }

    /// Whether a request of a client is valid by these rules.
    pub(super) fn valid_request(
        &self,
        asked: &Parameters,
        client: &Client,
        rules: &AuthorizationRules,
        is_pushed: bool,
    ) -> Result<AuthorizationRequest, Rejection> {
        let Settings { implications, resources, pushed_requests, .. } = &self.settings;
        let request = AuthorizationRequest::validate(asked, client, rules, implications, resources)?;
        // RFC 9126 §5 and §6.
        if !is_pushed && (pushed_requests.required || client.metadata.require_pushed_authorization_requests) {
            return Err(Rejection::Redirect { target: request.target, error: InvalidRequest::NotPushed.into() });
        }
        Ok(AuthorizationRequest { key: request.key.filter(|_| self.settings.binds_by_dpop), ..request })
    }

    fn answer(&self, target: &ResponseTarget, error: &OAuthError) -> AuthorizationFailure {
        AuthorizationFailure::Answer(self.refusal(target, error))
    }

    /// What a client gets that gets no code.
    pub(super) fn refusal(&self, target: &ResponseTarget, error: &OAuthError) -> AuthorizationResponse {
        target.with_error(self.settings.authorization.spellings.spell(error), &self.settings.issuer)
    }

    fn temporarily_unavailable(&self, request: &AuthorizationRequest, error: &Unavailable) -> AuthorizationFailure {
        tracing::error!(error = %error, cause = %error.cause, "an authorization request could not be answered");
        AuthorizationFailure::Answer(request.target.with_temporarily_unavailable(&self.settings.issuer))
    }

    pub(super) fn describe(&self, scope: &str) -> DescribedScope {
        let standard = self.settings.standard_scopes().contains(&scope);
        let otherwise = if standard { ScopeMeaning::Standard } else { ScopeMeaning::Unknown };
        let meaning = self.settings.catalogue.get(scope).cloned().unwrap_or(otherwise);
        DescribedScope { name: scope.to_owned(), meaning, is_required: false, was_allowed: false }
    }

    /// For how many seconds a client can do at most what a user allows it now. 0: until that is revoked.
    pub(super) fn lasts(&self, client: &Client) -> u32 {
        let lifetimes = client.lifetimes(&self.settings.lifetimes);
        if client.may_use(GrantType::RefreshToken) { lifetimes.refresh_token_absolute } else { lifetimes.access_token }
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
        let tag: [u8; TICKET_TAG] = self.form_key.tag(&ticket_parts(session, &ticket, query));
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
        if !self.form_key.verifies(&ticket_parts(session, &ticket[..24], query), &tag) {
            return Err(DecisionFailure::Forged);
        }
        let shown_at = Timestamp::from_unix(i64::from_be_bytes(std::array::from_fn(|i| ticket[16 + i])));
        if self.effects.now() >= shown_at.plus(TICKET_LIFETIME) {
            return Err(DecisionFailure::Expired);
        }
        Ok(GrantId::from_bytes(std::array::from_fn(|i| ticket[i])))
    }
}

/// A session keeps its name when its user signs in again, so what one tab shows stays good when that happens in another one.
fn ticket_parts<'a>(session: &'a BrowserSession, ticket: &'a [u8], query: &'a str) -> [&'a [u8]; 4] {
    [session.session.id.as_bytes(), TICKET_LABEL, ticket, query.as_bytes()]
}
