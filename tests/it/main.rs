//! Behaviours, through the public ports of real servers. One binary, so that it links once.
#![allow(clippy::similar_names, clippy::unwrap_used, reason = "a test that cannot go on panics, with the line where")]

mod harness;

mod authorize;
mod batch_revoke;
mod certificates;
mod certified;
mod check_scopes;
mod client_authentication;
mod client_credentials;
mod client_policy;
mod client_update;
mod coherence;
mod command_line;
mod coverage;
mod crashes;
mod concurrency;
mod differential;
mod device;
mod dpop;
mod dpop_extras;
mod faults;
mod foreign_clients;
mod fuzz;
mod garbage;
mod introspect;
mod keys;
mod logs;
mod oauth2_client;
mod openid;
mod pages;
mod par;
mod properties;
mod pruning;
mod races;
mod redis;
mod refresh;
mod registration;
mod resources;
mod revoke;
mod server;
mod several;
mod standards;
mod token;
mod token_exchange;
mod watch;
