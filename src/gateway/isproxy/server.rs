//! The door of one listener in one thread: what it is made of, and who may come in at all.
//!
//! No rule of the protocol stands here. Called by the accept loop of a door thread, for each connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::journal::Journal;
use super::session::{EndReason, Rules, TlsOffer};
use super::upstream::IsProxyUpstream;
use crate::auth::{Authenticator, DenialReason};
use crate::clock::Clock;
use crate::config::{IsProxyListener, Limits};
use crate::model::ClientIp;
use crate::net::Drain;
use crate::net::proxy_protocol::read_source;
use crate::telemetry::{AccessLogWriter, DoorMetrics, RefusalRecorder, RequestIds, Tracer};

/// What a door is made of.
#[derive(Debug)]
pub struct DoorParts {
    /// The listener's name, for the log.
    pub listener_name: String,
    /// The listener.
    pub listener: IsProxyListener,
    /// Every bound and deadline.
    pub limits: Arc<Limits>,
    /// For `STARTTLS`; `None`: it cannot be offered.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Judges credentials.
    pub authenticator: Arc<Authenticator>,
    /// Where lines are relayed to; this thread's.
    pub upstream: Rc<IsProxyUpstream>,
    /// Counters.
    pub metrics: DoorMetrics,
    /// The thread's writer.
    pub access_log: Rc<AccessLogWriter>,
    /// Makes traces; `None`: there are none.
    pub tracer: Option<Tracer>,
    /// Takes what is refused.
    pub refusals: RefusalRecorder,
    /// The thread's ids.
    pub request_ids: Rc<RequestIds>,
    /// For the log.
    pub clock: Clock,
}

/// One `IsProxy` listener of one door thread.
#[derive(Debug)]
pub struct IsProxyDoor {
    parts: DoorParts,
    rules: Rules,
}

impl IsProxyDoor {
    /// A door made of `parts`.
    pub fn new(parts: DoorParts) -> Self {
        let rules = Rules {
            tls: if parts.tls.is_some() { TlsOffer::Offered } else { TlsOffer::NotOffered },
            plaintext_credentials: parts.listener.plaintext_credentials,
            limits: Arc::clone(&parts.limits),
        };
        Self { parts, rules }
    }

    /// Serves one client until it leaves, its credential ends, or `drain` begins and what is pending is answered; where
    /// that is gentle, a session of which nothing is pending may ask once more. A client outside the listener's list is
    /// closed without an answer.
    pub async fn serve_connection(self: Rc<Self>, mut stream: TcpStream, peer: SocketAddr, drain: Drain) {
        let Some(source) = self.source(&mut stream, peer, &drain).await else { return };
        let (client_ip, peer) = (ClientIp::new(source.ip()), ClientIp::new(peer.ip()));
        if !self.parts.listener.allow_list.admits(client_ip) {
            self.parts.metrics.denied(DenialReason::AddressOutsideListenerList.as_str());
            let journal = Journal::begin(&self.parts, client_ip, peer);
            return journal.end(&self.parts, EndReason::AddressOutsideListenerList, None);
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client was gone before it was served");
            return;
        }
        let mut connection = Connection::new(&self.parts, self.rules.clone(), client_ip, peer);
        let reason = connection.serve(stream, drain).await;
        connection.end(reason);
    }

    /// Where a connection comes from; `None`: it must be closed.
    async fn source(&self, stream: &mut TcpStream, peer: SocketAddr, drain: &Drain) -> Option<SocketAddr> {
        let parts = &self.parts;
        let within = Duration::from_secs(parts.limits.proxy_protocol_header_seconds.into());
        let source = tokio::select! {
            biased;
            source = read_source(stream, peer, &parts.listener.client_address, within) => source,
            () = drain.idle_ended() => return None,
        };
        let error = match source {
            Ok(source) => return Some(source),
            Err(error) => error,
        };
        tracing::debug!(listener = parts.listener_name, %peer, %error, "a connection is closed");
        let reason = EndReason::ProxyHeaderRefused;
        parts.metrics.denied(reason.as_str());
        let peer = ClientIp::new(peer.ip());
        Journal::begin(parts, peer, peer).end(parts, reason, None);
        None
    }
}
