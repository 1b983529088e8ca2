//! The built-in login, accounts and browser sessions; and who a request comes from.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Service;
use super::accounts::MAX_PASSWORD_LENGTH;
use super::app_sign_in::{SessionFailure, Visitor};
use crate::domain::app_user::AppUser;
use crate::domain::audit::Event;
use crate::domain::error::{TooManyAttempts, Unavailable};
use crate::domain::openid::{Authentication, SignInRequest};
use crate::domain::parameters::Parameters;
use crate::domain::secret::{RandomSecret, SecretHash};
use crate::domain::timestamp::Timestamp;
use crate::store::{NewSession, Session};

/// The parameter by which an authorization request tells that the session was opened for it. It comes last.
const PROOF: &str = "&scopegate_signed_in=";
/// Stands in a proof where a ticket has a grant and a time, at which no ticket was made.
const PROOF_LABEL: &[u8; 24] = b"scopegate/sign-in-proof!";
const PROOF_TAG: usize = 20;

/// A browser that just signed in.
pub struct SignedIn {
    /// The session cookie: new at each sign-in, so a cookie that was planted before is worth nothing.
    pub cookie: RandomSecret,
    /// Seconds.
    pub max_age: u32,
    /// What the browser is known by from now on, where it was not known yet.
    pub known_browser: Option<String>,
}

/// A name and a password, and where they come from.
pub struct SignIn<'a> {
    pub username: &'a str,
    pub password: &'a str,
    /// The session cookie that the browser has.
    pub present: Option<&'a str>,
    pub address: Option<IpAddr>,
    /// What the browser says it is known by.
    pub known_browser: Option<&'a str>,
}

/// Why nobody is signed in.
#[derive(Debug)]
pub enum SignInFailure {
    /// An unknown or disabled account, or a wrong password.
    Refused,
    /// Nobody looked.
    TooMany(TooManyAttempts),
    Unavailable(Unavailable),
}

impl From<TooManyAttempts> for SignInFailure {
    fn from(error: TooManyAttempts) -> Self {
        Self::TooMany(error)
    }
}

impl From<Unavailable> for SignInFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// A browser that is signed in.
pub struct BrowserSession {
    /// What the forms that it is shown are bound to.
    pub id: SecretHash,
    pub session: Session,
    /// Whom the app says this is; `None`: it is a session of ours.
    pub user: Option<Box<AppUser>>,
}

impl BrowserSession {
    /// When the user signed in, if that is known.
    pub fn signed_in_at(&self) -> Option<Timestamp> {
        self.user.as_ref().map_or(Some(self.session.created_at), |user| user.auth_time)
    }

    /// Whether it is there for one request alone.
    pub(super) fn is_for_one_request(&self) -> bool {
        self.session.sign_in.as_ref().is_some_and(|sign_in| !sign_in.remembered)
    }

    /// Whether it counts on pages of ours, where no client asks.
    pub(super) fn is_for_pages(&self) -> bool {
        self.session.sign_in.as_ref().is_none_or(|sign_in| sign_in.remembered || sign_in.for_pages)
    }

    /// What to keep of it with a grant.
    pub(super) fn authentication(&self, request: &SignInRequest) -> Authentication {
        match (&self.user, &self.session.sign_in) {
            (Some(user), _) => Authentication::elsewhere(request, user.auth_time),
            (None, Some(sign_in)) => Authentication::at_app(request, self.session.created_at, sign_in),
            (None, None) => Authentication::new(request, self.session.created_at),
        }
    }
}

impl Service {
    /// An unknown or disabled account and a wrong password get the same answer after the same time, and count the same. A request that
    /// goes away meanwhile counts, too.
    pub async fn sign_in(&self, sign_in: SignIn<'_>) -> Result<SignedIn, SignInFailure> {
        let SignIn { username, password, present, address, known_browser } = sign_in;
        let now = self.effects.now();
        let browser = self.known_browser(known_browser, username, now);
        let guess = self.attempts.at_password(username, browser, address, now).reserve();
        let guess = guess.inspect_err(|_| self.audit.record(Event::SignInLimited))?;
        match self.verify_sign_in(username, password, present).await {
            Ok(Some(mut signed_in)) => {
                guess.give_back();
                let is_new = browser.is_none() && self.attempts.tells_browsers_apart();
                signed_in.known_browser = is_new.then(|| self.introduce_browser(username, now));
                Ok(signed_in)
            }
            Ok(None) => Err(SignInFailure::Refused),
            // Whoever is told nothing has not guessed.
            Err(error) => {
                guess.give_back();
                Err(error.into())
            }
        }
    }

    async fn verify_sign_in(
        &self,
        username: &str,
        password: &str,
        present: Option<&str>,
    ) -> Result<Option<SignedIn>, Unavailable> {
        if password.len() > MAX_PASSWORD_LENGTH {
            self.audit.record(Event::SignInRefused(None));
            return Ok(None);
        }
        let known = self.store.account(username.to_owned()).await?;
        let refused = || {
            self.audit.record(Event::SignInRefused(known.as_ref().map(|account| &account.subject)));
            Ok(None)
        };
        let account = known.clone().filter(|account| account.disabled_at.is_none());
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        if !self.passwords.verify(Zeroizing::new(password.to_owned()), hash).await? {
            return refused();
        }
        let Some(account) = account else { return refused() };
        let (now, cookie) = (self.effects.now(), self.effects.secret());
        let max_age = self.settings.session_lifetime;
        let session = NewSession {
            id: cookie.hash(),
            subject: account.subject.clone(),
            replaces: present.map(SecretHash::of),
            now,
            expires_at: now.plus(max_age),
            sign_in: None,
        };
        if !self.store.insert_session(session).await? {
            return refused();
        }
        self.audit.record(Event::SignedIn(&account.subject));
        Ok(Some(SignedIn { cookie, max_age, known_browser: None }))
    }

    /// Who a request comes from.
    pub async fn browser_session(&self, visitor: &Visitor) -> Result<Option<BrowserSession>, SessionFailure> {
        if self.settings.login.has_sessions() {
            Ok(self.own_session(visitor.cookie.as_deref()).await?)
        } else {
            Box::pin(self.app_session(visitor)).await
        }
    }

    /// Who the browser with this cookie is signed in as.
    pub(super) async fn own_session(&self, cookie: Option<&str>) -> Result<Option<BrowserSession>, Unavailable> {
        let Some(cookie) = cookie else { return Ok(None) };
        let id = SecretHash::of(cookie);
        let session = self.store.session(id, self.settings.login.realm_of_sessions(), self.effects.now()).await?;
        Ok(session.map(|session| BrowserSession { id, session, user: None }))
    }

    /// The clients that the user signed in to are told by those that deliver ([`Self::deliver_logouts_for_ever`]).
    pub async fn sign_out(&self, cookie: Option<&str>) -> Result<(), Unavailable> {
        let Some(cookie) = cookie else { return Ok(()) };
        if let Some(subject) = self.store.delete_session(SecretHash::of(cookie), self.effects.now()).await? {
            self.audit.record(Event::SignedOut(&subject));
        }
        Ok(())
    }

    /// The authorization request to go on with after signing in. If it asks for a new sign-in, it tells that this was it: otherwise
    /// the user would be asked again and again.
    pub fn after_sign_in(&self, signed_in: &SignedIn, request: &str) -> String {
        let request = without_proof(request);
        let parameters = Parameters::parse(request.as_bytes()).unwrap_or_default();
        // A pushed request may ask for it, too.
        if ["prompt", "max_age", "request_uri"].iter().all(|name| parameters.get(name).is_none()) {
            return request.to_owned();
        }
        self.proven(&signed_in.cookie.hash(), request)
    }

    /// The request, with the proof that the session was opened for it.
    pub(super) fn proven(&self, session: &SecretHash, request: &str) -> String {
        let tag: [u8; PROOF_TAG] = self.form_key.tag(&proof_parts(session, &canonical(request)));
        format!("{request}{PROOF}{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether a session was opened for this authorization request.
    pub(super) fn signed_in_for(&self, session: &SecretHash, request: &str) -> bool {
        let Some((request, proof)) = request.rsplit_once(PROOF) else { return false };
        let proof = BASE64_URL_SAFE_NO_PAD.decode(proof).ok().and_then(|proof| <[u8; PROOF_TAG]>::try_from(proof).ok());
        let request = canonical(request);
        proof.is_some_and(|proof| self.form_key.verifies(&proof_parts(session, &request), &proof))
    }
}

fn proof_parts<'a>(session: &'a SecretHash, request: &'a str) -> [&'a [u8]; 3] {
    [session.as_bytes(), PROOF_LABEL, request.as_bytes()]
}

/// The same parameters in the one way, since browsers may write them in another.
pub(super) fn canonical(request: &str) -> String {
    let parameters = form_urlencoded::parse(request.as_bytes());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

pub(super) fn without_proof(request: &str) -> &str {
    request.rsplit_once(PROOF).map_or(request, |(request, _)| request)
}
