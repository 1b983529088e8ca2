//! Interactions (`login.method = "challenge"`): the browser is sent to the app with a challenge, the app says over gRPC or REST what came
//! of it, and the browser brings that back, once.
//!
//! A challenge that leaks decides nothing: only the app, which is a caller with the permission `interact`, can answer it. An answer that
//! leaks is worth nothing either: only the browser that was sent to the app can bring it. So nobody is signed in as somebody else by an
//! address that somebody else made.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Service;
use super::authorization::{Allowance, AuthorizationFailure, TICKET_LIFETIME};
use super::sign_in::{BrowserSession, SignedIn, without_proof};
use crate::domain::app_user::{AppUser, MalformedUser, UserClaims};
use crate::domain::audit::Event;
use crate::domain::authorization::{AuthorizationRequest, AuthorizationResponse, Fatal, with_query};
use crate::domain::client::Client;
use crate::domain::error::{AccessDenied, Unavailable};
use crate::domain::grant::{SessionId, SubjectId};
use crate::domain::interaction::{
    AppSignIn, Decision, Interaction, Kind, MAX_REMEMBER, Rejection, Sealed, Unacceptable,
};
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::secret::{RandomSecret, SecretHash};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;
use crate::store::{Basis, DecidedInteraction, NamedUser, NewSession, Session, SignInCompletion};

/// What the tags are of. The hash of the issuer stands before it: servers with one secret and two issuers are strangers here.
const CHALLENGE_LABEL: &[u8; 24] = b"scopegate/interaction!!!";
const BROWSER_LABEL: &[u8; 24] = b"scopegate/same-browser!!";
/// For so long may a browser be on its way back when the challenge expires, in seconds.
const WAY_BACK: u32 = 60;

/// Where the app asks users in our place.
#[derive(Clone, Debug)]
pub struct AppPages {
    pub login: OutgoingUrl,
    /// `None`: our own page asks for consent.
    pub consent: Option<OutgoingUrl>,
    /// How long the user and the app have, in seconds.
    pub lifetime: u32,
    /// Whether the app may answer over HTTP, too.
    pub rest: bool,
}

/// What a browser is known by while it is at the app: the end of the name of a cookie, and its value. Those that open several tabs at once
/// may have several.
#[derive(Clone, Debug)]
pub struct BrowserMark {
    pub name: String,
    pub value: String,
}

/// A browser that goes to the app.
pub struct ToApp {
    pub location: String,
    pub mark: BrowserMark,
}

/// What the app gets to know of an interaction.
pub struct Asked {
    pub kind: Kind,
    /// `None`: no client asks. A user connects a device, or manages apps.
    pub client: Option<Client>,
    /// The URL of ours that the browser was at, and can go to again.
    pub request_url: String,
    pub request: Option<AuthorizationRequest>,
    /// Whether a sign-in of before does not do.
    pub must_sign_in: bool,
    /// Who is there, if it is about consent.
    pub session: Option<Session>,
}

/// Whom the app signed in.
pub struct SignInAnswer {
    pub subject: String,
    pub claims: UserClaims,
    pub sign_in: AppSignIn,
    /// For so many seconds; 0: as configured.
    pub remember_for: u32,
}

/// What the user allowed.
pub struct ConsentAnswer {
    pub scopes: Vec<String>,
    pub resources: Vec<String>,
    /// Whether it need not be asked again.
    pub remember: bool,
    pub claims: UserClaims,
}

/// Why an app is told nothing of an interaction, or cannot answer it.
#[derive(Debug)]
pub enum InteractionFailure {
    /// It is none, or none of this kind or this issuer.
    Unknown,
    /// It was used or has expired. The browser can start again there.
    Over {
        restart: String,
    },
    /// That is no answer.
    Unacceptable(Unacceptable),
    Unavailable(Unavailable),
}

/// What a browser has brought back.
pub enum Completed {
    /// A session, and where to go on.
    SignedIn { signed_in: SignedIn, next: String },
    /// What to tell the client.
    Answer(AuthorizationResponse),
}

/// Why what a browser brought back does nothing.
#[derive(Debug)]
pub enum CompletionFailure {
    /// It was given to another browser.
    Forged,
    /// It was used before, or is too late, or is none. Start again there, if that is known.
    Over(Option<String>),
    /// The app has not let the user in.
    Rejected,
    Authorization(AuthorizationFailure),
}

impl From<Unavailable> for InteractionFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Unacceptable> for InteractionFailure {
    fn from(error: Unacceptable) -> Self {
        Self::Unacceptable(error)
    }
}

impl<E: Into<AuthorizationFailure>> From<E> for CompletionFailure {
    fn from(error: E) -> Self {
        Self::Authorization(error.into())
    }
}

/// A challenge and what it says.
struct Opened {
    text: String,
    interaction: Interaction,
}

impl Service {
    /// Sends a browser to the app to sign in, for an authorization request or a path of ours.
    pub async fn login_at_app(&self, request: &str, marks: &[BrowserMark]) -> Result<ToApp, AuthorizationFailure> {
        let pages = self.settings.login.app_pages().ok_or(AuthorizationFailure::NotAdmitted)?;
        let request = without_proof(request);
        let own = if is_path(request) { None } else { self.login_prompt(request).await?.client.metadata.login_url };
        let interaction = self.interaction(Kind::Login, request, None);
        self.to_app(own.as_ref().unwrap_or(&pages.login), "login_challenge", interaction, marks)
    }

    /// Sends a browser to the app that asks for consent.
    pub fn consent_at_app(
        &self,
        request: &str,
        session: SessionId,
        marks: &[BrowserMark],
    ) -> Result<ToApp, AuthorizationFailure> {
        let page = self.settings.login.app_pages().and_then(|pages| pages.consent.as_ref());
        let interaction = self.interaction(Kind::Consent, without_proof(request), Some(session));
        self.to_app(page.ok_or(AuthorizationFailure::NotAdmitted)?, "consent_challenge", interaction, marks)
    }

    fn interaction(&self, kind: Kind, request: &str, session: Option<SessionId>) -> Interaction {
        Interaction {
            kind,
            id: self.effects.random_bytes(),
            made_at: self.effects.now(),
            browser: [0; 16],
            session: session.map(|session| *session.as_bytes()).unwrap_or_default(),
            request: request.to_owned(),
        }
    }

    fn to_app(
        &self,
        page: &OutgoingUrl,
        parameter: &str,
        mut interaction: Interaction,
        marks: &[BrowserMark],
    ) -> Result<ToApp, AuthorizationFailure> {
        let new = || BrowserMark {
            name: self.effects.random_name().chars().take(8).collect(),
            value: self.effects.secret().expose().to_owned(),
        };
        let mark = marks.first().cloned().unwrap_or_else(new);
        interaction.browser = self.browser_tag(&interaction.id, &mark);
        let issuer = self.issuer_hash();
        let challenge = interaction.to_challenge(|body| self.form_key.tag(&[&issuer, CHALLENGE_LABEL, body]));
        let challenge = challenge.ok_or(Fatal::TooLong)?;
        Ok(ToApp { location: with_query(page.as_str(), &[(parameter, challenge)]), mark })
    }

    fn issuer_hash(&self) -> [u8; 32] {
        *SecretHash::of(&self.settings.issuer).as_bytes()
    }

    fn browser_tag(&self, id: &[u8; 16], mark: &BrowserMark) -> [u8; 16] {
        self.form_key.tag(&[&self.issuer_hash(), BROWSER_LABEL, id, mark.value.as_bytes()])
    }

    fn is_of(&self, interaction: &Interaction, marks: &[BrowserMark]) -> bool {
        let issuer = self.issuer_hash();
        marks.iter().any(|mark| {
            let parts: [&[u8]; 4] = [&issuer, BROWSER_LABEL, &interaction.id, mark.value.as_bytes()];
            self.form_key.verifies(&parts, &interaction.browser)
        })
    }

    fn open_challenge(&self, text: &str) -> Option<Interaction> {
        let issuer = self.issuer_hash();
        Sealed::parse(text)?.open(|body, tag| self.form_key.verifies(&[&issuer, CHALLENGE_LABEL, body], tag))
    }

    /// An interaction that can still be decided about; one of any kind, where none is said.
    async fn open_interaction(&self, kind: Option<Kind>, challenge: &str) -> Result<Opened, InteractionFailure> {
        let pages = self.settings.login.app_pages().ok_or(InteractionFailure::Unknown)?;
        let interaction = self.open_challenge(challenge).filter(|opened| kind.is_none_or(|kind| kind == opened.kind));
        let interaction = interaction.ok_or(InteractionFailure::Unknown)?;
        let over = || InteractionFailure::Over { restart: self.request_url(&interaction) };
        if self.effects.now() >= interaction.made_at.plus(pages.lifetime) {
            return Err(over());
        }
        if self.store.interaction(interaction.id).await?.is_some_and(|decided| decided.used_at.is_some()) {
            return Err(over());
        }
        Ok(Opened { text: challenge.to_owned(), interaction })
    }

    fn request_url(&self, interaction: &Interaction) -> String {
        format!("{}{}", self.settings.issuer, self.start_of(&interaction.request))
    }

    /// What is asked.
    pub async fn interaction_asked(&self, kind: Option<Kind>, challenge: &str) -> Result<Asked, InteractionFailure> {
        let Opened { interaction, .. } = self.open_interaction(kind, challenge).await?;
        let (kind, request_url) = (interaction.kind, self.request_url(&interaction));
        if is_path(&interaction.request) {
            let (client, request, session) = (None, None, None);
            return Ok(Asked { kind, client, request_url, request, must_sign_in: false, session });
        }
        let (client, request) = self.asked_for(&interaction).await?;
        let session = match interaction.session() {
            Some(name) => {
                let session = self.store.named_session(name, self.settings.login.realm.clone(), self.effects.now());
                Some(session.await?.ok_or_else(|| InteractionFailure::Over { restart: request_url.clone() })?)
            }
            None => None,
        };
        let must_sign_in = request.sign_in.prompt.asks_to_sign_in() || request.sign_in.max_age.is_some();
        Ok(Asked { kind, client: Some(client), request_url, request: Some(request), must_sign_in, session })
    }

    async fn asked_for(&self, interaction: &Interaction) -> Result<(Client, AuthorizationRequest), InteractionFailure> {
        match self.validate(&interaction.request, self.patience_with(interaction)).await {
            Ok(asked) => Ok(asked),
            Err(AuthorizationFailure::Unavailable(error)) => Err(error.into()),
            // The client is gone, or has changed.
            Err(_) => Err(InteractionFailure::Unknown),
        }
    }

    /// For so many seconds after it has expired, a pushed request is good. Who is asked for consent may have been asked to sign in before.
    fn patience_with(&self, interaction: &Interaction) -> u32 {
        match interaction.kind {
            Kind::Login => self.settings.login.patience(),
            Kind::Consent => 2 * self.settings.login.patience(),
        }
    }

    /// The app has signed a user in; where to send the browser.
    pub async fn accept_login(&self, challenge: &str, answer: SignInAnswer) -> Result<String, InteractionFailure> {
        let opened = self.open_interaction(Some(Kind::Login), challenge).await?;
        let SignInAnswer { subject, claims, sign_in, remember_for } = answer;
        sign_in.check()?;
        if remember_for > MAX_REMEMBER {
            return Err(Unacceptable { member: "remember_for", why: "this is a year at most, in seconds" }.into());
        }
        check_user(&subject, &claims, self.effects.now())?;
        let named = SubjectId::new(subject.clone());
        let redirect_to =
            self.keep_decision(opened, Decision::SignedIn { subject, claims, sign_in, remember_for }).await?;
        self.audit.record(Event::LoginAccepted(&named));
        Ok(redirect_to)
    }

    /// The app has asked the user; where to send the browser.
    pub async fn accept_consent(&self, challenge: &str, answer: ConsentAnswer) -> Result<String, InteractionFailure> {
        let opened = self.open_interaction(Some(Kind::Consent), challenge).await?;
        let (client, request) = self.asked_for(&opened.interaction).await?;
        let ConsentAnswer { scopes, resources, remember, claims } = answer;
        if !scopes.iter().all(|scope| request.scopes.contains(scope)) {
            return Err(Unacceptable { member: "grant_scope", why: "these are some of the requested scopes" }.into());
        }
        if request.scopes.iter().any(|scope| client.requires(scope) && !scopes.iter().any(|kept| kept == scope)) {
            return Err(Unacceptable { member: "grant_scope", why: "one is missing that the client requires" }.into());
        }
        let resources: Vec<Box<str>> = request
            .resources
            .iter()
            .filter(|known| resources.iter().any(|given| **given == ***known))
            .cloned()
            .collect();
        // None would be all.
        if resources.is_empty() != request.resources.is_empty() {
            let why = "this is one or more of the requested audiences, if there are any";
            return Err(Unacceptable { member: "grant_access_token_audience", why }.into());
        }
        let session = opened.interaction.session().ok_or(InteractionFailure::Unknown)?;
        check_user("user", &claims, self.effects.now())?;
        let redirect_to = self
            .keep_decision(opened, Decision::Allowed { scopes: scopes.join(" "), resources, remember, claims })
            .await?;
        self.audit.record(Event::ConsentAccepted { client: &client.id, session });
        Ok(redirect_to)
    }

    /// The app has not signed the user in, or the user has not allowed anything; where to send the browser.
    pub async fn reject_interaction(
        &self,
        kind: Option<Kind>,
        challenge: &str,
        rejection: Rejection,
    ) -> Result<String, InteractionFailure> {
        let opened = self.open_interaction(kind, challenge).await?;
        let redirect_to = self.keep_decision(opened, Decision::Rejected(rejection)).await?;
        self.audit.record(Event::InteractionRejected);
        Ok(redirect_to)
    }

    /// The browser brings the id and a secret. What the app decides last counts.
    async fn keep_decision(&self, opened: Opened, decision: Decision) -> Result<String, InteractionFailure> {
        let Opened { text, interaction } = opened;
        let secret: [u8; 32] = self.effects.random_bytes();
        let decided = DecidedInteraction {
            id: interaction.id,
            verifier: RandomSecret::from_entropy(&secret).hash(),
            challenge: text,
            decision,
            expires_at: interaction.made_at.plus(self.settings.login.patience()),
            used_at: None,
        };
        if !self.store.decide_interaction(decided).await? {
            return Err(InteractionFailure::Over { restart: self.request_url(&interaction) });
        }
        let verifier = BASE64_URL_SAFE_NO_PAD.encode([&interaction.id[..], &secret].concat());
        Ok(with_query(&format!("{}/interaction", self.settings.issuer), &[("verifier", verifier)]))
    }

    /// Takes what the app decided from the browser. `present` is its session cookie.
    pub async fn complete(
        &self,
        verifier: &str,
        marks: &[BrowserMark],
        present: Option<&str>,
    ) -> Result<Completed, CompletionFailure> {
        let unknown = || CompletionFailure::Over(None);
        let parts = BASE64_URL_SAFE_NO_PAD.decode(verifier).ok().and_then(|text| <[u8; 48]>::try_from(text).ok());
        let parts = parts.ok_or_else(unknown)?;
        let (id, secret) = (std::array::from_fn(|i| parts[i]), std::array::from_fn(|i| parts[16 + i]));
        let verifier = RandomSecret::from_entropy(&secret).hash();
        let decided = self.store.interaction(id).await?.filter(|decided| decided.verifier == verifier);
        let decided = decided.ok_or_else(unknown)?;
        let interaction = self.open_challenge(&decided.challenge).ok_or_else(unknown)?;
        if !self.is_of(&interaction, marks) {
            tracing::warn!("a browser brought what an app decided about another one");
            return Err(CompletionFailure::Forged);
        }
        if decided.used_at.is_some() || self.effects.now() >= decided.expires_at {
            return Err(CompletionFailure::Over(Some(self.start_of(&interaction.request))));
        }
        match decided.decision.clone() {
            Decision::SignedIn { subject, claims, sign_in, remember_for } => {
                let answer = SignInAnswer { subject, claims, sign_in, remember_for };
                self.complete_sign_in(&interaction, verifier, answer, present).await
            }
            Decision::Allowed { scopes, resources, remember, claims } => {
                let scopes = scopes.split(' ').map(str::to_owned).collect();
                let resources = resources.into_iter().map(String::from).collect();
                let answer = ConsentAnswer { scopes, resources, remember, claims };
                self.complete_consent(&interaction, verifier, answer, present).await
            }
            Decision::Rejected(rejection) => self.complete_rejection(&interaction, verifier, &rejection).await,
        }
    }

    async fn complete_sign_in(
        &self,
        interaction: &Interaction,
        verifier: SecretHash,
        answer: SignInAnswer,
        present: Option<&str>,
    ) -> Result<Completed, CompletionFailure> {
        let SignInAnswer { subject, claims, mut sign_in, remember_for } = answer;
        let subject = SubjectId::new(subject);
        // What is not said stays.
        let known = if claims == UserClaims::default() { self.store.user_claims(subject.clone()).await? } else { None };
        let claims = known.unwrap_or(claims);
        let (now, cookie) = (self.effects.now(), self.effects.secret());
        sign_in.for_pages = is_path(&interaction.request);
        let asks_for_consent = self.settings.login.app_pages().is_some_and(|pages| pages.consent.is_some());
        let lifetime = match (sign_in.remembered, remember_for) {
            (false, _) if asks_for_consent => TICKET_LIFETIME.max(self.settings.login.patience()),
            (false, _) => TICKET_LIFETIME,
            (true, 0) => self.settings.session_lifetime,
            (true, seconds) => seconds,
        };
        let session = NewSession {
            id: cookie.hash(),
            subject: subject.clone(),
            replaces: present.map(SecretHash::of),
            now,
            expires_at: now.plus(lifetime),
            sign_in: Some(sign_in),
        };
        let user = AppUser { subject: subject.clone(), claims, auth_time: None };
        let named = NamedUser { user, realm: self.settings.login.realm.clone() };
        let expires_at = match self.store.complete_sign_in(interaction.id, verifier, named, session).await? {
            SignInCompletion::Done(expires_at) => expires_at,
            SignInCompletion::Used => return Err(CompletionFailure::Over(Some(self.start_of(&interaction.request)))),
            SignInCompletion::NotAdmitted => {
                tracing::warn!(sub = subject.as_str(), "a user is not let in");
                self.audit.record(Event::SignInRefused(Some(&subject)));
                return Err(CompletionFailure::Rejected);
            }
        };
        self.audit.record(Event::SignedIn(&subject));
        let next = if is_path(&interaction.request) {
            interaction.request.clone()
        } else {
            format!("{}?{}", self.settings.paths.authorize.first(), self.proven(&cookie.hash(), &interaction.request))
        };
        let signed_in = SignedIn { cookie, max_age: expires_at.seconds_since(now), known_browser: None };
        Ok(Completed::SignedIn { signed_in, next })
    }

    async fn complete_consent(
        &self,
        interaction: &Interaction,
        verifier: SecretHash,
        answer: ConsentAnswer,
        present: Option<&str>,
    ) -> Result<Completed, CompletionFailure> {
        let ConsentAnswer { scopes, resources, remember, claims } = answer;
        let session = self.own_session(present).await?;
        let session = session.filter(|session| Some(session.session.id) == interaction.session());
        let session: BrowserSession =
            session.ok_or_else(|| CompletionFailure::Over(Some(self.start_of(&interaction.request))))?;
        let (client, mut request) = self.validate(&interaction.request, self.patience_with(interaction)).await?;
        self.use_once(interaction, verifier).await?;
        let subject = session.session.subject.clone();
        let denied = |cause: AccessDenied| {
            self.audit.record(Event::ConsentDenied { subject: &subject, client: &client.id });
            Ok(Completed::Answer(self.refusal(&request.target, &cause.into())))
        };
        let Some(kept) = self.kept_by(&client, &request.scopes, |scope| scopes.iter().any(|kept| kept == scope)) else {
            return denied(AccessDenied::NoScopeKept);
        };
        let standing = self.standing(&client, &request, &session).await?;
        if standing.is_other() {
            return denied(AccessDenied::OtherScopes);
        }
        let basis = if remember { self.decided(standing, &request, &kept) } else { Basis::Decision };
        request.resources.retain(|resource| resources.iter().any(|kept| **kept == **resource));
        if claims != UserClaims::default() {
            let user = AppUser { subject: subject.clone(), claims, auth_time: None };
            let realm = self.settings.login.realm.clone();
            self.store.name_subject(NamedUser { user, realm }, self.effects.now()).await?;
        }
        let grant = GrantId::from_bytes(interaction.id);
        let answer = self.grant(grant, session, request, Allowance { scopes: kept, basis }).await?;
        let answer = answer.ok_or_else(|| CompletionFailure::Over(Some(self.start_of(&interaction.request))))?;
        self.audit.record(Event::ConsentGiven { subject: &subject, client: &client.id, grant });
        Ok(Completed::Answer(answer))
    }

    async fn complete_rejection(
        &self,
        interaction: &Interaction,
        verifier: SecretHash,
        rejection: &Rejection,
    ) -> Result<Completed, CompletionFailure> {
        if is_path(&interaction.request) {
            self.use_interaction(interaction, verifier).await?;
            return Err(CompletionFailure::Rejected);
        }
        let (_, request) = self.validate(&interaction.request, self.patience_with(interaction)).await?;
        self.use_once(interaction, verifier).await?;
        let Rejection { error, error_description } = rejection;
        Ok(Completed::Answer(request.target.with_words(error, error_description, &self.settings.issuer)))
    }

    /// The interaction, and the pushed request that it may be about.
    async fn use_once(&self, interaction: &Interaction, verifier: SecretHash) -> Result<(), CompletionFailure> {
        self.use_interaction(interaction, verifier).await?;
        if self.use_up(&interaction.request, self.effects.now()).await? {
            Ok(())
        } else {
            Err(CompletionFailure::Over(None))
        }
    }

    async fn use_interaction(&self, interaction: &Interaction, verifier: SecretHash) -> Result<(), CompletionFailure> {
        if self.store.use_interaction(interaction.id, verifier, self.effects.now()).await? {
            Ok(())
        } else {
            Err(CompletionFailure::Over(Some(self.start_of(&interaction.request))))
        }
    }
}

impl AppPages {
    /// Until when what the app decided is good, in seconds after the challenge was made.
    pub(super) fn patience(&self) -> u32 {
        self.lifetime + WAY_BACK
    }
}

fn check_user(subject: &str, claims: &UserClaims, now: Timestamp) -> Result<(), Unacceptable> {
    match AppUser::new(subject.to_owned(), claims.clone(), None, now) {
        Ok(_) => Ok(()),
        Err(MalformedUser::Subject) => Err(Unacceptable {
            member: "subject",
            why: "this is text of 1 to 255 bytes without control characters, and does not begin with `client:`",
        }),
        Err(_) => {
            Err(Unacceptable { member: "claims", why: "a claim has 2048 bytes at most, and no control characters" })
        }
    }
}

/// Whether a sign-in leads to a path of ours: no query begins like this.
fn is_path(request: &str) -> bool {
    request.starts_with('/')
}

impl Service {
    /// Where an interaction begins again.
    fn start_of(&self, request: &str) -> String {
        let request = without_proof(request);
        if is_path(request) {
            request.to_owned()
        } else {
            format!("{}?{request}", self.settings.paths.authorize.first())
        }
    }
}
