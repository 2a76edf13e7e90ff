//! Sockets: listeners per thread, the accept loop and its limits, TLS; and from whom a connection or a request is.
//! Knows no protocol above TLS.
//!
//! Deliberately holds no list of connections: draining is a [`Drain`] that the doors listen to. Callers: `app` binds and accepts, the doors take TLS and addresses from here.

mod accept;
pub mod client_ip;
mod drain;
mod listen;
pub mod proxy_protocol;
mod slots;
mod thread_loads;
mod tls;
mod tls_client;
pub mod turn;
pub mod upstream;
pub mod websocket;

pub use accept::{Queue, accept_connections, take_queued};
pub use drain::Drain;
pub use listen::{BoundListener, ListenError, ListenerLock, adopt, bind};
pub use slots::{AcceptedAt, ConnectionLimits, ConnectionSlot, ConnectionSlots, ListenerId};
#[cfg(test)]
pub(crate) use tls::testing as tls_testing;
pub use tls::{
    ACME_TLS_ALPN, Certificate, CertificatesByName, Challenges, ExpectedQuestion, IssuedByName,
    IssuedCertificate, Sessions, TlsError, server_config, shake_hands,
};
pub use tls_client::client_config;
