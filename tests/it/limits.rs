//! Guessing passwords and client secrets (RFC 6749 §2.3.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::Barrier;

use crate::harness::{Browser, Http, PASSWORD, Registered, Reply, Sidecar, USERNAME, form};

/// Where the others are.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

async fn sign_in(sidecar: &Sidecar, http: &Http, username: &str, password: &str) -> Reply {
    let body = form(&[("username", username), ("password", password), ("request", &sidecar.request(&[]))]);
    http.post_text("/login", &[], &body).await
}

/// A thousand requests, 250 at a time, all of which begin at once: how many were answered with each status.
async fn thousand<F>(ask: impl Fn() -> F) -> [(StatusCode, usize); 3]
where
    F: Future<Output = Vec<Reply>> + Send + 'static,
{
    let begin = Arc::new(Barrier::new(250));
    let tasks: Vec<_> = (0..250)
        .map(|_| {
            let (begin, four) = (begin.clone(), ask());
            tokio::spawn(async move {
                begin.wait().await;
                four.await
            })
        })
        .collect();
    let mut counts = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].map(|s| (s, 0));
    for task in tasks {
        for reply in task.await.unwrap() {
            assert_eq!(reply.header("retry-after").is_some(), reply.status == StatusCode::TOO_MANY_REQUESTS);
            counts.iter_mut().find(|(status, _)| *status == reply.status).unwrap_or_else(|| panic!("{reply:?}")).1 += 1;
        }
    }
    counts
}

/// How many answers told nothing, in all tests.
static UNTOLD: AtomicUsize = AtomicUsize::new(0);

async fn four<F: Future<Output = Reply>>(ask: impl Fn() -> F) -> Vec<Reply> {
    let mut replies = Vec::new();
    while replies.len() < 4 {
        let reply = ask().await;
        // A loaded database may not be asked in time. Such an answer tells nothing, so it counts for nothing.
        match reply.status {
            StatusCode::SERVICE_UNAVAILABLE => drop(UNTOLD.fetch_add(1, Ordering::SeqCst)),
            _ => replies.push(reply),
        }
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_rg53_of_a_thousand_passwords_at_the_same_time_ten_are_looked_at_and_the_user_gets_in_elsewhere() {
    let sidecar = Arc::new(Sidecar::start().await);
    // Also for a name that nobody has: whether there is an account shows nowhere.
    for username in [USERNAME, "nobody"] {
        let guess = || {
            let (sidecar, http) = (sidecar.clone(), sidecar.http());
            async move { four(|| sign_in(&sidecar, &http, username, "wrong password")).await }
        };
        let [(_, wrong), (_, other), (_, refused)] = thousand(guess).await;
        assert_eq!((wrong + refused, other), (1_000, 0), "{username}");
        // A guess that was looked at counts, also where a loaded database kept it from being told.
        let told = UNTOLD.load(Ordering::SeqCst) == 0;
        assert!(if told { wrong == 10 } else { wrong <= 10 }, "{username}: {wrong}");
    }
    // What was refused and could then not be told, because the database was not asked in time, counts here too.
    assert!(sidecar.metric("scopegate_refused_attempts_total{of=\"password\"}").await >= 2 * 990);

    let refused = sign_in(&sidecar, &sidecar.http(), USERNAME, PASSWORD).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "nor is the right one looked at");
    assert_eq!(refused.header("retry-after"), Some("90"));
    assert!(refused.body.contains("too many attempts to sign in. Please wait 2 minutes"), "{}", refused.body);
    assert!(refused.header("set-cookie").is_none());
    let elsewhere = sidecar.http().at_address(ELSEWHERE);
    assert_eq!(sign_in(&sidecar, &elsewhere, USERNAME, PASSWORD).await.status, StatusCode::SEE_OTHER);

    sidecar.clock.advance(90);
    for (password, status) in [
        (PASSWORD, StatusCode::SEE_OTHER),
        (PASSWORD, StatusCode::SEE_OTHER),
        ("wrong password", StatusCode::FORBIDDEN),
        (PASSWORD, StatusCode::TOO_MANY_REQUESTS),
    ] {
        assert_eq!(sign_in(&sidecar, &sidecar.http(), USERNAME, password).await.status, status, "right ones are free");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_rg53_of_a_thousand_client_secrets_at_the_same_time_a_hundred_are_looked_at() {
    let sidecar = Arc::new(Sidecar::start().await);
    for id in [&sidecar.shop.id, &sidecar.app.id, &"nobody".to_owned()] {
        let wrong = Registered { id: id.clone(), secret: "wrong".into() };
        let guess = || {
            let (http, wrong) = (sidecar.http(), wrong.clone());
            async move { four(|| http.post_as(&wrong, "/token", &[("grant_type", "client_credentials")])).await }
        };
        let [(_, other), (_, wrong), (_, refused)] = thousand(guess).await;
        assert_eq!((wrong, other, refused), (100, 0, 900), "{id}");
    }
    for path in ["/token", "/introspect", "/revoke", "/par", "/device_authorization"] {
        let refused = sidecar.http().post_as(&sidecar.shop, path, &[("token", "x")]).await;
        refused.assert_error(429, "invalid_client");
        assert_eq!(refused.header("retry-after"), Some("9"), "{path}");
    }
    let elsewhere = sidecar.http().at_address(ELSEWHERE);
    let reply = elsewhere.post_as(&sidecar.shop, "/introspect", &[("token", "x")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    let public = sidecar.http().post_as(&sidecar.app, "/token", &[("grant_type", "refresh_token")]).await;
    public.assert_error(400, "invalid_request");
    sidecar.clock.advance(9);
    let reply = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", "x")]).await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_much_at_the_same_time_is_not_taken_for_one_that_guesses() {
    let sidecar = Arc::new(Sidecar::with("[attempts]\nper_client_and_address = 1\nper_address = 1").await);
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let sidecar = sidecar.clone();
            tokio::spawn(async move { sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", "x")]).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn nobody_locks_a_user_out_of_a_browser_in_which_the_user_signed_in_before() {
    let sidecar = Sidecar::with("[attempts]\nper_account_and_address = 2\nper_account = 5\nper_address = 7").await;
    let mut known = sidecar.browser();
    known.approve(&sidecar.request(&[])).await;
    known.cookies.remove("scopegate_session");
    assert_eq!(known.cookies.len(), 1, "{:?}", known.cookies);
    let cookie = known.cookies.values().next().unwrap().clone();

    let mut looked_at = 0;
    for last in 2..12 {
        let attacker = sidecar.http().at_address([127, 0, 0, last]);
        for username in [USERNAME, USERNAME, "ben"] {
            looked_at +=
                usize::from(sign_in(&sidecar, &attacker, username, "wrong").await.status == StatusCode::FORBIDDEN);
        }
    }
    assert_eq!(looked_at, 2 * 5, "of each account, wherever it is tried");
    for number in 0..10 {
        sign_in(&sidecar, &sidecar.http(), &format!("somebody{number}"), "wrong").await;
    }
    let stranger = sidecar.http().at_address([127, 0, 1, 1]);
    assert_eq!(sign_in(&sidecar, &stranger, USERNAME, PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(sign_in(&sidecar, &sidecar.http(), "fresh", "wrong").await.status, StatusCode::TOO_MANY_REQUESTS);

    let body = |username: &str, password: &str| {
        form(&[("username", username), ("password", password), ("request", &sidecar.request(&[]))])
    };
    let with = async |cookie: &str, username: &str, password: &str| {
        let mut browser = Browser::new(sidecar.http());
        browser.cookies.insert("scopegate_signed_in_before".into(), cookie.into());
        let reply = browser.post("/login", &body(username, password)).await;
        assert_eq!(browser.cookies["scopegate_signed_in_before"], cookie, "it stays");
        reply.status
    };
    assert_eq!(with(&cookie, USERNAME, PASSWORD).await, StatusCode::SEE_OTHER);
    assert_eq!(with(&cookie, "fresh", PASSWORD).await, StatusCode::TOO_MANY_REQUESTS, "it is for one account alone");
    for (at, replacement) in [(0, "B"), (25, "B"), (57, "-")] {
        let mut forged = cookie.clone();
        forged.replace_range(at..=at, if forged[at..].starts_with(replacement) { "C" } else { replacement });
        assert_eq!(with(&forged, USERNAME, PASSWORD).await, StatusCode::TOO_MANY_REQUESTS, "{at}");
    }
    for status in [StatusCode::FORBIDDEN, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(with(&cookie, USERNAME, "wrong").await, status, "it has a budget of its own, and no more");
    }
    sidecar.clock.advance(90 * 86_400);
    let mut browser = Browser::new(sidecar.http());
    browser.cookies.insert("scopegate_signed_in_before".into(), cookie.clone());
    browser.post("/login", &body(USERNAME, PASSWORD)).await;
    assert_ne!(browser.cookies["scopegate_signed_in_before"], cookie, "it is known for so long, and then anew");
}

#[tokio::test]
async fn behind_a_proxy_the_address_is_the_one_that_the_proxy_adds() {
    let sidecar =
        Sidecar::with("[http]\ntrusted_proxies = ['127.0.0.1', '10.0.0.0/8']\n[attempts]\nper_account_and_address = 1")
            .await;
    let guess = async |http: &Http, forwarded: &str| {
        let body = form(&[("username", USERNAME), ("password", "wrong"), ("request", &sidecar.request(&[]))]);
        let status = http.post_text("/login", &[("x-forwarded-for", forwarded)], &body).await.status;
        status == StatusCode::FORBIDDEN
    };
    let proxy = sidecar.http();
    assert!(guess(&proxy, "203.0.113.1").await && !guess(&proxy, "203.0.113.1").await);
    assert!(!guess(&proxy, "192.0.2.7, 203.0.113.1, 10.0.0.7").await, "what the client wrote itself does not count");
    assert!(guess(&proxy, "203.0.113.2").await);
    assert!(guess(&proxy, "2001:db8::1").await && !guess(&proxy, "2001:db8::2").await, "a network of IPv6 is one");
    assert!(guess(&proxy, "nonsense").await && !guess(&proxy, "").await, "nobody says");
    let stranger = sidecar.http().at_address(ELSEWHERE);
    assert!(guess(&stranger, "203.0.113.3").await && !guess(&stranger, "203.0.113.4").await, "no proxy of ours");

    let forwarded = Sidecar::with(
        "[http]\ntrusted_proxies = ['127.0.0.1']\nclient_address_header = 'Forwarded'\n[attempts]\nper_client_and_address = 1",
    )
    .await;
    let guess = async |value: &str| {
        let body = form(&[("client_id", &forwarded.shop.id), ("client_secret", "wrong")]);
        let headers = [("forwarded", value), ("x-forwarded-for", "192.0.2.7")];
        forwarded.http().post_text("/token", &headers, &body).await.status
    };
    assert_eq!(guess("for=203.0.113.1;proto=https").await, StatusCode::UNAUTHORIZED);
    assert_eq!(guess("for=1.1.1.1, For=\"203.0.113.1:4711\"").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(guess("for=203.0.113.2").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_passwords_that_cannot_be_looked_at_soon_are_turned_away_at_once() {
    let limits = "[attempts]\nper_account_and_address = 0\nper_account = 0\nper_address = 0";
    let sidecar = Arc::new(Sidecar::with(limits).await);
    let tasks: Vec<_> = (0..800)
        .map(|_| {
            let sidecar = sidecar.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                (sign_in(&sidecar, &sidecar.http(), USERNAME, "wrong").await, began.elapsed())
            })
        })
        .collect();
    let (mut looked_at, mut turned_away) = (0, 0);
    for task in tasks {
        let (reply, took) = task.await.unwrap();
        assert!(took < Duration::from_secs(20), "{took:?}");
        if reply.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(reply.header("retry-after"), Some("1"));
            turned_away += 1;
        } else {
            assert_eq!(reply.status, StatusCode::FORBIDDEN);
            looked_at += 1;
        }
    }
    assert!(looked_at > 10 && turned_away > 10, "{looked_at} {turned_away}");
    assert_eq!(sign_in(&sidecar, &sidecar.http(), USERNAME, PASSWORD).await.status, StatusCode::SEE_OTHER);
}
