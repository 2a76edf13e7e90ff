#![no_main]

#[path = "../bodies/isproxy_line.rs"]
mod isproxy_line;

libfuzzer_sys::fuzz_target!(|input: &[u8]| isproxy_line::run(input));
