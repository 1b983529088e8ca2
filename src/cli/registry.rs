//! Where clients, grants, accounts and keys are managed: on the database, or through a server that runs. Both are `AdminService`, so the
//! verbs do not know which it is.

use std::error::Error;
use std::fmt;

use clap::Args;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::target::{Caller, CallerToken, Tls};
use super::{CliError, ConfigSource, StatusError};
use crate::domain::caller;
use crate::grpc::AdminFront;
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::admin_service_client::AdminServiceClient;
use crate::proto::scopegate::v1::admin_service_server::AdminService as _;

/// The most that a page has.
const PAGE: i32 = 1_000;

#[derive(Args)]
pub(super) struct Place {
    #[command(flatten)]
    source: ConfigSource,
    /// Ask this server, which runs, rather than the database: `https://host:port`, `http://host:port`, `host:port` or `unix:/path`. The
    /// caller needs the permission `admin`
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    endpoint: Option<String>,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    caller: Caller,
}

pub(super) enum Registry {
    Database(AdminFront),
    Server(AdminServiceClient<InterceptedService<Channel, CallerToken>>),
}

/// What was refused on the database, and why, as far as that is known.
#[derive(Debug)]
pub struct Refused(Status);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut cause) = Error::source(&self.0) else { return f.write_str(self.0.message()) };
        write!(f, "{cause}")?;
        while let Some(deeper) = cause.source() {
            write!(f, ": {deeper}")?;
            cause = deeper;
        }
        Ok(())
    }
}

impl Error for Refused {}

impl Place {
    pub(super) async fn open(&self) -> Result<Registry, CliError> {
        let Some(endpoint) = &self.endpoint else {
            let service = self.source.open().await?.service;
            return Ok(Registry::Database(AdminFront::new(service, caller::Caller::unrestricted("command line"))));
        };
        let token = self.caller.token()?;
        Ok(Registry::Server(AdminServiceClient::with_interceptor(self.tls.connect(endpoint).await?, token)))
    }
}

macro_rules! calls {
    ($($name:ident($request:ident) -> $answer:ident;)*) => {
        impl Registry {
            $(pub(super) async fn $name(&mut self, request: api::$request) -> Result<api::$answer, CliError> {
                let answer = match self {
                    Self::Database(admin) => admin.$name(Request::new(request)).await.map_err(Refused)?,
                    Self::Server(server) => server.$name(request).await.map_err(StatusError)?,
                };
                Ok(answer.into_inner())
            })*
        }
    };
}

calls! {
    list_clients(ListClientsRequest) -> ListClientsResponse;
    get_client(GetClientRequest) -> GetClientResponse;
    create_client(CreateClientRequest) -> CreateClientResponse;
    update_client(UpdateClientRequest) -> UpdateClientResponse;
    rotate_client_secret(RotateClientSecretRequest) -> RotateClientSecretResponse;
    delete_client(DeleteClientRequest) -> DeleteClientResponse;
    list_grants(ListGrantsRequest) -> ListGrantsResponse;
    get_grant(GetGrantRequest) -> GetGrantResponse;
    revoke_grants(RevokeGrantsRequest) -> RevokeGrantsResponse;
    list_accounts(ListAccountsRequest) -> ListAccountsResponse;
    create_account(CreateAccountRequest) -> CreateAccountResponse;
    set_account_password(SetAccountPasswordRequest) -> SetAccountPasswordResponse;
    disable_account(DisableAccountRequest) -> DisableAccountResponse;
    enable_account(EnableAccountRequest) -> EnableAccountResponse;
    delete_account(DeleteAccountRequest) -> DeleteAccountResponse;
    list_keys(ListKeysRequest) -> ListKeysResponse;
    rotate_key(RotateKeyRequest) -> RotateKeyResponse;
    revoke_key(RevokeKeyRequest) -> RevokeKeyResponse;
}

/// Lists, from their first page to their last one.
impl Registry {
    pub(super) async fn clients(&mut self) -> Result<Vec<api::Client>, CliError> {
        let (mut clients, mut request) =
            (Vec::new(), api::ListClientsRequest { page_size: PAGE, ..Default::default() });
        loop {
            let page = self.list_clients(request.clone()).await?;
            clients.extend(page.clients);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(clients);
            }
        }
    }

    /// As many as `most`.
    pub(super) async fn grants(
        &mut self,
        filter: api::ListGrantsRequest,
        most: usize,
    ) -> Result<Vec<api::Grant>, CliError> {
        let (mut grants, mut request) = (Vec::new(), api::ListGrantsRequest { page_size: PAGE, ..filter });
        loop {
            let page = self.list_grants(request.clone()).await?;
            grants.extend(page.grants);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() || grants.len() >= most {
                grants.truncate(most);
                return Ok(grants);
            }
        }
    }

    pub(super) async fn accounts(&mut self) -> Result<Vec<api::Account>, CliError> {
        let mut request = api::ListAccountsRequest { page_size: PAGE, ..Default::default() };
        let mut accounts = Vec::new();
        loop {
            let page = self.list_accounts(request.clone()).await?;
            accounts.extend(page.accounts);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(accounts);
            }
        }
    }
}

/// Unix seconds; the servers set every time that these verbs print.
pub(super) fn seconds(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds)
}
