//! Behaviours, through the public ports of real servers. One binary, so that it links once.
#![allow(clippy::similar_names, clippy::unwrap_used, reason = "a test that cannot go on panics, with the line where")]

mod harness;

mod authorize;
mod batch_revoke;
mod certificates;
mod check_scopes;
mod coherence;
mod command_line;
mod concurrency;
mod dpop;
mod faults;
mod foreign_clients;
mod garbage;
mod introspect;
mod pages;
mod par;
mod properties;
mod pruning;
mod races;
mod redis;
mod refresh;
mod resources;
mod revoke;
mod server;
mod several;
mod token;
mod watch;
