//! What is known of a client's connection: the same for all its requests.

use std::net::SocketAddr;
use std::rc::Rc;

use http::HeaderValue;

use super::deadlines::ConnectionWatch;
use super::headers::ConnectionFacts;
use crate::model::ClientIp;

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Anybody on the way can read it.
    Plaintext,
    /// TLS, ended here.
    Tls,
}

/// One client's connection.
#[derive(Debug)]
pub struct ClientConnection {
    /// Who is judged by allow-lists and throttles.
    pub ip: ClientIp,
    /// How it is secured.
    pub transport: Transport,
    /// What the upstream is told about it.
    pub facts: ConnectionFacts,
    /// Its deadlines.
    pub watch: Rc<ConnectionWatch>,
}

impl ClientConnection {
    /// A connection from `peer`.
    pub fn new(peer: SocketAddr, transport: Transport, watch: Rc<ConnectionWatch>) -> Rc<Self> {
        let ip = ClientIp::new(peer.ip());
        let address = HeaderValue::from_str(&ip.to_string());
        let proto = match transport {
            Transport::Plaintext => "http",
            Transport::Tls => "https",
        };
        Rc::new(Self {
            ip,
            transport,
            facts: ConnectionFacts {
                // The text of an address is always a header's value.
                forwarded_for: address.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
                forwarded_proto: HeaderValue::from_static(proto),
            },
            watch,
        })
    }
}
