//! Compiles `proto/` without a system `protoc`, and keeps the descriptors for server reflection.

use std::{env, error::Error, fs, path::PathBuf};

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write through the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files([
        "scopegate/v1/token_service.proto",
        "scopegate/v1/admin_service.proto",
        "scopegate/v1/interaction_service.proto",
        "envoy/service/auth/v3/external_auth.proto",
    ])?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("scopegate.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // These carry tokens, secrets and passwords: their `Debug` is written by hand and redacts.
        .skip_debug([
            "scopegate.v1.IntrospectRequest",
            "scopegate.v1.CheckScopesRequest",
            "scopegate.v1.Proof",
            "scopegate.v1.RevokeRequest",
            "scopegate.v1.CreateClientResponse",
            "scopegate.v1.RotateClientSecretResponse",
            "scopegate.v1.CreateAccountRequest",
            "scopegate.v1.SetAccountPasswordRequest",
            "scopegate.v1.AcceptLoginResponse",
            "scopegate.v1.AcceptConsentResponse",
            "scopegate.v1.RejectInteractionResponse",
            "envoy.service.auth.v3.CheckRequest",
            "envoy.service.auth.v3.AttributeContext",
            "envoy.service.auth.v3.AttributeContext.Request",
            "envoy.service.auth.v3.AttributeContext.HttpRequest",
            "envoy.service.auth.v3.AttributeContext.Entry",
            "envoy.config.core.v3.HeaderValue",
            "envoy.config.core.v3.HeaderMap",
        ])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
