//! The audit log: what is in it, and what never is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use http::Method;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::domain::revocation::Target;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::batch_revoke_request;
use scopegate::service::signing_keys::Replacement;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::harness::{PASSWORD, SECRET, Sidecar, USERNAME, VERIFIER, encode, form, hidden_fields, ticked_scopes};

const CALLER_TOKEN: &str = "audit-audit-audit-audit-audit-audit";

/// A sidecar with an audit log in a directory.
async fn audited(more: &str) -> (Sidecar, Arc<TempDir>) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let log = log_in(&directory);
    let more = format!("[audit]\npath = '{}'\n{more}", log.display());
    (Sidecar::on(directory.clone(), &more).await, directory)
}

fn log_in(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("audit.log")
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The names in the README's table of events.
fn documented() -> BTreeSet<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("### Audit log").nth(1).expect("it is documented").split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split(',').map(|name| name.trim().trim_matches('`').to_owned()))
        .collect()
}

fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.metadata_mut().insert("x-request-id", "request-of-a-caller".parse().unwrap());
    request
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one run of everything, in the order in which it happens")]
async fn x1_every_event_has_its_line_and_none_tells_a_secret() {
    let (sidecar, directory) = audited(&format!(
        "[registration]\nmode = 'open'\nper_hour = 3600\n[attempts]\nper_account_and_address = 2\nper_client_and_address = 2\n\
         [[grpc.callers]]\nname = 'checks'\ntokens = ['{CALLER_TOKEN}']\nall = true\nmay = ['check']\n"
    ))
    .await;
    let log = log_in(&directory);
    let http = sidecar.http();
    let mut secrets: Vec<String> =
        [SECRET, PASSWORD, VERIFIER, CALLER_TOKEN, "a-wrong-password", "a-wrong-secret", "a-new-password"]
            .map(String::from)
            .to_vec();
    let shop = sidecar.shop.clone();
    secrets.push(shop.secret.clone());

    // A user: signs in, allows, denies, signs out.
    let mut browser = sidecar.browser();
    let location = browser.approve(&sidecar.request(&[])).await;
    let code = crate::harness::query_of(&location, "code").unwrap();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "deny".into())]];
    browser.post("/consent", &encode(&fields.concat())).await;
    secrets.extend(browser.cookies.values().cloned());
    let request = sidecar.request(&[]);
    browser.post("/login/switch", &form(&[("request", &request)])).await;
    secrets.extend(browser.cookies.values().filter(|value| !value.is_empty()).cloned());

    // A client: tokens, a replayed code, a replayed refresh token, a revocation.
    let first = sidecar.redeem(&code).await.tokens();
    sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
    let second = sidecar.tokens().await;
    let third = sidecar.refresh(&second.refresh).await.tokens();
    sidecar.clock.advance(60);
    sidecar.refresh(&second.refresh).await.assert_error(400, "invalid_grant");
    let [own, told, ended, session] = &sidecar.many_tokens(4).await[..] else { panic!("four") };
    http.post_as(&shop, "/revoke", &[("token", &own.refresh)]).await;
    let machine = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    let reply = http.post_as(&machine, "/token", &[("grant_type", "client_credentials")]).await;
    secrets.push(reply.json()["access_token"].as_str().unwrap().to_owned());
    for tokens in [&first, &second, &third, own, told, ended, session] {
        secrets.extend([tokens.access.clone(), tokens.refresh.clone()]);
    }
    secrets.extend([code, machine.secret.clone()]);
    for _ in 0..3 {
        let wrong = crate::harness::Registered { id: machine.id.clone(), secret: "a-wrong-secret".into() };
        http.post_as(&wrong, "/token", &[("grant_type", "client_credentials")]).await;
    }

    // Callers.
    sidecar.revoke(&told.access, api::RevocationMode::Bounded).await;
    let known = sidecar.introspect(&ended.access).await;
    let mut grpc = sidecar.grpc().await;
    for target in [
        batch_revoke_request::Target::SessionId(known.session_id.clone()),
        batch_revoke_request::Target::Subject(known.sub.clone()),
    ] {
        grpc.batch_revoke(api::BatchRevokeRequest { target: Some(target), ..Default::default() }).await.unwrap();
    }
    grpc.introspect(by(CALLER_TOKEN, api::IntrospectRequest::default())).await.unwrap_err();
    grpc.introspect(by("nobodys-caller-token", api::IntrospectRequest::default())).await.unwrap_err();
    secrets.push("nobodys-caller-token".into());

    // A client that registers itself, changes and deletes itself.
    let reply = http
        .send(
            Method::POST,
            "/register",
            &[("content-type", "application/json")],
            &json!({ "redirect_uris": ["https://c.example/"], "client_name": "Self" }).to_string(),
        )
        .await
        .json();
    let access = reply["registration_access_token"].as_str().unwrap();
    secrets.push(access.to_owned());
    secrets.extend(reply["client_secret"].as_str().map(str::to_owned));
    let path = format!("/register/{}", reply["client_id"].as_str().unwrap());
    http.send(Method::DELETE, &path, &[("authorization", &format!("Bearer {access}"))], "").await;

    // An operator.
    let service = &sidecar.service;
    let other = sidecar.register(false, Introspects::Own, ClientMetadata::default()).await;
    let id: scopegate::domain::client::ClientId = other.id.parse().unwrap();
    let changes = ClientChanges { name: Some("Renamed".into()), ..ClientChanges::default() };
    service.update_client(id.clone(), changes).await.unwrap();
    service.disable_client(id.clone()).await.unwrap();
    service.enable_client(id.clone()).await.unwrap();
    secrets.push(service.rotate_client_secret(id.clone(), 60).await.unwrap().expose().to_owned());
    secrets.push(other.secret);
    service.delete_client(id).await.unwrap();
    service.create_account("bob".into(), Zeroizing::new("a-new-password".into())).await.unwrap();
    service.set_password("bob".into(), Zeroizing::new("a-new-password".into())).await.unwrap();
    service.disable_account("bob".into()).await.unwrap();
    service.enable_account("bob".into()).await.unwrap();
    service.delete_account("bob".into()).await.unwrap();
    service.rotate_signing_key(Replacement::AtOnce).await.unwrap();
    service.revoke_now(Target::Key("7".parse().unwrap())).await.unwrap();

    // Somebody who guesses.
    for username in [USERNAME, "a-wrong-password", "nobody", USERNAME, USERNAME, USERNAME] {
        let body = form(&[("request", &request), ("username", username), ("password", "a-wrong-password")]);
        sidecar.browser().post("/login", &body).await;
    }
    sidecar.stop().await;

    let text = std::fs::read_to_string(&log).unwrap();
    for secret in &secrets {
        assert!(secret.len() > 7, "{secret:?} would be found by chance");
        assert_eq!(text.lines().find(|line| line.contains(secret.as_str())), None, "{secret}");
    }
    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in lines(&log) {
        assert!(line["time"].as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z')), "{line}");
        assert!(["success", "denied"].contains(&line["outcome"].as_str().unwrap()), "{line}");
        events.entry(line["event"].as_str().unwrap().to_owned()).or_default().push(line);
    }
    // With the built-in login, no app says who users are; `interactions` has the lines where one does.
    let of_login_apps = ["login.accepted", "consent.accepted", "interaction.rejected"].map(String::from);
    assert_eq!(events.keys().cloned().chain(of_login_apps).collect::<BTreeSet<_>>(), documented());

    let one = |name: &str| events[name][0].clone();
    assert_eq!(
        (&one("sign_in.succeeded")["actor"]["type"], &one("sign_in.succeeded")["address"]),
        (&"user".into(), &"127.0.0.1".into())
    );
    let consent = one("consent.given");
    assert_eq!((&consent["client_id"], &consent["actor"]["id"]), (&shop.id.as_str().into(), &consent["subject"]));
    let grants = &events["grant.made"];
    let made = grants.iter().find(|grant| grant["grant_id"] == consent["grant_id"]).expect("it is the same grant");
    assert_eq!(made["request_id"], consent["request_id"], "lines of one request have its name");
    assert_eq!(consent["request_id"].as_str().unwrap().len(), 32);
    let refused: Vec<_> =
        events["sign_in.refused"].iter().map(|line| (&line["reason"], line.get("subject").is_some())).collect();
    assert!(refused.contains(&(&"unknown_account".into(), false)), "{refused:?}");
    assert!(refused.contains(&(&"wrong_password_or_disabled".into(), true)), "{refused:?}");
    let revoked: BTreeSet<_> =
        events["grant.revoked"].iter().map(|line| line["actor"]["type"].as_str().unwrap()).collect();
    assert_eq!(revoked, BTreeSet::from(["caller", "client"]));
    let refused = &events["caller.refused"];
    assert_eq!(
        (&refused[0]["actor"]["id"], &refused[0]["reason"], &refused[0]["request_id"]),
        (&"checks".into(), &"not_permitted".into(), &"request-of-a-caller".into())
    );
    assert_eq!((&refused[1]["actor"]["type"], &refused[1]["reason"]), (&"anonymous".into(), &"unknown_caller".into()));
    assert_ne!(refused[1]["request_id"], "request-of-a-caller", "strangers do not name their requests");
    assert_eq!(one("client.deleted")["actor"]["type"], "client");
    assert_eq!((&one("key.rotated")["reason"], &one("key.revoked")["key_id"]), (&"compromised".into(), &"7".into()));
}

#[tokio::test]
async fn the_audit_log_goes_on_in_a_new_file_when_the_old_one_is_moved_away_and_its_requests_can_be_named_by_a_proxy() {
    let (sidecar, directory) = audited("[http]\ntrusted_proxies = ['127.0.0.1']\n").await;
    let log = log_in(&directory);
    let sign_in = async |name: &str| {
        let headers = [
            ("x-request-id", name),
            ("x-forwarded-for", "203.0.113.9"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = form(&[("request", &sidecar.request(&[])), ("username", "nobody"), ("password", "wrong")]);
        sidecar.http().send(Method::POST, "/login", &headers, &body).await
    };
    assert_eq!(sign_in("first").await.header("x-request-id"), Some("first"));
    let moved = log.with_extension("1");
    while !std::fs::read_to_string(&log).unwrap().contains("\"first\"") {
        tokio::task::yield_now().await;
    }
    std::fs::rename(&log, &moved).unwrap();
    assert_eq!(sign_in("second").await.header("x-request-id"), Some("second"));
    let given = sign_in("no name\"of a request").await;
    let made = given.header("x-request-id").unwrap().to_owned();
    sidecar.stop().await;
    let requests = |log: &Path| {
        lines(log).iter().filter_map(|line| line["request_id"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!((requests(&moved), requests(&log)), (vec!["first".to_owned()], vec!["second".to_owned(), made]));
    assert_eq!(lines(&log)[0]["address"], "203.0.113.9");
}
