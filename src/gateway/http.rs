//! The API door: HTTP/1.1 and HTTP/2 in, a credential judged for each request, HTTP/1.1 and HTTP/2 out.
//!
//! One [`HttpDoor`] for each listener on each door thread; nothing in it is shared with another thread but what is
//! behind an `Arc`. It never touches the store, and forwards nothing without a [`Permit`](crate::auth::Permit).
//! Called by `app`, which accepts the connections.

mod answer_wait;
mod api_session;
mod authorization;
mod client;
mod cookies;
mod deadlines;
mod denial;
mod door_body;
mod exchange;
mod forward;
mod headers;
mod health_check;
mod http2_connection;
mod http2_exchange;
mod http2_head;
mod http2_pool;
mod record;
mod request_body;
mod routes;
mod server;
mod server_pool;
mod target;
mod upstream;
mod upstream_body;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub use authorization::{Authorization, parse_credential};
pub use health_check::health_checks;
pub use upstream::HttpUpstream;

use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{HttpListener, Limits, Route};
use crate::telemetry::{AccessLogWriter, DoorMetrics, RefusalRecorder, RequestIds};
use routes::Routes;

/// What a door is made of.
#[derive(Debug)]
pub struct HttpDoorParts {
    /// The listener's name.
    pub name: String,
    /// Its configuration; `routes` below stand for its routes.
    pub listener: HttpListener,
    /// Bounds and deadlines.
    pub limits: Arc<Limits>,
    /// TLS from the first byte, or none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Who judges credentials.
    pub authenticator: Arc<Authenticator>,
    /// The listener's routes with this thread's upstreams.
    pub routes: Vec<(Route, Rc<HttpUpstream>)>,
    /// Counters of the door.
    pub metrics: DoorMetrics,
    /// This thread's access log.
    pub access_log: Rc<AccessLogWriter>,
    /// Takes what is refused.
    pub refusals: RefusalRecorder,
    /// This thread's request ids.
    pub request_ids: Rc<RequestIds>,
    /// The time of day.
    pub clock: Clock,
}

/// An API listener on one thread.
#[derive(Debug)]
pub struct HttpDoor {
    name: String,
    listener: HttpListener,
    limits: Arc<Limits>,
    tls: Option<Arc<rustls::ServerConfig>>,
    authenticator: Arc<Authenticator>,
    routes: Routes<HttpUpstream>,
    metrics: DoorMetrics,
    access_log: Rc<AccessLogWriter>,
    refusals: RefusalRecorder,
    request_ids: Rc<RequestIds>,
    clock: Clock,
}

/// Counts an open connection for as long as it lives.
struct OpenConnection<'a>(&'a DoorMetrics);

impl HttpDoor {
    /// A door of `parts`; offer `h2` and `http/1.1` in the ALPN of its TLS configuration.
    pub fn new(parts: HttpDoorParts) -> Self {
        Self {
            name: parts.name,
            listener: parts.listener,
            limits: parts.limits,
            tls: parts.tls,
            authenticator: parts.authenticator,
            routes: Routes::new(parts.routes),
            metrics: parts.metrics,
            access_log: parts.access_log,
            refusals: parts.refusals,
            request_ids: parts.request_ids,
            clock: parts.clock,
        }
    }

    /// Serves one accepted connection to its end. After `drain` it takes no further request, and ends within
    /// `limits.drain_seconds`. Runs on a `LocalRuntime`: it spawns local tasks.
    pub async fn serve_connection(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        drain: CancellationToken,
    ) {
        let metrics = self.metrics.clone();
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
