//! Every method there is: whom it is for, and how long it may take. What is not listed here is not offered to anybody.

use std::time::Duration;

use crate::domain::caller::{Caller, Permission, Sight};
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

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) access: Access,
    /// How long a method of the token service may take, whatever the caller allows. `None` for other services.
    pub(super) limit: Option<Duration>,
}

impl Access {
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
        return Some(Method { access, limit: Some(limit) });
    }
    let access = match (service, name) {
        ("grpc.health.v1.Health", "Check" | "Watch") => Access::Anybody,
        (
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
            "ServerReflectionInfo",
        ) => Access::Known,
        _ => return None,
    };
    Some(Method { access, limit: None })
}
