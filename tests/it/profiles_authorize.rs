//! The authorization endpoint as other systems have it: the sections `[authorization]`, `[pkce]` and `[consent]` of their profiles.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::domain::scope::ScopeSet;
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::clients::NewClient;
use scopegate::store::ClientChanges;
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Browser, CHALLENGE, REDIRECT_URI, Registered, Reply, Sidecar, VERIFIER, encode, form, hidden_fields, query_of,
    ticked_scopes,
};

/// What is to be left out of an authorization request to come without PKCE.
const WITHOUT_PKCE: [(&str, &str); 2] = [("code_challenge", ""), ("code_challenge_method", "")];

/// A sidecar with these sections of a profile, at the usual paths.
async fn like(profile: &str) -> Sidecar {
    let text = std::fs::read_to_string(format!("{}/src/profiles/{profile}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.retain(|section, _| ["authorization", "pkce", "consent"].contains(&section));
    assert!(table.contains_key("authorization"), "{profile} says how it authorizes");
    Sidecar::with(&table.to_string()).await
}

/// A client with these redirect URIs and the scopes `a`, `b` and `c`.
async fn with_uris(sidecar: &Sidecar, public: bool, uris: &[&str]) -> Registered {
    let new = NewClient {
        name: "Another".into(),
        redirect_uris: uris.iter().map(|uri| uri.parse().unwrap()).collect(),
        scopes: "a b c".parse().unwrap(),
        public,
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
    };
    let (client, secret) = sidecar.service.create_client(new).await.unwrap();
    let secret = secret.map(|secret| secret.expose().to_owned()).unwrap_or_default();
    Registered { id: client.id.to_string(), secret }
}

async fn limit(sidecar: &Sidecar, client: &Registered, scopes: &str) {
    let scopes: ScopeSet = scopes.parse().unwrap();
    let changes = ClientChanges { scopes: Some(scopes), ..ClientChanges::default() };
    sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
}

async fn redeem(sidecar: &Sidecar, client: &Registered, code: &str, more: &[(&str, &str)]) -> Reply {
    let body = [&[("grant_type", "authorization_code"), ("code", code)], more].concat();
    sidecar.http().post_as(client, "/token", &body).await
}

/// The code of whichever redirect.
fn code_in(location: &str) -> String {
    query_of(location, "code").unwrap_or_else(|| panic!("no code in {location}"))
}

/// What the form of a page of this server has but for its buttons, as it is sent when every scope stays.
fn fields(page: &Reply, button: (&str, &str)) -> String {
    let fields =
        [hidden_fields(&page.body), ticked_scopes(&page.body), vec![(button.0.to_owned(), button.1.to_owned())]];
    encode(&fields.concat())
}

/// A script of a page of this server sends a form.
async fn script(sidecar: &Sidecar, browser: &Browser, path: &str, more: &[(&str, &str)], body: &str) -> Reply {
    let issuer = format!("http://{}", sidecar.addresses.http);
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookies = cookies.join("; ");
    let mut headers = vec![("cookie", cookies.as_str())];
    if !more.iter().any(|(name, _)| *name == "origin" || *name == "sec-fetch-site") {
        headers.push(("origin", issuer.as_str()));
    }
    headers.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    sidecar.http().post_text(path, &headers, body).await
}

/// Somebody signed in, who has decided nothing.
async fn signed_in(sidecar: &Sidecar) -> Browser {
    let mut browser = sidecar.browser();
    browser.consent_page(&sidecar.request(&[])).await;
    browser
}

#[tokio::test]
async fn a_code_with_a_challenge_is_never_redeemed_without_its_verifier_and_one_without_never_with_one() {
    for profile in ["fittrackee", "funkwhale", "gancio", "forgejo", "oauthlib"] {
        let sidecar = like(profile).await;
        let mut browser = sidecar.browser();
        let here = ("redirect_uri", REDIRECT_URI);
        let plain = "~".repeat(43);
        let (s256, none) = (&[][..], &WITHOUT_PKCE[..]);
        let by_plain = [("code_challenge", plain.as_str()), ("code_challenge_method", "plain")];
        let unnamed = [("code_challenge", plain.as_str()), ("code_challenge_method", "")];
        for (request, verifier, expected) in [
            (s256, "", 400),
            (s256, CHALLENGE, 400),
            (s256, VERIFIER, 200),
            (none, VERIFIER, 400),
            (none, "", 200),
            (&by_plain[..], "", 400),
            (&by_plain[..], VERIFIER, 400),
            (&by_plain[..], plain.as_str(), 200),
            (&unnamed[..], plain.as_str(), 200),
        ] {
            let code = code_in(&browser.approve(&sidecar.request(request)).await);
            let proof = [here, ("code_verifier", verifier)];
            let proof = if verifier.is_empty() { &proof[..1] } else { &proof[..] };
            let reply = redeem(&sidecar, &sidecar.shop, &code, proof).await;
            assert_eq!(reply.status.as_u16(), expected, "{profile} {request:?} {verifier}: {}", reply.body);
        }
        let app = ("client_id", sidecar.app.id.as_str());
        let reply = browser.get(&format!("/authorize?{}", sidecar.request(&[&[app], none].concat()))).await;
        let location = reply.header("location").unwrap_or_else(|| panic!("{profile}: {}", reply.body));
        assert_eq!(query_of(location, "error").as_deref(), Some("invalid_request"), "{profile}: of public clients");
    }
}

#[tokio::test]
async fn verifiers_have_the_syntax_of_rfc_7636_but_for_forgejos_clients() {
    // As git-credential-oauth 0.4.2 makes them.
    let verifier = "kl+OdoQYGlwbLOLvAYvCZgvPCyJ9G2sHT/PYpYWGYgc=";
    for (profile, expected) in [("forgejo", 200), ("fittrackee", 400), ("oauthlib", 400)] {
        let sidecar = like(profile).await;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let code = sidecar.code_for(&sidecar.request(&[("code_challenge", &challenge)])).await;
        let proof = [("redirect_uri", REDIRECT_URI), ("code_verifier", verifier)];
        let reply = redeem(&sidecar, &sidecar.shop, &code, &proof).await;
        assert_eq!(reply.status.as_u16(), expected, "{profile}: {}", reply.body);
    }
}

#[tokio::test]
async fn fittrackee_answers_at_the_first_registered_uri_whatever_the_request_and_the_token_request_say() {
    let sidecar = like("fittrackee").await;
    let client = with_uris(&sidecar, false, &["https://localhost/", "https://other.example/cb"]).await;
    for said in ["https://self.host/callback", "https://other.example/cb", "javascript:alert(1)", ""] {
        let request = [&[("client_id", client.id.as_str()), ("redirect_uri", said)], &WITHOUT_PKCE[..]].concat();
        let location = sidecar.browser().approve(&sidecar.request(&request)).await;
        assert!(location.starts_with("https://localhost/?code="), "{said}: {location}");
        assert_eq!(query_of(&location, "iss"), None);
        let reply = redeem(&sidecar, &client, &code_in(&location), &[("redirect_uri", said)]).await;
        assert_eq!(reply.status, StatusCode::OK, "{said}: {}", reply.body);
    }
}

#[tokio::test]
async fn fittrackee_drops_scopes_that_the_client_may_not_ask_for_and_without_any_the_token_has_none() {
    let sidecar = like("fittrackee").await;
    limit(&sidecar, &sidecar.shop, "a b").await;
    let mut browser = sidecar.browser();
    for (asked, got) in [("a c unknown", "a"), ("undefined", ""), ("a \"", "a"), ("", "")] {
        let location = browser.approve(&sidecar.request(&[("scope", asked)])).await;
        let tokens = sidecar.redeem(&code_in(&location)).await.tokens();
        assert_eq!(tokens.scope, got, "{asked}");
        let checked = sidecar.check(&tokens.access, &["c"]).await;
        assert_eq!(checked.decision(), api::Decision::InsufficientScope, "{asked}");
        assert!(sidecar.is_active(&tokens.access).await);
        let again = sidecar.refresh(&tokens.refresh).await.tokens();
        assert_eq!(again.scope, got, "{asked}");
    }
}

#[tokio::test]
async fn fittrackees_page_posts_the_decision_and_gets_json() {
    let sidecar = like("fittrackee").await;
    let browser = signed_in(&sidecar).await;
    let path = "/api/oauth/authorize";
    let approve = sidecar.request(&[("confirm", "True"), ("redirect_uri", "")]);
    let reply = script(&sidecar, &browser, path, &[], &approve).await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::OK, Some("no-store")), "{}", reply.body);
    let location = reply.json()["redirect_url"].as_str().unwrap().to_owned();
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    assert_eq!(query_of(&location, "state").as_deref(), Some("xyz"));
    let proof = [("redirect_uri", "https://self.host/callback"), ("code_verifier", VERIFIER)];
    let reply = redeem(&sidecar, &sidecar.shop, &code_in(&location), &proof).await;
    assert_eq!(reply.status, StatusCode::OK, "it was issued without a redirect URI: {}", reply.body);
    let with_uri = script(&sidecar, &browser, path, &[], &sidecar.request(&[("confirm", "true")])).await;
    let code = code_in(with_uri.json()["redirect_url"].as_str().unwrap());
    assert_eq!(redeem(&sidecar, &sidecar.shop, &code, &proof).await.status, StatusCode::BAD_REQUEST);
    for (name, value, message) in [
        ("confirm", "", "The resource owner or authorization server denied the request"),
        ("response_type", "token", "invalid payload"),
        ("client_id", "", "invalid payload"),
        ("client_id", "unknown", "The client does not exist on this server."),
        ("redirect_uri", "https://evil.example/", "Redirect URI https://evil.example/ is not supported by client."),
        ("code_challenge", "", "Missing 'code_challenge'"),
        ("code_challenge_method", "S512", "Unsupported 'code_challenge_method'"),
        ("code_challenge", "short", "Invalid 'code_challenge'"),
    ] {
        let mut request = vec![("confirm", "true")];
        request.retain(|(known, _)| *known != name);
        request.push((name, value));
        let reply = script(&sidecar, &browser, path, &[], &sidecar.request(&request)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}={value}");
        assert_eq!(reply.json(), serde_json::json!({ "status": "error", "message": message }), "{name}={value}");
    }
    let nobody = script(&sidecar, &sidecar.browser(), path, &[], &approve).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.json()["message"], "provide a valid auth token");
}

#[tokio::test]
async fn a_decision_without_a_ticket_counts_only_if_it_certainly_comes_from_the_apps_origin() {
    for (profile, path) in [("fittrackee", "/api/oauth/authorize"), ("funkwhale", "/api/v1/oauth/authorize/")] {
        let sidecar = like(profile).await;
        let browser = signed_in(&sidecar).await;
        let body = sidecar.request(&[("confirm", "true"), ("allow", "true")]);
        for (headers, is_ours) in [
            (&[("origin", "https://evil.example")][..], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "https://evil.example"), ("authorization", "Bearer x")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", ""), ("authorization", "Bearer x")], true),
        ] {
            let reply = script(&sidecar, &browser, path, headers, &body).await;
            assert_eq!(reply.status == StatusCode::FORBIDDEN, !is_ours, "{profile} {headers:?}: {reply:?}");
            assert_eq!(
                reply.body.contains("code=") || reply.header("location").is_some(),
                is_ours,
                "{profile} {headers:?}"
            );
        }
        let reply = sidecar.http().send(Method::OPTIONS, path, &[("origin", "https://evil.example")], "").await;
        assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    }
}

#[tokio::test]
async fn funkwhales_page_posts_the_decision_and_gets_a_redirect_or_json() {
    let sidecar = like("funkwhale").await;
    let browser = signed_in(&sidecar).await;
    let path = "/api/v1/oauth/authorize/";
    let ajax = [("x-requested-with", "XMLHttpRequest")];
    let approve = sidecar.request(&[("allow", "true")]);
    let reply = script(&sidecar, &browser, path, &[], &approve).await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(query_of(reply.header("location").unwrap(), "state").as_deref(), Some("xyz"));
    let reply = script(&sidecar, &browser, path, &ajax, &approve).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    let (location, code) = (reply.json()["redirect_uri"].clone(), reply.json()["code"].clone());
    assert_eq!(query_of(location.as_str().unwrap(), "code").as_deref(), code.as_str());
    assert_eq!(sidecar.redeem(code.as_str().unwrap()).await.status, StatusCode::OK);

    let deny = script(&sidecar, &browser, path, &[], &sidecar.request(&[])).await;
    assert_eq!(deny.status, StatusCode::FOUND);
    assert_eq!(query_of(deny.header("location").unwrap(), "error").as_deref(), Some("access_denied"));
    let scope = script(&sidecar, &browser, path, &[], &sidecar.request(&[("allow", "true"), ("scope", "nope")])).await;
    assert_eq!(query_of(scope.header("location").unwrap(), "error").as_deref(), Some("invalid_scope"));
    for (name, value, expected) in [
        ("redirect_uri", "", serde_json::json!({ "redirect_uri": ["This field is required."] })),
        ("scope", "", serde_json::json!({ "scope": ["This field is required."] })),
        ("client_id", "unknown", serde_json::json!({ "non_field_errors": ["Invalid application"] })),
        ("redirect_uri", "https://evil.example/", serde_json::json!({ "detail": "Mismatching redirect URI." })),
    ] {
        for headers in [&[][..], &ajax] {
            let body = sidecar.request(&[("allow", "true"), (name, value)]);
            let reply = script(&sidecar, &browser, path, headers, &body).await;
            assert_eq!((reply.status, reply.json()), (StatusCode::BAD_REQUEST, expected.clone()), "{name}={value}");
        }
    }
    let denied = script(&sidecar, &browser, path, &ajax, &sidecar.request(&[])).await;
    assert_eq!((denied.status, denied.error()), (StatusCode::BAD_REQUEST, "access_denied".into()));
    let nobody = script(&sidecar, &sidecar.browser(), path, &[], &approve).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nobody.json()["detail"], "Authentication credentials were not provided.");
}

#[tokio::test]
async fn funkwhale_shows_the_code_where_there_is_nowhere_to_send_it_and_leads_to_urns() {
    let sidecar = like("funkwhale").await;
    let oob = "urn:ietf:wg:oauth:2.0:oob";
    let android = "urn:/audio.funkwhale.funkwhale-android/oauth/callback";
    let client = with_uris(&sidecar, false, &[oob, android]).await;
    let request = |uri: &str| sidecar.request(&[("client_id", &client.id), ("redirect_uri", uri)]);
    let mut browser = sidecar.browser();
    let location = browser.approve(&request(android)).await;
    assert!(location.starts_with(&format!("{android}?code=")), "{location}");
    assert_eq!(query_of(&location, "state").as_deref(), Some("xyz"));

    let page = browser.consent_page(&request(oob)).await;
    let shown = browser.post("/consent", &fields(&page, ("decision", "approve"))).await;
    assert_eq!((shown.status, shown.header("location")), (StatusCode::OK, None));
    let code = shown.body.split("<textarea").nth(1).unwrap().split('>').nth(1).unwrap().split('<').next().unwrap();
    let proof = [("redirect_uri", oob), ("code_verifier", VERIFIER)];
    assert_eq!(redeem(&sidecar, &client, code, &proof).await.status, StatusCode::OK, "{code}");
    let page = browser.consent_page(&request(oob)).await;
    let denied = browser.post("/consent", &fields(&page, ("decision", "deny"))).await;
    assert_eq!((denied.status, denied.header("location")), (StatusCode::FORBIDDEN, None));
    assert!(!denied.body.contains("sg_ac_"));

    let path = "/api/v1/oauth/authorize/";
    let body = format!("{}&allow=true", request(oob));
    let reply = script(&sidecar, &browser, path, &[("x-requested-with", "XMLHttpRequest")], &body).await;
    let location = reply.json()["redirect_uri"].as_str().unwrap().to_owned();
    assert!(location.starts_with(&format!("{oob}?code=")), "{location}");

    // With the usual rules, such a client comes nowhere: it cannot be registered, and what is registered does not count.
    let usual = sidecar.beside().await;
    let reply = usual.http().get(&format!("/authorize?{}", request(oob))).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None));
    let new = NewClient {
        name: "Another".into(),
        redirect_uris: vec![oob.parse().unwrap()],
        scopes: "a".parse().unwrap(),
        public: false,
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
    };
    assert!(usual.service.create_client(new).await.is_err());
}

#[tokio::test]
async fn funkwhale_lets_a_request_have_more_query_and_more_scopes_than_the_app_registered() {
    let sidecar = like("funkwhale").await;
    let client = with_uris(&sidecar, false, &["https://c.example/cb?a=1"]).await;
    limit(&sidecar, &client, "a").await;
    let request =
        |uri: &str, scope: &str| sidecar.request(&[("client_id", &client.id), ("redirect_uri", uri), ("scope", scope)]);
    let uri = "https://c.example/cb?b=2&a=1";
    let location = sidecar.browser().approve(&request(uri, "a b")).await;
    assert!(location.starts_with(&format!("{uri}&code=")), "{location}");
    let code = code_in(&location);
    let proof = |uri| [("redirect_uri", uri), ("code_verifier", VERIFIER)];
    let reply = redeem(&sidecar, &client, &code, &proof("https://c.example/cb?a=1")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "exactly where the answer went");
    assert_eq!(redeem(&sidecar, &client, &code, &proof(uri)).await.tokens().scope, "a b");
    let code = code_in(&sidecar.browser().approve(&request("https://c.example/cb?a=1", "a")).await);
    let reply = redeem(&sidecar, &client, &code, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(reply.status, StatusCode::OK, "it has one: {}", reply.body);
    let two = with_uris(&sidecar, false, &["https://c.example/cb", "https://c.example/2"]).await;
    let request = sidecar.request(&[("client_id", &two.id), ("redirect_uri", "https://c.example/cb")]);
    let code = code_in(&sidecar.browser().approve(&request).await);
    let reply = redeem(&sidecar, &two, &code, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "it has two");
}

#[tokio::test]
async fn gancios_page_sends_a_transaction_and_its_clients_need_not_repeat_the_redirect_uri() {
    let sidecar = like("gancio").await;
    let uri = "http://127.0.0.1/wp-admin/options-general.php?page=wpgancio";
    let client = with_uris(&sidecar, false, &[uri]).await;
    let request = [&[("client_id", client.id.as_str()), ("redirect_uri", uri), ("state", "")], &WITHOUT_PKCE[..]];
    let request = sidecar.request(&request.concat());
    let mut browser = sidecar.browser();
    for (button, answer) in [(("allow", "Allow"), "&code="), (("cancel", "Deny"), "&error=access_denied")] {
        let page = browser.consent_page(&request).await;
        let reply = browser.post("/oauth/authorize", &fields(&page, button)).await;
        assert_eq!(reply.status, StatusCode::FOUND, "{}", reply.body);
        let location = reply.header("location").unwrap();
        assert!(location.starts_with(&format!("{uri}{answer}")), "{location}");
        if button.0 == "allow" {
            let reply = redeem(&sidecar, &client, &code_in(location), &[("scope", "a")]).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        }
    }
    let page = browser.consent_page(&request).await;
    let transaction = hidden_fields(&page.body).into_iter().find(|(name, _)| name == "transaction_id").unwrap().1;
    let forged =
        [form(&[]), form(&[("transaction_id", "x")]), form(&[("transaction_id", &format!("{transaction}AA"))])];
    for body in forged {
        assert_eq!(browser.post("/oauth/authorize", &body).await.status, StatusCode::FORBIDDEN, "{body}");
    }
    let body = form(&[("transaction_id", &transaction)]);
    let elsewhere = script(&sidecar, &browser, "/oauth/authorize", &[("origin", "https://evil.example")], &body).await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN);
    assert_eq!(
        signed_in(&sidecar).await.post("/oauth/authorize", &body).await.status,
        StatusCode::FORBIDDEN,
        "another's"
    );
    let location = browser.post("/oauth/authorize", &body).await.header("location").unwrap().to_owned();
    let proof = [("redirect_uri", "http://127.0.0.1/elsewhere")];
    assert_eq!(redeem(&sidecar, &client, &code_in(&location), &proof).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn forgejos_page_grants_what_it_showed() {
    let sidecar = like("forgejo").await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[("client_id", &sidecar.app.id), ("scope", "openid read:user anything")]);
    let page = browser.consent_page(&request).await;
    assert!(page.body.contains("id=\"authorize-app\" name=\"granted\" value=\"true\""), "{}", page.body);
    assert!(page.body.contains("action=\"/login/oauth/grant\""), "{}", page.body);
    let value = |name: &str| hidden_fields(&page.body).into_iter().find(|(known, _)| known == name).unwrap().1;
    let csrf = value("_csrf");
    assert_eq!((value("client_id"), value("state")), (sidecar.app.id.clone(), "xyz".into()));
    let sent = |more: &[(&str, &str)]| {
        form(&[&[("_csrf", csrf.as_str()), ("client_id", sidecar.app.id.as_str()), ("state", "xyz")], more].concat())
    };
    for (body, status) in [
        (form(&[("granted", "true")]), StatusCode::FORBIDDEN),
        (form(&[("_csrf", &csrf), ("granted", "true"), ("state", "other")]), StatusCode::BAD_REQUEST),
        (form(&[("_csrf", &csrf), ("granted", "true"), ("client_id", &sidecar.shop.id)]), StatusCode::BAD_REQUEST),
        (form(&[("_csrf", &csrf), ("granted", "true"), ("redirect_uri", "https://evil/")]), StatusCode::BAD_REQUEST),
        (sent(&[]), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(browser.post("/login/oauth/grant", &body).await.status, status, "{body}");
    }
    let denied = browser.post("/login/oauth/grant", &sent(&[("granted", "false")])).await;
    assert_eq!(denied.status, StatusCode::SEE_OTHER);
    let location = denied.header("location").unwrap();
    assert!(location.ends_with("?error=access_denied&error_description=the+request+is+denied&state=xyz"), "{location}");
    let granted =
        browser.post("/login/oauth/grant", &sent(&[("granted", "true"), ("redirect_uri", REDIRECT_URI)])).await;
    let code = code_in(granted.header("location").unwrap());
    // As tea does, which listens on another port by then.
    let proof = [("redirect_uri", "http://127.0.0.1:0/callback"), ("code_verifier", VERIFIER)];
    let reply = redeem(&sidecar, &sidecar.app, &code, &proof).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "it registered a port: {}", reply.body);
    let proof = [("code_verifier", VERIFIER)];
    assert_eq!(redeem(&sidecar, &sidecar.app, &code, &proof).await.tokens().scope, "anything openid read:user");
}

#[tokio::test]
async fn forgejos_loopback_clients_may_say_another_port_at_the_token_endpoint() {
    let sidecar = like("forgejo").await;
    let client = with_uris(&sidecar, true, &["http://127.0.0.1", "https://127.0.0.1"]).await;
    for (at_page, at_token, expected) in [
        ("http://127.0.0.1:51004", "http://127.0.0.1:0", 200),
        ("http://127.0.0.1:51004/", "http://127.0.0.1:51004", 200),
        ("http://127.0.0.1", "", 200),
        ("http://127.0.0.1:51004", "https://127.0.0.1:51004", 400),
        ("http://127.0.0.1:51004", "http://127.0.0.1:51004/other", 400),
        ("http://127.0.0.1:51004", "http://localhost:51004", 400),
    ] {
        let request = sidecar.request(&[("client_id", &client.id), ("redirect_uri", at_page)]);
        let location = sidecar.browser().approve(&request).await;
        assert!(location.starts_with(&format!("{at_page}?code=")), "{location}");
        let mut proof = vec![("code_verifier", VERIFIER)];
        if !at_token.is_empty() {
            proof.push(("redirect_uri", at_token));
        }
        let reply = redeem(&sidecar, &client, &code_in(&location), &proof).await;
        assert_eq!(reply.status.as_u16(), expected, "{at_page} {at_token}: {}", reply.body);
    }
}

#[tokio::test]
async fn forgejo_asks_for_a_confidential_app_once_and_refuses_other_scopes_than_it_has() {
    let sidecar = like("forgejo").await;
    let mut browser = sidecar.browser();
    let ask = async |browser: &mut Browser, client: &Registered, scope: &str| {
        let request = sidecar.request(&[("client_id", &client.id), ("scope", scope)]);
        let reply = browser.get(&format!("/authorize?{request}")).await;
        match reply.header("location") {
            None => "page".to_owned(),
            Some(location) => query_of(location, "error_description").unwrap_or_else(|| "code".into()),
        }
    };
    let other = "a grant exists with different scope";
    for (client, first, expected) in [
        (&sidecar.shop, "", [("", "code"), ("a", other), ("openid", other)]),
        (&sidecar.app, "a", [("a", "page"), ("", other), ("a b", other)]),
    ] {
        let request = sidecar.request(&[("client_id", &client.id), ("scope", first)]);
        let page = browser.consent_page(&request).await;
        let reply = browser.post("/login/oauth/grant", &fields(&page, ("granted", "true"))).await;
        code_in(reply.header("location").unwrap_or_else(|| panic!("{reply:?}")));
        for (scope, expected) in expected {
            assert_eq!(ask(&mut browser, client, scope).await, expected, "{} {scope}", client.id);
        }
    }
    let reply = browser.get(&format!("/authorize?{}", sidecar.request(&[("scope", "c")]))).await;
    assert_eq!(query_of(reply.header("location").unwrap(), "error").as_deref(), Some("server_error"));
}

#[tokio::test]
async fn errors_are_spelled_and_ordered_as_the_system_does() {
    for (profile, status, cases) in [
        (
            "forgejo",
            303,
            &[
                (&[("client_id", "unknown")][..], "page", "Client ID not registered"),
                (&[("client_id", "")], "page", "Client ID not registered"),
                (&[("redirect_uri", "https://evil.example/")], "page", "Unregistered Redirect URI"),
                (&[("redirect_uri", "a")], "page", "Unregistered Redirect URI"),
                (
                    &[("response_type", "unexpected")],
                    "unsupported_response_type",
                    "Only code response type is supported.",
                ),
                (
                    &[("code_challenge", ""), ("code_challenge_method", "UNEXPECTED")],
                    "invalid_request",
                    "unsupported code challenge method",
                ),
            ][..],
        ),
        (
            "oauthlib",
            302,
            &[
                (&[("client_id", "")], "page", "Missing client_id parameter."),
                (&[("client_id", "unknown")], "page", "Invalid client_id parameter value."),
                (&[("redirect_uri", "/wrong")], "page", "Invalid redirect URI."),
                (&[("redirect_uri", "https://evil.example/")], "page", "Mismatching redirect URI."),
                (&[("response_type", "")], "invalid_request", "Missing response_type parameter."),
                (&[("code_challenge_method", "x")], "invalid_request", "Transform algorithm not supported."),
                (
                    &[("code_challenge_method", "x"), ("scope", "x")],
                    "invalid_request",
                    "Transform algorithm not supported.",
                ),
            ],
        ),
    ] {
        let sidecar = like(profile).await;
        for (parameters, error, description) in cases {
            let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(parameters))).await;
            if *error == "page" {
                assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "{parameters:?}");
                assert!(reply.body.contains(description), "{profile} {parameters:?}: {}", reply.body);
                continue;
            }
            assert_eq!(reply.status.as_u16(), status, "{profile} {parameters:?}");
            let location = reply.header("location").unwrap();
            assert_eq!(query_of(location, "error").as_deref(), Some(*error), "{profile} {parameters:?}");
            assert_eq!(query_of(location, "error_description").as_deref(), Some(*description), "{parameters:?}");
            assert_eq!((query_of(location, "state").as_deref(), query_of(location, "iss")), (Some("xyz"), None));
        }
        for name in ["client_id", "redirect_uri", "response_type", "scope", "state"] {
            let twice = format!("{}&{name}=x", sidecar.request(&[]));
            let reply = sidecar.http().get(&format!("/authorize?{twice}")).await;
            let page = format!("Duplicate {name} parameter.");
            assert_eq!(reply.body.contains(&page), profile == "oauthlib", "{profile} {name}: {}", reply.body);
        }
        let empty = format!("{}&scope=", sidecar.request(&[("scope", "")]));
        let reply = sidecar.http().get(&format!("/authorize?{empty}")).await;
        let error = reply.header("location").and_then(|location| query_of(location, "error"));
        assert_eq!(error.as_deref() == Some("invalid_scope"), profile == "oauthlib", "{profile}: {error:?}");
    }
}

#[tokio::test]
async fn the_metadata_say_what_is_configured() {
    let metadata = like("oauthlib").await.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["code_challenge_methods_supported"], serde_json::json!(["S256", "plain"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], false);
}

#[tokio::test]
async fn with_each_profile_as_it_is_the_page_and_the_api_are_where_they_belong() {
    for (profile, page, api) in [
        ("fittrackee", "/profile/apps/authorize", "/api/oauth/authorize"),
        ("funkwhale", "/api/v1/oauth/authorize/", "/api/v1/oauth/authorize/"),
        ("gancio", "/oauth/authorize", "/oauth/authorize"),
        ("forgejo", "/login/oauth/authorize", "/login/oauth/grant"),
        ("oauthlib", "/authorize", "/consent"),
    ] {
        let sidecar = Sidecar::with(&format!("profile = '{profile}'\n")).await;
        let reply = sidecar.http().get(&format!("{page}?{}", sidecar.request(&[]))).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{profile}: {}", reply.body);
        assert!(reply.header("location").unwrap().starts_with("/login?request="), "{profile}");
        let reply = script(&sidecar, &sidecar.browser(), api, &[], "x=y").await;
        assert!(reply.status.is_client_error() && reply.status != StatusCode::NOT_FOUND, "{profile}: {reply:?}");
        assert_ne!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{profile}");
    }
}

#[tokio::test]
async fn errors_of_unverified_clients_wait_for_the_user_unless_configured_otherwise() {
    for (errors_of, status) in [("verified_clients", 400), ("all_clients", 303)] {
        let more = format!("[registration]\nmode = 'open'\n[authorization]\nerrors_of = '{errors_of}'");
        let sidecar = Sidecar::with(&more).await;
        let body = format!(r#"{{"redirect_uris":["{REDIRECT_URI}"],"scope":"a"}}"#);
        let json = [("content-type", "application/json")];
        let client = sidecar.http().send(Method::POST, "/register", &json, &body).await.json();
        let request = sidecar.request(&[("client_id", client["client_id"].as_str().unwrap()), ("scope", "c")]);
        assert_eq!(sidecar.http().get(&format!("/authorize?{request}")).await.status.as_u16(), status, "{errors_of}");
    }
}
