//! The authorization endpoint (RFC 6749 §3.1) and what the user decides.

use http::{Method, StatusCode};

use crate::harness::{PASSWORD, REDIRECT_URI, Sidecar, USERNAME, encode, form, hidden_fields, query_of, ticked_scopes};

#[tokio::test]
async fn a18_a20_a_user_signs_in_allows_and_the_app_gets_a_code_with_state_and_issuer() {
    let sidecar = Sidecar::start().await;
    let location = sidecar.browser().approve(&sidecar.request(&[("state", "a&b=c ä/\"")])).await;
    assert!(location.starts_with(&format!("{REDIRECT_URI}?code=sg_ac_")), "{location}");
    assert_eq!(query_of(&location, "state").as_deref(), Some("a&b=c ä/\""));
    assert_eq!(query_of(&location, "iss").unwrap(), format!("http://{}", sidecar.addresses.http));
}

#[tokio::test]
async fn a18_a_state_of_two_kibibytes_comes_back_and_a19_none_stays_none() {
    let sidecar = Sidecar::start().await;
    let long = "x".repeat(2_048);
    let location = sidecar.browser().approve(&sidecar.request(&[("state", &long)])).await;
    assert_eq!(query_of(&location, "state"), Some(long));
    let location = sidecar.browser().approve(&sidecar.request(&[("state", "")])).await;
    assert_eq!(query_of(&location, "state"), None);
}

#[tokio::test]
async fn a1_a2_a3_a6_a21_a_request_that_cannot_be_trusted_gets_a_page_and_no_redirect() {
    let sidecar = Sidecar::start().await;
    for (name, value) in [
        ("client_id", "unknown"),
        ("client_id", ""),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "http://127.0.0.1:8765/callback/"),
        ("redirect_uri", "http://127.0.0.1:8765/callback?x=1"),
        ("redirect_uri", "http://127.0.0.1:8765@evil/callback"),
    ] {
        let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[(name, value)]))).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}={value}");
        assert_eq!(reply.header("location"), None);
        assert!(!reply.body.contains("evil"), "nothing of it is echoed: {}", reply.body);
    }
    let twice = format!("{}&client_id={}", sidecar.request(&[]), sidecar.shop.id);
    assert_eq!(sidecar.http().get(&format!("/authorize?{twice}")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a8_a_native_app_may_use_any_loopback_port_and_the_code_is_bound_to_it() {
    let sidecar = Sidecar::start().await;
    let uri = "http://127.0.0.1:51004/callback";
    let location = sidecar.browser().approve(&sidecar.request(&[("redirect_uri", uri)])).await;
    assert!(location.starts_with(&format!("{uri}?code=")), "{location}");
    sidecar.redeem(&query_of(&location, "code").unwrap()).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a14_a15_a17_a20_a26_to_a31_a38_a51_other_errors_go_back_to_the_client_with_state_and_issuer() {
    let sidecar = Sidecar::start().await;
    for (name, value, error) in [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "id_token", "unsupported_response_type"),
        ("response_type", "code token", "unsupported_response_type"),
        ("scope", "a unknown", "invalid_scope"),
        ("scope", "a \"", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", &"a".repeat(129), "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "S512", "invalid_request"),
        ("request", "eyJ", "request_not_supported"),
        ("request_uri", "http://127.0.0.1:1/", "request_uri_not_supported"),
        ("response_mode", "fragment", "invalid_request"),
    ] {
        let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[(name, value)]))).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{name}={value}");
        let location = reply.header("location").unwrap();
        assert_eq!(query_of(location, "error").as_deref(), Some(error), "{name}={value}");
        assert_eq!(query_of(location, "state").as_deref(), Some("xyz"));
        assert_eq!(query_of(location, "iss").unwrap(), format!("http://{}", sidecar.addresses.http));
        assert_eq!(query_of(location, "code"), None);
    }
}

#[tokio::test]
async fn a23_a24_a25_unknown_parameters_are_ignored_and_a_form_works_as_a_query() {
    let sidecar = Sidecar::start().await;
    let request = sidecar.request(&[("colour", "blue")]);
    let mut browser = sidecar.browser();
    browser.consent_page(&request).await;
    let page = browser.post("/authorize", &request).await;
    assert!(page.body.contains("action=\"/consent\""), "{}", page.body);
    let both = sidecar.http().post_text(&format!("/authorize?{request}"), &[], &request).await;
    assert_eq!(both.status, StatusCode::BAD_REQUEST, "a25: query and form at once");
}

#[tokio::test]
async fn a24_a_form_of_another_site_comes_without_the_session_and_is_sent_on_to_where_it_counts() {
    let sidecar = Sidecar::start().await;
    let request = sidecar.request(&[("state", "a&b\r\nc ä")]);
    let mut browser = sidecar.browser();
    browser.consent_page(&request).await;
    // SameSite=Lax: no cookie with a form from elsewhere.
    let reply = sidecar.http().post_text("/authorize", &[], &request).await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::SEE_OTHER, Some("no-store")));
    let here = reply.header("location").unwrap().to_owned();
    assert!(here.starts_with("/authorize?"), "{here}");
    let page = browser.get(&here).await;
    assert!(page.body.contains("action=\"/consent\""), "{}", page.body);
    let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]];
    let reply = browser.post("/consent", &encode(&fields.concat())).await;
    assert_eq!(query_of(reply.header("location").unwrap(), "state").as_deref(), Some("a&b\r\nc ä"));
    let nobody = sidecar.http().get(&here).await;
    assert!(nobody.header("location").unwrap().starts_with("/login?request="));
    let long = sidecar.request(&[("state", &"x".repeat(8_000)), ("nonce", &"y".repeat(1_000))]);
    let reply = sidecar.http().post_text("/authorize", &[], &long).await;
    assert!(reply.header("location").unwrap().starts_with("/login?request="), "too long for a query: as before");
}

#[tokio::test]
async fn a47_a48_a49_the_endpoint_speaks_plain_get_and_post() {
    let sidecar = Sidecar::start().await;
    let origin = [("origin", "https://evil.example")];
    let reply = sidecar.http().send(Method::GET, &format!("/authorize?{}", sidecar.request(&[])), &origin, "").await;
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    let reply = sidecar.http().send(Method::PUT, "/authorize", &[], "").await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.header("allow"), Some("GET,HEAD,POST"));
    let reply = sidecar.http().get(&format!("/authorize?state={}", "x".repeat(9_000))).await;
    assert_eq!(reply.status, StatusCode::URI_TOO_LONG);
    let large = "x".repeat(20_000);
    let reply = sidecar.http().send(Method::GET, "/authorize", &[("x-large", &large)], "").await;
    assert_eq!(reply.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a50_forged_host_headers_change_nothing() {
    let sidecar = Sidecar::start().await;
    let forged = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=https"),
    ];
    let path = format!("/authorize?{}", sidecar.request(&[("scope", "unknown")]));
    let reply = sidecar.http().send(Method::GET, &path, &forged, "").await;
    assert!(!reply.header("location").unwrap().contains("evil"));
    let reply = sidecar.http().send(Method::GET, "/.well-known/oauth-authorization-server", &forged, "").await;
    assert!(!reply.body.contains("evil"), "{}", reply.body);
}

#[tokio::test]
async fn the_user_keeps_some_of_the_scopes() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    assert_eq!(ticked_scopes(&page.body), [("scope".into(), "a".into()), ("scope".into(), "b".into())]);
    // One that was not requested is not granted, even if the form is made to say so.
    let kept = vec![("scope".into(), "b".into()), ("scope".into(), "c".into()), ("decision".into(), "approve".into())];
    let reply = browser.post("/consent", &encode(&[hidden_fields(&page.body), kept].concat())).await;
    let code = query_of(reply.header("location").unwrap(), "code").unwrap();
    assert_eq!(sidecar.redeem(&code).await.tokens().scope, "b");
}

#[tokio::test]
async fn c13_denying_or_keeping_nothing_is_access_denied() {
    let sidecar = Sidecar::start().await;
    for decision in ["deny", "approve"] {
        let mut browser = sidecar.browser();
        let page = browser.consent_page(&sidecar.request(&[])).await;
        let fields = [hidden_fields(&page.body), vec![("decision".into(), decision.into())]].concat();
        let reply = browser.post("/consent", &encode(&fields)).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER);
        let location = reply.header("location").unwrap();
        assert_eq!(query_of(location, "error").as_deref(), Some("access_denied"));
        assert_eq!(query_of(location, "state").as_deref(), Some("xyz"));
        assert!(query_of(location, "iss").is_some());
    }
}

#[tokio::test]
async fn c5_c6_c7_a_consent_form_counts_for_its_session_and_its_request_alone() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    let other_page = browser.consent_page(&sidecar.request(&[("scope", "c")])).await;
    let mut stranger = sidecar.browser();
    let strangers_page = stranger.consent_page(&sidecar.request(&[])).await;
    let field = |page: &str, name: &str| hidden_fields(page).into_iter().find(|(key, _)| key == name).unwrap().1;
    let (request, ticket) = (field(&page.body, "request"), field(&page.body, "ticket"));
    for (request, ticket) in [
        (request.clone(), String::new()),
        (request.clone(), "AAAA".into()),
        (request.clone(), field(&strangers_page.body, "ticket")),
        (request.clone(), field(&other_page.body, "ticket")),
        (request.replace("scope=a+b", "scope=a+b+c"), ticket.clone()),
        (request.replace("code_challenge=E9", "code_challenge=F9"), ticket.clone()),
        (String::new(), ticket.clone()),
    ] {
        let body = form(&[("request", &request), ("ticket", &ticket), ("scope", "a"), ("decision", "approve")]);
        let reply = browser.post("/consent", &body).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::FORBIDDEN, None), "{body}");
    }
    let body = form(&[("request", &request), ("ticket", &ticket), ("scope", "a"), ("decision", "approve")]);
    let nobody = sidecar.browser().post("/consent", &body).await;
    assert_eq!(nobody.status, StatusCode::FORBIDDEN, "without a session");
    assert_eq!(browser.post("/consent", &body).await.status, StatusCode::SEE_OTHER, "nothing of this used the form up");
}

#[tokio::test]
async fn c8_a_consent_form_that_is_sent_twice_makes_one_code() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    let body = encode(
        &[hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]].concat(),
    );
    let mut second = sidecar.browser();
    second.cookies = browser.cookies.clone();
    let (one, two) = tokio::join!(browser.post("/consent", &body), second.post("/consent", &body));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 409]);
}

#[tokio::test]
async fn a_consent_form_expires() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    sidecar.clock.advance(600);
    let body = encode(
        &[hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]].concat(),
    );
    let reply = browser.post("/consent", &body).await;
    assert_eq!(reply.status, StatusCode::GONE);
    assert!(reply.body.contains("start again"), "{}", reply.body);
}

#[tokio::test]
async fn a45_a_client_that_was_removed_meanwhile_gets_no_code() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    sidecar.service.delete_client(sidecar.shop.id.parse().unwrap()).await.unwrap();
    let body = encode(
        &[hidden_fields(&page.body), ticked_scopes(&page.body), vec![("decision".into(), "approve".into())]].concat(),
    );
    let reply = browser.post("/consent", &body).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_look_the_same() {
    let sidecar = Sidecar::start().await;
    let request = sidecar.request(&[]);
    let mut pages = Vec::new();
    for (username, password) in [(USERNAME, "wrong"), ("nobody", PASSWORD), (USERNAME, "")] {
        let mut browser = sidecar.browser();
        let body = form(&[("username", username), ("password", password), ("request", &request)]);
        let reply = browser.post("/login", &body).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert!(browser.cookies.is_empty());
        pages.push(reply.body.replace(username, ""));
    }
    assert!(pages.iter().all(|page| *page == pages[0]));
}

#[tokio::test]
async fn a_disabled_account_cannot_sign_in_and_is_signed_out() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    browser.consent_page(&sidecar.request(&[])).await;
    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    let reply = browser.get(&format!("/authorize?{}", sidecar.request(&[]))).await;
    assert!(reply.header("location").unwrap().starts_with("/login"));
    let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &sidecar.request(&[]))]);
    assert_eq!(browser.post("/login", &body).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_form_from_another_site_is_refused() {
    let sidecar = Sidecar::start().await;
    for path in ["/login", "/consent", "/login/switch", "/logout/confirm"] {
        for headers in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "https://evil.example")]] {
            let reply = sidecar.http().post_text(path, headers, "").await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
            assert!(reply.body.contains("from another site"), "{}", reply.body);
        }
    }
}

#[tokio::test]
async fn another_user_can_sign_in_for_the_same_request() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[]);
    browser.consent_page(&request).await;
    let reply = browser.post("/login/switch", &form(&[("request", &request)])).await;
    let page = browser.get(reply.header("location").unwrap()).await;
    assert!(page.body.contains("name=\"password\""));
    let reply = browser.get(&format!("/authorize?{request}")).await;
    assert!(reply.header("location").unwrap().starts_with("/login"), "the session has ended");
}
