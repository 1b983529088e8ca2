//! Several issuers in one process: which of them a request is for, and that nothing of one is anything to the other.

use std::net::SocketAddr;
use std::path::Path;

use http::{Method, StatusCode};
use scopegate::proto::scopegate::v1 as api;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::command_line::{fails, ok};
use crate::harness::{
    Http, Reply, SECRET, Sidecar, VERIFIER, basic, encode, hidden_fields, query_of, raw, ticked_scopes,
};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const TRUST: &str = "[http]\ntrusted_proxies = ['127.0.0.1']\n";

async fn two(more: &str) -> [Sidecar; 2] {
    Sidecar::side_by_side([("a.example", more), ("b.example:8443", more)]).await
}

/// The issuer that answers, or the status of the answer that comes from none.
async fn who(http: &Http, headers: &[(&str, &str)]) -> String {
    let reply = http.send(Method::GET, METADATA, headers, "").await;
    if reply.status == StatusCode::OK {
        return reply.json()["issuer"].as_str().unwrap().into();
    }
    assert_eq!(reply.header("strict-transport-security"), None, "no issuer has answered");
    reply.assert_error(reply.status.as_u16(), "invalid_request");
    reply.status.as_str().into()
}

#[tokio::test]
async fn each_host_leads_to_its_issuer_and_another_one_is_misdirected() {
    let [a, b] = two("").await;
    assert_eq!(a.addresses.http.to_string(), b.addresses.http.to_string());
    let http = Http::new(&format!("http://{}", a.addresses.http));
    for (host, issuer) in [
        ("a.example", "https://a.example"),
        ("A.EXAMPLE", "https://a.example"),
        ("a.example:443", "https://a.example"),
        ("b.example:8443", "https://b.example:8443"),
        ("B.example:8443", "https://b.example:8443"),
        ("a.example:8443", "421"),
        ("a.example:80", "421"),
        ("b.example", "421"),
        ("b.example:443", "421"),
        ("a.example.", "421"),
        ("c.example", "421"),
        ("a.example@b.example:8443", "421"),
        ("a.example, b.example:8443", "421"),
    ] {
        assert_eq!(who(&http, &[("host", host)]).await, issuer, "{host}");
    }
    assert_eq!(who(&http, &[]).await, "421", "the address is no host of theirs");
    let address: SocketAddr = a.addresses.http.only_tcp().unwrap();
    for (head, status) in [
        (format!("GET {METADATA} HTTP/1.1\r\n"), 400),
        (format!("GET {METADATA} HTTP/1.1\r\nHost:\r\n"), 400),
        (format!("GET {METADATA} HTTP/1.1\r\nHost: a.example\r\nHost: b.example:8443\r\n"), 400),
        (format!("GET {METADATA} HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n"), 400),
        (format!("GET https://a.example{METADATA} HTTP/1.1\r\nHost: a.example\r\n"), 200),
        (format!("GET https://c.example{METADATA} HTTP/1.1\r\nHost: a.example\r\n"), 421),
    ] {
        let answer = raw(address, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.status, status, "{head}");
    }
    // RFC 9112 §3.2.2: what the target says in absolute form counts.
    let absolute =
        format!("GET https://b.example:8443{METADATA} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert!(raw(address, absolute.as_bytes()).await.body.contains("\"issuer\":\"https://b.example:8443\""));
}

#[tokio::test]
async fn an_issuer_alone_at_its_port_is_there_for_every_host() {
    let [a, b] = Sidecar::side_by_side([("a.example", ""), ("b.example", "[http]\nlisten = '127.0.0.2:0'")]).await;
    for (own, issuer) in [(&a, "https://a.example"), (&b, "https://b.example")] {
        for host in ["a.example", "b.example", "c.example"] {
            assert_eq!(who(&own.http(), &[("host", host)]).await, issuer);
        }
    }
    let alone = Sidecar::with("issuer = 'https://a.example'").await;
    assert_eq!(who(&alone.http(), &[]).await, "https://a.example");
    assert_eq!(who(&alone.http(), &[("host", "c.example")]).await, "https://a.example");
}

#[tokio::test]
async fn the_host_that_a_trusted_proxy_was_asked_for_counts_and_nobody_elses_word() {
    let [a, _b] = two(TRUST).await;
    let http = Http::new(&format!("http://{}", a.addresses.http));
    let (for_a, for_b) = ("https://a.example", "https://b.example:8443");
    for (host, told, issuer) in [
        ("scopegate", "a.example", for_a),
        ("scopegate", "B.example:8443", for_b),
        ("scopegate", "evil.example, b.example:8443", for_b),
        ("a.example", "A.example:443", for_a),
        ("scopegate", "c.example", "421"),
        ("a.example", "c.example", "421"),
        // One of them is a client's: a proxy in front of one issuer alone must not lead to the other.
        ("a.example", "b.example:8443", "421"),
    ] {
        let headers = [("host", host), ("x-forwarded-host", told)];
        assert_eq!(who(&http, &headers).await, issuer, "{headers:?}");
        let other_language = [("host", "a.example"), ("forwarded", "host=\"b.example:8443\"")];
        assert_eq!(who(&http, &other_language).await, for_a);
        // Another peer.
        let alone = if host == "a.example" { for_a } else { "421" };
        assert_eq!(who(&http.at_address([127, 0, 0, 2]), &headers).await, alone, "{headers:?}");
    }
    let [a, _b] = two(&format!("{TRUST}client_address_header = 'Forwarded'\n")).await;
    let http = Http::new(&format!("http://{}", a.addresses.http));
    let headers = [("host", "scopegate"), ("forwarded", "for=1.1.1.1;host=\"b.example:8443\";proto=https")];
    assert_eq!(who(&http, &headers).await, for_b);
    assert_eq!(who(&http, &[("host", "a.example"), ("x-forwarded-host", "b.example:8443")]).await, for_a);
    let [a, _b] = two(&format!("{TRUST}forwarded_target = false\n")).await;
    let http = Http::new(&format!("http://{}", a.addresses.http));
    assert_eq!(who(&http, &[("host", "a.example"), ("x-forwarded-host", "b.example:8443")]).await, for_a);
}

#[tokio::test]
async fn at_check_the_host_of_the_question_names_the_issuer() {
    let [a, b] = two(TRUST).await;
    let bearer = format!("Bearer {}", a.tokens().await.access);
    let original = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-host", "b.example:8443"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-uri", "/orders"),
        ("x-forwarded-method", "GET"),
    ];
    assert_eq!(a.http().send(Method::GET, "/check", &original, "").await.status, StatusCode::OK);
    assert_eq!(b.http().send(Method::GET, "/check", &original, "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_proxy_at_a_resource_names_the_issuer_and_says_which_resource_was_asked_for() {
    let resources =
        |issuer| format!("{TRUST}[resources.catalogue]\n'https://one.{issuer}/x' = []\n'https://two.{issuer}/x' = []");
    let [more_of_a, more_of_b] = ["a.example", "b.example"].map(resources);
    let [a, b] = Sidecar::side_by_side([("a.example", &more_of_a), ("b.example", &more_of_b)]).await;
    for (own, issuer) in [(&a, "a.example"), (&b, "b.example")] {
        for name in ["one", "two"] {
            let host = format!("{name}.{issuer}");
            let path = "/.well-known/oauth-protected-resource/x";
            let reply = own.http().send(Method::GET, path, &[("x-forwarded-host", &host)], "").await;
            assert_eq!(reply.json()["resource"], format!("https://{host}/x"));
            assert_eq!(reply.json()["authorization_servers"][0], format!("https://{issuer}"));
        }
    }
}

#[tokio::test]
async fn nothing_that_one_issuer_gave_is_anything_to_the_other() {
    let [a, b] = two("").await;
    for (own, other) in [(&a, &b), (&b, &a)] {
        let redeem = async |code: &str, at: &Sidecar, client| {
            let grant = [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", crate::harness::REDIRECT_URI),
                ("code_verifier", VERIFIER),
            ];
            at.http().post_as(client, "/token", &grant).await
        };
        // A client.
        let code = own.code().await;
        redeem(&code, other, &own.shop).await.assert_error(401, "invalid_client");
        let page = other.browser().get(&format!("/authorize?{}", own.request(&[]))).await;
        assert_eq!((page.status, page.header("location")), (StatusCode::BAD_REQUEST, None));
        // A code, which stays good.
        redeem(&code, other, &other.shop).await.assert_error(400, "invalid_grant");
        let tokens = redeem(&code, own, &own.shop).await.tokens();
        // A refresh token, too.
        other.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
        let tokens = own.refresh(&tokens.refresh).await.tokens();
        // An access token, at each door.
        assert_eq!(own.check(&tokens.access, &["a"]).await.decision(), api::Decision::Allowed);
        assert_eq!(other.check(&tokens.access, &["a"]).await.decision(), api::Decision::InactiveToken);
        assert!(!other.is_active(&tokens.access).await);
        let introspected = async |at: &Sidecar| {
            at.http().post_as(&at.shop, "/introspect", &[("token", &tokens.access)]).await.json()["active"] == true
        };
        assert_eq!((introspected(own).await, introspected(other).await), (true, false));
        let bearer = format!("Bearer {}", tokens.access);
        let userinfo = other.http().send(Method::GET, "/userinfo", &[("authorization", &bearer)], "").await;
        assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
        // Nor can it be revoked there.
        other.revoke(&tokens.access, api::RevocationMode::Strict).await;
        let answer = other.http().post_as(&other.shop, "/revoke", &[("token", &tokens.refresh)]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(own.is_active(&tokens.access).await);
        own.refresh(&tokens.refresh).await.tokens();
    }
}

#[tokio::test]
async fn neither_a_session_nor_the_ticket_of_a_page_is_good_at_the_other_issuer() {
    let [a, b] = two("").await;
    for (own, other) in [(&a, &b), (&b, &a)] {
        let mut browser = own.browser();
        let page = browser.consent_page(&own.request(&[])).await;
        let ticket =
            [hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]];
        let ticket = encode(&ticket.concat());
        // With the cookies of one at the other, one has to sign in.
        let mut astray = other.browser();
        astray.cookies = browser.cookies.clone();
        let reply = astray.get(&format!("/authorize?{}", other.request(&[]))).await;
        assert!(reply.header("location").is_some_and(|location| location.starts_with("/login")), "{reply:?}");
        let refused = |reply: &Reply| reply.status.is_client_error() && reply.header("location").is_none();
        assert!(refused(&astray.post("/consent", &ticket).await));
        // Who is signed in there, too, decides nothing by the page from here.
        let mut both = other.browser();
        both.consent_page(&other.request(&[])).await;
        let reply = both.post("/consent", &ticket).await;
        assert!(refused(&reply), "{reply:?}");
        // The page is good where it is from.
        let reply = browser.post("/consent", &ticket).await;
        assert!(query_of(reply.header("location").unwrap(), "code").is_some());
    }
}

#[tokio::test]
async fn an_issuer_serves_while_the_database_of_the_other_is_down() {
    let [a, b] = two("").await;
    let (lost, kept) = (a.tokens().await, b.tokens().await);
    let ops = Http::new(&format!("http://{}", a.addresses.ops));
    assert_eq!(ops.get("/readyz").await.status, StatusCode::OK);
    a.database().await.execute("ALTER TABLE revocation_head RENAME TO lost").await;
    a.database().await.execute("ALTER TABLE grants RENAME TO lost_grants").await;
    assert_eq!(a.refresh(&lost.refresh).await.status, StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..3 {
        // Longer than a lease.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(b.check(&kept.access, &["a"]).await.decision(), api::Decision::Allowed);
    }
    b.refresh(&kept.refresh).await.tokens();
    b.tokens().await;
    let request = api::CheckScopesRequest { token: lost.access, ..Default::default() };
    assert_eq!(a.grpc().await.check_scopes(request).await.unwrap_err().code(), tonic::Code::Unavailable);
    // The port of the probes is for both.
    assert_eq!(ops.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ops.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_say_of_which_issuer_they_are() {
    let [a, _b] = two("").await;
    a.tokens().await;
    let text = Http::new(&format!("http://{}", a.addresses.ops)).get("/metrics").await.body;
    for family in ["scopegate_store_operations", "scopegate_cache_entries"] {
        assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{text}");
    }
    for issuer in ["https://a.example", "https://b.example:8443"] {
        assert!(text.contains(&format!("scopegate_cache_entries{{issuer=\"{issuer}\"}} ")), "{text}");
    }
    assert!(text.lines().all(|line| line.starts_with('#') || line.contains("{issuer=\"https://")), "{text}");
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

fn write(directory: &Path, name: &str, host: &str, secret: char) {
    let text = format!(
        "issuer = 'https://{host}'\n[http]\nlisten = '127.0.0.1:0'\n[grpc]\nlisten = '127.0.0.1:0'\n[ops]\nlisten = '127.0.0.1:0'\n\
         [database]\nurl = 'sqlite:{name}.db'\n[keys]\nsecret = '{secret}{}'\n",
        &SECRET[1..]
    );
    std::fs::write(directory.join(name), text).unwrap();
}

#[tokio::test]
async fn the_command_takes_several_files_and_says_where_each_issuer_is() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "a.toml", "a.example", 'B');
    write(directory.path(), "b.toml", "b.example", 'C');
    let files = ["--config", "a.toml", "--config", "b.toml"];
    ok(directory.path(), &[&["config", "check"], &files[..]].concat());
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.arg("serve").args(files).current_dir(directory.path()).env_clear().kill_on_drop(true);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for issuer in ["https://a.example", "https://b.example"] {
        let line = lines.next_line().await.unwrap().unwrap();
        let http = line.strip_prefix(&format!("listening issuer={issuer} http=")).unwrap_or_else(|| panic!("{line}"));
        let http = Http::new(&format!("http://{}", http.split(' ').next().unwrap()));
        assert_eq!(who(&http.for_host(&issuer[8..]), &[]).await, issuer);
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().await.unwrap().success());
}

#[test]
fn files_that_do_not_fit_together_are_refused_and_other_verbs_take_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, "a.toml", "a.example", 'B');
    write(path, "b.toml", "a.example", 'C');
    let files = ["--config", "a.toml", "--config", "b.toml"];
    for verb in [&["serve"][..], &["config", "check"]] {
        let arguments = [verb, &files[..]].concat();
        fails(path, &arguments, 78, "configuration: issuer: a.toml and b.toml: the same issuer");
    }
    write(path, "b.toml", "b.example", 'C');
    std::fs::write(path.join("bad.toml"), "[http]\nport = 1").unwrap();
    let bad = ["serve", "--config", "a.toml", "--config", "bad.toml"];
    fails(path, &bad, 78, "configuration: bad.toml: http.port: there is no such key");
    for (name, value, key) in [
        ("SCOPEGATE_ISSUER", "https://c.example", "issuer"),
        ("SCOPEGATE_KEYS__SECRET", SECRET, "keys.secret"),
        ("SCOPEGATE_DATABASE__URL", "sqlite:c.db", "database.url"),
        ("SCOPEGATE_GRPC__LISTEN", "127.0.0.1:50051", "grpc.listen"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_scopegate"));
        command.arg("serve").args(files).current_dir(path).env_clear().env(name, value);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(&format!("configuration: {key}: a.toml and b.toml: ")), "{text}");
        assert!(name == "SCOPEGATE_GRPC__LISTEN" || text.contains(name), "it says nothing of the variable: {text}");
        assert!(!text.contains("AAAA"), "{text}");
    }
    for verb in [&["migrate"][..], &["config", "show"], &["key", "list"]] {
        fails(path, &[verb, &files[..]].concat(), 2, "cannot be used multiple times");
    }
}

#[tokio::test]
async fn a_client_of_one_cannot_use_its_secret_at_the_host_of_the_other_by_any_header() {
    let [a, b] = two("").await;
    let own = basic(&a.shop.id, &a.shop.secret);
    for more in [("x-forwarded-host", "a.example"), ("forwarded", "host=a.example"), ("x-host", "a.example")] {
        let headers = [("authorization", own.as_str()), more];
        b.http().post_text("/introspect", &headers, "token=x").await.assert_error(401, "invalid_client");
    }
}
