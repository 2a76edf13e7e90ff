//! Clients that keep what they have while listeners and processes change under them, as careful clients do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::{Request, Wire, wait_for};

/// An end that was meant follows its reply at once.
const END_FOLLOWS_WITHIN: Duration = Duration::from_millis(20);

/// A kept-alive client. It opens a new connection where it was told to by `Connection: close`, or where the old one had
/// ended before the first byte of an answer; never where it has just opened one.
pub struct SteadyClient {
    /// Where its listener may be, the likeliest first.
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    wire: Option<Wire>,
    /// How often it was told that an answer was the last.
    pub told: usize,
    /// How often a request crossed the end of its connection.
    pub crossed: usize,
}

/// A session of the line protocol. It begins another where its last one has ended between two replies.
pub struct SteadySession {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    login: String,
    wire: Option<Wire>,
    /// How often it began.
    pub begun: usize,
}

impl SteadyClient {
    /// A client of a listener that is at one of `addresses`.
    pub fn new(addresses: &[SocketAddr], tls: Option<Arc<ClientConfig>>) -> Self {
        Self { addresses: addresses.to_vec(), tls, wire: None, told: 0, crossed: 0 }
    }

    /// Asks, and must be answered with 200.
    pub fn ask(&mut self, request: &Request) {
        loop {
            let is_new = self.wire.is_none();
            let mut wire = self.wire.take().unwrap_or_else(|| self.connect());
            if wire.try_send(request.to_bytes()).is_err() || !wire.has_more() {
                // Where an address is given up, a connection may come in the moment of its end.
                assert!(!is_new || self.addresses.len() > 1, "a new connection ended without an answer");
                self.crossed += usize::from(!is_new);
                continue;
            }
            let answer = wire.read_answer();
            assert_eq!((answer.status, answer.complete), (200, true), "{answer:?}");
            if answer.field("connection") == Some("close") {
                self.told += 1;
                // What ends here goes on elsewhere, if it moves.
                self.addresses.rotate_left(1);
            } else {
                self.wire = Some(wire);
            }
            return;
        }
    }

    fn connect(&mut self) -> Wire {
        let wire = wait_for("a listener", || {
            let wire = Wire::try_connect(self.addresses[0]);
            if wire.is_none() {
                self.addresses.rotate_left(1);
            }
            wire
        });
        match &self.tls {
            Some(tls) => wire.into_tls(Arc::clone(tls)),
            None => wire,
        }
    }
}

impl SteadySession {
    /// A session at a listener; with `tls` by `STARTTLS`.
    pub fn new(address: SocketAddr, tls: Option<Arc<ClientConfig>>, login: String) -> Self {
        Self { address, tls, login, wire: None, begun: 0 }
    }

    /// Asks, and must get this reply.
    pub fn ask(&mut self, line: &str, reply: &str) {
        let mut wire = match self.wire.take() {
            Some(mut open) => match open.read_next(END_FOLLOWS_WITHIN) {
                None => open,
                Some(read) => {
                    assert!(read.is_empty(), "bytes that nobody asked for: {read:?}");
                    self.begin()
                }
            },
            None => self.begin(),
        };
        assert_eq!(wire.ask(line), reply);
        self.wire = Some(wire);
    }

    fn begin(&mut self) -> Wire {
        self.begun += 1;
        let mut wire = Wire::connect(self.address);
        if let Some(tls) = &self.tls {
            wire = wire.start_tls(Arc::clone(tls));
        }
        assert_eq!(wire.ask(&self.login), "100 Login ok");
        wire
    }
}
