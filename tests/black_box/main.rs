//! Black-box tests: the real binary, seen only as an operator or a client sees it.
//!
//! Modules by protocol (`api`, `isproxy`), by story (`keys`, `mfa`, `users`) and by real client; all stand on `harness`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may end in a panic, and shows the gateway's log when it does"
)]

mod api;
mod clients;
mod harness;
mod isproxy;
mod keys;
mod mfa;
mod operation;
mod users;
