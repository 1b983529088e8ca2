//! What proxies in front say they were asked for: `X-Forwarded-Proto` and `Forwarded` (RFC 7239). No URL is made of it; a request that
//! came to them without TLS is not served where the issuer is https.

use http::{Method, StatusCode};

use crate::harness::{Authority, Front, Http, Reply, Sidecar, basic, query_of};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const HTTPS: &str = "issuer = 'https://auth.example'\n[http]\ntrusted_proxies = ['127.0.0.1']\n";

async fn metadata(http: &Http, headers: &[(&str, &str)]) -> Reply {
    http.send(Method::GET, METADATA, headers, "").await
}

#[tokio::test]
async fn a_browser_that_came_to_the_proxy_without_tls_is_sent_to_it() {
    let sidecar = Sidecar::with(HTTPS).await;
    let path = format!("/authorize?{}", sidecar.request(&[]));
    for method in [Method::GET, Method::HEAD] {
        let reply = sidecar.http().send(method, &path, &[("x-forwarded-proto", "http")], "").await;
        assert_eq!(reply.status, StatusCode::PERMANENT_REDIRECT);
        assert_eq!(reply.header("location"), Some(&*format!("https://auth.example{path}")));
        assert_eq!(reply.header("strict-transport-security"), None, "RFC 6797 §7.2");
        assert_eq!(reply.header("set-cookie"), None);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    let reply = sidecar.http().send(Method::GET, "//evil.example/x", &[("x-forwarded-proto", "http")], "").await;
    assert_eq!(reply.header("location"), Some("https://auth.example//evil.example/x"));
}

#[tokio::test]
async fn a_client_whose_secret_came_without_tls_is_told_so_and_gets_nothing() {
    let sidecar = Sidecar::with(HTTPS).await;
    let tokens = sidecar.tokens().await;
    let in_clear = ("x-forwarded-proto", "http");
    let credentials = basic(&sidecar.shop.id, &sidecar.shop.secret);
    let form = format!("grant_type=refresh_token&refresh_token={}", tokens.refresh);
    for (path, body) in
        [("/token", form.as_str()), ("/introspect", "token=x"), ("/login", "username=ann"), ("/nowhere", "")]
    {
        let headers = [("authorization", credentials.as_str()), in_clear];
        let reply = sidecar.http().post_text(path, &headers, body).await;
        reply.assert_error(400, "invalid_request");
        assert!(reply.body.contains("TLS is required"), "{}", reply.body);
        assert_eq!(reply.header("location"), None);
    }
    let bearer = format!("Bearer {}", tokens.access);
    let reply = sidecar.http().send(Method::GET, "/userinfo", &[("authorization", &bearer), in_clear], "").await;
    reply.assert_error(400, "invalid_request");
    // The refresh token was not used up.
    sidecar.refresh(&tokens.refresh).await.tokens();
}

#[tokio::test]
async fn what_the_proxy_says_last_counts_and_what_is_not_https_is_none() {
    let sidecar = Sidecar::with(HTTPS).await;
    for (headers, status) in [
        (&[][..], 200),
        (&[("x-forwarded-proto", "https")], 200),
        (&[("x-forwarded-proto", "HTTPS")], 200),
        (&[("x-forwarded-proto", "http, https")], 200),
        (&[("x-forwarded-proto", "https, http")], 308),
        (&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], 308),
        (&[("x-forwarded-proto", "")], 308),
        (&[("x-forwarded-proto", "ws")], 308),
        // It speaks another language.
        (&[("forwarded", "proto=http")], 200),
        (&[("x-forwarded-proto", "http"), ("forwarded", "proto=https")], 308),
    ] {
        assert_eq!(metadata(&sidecar.http(), headers).await.status.as_u16(), status, "{headers:?}");
    }
    let sidecar = Sidecar::with(&format!("{HTTPS}client_address_header = 'Forwarded'")).await;
    for (headers, status) in [
        (&[("forwarded", "for=203.0.113.1;proto=http")][..], 308),
        (&[("forwarded", "for=203.0.113.1;proto=https")], 200),
        (&[("forwarded", "proto=https, for=203.0.113.1;proto=http")], 308),
        (&[("forwarded", "for=203.0.113.1;proto=https, for=127.0.0.1;proto=http")], 200),
        (&[("forwarded", "for=203.0.113.1")], 200),
        (&[("x-forwarded-proto", "http")], 200),
    ] {
        assert_eq!(metadata(&sidecar.http(), headers).await.status.as_u16(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn nobody_elses_word_counts_nor_any_where_it_is_switched_off_or_the_issuer_is_http() {
    let in_clear = [("x-forwarded-proto", "http"), ("forwarded", "proto=http")];
    let sidecar = Sidecar::with(HTTPS).await;
    assert_eq!(metadata(&sidecar.http().at_address([127, 0, 0, 2]), &in_clear).await.status, StatusCode::OK);
    let off = Sidecar::with(&format!("{HTTPS}forwarded_target = false")).await;
    assert_eq!(metadata(&off.http(), &in_clear).await.status, StatusCode::OK);
    let http = Sidecar::with("[http]\ntrusted_proxies = ['127.0.0.1']").await;
    assert_eq!(metadata(&http.http(), &in_clear).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a50_not_even_a_trusted_proxy_changes_a_url() {
    for issuer in ["issuer = 'https://auth.example'\n", ""] {
        let sidecar = Sidecar::with(&format!("{issuer}[http]\ntrusted_proxies = ['127.0.0.1']")).await;
        let plain = metadata(&sidecar.http(), &[]).await;
        let told = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"), ("host", "evil.example")];
        let reply = metadata(&sidecar.http(), &told).await;
        assert_eq!((reply.status, &reply.body), (StatusCode::OK, &plain.body));
        let path = format!("/authorize?{}", sidecar.request(&[("scope", "unknown")]));
        let reply = sidecar.http().send(Method::GET, &path, &told, "").await;
        let issuer = query_of(reply.header("location").unwrap(), "iss");
        assert_eq!(issuer.as_deref(), plain.json()["issuer"].as_str());
    }
}

#[tokio::test]
async fn at_check_it_is_about_the_request_of_the_application() {
    let sidecar = Sidecar::with(HTTPS).await;
    let bearer = format!("Bearer {}", sidecar.tokens().await.access);
    let original = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-host", "api.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-uri", "/orders"),
        ("x-forwarded-method", "GET"),
    ];
    assert_eq!(sidecar.http().send(Method::GET, "/check", &original, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn behind_the_real_nginx_no_client_can_pretend_to_have_come_by_tls() {
    let authority = Authority::new();
    authority.issue("server", "IP:127.0.0.1");
    let start = async |issuer: String| {
        Sidecar::with(&format!("issuer = '{issuer}'\n[http]\ntrusted_proxies = ['127.0.0.1']")).await
    };
    let address = async |sidecar: &Sidecar| sidecar.addresses.http.only_tcp().unwrap();
    let (front, sidecar) = Front::start(&authority, start, address).await;
    let http = Http::new(&format!("http://{}", front.in_clear));
    for spoofed in
        [&[][..], &[("x-forwarded-proto", "https")], &[("forwarded", "proto=https")], &[("X_Forwarded_Proto", "https")]]
    {
        let reply = metadata(&http, spoofed).await;
        assert_eq!(reply.status, StatusCode::PERMANENT_REDIRECT, "{spoofed:?}");
        let expected = format!("{}{METADATA}", sidecar.service.settings.issuer);
        assert_eq!(reply.header("location"), Some(&*expected));
        let reply = http.post_text("/token", spoofed, "grant_type=refresh_token&refresh_token=x").await;
        reply.assert_error(400, "invalid_request");
    }
    assert_eq!(http.get("/check").await.status, StatusCode::NOT_FOUND);
}
