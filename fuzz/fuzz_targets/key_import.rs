#![no_main]

#[path = "../bodies/key_import.rs"]
mod key_import;

libfuzzer_sys::fuzz_target!(|input: &[u8]| key_import::run(input));
