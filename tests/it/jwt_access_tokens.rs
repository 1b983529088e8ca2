//! Access tokens as JSON Web Tokens (RFC 9068): what they say, that nothing is believed of what they say, and that they end as
//! others do.

use api::batch_revoke_request::Target as End;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::domain::jwk::SigningAlgorithm;
use scopegate::domain::jwt_access_token::AccessTokenFormat;
use scopegate::domain::revocation::Target;
use scopegate::effects::signing::SigningKey;
use scopegate::proto::scopegate::v1 as api;
use scopegate::service::clients::{ClientError, NewClient};
use scopegate::service::signing_keys::Replacement;
use scopegate::store::ClientChanges;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::device;
use crate::dpop::{self, Key};
use crate::foreign_clients::node_with;
use crate::harness::{REDIRECT_URI, Registered, SECRET, Sidecar, Tokens, USERNAME, VERIFIER, query_of};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ORDERS: &str = "https://api.example/orders";
const MAIL: &str = "https://mail.example";
/// Makes keys quickly.
const QUICK: &str = "[keys]\nsigning_algorithm = 'EdDSA'\n";

/// How a client is registered for them.
pub fn jwts(grant_types: &[GrantType]) -> ClientMetadata {
    let access_token_format = AccessTokenFormat::Jwt;
    ClientMetadata { grant_types: grant_types.to_vec(), access_token_format, ..ClientMetadata::default() }
}

/// A sidecar whose shop gets them, and may ask for `a`, `b` and `openid`.
pub async fn ready(more: &str) -> Sidecar {
    let sidecar = Sidecar::with(more).await;
    let ways = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::TokenExchange];
    let changes = ClientChanges {
        scopes: Some("a b openid".parse().unwrap()),
        metadata: Some(jwts(&ways)),
        ..ClientChanges::default()
    };
    sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
    sidecar
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A part of a JSON Web Token: 0 is the header, 1 the claims.
pub fn part(token: &str, index: usize) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[index]).unwrap()).unwrap()
}

fn claims(token: &str) -> Value {
    assert_eq!(part(token, 0)["typ"], "at+jwt");
    part(token, 1)
}

/// The token response for a request of the shop.
async fn sign_in(sidecar: &Sidecar, other: &[(&str, &str)]) -> Value {
    let location = sidecar.browser().approve(&sidecar.request(other)).await;
    let code = query_of(&location, "code").unwrap_or_else(|| panic!("no code in {location}"));
    let reply = sidecar.redeem(&code).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    reply.json()
}

async fn exchange(sidecar: &Sidecar, token: &str, scope: &str) -> crate::harness::Reply {
    let body =
        [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN), ("scope", scope)];
    sidecar.http().post_as(&sidecar.shop, "/token", &body).await
}

async fn user_info(sidecar: &Sidecar, token: &str) -> StatusCode {
    let bearer = format!("Bearer {token}");
    sidecar.http().send(Method::GET, "/userinfo", &[("authorization", &bearer)], "").await.status
}

#[tokio::test]
async fn d6_a_jwt_says_what_introspection_says_of_it() {
    let sidecar = ready("").await;
    let tokens = sign_in(&sidecar, &[("scope", "a openid"), ("acr_values", "1")]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let header = part(token, 0);
    let kids = sidecar.http().get("/jwks").await.json();
    assert_eq!(header, json!({ "alg": "RS256", "typ": "at+jwt", "kid": kids["keys"][0]["kid"] }));
    let (mut claims, answer) = (claims(token), sidecar.introspect(token).await);
    let pointer = claims.as_object_mut().unwrap().remove("sg_ptr").unwrap();
    let issuer = format!("http://{}", sidecar.addresses.http);
    assert_eq!(
        claims,
        json!({
            "iss": issuer, "aud": issuer, "sub": answer.sub, "client_id": sidecar.shop.id, "iat": answer.iat, "exp": answer.iat + 600,
            "jti": answer.jti, "scope": "a openid", "auth_time": answer.iat, "acr": "1", "sid": answer.session_id,
        })
    );
    assert_eq!((answer.active, answer.exp, answer.username.as_str()), (true, answer.iat + 600, USERNAME));
    assert_eq!(answer.jti.split('.').next(), Some(answer.grant_id.as_str()));
    assert!(!sidecar.is_active(pointer.as_str().unwrap()).await, "the pointer is no token");
    assert_eq!(tokens["token_type"], "Bearer");
    let half = encode(&Sha256::digest(token)[..16]);
    assert_eq!(
        part(tokens["id_token"].as_str().unwrap(), 1)["at_hash"],
        half,
        "it is of the token that the client got"
    );
}

#[tokio::test]
async fn every_grant_gives_them_to_a_client_that_is_registered_for_them() {
    let sidecar = ready(QUICK).await;
    let first = sidecar.tokens().await;
    let refreshed = sidecar.refresh(&first.refresh).await.tokens();
    let again = sidecar.refresh(&first.refresh).await.tokens();
    assert_eq!((claims(&again.access), &again.refresh), (claims(&refreshed.access), &refreshed.refresh));
    assert_ne!(claims(&first.access)["jti"], claims(&refreshed.access)["jti"]);
    let narrow = exchange(&sidecar, &first.access, "b").await.access_token();
    assert_eq!((&claims(&narrow)["scope"], &claims(&narrow)["sub"]), (&json!("b"), &claims(&first.access)["sub"]));

    let machine = sidecar.register(false, Introspects::Own, jwts(&[GrantType::ClientCredentials])).await;
    let asked = [("grant_type", "client_credentials"), ("scope", "a")];
    let token = sidecar.http().post_as(&machine, "/token", &asked).await.access_token();
    let said = claims(&token);
    assert_eq!((&said["sub"], &said["client_id"]), (&json!(format!("client:{}", machine.id)), &json!(machine.id)));
    assert_eq!((&said["auth_time"], &said["sid"]), (&Value::Null, &Value::Null), "no user signed in");

    let television = sidecar.register(true, Introspects::Own, jwts(&[GrantType::DeviceCode])).await;
    let request = device::start(&sidecar, &television).await;
    device::connect(&sidecar, &request).await;
    let watching = device::poll(&sidecar, &television, &request).await.access_token();
    assert_eq!(claims(&watching)["scope"], "a b");
    for token in [&first.access, &refreshed.access, &again.access, &narrow, &token, &watching] {
        assert!(sidecar.is_active(token).await);
    }

    sidecar.change(&sidecar.shop, ClientMetadata::default()).await;
    let opaque = sidecar.refresh(&refreshed.refresh).await.tokens();
    assert!(opaque.access.starts_with("sg_at_"));
    assert!(sidecar.is_active(&opaque.access).await && sidecar.is_active(&refreshed.access).await);
}

#[tokio::test]
async fn a_jwt_is_good_wherever_an_opaque_token_is() {
    let sidecar = ready(QUICK).await;
    let tokens = sign_in(&sidecar, &[("scope", "a openid")]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let checked = sidecar.check(token, &["a"]).await;
    assert_eq!((checked.decision(), checked.cache_status()), (api::Decision::Allowed, api::CacheStatus::Store));
    assert_eq!(sidecar.check(token, &["a"]).await.cache_status(), api::CacheStatus::Local);
    let refused = sidecar.check(token, &["a", "b"]).await;
    assert_eq!(refused.decision(), api::Decision::InsufficientScope);
    assert_eq!(refused.missing_scopes, ["b"]);
    let http = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", token)]).await.json();
    assert_eq!((&http["active"], &http["jti"]), (&json!(true), &claims(token)["jti"]));
    assert_eq!(user_info(&sidecar, token).await, StatusCode::OK);
    sidecar.clock.advance(599);
    assert!(sidecar.is_active(token).await);
    sidecar.clock.advance(1);
    assert_eq!(sidecar.check(token, &["a"]).await.cache_status(), api::CacheStatus::Unspecified, "no lookup");
    assert!(!sidecar.is_active(token).await);
}

#[tokio::test]
async fn whatever_ends_a_grant_ends_its_jwts_and_a_jwt_ends_its_grant() {
    let sidecar = ready(QUICK).await;
    let mut grpc = sidecar.grpc().await;
    for way in 0..4 {
        let tokens = sidecar.tokens().await;
        let later = sidecar.refresh(&tokens.refresh).await.tokens();
        let (said, grant) = (claims(&tokens.access), sidecar.introspect(&tokens.access).await.grant_id);
        assert!(sidecar.is_active(&later.access).await);
        let request = api::WatchRevocationsRequest {
            consistency_token: sidecar.introspect(&later.access).await.consistency_token,
        };
        let mut watching = grpc.watch_revocations(request).await.unwrap().into_inner();
        let end = async |target| {
            let request = api::BatchRevokeRequest { target: Some(target), ..Default::default() };
            sidecar.grpc().await.batch_revoke(request).await.unwrap();
        };
        match way {
            0 => drop(sidecar.revoke(&tokens.access, api::RevocationMode::Strict).await),
            1 => drop(sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", &later.access)]).await),
            2 => end(End::Subject(said["sub"].as_str().unwrap().into())).await,
            _ => end(End::SessionId(said["sid"].as_str().unwrap().into())).await,
        }
        for dead in [&tokens.access, &later.access, &later.refresh] {
            assert!(!sidecar.is_active(dead).await, "{way}");
        }
        let told = loop {
            let message = watching.message().await.unwrap().unwrap();
            if let [revocation] = message.revocations.as_slice() {
                break revocation.target.clone().unwrap();
            }
        };
        // Who verifies by itself knows from the claims whether it is meant.
        let name = |claim: &str| said[claim].as_str().unwrap().to_owned();
        match told {
            api::revocation::Target::GrantId(told) => {
                assert_eq!((told, name("jti").split('.').next()), (grant.clone(), Some(grant.as_str())));
            }
            api::revocation::Target::Subject(told) => assert_eq!(told, name("sub")),
            api::revocation::Target::SessionId(told) => assert_eq!(told, name("sid")),
            other => panic!("{other:?}"),
        }
    }
}

/// A token that somebody made, and what is wrong with it.
struct Forgery {
    what: String,
    token: String,
}

/// An object with other members over it.
fn with(value: &Value, other: &Value) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    value
}

/// What one can make of a good token, and of keys of one's own.
async fn forgeries(sidecar: &Sidecar, token: &str, tokens: &Value) -> Vec<Forgery> {
    let mut forgeries = Vec::new();
    let mut add = |what: &str, token: String| forgeries.push(Forgery { what: what.into(), token });
    let (header, claims) = (part(token, 0), part(token, 1));
    let pieces: Vec<&str> = token.split('.').collect();
    let [encoded_header, encoded_claims, signature] = [pieces[0], pieces[1], pieces[2]];

    // Another signature.
    let mut flipped = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[7] ^= 1;
    for other in [String::new(), "A".into(), encode(&flipped), format!("{signature}AAAA"), signature[4..].to_owned()] {
        add("another signature", format!("{encoded_header}.{encoded_claims}.{other}"));
    }
    // Another algorithm, or a key that comes with the token (CVE-2024-37568, CVE-2018-0114).
    let own = SigningKey::generate(SigningAlgorithm::EdDsa).unwrap();
    let jwk = own.public_key().unwrap().to_jwk();
    let published = sidecar.http().get("/jwks").await.json()["keys"][0].clone();
    for other in [
        json!({ "alg": "none" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "eddsa" }),
        json!({ "alg": null }),
        json!({ "jwk": jwk }),
        json!({ "jwk": jwk, "kid": jwk["kid"] }),
        json!({ "kid": jwk["kid"] }),
        json!({ "kid": "" }),
        json!({ "kid": ["k"] }),
        json!({ "kid": format!("{:0<43}", "../../../../dev/null/") }),
        json!({ "jku": "http://127.0.0.1:1/jwks" }),
        json!({ "x5u": "http://127.0.0.1:1/x" }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "b64": false, "crit": ["b64"] }),
        json!({ "zip": "DEF" }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "AT+JWT" }),
        json!({ "typ": "application/at+jwt" }),
        json!({ "typ": null }),
    ] {
        let what = format!("header {other}");
        let input = format!("{}.{encoded_claims}", encode(with(&header, &other).to_string()));
        add(&what, format!("{input}."));
        add(&what, format!("{input}.{signature}"));
        add(&what, format!("{input}.{}", encode(own.sign(input.as_bytes()).unwrap())));
    }
    // A public key is no secret to hash with.
    for secret in [published.to_string(), published["x"].as_str().unwrap().to_owned()] {
        for algorithm in ["HS256", "EdDSA"] {
            let input = format!("{}.{encoded_claims}", encode(with(&header, &json!({ "alg": algorithm })).to_string()));
            let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), input.as_bytes());
            add("HMAC", format!("{input}.{}", encode(mac)));
        }
    }
    // Other claims.
    for other in [
        json!({ "scope": "a b c openid" }),
        json!({ "exp": i64::MAX }),
        json!({ "aud": ORDERS }),
        json!({ "sub": "somebody else" }),
        json!({ "sg_ptr": tokens["refresh_token"] }),
        json!({ "x": "x".repeat(9 << 10) }),
    ] {
        let encoded_claims = encode(with(&claims, &other).to_string());
        add("other claims", format!("{encoded_header}.{encoded_claims}.{signature}"));
    }
    // What our own key has signed, and is no access token.
    let signer = sidecar.service.signing_keys.signer().await.unwrap();
    for (typ, other) in [
        ("JWT", json!({})),
        ("logout+jwt", json!({})),
        ("token-introspection+jwt", json!({})),
        ("at+jwt", json!({ "iss": "https://other.example" })),
        ("at+jwt", json!({ "sg_ptr": null })),
        ("at+jwt", json!({ "sg_ptr": tokens["refresh_token"] })),
        ("at+jwt", json!({ "sg_ptr": claims["sg_ptr"].as_str().unwrap().replace("sg_jt_", "sg_at_") })),
        ("at+jwt", json!({ "sg_ptr": format!("{}A", claims["sg_ptr"].as_str().unwrap()) })),
        ("at+jwt", json!({ "x": "x".repeat(9 << 10) })),
    ] {
        add(&format!("our own {typ} {other}"), signer.sign(typ, &with(&claims, &other)).await.unwrap());
    }
    add("an ID token", tokens["id_token"].as_str().unwrap().into());
    // Its parts.
    let pointer = claims["sg_ptr"].as_str().unwrap();
    for text in [pointer.to_owned(), pointer.replace("sg_jt_", "sg_at_"), pointer.replace("sg_jt_", "sg_rt_")] {
        add("the pointer", text);
    }
    for text in [
        format!("{encoded_header}.{encoded_claims}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        format!("{encoded_header}..{signature}"),
        format!("{}.{encoded_claims}.{signature}", "eyJ".repeat(60_000)),
        format!("{encoded_header}.{}.{signature}", encode(json!([1]).to_string())),
        format!("{encoded_header}.{}.{signature}", encode("[".repeat(5_000))),
    ] {
        add("another form", text);
    }
    forgeries
}

#[tokio::test]
async fn d6_rg50_a_jwt_that_is_not_ours_in_every_respect_is_no_token_anywhere() {
    let sidecar = ready(QUICK).await;
    let tokens = sign_in(&sidecar, &[("scope", "a openid")]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let forgeries = forgeries(&sidecar, token, &tokens).await;
    assert!(forgeries.len() > 100, "{}", forgeries.len());
    assert!(sidecar.is_active(token).await);
    let before = sidecar.store_operations().await;
    let mut grpc = sidecar.grpc().await;
    for Forgery { what, token } in &forgeries {
        let request = api::CheckScopesRequest { token: token.clone(), ..Default::default() };
        let answer = grpc.check_scopes(request).await.unwrap_or_else(|status| panic!("{what}: {status}")).into_inner();
        assert_eq!(answer.decision(), api::Decision::InactiveToken, "{what}: {token}");
        assert_eq!(answer.cache_status(), api::CacheStatus::Unspecified, "{what}: {token}");
        let request = api::IntrospectRequest { token: token.clone(), ..Default::default() };
        assert!(!grpc.introspect(request).await.unwrap().into_inner().active, "{what}: {token}");
        let request = api::RevokeRequest { token: token.clone(), ..Default::default() };
        grpc.revoke(request).await.unwrap();
    }
    // Two of the names could be those of keys that another server has made: of each, it is read once whether it is there.
    assert_eq!(sidecar.store_operations().await - before, 2, "nothing else is looked up");
    for Forgery { what, token } in forgeries.iter().filter(|forgery| forgery.token.len() < 50_000) {
        let sent = token.trim();
        if sent == token && token.len() < 8_000 {
            assert_eq!(user_info(&sidecar, token).await, StatusCode::UNAUTHORIZED, "{what}: {token}");
        }
        exchange(&sidecar, token, "a").await.assert_error(400, "invalid_request");
        let seen = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", token)]).await;
        assert_eq!(seen.json(), json!({ "active": false }), "{what}: {token}");
    }
    assert!(sidecar.is_active(token).await, "none of them ended the grant");
}

#[tokio::test]
async fn d6_an_access_token_is_no_id_token_hint() {
    let sidecar = ready(QUICK).await;
    let tokens = sign_in(&sidecar, &[("scope", "a openid")]).await;
    for (hint, good) in [("id_token", true), ("access_token", false)] {
        let hint = tokens[hint].as_str().unwrap();
        let reply = sidecar.http().get(&format!("/logout?id_token_hint={hint}")).await;
        assert_eq!(reply.status == StatusCode::BAD_REQUEST, !good, "{}", reply.body);
        let request = sidecar.request(&[("id_token_hint", hint), ("prompt", "none"), ("scope", "openid")]);
        let reply = sidecar.http().get(&format!("/authorize?{request}")).await;
        let error = query_of(reply.header("location").unwrap(), "error");
        assert_eq!(error.as_deref(), Some(if good { "login_required" } else { "invalid_request" }));
    }
}

#[tokio::test]
async fn d6_jwts_die_with_either_of_the_keys_that_made_them() {
    let issuer = "issuer = 'https://auth.example'\n";
    let sidecar = ready(&format!("{issuer}{QUICK}")).await;
    let (one, two) = (sidecar.tokens().await, sidecar.tokens().await);
    assert!(sidecar.is_active(&one.access).await);
    sidecar.service.signing_keys.replace(Replacement::Announced).await.unwrap();
    sidecar.clock.advance(300);
    assert!(sidecar.is_active(&one.access).await, "a key that is replaced in time verifies still");
    sidecar.service.signing_keys.replace(Replacement::AtOnce).await.unwrap();
    assert!(!sidecar.is_active(&one.access).await && !sidecar.is_active(&two.access).await);
    let before = sidecar.store_operations().await;
    for _ in 0..20 {
        assert!(!sidecar.is_active(&one.access).await);
    }
    assert_eq!(sidecar.store_operations().await, before, "that the key is gone is remembered");
    let fresh = sidecar.refresh(&one.refresh).await.tokens();
    assert!(sidecar.is_active(&fresh.access).await, "the grant itself goes on");

    let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let rotated = format!(
        "{issuer}[keys]\nsigning_algorithm = 'EdDSA'\nsecret = '{other}'\nsecret_id = 1\n[[keys.previous]]\nid = 0\nsecret = '{SECRET}'\n"
    );
    let new = sidecar.beside_with(&rotated).await;
    assert!(new.is_active(&fresh.access).await, "one server's token is good at another");
    let later = new.refresh(&fresh.refresh).await.tokens();
    assert!(new.is_active(&later.access).await && !sidecar.is_active(&later.access).await, "a secret it does not know");
    assert!(new.service.revoke_now(Target::Key("0".parse().unwrap())).await.unwrap());
    assert!(!new.is_active(&fresh.access).await && new.is_active(&later.access).await);
    let elsewhere = sidecar.beside_with(&rotated.replace("auth.example", "other.example")).await;
    assert!(!elsewhere.is_active(&later.access).await, "it is of another issuer");
}

#[tokio::test]
async fn a_key_that_another_server_has_just_made_is_known_at_once() {
    let issuer = "issuer = 'https://auth.example'\n";
    let one = ready(&format!("{issuer}{QUICK}")).await;
    let two = one.beside_with(&format!("{issuer}[keys]\nsigning_algorithm = 'ES256'\n")).await;
    let first = one.tokens().await;
    assert!(two.is_active(&first.access).await);
    // The clock stands still: whoever read keys just now reads them again.
    let second = two.refresh(&first.refresh).await.tokens();
    assert_eq!(part(&second.access, 0)["alg"], "ES256");
    assert!(one.is_active(&second.access).await);
}

#[tokio::test]
async fn d6_a_jwt_names_the_resources_that_it_is_for_or_the_default_audience() {
    let more = format!("{QUICK}[jwt]\ndefault_audience = 'https://api.example'\n");
    let sidecar = ready(&more).await;
    let request = format!("{}&resource={ORDERS}&resource={MAIL}", sidecar.request(&[]));
    let both = sidecar.redeem(&sidecar.code_for(&request).await).await.tokens();
    assert_eq!(claims(&both.access)["aud"], json!([ORDERS, MAIL]));
    let body = [("grant_type", "refresh_token"), ("refresh_token", both.refresh.as_str()), ("resource", MAIL)];
    let mail = sidecar.http().post_as(&sidecar.shop, "/token", &body).await.tokens();
    assert_eq!(claims(&mail.access)["aud"], MAIL);
    let plain = sidecar.tokens().await;
    assert_eq!(claims(&plain.access)["aud"], "https://api.example");
    for (token, audience, expected) in [
        (&both.access, ORDERS, api::Decision::Allowed),
        (&mail.access, MAIL, api::Decision::Allowed),
        (&mail.access, ORDERS, api::Decision::InvalidAudience),
        (&plain.access, ORDERS, api::Decision::InvalidAudience),
        (&plain.access, "https://api.example", api::Decision::InvalidAudience),
    ] {
        let request = api::CheckScopesRequest {
            token: token.clone(),
            required_audiences: vec![audience.into()],
            ..Default::default()
        };
        let decision = sidecar.grpc().await.check_scopes(request).await.unwrap().into_inner().decision();
        assert_eq!(decision, expected, "{audience}");
    }
}

#[tokio::test]
async fn a_jwt_that_is_bound_to_a_key_says_so_and_passes_with_a_proof_alone() {
    let sidecar = ready(QUICK).await;
    let key = Key::new();
    let code = sidecar.code().await;
    let more = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let reply = dpop::post(&sidecar, &sidecar.shop, "/token", &[&key.proof(&sidecar, "/token")], &more).await;
    assert_eq!(reply.json()["token_type"], "DPoP");
    let token = reply.tokens().access;
    assert_eq!(claims(&token)["cnf"], json!({ "jkt": key.thumbprint() }));
    assert_eq!(sidecar.check(&token, &["a"]).await.decision(), api::Decision::InvalidProof);
    let proof = key.proof_with(&sidecar, &token);
    assert_eq!(dpop::check(&sidecar, &token, &[&proof]).await.decision(), api::Decision::Allowed);
    assert_eq!(dpop::check(&sidecar, &token, &[&proof]).await.decision(), api::Decision::InvalidProof, "once");
}

#[tokio::test]
async fn a_jwt_lives_no_longer_than_its_key_is_published_and_is_no_longer_than_a_header() {
    let sidecar = ready(&format!("{QUICK}[tokens]\naccess_token_lifetime = 172800\n")).await;
    let tokens = sidecar.tokens().await;
    let said = claims(&tokens.access);
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 86_400);
    let own = ClientMetadata { access_token_lifetime: Some(86_401), ..jwts(&[GrantType::ClientCredentials]) };
    let machine = sidecar.register(false, Introspects::Own, own).await;
    let ask = async |resources: usize| {
        let resources: Vec<String> = (0..resources).map(|n| format!("https://r{n}/{}", "x".repeat(490))).collect();
        let mut body = vec![("grant_type", "client_credentials"), ("scope", "a")];
        body.extend(resources.iter().map(|resource| ("resource", resource.as_str())));
        sidecar.http().post_as(&machine, "/token", &body).await
    };
    let long = ask(7).await;
    assert_eq!(long.json()["expires_in"], 86_400);
    assert!(sidecar.is_active(&long.access_token()).await);
    ask(9).await.assert_error(400, "invalid_scope");
    let request =
        (0..9).fold(sidecar.request(&[]), |request, n| format!("{request}&resource=https://r{n}/{}", "x".repeat(490)));
    let code = sidecar.code_for(&request).await;
    sidecar.redeem(&code).await.assert_error(400, "invalid_scope");
    let fewer = ["https://r1/", "https://r2/"].map(|start| format!("{start}{}", "x".repeat(490)));
    let mut body = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    body.extend(fewer.iter().map(|resource| ("resource", resource.as_str())));
    sidecar.http().post_as(&sidecar.shop, "/token", &body).await.tokens();
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_no_answer() {
    let sidecar = ready(QUICK).await;
    let tokens = sidecar.tokens().await;
    let issuer = format!("issuer = 'http://{}'\n{QUICK}", sidecar.addresses.http);
    let other = sidecar.beside_with(&issuer).await;
    sidecar.database().await.execute("ALTER TABLE signing_keys RENAME TO gone").await;
    let request = api::CheckScopesRequest { token: tokens.access.clone(), ..Default::default() };
    let status = other.grpc().await.check_scopes(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(sidecar.is_active(&tokens.access).await, "who has it in memory needs nothing");
    sidecar.database().await.execute("ALTER TABLE gone RENAME TO signing_keys").await;
    assert!(other.is_active(&tokens.access).await);
}

#[tokio::test]
async fn off_every_access_token_is_opaque_and_nothing_is_published_for_them() {
    let on = ready(QUICK).await;
    let tokens = on.tokens().await;
    let issuer = format!("issuer = 'http://{}'\n{QUICK}", on.addresses.http);
    let off = on.beside_with(&format!("{issuer}[jwt]\naccess_tokens = false\n")).await;
    assert!(on.is_active(&tokens.access).await && !off.is_active(&tokens.access).await);
    let opaque = off.refresh(&tokens.refresh).await.tokens();
    assert!(opaque.access.starts_with("sg_at_") && off.is_active(&opaque.access).await);
    let new = NewClient {
        name: "New".into(),
        redirect_uris: vec![],
        scopes: "a".parse().unwrap(),
        public: false,
        introspects: Introspects::Own,
        metadata: jwts(&[GrantType::ClientCredentials]),
    };
    assert!(matches!(off.service.create_client(new).await, Err(ClientError::AccessTokenFormat)));
    let alone = "[openid]\nenabled = false\n[jwt]\nintrospection_responses = false\n";
    let alone = Sidecar::with(&format!("{QUICK}{alone}")).await;
    let machine = alone.register(false, Introspects::Own, jwts(&[GrantType::ClientCredentials])).await;
    let token = alone.http().post_as(&machine, "/token", &[("grant_type", "client_credentials")]).await.access_token();
    assert!(alone.is_active(&token).await);
    let metadata = alone.http().get("/.well-known/oauth-authorization-server").await.json();
    assert!(metadata["jwks_uri"].as_str().unwrap().ends_with("/jwks"), "they need no OpenID Connect");
    assert_eq!(alone.http().get("/jwks").await.json()["keys"][0]["kid"], part(&token, 0)["kid"]);
}

#[tokio::test]
async fn d6_oauth4webapi_and_jose_verify_jwts_and_signed_introspection_of_every_algorithm() {
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let sidecar = ready(&format!("[keys]\nsigning_algorithm = '{algorithm}'")).await;
        let request = format!("{}&resource={ORDERS}&resource={MAIL}", sidecar.request(&[("scope", "a openid")]));
        let Tokens { access, .. } = sidecar.redeem(&sidecar.code_for(&request).await).await.tokens();
        let plain = sidecar.tokens().await.access;
        let Registered { id, secret } = sidecar.shop.clone();
        let given = json!({
            "issuer": format!("http://{}", sidecar.addresses.http), "client_id": id, "client_secret": secret, "algorithm": algorithm,
            "token": access, "audiences": [ORDERS, MAIL], "plain": plain, "id_token": sign_in(&sidecar, &[("scope", "openid")]).await["id_token"],
        });
        println!("{}", node_with("jwt.js", &given).await);
    }
}
