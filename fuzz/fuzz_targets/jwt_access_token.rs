#![no_main]

#[allow(dead_code, reason = "the other targets")]
#[path = "../../tests/it/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::jwt_access_token(data));
