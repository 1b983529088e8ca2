//! The code that the build generates from `proto/`.
#![allow(clippy::pedantic, clippy::doc_lazy_continuation, clippy::large_enum_variant, reason = "generated")]

pub mod envoy {
    pub mod config {
        pub mod core {
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    pub mod service {
        pub mod auth {
            pub mod v3 {
                tonic::include_proto!("envoy.service.auth.v3");
            }
        }
    }
    pub mod r#type {
        pub mod v3 {
            tonic::include_proto!("envoy.r#type.v3");
        }
    }
}

pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

pub mod scopegate {
    pub mod v1 {
        tonic::include_proto!("scopegate.v1");
    }
}

/// `proto/`, compiled, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scopegate.bin"));
