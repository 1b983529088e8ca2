//! scopegate runs beside an existing app, serves OAuth 2.0 for its users over HTTP, and tells its services over gRPC what a
//! token is and what it may do.
//!
//! # The house
//!
//! Imports point down only.
//!
//! | layer | what it owns |
//! |---|---|
//! | [`cli`] | arguments, configuration, signals |
//! | [`server`] | the composition root: builds the parts, binds, drains |
//! | [`http`], [`grpc`] | the fronts: extract → one use case → render |
//! | [`service`] | the use cases; the only place where store, facts, revocation, clock and randomness meet |
//! | [`store`], [`facts`], [`revocation`] | SQL truth · cached facts · what ended since they were read |
//! | [`effects`] | clock and randomness, the private keys that need it, and requests that go out |
//! | [`domain`] | what OAuth is, as pure values and functions |
//!
//! Beside them: [`config`] (every default, in one place), [`proto`] (generated code), [`telemetry`] (logs and metrics), and
//! [`client`], which the server does not use: for services in Rust that ask it.
//!
//! # `CheckScopes`, from the socket and back
//!
//! 1. A core accepts the connection (`server::connections`) and hands the call to `grpc::GrpcFront`, which asks who calls and
//!    sets the deadline; `grpc::tokens` reads the request.
//! 2. `service::introspection` opens the token (`domain::token`): one MAC. Garbage and expired tokens end here, without a lookup.
//! 3. The facts about its grant come from the cache of this process (`facts::local`) or, once for all who ask at the same
//!    time (`facts::flight`), from Redis (`facts::redis`) or the database (`store::grants`), on the background runtime.
//! 4. The revocation index says whether the grant ended since the facts were read (`revocation::index`).
//! 5. What the caller may not see is inactive to it (`domain::caller`).
//! 6. Where the token is bound to a key, `service::possession` asks for a proof of it, which passes once (`domain::dpop`).
//! 7. `domain::decision` decides about scopes and audience, anew on every call, and `domain::challenge` words the refusal. Where the
//!    configuration has rules about scopes beyond what was granted, they are in `domain::scope_rules`; what a client may ask for now is in
//!    `facts::clients`, for a lease.
//!
//! One that is a JSON Web Token (RFC 9068) has the same pointer in a claim: where step 2 finds no opaque token,
//! `service::jwt_access_tokens` opens that, verifies the signature, and all goes on as before.
//!
//! # `POST /token`, with a refresh token
//!
//! 1. `http::token` reads the form (`domain::parameters`) and calls `service::token_endpoint`.
//! 2. The client proves who it is (`domain::credentials`, `service::client_authentication`).
//! 3. The grant is read and says what the token is to it: current, repeated, replayed or dead (`domain::grant`).
//! 4. A current one is replaced in one conditional update (`store::grants`), which runs as a task of its own: if the client
//!    goes away, the rotation is whole or has not happened.
//! 5. Both new tokens are derived from the row. So a repetition inside the grace window gets the same bytes, and no token is ever stored.
//! 6. If the scopes have `openid`, `service::openid` adds an ID token, signed by the key that `service::signing_keys` says is the one now.
//!
//! # Who the user is
//!
//! A page asks `service::sign_in` for the session of its visitor. With the built-in login that is a row (`store::accounts`); otherwise
//! `service::app_sign_in` asks the app that has the user, or reads what a proxy says, each time anew, and the subject becomes a row
//! (`store::app_users`) when the user first does something. Or `service::interaction` sends the browser to the app with a challenge, which is
//! the whole interaction, sealed (`domain::interaction`); the app answers (`grpc::interactions`, `http::login_api`), which is a row until the
//! browser has brought it back (`store::interactions`), and then there is a session as of the built-in login.
//!
//! # The other grants
//!
//! `client_credentials` reads one row and writes nothing: every token of a machine points to the grant that its first one made
//! (`service::client_credentials`). A device's code points to the grant that its user will make, on a page of ours
//! (`service::device`). Token exchange adds a narrower variant to the same grant (`service::token_exchange`).
//!
//! # `GET /authorize`
//!
//! `service::authorization` validates the request and finds the session; `service::consent` says whether the user has to be asked: the
//! policy is `domain::consent`, what the user allowed before is `store::consents`. A grant that rests on that is inserted only while it
//! stands, and a decision is remembered in the transaction that makes its grant.
//!
//! # A request at a proxy
//!
//! `grpc::ext_authz` reads what Envoy tells of a request and calls `service::gateway`, which finds what its route needs (the route of
//! the proxy says it, or `domain::route` by a path that `domain::request_path` takes for unambiguous), takes the one token out of it
//! (`domain::presented`), and asks as `CheckScopes` does. `domain::identity_headers` is what the application is told, `domain::denial` how
//! requests are refused in its words. Whatever fails is a denial in a good answer (`grpc::ext_authz::fail_closed`). Other proxies ask at `/check` (`http::check`), and tell of the request in
//! headers that count from listed peers alone (`http::original_request`).
//!
//! # Signing out
//!
//! Whatever ends a browser session (`service::logout`, `store::revocations`) notes in the same transaction which clients have to be told
//! (`store::logout_notices`). Every server looks for such notes, and one tells a client (`service::backchannel_logout`).
//!
//! # Several issuers
//!
//! Each has its own parts, from the store to the fronts ([`server::Backend`]); they share threads, and the ports that their configurations
//! name alike (`config::Deployment` says what else they must not share). At a port of HTTP, `http::hosts` finds the one that a request is
//! for (`domain::authority`). What came to a proxy in front without TLS ends at `http::plaintext`.
//!
//! # Who did what
//!
//! A front says in which request it works (`service::audit::within`); a use case records an event (`domain::audit`) where it has come about; a
//! thread of its own appends the line (`effects::appender`).
//!
//! # Managing apps
//!
//! `http::account` shows users which apps may use their account (`service::connected_apps`) and lets them make apps (`service::own_clients`).
//! What such a form takes, `service::managing` says: a sign-in, lately, and a ticket that this browser session was shown. The APIs of other
//! systems for that (`http::apps`) come to `service::apps`, which does the same for who comes with a session or with the app's own token.
//!
//! # A revocation
//!
//! 1. `service::revocation` hands it to `revocation::Revoker`, which writes the truth and the log in one transaction
//!    (`store::revocations`), together with all that came meanwhile, and applies the entries to the index before it answers.
//! 2. `revocation::Hints` tells the other servers at once. What hints do not bring, `revocation::Follower` reads, three times in a lease.
//! 3. A strict one waits until every server whose lease holds has said that it came as far (`store::leases`).
//! 4. A check asks first whether the lease of its server holds. If not, the log is read; if that fails, the answer is unknown.
//! 5. A log that is not the one that was followed so far (a failover lost some of it) is made whole again by those who know:
//!    `revocation::Replica::lost_in`, `store::Store::write_again`.

pub mod domain;
pub mod effects;
pub mod store;
pub mod facts;
pub mod revocation;
pub mod service;
pub mod proto;
pub mod grpc;
pub mod http;
pub mod config;
pub mod telemetry;
pub mod server;
pub mod cli;
pub mod client;
