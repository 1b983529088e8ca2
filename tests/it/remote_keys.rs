//! Clients whose keys are at a URL of theirs (`jwks_uri`).

use http::Method;
use scopegate::domain::client::{AuthenticationMethod, ClientMetadata, Introspects};
use serde_json::{Value, json};

use crate::client_authentication::{Key, Signer};
use crate::harness::{Answer, REDIRECT_URI, Sidecar, Site, document};

/// A client that publishes its keys on a site.
async fn signer<'s>(sidecar: &'s Sidecar, site: &Site) -> Signer<'s> {
    let metadata = ClientMetadata {
        token_endpoint_auth_method: Some(AuthenticationMethod::PrivateKeyJwt),
        jwks_uri: Some(site.url("/jwks").parse().unwrap()),
        ..ClientMetadata::default()
    };
    let id = sidecar.register(false, Introspects::Own, metadata).await.id;
    Signer { sidecar, id, key: Key::p256(), algorithm: "ES256" }
}

fn publish(site: &Site, keys: &[Value], headers: &[&str]) {
    site.serve("/jwks", document(headers, &json!({ "keys": keys }).to_string()));
}

impl Signer<'_> {
    /// The status of what it asks for, and how often the site was asked so far.
    async fn asks(&self, site: &Site) -> (u16, usize) {
        let reply = self.introspect(&self.good()).await;
        if reply.status == 401 {
            reply.assert_error(401, "invalid_client");
        }
        (reply.status.as_u16(), site.requests().len())
    }
}

#[tokio::test]
async fn a_client_changes_its_keys_where_it_publishes_them() {
    let site = Site::start().await;
    let sidecar = Sidecar::with(&site.allowed()).await;
    let mut signer = signer(&sidecar, &site).await;
    publish(&site, &[signer.key.public()], &["cache-control: max-age=3600"]);
    assert_eq!(signer.asks(&site).await, (200, 1));
    assert_eq!(signer.asks(&site).await, (200, 1));
    let before = std::mem::replace(&mut signer.key, Key::p256());
    publish(&site, &[signer.key.public()], &["cache-control: max-age=3600"]);
    // Not oftener than once a minute, whoever it is who signs with keys that are not there.
    assert_eq!(signer.asks(&site).await, (401, 1));
    sidecar.clock.advance(60);
    assert_eq!(signer.asks(&site).await, (200, 2));
    let now = std::mem::replace(&mut signer.key, before);
    assert_eq!(signer.asks(&site).await, (401, 2));
    signer.key = now;
    assert_eq!(signer.asks(&site).await, (200, 2));
    // A key that is withdrawn is good until what was read has grown old.
    publish(&site, &[Key::p256().public()], &["cache-control: max-age=31536000"]);
    sidecar.clock.advance(3_599);
    assert_eq!(signer.asks(&site).await, (200, 2));
    sidecar.clock.advance(1);
    assert_eq!(signer.asks(&site).await, (401, 3));
}

#[tokio::test]
async fn keys_are_kept_for_a_minute_at_least_and_a_day_at_most() {
    let site = Site::start().await;
    let sidecar = Sidecar::with(&site.allowed()).await;
    let signer = signer(&sidecar, &site).await;
    let mut asked = 0;
    for (header, seconds) in [
        ("cache-control: no-store", 60),
        ("cache-control: max-age=1", 60),
        ("x: y", 300),
        ("cache-control: max-age=31536000", 86_400),
    ] {
        publish(&site, &[signer.key.public()], &[header]);
        asked += 1;
        assert_eq!(signer.asks(&site).await, (200, asked), "{header}");
        sidecar.clock.advance(seconds - 1);
        assert_eq!(signer.asks(&site).await, (200, asked), "{header}");
        sidecar.clock.advance(1);
    }
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_unknown_and_bad_ones_are_none() {
    let site = Site::start().await;
    let sidecar = Sidecar::with(&format!("{}timeout = 300\n", site.allowed())).await;
    let signer = signer(&sidecar, &site).await;
    let mut private = signer.key.public();
    private["d"] = json!("AAAA");
    let raw = |text: &str| Answer::Raw(text.into());
    let mut asked = 0;
    for (answer, status) in [
        (Answer::Silence, 503),
        (raw("garbage\r\n\r\n"), 503),
        (raw("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"), 503),
        (raw("HTTP/1.1 429 Slowly\r\ncontent-length: 0\r\n\r\n"), 503),
        (raw("HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n"), 401),
        (raw(&format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", site.url("/other"))), 401),
        (document(&[], "[]"), 401),
        (document(&[], "no JSON"), 401),
        (document(&[], &json!({ "keys": [private] }).to_string()), 401),
        (document(&[], &" ".repeat(65 << 10)), 401),
        (Answer::Endless, 401),
    ] {
        site.serve("/jwks", answer);
        site.serve("/other", document(&[], &json!({ "keys": [signer.key.public()] }).to_string()));
        asked += 1;
        assert_eq!(signer.asks(&site).await, (status, asked));
        // For a while, the answer stays what it was.
        assert_eq!(signer.asks(&site).await, (status, asked));
        sidecar.clock.advance(60);
    }
    publish(&site, &[signer.key.public()], &[]);
    assert_eq!(signer.asks(&site).await, (200, asked + 1));
    // What is known holds while the site is away, and a signature by another key is neither right nor wrong.
    site.serve("/jwks", Answer::Silence);
    sidecar.clock.advance(60);
    let stranger = Signer { sidecar: &sidecar, id: signer.id.clone(), key: Key::p256(), algorithm: "ES256" };
    assert_eq!(stranger.asks(&site).await, (503, asked + 2));
    assert_eq!(signer.asks(&site).await, (200, asked + 2));
    assert!(site.requests().iter().all(|request| request.starts_with("GET /jwks HTTP/1.1\r\n")));
}

#[tokio::test]
async fn all_who_wait_for_the_same_keys_wait_for_one_request() {
    let site = Site::start().await;
    let sidecar = Sidecar::with(&site.allowed()).await;
    let signer = signer(&sidecar, &site).await;
    publish(&site, &[signer.key.public()], &[]);
    let all = futures_util::future::join_all((0..20).map(|_| signer.asks(&site))).await;
    assert!(all.iter().all(|asked| *asked == (200, 1)), "{all:?}");
}

#[tokio::test]
async fn n6_rg55_the_keys_of_a_registered_client_are_not_read_from_inside() {
    const OPEN: &str = "[registration]\nmode = 'open'\n";
    let site = Site::start().await;
    let body = json!({
        "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": site.url("/jwks"),
    });
    let json = [("content-type", "application/json")];
    let sidecar = Sidecar::with(&format!("{OPEN}[outgoing]\nca_path = '{}'\n", site.authority())).await;
    let reply = sidecar.http().send(Method::POST, "/register", &json, &body.to_string()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["jwks_uri"]), (201, &body["jwks_uri"]));
    let id = reply.json()["client_id"].as_str().unwrap().to_owned();
    let signer = Signer { sidecar: &sidecar, id, key: Key::p256(), algorithm: "ES256" };
    publish(&site, &[signer.key.public()], &[]);
    assert_eq!(signer.asks(&site).await, (401, 0));
    // Where nothing is called, nobody is promised that it is.
    let sidecar = Sidecar::with(&format!("{OPEN}[outgoing]\nenabled = false\n")).await;
    let reply = sidecar.http().send(Method::POST, "/register", &json, &body.to_string()).await;
    reply.assert_error(400, "invalid_client_metadata");
}
