//! demo

pub mod certificates;
pub mod registry_api;
