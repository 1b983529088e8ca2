//! The crate `oauth2`, one function per flow. To it, the server is at https, as behind a proxy that ends TLS.

use std::cell::Cell;
use std::time::Duration;

use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenType};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DeviceAuthorizationUrl,
    DeviceCodeErrorResponseType, EndpointSet, IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RequestTokenError,
    RevocationUrl, Scope, StandardDeviceAuthorizationResponse, TokenIntrospectionResponse as _, TokenResponse as _,
    TokenUrl,
};
use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};
use serde_json::Value;

use crate::device;
use crate::harness::{REDIRECT_URI, Registered, Sidecar, query_of};

type App = BasicClient<EndpointSet, EndpointSet, EndpointSet, EndpointSet, EndpointSet>;

#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error(transparent)]
    Sending(#[from] hyper_util::client::legacy::Error),
    #[error(transparent)]
    Reading(#[from] hyper::Error),
}

/// Sends what the crate wants to send, as the proxy in front would, and follows no redirect.
async fn send(sidecar: &Sidecar, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, HttpError> {
    let (mut parts, body) = request.into_parts();
    assert_eq!(parts.uri.authority().unwrap(), "auth.example");
    parts.uri =
        format!("http://{}{}", sidecar.addresses.http, parts.uri.path_and_query().unwrap()).parse::<Uri>().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(Request::from_parts(parts, Full::<Bytes>::from(body))).await?;
    let (parts, body) = response.into_parts();
    Ok(http::Response::from_parts(parts, body.collect().await?.to_bytes().into()))
}

async fn start() -> (Sidecar, Value) {
    let sidecar = Sidecar::with("issuer = 'https://auth.example'").await;
    let metadata = sidecar.http().get("/.well-known/oauth-authorization-server").await.json();
    (sidecar, metadata)
}

fn app(registered: &Registered, metadata: &Value) -> App {
    let url = |name: &str| metadata[name].as_str().unwrap().to_owned();
    let app = BasicClient::new(ClientId::new(registered.id.clone()))
        .set_auth_uri(AuthUrl::new(url("authorization_endpoint")).unwrap())
        .set_token_uri(TokenUrl::new(url("token_endpoint")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(url("introspection_endpoint")).unwrap())
        .set_device_authorization_url(DeviceAuthorizationUrl::new(url("device_authorization_endpoint")).unwrap())
        .set_revocation_url(RevocationUrl::new(url("revocation_endpoint")).unwrap())
        .set_redirect_uri(RedirectUrl::new(REDIRECT_URI.into()).unwrap());
    if registered.secret.is_empty() { app } else { app.set_client_secret(ClientSecret::new(registered.secret.clone())) }
}

/// Code, PKCE and state; the tokens.
async fn authorize(sidecar: &Sidecar, app: &App) -> oauth2::basic::BasicTokenResponse {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = app
        .authorize_url(CsrfToken::new_random)
        .add_scopes(["a", "b"].map(|scope| Scope::new(scope.into())))
        .set_pkce_challenge(challenge)
        .url();
    let location = sidecar.browser().approve(url.query().unwrap()).await;
    assert_eq!(query_of(&location, "state").as_deref(), Some(state.secret().as_str()));
    app.exchange_code(AuthorizationCode::new(query_of(&location, "code").unwrap()))
        .set_pkce_verifier(verifier)
        .request_async(&|request| send(sidecar, request))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_crate_oauth2_gets_refreshes_introspects_and_revokes_tokens() {
    let (sidecar, metadata) = start().await;
    let http = |request| send(&sidecar, request);
    for auth_type in [AuthType::BasicAuth, AuthType::RequestBody] {
        let app = app(&sidecar.shop, &metadata).set_auth_type(auth_type);
        let tokens = authorize(&sidecar, &app).await;
        assert_eq!(*tokens.token_type(), BasicTokenType::Bearer);
        assert_eq!(tokens.scopes().unwrap().len(), 2);
        let refreshed = app.exchange_refresh_token(tokens.refresh_token().unwrap()).request_async(&http).await.unwrap();
        let described = app.introspect(refreshed.access_token()).request_async(&http).await.unwrap();
        assert!(described.active() && described.client_id().unwrap().as_str() == sidecar.shop.id);
        let token = refreshed.refresh_token().unwrap().clone();
        app.revoke_token(token.clone().into()).unwrap().request_async(&http).await.unwrap();
        assert!(!app.introspect(refreshed.access_token()).request_async(&http).await.unwrap().active());
        match app.exchange_refresh_token(&token).request_async(&http).await {
            Err(RequestTokenError::ServerResponse(error)) => {
                assert_eq!(*error.error(), BasicErrorResponseType::InvalidGrant);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_crate_oauth2_works_as_a_public_client() {
    let (sidecar, metadata) = start().await;
    let app = app(&sidecar.app, &metadata);
    let tokens = authorize(&sidecar, &app).await;
    assert!(sidecar.is_active(tokens.access_token().secret()).await);
    let token = tokens.access_token().clone();
    app.revoke_token(token.into()).unwrap().request_async(&|request| send(&sidecar, request)).await.unwrap();
    assert!(!sidecar.is_active(tokens.access_token().secret()).await);
}

#[tokio::test]
async fn the_crate_oauth2_gets_tokens_for_a_machine() {
    let (sidecar, metadata) = start().await;
    let machine = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    let app = app(&machine, &metadata);
    let http = |request| send(&sidecar, request);
    let tokens =
        app.exchange_client_credentials().add_scope(Scope::new("a".into())).request_async(&http).await.unwrap();
    assert!(tokens.refresh_token().is_none());
    let described = app.introspect(tokens.access_token()).request_async(&http).await.unwrap();
    assert_eq!(described.sub(), Some(format!("client:{}", machine.id).as_str()));
    app.revoke_token(tokens.access_token().clone().into()).unwrap().request_async(&http).await.unwrap();
    assert!(!app.introspect(tokens.access_token()).request_async(&http).await.unwrap().active());
}

#[tokio::test]
async fn the_crate_oauth2_waits_for_the_user_of_a_device() {
    let (sidecar, metadata) = start().await;
    let metadata_of_device = ClientMetadata {
        grant_types: vec![GrantType::DeviceCode, GrantType::RefreshToken],
        ..ClientMetadata::default()
    };
    let app = app(&sidecar.register(true, Introspects::Own, metadata_of_device).await, &metadata);
    let http = |request| send(&sidecar, request);
    for decision in ["approve", "deny"] {
        let request = app.exchange_device_code().add_scope(Scope::new("a".into()));
        let started: StandardDeviceAuthorizationResponse = request.request_async(&http).await.unwrap();
        let url = started.verification_uri_complete().unwrap().secret();
        let path = url.strip_prefix("https://auth.example").unwrap();
        let asked = Cell::new(0);
        let (sidecar, asked) = (&sidecar, &asked);
        // The crate waits between its questions; here, time goes by when it is told to.
        let sleep = |interval: Duration| async move {
            asked.set(asked.get() + 1);
            match (asked.get(), interval.as_secs()) {
                // It asks again too early, and is told to slow down.
                (1, 5) => {}
                (2, 10) => {
                    sidecar.clock.advance(10);
                    let mut browser = sidecar.browser();
                    let page = device::sign_in(&mut browser, path).await;
                    assert_eq!(device::decide(&mut browser, &page, decision).await.status, StatusCode::OK);
                }
                other => panic!("it asks and waits: {other:?}"),
            }
        };
        let tokens = app.exchange_device_access_token(&started).request_async(&http, sleep, None).await;
        match tokens {
            Ok(tokens) => {
                assert_eq!(decision, "approve");
                app.exchange_refresh_token(tokens.refresh_token().unwrap()).request_async(&http).await.unwrap();
            }
            Err(RequestTokenError::ServerResponse(error)) => {
                assert_eq!((decision, error.error()), ("deny", &DeviceCodeErrorResponseType::AccessDenied));
            }
            other => panic!("{other:?}"),
        }
    }
}
