//! Sockets: listeners per thread, the accept loop and its limits, TLS. Knows no protocol above TLS.
//!
//! Deliberately holds no list of connections: draining is a [`CancellationToken`](tokio_util::sync::CancellationToken)
//! that the doors listen to. Callers: `app` binds and accepts, the doors take TLS from here.

mod accept;
mod listen;
mod slots;
mod tls;

pub use accept::accept_connections;
pub use listen::{BoundListener, ListenError, ListenerLock, listen};
pub use slots::{ConnectionSlot, ConnectionSlots};
pub use tls::{TlsError, server_config};
