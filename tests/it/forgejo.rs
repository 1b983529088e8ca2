//! The document of Forgejo's provider from top to bottom, with `profile = "forgejo"` as it is; what upstream's own tests assert beyond
//! that; its bugs, which are not ours; and its clients. What each key of the profile does is tested in `profiles_*` and `apps`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::foreign_clients::{node_with, python_with};
use crate::harness::{
    Browser, CHALLENGE, Http, PASSWORD, Registered, Reply, Sidecar, Site, USERNAME, VERIFIER, basic, document, encode,
    form, hidden_fields, query_of,
};
use crate::openid::claims;
use crate::profiles_stubs::Stub;

/// As it is: elsewhere the harness has users asked each time.
const PROFILE: &str = "profile = 'forgejo'\nconsent.remember = 'confidential'\n";
const AUTHORIZE: &str = "/login/oauth/authorize";
const GRANT: &str = "/login/oauth/grant";
const TOKEN: &str = "/login/oauth/access_token";
const APPS: &str = "/api/v1/user/applications/oauth2";
const JSON: (&str, &str) = ("content-type", "application/json");
const REDIRECT_URI: &str = "https://client.example/cb";
const FULL_ACCESS: &str = "Full access to your account";
/// One of the clients that each forge has.
const TEA: &str = "d57cb8c4-630c-4168-8324-ec79935e18d4";

/// A sidecar that stands in for Forgejo, and the application that asks it.
async fn forge() -> (Sidecar, Stub) {
    let sidecar = Sidecar::with(PROFILE).await;
    let stub = Stub::start("forgejo", &sidecar).await;
    (sidecar, stub)
}

/// Opens a page, and signs in where that is asked.
async fn open(browser: &mut Browser, path: &str) -> Reply {
    let mut reply = browser.get(path).await;
    loop {
        let next = reply.header("location").filter(|location| location.starts_with('/')).map(str::to_owned);
        if let Some(next) = next {
            reply = browser.get(&next).await;
        } else if reply.body.contains("name=\"password\"") {
            let said = [("username".into(), USERNAME.into()), ("password".into(), PASSWORD.into())];
            reply = browser.post("/login", &encode(&[hidden_fields(&reply.body), said.into()].concat())).await;
        } else {
            return reply;
        }
    }
}

async fn consent_page(browser: &mut Browser, request: &str) -> Reply {
    open(browser, &format!("{AUTHORIZE}?{request}")).await
}

/// Presses the button of such a page; where the browser is sent.
async fn press_allow(browser: &mut Browser, page: &Reply) -> String {
    let fields = [hidden_fields(&page.body), vec![("granted".into(), "true".into())]].concat();
    let reply = browser.post(GRANT, &encode(&fields)).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    reply.header("location").unwrap().to_owned()
}

async fn allow(browser: &mut Browser, request: &str) -> String {
    let page = consent_page(browser, request).await;
    press_allow(browser, &page).await
}

fn code_in(location: &str) -> String {
    query_of(location, "code").unwrap_or_else(|| panic!("no code in {location}"))
}

/// An app that the user registers, over the API.
async fn register(
    browser: &mut Browser,
    http: &Http,
    redirect_uris: &[&str],
    confidential: Option<bool>,
) -> Registered {
    open(browser, "/account/apps").await;
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut body = json!({ "name": "Test", "redirect_uris": redirect_uris });
    if let Some(confidential) = confidential {
        body["confidential_client"] = confidential.into();
    }
    let made = http.send(Method::POST, APPS, &[JSON, ("cookie", &cookies.join("; "))], &body.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let made = made.json();
    Registered { id: text(&made, "client_id"), secret: text(&made, "client_secret") }
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}")).to_owned()
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn post_json(sidecar: &Sidecar, body: &Value) -> Reply {
    sidecar.http().send(Method::POST, TOKEN, &[JSON], &body.to_string()).await
}

async fn redeem(sidecar: &Sidecar, client: &Registered, code: &str, more: &[(&str, &str)]) -> Reply {
    let body = [&[("grant_type", "authorization_code"), ("code", code)], more].concat();
    sidecar.http().post_as(client, TOKEN, &body).await
}

async fn refresh(sidecar: &Sidecar, client: &Registered, token: &str) -> Reply {
    sidecar.http().post_as(client, TOKEN, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

#[track_caller]
fn assert_error(reply: &Reply, error: &str, description: &str) {
    let expected = json!({ "error": error, "error_description": description });
    assert_eq!((reply.status, reply.json()), (StatusCode::BAD_REQUEST, expected));
}

/// What the API says to this header.
async fn api(stub: &Stub, method: Method, path: &str, authorization: &str) -> Reply {
    stub.send(&method, path, &[("authorization", authorization)]).await
}

/// The query of an authorization request of tea, which is verified, as its operator's.
fn request_of_tea(other: &[(&str, &str)]) -> String {
    let mut parameters = vec![
        ("client_id", TEA),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("redirect_uri", "http://127.0.0.1:45678"),
        ("response_type", "code"),
        ("state", "thestate"),
    ];
    parameters.retain(|(name, _)| !other.iter().any(|(changed, _)| changed == name));
    parameters.extend(other.iter().filter(|(_, value)| !value.is_empty()));
    form(&parameters)
}

// Endpoints.

/// An app that knows its users, and tells more of them than a name.
async fn with_users(more: &str) -> (Site, Sidecar) {
    let app = Site::without_tls().await;
    let ann = json!({
        "sub": "7", "name": "Ann", "preferred_username": "ann", "email": "ann@example.com", "email_verified": true,
        "picture": "https://forge.example/avatars/7", "groups": ["org", "org:team"],
    });
    app.serve("/whoami", document(&[], &ann.to_string()));
    let url = format!("http://{}", app.address);
    let login = format!("method = 'session_probe'\nurl = '{url}/user/login'\nprobe_url = '{url}/whoami'");
    let sidecar = Sidecar::with(&format!("{PROFILE}[login]\n{login}\n{more}")).await;
    (app, sidecar)
}

#[tokio::test]
async fn discovery_and_keys_have_the_members_of_the_original_as_far_as_they_are_so() {
    let (_app, sidecar) = with_users("").await;
    let issuer = format!("http://{}", sidecar.addresses.http);
    let reply = sidecar.http().get("/.well-known/openid-configuration").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let metadata = reply.json();
    for (member, expected) in [
        ("issuer", json!(issuer)),
        ("authorization_endpoint", json!(format!("{issuer}{AUTHORIZE}"))),
        ("token_endpoint", json!(format!("{issuer}{TOKEN}"))),
        ("jwks_uri", json!(format!("{issuer}/login/oauth/keys"))),
        ("userinfo_endpoint", json!(format!("{issuer}/login/oauth/userinfo"))),
        ("introspection_endpoint", json!(format!("{issuer}/login/oauth/introspect"))),
        // There it says `id_token`, too, and refuses it.
        ("response_types_supported", json!(["code"])),
        ("id_token_signing_alg_values_supported", json!(["RS256"])),
        ("subject_types_supported", json!(["public"])),
        ("code_challenge_methods_supported", json!(["S256", "plain"])),
        ("grant_types_supported", json!(["authorization_code", "refresh_token"])),
    ] {
        assert_eq!(metadata[member], expected, "{member}");
    }
    let has = |member: &str, value: &str| metadata[member].as_array().unwrap().contains(&json!(value));
    for scope in ["openid", "profile", "email", "groups", "read:user", "write:repository", "all"] {
        assert!(has("scopes_supported", scope), "{scope}: {metadata}");
    }
    let told = ["aud", "exp", "iat", "iss", "sub", "name", "preferred_username", "picture", "locale", "email"];
    for claim in told.into_iter().chain(["email_verified", "groups"]) {
        assert!(has("claims_supported", claim), "{claim}: {metadata}");
    }
    // Nothing here knows these.
    for claim in ["profile", "website", "updated_at"] {
        assert!(!has("claims_supported", claim), "{claim}: {metadata}");
    }
    for key in sidecar.http().get("/login/oauth/keys").await.json()["keys"].as_array().unwrap() {
        assert_eq!(members(key), ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!((&key["alg"], &key["kty"], &key["use"]), (&json!("RS256"), &json!("RSA"), &json!("sig")));
    }
}

#[tokio::test]
async fn who_is_not_signed_in_signs_in_at_forgejo_and_comes_back() {
    let (app, sidecar) = with_users("").await;
    let reply = sidecar.http().get(&format!("{AUTHORIZE}?{}", request_of_tea(&[]))).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let location = reply.header("location").unwrap();
    assert!(location.starts_with(&format!("http://{}/user/login?redirect_to=", app.address)), "{location}");
    let back = query_of(location, "redirect_to").unwrap();
    assert!(back.starts_with(&format!("http://{}{AUTHORIZE}?client_id={TEA}", sidecar.addresses.http)), "{back}");
}

#[tokio::test]
async fn userinfo_and_id_token_tell_what_the_scopes_are_for() {
    let (_app, sidecar) = with_users("").await;
    let email = json!({ "email": "ann@example.com", "email_verified": true });
    let names = json!({
        "name": "Ann", "preferred_username": "ann", "picture": "https://forge.example/avatars/7",
    });
    let groups = json!({ "groups": ["org", "org:team"] });
    for (scope, expected) in [
        ("openid", vec![]),
        ("openid groups", vec![&groups]),
        ("openid email read:user", vec![&email]),
        ("openid profile email groups", vec![&names, &email, &groups]),
    ] {
        let mut browser = sidecar.browser();
        browser.cookies.insert("session".into(), "of-ann".into());
        let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
        let request = [("client_id", &*app.id), ("redirect_uri", REDIRECT_URI), ("response_type", "code")];
        let request = form(&[&request[..], &[("scope", scope), ("nonce", "n-0S6")]].concat());
        let location = allow(&mut browser, &request).await;
        let tokens = redeem(&sidecar, &app, &code_in(&location), &[]).await.json();
        assert_eq!(members(&tokens), ["access_token", "expires_in", "id_token", "refresh_token", "token_type"]);
        let mut told = json!({ "sub": "7" });
        for (name, value) in expected.iter().flat_map(|claims| claims.as_object().unwrap()) {
            told[name] = value.clone();
        }
        let access = text(&tokens, "access_token");
        for authorization in [format!("Bearer {access}"), format!("token {access}")] {
            let headers = [("authorization", &*authorization)];
            let info = sidecar.http().send(Method::GET, "/login/oauth/userinfo", &headers, "").await;
            assert_eq!((info.status, info.json()), (StatusCode::OK, told.clone()), "{scope}");
        }
        let claims = claims(&tokens);
        assert_eq!((&claims["aud"], &claims["nonce"]), (&json!([app.id]), &json!("n-0S6")));
        assert_eq!(claims["iss"], json!(format!("http://{}", sidecar.addresses.http)));
        for (name, value) in told.as_object().unwrap() {
            assert_eq!(&claims[name], value, "{scope}");
        }
        for name in ["name", "email", "groups"] {
            assert_eq!(claims.get(name).is_some(), told.get(name).is_some(), "{scope}: {name}");
        }
    }
}

#[tokio::test]
async fn groups_are_told_where_that_is_configured() {
    let (_app, sidecar) = with_users("[openid]\ngroups = false").await;
    let metadata = sidecar.http().get("/.well-known/openid-configuration").await.json();
    assert!(!metadata["claims_supported"].as_array().unwrap().contains(&json!("groups")));
    let mut browser = sidecar.browser();
    browser.cookies.insert("session".into(), "of-ann".into());
    let location = allow(&mut browser, &request_of_tea(&[("scope", "openid profile groups")])).await;
    let tea = Registered { id: TEA.into(), secret: String::new() };
    let tokens = redeem(&sidecar, &tea, &code_in(&location), &[("code_verifier", VERIFIER)]).await.json();
    assert_eq!((claims(&tokens).get("groups"), &claims(&tokens)["name"]), (None, &json!("Ann")));
}

#[tokio::test]
async fn an_id_token_is_a_hint_whatever_its_audience_looks_like() {
    let sidecar = Sidecar::with(PROFILE).await;
    let mut browser = sidecar.browser();
    let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
    let request = |more: &[(&str, &str)]| {
        let usual = [("client_id", &*app.id), ("response_type", "code"), ("redirect_uri", REDIRECT_URI)];
        form(&[&usual[..], &[("scope", "openid")], more].concat())
    };
    let location = allow(&mut browser, &request(&[])).await;
    let tokens = redeem(&sidecar, &app, &code_in(&location), &[]).await.json();
    assert_eq!(claims(&tokens)["aud"], json!([app.id]));
    let again = request(&[("prompt", "none"), ("id_token_hint", &text(&tokens, "id_token"))]);
    let reply = browser.get(&format!("{AUTHORIZE}?{again}")).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    code_in(reply.header("location").unwrap());
}

// Scoped tokens.

#[tokio::test]
async fn a_token_with_scopes_reads_or_writes_what_they_name() {
    let (sidecar, stub) = forge().await;
    let mut browser = sidecar.browser();
    let lacks = |scope: &str| format!("token does not have at least one of required scope(s): [{scope}]");
    for (scope, reads_user, repositories, creates) in [
        ("openid read:user", Ok(()), Err("read:repository"), Err("write:repository")),
        ("openid read:user read:repository", Ok(()), Ok(()), Err("write:repository")),
        ("write:repository", Err("read:user"), Ok(()), Ok(())),
        // As python-social-auth joins them.
        ("read:user,read:repository", Ok(()), Ok(()), Err("write:repository")),
        ("read:issue,unknown", Err("read:user"), Err("read:repository"), Err("write:repository")),
    ] {
        let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
        let request = [("client_id", &*app.id), ("response_type", "code"), ("redirect_uri", REDIRECT_URI)];
        let page = consent_page(&mut browser, &form(&[&request[..], &[("scope", scope)]].concat())).await;
        assert!(!page.body.contains(FULL_ACCESS), "{scope}");
        let location = press_allow(&mut browser, &page).await;
        let tokens = redeem(&sidecar, &app, &code_in(&location), &[("redirect_uri", REDIRECT_URI)]).await.json();
        let authorization = format!("token {}", text(&tokens, "access_token"));
        for (method, path, expected) in [
            (Method::GET, "/api/v1/user", reads_user),
            (Method::GET, "/api/v1/users/ann/repos", repositories),
            (Method::POST, "/api/v1/user/repos", creates),
        ] {
            let reply = api(&stub, method.clone(), path, &authorization).await;
            match expected {
                Ok(()) => assert_eq!(reply.status, StatusCode::OK, "{scope}: {method} {path}"),
                Err(missing) => {
                    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{scope}: {method} {path}");
                    assert_eq!(reply.json()["message"], json!(lacks(missing)), "{scope}: {method} {path}");
                }
            }
        }
    }
}

// Client types.

#[tokio::test]
async fn a_public_client_has_any_port_of_a_loopback_literal_and_localhost_is_none() {
    let sidecar = Sidecar::with(PROFILE).await;
    for (uri, good) in [
        ("http://127.0.0.1", true),
        ("http://127.0.0.1/", true),
        ("http://127.0.0.1:3456", true),
        ("HTTP://127.0.0.1:3456/", true),
        ("https://127.0.0.1", true),
        ("https://127.0.0.1:3456", false),
        ("http://localhost:3456", false),
        ("http://[::1]:3456", false),
        ("http://127.0.0.1:3456/intruder", false),
        ("http://192.0.2.1:3456", false),
    ] {
        let reply = sidecar.http().get(&format!("{AUTHORIZE}?{}", request_of_tea(&[("redirect_uri", uri)]))).await;
        let expected = if good { StatusCode::SEE_OTHER } else { StatusCode::BAD_REQUEST };
        assert_eq!(reply.status, expected, "{uri}");
        assert!(good || reply.body.contains("Unregistered Redirect URI"), "{uri}");
    }
}

// Examples: confidential client.

#[tokio::test]
async fn a_confidential_client_without_pkce_and_without_a_scope_gets_what_its_user_may_do() {
    let (sidecar, stub) = forge().await;
    let mut browser = sidecar.browser();
    let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
    let request =
        [("client_id", &*app.id), ("redirect_uri", REDIRECT_URI), ("response_type", "code"), ("state", "STATE")];
    let page = consent_page(&mut browser, &form(&request)).await;
    assert!(page.body.contains(FULL_ACCESS), "{}", page.body);
    let location = press_allow(&mut browser, &page).await;
    assert!(location.starts_with(&format!("{REDIRECT_URI}?code=")) && location.ends_with("&state=STATE"), "{location}");
    let body = json!({
        "client_id": app.id, "client_secret": app.secret, "code": code_in(&location),
        "grant_type": "authorization_code", "redirect_uri": REDIRECT_URI,
    });
    let reply = post_json(&sidecar, &body).await;
    assert_eq!((reply.status, reply.header("cache-control")), (StatusCode::OK, Some("no-store")), "{}", reply.body);
    let tokens = reply.json();
    assert_eq!(members(&tokens), ["access_token", "expires_in", "refresh_token", "token_type"]);
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("bearer"), &json!(3_600)));
    let access = text(&tokens, "access_token");
    let user = api(&stub, Method::GET, "/api/v1/user", &format!("token {access}")).await;
    assert_eq!((user.status, &user.json()["login"]), (StatusCode::OK, &json!(USERNAME)));
    let all = api(&stub, Method::GET, "/api/v1/users/ann/repos", &format!("bearer {access}")).await;
    assert_eq!(all.json().as_array().unwrap().len(), 2, "{all:?}");
    assert_eq!(api(&stub, Method::POST, "/api/v1/user/repos", &format!("token {access}")).await.status, 200);
    // Once allowed, it is not asked again.
    let again = browser.get(&format!("{AUTHORIZE}?{}", form(&request))).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "{again:?}");
    code_in(again.header("location").unwrap());
    // Upstream leaves the tokens; whoever has a copy of the code may have them (RFC 6749 §4.1.2).
    assert_error(&post_json(&sidecar, &body).await, "unauthorized_client", "client is not authorized");
    assert_eq!(api(&stub, Method::GET, "/api/v1/user", &format!("token {access}")).await.status, 401);
}

// Examples: public client.

#[tokio::test]
async fn a_public_client_proves_itself_by_either_method_and_has_no_secret() {
    // Upstream's fixtures have these.
    const KNOWN_VERIFIER: &str = "N1Zo9-8Rfwhkt68r1r29ty8YwIraXR8eh_1Qwxg7yQXsonBt";
    const KNOWN_CHALLENGE: &str = "CjvyTLSdR47G5zYenDA-eDWW4lRrO8yvjcWwbD_deOg";
    let (sidecar, stub) = forge().await;
    let mut browser = sidecar.browser();
    for (method, challenge) in [("S256", KNOWN_CHALLENGE), ("plain", KNOWN_VERIFIER)] {
        let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], None).await;
        assert_eq!(app.secret, "");
        let location = allow(
            &mut browser,
            &form(&[
                ("client_id", &app.id),
                ("redirect_uri", REDIRECT_URI),
                ("response_type", "code"),
                ("code_challenge_method", method),
                ("code_challenge", challenge),
                ("state", "STATE"),
            ]),
        )
        .await;
        let with = |verifier: &str| {
            json!({
                "client_id": app.id, "code": code_in(&location), "grant_type": "authorization_code",
                "redirect_uri": REDIRECT_URI, "code_verifier": verifier,
            })
        };
        // Upstream forgets an S256 challenge on the page that asks.
        for wrong in ["", VERIFIER, if method == "S256" { KNOWN_CHALLENGE } else { CHALLENGE }] {
            let reply = post_json(&sidecar, &with(wrong)).await;
            assert_error(&reply, "unauthorized_client", "failed PKCE code challenge");
        }
        let tokens = post_json(&sidecar, &with(KNOWN_VERIFIER)).await.json();
        assert_eq!(members(&tokens), ["access_token", "expires_in", "refresh_token", "token_type"], "{method}");
        let authorization = format!("token {}", text(&tokens, "access_token"));
        assert_eq!(api(&stub, Method::GET, "/api/v1/user", &authorization).await.status, StatusCode::OK);
    }
}

// What upstream's tests assert beyond that.

#[tokio::test]
async fn errors_of_a_client_of_the_operators_go_back_to_it_and_those_of_others_wait_for_the_user() {
    let sidecar = Sidecar::with(PROFILE).await;
    let mut browser = sidecar.browser();
    let app = register(&mut browser, &sidecar.http(), &["http://127.0.0.1:45678"], Some(false)).await;
    for (changes, error, description) in [
        (&[("response_type", "token")][..], "unsupported_response_type", "Only code response type is supported."),
        (&[("code_challenge_method", "UNEXPECTED")], "invalid_request", "unsupported code challenge method"),
        (
            &[("code_challenge", ""), ("code_challenge_method", "")],
            "invalid_request",
            "PKCE is required for public clients",
        ),
    ] {
        let reply = browser.get(&format!("{AUTHORIZE}?{}", request_of_tea(changes))).await;
        let expected = form(&[("error", error), ("error_description", description), ("state", "thestate")]);
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{description}");
        assert_eq!(reply.header("location"), Some(&*format!("http://127.0.0.1:45678?{expected}")));
        let of_app = [&[("client_id", &*app.id)], changes].concat();
        let page = browser.get(&format!("{AUTHORIZE}?{}", request_of_tea(&of_app))).await;
        assert_eq!((page.status, page.header("location")), (StatusCode::BAD_REQUEST, None), "{description}");
        assert!(page.body.contains(&format!("error={error}")), "it leads there: {}", page.body);
    }
}

#[tokio::test]
async fn a_refresh_leaves_access_tokens_and_takes_the_refresh_token_of_before() {
    let (sidecar, stub) = forge().await;
    let mut browser = sidecar.browser();
    let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
    let request = form(&[("client_id", &app.id), ("response_type", "code"), ("redirect_uri", REDIRECT_URI)]);
    let location = allow(&mut browser, &request).await;
    let first = redeem(&sidecar, &app, &code_in(&location), &[]).await.json();
    let second = refresh(&sidecar, &app, &text(&first, "refresh_token")).await.json();
    for tokens in [&first, &second] {
        let authorization = format!("token {}", text(tokens, "access_token"));
        assert_eq!(api(&stub, Method::GET, "/api/v1/user", &authorization).await.status, StatusCode::OK);
    }
    let used = refresh(&sidecar, &app, &text(&first, "refresh_token")).await;
    assert_error(&used, "unauthorized_client", "token was already used");
    // Upstream goes on with the newer one; who has a copy of a token goes on, too (RFC 9700 §4.14.2).
    let ended = refresh(&sidecar, &app, &text(&second, "refresh_token")).await;
    assert_error(&ended, "invalid_grant", "grant does not exist");
}

// Bugs of upstream.

#[tokio::test]
async fn a_code_does_not_wait_for_ever_and_a_refresh_token_is_for_its_app_alone() {
    let sidecar = Sidecar::with(PROFILE).await;
    let mut browser = sidecar.browser();
    let app = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
    let other = register(&mut browser, &sidecar.http(), &[REDIRECT_URI], Some(true)).await;
    let request = form(&[("client_id", &app.id), ("response_type", "code"), ("redirect_uri", REDIRECT_URI)]);
    let code = code_in(&allow(&mut browser, &request).await);
    let tokens = redeem(&sidecar, &app, &code, &[]).await.json();
    let foreign = refresh(&sidecar, &other, &text(&tokens, "refresh_token")).await;
    assert_error(&foreign, "invalid_grant", "grant does not exist");
    assert_eq!(refresh(&sidecar, &app, &text(&tokens, "refresh_token")).await.status, StatusCode::OK, "it is good");
    let late = browser.get(&format!("{AUTHORIZE}?{request}")).await;
    let late = code_in(late.header("location").unwrap());
    sidecar.clock.advance(601);
    assert_error(&redeem(&sidecar, &app, &late, &[]).await, "unauthorized_client", "client is not authorized");
}

// Clients that are replayed: their requests byte for byte, where nothing drives them.

/// `tea login add --oauth` starts a browser by a library that has no way around it, and is in no registry.
#[tokio::test]
async fn tea_redeems_with_the_port_that_it_asked_the_system_for() {
    let (sidecar, stub) = forge().await;
    let scope = "admin user issue misc notification organization package repository";
    let mut browser = sidecar.browser();
    let page = consent_page(&mut browser, &request_of_tea(&[("scope", scope)])).await;
    assert!(page.body.contains(FULL_ACCESS), "none of these is a scope of the API: {}", page.body);
    let code = code_in(&press_allow(&mut browser, &page).await);
    let body = form(&[
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "http://127.0.0.1:0"),
    ]);
    let header = basic(TEA, "");
    let tokens = sidecar.http().post_text(TOKEN, &[("authorization", &header)], &body).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let user =
        api(&stub, Method::GET, "/api/v1/user", &format!("token {}", text(&tokens.json(), "access_token"))).await;
    assert_eq!(user.json()["login"], json!(USERNAME));
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", &text(&tokens.json(), "refresh_token"))]);
    let renewed = sidecar.http().post_text(TOKEN, &[("authorization", &header)], &body).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.body);
}

/// `decap-cms-backend-gitea` is a page that brings a whole editor and its build.
#[tokio::test]
async fn decap_cms_calls_from_its_page_with_json() {
    let (sidecar, stub) = forge().await;
    let mut browser = sidecar.browser();
    let page_of_app = "https://site.example/admin/";
    let app = register(&mut browser, &sidecar.http(), &[page_of_app], Some(false)).await;
    let state = r#"{"auth_type":"pkce","nonce":"3b2c0b3e-7d6c-4d0e-9f5e-0a1b2c3d4e5f"}"#;
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let request = form(&[
        ("client_id", &app.id),
        ("redirect_uri", page_of_app),
        ("response_type", "code"),
        ("scope", "repository"),
        ("state", state),
        ("code_challenge_method", "S256"),
        ("code_challenge", &challenge),
    ]);
    let location = allow(&mut browser, &request).await;
    assert_eq!(query_of(&location, "state").as_deref(), Some(state));
    let asks = [
        ("origin", "https://site.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let preflight = sidecar.http().send(Method::OPTIONS, TOKEN, &asks, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (StatusCode::OK, Some("*")));
    let typed = [("origin", "https://site.example"), ("content-type", "application/json; charset=utf-8")];
    let body = json!({
        "client_id": app.id, "code": code_in(&location), "grant_type": "authorization_code",
        "redirect_uri": page_of_app, "code_verifier": VERIFIER,
    });
    let tokens = sidecar.http().send(Method::POST, TOKEN, &typed, &body.to_string()).await;
    assert_eq!(
        (tokens.status, tokens.header("access-control-allow-origin")),
        (StatusCode::OK, Some("*")),
        "{tokens:?}"
    );
    let body = json!({
        "grant_type": "refresh_token", "client_id": app.id, "redirect_uri": page_of_app,
        "refresh_token": text(&tokens.json(), "refresh_token"),
    });
    let renewed = sidecar.http().send(Method::POST, TOKEN, &typed, &body.to_string()).await;
    assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.body);
    let authorization = format!("token {}", text(&renewed.json(), "access_token"));
    assert_eq!(api(&stub, Method::GET, "/api/v1/users/ann/repos", &authorization).await.status, StatusCode::OK);
}

// Clients that run as they are, where the sidecar and the application are one origin, as `deploy/nginx/forgejo.conf` has it.

/// The sidecar and the stub behind one nginx.
struct Origin {
    url: String,
    sidecar: Sidecar,
    _stub: Stub,
    _nginx: (TempDir, Child),
}

impl Origin {
    /// Somebody else may take the free port before nginx does.
    async fn start() -> Self {
        for _ in 0..5 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let url = format!("http://{address}");
            let trusts = "[http]\ntrusted_proxies = ['127.0.0.1']\n";
            let sidecar = Sidecar::with(&format!("{PROFILE}issuer = '{url}'\n{trusts}")).await;
            let stub = Stub::start("forgejo", &sidecar).await;
            drop(listener);
            let directory = tempfile::tempdir().unwrap();
            let mut text = include_str!("../../deploy/nginx/forgejo.conf").to_owned();
            for (shipped, here) in [
                ("listen 0.0.0.0:443 ssl;", format!("listen {address};")),
                ("ssl_certificate tls.crt;", String::new()),
                ("ssl_certificate_key tls.key;", String::new()),
                ("server 127.0.0.1:8080;", format!("server {};", sidecar.addresses.http)),
                ("server 127.0.0.1:3000;", format!("server {};", stub.address)),
            ] {
                assert!(text.contains(shipped), "{shipped}");
                text = text.replace(shipped, &here);
            }
            let file = directory.path().join("forgejo.conf");
            std::fs::write(&file, text).unwrap();
            let debian = Path::new("/usr/sbin/nginx");
            let mut command = Command::new(if debian.exists() { debian } else { Path::new("nginx") });
            command.arg("-p").arg(directory.path()).arg("-c").arg(&file).args(["-e", "error.log"]);
            command.args(["-g", "daemon off; master_process off;"]).stdin(Stdio::null()).kill_on_drop(true);
            let mut nginx = command.spawn().unwrap_or_else(|error| panic!("tests/run.sh installs nginx: {error}"));
            let began = Instant::now();
            while nginx.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).await.is_ok() {
                    return Self { url, sidecar, _stub: stub, _nginx: (directory, nginx) };
                }
                assert!(began.elapsed() < Duration::from_secs(30), "nginx does not start");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("nginx does not start");
    }

    /// What a client is told, with an app of its own.
    async fn given(&self, flow: &str) -> Value {
        let http = Http::new(&self.url);
        let django = "http://127.0.0.1:8765/accounts/gitea/login/callback/";
        let app = register(&mut Browser::new(http.clone()), &http, &[REDIRECT_URI, django], Some(true)).await;
        json!({
            "flow": flow,
            "http": self.sidecar.service.settings.issuer,
            "account": { "username": USERNAME, "password": PASSWORD },
            "app": { "client_id": app.id, "client_secret": app.secret },
            "redirect_uri": REDIRECT_URI,
            "django_uri": django,
        })
    }
}

async fn python(flow: &str) {
    let origin = Origin::start().await;
    println!("{}", python_with("clients/forgejo.py", Stdio::null(), &origin.given(flow).await).await);
}

#[tokio::test]
async fn git_credential_oauth_signs_in_with_its_built_in_id() {
    python("git_credential_oauth").await;
}

#[tokio::test]
async fn python_social_auth_signs_in_without_a_scope_and_reads_the_user() {
    python("social_auth").await;
}

#[tokio::test]
async fn django_allauth_signs_in_and_makes_an_account() {
    python("allauth").await;
}

#[tokio::test]
async fn requests_oauthlib_gets_tokens_of_a_forge_and_renews_them() {
    python("requests_oauthlib").await;
}

#[tokio::test]
async fn openid_client_takes_a_forge_for_an_openid_provider() {
    let origin = Origin::start().await;
    println!("{}", node_with("forgejo.js", &origin.given("").await).await);
}
