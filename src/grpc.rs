//! The front for services: `scopegate.v1`, health and reflection over gRPC.
//!
//! A call passes one place, [`GrpcFront`], which asks who calls and how long the answer may take; then one method of a service
//! implementation, which calls one use case and renders what it returns.

mod checks;
mod consistency;
mod ext_authz;
mod redaction;
mod revocations;
mod status;
mod tokens;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Service as _;

use self::ext_authz::EnvoyFront;
pub use self::status::ERROR_DOMAIN;
use self::tokens::{CHECK_LIMIT, TokenFront};
use crate::domain::secret::SecretHash;
use crate::proto::envoy::service::auth::v3::authorization_server::{AuthorizationServer, SERVICE_NAME as EXT_AUTHZ};
use crate::proto::scopegate::v1::token_service_server::{SERVICE_NAME, TokenServiceServer};
use crate::server::Peer;
use crate::service::Service;

/// The largest request message. A batch of 1,000 checks takes about half of it.
const MAX_REQUEST_BYTES: usize = 256 << 10;
/// The largest message of Envoy, which sends what its clients send it: headers, and the body where it is told to.
const MAX_ENVOY_REQUEST_BYTES: usize = 4 << 20;
/// Envoy itself waits for 200 ms.
const ENVOY_LIMIT: Duration = Duration::from_millis(150);
/// The largest response message.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// All gRPC services on one connection.
#[derive(Clone)]
pub struct GrpcFront {
    tokens: TokenServiceServer<TokenFront>,
    envoy: AuthorizationServer<EnvoyFront>,
    others: Routes,
    caller_token: Option<SecretHash>,
}

/// The answer to a call.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl GrpcFront {
    /// `caller_token` is what callers that are not local present; without it there are none.
    pub fn new(service: Arc<Service>, health: HealthServer<impl Health>, caller_token: Option<SecretHash>) -> Self {
        let envoy = AuthorizationServer::new(EnvoyFront::new(service.clone()))
            .max_decoding_message_size(MAX_ENVOY_REQUEST_BYTES);
        let tokens = TokenServiceServer::new(TokenFront::new(service))
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_RESPONSE_BYTES);
        let mut others = Routes::builder();
        others.add_service(health);
        // Tools speak one version or the other.
        let why = "the descriptors are those that the build made";
        others.add_service(reflection().build_v1().expect(why));
        others.add_service(reflection().build_v1alpha().expect(why));
        Self { tokens, envoy, others: others.routes().prepare(), caller_token }
    }

    /// Answers one call.
    pub fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        if method_of(request.uri().path(), EXT_AUTHZ).is_some() {
            let answer = self.answer_any(request, peer);
            return Box::pin(async { answer.await.map(ext_authz::fail_closed) });
        }
        self.answer_any(request, peer)
    }

    fn answer_any(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        if !self.admits(&request, peer) {
            return refuse(&status::caller_unknown());
        }
        let requested = match status::requested_timeout(request.headers()) {
            Ok(requested) => requested.unwrap_or(Duration::MAX),
            Err(status) => return refuse(&status),
        };
        let path = request.uri().path();
        let (limit, answer) = if let Some(method) = method_of(path, SERVICE_NAME) {
            (requested.min(token_service_limit(method)), self.tokens.clone().call(request))
        } else if method_of(path, EXT_AUTHZ).is_some() {
            // So that a denial still arrives in time.
            ((requested / 4 * 3).min(ENVOY_LIMIT), self.envoy.clone().call(request))
        } else {
            return Box::pin(self.others.clone().call(request));
        };
        let answer = timeout(limit, AssertUnwindSafe(answer).catch_unwind());
        Box::pin(async move {
            Ok(match answer.await {
                Ok(Ok(Ok(answer))) => answer,
                Ok(Err(_panic)) => status::internal().into_http(),
                Err(_elapsed) => status::deadline_exceeded().into_http(),
            })
        })
    }

    /// Local callers, and those with the caller token. Health is for everybody: probes have no token.
    fn admits(&self, request: &Request<Incoming>, peer: Peer) -> bool {
        if peer == Peer::Local || request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return true;
        }
        let presented = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match (presented.and_then(|value| value.strip_prefix("Bearer ")), &self.caller_token) {
            (Some(presented), Some(token)) => SecretHash::of(presented) == *token,
            _ => false,
        }
    }
}

fn refuse(status: &Status) -> Answer {
    Box::pin(std::future::ready(Ok(status.clone().into_http())))
}

/// The method of a service that a path names.
fn method_of<'p>(path: &'p str, service: &str) -> Option<&'p str> {
    path.strip_prefix('/')?.strip_prefix(service)?.strip_prefix('/')
}

/// How long a method of the token service may take, whatever the caller allows: a stream until it begins.
fn token_service_limit(method: &str) -> Duration {
    match method {
        "Introspect" | "CheckScopes" => CHECK_LIMIT,
        // A strict one waits for the leases of other servers, 30 s at most.
        "Revoke" | "BatchRevoke" => Duration::from_secs(35),
        _ => Duration::from_secs(2),
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
