//! `scopegate.v1.AdminService`: request → one use case → reply.

mod clients;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::revocations::time;
use super::status;
use crate::domain::caller::Caller;
use crate::domain::client::ClientId;
use crate::domain::grant::{Grant, GrantFacts, GrantState};
use crate::domain::revocation::Target;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::KeyId;
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::admin_service_server::AdminService;
use crate::service::Service;
use crate::service::administration::{EditError, ListError, Listing};
use crate::service::clients::ClientError;
use crate::service::signing_keys::{KeyDescription, Replacement};
use crate::store::{Account, ClientFilter, ClientKind, GrantFilter, RegisteredClient};

/// Items of a page: as many where none are asked for, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;
/// So many bytes of items fit into an answer.
const MAX_PAGE_BYTES: usize = 900 << 10;
/// A secret that was replaced stays good for so many seconds at most.
const MAX_OVERLAP: u32 = 30 * 86_400;
/// What one caller asks. The command line, on a database, calls it without a server.
#[derive(Clone)]
pub struct AdminFront {
    service: Arc<Service>,
    /// Who asks.
    caller: Caller,
}

impl AdminFront {
    pub fn new(service: Arc<Service>, caller: Caller) -> Self {
        Self { service, caller }
    }

    /// A page of what was read, one item more than fits if there are more.
    fn page<T, M: prost::Message>(
        &self,
        listing: &Listing,
        items: Vec<T>,
        size: u32,
        message: impl Fn(&T) -> M,
        key: impl Fn(&T) -> (Timestamp, Vec<u8>),
    ) -> (Vec<M>, String) {
        let (total, mut bytes, mut messages) = (items.len(), 0, Vec::new());
        let mut last = None;
        for item in items.into_iter().take(size as usize) {
            let next = message(&item);
            bytes += prost::Message::encoded_len(&next) + 8;
            if bytes > MAX_PAGE_BYTES && !messages.is_empty() {
                break;
            }
            messages.push(next);
            last = Some(item);
        }
        let token = last.filter(|_| messages.len() < total).map(|item| {
            let (time, name) = key(&item);
            self.service.page_token(listing, time, &name)
        });
        (messages, token.unwrap_or_default())
    }

    async fn client_message(&self, id: ClientId) -> Result<api::Client, Status> {
        let client = self.service.administered_client(id).await.map_err(client_failure)?;
        Ok(self.client(&client))
    }

    fn client(&self, registered: &RegisteredClient) -> api::Client {
        clients::message(registered, self.service.etag(registered))
    }
}

#[tonic::async_trait]
impl AdminService for AdminFront {
    async fn list_clients(
        &self,
        request: Request<api::ListClientsRequest>,
    ) -> Result<Response<api::ListClientsResponse>, Status> {
        let request = request.into_inner();
        let kind = match request.kind() {
            api::ClientKind::Unspecified if request.kind != 0 => {
                return Err(invalid_field("kind", "there is no such kind"));
            }
            api::ClientKind::Unspecified => None,
            api::ClientKind::Operator => Some(ClientKind::Operator),
            api::ClientKind::SelfRegistered => Some(ClientKind::Itself),
            api::ClientKind::Document => Some(ClientKind::Document),
            api::ClientKind::User => Some(ClientKind::User),
        };
        let size = page_size(request.page_size)?;
        no_nul("name_prefix", &request.name_prefix)?;
        let (kind_name, disabled) = (request.kind.to_string(), format!("{:?}", request.disabled));
        let listing = Listing::of(&["clients", &self.caller.name, &request.name_prefix, &kind_name, &disabled]);
        let filter = ClientFilter { name_prefix: request.name_prefix, kind, disabled: request.disabled };
        let clients = self.service.page_of_clients(&listing, &request.page_token, filter, size + 1).await;
        let key = |item: &RegisteredClient| (item.client.created_at, item.client.id.as_str().as_bytes().to_vec());
        let (clients, next_page_token) =
            self.page(&listing, clients.map_err(list_failure)?, size, |client| self.client(client), key);
        Ok(Response::new(api::ListClientsResponse { clients, next_page_token }))
    }

    async fn get_client(
        &self,
        request: Request<api::GetClientRequest>,
    ) -> Result<Response<api::GetClientResponse>, Status> {
        let id = client_id(&request.get_ref().client_id)?;
        Ok(Response::new(api::GetClientResponse { client: Some(self.client_message(id).await?) }))
    }

    async fn create_client(
        &self,
        request: Request<api::CreateClientRequest>,
    ) -> Result<Response<api::CreateClientResponse>, Status> {
        let client = request.into_inner().client.ok_or_else(|| invalid_field("client", "this is required"))?;
        let (new, post_logout) = clients::new(&client)?;
        let (created, secret) = self.service.register_client(new, post_logout).await.map_err(client_failure)?;
        if client.disabled {
            self.service.disable_client(created.client.id.clone()).await.map_err(client_failure)?;
        }
        Ok(Response::new(api::CreateClientResponse {
            client: Some(self.client_message(created.client.id).await?),
            client_secret: secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        }))
    }

    async fn update_client(
        &self,
        request: Request<api::UpdateClientRequest>,
    ) -> Result<Response<api::UpdateClientResponse>, Status> {
        let api::UpdateClientRequest { client, update_mask } = request.into_inner();
        let client = client.ok_or_else(|| invalid_field("client", "this is required"))?;
        let id = client_id(&client.client_id)?;
        let paths = update_mask.unwrap_or_default().paths;
        if paths.is_empty() {
            return Err(invalid_field("update_mask", "this names one field or more"));
        }
        if let Some(other) = paths.iter().find(|path| !clients::CHANGEABLE.contains(&path.as_str())) {
            let other: String = other.chars().take(100).collect();
            return Err(invalid_field("update_mask", &format!("{other:?} is no field that can be changed")));
        }
        let edit = clients::edit(&client, |field| paths.iter().any(|path| path == field))?;
        self.service.edit_client(id.clone(), client.etag, edit).await.map_err(edit_failure)?;
        Ok(Response::new(api::UpdateClientResponse { client: Some(self.client_message(id).await?) }))
    }

    async fn rotate_client_secret(
        &self,
        request: Request<api::RotateClientSecretRequest>,
    ) -> Result<Response<api::RotateClientSecretResponse>, Status> {
        let request = request.into_inner();
        let id = client_id(&request.client_id)?;
        if request.overlap > MAX_OVERLAP {
            return Err(invalid_field("overlap", &format!("this is {MAX_OVERLAP} seconds at most")));
        }
        let secret = self.service.rotate_client_secret(id.clone(), request.overlap).await.map_err(client_failure)?;
        Ok(Response::new(api::RotateClientSecretResponse {
            client: Some(self.client_message(id).await?),
            client_secret: secret.expose().to_owned(),
        }))
    }

    async fn delete_client(
        &self,
        request: Request<api::DeleteClientRequest>,
    ) -> Result<Response<api::DeleteClientResponse>, Status> {
        let request = request.into_inner();
        let id = client_id(&request.client_id)?;
        self.service.delete_client_as_read(id, &request.etag).await.map_err(edit_failure)?;
        Ok(Response::new(api::DeleteClientResponse {}))
    }

    async fn list_grants(
        &self,
        request: Request<api::ListGrantsRequest>,
    ) -> Result<Response<api::ListGrantsResponse>, Status> {
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        no_nul("account", &request.account)?;
        no_nul("client_id", &request.client_id)?;
        let active = request.active.to_string();
        let listing = Listing::of(&["grants", &self.caller.name, &request.account, &request.client_id, &active]);
        let active_at = request.active.then_some(Timestamp::from_unix(0));
        let filter = GrantFilter { user: request.account, client: request.client_id, active_at };
        let grants = self.service.page_of_grants(&listing, &request.page_token, filter, size + 1).await;
        let key = |grant: &Grant| (grant.created_at, grant.id.as_bytes().to_vec());
        let (grants, next_page_token) = self.page(&listing, grants.map_err(list_failure)?, size, grant, key);
        Ok(Response::new(api::ListGrantsResponse { grants, next_page_token }))
    }

    async fn get_grant(
        &self,
        request: Request<api::GetGrantRequest>,
    ) -> Result<Response<api::GetGrantResponse>, Status> {
        let id = parsed("grant_id", &request.get_ref().grant_id)?;
        let found = self.service.administered_grant(id).await.map_err(status::unavailable)?;
        let found = found.ok_or_else(|| status::not_found("GRANT_UNKNOWN", "there is no such grant"))?;
        Ok(Response::new(api::GetGrantResponse { grant: Some(grant(&found)) }))
    }

    async fn revoke_grants(
        &self,
        request: Request<api::RevokeGrantsRequest>,
    ) -> Result<Response<api::RevokeGrantsResponse>, Status> {
        let api::RevokeGrantsRequest { grant_id, session_id, account, client_id } = request.into_inner();
        let target = match (grant_id.as_str(), session_id.as_str(), account.as_str(), client_id.as_str()) {
            (grant, "", "", "") if !grant.is_empty() => {
                Target::Grant { id: parsed("grant_id", grant)?, generation: GrantFacts::REVOKED }
            }
            ("", session, "", "") if !session.is_empty() => Target::Session(parsed("session_id", session)?),
            ("", "", "", client) if !client.is_empty() => Target::Client(parsed("client_id", client)?),
            ("", "", account, client) if !account.is_empty() => {
                no_nul("account", account)?;
                let subject = self.service.subject_of(account.to_owned()).await.map_err(status::account)?;
                match client {
                    "" => Target::Subject(subject),
                    client => Target::SubjectClient(subject, parsed("client_id", client)?),
                }
            }
            _ => {
                let why = "either grant_id, or session_id, or account and client_id or one of them";
                return Err(invalid_field("grant_id", why));
            }
        };
        let revoked = self.service.revoke_now(target).await.map_err(status::unavailable)?;
        Ok(Response::new(api::RevokeGrantsResponse { revoked }))
    }

    async fn list_accounts(
        &self,
        request: Request<api::ListAccountsRequest>,
    ) -> Result<Response<api::ListAccountsResponse>, Status> {
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let listing = Listing::of(&["accounts", &self.caller.name]);
        let accounts = self.service.page_of_accounts(&listing, &request.page_token, size + 1).await;
        let key = |account: &Account| (account.created_at, account.username.as_bytes().to_vec());
        let (accounts, next_page_token) = self.page(&listing, accounts.map_err(list_failure)?, size, account, key);
        Ok(Response::new(api::ListAccountsResponse { accounts, next_page_token }))
    }

    async fn create_account(
        &self,
        request: Request<api::CreateAccountRequest>,
    ) -> Result<Response<api::CreateAccountResponse>, Status> {
        let api::CreateAccountRequest { username, password } = request.into_inner();
        let created = self.service.create_account(username, password.into()).await.map_err(status::account)?;
        Ok(Response::new(api::CreateAccountResponse { account: Some(account(&created)) }))
    }

    async fn set_account_password(
        &self,
        request: Request<api::SetAccountPasswordRequest>,
    ) -> Result<Response<api::SetAccountPasswordResponse>, Status> {
        let api::SetAccountPasswordRequest { username, password } = request.into_inner();
        no_nul("username", &username)?;
        self.service.set_password(username, password.into()).await.map_err(status::account)?;
        Ok(Response::new(api::SetAccountPasswordResponse {}))
    }

    async fn disable_account(
        &self,
        request: Request<api::DisableAccountRequest>,
    ) -> Result<Response<api::DisableAccountResponse>, Status> {
        let username = request.into_inner().username;
        no_nul("username", &username)?;
        self.service.disable_account(username).await.map_err(status::account)?;
        Ok(Response::new(api::DisableAccountResponse {}))
    }

    async fn enable_account(
        &self,
        request: Request<api::EnableAccountRequest>,
    ) -> Result<Response<api::EnableAccountResponse>, Status> {
        let username = request.into_inner().username;
        no_nul("username", &username)?;
        self.service.enable_account(username).await.map_err(status::account)?;
        Ok(Response::new(api::EnableAccountResponse {}))
    }

    async fn delete_account(
        &self,
        request: Request<api::DeleteAccountRequest>,
    ) -> Result<Response<api::DeleteAccountResponse>, Status> {
        let username = request.into_inner().username;
        no_nul("username", &username)?;
        self.service.delete_account(username).await.map_err(status::account)?;
        Ok(Response::new(api::DeleteAccountResponse {}))
    }

    async fn list_keys(&self, _: Request<api::ListKeysRequest>) -> Result<Response<api::ListKeysResponse>, Status> {
        let keys = self.service.signing_keys.list().await.map_err(status::unavailable)?;
        Ok(Response::new(api::ListKeysResponse { keys: keys.into_iter().map(key).collect() }))
    }

    async fn rotate_key(
        &self,
        request: Request<api::RotateKeyRequest>,
    ) -> Result<Response<api::RotateKeyResponse>, Status> {
        let replacement = if request.into_inner().compromised { Replacement::AtOnce } else { Replacement::Announced };
        self.service.rotate_signing_key(replacement).await.map_err(status::unavailable)?;
        Ok(Response::new(api::RotateKeyResponse {}))
    }

    async fn revoke_key(
        &self,
        request: Request<api::RevokeKeyRequest>,
    ) -> Result<Response<api::RevokeKeyResponse>, Status> {
        let id = u8::try_from(request.into_inner().key_id).ok().and_then(KeyId::new);
        let id = id.ok_or_else(|| invalid_field("key_id", "a key id is 0 to 15"))?;
        let revoked = self.service.revoke_now(Target::Key(id)).await.map_err(status::unavailable)?;
        Ok(Response::new(api::RevokeKeyResponse { revoked }))
    }
}

fn grant(grant: &Grant) -> api::Grant {
    let (state, expires_at) = match grant.state {
        GrantState::Pending => (api::GrantState::Pending, None),
        GrantState::Active(rotation) => (api::GrantState::Active, rotation.ends_at()),
        GrantState::Revoked => (api::GrantState::Revoked, None),
    };
    let scopes = grant.variants.first().map(|granted| granted.scopes.iter().map(str::to_owned).collect());
    api::Grant {
        grant_id: grant.id.to_string(),
        client_id: grant.client.to_string(),
        username: grant.username.clone(),
        subject: grant.subject.as_str().to_owned(),
        scopes: scopes.unwrap_or_default(),
        state: state.into(),
        session_id: grant.session.map(|session| session.to_string()).unwrap_or_default(),
        create_time: Some(time(grant.created_at)),
        expire_time: expires_at.map(time),
    }
}

fn account(account: &Account) -> api::Account {
    api::Account {
        username: account.username.clone(),
        subject: account.subject.as_str().to_owned(),
        create_time: Some(time(account.created_at)),
        disabled: account.disabled_at.is_some(),
    }
}

fn key(key: KeyDescription) -> api::Key {
    api::Key {
        kid: key.kid,
        alg: key.algorithm.name().into(),
        state: key.phase.name().into(),
        create_time: Some(time(key.created_at)),
        activate_time: Some(time(key.term.activates_at)),
        retire_time: Some(time(key.term.retires_at)),
    }
}

fn page_size(asked: i32) -> Result<u32, Status> {
    match u32::try_from(asked) {
        Ok(0) => Ok(PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(invalid_field("page_size", "this is not negative")),
    }
}

fn client_id(text: &str) -> Result<ClientId, Status> {
    parsed("client_id", text)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: T::Err| invalid_field(field, &error.to_string()))
}

/// PostgreSQL has no text with this in it.
fn no_nul(field: &str, text: &str) -> Result<(), Status> {
    if text.contains('\0') { Err(invalid_field(field, "this has no control characters")) } else { Ok(()) }
}

fn invalid_field(field: &str, why: &str) -> Status {
    status::invalid_field(field, why)
}

fn list_failure(error: ListError) -> Status {
    match error {
        ListError::PageToken => status::invalid("PAGE_TOKEN_INVALID", "page_token is not one of this list"),
        ListError::Unavailable(error) => status::unavailable(error),
    }
}

fn edit_failure(error: EditError) -> Status {
    match error {
        EditError::Etag => status::etag_mismatch(),
        EditError::Client(error) => client_failure(error),
    }
}

fn client_failure(error: ClientError) -> Status {
    let message = error.to_string();
    match error {
        ClientError::Unavailable(error) => status::unavailable(error),
        ClientError::Unknown(_) => status::not_found("CLIENT_UNKNOWN", &message),
        ClientError::NotOfUser => status::failed_precondition("CLIENT_OF_NO_USER", &message),
        ClientError::BuiltIn => status::failed_precondition("CLIENT_BUILT_IN", &message),
        ClientError::NoSecret => status::failed_precondition("CLIENT_HAS_NO_SECRET", &message),
        ClientError::UnknownScope(_) => invalid_field("client.scopes", &message),
        ClientError::Name => invalid_field("client.client_name", &message),
        ClientError::AuthenticationMethod => invalid_field("client.jwks", &message),
        ClientError::CertificatesOff => invalid_field("client.token_endpoint_auth_method", &message),
        ClientError::BothBindings => invalid_field("client.dpop_bound_access_tokens", &message),
        ClientError::Skip => invalid_field("client.consent", &message),
        ClientError::RedirectUri(_) => invalid_field("client.redirect_uris", &message),
        ClientError::Url(_) => invalid_field("client.client_uri", &message),
        ClientError::PublicIntrospection => invalid_field("client.public", &message),
        ClientError::Resource(_) => invalid_field("client.resources", &message),
        ClientError::PublicMachine | ClientError::NoGrantType => invalid_field("client.grant_types", &message),
        ClientError::PublicKeep => invalid_field("client.refresh_token_rotation", &message),
        ClientError::AccessTokenFormat => invalid_field("client.access_token_format", &message),
        ClientError::Lifetime => invalid_field("client.access_token_lifetime", &message),
    }
}
