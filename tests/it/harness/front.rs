//! The nginx in front of a sidecar itself, and maybe of its app, with the configurations that we ship: TLS at one port, and for those who
//! leave it out, none at another one.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Child;

use super::Authority;
use super::envoy::replace;
use super::gate::nginx;

/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Somebody else may take a free port before nginx does.
const ATTEMPTS: usize = 5;

pub struct Front {
    /// Where there is no TLS.
    pub in_clear: SocketAddr,
    #[expect(dead_code, reason = "they are kept until the end")]
    process: (TempDir, Child),
}

impl Front {
    /// With the certificate `server` of an authority. Where it listens is part of the issuer, so the sidecar is started in between.
    pub async fn start<S>(
        authority: &Authority,
        sidecar: impl AsyncFn(String) -> S,
        address: impl AsyncFn(&S) -> SocketAddr,
    ) -> (Self, S) {
        let upstream = async |sidecar: &S| vec![("127.0.0.1:8080;", address(sidecar).await)];
        Self::with(include_str!("../../../deploy/nginx/issuer.conf"), authority, sidecar, upstream).await
    }

    /// With another configuration, and what is where its upstreams are.
    pub async fn with<S>(
        configuration: &str,
        authority: &Authority,
        sidecar: impl AsyncFn(String) -> S,
        upstreams: impl AsyncFn(&S) -> Vec<(&'static str, SocketAddr)>,
    ) -> (Self, S) {
        for _ in 0..ATTEMPTS {
            let directory = tempfile::tempdir().unwrap();
            let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let [public, in_clear] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
            let sidecar = sidecar(format!("https://{public}")).await;
            let upstreams = upstreams(&sidecar).await;
            drop(listeners);
            authority.install("server", directory.path());
            let file = directory.path().join("nginx.conf");
            let listen = format!("listen {public} ssl;\n        listen {in_clear};");
            let mut text = replace(configuration, &[("listen 0.0.0.0:443 ssl;", &listen)]);
            for (shipped, address) in upstreams {
                text = replace(&text, &[(shipped, &format!("{address};"))]);
            }
            std::fs::write(&file, text).unwrap();
            let log = std::fs::File::create(directory.path().join("log")).unwrap();
            let mut command = nginx(directory.path(), &file);
            command.current_dir(directory.path()).stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
            let mut process = command.spawn().unwrap_or_else(|error| panic!("tests/run.sh installs nginx: {error}"));
            let began = Instant::now();
            while process.try_wait().unwrap().is_none() {
                if TcpStream::connect(public).await.is_ok() {
                    return (Self { in_clear, process: (directory, process) }, sidecar);
                }
                assert!(began.elapsed() < PATIENCE, "nginx does not start");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            eprintln!("{}", std::fs::read_to_string(directory.path().join("log")).unwrap());
        }
        panic!("nginx does not start");
    }
}
