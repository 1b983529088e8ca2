//! The pages on which users manage their apps.

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;
use minijinja::{Value, context};
use url::Url;

use super::renderer::Meaning;
use super::{copying, page, switching_values};
use crate::domain::client::{Client, ClientMetadata, ClientType, Introspects, Registrar};
use crate::domain::grant::SubjectId;
use crate::domain::language::{Language, ScopeMeaning, Wording};
use crate::domain::scope::ScopeSet;
use crate::domain::secret::{RandomSecret, SecretHash};
use crate::domain::timestamp::Timestamp;
use crate::service::app_sign_in::Switching;
use crate::service::authorization::DescribedScope;
use crate::service::connected_apps::{ConnectedApps, DescribedApp};
use crate::service::own_clients::{Made, Mistake, OwnClientForm, OwnClients, Question, Said};

/// Who is there, and where.
pub(in crate::http) struct Nav<'a> {
    pub(in crate::http) username: &'a str,
    pub(in crate::http) place: Place,
    /// Whether there are both lists to go to.
    pub(in crate::http) both: bool,
    pub(in crate::http) switching: Switching,
}

/// Which page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Place {
    Apps,
    Clients,
    /// One that leads back to the clients.
    Below,
}

impl Nav<'_> {
    fn values(&self) -> Value {
        let Self { username, place, both, ref switching } = *self;
        let nav = context! { both, apps => place == Place::Apps, clients => place == Place::Clients };
        context! { username, nav, ..switching_values(switching) }
    }
}

/// Those that may use the account.
pub(in crate::http) fn apps(shown: &ConnectedApps, nav: &Nav<'_>) -> Response {
    let apps: Vec<Value> = shown.apps.iter().map(app).collect();
    page(StatusCode::OK, "apps.html", context! { apps, ticket => &shown.ticket, ..nav.values() }, None)
}

fn app(app: &DescribedApp) -> Value {
    context! {
        client_id => app.client.id.as_str(),
        name => &app.client.name,
        site => site(&app.client),
        unverified => !app.client.is_verified(),
        scopes => scopes(&app.scopes, |_| false),
        granted_at => app.granted_at.date(),
        last_used_at => app.last_used_at.date(),
    }
}

/// Those that the user made.
pub(in crate::http) fn clients(shown: &OwnClients, nav: &Nav<'_>) -> Response {
    let clients: Vec<Value> = shown.clients.iter().map(client_values).collect();
    page(StatusCode::OK, "clients.html", context! { clients, ..nav.values() }, None)
}

/// The form for one of them, or for a new one.
pub(in crate::http) fn client(form: &OwnClientForm, nav: &Nav<'_>) -> Response {
    let mistake = form.mistake.map(|mistake| match mistake {
        Mistake::Name => "name",
        Mistake::Site => "site",
        Mistake::RedirectUris => "redirect_uris",
        Mistake::Scopes => "scopes",
        Mistake::TooMany => "too_many",
    });
    let said = &form.said;
    let values = context! {
        client => form.client.as_ref().map(client_values),
        name => &said.name,
        // `site` is that of the layout.
        website => &said.site,
        redirect_uris => &said.redirect_uris,
        public => said.public,
        offers_public => form.offers_public,
        scopes => scopes(&form.scopes, |name| said.scopes.iter().any(|said| said == name)),
        mistake,
        ticket => &form.ticket,
        ..nav.values()
    };
    let status = match form.mistake {
        None => StatusCode::OK,
        Some(Mistake::TooMany) => StatusCode::CONFLICT,
        Some(_) => StatusCode::BAD_REQUEST,
    };
    page(status, "client.html", values, None)
}

/// A client that was made, or has a new secret: the only page that ever shows it.
pub(in crate::http) fn made(made: &Made, nav: &Nav<'_>) -> Response {
    let secret = made.secret.as_ref().map(RandomSecret::expose);
    let values = context! { client => client_values(&made.client), secret, ..nav.values() };
    copying("client_made.html", values)
}

/// The page that asks whether to replace the secret.
pub(in crate::http) fn rotate(question: &Question, nav: &Nav<'_>) -> Response {
    ask("client_secret.html", question, nav)
}

/// The page that asks whether to delete it.
pub(in crate::http) fn delete(question: &Question, nav: &Nav<'_>) -> Response {
    ask("client_delete.html", question, nav)
}

fn ask(template: &'static str, question: &Question, nav: &Nav<'_>) -> Response {
    let values = context! { client => client_values(&question.client), ticket => &question.ticket, ..nav.values() };
    page(StatusCode::OK, template, values, None)
}

fn client_values(client: &Client) -> Value {
    context! {
        id => client.id.as_str(),
        name => &client.name,
        public => !client.is_confidential(),
        has_secret => matches!(client.client_type, ClientType::Confidential { .. }),
        disabled => client.disabled_at.is_some(),
        verified => client.is_verified(),
        created_at => client.created_at.date(),
        last_used_at => client.last_used_at.map(Timestamp::date),
    }
}

fn scopes(scopes: &[DescribedScope], ticked: impl Fn(&str) -> bool) -> Vec<Value> {
    let scope = |scope: &DescribedScope| {
        let meaning = Value::from_object(Meaning(scope.meaning.clone()));
        context! { name => &scope.name, meaning, ticked => ticked(&scope.name) }
    };
    scopes.iter().map(scope).collect()
}

/// Where the app says that it is at home: a link to a page, never to a script.
fn site(client: &Client) -> Option<Value> {
    let url = Url::parse(client.metadata.client_uri.as_deref()?).ok().filter(|url| url.scheme() == "https")?;
    let host = url.host_str()?.to_owned();
    Some(context! { url => url.as_str(), host })
}

/// Each of these pages, as it looks with and without everything that may be on it.
pub(super) fn samples() -> Vec<Response> {
    let scopes = || {
        let said = Wording::Each(BTreeMap::from([(Language::En, "See A".to_owned())]));
        vec![
            DescribedScope {
                name: "a".into(),
                meaning: ScopeMeaning::Said(said),
                is_required: false,
                was_allowed: false,
            },
            DescribedScope {
                name: "openid".into(),
                meaning: ScopeMeaning::Standard,
                is_required: false,
                was_allowed: false,
            },
        ]
    };
    let sample = |client_type, is_whole: bool| {
        let at = Some(Timestamp::default()).filter(|_| is_whole);
        Client {
            id: "client".parse().expect("a client id"),
            name: "Shop".into(),
            client_type,
            redirect_uris: Vec::new(),
            scopes: ScopeSet::default(),
            introspects: Introspects::Own,
            metadata: ClientMetadata {
                client_uri: at.map(|_| "https://shop.example/".into()),
                ..ClientMetadata::default()
            },
            created_at: Timestamp::default(),
            disabled_at: at,
            registrar: Registrar::User { owner: SubjectId::new("ann"), verified_at: at },
            last_used_at: at,
        }
    };
    let confidential = ClientType::Confidential { secret: SecretHash::from_bytes([0; 32]), previous: None };
    let samples = || [sample(confidential.clone(), true), sample(ClientType::Public, false)];
    let connected = |apps| ConnectedApps { username: "ann".into(), apps, ticket: "ticket".into() };
    let described = |client| DescribedApp {
        client,
        scopes: scopes(),
        granted_at: Timestamp::default(),
        last_used_at: Timestamp::default(),
    };
    let own = |clients| OwnClients { username: "ann".into(), clients };
    let said = || Said {
        name: "Shop".into(),
        site: "https://shop.example/".into(),
        redirect_uris: "https://shop.example/callback".into(),
        scopes: vec!["a".into()],
        public: false,
    };
    let form = |client, mistake| OwnClientForm {
        username: "ann".into(),
        client,
        said: said(),
        offers_public: true,
        scopes: scopes(),
        mistake,
        ticket: "ticket".into(),
    };
    let question = |client| Question { username: "ann".into(), client, ticket: "ticket".into() };
    let nav = |place, both| Nav { username: "ann", place, both, switching: Switching::Here };
    let below = nav(Place::Below, true);
    let mut responses = vec![
        apps(&connected(samples().map(described).into()), &nav(Place::Apps, true)),
        apps(&connected(Vec::new()), &nav(Place::Apps, false)),
        clients(&own(samples().into()), &nav(Place::Clients, true)),
        clients(&own(Vec::new()), &nav(Place::Clients, false)),
        client(&form(None, None), &below),
    ];
    for mistake in [Mistake::Name, Mistake::Site, Mistake::RedirectUris, Mistake::Scopes, Mistake::TooMany] {
        responses.push(client(&form(None, Some(mistake)), &below));
    }
    for one in samples() {
        responses.push(client(&form(Some(one.clone()), None), &below));
        responses.push(rotate(&question(one.clone()), &below));
        responses.push(delete(&question(one.clone()), &below));
        let secret = one.is_confidential().then(|| RandomSecret::from_entropy(&[0; 32]));
        responses.push(made(&Made { username: "ann".into(), client: one, secret }, &below));
    }
    responses
}
