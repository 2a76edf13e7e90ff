//! The door over real sockets, before an upstream that keeps every byte it got.

mod admission;
mod balancing;
mod clients;
mod fast_path;
mod forward_auth;
mod framing;
pub(super) mod harness;
mod http1_upstreams;
mod http2_peer;
mod http2_upstreams;
mod upgrades;
mod upstreams;
