//! Requests that the server makes itself, and where they do not go.

use std::time::{Duration, Instant};

use scopegate::config::Layers;
use scopegate::effects::outgoing::{Document, MAX_BODY, Outgoing, OutgoingError};

use crate::harness::{Answer, SECRET, Site, document};

fn outgoing(more: &str) -> Outgoing {
    let text = format!("issuer = 'https://i'\n[keys]\nsecret = '{SECRET}'\n");
    let config = Layers::new().text(&text).unwrap().text(more).unwrap().build().unwrap();
    Outgoing::new(config.outgoing.policy().unwrap())
}

async fn get(outgoing: &Outgoing, url: &str) -> Result<Document, OutgoingError> {
    outgoing.get(&url.parse().unwrap(), "application/json", MAX_BODY).await
}

#[tokio::test]
async fn n6_rg55_without_the_operators_word_nothing_inside_is_connected_to() {
    let site = Site::start().await;
    site.serve("/x", document(&[], "{}"));
    let careful = outgoing(&format!("[outgoing]\nca_path = '{}'\n", site.authority()));
    let port = site.address.port();
    for host in ["127.0.0.1", "localhost", "2130706433", "127.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "[::]"] {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{port}/x");
            assert!(matches!(get(&careful, &url).await, Err(OutgoingError::Inside)), "{url}");
            let posted = careful.post_form(&url.parse().unwrap(), "a=b".into()).await;
            assert!(matches!(posted, Err(OutgoingError::Inside)), "{url}");
        }
    }
    assert_eq!(site.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn n6_rg55_a_redirect_is_an_answer_like_any_other_and_not_followed() {
    let (site, inside) = (Site::start().await, Site::start().await);
    let location = inside.url("/secret");
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    site.serve("/x", Answer::Raw(answer));
    let reply = get(&outgoing(&site.allowed()), &site.url("/x")).await.unwrap();
    assert_eq!(reply.status, 302);
    assert_eq!((site.requests().len(), inside.requests().len()), (1, 0));
}

#[tokio::test]
async fn what_is_sent_is_what_is_needed() {
    let site = Site::start().await;
    site.serve("/x?y=z", document(&["Cache-Control: max-age=60"], "{\"a\": 1}"));
    let outgoing = outgoing(&site.allowed());
    let reply = get(&outgoing, &site.url("/x?y=z")).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.media_type(), reply.lifetime()), (200, "application/json", 60));
    assert_eq!(reply.body, "{\"a\": 1}");
    let posted = outgoing.post_form(&site.url("/gone").parse().unwrap(), "a=b".into()).await.unwrap();
    assert_eq!(posted, 404);
    let agent = concat!("user-agent: scopegate/", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", site.address);
    let [got, posted] = &site.requests()[..] else { panic!("{:?}", site.requests()) };
    assert_eq!(got.lines().collect::<Vec<_>>(), ["GET /x?y=z HTTP/1.1", "accept: application/json", &host, agent, ""]);
    let form = "content-type: application/x-www-form-urlencoded";
    let lines: Vec<_> = posted.lines().collect();
    assert_eq!(lines, ["POST /gone HTTP/1.1", form, "accept: */*", &host, agent, "content-length: 3", "", "a=b"]);
}

#[tokio::test]
async fn only_a_trusted_certificate_for_the_very_host_will_do() {
    let (site, other) = (Site::start().await, Site::start().await);
    for (authority, host, trusted) in [
        (&site, "127.0.0.1", true),
        (&site, "localhost", true),
        (&site, "127.0.0.2", false),
        (&other, "127.0.0.1", false),
    ] {
        let more =
            format!("[outgoing]\nallowed_networks = ['127.0.0.0/8', '::1']\nca_path = '{}'\n", authority.authority());
        let reply = get(&outgoing(&more), &format!("https://{host}:{}/x", site.address.port())).await;
        match reply {
            Ok(reply) => assert!(trusted && reply.status == 404, "{host}"),
            Err(OutgoingError::Connection(_)) => assert!(!trusted, "{host}"),
            Err(error) => panic!("{host}: {error}"),
        }
    }
}

#[tokio::test]
async fn without_tls_only_listed_networks_are_called() {
    let site = Site::without_tls().await;
    let url = format!("http://{}/x", site.address);
    assert!(matches!(get(&outgoing(""), &url).await, Err(OutgoingError::Inside)));
    assert_eq!(get(&outgoing("[outgoing]\nallowed_networks = ['127.0.0.1']\n"), &url).await.unwrap().status, 404);
}

#[tokio::test]
async fn an_answer_that_is_too_long_too_slow_or_no_answer_is_none() {
    let site = Site::start().await;
    let many = (0..100).map(|number| format!("x-{number}: y")).collect::<Vec<_>>();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("x: {}", "y".repeat(40_000));
    site.serve("/full", document(&[], &"x".repeat(MAX_BODY)));
    site.serve("/fuller", document(&[], &"x".repeat(MAX_BODY + 1)));
    site.serve("/endless", Answer::Endless);
    site.serve("/silent", Answer::Silence);
    site.serve("/many", document(&many, "{}"));
    site.serve("/long", document(&[&long], "{}"));
    site.serve("/gzip", document(&["content-encoding: gzip"], "{}"));
    site.serve("/garbage", Answer::Raw("SSH-2.0-OpenSSH\r\n".into()));
    site.serve("/nothing", Answer::Raw(String::new()));
    site.serve("/broken", Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".into()));
    let outgoing = outgoing(&format!("{}timeout = 500\n", site.allowed()));
    assert_eq!(get(&outgoing, &site.url("/full")).await.unwrap().body.len(), MAX_BODY);
    let began = Instant::now();
    for (path, expected) in [
        ("/fuller", "the answer is longer than 65536 bytes"),
        ("/endless", "the answer is longer than 65536 bytes"),
        ("/silent", "there was no answer in time"),
        ("/many", "the exchange failed"),
        ("/long", "the exchange failed"),
        ("/gzip", "the answer is compressed, which was not asked for"),
        ("/garbage", "the exchange failed"),
        ("/nothing", "the exchange failed"),
        ("/broken", "the answer broke off"),
    ] {
        let error = get(&outgoing, &site.url(path)).await.expect_err(path).to_string();
        assert!(error.starts_with(expected), "{path}: {error}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
