//! Where requests have their tokens, and how they are refused, with the parts of the profiles that say so: at `/check` and behind Envoy.

use http::Method;
use scopegate::proto::scopegate::v1 as api;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};

use crate::harness::{Application, Envoy, Raw, Reply, Sidecar};
use crate::profiles_scopes::resource_part;

const PROFILES: [(&str, &str); 5] = [
    ("fittrackee", include_str!("../../src/profiles/fittrackee.toml")),
    ("funkwhale", include_str!("../../src/profiles/funkwhale.toml")),
    ("gancio", include_str!("../../src/profiles/gancio.toml")),
    ("forgejo", include_str!("../../src/profiles/forgejo.toml")),
    ("oauthlib", include_str!("../../src/profiles/oauthlib.toml")),
];

/// A scope that the token of a deployment has, and one that it has not.
fn scopes_of(profile: &str) -> [&'static str; 2] {
    match profile {
        "fittrackee" => ["workouts:read", "application:write"],
        "funkwhale" => ["read:favorites", "write:favorites"],
        // There is one, so the token has another one of the tests.
        "gancio" => ["a", "event:write"],
        "forgejo" => ["read:user", "read:repository"],
        _ => ["a", "b"],
    }
}

struct Deployment {
    profile: &'static str,
    sidecar: Sidecar,
    token: String,
    issuer: String,
}

impl Deployment {
    async fn of(profile: &'static str, text: &str) -> Self {
        let more = format!("[http]\ntrusted_proxies = ['127.0.0.1']\n{}", resource_part(text));
        let sidecar = Sidecar::with(&more).await;
        let scopes = scopes_of(profile);
        let changes = ClientChanges { scopes: Some(scopes.join(" ").parse().unwrap()), ..ClientChanges::default() };
        sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
        let code = sidecar.code_for(&sidecar.request(&[("scope", scopes[0])])).await;
        let token = sidecar.redeem(&code).await.tokens().access;
        let issuer = format!("http://{}", sidecar.addresses.http);
        Self { profile, sidecar, token, issuer }
    }

    /// Asks at `/check` for a request to `target`.
    async fn check(&self, required: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        let about = [
            ("x-forwarded-method", "GET"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "api.example.com"),
            ("x-forwarded-uri", target),
        ];
        let path = format!("/check?required_scopes={required}");
        self.sidecar.http().send(Method::GET, &path, &[&about[..], headers].concat(), "").await
    }

    /// Behind Envoy, with routes that need the scope that the token has not.
    async fn envoy(&self, application: &Application) -> Envoy {
        let socket = self.sidecar.directory.path().join("grpc.sock");
        let [held, missing] = scopes_of(self.profile);
        let changes = [("orders:read orders:write", missing), ("orders:read", held)];
        Envoy::start(&socket, application.address, &changes).await
    }

    /// Status, content type, body and challenge of a refusal: without a token, with a bad one, with one that lacks a scope.
    fn refusals(&self) -> [(u16, &'static str, String, Option<String>); 3] {
        let json = "application/json";
        let gitea = "application/json;charset=utf-8";
        let url = format!("{}/api/swagger", self.issuer);
        let [_, missing] = scopes_of(self.profile);
        match self.profile {
            "fittrackee" => {
                let invalid = "The access token provided is expired, revoked, malformed, or invalid for other reasons.";
                let lacking = "The request requires higher privileges than provided by the access token.";
                [
                    (401, json, r#"{"status":"error","message":"provide a valid auth token"}"#.into(), None),
                    (
                        401,
                        json,
                        format!(r#"{{"error":"invalid_token","error_description":"{invalid}"}}"#),
                        Some(format!(r#"Bearer error="invalid_token", error_description="{invalid}""#)),
                    ),
                    (403, json, format!(r#"{{"error":"insufficient_scope","error_description":"{lacking}"}}"#), None),
                ]
            }
            "funkwhale" => {
                let nobody = r#"{"detail":"Authentication credentials were not provided."}"#;
                let realm = r#"Bearer realm="api""#;
                let invalid = r#",error="invalid_token",error_description="The access token is invalid.""#;
                let lacking = r#"{"detail":"You do not have permission to perform this action."}"#;
                [
                    (401, json, nobody.into(), Some(realm.into())),
                    (401, json, nobody.into(), Some(format!("{realm}{invalid}"))),
                    (403, json, lacking.into(), None),
                ]
            }
            "gancio" => [(); 3].map(|()| (403, "text/plain; charset=utf-8", "Forbidden".into(), None)),
            "forgejo" => {
                let nobody = format!(r#"{{"message":"token is required","url":"{url}"}}"#);
                let lacking = format!("token does not have at least one of required scope(s): [{missing}]");
                [
                    (401, gitea, nobody.clone(), None),
                    (401, gitea, nobody, None),
                    (403, gitea, format!(r#"{{"message":"{lacking}","url":"{url}"}}"#), None),
                ]
            }
            _ => {
                let error = |code: &str, description: &str| {
                    json!({ "error": code, "error_description": description }).to_string()
                };
                let invalid = "The access token is expired, revoked or malformed";
                let lacking = "The access token lacks a required scope";
                [
                    (401, "", String::new(), Some(format!(r#"Bearer scope="{missing}""#))),
                    (
                        401,
                        json,
                        error("invalid_token", invalid),
                        Some(format!(r#"Bearer error="invalid_token", error_description="{invalid}""#)),
                    ),
                    (
                        403,
                        json,
                        error("insufficient_scope", lacking),
                        Some(format!(
                            r#"Bearer error="insufficient_scope", error_description="{lacking}", scope="{missing}""#
                        )),
                    ),
                ]
            }
        }
    }
}

#[tokio::test]
async fn each_profile_refuses_in_the_words_of_its_system_at_check_behind_envoy_and_over_grpc() {
    for (profile, text) in PROFILES {
        let deployment = Deployment::of(profile, text).await;
        let application = Application::start().await;
        let envoy = deployment.envoy(&application).await;
        let [held, missing] = scopes_of(profile);
        let (good, bad) = (format!("Bearer {}", deployment.token), "Bearer sg_at_AAAA");
        assert_eq!(deployment.check(held, "/x", &[("authorization", &good)]).await.status, 200, "{profile}");
        let read = envoy.get("/orders", &[("Authorization", &good)]).await;
        assert_eq!(read.status, 200, "{profile}: {read:?}");
        let before = application.served();
        let tokens: [&[(&str, &str)]; 3] = [&[], &[("authorization", bad)], &[("authorization", &good)]];
        for (headers, (status, content_type, body, challenge)) in tokens.into_iter().zip(deployment.refusals()) {
            let at_check = deployment.check(missing, "/x", headers).await;
            assert_eq!(
                (at_check.status.as_u16(), at_check.header("content-type").unwrap_or_default(), &at_check.body),
                (status, content_type, &body),
                "{profile} at /check: {headers:?}"
            );
            assert_eq!(at_check.header("www-authenticate"), challenge.as_deref(), "{profile} at /check: {headers:?}");
            assert_eq!(at_check.header("cache-control"), Some("no-store"));
            let headers = [headers, &[("Content-Length", "0")]].concat();
            // The route of that configuration that writes needs both scopes.
            let behind: Raw = envoy.request("POST", "/orders", &headers).await;
            assert_eq!((behind.status, &behind.body), (status, &body), "{profile} behind Envoy: {behind:?}");
            assert_eq!(behind.header("content-type").unwrap_or_default(), content_type, "{profile}: {behind:?}");
            assert_eq!(behind.header("www-authenticate"), challenge.as_deref(), "{profile} behind Envoy");
        }
        assert_eq!(application.served(), before, "{profile}: what was denied reached the application");
        let [_, invalid, lacking] = deployment.refusals();
        for (token, (status, _, _, challenge)) in [("sg_at_AAAA", invalid), (&deployment.token, lacking)] {
            let answer: api::CheckScopesResponse = deployment.sidecar.check(token, &[missing]).await;
            assert_eq!(answer.http_status, i32::from(status), "{profile}");
            assert_eq!(answer.www_authenticate, challenge.unwrap_or_default(), "{profile}");
        }
    }
}

#[tokio::test]
async fn each_profile_takes_a_token_where_its_system_takes_it_and_nowhere_else() {
    let profile = |name: &str| PROFILES.into_iter().find(|(own, _)| *own == name).unwrap();
    for name in ["fittrackee", "funkwhale", "gancio", "forgejo", "oauthlib"] {
        let (name, text) = profile(name);
        let deployment = Deployment::of(name, text).await;
        let token = &deployment.token;
        let [held, _] = scopes_of(name);
        let works = async |target: &str, headers: &[(&str, &str)]| {
            let answer = deployment.check(held, target, headers).await;
            match answer.status.as_u16() {
                200 => true,
                401 | 403 => false,
                _ => panic!("{name}: {answer:?}"),
            }
        };
        for (scheme, expected) in [
            ("Bearer", true),
            ("bEARER", true),
            ("Bearer  ", true),
            ("token", name == "forgejo"),
            ("Token", false),
            ("TOKEN", false),
            ("Basic", false),
        ] {
            let header = format!("{scheme} {token}");
            assert_eq!(works("/x", &[("authorization", &header)]).await, expected, "{name}: {scheme}");
        }
        for (parameter, expected) in [
            ("access_token", name != "fittrackee"),
            ("token", ["funkwhale", "forgejo"].contains(&name)),
            ("jwt", false),
            ("Access_Token", false),
        ] {
            let target = format!("/x?y=1&{parameter}={token}");
            assert_eq!(works(&target, &[]).await, expected, "{name}: {parameter}");
            assert_eq!(works(&target.replace('_', "%5f"), &[]).await, expected, "{name}: {parameter}, percent-encoded");
        }
        for (cookie, expected) in [
            ("auth._token.local=Bearer%20", name == "gancio"),
            ("a=b; auth._token.local=bearer ", name == "gancio"),
            ("auth._token.local=", false),
            ("auth._token=Bearer%20", false),
        ] {
            assert_eq!(works("/x", &[("cookie", &format!("{cookie}{token}"))]).await, expected, "{name}: {cookie}");
        }
        // A browser that is signed out of Gancio says so in this cookie.
        let bearer = format!("Bearer {token}");
        let signed_out = [("authorization", &*bearer), ("cookie", "auth._token.local=false")];
        assert!(works("/x", &signed_out).await, "{name}");
    }
}

#[tokio::test]
async fn a_request_with_two_tokens_is_refused_wherever_they_are() {
    for (name, text) in PROFILES {
        let deployment = Deployment::of(name, text).await;
        let token = &deployment.token;
        let [held, _] = scopes_of(name);
        let (bearer, cookie) = (format!("Bearer {token}"), format!("auth._token.local=Bearer%20{token}"));
        let (one, other) = (format!("/x?access_token={token}"), format!("/x?token={token}"));
        let twice = format!("{one}&access_token={token}");
        let both = format!("{one}&token={token}");
        let authorization = ("authorization", &*bearer);
        let second = format!("token {token}");
        let mut cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
            (&one, vec![authorization]),
            (&twice, vec![]),
            ("/x", vec![authorization, authorization]),
            (&twice, vec![authorization]),
        ];
        match name {
            "funkwhale" => cases.extend([(&*other, vec![authorization]), (&*both, vec![])]),
            "forgejo" => cases.extend([
                (&*other, vec![authorization]),
                (&*both, vec![]),
                ("/x", vec![authorization, ("authorization", &*second)]),
                (&*one, vec![("authorization", &*second)]),
            ]),
            "gancio" => {
                cases.extend([("/x", vec![authorization, ("cookie", &*cookie)]), (&*one, vec![("cookie", &*cookie)])]);
            }
            _ => {}
        }
        for (target, headers) in cases {
            let answer = deployment.check(held, target, &headers).await;
            assert!([401, 403].contains(&answer.status.as_u16()), "{name}: {target} {headers:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_does_not_reach_the_application_behind_envoy() {
    for (name, parameters) in [
        ("funkwhale", &["access_token", "token"][..]),
        ("forgejo", &["access_token", "token"]),
        ("gancio", &["access_token"]),
    ] {
        let text = PROFILES.into_iter().find(|(own, _)| *own == name).unwrap().1;
        let deployment = Deployment::of(name, text).await;
        let application = Application::start().await;
        let envoy = deployment.envoy(&application).await;
        for parameter in parameters {
            let answer = envoy.get(&format!("/orders?x=1&{parameter}={}&y=2", deployment.token), &[]).await;
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            assert!(!answer.body.contains(&deployment.token), "{name}: {}", answer.body);
            let seen: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(seen["target"], "/orders?x=1&y=2", "{name}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_judged_is_refused_in_the_words_of_the_configuration_and_never_as_bad() {
    let words = "[gateway.denials.unavailable]\nstatus = 500\ncontent_type = 'text/plain'\nbody = 'later'\n";
    let deployment = Deployment::of("standard", words).await;
    let bearer = format!("Bearer {}", deployment.token);
    let mut database = deployment.sidecar.database().await;
    database.execute("ALTER TABLE grants RENAME TO grants_away").await;
    let answer = deployment.check("a", "/x", &[("authorization", &bearer)]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type"), answer.header("retry-after"), answer.body.as_str()),
        (500, Some("text/plain"), Some("1"), "later")
    );
    let application = Application::start().await;
    let behind = deployment.envoy(&application).await.get("/orders", &[("Authorization", &bearer)]).await;
    assert_eq!((behind.status, behind.header("retry-after"), behind.body.as_str()), (500, Some("1"), "later"));
    assert_eq!(application.served(), 0);
    database.execute("ALTER TABLE grants_away RENAME TO grants").await;
    assert_eq!(deployment.check("a", "/x", &[("authorization", &bearer)]).await.status, 200);
}
