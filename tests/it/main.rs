//! Behaviours, through the public ports of real servers. One binary, so that it links once.
#![allow(clippy::similar_names, clippy::unwrap_used, reason = "a test that cannot go on panics, with the line where")]

mod harness;

mod authorize;
mod batch_revoke;
mod check_scopes;
mod coherence;
mod command_line;
mod concurrency;
mod faults;
mod foreign_clients;
mod garbage;
mod introspect;
mod openid;
mod pages;
mod properties;
mod pruning;
mod races;
mod redis;
mod refresh;
mod revoke;
mod server;
mod several;
mod token;
mod watch;
