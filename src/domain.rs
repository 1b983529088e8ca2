//! What scopegate knows about OAuth, as pure values and functions.
//!
//! Nothing here is async, does I/O, asks a clock or draws random numbers: time and entropy are arguments. A value that
//! exists is valid, because parsing is the only way to get one.

pub mod timestamp;
pub mod language;
pub mod colour;
mod hexadecimal;
mod json;
pub mod secret;
pub mod error;
pub mod parameters;
pub mod paths;
pub mod scope;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod client_keys;
pub mod certificate_subject;
pub mod client;
pub mod client_assertion;
pub mod jwk;
pub mod jwt;
pub mod signing_key;
pub mod openid;
pub mod app_user;
pub mod consent;
pub mod credentials;
pub mod registration;
pub mod client_document;
pub mod bearer;
pub mod authorization;
pub mod token;
pub mod user_code;
pub mod grant;
pub mod jwt_access_token;
pub mod variant_list;
pub mod revocation;
pub mod audit;
pub mod dpop;
pub mod dpop_nonce;
pub mod certificate;
pub mod multipart;
pub mod network;
pub mod step_up;
pub mod backchannel_logout;
pub mod outgoing;
pub mod forwarded;
pub mod caller;
pub mod decision;
pub mod challenge;
pub mod presented;
pub mod request_path;
pub mod identity_headers;
pub mod route;
