//! What every black-box test stands on: a real gateway with recording upstreams, and clients that show exact bytes.
//!
//! Nothing here reaches into the library. Every wait has a deadline, and nothing sleeps for a fixed time.

mod answer;
mod authority;
mod cable;
mod command;
mod frame_client;
mod gateway;
mod http2_upstream;
mod http_upstream;
mod isproxy_upstream;
mod pebble;
pub mod postgres;
mod process;
mod second_factor;
mod secrets;
mod starttls_upstream;
mod steady;
mod tls_upstream;
mod visitor;
mod websocket;
mod wire;

pub use answer::{Answer, Request};
pub use authority::{Authority, Validity};
pub use cable::Cable;
pub use command::{Key, Output, PASSWORD, User};
pub use frame_client::{FrameClient, Http2Frame};
pub use gateway::{Installation, TestGateway, free_address, free_port};
pub use http_upstream::{Exchange, HttpUpstream, RecordedRequest};
pub use http2_upstream::Http2Upstream;
pub use isproxy_upstream::{IsProxyUpstream, LineReply, reply_by_name};
pub use pebble::Pebble;
pub use postgres::PostgresServer;
pub use process::{Running, run, run_within};
pub use second_factor::{App, SecurityKey, from_base32};
pub use secrets::Secrets;
pub use starttls_upstream::{Manners, StartTlsUpstream, Transport};
pub use steady::{SteadyClient, SteadySession};
pub use tls_upstream::TlsUpstream;
pub use visitor::{Page, Visitor};
pub use websocket::{Http2Client, agree, agreement, echo_messages, handshake};
pub use wire::Wire;

use std::time::{Duration, Instant};

/// How long any single wait may take before the test fails: far beyond what a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` until it answers; fails after [`PATIENCE`] with what was waited for.
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// How often a long loop runs: `full` where `LATCHKEY_TEST_LENGTH` says so (`tests/all --full`), else `short`.
pub fn by_length(short: usize, full: usize) -> usize {
    match std::env::var("LATCHKEY_TEST_LENGTH").as_deref() {
        Ok("full") => full,
        Ok("short") | Err(_) => short,
        Ok(other) => panic!("LATCHKEY_TEST_LENGTH is `{other}`; allowed: short, full"),
    }
}

/// The base64 text of `Basic` for `user` and `password`, with the scheme.
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}
