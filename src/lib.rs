//! scopegate
pub mod domain;
pub mod effects;
pub mod facts;
pub mod revocation;
pub mod service;
pub mod store;
