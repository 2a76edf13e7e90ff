//! The API door (PROTOCOL section 2), by what is looked at.

mod connections;
mod forwarding;
mod refusals;
mod streaming;
mod upstreams;
