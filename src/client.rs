//! For services in Rust that ask a sidecar: a tower layer that lets a request pass if its access token may do what the service does.
//!
//! Nothing of the server imports this. It knows the wire (`proto`) and how requests present tokens (`domain::presented`).
//!
//! ```
//! use axum::{Extension, Router, routing::get};
//! use scopegate::client::Sidecar;
//! use scopegate::proto::scopegate::v1::IntrospectResponse;
//!
//! async fn orders(Extension(identity): Extension<IntrospectResponse>) -> String {
//!     format!("orders of {}", identity.sub)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sidecar = Sidecar::new("unix:/run/scopegate/grpc.sock", "https://api.example.com")?;
//! let app: Router = Router::new().route("/orders", get(orders).layer(sidecar.require(&"orders:read".parse()?)));
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint, Error};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::domain::challenge::Scheme;
use crate::domain::presented::{self, Presented};
use crate::domain::scope::ScopeSet;
use crate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use crate::proto::scopegate::v1::{CheckScopesRequest, CheckScopesResponse, Decision, IntrospectResponse, Proof};

/// For all attempts together.
const DEADLINE: Duration = Duration::from_millis(250);
/// Waits before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(40)];

/// A sidecar to ask. Clones share one connection, which is made when needed.
#[derive(Clone, Debug)]
pub struct Sidecar {
    tokens: TokenServiceClient<Channel>,
    public_url: Arc<str>,
}

/// Lets pass what has all of the scopes, with the [`IntrospectResponse`] of its token in the extensions. Otherwise the service is not called,
/// and the answer is 401 or 403 with a challenge, 400 where a token is presented in no clear way, and 503 where nobody knows.
#[derive(Clone, Debug)]
pub struct RequireScopes {
    sidecar: Sidecar,
    scopes: Arc<ScopeSet>,
}

/// A service behind [`RequireScopes`].
#[derive(Clone, Debug)]
pub struct Gate<S> {
    required: RequireScopes,
    service: S,
}

impl Sidecar {
    /// `endpoint` is `unix:/path` or `host:port`; `public_url` is where clients reach this service, without a path: DPoP proofs name it.
    /// Has to be called inside a tokio runtime.
    pub fn new(endpoint: &str, public_url: &str) -> Result<Self, Error> {
        let configured = |endpoint: Endpoint| {
            endpoint
                .connect_timeout(DEADLINE)
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(1))
                .keep_alive_while_idle(true)
        };
        let channel = if let Some(path) = endpoint.strip_prefix("unix:") {
            let path = path.to_owned();
            let connector = tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            // The URI only names the authority of the requests.
            configured(Endpoint::from_static("http://localhost")).connect_with_connector_lazy(connector)
        } else {
            configured(Endpoint::from_shared(format!("http://{endpoint}"))?).connect_lazy()
        };
        Ok(Self { tokens: TokenServiceClient::new(channel), public_url: public_url.into() })
    }

    /// A layer that asks for all of these scopes.
    pub fn require(&self, scopes: &ScopeSet) -> RequireScopes {
        RequireScopes { sidecar: self.clone(), scopes: Arc::new(scopes.clone()) }
    }

    async fn check(&self, question: CheckScopesRequest) -> Result<CheckScopesResponse, Status> {
        let attempt = || {
            let mut request = tonic::Request::new(question.clone());
            request.set_timeout(DEADLINE);
            let mut tokens = self.tokens.clone();
            async move { tokens.check_scopes(request).await.map(tonic::Response::into_inner) }
        };
        let attempts = async {
            for pause in PAUSES {
                match attempt().await {
                    Err(status) if status.code() == Code::Unavailable => sleep(pause).await,
                    known => return known,
                }
            }
            attempt().await
        };
        timeout(DEADLINE, attempts)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the sidecar did not answer")))
    }
}

impl RequireScopes {
    /// The question about a request, if it presents a token.
    fn question<B>(&self, request: &Request<B>) -> Result<CheckScopesRequest, Refusal> {
        let headers: Vec<&[u8]> = request.headers().get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
        let Presented { scheme, token } = presented::in_headers(&headers, None)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, r#"Bearer error="invalid_request""#))?
            .ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, &format!(r#"Bearer scope="{}""#, self.scopes)))?;
        let proof = (scheme == Scheme::DPoP).then(|| Proof {
            dpop: request.headers().get_all("dpop").iter().map(text).collect(),
            http_method: request.method().to_string(),
            http_uri: format!("{}{}", self.sidecar.public_url, request.uri().path()),
            ..Proof::default()
        });
        Ok(CheckScopesRequest {
            token: token.into(),
            required_scopes: self.scopes.iter().map(Into::into).collect(),
            include_introspection: true,
            proof,
            ..CheckScopesRequest::default()
        })
    }

    async fn decide(&self, question: CheckScopesRequest) -> Result<IntrospectResponse, Refusal> {
        let answer = self.sidecar.check(question).await.map_err(|_| Refusal::UNKNOWN)?;
        match (answer.decision(), answer.introspection) {
            (Decision::Allowed, Some(identity)) => Ok(identity),
            _ => Err(u16::try_from(answer.http_status)
                .ok()
                .filter(|status| matches!(status, 401 | 403))
                .and_then(|status| StatusCode::from_u16(status).ok())
                .map_or(Refusal::UNKNOWN, |status| Refusal::new(status, &answer.www_authenticate))),
        }
    }
}

impl<S> Layer<S> for RequireScopes {
    type Service = Gate<S>;

    fn layer(&self, service: S) -> Gate<S> {
        Gate { required: self.clone(), service }
    }
}

impl<S, B, R> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready goes with the request.
        let other = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, other);
        let required = self.required.clone();
        let question = required.question(&request);
        Box::pin(async move {
            let decision = match question {
                Ok(question) => required.decide(question).await,
                Err(refusal) => Err(refusal),
            };
            match decision {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                    service.call(request).await
                }
                Err(refusal) => Ok(refusal.into()),
            }
        })
    }
}

/// Not UTF-8: what no proof is, and it is refused as one.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Why a request does not pass.
struct Refusal {
    status: StatusCode,
    challenge: Option<HeaderValue>,
}

impl Refusal {
    /// Not 401: the token may be good.
    const UNKNOWN: Self = Self { status: StatusCode::SERVICE_UNAVAILABLE, challenge: None };

    fn new(status: StatusCode, challenge: &str) -> Self {
        Self { status, challenge: HeaderValue::from_str(challenge).ok() }
    }
}

impl<R: Default> From<Refusal> for Response<R> {
    fn from(refusal: Refusal) -> Self {
        let mut response = Self::new(R::default());
        *response.status_mut() = refusal.status;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match refusal.challenge {
            Some(challenge) => response.headers_mut().insert(WWW_AUTHENTICATE, challenge),
            None => response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1")),
        };
        response
    }
}
