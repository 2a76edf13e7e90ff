//! The `IsProxy` door (PROTOCOL section 1): a line protocol in clear, upgraded by `STARTTLS`.
//!
//! The path of a line: [`line`] cuts it out of what was read, [`command`] says what it asks, [`session`] knows every
//! rule and no socket, [`connection`] does on sockets what the session says, [`upstream`] is the way to the upstream,
//! and [`server`] is the door itself.
//! Nothing here judges a credential (`auth` does) or a name (the upstream does).

pub mod command;
mod connection;
mod journal;
pub mod line;
pub mod outbox;
pub mod pending;
pub mod reply;
mod server;
pub mod session;
mod stream;
mod tally;
mod upstream;

pub use server::{DoorParts, IsProxyDoor};
