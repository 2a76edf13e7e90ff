//! The `IsProxy` door (PROTOCOL section 1): a line protocol in clear, upgraded by `STARTTLS`.
//!
//! The path of a line: [`line`] cuts it out of what was read, [`command`] says what it asks, [`session`] knows every
//! rule and no socket, [`connection`] does on sockets what the session says, and [`server`] is the door itself. On the
//! other side [`link`] is a session's way to its upstream, [`upstream`] chooses the server, [`opening`] gets the
//! connection ready, and [`health_check`] asks servers how they do.
//! Nothing here judges a credential (`auth` does) or a name (the upstream does).

pub mod command;
mod connection;
mod ending;
mod health_check;
mod journal;
pub mod line;
mod link;
mod opening;
pub mod outbox;
pub mod pending;
mod presented;
pub mod reply;
mod server;
pub mod session;
mod stream;
mod tally;
mod turns;
mod upstream;

pub use health_check::health_checks;
pub use server::{DoorParts, IsProxyDoor};
pub use upstream::IsProxyUpstream;
