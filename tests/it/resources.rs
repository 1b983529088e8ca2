//! Resource indicators (RFC 8707), protected resource metadata (RFC 9728), and introspection by the resource that is asked.

use http::StatusCode;
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::clients::{ClientError, NewClient};
use serde_json::json;

use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, Tokens, VERIFIER, basic, form, query_of};

const ORDERS: &str = "https://api.example/orders";
const MAIL: &str = "https://mail.example";
const KNOWN: &str = "[resources.catalogue]\n'https://api.example/orders' = ['a']\n'https://mail.example' = []";

/// The query of an authorization request for resources.
fn request_for(sidecar: &Sidecar, resources: &[&str]) -> String {
    let resources = resources.iter().map(|resource| format!("resource={resource}"));
    std::iter::once(sidecar.request(&[])).chain(resources).collect::<Vec<_>>().join("&")
}

async fn redeem(sidecar: &Sidecar, code: &str, resources: &[&str]) -> Reply {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    form.extend(resources.iter().map(|resource| ("resource", *resource)));
    sidecar.http().post_as(&sidecar.shop, "/token", &form).await
}

async fn refresh(sidecar: &Sidecar, token: &str, more: &[(&str, &str)]) -> Reply {
    let form = [&[("grant_type", "refresh_token"), ("refresh_token", token)], more].concat();
    sidecar.http().post_as(&sidecar.shop, "/token", &form).await
}

async fn tokens_for(sidecar: &Sidecar, resources: &[&str]) -> Tokens {
    redeem(sidecar, &sidecar.code_for(&request_for(sidecar, resources)).await, &[]).await.tokens()
}

async fn check_at(sidecar: &Sidecar, token: &str, audience: &str) -> api::CheckScopesResponse {
    let request = api::CheckScopesRequest {
        token: token.into(),
        required_audiences: vec![audience.into()],
        ..Default::default()
    };
    sidecar.grpc().await.check_scopes(request).await.unwrap().into_inner()
}

async fn resource_server(sidecar: &Sidecar, resource: &str) -> Result<Registered, ClientError> {
    let new = NewClient {
        name: "API".into(),
        redirect_uris: vec![],
        scopes: "a".parse().unwrap(),
        public: false,
        introspects: Introspects::Own,
        metadata: ClientMetadata { resources: vec![resource.into()], ..ClientMetadata::default() },
    };
    let (client, secret) = sidecar.service.create_client(new).await?;
    Ok(Registered { id: client.id.to_string(), secret: secret.unwrap().expose().into() })
}

#[tokio::test]
async fn a41_a_resource_that_is_malformed_or_unknown_goes_back_as_invalid_target() {
    let sidecar = Sidecar::with(KNOWN).await;
    for bad in ["orders", "https://mail.example%23x", "https://mail.example/", "https://other.example"] {
        let reply = sidecar.http().get(&format!("/authorize?{}", request_for(&sidecar, &[MAIL, bad]))).await;
        let location = reply.header("location").unwrap();
        assert_eq!(query_of(location, "error").as_deref(), Some("invalid_target"), "{bad}");
        assert_eq!(query_of(location, "state").as_deref(), Some("xyz"));
    }
    let twice = format!("{}&scope=a", request_for(&sidecar, &[MAIL]));
    let reply = sidecar.http().get(&format!("/authorize?{twice}")).await;
    let error = query_of(reply.header("location").unwrap(), "error");
    assert_eq!(error.as_deref(), Some("invalid_request"), "a21: nothing else may be repeated");
}

#[tokio::test]
async fn without_a_catalogue_any_resource_will_do() {
    let sidecar = Sidecar::start().await;
    let tokens = tokens_for(&sidecar, &["urn:example:api"]).await;
    assert_eq!(sidecar.introspect(&tokens.access).await.aud, ["urn:example:api"]);
    let answer = check_at(&sidecar, &tokens.access, "urn:example:api").await;
    assert_eq!(answer.decision(), api::Decision::Allowed);
}

#[tokio::test]
async fn i6_a_token_names_its_resources_and_is_refused_by_others() {
    let sidecar = Sidecar::with(KNOWN).await;
    let tokens = tokens_for(&sidecar, &[ORDERS, MAIL]).await;
    assert_eq!(sidecar.introspect(&tokens.access).await.aud, [ORDERS, MAIL]);
    let http = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &tokens.access)]).await;
    assert_eq!(http.json()["aud"], json!([ORDERS, MAIL]));
    assert_eq!(check_at(&sidecar, &tokens.access, ORDERS).await.decision(), api::Decision::Allowed);
    let mail =
        redeem(&sidecar, &sidecar.code_for(&request_for(&sidecar, &[ORDERS, MAIL])).await, &[MAIL]).await.tokens();
    assert_eq!((sidecar.introspect(&mail.access).await.aud, mail.scope.as_str()), (vec![MAIL.to_owned()], "a b"));
    let refused = check_at(&sidecar, &mail.access, ORDERS).await;
    assert_eq!((refused.decision(), refused.http_status), (api::Decision::InvalidAudience, 401));
    assert!(
        refused
            .www_authenticate
            .ends_with(r#", resource_metadata="https://api.example/.well-known/oauth-protected-resource/orders""#),
        "{}",
        refused.www_authenticate
    );
    let unrestricted = sidecar.tokens().await;
    assert_eq!(check_at(&sidecar, &unrestricted.access, MAIL).await.decision(), api::Decision::InvalidAudience);
    let inactive = check_at(&sidecar, "unknown", MAIL).await;
    assert!(inactive.www_authenticate.contains("https://mail.example/.well-known/oauth-protected-resource\""));
}

#[tokio::test]
async fn f8_f9_a_refresh_narrows_to_granted_resources_and_widens_again() {
    let sidecar = Sidecar::with(KNOWN).await;
    let code = sidecar.code_for(&request_for(&sidecar, &[ORDERS, MAIL])).await;
    for bad in ["https://other.example", "x"] {
        redeem(&sidecar, &code, &[bad]).await.assert_error(400, "invalid_target");
    }
    let all = redeem(&sidecar, &code, &[]).await.tokens();
    let orders = refresh(&sidecar, &all.refresh, &[("resource", ORDERS)]).await.tokens();
    assert_eq!(sidecar.introspect(&orders.access).await.aud, [ORDERS]);
    assert_eq!(orders.scope, "a", "the other scope does not belong to it");
    let refused = refresh(&sidecar, &orders.refresh, &[("resource", ORDERS), ("scope", "b")]).await;
    refused.assert_error(400, "invalid_target");
    let again = refresh(&sidecar, &orders.refresh, &[("resource", ORDERS), ("resource", MAIL)]).await.tokens();
    assert_eq!((sidecar.introspect(&again.access).await.aud.len(), again.scope.as_str()), (2, "a b"));
    assert_eq!(sidecar.introspect(&again.refresh).await.aud, [ORDERS, MAIL]);
    let unrestricted = sidecar.tokens().await;
    let refused = refresh(&sidecar, &unrestricted.refresh, &[("resource", MAIL)]).await;
    refused.assert_error(400, "invalid_target");
}

#[tokio::test]
async fn i3_a_resource_sees_the_access_tokens_that_are_meant_for_it_and_no_others() {
    let sidecar = Sidecar::with(KNOWN).await;
    let (orders, mail) =
        (resource_server(&sidecar, ORDERS).await.unwrap(), resource_server(&sidecar, MAIL).await.unwrap());
    let for_orders = tokens_for(&sidecar, &[ORDERS]).await;
    let unrestricted = sidecar.tokens().await;
    for (caller, token, seen) in [
        (&orders, &for_orders.access, true),
        (&mail, &for_orders.access, false),
        (&orders, &for_orders.refresh, false),
        (&orders, &unrestricted.access, false),
        (&sidecar.shop, &for_orders.access, true),
        (&sidecar.shop, &for_orders.refresh, true),
    ] {
        let answer = sidecar.http().post_as(caller, "/introspect", &[("token", token)]).await.json();
        assert_eq!(answer["active"], seen);
        assert!(seen || answer == json!({ "active": false }));
    }
    assert!(matches!(resource_server(&sidecar, "https://other.example").await, Err(ClientError::Resource(_))));
}

#[tokio::test]
async fn the_user_is_told_at_which_resources_the_app_may_use_what_it_gets() {
    let sidecar = Sidecar::start().await;
    let resources =
        ["https://bank.example@api.example:8443/orders?x=1%262", "https://mail.example", "urn:example:files"];
    let encoded = form(&resources.map(|resource| ("resource", resource)));
    let page = sidecar.browser().consent_page(&format!("{}&{encoded}", sidecar.request(&[]))).await;
    let shown = |page: &str| -> Vec<String> {
        page.split("<li><strong>").skip(1).map(|rest| rest.split('<').next().unwrap().replace("&#x2f;", "/")).collect()
    };
    let expected = ["api.example:8443/orders?x=1%262", "mail.example", "urn:example:files"];
    assert_eq!(shown(&page.body), expected, "{}", page.body);
    let anywhere = sidecar.browser().consent_page(&sidecar.request(&[])).await;
    assert!(!anywhere.body.contains("only at"), "{}", anywhere.body);

    let client = sidecar.register_for(&[GrantType::DeviceCode]).await;
    let device = format!("scope=a&{encoded}");
    let reply = sidecar
        .http()
        .post_text("/device_authorization", &[("authorization", &basic(&client.id, &client.secret))], &device)
        .await;
    let mut browser = sidecar.browser();
    browser.approve(&sidecar.request(&[])).await;
    let code = reply.json()["user_code"].as_str().unwrap().to_owned();
    let page = browser.get(&format!("/device?user_code={code}")).await;
    assert_eq!(shown(&page.body), expected, "{}", page.body);
}

#[tokio::test]
async fn the_metadata_of_a_resource_is_at_its_path() {
    let sidecar = Sidecar::with(KNOWN).await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    let orders = sidecar.http().get("/.well-known/oauth-protected-resource/orders").await;
    assert_eq!((orders.status, orders.header("content-type")), (StatusCode::OK, Some("application/json")));
    assert_eq!(
        orders.json(),
        json!({
            "resource": ORDERS, "authorization_servers": [issuer], "scopes_supported": ["a"],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256", "Ed25519", "EdDSA", "RS256", "PS256"],
        })
    );
    let mail = sidecar.http().get("/.well-known/oauth-protected-resource").await.json();
    assert_eq!((&mail["resource"], &mail["scopes_supported"]), (&json!(MAIL), &json!(null)), "d3");
    let none = sidecar.http().get("/.well-known/oauth-protected-resource/other").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let server = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(server["protected_resources"], json!([ORDERS, MAIL]));
}

#[tokio::test]
async fn a_resource_that_introspects_sees_what_is_meant_for_it_alone() {
    let sidecar = Sidecar::with(KNOWN).await;
    let (orders, plain) = (tokens_for(&sidecar, &[ORDERS]).await, sidecar.tokens().await);
    let mut grpc = sidecar.grpc().await;
    for (what, token, resource, active) in [
        ("its own", &orders.access, ORDERS, true),
        ("another's", &orders.access, MAIL, false),
        ("bytes count", &orders.access, "https://api.example/orders/", false),
        ("no URI", &orders.access, "orders", false),
        ("nobody asks", &orders.access, "", true),
        ("it names no resource", &plain.access, ORDERS, false),
        ("nobody asks", &plain.access, "", true),
        ("it is for the client alone", &orders.refresh, ORDERS, false),
        ("nobody asks", &orders.refresh, "", true),
    ] {
        let request = api::IntrospectRequest { token: token.clone(), resource: resource.into(), ..Default::default() };
        let one = grpc.introspect(request.clone()).await.unwrap().into_inner();
        assert_eq!(one.active, active, "{what}");
        if !active {
            let nothing = api::IntrospectResponse {
                cache_status: one.cache_status,
                consistency_token: one.consistency_token.clone(),
                ..Default::default()
            };
            assert_eq!(one, nothing, "{what}");
        }
        let batch = api::BatchIntrospectRequest { requests: vec![request] };
        let results = grpc.batch_introspect(batch).await.unwrap().into_inner().results;
        match results[0].result.as_ref().unwrap() {
            api::batch_introspect_result::Result::Response(response) => assert_eq!(response.active, active, "{what}"),
            api::batch_introspect_result::Result::Error(error) => panic!("{what}: {error:?}"),
        }
    }
}
