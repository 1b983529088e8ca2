//! The front for services: `scopegate.v1`, health and reflection over gRPC.
//!
//! A call passes one place, [`GrpcFront`], which asks who calls and how long the answer may take; then one method of a service
//! implementation, which calls one use case and renders what it returns.

mod admin;
mod checks;
mod consistency;
mod ext_authz;
mod interactions;
mod methods;
mod redaction;
mod revocations;
mod status;
mod tokens;

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::Service as _;

pub use self::admin::AdminFront;
use self::ext_authz::EnvoyFront;
use self::interactions::InteractionFront;
use self::methods::{Access, Method, Server};
pub use self::status::ERROR_DOMAIN;
use self::tokens::TokenFront;
use crate::domain::audit::{Actor, CallerRefusal, Event, Origin, request_id};
use crate::domain::caller::{CallerId, Callers};
use crate::proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use crate::proto::scopegate::v1::admin_service_server::AdminServiceServer;
use crate::proto::scopegate::v1::interaction_service_server::InteractionServiceServer;
use crate::proto::scopegate::v1::token_service_server::TokenServiceServer;
use crate::service::Service;
use crate::service::audit::within;

/// The largest request message. A batch of 1,000 checks takes about half of it.
const MAX_REQUEST_BYTES: usize = 256 << 10;
/// The largest message of Envoy, which sends what its clients send it: headers, and the body where it is told to.
const MAX_ENVOY_REQUEST_BYTES: usize = 4 << 20;
/// The largest response message.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// All gRPC services on one connection.
#[derive(Clone)]
pub struct GrpcFront {
    service: Arc<Service>,
    callers: Arc<Callers>,
    /// One for each caller, in their order.
    tokens: Arc<[TokenServiceServer<TokenFront>]>,
    /// So, too.
    admin: Arc<[AdminServiceServer<AdminFront>]>,
    /// So, too.
    envoy: Arc<[AuthorizationServer<EnvoyFront>]>,
    /// For all of them: it is the same to each.
    interactions: InteractionServiceServer<InteractionFront>,
    others: Routes,
}

/// The answer to a call.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl GrpcFront {
    pub fn new(service: &Arc<Service>, health: HealthServer<impl Health>, callers: Callers) -> Self {
        let tokens = callers.iter().map(|caller| {
            TokenServiceServer::new(TokenFront::new(service.clone(), caller.clone()))
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .max_encoding_message_size(MAX_RESPONSE_BYTES)
        });
        let tokens = tokens.collect();
        let admin = callers.iter().map(|caller| {
            AdminServiceServer::new(AdminFront::new(service.clone(), caller.clone()))
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .max_encoding_message_size(MAX_RESPONSE_BYTES)
        });
        let admin = admin.collect();
        let envoy = callers.iter().map(|caller| {
            AuthorizationServer::new(EnvoyFront::new(service.clone(), caller.clone()))
                .max_decoding_message_size(MAX_ENVOY_REQUEST_BYTES)
        });
        let envoy = envoy.collect();
        let interactions = InteractionServiceServer::new(InteractionFront::new(service.clone()))
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_RESPONSE_BYTES);
        let mut others = Routes::builder();
        others.add_service(health);
        // Tools speak one version or the other.
        let why = "the descriptors are those that the build made";
        others.add_service(reflection().build_v1().expect(why));
        others.add_service(reflection().build_v1alpha().expect(why));
        Self {
            service: service.clone(),
            callers: Arc::new(callers),
            tokens,
            admin,
            envoy,
            interactions,
            others: others.routes().prepare(),
        }
    }

    /// Who is at the other end of a connection, as far as that says it: by the names in its client certificate, or by being on this
    /// machine.
    pub fn connecting(&self, certificate: &[String], is_local: bool) -> Option<CallerId> {
        self.callers.connecting(certificate, is_local)
    }

    /// Answers one call.
    pub fn answer(&self, request: Request<Incoming>, connected: Option<CallerId>, address: Option<IpAddr>) -> Answer {
        let method = methods::method(request.uri().path());
        let answer = self.answer_method(method, request, connected, address);
        match method {
            Some(method) if method.server == Server::Envoy => {
                Box::pin(async { answer.await.map(ext_authz::fail_closed) })
            }
            _ => answer,
        }
    }

    /// Who presents a token is judged by it alone, others by their connection.
    fn answer_method(
        &self,
        method: Option<Method>,
        request: Request<Incoming>,
        connected: Option<CallerId>,
        address: Option<IpAddr>,
    ) -> Answer {
        if method.is_some_and(|method| method.access == Access::Anybody) {
            return Box::pin(self.others.clone().call(request));
        }
        let caller = match request.headers().get(http::header::AUTHORIZATION) {
            Some(presented) => presented
                .to_str()
                .ok()
                .and_then(|value| value.strip_prefix("Bearer "))
                .and_then(|token| self.callers.with_token(token)),
            None => connected,
        };
        let Some(id) = caller else {
            self.note_refusal(Actor::Anonymous, &request, address, CallerRefusal::Unknown);
            return refuse(&status::caller_unknown());
        };
        let Some(method) = method else { return refuse(&status::no_such_method()) };
        let caller = self.callers.get(id);
        if !method.access.admits(caller) {
            tracing::warn!(
                caller = &*caller.name,
                method = request.uri().path(),
                "a caller asked for what it may not do"
            );
            let actor = Actor::Caller(caller.name.clone());
            self.note_refusal(actor, &request, address, CallerRefusal::NotPermitted);
            return refuse(&status::caller_not_permitted());
        }
        let limit = match status::requested_timeout(request.headers()) {
            Ok(requested) => method.limit_of(requested),
            Err(status) => return refuse(&status),
        };
        let origin = (method.access.changes() && self.service.audit.is_on())
            .then(|| self.origin(Actor::Caller(caller.name.clone()), &request, address));
        let answer = match method.server {
            Server::Tokens => self.tokens[id.index()].clone().call(request),
            Server::Admin => self.admin[id.index()].clone().call(request),
            Server::Envoy => self.envoy[id.index()].clone().call(request),
            Server::Interactions => self.interactions.clone().call(request),
            Server::Others => return Box::pin(self.others.clone().call(request)),
        };
        let answer = timeout(limit, AssertUnwindSafe(answer).catch_unwind());
        let answer = async move {
            Ok(match answer.await {
                Ok(Ok(Ok(answer))) => answer,
                Ok(Err(_panic)) => status::internal().into_http(),
                Err(_elapsed) => status::deadline_exceeded().into_http(),
            })
        };
        match origin {
            Some(origin) => Box::pin(within(origin, answer)),
            None => Box::pin(answer),
        }
    }

    fn note_refusal(&self, actor: Actor, request: &Request<Incoming>, address: Option<IpAddr>, refusal: CallerRefusal) {
        if self.service.audit.is_on() {
            let origin = self.origin(actor, request, address);
            self.service.audit.record_in(&origin, Event::CallerRefused(refusal));
        }
    }

    /// For the audit log. Known callers may name their requests.
    fn origin(&self, actor: Actor, request: &Request<Incoming>, address: Option<IpAddr>) -> Origin {
        let given = request.headers().get("x-request-id").filter(|_| actor != Actor::Anonymous);
        let given = given.and_then(|value| request_id(value.as_bytes()));
        self.service.origin(actor, address, given)
    }
}

fn refuse(status: &Status) -> Answer {
    Box::pin(std::future::ready(Ok(status.clone().into_http())))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
