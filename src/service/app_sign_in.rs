//! Users whom the app has signed in: who a request comes from is asked of the app, or told by a proxy in front, anew for each page and each
//! decision. So signing out of the app counts at once, and whoever does nothing here leaves nothing here.
//!
//! The `sub` of such a user is what the app calls it. Each subject belongs to the realm whose name it is, and who is named in another one is
//! not let in: nobody becomes somebody else because two ways to sign in have the same name for two people.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use super::Service;
use super::authorization::TICKET_LIFETIME;
use super::interaction::AppPages;
use super::sign_in::{BrowserSession, canonical};
use crate::domain::app_user::{AppUser, UserClaims};
use crate::domain::authorization::with_query;
use crate::domain::error::Unavailable;
use crate::domain::grant::SessionId;
use crate::domain::network::Network;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;
use crate::store::{NamedUser, Session, SubjectStanding};

/// Whose the names of the built-in login are.
const ACCOUNTS: &str = "accounts";
/// The most that the app may answer, in bytes.
const MAX_ANSWER: usize = 16 << 10;
/// The parameter by which a request tells that we sent its user to the app, and when. It comes last.
const SENT: &str = "&scopegate_sent_to_sign_in=";
const SENT_LABEL: &[u8; 24] = b"scopegate/sent-to-login!";
const SENT_TAG: usize = 20;
const SESSION_LABEL: &[u8; 24] = b"scopegate/app's session!";
/// What the names of our own cookies begin with. The app gets none of them.
const OWN_COOKIES: [&[u8]; 2] = [b"scopegate_", b"__Host-scopegate_"];

/// How users are known.
#[derive(Clone, Debug)]
pub struct Login {
    pub method: LoginMethod,
    /// Whose the names of users are.
    pub realm: String,
    /// The page of the app where users sign in, and the parameter that tells it where to go on.
    pub page: Option<(OutgoingUrl, String)>,
    /// The page of the app where users make way for somebody else, if that is another one. It is told in the same way where to go on.
    pub switch_page: Option<(OutgoingUrl, String)>,
}

/// Where somebody else can sign in instead of who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switching {
    /// With a form of ours.
    Here,
    /// At this page of the app.
    At(String),
    Nowhere,
}

#[derive(Clone, Debug)]
pub enum LoginMethod {
    /// The built-in login.
    Accounts,
    SessionProbe(SessionProbe),
    TrustedHeader(TrustedHeaders),
    /// Browsers are sent to the app, which answers over gRPC or REST ([`super::interaction`]).
    Challenge(Box<AppPages>),
}

/// The app is asked who has its cookies.
#[derive(Clone, Debug)]
pub struct SessionProbe {
    pub url: OutgoingUrl,
    /// Those that it gets; none: all but ours.
    pub cookies: Vec<String>,
    /// The schemes of `Authorization` headers that it gets, in small letters.
    pub authorization: Vec<String>,
}

/// A proxy in front says who it is.
#[derive(Clone, Debug)]
pub struct TrustedHeaders {
    pub subject: HeaderName,
    pub name: Option<HeaderName>,
    pub email: Option<HeaderName>,
    pub proxies: Vec<Network>,
}

/// What a request of a browser shows of who sends it.
pub struct Visitor {
    /// Our own cookie.
    pub cookie: Option<String>,
    pub evidence: Evidence,
}

/// What shows whom the app signed in.
pub enum Evidence {
    /// Nothing: our own cookie is all that counts.
    None,
    /// The app's credentials, as they were sent.
    Credentials(Credentials),
    /// What the proxy says.
    Headers { subject: String, claims: UserClaims },
    /// It comes past the proxy, or says two things at once.
    Contradictory,
}

/// What an app knows its user by.
#[derive(Default)]
pub struct Credentials {
    cookies: Vec<u8>,
    /// One `Authorization` header.
    authorization: Option<Vec<u8>>,
}

impl Credentials {
    fn are_none(&self) -> bool {
        self.cookies.is_empty() && self.authorization.is_none()
    }
}

/// Why it is not known who is there.
#[derive(Debug)]
pub enum SessionFailure {
    /// Somebody who is not let in.
    Refused,
    Unavailable(Unavailable),
}

impl From<Unavailable> for SessionFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

/// An answer of the app that is none.
#[derive(Debug, thiserror::Error)]
#[error("the app answered with the status {0}, not with 200, 401 or 403")]
struct UnexpectedStatus(StatusCode);

impl Login {
    /// Whether users are those of the built-in login.
    pub fn is_built_in(&self) -> bool {
        matches!(self.method, LoginMethod::Accounts)
    }

    /// Whether users have sessions of ours.
    pub fn has_sessions(&self) -> bool {
        matches!(self.method, LoginMethod::Accounts | LoginMethod::Challenge(_))
    }

    /// Whether it can be known when users signed in. What a proxy says is only who they are.
    pub fn tells_sign_in_times(&self) -> bool {
        !matches!(self.method, LoginMethod::TrustedHeader(_))
    }

    /// Whose users those are. A change of the method leaves none of them signed in.
    pub(super) fn realm_of_sessions(&self) -> String {
        if self.is_built_in() { ACCOUNTS.to_owned() } else { self.realm.clone() }
    }

    /// Where the app asks users in our place, if it does.
    pub fn app_pages(&self) -> Option<&AppPages> {
        match &self.method {
            LoginMethod::Challenge(pages) => Some(pages),
            LoginMethod::Accounts | LoginMethod::SessionProbe(_) | LoginMethod::TrustedHeader(_) => None,
        }
    }

    /// For so many seconds, a request is good that the app was asked about.
    pub(super) fn patience(&self) -> u32 {
        self.app_pages().map_or(0, AppPages::patience)
    }

    /// What counts of a request that comes from `peer`.
    pub fn evidence(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Evidence {
        match &self.method {
            LoginMethod::Accounts | LoginMethod::Challenge(_) => Evidence::None,
            LoginMethod::SessionProbe(probe) => {
                let credentials =
                    Credentials { cookies: probe.cookies_of(headers), authorization: probe.authorization_of(headers) };
                if credentials.are_none() { Evidence::None } else { Evidence::Credentials(credentials) }
            }
            LoginMethod::TrustedHeader(trusted) => trusted.evidence(headers, peer).unwrap_or(Evidence::Contradictory),
        }
    }
}

impl SessionProbe {
    fn cookies_of(&self, headers: &HeaderMap) -> Vec<u8> {
        let is_for_app = |pair: &&[u8]| {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            let is_own = OWN_COOKIES.iter().any(|own| name.starts_with(own));
            !name.is_empty()
                && !is_own
                && (self.cookies.is_empty() || self.cookies.iter().any(|wanted| wanted.as_bytes() == name))
        };
        let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        pairs.map(<[u8]>::trim_ascii).filter(is_for_app).collect::<Vec<_>>().join(&b"; "[..])
    }

    /// The one that there is, if the app takes its scheme.
    fn authorization_of(&self, headers: &HeaderMap) -> Option<Vec<u8>> {
        let mut values = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (scheme, _) = authorization_parts(value)?;
        self.authorization.iter().any(|taken| scheme.eq_ignore_ascii_case(taken)).then(|| value.to_vec())
    }
}

impl TrustedHeaders {
    /// `None` for what is refused.
    fn evidence(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Evidence> {
        if !peer.is_some_and(|peer| self.proxies.iter().any(|proxy| proxy.contains(peer))) {
            return None;
        }
        let single = |name: &HeaderName| -> Option<Option<String>> {
            let mut values = headers.get_all(name).iter();
            let (first, second) = (values.next(), values.next());
            let text = first.map(|value| std::str::from_utf8(value.as_bytes())).transpose().ok()?;
            second.is_none().then(|| text.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let optional = |name: &Option<HeaderName>| name.as_ref().map_or(Some(None), single);
        let Some(subject) = single(&self.subject)? else { return Some(Evidence::None) };
        let claims = UserClaims { name: optional(&self.name)?, email: optional(&self.email)?, ..UserClaims::default() };
        Some(Evidence::Headers { subject, claims })
    }
}

impl Service {
    /// Who this is, as far as the app or the proxy says.
    pub(super) async fn app_session(&self, visitor: &Visitor) -> Result<Option<BrowserSession>, SessionFailure> {
        let now = self.effects.now();
        let (user, shown): (AppUser, Vec<u8>) = match &visitor.evidence {
            Evidence::None => return Ok(None),
            Evidence::Contradictory => {
                tracing::warn!("a request came past the proxies of http.trusted_proxies, or with a header twice");
                return Err(SessionFailure::Refused);
            }
            Evidence::Credentials(credentials) => match self.probe(credentials, now).await? {
                Some(user) => {
                    // No cookie has a line feed.
                    let authorization = credentials.authorization.iter().flat_map(|value| [b"\n", value.as_slice()]);
                    (user, [&credentials.cookies[..]].into_iter().chain(authorization).flatten().copied().collect())
                }
                None => return Ok(None),
            },
            Evidence::Headers { subject, claims } => match AppUser::new(subject.clone(), claims.clone(), None, now) {
                Ok(user) => (user, Vec::new()),
                Err(error) => {
                    tracing::warn!(cause = %error, "the proxy named a user that cannot be one");
                    return Err(SessionFailure::Refused);
                }
            },
        };
        let standing = self.store.subject_standing(user.subject.clone(), self.settings.login.realm.clone()).await?;
        if standing != SubjectStanding::Welcome {
            tracing::warn!(sub = user.subject.as_str(), ?standing, "a user is not let in");
            return Err(SessionFailure::Refused);
        }
        let subject = user.subject.as_str().as_bytes();
        // One length is enough to divide the parts in one way.
        let length = u64::try_from(subject.len()).unwrap_or(u64::MAX).to_be_bytes();
        let id = SecretHash::from_bytes(self.form_key.tag(&[SESSION_LABEL, &length, subject, &shown]));
        let session = Session {
            id: SessionId::of(&id),
            subject: user.subject.clone(),
            username: user.name().to_owned(),
            created_at: user.auth_time.unwrap_or(now),
            sign_in: None,
        };
        Ok(Some(BrowserSession { id, session, user: Some(Box::new(user)) }))
    }

    /// Asks the app. What is neither a user nor a clear no is an error: nobody is signed out because the app has one.
    async fn probe(&self, credentials: &Credentials, now: Timestamp) -> Result<Option<AppUser>, Unavailable> {
        let LoginMethod::SessionProbe(probe) = &self.settings.login.method else { return Ok(None) };
        let unknown = |cause| Unavailable { operation: "ask the app who is signed in (login.probe_url)", cause };
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        if !credentials.cookies.is_empty() {
            let cookies = HeaderValue::from_bytes(&credentials.cookies).map_err(|error| unknown(error.into()))?;
            headers.insert(COOKIE, cookies);
        }
        // The app might take a token of ours for the user: it is that of a third party.
        let authorization = credentials.authorization.as_deref().filter(|value| self.own_token_in(value).is_none());
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_bytes(authorization).map_err(|error| unknown(error.into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        } else if credentials.cookies.is_empty() {
            return Ok(None);
        }
        let answer = self.app.get_with(&probe.url, headers, MAX_ANSWER).await;
        let answer = answer.map_err(|error| unknown(error.into()))?;
        match answer.status {
            StatusCode::OK => AppUser::from_json(&answer.body, now).map(Some).map_err(|error| unknown(error.into())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            status => Err(unknown(UnexpectedStatus(status).into())),
        }
    }

    /// The token of ours in an `Authorization` header, whether it is good or not: as a bearer token of whichever scheme, or in place of a
    /// name or a password.
    pub(super) fn own_token_in(&self, authorization: &[u8]) -> Option<String> {
        let (scheme, rest) = authorization_parts(authorization)?;
        let rest = str::from_utf8(rest).ok()?;
        let is_ours = |text: &str| self.token_keys.open(text).is_some() || self.is_own_jwt(text);
        if !scheme.eq_ignore_ascii_case("basic") {
            return is_ours(rest).then(|| rest.to_owned());
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(rest).ok()?);
        let (name, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
        [password, name].into_iter().find(|text| is_ours(text)).map(str::to_owned)
    }

    /// Writes down whom the app names, for what the user does now. `false` when the subject is somebody else's.
    pub(super) async fn remember_user(&self, session: &BrowserSession) -> Result<bool, Unavailable> {
        match self.named_user(session) {
            None => Ok(true),
            Some(named) => self.store.name_subject(named, self.effects.now()).await,
        }
    }

    /// Whom the app names, to be written down.
    pub(super) fn named_user(&self, session: &BrowserSession) -> Option<NamedUser> {
        let user = session.user.as_deref()?.clone();
        Some(NamedUser { user, realm: self.settings.login.realm.clone() })
    }

    /// Where the app signs its users in, for a request that came to a path of ours. `None`: the app has no such page.
    pub(super) fn app_login_page(&self, path_and_query: &str, again: Again) -> Option<String> {
        let (page, return_to) = self.settings.login.page.as_ref()?;
        let mut parameters = vec![(return_to.as_str(), format!("{}{path_and_query}", self.settings.issuer))];
        if again == Again::Yes {
            parameters.push(("prompt", "login".to_owned()));
        }
        Some(with_query(page.as_str(), &parameters))
    }

    /// Where the app signs in the user of a page of ours, who came to its path with this query. `None`: that is where the user comes from,
    /// or the app has no such page.
    pub fn app_login_for_page(&self, path: &str, query: Option<&str>, again: Again) -> Option<String> {
        if query.is_some_and(|query| self.was_sent_to_sign_in(&format!("{path}&{query}")).is_some()) {
            return None;
        }
        self.app_login_page(&self.sent_to_sign_in(path).replacen('&', "?", 1), again)
    }

    /// Where somebody else can sign in, who goes on at a path of ours.
    pub fn switching(&self, path_and_query: &str) -> Switching {
        let login = &self.settings.login;
        if login.has_sessions() {
            return Switching::Here;
        }
        let page = match &login.switch_page {
            Some((page, return_to)) => {
                let back = format!("{}{path_and_query}", self.settings.issuer);
                Some(with_query(page.as_str(), &[(return_to.as_str(), back)]))
            }
            None => self.app_login_page(path_and_query, Again::Yes),
        };
        page.map_or(Switching::Nowhere, Switching::At)
    }

    /// The same authorization request, with a note that its user was sent to the app now.
    pub(super) fn sent_to_sign_in(&self, request: &str) -> String {
        let request = request.rsplit_once(SENT).map_or(request, |(request, _)| request);
        let time = self.effects.now().as_unix().to_be_bytes();
        let tag: [u8; SENT_TAG] = self.form_key.tag(&[SENT_LABEL, &time, canonical(request).as_bytes()]);
        format!("{request}{SENT}{}", BASE64_URL_SAFE_NO_PAD.encode([&time[..], &tag].concat()))
    }

    /// When the user of this request was sent to the app, if that was lately.
    pub(super) fn was_sent_to_sign_in(&self, request: &str) -> Option<Timestamp> {
        let (request, note) = request.rsplit_once(SENT)?;
        let note: [u8; 8 + SENT_TAG] = BASE64_URL_SAFE_NO_PAD.decode(note).ok()?.try_into().ok()?;
        let (time, tag): ([u8; 8], [u8; SENT_TAG]) =
            (std::array::from_fn(|i| note[i]), std::array::from_fn(|i| note[8 + i]));
        if !self.form_key.verifies(&[SENT_LABEL, &time, canonical(request).as_bytes()], &tag) {
            return None;
        }
        let sent_at = Timestamp::from_unix(i64::from_be_bytes(time));
        (self.effects.now().seconds_since(sent_at) < TICKET_LIFETIME).then_some(sent_at)
    }
}

/// A scheme, and what follows it without the blanks around (RFC 9110 §11.4).
fn authorization_parts(value: &[u8]) -> Option<(&str, &[u8])> {
    let end = value.iter().position(u8::is_ascii_whitespace)?;
    Some((str::from_utf8(&value[..end]).ok()?, value[end..].trim_ascii()))
}

/// Whether a user has to sign in though signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Yes,
    No,
}
