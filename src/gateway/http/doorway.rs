//! An API listener on one thread, whose door can be changed while connections stay open.
//!
//! A reload of the configuration puts another [`HttpDoor`] in the place of the present one. Each request goes through
//! the door that is there when it begins, also on a connection that was opened before, and stays with it to its end.
//! Deadlines and sizes that belong to a connection are those of its beginning. Called by `app`.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use super::{HttpDoor, server};
use crate::net::Drain;
use crate::telemetry::DoorMetrics;

/// An API listener on one thread.
#[derive(Debug)]
pub struct HttpDoorway {
    present: RefCell<Rc<HttpDoor>>,
}

/// Counts an open connection for as long as it lives.
struct OpenConnection<'a>(&'a DoorMetrics);

impl HttpDoorway {
    /// A listener that is served by `door`.
    pub fn new(door: HttpDoor) -> Rc<Self> {
        Rc::new(Self { present: RefCell::new(Rc::new(door)) })
    }

    /// The door for a request that begins now.
    pub fn present(&self) -> Rc<HttpDoor> {
        Rc::clone(&self.present.borrow())
    }

    /// Sends requests that begin from now on through `door`; those under way end where they began.
    pub fn replace(&self, door: HttpDoor) {
        self.present.replace(Rc::new(door));
    }

    /// Serves one accepted connection to its end. After `drain` it takes no further request, or one more where that
    /// is gentle, and ends within `limits.drain_seconds`. Runs on a `LocalRuntime`: it spawns local tasks.
    pub async fn serve_connection(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, drain: Drain) {
        let metrics = self.present().metrics.clone();
        metrics.connection_opened();
        let _open = OpenConnection(&metrics);
        server::serve(self, stream, peer, drain).await;
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}
