//! decision(cached) == decision(uncached), over generated grants, tokens and requirements.

use std::cell::Cell;
use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use scopegate::domain::caller::Sight;
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::domain::decision::{Decision, Held, Match, Requirement};
use scopegate::domain::grant::{GrantFacts, SessionId, SubjectId};
use scopegate::domain::pkce::CodeVerifier;
use scopegate::domain::redirect_rules::RedirectProof;
use scopegate::domain::revocation::Target;
use scopegate::domain::scope::ScopeSet;
use scopegate::domain::timestamp::Timestamp;
use scopegate::domain::token::{Token, TokenKind};
use scopegate::effects::Effects;
use scopegate::facts::Source;
use scopegate::server::Backend;
use scopegate::service::clients::NewClient;
use scopegate::service::possession::Shown;
use scopegate::store::{Basis, NewGrant, Redemption, Times};

use crate::harness::{VERIFIER, configuration};

/// A grant, whether it is revoked, a token of it and what is asked of that token.
#[derive(Clone, Debug)]
struct Case {
    granted: Vec<&'static str>,
    revoked: bool,
    kind: TokenKind,
    generation: u32,
    lifetime: u32,
    age: i64,
    required: Vec<&'static str>,
    any: bool,
}

const SCOPES: [&str; 6] = ["read", "write", "read:a", "write:a", "x", "x.y"];

fn case() -> impl Strategy<Value = Case> {
    let scopes = || proptest::sample::subsequence(SCOPES.to_vec(), 1..4);
    (
        scopes(),
        any::<bool>(),
        0..3_usize,
        prop_oneof![9 => Just(0_u32), 1 => Just(1)],
        0..3_u32,
        0..3_i64,
        scopes(),
        any::<bool>(),
    )
        .prop_map(|(granted, revoked, kind, generation, lifetime, age, required, any)| Case {
            granted,
            revoked: revoked && age > 1,
            kind: TokenKind::ALL[kind],
            generation,
            lifetime: lifetime * 100,
            age: age * 100,
            required,
            any,
        })
}

#[test]
fn a_cached_decision_is_the_uncached_one_and_the_one_that_the_rules_give() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let rules = "issuer = 'http://127.0.0.1:1'\n[scopes.implications]\n\
                 umbrellas = ['read', 'write']\nwrite_implies_read = true\nhierarchy = true";
    let config = runtime.block_on(configuration(&directory, rules));
    let backend =
        runtime.block_on(Backend::open(&config, SocketAddr::from(([127, 0, 0, 1], 1)), Effects::system())).unwrap();
    let client = runtime.block_on(async {
        let new = NewClient {
            name: "C".into(),
            redirect_uris: vec![],
            scopes: ScopeSet::default(),
            public: true,
            introspects: Introspects::Own,
            metadata: ClientMetadata::default(),
        };
        backend.service.create_account("ann".into(), "a password".to_owned().into()).await.unwrap();
        backend.service.create_client(new).await.unwrap().0.id
    });
    let subject: SubjectId = runtime.block_on(backend.service.subject_of("ann".into())).unwrap();
    let keys = config.token_keys().unwrap();
    let seen = [const { Cell::new(0_u32) }; 3];
    let outcome = TestRunner::new(Runs { cases: 300, ..Runs::default() }).run(&case(), |case| {
        let index = runtime.block_on(async {
            let (now, id) = (Effects::system().now(), Effects::system().grant_id());
            let challenge = VERIFIER.parse::<CodeVerifier>().unwrap().challenge();
            let scopes: ScopeSet = case.granted.join(" ").parse().unwrap();
            let grant = NewGrant {
                id,
                client: client.clone(),
                subject: subject.clone(),
                named: None,
                session: SessionId::from_bytes([1; 16]),
                variant: scopes.clone().into(),
                redirect_uri: String::new(),
                challenge: Some(challenge.clone()),
                now,
                expires_at: now.plus(60),
                authentication: None,
                basis: Basis::Decision,
            };
            assert!(backend.store.insert_grant(grant).await.unwrap());
            let redemption = Redemption {
                grant: id,
                client: client.clone(),
                redirect_uri: RedirectProof::Exactly(String::new()),
                challenge: Some(challenge),
                variant: 0,
                variants: vec![scopes.clone().into()],
                now,
                times: Times { expires_at: now.plus(10_000), idle_until: now.plus(10_000), access_lifetime: 600 },
            };
            assert!(backend.store.redeem(redemption).await.unwrap().is_some());
            if case.revoked {
                assert!(
                    backend.service.revoke_now(Target::Grant { id, generation: GrantFacts::REVOKED }).await.unwrap()
                );
            }
            let token = Token {
                kind: case.kind,
                variant: 0,
                grant: id,
                generation: case.generation,
                serial: 0,
                issued_at: Timestamp::from_unix(now.as_unix() - case.age),
                lifetime: case.lifetime,
            };
            let text = keys.seal(&token);
            let required: Vec<String> = case.required.iter().map(|&scope| scope.into()).collect();
            let requirement = Requirement::new(&required, if case.any { Match::Any } else { Match::All }, &[]).unwrap();
            let (uncached, first) =
                backend.service.check(text.expose(), &Sight::All, &requirement, &Shown::default()).await.unwrap();
            let (cached, second) =
                backend.service.check(text.expose(), &Sight::All, &requirement, &Shown::default()).await.unwrap();
            assert_eq!(uncached, cached, "{case:?}");

            let alive = case.kind == TokenKind::AccessToken
                && !case.revoked
                && (case.lifetime == 0 || case.age < i64::from(case.lifetime));
            let expected = if alive {
                let held = Held { scopes: (&scopes).into(), audiences: &[], authentication: None };
                requirement.decide(&held, &config.scopes.implications, now)
            } else {
                Decision::InactiveToken
            };
            assert_eq!(uncached, expected, "{case:?}");
            if alive {
                assert_eq!((first.source, second.source), (Source::Store, Source::Local), "{case:?}");
            }
            match expected {
                Decision::Allowed => 0,
                Decision::InactiveToken => 1,
                _ => 2,
            }
        });
        seen[index].set(seen[index].get() + 1);
        Ok(())
    });
    outcome.unwrap();
    assert!(seen.iter().all(|count| count.get() > 10), "each outcome was among the cases: {seen:?}");
    runtime.block_on(backend.store.close());
}
