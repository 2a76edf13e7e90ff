//! Black-box tests: the real binary, seen only as an operator or a client sees it.
//!
//! Modules by protocol (`api`, `isproxy`, `forward_auth`), by story (`api_sessions`, `audit`, `client_address`, `keys`,
//! `live_streams`, `mfa`, `quotas`, `usage`, `users`, `readme`; those of the console in `browser` and `console`), by real client,
//! and what must be repeated to be believed (`loops`); all stand on `harness`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may end in a panic, and shows the gateway's log when it does"
)]

mod api;
mod api_sessions;
mod attacks;
mod audit;
mod browser;
mod client_address;
mod clients;
mod console;
mod forward_auth;
mod gateways;
mod harness;
mod isproxy;
mod keys;
mod live_streams;
mod loops;
mod mfa;
mod operation;
mod quotas;
mod readme;
mod security_events;
mod throttles;
mod usage;
mod users;
