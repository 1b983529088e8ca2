//! Every method there is: whom it is for, and how long it may take. What is not listed here is not offered to anybody.

use std::time::Duration;

use crate::domain::caller::{Caller, Permission, Sight};
use crate::proto::envoy::service::auth::v3::authorization_server::SERVICE_NAME as ENVOY;
use crate::proto::scopegate::v1::admin_service_server::SERVICE_NAME as ADMIN;
use crate::proto::scopegate::v1::interaction_service_server::SERVICE_NAME as INTERACTIONS;
use crate::proto::scopegate::v1::token_service_server::SERVICE_NAME as TOKENS;

/// Whom a method is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// For everybody: probes have no token.
    Anybody,
    /// For every caller that is known.
    Known,
    /// For those who may.
    Permitted(Permission),
    /// For those who may and see all tokens, because it concerns more than one.
    PermittedForAll(Permission),
}

/// What answers a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Tokens,
    Admin,
    Envoy,
    Interactions,
    Others,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) access: Access,
    pub(super) server: Server,
    /// How long an answer may take, whatever the caller allows.
    limit: Duration,
}

impl Method {
    /// How long an answer may take for a caller who waits for so long.
    pub(super) fn limit_of(self, requested: Option<Duration>) -> Duration {
        let requested = requested.unwrap_or(Duration::MAX);
        match self.server {
            // So that a denial still arrives in time.
            Server::Envoy => self.limit.min(requested / 4 * 3),
            Server::Tokens | Server::Admin | Server::Interactions | Server::Others => self.limit.min(requested),
        }
    }
}

impl Access {
    /// Whether it is about more than asking.
    pub(super) fn changes(self) -> bool {
        matches!(
            self,
            Self::Permitted(Permission::Revoke | Permission::Interact)
                | Self::PermittedForAll(Permission::Revoke | Permission::Admin)
        )
    }

    pub(super) fn admits(self, caller: &Caller) -> bool {
        match self {
            Self::Anybody | Self::Known => true,
            Self::Permitted(permission) => caller.may(permission),
            Self::PermittedForAll(permission) => caller.may(permission) && caller.sight == Sight::All,
        }
    }
}

/// The method with this path.
pub(super) fn method(path: &str) -> Option<Method> {
    const QUICK: Duration = Duration::from_millis(500);
    const MANY: Duration = Duration::from_secs(2);
    // A strict one waits for the leases of other servers, 30 s at most.
    const STRICT: Duration = Duration::from_secs(35);
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    if service == TOKENS {
        let (access, limit) = match name {
            "CheckScopes" => (Access::Permitted(Permission::Check), QUICK),
            "Introspect" => (Access::Permitted(Permission::Introspect), QUICK),
            "BatchCheckScopes" | "StreamCheckScopes" => (Access::Permitted(Permission::Check), MANY),
            "BatchIntrospect" => (Access::Permitted(Permission::Introspect), MANY),
            "Revoke" => (Access::Permitted(Permission::Revoke), STRICT),
            "BatchRevoke" => (Access::PermittedForAll(Permission::Revoke), STRICT),
            "WatchRevocations" => (Access::PermittedForAll(Permission::Watch), MANY),
            _ => return None,
        };
        return Some(Method { access, server: Server::Tokens, limit });
    }
    if service == ADMIN {
        // Hashing a password and making a key take their time.
        let limit = Duration::from_secs(10);
        let access = Access::PermittedForAll(Permission::Admin);
        return is_administrative(name).then_some(Method { access, server: Server::Admin, limit });
    }
    if service == INTERACTIONS {
        let access = Access::Permitted(Permission::Interact);
        let is_one = matches!(name, "GetInteraction" | "AcceptLogin" | "AcceptConsent" | "RejectInteraction");
        return is_one.then_some(Method { access, server: Server::Interactions, limit: MANY });
    }
    if (service, name) == (ENVOY, "Check") {
        // Envoy itself waits for 200 ms.
        let limit = Duration::from_millis(150);
        return Some(Method { access: Access::Permitted(Permission::Check), server: Server::Envoy, limit });
    }
    let access = match (service, name) {
        ("grpc.health.v1.Health", "Check" | "Watch") => Access::Anybody,
        (
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
            "ServerReflectionInfo",
        ) => Access::Known,
        _ => return None,
    };
    Some(Method { access, server: Server::Others, limit: Duration::MAX })
}

fn is_administrative(name: &str) -> bool {
    matches!(
        name,
        "ListClients"
            | "GetClient"
            | "CreateClient"
            | "UpdateClient"
            | "RotateClientSecret"
            | "DeleteClient"
            | "ListGrants"
            | "GetGrant"
            | "RevokeGrants"
            | "ListAccounts"
            | "CreateAccount"
            | "SetAccountPassword"
            | "DisableAccount"
            | "EnableAccount"
            | "DeleteAccount"
            | "ListKeys"
            | "RotateKey"
            | "RevokeKey"
    )
}
