//! Clients that users make, on our pages or over an API (`apps`). They are validated as those that register themselves, and belong to who made them: to
//! everybody else they do not exist.

use super::app_sign_in::Visitor;
use super::audit::acting_as;
use super::authorization::DescribedScope;
use super::clients::ClientError;
use super::managing::ManagingFailure;
use super::sign_in::BrowserSession;
use super::{OwnClientsPolicy, Service};
use crate::domain::audit::{Actor, Event};
use crate::domain::client::{
    AuthenticationMethod, Client, ClientId, ClientMetadata, ClientType, Introspects, Registrar,
};
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::parameters::Parameters;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::registration::{InvalidClientMetadata, Registration, RegistrationError, UserApp};
use crate::domain::scope::ScopeSet;
use crate::domain::secret::{RandomSecret, SecretHash};
use crate::store::{ClientSecretChange, NewOwnClient, OwnClientChange, SecretRotation};

/// How long a secret stays good that was replaced and that nobody else knows, in seconds.
const OVERLAP: u32 = 86_400;
const CREATE: &str = "create";

/// The clients of a user.
pub struct OwnClients {
    pub username: String,
    pub clients: Vec<Client>,
}

/// What the page with the form says, and what the form carries.
pub struct OwnClientForm {
    pub username: String,
    /// `None`: it is to be made.
    pub client: Option<Client>,
    pub said: Said,
    /// Whether it may be one that cannot keep a secret.
    pub offers_public: bool,
    /// What it may ask for at most.
    pub scopes: Vec<DescribedScope>,
    pub mistake: Option<Mistake>,
    pub ticket: String,
}

/// What a user says about an app, as it was typed.
pub struct Said {
    pub name: String,
    pub site: String,
    /// One a line.
    pub redirect_uris: String,
    pub scopes: Vec<String>,
    pub public: bool,
}

/// What is wrong with what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    Name,
    Site,
    RedirectUris,
    Scopes,
    /// Nothing is, but the user has too many clients.
    TooMany,
}

/// What came of a form.
pub enum Sent<T> {
    Done(T),
    /// It has a mistake.
    Again(Box<OwnClientForm>),
}

/// A client, and its new secret if it got one: it is shown this once.
pub struct Made {
    pub username: String,
    pub client: Client,
    pub secret: Option<RandomSecret>,
}

/// What a user makes, valid.
pub(super) struct NewApp {
    pub(super) id: ClientId,
    pub(super) registration: Registration,
    pub(super) description: Option<String>,
    /// Where it is at home, where that is not its site.
    pub(super) website: Option<String>,
}

/// A client that the user is asked about.
pub struct Question {
    pub username: String,
    pub client: Client,
    pub ticket: String,
}

impl Service {
    pub async fn own_clients(&self, visitor: &Visitor) -> Result<OwnClients, ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let clients = self.store.own_clients(session.session.subject).await?;
        Ok(OwnClients { username: session.session.username, clients })
    }

    /// The form for a new one, with what is `said` in it.
    pub async fn new_own_client(&self, visitor: &Visitor, said: Said) -> Result<OwnClientForm, ManagingFailure> {
        let session = self.signed_in_lately(visitor).await?;
        let ticket = self.managing_ticket(&session, CREATE);
        Ok(self.form(session, None, said, ticket))
    }

    /// The ticket names the client, so a form that is sent twice makes one.
    pub async fn create_own_client(&self, form: &Parameters, visitor: &Visitor) -> Result<Sent<Made>, ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let name = self.open_managing_ticket(form, &session, CREATE)?;
        let OwnClientsPolicy { scopes, per_user } = self.own_clients_policy()?;
        // Where there are no public clients, the form does not ask.
        let public = form.get("type") == Some("public") && self.offers(AuthenticationMethod::None);
        let said = Said::in_form(form, public);
        let registration = match said.validate(scopes).and_then(|said| self.check_redirect_uris(said)) {
            Ok(registration) => registration,
            Err(mistake) => return Ok(self.again(session, None, said, form, mistake)),
        };
        if !self.remember_user(&session).await? {
            return Err(ManagingFailure::NotAdmitted);
        }
        let id = self.client_id_of(*name.as_bytes());
        let new = NewApp { id: id.clone(), registration, description: None, website: None };
        match self.make_own_client(session.session.subject.clone(), new, *per_user).await? {
            Some((client, secret)) => Ok(Sent::Done(Made { username: session.session.username, client, secret })),
            None if self.store.client(id).await?.is_some() => Err(ManagingFailure::Stale),
            None => Ok(self.again(session, None, said, form, Mistake::TooMany)),
        }
    }

    /// A client of this user, and its secret if it has one. `None` when the id is taken, or the user has `most` already.
    pub(super) async fn make_own_client(
        &self,
        owner: SubjectId,
        new: NewApp,
        most: u32,
    ) -> Result<Option<(Client, Option<RandomSecret>)>, Unavailable> {
        let NewApp { id, registration, description, website } = new;
        let secret = (registration.method != AuthenticationMethod::None).then(|| self.new_client_secret());
        let client = Client {
            id,
            name: registration.name.clone().unwrap_or_default(),
            client_type: match &secret {
                Some(secret) => ClientType::Confidential { secret: secret.hash(), previous: None },
                None => ClientType::Public,
            },
            metadata: ClientMetadata {
                client_uri: registration.site().map(str::to_owned),
                ..ClientMetadata::default()
            },
            redirect_uris: registration.redirect_uris,
            scopes: registration.scopes,
            introspects: Introspects::Own,
            created_at: self.effects.now(),
            disabled_at: None,
            registrar: Registrar::User { owner: owner.clone(), verified_at: None },
            last_used_at: None,
        };
        let new = NewOwnClient { client: client.clone(), owner: owner.clone(), most, description, website };
        if !self.store.insert_own_client(new).await? {
            return Ok(None);
        }
        tracing::info!(client_id = %client.id, sub = owner.as_str(), "a user made a client");
        self.record_of_user(&owner, Event::ClientCreated(&client.id)).await;
        Ok(Some((client, secret)))
    }

    fn check_redirect_uris(&self, registration: Registration) -> Result<Registration, Mistake> {
        let checked = self.settings.authorization.redirects.check(&registration.redirect_uris);
        checked.map(|()| registration).map_err(|_| Mistake::RedirectUris)
    }

    /// The form for one that is there.
    pub async fn own_client(&self, id: &str, visitor: &Visitor) -> Result<OwnClientForm, ManagingFailure> {
        let session = self.signed_in_lately(visitor).await?;
        let client = self.owned(id, &session).await?;
        let ticket = self.managing_ticket(&session, &change(&client));
        Ok(self.form(session, Some(client.clone()), Said::of(&client), ticket))
    }

    /// What it is told in other ways stays: how it comes by tokens, and whether it has a secret.
    pub async fn change_own_client(
        &self,
        id: &str,
        form: &Parameters,
        visitor: &Visitor,
    ) -> Result<Sent<()>, ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let client = self.owned(id, &session).await?;
        self.open_managing_ticket(form, &session, &change(&client))?;
        let said = Said::in_form(form, !client.is_confidential());
        let registration =
            match said.validate(&self.allowed_to(&client)?).and_then(|said| self.check_redirect_uris(said)) {
                Ok(registration) => registration,
                Err(mistake) => return Ok(self.again(session, Some(client), said, form, mistake)),
            };
        let changed = Client {
            name: registration.name.clone().unwrap_or_default(),
            metadata: ClientMetadata { client_uri: registration.site().map(str::to_owned), ..client.metadata },
            redirect_uris: registration.redirect_uris,
            scopes: registration.scopes,
            ..client
        };
        let subject = session.session.subject;
        let change = OwnClientChange {
            client: changed,
            owner: subject,
            website: None,
            secret: ClientSecretChange::Keep,
            now: self.effects.now(),
        };
        if self.alter_own_client(change).await? { Ok(Sent::Done(())) } else { Err(ManagingFailure::Unknown) }
    }

    /// `false` when it is gone.
    pub(super) async fn alter_own_client(&self, change: OwnClientChange) -> Result<bool, Unavailable> {
        let (owner, id) = (change.owner.clone(), change.client.id.clone());
        let changed = self.store.change_own_client(change).await?;
        if changed {
            self.client_scopes.forget(&id);
            tracing::info!(client_id = %id, "a user changed a client");
            self.record_of_user(&owner, Event::ClientChanged(&id)).await;
        }
        Ok(changed)
    }

    /// Asks whether to replace the secret.
    pub async fn ask_for_own_secret(&self, id: &str, visitor: &Visitor) -> Result<Question, ManagingFailure> {
        let session = self.signed_in_lately(visitor).await?;
        let client = self.owned(id, &session).await?;
        let ticket = self.managing_ticket(&session, &rotate(&client.id, secret_of(&client)?));
        Ok(Question { username: session.session.username, client, ticket })
    }

    /// The form says which secret it replaces, so one that is sent twice replaces it once.
    pub async fn rotate_own_secret(
        &self,
        id: &str,
        form: &Parameters,
        visitor: &Visitor,
    ) -> Result<Made, ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let client = self.owned(id, &session).await?;
        let present = *secret_of(&client)?;
        self.open_managing_ticket(form, &session, &rotate(&client.id, &present))?;
        let secret = self.new_client_secret();
        let until = match form.get("leaked") {
            Some(_) => None,
            None => Some(self.effects.now().plus(OVERLAP)),
        };
        let rotation = SecretRotation {
            owner: session.session.subject.clone(),
            id: client.id.clone(),
            present,
            secret: secret.hash(),
            previous_until: until,
        };
        if !self.store.rotate_own_secret(rotation).await? {
            return Err(ManagingFailure::Stale);
        }
        tracing::info!(client_id = %client.id, "a user replaced the secret of a client");
        self.record_of_user(&session.session.subject, Event::ClientSecretRotated(&client.id)).await;
        Ok(Made { username: session.session.username, client, secret: Some(secret) })
    }

    /// Asks whether to delete it.
    pub async fn ask_to_delete_own_client(&self, id: &str, visitor: &Visitor) -> Result<Question, ManagingFailure> {
        let session = self.signed_in_lately(visitor).await?;
        let client = self.owned(id, &session).await?;
        let ticket = self.managing_ticket(&session, &delete(&client));
        Ok(Question { username: session.session.username, client, ticket })
    }

    /// Removes it and revokes its grants, those of all users.
    pub async fn delete_own_client(
        &self,
        id: &str,
        form: &Parameters,
        visitor: &Visitor,
    ) -> Result<(), ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let client = self.owned(id, &session).await?;
        self.open_managing_ticket(form, &session, &delete(&client))?;
        if self.remove_own_client(session.session.subject, client.id).await? {
            Ok(())
        } else {
            Err(ManagingFailure::Unknown)
        }
    }

    /// `false` when it was deleted just now.
    pub(super) async fn remove_own_client(&self, owner: SubjectId, id: ClientId) -> Result<bool, Unavailable> {
        match acting_as(Actor::User(owner), self.delete_client(id.clone())).await {
            Ok(()) => {
                tracing::info!(client_id = %id, "a user deleted a client");
                Ok(true)
            }
            Err(ClientError::Unavailable(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn record_of_user(&self, subject: &SubjectId, event: Event<'_>) {
        acting_as(Actor::User(subject.clone()), async { self.audit.record(event) }).await;
    }

    async fn owned(&self, id: &str, session: &BrowserSession) -> Result<Client, ManagingFailure> {
        let id: ClientId = id.parse().map_err(|_| ManagingFailure::Unknown)?;
        let client = self.store.client(id).await?;
        client.filter(|client| client.owner() == Some(&session.session.subject)).ok_or(ManagingFailure::Unknown)
    }

    fn own_clients_policy(&self) -> Result<&OwnClientsPolicy, ManagingFailure> {
        self.settings.account.clients.as_ref().ok_or(ManagingFailure::Unknown)
    }

    /// What an operator gave it beside what users may ask for, it keeps.
    fn allowed_to(&self, client: &Client) -> Result<ScopeSet, ManagingFailure> {
        Ok(self.own_clients_policy()?.scopes.union(&client.scopes))
    }

    fn again<T>(
        &self,
        session: BrowserSession,
        client: Option<Client>,
        said: Said,
        form: &Parameters,
        mistake: Mistake,
    ) -> Sent<T> {
        let ticket = form.get("ticket").unwrap_or_default().to_owned();
        let form = self.form(session, client, said, ticket);
        Sent::Again(Box::new(OwnClientForm { mistake: Some(mistake), ..form }))
    }

    fn form(&self, session: BrowserSession, client: Option<Client>, said: Said, ticket: String) -> OwnClientForm {
        let offered = self.settings.account.clients.as_ref().map(|policy| policy.scopes.clone()).unwrap_or_default();
        let offered = client.as_ref().map_or(offered.clone(), |client| offered.union(&client.scopes));
        OwnClientForm {
            username: session.session.username,
            scopes: offered.iter().map(|scope| self.describe(scope)).collect(),
            client,
            said,
            offers_public: self.offers(AuthenticationMethod::None),
            mistake: None,
            ticket,
        }
    }
}

impl Said {
    pub fn nothing() -> Self {
        Self {
            name: String::new(),
            site: String::new(),
            redirect_uris: String::new(),
            scopes: Vec::new(),
            public: false,
        }
    }

    fn of(client: &Client) -> Self {
        let uris: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
        Self {
            name: client.name.clone(),
            site: client.metadata.client_uri.clone().unwrap_or_default(),
            redirect_uris: uris.join("\n"),
            scopes: client.scopes.iter().map(str::to_owned).collect(),
            public: !client.is_confidential(),
        }
    }

    fn in_form(form: &Parameters, public: bool) -> Self {
        let text = |name: &str| form.get(name).unwrap_or_default().trim().to_owned();
        Self {
            name: text("name"),
            site: text("site"),
            redirect_uris: text("redirect_uris"),
            scopes: form.all("scope").map(str::to_owned).collect(),
            public,
        }
    }

    fn validate(&self, allowed: &ScopeSet) -> Result<Registration, Mistake> {
        let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let app = UserApp {
            name: given(&self.name),
            site: given(&self.site),
            redirect_uris: self.redirect_uris.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
            scopes: self.scopes.iter().map(String::as_str).collect(),
            public: self.public,
        };
        Registration::of_user(&app, allowed).map_err(|error| match error {
            RegistrationError::InvalidClientMetadata(InvalidClientMetadata::Url(_)) => Mistake::Site,
            RegistrationError::InvalidClientMetadata(InvalidClientMetadata::Scope) => Mistake::Scopes,
            RegistrationError::InvalidRedirectUri(_)
            | RegistrationError::RedirectUris
            | RegistrationError::PrivateUseScheme => Mistake::RedirectUris,
            _ => Mistake::Name,
        })
    }
}

/// Whoever has none, has none to replace.
fn secret_of(client: &Client) -> Result<&SecretHash, ManagingFailure> {
    match &client.client_type {
        ClientType::Confidential { secret, .. } => Ok(secret),
        ClientType::Public | ClientType::Signing | ClientType::Certified => Err(ManagingFailure::Unknown),
    }
}

fn change(client: &Client) -> String {
    format!("change {}", client.id)
}

fn rotate(id: &ClientId, present: &SecretHash) -> String {
    format!("rotate {id} {:?}", present.as_bytes())
}

fn delete(client: &Client) -> String {
    format!("delete {}", client.id)
}
