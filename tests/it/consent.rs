//! What users allowed before, and when they are asked again.

use api::batch_revoke_request::Target;
use http::{Method, StatusCode};
use scopegate::config::Config;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::domain::consent::{ConsentPolicy, Remember};
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::clients::NewClient;
use serde_json::json;

use crate::harness::{
    Browser, PASSWORD, REDIRECT_URI, Registered, Reply, Sidecar, USERNAME, VERIFIER, encode, form, hidden_fields,
    query_of, ticked_scopes,
};

/// As it is unless configured otherwise; the other tests want to be asked.
async fn remembering() -> Sidecar {
    assert_eq!(Config::default().consent.remember, Remember::Confidential);
    Sidecar::with("[consent]\nremember = 'confidential'").await
}

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Code,
    Page,
    Error(String),
}

fn got(reply: &Reply) -> Got {
    match reply.header("location") {
        Some(location) if query_of(location, "code").is_some() => Got::Code,
        Some(location) => Got::Error(query_of(location, "error").unwrap_or_else(|| location.to_owned())),
        None if reply.body.contains("name=\"ticket\"") => Got::Page,
        None => panic!("neither page nor answer: {reply:?}"),
    }
}

async fn ask(browser: &mut Browser, request: &str) -> Got {
    got(&browser.get(&format!("/authorize?{request}")).await)
}

/// Where the browser is sent that decides on a page like this.
async fn decide(browser: &mut Browser, page: &Reply, kept: &[&str]) -> Reply {
    let mut fields = hidden_fields(&page.body);
    fields.extend(kept.iter().map(|&scope| ("scope".to_owned(), scope.to_owned())));
    fields.push(("decision".into(), "approve".into()));
    browser.post("/consent", &encode(&fields)).await
}

async fn end(sidecar: &Sidecar, target: Target) {
    let request = api::BatchRevokeRequest { target: Some(target), ..Default::default() };
    sidecar.grpc().await.batch_revoke(request).await.unwrap();
}

/// The shop's metadata, but for its consent.
fn with_consent(consent: ConsentPolicy) -> ClientMetadata {
    ClientMetadata { consent, ..ClientMetadata::default() }
}

#[tokio::test]
async fn a33_a36_what_was_allowed_is_not_asked_again_unless_the_client_wants_it() {
    let sidecar = remembering().await;
    let mut browser = sidecar.browser();
    let first =
        sidecar.redeem(&query_of(&browser.approve(&sidecar.request(&[])).await, "code").unwrap()).await.tokens();
    let ask_for = |more: &[(&str, &str)]| sidecar.request(more);
    for (more, expected) in [
        (&[][..], Got::Code),
        (&[("scope", "a")], Got::Code),
        (&[("scope", "a"), ("prompt", "none")], Got::Code),
        (&[("prompt", "consent")], Got::Page),
        (&[("prompt", "select_account")], Got::Page),
        (&[("scope", "a c")], Got::Page),
        (&[("scope", "a c"), ("prompt", "none")], Got::Error("consent_required".into())),
        (&[("client_id", &sidecar.app.id)], Got::Page),
    ] {
        assert_eq!(ask(&mut browser, &ask_for(more)).await, expected, "{more:?}");
    }
    let location = browser.get(&format!("/authorize?{}", ask_for(&[("scope", "a")]))).await;
    let location = location.header("location").unwrap().to_owned();
    assert_eq!(query_of(&location, "state").as_deref(), Some("xyz"));
    let second = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    assert_eq!((first.scope.as_str(), second.scope.as_str()), ("a b", "a"), "no more than was asked for");

    // Who signs in again is asked for the password alone, unless the client wants both.
    for (prompt, expected) in [("login", Got::Code), ("login consent", Got::Page)] {
        let request = ask_for(&[("prompt", prompt)]);
        let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &request)]);
        assert_eq!(ask(&mut browser, &request).await, Got::Error(login(&request)), "{prompt}");
        let signed_in = browser.post("/login", &body).await;
        assert_eq!(got(&browser.get(signed_in.header("location").unwrap()).await), expected, "{prompt}");
    }
}

fn login(request: &str) -> String {
    format!("/login?{}", form(&[("request", request)]))
}

#[tokio::test]
async fn it_outlives_grants_and_sessions_and_belongs_to_one_user() {
    let sidecar = remembering().await;
    let mut browser = sidecar.browser();
    browser.approve(&sidecar.request(&[])).await;
    sidecar.clock.advance(400 * 86_400);
    let page = sidecar.browser().consent_page(&sidecar.request(&[])).await;
    assert_eq!(got(&page), Got::Code, "after the grant has expired and was deleted, in another browser");
    let password = zeroize::Zeroizing::new(PASSWORD.to_owned());
    sidecar.service.create_account("bob".into(), password).await.unwrap();
    let mut of_bob = sidecar.browser();
    let body = form(&[("username", "bob"), ("password", PASSWORD), ("request", &sidecar.request(&[]))]);
    let signed_in = of_bob.post("/login", &body).await;
    assert_eq!(got(&of_bob.get(signed_in.header("location").unwrap()).await), Got::Page);
}

#[tokio::test]
async fn who_asks_for_more_is_asked_about_and_the_last_decision_counts() {
    let sidecar = remembering().await;
    let mut browser = sidecar.browser();
    let plain = browser.consent_page(&sidecar.request(&[("scope", "a b")])).await;
    assert!(!plain.body.contains("Allowed before"), "{}", plain.body);
    decide(&mut browser, &plain, &["a", "b"]).await;
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[("scope", "a b c")]))).await;
    let (new, before) = page.body.split_once("Allowed before").expect("what was allowed is told apart");
    assert!(new.contains("Delete C") && !new.contains("See A"), "{new}");
    assert!(before.contains("See A") && before.contains("Change B") && !before.contains("Delete C"), "{before}");
    let kept: Vec<String> = ticked_scopes(&page.body).into_iter().map(|(_, value)| value).collect();
    assert_eq!(kept, ["c", "a", "b"], "each is for the user to untick");
    // The user takes b back, and adds c.
    assert_eq!(got(&decide(&mut browser, &page, &["a", "c"]).await), Got::Code);
    for (scope, expected) in [("a c", Got::Code), ("a", Got::Code), ("b", Got::Page), ("a b c", Got::Page)] {
        assert_eq!(ask(&mut browser, &sidecar.request(&[("scope", scope)])).await, expected, "{scope}");
    }
    // Denying changes nothing.
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[("prompt", "consent")]))).await;
    let denied = [hidden_fields(&page.body), vec![("decision".into(), "deny".into())]].concat();
    assert_eq!(got(&browser.post("/consent", &encode(&denied)).await), Got::Error("access_denied".into()), "c13");
    assert_eq!(ask(&mut browser, &sidecar.request(&[("scope", "a c")])).await, Got::Code);
}

#[tokio::test]
async fn c16_whatever_revokes_what_was_allowed_has_the_user_asked_again() {
    let sidecar = remembering().await;
    for kind in ["pair", "client", "subject", "grant", "token", "disabled", "password", "session"] {
        let mut browser = sidecar.browser();
        let location = browser.approve(&sidecar.request(&[("prompt", "consent")])).await;
        let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
        let known = sidecar.introspect(&tokens.access).await;
        let (subject, client_id) = (known.sub.clone(), known.client_id.clone());
        let shop = || sidecar.shop.id.parse().unwrap();
        match kind {
            "pair" => end(&sidecar, Target::SubjectAndClient(api::SubjectAndClient { subject, client_id })).await,
            "client" => end(&sidecar, Target::ClientId(client_id)).await,
            "subject" => end(&sidecar, Target::Subject(subject)).await,
            "grant" => end(&sidecar, Target::GrantId(known.grant_id)).await,
            "session" => end(&sidecar, Target::SessionId(known.session_id)).await,
            "token" => {
                let token = [("token", tokens.refresh.as_str())];
                assert_eq!(sidecar.http().post_as(&sidecar.shop, "/revoke", &token).await.status, StatusCode::OK);
            }
            "disabled" => {
                sidecar.service.disable_client(shop()).await.unwrap();
                sidecar.service.enable_client(shop()).await.unwrap();
            }
            _ => {
                let password = zeroize::Zeroizing::new(PASSWORD.to_owned());
                sidecar.service.set_password(USERNAME.into(), password).await.unwrap();
            }
        }
        sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
        let expected = if kind == "session" { Got::Code } else { Got::Page };
        let mut again = sidecar.browser();
        assert_eq!(got(&again.consent_page(&sidecar.request(&[])).await), expected, "{kind}");
        if expected == Got::Page {
            let silent = sidecar.request(&[("prompt", "none")]);
            assert_eq!(ask(&mut again, &silent).await, Got::Error("consent_required".into()), "{kind}: a33");
            again.approve(&sidecar.request(&[])).await;
            assert_eq!(ask(&mut again, &silent).await, Got::Code, "{kind}: what is allowed afterwards counts");
        }
    }
}

/// A public client whose answers go to a host of its own, and to the device.
async fn public(sidecar: &Sidecar, metadata: ClientMetadata) -> Registered {
    let new = NewClient {
        name: "Phone".into(),
        redirect_uris: ["https://phone.example/cb", "com.example.phone:/cb"].map(|uri| uri.parse().unwrap()).to_vec(),
        scopes: "a b c".parse().unwrap(),
        public: true,
        introspects: Introspects::Own,
        metadata,
    };
    let (client, _) = sidecar.service.create_client(new).await.unwrap();
    Registered { id: client.id.to_string(), secret: String::new() }
}

#[tokio::test]
async fn a53_a_public_client_is_known_by_its_https_host_if_at_all() {
    let by_https = "https://phone.example/cb";
    for (config, consent, redirect_uri, expected) in [
        ("[consent]\nremember = 'confidential'", ConsentPolicy::Configured, by_https, Got::Page),
        ("[consent]\nremember = 'always'", ConsentPolicy::Configured, by_https, Got::Code),
        ("[consent]\nremember = 'always'", ConsentPolicy::Configured, "com.example.phone:/cb", Got::Page),
        ("[consent]\nremember = 'confidential'", ConsentPolicy::Remember, by_https, Got::Code),
        ("[consent]\nremember = 'confidential'", ConsentPolicy::Remember, "com.example.phone:/cb", Got::Page),
    ] {
        let sidecar = Sidecar::with(config).await;
        let phone = public(&sidecar, with_consent(consent)).await;
        let mut browser = sidecar.browser();
        let request = sidecar.request(&[("client_id", &phone.id), ("redirect_uri", redirect_uri)]);
        let location = browser.approve(&request).await;
        assert!(location.starts_with(redirect_uri), "{location}");
        assert_eq!(ask(&mut browser, &request).await, expected, "{config} {consent:?} {redirect_uri}");
        // What was allowed by way of the host counts for the host alone.
        let other = sidecar.request(&[("client_id", &phone.id), ("redirect_uri", "com.example.phone:/cb")]);
        assert_eq!(ask(&mut browser, &other).await, Got::Page);
    }
}

#[tokio::test]
async fn nothing_is_remembered_where_the_operator_does_not_want_it() {
    let sidecar = Sidecar::with("[consent]\nremember = 'never'").await;
    let mut browser = sidecar.browser();
    browser.approve(&sidecar.request(&[])).await;
    assert_eq!(ask(&mut browser, &sidecar.request(&[])).await, Got::Page);
    let silent = sidecar.request(&[("prompt", "none")]);
    assert_eq!(ask(&mut browser, &silent).await, Got::Error("consent_required".into()));
    // For one client, the operator may want it.
    sidecar.change(&sidecar.shop, with_consent(ConsentPolicy::Remember)).await;
    assert_eq!(ask(&mut browser, &sidecar.request(&[])).await, Got::Page);
    browser.approve(&sidecar.request(&[])).await;
    assert_eq!(ask(&mut browser, &silent).await, Got::Code);
    // Or not any more.
    sidecar.change(&sidecar.shop, with_consent(ConsentPolicy::AlwaysAsk)).await;
    assert_eq!(ask(&mut browser, &sidecar.request(&[])).await, Got::Page);
}

#[tokio::test]
async fn what_was_allowed_counts_for_as_long_as_is_configured() {
    let sidecar = Sidecar::with("[consent]\nremember = 'confidential'\nlifetime = 1000").await;
    let mut browser = sidecar.browser();
    browser.approve(&sidecar.request(&[("scope", "a")])).await;
    sidecar.clock.advance(600);
    assert_eq!(ask(&mut browser, &sidecar.request(&[("scope", "a")])).await, Got::Code);
    browser.approve(&sidecar.request(&[("scope", "b")])).await;
    sidecar.clock.advance(400);
    for (scope, expected) in [("a", Got::Page), ("b", Got::Code), ("a b", Got::Page)] {
        assert_eq!(ask(&mut browser, &sidecar.request(&[("scope", scope)])).await, expected, "{scope}");
    }
}

#[tokio::test]
async fn an_app_of_the_operators_own_needs_no_more_than_a_sign_in_but_for_a_device() {
    let sidecar = remembering().await;
    let grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::DeviceCode];
    let own = sidecar
        .register(false, Introspects::Own, ClientMetadata { grant_types, ..with_consent(ConsentPolicy::Skip) })
        .await;
    let mut browser = sidecar.browser();
    let request = |more: &[(&str, &str)]| sidecar.request(&[&[("client_id", own.id.as_str())], more].concat());
    assert_eq!(ask(&mut browser, &request(&[("prompt", "none")])).await, Got::Error("login_required".into()));
    let reply = browser.consent_page(&request(&[])).await;
    assert_eq!(got(&reply), Got::Code, "signing in is enough");
    let code = query_of(reply.header("location").unwrap(), "code").unwrap();
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(sidecar.http().post_as(&own, "/token", &body).await.tokens().scope, "a b");
    assert_eq!(ask(&mut browser, &request(&[("prompt", "none")])).await, Got::Code);
    assert_eq!(ask(&mut browser, &request(&[("prompt", "consent")])).await, Got::Page);
    let device = sidecar.http().post_as(&own, "/device_authorization", &[("scope", "a")]).await.json();
    let page = browser.get(&format!("/device?user_code={}", device["user_code"].as_str().unwrap())).await;
    assert!(page.body.contains("value=\"approve\""), "a device always asks: {}", page.body);
    // Its answers would go to whatever app has this scheme on the user's device.
    let phone = public(&sidecar, with_consent(ConsentPolicy::Skip)).await;
    for (redirect_uri, expected) in [("https://phone.example/cb", Got::Code), ("com.example.phone:/cb", Got::Page)] {
        let request = request(&[("client_id", &phone.id), ("redirect_uri", redirect_uri)]);
        assert_eq!(ask(&mut browser, &request).await, expected, "{redirect_uri}");
    }
}

#[tokio::test]
async fn no_app_says_of_itself_that_it_needs_no_consent() {
    let sidecar = Sidecar::with("[registration]\nmode = 'open'").await;
    let document = json!({
        "redirect_uris": [REDIRECT_URI], "client_name": "Third", "scope": "a b",
        "consent": "skip", "skip_consent": true, "required_scopes": ["a"],
    });
    let headers = [("content-type", "application/json")];
    let reply = sidecar.http().send(Method::POST, "/register", &headers, &document.to_string()).await;
    let id = reply.json()["client_id"].as_str().unwrap().to_owned();
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[("client_id", &id)])).await;
    assert_eq!(got(&page), Got::Page);
    assert_eq!(ticked_scopes(&page.body).len(), 2, "nothing is required");
    let client = sidecar.service.client(id.parse().unwrap()).await.unwrap();
    let metadata = ClientMetadata { consent: ConsentPolicy::Skip, ..client.metadata };
    let changes = scopegate::store::ClientChanges { metadata: Some(metadata), ..Default::default() };
    let refused = sidecar.service.update_client(client.id, changes).await;
    assert!(refused.unwrap_err().to_string().contains("operator"), "not even the operator says so by mistake");
}

#[tokio::test]
async fn a_scope_that_the_app_needs_is_shown_without_a_box_and_comes_with_the_rest() {
    let sidecar = remembering().await;
    let grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::DeviceCode];
    let required_scopes = vec!["a".parse().unwrap()];
    let metadata = ClientMetadata { required_scopes, grant_types, ..ClientMetadata::default() };
    sidecar.change(&sidecar.shop, metadata).await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    assert!(page.body.contains("See A") && page.body.contains("Needed for the app"), "{}", page.body);
    let boxes: Vec<String> = ticked_scopes(&page.body).into_iter().map(|(_, value)| value).collect();
    assert_eq!(boxes, ["b"]);
    let reply = decide(&mut browser, &page, &[]).await;
    let code = query_of(reply.header("location").unwrap(), "code").unwrap();
    assert_eq!(sidecar.redeem(&code).await.tokens().scope, "a");
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[("prompt", "consent")]))).await;
    let without = page.body.replace("name=\"scope\" value=\"a\"", "name=\"scope\" value=\"b\"");
    let changed = Reply { body: without, ..page };
    let refused = decide(&mut browser, &changed, &["b"]).await;
    assert_eq!(got(&refused), Got::Error("access_denied".into()), "without it, nothing");
    let only = browser.get(&format!("/authorize?{}", sidecar.request(&[("scope", "a"), ("prompt", "consent")]))).await;
    assert!(!only.body.contains("Untick"), "there is nothing to untick");
    // What it does not ask for is not added.
    let page = browser.get(&format!("/authorize?{}", sidecar.request(&[("scope", "b c")]))).await;
    assert_eq!(got(&decide(&mut browser, &page, &[]).await), Got::Error("access_denied".into()));
    // The same for its devices.
    let device = sidecar.http().post_as(&sidecar.shop, "/device_authorization", &[("scope", "a b")]).await.json();
    let page = browser.get(&format!("/device?user_code={}", device["user_code"].as_str().unwrap())).await;
    let fields = [hidden_fields(&page.body), vec![("decision".into(), "approve".into())]].concat();
    assert_eq!(browser.post("/device", &encode(&fields)).await.status, StatusCode::OK);
    let body = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device["device_code"].as_str().unwrap()),
    ];
    assert_eq!(sidecar.http().post_as(&sidecar.shop, "/token", &body).await.tokens().scope, "a");
}

#[tokio::test]
async fn c21_the_page_says_who_the_app_is_what_it_promises_and_for_how_long() {
    let sidecar = Sidecar::with("[pages]\nname = 'ACME accounts'").await;
    let metadata = ClientMetadata {
        client_uri: Some("https://shop.example/?a=\"><script>".replace(['"', '<', '>'], "%22")),
        policy_uri: Some("https://legal.example/privacy?a=1&b=2".into()),
        tos_uri: Some("https://xn--80ak6aa92e.example/terms".into()),
        ..ClientMetadata::default()
    };
    sidecar.change(&sidecar.shop, metadata.clone()).await;
    let page = sidecar.browser().consent_page(&sidecar.request(&[])).await;
    for said in [
        "<bdi>shop.example</bdi>",
        "Privacy policy at legal.example",
        "Terms of use at xn--80ak6aa92e.example",
        "rel=\"noopener noreferrer\"",
        "ACME accounts has registered this app",
        "ends after 90 days",
    ] {
        assert!(page.body.contains(said), "{said}: {}", page.body);
    }
    assert_eq!(page.body.matches("<a href=\"https:&#x2f;&#x2f;").count(), 2, "the site is text: {}", page.body);
    for wrong in ["javascript:alert(1)", "http://legal.example/", "https://legal.example@evil.example/", "https://"] {
        let metadata = ClientMetadata { policy_uri: Some(wrong.into()), ..metadata.clone() };
        let changes = scopegate::store::ClientChanges { metadata: Some(metadata), ..Default::default() };
        let refused = sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await;
        assert!(refused.unwrap_err().to_string().contains("policy_uri"), "{wrong}");
    }
}

#[tokio::test]
async fn c8_two_decisions_at_once_are_both_taken_and_remember_nothing_that_was_not_allowed() {
    let sidecar = remembering().await;
    for _ in 0..20 {
        let mut browser = sidecar.browser();
        let one = browser.consent_page(&sidecar.request(&[("scope", "a"), ("prompt", "consent")])).await;
        let other = sidecar.request(&[("scope", "b c"), ("prompt", "consent")]);
        let other = browser.get(&format!("/authorize?{other}")).await;
        let mut second = sidecar.browser();
        second.cookies = browser.cookies.clone();
        let replies = tokio::join!(decide(&mut browser, &one, &["a"]), decide(&mut second, &other, &["b"]));
        assert_eq!((got(&replies.0), got(&replies.1)), (Got::Code, Got::Code));
        let mut remembered = Vec::new();
        for scope in ["a", "b", "c"] {
            remembered.push(ask(&mut browser, &sidecar.request(&[("scope", scope)])).await == Got::Code);
        }
        assert!(remembered[0] || remembered[1], "one of them is remembered");
        assert!(!remembered[2], "c was unticked");
        let code = query_of(replies.0.header("location").unwrap(), "code").unwrap();
        let known = sidecar.introspect(&sidecar.redeem(&code).await.tokens().access).await;
        let pair = api::SubjectAndClient { subject: known.sub, client_id: known.client_id };
        end(&sidecar, Target::SubjectAndClient(pair)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c16_what_is_allowed_again_while_the_app_is_ended_ends_with_it() {
    let sidecar = remembering().await;
    let subject = {
        let tokens = sidecar.tokens().await;
        sidecar.introspect(&tokens.access).await.sub
    };
    let pair = || {
        let (subject, client_id) = (subject.clone(), sidecar.shop.id.clone());
        Target::SubjectAndClient(api::SubjectAndClient { subject, client_id })
    };
    let mut browser = sidecar.browser();
    browser.consent_page(&sidecar.request(&[])).await;
    let mut both = [0, 0];
    for round in 0..100_u64 {
        browser.approve(&sidecar.request(&[])).await;
        let path = format!("/authorize?{}", sidecar.request(&[]));
        let later = async {
            tokio::time::sleep(std::time::Duration::from_micros(round % 10 * 300)).await;
            end(&sidecar, pair()).await;
        };
        let (reply, ()) = tokio::join!(browser.get(&path), later);
        match got(&reply) {
            Got::Code => {
                both[0] += 1;
                let code = query_of(reply.header("location").unwrap(), "code").unwrap();
                sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
            }
            Got::Page => both[1] += 1,
            Got::Error(error) => assert_eq!(error, "temporarily_unavailable"),
        }
        assert_eq!(ask(&mut browser, &sidecar.request(&[])).await, Got::Page, "round {round}");
    }
    assert!(both[0] > 0, "codes {}, pages {}", both[0], both[1]);
}
