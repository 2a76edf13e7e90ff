//! The API door (PROTOCOL section 2), by what is looked at.

mod balancing;
mod connections;
mod forwarding;
mod http2_upstreams;
mod https_upstreams;
mod refusals;
mod set_headers;
mod streaming;
mod upgrades;
mod upstreams;
