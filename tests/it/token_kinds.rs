//! Every kind of token and secret at every door that takes one, and every door that asks for scopes.

use http::{Method, StatusCode};
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use scopegate::proto::scopegate::v1 as api;
use scopegate::store::ClientChanges;
use serde_json::json;

use crate::device;
use crate::harness::{REDIRECT_URI, Registered, Sidecar, VERIFIER, basic, form, query_of};
use crate::jwt_access_tokens::{jwts, part};

const INITIAL_TOKEN: &str = "an initial access token with 32 characters";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const WAYS: [GrantType; 3] = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::TokenExchange];

/// What somebody has, which may be good at one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AccessToken,
    JwtAccessToken,
    PointerOfJwt,
    RefreshToken,
    Code,
    IdToken,
    SignedIntrospection,
    DeviceCode,
    UserCode,
    PushedRequest,
    RegistrationAccessToken,
    InitialAccessToken,
    ClientSecret,
    ClientId,
}

/// Where it is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    CheckScopes,
    Introspect,
    HttpIntrospect,
    UserInfo,
    SubjectToken,
    SubjectTokenAsJwt,
    IdTokenHint,
    ClientSecret,
    ClientAssertion,
    Registration,
    Register,
    // From here on, what is good is used up.
    Code,
    RefreshToken,
    DeviceCode,
}

impl Door {
    const ALL: [Self; 14] = [
        Self::CheckScopes,
        Self::Introspect,
        Self::HttpIntrospect,
        Self::UserInfo,
        Self::SubjectToken,
        Self::SubjectTokenAsJwt,
        Self::IdTokenHint,
        Self::ClientSecret,
        Self::ClientAssertion,
        Self::Registration,
        Self::Register,
        Self::Code,
        Self::RefreshToken,
        Self::DeviceCode,
    ];

    fn takes(self, kind: Kind) -> bool {
        let access = matches!(kind, Kind::AccessToken | Kind::JwtAccessToken);
        match self {
            Self::CheckScopes | Self::UserInfo | Self::SubjectToken => access,
            Self::Introspect | Self::HttpIntrospect => access || kind == Kind::RefreshToken,
            Self::SubjectTokenAsJwt | Self::ClientAssertion => false,
            Self::IdTokenHint => kind == Kind::IdToken,
            Self::ClientSecret => kind == Kind::ClientSecret,
            Self::Registration => kind == Kind::RegistrationAccessToken,
            Self::Register => kind == Kind::InitialAccessToken,
            Self::Code => kind == Kind::Code,
            Self::RefreshToken => kind == Kind::RefreshToken,
            Self::DeviceCode => kind == Kind::DeviceCode,
        }
    }
}

/// A sidecar, its clients, and one of each kind.
struct House {
    sidecar: Sidecar,
    television: Registered,
    registered: String,
    kinds: Vec<(Kind, String)>,
}

impl House {
    async fn new() -> Self {
        let more = format!(
            "[keys]\nsigning_algorithm = 'EdDSA'\n[registration]\nmode = 'token'\ninitial_access_token = '{INITIAL_TOKEN}'"
        );
        let sidecar = Sidecar::with(&more).await;
        let opaque = ClientMetadata { grant_types: WAYS.to_vec(), ..ClientMetadata::default() };
        let changes = ClientChanges {
            scopes: Some("a openid".parse().unwrap()),
            metadata: Some(opaque),
            ..ClientChanges::default()
        };
        sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
        let request = sidecar.request(&[("scope", "a openid")]);
        let tokens = sidecar.redeem(&sidecar.code_for(&request).await).await.json();
        sidecar.change(&sidecar.shop, jwts(&WAYS)).await;
        let signed = sidecar.redeem(&sidecar.code_for(&request).await).await.json();
        let text = |json: &serde_json::Value, name: &str| json[name].as_str().unwrap().to_owned();
        let jwt = text(&signed, "access_token");

        let ways = ClientMetadata { grant_types: vec![GrantType::DeviceCode], ..ClientMetadata::default() };
        let television = sidecar.register(true, Introspects::Own, ways).await;
        let waiting = device::start(&sidecar, &television).await;
        let pushed = [
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", crate::harness::CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let pushed = sidecar.http().post_as(&sidecar.shop, "/par", &pushed).await.json();
        let bearer = format!("Bearer {INITIAL_TOKEN}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = json!({ "redirect_uris": [REDIRECT_URI] }).to_string();
        let registered = sidecar.http().send(Method::POST, "/register", &headers, &body).await.json();
        let authorization = basic(&sidecar.shop.id, &sidecar.shop.secret);
        let headers = [("authorization", authorization.as_str()), ("accept", "application/token-introspection+jwt")];
        let answer = sidecar.http().post_text("/introspect", &headers, &form(&[("token", &jwt)])).await;
        let kinds = vec![
            (Kind::AccessToken, text(&tokens, "access_token")),
            (Kind::PointerOfJwt, text(&part(&jwt, 1), "sg_ptr")),
            (Kind::JwtAccessToken, jwt),
            (Kind::RefreshToken, text(&tokens, "refresh_token")),
            (Kind::Code, sidecar.code_for(&request).await),
            (Kind::IdToken, text(&tokens, "id_token")),
            (Kind::SignedIntrospection, answer.body),
            (Kind::DeviceCode, text(&waiting, "device_code")),
            (Kind::UserCode, text(&waiting, "user_code")),
            (Kind::PushedRequest, text(&pushed, "request_uri")),
            (Kind::RegistrationAccessToken, text(&registered, "registration_access_token")),
            (Kind::InitialAccessToken, INITIAL_TOKEN.into()),
            (Kind::ClientSecret, sidecar.shop.secret.clone()),
            (Kind::ClientId, sidecar.shop.id.clone()),
        ];
        Self { registered: text(&registered, "client_id"), sidecar, television, kinds }
    }

    /// Whether the door opens. Where it does not, the answer is the one for what is wrong, never a fault.
    async fn opens(&self, door: Door, token: &str) -> bool {
        let (sidecar, shop) = (&self.sidecar, &self.sidecar.shop);
        let http = sidecar.http();
        let bearer = format!("Bearer {token}");
        let bearer = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let reply = match door {
            Door::CheckScopes => return sidecar.check(token, &["a"]).await.decision() == api::Decision::Allowed,
            Door::Introspect => return sidecar.introspect(token).await.active,
            Door::HttpIntrospect => {
                let reply = http.post_as(shop, "/introspect", &[("token", token)]).await;
                return reply.json()["active"].as_bool().unwrap();
            }
            Door::IdTokenHint => {
                let request = sidecar.request(&[("id_token_hint", token), ("prompt", "none"), ("scope", "openid")]);
                let reply = http.get(&format!("/authorize?{request}")).await;
                let error = query_of(reply.header("location").unwrap(), "error").unwrap();
                assert!(["login_required", "invalid_request"].contains(&error.as_str()), "{error}");
                return error == "login_required";
            }
            Door::UserInfo => http.send(Method::GET, "/userinfo", &bearer[..1], "").await,
            Door::SubjectToken | Door::SubjectTokenAsJwt => {
                let of_type = match door {
                    Door::SubjectToken => ACCESS_TOKEN,
                    _ => "urn:ietf:params:oauth:token-type:jwt",
                };
                let body = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", of_type)];
                http.post_as(shop, "/token", &body).await
            }
            Door::ClientSecret => {
                let client = Registered { secret: token.into(), ..shop.clone() };
                http.post_as(&client, "/introspect", &[("token", "x")]).await
            }
            Door::ClientAssertion => {
                let of_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let body = [("client_assertion_type", of_type), ("client_assertion", token), ("token", "x")];
                http.post("/introspect", &body).await
            }
            Door::Registration => http.send(Method::GET, &format!("/register/{}", self.registered), &bearer, "").await,
            Door::Register => {
                let body = json!({ "redirect_uris": [REDIRECT_URI] }).to_string();
                http.send(Method::POST, "/register", &bearer, &body).await
            }
            Door::Code => {
                let body = [
                    ("grant_type", "authorization_code"),
                    ("code", token),
                    ("redirect_uri", REDIRECT_URI),
                    ("code_verifier", VERIFIER),
                ];
                http.post_as(shop, "/token", &body).await
            }
            Door::RefreshToken => {
                http.post_as(shop, "/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
            }
            Door::DeviceCode => {
                let reply = device::poll(sidecar, &self.television, &json!({ "device_code": token })).await;
                let opens = reply.status.is_success() || reply.error() == "authorization_pending";
                assert!(opens || reply.error() == "invalid_grant", "{reply:?}");
                return opens;
            }
        };
        if !reply.status.is_success() {
            assert!([400, 401].contains(&reply.status.as_u16()), "{door:?}: {reply:?}");
        }
        reply.status.is_success()
    }
}

#[tokio::test]
async fn rg25_d6_no_token_is_good_for_what_another_kind_is_for() {
    let house = House::new().await;
    for door in Door::ALL {
        for (kind, token) in house.kinds.iter().filter(|(kind, _)| !door.takes(*kind)) {
            assert!(!house.opens(door, token).await, "{kind:?} at {door:?}");
        }
    }
    for door in Door::ALL {
        for (kind, token) in house.kinds.iter().filter(|(kind, _)| door.takes(*kind)) {
            assert!(house.opens(door, token).await, "{kind:?} at {door:?}: none of the attempts has harmed it");
        }
    }
    // CVE-2026-9097: what has ended is exchanged for nothing, whoever signed it.
    let jwt = &house.kinds.iter().find(|(kind, _)| *kind == Kind::JwtAccessToken).unwrap().1;
    house.sidecar.revoke(jwt, api::RevocationMode::Strict).await;
    for door in Door::ALL {
        assert!(!house.opens(door, jwt).await, "revoked, at {door:?}");
    }
}

#[tokio::test]
async fn rg46_every_door_asks_for_the_scope_that_it_needs() {
    let sidecar = Sidecar::start().await;
    for format in [jwts(&WAYS), ClientMetadata { grant_types: WAYS.to_vec(), ..ClientMetadata::default() }] {
        let changes = ClientChanges {
            scopes: Some("a b openid".parse().unwrap()),
            metadata: Some(format),
            ..ClientChanges::default()
        };
        sidecar.service.update_client(sidecar.shop.id.parse().unwrap(), changes).await.unwrap();
        for granted in ["a", "b", "a b", "openid", "a openid", "a b openid"] {
            let has = |scope: &str| granted.split(' ').any(|one| one == scope);
            let code = sidecar.code_for(&sidecar.request(&[("scope", granted)])).await;
            let tokens = sidecar.redeem(&code).await.tokens();
            let (http, token) = (sidecar.http(), tokens.access.as_str());
            for wanted in ["a", "b", "openid", "c", "A", "a b", "open", "openid:x"] {
                let wanted: Vec<&str> = wanted.split(' ').collect();
                let enough = wanted.iter().all(|scope| has(scope));
                assert_eq!(
                    sidecar.check(token, &wanted).await.decision() == api::Decision::Allowed,
                    enough,
                    "{granted}: {wanted:?}"
                );
                let request = api::CheckScopesRequest {
                    token: token.into(),
                    required_scopes: wanted.iter().map(|&scope| scope.into()).collect(),
                    r#match: api::Match::Any.into(),
                    include_introspection: true,
                    ..Default::default()
                };
                let batch = api::BatchCheckScopesRequest { requests: vec![request] };
                let results = sidecar.grpc().await.batch_check_scopes(batch).await.unwrap().into_inner().results;
                let Some(api::batch_check_scopes_result::Result::Response(any)) = &results[0].result else {
                    panic!("{results:?}")
                };
                let some = wanted.iter().any(|scope| has(scope));
                assert_eq!(any.decision() == api::Decision::Allowed, some, "{granted}: any of {wanted:?}");
                assert_eq!(any.introspection.as_ref().unwrap().scope, granted);
                let scope = wanted.join(" ");
                let exchange = [
                    ("grant_type", EXCHANGE),
                    ("subject_token", token),
                    ("subject_token_type", ACCESS_TOKEN),
                    ("scope", scope.as_str()),
                ];
                let exchanged = http.post_as(&sidecar.shop, "/token", &exchange).await;
                assert_eq!(exchanged.status.is_success(), enough, "{granted}: exchanged for {scope}");
            }
            // A client may not widen what it refreshes.
            let refresh =
                [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str()), ("scope", "a b openid")];
            let widened = http.post_as(&sidecar.shop, "/token", &refresh).await;
            assert_eq!(widened.status.is_success(), granted == "a b openid", "{granted}");

            assert_eq!(sidecar.introspect(token).await.scope, granted);
            let seen = http.post_as(&sidecar.shop, "/introspect", &[("token", token)]).await.json();
            assert_eq!(seen["scope"], granted);
            let bearer = format!("Bearer {token}");
            let header = [("authorization", bearer.as_str())];
            let expected = if has("openid") { StatusCode::OK } else { StatusCode::FORBIDDEN };
            let pages = [
                http.send(Method::GET, "/userinfo", &header, "").await,
                http.send(Method::POST, "/userinfo", &header, "").await,
                http.post("/userinfo", &[("access_token", token)]).await,
            ];
            for reply in pages {
                assert_eq!(reply.status, expected, "{granted}");
            }
            // What is no door is none (CVE-2025-68941: over Basic, nobody asked for scopes).
            for (id, secret) in [(token, "x"), ("x", token), (token, ""), (sidecar.shop.id.as_str(), token)] {
                let basic = basic(id, secret);
                let reply = http.send(Method::GET, "/userinfo", &[("authorization", &basic)], "").await;
                assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{granted}");
            }
            let reply = http.get(&format!("/userinfo?{}", form(&[("access_token", token)]))).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{granted}");
        }
    }
}
