//! demo
pub mod certificates;
pub mod isproxy_upstream;
pub mod registry_api;
