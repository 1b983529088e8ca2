//! Clients that users manage over an API (`apps.api`), in the shape of another system. What is said and shown there, the front knows; what
//! it means is here, once, and it is what the pages do, too (`own_clients`).
//!
//! The user is who the app or a session of ours says that it is. A token of ours is a third party's: it does only what its scopes say, and
//! where the shape knows no scope for that, nothing.

use std::net::IpAddr;

use super::Service;
use super::app_sign_in::{SessionFailure, Visitor};
use super::audit::acting_as;
use super::client_address::network;
use super::own_clients::NewApp;
use super::possession::Shown;
pub use super::registration_rate::RateLimit;
use super::registration_rate::RegistrationRate;
use super::revocation::Reach;
use super::sign_in::BrowserSession;
use crate::domain::audit::{Actor, Event};
use crate::domain::caller::Sight;
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, Introspects, Registrar,
};
use crate::domain::decision::{Decision, Match, Requirement};
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::registration::{AppDraft, InvalidClientMetadata, Registration, RegistrationError};
use crate::domain::revocation::Target;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::RandomSecret;
use crate::store::{App, ClientSecretChange, OwnClientChange};

/// How apps are managed over HTTP.
#[derive(Clone, Debug)]
pub struct AppsPolicy {
    pub api: AppsApi,
    /// What apps may ask for.
    pub scopes: ScopeSet,
    /// How many one user may have.
    pub per_user: u32,
    /// How often an address may register one without a user.
    pub by_address: RateLimit,
    /// How often a user may; `None`: as often as there may be apps.
    pub by_user: Option<RateLimit>,
    /// Whether an app of a user is nothing to all other users.
    pub owner_only: bool,
    /// The clients that the configuration names.
    pub built_in: Vec<BuiltInClient>,
}

/// In the shape of which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppsApi {
    None,
    FitTrackee,
    Funkwhale,
    Gancio,
    Forgejo,
}

/// A public client that is there because the configuration names it.
#[derive(Clone, Debug)]
pub struct BuiltInClient {
    pub id: ClientId,
    pub name: String,
    pub redirect_uris: Vec<RedirectUri>,
    pub scopes: ScopeSet,
}

/// Who registers how often.
pub(super) struct AppRates {
    by_address: RegistrationRate,
    by_user: RegistrationRate,
}

impl AppRates {
    pub(super) fn new() -> Self {
        Self { by_address: RegistrationRate::new(), by_user: RegistrationRate::new() }
    }
}

/// Who sends a request, as far as it shows.
pub struct AppCaller {
    pub visitor: Visitor,
    /// Every `Authorization` header.
    pub authorization: Vec<Vec<u8>>,
    pub address: Option<IpAddr>,
}

/// The scopes of which a token of ours needs one, to do this in place of its user. None: no token can.
pub type Scopes = &'static [&'static str];

/// What names an app.
pub enum AppName<'a> {
    ClientId(&'a str),
    Number(u64),
}

/// What a user makes of an app; `None` leaves it.
#[derive(Debug, Default)]
pub struct AppChange {
    pub name: Option<String>,
    pub redirect_uris: Option<Vec<String>>,
    pub scopes: Option<Vec<String>>,
    /// Whether it cannot keep a secret.
    pub public: Option<bool>,
    /// Gives it another secret, if it keeps one.
    pub renews_secret: bool,
}

/// An app, and its new secret if it got one: it is shown this once.
pub struct MadeApp {
    pub app: App,
    pub secret: Option<RandomSecret>,
}

/// Why nothing is shown or done.
#[derive(Debug)]
pub enum AppFailure {
    /// Nobody says who it is.
    Anonymous,
    /// What is presented is nobody's.
    Unauthenticated,
    /// A token of ours lacks all of these scopes.
    NotByToken(Scopes),
    /// Somebody who is not let in.
    Refused,
    /// There is no such app of the user's.
    Unknown,
    Invalid(RegistrationError),
    /// In so many seconds, it may be tried again.
    TooOften(u32),
    TooMany,
    Unavailable(Unavailable),
}

impl From<Unavailable> for AppFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<RegistrationError> for AppFailure {
    fn from(error: RegistrationError) -> Self {
        Self::Invalid(error)
    }
}

impl From<SessionFailure> for AppFailure {
    fn from(failure: SessionFailure) -> Self {
        match failure {
            SessionFailure::Refused => Self::Refused,
            SessionFailure::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

/// A user who is known.
struct Person {
    subject: SubjectId,
    /// `None`: a token of ours stands for the user.
    session: Option<BrowserSession>,
}

impl Service {
    /// The apps of the user, the oldest first.
    pub async fn apps(&self, caller: &AppCaller, scopes: Scopes) -> Result<Vec<App>, AppFailure> {
        let person = self.person(caller, scopes).await?;
        Ok(self.store.apps_of(person.subject).await?)
    }

    /// One of them.
    pub async fn app(&self, caller: &AppCaller, scopes: Scopes, name: AppName<'_>) -> Result<App, AppFailure> {
        let person = self.person(caller, scopes).await?;
        self.owned_app(&person.subject, name).await
    }

    /// Anybody's, for anybody: what users are told who are asked for their consent. And whether it is the caller's own.
    pub async fn app_of_anybody(&self, caller: &AppCaller, id: &str) -> Result<(App, bool), AppFailure> {
        let id: ClientId = id.parse().map_err(|_| AppFailure::Unknown)?;
        let app = self.store.app(id).await?.filter(|app| app.client.disabled_at.is_none());
        let app = app.ok_or(AppFailure::Unknown)?;
        let Some(owner) = app.client.owner() else { return Ok((app, false)) };
        let is_own = match self.person(caller, &[]).await {
            Ok(person) => person.subject == *owner,
            Err(AppFailure::Unavailable(error)) => return Err(error.into()),
            Err(_) => false,
        };
        Ok((app, is_own))
    }

    /// The same, for those alone who are users.
    pub async fn app_for_user(&self, caller: &AppCaller, id: &str) -> Result<App, AppFailure> {
        self.person(caller, &[]).await?;
        Ok(self.app_of_anybody(caller, id).await?.0)
    }

    /// Makes an app of the user.
    pub async fn make_app(&self, caller: &AppCaller, scopes: Scopes, draft: AppDraft) -> Result<MadeApp, AppFailure> {
        let person = self.person(caller, scopes).await?;
        let policy = &self.settings.apps;
        if let Some(limit) = policy.by_user {
            let taken = self.app_rates.by_user.take(person.subject.as_str(), limit, self.effects.now());
            taken.map_err(AppFailure::TooOften)?;
        }
        let registration = self.valid(&draft, &policy.scopes)?;
        if let Some(session) = &person.session
            && !self.remember_user(session).await?
        {
            return Err(AppFailure::Refused);
        }
        let id = self.new_client_id();
        let AppDraft { description, website, .. } = draft;
        let new = NewApp { id: id.clone(), registration, description, website };
        let made = self.make_own_client(person.subject, new, policy.per_user).await?;
        let (_, secret) = made.ok_or(AppFailure::TooMany)?;
        Ok(MadeApp { app: self.store.app(id).await?.ok_or(AppFailure::Unknown)?, secret })
    }

    /// Makes an app of nobody. Unless it gets tokens in time, it is deleted, as those are that register themselves (RFC 7591).
    pub async fn make_anonymous_app(&self, caller: &AppCaller, draft: &AppDraft) -> Result<MadeApp, AppFailure> {
        let now = self.effects.now();
        let (policy, registrations) = (&self.settings.apps, &self.settings.registration);
        let taken = self.app_rates.by_address.take(caller.address.map(network), policy.by_address, now);
        taken.map_err(AppFailure::TooOften)?;
        let registration = self.valid(draft, &policy.scopes)?;
        let secret = self.new_client_secret();
        let client = Client {
            id: self.new_client_id(),
            name: registration.name.clone().unwrap_or_default(),
            client_type: ClientType::Confidential { secret: secret.hash(), previous: None },
            metadata: ClientMetadata {
                client_uri: registration.site().map(str::to_owned),
                ..ClientMetadata::default()
            },
            redirect_uris: registration.redirect_uris,
            scopes: registration.scopes,
            introspects: Introspects::Own,
            created_at: now,
            disabled_at: None,
            registrar: Registrar::Itself {
                // Nobody learns it: what nobody owns, nobody manages.
                access_token: self.effects.secret().hash(),
                unused_until: Some(now.plus(registrations.unused_lifetime)),
            },
            last_used_at: None,
        };
        if !self.store.insert_registered_client(client.clone(), registrations.max_clients).await? {
            tracing::warn!(max_clients = registrations.max_clients, "no more clients may register themselves");
            return Err(AppFailure::TooMany);
        }
        tracing::info!(client_id = %client.id, "a client registered itself");
        self.audit.record(Event::ClientRegistered(&client.id));
        Ok(MadeApp { app: App { client, details: None }, secret: Some(secret) })
    }

    /// Changes an app of the user.
    pub async fn change_app(
        &self,
        caller: &AppCaller,
        scopes: Scopes,
        name: AppName<'_>,
        change: AppChange,
    ) -> Result<MadeApp, AppFailure> {
        let person = self.person(caller, scopes).await?;
        let app = self.owned_app(&person.subject, name).await?;
        let website = app.website().map(str::to_owned);
        let client = app.client;
        let had_secret = matches!(client.client_type, ClientType::Confidential { .. });
        let texts = |set: &ScopeSet| set.iter().map(str::to_owned).collect();
        let draft = AppDraft {
            name: change.name.unwrap_or_else(|| client.name.clone()),
            website: website.clone(),
            description: None,
            redirect_uris: change
                .redirect_uris
                .unwrap_or_else(|| client.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect()),
            scopes: change.scopes.unwrap_or_else(|| texts(&client.scopes)),
            public: change.public.unwrap_or(!had_secret),
        };
        // What an operator gave it beside what apps may ask for, it keeps.
        let registration = self.valid(&draft, &self.settings.apps.scopes.union(&client.scopes))?;
        let renews = !draft.public && (change.renews_secret || !had_secret);
        let secret = renews.then(|| self.effects.secret());
        let (owner, id) = (person.subject, client.id.clone());
        let change = OwnClientChange {
            owner,
            website,
            secret: match &secret {
                Some(secret) => ClientSecretChange::To(Some(secret.hash())),
                None if draft.public => ClientSecretChange::To(None),
                None => ClientSecretChange::Keep,
            },
            now: self.effects.now(),
            client: Client {
                name: registration.name.clone().unwrap_or_default(),
                metadata: ClientMetadata { client_uri: registration.site().map(str::to_owned), ..client.metadata },
                redirect_uris: registration.redirect_uris,
                scopes: registration.scopes,
                ..client
            },
        };
        if !self.alter_own_client(change).await? {
            return Err(AppFailure::Unknown);
        }
        Ok(MadeApp { app: self.store.app(id).await?.ok_or(AppFailure::Unknown)?, secret })
    }

    /// Deletes an app of the user, and revokes its grants, those of all users.
    pub async fn delete_app(&self, caller: &AppCaller, scopes: Scopes, name: AppName<'_>) -> Result<(), AppFailure> {
        let person = self.person(caller, scopes).await?;
        let app = self.owned_app(&person.subject, name).await?;
        if Box::pin(self.remove_own_client(person.subject, app.client.id)).await? {
            Ok(())
        } else {
            Err(AppFailure::Unknown)
        }
    }

    /// Revokes every token of an app of the user, on every server before this returns.
    pub async fn revoke_tokens_of_app(&self, caller: &AppCaller, name: AppName<'_>) -> Result<(), AppFailure> {
        let person = self.person(caller, &[]).await?;
        let app = self.owned_app(&person.subject, name).await?;
        let revoking = self.revoke_target(Target::Client(app.client.id), Reach::Strict);
        Box::pin(acting_as(Actor::User(person.subject), revoking)).await?;
        Ok(())
    }

    /// The apps that may use the account of the user.
    pub async fn granted_apps(&self, caller: &AppCaller) -> Result<Vec<App>, AppFailure> {
        let person = self.person(caller, &[]).await?;
        Ok(self.store.granted_apps(person.subject, self.effects.now()).await?)
    }

    /// Ends whatever the user granted to an app, on every server before this returns.
    pub async fn revoke_granted_app(&self, caller: &AppCaller, id: &str) -> Result<(), AppFailure> {
        let person = self.person(caller, &[]).await?;
        let granted = self.store.granted_apps(person.subject.clone(), self.effects.now()).await?;
        let app = granted.into_iter().find(|app| app.client.id.as_str() == id).ok_or(AppFailure::Unknown)?;
        let target = Target::SubjectClient(person.subject.clone(), app.client.id);
        let revoking = self.revoke_target(target, Reach::Strict);
        Box::pin(acting_as(Actor::User(person.subject), revoking)).await?;
        Ok(())
    }

    async fn owned_app(&self, owner: &SubjectId, name: AppName<'_>) -> Result<App, AppFailure> {
        match name {
            AppName::ClientId(id) => {
                let id: ClientId = id.parse().map_err(|_| AppFailure::Unknown)?;
                self.store.app(id).await?.filter(|app| app.client.owner() == Some(owner))
            }
            // A user has not many.
            AppName::Number(number) => {
                let apps = self.store.apps_of(owner.clone()).await?;
                apps.into_iter().find(|app| app.details.as_ref().is_some_and(|details| details.number == number))
            }
        }
        .ok_or(AppFailure::Unknown)
    }

    /// Who the user is.
    async fn person(&self, caller: &AppCaller, scopes: Scopes) -> Result<Person, AppFailure> {
        let own_token = caller.authorization.iter().find_map(|value| self.own_token_in(value));
        if let Some(token) = own_token {
            let subject = Box::pin(self.user_of_token(&token, scopes)).await?;
            return Ok(Person { subject, session: None });
        }
        match self.browser_session(&caller.visitor).await? {
            Some(session) => Ok(Person { subject: session.session.subject.clone(), session: Some(session) }),
            None if caller.authorization.is_empty() => Err(AppFailure::Anonymous),
            None => Err(AppFailure::Unauthenticated),
        }
    }

    /// Whose token it is, if that has one of these scopes. One that is bound to a key is good elsewhere alone.
    async fn user_of_token(&self, token: &str, scopes: Scopes) -> Result<SubjectId, AppFailure> {
        let names: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let requirement = Requirement::new(&names, Match::Any, &[])
            .map_err(|error| Unavailable { operation: "ask for a scope", cause: Box::new(error) })?;
        let (decision, standing) = self.check(token, &Sight::All, &requirement, &Shown::default()).await?;
        match (decision, standing.active) {
            // A machine is no user, and a token that names a resource is not meant for here.
            (_, Some(active)) if active.facts.username.is_empty() || !active.variant().resources().is_empty() => {
                Err(AppFailure::Unauthenticated)
            }
            (Decision::Allowed, Some(active)) if !scopes.is_empty() => Ok(active.facts.subject.clone()),
            (Decision::Allowed | Decision::InsufficientScope { .. }, Some(_)) => Err(AppFailure::NotByToken(scopes)),
            _ => Err(AppFailure::Unauthenticated),
        }
    }

    /// The one place where it is said what an app can be.
    fn valid(&self, draft: &AppDraft, allowed: &ScopeSet) -> Result<Registration, RegistrationError> {
        let registration = Registration::of_app(draft, allowed)?;
        if registration.method == AuthenticationMethod::None && !self.offers(registration.method) {
            return Err(InvalidClientMetadata::AuthenticationMethod.into());
        }
        self.settings.authorization.redirects.check(&registration.redirect_uris)?;
        Ok(registration)
    }
}
