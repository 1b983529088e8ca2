//! `envoy.service.auth.v3.Authorization`: a request at Envoy → one use case → pass or answer.

use std::sync::{Arc, LazyLock};

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tonic::{Code, Request, Response, Status};

use crate::domain::caller::Caller;
use crate::domain::certificate::ClientCertificate;
use crate::domain::denial::Body;
use crate::domain::identity_headers::{self, CLIENT_ID, GRANT_ID, SCOPES, SUBJECT};
use crate::domain::scope::ScopeSet;
use crate::domain::timestamp::Timestamp;
use crate::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use crate::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use crate::proto::envoy::service::auth::v3 as api;
use crate::proto::envoy::service::auth::v3::authorization_server::Authorization;
use crate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use crate::proto::envoy::r#type::v3::HttpStatus;
use crate::proto::google::rpc;
use crate::service::Service;
use crate::service::gateway::{Asked, GatewayFailure, GatewayRequest, Passage, Refusal};
use crate::service::introspection::ActiveToken;
use crate::telemetry::correlation::{CHECKS, Correlation};

/// Every way of writing our headers that is not ours.
static OTHER_SPELLINGS: LazyLock<Vec<String>> = LazyLock::new(identity_headers::other_spellings);

#[derive(Clone)]
pub(super) struct EnvoyFront {
    service: Arc<Service>,
    caller: Caller,
}

impl EnvoyFront {
    pub(super) fn new(service: Arc<Service>, caller: Caller) -> Self {
        Self { service, caller }
    }
}

#[tonic::async_trait]
impl Authorization for EnvoyFront {
    async fn check(&self, request: Request<api::CheckRequest>) -> Result<Response<api::CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let http = attributes.request.unwrap_or_default().http.unwrap_or_default();
        let headers = headers(&http);
        let said = attributes.context_extensions.iter().map(|entry| (&entry.key, &entry.value));
        let asked = match Asked::said(said) {
            Ok(asked) => asked,
            Err(cause) => {
                tracing::error!(
                    cause,
                    "the context_extensions of a route in Envoy make no sense: its requests are denied"
                );
                return Ok(Response::new(unknown()));
            }
        };
        let (Ok(method), Ok(scheme), Ok(host)) =
            (str::from_utf8(&http.method), str::from_utf8(&http.scheme), str::from_utf8(&http.host))
        else {
            return Ok(Response::new(refused(&Refusal {
                status: 400,
                error: Some(("invalid_request", "the method or the host is not text".into())),
                www_authenticate: None,
                dpop_nonce: None,
                body: None,
            })));
        };
        let gateway = &self.service.settings.gateway;
        let all = |name: &str| -> Vec<&[u8]> {
            headers
                .iter()
                .filter(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))
                .map(|(_, value)| *value)
                .collect()
        };
        let certificate = attributes
            .source
            .as_ref()
            .and_then(|source| ClientCertificate::from_header(&source.certificate))
            .map(|certificate| certificate.thumbprint());
        let request = GatewayRequest {
            method,
            scheme,
            host,
            target: &http.path,
            authorization: all("authorization"),
            proofs: all("dpop"),
            token_headers: gateway.token_header.as_ref().map(|name| all(name.as_str())).unwrap_or_default(),
            cookies: all("cookie"),
            certificate,
        };
        let correlation = || Correlation::new(&all("traceparent"), &all("x-request-id"));
        let answer = match self.service.admit(&request, &asked, &self.caller.sight).await {
            Ok(Passage::Allowed { active, dpop_nonce }) => {
                let answer = self.allowed(Some(&active), &headers, &http.path);
                with_nonce(answer, dpop_nonce.as_deref())
            }
            Ok(Passage::Anonymous) => self.allowed(None, &headers, &http.path),
            Ok(Passage::Refused(refusal)) => refused(&refusal),
            Err(GatewayFailure::UnknownPolicy(name)) => {
                let Correlation { trace_id, request_id } = correlation();
                tracing::error!(
                    name,
                    trace_id,
                    request_id,
                    "a route in Envoy asks for a policy that gateway.policies does not have: its requests are denied"
                );
                unknown()
            }
            Err(GatewayFailure::Unavailable(error)) => {
                let Correlation { trace_id, request_id } = correlation();
                tracing::error!(trace_id, request_id, error = %error, cause = %error.cause, "a request at Envoy could not be judged");
                refused(&self.service.cannot_judge())
            }
        };
        if tracing::enabled!(target: CHECKS, tracing::Level::DEBUG) {
            let Correlation { trace_id, request_id } = correlation();
            let status = http_status(&answer);
            tracing::debug!(target: CHECKS, trace_id, request_id, status, "a request at Envoy was judged");
        }
        Ok(Response::new(answer))
    }
}

impl EnvoyFront {
    /// The request passes; the application behind is told of whoever sent it, and of nobody else.
    fn allowed(&self, active: Option<&ActiveToken>, headers: &[(&[u8], &[u8])], target: &[u8]) -> api::CheckResponse {
        let settings = &self.service.settings.gateway;
        // Only where they are there: Envoy writes the whole query anew, which not every signature survives.
        let in_query = settings.token_parameters_of(target);
        let scopes = active.map(|active| self.service.scopes_of(active)).unwrap_or_default();
        let identity = active.map(|active| {
            [
                (SUBJECT, active.facts.subject.as_str().to_owned()),
                (CLIENT_ID, active.facts.client.to_string()),
                (SCOPES, scopes.to_string()),
                (GRANT_ID, active.token.grant.to_string()),
            ]
        });
        // Envoy removes after it has set, so what is set is not removed.
        let mut removed: Vec<String> = OTHER_SPELLINGS.clone();
        let spoofed = headers.iter().filter_map(|(name, _)| str::from_utf8(name).ok()).map(str::to_ascii_lowercase);
        removed.extend(spoofed.filter(|name| identity_headers::could_pass_for_one(name)));
        removed.extend(identity_headers::ALL.map(String::from));
        removed.retain(|name| identity.is_none() || !identity_headers::ALL.contains(&name.as_str()));
        if active.is_some() && !settings.forward_token {
            removed.extend(["authorization".into(), "dpop".into()]);
            removed.extend(settings.token_header.as_ref().map(ToString::to_string));
        }
        removed.sort_unstable();
        removed.dedup();
        api::CheckResponse {
            status: Some(status(Code::Ok)),
            http_response: Some(HttpResponse::OkResponse(api::OkHttpResponse {
                headers: identity
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| header(name, &identity_headers::encode(&value)))
                    .collect(),
                headers_to_remove: removed,
                response_headers_to_add: Vec::new(),
                query_parameters_to_remove: in_query,
            })),
            dynamic_metadata: Some(metadata(active, &scopes)),
        }
    }
}

/// The nonce for the next proofs goes with the answer of the application behind (RFC 9449 §8.2).
fn with_nonce(mut answer: api::CheckResponse, nonce: Option<&str>) -> api::CheckResponse {
    if let Some(HttpResponse::OkResponse(passing)) = &mut answer.http_response {
        passing.response_headers_to_add.extend(nonce.map(|nonce| header("dpop-nonce", nonce)));
    }
    answer
}

/// Name and value of every header, whichever way Envoy sends them.
fn headers(http: &api::attribute_context::HttpRequest) -> Vec<(&[u8], &[u8])> {
    match &http.header_map {
        Some(map) => map
            .headers
            .iter()
            .map(|header| (&*header.key, if header.raw_value.is_empty() { &*header.value } else { &*header.raw_value }))
            .collect(),
        None => http.headers.iter().map(|entry| (&*entry.key, &*entry.value)).collect(),
    }
}

/// What is known of a token, for access logs and the filters behind.
fn metadata(active: Option<&ActiveToken>, scopes: &ScopeSet) -> Struct {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    #[expect(clippy::cast_precision_loss, reason = "a time in seconds is far below 2^53")]
    let time = |time: Timestamp| Value { kind: Some(Kind::NumberValue(time.as_unix() as f64)) };
    let list = |values: Vec<Value>| Value { kind: Some(Kind::ListValue(ListValue { values })) };
    let mut fields = vec![("decision", text(if active.is_some() { "allowed" } else { "anonymous" }))];
    if let Some(active) = active {
        fields.extend([
            ("sub", text(active.facts.subject.as_str())),
            ("client_id", text(active.facts.client.as_str())),
            ("scope", text(&scopes.to_string())),
            ("scopes", list(scopes.iter().map(text).collect())),
            ("grant_id", text(&active.token.grant.to_string())),
            ("jti", text(&active.token.jti())),
            ("iat", time(active.token.issued_at)),
            ("aud", list(active.variant().resources().iter().map(|resource| text(resource)).collect())),
        ]);
        fields.extend(active.token.expires_at().map(|at| ("exp", time(at))));
    }
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn refused(refusal: &Refusal) -> api::CheckResponse {
    let code = match refusal.status {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        500.. => Code::Unavailable,
        _ => Code::InvalidArgument,
    };
    let mut headers: Vec<HeaderValueOption> =
        refusal.www_authenticate.iter().map(|value| header("www-authenticate", value)).collect();
    headers.extend(refusal.dpop_nonce.iter().map(|nonce| header("dpop-nonce", nonce)));
    if code == Code::Unavailable {
        headers.push(header("retry-after", "1"));
    }
    let body = refusal.body().map(|Body { content_type, text }| {
        headers.push(header("content-type", &content_type));
        text
    });
    denied(code, refusal.status, headers, body.unwrap_or_default())
}

/// Neither yes nor no. As a denial, because Envoy may be told to let pass what the call fails for.
fn unknown() -> api::CheckResponse {
    let body = r#"{"error":"temporarily_unavailable","error_description":"the access token cannot be checked now"}"#;
    let headers = vec![header("retry-after", "1"), header("content-type", "application/json")];
    denied(Code::Unavailable, 503, headers, body.into())
}

fn denied(code: Code, http_status: u16, mut headers: Vec<HeaderValueOption>, body: String) -> api::CheckResponse {
    headers.push(header("cache-control", "no-store"));
    api::CheckResponse {
        status: Some(status(code)),
        http_response: Some(HttpResponse::DeniedResponse(api::DeniedHttpResponse {
            status: Some(HttpStatus { code: http_status.into() }),
            headers,
            body,
        })),
        dynamic_metadata: None,
    }
}

/// What the client of Envoy gets; 200 where the request passes.
fn http_status(answer: &api::CheckResponse) -> i32 {
    match &answer.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied.status.as_ref().map_or(403, |status| status.code),
        _ => 200,
    }
}

fn status(code: Code) -> rpc::Status {
    rpc::Status { code: code.into(), ..rpc::Status::default() }
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        keep_empty_value: true,
    }
}

/// In place of an answer that failed, whatever the reason: an unknown caller, a message that cannot be read, a time limit, a panic.
pub(super) fn fail_closed(answer: http::Response<tonic::body::Body>) -> http::Response<tonic::body::Body> {
    use http_body_util::{BodyExt as _, Full};

    let Some(failed) = answer.headers().get("grpc-status").filter(|status| *status != "0") else { return answer };
    let message = answer.headers().get("grpc-message").and_then(|message| message.to_str().ok()).unwrap_or_default();
    tracing::error!(grpc_status = ?failed, message, "a call of Envoy failed: the request is denied");
    let message = unknown().encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).expect("the answer is short").to_be_bytes());
    framed.extend(message);
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let body = Full::new(framed.into()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut answer = http::Response::new(tonic::body::Body::new(body));
    let content_type = http::HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    answer
}
