//! `/check`: nginx, Traefik, Caddy and Envoy (over HTTP), with the configurations that we ship, in front of an application.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::command_line::{code, redeem};
use crate::harness::{Application, Gate, Http, Kind, Raw, Sidecar, Tokens, halt};
use crate::traces::start_trusting;

pub const TRUST: &str = "[http]\ntrusted_proxies = ['127.0.0.1']\n";
/// What the routes of the other configurations say: Envoy's HTTP flavour cannot.
pub const RULES_OF_ENVOY: &str = "[[routes]]\npath = '/public'\nanonymous = true\n\
    [[routes]]\npath = '/orders/{rest=**}'\nmethods = ['GET']\nrequired_scopes = ['a']\n\
    [[routes]]\npath = '/orders'\nmethods = ['GET']\nrequired_scopes = ['a']\n\
    [[routes]]\npath = '/orders'\nrequired_scopes = ['a', 'b']\n\
    [[routes]]\npath = '/{rest=**}'\n";

struct Deployment {
    sidecar: Sidecar,
    application: Application,
    gate: Gate,
    tokens: Tokens,
}

impl Deployment {
    async fn of(kind: Kind) -> Self {
        Self::with(kind, if kind == Kind::Envoy { RULES_OF_ENVOY } else { "" }).await
    }

    async fn with(kind: Kind, more: &str) -> Self {
        let sidecar = Sidecar::with(&format!("{TRUST}{more}")).await;
        let application = Application::start().await;
        let gate = Gate::start(kind, sidecar.addresses.http.only_tcp().unwrap(), application.address).await;
        let tokens = sidecar.tokens().await;
        Self { sidecar, application, gate, tokens }
    }
}

/// What the application got.
#[track_caller]
fn seen(kind: Kind, answer: &Raw) -> Value {
    assert_eq!(answer.status, 200, "{kind:?}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{kind:?}: {answer:?}"))
}

/// A denial, whichever way a proxy says it.
#[track_caller]
fn denied(kind: Kind, what: &str, answer: &Raw) {
    let is_denial = matches!(answer.status, 301 | 307 | 308 | 400..=431 | 500..=504);
    assert!(is_denial, "{kind:?}, {what}: {answer:?}");
}

#[tokio::test]
async fn e1_e3_e4_each_proxy_lets_pass_what_has_the_scopes_of_its_route_and_passes_on_the_challenge() {
    for kind in Kind::ALL {
        let Deployment { sidecar, application, gate, tokens } = Deployment::of(kind).await;
        let allowed = seen(kind, &gate.with_token("/orders/7?x=1&required_scopes=c", &tokens.access).await);
        let introspection = sidecar.introspect(&tokens.access).await;
        assert_eq!(allowed["target"], "/orders/7?x=1&required_scopes=c", "{kind:?}");
        for (name, value) in [
            ("x-auth-subject", &introspection.sub),
            ("x-auth-client-id", &sidecar.shop.id),
            ("x-auth-scopes", &"a b".to_owned()),
            ("x-auth-grant-id", &introspection.grant_id),
        ] {
            assert_eq!(allowed["headers"][name], json!([value]), "{kind:?}: {name}");
        }
        let post = [("Authorization", &*format!("Bearer {}", tokens.access)), ("Content-Length", "0")];
        assert_eq!(seen(kind, &gate.request("POST", "/orders", &post).await)["method"], "POST");
        assert_eq!(gate.get("/public", &[]).await.status, 200, "{kind:?}");
        let before = application.served();

        let nothing = gate.get("/orders", &[]).await;
        assert_eq!(
            (nothing.status, nothing.header("www-authenticate")),
            (401, Some(r#"Bearer scope="a""#)),
            "{kind:?}"
        );
        assert_eq!(nothing.head.to_ascii_lowercase().matches("www-authenticate").count(), 1, "{kind:?}: {nothing:?}");
        assert_eq!(gate.get("/elsewhere", &[]).await.status, 401, "{kind:?}");
        let dead = gate.with_token("/orders", "sg_at_AAAA").await;
        assert_eq!(dead.status, 401, "{kind:?}");
        assert!(
            dead.header("www-authenticate").unwrap().starts_with(r#"Bearer error="invalid_token""#),
            "{kind:?}: {dead:?}"
        );
        let code = sidecar.code_for(&sidecar.request(&[("scope", "a")])).await;
        let narrow = format!("Bearer {}", sidecar.redeem(&code).await.tokens().access);
        let lacking = gate.request("POST", "/orders", &[("Authorization", &narrow), ("Content-Length", "0")]).await;
        assert_eq!(lacking.status, 403, "{kind:?}");
        let challenge = lacking.header("www-authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="a b""#),
            "{kind:?}: {challenge}"
        );
        sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", &tokens.access)]).await;
        assert_eq!(gate.with_token("/orders", &tokens.access).await.status, 401, "{kind:?}: revoked a moment ago");
        assert_eq!(application.served(), before, "{kind:?}: what was denied reached the application");
    }
}

#[tokio::test]
async fn e2_e7_e12_rg56_no_proxy_lets_pass_a_token_that_is_not_presented_clearly_and_once() {
    for kind in Kind::ALL {
        let Deployment { sidecar: _sidecar, application, gate, tokens } = Deployment::of(kind).await;
        let bearer = format!("Bearer {}", tokens.access);
        for headers in [
            &[("Authorization", "Bearer")][..],
            &[("Authorization", "Bearer a b")],
            &[("Authorization", &bearer), ("Authorization", &bearer)],
            &[("Authorization", &bearer), ("Authorization", "Bearer x")],
            &[("Authorization", "Bearer x"), ("Authorization", &bearer)],
            &[("Authorization", &format!("{bearer},{bearer}"))],
            &[("Authorization", &format!("Basic YTpi, {bearer}"))],
            &[("Authorization", &format!("DPoP {}", tokens.access))],
        ] {
            for path in ["/orders", "/public", "/elsewhere"] {
                let answer = gate.get(path, headers).await;
                assert!(matches!(answer.status, 400 | 401 | 403), "{kind:?}: {headers:?} at {path}: {answer:?}");
            }
        }
        denied(
            kind,
            "two ways",
            &gate.with_token(&format!("/orders?access_token={}", tokens.access), &tokens.access).await,
        );
        for raw in [b"Bearer \xff\xfe".as_slice(), b"\xff", &[bearer.as_bytes(), b"\xc3"].concat()] {
            for path in ["/public", "/orders"] {
                let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ");
                let answer = gate.send(&[head.as_bytes(), raw, b"\r\n\r\n"].concat()).await;
                denied(kind, &raw.escape_ascii().to_string(), &answer);
            }
        }
        assert_eq!(application.served(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn e10_e18_rg61_rg64_behind_no_proxy_can_anybody_outside_say_who_they_are() {
    for kind in Kind::ALL {
        let Deployment { sidecar, application: _application, gate, tokens } = Deployment::of(kind).await;
        let spoofed = [
            ("X-Auth-Subject", "root"),
            ("X-Auth-Subject", "admin"),
            ("x-auth-grant-id", "root"),
            ("X-Forwarded-Uri", "/public"),
            ("X-Forwarded-Method", "GET"),
        ];
        let underscores = [
            ("x_auth_subject", "root"),
            ("x-auth_client_id", "root"),
            ("X_Auth-Scopes", "admin"),
            ("x-auth-grant_id", "root"),
        ];
        let bearer = format!("Bearer {}", tokens.access);
        let token = [("Authorization", &*bearer), ("Connection", "close, x-auth-subject, x-auth-scopes")];
        let mut all = vec![spoofed.to_vec()];
        if kind == Kind::Envoy {
            // It refuses them altogether.
            denied(kind, "underscores", &gate.get("/public", &underscores).await);
        } else {
            all.push(underscores.to_vec());
        }
        for spoofed in all {
            let answer = gate.get("/orders", &[&spoofed[..], &token].concat()).await;
            // Removing what Connection names may take away what the proxy itself adds, but never leave what a client sent.
            let allowed = seen(kind, &answer);
            assert_eq!(allowed["headers"]["x-auth-client-id"], json!([sidecar.shop.id]), "{kind:?}");
            assert_eq!(allowed["headers"]["x-auth-scopes"], json!(["a b"]), "{kind:?}");
            let anonymous = seen(kind, &gate.get("/public", &spoofed).await);
            for seen in [&allowed, &anonymous] {
                assert!(!seen.to_string().contains("root") && !seen.to_string().contains("admin"), "{kind:?}: {seen}");
            }
            let names: Vec<&String> = anonymous["headers"].as_object().unwrap().keys().collect();
            let is_ours = |name: &&&String| {
                name.replace('_', "-").starts_with("x-auth") && anonymous["headers"][**name] != json!([""])
            };
            assert_eq!(names.iter().find(is_ours), None, "{kind:?}: {names:?}");
        }
    }
}

#[tokio::test]
async fn e8_e9_e11_rg57_rg58_rg60_rg62_rg63_rg65_at_no_proxy_a_path_finds_a_more_lenient_rule() {
    let rules = "[[routes]]\npath = '/admin'\nrequired_scopes = ['c']\n\
                 [[routes]]\npath = '/admin/{rest=**}'\nrequired_scopes = ['c']\n\
                 [[routes]]\npath = '/open/{rest=**}'\nanonymous = true\n\
                 [[routes]]\nhosts = ['files.example.com']\nmethods = ['GET']\npath = '/{rest=**}'\n";
    for kind in Kind::ALL {
        let deployment = Deployment::with(kind, rules).await;
        let (gate, bearer) = (&deployment.gate, format!("Bearer {}", deployment.tokens.access));
        let open = seen(kind, &gate.get("/open/x?/../admin&signed=a%2Fb", &[]).await);
        assert_eq!(open["target"], "/open/x?/../admin&signed=a%2Fb", "{kind:?}: the query was written anew");
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
            "/_scopegate",
            "/check",
            "http://api.example.com/admin",
            "*",
        ] {
            for headers in [
                &[][..],
                &[("User-Agent", "kube-probe/1.30"), ("X-Forwarded-Uri", "/open/x"), ("X-Forwarded-Method", "GET")],
                &[
                    ("X-Original-Uri", "/open/x"),
                    ("X-Original-Url", "http://files.example.com/"),
                    ("X-Original-Method", "GET"),
                ],
                &[("X-Forwarded-Host", "files.example.com"), ("Authorization", &*bearer)],
                &[
                    ("Connection", "close, x-forwarded-uri, x-forwarded-host"),
                    ("X-Forwarded-Uri", "/open/x"),
                    ("Authorization", &*bearer),
                ],
            ] {
                denied(kind, &format!("{path} {headers:?}"), &gate.get(path, headers).await);
            }
        }
        for request in [
            "CONNECT admin:443 HTTP/1.1\r\nHost: admin:443\r\nConnection: close\r\n\r\n",
            "GET /open/x HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        ] {
            denied(kind, request, &gate.send(request.as_bytes()).await);
        }
        // Some answer this by themselves.
        let asterisk = gate.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(asterisk.status != 200 || asterisk.body.is_empty(), "{kind:?}: {asterisk:?}");
        assert_eq!(deployment.application.served(), before, "{kind:?}: something reached the application");
        let other_host = |method: &str| {
            format!(
                "{method} /x HTTP/1.1\r\nHost: FILES.example.com\r\nConnection: close\r\nAuthorization: {bearer}\r\n\r\n"
            )
        };
        assert_eq!(gate.send(other_host("GET").as_bytes()).await.status, 200, "{kind:?}");
        assert_eq!(gate.send(other_host("DELETE").as_bytes()).await.status, 403, "{kind:?}");
    }
}

#[tokio::test]
async fn e13_each_proxy_denies_what_is_too_large() {
    for kind in Kind::ALL {
        let Deployment { sidecar: _sidecar, application, gate, tokens } = Deployment::of(kind).await;
        for length in [7_000, 10_000, 20_000, 200_000] {
            let large = "x".repeat(length);
            for headers in [
                &[("Authorization", &*format!("Bearer {large}"))][..],
                &[("X-A", &large[..length / 2]), ("X-B", &large[..length / 2]), ("Authorization", "Bearer x")],
            ] {
                denied(kind, &format!("{length} bytes"), &gate.get("/public", headers).await);
            }
        }
        let many: Vec<String> = (0..80).map(|number| format!("x-{number}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "x")).collect();
        let answer = gate.get("/public", &many).await;
        // Envoy hands on those alone that it is told to.
        if kind == Kind::Envoy {
            seen(kind, &answer);
        } else {
            denied(kind, "many headers", &answer);
        }
        assert_eq!(application.served(), usize::from(kind == Kind::Envoy), "{kind:?}");
        assert_eq!(gate.with_token("/orders", &tokens.access).await.status, 200, "{kind:?}");
    }
}

#[tokio::test]
async fn e14_e15_e17_no_proxy_lets_anything_pass_while_the_sidecar_hangs_or_after_it_was_killed() {
    for kind in Kind::ALL {
        let directory = tempfile::tempdir().unwrap();
        let (mut child, dev) = start_trusting(directory.path(), "info").await;
        let token = redeem(&dev, &code(&dev).await.0).await.tokens().access;
        let sidecar = dev["http"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        let application = Application::start().await;
        let gate = Gate::start(kind, sidecar, application.address).await;
        // Behind a rule that any active token does for.
        assert_eq!(gate.with_token("/elsewhere", &token).await.status, 200, "{kind:?}");
        for stop in ["STOP", "KILL"] {
            halt(&mut child, stop).await;
            for path in ["/orders", "/public", "/elsewhere"] {
                let began = Instant::now();
                // Traefik waits for 30 seconds, and so long nothing passes.
                let patience = Duration::from_secs(2);
                match tokio::time::timeout(patience, gate.with_token(path, &token)).await {
                    Ok(answer) => {
                        assert!(matches!(answer.status, 500..=504), "{kind:?} {stop}: {answer:?}");
                        if kind == Kind::Nginx {
                            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{stop}");
                        }
                    }
                    Err(_elapsed) => {
                        assert_eq!((kind, stop), (Kind::Traefik, "STOP"), "no answer after {:?}", began.elapsed());
                    }
                }
            }
        }
        assert_eq!(application.served(), 1, "{kind:?}");
    }
}

/// What Traefik and Caddy send.
fn forwarded<'h>(target: &'h str, more: &[(&'h str, &'h str)]) -> Vec<(&'h str, &'h str)> {
    let told = [("x-forwarded-method", "GET"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "api.example.com")];
    [&told[..], &[("x-forwarded-uri", target)], more].concat()
}

async fn check(http: &Http, path: &str, headers: &[(&str, &str)]) -> crate::harness::Reply {
    let reply = http.send(Method::GET, path, headers, "").await;
    assert!(matches!(reply.status.as_u16(), 200 | 401 | 403 | 503), "{path} {headers:?}: {reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{path} {headers:?}: {reply:?}");
    reply
}

#[tokio::test]
async fn who_is_no_listed_proxy_learns_nothing_at_check() {
    for (trusted, status) in [("", 403), ("[http]\ntrusted_proxies = ['10.0.0.0/8', '192.0.2.1']\n", 403), (TRUST, 200)]
    {
        let sidecar = Sidecar::with(trusted).await;
        let bearer = format!("Bearer {}", sidecar.tokens().await.access);
        let told = forwarded("/orders", &[("authorization", &bearer)]);
        let reply = check(&sidecar.http(), "/check", &told).await;
        assert_eq!(reply.status, status, "{trusted}");
        assert_eq!(reply.header("x-auth-subject").is_some(), status == 200);
        if status == 403 {
            let dead = check(&sidecar.http(), "/check?nonsense", &forwarded("/orders", &[])).await;
            assert_eq!((dead.status, &dead.body), (reply.status, &reply.body), "it tells tokens apart");
        }
    }
    let off = Sidecar::with(&format!("{TRUST}[gateway]\ncheck = false\n")).await;
    assert_eq!(off.http().get("/check").await.status, 404);
}

#[tokio::test]
async fn a_proxy_that_does_not_say_clearly_what_it_asks_about_gets_no_permission() {
    let sidecar = Sidecar::with(TRUST).await;
    let (http, bearer) = (sidecar.http(), format!("Bearer {}", sidecar.tokens().await.access));
    let token = [("authorization", &*bearer)];
    assert_eq!(check(&http, "/check", &forwarded("/orders", &token)).await.status, 200);
    assert_eq!(check(&http, "/check", &token).await.status, 403);
    for more in [
        ("x-forwarded-uri", "/public"),
        ("x-original-uri", "/public"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "http"),
    ] {
        let headers = forwarded("/orders", &[token[0], more]);
        assert_eq!(check(&http, "/check", &headers).await.status, 403, "{more:?}");
    }
    for target in ["//orders", "/x/../orders", "orders", "", "/orders%2f", "http://x/orders"] {
        assert_eq!(check(&http, "/check", &forwarded(target, &token)).await.status, 403, "{target}");
    }
    // Every method asks.
    let post = http.send(Method::POST, "/check", &forwarded("/orders", &token), "x=y").await;
    assert_eq!(post.status, 200);
}

#[tokio::test]
async fn the_query_of_check_says_what_is_needed_and_a_slip_of_the_pen_opens_nothing() {
    let policies = "[gateway.policies.readers]\nrequired_scopes = ['a', 'c']\nmatch = 'any'\n";
    let sidecar = Sidecar::with(&format!("{TRUST}{policies}")).await;
    let (http, bearer) = (sidecar.http(), format!("Bearer {}", sidecar.tokens().await.access));
    let told = forwarded("/orders", &[("authorization", &bearer)]);
    for (query, status) in [
        ("", 200),
        ("?", 200),
        ("?required_scopes=a+b", 200),
        ("?required_scopes=a%20b", 200),
        ("?required_scopes=a+c", 403),
        ("?required_scopes=a+c&match=any", 200),
        ("?policy=readers", 200),
        ("?anonymous=true", 200),
        ("?anonymous=true&required_scopes=c", 403),
        ("?audience=https://api.example", 403),
        ("?required_scope=a", 503),
        ("?required_scopes", 503),
        ("?required_scopes=", 503),
        ("?required_scopes=%20", 503),
        ("?required_scopes=a&required_scopes=b", 503),
        ("?required_scopes=a,%22", 503),
        ("?match=al", 503),
        ("?anonymous=1", 503),
        ("?policy=nobody", 503),
        ("?policy=readers&anonymous=true", 503),
        ("?policy=", 503),
        ("?x", 503),
    ] {
        let reply = check(&http, &format!("/check{query}"), &told).await;
        // A token that is not meant for an audience is 401 as RFC 6750 has it.
        let expected = if query.starts_with("?audience") { reply.status.as_u16().clamp(401, 403) } else { status };
        assert_eq!(reply.status.as_u16(), expected, "{query}: {reply:?}");
        assert_eq!(reply.header("retry-after").is_some(), reply.status == 503, "{query}");
    }
    let twice =
        check(&http, "/check", &forwarded("/orders", &[("authorization", &bearer), ("authorization", &bearer)])).await;
    assert_eq!(twice.status, 401);
    assert!(twice.header("www-authenticate").unwrap().contains("invalid_request"), "{twice:?}");
}
