#![no_main]

#[path = "../bodies/isproxy_reply.rs"]
mod isproxy_reply;

libfuzzer_sys::fuzz_target!(|input: &[u8]| isproxy_reply::run(input));
