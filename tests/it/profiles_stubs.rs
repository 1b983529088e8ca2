//! The stub applications of `tests/python/stubs`, for the tests with the clients of each system: they refuse as it does.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use scopegate::store::ClientChanges;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Http, Reply, Sidecar};
use crate::profiles_scopes::resource_part;

/// A running stub application.
pub struct Stub {
    pub http: Http,
    pub address: String,
    _process: Child,
}

impl Stub {
    /// That of a system, which asks this sidecar.
    pub async fn start(system: &str, sidecar: &Sidecar) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(root.join(".tools/bin/python"));
        command.arg(root.join(format!("tests/python/stubs/{system}.py")));
        command.env("PYTHONPATH", root.join(".tools/stubs")).env("PYTHONDONTWRITEBYTECODE", "1");
        let socket = sidecar.directory.path().join("grpc.sock");
        command.env("SCOPEGATE", format!("unix:{}", socket.display()));
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut process = spawned.expect("tests/run.sh installs python into .tools");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{system} says: {line}"));
        Self { http: Http::new(&format!("http://{address}")), address: address.into(), _process: process }
    }

    /// What it answers when it knows.
    pub async fn send(&self, method: &Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        loop {
            let reply = self.http.send(method.clone(), path, headers, "").await;
            if reply.status != 503 {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn each_stub_takes_tokens_and_refuses_them_as_its_system_does() {
    let fittrackee = include_str!("../../src/profiles/fittrackee.toml");
    let funkwhale = include_str!("../../src/profiles/funkwhale.toml");
    let gancio = include_str!("../../src/profiles/gancio.toml");
    let forgejo = include_str!("../../src/profiles/forgejo.toml");
    for (system, profile, scope, good, lacking, invalid) in [
        (
            "fittrackee",
            fittrackee,
            "workouts:read",
            vec![("Bearer {}", "/api/workouts"), ("bearer {}", "/api/sports")],
            (Method::PATCH, "/api/config", "insufficient_scope"),
            (401, "invalid_token"),
        ),
        (
            "funkwhale",
            funkwhale,
            "read write:favorites",
            vec![
                ("Bearer {}", "/api/v1/users/me/"),
                ("", "/api/v1/favorites/tracks/?token={}"),
                ("", "/api/v1/users/me?access_token={}"),
            ],
            (Method::GET, "/api/v1/oauth/grants/", "You do not have permission"),
            (401, "Authentication credentials were not provided."),
        ),
        (
            "gancio",
            gancio,
            "a",
            vec![("Bearer {}", "/api/user"), ("", "/api/user?access_token={}")],
            (Method::POST, "/api/event", "Forbidden"),
            (403, "Forbidden"),
        ),
        (
            "forgejo",
            forgejo,
            "read:user",
            vec![("token {}", "/api/v1/user"), ("Bearer {}", "/api/v1/user"), ("", "/api/v1/user?token={}")],
            (Method::GET, "/api/v1/users/ann/repos", "required scope(s): [read:repository]"),
            (401, "token is required"),
        ),
    ] {
        let sidecar = Sidecar::with(&resource_part(profile)).await;
        let changes = ClientChanges { scopes: Some(scope.parse().unwrap()), ..ClientChanges::default() };
        sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
        let code = sidecar.code_for(&sidecar.request(&[("scope", scope)])).await;
        let token = sidecar.redeem(&code).await.tokens().access;
        let stub = Stub::start(system, &sidecar).await;
        let bearer = format!("Bearer {token}");
        for (header, path) in &good {
            let header = header.replace("{}", &token);
            let headers = if header.is_empty() { vec![] } else { vec![("authorization", &*header)] };
            let reply = stub.send(&Method::GET, &path.replace("{}", &token), &headers).await;
            assert_eq!(reply.status, 200, "{system}: {header} {path}: {reply:?}");
        }
        let path = good[0].1;
        let nothing = stub.send(&Method::GET, path, &[]).await;
        assert_eq!(nothing.status.as_u16(), invalid.0, "{system}: {nothing:?}");
        let garbage = stub.send(&Method::GET, path, &[("authorization", "Bearer x")]).await;
        assert_eq!(garbage.status.as_u16(), invalid.0, "{system}: {garbage:?}");
        assert!(garbage.body.contains(invalid.1), "{system}: {garbage:?}");
        let (method, path, words) = lacking;
        let reply = stub.send(&method, path, &[("authorization", &bearer)]).await;
        assert!(reply.status == 403 && reply.body.contains(words), "{system}: {reply:?}");
    }
}
