//! PostgreSQL hangs, or is killed, behind each proxy: after the lease nobody knows, and what nobody knows does not pass.

use std::time::{Duration, Instant};

use scopegate::proto::scopegate::v1::RevocationMode;

use crate::envoy::{LENIENT, SCOPES};
use crate::forward_auth::{RULES_OF_ENVOY, TRUST};
use crate::harness::{Application, Envoy, Gate, Kind, Postgres, Raw, Sidecar};

/// `cache.lease`, unless configured otherwise.
const LEASE: Duration = Duration::from_secs(1);
/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The sidecar says within 150 ms that it does not know, and the proxies wait for 200 ms, but for Traefik.
const BUDGET: Duration = Duration::from_secs(2);

/// Each in front of the same application, and asking the same sidecar.
async fn gates(sidecar: &Sidecar, application: &Application) -> Vec<(&'static str, Gate)> {
    let socket = sidecar.directory.path().join("grpc.sock");
    let strict = Envoy::start(&socket, application.address, &SCOPES).await;
    let lenient = Envoy::start(&socket, application.address, &[&SCOPES[..], &LENIENT].concat()).await;
    let mut gates = vec![("Envoy", strict.into()), ("Envoy with failure_mode_allow", lenient.into())];
    for kind in Kind::ALL {
        let name = match kind {
            Kind::Nginx => "nginx",
            Kind::Traefik => "Traefik",
            Kind::Caddy => "Caddy",
            Kind::Envoy => "Envoy over HTTP",
        };
        let http = sidecar.addresses.http.only_tcp().unwrap();
        gates.push((name, Gate::start(kind, http, application.address).await));
    }
    gates
}

/// Asks until the answer is the one that has to come. On a loaded machine, a proxy may have given up waiting before: that is a denial,
/// too, and no other answer passes.
async fn answers(name: &str, gate: &Gate, token: &str, status: u16) -> Raw {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = gate.with_token("/orders", token).await;
        assert!(asked.elapsed() < BUDGET, "{name}: an answer took {:?}", asked.elapsed());
        if answer.status == status {
            return answer;
        }
        assert!(matches!(answer.status, 500..=504), "{name}: {answer:?}");
        assert!(began.elapsed() < PATIENCE, "{name}: no {status}, but {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e14_e17_at_each_proxy_a_token_is_unknown_after_the_lease_when_the_database_is_gone_and_garbage_is_garbage() {
    let postgres = Postgres::start().await;
    let database = format!("[database]\nurl = '{}'\n", postgres.url());
    let sidecar = Sidecar::with(&format!("{TRUST}{database}{RULES_OF_ENVOY}")).await;
    let application = Application::start().await;
    let gates = gates(&sidecar, &application).await;
    let [active, cold, revoked] = [(); 3].map(|()| sidecar.tokens());
    let (active, cold, revoked) = (active.await.access, cold.await.access, revoked.await.access);
    let mut passed = 0;
    for fault in ["STOP", "KILL"] {
        for (name, gate) in &gates {
            assert_eq!(answers(name, gate, &active, 200).await.status, 200);
            passed += 1;
        }
        if fault == "STOP" {
            sidecar.revoke(&revoked, RevocationMode::Strict).await;
        }
        postgres.halt(fault);
        let gone = Instant::now();
        // What is in no cache is unknown at once.
        for (name, gate) in &gates {
            answers(name, gate, &cold, 503).await;
        }
        while gone.elapsed() < LEASE {
            for (_, gate) in &gates {
                let within = gone.elapsed() < LEASE;
                passed += usize::from(gate.with_token("/orders", &active).await.status == 200 && within);
            }
        }
        for (name, gate) in &gates {
            for _ in 0..3 {
                let unknown = answers(name, gate, &active, 503).await;
                assert_eq!(unknown.header("www-authenticate"), None, "{fault}, {name}: {unknown:?}");
            }
            let garbage = answers(name, gate, "sg_at_AAAA", 401).await;
            assert!(
                garbage.header("www-authenticate").unwrap().contains("invalid_token"),
                "{fault}, {name}: {garbage:?}"
            );
            let dead = gate.with_token("/orders", &revoked).await;
            assert!(matches!(dead.status, 401 | 500..=504), "{fault}, {name}: {dead:?}");
            let nothing = gate.get("/orders", &[]).await;
            assert!(matches!(nothing.status, 401 | 500..=504), "{fault}, {name}: {nothing:?}");
        }
        assert_eq!(application.served(), passed, "{fault}: something passed that nobody knows");
        if fault == "STOP" {
            postgres.halt("CONT");
            for (name, gate) in &gates {
                assert_eq!(answers(name, gate, &active, 200).await.status, 200, "it does not recover");
                passed += 1;
            }
        }
    }
}
