//! The web console: how its pages look and what they say.
//!
//! Pages are templates with plain structs; what they show is judged and fetched elsewhere. Nothing here reads the store
//! or the time, and nothing decides who may see a page. Called by `app`.

pub mod assets;
pub mod chart;
pub mod frame;
pub mod pages;
pub mod parts;
#[cfg(test)]
pub(crate) mod testing;
