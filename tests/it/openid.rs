//! OpenID Connect: ID tokens, their keys, what may be asked of the sign-in, and signing out.

use std::collections::BTreeSet;
use std::process::Stdio;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use scopegate::domain::client::GrantType;
use scopegate::domain::dpop::ALGORITHMS;
use scopegate::service::signing_keys::Replacement;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::dpop::{Key, post};
use crate::foreign_clients::python_with;
use crate::harness::{
    Browser, CHALLENGE, PASSWORD, REDIRECT_URI, Reply, Sidecar, USERNAME, VERIFIER, encode, form, hidden_fields,
    query_of,
};

const DAY: i64 = 86_400;
const AFTER_LOGOUT: &str = "https://shop.example/signed-out";

/// A sidecar whose clients may ask for `openid` and `profile`.
pub(crate) async fn provider(more: &str) -> Sidecar {
    let sidecar = Sidecar::with(&format!("{more}\n[consent]\nremember = 'confidential'")).await;
    for client in [&sidecar.shop, &sidecar.app] {
        let changes = ClientChanges { scopes: Some("a openid profile".parse().unwrap()), ..ClientChanges::default() };
        sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    }
    sidecar
}

fn request(sidecar: &Sidecar, other: &[(&str, &str)]) -> String {
    sidecar.request(&[&[("scope", "openid profile a"), ("nonce", "n-0S6")], other].concat())
}

fn issuer(sidecar: &Sidecar) -> String {
    format!("http://{}", sidecar.addresses.http)
}

/// The token response for a new sign-in.
async fn sign_in(sidecar: &Sidecar, other: &[(&str, &str)]) -> Value {
    redeem(sidecar, &sidecar.browser().approve(&request(sidecar, other)).await).await
}

async fn redeem(sidecar: &Sidecar, location: &str) -> Value {
    let code = query_of(location, "code").unwrap_or_else(|| panic!("no code in {location}"));
    let reply = sidecar.redeem(&code).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    reply.json()
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("no {name}: {json}"))
}

/// A part of a JSON Web Token: 0 is the header, 1 the claims.
fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The claims of the ID token of a token response.
pub fn claims(tokens: &Value) -> Value {
    part(text(tokens, "id_token"), 1)
}

fn kid(tokens: &Value) -> String {
    text(&part(text(tokens, "id_token"), 0), "kid").to_owned()
}

async fn published(sidecar: &Sidecar) -> BTreeSet<String> {
    let keys = sidecar.http().get("/jwks").await.json();
    keys["keys"].as_array().unwrap().iter().map(|key| text(key, "kid").to_owned()).collect()
}

async fn authorize(browser: &mut Browser, request: &str) -> Reply {
    browser.get(&format!("/authorize?{request}")).await
}

#[track_caller]
fn error_to_client(reply: &Reply) -> String {
    let location = reply.header("location").unwrap_or_else(|| panic!("{reply:?}"));
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    query_of(location, "error").unwrap_or_default()
}

#[tokio::test]
async fn d5_a42_an_id_token_says_who_signed_in_when_and_for_whom() {
    let sidecar = provider("").await;
    let tokens = sign_in(&sidecar, &[("state", "s")]).await;
    let claims = claims(&tokens);
    assert_eq!(text(&claims, "iss"), issuer(&sidecar));
    assert_eq!(text(&claims, "aud"), sidecar.shop.id);
    assert_eq!(text(&claims, "sub"), sidecar.introspect(text(&tokens, "access_token")).await.sub);
    assert_eq!(text(&claims, "nonce"), "n-0S6");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["auth_time"], claims["iat"]);
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert_eq!(text(&claims, "sid").len(), 32);
    assert_eq!(text(&claims, "acr"), "1");
    let half = &Sha256::digest(text(&tokens, "access_token"))[..16];
    assert_eq!(text(&claims, "at_hash"), BASE64_URL_SAFE_NO_PAD.encode(half));
    let header = part(text(&tokens, "id_token"), 0);
    assert_eq!(header["alg"], "RS256");
    assert!(published(&sidecar).await.contains(text(&header, "kid")));

    let tokens = sign_in(&sidecar, &[("nonce", ""), ("acr_values", "2 1")]).await;
    let claims = self::claims(&tokens);
    assert_eq!((&claims["nonce"], text(&claims, "acr")), (&Value::Null, "1"));
    let tokens = sign_in(&sidecar, &[("scope", "a")]).await;
    assert_eq!(tokens["id_token"], Value::Null, "no openid, no ID token");
}

#[tokio::test]
async fn d5_joserfc_and_authlib_verify_the_tokens_of_every_algorithm() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let sidecar = provider(&format!("[keys]\nsigning_algorithm = '{algorithm}'")).await;
        let tokens = sign_in(&sidecar, &[]).await;
        let given = json!({
            "issuer": issuer(&sidecar), "client_id": sidecar.shop.id, "algorithm": algorithm, "nonce": "n-0S6", "tokens": tokens,
        });
        python_with("openid.py", Stdio::null(), &given).await;
    }
}

#[tokio::test]
async fn f17_a_refresh_gives_an_id_token_of_the_same_sign_in_without_its_nonce() {
    let sidecar = provider("").await;
    let first = sign_in(&sidecar, &[]).await;
    sidecar.clock.advance(100);
    let refreshed = sidecar.refresh(text(&first, "refresh_token")).await.json();
    let (then, now) = (claims(&first), claims(&refreshed));
    for same in ["iss", "sub", "aud", "auth_time", "sid"] {
        assert_eq!(then[same], now[same], "{same}");
    }
    assert_eq!(now["nonce"], Value::Null);
    assert_eq!(now["iat"].as_i64(), then["iat"].as_i64().map(|iat| iat + 100));
    let half = &Sha256::digest(text(&refreshed, "access_token"))[..16];
    assert_eq!(text(&now, "at_hash"), BASE64_URL_SAFE_NO_PAD.encode(half));
    let again = sidecar.refresh(text(&first, "refresh_token")).await.json();
    assert_eq!(claims(&again), now, "a repetition is the same");
    let narrow =
        [("grant_type", "refresh_token"), ("refresh_token", text(&refreshed, "refresh_token")), ("scope", "a")];
    let narrowed = sidecar.http().post_as(&sidecar.shop, "/token", &narrow).await.json();
    assert_eq!((text(&narrowed, "scope"), &narrowed["id_token"]), ("a", &Value::Null));
}

#[tokio::test]
async fn d4_the_keys_are_public_named_by_their_thumbprint_and_readable_from_anywhere() {
    let sidecar = provider("").await;
    let origin = [("origin", "https://app.example")];
    let reply = sidecar.http().send(Method::GET, "/jwks", &origin, "").await;
    assert_eq!(reply.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=3600"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    let json = reply.json();
    let [key] = json["keys"].as_array().unwrap().as_slice() else { panic!("{json}") };
    let members: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["alg", "e", "kid", "kty", "n", "use"]));
    assert_eq!((&key["alg"], &key["kty"], &key["use"]), (&json!("RS256"), &json!("RSA"), &json!("sig")));
    let canonical = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(key, "e"), text(key, "n"));
    assert_eq!(text(key, "kid"), BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)));
}

#[tokio::test]
async fn d4_keys_rotate_by_themselves_with_overlap() {
    let sidecar = provider("[keys]\nsigning_algorithm = 'ES256'").await;
    let old = kid(&sign_in(&sidecar, &[]).await);
    assert_eq!(published(&sidecar).await, BTreeSet::from([old.clone()]));
    sidecar.clock.advance(89 * DAY - 10);
    assert_eq!(published(&sidecar).await.len(), 1);
    sidecar.clock.advance(10);
    let announced = published(&sidecar).await;
    assert_eq!(announced.len(), 2, "a day before, its successor is there");
    assert_eq!(kid(&sign_in(&sidecar, &[]).await), old, "but does not sign");
    sidecar.clock.advance(DAY);
    let new = kid(&sign_in(&sidecar, &[]).await);
    assert!(new != old && announced.contains(&new));
    assert_eq!(published(&sidecar).await, announced, "what the old one signed is good still");
    sidecar.clock.advance(DAY);
    assert_eq!(published(&sidecar).await, BTreeSet::from([new.clone()]));
    assert_eq!(kid(&sign_in(&sidecar, &[]).await), new);
}

#[tokio::test]
async fn d4_an_operator_rotates_with_notice_or_at_once() {
    let sidecar = provider("[keys]\nsigning_algorithm = 'EdDSA'").await;
    let first = kid(&sign_in(&sidecar, &[]).await);
    sidecar.service.signing_keys.replace(Replacement::Announced).await.unwrap();
    assert_eq!(kid(&sign_in(&sidecar, &[]).await), first);
    sidecar.clock.advance(DAY);
    let second = kid(&sign_in(&sidecar, &[]).await);
    assert_ne!(second, first);
    assert_eq!(published(&sidecar).await, BTreeSet::from([first, second.clone()]));
    sidecar.service.signing_keys.replace(Replacement::AtOnce).await.unwrap();
    let third = kid(&sign_in(&sidecar, &[]).await);
    assert_ne!(third, second);
    assert_eq!(published(&sidecar).await, BTreeSet::from([third]));
}

#[tokio::test]
async fn d7_servers_on_one_database_sign_with_one_key() {
    let one = provider("").await;
    let (two, three) = (one.beside().await, one.beside().await);
    let (of_one, of_two, of_three) = tokio::join!(published(&one), published(&two), published(&three));
    assert_eq!(of_one.len(), 1, "{of_one:?}");
    assert_eq!((&of_one, &of_one), (&of_two, &of_three));
    let mut issuers = BTreeSet::new();
    for sidecar in [&one, &two] {
        let tokens = sign_in(sidecar, &[]).await;
        assert_eq!(BTreeSet::from([kid(&tokens)]), of_one);
        issuers.insert(text(&claims(&tokens), "iss").to_owned());
    }
    assert_eq!(one.database().await.count("signing_keys").await, 1);
}

#[tokio::test]
async fn a_signing_key_is_stored_sealed_and_opens_under_its_secret_alone() {
    let sidecar = provider("").await;
    let first = kid(&sign_in(&sidecar, &[]).await);
    let mut database = sidecar.database().await;
    // The object identifier of RSA, which every PKCS #8 document of an RSA key has.
    let plain = if database.is_shared() {
        r"position('\x2a864886f70d010101'::bytea in private_key) > 0"
    } else {
        "instr(private_key, x'2a864886f70d010101') > 0"
    };
    assert_eq!(database.count(&format!("signing_keys WHERE {plain}")).await, 0);
    assert_eq!(database.count("signing_keys WHERE length(private_key) > 1000").await, 1);
    let previous = format!("[[keys.previous]]\nid = 0\nsecret = '{}'", crate::harness::SECRET);
    let another = format!("secret = '{}'\nsecret_id = 1", BASE64_STANDARD.encode([9; 32]));
    let knows_both = sidecar.beside_with(&format!("[keys]\n{another}\n{previous}")).await;
    assert_eq!(kid(&sign_in(&knows_both, &[]).await), first);
    let knows_one = sidecar.beside_with(&format!("[keys]\n{another}")).await;
    let second = kid(&sign_in(&knows_one, &[]).await);
    assert_ne!(second, first);
    assert_eq!(published(&knows_one).await, BTreeSet::from([first, second]), "the old one verifies still");
}

#[tokio::test]
async fn a32_a33_a34_a35_without_prompting_the_client_is_told_why_not() {
    let sidecar = provider("").await;
    let none = request(&sidecar, &[("prompt", "none")]);
    let mut browser = sidecar.browser();
    let reply = authorize(&mut browser, &none).await;
    assert_eq!(error_to_client(&reply), "login_required");
    assert_eq!(query_of(reply.header("location").unwrap(), "state").as_deref(), Some("xyz"));
    assert_eq!(reply.header("set-cookie"), None);
    browser.consent_page(&request(&sidecar, &[])).await;
    assert_eq!(error_to_client(&authorize(&mut browser, &none).await), "consent_required");
    let both = request(&sidecar, &[("prompt", "none login")]);
    assert_eq!(error_to_client(&authorize(&mut browser, &both).await), "invalid_request");
    let elsewhere = request(&sidecar, &[("prompt", "none"), ("redirect_uri", "https://evil.example/")]);
    let reply = authorize(&mut browser, &elsewhere).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None));
    let unnamed = request(&sidecar, &[("redirect_uri", "")]);
    assert_eq!(authorize(&mut browser, &unnamed).await.status, StatusCode::BAD_REQUEST, "a5");
    let registering = request(&sidecar, &[("registration", "{}")]);
    assert_eq!(error_to_client(&authorize(&mut browser, &registering).await), "registration_not_supported", "a38");
}

#[tokio::test]
async fn a53_what_was_granted_before_needs_no_prompt_unless_anybody_could_pose_as_the_client() {
    let sidecar = provider("").await;
    let mut browser = sidecar.browser();
    let first = redeem(&sidecar, &browser.approve(&request(&sidecar, &[("scope", "openid a")])).await).await;
    sidecar.clock.advance(30);
    let none = |scope| request(&sidecar, &[("prompt", "none"), ("scope", scope), ("nonce", "second")]);
    let reply = authorize(&mut browser, &none("openid a")).await;
    let second = redeem(&sidecar, reply.header("location").unwrap()).await;
    let (one, two) = (claims(&first), claims(&second));
    assert_eq!((&one["sub"], &one["auth_time"], &one["sid"]), (&two["sub"], &two["auth_time"], &two["sid"]));
    assert_eq!(two["nonce"], "second");
    assert_eq!(error_to_client(&authorize(&mut browser, &none("openid profile")).await), "consent_required");
    for tokens in [&first, &second] {
        sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", text(tokens, "refresh_token"))]).await;
    }
    assert_eq!(error_to_client(&authorize(&mut browser, &none("openid a")).await), "consent_required", "revoked");

    let of_app = |prompt| request(&sidecar, &[("client_id", sidecar.app.id.as_str()), ("prompt", prompt)]);
    let location = browser.approve(&of_app("consent")).await;
    let code = query_of(&location, "code").unwrap();
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let reply = sidecar.http().post_as(&sidecar.app, "/token", &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    assert_eq!(error_to_client(&authorize(&mut browser, &of_app("none")).await), "consent_required");
}

/// The query of a request that the shop pushed.
async fn push(sidecar: &Sidecar, other: &[(&str, &str)]) -> String {
    let request = [
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid a"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let reply = sidecar.http().post_as(&sidecar.shop, "/par", &[&request[..], other].concat()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    form(&[("client_id", &sidecar.shop.id), ("request_uri", text(&reply.json(), "request_uri"))])
}

#[tokio::test]
async fn a36_a39_a_pushed_request_may_ask_for_a_new_sign_in_or_for_none() {
    let sidecar = provider("").await;
    let mut browser = sidecar.browser();
    let first = claims(&redeem(&sidecar, &browser.approve(&push(&sidecar, &[]).await).await).await);
    sidecar.clock.advance(5);
    let again = push(&sidecar, &[("prompt", "login")]).await;
    assert!(authorize(&mut browser, &again).await.header("location").unwrap().starts_with("/login?"));
    let second = claims(&redeem(&sidecar, &browser.approve(&again).await).await);
    assert_eq!(second["auth_time"].as_i64(), first["auth_time"].as_i64().map(|then| then + 5));
    let silent = push(&sidecar, &[("prompt", "none")]).await;
    redeem(&sidecar, authorize(&mut browser, &silent).await.header("location").unwrap()).await;
    let reply = authorize(&mut browser, &silent).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "it is used up");
}

#[tokio::test]
async fn a53_a_resource_that_was_not_granted_before_needs_the_user() {
    let sidecar = provider("[resources.catalogue]\n'https://r' = ['a']\n'https://s' = ['a']").await;
    let mut browser = sidecar.browser();
    let query = |more: &[(&str, &str)]| request(&sidecar, &[&[("scope", "openid a")], more].concat());
    let at_r = redeem(&sidecar, &browser.approve(&query(&[("resource", "https://r")])).await).await;
    assert_eq!(text(&at_r, "scope"), "a openid", "openid belongs to no resource");
    claims(&at_r);
    for more in [&[("resource", "https://s")][..], &[]] {
        let reply = authorize(&mut browser, &query(&[&[("prompt", "none")], more].concat())).await;
        assert_eq!(error_to_client(&reply), "consent_required", "{more:?}");
    }
    let reply = authorize(&mut browser, &query(&[("prompt", "none"), ("resource", "https://r")])).await;
    redeem(&sidecar, reply.header("location").unwrap()).await;
}

#[tokio::test]
async fn u2_user_info_is_not_for_resources_nor_for_who_shows_no_key() {
    let sidecar = provider("").await;
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        sidecar.http().send(Method::GET, "/userinfo", &[("authorization", bearer.as_str())], "").await
    };
    let restricted = sign_in(&sidecar, &[("resource", "https://r")]).await;
    let reply = ask(text(&restricted, "access_token")).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(reply.header("www-authenticate").unwrap().contains("invalid_token"), "{reply:?}");
    let code = sidecar.code_for(&request(&sidecar, &[])).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let proof = Key::new().proof(&sidecar, "/token");
    let bound = post(&sidecar, &sidecar.shop, "/token", &[&proof], &body).await.json();
    assert_eq!(text(&bound, "token_type"), "DPoP");
    claims(&bound);
    let reply = ask(text(&bound, "access_token")).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(reply.header("www-authenticate").unwrap().starts_with("DPoP "), "{reply:?}");
}

#[tokio::test]
async fn a36_a_login_prompt_asks_for_the_password_once_more_and_once_only() {
    let sidecar = provider("").await;
    let mut browser = sidecar.browser();
    let first = claims(&redeem(&sidecar, &browser.approve(&request(&sidecar, &[])).await).await);
    sidecar.clock.advance(5);
    let again = request(&sidecar, &[("prompt", "login consent"), ("state", "a b/'")]);
    let reply = authorize(&mut browser, &again).await;
    assert!(reply.header("location").unwrap().starts_with("/login?"), "{reply:?}");
    let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &again)]);
    let signed_in = browser.post("/login", &body).await;
    let proven = signed_in.header("location").unwrap().to_owned();
    let page = browser.get(&proven).await;
    assert!(page.body.contains("action=\"/consent\""), "{}", page.body);
    let mut stranger = sidecar.browser();
    stranger.consent_page(&request(&sidecar, &[])).await;
    let reply = stranger.get(&proven).await;
    assert!(reply.header("location").unwrap().starts_with("/login?"), "it proves nothing about another session");
    let other = proven.replacen("nonce=n-0S6", "nonce=other", 1);
    assert!(browser.get(&other).await.header("location").unwrap().starts_with("/login?"), "nor about another request");
    let second = claims(&redeem(&sidecar, &browser.approve(&again).await).await);
    assert_eq!(second["auth_time"].as_i64(), first["auth_time"].as_i64().map(|then| then + 5));
    sidecar.clock.advance(600);
    assert!(browser.get(&proven).await.header("location").unwrap().starts_with("/login?"), "nor for ever");
}

#[tokio::test]
async fn a37_a_sign_in_that_is_too_old_is_done_again() {
    let sidecar = provider("").await;
    let mut browser = sidecar.browser();
    browser.consent_page(&request(&sidecar, &[])).await;
    sidecar.clock.advance(100);
    let at_most = |seconds, prompt| request(&sidecar, &[("max_age", seconds), ("prompt", prompt)]);
    assert_eq!(authorize(&mut browser, &at_most("100", "")).await.status, StatusCode::OK);
    assert!(authorize(&mut browser, &at_most("99", "")).await.header("location").unwrap().starts_with("/login?"));
    assert_eq!(error_to_client(&authorize(&mut browser, &at_most("99", "none")).await), "login_required");
    assert_eq!(error_to_client(&authorize(&mut browser, &at_most("soon", "")).await), "invalid_request");
    let tokens = redeem(&sidecar, &browser.approve(&at_most("0", "")).await).await;
    let claims = claims(&tokens);
    assert_eq!(claims["auth_time"], claims["iat"]);
}

#[tokio::test]
async fn a52_a_hint_of_another_user_means_that_the_right_one_has_to_sign_in() {
    let sidecar = provider("").await;
    sidecar.service.create_account("bob".into(), Zeroizing::new(PASSWORD.into())).await.unwrap();
    let mut browser = sidecar.browser();
    let tokens = redeem(&sidecar, &browser.approve(&request(&sidecar, &[])).await).await;
    // Long expired, which a hint may be.
    sidecar.clock.advance(3_600);
    let hint = text(&tokens, "id_token");
    for (prompt, answer) in [("none", ""), ("consent", "consent")] {
        let reply = authorize(&mut browser, &request(&sidecar, &[("id_token_hint", hint), ("prompt", prompt)])).await;
        match answer {
            "" => assert!(query_of(reply.header("location").unwrap(), "code").is_some(), "{reply:?}"),
            _ => assert_eq!(reply.status, StatusCode::OK),
        }
    }
    let mut of_bob = sidecar.browser();
    let body = form(&[("username", "bob"), ("password", PASSWORD), ("request", &request(&sidecar, &[]))]);
    of_bob.post("/login", &body).await;
    for prompt in ["none", ""] {
        let reply = authorize(&mut of_bob, &request(&sidecar, &[("id_token_hint", hint), ("prompt", prompt)])).await;
        assert_eq!(error_to_client(&reply), "login_required");
    }
    let forged = format!("{}.{}", hint.rsplit_once('.').unwrap().0, "AAAA");
    for wrong in [forged.as_str(), "nonsense", text(&tokens, "access_token")] {
        let reply = authorize(&mut browser, &request(&sidecar, &[("id_token_hint", wrong)])).await;
        assert_eq!(error_to_client(&reply), "invalid_request", "{wrong}");
    }
    let of_app = request(&sidecar, &[("id_token_hint", hint), ("client_id", sidecar.app.id.as_str())]);
    assert_eq!(error_to_client(&authorize(&mut browser, &of_app).await), "invalid_request", "of another client");
}

#[tokio::test]
async fn a_login_hint_fills_in_the_user_name_and_c10_never_becomes_markup() {
    let sidecar = provider("").await;
    for (hint, shown) in [("ann", "value=\"ann\""), ("\"><script>", "value=\"&quot;&gt;&lt;script&gt;\"")] {
        let request = request(&sidecar, &[("login_hint", hint)]);
        let page = sidecar.http().get(&format!("/login?{}", form(&[("request", &request)]))).await;
        assert!(page.body.contains(shown), "{}", page.body);
    }
}

#[tokio::test]
async fn a51_with_form_post_the_answer_is_a_form_for_the_client() {
    let sidecar = provider("").await;
    let request = request(&sidecar, &[("response_mode", "form_post"), ("state", "\"><script>x</script>")]);
    let mut browser = sidecar.browser();
    let page = browser.consent_page(&request).await;
    let ticked = crate::harness::ticked_scopes(&page.body);
    let fields = [hidden_fields(&page.body), ticked, vec![("decision".into(), "approve".into())]].concat();
    let reply = browser.post("/consent", &encode(&fields)).await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::OK, None));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.body.contains("<button type=\"submit\""), "it works without the script");
    let script = reply.body.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.ends_with(&format!("script-src 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script)))));
    assert!(policy.contains("form-action 'self' http://127.0.0.1:8765;"), "{policy}");
    assert_eq!(reply.body.matches("<script").count(), 1, "{}", reply.body);
    let answer: std::collections::BTreeMap<String, String> = hidden_fields(&reply.body).into_iter().collect();
    assert_eq!(answer["state"], "\"><script>x</script>");
    assert_eq!(answer["iss"], issuer(&sidecar));
    assert_eq!(sidecar.redeem(&answer["code"]).await.status, StatusCode::OK);

    let refused = self::request(&sidecar, &[("response_mode", "form_post"), ("prompt", "none")]);
    let reply = authorize(&mut sidecar.browser(), &refused).await;
    assert!(hidden_fields(&reply.body).contains(&("error".into(), "login_required".into())), "{}", reply.body);
    let unknown = self::request(&sidecar, &[("response_mode", "web_message")]);
    assert_eq!(error_to_client(&authorize(&mut browser, &unknown).await), "invalid_request");
}

#[tokio::test]
async fn u1_u6_user_info_tells_what_the_scopes_allow() {
    let sidecar = provider("").await;
    let tokens = sign_in(&sidecar, &[]).await;
    let (sub, token) = (claims(&tokens)["sub"].clone(), text(&tokens, "access_token"));
    let (bearer, http) = (format!("Bearer {token}"), sidecar.http());
    let header = [("authorization", bearer.as_str())];
    let everything = json!({ "sub": sub, "preferred_username": USERNAME, "name": USERNAME });
    let replies = [
        http.send(Method::GET, "/userinfo", &header, "").await,
        http.send(Method::POST, "/userinfo", &header, "").await,
        http.post_text("/userinfo", &header, "").await,
        http.post("/userinfo", &[("access_token", token)]).await,
    ];
    for reply in replies {
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, everything.clone()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    let tokens = sign_in(&sidecar, &[("scope", "openid")]).await;
    let bearer = format!("Bearer {}", text(&tokens, "access_token"));
    let reply = http.send(Method::GET, "/userinfo", &[("authorization", &bearer)], "").await;
    assert_eq!(reply.json(), json!({ "sub": sub }));
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ];
    let reply = http.send(Method::OPTIONS, "/userinfo", &preflight, "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("authorization,content-type,dpop"));
}

#[tokio::test]
async fn u2_u3_u5_user_info_challenges_tokens_that_do_not_do() {
    let sidecar = provider("").await;
    let http = sidecar.http();
    let (good, without) = (sign_in(&sidecar, &[]).await, sign_in(&sidecar, &[("scope", "a")]).await);
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let reply = http.send(Method::GET, "/userinfo", &[("authorization", bearer.as_str())], "").await;
        (reply.status.as_u16(), reply.header("www-authenticate").unwrap_or_default().to_owned())
    };
    let (status, challenge) = ask(text(&without, "access_token")).await;
    assert_eq!(status, 403);
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.ends_with(r#"scope="openid""#),
        "{challenge}"
    );
    for wrong in ["nonsense", text(&good, "refresh_token"), text(&good, "id_token")] {
        let (status, challenge) = ask(wrong).await;
        assert_eq!(status, 401, "d6: {wrong}");
        assert!(challenge.starts_with(r#"Bearer error="invalid_token""#), "{challenge}");
    }
    let nothing = http.get("/userinfo").await;
    let both = format!(r#"Bearer, DPoP algs="{}""#, ALGORITHMS.join(" "));
    assert_eq!((nothing.status.as_u16(), nothing.header("www-authenticate")), (401, Some(both.as_str())));
    let in_query = http.get(&format!("/userinfo?{}", form(&[("access_token", text(&good, "access_token"))]))).await;
    assert_eq!(in_query.status, StatusCode::UNAUTHORIZED, "never the query");
    let bearer = format!("Bearer {}", text(&good, "access_token"));
    let twice = form(&[("access_token", text(&good, "access_token"))]);
    let reply = http.post_text("/userinfo", &[("authorization", bearer.as_str())], &twice).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.header("www-authenticate").unwrap().contains("invalid_request"));
    sidecar.service.disable_account(USERNAME.into()).await.unwrap();
    assert_eq!(ask(text(&good, "access_token")).await.0, 401, "u5");
}

#[tokio::test]
async fn u4_user_info_tells_nothing_of_a_machine_whatever_its_scopes_imply() {
    let sidecar = provider("[scopes.implications]\nexplicit = { a = ['openid'] }").await;
    let machine = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    let body = [("grant_type", "client_credentials"), ("scope", "a")];
    let token = sidecar.http().post_as(&machine, "/token", &body).await.access_token();
    assert_eq!(sidecar.check(&token, &["openid"]).await.http_status, 200);
    let users = sign_in(&sidecar, &[("scope", "a")]).await;
    for (token, status) in [(token.as_str(), 401), (text(&users, "access_token"), 200)] {
        let bearer = format!("Bearer {token}");
        let reply = sidecar.http().send(Method::GET, "/userinfo", &[("authorization", bearer.as_str())], "").await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(!reply.body.contains(&machine.id), "{}", reply.body);
    }
}

#[tokio::test]
async fn rg50_neither_the_algorithm_that_a_hint_names_nor_its_size_is_believed() {
    let sidecar = provider("").await;
    let mut browser = sidecar.browser();
    let tokens = redeem(&sidecar, &browser.approve(&request(&sidecar, &[])).await).await;
    let hint = text(&tokens, "id_token");
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwks = sidecar.http().get("/jwks").await.json();
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(text(&jwks["keys"][0], "n")).unwrap();
    let (kid, claims) = (kid(&tokens), claims(&tokens).to_string());
    let signed = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = json!({ "alg": alg, "kid": kid, "typ": "JWT" }).to_string();
        let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        format!("{input}.{}", encode(&sign(input.as_bytes())))
    };
    let mac = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &modulus), message).as_ref().to_vec();
    let (header, rest) = hint.split_once('.').unwrap();
    let renamed = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap().replace("RS256", "RS512");
    for wrong in [
        signed("none", &|_| Vec::new()),
        signed("HS256", &mac),
        signed("RS256", &mac),
        signed("RS256", &|_| vec![0; 256]),
        format!("{}.{rest}", encode(renamed.as_bytes())),
        format!("{hint}{}", "A".repeat(40_000)),
        format!("{}.{rest}", "A".repeat(40_000)),
        ".".repeat(40_000),
    ] {
        let request = request(&sidecar, &[("prompt", "none"), ("id_token_hint", &wrong)]);
        let reply = browser.post("/authorize", &request).await;
        assert_eq!(error_to_client(&reply), "invalid_request", "{wrong:.80}");
    }
    let good = request(&sidecar, &[("prompt", "none"), ("id_token_hint", hint)]);
    redeem(&sidecar, browser.post("/authorize", &good).await.header("location").unwrap()).await;
}

#[tokio::test]
async fn d1_d2_d3_discovery_offers_what_works_and_nothing_where_it_is_off() {
    let sidecar = provider("").await;
    let http = sidecar.http();
    let reply =
        http.send(Method::GET, "/.well-known/openid-configuration", &[("origin", "https://a.example")], "").await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, Some("application/json")));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let metadata = reply.json();
    assert_eq!(http.get("/.well-known/oauth-authorization-server").await.json(), metadata);
    let issuer = issuer(&sidecar);
    assert_eq!(text(&metadata, "issuer"), issuer);
    for (name, path) in [("jwks_uri", "/jwks"), ("userinfo_endpoint", "/userinfo"), ("end_session_endpoint", "/logout")]
    {
        assert_eq!(text(&metadata, name), format!("{issuer}{path}"));
    }
    assert_eq!(metadata["subject_types_supported"], json!(["public"]));
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["RS256"]));
    assert_eq!(metadata["response_modes_supported"], json!(["query", "form_post"]));
    assert_eq!(metadata["scopes_supported"], json!(["a", "b", "c", "openid", "profile"]));
    assert_eq!(metadata["ui_locales_supported"], json!(["en", "de", "fr", "it", "es"]));
    assert_eq!(metadata["request_uri_parameter_supported"], json!(false));
    let off = Sidecar::with("[openid]\nenabled = false\n[jwt]\naccess_tokens = false\nintrospection_responses = false\n[scopes.catalogue]\nopenid = 'A scope like any other'").await;
    let metadata = off.http().get("/.well-known/oauth-authorization-server").await.json();
    for name in ["jwks_uri", "userinfo_endpoint", "end_session_endpoint", "subject_types_supported"] {
        assert_eq!(metadata[name], Value::Null, "{name}");
    }
    for path in ["/.well-known/openid-configuration", "/jwks", "/userinfo", "/logout"] {
        assert_eq!(off.http().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let changes = ClientChanges { scopes: Some("a openid".parse().unwrap()), ..ClientChanges::default() };
    off.service.update_client(off.shop.id.parse().unwrap(), changes).await.unwrap();
    let tokens = sign_in(&off, &[("scope", "a openid")]).await;
    assert_eq!((text(&tokens, "scope"), &tokens["id_token"]), ("a openid", &Value::Null));
    assert_eq!(off.database().await.count("signing_keys").await, 0);
}

/// A browser that is signed in at the shop, and its ID token.
async fn signed_in(sidecar: &Sidecar) -> (Browser, String) {
    let uris = vec![AFTER_LOGOUT.parse().unwrap()];
    sidecar.service.set_post_logout_redirect_uris(sidecar.shop.id.parse().unwrap(), uris).await.unwrap();
    let mut browser = sidecar.browser();
    let location = browser.approve(&request(sidecar, &[])).await;
    let tokens = redeem(sidecar, &location).await;
    (browser, text(&tokens, "id_token").to_owned())
}

async fn is_signed_in(sidecar: &Sidecar, browser: &mut Browser) -> bool {
    authorize(browser, &request(sidecar, &[("prompt", "consent")])).await.status == StatusCode::OK
}

#[tokio::test]
async fn an_app_that_shows_the_id_token_of_the_session_signs_the_user_out() {
    let sidecar = provider("").await;
    for (method, state) in [(Method::GET, "s&t"), (Method::POST, "")] {
        let (mut browser, hint) = signed_in(&sidecar).await;
        sidecar.clock.advance(3_600);
        let mut fields = vec![("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", AFTER_LOGOUT)];
        if !state.is_empty() {
            fields.push(("state", state));
        }
        let cookies = browser.cookies.clone();
        let path = if method == Method::GET {
            format!("/logout?{}", form(&fields))
        } else {
            let sent_on = browser.post("/logout", &form(&fields)).await;
            assert_eq!(sent_on.header("set-cookie"), None, "a form from another site comes without the cookie");
            sent_on.header("location").unwrap().to_owned()
        };
        let reply = browser.get(&path).await;
        let expected = if state.is_empty() { AFTER_LOGOUT.into() } else { format!("{AFTER_LOGOUT}?state=s%26t") };
        assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some(expected.as_str())));
        assert!(reply.header("set-cookie").unwrap().contains("=; Path=/; Max-Age=0"), "{reply:?}");
        browser.cookies = cookies;
        assert!(!is_signed_in(&sidecar, &mut browser).await, "the session itself has ended");
        let again = browser.get(&format!("/logout?{}", form(&fields))).await;
        assert_eq!(again.status, StatusCode::SEE_OTHER, "to be signed out already is fine");
        assert_eq!(sidecar.http().get("/logout").await.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn without_a_hint_of_the_session_the_user_is_asked() {
    let sidecar = provider("").await;
    let (_, of_another_session) = signed_in(&sidecar).await;
    for fields in [
        vec![],
        vec![("client_id", sidecar.shop.id.as_str()), ("post_logout_redirect_uri", AFTER_LOGOUT)],
        vec![("id_token_hint", of_another_session.as_str())],
    ] {
        let (mut browser, _) = signed_in(&sidecar).await;
        let page = browser.get(&format!("/logout?{}", form(&fields))).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains(USERNAME), "{}", page.body);
        assert!(is_signed_in(&sidecar, &mut browser).await, "asking changes nothing");
        let reply = browser.post("/logout/confirm", &encode(&hidden_fields(&page.body))).await;
        let goes_on = fields.iter().any(|(name, _)| *name == "post_logout_redirect_uri");
        assert_eq!(reply.header("location"), goes_on.then_some(AFTER_LOGOUT));
        assert!(goes_on || reply.body.contains("Signed out"), "{}", reply.body);
        assert!(!is_signed_in(&sidecar, &mut browser).await);
    }
}

#[tokio::test]
async fn signing_out_leads_to_registered_addresses_alone() {
    let sidecar = provider("").await;
    let (mut browser, hint) = signed_in(&sidecar).await;
    let shop = sidecar.shop.id.as_str();
    for fields in [
        vec![("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", "https://evil.example/")],
        vec![("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", "https://shop.example/signed-out/")],
        vec![("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", REDIRECT_URI)],
        vec![("client_id", sidecar.app.id.as_str()), ("post_logout_redirect_uri", AFTER_LOGOUT)],
        vec![("id_token_hint", hint.as_str()), ("client_id", sidecar.app.id.as_str())],
        vec![("id_token_hint", "nonsense"), ("client_id", shop)],
        vec![("client_id", shop), ("client_id", shop)],
        vec![("post_logout_redirect_uri", AFTER_LOGOUT)],
    ] {
        let reply = browser.get(&format!("/logout?{}", form(&fields))).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::BAD_REQUEST, None), "{fields:?}");
        assert!(!reply.body.contains("evil"));
    }
    assert!(is_signed_in(&sidecar, &mut browser).await);
}
