#![no_main]

#[path = "../bodies/console_head.rs"]
mod console_head;

libfuzzer_sys::fuzz_target!(|input: &[u8]| console_head::run(input));
