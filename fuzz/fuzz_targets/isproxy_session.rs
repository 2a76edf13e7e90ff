#![no_main]

#[path = "../bodies/isproxy_session.rs"]
mod isproxy_session;

libfuzzer_sys::fuzz_target!(|input: &[u8]| isproxy_session::run(input));
