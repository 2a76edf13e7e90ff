#![no_main]

#[path = "../bodies/websocket_handshake.rs"]
mod websocket_handshake;

libfuzzer_sys::fuzz_target!(|input: &[u8]| websocket_handshake::run(input));
