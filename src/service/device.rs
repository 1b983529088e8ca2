//! The device flow (RFC 8628): a device without a browser shows a code, and its user enters it here. The user is asked each time, about
//! whatever app: who sent the code may be anybody.
//!
//! The device code is a signed pointer to the request, and the request has the id of the grant to be. Who enters user codes is signed in,
//! and may enter few that are none: a code is short, so it is not there to be guessed at (RFC 8628 §5.1).

use super::Service;
use super::app_sign_in::{Again, SessionFailure, Switching, Visitor};
use super::authorization::{DecisionFailure, DescribedScope};
use super::client_authentication::Caller;
use super::possession::{BindingKey, ShownKeys, named_key};
use super::sign_in::BrowserSession;
use super::token_endpoint::{FirstVariants, IssuedTokens};
use crate::domain::audit::Event;
use crate::domain::authorization::{Fatal, requested_scopes, with_query};
use crate::domain::client::{Client, GrantType};
use crate::domain::error::{AccessDenied, Failure, InvalidGrant, OAuthError, Unavailable};
use crate::domain::grant::{Confirmation, GrantState, Restriction, Variant};
use crate::domain::openid::SignInRequest;
use crate::domain::parameters::Parameters;
use crate::domain::redirect_rules::RedirectProof;
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, Token, TokenKind, TokenText};
use crate::domain::user_code::UserCode;
use crate::store::{DeviceApproval, DeviceRequest, DeviceState, NewDeviceRequest, Redemption};

/// How long a user has to enter the code and to decide, in seconds.
const LIFETIME: u32 = 600;
/// How long a device waits between two requests, in seconds (RFC 8628 §3.2).
const INTERVAL: u32 = 5;
/// So many codes that are none may a user enter in ten minutes.
const MAX_WRONG_CODES: u32 = 5;
/// So often another user code is drawn where one is taken.
const DRAWS: usize = 3;

/// The answer to a device (RFC 8628 §3.2).
pub struct DeviceAuthorization {
    pub device_code: TokenText,
    pub user_code: UserCode,
    pub verification_uri: String,
    pub verification_uri_complete: String,
    /// Seconds.
    pub expires_in: u32,
    /// Seconds.
    pub interval: u32,
}

/// What to show to a user who connects a device.
pub enum DeviceStep {
    /// Nobody is signed in.
    SignIn,
    /// The same, and there the app signs its users in.
    SignInAt(String),
    /// Ask for the code.
    EnterCode,
    /// The code is none, or none any more.
    UnknownCode,
    /// Too many were none.
    TooManyCodes,
    /// Show the code, and ask whether it is that of the user's own device.
    Confirm(Box<DeviceConsent>),
}

/// What the page that asks for consent says, and what its form carries.
pub struct DeviceConsent {
    pub client: Client,
    pub username: String,
    /// Whether somebody else can sign in here instead.
    pub switching: Switching,
    pub user_code: UserCode,
    pub scopes: Vec<DescribedScope>,
    /// Where they would be good (RFC 8707); none: wherever.
    pub resources: Vec<Box<str>>,
    pub ticket: String,
    /// For how many seconds the device can do all this at most.
    pub lasts: u32,
}

/// What the user decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceDecision {
    Connected,
    Denied,
}

impl Service {
    /// RFC 8628 §3.1. What `resource` (RFC 8707) and `dpop_jkt` (RFC 9449 §10) say holds for the grant, as it does at `/authorize`. No
    /// standard says what a proof means here; it binds the device's code, as one does that comes with a pushed request (RFC 9449 §10.1): a
    /// device that shows its key wants it asked for.
    pub async fn authorize_device(
        &self,
        caller: &Caller<'_>,
        shown: &ShownKeys,
        form: &Parameters,
    ) -> Result<DeviceAuthorization, Failure> {
        form.refuse_repeated()?;
        let client = self.authenticate_client(caller, form).await?;
        if !client.may_use(GrantType::DeviceCode) {
            return Err(OAuthError::UnauthorizedClient.into());
        }
        let scopes = requested_scopes(form, &client, &self.settings.implications)?;
        let resources = self.settings.resources.requested(form)?;
        let scopes = self.settings.resources.scopes_at(&resources, &scopes)?;
        let proof = self.proof(shown)?;
        let key = named_key(form, proof.as_ref())?.filter(|_| self.settings.binds_by_dpop);
        let confirmation = key.map(|key| Confirmation::Jkt(key.as_str().into()));
        let variant = Variant::new(scopes, Restriction { resources, confirmation });
        self.can_sign()?;
        if let Some(proof) = &proof {
            self.claim_proof(proof).await?;
        }
        let now = self.effects.now();
        for _ in 0..DRAWS {
            let user_code = UserCode::from_entropy(self.effects.random_bytes());
            let id = self.effects.grant_id();
            let request = NewDeviceRequest {
                id,
                client: client.id.clone(),
                user_code: self.user_code_tag(user_code),
                variant: variant.clone(),
                interval: INTERVAL,
                now,
                expires_at: now.plus(LIFETIME),
            };
            if self.store.insert_device_request(request).await? {
                let verification_uri = format!("{}/device", self.settings.issuer);
                return Ok(DeviceAuthorization {
                    device_code: self.device_code(id, now),
                    user_code,
                    verification_uri_complete: format!("{verification_uri}?user_code={user_code}"),
                    verification_uri,
                    expires_in: LIFETIME,
                    interval: INTERVAL,
                });
            }
        }
        let cause = "too many devices of this client wait for a user".into();
        Err(Unavailable { operation: "insert a device request", cause }.into())
    }

    /// RFC 8628 §3.4. Only the device comes here, so a code that is used again was not stolen on the way, and nothing is revoked.
    pub(super) async fn poll_for_device(
        &self,
        client: &Client,
        key: Option<&BindingKey>,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        let now = self.effects.now();
        let code =
            self.presented(form.require("device_code")?, TokenKind::DeviceCode).ok_or(InvalidGrant::DeviceCode)?;
        if code.is_expired(now) {
            return Err(OAuthError::ExpiredToken.into());
        }
        let state = self.store.poll_device(code.grant, client.id.clone(), now).await?;
        match state.ok_or(InvalidGrant::DeviceCode)? {
            DeviceState::Pending => Err(OAuthError::AuthorizationPending.into()),
            DeviceState::Hasty => Err(OAuthError::SlowDown.into()),
            DeviceState::Denied => Err(AccessDenied::ByUser.into()),
            DeviceState::Approved => {
                // Before anything is used up.
                let signer = self.id_token_signer(client).await?;
                // What the grant says does not change before it is redeemed.
                let pending = self.store.grant(code.grant).await?.filter(|grant| grant.state == GrantState::Pending);
                let pending = pending.filter(|grant| grant.client == client.id).ok_or(InvalidGrant::DeviceCode)?;
                let jwt = self.access_token_signer(client).await?;
                let key = self.claim_key(key).await?;
                let FirstVariants { variant, variants } = self.first_variants(client, &pending, key, form)?;
                let redemption = Redemption {
                    grant: code.grant,
                    client: client.id.clone(),
                    redirect_uri: RedirectProof::Exactly(String::new()),
                    challenge: None,
                    variant,
                    variants,
                    now,
                    times: self.times(client, now),
                };
                let grant = self.store.redeem(redemption).await?.ok_or(InvalidGrant::DeviceCode)?;
                let tokens = self.tokens_of(client, &grant).ok_or(InvalidGrant::DeviceCode)?;
                let tokens = self.in_format(tokens, &grant, jwt.as_ref()).await?;
                self.with_id_token(tokens, &grant, signer, grant.authentication.clone(), now).await
            }
        }
    }

    /// `user_code` is what the user entered, or what the device put into the link (RFC 8628 §3.3.1).
    pub async fn device_step(&self, user_code: Option<&str>, visitor: &Visitor) -> Result<DeviceStep, SessionFailure> {
        let Some(session) = self.browser_session(visitor).await?.filter(BrowserSession::is_for_pages) else {
            if self.settings.login.has_sessions() {
                return Ok(DeviceStep::SignIn);
            }
            let query = user_code.map(|code| ("user_code", code.to_owned()));
            let page = self.app_login_page(&with_query("/device", query.as_slice()), Again::No);
            return page.map(DeviceStep::SignInAt).ok_or(SessionFailure::Refused);
        };
        let Some(text) = user_code else { return Ok(DeviceStep::EnterCode) };
        let Ok(user_code) = text.parse() else { return Ok(DeviceStep::UnknownCode) };
        let now = self.effects.now();
        let subject = &session.session.subject;
        if !self.remember_user(&session).await? {
            return Err(SessionFailure::Refused);
        }
        if self.store.count_user_code(subject.clone(), now).await? > MAX_WRONG_CODES {
            tracing::warn!(sub = subject.as_str(), "a user entered too many codes that are none");
            return Ok(DeviceStep::TooManyCodes);
        }
        let waiting = self.waiting_device(user_code, now).await?;
        let Some((request, client)) = waiting.filter(|(_, client)| self.is_for(client, &session).is_ok()) else {
            return Ok(DeviceStep::UnknownCode);
        };
        self.store.forgive_user_code(subject.clone()).await?;
        Ok(DeviceStep::Confirm(Box::new(DeviceConsent {
            ticket: self.ticket(request.id, &session, &sealed_with(user_code)),
            lasts: self.lasts(&client),
            scopes: self.described(&client, request.variant.scopes.iter(), &ScopeSet::default()),
            client,
            username: session.session.username,
            switching: self.switching(&format!("/device?user_code={user_code}")),
            user_code,
            resources: request.variant.resources().to_vec(),
        })))
    }

    /// Takes the user's decision from the form.
    pub async fn decide_device(&self, form: &Parameters, visitor: &Visitor) -> Result<DeviceDecision, DecisionFailure> {
        let session = self.browser_session(visitor).await?.filter(BrowserSession::is_for_pages);
        let session = session.ok_or(DecisionFailure::SignedOut)?;
        let user_code: UserCode =
            form.get("user_code").and_then(|text| text.parse().ok()).ok_or(DecisionFailure::Forged)?;
        let ticket = form.get("ticket").ok_or(DecisionFailure::Forged)?;
        let id = self.open_ticket(ticket, &session, &sealed_with(user_code))?;
        let now = self.effects.now();
        let waiting = self.waiting_device(user_code, now).await?.filter(|(request, _)| request.id == id);
        let (request, client) = waiting.ok_or(DecisionFailure::Used)?;
        let kept = self.kept(&client, &request.variant.scopes, form).unwrap_or_default();
        let approved = match form.get("decision") {
            Some("approve") => !kept.is_empty(),
            Some("deny") => false,
            _ => return Err(Fatal::Malformed.into()),
        };
        if !approved {
            if !self.store.deny_device(id, now).await? {
                return Err(DecisionFailure::Used);
            }
            let (subject, client) = (&session.session.subject, &request.client);
            self.audit.record(Event::ConsentDenied { subject, client });
            return Ok(DeviceDecision::Denied);
        }
        self.approve_device(request, &session, kept, now).await
    }

    async fn approve_device(
        &self,
        request: DeviceRequest,
        session: &BrowserSession,
        kept: ScopeSet,
        now: Timestamp,
    ) -> Result<DeviceDecision, DecisionFailure> {
        let approval = DeviceApproval {
            id: request.id,
            subject: session.session.subject.clone(),
            session: session.session.id,
            authentication: session.authentication(&SignInRequest::default()),
            variant: request.variant.with_scopes(kept),
            now,
        };
        if !self.store.approve_device(approval).await? {
            return Err(DecisionFailure::Used);
        }
        let (subject, client, grant) = (&session.session.subject, &request.client, request.id);
        self.audit.record(Event::GrantMade { subject, client, grant });
        self.audit.record(Event::ConsentGiven { subject, client, grant });
        Ok(DeviceDecision::Connected)
    }

    /// The request with this code that nobody has decided yet, and the client that makes it.
    async fn waiting_device(
        &self,
        user_code: UserCode,
        now: Timestamp,
    ) -> Result<Option<(DeviceRequest, Client)>, Unavailable> {
        let Some(request) = self.store.device_request(self.user_code_tag(user_code), now).await? else {
            return Ok(None);
        };
        let client = self.store.client(request.client.clone()).await?;
        let client = client.filter(|client| client.disabled_at.is_none() && client.may_use(GrantType::DeviceCode));
        Ok(client.map(|client| (request, client)))
    }

    fn device_code(&self, id: GrantId, now: Timestamp) -> TokenText {
        self.token_keys.seal(&Token {
            kind: TokenKind::DeviceCode,
            variant: 0,
            grant: id,
            generation: 0,
            serial: 0,
            issued_at: now,
            lifetime: LIFETIME,
        })
    }

    /// What a user code is found by. Whoever reads the database cannot enter it.
    fn user_code_tag(&self, user_code: UserCode) -> [u8; 16] {
        self.form_key.tag(&[b"user code", user_code.as_bytes()])
    }
}

/// What takes the place of the authorization request in a ticket. None of those is like this: they name a client.
fn sealed_with(user_code: UserCode) -> String {
    format!("/device?{user_code}")
}
