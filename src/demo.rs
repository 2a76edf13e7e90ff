//! demo

pub mod registry_api;
