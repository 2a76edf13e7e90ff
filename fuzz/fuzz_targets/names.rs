#![no_main]

#[path = "../bodies/names.rs"]
mod names;

libfuzzer_sys::fuzz_target!(|input: &[u8]| names::run(input));
