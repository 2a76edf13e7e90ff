//! Servers of upstreams, whatever they speak: how a connection to one comes about, how each does as all threads see
//! it, and which of several is asked.
//!
//! Sends nothing on the connections that it makes beyond TLS handshakes. Called by both doors; `app` makes
//! [`UpstreamServers`] and lends them to the threads.

mod balance;
mod checks;
mod connect;
mod servers;
mod stream;

pub use balance::Draws;
pub use checks::RegularChecks;
pub use connect::{ConnectError, HttpVersion, Target};
pub use servers::{ServerState, UpstreamServers};
pub use stream::UpstreamStream;
