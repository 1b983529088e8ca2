//! Clients whose id is the URL of a document about them (Client ID Metadata Documents).

use http::StatusCode;
use scopegate::service::clients::ClientError;
use serde_json::{Value, json};

use crate::client_authentication::{Key, Signer};
use crate::harness::{
    Answer, CHALLENGE, REDIRECT_URI, Registered, Reply, Sidecar, Site, VERIFIER, document, form, query_of,
};

const ON: &str = "[registration]\nclient_id_metadata_documents = true\n";
const PATH: &str = "/client.json";
const HOUR: i64 = 3_600;

/// A sidecar that takes such clients, and a site with one of them.
async fn start(more: &str) -> (Sidecar, Site, Registered) {
    let site = Site::start().await;
    let sidecar = Sidecar::with(&format!("{}{ON}{more}", site.allowed())).await;
    let client = Registered { id: site.url(PATH), secret: String::new() };
    publish(&site, PATH, json!({}));
    (sidecar, site, client)
}

/// Puts a document on the site.
fn publish(site: &Site, path: &str, other: Value) {
    let mut text = json!({
        "client_id": site.url(path), "client_name": "Assistant", "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "token_endpoint_auth_method": "none",
    });
    let Value::Object(other) = other else { panic!("{other}") };
    text.as_object_mut().unwrap().extend(other);
    site.serve(path, document(&["cache-control: max-age=900"], &text.to_string()));
}

fn status(status: &str) -> Answer {
    Answer::Raw(format!("HTTP/1.1 {status}\r\nlocation: /client.json\r\ncontent-length: 0\r\n\r\n"))
}

/// What an authorization request of a client gets.
async fn asks(sidecar: &Sidecar, id: &str) -> Reply {
    sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[("client_id", id)]))).await
}

/// Whether it is a client: then the user has to sign in.
async fn is_taken(sidecar: &Sidecar, id: &str) -> bool {
    let reply = asks(sidecar, id).await;
    if reply.status != StatusCode::SEE_OTHER {
        assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "{}", reply.body);
    }
    reply.status == StatusCode::SEE_OTHER
}

async fn redeem(sidecar: &Sidecar, client: &Registered) -> Reply {
    let location = sidecar.browser().approve(&sidecar.request(&[("client_id", &client.id)])).await;
    let code = query_of(&location, "code").unwrap_or_else(|| panic!("no code in {location}"));
    let redemption = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    sidecar.http().post_as(client, "/token", &redemption).await
}

#[tokio::test]
async fn c21_an_app_that_nobody_registered_is_what_its_document_says() {
    let (sidecar, site, client) = start("").await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let page = sidecar.browser().consent_page(&sidecar.request(&[("client_id", &client.id)])).await;
    assert!(page.body.contains("Assistant") && page.body.contains("nobody here has checked"), "{}", page.body);
    assert!(page.body.contains(&format!("<strong><bdi>{}</bdi></strong> says it is", site.address)), "{}", page.body);

    let tokens = redeem(&sidecar, &client).await.tokens();
    let introspected = sidecar.introspect(&tokens.access).await;
    assert_eq!((introspected.active, &introspected.client_id), (true, &client.id));
    assert_eq!(tokens.scope, "a b");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    let tokens = sidecar.http().post_as(&client, "/token", &refresh).await.tokens();
    let [request] = &site.requests()[..] else { panic!("{:?}", site.requests()) };
    assert!(request.starts_with(&format!("GET {PATH} HTTP/1.1\r\naccept: application/json\r\n")), "{request}");
    // What a registration gets no grant type for, a document gets none for either.
    let device = sidecar.http().post_as(&client, "/device_authorization", &[]).await;
    device.assert_error(400, "unauthorized_client");
    sidecar.http().post_as(&client, "/revoke", &[("token", &tokens.refresh)]).await;
    assert!(!sidecar.is_active(&tokens.access).await);
}

#[tokio::test]
async fn n5_documents_are_read_only_where_that_is_configured_and_for_the_hosts_that_are() {
    let site = Site::start().await;
    publish(&site, PATH, json!({}));
    for more in ["", &format!("{ON}client_id_hosts = ['app.example', 'localhost']\n")] {
        let sidecar = Sidecar::with(&format!("{}{more}", site.allowed())).await;
        assert!(!is_taken(&sidecar, &site.url(PATH)).await, "{more}");
        let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
        assert_eq!(metadata.get("client_id_metadata_document_supported").is_some(), !more.is_empty());
    }
    assert_eq!(site.requests().len(), 0);
    let sidecar = Sidecar::with(&format!("{}{ON}client_id_hosts = ['127.0.0.1']\n", site.allowed())).await;
    assert!(is_taken(&sidecar, &site.url(PATH)).await);
}

#[tokio::test]
async fn n6_rg55_documents_are_not_read_from_inside_nor_from_elsewhere() {
    let (site, inside) = (Site::start().await, Site::start().await);
    publish(&site, PATH, json!({}));
    let sidecar = Sidecar::with(&format!("[outgoing]\nca_path = '{}'\n{ON}", site.authority())).await;
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]"] {
        let id = format!("https://{host}:{}{PATH}", site.address.port());
        assert!(!is_taken(&sidecar, &id).await, "{id}");
    }
    assert_eq!(site.requests().len(), 0);
    let (sidecar, site, client) = start("").await;
    let location = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inside.url(PATH));
    site.serve(PATH, Answer::Raw(location));
    assert!(!is_taken(&sidecar, &client.id).await);
    assert_eq!((site.requests().len(), inside.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_document_that_is_not_right_makes_nobody_a_client_and_is_not_remembered() {
    let (sidecar, site, client) = start("").await;
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}";
    for answer in [
        status("404 Not Found"),
        status("301 Moved Permanently"),
        status("204 No Content"),
        Answer::Raw(html.into()),
        document(&[], "[]"),
        document(&[], &" ".repeat((5 << 10) + 1)),
        Answer::Endless,
    ] {
        site.serve(PATH, answer);
        assert!(!is_taken(&sidecar, &client.id).await);
    }
    for other in [
        json!({ "client_id": "https://app.example/client.json" }),
        json!({ "client_id": site.url("/client.json?") }),
        json!({ "client_secret": "x" }),
        json!({ "token_endpoint_auth_method": "client_secret_basic" }),
        json!({ "token_endpoint_auth_method": "private_key_jwt" }),
        json!({ "redirect_uris": [] }),
        json!({ "redirect_uris": ["http://app.example/cb"] }),
        json!({ "redirect_uris": [REDIRECT_URI, "javascript:alert(1)"] }),
        json!({ "response_types": ["token"] }),
        json!({ "grant_types": ["client_credentials"] }),
        json!({ "scope": "admin" }),
    ] {
        publish(&site, PATH, other.clone());
        assert!(!is_taken(&sidecar, &client.id).await, "{other}");
    }
    assert_eq!(sidecar.database().await.count("clients WHERE document_read_at IS NOT NULL").await, 0);
    publish(&site, PATH, json!({ "redirect_uris": ["https://app.example/cb"] }));
    assert!(!is_taken(&sidecar, &client.id).await, "it is a client, and may not return to where it says");
    assert_eq!(sidecar.database().await.count("clients WHERE document_read_at IS NOT NULL").await, 1);
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_a_fault() {
    let site = Site::start().await;
    let sidecar = Sidecar::with(&format!("{}timeout = 300\n{ON}", site.allowed())).await;
    let id = site.url(PATH);
    for answer in [Answer::Silence, status("500 Oh"), status("429 Slowly"), Answer::Raw("garbage\r\n\r\n".into())] {
        site.serve(PATH, answer);
        assert_eq!(asks(&sidecar, &id).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    publish(&site, PATH, json!({}));
    assert!(is_taken(&sidecar, &id).await);
}

#[tokio::test]
async fn a_changed_document_counts_when_the_one_that_was_read_is_old() {
    let (sidecar, site, client) = start("").await;
    let tokens = redeem(&sidecar, &client).await.tokens();
    publish(&site, PATH, json!({ "client_name": "Other", "redirect_uris": ["https://app.example/cb"], "scope": "a" }));
    sidecar.clock.advance(899);
    assert!(is_taken(&sidecar, &client.id).await);
    sidecar.clock.advance(1);
    assert!(!is_taken(&sidecar, &client.id).await, "the redirect URI is not that of the document any more");
    let request = [("client_id", client.id.as_str()), ("redirect_uri", "https://app.example/cb"), ("scope", "a")];
    assert!(sidecar.browser().consent_page(&sidecar.request(&request)).await.body.contains("Other"));
    site.serve(PATH, status("410 Gone"));
    sidecar.clock.advance(900);
    assert!(!is_taken(&sidecar, &client.id).await);
    // Who has granted it something has not taken that back.
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    sidecar.http().post_as(&client, "/token", &refresh).await.tokens();
}

#[tokio::test]
async fn a_client_with_keys_pushes_its_request_and_signs() {
    let (sidecar, site, client) = start("").await;
    let signer = Signer { sidecar: &sidecar, id: client.id.clone(), key: Key::p256(), algorithm: "ES256" };
    let keys = json!({ "keys": [signer.key.public()] });
    site.serve("/jwks", document(&[], &keys.to_string()));
    let stranger = Signer { sidecar: &sidecar, id: client.id.clone(), key: Key::p256(), algorithm: "ES256" };
    let method = "private_key_jwt";
    for named in [
        json!({ "token_endpoint_auth_method": method, "jwks": keys }),
        json!({ "token_endpoint_auth_method": method, "jwks_uri": site.url("/jwks") }),
    ] {
        publish(&site, PATH, named);
        sidecar.clock.advance(HOUR);
        for (signer, status) in [(&stranger, 401), (&signer, 201)] {
            let assertion = signer.good();
            let push = [
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", &assertion),
                ("response_type", "code"),
                ("redirect_uri", REDIRECT_URI),
                ("scope", "a"),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ];
            let reply = sidecar.http().post("/par", &push).await;
            assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
            if status == 201 {
                let uri = reply.json()["request_uri"].as_str().unwrap().to_owned();
                let query = form(&[("client_id", &client.id), ("request_uri", &uri)]);
                let location = sidecar.browser().approve(&query).await;
                let (code, assertion) = (query_of(&location, "code").unwrap(), signer.good());
                let redemption = [
                    &push[..1],
                    &[
                        ("client_assertion", assertion.as_str()),
                        ("grant_type", "authorization_code"),
                        ("code", &code),
                        ("redirect_uri", REDIRECT_URI),
                        ("code_verifier", VERIFIER),
                    ],
                ];
                let tokens = sidecar.http().post("/token", &redemption.concat()).await.tokens();
                assert!(sidecar.is_active(&tokens.access).await);
            }
        }
    }
}

#[tokio::test]
async fn n5_x12_documents_have_a_rate_and_clients_by_documents_an_end() {
    let (sidecar, site, _) = start("documents_per_hour = 3\nmax_clients = 2\n").await;
    let paths: Vec<String> = (0..5).map(|number| format!("/{number}")).collect();
    for path in &paths {
        publish(&site, path, json!({}));
    }
    assert!(is_taken(&sidecar, &site.url(&paths[0])).await && is_taken(&sidecar, &site.url(&paths[1])).await);
    // There are as many as there may be, and then as many were read as may be.
    for (path, requests) in [(&paths[2], 3), (&paths[3], 3)] {
        assert_eq!(asks(&sidecar, &site.url(path)).await.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(site.requests().len(), requests);
    }
    assert!(is_taken(&sidecar, &site.url(&paths[0])).await, "those that are known are not concerned");
    assert_eq!(sidecar.database().await.count("clients WHERE document_read_at IS NOT NULL").await, 2);
}

#[tokio::test]
async fn only_who_asks_for_an_authorization_has_a_document_read() {
    let (sidecar, site, client) = start("").await;
    let http = sidecar.http();
    for (path, more) in [
        ("/token", vec![("grant_type", "authorization_code"), ("code", "x"), ("code_verifier", VERIFIER)]),
        ("/revoke", vec![("token", "x")]),
        ("/device_authorization", vec![]),
    ] {
        http.post_as(&client, path, &more).await.assert_error(401, "invalid_client");
    }
    let request = sidecar.request(&[("client_id", &client.id)]);
    let page = http.get(&format!("/login?{}", form(&[("request", &request)]))).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.requests().len(), 0);
}

#[tokio::test]
async fn a_client_by_document_is_forgotten_without_a_grant_and_kept_out_when_disabled() {
    let (sidecar, site, used) = start("").await;
    for path in ["/unused", "/bad"] {
        publish(&site, path, json!({}));
        assert!(is_taken(&sidecar, &site.url(path)).await);
    }
    let tokens = redeem(&sidecar, &used).await.tokens();
    let bad = site.url("/bad").parse().unwrap();
    sidecar.service.disable_client(site.url("/bad").parse().unwrap()).await.unwrap();
    sidecar.clock.advance(2 * HOUR - 1);
    sidecar.service.prune().await.unwrap();
    sidecar.service.client(site.url("/unused").parse().unwrap()).await.unwrap();
    sidecar.clock.advance(60);
    sidecar.service.prune().await.unwrap();
    let gone = sidecar.service.client(site.url("/unused").parse().unwrap()).await;
    assert!(matches!(gone, Err(ClientError::Unknown(_))));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    sidecar.http().post_as(&used, "/token", &refresh).await.tokens();
    let requests = site.requests().len();
    assert!(!is_taken(&sidecar, &site.url("/bad")).await);
    assert!(sidecar.service.client(bad).await.unwrap().disabled_at.is_some());
    assert_eq!(site.requests().len(), requests, "and nothing is read for it");
    assert!(is_taken(&sidecar, &site.url("/unused")).await);
}
