//! scopegate
pub mod cli;
pub mod config;
pub mod domain;
pub mod effects;
pub mod facts;
pub mod grpc;
pub mod http;
pub mod proto;
pub mod revocation;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
