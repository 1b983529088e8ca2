//! The pages on which users manage their apps: those that may use the account, and those that they make.

use http::{Method, StatusCode};
use scopegate::service::administration::{ClientEdit, Listing};
use scopegate::store::ClientFilter;
use zeroize::Zeroizing;

use crate::harness::{
    Browser, PASSWORD, REDIRECT_URI, Registered, Reply, Sidecar, USERNAME, VERIFIER, encode, hidden_fields, query_of,
    ticked_scopes,
};

const ON: &str = r#"
[account]
clients = true
max_clients_per_user = 3
[scopes.catalogue]
a = "See your orders"
b = "Place orders"
c = "Cancel orders"
"#;
const NEW: &str = "/account/clients/new";
const CLIENTS: &str = "/account/clients";
const APPS: &str = "/account/apps";

async fn server() -> Sidecar {
    server_with("").await
}

async fn server_with(more: &str) -> Sidecar {
    let sidecar = Sidecar::with(&format!("{ON}{more}")).await;
    sidecar.service.create_account("bob".into(), Zeroizing::new(PASSWORD.into())).await.unwrap();
    sidecar
}

/// A browser in which somebody signed in.
async fn signed_in(sidecar: &Sidecar, username: &str) -> Browser {
    let mut browser = sidecar.browser();
    let reply = sign_in(&mut browser, username, APPS).await;
    assert_eq!(reply.header("location"), Some(APPS));
    browser
}

async fn sign_in(browser: &mut Browser, username: &str, request: &str) -> Reply {
    let fields = [("request", request), ("username", username), ("password", PASSWORD)];
    browser.post("/login", &crate::harness::form(&fields)).await
}

/// The hidden fields of the form of a page that is sent to this address.
fn fields_of(page: &str, action: &str) -> Vec<(String, String)> {
    let rest =
        page.split_once(&format!("action=\"{action}\"")).unwrap_or_else(|| panic!("no form to {action}: {page}"));
    hidden_fields(rest.1)
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Opens the page with a form, fills it in and sends it.
async fn send(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let page = browser.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let fields = [fields_of(&page.body, path), pairs(fields)].concat();
    browser.post(path, &encode(&fields)).await
}

const CALENDAR: [(&str, &str); 5] = [
    ("name", "Calendar"),
    ("site", "https://calendar.example/"),
    ("redirect_uris", REDIRECT_URI),
    ("scope", "a"),
    ("scope", "b"),
];

/// What stands in a field that can be copied.
fn shown(page: &str, id: &str) -> Option<String> {
    let tag = page.split_once(&format!("id=\"{id}\""))?.1;
    let (attributes, rest) = tag.split_once('>')?;
    match attributes.split_once("value=\"") {
        Some((_, value)) => value.split('"').next().map(str::to_owned),
        None => rest.split('<').next().map(str::to_owned),
    }
}

async fn make(browser: &mut Browser, more: &[(&str, &str)]) -> Registered {
    let made = send(browser, NEW, &[&CALENDAR[..], more].concat()).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    Registered {
        id: shown(&made.body, "client_id").unwrap(),
        secret: shown(&made.body, "client_secret").unwrap_or_default(),
    }
}

async fn redeem(sidecar: &Sidecar, client: &Registered, code: &str) -> Reply {
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    sidecar.http().post_as(client, "/token", &body).await
}

/// How the token endpoint answers a client that presents a refresh token that is none: `invalid_client` if the secret is wrong.
async fn error_for(sidecar: &Sidecar, client: &Registered) -> String {
    let body = [("grant_type", "refresh_token"), ("refresh_token", "none")];
    let reply = sidecar.http().post_as(client, "/token", &body).await;
    reply.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn c16_an_app_that_a_user_disconnects_is_dead_at_once_and_has_to_ask_again() {
    let sidecar = server_with("\n[consent]\nremember = 'confidential'\n").await;
    let mut browser = sidecar.browser();
    let mut tokens = Vec::new();
    for scope in ["a", "b"] {
        let location = browser.approve(&sidecar.request(&[("scope", scope)])).await;
        tokens.push(sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens());
    }
    let pending = query_of(&browser.approve(&sidecar.request(&[])).await, "code").unwrap();
    let silent = format!("/authorize?{}", sidecar.request(&[("prompt", "none"), ("scope", "a")]));
    let granted = browser.get(&silent).await;
    assert!(granted.header("location").unwrap().contains("code="), "{granted:?}");
    // Somebody else's grants stay.
    let mut bob = signed_in(&sidecar, "bob").await;
    let location = bob.approve(&sidecar.request(&[])).await;
    let of_bob = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();

    let page = browser.get(APPS).await;
    for text in ["Shop", "See your orders", "Place orders", "Allowed on 20"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let fields = fields_of(&page.body, "/account/apps/revoke");
    let reply = browser.post("/account/apps/revoke", &encode(&fields)).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some(APPS)));
    for tokens in &tokens {
        assert!(!sidecar.is_active(&tokens.access).await);
        assert_eq!(sidecar.refresh(&tokens.refresh).await.json()["error"], "invalid_grant");
    }
    assert_eq!(sidecar.redeem(&pending).await.json()["error"], "invalid_grant");
    assert!(browser.get(&silent).await.header("location").unwrap().contains("error=consent_required"));
    assert!(browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await.body.contains("value=\"approve\""));
    assert!(browser.get(APPS).await.body.contains("No app uses your account"));
    assert!(sidecar.is_active(&of_bob.access).await);
    assert!(bob.get(APPS).await.body.contains("Shop"));
}

#[tokio::test]
async fn a_user_who_is_deleted_is_gone_with_all_that_was_granted_and_made_and_the_name_is_free() {
    let sidecar = server().await;
    let mut ann = signed_in(&sidecar, USERNAME).await;
    let made = make(&mut ann, &[]).await;
    let location = ann.approve(&sidecar.request(&[])).await;
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    let sub = sidecar.introspect(&tokens.access).await.sub;
    let pending = query_of(&ann.approve(&sidecar.request(&[])).await, "code").unwrap();

    sidecar.service.delete_account(USERNAME.into()).await.unwrap();
    assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
    assert_eq!(sidecar.refresh(&tokens.refresh).await.json()["error"], "invalid_grant");
    assert_eq!(sidecar.redeem(&pending).await.json()["error"], "invalid_grant");
    assert_eq!(error_for(&sidecar, &made).await, "invalid_client");
    assert_eq!(ann.get(APPS).await.status, StatusCode::SEE_OTHER, "signed out");
    let again = sign_in(&mut sidecar.browser(), USERNAME, APPS).await;
    assert_eq!(again.header("location"), None, "nobody has this name");
    for name in [USERNAME, sub.as_str()] {
        assert!(sidecar.service.delete_account(name.into()).await.is_err(), "{name}");
        assert!(sidecar.service.enable_account(name.into()).await.is_err(), "{name}");
        let password = Zeroizing::new("another password".to_owned());
        assert!(sidecar.service.set_password(name.into(), password).await.is_err(), "{name}");
    }
    let mut database = sidecar.database().await;
    let of_ann = format!("= '{sub}'");
    for table in ["accounts", "browser_sessions", "consents", "user_code_attempts"] {
        assert_eq!(database.count(&format!("{table} WHERE subject_id {of_ann}")).await, 0, "{table}");
    }
    assert_eq!(database.count(&format!("subjects WHERE id {of_ann} AND name = '' AND claims = ''")).await, 1);

    // Somebody else takes the name, and nothing of what was.
    sidecar.service.create_account(USERNAME.into(), Zeroizing::new(PASSWORD.into())).await.unwrap();
    let mut other = signed_in(&sidecar, USERNAME).await;
    assert!(other.get(APPS).await.body.contains("No app uses your account"));
    assert!(!other.get(CLIENTS).await.body.contains(&made.id));
    assert!(!sidecar.is_active(&tokens.access).await);

    // The row goes when nothing refers to it.
    sidecar.clock.advance(86_400 - 60);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count(&format!("subjects WHERE id {of_ann}")).await, 1);
    sidecar.clock.advance(91 * 86_400);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count(&format!("subjects WHERE id {of_ann}")).await, 0);
    assert!(!sidecar.is_active(&tokens.access).await);
    assert_eq!(database.count("accounts").await, 2, "those who are there stay");
}

#[tokio::test]
async fn the_page_says_when_an_app_last_renewed_its_access() {
    let sidecar = server().await;
    let mut browser = sidecar.browser();
    let location = browser.approve(&sidecar.request(&[])).await;
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    let before = browser.get(APPS).await.body;
    sidecar.clock.advance(3 * 86_400);
    sidecar.refresh(&tokens.refresh).await.tokens();
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let after = browser.get(APPS).await.body;
    let date = |page: &str, text: &str| page.split_once(text).unwrap().1[..10].to_owned();
    let (allowed, renewed) = ("Allowed on ", "Last renewed its access on ");
    assert_eq!(date(&before, allowed), date(&before, renewed));
    assert_eq!(date(&after, allowed), date(&before, allowed));
    assert_ne!(date(&after, renewed), date(&before, renewed));
}

#[tokio::test]
async fn c14_others_see_nothing_of_a_client_that_a_user_made_and_change_nothing() {
    let sidecar = server().await;
    let (mut ann, mut bob) = (signed_in(&sidecar, USERNAME).await, signed_in(&sidecar, "bob").await);
    let (of_ann, of_bob) = (make(&mut ann, &[]).await, make(&mut bob, &[]).await);
    assert!(ann.get(CLIENTS).await.body.contains(&of_ann.id) && !ann.get(CLIENTS).await.body.contains(&of_bob.id));
    assert!(!bob.get(CLIENTS).await.body.contains(&of_ann.id));
    // One that an operator made is nobody's.
    for id in [&of_ann.id, &sidecar.shop.id, "nothing", "%20", "%22"] {
        for below in ["", "/secret", "/delete"] {
            let own = format!("{CLIENTS}/{}{below}", of_bob.id);
            let fields = fields_of(&bob.get(&own).await.body, &own);
            let path = format!("{CLIENTS}/{id}{below}");
            assert_eq!(bob.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
            let sent = bob.post(&path, &encode(&[fields, pairs(&CALENDAR)].concat())).await;
            assert_eq!(sent.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    assert_eq!(error_for(&sidecar, &of_ann).await, "invalid_grant");
    // Nor does the ticket of one's own client do for another of one's own.
    let other = make(&mut bob, &[]).await;
    let (from, to) = (format!("{CLIENTS}/{}/delete", of_bob.id), format!("{CLIENTS}/{}/delete", other.id));
    let fields = fields_of(&bob.get(&from).await.body, &from);
    assert_eq!(bob.post(&to, &encode(&fields)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(error_for(&sidecar, &other).await, "invalid_grant");
}

#[tokio::test]
async fn c15_rg43_the_secret_of_a_client_that_a_user_made_is_shown_once() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let page = browser.get(NEW).await;
    let fields = encode(&[fields_of(&page.body, NEW), pairs(&CALENDAR)].concat());
    let made = browser.post(NEW, &fields).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let client =
        Registered { id: shown(&made.body, "client_id").unwrap(), secret: shown(&made.body, "client_secret").unwrap() };
    assert_eq!(error_for(&sidecar, &client).await, "invalid_grant", "the secret is good");
    // The same form again makes no other one, and shows nothing.
    let again = browser.post(NEW, &fields).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    let location = browser.approve(&sidecar.request(&[("client_id", &client.id)])).await;
    redeem(&sidecar, &client, &query_of(&location, "code").unwrap()).await.tokens();
    let mut seen = vec![again.body];
    for path in [APPS, CLIENTS, &format!("{CLIENTS}/{}", client.id), &format!("{CLIENTS}/{}/secret", client.id)] {
        let cookies = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        for (path, accept) in [(path.to_owned(), "application/json"), (format!("{path}.json"), "*/*")] {
            let headers = [("cookie", &*cookies.join("; ")), ("accept", accept)];
            seen.push(sidecar.http().send(Method::GET, &path, &headers, "").await.body);
        }
        let page = browser.get(path).await;
        assert!(page.status == StatusCode::OK && page.body.contains("Calendar"), "{page:?}");
        seen.push(page.body);
    }
    for body in seen {
        assert!(!body.contains(&client.secret) && !body.contains("client_secret\""), "{body}");
    }
}

#[tokio::test]
async fn c17_managing_takes_a_sign_in_a_recent_one_and_a_form_of_this_session() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let client = make(&mut browser, &[]).await;
    let own = |below: &str| format!("{CLIENTS}/{}{below}", client.id);
    let forms = [NEW.to_owned(), own(""), own("/secret"), own("/delete")];
    let mut tickets = Vec::new();
    for path in &forms {
        tickets.push(fields_of(&browser.get(path).await.body, path));
    }
    let unchanged = async || {
        assert_eq!(error_for(&sidecar, &client).await, "invalid_grant");
        let all = sidecar.service.page_of_clients(&Listing::of(&[]), "", ClientFilter::default(), 100).await;
        assert_eq!(all.unwrap().len(), 3);
        sidecar.service.client(client.id.parse().unwrap()).await.unwrap().name == "Calendar"
    };
    let other = [&CALENDAR[1..], &[("name", "Bank")]].concat();
    // Without a ticket, with a forged one, with one for something else.
    for (path, _) in forms.iter().zip(&tickets) {
        let elsewhere = tickets[usize::from(path == NEW)].clone();
        for ticket in [vec![], pairs(&[("ticket", "AAAA")]), elsewhere] {
            let sent = browser.post(path, &encode(&[ticket, pairs(&other)].concat())).await;
            assert_eq!(sent.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    // From another site.
    let cookies = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    for (path, ticket) in forms.iter().zip(&tickets) {
        let headers = [
            ("cookie", &*cookies),
            ("content-type", "application/x-www-form-urlencoded"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ];
        let body = encode(&[ticket.clone(), pairs(&other)].concat());
        let sent = sidecar.http().send(Method::POST, path, &headers, &body).await;
        assert_eq!(sent.status, StatusCode::FORBIDDEN, "{path}");
    }
    // In another session, and without one.
    let mut later = signed_in(&sidecar, USERNAME).await;
    let mut nobody = sidecar.browser();
    for (path, ticket) in forms.iter().zip(&tickets) {
        let body = encode(&[ticket.clone(), pairs(&other)].concat());
        assert_eq!(later.post(path, &body).await.status, StatusCode::FORBIDDEN, "{path}");
        for reply in [nobody.post(path, &body).await, nobody.get(path).await] {
            let location = reply.header("location").unwrap().to_owned();
            assert_eq!(query_of(&location, "request").as_deref(), Some(path.as_str()));
            assert!(location.starts_with("/login?"));
        }
    }
    assert!(unchanged().await);
    // Ten minutes later the forms are old; a quarter of an hour after the sign-in there are none until the user signs in again.
    sidecar.clock.advance(600);
    for (path, ticket) in forms.iter().zip(&tickets) {
        let body = encode(&[ticket.clone(), pairs(&other)].concat());
        assert_eq!(browser.post(path, &body).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(browser.get(path).await.status, StatusCode::OK, "{path}");
    }
    sidecar.clock.advance(300);
    for path in &forms {
        let asked = browser.get(path).await;
        let login = asked.header("location").unwrap().to_owned();
        assert!(browser.get(&login).await.body.contains("to manage your apps"));
        assert_eq!(query_of(&login, "request").as_deref(), Some(path.as_str()));
    }
    for list in [APPS, CLIENTS] {
        assert_eq!(browser.get(list).await.status, StatusCode::OK);
    }
    let back = sign_in(&mut browser, USERNAME, &forms[1]).await;
    assert_eq!(back.header("location"), Some(forms[1].as_str()));
    assert_eq!(browser.get(&forms[1]).await.status, StatusCode::OK);
    assert!(unchanged().await);
}

#[tokio::test]
async fn disconnecting_takes_a_form_of_this_session_too() {
    let sidecar = server().await;
    let mut browser = sidecar.browser();
    let location = browser.approve(&sidecar.request(&[])).await;
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    let revoke = "/account/apps/revoke";
    let fields = fields_of(&browser.get(APPS).await.body, revoke);
    for other in [pairs(&[("client_id", &sidecar.shop.id)]), vec![]] {
        assert_eq!(browser.post(revoke, &encode(&other)).await.status, StatusCode::FORBIDDEN);
    }
    let mut bob = signed_in(&sidecar, "bob").await;
    assert_eq!(bob.post(revoke, &encode(&fields)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        sidecar.browser().post(revoke, &encode(&fields)).await.header("location"),
        Some("/login?request=%2Faccount%2Fapps")
    );
    assert_eq!(browser.get(revoke).await.status, StatusCode::METHOD_NOT_ALLOWED);
    // What was never granted cannot be ended.
    let ticket: Vec<_> = fields.iter().filter(|(name, _)| name == "ticket").cloned().collect();
    let never = [ticket, pairs(&[("client_id", &sidecar.app.id)])].concat();
    assert_eq!(browser.post(revoke, &encode(&never)).await.status, StatusCode::NOT_FOUND);
    assert!(sidecar.is_active(&tokens.access).await);
}

#[tokio::test]
async fn a_client_of_a_user_works_gets_another_secret_and_is_deleted() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let client = make(&mut browser, &[]).await;
    let consent = browser.consent_page(&sidecar.request(&[("client_id", &client.id)])).await.body;
    assert!(consent.contains("You made this app.") && !consent.contains("Another user"), "{consent}");
    let mut bob = signed_in(&sidecar, "bob").await;
    let consent = bob.consent_page(&sidecar.request(&[("client_id", &client.id)])).await.body;
    assert!(consent.contains("Another user made this app: nobody here has checked"), "{consent}");
    let too_much = sidecar.request(&[("client_id", &client.id), ("scope", "c")]);
    let too_much = browser.get(&format!("/authorize?{too_much}")).await;
    assert!(too_much.body.contains("Nobody here has checked who is behind this app"));
    let location = browser.approve(&sidecar.request(&[("client_id", &client.id)])).await;
    let tokens = redeem(&sidecar, &client, &query_of(&location, "code").unwrap()).await.tokens();
    assert!(sidecar.is_active(&tokens.access).await);

    // With overlap, then without.
    let path = format!("{CLIENTS}/{}/secret", client.id);
    let replaced = send(&mut browser, &path, &[]).await;
    let second = Registered { id: client.id.clone(), secret: shown(&replaced.body, "client_secret").unwrap() };
    for good in [&client, &second] {
        assert_eq!(error_for(&sidecar, good).await, "invalid_grant");
    }
    let replaced = send(&mut browser, &path, &[("leaked", "yes")]).await;
    let third = Registered { id: client.id.clone(), secret: shown(&replaced.body, "client_secret").unwrap() };
    assert_eq!(error_for(&sidecar, &third).await, "invalid_grant");
    for ended in [&client, &second] {
        assert_eq!(error_for(&sidecar, ended).await, "invalid_client");
    }
    // One form replaces one secret.
    let fields = fields_of(&browser.get(&path).await.body, &path);
    assert_eq!(browser.post(&path, &encode(&fields)).await.status, StatusCode::OK);
    assert_eq!(browser.post(&path, &encode(&fields)).await.status, StatusCode::FORBIDDEN);

    let path = format!("{CLIENTS}/{}/delete", client.id);
    assert_eq!(send(&mut browser, &path, &[]).await.header("location"), Some(CLIENTS));
    assert!(!sidecar.is_active(&tokens.access).await);
    assert_eq!(error_for(&sidecar, &third).await, "invalid_client");
    assert!(browser.get(CLIENTS).await.body.contains("You have not made an app yet"));
    assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_user_says_about_a_client_is_checked_as_what_clients_say_themselves() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let long = "x".repeat(201);
    let many = "https://c/\n".repeat(21);
    for (name, value, mistake) in [
        ("name", "", "The name has"),
        ("name", "Bank\u{202e}knaB", "The name has"),
        ("name", &long, "The name has"),
        ("site", "http://calendar.example", "The web site is"),
        ("site", "javascript:alert(1)", "The web site is"),
        ("redirect_uris", "", "These are not redirect URIs"),
        ("redirect_uris", "https://c/cb\nhttp://c/cb", "These are not redirect URIs"),
        ("redirect_uris", "javascript:alert(1)", "These are not redirect URIs"),
        ("redirect_uris", "com.example.app:/cb", "These are not redirect URIs"),
        ("redirect_uris", &many, "These are not redirect URIs"),
        ("scope", "openid2", "Choose what"),
        ("scope", "", "Choose what"),
    ] {
        let mut fields: Vec<(&str, &str)> = CALENDAR.into_iter().filter(|(known, _)| *known != name).collect();
        fields.push((name, value));
        let refused = send(&mut browser, NEW, &fields).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name} {value:?}");
        assert!(refused.body.contains(mistake), "{name} {value:?}: {}", refused.body);
        if name != "name" {
            assert!(refused.body.contains("value=\"Calendar\""), "what was typed is still there");
        }
    }
    assert!(browser.get(CLIENTS).await.body.contains("You have not made an app yet"));
    // A public one may have a scheme of its own, and has no secret.
    let public = [("type", "public"), ("name", "Phone"), ("redirect_uris", "com.example.app:/cb"), ("scope", "c")];
    let made = send(&mut browser, NEW, &public).await;
    let id = shown(&made.body, "client_id").unwrap();
    assert_eq!(shown(&made.body, "client_secret"), None);
    assert_eq!(browser.get(&format!("{CLIENTS}/{id}/secret")).await.status, StatusCode::NOT_FOUND);
    // Three are the most here, and a deleted one counts until it is gone.
    make(&mut browser, &[]).await;
    make(&mut browser, &[]).await;
    send(&mut browser, &format!("{CLIENTS}/{id}/delete"), &[]).await;
    let full = send(&mut browser, NEW, &CALENDAR).await;
    assert_eq!(full.status, StatusCode::CONFLICT);
    assert!(full.body.contains("You have as many apps as you can have"), "{}", full.body);
    // For this user alone.
    make(&mut signed_in(&sidecar, "bob").await, &[]).await;
}

#[tokio::test]
async fn where_there_are_no_public_clients_users_make_none() {
    let sidecar = server_with("[token_endpoint]\nclient_authentication = ['client_secret_basic']\n").await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let page = browser.get(NEW).await;
    assert!(!page.body.contains("name=\"type\""), "{}", page.body);
    // Whoever sends the answer to what was not asked gets what there is.
    let made = make(&mut browser, &[("type", "public")]).await;
    assert!(!made.secret.is_empty());
    let code = sidecar.code_for(&sidecar.request(&[("client_id", &made.id), ("scope", "a")])).await;
    assert_eq!(redeem(&sidecar, &made, &code).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_operator_can_vouch_for_a_client_until_its_user_changes_it() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let client = make(&mut browser, &[]).await;
    let request = sidecar.request(&[("client_id", &client.id)]);
    let mut bob = signed_in(&sidecar, "bob").await;
    let unverified = "nobody here has checked";
    assert!(bob.consent_page(&request).await.body.contains(unverified));
    let vouch = || ClientEdit { verified: Some(true), ..ClientEdit::default() };
    sidecar.service.edit_client(client.id.parse().unwrap(), String::new(), vouch()).await.unwrap();
    assert!(!bob.consent_page(&request).await.body.contains(unverified));
    let path = format!("{CLIENTS}/{}", client.id);
    let page = browser.get(&path).await;
    assert_eq!(ticked_scopes(&page.body).len(), 2);
    let sent = send(&mut browser, &path, &[&CALENDAR[1..], &[("name", "My Bank")]].concat()).await;
    assert_eq!(sent.header("location"), Some(CLIENTS));
    let consent = bob.consent_page(&request).await.body;
    assert!(consent.contains("My Bank") && consent.contains(unverified), "{consent}");
    // One of an operator needs no vouching.
    assert!(sidecar.service.edit_client(sidecar.shop.id.parse().unwrap(), String::new(), vouch()).await.is_err());
}

#[tokio::test]
async fn the_apps_of_a_user_whose_account_is_disabled_stop_and_work_again_with_it() {
    let sidecar = server().await;
    let client = make(&mut signed_in(&sidecar, USERNAME).await, &[]).await;
    let request = sidecar.request(&[("client_id", &client.id)]);
    let mut bob = signed_in(&sidecar, "bob").await;
    let code = query_of(&bob.approve(&request).await, "code").unwrap();
    let tokens = redeem(&sidecar, &client, &code).await.tokens();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];

    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    assert_eq!(error_for(&sidecar, &client).await, "invalid_client");
    sidecar.http().post_as(&client, "/token", &refresh).await.assert_error(401, "invalid_client");
    let asked = bob.get(&format!("/authorize?{request}")).await;
    assert_eq!((asked.status, asked.header("location")), (StatusCode::BAD_REQUEST, None));
    let disabled = ClientFilter { disabled: Some(true), ..ClientFilter::default() };
    let disabled = sidecar.service.page_of_clients(&Listing::of(&[]), "", disabled, 100).await.unwrap();
    assert_eq!(disabled.iter().map(|one| one.client.id.as_str()).collect::<Vec<_>>(), [&client.id]);

    sidecar.service.enable_account(USERNAME.into()).await.unwrap();
    sidecar.http().post_as(&client, "/token", &refresh).await.tokens();
    bob.approve(&request).await;
}

#[tokio::test]
async fn the_page_with_the_secret_alone_runs_a_script_and_only_one_of_ours() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let form = browser.get(NEW).await;
    assert!(!form.header("content-security-policy").unwrap().contains("script-src"));
    let made = send(&mut browser, NEW, &[&CALENDAR[..], &[("type", "confidential")]].concat()).await;
    let policy = made.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.ends_with("; script-src 'self'"), "{policy}");
    let scripts: Vec<&str> = made.body.split("<script").skip(1).collect();
    assert_eq!(scripts.len(), 1, "{}", made.body);
    let source = scripts[0].split('"').nth(1).unwrap().replace("&#x2f;", "/");
    assert!(scripts[0].contains("></script>") && source.starts_with("/assets/copy.js?"), "{source}");
    let script = browser.get(&source).await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn a_user_signs_out_on_these_pages() {
    let sidecar = server().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let cookies = browser.cookies.clone();
    assert!(browser.get(APPS).await.body.contains(USERNAME));
    assert!(browser.post("/account/sign-out", "").await.body.contains("Signed out"));
    browser.cookies = cookies;
    assert!(browser.get(APPS).await.header("location").unwrap().starts_with("/login?"));
}

#[tokio::test]
async fn pages_that_are_off_are_not_there() {
    let sidecar = Sidecar::start().await;
    let mut browser = signed_in(&sidecar, USERNAME).await;
    let page = browser.get(APPS).await;
    assert!(page.status == StatusCode::OK && !page.body.contains(CLIENTS), "{page:?}");
    for path in [CLIENTS, NEW, "/account/clients/x/secret"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(browser.post(path, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let sidecar = Sidecar::with("[account]\napps = false").await;
    for path in [APPS, "/account/sign-out"] {
        assert_eq!(sidecar.browser().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
