//! Step-up authentication (RFC 9470): a resource asks for a sign-in that is recent, or of a class.

use http::StatusCode;
use scopegate::domain::client::GrantType;
use scopegate::proto::scopegate::v1 as api;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{PASSWORD, Sidecar, USERNAME, form, query_of};

/// What a resource asks of a token.
fn asks(token: &str, scopes: &[&str], acr_values: &[&str], max_age: Option<u32>) -> api::CheckScopesRequest {
    api::CheckScopesRequest {
        token: token.into(),
        required_scopes: scopes.iter().map(|&scope| scope.into()).collect(),
        acr_values: acr_values.iter().map(|&acr| acr.into()).collect(),
        max_age,
        ..Default::default()
    }
}

async fn check(sidecar: &Sidecar, request: api::CheckScopesRequest) -> api::CheckScopesResponse {
    sidecar.grpc().await.check_scopes(request).await.unwrap().into_inner()
}

async fn machine_token(sidecar: &Sidecar) -> String {
    let client = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    let body = [("grant_type", "client_credentials"), ("scope", "a")];
    sidecar.http().post_as(&client, "/token", &body).await.access_token()
}

#[tokio::test]
async fn a_token_of_a_sign_in_that_is_too_old_is_challenged_and_that_of_a_new_one_passes() {
    let sidecar = Sidecar::with("[openid]\nenabled = false\n[cache]\nanswer_ttl = 1000").await;
    let mut browser = sidecar.browser();
    let location = browser.approve(&sidecar.request(&[])).await;
    let old = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    sidecar.clock.advance(60);
    let allowed = check(&sidecar, asks(&old.access, &["a"], &[], Some(60))).await;
    assert_eq!((allowed.decision(), allowed.cache_ttl), (api::Decision::Allowed, None), "it is not so for long");
    sidecar.clock.advance(1);
    for cache_status in [api::CacheStatus::Local; 2] {
        let refused = check(&sidecar, asks(&old.access, &["a"], &[], Some(60))).await;
        assert_eq!(refused.decision(), api::Decision::InsufficientUserAuthentication);
        assert_eq!((refused.http_status, refused.cache_status()), (401, cache_status));
        assert_eq!(
            refused.www_authenticate,
            r#"Bearer error="insufficient_user_authentication", error_description="The user has to authenticate again, or in another way", max_age="60""#
        );
        assert!(refused.missing_scopes.is_empty());
    }
    let both = check(&sidecar, asks(&old.access, &["a", "c"], &[], Some(60))).await;
    assert_eq!(
        (both.decision(), both.missing_scopes),
        (api::Decision::InsufficientUserAuthentication, vec!["c".into()])
    );
    assert!(both.www_authenticate.ends_with(r#"max_age="60", scope="a c""#), "{}", both.www_authenticate);
    let unasked = check(&sidecar, asks(&old.access, &["a"], &[], None)).await;
    assert_eq!(unasked.decision(), api::Decision::Allowed);
    assert!(unasked.cache_ttl.is_some());

    // What the challenge says, the client asks for.
    let request = sidecar.request(&[("max_age", "60")]);
    let to_login = browser.get(&format!("/authorize?{request}")).await;
    assert!(to_login.header("location").unwrap().starts_with("/login?"), "{to_login:?}");
    let location = browser.approve(&request).await;
    let new = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    assert_eq!(check(&sidecar, asks(&new.access, &["a"], &[], Some(0))).await.decision(), api::Decision::Allowed);
    let refreshed = sidecar.refresh(&new.refresh).await.tokens();
    sidecar.clock.advance(61);
    for token in [&old.access, &refreshed.access] {
        let refused = check(&sidecar, asks(token, &[], &[], Some(60))).await;
        assert_eq!(refused.decision(), api::Decision::InsufficientUserAuthentication, "a refresh is no sign-in");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_the_class_of_its_sign_in() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    for acr_values in [&["1"][..], &["2", "1"]] {
        let allowed = check(&sidecar, asks(&tokens.access, &["a"], acr_values, Some(5))).await;
        assert_eq!(allowed.decision(), api::Decision::Allowed, "{acr_values:?}");
    }
    let refused = check(&sidecar, asks(&tokens.access, &["a"], &["2", "urn:gold"], None)).await;
    assert_eq!((refused.decision(), refused.http_status), (api::Decision::InsufficientUserAuthentication, 401));
    assert!(refused.www_authenticate.ends_with(r#", acr_values="2 urn:gold""#), "{}", refused.www_authenticate);
    let dead = check(&sidecar, asks("unknown", &["a"], &["2"], Some(0))).await;
    assert_eq!(dead.decision(), api::Decision::InactiveToken);
    for acr_values in [&["1 2"][..], &[""], &["\""], &["1\r\n"], &["x"; 17]] {
        let refused = sidecar.grpc().await.check_scopes(asks(&tokens.access, &[], acr_values, None)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{acr_values:?}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, "ACR_MALFORMED");
    }
}

#[tokio::test]
async fn a_machine_has_no_user_who_could_have_authenticated() {
    let sidecar = Sidecar::start().await;
    let token = machine_token(&sidecar).await;
    for (acr_values, max_age) in [(&["1"][..], None), (&[], Some(u32::MAX)), (&["1"], Some(5))] {
        let refused = check(&sidecar, asks(&token, &["a"], acr_values, max_age)).await;
        assert_eq!(refused.decision(), api::Decision::InsufficientUserAuthentication, "{acr_values:?} {max_age:?}");
    }
    assert_eq!(check(&sidecar, asks(&token, &["a"], &[], None)).await.decision(), api::Decision::Allowed);
    let answer = sidecar.introspect(&token).await;
    assert_eq!((answer.auth_time, answer.acr.as_str()), (0, ""));
}

#[tokio::test]
async fn introspection_says_when_and_how_the_user_signed_in() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    browser.consent_page(&sidecar.request(&[])).await;
    let signed_in_at = sidecar.now();
    sidecar.clock.advance(30);
    let location = browser.approve(&sidecar.request(&[])).await;
    let tokens = sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens();
    sidecar.clock.advance(30);
    for token in [&tokens.access, &tokens.refresh] {
        for _ in 0..2 {
            let answer = sidecar.introspect(token).await;
            assert_eq!((answer.auth_time, answer.acr.as_str()), (signed_in_at, "1"));
        }
        let body = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", token)]).await.json();
        assert_eq!((&body["auth_time"], &body["acr"]), (&signed_in_at.into(), &"1".into()));
    }
}

#[tokio::test]
async fn who_asks_for_a_class_that_nobody_can_have_is_told_so() {
    for (more, path) in [
        ("", "/.well-known/openid-configuration"),
        ("[openid]\nenabled = false", "/.well-known/oauth-authorization-server"),
    ] {
        let sidecar = Sidecar::with(more).await;
        assert_eq!(sidecar.http().get(path).await.json()["acr_values_supported"], serde_json::json!(["1"]));
        let mut browser = sidecar.browser();
        for signed_in in [false, true] {
            let reply = browser.get(&format!("/authorize?{}", sidecar.request(&[("acr_values", "2 3")]))).await;
            let error = query_of(reply.header("location").unwrap(), "error");
            assert_eq!(error.as_deref(), Some("unmet_authentication_requirements"), "signed in: {signed_in}");
            browser.consent_page(&sidecar.request(&[])).await;
        }
        let page = browser.get(&format!("/authorize?{}", sidecar.request(&[("acr_values", "2 1")]))).await;
        assert_eq!(page.status, StatusCode::OK, "one of them can be had");
    }
}

#[tokio::test]
async fn a_sign_in_for_another_request_is_none_for_this_one() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    browser.consent_page(&sidecar.request(&[])).await;
    sidecar.clock.advance(10);
    let request = sidecar.request(&[("max_age", "5"), ("acr_values", "1")]);
    let reply = browser.get(&format!("/authorize?{request}")).await;
    assert!(reply.header("location").unwrap().starts_with("/login?"), "the class does, the age does not");
    let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &request)]);
    let signed_in = browser.post("/login", &body).await;
    let page = browser.get(signed_in.header("location").unwrap()).await;
    assert!(page.body.contains("action=\"/consent\""), "{}", page.body);
}
