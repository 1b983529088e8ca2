//! What the token, revocation and introspection endpoints take and answer as the built-in profiles have it: for each the exact members,
//! texts and statuses that the clients of that system know. Where these endpoints are, and all else of a profile, is tested elsewhere.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Method;
use scopegate::domain::client::{ClientMetadata, Introspects, RefreshTokenRotation};
use scopegate::proto::scopegate::v1 as api;
use serde_json::{Value, json};
use toml::Table;

use crate::harness::{REDIRECT_URI, Registered, Reply, Sidecar, USERNAME, VERIFIER, basic, configuration, form};

const FITTRACKEE: &str = include_str!("../../src/profiles/fittrackee.toml");
const FUNKWHALE: &str = include_str!("../../src/profiles/funkwhale.toml");
const GANCIO: &str = include_str!("../../src/profiles/gancio.toml");
const FORGEJO: &str = include_str!("../../src/profiles/forgejo.toml");
const OAUTHLIB: &str = include_str!("../../src/profiles/oauthlib.toml");

/// What a profile says of these endpoints.
fn of(profile: &str) -> String {
    let mut table: Table = profile.parse().unwrap();
    table.retain(|section, _| ["tokens", "token_endpoint", "answers", "clients", "jwt"].contains(&section));
    table.to_string()
}

async fn sidecar(profile: &str) -> Sidecar {
    Sidecar::with(&of(profile)).await
}

/// With the client's credentials in the form.
async fn post(sidecar: &Sidecar, client: &Registered, path: &str, parameters: &[(&str, &str)]) -> Reply {
    let credentials = [("client_id", client.id.as_str()), ("client_secret", client.secret.as_str())];
    sidecar.http().post(path, &[parameters, &credentials].concat()).await
}

fn redemption(code: &str) -> [(&str, &str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT_URI), ("code_verifier", VERIFIER)]
}

fn refreshing(token: &str) -> [(&str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", token)]
}

/// The answer to a redemption of a code of the shop.
async fn issued(sidecar: &Sidecar) -> Value {
    let code = sidecar.code().await;
    let reply = post(sidecar, &sidecar.shop, "/token", &redemption(&code)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), (Some("no-store"), Some("no-cache")));
    reply.json()
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}"))
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_answer(reply: &Reply, status: u16, body: &Value) {
    assert_eq!((reply.status.as_u16(), &reply.json()), (status, body));
}

/// An error answer with this description, or with none.
fn error(code: &str, description: &str) -> Value {
    if description.is_empty() {
        json!({ "error": code })
    } else {
        json!({ "error": code, "error_description": description })
    }
}

async fn another(sidecar: &Sidecar) -> Registered {
    sidecar.register(false, Introspects::Own, ClientMetadata::default()).await
}

/// A parameter, or an error and its description.
type Pair<'t> = (&'t str, &'t str);

/// What a system answers to the usual mistakes. `(error, description)` each.
struct Mistakes {
    unsupported_grant_type: (&'static str, &'static str),
    missing_code: (&'static str, &'static str),
    invalid_code: (&'static str, &'static str),
    foreign_code: (&'static str, &'static str),
    wrong_redirect_uri: (&'static str, &'static str),
    wrong_verifier: (&'static str, &'static str),
    no_verifier: (&'static str, &'static str),
    missing_refresh_token: (&'static str, &'static str),
    invalid_refresh_token: (&'static str, &'static str),
    foreign_refresh_token: (&'static str, &'static str),
    used_refresh_token: (&'static str, &'static str),
    too_much: (&'static str, &'static str),
}

/// Makes all these mistakes, with a code that survives them, and redeems it in the end.
async fn assert_mistakes(profile: &str, mistakes: &Mistakes) {
    let sidecar = sidecar(profile).await;
    let (shop, other) = (&sidecar.shop, &another(&sidecar).await);
    let code = sidecar.code().await;
    let of_code = redemption(&code);
    let [grant_type, code_parameter, redirect_uri, verifier] = of_code;
    let foreign = redemption(&code);
    let unknown = redemption("unknown");
    let elsewhere = [grant_type, code_parameter, ("redirect_uri", "http://127.0.0.1:8765/other"), verifier];
    let guessed = [grant_type, code_parameter, redirect_uri, ("code_verifier", ANOTHER_VERIFIER)];
    let cases: [(&Registered, &[Pair<'_>], Pair<'_>); 9] = [
        (shop, &[], mistakes.unsupported_grant_type),
        (shop, &[("grant_type", "password")], mistakes.unsupported_grant_type),
        (shop, &[grant_type], mistakes.missing_code),
        (shop, &unknown, mistakes.invalid_code),
        (other, &foreign, mistakes.foreign_code),
        (shop, &elsewhere, mistakes.wrong_redirect_uri),
        (shop, &guessed, mistakes.wrong_verifier),
        (shop, &of_code[..3], mistakes.no_verifier),
        (shop, &[("grant_type", "refresh_token")], mistakes.missing_refresh_token),
    ];
    for (client, parameters, (code, description)) in cases {
        let reply = post(&sidecar, client, "/token", parameters).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (400, error(code, description)), "{parameters:?}");
    }
    let tokens = post(&sidecar, shop, "/token", &of_code).await;
    assert_eq!(tokens.status, 200, "what failed does not use a code up: {}", tokens.body);
    let tokens = tokens.json();
    let refresh = text(&tokens, "refresh_token");
    for (client, parameters, (code, description)) in [
        (shop, refreshing("unknown").to_vec(), mistakes.invalid_refresh_token),
        (other, refreshing(refresh).to_vec(), mistakes.foreign_refresh_token),
        (shop, [&refreshing(refresh)[..], &[("scope", "a b c")]].concat(), mistakes.too_much),
    ] {
        let reply = post(&sidecar, client, "/token", &parameters).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (400, error(code, description)), "{parameters:?}");
    }
    let successor = post(&sidecar, shop, "/token", &refreshing(refresh)).await;
    assert_eq!(successor.status, 200, "{}", successor.body);
    let (code, description) = mistakes.used_refresh_token;
    assert_answer(&post(&sidecar, shop, "/token", &refreshing(refresh)).await, 400, &error(code, description));
    let (code, description) = mistakes.invalid_code;
    let again = post(&sidecar, shop, "/token", &of_code).await;
    assert_answer(&again, 400, &error(code, description));
}

/// A verifier, well-formed but not the one.
const ANOTHER_VERIFIER: &str = "0123456789012345678901234567890123456789012";

#[tokio::test]
async fn mistakes_at_fittrackees_token_endpoint() {
    const NO_CODE: (&str, &str) = ("invalid_grant", "Invalid 'code' in request.");
    assert_mistakes(
        FITTRACKEE,
        &Mistakes {
            unsupported_grant_type: ("unsupported_grant_type", ""),
            missing_code: ("invalid_request", "Missing 'code' in request."),
            invalid_code: NO_CODE,
            foreign_code: NO_CODE,
            wrong_redirect_uri: ("invalid_grant", "Invalid 'redirect_uri' in request."),
            wrong_verifier: ("invalid_grant", "Code challenge failed."),
            no_verifier: ("invalid_request", "Missing 'code_verifier'"),
            missing_refresh_token: ("invalid_request", "Missing 'refresh_token' in request."),
            invalid_refresh_token: ("invalid_grant", ""),
            foreign_refresh_token: ("invalid_grant", ""),
            used_refresh_token: ("invalid_grant", ""),
            too_much: ("invalid_scope", "The requested scope is invalid, unknown, or malformed."),
        },
    )
    .await;
}

const OAUTHLIB_MISTAKES: Mistakes = Mistakes {
    unsupported_grant_type: ("unsupported_grant_type", ""),
    missing_code: ("invalid_request", "Missing code parameter."),
    invalid_code: ("invalid_grant", ""),
    foreign_code: ("invalid_grant", ""),
    wrong_redirect_uri: ("invalid_request", "Mismatching redirect URI."),
    wrong_verifier: ("invalid_grant", ""),
    no_verifier: ("invalid_request", "Code verifier required."),
    missing_refresh_token: ("invalid_request", "Missing refresh token parameter."),
    invalid_refresh_token: ("invalid_grant", ""),
    foreign_refresh_token: ("invalid_grant", ""),
    used_refresh_token: ("invalid_grant", ""),
    too_much: ("invalid_scope", ""),
};

#[tokio::test]
async fn mistakes_at_funkwhales_token_endpoint() {
    assert_mistakes(FUNKWHALE, &OAUTHLIB_MISTAKES).await;
}

#[tokio::test]
async fn mistakes_at_oauthlibs_token_endpoint() {
    let strict = OAUTHLIB.replacen("[tokens]", "[tokens]\nrefresh_grace = 0", 1);
    assert_mistakes(&strict, &OAUTHLIB_MISTAKES).await;
}

#[tokio::test]
async fn mistakes_at_forgejos_token_endpoint() {
    const NO_CODE: (&str, &str) = ("unauthorized_client", "client is not authorized");
    const NO_PROOF: (&str, &str) = ("unauthorized_client", "failed PKCE code challenge");
    const NO_TOKEN: (&str, &str) = ("unauthorized_client", "unable to parse refresh token");
    assert_mistakes(
        FORGEJO,
        &Mistakes {
            unsupported_grant_type: (
                "unsupported_grant_type",
                "Only refresh_token or authorization_code grant type is supported",
            ),
            missing_code: NO_CODE,
            invalid_code: NO_CODE,
            foreign_code: ("invalid_grant", "invalid grant"),
            wrong_redirect_uri: ("unauthorized_client", "unexpected redirect URI"),
            wrong_verifier: NO_PROOF,
            no_verifier: NO_PROOF,
            missing_refresh_token: NO_TOKEN,
            invalid_refresh_token: NO_TOKEN,
            foreign_refresh_token: ("invalid_grant", "grant does not exist"),
            used_refresh_token: ("unauthorized_client", "token was already used"),
            too_much: ("invalid_scope", "the scope exceeds what was granted"),
        },
    )
    .await;
}

#[tokio::test]
async fn what_fittrackee_answers() {
    let sidecar = sidecar(FITTRACKEE).await;
    let tokens = issued(&sidecar).await;
    assert_eq!(members(&tokens), ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!(tokens["expires_in"], 864_000);
    assert_eq!((text(&tokens, "token_type"), text(&tokens, "scope")), ("Bearer", "a b"));
    let unknown = error("invalid_client", "The client does not exist on this server.");
    let refused = error("invalid_client", "The client cannot authenticate with methods: ['client_secret_post']");
    let grant = [("grant_type", "authorization_code"), ("code", "x")];
    let (shop, nobody) = (&sidecar.shop, Registered { id: "nobody".into(), secret: "x".into() });
    assert_answer(&post(&sidecar, &nobody, "/token", &grant).await, 400, &unknown);
    for secret in ["wrong", ""] {
        let client = Registered { id: shop.id.clone(), secret: secret.into() };
        let reply = post(&sidecar, &client, "/token", &grant).await;
        assert_answer(&reply, 400, &refused);
        assert_eq!(reply.header("www-authenticate"), None);
    }
    assert_answer(&sidecar.http().post_as(shop, "/token", &grant).await, 400, &refused);
    let json = [("content-type", "application/json")];
    let reply = sidecar.http().send(Method::POST, "/token", &json, "{}").await;
    assert_answer(&reply, 400, &error("unsupported_grant_type", ""));
    // Revocation.
    assert_answer(&post(&sidecar, shop, "/revoke", &[]).await, 400, &error("invalid_request", ""));
    let access = text(&tokens, "access_token");
    let hinted = [("token", access), ("token_type_hint", "id_token")];
    assert_answer(&post(&sidecar, shop, "/revoke", &hinted).await, 401, &error("unsupported_token_type", ""));
    let other = another(&sidecar).await;
    assert_answer(&post(&sidecar, &other, "/revoke", &[("token", access)]).await, 400, &error("invalid_grant", ""));
    assert!(sidecar.is_active(access).await);
    for _ in 0..2 {
        assert_answer(&post(&sidecar, shop, "/revoke", &[("token", access)]).await, 200, &json!({}));
    }
    assert!(!sidecar.is_active(access).await && !sidecar.is_active(text(&tokens, "refresh_token")).await);
}

#[tokio::test]
async fn what_funkwhale_answers() {
    let sidecar = sidecar(FUNKWHALE).await;
    let tokens = issued(&sidecar).await;
    assert_eq!(members(&tokens), ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!((&tokens["expires_in"], text(&tokens, "scope")), (&json!(36_000), "a b"));
    let wrong = Registered { id: sidecar.shop.id.clone(), secret: "wrong".into() };
    for path in ["/token", "/revoke"] {
        for reply in [post(&sidecar, &wrong, path, &[]).await, sidecar.http().post_as(&wrong, path, &[]).await] {
            assert_answer(&reply, 401, &error("invalid_client", ""));
            assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_client""#));
        }
        let reply = post(&sidecar, &sidecar.shop, &format!("{path}?x=y"), &[]).await;
        assert_answer(&reply, 400, &error("invalid_request", "URL query parameters are not allowed"));
    }
    let reply = post(&sidecar, &sidecar.shop, "/revoke", &[]).await;
    assert_answer(&reply, 400, &error("invalid_request", "Missing token parameter."));
    let hinted = [("token", text(&tokens, "access_token")), ("token_type_hint", "nonsense")];
    let reply = sidecar.http().post_as(&sidecar.shop, "/revoke", &hinted).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
}

#[tokio::test]
async fn what_gancio_answers() {
    let sidecar = sidecar(GANCIO).await;
    let tokens = issued(&sidecar).await;
    assert_eq!(members(&tokens), ["access_token", "refresh_token", "scope", "token_type", "username"]);
    assert_eq!((text(&tokens, "token_type"), text(&tokens, "username")), ("Bearer", USERNAME));
    let wrong = Registered { id: sidecar.shop.id.clone(), secret: "wrong".into() };
    let reply = post(&sidecar, &wrong, "/token", &redemption("x")).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="Users""#));
    let reply = post(&sidecar, &sidecar.shop, "/token", &redemption("x")).await;
    assert_answer(&reply, 400, &error("invalid_grant", "Invalid authorization code"));
}

#[tokio::test]
async fn what_forgejo_answers() {
    let sidecar = sidecar(FORGEJO).await;
    let tokens = issued(&sidecar).await;
    assert_eq!(members(&tokens), ["access_token", "expires_in", "refresh_token", "token_type"]);
    assert_eq!((&tokens["expires_in"], text(&tokens, "token_type")), (&json!(3_600), "bearer"));
    let grant = redemption("x");
    let (shop, http) = (&sidecar.shop, sidecar.http());
    for (id, said) in [("???", "???"), ("", ""), ("a\"b\\c\u{7}", "a\"b\\c")] {
        let reply = post(&sidecar, &Registered { id: id.into(), secret: "x".into() }, "/token", &grant).await;
        let text = format!("cannot load client with client id: '{said}'");
        assert_answer(&reply, 400, &error("invalid_client", &text));
        assert_eq!(reply.header("www-authenticate"), None);
    }
    let secret = |secret: &str| Registered { id: shop.id.clone(), secret: secret.into() };
    let wrong = error("unauthorized_client", "invalid client secret");
    assert_answer(&post(&sidecar, &secret("wrong"), "/token", &grant).await, 400, &wrong);
    assert_answer(&http.post_as(&secret("wrong"), "/token", &grant).await, 400, &wrong);
    let empty = error("unauthorized_client", "invalid empty client secret");
    assert_answer(&post(&sidecar, &secret(""), "/token", &grant).await, 400, &empty);
    // Twice is once, if it is the same.
    let header = basic(&shop.id, &shop.secret);
    for (header, id, secret, expected) in [
        (&*header, &*shop.id, &*shop.secret, error("unauthorized_client", "client is not authorized")),
        (
            &*header,
            "other",
            &*shop.secret,
            error("invalid_request", "client_id in request body inconsistent with Authorization header"),
        ),
        (
            &*header,
            &*shop.id,
            "other",
            error("invalid_request", "client_secret in request body inconsistent with Authorization header"),
        ),
        ("Basic", "", "", error("invalid_request", "cannot parse basic auth header")),
    ] {
        let body = form(&[&grant[..], &[("client_id", id), ("client_secret", secret)]].concat());
        assert_answer(&http.post_text("/token", &[("authorization", header)], &body).await, 400, &expected);
    }
}

#[tokio::test]
async fn what_forgejo_tells_of_a_token_and_to_whom() {
    let sidecar = sidecar(FORGEJO).await;
    let tokens = issued(&sidecar).await;
    let token = [("token", text(&tokens, "access_token"))];
    let told = sidecar.http().post_as(&sidecar.shop, "/introspect", &token).await.json();
    assert_eq!(members(&told), ["active", "aud", "iss", "scope", "sub", "username"]);
    assert_eq!(
        (&told["active"], &told["aud"], &told["username"]),
        (&json!(true), &json!([sidecar.shop.id]), &json!(USERNAME))
    );
    let garbage = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", "x")]).await;
    assert_answer(&garbage, 200, &json!({ "active": false }));
    let wrong = Registered { id: sidecar.shop.id.clone(), secret: "wrong".into() };
    for reply in
        [sidecar.http().post_as(&wrong, "/introspect", &token).await, sidecar.http().post("/introspect", &token).await]
    {
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (401, "no valid authorization"));
        assert_eq!(reply.header("www-authenticate"), Some(r#"Basic realm="""#));
    }
    for authorization in [&[][..], &[("authorization", "Bearer x")]] {
        let reply = sidecar.http().send(Method::GET, "/userinfo", authorization, "").await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (401, "no valid authorization"));
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="""#));
    }
}

#[tokio::test]
async fn what_oauthlib_answers() {
    let sidecar = sidecar(OAUTHLIB).await;
    let code = sidecar.code().await;
    let reply = post(&sidecar, &sidecar.shop, "/token", &redemption(&code)).await;
    assert_eq!(members(&reply.json()), ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
    assert_eq!(reply.header("content-type"), Some("application/json;charset=UTF-8"));
    let wrong = Registered { id: sidecar.shop.id.clone(), secret: "wrong".into() };
    let reply = post(&sidecar, &wrong, "/token", &redemption("x")).await;
    assert_answer(&reply, 401, &error("invalid_client", ""));
    assert_eq!(reply.header("content-type"), Some("application/json;charset=UTF-8"));
    assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer error="invalid_client""#));
}

#[tokio::test]
async fn a_status_of_invalid_grant_and_members_of_ones_own() {
    let sidecar =
        Sidecar::with("[answers]\ninvalid_grant_status = 401\n[answers.extra]\nregion = 'eu'\nlevel = 3\nbeta = true")
            .await;
    let tokens = sidecar.redeem(&sidecar.code().await).await.json();
    assert_eq!((&tokens["region"], &tokens["level"], &tokens["beta"]), (&json!("eu"), &json!(3), &json!(true)));
    let reply = sidecar.redeem("unknown").await;
    reply.assert_error(401, "invalid_grant");
    assert_eq!(reply.header("www-authenticate"), None);
}

#[tokio::test]
async fn what_would_make_answers_lie_is_bad_configuration() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    for bad in [
        "[answers.extra]\naccess_token = 'x'",
        "[answers.extra]\nscope = 'x'",
        "[answers.extra]\nx = { y = 1 }",
        "[answers]\ninvalid_grant_status = 200",
        "[answers]\ncontent_type = 'text/html'",
        "[answers]\nwww_authenticate = \"a\\nb\"",
        "[answers.errors]\nno_such_reason = {}",
        "[answers.errors]\ninvalid_code = { status = 302 }",
        "[answers.errors]\ninvalid_code = { error = 'Invalid!' }",
        "[answers.errors]\ninvalid_code = { description = \"a\\nb\" }",
        "[token_endpoint]\ncontent_types = []",
        "[token_endpoint]\nclient_authentication = []",
        "[token_endpoint]\ncors_origins = ['https://app.example/path']",
        "[clients]\nsecret_prefix = 'a b'",
        "[tokens]\naccess_token_lifetime = 0",
        "[tokens]\naccess_token_lifetime = 0\nrefresh_token_absolute_lifetime = 0",
    ] {
        let built = std::panic::AssertUnwindSafe(configuration(&directory, bad));
        let built = futures_util::FutureExt::catch_unwind(built).await;
        assert!(built.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_body_is_of_the_content_types_that_are_taken() {
    let sidecar = Sidecar::with("[token_endpoint]\ncontent_types = ['form', 'json', 'multipart']").await;
    let Registered { id, secret } = &sidecar.shop;
    let code = sidecar.code().await;
    let said = json!({
        "grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER,
        "client_id": id, "client_secret": secret, "unknown": "ignored",
    });
    let twice = said.to_string().replace("\"unknown\":", "\"code\":\"x\",\"unknown\":");
    let numbers = said.to_string().replace("\"ignored\"", "1");
    for (body, reason) in [(&twice, "a parameter is repeated"), (&numbers, "the body is not application/json")] {
        let reply = sidecar.http().send(Method::POST, "/token", &[("content-type", "application/json")], body).await;
        assert_answer(&reply, 400, &error("invalid_request", reason));
    }
    let typed = [("content-type", "application/json; charset=utf-8")];
    let tokens = sidecar.http().send(Method::POST, "/token", &typed, &said.to_string()).await.tokens();
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &*tokens.refresh),
        ("client_id", id),
        ("client_secret", secret),
    ];
    let parts = fields
        .map(|(name, value)| format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    let body = format!("{}--xyz--\r\n", parts.concat());
    let typed = [("content-type", "multipart/form-data; boundary=xyz")];
    sidecar.http().send(Method::POST, "/token", &typed, &body).await.tokens();
    let typed = [("content-type", "text/plain")];
    sidecar.http().send(Method::POST, "/token", &typed, "").await.assert_error(400, "invalid_request");
    // By default, forms alone.
    let standard = Sidecar::start().await;
    for content_type in ["application/json", "multipart/form-data; boundary=xyz"] {
        let reply = standard.http().send(Method::POST, "/token", &[("content-type", content_type)], &body).await;
        let expected = "the body is not application/x-www-form-urlencoded";
        assert_answer(&reply, 400, &error("invalid_request", expected));
    }
}

#[tokio::test]
async fn pages_of_the_origins_that_are_named_may_call_the_token_endpoint() {
    let preflight = async |sidecar: &Sidecar, origin: &str| {
        let asks = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        sidecar.http().send(Method::OPTIONS, "/token", &asks, "").await
    };
    let anybody = sidecar(FORGEJO).await;
    let reply = preflight(&anybody, "https://app.example").await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, Some("*")));
    assert!(reply.header("access-control-allow-headers").unwrap().contains("content-type"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    let refused = anybody.http().send(Method::POST, "/token", &[("origin", "https://app.example")], "").await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "errors are read, too");
    let one = Sidecar::with("[token_endpoint]\ncors_origins = ['https://app.example']").await;
    for (origin, allowed) in [("https://app.example", Some("https://app.example")), ("https://other.example", None)] {
        assert_eq!(preflight(&one, origin).await.header("access-control-allow-origin"), allowed);
    }
    let standard = Sidecar::start().await;
    let reply = preflight(&standard, "https://app.example").await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (405, None));
}

#[tokio::test]
async fn a_public_client_may_send_basic_with_an_empty_secret() {
    for profile in [FORGEJO, OAUTHLIB] {
        let sidecar = sidecar(profile).await;
        let app = &sidecar.app;
        let code = sidecar.code_for(&sidecar.request(&[("client_id", &app.id)])).await;
        let header = basic(&app.id, "");
        let reply = sidecar.http().post_text("/token", &[("authorization", &header)], &form(&redemption(&code))).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    let sidecar = Sidecar::with("[token_endpoint]\nclient_authentication = ['client_secret_post']").await;
    let named = [&redemption("x")[..], &[("client_id", &sidecar.app.id)]].concat();
    sidecar.http().post("/token", &named).await.assert_error(401, "invalid_client");
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["client_secret_post"]));
}

#[tokio::test]
async fn everything_that_a_client_of_gancio_gets_is_made_of_few_characters() {
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
    };
    for profile in [FITTRACKEE, FUNKWHALE, GANCIO] {
        let sidecar = sidecar(profile).await;
        let code = sidecar.code().await;
        let tokens = post(&sidecar, &sidecar.shop, "/token", &redemption(&code)).await.json();
        let Registered { id, secret } = &sidecar.shop;
        for text in [&code, id, secret, text(&tokens, "access_token"), text(&tokens, "refresh_token")] {
            assert!(is_plain(text) && text.len() >= 32, "{text}");
        }
        let rotated = sidecar.service.rotate_client_secret(id.parse().unwrap(), 0).await.unwrap();
        assert!(is_plain(rotated.expose()));
    }
}

#[tokio::test]
async fn tokens_stay_good_when_the_alphabet_changes_but_not_the_same_bytes_in_the_other() {
    let sidecar = Sidecar::start().await;
    let plain = sidecar.tokens().await;
    let (directory, shop) = (sidecar.directory.clone(), sidecar.shop.clone());
    sidecar.stop().await;
    let mut sidecar = Sidecar::on(directory, "[tokens]\nalphabet = 'lowercase'").await;
    sidecar.shop = shop;
    let lowercase = sidecar.refresh(&plain.refresh).await.tokens();
    assert!(sidecar.is_active(&plain.access).await && sidecar.is_active(&lowercase.access).await);
    assert_eq!((plain.access.len(), lowercase.access.len()), (80, 94));
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&plain.access[6..]).unwrap();
    let digits = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let rewritten: String =
        (0..88).map(|digit| char::from(digits[(0..5).fold(0, |value, i| value << 1 | bit(digit * 5 + i))])).collect();
    assert!(!sidecar.is_active(&format!("sg_at_{rewritten}")).await);
    assert!(!sidecar.is_active(&lowercase.access.to_uppercase()).await);
    assert!(sidecar.check(&lowercase.access, &["a"]).await.decision() == api::Decision::Allowed);
}

#[tokio::test]
async fn forgejos_clients_have_uuids_and_marked_secrets() {
    let sidecar = sidecar(FORGEJO).await;
    let Registered { id, secret } = &sidecar.shop;
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
    assert!(secret.starts_with("gto_") && secret.len() == 56, "{secret}");
}

#[tokio::test]
async fn tokens_of_gancio_do_not_expire_and_end_when_they_are_revoked() {
    let sidecar = sidecar(GANCIO).await;
    let tokens = issued(&sidecar).await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    sidecar.clock.advance(40 * 365 * 86_400);
    sidecar.service.prune().await.unwrap();
    for token in [access, refresh] {
        let known = sidecar.introspect(token).await;
        assert_eq!((known.active, known.exp), (true, 0));
    }
    let told = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", access)]).await.json();
    assert_eq!((&told["active"], told.get("exp")), (&json!(true), None));
    assert_eq!(sidecar.check(access, &["a"]).await.decision(), api::Decision::Allowed);
    let again = post(&sidecar, &sidecar.shop, "/token", &refreshing(refresh)).await.json();
    assert_eq!(again.get("expires_in"), None);
    assert!(sidecar.is_active(access).await, "it is not the refresh that ends it");
    post(&sidecar, &sidecar.shop, "/revoke", &[("token", access)]).await;
    sidecar.clock.advance(2 * 86_400);
    sidecar.service.prune().await.unwrap();
    for token in [access, text(&again, "access_token"), text(&again, "refresh_token")] {
        assert!(!sidecar.is_active(token).await);
    }
}

#[tokio::test]
async fn the_page_says_that_an_app_may_go_on_until_it_is_stopped() {
    let sidecar = sidecar(GANCIO).await;
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&sidecar.request(&[])).await;
    assert!(page.body.contains("This lasts until it is revoked."), "{}", page.body);
}

#[tokio::test]
async fn machines_get_tokens_without_end_where_tokens_have_none() {
    let sidecar = sidecar(GANCIO).await;
    let machine = sidecar.register_for(&[scopegate::domain::client::GrantType::ClientCredentials]).await;
    let asked = [("grant_type", "client_credentials")];
    let first = post(&sidecar, &machine, "/token", &asked).await.json();
    sidecar.clock.advance(40 * 365 * 86_400);
    sidecar.service.prune().await.unwrap();
    assert_eq!((first.get("expires_in"), sidecar.is_active(text(&first, "access_token")).await), (None, true));
    let second = post(&sidecar, &machine, "/token", &asked).await.json();
    let grant = async |tokens: &Value| sidecar.introspect(text(tokens, "access_token")).await.grant_id;
    assert_eq!(grant(&first).await, grant(&second).await, "one grant is enough");
}

#[tokio::test]
async fn a_refresh_ends_the_access_tokens_of_before_on_every_server() {
    let sidecar = sidecar(FITTRACKEE).await;
    let beside = sidecar.beside_with(&of(FITTRACKEE)).await;
    let mut tokens = issued(&sidecar).await;
    for _ in 0..3 {
        let (old, refresh) = (text(&tokens, "access_token").to_owned(), text(&tokens, "refresh_token").to_owned());
        for server in [&sidecar, &beside] {
            assert!(server.is_active(&old).await, "it is cached now");
        }
        tokens = post(&beside, &sidecar.shop, "/token", &refreshing(&refresh)).await.json();
        let new = text(&tokens, "access_token");
        assert!(!beside.is_active(&old).await && beside.is_active(new).await, "at once where it was refreshed");
        while sidecar.is_active(&old).await {
            tokio::task::yield_now().await;
        }
        assert!(sidecar.is_active(new).await);
        for server in [&sidecar, &beside] {
            assert!(!server.is_active(&refresh).await && server.is_active(text(&tokens, "refresh_token")).await);
        }
    }
    // What is read anew is the same.
    let fresh = sidecar.beside_with(&of(FITTRACKEE)).await;
    assert!(fresh.is_active(text(&tokens, "access_token")).await);
    post(&sidecar, &sidecar.shop, "/revoke", &[("token", text(&tokens, "refresh_token"))]).await;
    assert!(!sidecar.is_active(text(&tokens, "access_token")).await);
}

#[tokio::test]
async fn a_refresh_that_is_repeated_in_its_grace_gives_the_same_tokens_though_it_ends_those_of_before() {
    let sidecar = Sidecar::with("[tokens]\nrefresh_ends_access_tokens = true\nrefresh_grace = 10").await;
    let first = sidecar.tokens().await;
    let second = sidecar.refresh(&first.refresh).await.tokens();
    assert_eq!(sidecar.refresh(&first.refresh).await.tokens(), second);
    assert!(!sidecar.is_active(&first.access).await && sidecar.is_active(&second.access).await);
    let many = (0..8).map(|_| sidecar.refresh(&second.refresh));
    let third: Vec<_> = futures_util::future::join_all(many).await.iter().map(Reply::tokens).collect();
    assert!(third.iter().all(|tokens| *tokens == third[0]), "one successor, whoever comes first");
    assert!(sidecar.is_active(&third[0].access).await && !sidecar.is_active(&second.access).await);
}

#[tokio::test]
async fn a_client_whose_refresh_token_stays_keeps_its_access_tokens() {
    let sidecar = Sidecar::with("[tokens]\nrefresh_ends_access_tokens = true").await;
    let metadata = ClientMetadata { refresh_token_rotation: RefreshTokenRotation::Keep, ..ClientMetadata::default() };
    sidecar.change(&sidecar.shop, metadata).await;
    let first = sidecar.tokens().await;
    let second = sidecar.refresh(&first.refresh).await.tokens();
    assert_eq!(first.refresh, second.refresh);
    assert!(sidecar.is_active(&first.access).await && sidecar.is_active(&second.access).await);
}
