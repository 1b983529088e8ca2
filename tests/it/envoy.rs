//! Envoy's `ext_authz`: the real Envoy, with `deploy/envoy/envoy.yaml` as it is, in front of an application.

use std::time::{Duration, Instant};

use scopegate::config::ListenAddress;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use scopegate::proto::scopegate::v1::{CheckScopesRequest, Decision};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::command_line::{code, redeem, start_dev};
use crate::dpop::{self, Key, claims, code_for, encode};
use crate::harness::{Application, Envoy, Raw, Sidecar, Tokens, halt};

/// The scopes of the configuration that we ship, for the clients of the tests.
pub const SCOPES: [(&str, &str); 2] = [("orders:read orders:write", "a b"), ("orders:read", "a")];
/// As if the operator had told Envoy to let pass what cannot be checked.
pub const LENIENT: [(&str, &str); 1] = [("failure_mode_allow: false", "failure_mode_allow: true")];

struct Deployment {
    sidecar: Sidecar,
    application: Application,
    envoy: Envoy,
    tokens: Tokens,
}

impl Deployment {
    async fn start() -> Self {
        Self::with("", &[]).await
    }

    /// With more configuration of the sidecar, and changes to that of Envoy.
    async fn with(more: &str, changes: &[(&str, &str)]) -> Self {
        let sidecar = Sidecar::with(more).await;
        let application = Application::start().await;
        let socket = sidecar.directory.path().join("grpc.sock");
        let envoy = Envoy::start(&socket, application.address, &[&SCOPES, changes].concat()).await;
        let tokens = sidecar.tokens().await;
        Self { sidecar, application, envoy, tokens }
    }

    /// A token for fewer scopes.
    async fn token_for(&self, scope: &str) -> String {
        let code = self.sidecar.code_for(&self.sidecar.request(&[("scope", scope)])).await;
        self.sidecar.redeem(&code).await.tokens().access
    }
}

/// What the application got.
#[track_caller]
fn seen(answer: &Raw) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test]
async fn e1_e3_e4_envoy_lets_pass_what_has_the_scopes_of_its_route_and_answers_the_rest_by_rfc_6750() {
    let deployment = Deployment::start().await;
    let Deployment { sidecar, envoy, tokens, application } = &deployment;
    let allowed = seen(&envoy.with_token("/orders/7?x=1", &tokens.access).await);
    let introspection = sidecar.introspect(&tokens.access).await;
    for (name, value) in [
        ("x-auth-subject", &introspection.sub),
        ("x-auth-client-id", &sidecar.shop.id),
        ("x-auth-scopes", &"a b".to_owned()),
        ("x-auth-grant-id", &introspection.grant_id),
    ] {
        assert_eq!(allowed["headers"][name], serde_json::json!([value]), "{name}");
    }
    assert_eq!(allowed["headers"]["authorization"][0], format!("Bearer {}", tokens.access));
    let before = application.served();

    let nothing = envoy.get("/orders", &[]).await;
    assert_eq!((nothing.status, nothing.header("www-authenticate")), (401, Some(r#"Bearer scope="a""#)));
    assert_eq!(envoy.get("/elsewhere", &[]).await.header("www-authenticate"), Some("Bearer"));
    let dead = envoy.with_token("/orders", "sg_at_AAAA").await;
    assert_eq!(dead.status, 401);
    assert!(dead.header("www-authenticate").unwrap().starts_with(r#"Bearer error="invalid_token""#), "{dead:?}");
    assert!(dead.body.contains("invalid_token"), "{dead:?}");
    let narrow = deployment.token_for("a").await;
    let lacking = envoy
        .request("POST", "/orders", &[("Authorization", &format!("Bearer {narrow}")), ("Content-Length", "0")])
        .await;
    assert_eq!(lacking.status, 403);
    let challenge = lacking.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="a b""#), "{challenge}");
    for denied in [&nothing, &dead, &lacking] {
        assert_eq!(denied.header("cache-control"), Some("no-store"));
    }
    assert_eq!(application.served(), before, "what was denied reached the application");

    sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", &tokens.access)]).await;
    assert_eq!(envoy.with_token("/orders", &tokens.access).await.status, 401, "revoked a moment ago");
}

#[tokio::test]
async fn x13_envoy_tells_the_nonce_that_the_next_proof_needs() {
    let deployment = Deployment::with("[tokens]\ndpop_nonce = 'required'", &[]).await;
    let Deployment { sidecar, envoy, tokens, application } = &deployment;
    let (key, endpoint) = (Key::new(), format!("http://{}/token", sidecar.addresses.http));
    let prove = |method: &str, uri: &str, nonce: &str, token: &str| {
        let mut claims = claims(sidecar, method, uri);
        claims["nonce"] = nonce.into();
        claims["ath"] = encode(Sha256::digest(token)).into();
        key.sign(&claims)
    };
    let code = code_for(sidecar, &sidecar.shop, &[]).await;
    let first = dpop::redeem(sidecar, &sidecar.shop, &[&key.proof(sidecar, "/token")], &code).await;
    let proof = prove("POST", &endpoint, first.header("dpop-nonce").unwrap(), "");
    let token = dpop::redeem(sidecar, &sidecar.shop, &[&proof], &code).await.tokens().access;

    let ask = async |nonce: &str| {
        let proof = prove("GET", "http://api.example.com/orders", nonce, &token);
        envoy.get("/orders", &[("Authorization", &format!("DPoP {token}")), ("DPoP", &proof)]).await
    };
    let before = application.served();
    let refused = ask("x").await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.starts_with(r#"DPoP error="use_dpop_nonce""#), "{challenge}");
    assert_eq!(application.served(), before, "what was denied reached the application");
    let nonce = refused.header("dpop-nonce").unwrap();
    let passed = ask(nonce).await;
    seen(&passed);
    assert_eq!(ask(passed.header("dpop-nonce").unwrap()).await.status, 200, "that of an answer is good, too");

    let plain = envoy.with_token("/orders", &tokens.access).await;
    assert_eq!((plain.status, plain.header("dpop-nonce")), (200, None), "it is not about DPoP");
}

#[tokio::test]
async fn e2_e5_e7_e12_rg56_rg59_a_token_that_is_not_presented_clearly_and_once_is_refused() {
    let deployment = Deployment::start().await;
    let (envoy, token) = (&deployment.envoy, &deployment.tokens.access);
    assert_eq!(envoy.get("/orders", &[("authorization", &format!("bEaReR {token}"))]).await.status, 200);
    let bearer = format!("Bearer {token}");
    for headers in [
        &[("Authorization", "Bearer")][..],
        &[("Authorization", "Bearer a b")],
        &[("Authorization", "")],
        &[("Authorization", &bearer), ("Authorization", &bearer)],
        &[("Authorization", &bearer), ("Authorization", "Bearer x")],
        &[("Authorization", "Bearer x"), ("Authorization", &bearer)],
        &[("Authorization", &format!("{bearer},{bearer}"))],
        &[("Authorization", &format!("{bearer}, Basic YTpi"))],
        &[("Authorization", &format!("Basic YTpi, {bearer}"))],
        &[("Authorization", &format!("DPoP {token}"))],
        &[("Authorization", &format!("DPoP {token}")), ("DPoP", "x.y.z")],
    ] {
        for path in ["/orders", "/public", "/elsewhere"] {
            let answer = envoy.get(path, headers).await;
            assert!(matches!(answer.status, 400 | 401), "{headers:?} at {path}: {answer:?}");
        }
    }
    // Another way beside the header.
    assert_eq!(envoy.with_token(&format!("/orders?access_token={token}"), token).await.status, 400);
    for raw in [b"Bearer \xff\xfe".as_slice(), b"\xff", &[token.as_bytes(), b"\xc3"].concat()] {
        let request =
            [b"GET /public HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ".as_slice(), raw, b"\r\n\r\n"]
                .concat();
        let answer = envoy.send(&request).await;
        assert!(matches!(answer.status, 400 | 401), "{}: {answer:?}", raw.escape_ascii());
    }
    assert_eq!(deployment.application.served(), 1);
}

#[tokio::test]
async fn e6_a_token_in_the_query_does_not_count_and_does_not_reach_the_application() {
    let deployment = Deployment::start().await;
    let (envoy, token) = (&deployment.envoy, &deployment.tokens.access);
    assert_eq!(envoy.get(&format!("/orders?access_token={token}"), &[]).await.status, 401);
    let anonymous = seen(&envoy.get(&format!("/public?x=1&access_token={token}&y=2"), &[]).await);
    assert_eq!(anonymous["target"], "/public?x=1&y=2");
    let counted = Deployment::with(
        "[gateway]\ntoken_in_query = true\ntoken_cookie = 'token'\ntoken_header = 'x-token'\nforward_token = false\n",
        &[],
    )
    .await;
    let (envoy, token) = (&counted.envoy, &counted.tokens.access);
    let allowed = seen(&envoy.get(&format!("/orders?access_token={token}&y=2"), &[]).await);
    assert_eq!(allowed["target"], "/orders?y=2");
    seen(&envoy.get("/orders", &[("Cookie", &format!("a=b; token={token}"))]).await);
    let by_header = seen(&envoy.get("/orders", &[("X-Token", token)]).await);
    let by_authorization = seen(&envoy.with_token("/orders", token).await);
    for forwarded in [by_header, by_authorization] {
        assert!(!forwarded.to_string().contains(token.as_str()), "{forwarded}");
        assert_eq!(forwarded["headers"]["x-auth-client-id"][0], *counted.sidecar.shop.id);
    }
    let twice = envoy.get("/orders", &[("X-Token", token), ("Cookie", &format!("token={token}"))]).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn e10_e16_e18_rg61_rg64_nobody_outside_can_say_who_they_are() {
    let deployment = Deployment::with(
        "",
        // Envoy would refuse these by itself.
        &[("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW")],
    )
    .await;
    let (envoy, token) = (&deployment.envoy, &deployment.tokens.access);
    let spoofed = [
        ("X-Auth-Subject", "root"),
        ("X-Auth-Subject", "admin"),
        ("x_auth_subject", "root"),
        ("x-auth_client_id", "root"),
        ("X_Auth-Scopes", "admin"),
        ("x-auth-roles", "root"),
        ("x_auth_anything", "root"),
        ("x-auth-grant_id", "root"),
    ];
    let bearer = format!("Bearer {token}");
    let with_token =
        [&spoofed[..], &[("Authorization", &*bearer), ("Connection", "x-auth-subject, x-auth-scopes")]].concat();
    let allowed = seen(&envoy.get("/orders", &with_token).await);
    assert_eq!(allowed["headers"]["x-auth-client-id"], serde_json::json!([deployment.sidecar.shop.id]));
    assert_eq!(allowed["headers"]["x-auth-scopes"], serde_json::json!(["a b"]));
    let anonymous = seen(&envoy.get("/public", &spoofed).await);
    for seen in [&allowed, &anonymous] {
        assert!(!seen.to_string().contains("root") && !seen.to_string().contains("admin"), "{seen}");
    }
    let names: Vec<&String> = anonymous["headers"].as_object().unwrap().keys().collect();
    assert!(names.iter().all(|name| !name.starts_with("x-auth") && !name.starts_with("x_auth")), "{names:?}");
}

#[tokio::test]
async fn e8_e9_rg57_rg58_rg60_rg62_rg63_rg65_no_way_of_writing_a_path_finds_a_more_lenient_rule() {
    let rules = "[[routes]]\npath = '/admin'\nrequired_scopes = ['c']\n\
                 [[routes]]\npath = '/admin/{rest=**}'\nrequired_scopes = ['c']\n\
                 [[routes]]\npath = '/open/{rest=**}'\nanonymous = true\n\
                 [[routes]]\nhosts = ['files.example.com']\nmethods = ['GET']\npath = '/{rest=**}'\n";
    // Once with Envoy's own reading of paths, and once as they come.
    let raw = [
        ("normalize_path: true", "normalize_path: false"),
        ("merge_slashes: true", "merge_slashes: false"),
        ("path_with_escaped_slashes_action: REJECT_REQUEST", "path_with_escaped_slashes_action: KEEP_UNCHANGED"),
    ];
    for changes in [&[][..], &raw] {
        let deployment = Deployment::with(rules, changes).await;
        let (envoy, bearer) = (&deployment.envoy, format!("Bearer {}", deployment.tokens.access));
        let open = seen(&envoy.get("/open/x?/../admin&signed=a%2Fb", &[]).await);
        assert_eq!(open["target"], "/open/x?/../admin&signed=a%2Fb", "the query was written anew");
        let before = deployment.application.served();
        for path in [
            "/admin",
            "/admin/",
            "/admin/x",
            "//admin",
            "/open/..//admin",
            "/open/../admin",
            "/open/x/../../admin",
            "/admin%2f",
            "/open/..%2fadmin",
            "/open%2f..%2fadmin",
            "/%61dmin",
            "/admin;v=1",
            "/open;/../admin",
            "/admin/.",
            "/open/..;/admin",
            "/admin#x",
            "/open/#/../../admin",
            "/admin?x",
            "/admin?/open/",
            "/Admin",
            "\\admin",
            "/open/..\\admin",
            "/open/..%5cadmin",
            "/admin%00",
            "/open/%00/../../admin",
            "/%c0%afadmin",
            "/open/%c0%ae%c0%ae/admin",
            "/open/%2e%2e/admin",
            "/open/.%2e/admin",
            "/open/%252e%252e/admin",
            "/",
            "/elsewhere",
            "/open",
            "http://api.example.com/admin",
            "*",
        ] {
            for headers in [
                &[][..],
                &[("User-Agent", "kube-probe/1.30"), ("X-Forwarded-Uri", "/open/x"), ("X-Original-Url", "/open/x")],
                &[("Authorization", &*bearer)],
            ] {
                let answer = envoy.get(path, headers).await;
                assert!(matches!(answer.status, 400 | 401 | 403 | 404 | 301 | 307), "{path} {headers:?}: {answer:?}");
            }
        }
        for request in [
            "CONNECT admin:443 HTTP/1.1\r\nHost: admin:443\r\nConnection: close\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ] {
            let answer = envoy.send(request.as_bytes()).await;
            assert!(matches!(answer.status, 400 | 403 | 404), "{request}: {answer:?}");
        }
        assert_eq!(deployment.application.served(), before, "something reached the application");
        let other_host = |method: &str| {
            format!(
                "{method} /x HTTP/1.1\r\nHost: FILES.example.com\r\nConnection: close\r\nAuthorization: {bearer}\r\n\r\n"
            )
        };
        assert_eq!(envoy.send(other_host("GET").as_bytes()).await.status, 200);
        assert_eq!(envoy.send(other_host("DELETE").as_bytes()).await.status, 403);
    }
}

#[tokio::test]
async fn e13_e11_what_is_too_large_is_denied() {
    let deployment = Deployment::with("", &LENIENT).await;
    let huge = "x".repeat(100_000);
    let answer = deployment.envoy.get("/orders", &[("Authorization", &format!("Bearer {huge}"))]).await;
    assert!(matches!(answer.status, 400 | 431), "{answer:?}");
    let large = "x".repeat(50_000);
    let answer = deployment.envoy.get("/public", &[("Authorization", &format!("Bearer {large}"))]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(deployment.application.served(), 0);
}

#[tokio::test]
async fn e14_e15_e17_a_fault_denies_in_time_even_where_envoy_was_told_to_let_pass() {
    for changes in [&[][..], &LENIENT] {
        let Deployment { sidecar, application, envoy, tokens } = Deployment::with("", changes).await;
        assert_eq!(envoy.with_token("/orders", &tokens.access).await.status, 200);
        sidecar.stop().await;
        for _ in 0..5 {
            let began = Instant::now();
            let answer = envoy.with_token("/orders", &tokens.access).await;
            assert!(matches!(answer.status, 403 | 503), "{answer:?}");
            assert!(began.elapsed() < Duration::from_secs(2), "an answer took {:?}", began.elapsed());
            assert!(matches!(envoy.get("/public", &[]).await.status, 403 | 503));
        }
        assert_eq!(application.served(), 1);
    }
}

#[tokio::test]
async fn a_slip_of_the_pen_in_the_configuration_of_a_route_opens_nothing() {
    for (from, to) in [
        (r#"required_scopes: "a" }"#, r#"required_scope: "a" }"#),
        (r#"required_scopes: "a" }"#, r#"required_scopes: "a", match: "al" }"#),
        (r#"required_scopes: "a" }"#, r#"policy: "nobody" }"#),
        (r#"required_scopes: "a" }"#, r#"required_scopes: "a\"" }"#),
    ] {
        let deployment = Deployment::with("", &[(from, to)]).await;
        let answer = deployment.envoy.with_token("/orders", &deployment.tokens.access).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{to}: {answer:?}");
    }
    let named = Deployment::with(
        "[gateway.policies.readers]\nrequired_scopes = ['a', 'c']\nmatch = 'any'\n",
        &[(r#"required_scopes: "a" }"#, r#"policy: "readers" }"#)],
    )
    .await;
    assert_eq!(named.envoy.with_token("/orders", &named.tokens.access).await.status, 200);
}

#[tokio::test]
async fn e14_e15_e17_a_sidecar_that_hangs_or_was_killed_lets_nothing_pass() {
    for changes in [&[][..], &LENIENT] {
        let directory = tempfile::tempdir().unwrap();
        let (mut child, dev) = start_dev(directory.path()).await;
        let token = redeem(&dev, &code(&dev).await.0).await.tokens().access;
        let (host, port) = dev["grpc"].as_str().unwrap().rsplit_once(':').unwrap();
        let tcp = format!("{{ socket_address: {{ address: {host}, port_value: {port} }} }}");
        let application = Application::start().await;
        let pipe = "{ pipe: { path: /nowhere } }";
        let envoy = Envoy::start("/nowhere".as_ref(), application.address, &[&[(pipe, &*tcp)], changes].concat()).await;
        assert_eq!(envoy.with_token("/orders", &token).await.status, 200);
        for stop in ["STOP", "KILL"] {
            halt(&mut child, stop).await;
            for path in ["/orders", "/public", "/elsewhere"] {
                let began = Instant::now();
                let answer = envoy.with_token(path, &token).await;
                assert!(matches!(answer.status, 403 | 503), "{stop}: {answer:?}");
                assert!(began.elapsed() < Duration::from_secs(2), "{stop}: an answer took {:?}", began.elapsed());
            }
        }
        assert_eq!(application.served(), 1);
    }
}

#[tokio::test]
async fn a_grpc_service_behind_envoy_is_protected_by_method_and_keeps_its_trailers() {
    // A gRPC service that is at hand: our own, which would take the token for one of a caller of its own.
    let sidecar = Sidecar::with("[gateway]\nforward_token = false\n").await;
    let upstream = sidecar.addresses.grpc.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    let upstream = upstream.unwrap();
    let socket = sidecar.directory.path().join("grpc.sock");
    let protected = "path: /scopegate.v1.TokenService/CheckScopes";
    let changes = [&SCOPES[..], &[("path: /orders.v1.Orders/List", protected)]].concat();
    let envoy = Envoy::start(&socket, upstream, &changes).await;
    let (allowed, narrow) = (sidecar.tokens().await.access, {
        let code = sidecar.code_for(&sidecar.request(&[("scope", "b")])).await;
        sidecar.redeem(&code).await.tokens().access
    });
    let mut grpc = TokenServiceClient::connect(format!("http://{}", envoy.address)).await.unwrap();
    let call = |token: &str, asked: &str| {
        let mut request = tonic::Request::new(CheckScopesRequest { token: asked.into(), ..Default::default() });
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        request
    };
    let answer = grpc.check_scopes(call(&allowed, &allowed)).await.unwrap();
    assert_eq!(
        answer.metadata().get("grpc-status").map(tonic::metadata::MetadataValue::as_bytes),
        Some(&b"0"[..]),
        "no trailers"
    );
    assert_eq!(answer.get_ref().decision(), Decision::Allowed);
    // A failure of the service itself, with its details.
    let failure = grpc.check_scopes(call(&allowed, "")).await.unwrap_err();
    assert_eq!(
        (failure.code(), failure.get_details_error_info().unwrap().reason.as_str()),
        (Code::InvalidArgument, "TOKEN_MISSING")
    );
    // Refusals of Envoy, as gRPC has them.
    assert_eq!(grpc.check_scopes(call("", &allowed)).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(grpc.check_scopes(call(&narrow, &allowed)).await.unwrap_err().code(), Code::PermissionDenied);
}
