//! Cases of the standards that are about several parts at once, or about one that has no file of its own.

use std::collections::HashSet;

use http::{Method, StatusCode};
use scopegate::config::Layers;
use scopegate::domain::client::{ClientMetadata, Introspects};
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::clients::NewClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    CHALLENGE, Http, PASSWORD, REDIRECT_URI, Registered, Reply, SECRET, Sidecar, USERNAME, VERIFIER, basic, encode,
    form, hidden_fields, query_of, ticked_scopes,
};

/// A confidential client besides the shop.
async fn register(sidecar: &Sidecar, redirect_uris: &[&str], introspects: Introspects) -> Registered {
    let new = NewClient {
        name: "Other".into(),
        redirect_uris: redirect_uris.iter().map(|uri| uri.parse().unwrap()).collect(),
        scopes: "a b c".parse().unwrap(),
        public: false,
        introspects,
        metadata: ClientMetadata::default(),
    };
    let (client, secret) = sidecar.service.create_client(new).await.unwrap();
    Registered { id: client.id.to_string(), secret: secret.unwrap().expose().into() }
}

/// Asserts a page that leads nowhere.
#[track_caller]
fn assert_page(reply: &Reply, what: &str) {
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "{what}");
    assert!(reply.header("content-type").unwrap().starts_with("text/html"), "{what}");
}

#[tokio::test]
async fn a4_a7_a22_the_query_of_a_registered_uri_stays_and_an_empty_redirect_uri_is_none() {
    let sidecar = Sidecar::start().await;
    let one = register(&sidecar, &["https://c.example/cb?a=1"], Introspects::Own).await;
    let two = register(&sidecar, &["https://c.example/cb", "https://c.example/2"], Introspects::Own).await;
    let ask = async |client: &Registered, redirect_uri: &str| {
        let request = sidecar.request(&[("client_id", &client.id), ("redirect_uri", ""), ("scope", "unknown")]);
        sidecar.http().get(&format!("/authorize?{request}{redirect_uri}")).await
    };
    for redirect_uri in ["&redirect_uri=https://c.example/cb?a=1", "&redirect_uri=", ""] {
        let reply = ask(&one, redirect_uri).await;
        assert!(reply.header("location").unwrap().starts_with("https://c.example/cb?a=1&error="), "{redirect_uri}");
    }
    for redirect_uri in ["https://c.example/cb", "https://c.example/cb?a=1%26b=2", "https://c.example/cb?a=2"] {
        assert_page(&ask(&one, &format!("&redirect_uri={redirect_uri}")).await, redirect_uri);
    }
    for redirect_uri in ["&redirect_uri=", ""] {
        assert_page(&ask(&two, redirect_uri).await, "which one is not clear");
    }
}

#[tokio::test]
async fn a19_a21_a22_a_parameter_counts_once_and_an_empty_one_not_at_all() {
    let sidecar = Sidecar::start().await;
    for name in
        ["response_type", "scope", "state", "code_challenge", "code_challenge_method", "nonce", "prompt", "colour"]
    {
        let request = format!("{}&{name}=x&{name}=x", sidecar.request(&[(name, "")]));
        let reply = sidecar.http().get(&format!("/authorize?{request}")).await;
        let location = reply.header("location").unwrap_or_else(|| panic!("{name}: {reply:?}"));
        assert_eq!(query_of(location, "error").as_deref(), Some("invalid_request"), "{name}");
        assert_eq!(query_of(location, "state").is_some(), name != "state", "{name}");
    }
    for name in ["client_id", "redirect_uri"] {
        let value = if name == "client_id" { sidecar.shop.id.as_str() } else { REDIRECT_URI };
        let request = format!("{}&{}", sidecar.request(&[]), form(&[(name, value)]));
        assert_page(&sidecar.http().get(&format!("/authorize?{request}")).await, name);
    }
    let request = format!("{}&state=&scope=&colour=", sidecar.request(&[("state", ""), ("scope", "")]));
    let location = sidecar.browser().approve(&request).await;
    assert_eq!(query_of(&location, "state"), None);
    assert!(query_of(&location, "code").is_some(), "without a scope, the user is asked for all");
}

#[tokio::test]
async fn a34_a_prompt_never_redirects_to_an_unregistered_uri() {
    let sidecar = Sidecar::start().await;
    let request = sidecar.request(&[("prompt", "none"), ("redirect_uri", "https://evil.example/cb")]);
    assert_page(&sidecar.http().get(&format!("/authorize?{request}")).await, "prompt=none");
}

#[tokio::test]
async fn a38_a_request_uri_is_not_fetched() {
    let sidecar = Sidecar::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/request", listener.local_addr().unwrap());
    let reply = sidecar.http().get(&format!("/authorize?{}", sidecar.request(&[("request_uri", &uri)]))).await;
    let error = query_of(reply.header("location").unwrap(), "error");
    assert_eq!(error.as_deref(), Some("request_uri_not_supported"));
    // Whoever would have fetched it has been answered already.
    let own = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (_, first) = listener.accept().await.unwrap();
    assert_eq!(first, own.local_addr().unwrap(), "the only connection is our own");
}

#[tokio::test]
async fn a43_every_redirect_is_a_303() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let request = sidecar.request(&[]);
    let mut statuses = vec![browser.get(&format!("/authorize?{request}")).await.status];
    let login = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &request)]);
    statuses.push(browser.post("/login", &login).await.status);
    for decision in ["deny", "approve"] {
        let page = browser.get(&format!("/authorize?{request}")).await;
        let kept = ticked_scopes(&page.body);
        let fields = [hidden_fields(&page.body), kept, vec![("decision".into(), decision.into())]].concat();
        statuses.push(browser.post("/consent", &encode(&fields)).await.status);
    }
    statuses.push(browser.post("/logout", &form(&[("request", &request)])).await.status);
    assert_eq!(statuses, [StatusCode::SEE_OTHER; 5]);
}

#[tokio::test]
async fn a46_codes_share_nothing_that_could_be_guessed_and_live_ten_minutes_at_most() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let mut grants = HashSet::new();
    for _ in 0..20 {
        let code = query_of(&browser.approve(&sidecar.request(&[])).await, "code").unwrap();
        assert_eq!(code.len(), 80, "16 random bytes and a MAC of 20");
        grants.insert(code["sg_ac_".len() + 3..][..20].to_owned());
    }
    assert_eq!(grants.len(), 20);
    let build = |seconds: u32| {
        let text = format!("[keys]\nsecret = '{SECRET}'\n[tokens]\ncode_lifetime = {seconds}");
        Layers::new().text(&text).unwrap().build()
    };
    assert!(build(600).is_ok());
    assert!(build(601).err().unwrap().to_string().contains("tokens.code_lifetime"));
}

#[tokio::test]
async fn a47_t28_no_origin_is_let_in() {
    let sidecar = Sidecar::start().await;
    for path in ["/authorize", "/token", "/revoke", "/introspect"] {
        for origin in ["https://evil.example", "null", "http://127.0.0.1:8765"] {
            for method in [Method::OPTIONS, Method::GET, Method::POST] {
                let headers = [("origin", origin), ("access-control-request-method", "POST")];
                let reply = sidecar.http().send(method.clone(), path, &headers, "").await;
                let granted = reply.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
                assert!(!granted, "{method} {path} {origin}: {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn a53_the_user_is_asked_each_time() {
    let sidecar = Sidecar::start().await;
    for client in [&sidecar.shop, &sidecar.app] {
        let mut browser = sidecar.browser();
        let request = sidecar.request(&[("client_id", &client.id)]);
        browser.approve(&request).await;
        let again = browser.get(&format!("/authorize?{request}")).await;
        assert!(again.body.contains("name=\"decision\""), "{}", again.body);
    }
}

#[tokio::test]
async fn c11_t19_t21_errors_are_json_that_nobody_stores_of_plain_characters_and_nothing_of_the_inside() {
    let sidecar = Sidecar::start().await;
    let authorization = basic(&sidecar.shop.id, &sidecar.shop.secret);
    let nasty = "\"\\\u{7f}\r\n\0é<script>' OR 1=1 --";
    let mut seen = HashSet::new();
    for (path, parameters) in [
        ("/token", vec![("grant_type", nasty)]),
        ("/token", vec![("grant_type", "authorization_code"), ("code", nasty), ("code_verifier", VERIFIER)]),
        ("/token", vec![("grant_type", "authorization_code"), ("code", "x"), ("code_verifier", nasty)]),
        ("/token", vec![("grant_type", "refresh_token"), ("refresh_token", nasty)]),
        ("/token", vec![("grant_type", "refresh_token"), (nasty, "x"), (nasty, "x")]),
        ("/token", vec![("client_id", nasty), ("grant_type", "refresh_token")]),
        ("/revoke", vec![("token", ""), (nasty, nasty)]),
        ("/introspect", vec![("token", ""), (nasty, nasty)]),
    ] {
        for headers in [&[("authorization", authorization.as_str())][..], &[("authorization", "Basic é")], &[]] {
            let reply = sidecar.http().post_text(path, headers, &form(&parameters)).await;
            assert!(reply.status.is_client_error(), "{path} {parameters:?}: {reply:?}");
            let json = reply.json();
            for member in json.as_object().unwrap().values() {
                let text = member.as_str().unwrap();
                let plain = text.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
                assert!(plain, "{path} {parameters:?}: {text:?}");
                assert!(!text.contains("script") && !text.contains("SELECT") && !text.contains("src/"), "{text}");
            }
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert_eq!((reply.header("cache-control"), reply.header("pragma")), (Some("no-store"), Some("no-cache")));
            seen.insert(reply.error());
        }
    }
    assert!(seen.len() >= 4, "{seen:?}");
    for value in [nasty, "a b"] {
        let request = sidecar.request(&[("scope", value), ("response_mode", nasty)]);
        let reply = sidecar.http().get(&format!("/authorize?{request}")).await;
        let description = query_of(reply.header("location").unwrap(), "error_description").unwrap();
        assert!(description.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E)));
    }
}

#[tokio::test]
async fn c21_the_consent_page_names_where_the_answer_goes_and_what_is_asked_for() {
    let sidecar = Sidecar::start().await;
    let page = sidecar.browser().consent_page(&sidecar.request(&[])).await.body;
    for text in ["Shop", "127.0.0.1:8765", "See A", "Change B"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("Delete C"), "nothing that was not asked for");
}

#[tokio::test]
async fn t3_every_parameter_of_the_token_endpoint_counts_once() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    let parameters = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("client_id", sidecar.shop.id.as_str()),
        ("scope", "a"),
        ("colour", "blue"),
    ];
    for twice in parameters {
        let body = [&parameters[..], &[twice]].concat();
        let reply = sidecar.http().post_as(&sidecar.shop, "/token", &body).await;
        reply.assert_error(400, "invalid_request");
    }
    sidecar.http().post_as(&sidecar.shop, "/token", &parameters).await.tokens();
}

#[tokio::test]
async fn t18_grants_that_are_not_offered_are_refused_and_not_advertised() {
    let sidecar = Sidecar::start().await;
    let advertised = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    for grant_type in ["password", "implicit"] {
        let body = [("grant_type", grant_type), ("username", USERNAME), ("password", PASSWORD)];
        let reply = sidecar.http().post_as(&sidecar.shop, "/token", &body).await;
        reply.assert_error(400, "unsupported_grant_type");
        let grant_types = advertised["grant_types_supported"].as_array().unwrap();
        assert!(!grant_types.contains(&grant_type.into()), "{grant_type}");
    }
}

#[tokio::test]
async fn k14_a_code_from_before_a_restart_still_needs_its_verifier() {
    let sidecar = Sidecar::start().await;
    let code = sidecar.code().await;
    let (directory, shop) = (sidecar.directory.clone(), sidecar.shop.clone());
    sidecar.stop().await;
    let mut sidecar = Sidecar::on(directory, "").await;
    sidecar.shop = shop;
    for (verifier, status) in [(CHALLENGE, 400), ("", 400), (VERIFIER, 200)] {
        let body = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", verifier),
        ];
        let reply = sidecar.http().post_as(&sidecar.shop, "/token", &body).await;
        assert_eq!(reply.status.as_u16(), status, "{verifier}");
    }
}

#[tokio::test]
async fn r4_i2_expired_and_revoked_tokens_are_inactive_and_revoking_them_is_fine() {
    let sidecar = Sidecar::start().await;
    let (expired, revoked) = (sidecar.tokens().await, sidecar.tokens().await);
    sidecar.revoke(&revoked.access, api::RevocationMode::Bounded).await;
    sidecar.clock.advance(600);
    for token in [&expired.access, &revoked.access, &revoked.refresh] {
        let http = sidecar.http();
        let reply = http.post_as(&sidecar.shop, "/introspect", &[("token", token)]).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, r#"{"active":false}"#));
        let reply = http.post_as(&sidecar.shop, "/revoke", &[("token", token)]).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, ""));
    }
}

#[tokio::test]
async fn r13_a_thousand_revocations_of_one_token_are_one() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let mut grpc = sidecar.grpc().await;
    for _ in 0..1_000 {
        grpc.revoke(api::RevokeRequest { token: tokens.access.clone(), ..Default::default() }).await.unwrap();
    }
    assert_eq!(sidecar.database().await.count("revocation_log").await, 1);
}

#[tokio::test]
async fn i14_tokens_that_begin_alike_have_answers_of_their_own() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.tokens().await;
    sidecar.clock.advance(300);
    let second = sidecar.refresh(&first.refresh).await.tokens();
    assert_eq!(first.access[..36], second.access[..36]);
    assert!(sidecar.is_active(&first.access).await && sidecar.is_active(&second.access).await);
    sidecar.clock.advance(300);
    assert!(!sidecar.is_active(&first.access).await && sidecar.is_active(&second.access).await);
    let mixed = format!("{}{}", &first.access[..36], &second.access[36..]);
    assert_eq!(mixed, second.access);
    let mixed = format!("{}{}", &first.access[..60], &second.access[60..]);
    assert!(!sidecar.is_active(&mixed).await);
}

#[tokio::test]
async fn i10_i12_i21_each_caller_gets_its_own_answer_as_plain_json_that_nobody_keeps() {
    let sidecar = Sidecar::with("[jwt]\nintrospection_responses = false").await;
    let tokens = sidecar.tokens().await;
    let api = register(&sidecar, &[], Introspects::Any).await;
    let stranger = register(&sidecar, &[], Introspects::Own).await;
    for _ in 0..3 {
        for (caller, active) in [(&api, true), (&stranger, false), (&sidecar.shop, true)] {
            let authorization = basic(&caller.id, &caller.secret);
            let headers =
                [("authorization", authorization.as_str()), ("accept", "application/token-introspection+jwt")];
            let reply = sidecar.http().post_text("/introspect", &headers, &form(&[("token", &tokens.access)])).await;
            assert_eq!(reply.json()["active"], active);
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
}

/// Asks for a method over HTTP/2 that is written by hand; the type of the first frame that answers.
async fn frame_that_answers(address: &str, path: &str) -> u8 {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    for (name, value) in [(&[0x04][..], path), (&[0x01], "x"), (&[0x0F, 0x10], "application/grpc")] {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    }
    block.extend_from_slice(b"\x00\x02te\x08trailers");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
    bytes.extend(block);
    bytes.extend(b"\0\0\x05\0\x01\0\0\0\x01\0\0\0\0\0");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
        stream.read_exact(&mut payload).await.unwrap();
        if header[5..] == [0, 0, 0, 1] || header[3] == 7 {
            return header[3];
        }
    }
}

#[tokio::test]
async fn e19_only_the_exact_path_of_a_method_is_that_method() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    let sidecar = Sidecar::start().await;
    let address = sidecar.addresses.grpc.iter().next().unwrap().to_string();
    assert_eq!(frame_that_answers(&address, "/scopegate.v1.TokenService/Introspect").await, HEADERS);
    let bare = frame_that_answers(&address, "scopegate.v1.TokenService/Introspect").await;
    assert!([RST_STREAM, GOAWAY].contains(&bare), "without its slash it is no path: frame {bare}");
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<http_body_util::Full<hyper::body::Bytes>>();
    for path in [
        "//scopegate.v1.TokenService/Introspect",
        "/scopegate.v1.TokenService/introspect",
        "/Scopegate.v1.TokenService/Introspect",
        "/scopegate.v1.TokenService/Introspect/",
        "/scopegate.v1.TokenService%2FIntrospect",
        "/scopegate.v1.TokenService/./Introspect",
        "/",
    ] {
        let request = http::Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(hyper::body::Bytes::from_static(b"\0\0\0\0\0").into())
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.headers().get("grpc-status").unwrap(), "12", "{path}");
    }
}

#[tokio::test]
async fn x4_neither_tokens_nor_secrets_are_stored() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser();
    let code = query_of(&browser.approve(&sidecar.request(&[])).await, "code").unwrap();
    let tokens = sidecar.redeem(&code).await.tokens();
    let refreshed = sidecar.refresh(&tokens.refresh).await.tokens();
    assert!(sidecar.is_active(&refreshed.access).await);
    let cookie = browser.cookies.values().next().unwrap().clone();
    let secrets = [
        ("code", code),
        ("access token", tokens.access),
        ("refresh token", refreshed.refresh),
        ("client secret", sidecar.shop.secret.clone()),
        ("password", PASSWORD.into()),
        ("cookie", cookie),
        ("verifier", VERIFIER.into()),
        ("master secret", SECRET.into()),
    ];
    let dump = sidecar.database().await.dump().await;
    assert!(dump.contains(USERNAME) && dump.contains(&sidecar.shop.id), "the dump has what is stored");
    for (name, secret) in secrets {
        // A token begins with what its kind is, which is no secret.
        assert!(!dump.contains(&secret) && !dump.contains(&secret[secret.len() / 2..]), "{name}");
    }
}

#[tokio::test]
async fn x8_no_text_of_a_mebibyte_gets_as_far_as_the_database() {
    let sidecar = Sidecar::start().await;
    let before = sidecar.store_operations().await;
    let large = "x".repeat(1 << 20);
    for (path, name) in [
        ("/token", "code"),
        ("/token", "client_id"),
        ("/revoke", "token"),
        ("/introspect", "token"),
        ("/authorize", "redirect_uri"),
        ("/login", "username"),
        ("/login", "password"),
        ("/consent", "request"),
    ] {
        let reply = sidecar.http().post(path, &[(name, &large)]).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{path} {name}");
    }
    assert_eq!(sidecar.store_operations().await, before);
    for length in [65, 1 << 20] {
        assert!(sidecar.service.create_account("x".repeat(length), "long enough".to_owned().into()).await.is_err());
    }
}

#[tokio::test]
async fn x11_metrics_have_a_port_of_their_own_and_name_nobody() {
    let sidecar = Sidecar::start().await;
    let tokens = sidecar.tokens().await;
    let subject = sidecar.introspect(&tokens.access).await.sub;
    sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", &tokens.access)]).await;
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(sidecar.http().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let ops = Http::new(&format!("http://{}", sidecar.addresses.ops));
    assert_eq!(ops.get("/token").await.status, StatusCode::NOT_FOUND);
    let metrics = ops.get("/metrics").await.body;
    assert!(metrics.contains("scopegate_"));
    for name in [&tokens.access, &tokens.refresh, &subject, &sidecar.shop.id, &sidecar.shop.secret, &USERNAME.into()] {
        assert!(!metrics.contains(name.as_str()), "{name}");
    }
}

#[tokio::test]
async fn x12_who_is_not_signed_in_leaves_nothing_behind() {
    let sidecar = Sidecar::start().await;
    let before = sidecar.database().await.dump().await.lines().count();
    for number in 0..50 {
        let state = number.to_string();
        let request = sidecar.request(&[("state", &state)]);
        sidecar.http().get(&format!("/authorize?{request}")).await;
        sidecar.http().get(&format!("/login?{}", form(&[("request", &request)]))).await;
        sidecar.http().post("/token", &[("grant_type", "authorization_code"), ("code", &state)]).await;
        sidecar.http().post("/consent", &[("request", &request), ("decision", "approve")]).await;
    }
    assert_eq!(sidecar.database().await.dump().await.lines().count(), before);
    assert_eq!(sidecar.metric("scopegate_cache_entries").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg89_many_at_once_each_get_their_own_answer() {
    let sidecar = Sidecar::start().await;
    let mut expected = Vec::new();
    for client in [&sidecar.shop, &sidecar.app] {
        for scope in ["a", "b", "c", "a b", "b c", "a b c"] {
            let code = sidecar.code_for(&sidecar.request(&[("client_id", &client.id), ("scope", scope)])).await;
            let body = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", VERIFIER),
            ];
            let tokens = sidecar.http().post_as(client, "/token", &body).await.tokens();
            expected.push((tokens.access, client.id.clone(), scope));
        }
    }
    let grpc = sidecar.grpc().await;
    let callers: Vec<_> = (0..32)
        .map(|caller| {
            let (mut grpc, expected) = (grpc.clone(), expected.clone());
            tokio::spawn(async move {
                for number in 0..60 {
                    let (token, client, scope) = &expected[(caller * 7 + number) % expected.len()];
                    let request = api::IntrospectRequest { token: token.clone(), ..Default::default() };
                    let answer = grpc.introspect(request).await.unwrap().into_inner();
                    assert_eq!((&answer.client_id, answer.scope.as_str()), (client, *scope));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}
