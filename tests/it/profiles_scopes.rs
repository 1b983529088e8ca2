//! What scopes come to at a resource, with the rules of the profiles. The expectations are sets of bits, worked out here from what the
//! documents of those systems say.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::subsequence;
use scopegate::config::Layers;
use scopegate::domain::client::{ClientMetadata, GrantType};
use scopegate::domain::scope::{Implications, ScopeSet};
use scopegate::domain::scope_rules::{HeldScopes, ScopeRules};
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::Settings;
use scopegate::store::ClientChanges;
use toml::Table;

use crate::harness::{
    Browser, Redis, Registered, Reply, SECRET, Sidecar, encode, hidden_fields, query_of, ticked_scopes,
};

const FUNKWHALE: &str = include_str!("../../src/profiles/funkwhale.toml");
const FORGEJO: &str = include_str!("../../src/profiles/forgejo.toml");
const FITTRACKEE: &str = include_str!("../../src/profiles/fittrackee.toml");
const GANCIO: &str = include_str!("../../src/profiles/gancio.toml");

/// What a profile says of scopes and of requests at proxies, without the rest.
pub fn resource_part(profile: &str) -> String {
    let mut table: Table = profile.parse().unwrap();
    table.retain(|key, _| key == "scopes" || key == "gateway");
    table.to_string()
}

fn settings(profile: &str) -> Settings {
    let key = format!("[keys]\nsecret = '{SECRET}'\n");
    let config = Layers::new().text(&key).unwrap().text(&resource_part(profile)).unwrap().build().unwrap();
    config.settings((Ipv4Addr::LOCALHOST, 1).into())
}

fn set(text: &str) -> ScopeSet {
    text.parse().unwrap()
}

/// Whether a token of a user may do this; the client may ask for `client`.
fn may(settings: &Settings, granted: &str, client: &str, required: &str) -> bool {
    may_narrowed(settings, granted, granted, client, required)
}

/// The same with a token that has some scopes of its grant.
fn may_narrowed(settings: &Settings, granted: &str, whole: &str, client: &str, required: &str) -> bool {
    let (granted, whole, client) = (set(granted), set(whole), set(client));
    let held = match &settings.scope_rules {
        Some(rules) => rules.held(&granted, &whole, Some(&client), true),
        None => HeldScopes::from(&granted),
    };
    let effective = held.effective(&settings.implications).into_owned();
    let allowed = held.satisfy(&settings.implications, required);
    // What resources are told is never more than what is decided, and the other way round where there are no umbrellas.
    assert!(!effective.contains(required) || allowed, "{effective} of {granted}: {required}");
    allowed
}

const FUNKWHALE_SCOPES: [&str; 24] = [
    "profile",
    "libraries",
    "edits",
    "follows",
    "favorites",
    "filters",
    "listenings",
    "radios",
    "playlists",
    "notifications",
    "reports",
    // Never for apps from here on.
    "security",
    "plugins",
    "instance:settings",
    "instance:users",
    "instance:invitations",
    "instance:edits",
    "instance:libraries",
    "instance:accounts",
    "instance:domains",
    "instance:policies",
    "instance:reports",
    "instance:requests",
    "instance:notes",
];
const FOR_APPS: u64 = (1 << 11) - 1;
const ALL_READ: u64 = (1 << 24) - 1;

/// Reading in the lower half, writing in the upper one. Unknown scopes are nothing.
fn funkwhale_bits(scopes: &str) -> u64 {
    scopes.split(' ').fold(0, |bits, scope| {
        let leaf = |name: &str| FUNKWHALE_SCOPES.iter().position(|own| *own == name).map_or(0, |bit| 1 << bit);
        bits | match scope.split_once(':') {
            None if scope == "read" => ALL_READ,
            None if scope == "write" => ALL_READ << 24,
            Some(("read", name)) => leaf(name),
            Some(("write", name)) => leaf(name) << 24,
            _ => 0,
        }
    })
}

#[test]
fn the_table_of_funkwhale_as_its_own_tests_have_it() {
    let settings = settings(FUNKWHALE);
    // A view that requires nothing is allowed: `CheckScopes` without scopes.
    for (required, token, expected) in [
        ("write:profile", "write", true),
        ("write:profile", "read", false),
        ("write:profile", "read:profile", false),
        ("write:profile", "write:profile", true),
        ("read:profile", "read", true),
        ("read:profile", "write", false),
        ("read:profile", "read:profile", true),
        ("read:profile", "write:profile", false),
        ("read:profile", "read:profile:more", false),
        ("read:profile", "", false),
        ("write:security", "write", false),
        ("read:security", "read", false),
        ("read:security", "read:security", false),
        ("read:instance:users", "read", false),
        ("write:instance:notes", "write:instance:notes", false),
        ("read:favorites", "unknown read:favorites", true),
        ("read:favorites", "unknown", false),
    ] {
        assert_eq!(may(&settings, token, "read write", required), expected, "{token} for {required}");
    }
}

#[test]
fn each_scope_of_funkwhale_with_each_of_the_app_and_each_that_is_needed() {
    let settings = settings(FUNKWHALE);
    let leaves: Vec<String> = ["read", "write"]
        .iter()
        .flat_map(|kind| FUNKWHALE_SCOPES.iter().map(move |name| format!("{kind}:{name}")))
        .collect();
    let mut held: Vec<&str> = leaves.iter().map(String::as_str).collect();
    held.extend(["read", "write", "read write", "unknown", ""]);
    let mut allowed = 0;
    for token in &held {
        for app in &held {
            let bits = funkwhale_bits(token) & funkwhale_bits(app) & (FOR_APPS | FOR_APPS << 24);
            for required in &leaves {
                let expected = bits & funkwhale_bits(required) != 0;
                assert_eq!(
                    may(&settings, token, app, required),
                    expected,
                    "{token} of an app with {app} for {required}"
                );
                allowed += u32::from(expected);
            }
        }
    }
    // 22 leaves, each held as itself, by one umbrella or by both, on both sides.
    assert_eq!(allowed, 22 * 3 * 3);
}

const FORGEJO_SCOPES: [&str; 9] =
    ["activitypub", "admin", "misc", "notification", "organization", "package", "issue", "repository", "user"];
const PUBLIC_ONLY: u32 = 1 << 18;
const FULL: u32 = PUBLIC_ONLY - 1;

/// Reading is one bit, writing another; the last is the restriction. What is no scope of the API is nothing.
fn forgejo_bits(scopes: &str) -> u32 {
    scopes.split(' ').fold(0, |bits, scope| {
        let bit = |name: &str| FORGEJO_SCOPES.iter().position(|own| *own == name).map_or(0, |bit| 1 << (2 * bit));
        bits | match scope.split_once(':') {
            None if scope == "all" => FULL,
            None if scope == "public-only" => PUBLIC_ONLY,
            Some(("read", name)) => bit(name),
            Some(("write", name)) => bit(name) * 3,
            _ => 0,
        }
    })
}

/// The bit that a scope needs, not those that it implies.
fn forgejo_need(scope: &str) -> u32 {
    match scope.strip_prefix("write:") {
        Some(name) => forgejo_bits(scope) & !forgejo_bits(&format!("read:{name}")),
        None => forgejo_bits(scope),
    }
}

/// As of a grant: one that has nothing of the API has all of it.
fn forgejo_grant(scopes: &str) -> u32 {
    match forgejo_bits(scopes) {
        0 => FULL,
        bits => bits,
    }
}

fn forgejo_leaves() -> Vec<String> {
    let kinds = ["read", "write"].into_iter();
    let mut leaves: Vec<String> =
        kinds.flat_map(|kind| FORGEJO_SCOPES.iter().map(move |name| format!("{kind}:{name}"))).collect();
    leaves.push("public-only".into());
    leaves
}

fn every_category(scope: &str) -> String {
    FORGEJO_SCOPES.map(|name| format!("{scope}:{name}")).join(" ")
}

/// The rows of the tests of Forgejo, separated by spaces. Which of two equal sets is written down is of no matter here.
#[test]
fn scopes_of_forgejo_that_normalize_to_the_same_allow_the_same() {
    let settings = settings(FORGEJO);
    let mut rows = vec![
        (
            "write:misc write:notification read:package write:notification public-only".to_owned(),
            "public-only write:misc write:notification read:package".to_owned(),
        ),
        ("all sudo".into(), "all".into()),
        ("all".into(), "all".into()),
        (every_category("write"), "all".into()),
        (format!("{} public-only", every_category("write")), "public-only all".into()),
    ];
    for name in FORGEJO_SCOPES {
        let (read, write) = (format!("read:{name}"), format!("write:{name}"));
        rows.extend([
            (read.clone(), read.clone()),
            (write.clone(), write.clone()),
            (format!("{write} {read}"), write.clone()),
            (format!("{read} {write}"), write.clone()),
            (format!("{read} {write} {write}"), write),
        ]);
    }
    assert_eq!(rows.len(), 50);
    for (given, normal) in &rows {
        assert_eq!(forgejo_bits(given), forgejo_bits(normal), "{given}");
        for required in forgejo_leaves() {
            let expected = forgejo_bits(normal) & forgejo_need(&required) != 0;
            assert_eq!(may(&settings, given, "", &required), expected, "{given} for {required}");
            assert_eq!(may(&settings, normal, "", &required), expected, "{normal} for {required}");
        }
    }
}

#[test]
fn what_a_scope_of_forgejo_has_as_its_own_tests_have_it() {
    let settings = settings(FORGEJO);
    let mut rows: Vec<(String, String, bool)> = vec![
        ("read:admin".into(), "write:package".into(), false),
        ("all".into(), "write:package".into(), true),
        ("write:package".into(), "all".into(), false),
        ("public-only".into(), "read:issue".into(), false),
        ("all".into(), "public-only".into(), false),
        ("all".into(), "read:unknown".into(), false),
    ];
    for name in FORGEJO_SCOPES {
        let (read, write) = (format!("read:{name}"), format!("write:{name}"));
        rows.extend([
            (read.clone(), read.clone(), true),
            (write.clone(), write.clone(), true),
            (write.clone(), read.clone(), true),
            (read, write, false),
        ]);
    }
    for (held, required, expected) in rows {
        assert_eq!(may(&settings, &held, "", &required), expected, "{held} for {required}");
    }
}

#[test]
fn a_grant_without_a_scope_of_the_api_of_forgejo_is_for_all_of_it_and_narrowing_gains_nothing() {
    let settings = settings(FORGEJO);
    let off = Settings {
        scope_rules: settings.scope_rules.clone().map(|rules| ScopeRules { fallback: ScopeSet::default(), ..rules }),
        ..self::settings(FORGEJO)
    };
    let leaves = forgejo_leaves();
    for granted in ["", "openid", "openid profile email groups", "repository", "sudo", "admin user issue", "repo read"]
    {
        for required in &leaves {
            assert_eq!(may(&settings, granted, "", required), required != "public-only", "{granted} for {required}");
            assert!(!may(&off, granted, "", required), "{granted} for {required} without the rule");
        }
    }
    // A machine has no user who could have allowed everything.
    let rules = settings.scope_rules.as_ref().unwrap();
    let none = ScopeSet::default();
    assert!(!rules.held(&none, &none, None, false).satisfy(&settings.implications, "read:user"));
    // Two at a time, with what is none of the API among them.
    let mut names: Vec<&str> = leaves.iter().map(String::as_str).collect();
    names.extend(["all", "openid", "sudo", "unknown", ""]);
    for one in &names {
        for other in &names {
            let granted = format!("{one} {other}");
            for required in &leaves {
                let need = forgejo_need(required);
                assert_eq!(
                    may(&settings, &granted, "", required),
                    forgejo_grant(&granted) & need != 0,
                    "{granted} for {required}"
                );
                // A token that has one of them alone: the grant decides what it lacks, and which restriction it has.
                let whole = forgejo_bits(&granted);
                let narrow = if whole == 0 { FULL } else { forgejo_bits(one) & !PUBLIC_ONLY | whole & PUBLIC_ONLY };
                assert_eq!(
                    may_narrowed(&settings, one, &granted, "", required),
                    narrow & need != 0,
                    "{one} of {granted} for {required}"
                );
            }
        }
    }
}

#[test]
fn neither_fittrackee_nor_gancio_knows_a_scope_that_implies_another() {
    for profile in [FITTRACKEE, GANCIO] {
        let settings = settings(profile);
        assert_eq!((settings.scope_rules.as_ref(), &settings.implications), (None, &Implications::default()));
        let scopes: Vec<&String> = settings.catalogue.keys().filter(|scope| scope.contains(':')).collect();
        assert_eq!(scopes.len(), if profile == GANCIO { 1 } else { 16 });
        for held in &scopes {
            for required in &scopes {
                assert_eq!(may(&settings, held, "", required), held == required, "{held} for {required}");
            }
        }
    }
}

fn some(names: &'static [&'static str]) -> impl Strategy<Value = ScopeSet> {
    subsequence(names, 0..=names.len()).prop_map(|names| set(&names.join(" ")))
}

proptest! {
    #[test]
    fn no_rule_lets_a_token_do_more_with_fewer_scopes_unless_nothing_of_the_api_is_left(
        (granted, kept) in some(&["all", "read", "write", "read:a", "write:a", "read:b", "x", "x.y", "only", "openid"])
            .prop_flat_map(|all| { let n = all.iter().count(); (Just(all), proptest::collection::vec(any::<bool>(), n)) }),
        client in some(&["all", "read", "write", "read:a", "write:b", "x"]),
        allowed in some(&["read:a", "write:a", "read:b", "x.y", "only"]),
        (limit_to_client, falls_back, restricts) in any::<(bool, bool, bool)>(),
        (write_implies_read, hierarchy, by_user) in any::<(bool, bool, bool)>(),
    ) {
        let implications = Implications {
            umbrellas: vec!["read".into(), "write".into()],
            write_implies_read,
            hierarchy,
            explicit: [("all".to_owned(), vec!["read".to_owned(), "write".to_owned(), "x".to_owned()])].into(),
        };
        let rules = ScopeRules {
            limit_to_client,
            allowed,
            fallback: if falls_back { set("all") } else { ScopeSet::default() },
            restrictions: if restricts { set("only") } else { ScopeSet::default() },
        };
        let kept: Vec<&str> = granted.iter().zip(kept).filter(|(_, kept)| *kept).map(|(scope, _)| scope).collect();
        let fewer = set(&kept.join(" "));
        let is_of_api = |scope: &str| scope == "only" && restricts || implications.satisfy(&set("all"), scope);
        let gains = falls_back && by_user && !fewer.iter().any(is_of_api);
        for required in ["all", "read", "write", "read:a", "write:a", "read:b", "write:b", "read:c", "x", "x.y", "x.z", "only", "openid"] {
            let more = rules.held(&granted, &granted, Some(&client), by_user);
            let alone = rules.held(&fewer, &fewer, Some(&client), by_user);
            let narrowed = rules.held(&fewer, &granted, Some(&client), by_user);
            let may = |held: &HeldScopes<'_>| held.satisfy(&implications, required);
            prop_assert!(gains || !may(&alone) || may(&more), "{required}: a grant for less allows more");
            prop_assert!(!may(&narrowed) || may(&more), "{required}: a narrower token may do more");
            let fewer_of_client = rules.held(&granted, &granted, None, by_user);
            prop_assert!(!may(&fewer_of_client) || may(&more) && (!limit_to_client || required == "only"), "{required}");
            prop_assert!(restricts && required == "only" || !may(&more) || rules.allowed.is_empty() || implications.satisfy(&rules.allowed, required));
            for held in [more, alone, narrowed] {
                let told = held.effective(&implications);
                prop_assert!(may(&held) || !told.contains(required), "{required} is told and not so");
            }
        }
    }
}

/// A sidecar with the rules of a profile, whose shop may ask for these scopes.
async fn deployment(profile: &str, scopes: &str, more: &str) -> Sidecar {
    let sidecar = Sidecar::with(&format!("{more}\n{}", resource_part(profile))).await;
    change_scopes(&sidecar, &sidecar.shop, scopes).await;
    sidecar
}

async fn change_scopes(sidecar: &Sidecar, client: &Registered, scopes: &str) {
    let changes = ClientChanges { scopes: Some(set(scopes)), ..ClientChanges::default() };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
}

async fn token(sidecar: &Sidecar, scope: &str) -> String {
    let code = sidecar.code_for(&sidecar.request(&[("scope", scope)])).await;
    sidecar.redeem(&code).await.tokens().access
}

async fn allows(sidecar: &Sidecar, token: &str, scope: &str) -> bool {
    let answer = sidecar.check(token, &[scope]).await;
    match answer.decision() {
        api::Decision::Allowed => true,
        api::Decision::InsufficientScope => {
            assert_eq!(answer.missing_scopes, [scope]);
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_way_to_ask_knows_that_a_token_may_do_no_more_than_its_app() {
    let sidecar = deployment(FUNKWHALE, "read write:favorites", "[http]\ntrusted_proxies = ['127.0.0.1']").await;
    let token = token(&sidecar, "read write:favorites").await;
    change_scopes(&sidecar, &sidecar.shop, "read:favorites read:security write").await;
    let cases = [
        ("read:favorites", true),
        ("write:favorites", true),
        ("read:playlists", false),
        ("read:security", false),
        ("write:playlists", false),
    ];
    let ask = |scope: &str| api::CheckScopesRequest {
        token: token.clone(),
        required_scopes: vec![scope.into()],
        ..api::CheckScopesRequest::default()
    };
    let requests: Vec<_> = cases.iter().map(|(scope, _)| ask(scope)).collect();
    let batch = api::BatchCheckScopesRequest { requests: requests.clone() };
    let batch = sidecar.grpc().await.batch_check_scopes(batch).await.unwrap().into_inner().results;
    let requests = requests.into_iter().map(|request| api::StreamCheckScopesRequest { request: Some(request) });
    let requests: Vec<_> = requests.collect();
    let answers = sidecar.grpc().await.stream_check_scopes(stream::iter(requests)).await.unwrap().into_inner();
    let streamed: Vec<_> = answers.map(|answer| answer.unwrap().result.unwrap()).collect().await;
    for (index, (scope, expected)) in cases.into_iter().enumerate() {
        use api::batch_check_scopes_result::Result as Item;
        use api::stream_check_scopes_response::Result as Streamed;
        assert_eq!(allows(&sidecar, &token, scope).await, expected, "{scope}");
        let (Some(Item::Response(batched)), Streamed::Response(streamed)) = (&batch[index].result, &streamed[index])
        else {
            panic!("{scope}: no answers");
        };
        for answer in [batched, streamed] {
            assert_eq!(answer.decision() == api::Decision::Allowed, expected, "{scope}");
        }
        let (path, bearer) = (format!("/check?required_scopes={scope}"), format!("Bearer {token}"));
        let headers = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-uri", "/x"),
            ("authorization", &*bearer),
        ];
        let answer = sidecar.http().send(Method::GET, &path, &headers, "").await;
        assert_eq!(answer.status, if expected { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{scope}");
        if expected {
            assert_eq!(
                answer.header("x-auth-scopes"),
                Some("read:favorites write:favorites"),
                "what it may do, not what was granted"
            );
        }
    }
    let told = sidecar.introspect(&token).await;
    assert_eq!((told.scope.as_str(), told.scopes.len()), ("read:favorites write:favorites", 2));
    let told = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &token)]).await.json();
    assert_eq!(told["scope"], "read:favorites write:favorites");
}

#[tokio::test]
async fn scopes_that_an_app_has_no_more_count_at_once_here_and_after_a_lease_elsewhere() {
    let redis = Redis::start().await;
    let lease = Duration::from_secs(1);
    for shared in [String::new(), format!("[redis]\nurl = '{}'", redis.url())] {
        let sidecar = deployment(FUNKWHALE, "read", &shared).await;
        let other = sidecar.beside_with(&format!("{shared}\n{}", resource_part(FUNKWHALE))).await;
        change_scopes(&sidecar, &sidecar.shop, "read").await;
        let token = token(&sidecar, "read").await;
        for (scopes, allowed) in
            [("write read:favorites", false), ("read", true), ("", false), ("read:playlists", true)]
        {
            change_scopes(&sidecar, &sidecar.shop, scopes).await;
            let changed = Instant::now();
            assert_eq!(allows(&sidecar, &token, "read:playlists").await, allowed, "{scopes:?}");
            // The other one may have read a moment ago what was so until now; it does not say so for long.
            loop {
                let asked = Instant::now();
                if allows(&other, &token, "read:playlists").await == allowed {
                    break;
                }
                assert!(asked < changed + lease, "{scopes:?}: {:?} after the change", asked - changed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // By hand, in the database, of which nobody is told.
        sidecar.database().await.execute("UPDATE clients SET scopes = 'write'").await;
        tokio::time::sleep(lease).await;
        for server in [&sidecar, &other] {
            assert!(!allows(server, &token, "read:playlists").await);
        }
    }
}

#[tokio::test]
async fn a_grant_of_forgejo_without_a_scope_of_the_api_may_do_all_and_one_that_is_public_only_says_so() {
    let sidecar = deployment(FORGEJO, "openid all public-only read:user write:repository", "").await;
    let everything = token(&sidecar, "openid").await;
    for scope in ["read:user", "write:admin", "all"] {
        assert!(allows(&sidecar, &everything, scope).await, "{scope}");
    }
    assert!(!allows(&sidecar, &everything, "public-only").await);
    let answer = sidecar.check(&everything, &["read:user"]).await;
    assert_eq!(answer.restrictions, [""; 0]);
    assert_eq!(sidecar.introspect(&everything).await.scope, "all openid");

    let grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::TokenExchange];
    sidecar.change(&sidecar.shop, ClientMetadata { grant_types, ..ClientMetadata::default() }).await;
    let some = token(&sidecar, "openid public-only read:user write:repository").await;
    for (scope, expected) in
        [("read:user", true), ("read:repository", true), ("write:user", false), ("read:issue", false)]
    {
        assert_eq!(allows(&sidecar, &some, scope).await, expected, "{scope}");
        assert_eq!(sidecar.check(&some, &[scope]).await.restrictions, ["public-only"]);
    }
    // Who narrows it neither loses the restriction nor falls back to everything.
    for scope in ["read:user", "openid"] {
        let narrow = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &*some),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("scope", scope),
        ];
        let narrow = sidecar.http().post_as(&sidecar.shop, "/token", &narrow).await.access_token();
        assert_eq!(allows(&sidecar, &narrow, "read:user").await, scope == "read:user");
        assert!(!allows(&sidecar, &narrow, "write:repository").await, "{scope}");
        assert_eq!(sidecar.check(&narrow, &[]).await.restrictions, ["public-only"]);
        assert_eq!(sidecar.introspect(&narrow).await.scope, set(&format!("{scope} public-only")).as_str());
    }
}

/// Where the browser is sent that keeps these scopes of a page, whatever the page has without a box.
async fn decide(browser: &mut Browser, page: &Reply, kept: &[&str]) -> Reply {
    let mut fields = hidden_fields(&page.body);
    fields.retain(|(name, _)| name != "scope");
    fields.extend(kept.iter().map(|&scope| ("scope".to_owned(), scope.to_owned())));
    fields.push(("decision".into(), "approve".into()));
    browser.post("/consent", &encode(&fields)).await
}

#[tokio::test]
async fn users_of_forgejo_see_that_it_is_everything_and_allow_no_more_by_allowing_less() {
    let scopes = "openid all public-only read:user read:issue";
    let sidecar = deployment(FORGEJO, scopes, "[consent]\nremember = 'confidential'").await;
    let mut browser = sidecar.browser();
    let ask = |scope: &str| sidecar.request(&[("scope", scope)]);
    let some = browser.consent_page(&ask("openid read:user public-only")).await;
    assert!(!some.body.contains("Full access"), "{}", some.body);
    assert!(!ticked_scopes(&some.body).iter().any(|(_, scope)| scope == "public-only"), "no box for a restriction");
    // Neither a form that drops the restriction nor one that drops all of the API is an approval.
    for kept in [&["openid", "read:user"][..], &["openid"]] {
        let page = browser.consent_page(&ask("openid read:user public-only")).await;
        let reply = decide(&mut browser, &page, kept).await;
        assert_eq!(query_of(reply.header("location").unwrap(), "error").as_deref(), Some("access_denied"), "{kept:?}");
    }
    let asked = async |browser: &mut Browser, scope: &str| {
        let reply = browser.get(&format!("/authorize?{}", ask(scope))).await;
        reply.header("location").is_none()
    };
    browser.approve(&ask("openid read:user public-only")).await;
    assert!(!asked(&mut browser, "openid read:user public-only").await, "it was allowed");
    for more in ["openid read:user", "openid"] {
        assert!(asked(&mut browser, more).await, "{more} is more than was allowed");
    }
    // A later decision about some of it leaves the restriction with the rest.
    browser.approve(&ask("read:issue read:user public-only")).await;
    let page = browser.consent_page(&format!("{}&prompt=consent", ask("read:user public-only"))).await;
    decide(&mut browser, &page, &["read:user", "public-only"]).await;
    assert!(!asked(&mut browser, "read:issue public-only").await, "it was allowed");
    assert!(asked(&mut browser, "read:issue").await, "it was allowed with a restriction");
    let everything = browser.consent_page(&ask("openid")).await;
    assert!(everything.body.contains("Full access"), "{}", everything.body);
    browser.approve(&ask("openid")).await;
    assert!(!asked(&mut browser, "openid").await, "it was allowed");
}
