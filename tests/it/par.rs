//! Pushed authorization requests (RFC 9126).

use http::StatusCode;
use scopegate::domain::client::ClientMetadata;
use scopegate::store::ClientChanges;

use crate::harness::{
    CHALLENGE, REDIRECT_URI, Registered, Reply, Sidecar, encode, form, hidden_fields, query_of, ticked_scopes,
};

const REQUEST: [(&str, &str); 6] = [
    ("response_type", "code"),
    ("redirect_uri", REDIRECT_URI),
    ("scope", "a b"),
    ("state", "pushed"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

async fn push(sidecar: &Sidecar, client: &Registered, more: &[(&str, &str)]) -> Reply {
    let mut request = REQUEST.to_vec();
    request.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    request.extend(more);
    sidecar.http().post_as(client, "/par", &request).await
}

/// The query of an authorization request that was pushed.
async fn pushed(sidecar: &Sidecar, client: &Registered) -> String {
    let reply = push(sidecar, client, &[]).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    let json = reply.json();
    form(&[("client_id", &client.id), ("request_uri", json["request_uri"].as_str().unwrap())])
}

async fn assert_page(sidecar: &Sidecar, query: &str) {
    let reply = sidecar.http().get(&format!("/authorize?{query}")).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "{query}");
}

async fn require_pushing(sidecar: &Sidecar) {
    let metadata = ClientMetadata { require_pushed_authorization_requests: true, ..ClientMetadata::default() };
    let changes = ClientChanges { metadata: Some(metadata), ..ClientChanges::default() };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
}

#[tokio::test]
async fn a_pushed_request_leads_to_tokens_and_what_else_is_in_the_query_does_not_count() {
    let sidecar = Sidecar::start().await;
    let reply = push(&sidecar, &sidecar.shop, &[]).await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::CREATED, Some("no-store")));
    let json = reply.json();
    assert_eq!(json["expires_in"], 600);
    let uri = json["request_uri"].as_str().unwrap();
    assert!(uri.len() == 34 + 43 && uri.starts_with("urn:ietf:params:oauth:request_uri:"), "{uri}");
    let query = form(&[
        ("client_id", &sidecar.shop.id),
        ("request_uri", uri),
        ("scope", "c"),
        ("state", "query"),
        ("redirect_uri", "https://evil.example"),
    ]);
    let location = sidecar.browser().approve(&query).await;
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    assert_eq!(query_of(&location, "state").as_deref(), Some("pushed"));
    assert_eq!(sidecar.redeem(&query_of(&location, "code").unwrap()).await.tokens().scope, "a b");
}

#[tokio::test]
async fn a39_a_request_uri_is_good_for_one_decision_of_its_own_client() {
    let sidecar = Sidecar::start().await;
    let query = pushed(&sidecar, &sidecar.shop).await;
    assert_page(&sidecar, &query.replace(&sidecar.shop.id, &sidecar.app.id)).await;
    assert_page(&sidecar, &format!("{query}x")).await;
    assert_page(&sidecar, &format!("{query}&{}", query.split_once('&').unwrap().1)).await;
    // Two tabs: whichever decides first.
    let (mut one, mut two) = (sidecar.browser(), sidecar.browser());
    let pages = [one.consent_page(&query).await.body, two.consent_page(&query).await.body];
    let decision = |page: &str, decision: &str| {
        encode(&[hidden_fields(page), ticked_scopes(page), vec![("decision".into(), decision.into())]].concat())
    };
    let denied = one.post("/consent", &decision(&pages[0], "deny")).await;
    assert_eq!(query_of(denied.header("location").unwrap(), "error").as_deref(), Some("access_denied"));
    let late = two.post("/consent", &decision(&pages[1], "approve")).await;
    assert_eq!((late.status, late.header("location")), (StatusCode::BAD_REQUEST, None));
    assert_page(&sidecar, &query).await;
}

#[tokio::test]
async fn a39_a_request_uri_expires_but_not_under_an_open_consent_page() {
    let sidecar = Sidecar::with("[par]\nlifetime = 60").await;
    let query = pushed(&sidecar, &sidecar.shop).await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&query).await.body;
    sidecar.clock.advance(60);
    assert_page(&sidecar, &query).await;
    let fields = [hidden_fields(&page), ticked_scopes(&page), vec![("decision".into(), "approve".into())]].concat();
    let reply = browser.post("/consent", &encode(&fields)).await;
    assert!(query_of(reply.header("location").unwrap(), "code").is_some());
}

#[tokio::test]
async fn a40_who_has_to_push_cannot_ask_in_the_query() {
    let sidecar = Sidecar::start().await;
    require_pushing(&sidecar).await;
    let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[]))).await;
    assert_eq!(query_of(reply.header("location").unwrap(), "error").as_deref(), Some("invalid_request"));
    sidecar.code_for(&pushed(&sidecar, &sidecar.shop).await).await;
    let other = sidecar.request(&[("client_id", &sidecar.app.id)]);
    sidecar.code_for(&other).await;

    let sidecar = Sidecar::with("[par]\nrequired = true").await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
    assert!(metadata["pushed_authorization_request_endpoint"].as_str().unwrap().ends_with("/par"));
    let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[]))).await;
    assert_eq!(query_of(reply.header("location").unwrap(), "error").as_deref(), Some("invalid_request"));
    sidecar.code_for(&pushed(&sidecar, &sidecar.app).await).await;
}

#[tokio::test]
async fn a_bad_request_is_refused_when_it_is_pushed() {
    let sidecar = Sidecar::start().await;
    for (name, value, error) in [
        ("redirect_uri", "https://evil.example", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "d", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("resource", "x", "invalid_target"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
        ("client_id", "other", "invalid_request"),
    ] {
        push(&sidecar, &sidecar.shop, &[(name, value)]).await.assert_error(400, error);
    }
    push(&sidecar, &sidecar.shop, &[("state", &"x".repeat(20_000))]).await.assert_error(413, "invalid_request");
    let wrong = Registered { id: sidecar.shop.id.clone(), secret: "wrong".into() };
    push(&sidecar, &wrong, &[]).await.assert_error(401, "invalid_client");
    let nameless = Registered { id: sidecar.shop.id.clone(), secret: String::new() };
    push(&sidecar, &nameless, &[]).await.assert_error(401, "invalid_client");
    assert_eq!(sidecar.http().get("/par").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn x4_no_secret_and_no_request_uri_is_stored_and_what_expired_goes() {
    let sidecar = Sidecar::start().await;
    let secret = [("client_id", sidecar.shop.id.as_str()), ("client_secret", &sidecar.shop.secret)];
    let reply = sidecar.http().post("/par", &[&REQUEST[..], &secret].concat()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    let json = reply.json();
    let name = json["request_uri"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let mut database = sidecar.database().await;
    for (text, expected) in [(sidecar.shop.secret.as_str(), 0), (&name, 0), (CHALLENGE, 1)] {
        assert_eq!(database.count(&format!("pushed_requests WHERE request LIKE '%{text}%'")).await, expected);
    }
    sidecar.clock.advance(600 + 3_600 + 61);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("pushed_requests").await, 0);
}
