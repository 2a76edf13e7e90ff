#![no_main]

#[path = "../bodies/upstream_answer.rs"]
mod upstream_answer;

libfuzzer_sys::fuzz_target!(|input: &[u8]| upstream_answer::run(input));
