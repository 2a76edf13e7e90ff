//! The two doors. They see `auth` and never `store` or `crypto`, and not each other.

pub mod http;
pub mod isproxy;
mod swar;
