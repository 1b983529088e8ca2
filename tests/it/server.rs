//! The server as such: its sockets, limits, callers and its end.

use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Sidecar, configuration};

fn grpc_address(sidecar: &Sidecar) -> String {
    sidecar.addresses.grpc.iter().next().unwrap().to_string()
}

#[tokio::test]
async fn the_unix_socket_serves_the_same() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let path = sidecar.directory.path().join("grpc.sock");
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
    let request =
        api::CheckScopesRequest { token: tokens.access, required_scopes: vec!["a".into()], ..Default::default() };
    let answer = TokenServiceClient::new(channel).check_scopes(request).await.unwrap().into_inner();
    assert_eq!(answer.decision(), api::Decision::Allowed);
}

#[tokio::test]
async fn health_is_served_for_the_server_and_the_service_and_unknown_for_others() {
    let sidecar = Sidecar::start().await;
    let mut health = HealthClient::new(
        Endpoint::from_shared(format!("http://{}", grpc_address(&sidecar))).unwrap().connect().await.unwrap(),
    );
    for service in ["", "scopegate.v1.TokenService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nowhere".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn rg80_the_http2_limits_are_announced() {
    let sidecar = Sidecar::start().await;
    let mut stream = TcpStream::connect(grpc_address(&sidecar)).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(header[3], 4, "the first frame is SETTINGS");
    let mut settings = vec![0; usize::from(header[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let value = |id: u16| {
        settings
            .chunks(6)
            .find(|setting| setting[..2] == id.to_be_bytes())
            .map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(value(3), Some(256), "MAX_CONCURRENT_STREAMS");
    assert_eq!(value(6), Some(16 << 10), "MAX_HEADER_LIST_SIZE");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_connection_lives() {
    let sidecar = Sidecar::start().await;
    let mut grpc = sidecar.grpc().await;
    let request = api::IntrospectRequest { token: "x".repeat(300 << 10), ..Default::default() };
    assert_eq!(grpc.introspect(request).await.unwrap_err().code(), Code::OutOfRange);
    assert!(
        !grpc
            .introspect(api::IntrospectRequest { token: "x".into(), ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .active
    );
}

#[tokio::test]
async fn a_port_or_a_socket_that_is_in_use_is_not_shared() {
    let sidecar = Sidecar::start().await;
    let directory = tempfile::tempdir().unwrap();
    let http = sidecar.addresses.http.to_string();
    let socket = format!("unix:{}", sidecar.directory.path().join("grpc.sock").display());
    for (key, address) in [("http", http), ("grpc", socket)] {
        let mut config = configuration(&directory, "").await;
        match key {
            "http" => config.http.listen = address.parse().unwrap(),
            _ => config.grpc.listen = address.parse().unwrap(),
        }
        let error =
            scopegate::server::Server::start(&config, scopegate::effects::Effects::system()).await.err().unwrap();
        assert!(error.to_string().contains(&address), "{error}");
    }
    assert!(!sidecar.is_active("x").await, "the first is not disturbed");
}

#[tokio::test]
async fn stopping_ends_idle_and_silent_connections_at_once_and_tells_probes() {
    let sidecar = Sidecar::start().await;
    let address = grpc_address(&sidecar);
    let mut grpc = sidecar.grpc().await;
    grpc.introspect(api::IntrospectRequest { token: "x".into(), ..Default::default() }).await.unwrap();
    let silent = TcpStream::connect(&address).await.unwrap();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let idle_http = sidecar.http();
    idle_http.get("/").await;
    let began = Instant::now();
    sidecar.stop().await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(TcpStream::connect(&address).await.is_err());
    drop((silent, half));
}

#[tokio::test]
async fn an_http_connection_that_sends_no_headers_is_ended() {
    let sidecar = Sidecar::start().await;
    let mut stream = TcpStream::connect(sidecar.addresses.http.to_string()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the server waits for the rest of the headers without end");
}
