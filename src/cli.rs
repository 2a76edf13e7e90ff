//! cli

pub mod isproxy_client;
