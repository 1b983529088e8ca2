//! TLS on the ports: callers with certificates, certificates that change, and tokens that are bound to them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use scopegate::domain::certificate_subject::CertificateSubject;
use scopegate::domain::client::{AuthenticationMethod, ClientMetadata, GrantType, Introspects};
use scopegate::effects::{Clock as _, Effects};
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use crate::harness::{Authority, HOST, Registered, Sidecar, basic, form};

const SPIFFE: &str = "spiffe://example.org/orders";
/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with TLS on gRPC, whose files are in a directory of their own, and an authority that both sides trust.
async fn secured(more: &str) -> (Sidecar, Authority, tempfile::TempDir) {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.issue("server", &format!("DNS:{HOST}"));
    authority.install("server", directory.path());
    let configuration = format!(
        "[grpc]\nlisten = '0.0.0.0:0'\n{}{more}\n\
         [[grpc.callers]]\nname = 'orders'\ncertificates = ['{SPIFFE}', 'orders.example.org']\nall = true\n",
        files("grpc", directory.path())
    );
    (Sidecar::with(&configuration).await, authority, directory)
}

fn files(section: &str, directory: &Path) -> String {
    let file = |name| directory.join(name).display().to_string();
    format!(
        "[{section}.tls]\ncertificate_file = '{}'\nkey_file = '{}'\nclient_ca_file = '{}'\n",
        file("tls.crt"),
        file("tls.key"),
        file("ca.crt")
    )
}

async fn connect(
    sidecar: &Sidecar,
    tls: ClientTlsConfig,
) -> Result<TokenServiceClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("https://{}", sidecar.grpc_from_outside())).unwrap();
    endpoint.tls_config(tls.domain_name(HOST)).unwrap().connect().await.map(TokenServiceClient::new)
}

/// Asks something, on a new connection.
async fn ask(sidecar: &Sidecar, tls: ClientTlsConfig) -> Result<bool, Status> {
    let mut grpc = connect(sidecar, tls).await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    ask_on(&mut grpc).await
}

async fn ask_on(grpc: &mut TokenServiceClient<Channel>) -> Result<bool, Status> {
    let request = api::IntrospectRequest { token: "x".into(), ..Default::default() };
    grpc.introspect(request).await.map(|answer| answer.into_inner().active)
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(authority.certificate())
}

/// Waits until something has come about, for as long as a loaded machine may take.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn x14_a_caller_is_known_by_the_name_in_its_certificate_and_by_no_other() {
    let (sidecar, authority, _files) = secured("").await;
    for (name, names) in [
        ("spiffe", format!("URI:{SPIFFE}")),
        ("host", "DNS:orders.example.org".into()),
        ("longer", format!("URI:{SPIFFE}/x")),
        ("wildcard", "DNS:*.example.org".into()),
        ("email", "email:orders.example.org@example.org".into()),
    ] {
        authority.issue(name, &names);
    }
    for (name, known) in [("spiffe", true), ("host", true), ("longer", false), ("wildcard", false), ("email", false)] {
        match ask(&sidecar, trusting(&authority).identity(authority.identity(name))).await {
            Ok(_) => assert!(known, "{name}"),
            Err(status) => assert_eq!((known, status.code()), (false, Code::Unauthenticated), "{name}: {status}"),
        }
    }
    let nobody = ask(&sidecar, trusting(&authority)).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated, "{nobody}");

    let foreign = Authority::new();
    foreign.issue("spiffe", &format!("URI:{SPIFFE}"));
    authority.issue_expired("expired", &format!("URI:{SPIFFE}"));
    for identity in [foreign.identity("spiffe"), authority.identity("expired")] {
        let refused = ask(&sidecar, trusting(&authority).identity(identity)).await.unwrap_err();
        assert_ne!(refused.code(), Code::Unauthenticated, "this connection does not come about: {refused}");
    }
    assert!(sidecar.metric("scopegate_tls_handshake_failures_total").await >= 2);
    let address = format!("http://{}", sidecar.grpc_from_outside());
    assert!(match TokenServiceClient::connect(address).await {
        Ok(mut grpc) => ask_on(&mut grpc).await.is_err(),
        Err(_) => true,
    });
}

#[tokio::test]
async fn x5_only_recent_versions_of_tls_are_spoken() {
    let (sidecar, authority, _files) = secured("").await;
    for (version, spoken) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &sidecar.grpc_from_outside().to_string(), "-alpn", "h2", version])
            .args(["-cipher", "DEFAULT:@SECLEVEL=0", "-servername", HOST, "-verify_return_error", "-CAfile"])
            .arg(authority.file("ca.pem"))
            .stdin(Stdio::null())
            .output()
            .expect("openssl is missing: apt-get install openssl");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.contains("ALPN protocol: h2"), spoken, "{version}: {text}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(error.contains("SSL alert number"), !spoken, "{version}: {error}");
    }
}

#[tokio::test]
async fn x5_certificates_are_read_again_when_they_change_and_bad_ones_change_nothing() {
    let (sidecar, authority, directory) = secured("").await;
    authority.issue("client", &format!("URI:{SPIFFE}"));
    let client = || trusting(&authority).identity(authority.identity("client"));
    let mut old = connect(&sidecar, client()).await.unwrap();
    ask_on(&mut old).await.unwrap();

    std::fs::write(directory.path().join("tls.crt"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    until("the bad file is noticed", async || sidecar.metric("scopegate_tls_reload_failures_total").await == 1).await;
    ask(&sidecar, client()).await.unwrap();

    // Another authority for both sides.
    let next = Authority::new();
    next.issue("server", &format!("DNS:{HOST}"));
    next.issue("client", &format!("URI:{SPIFFE}"));
    next.install("server", directory.path());
    let renewed = || trusting(&next).identity(next.identity("client"));
    until("the new certificates are used", async || ask(&sidecar, renewed()).await.is_ok()).await;
    let trusts_new = trusting(&next).identity(authority.identity("client"));
    assert!(ask(&sidecar, trusts_new).await.is_err(), "the old authority does not count any more");
    // The old connection is ended; the client comes again and is refused, or does not trust the server.
    until("the old connection is ended", async || ask_on(&mut old).await.is_err()).await;
    ask(&sidecar, renewed()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_is_revoked_is_refused_on_open_connections_too() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.issue("server", &format!("DNS:{HOST}"));
    authority.issue("client", &format!("URI:{SPIFFE}"));
    authority.issue("other", &format!("URI:{SPIFFE}"));
    authority.revoke("");
    authority.install("server", directory.path());
    let sidecar = Sidecar::with(&format!(
        "[grpc]\nlisten = '0.0.0.0:0'\n{}client_crl_file = '{}'\n\
         [[grpc.callers]]\nname = 'orders'\ncertificates = ['{SPIFFE}']\nall = true\n",
        files("grpc", directory.path()),
        authority.file("crl.pem").display()
    ))
    .await;
    let client = |name| trusting(&authority).identity(authority.identity(name));
    let mut open = connect(&sidecar, client("client")).await.unwrap();
    ask_on(&mut open).await.unwrap();
    authority.revoke("client");
    until("the open connection is ended", async || ask_on(&mut open).await.is_err()).await;
    assert!(ask(&sidecar, client("client")).await.is_err());
    ask(&sidecar, client("other")).await.unwrap();
}

/// A request over TLS; its status and body.
async fn post(
    sidecar: &Sidecar,
    authority: &Authority,
    identity: Option<&str>,
    path: &str,
    head: &str,
    body: &str,
) -> (u16, Value) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        Some(name) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(authority.file(&format!("{name}.pem"))).unwrap()],
                PrivateKeyDer::from_pem_file(authority.file(&format!("{name}.key"))).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(sidecar.addresses.http.to_string()).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_of_its_clients_connection() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    for (name, names) in [("server", format!("DNS:{HOST}")), ("one", "DNS:one".into()), ("other", "DNS:other".into())] {
        authority.issue(name, &names);
    }
    authority.install("server", directory.path());
    let sidecar = Sidecar::with(&files("http", directory.path())).await;
    let metadata = ClientMetadata {
        grant_types: vec![GrantType::ClientCredentials],
        tls_client_certificate_bound_access_tokens: true,
        ..ClientMetadata::default()
    };
    let machine = sidecar.register(false, Introspects::Own, metadata).await;
    let thumbprint = |name: &str| {
        let der = CertificateDer::from_pem_file(authority.file(&format!("{name}.pem"))).unwrap();
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&der))
    };
    let issue = async |identity, head: &str| {
        let Registered { id, secret } = &machine;
        let head = format!("authorization: {}\r\n{head}", basic(id, secret));
        let body = form(&[("grant_type", "client_credentials"), ("scope", "a")]);
        post(&sidecar, &authority, identity, "/token", &head, &body).await
    };
    let forged = "client-cert: :MAMCAQE=:\r\n";
    assert_eq!(issue(None, "").await.0, 400);
    assert_eq!(issue(None, forged).await.0, 400, "x6: nobody passes certificates on");
    for (name, head) in [("one", ""), ("other", forged)] {
        let (status, answer) = issue(Some(name), head).await;
        assert_eq!(status, 200, "{answer}");
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(sidecar.introspect(token).await.cnf.unwrap().x5t_s256, thumbprint(name));
    }
    let settings = &sidecar.service.settings;
    assert!(settings.issuer.starts_with("https://"), "{}", settings.issuer);
    let metadata = serde_json::to_value(sidecar.service.metadata()).unwrap();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], json!(true));
}

#[tokio::test]
async fn t24_the_certificate_of_a_connection_proves_the_client_whose_name_it_has() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    for (name, names) in [("server", format!("DNS:{HOST}")), ("one", "DNS:one".into()), ("other", "DNS:other".into())] {
        authority.issue(name, &names);
    }
    authority.install("server", directory.path());
    let configuration =
        format!("[http]\nclient_certificate_authentication = 'tls_client_auth'\n{}", files("http", directory.path()));
    let sidecar = Sidecar::with(&configuration).await;
    // The certificates are good from now on.
    let behind = Effects::system().now().as_unix() - sidecar.clock.now().as_unix();
    sidecar.clock.advance(behind.max(0) + 60);
    let metadata = ClientMetadata {
        grant_types: vec![GrantType::ClientCredentials],
        token_endpoint_auth_method: Some(AuthenticationMethod::TlsClientAuth),
        certificate_subject: Some(CertificateSubject::parse("san_dns", "one").unwrap()),
        ..ClientMetadata::default()
    };
    let machine = sidecar.register(false, Introspects::Own, metadata).await;
    let forged = format!("client-cert: :{}:\r\n", {
        let der = CertificateDer::from_pem_file(authority.file("one.pem")).unwrap();
        BASE64_STANDARD.encode(&der)
    });
    let body = form(&[("grant_type", "client_credentials"), ("client_id", &machine.id)]);
    for (identity, head, expected) in [
        (Some("one"), "", 200),
        (Some("other"), "", 401),
        (Some("other"), forged.as_str(), 401),
        (None, forged.as_str(), 401),
        (None, "", 401),
    ] {
        let (status, answer) = post(&sidecar, &authority, identity, "/token", head, &body).await;
        assert_eq!(status, expected, "{identity:?} {head}: {answer}");
    }
}

#[tokio::test]
async fn the_commands_show_a_certificate_or_a_token() {
    let token = "0123456789abcdef0123456789abcdef";
    let (sidecar, authority, directory) =
        secured(&format!("[[grpc.callers]]\nname = 'shell'\ntokens = ['{token}']\nall = true\n")).await;
    authority.issue("client", &format!("URI:{SPIFFE}"));
    std::fs::write(authority.file("token"), format!("{token}\n")).unwrap();
    std::fs::write(authority.file("wrong"), "x").unwrap();
    let file = |name: &str| authority.file(name).display().to_string();
    let endpoint = format!("https://{}", sidecar.grpc_from_outside());
    authority.issue("address", &format!("DNS:{HOST},IP:{}", sidecar.grpc_from_outside().ip()));
    authority.install("address", directory.path());
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scopegate"));
        command.args(arguments).args(["--endpoint", &endpoint]).env_clear().stdin(Stdio::null());
        command.output().await.unwrap()
    };
    let (ca, key, certificate) = (file("ca.pem"), file("client.key"), file("client.pem"));
    let trusting = ["--ca-file", ca.as_str()];
    until("the server has a certificate for its address", async || {
        run(&[&["health"][..], &trusting].concat()).await.status.success()
    })
    .await;
    assert!(!run(&["health"]).await.status.success(), "the system does not trust it");
    let (good, wrong) = (file("token"), file("wrong"));
    for (more, says) in [
        (&["--cert-file", &certificate, "--key-file", &key][..], "active"),
        (&["--caller-token-file", &good], "active"),
        (&["--caller-token-file", &wrong], "the caller is not known"),
        (&[], "the caller is not known"),
    ] {
        let output = run(&[&["token", "introspect", "x"][..], &trusting, more].concat()).await;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(says), "{more:?}: {text}");
    }
}
