//! Callers over gRPC: each method asks who calls, and each caller sees and does what is its own.

use std::collections::BTreeSet;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use scopegate::proto::envoy::service::auth::v3::CheckResponse;
use scopegate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

use crate::harness::{Sidecar, Tokens};

const ORDERS: &str = "https://api.example/orders";
const MAIL: &str = "https://mail.example";
/// Tokens of callers.
const ALL_TOKEN: &str = "all-all-all-all-all-all-all-all-all";
const CHECK_TOKEN: &str = "check-check-check-check-check-check";
const ORDERS_TOKEN: &str = "orders-orders-orders-orders-orders";
const ORDERS_NEXT: &str = "orders-next-orders-next-orders-next";
const MAIL_TOKEN: &str = "mail-mail-mail-mail-mail-mail-mail";

fn callers(grpc: &str) -> String {
    format!(
        "[grpc]\ncaller_token = '{ALL_TOKEN}'\n{grpc}\n\
         [[grpc.callers]]\nname = 'check'\ntokens = ['{CHECK_TOKEN}']\nall = true\nmay = ['check']\n\
         [[grpc.callers]]\nname = 'orders'\ntokens = ['{ORDERS_TOKEN}', '{ORDERS_NEXT}']\naudiences = ['{ORDERS}']\n\
         may = ['check', 'introspect', 'revoke']\n\
         [[grpc.callers]]\nname = 'mail'\ntokens = ['{MAIL_TOKEN}']\naudiences = ['{MAIL}']\nmay = ['check', 'introspect', 'revoke']\n"
    )
}

/// A request of a caller; of nobody in particular, if the token is empty.
fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

fn question(token: &str) -> api::IntrospectRequest {
    api::IntrospectRequest { token: token.into(), ..Default::default() }
}

fn check(token: &str) -> api::CheckScopesRequest {
    api::CheckScopesRequest {
        token: token.into(),
        required_scopes: vec!["a".into(), "c".into()],
        required_audiences: vec![ORDERS.into()],
        include_introspection: true,
        proof: Some(api::Proof { dpop: vec!["garbage".into()], ..Default::default() }),
        ..Default::default()
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn tokens_for(sidecar: &Sidecar, resource: &str) -> Tokens {
    let code = sidecar.code_for(&format!("{}&resource={resource}", sidecar.request(&[]))).await;
    sidecar.redeem(&code).await.tokens()
}

/// Every method of every service, as reflection has them: `/package.Service/Method`.
async fn all_methods(channel: Channel) -> BTreeSet<String> {
    let mut reflection = ServerReflectionClient::new(channel);
    let mut ask = async |message| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let stream = reflection.server_reflection_info(tokio_stream(request)).await.unwrap();
        stream.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(services) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list of services");
    };
    let mut methods = BTreeSet::new();
    for service in services.service {
        let answer = ask(MessageRequest::FileContainingSymbol(service.name.clone())).await;
        let MessageResponse::FileDescriptorResponse(files) = answer else { panic!("no file for {}", service.name) };
        for file in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(&*file).unwrap();
            for declared in &file.service {
                let name = format!("{}.{}", file.package(), declared.name());
                methods.extend(declared.method.iter().map(|method| format!("/{name}/{}", method.name())));
            }
        }
    }
    methods
}

fn tokio_stream<T: Send + 'static>(one: T) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::once(async { one })
}

/// Envoy's question.
const ENVOY: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Calls a method with an empty message; the status, if the answer is one at once.
async fn status_of(address: &str, method: &str, authorization: &[&str]) -> Option<(Code, String)> {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut request = Request::post(format!("http://{address}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for value in authorization {
        request = request.header("authorization", *value);
    }
    let body = Full::from(Bytes::from_static(b"\0\0\0\0\0"));
    let response = client.request(request.body(body).unwrap()).await.unwrap();
    if method == ENVOY {
        // What fails is a denial in a good answer.
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let denial = match CheckResponse::decode(&body[5..]).unwrap().http_response.unwrap() {
            HttpResponse::DeniedResponse(denied) => denied.status.unwrap().code,
            HttpResponse::OkResponse(_) => return None,
        };
        return (denial == 503).then(|| (Code::Unauthenticated, String::new()));
    }
    let headers = response.headers();
    let code = headers.get("grpc-status")?.to_str().unwrap().parse::<i32>().unwrap();
    let message = headers.get("grpc-message").map(|message| message.to_str().unwrap().to_owned()).unwrap_or_default();
    if code == 0 {
        response.into_body().collect().await.unwrap();
    }
    Some((Code::from(code), message))
}

#[tokio::test]
async fn x14_rg68_every_method_asks_who_calls_and_health_alone_answers_everybody() {
    let sidecar = Sidecar::with(&callers("listen = '0.0.0.0:0'")).await;
    let address = sidecar.grpc_from_outside().to_string();
    let local = format!("http://127.0.0.1:{}", sidecar.grpc_from_outside().port());
    let methods = all_methods(Endpoint::from_shared(local).unwrap().connect().await.unwrap()).await;
    for service in ["scopegate.v1.TokenService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(methods.iter().any(|method| method.starts_with(&format!("/{service}/"))), "{service}: {methods:?}");
    }
    let elsewhere =
        ["/", "/scopegate.v1.TokenService/Other", "/x.Y/Z", "/grpc.health.v1.Health/Other"].map(String::from);
    let longer = format!("Bearer {ALL_TOKEN}x");
    let basic = format!("Basic {ALL_TOKEN}");
    let second = format!("Bearer {ALL_TOKEN}");
    for method in methods.iter().chain(&elsewhere) {
        let is_probe = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"].contains(&method.as_str());
        for authorization in
            [&[][..], &["Bearer x"], &["Bearer "], &[ALL_TOKEN], &[&longer], &[&basic], &["Bearer x", &second]]
        {
            let status = status_of(&address, method, authorization).await;
            let refused = matches!(&status, Some((Code::Unauthenticated, _)));
            assert_eq!(refused, !is_probe, "{method} by {authorization:?}: {status:?}");
        }
    }
    let checks = ["CheckScopes", "BatchCheckScopes", "StreamCheckScopes"]
        .map(|name| format!("/scopegate.v1.TokenService/{name}"));
    for method in &methods {
        let all = status_of(&address, method, &[&format!("Bearer {ALL_TOKEN}")]).await;
        let refused = all.as_ref().is_some_and(|(code, message)| {
            [Code::PermissionDenied, Code::Unauthenticated].contains(code) || message.contains("no such method")
        });
        assert!(!refused, "{method} is for nobody: {all:?}");
        let check = status_of(&address, method, &[&format!("Bearer {CHECK_TOKEN}")]).await;
        let denied = matches!(&check, Some((Code::PermissionDenied, _)));
        let other = method.starts_with("/scopegate.v1.TokenService/") && !checks.contains(method);
        assert!(denied || !other, "{method} by one who may only check: {check:?}");
        assert!(!denied || !checks.contains(method), "{method} by one who may check: {check:?}");
    }
}

#[tokio::test]
async fn i3_a_caller_sees_the_tokens_of_its_audience_and_others_are_as_garbage_is() {
    let sidecar = Sidecar::with(&callers("")).await;
    let (orders, dead) = (tokens_for(&sidecar, ORDERS).await, tokens_for(&sidecar, ORDERS).await);
    let unrestricted = sidecar.tokens().await;
    sidecar.revoke(&dead.access, api::RevocationMode::Bounded).await;
    let mut grpc = sidecar.grpc().await;
    // Twice: from the database, and from the cache that one who may see it has filled.
    for round in 0..2 {
        for (caller, token, seen) in [
            (MAIL_TOKEN, &orders.access, false),
            (MAIL_TOKEN, &dead.access, false),
            (MAIL_TOKEN, &orders.refresh, false),
            (MAIL_TOKEN, &unrestricted.access, false),
            (ORDERS_TOKEN, &orders.refresh, false),
            (ORDERS_TOKEN, &dead.access, false),
            (ORDERS_TOKEN, &unrestricted.access, false),
            (ORDERS_TOKEN, &orders.access, true),
            (ORDERS_NEXT, &orders.access, true),
            (ALL_TOKEN, &orders.access, true),
            (ALL_TOKEN, &unrestricted.access, true),
            ("", &orders.refresh, true),
        ] {
            let answer = grpc.introspect(by(caller, question(token))).await.unwrap().into_inner();
            assert_eq!(answer.active, seen, "{caller}, {round}");
            let garbage = grpc.introspect(by(caller, question("garbage"))).await.unwrap().into_inner();
            assert_eq!(answer == garbage, !seen, "{caller}, {round}: {answer:?}");
            if seen {
                continue;
            }
            let answer = grpc.check_scopes(by(caller, check(token))).await.unwrap().into_inner();
            let garbage = grpc.check_scopes(by(caller, check("garbage"))).await.unwrap().into_inner();
            assert_eq!(answer, garbage, "{caller}, {round}");
            assert_eq!(answer.decision(), api::Decision::InactiveToken);
            let batch = api::BatchIntrospectRequest { requests: vec![question(token), question("garbage")] };
            let batch = grpc.batch_introspect(by(caller, batch)).await.unwrap().into_inner();
            assert_eq!(batch.results[0], batch.results[1], "{caller}, {round}");
            let batch = api::BatchCheckScopesRequest { requests: vec![check(token), check("garbage")] };
            let batch = grpc.batch_check_scopes(by(caller, batch)).await.unwrap().into_inner();
            assert_eq!(batch.results[0], batch.results[1], "{caller}, {round}");
        }
    }
    let plain =
        api::CheckScopesRequest { token: orders.access, required_scopes: vec!["a".into()], ..Default::default() };
    let answer = grpc.check_scopes(by(ORDERS_TOKEN, plain)).await.unwrap().into_inner();
    assert_eq!(answer.decision(), api::Decision::Allowed);
}

#[tokio::test]
async fn a_caller_revokes_what_it_sees_and_nothing_else() {
    let sidecar = Sidecar::with(&callers("")).await;
    let tokens = tokens_for(&sidecar, ORDERS).await;
    let mut grpc = sidecar.grpc().await;
    let revoke = |token: &str| api::RevokeRequest { token: token.into(), ..Default::default() };
    for (caller, token) in
        [(MAIL_TOKEN, &tokens.access), (MAIL_TOKEN, &tokens.refresh), (ORDERS_TOKEN, &tokens.refresh)]
    {
        let answer = grpc.revoke(by(caller, revoke(token))).await.unwrap().into_inner();
        assert_eq!(answer, grpc.revoke(by(caller, revoke("garbage"))).await.unwrap().into_inner(), "{caller}");
        assert!(sidecar.is_active(&tokens.access).await, "{caller}");
    }
    let subject = sidecar.introspect(&tokens.access).await.sub;
    let target = Some(api::batch_revoke_request::Target::Subject(subject));
    let everything = api::BatchRevokeRequest { target, ..Default::default() };
    let denied = [
        grpc.batch_revoke(by(ORDERS_TOKEN, everything.clone())).await.unwrap_err(),
        grpc.batch_revoke(by(CHECK_TOKEN, everything)).await.unwrap_err(),
        grpc.revoke(by(CHECK_TOKEN, revoke(&tokens.access))).await.unwrap_err(),
        grpc.introspect(by(CHECK_TOKEN, question(&tokens.access))).await.unwrap_err(),
        grpc.check_scopes(by(CHECK_TOKEN, check(&tokens.access))).await.unwrap_err(),
        grpc.watch_revocations(by(ORDERS_TOKEN, api::WatchRevocationsRequest::default())).await.unwrap_err(),
        grpc.watch_revocations(by(CHECK_TOKEN, api::WatchRevocationsRequest::default())).await.unwrap_err(),
    ];
    for status in denied {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "CALLER_NOT_PERMITTED"));
    }
    assert!(sidecar.is_active(&tokens.access).await);
    grpc.revoke(by(ORDERS_TOKEN, revoke(&tokens.access))).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
    grpc.revoke(by(ORDERS_TOKEN, revoke(&tokens.access))).await.unwrap();
}

#[tokio::test]
async fn one_who_may_only_check_is_not_told_what_the_token_is() {
    let sidecar = Sidecar::with(&callers("")).await;
    let tokens = sidecar.tokens().await;
    let plain = api::CheckScopesRequest { token: tokens.access.clone(), ..Default::default() };
    let curious = api::CheckScopesRequest { include_introspection: true, ..plain.clone() };
    let batch = api::BatchCheckScopesRequest { requests: vec![curious, plain] };
    let answer = sidecar.grpc().await.batch_check_scopes(by(CHECK_TOKEN, batch)).await.unwrap().into_inner();
    match &answer.results.iter().map(|result| result.result.clone().unwrap()).collect::<Vec<_>>()[..] {
        [
            api::batch_check_scopes_result::Result::Error(status),
            api::batch_check_scopes_result::Result::Response(response),
        ] => {
            assert_eq!(Code::from(status.code), Code::PermissionDenied);
            assert_eq!(response.decision(), api::Decision::Allowed);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn being_on_the_same_machine_is_enough_unless_configured_otherwise_or_a_token_is_presented() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s.sock");
    let grpc = format!("listen = ['127.0.0.1:0', 'unix:{}']\nlocal_callers = 'none'", socket.display());
    let sidecar = Sidecar::with(&callers(&grpc)).await;
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let unix = Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
    for mut grpc in [sidecar.grpc().await, TokenServiceClient::new(unix)] {
        for token in ["", "x"] {
            let status = grpc.introspect(by(token, question("x"))).await.unwrap_err();
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "CALLER_UNKNOWN"));
        }
        grpc.introspect(by(ALL_TOKEN, question("x"))).await.unwrap();
    }
    let sidecar = Sidecar::start().await;
    let mut grpc = sidecar.grpc().await;
    grpc.introspect(by("", question("x"))).await.unwrap();
    assert_eq!(grpc.introspect(by("x", question("x"))).await.unwrap_err().code(), Code::Unauthenticated);
}
