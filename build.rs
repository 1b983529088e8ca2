//! Compiles `proto/` without a system `protoc`, and keeps the descriptors for server reflection.

use std::{env, error::Error, fs, path::PathBuf};

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write through the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(["scopegate/v1/token_service.proto"])?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("scopegate.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // These carry tokens: their `Debug` is written by hand and redacts.
        .skip_debug([
            "scopegate.v1.IntrospectRequest",
            "scopegate.v1.CheckScopesRequest",
            "scopegate.v1.Proof",
            "scopegate.v1.RevokeRequest",
        ])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
