//! The public OAuth front.
//!
//! Each handler extracts, calls one use case and renders. What an answer looks like is decided in `error`, `pages` and the
//! handlers; what it is, never here.

mod account;
mod answers;
mod apps;
mod audit;
mod authorize;
mod authorize_api;
mod check;
mod device;
mod discovery;
mod error;
mod extract;
mod hosts;
mod interaction;
mod introspect;
mod jwks;
mod login;
mod login_api;
mod logout;
mod original_request;
mod pages;
mod par;
mod plaintext;
mod protected_resource;
mod register;
mod revoke;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

pub use self::extract::{ClientAddress, ConnectionCertificate};
pub use self::hosts::by_host;
use self::original_request::CHECK_PATH;
use self::pages::Problem;
pub use self::pages::branding::{Branding, Logo, Template};
pub use self::pages::renderer::{MalformedTemplate, Renderer};
use crate::domain::authorization_rules::DecisionApi;
use crate::domain::caller::Callers;
use crate::domain::client::GrantType;
use crate::domain::paths::EndpointPaths;
use crate::domain::resource::METADATA_PATH;
use crate::service::Service;

/// The longest query that is read, in bytes.
const MAX_QUERY_BYTES: usize = 8 << 10;

/// RFC 9449 §4.1 and §8.
const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What every handler works with.
type Context = Arc<Service>;

/// All HTTP endpoints.
pub fn router(service: Arc<Service>, renderer: Renderer, callers: Callers) -> Router {
    let renderer = Arc::new(renderer);
    let (style, logo) = (renderer.clone(), renderer.clone());
    let issuer = &service.settings.issuer;
    let offers_devices = service.settings.offers(GrantType::DeviceCode);
    let offers_openid = service.settings.openid.is_some();
    let same_origin = CsrfLayer::new()
        .add_trusted_origin(issuer.as_str())
        .expect("the issuer was checked to be an origin")
        .with_rejection_response(|_| pages::error(StatusCode::FORBIDDEN, Problem::ForeignForm));
    // A policy of its own for pages only: the OAuth endpoints are there to be called from elsewhere.
    let signs_in = service.settings.login.has_sessions();
    let forms = Router::new()
        .merge(if signs_in { login_forms(service.settings.login.is_built_in()) } else { Router::new() })
        .route("/consent", post(authorize::decide))
        .merge(service.settings.authorization.api.as_ref().map_or_else(Router::new, authorize_api::forms))
        .merge(if offers_devices { device_page() } else { Router::new() })
        .merge(if offers_openid && signs_in { logout_form() } else { Router::new() })
        .merge(account::forms(&service.settings))
        .layer(same_origin);
    let https = service.settings.is_https();
    let paths = &service.settings.paths;
    let issue = post(token::issue).layer(middleware::from_fn_with_state(service.clone(), give_nonce));
    let router = Router::new()
        .merge(authorization(&paths.authorize, service.settings.authorization.api.as_ref()))
        .merge(service.settings.authorization.api.as_ref().map_or_else(Router::new, authorize_api::direct))
        .merge(at(&paths.token, &for_clients(&service, issue)))
        .merge(if service.settings.pushed_requests.offered { pushed_requests(&service) } else { Router::new() })
        .merge(at(&paths.revoke, &for_clients(&service, post(revoke::revoke))))
        .merge(at(&paths.introspect, &for_clients(&service, post(introspect::introspect))))
        .route("/register", post(register::register))
        .route("/register/{client_id}", get(register::show).put(register::change).delete(register::end))
        .merge(if offers_devices { devices(&service) } else { Router::new() })
        .route(METADATA_PATH, get(protected_resource::metadata))
        .route(&format!("{METADATA_PATH}/{{*path}}"), get(protected_resource::metadata))
        .merge(if offers_openid { openid(&service) } else { Router::new() })
        .merge(if offers_openid && signs_in { logout() } else { Router::new() })
        .merge(if service.settings.signs() { keys(&paths.jwks) } else { Router::new() })
        .merge(if service.settings.gateway.check { checks() } else { Router::new() })
        .merge(match service.settings.login.app_pages() {
            Some(pages) => interactions(pages.rest.then(|| Arc::new(callers))),
            None => Router::new(),
        })
        .merge(apps::router(&service.settings))
        .merge(metadata())
        .route("/assets/scopegate.css", get(async move || style.style_sheet()))
        .route("/assets/copy.js", get(async || Renderer::copy_script()))
        .route("/assets/logo", get(async move || logo.logo()))
        .merge(forms)
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(refuse_long_queries));
    let router = if service.audit.is_on() {
        router.layer(middleware::from_fn_with_state(service.clone(), audit::name_request))
    } else {
        router
    };
    let router = router.layer(middleware::from_fn_with_state(renderer, pages::renderer::render)).layer(
        SetResponseHeaderLayer::overriding(STRICT_TRANSPORT_SECURITY, move |_: &Response| {
            https.then(|| HeaderValue::from_static("max-age=31536000"))
        }),
    );
    // Outside of the layer above: that header has no place in an answer over http (RFC 6797 §7.2).
    let router = if plaintext::is_noticed(&service.settings) {
        router.layer(middleware::from_fn_with_state(service.clone(), plaintext::refuse))
    } else {
        router
    };
    router
        .layer(SetResponseHeaderLayer::overriding(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(SetResponseHeaderLayer::if_not_present(REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
        ))
        .layer(CatchPanicLayer::custom(|_| error::internal()))
        // Never the query: codes and states travel there.
        .layer(TraceLayer::new_for_http().make_span_with(
            |request: &Request| tracing::info_span!("http", method = %request.method(), path = request.uri().path()),
        ))
        .with_state(service)
}

/// An endpoint that clients call with their credentials. Its answers are spelled as the operator says.
fn for_clients(service: &Context, endpoint: MethodRouter<Context>) -> MethodRouter<Context> {
    let endpoint = endpoint.layer(middleware::from_fn_with_state(service.clone(), answers::spell));
    match answers::cross_origin(&service.settings.client_requests.origins) {
        // Browsers ask before they send the request; the layer answers.
        Some(layer) => endpoint.options(error::method_not_allowed).layer(layer),
        None => endpoint,
    }
}

/// The same at each path of an endpoint.
fn at(paths: &EndpointPaths, methods: &MethodRouter<Context>) -> Router<Context> {
    paths.iter().fold(Router::new(), |router, path| router.route(path, methods.clone()))
}

/// Who may ask for it over HTTP may ask for it from a page of any origin. Cookies count for nothing here.
fn metadata() -> Router<Context> {
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata))
        .layer(CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]))
}

/// The keys of all that is signed.
fn keys(paths: &EndpointPaths) -> Router<Context> {
    at(paths, &get(jwks::keys)).layer(CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]))
}

/// The page that asks the user. Where an app posts decisions to the same path, no request comes as a form.
fn authorization(paths: &EndpointPaths, api: Option<&DecisionApi>) -> Router<Context> {
    paths.iter().fold(Router::new(), |router, path| {
        let from_query = get(authorize::from_query);
        let takes_decisions = api.is_some_and(|api| api.path == path);
        router.route(path, if takes_decisions { from_query } else { from_query.post(authorize::from_form) })
    })
}

/// The built-in login, or the way to that of an app.
fn login_forms(is_built_in: bool) -> Router<Context> {
    let login = if is_built_in { get(login::show).post(login::sign_in) } else { get(login::show) };
    Router::new().route("/login", login).route("/login/switch", post(login::switch))
}

/// Where browsers come back from the app, and where the app answers over HTTP, if it may.
fn interactions(callers: Option<Arc<Callers>>) -> Router<Context> {
    let router = Router::new().route("/interaction", get(interaction::complete));
    match callers {
        Some(callers) => router.merge(login_api::router(callers)),
        None => router,
    }
}

/// Signing out, which other sites may ask for.
fn logout() -> Router<Context> {
    Router::new().route("/logout", get(logout::from_query).post(logout::from_form))
}

/// The endpoints of OpenID Connect that are no pages.
fn openid(service: &Context) -> Router<Context> {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery::metadata))
        // Browsers ask before they send the header; the layer answers.
        .merge(at(
            &service.settings.paths.userinfo,
            &get(userinfo::from_header)
                .post(userinfo::from_form)
                .options(error::method_not_allowed)
                .layer(middleware::from_fn_with_state(service.clone(), give_nonce)),
        ))
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_methods([Method::GET, Method::POST])
                .allow_headers([AUTHORIZATION, CONTENT_TYPE, DPOP])
                .expose_headers([WWW_AUTHENTICATE, DPOP_NONCE]),
        )
}

fn pushed_requests(service: &Context) -> Router<Context> {
    Router::new().route("/par", post(par::push).layer(middleware::from_fn_with_state(service.clone(), give_nonce)))
}

/// Where devices come; their users come to the page.
fn devices(service: &Context) -> Router<Context> {
    let authorize = post(device::authorize).layer(middleware::from_fn_with_state(service.clone(), give_nonce));
    Router::new().route("/device_authorization", authorize)
}

fn device_page() -> Router<Context> {
    Router::new().route("/device", get(device::show).post(device::decide))
}

/// Where proxies ask whether a request may pass, whatever its method. Behind `/check`, the path is that of the request.
fn checks() -> Router<Context> {
    Router::new()
        .route(CHECK_PATH, any(check::check))
        .route(&format!("{CHECK_PATH}/"), any(check::check))
        .route(&format!("{CHECK_PATH}/{{*path}}"), any(check::check))
}

/// What only our own page may send.
fn logout_form() -> Router<Context> {
    Router::new().route("/logout/confirm", post(logout::confirm))
}

/// Where proofs are taken and need a nonce, every answer has the one for the next (RFC 9449 §8.2).
async fn give_nonce(State(service): State<Context>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(nonce) = service.dpop_nonce().and_then(|nonce| HeaderValue::try_from(nonce).ok()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

async fn refuse_long_queries(request: Request, next: Next) -> Response {
    if request.uri().query().is_some_and(|query| query.len() > MAX_QUERY_BYTES) {
        return error::plain(
            request.headers(),
            StatusCode::URI_TOO_LONG,
            Problem::AddressTooLong,
            "The address is too long.",
        );
    }
    next.run(request).await
}
