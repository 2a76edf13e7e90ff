//! The API door: HTTP/1.1 and HTTP/2 in, a credential judged for each request, HTTP/1.1 and HTTP/2 out; or, at a listener
//! that proxies ask, an answer alone (`forward_auth`).
//!
//! One [`HttpDoorway`] for each listener on each door thread, with the [`HttpDoor`] of the configuration in force; nothing in it is shared with another thread but what is
//! behind an `Arc`. It never touches the store, and forwards nothing without a [`Permit`](crate::auth::Permit).
//! The steps of a head's way upstream are public, so that `fuzz` can take them without sockets.
//! Called by `app`, which accepts the connections.

mod api_session;
mod authorization;
mod beginning;
mod byte_set;
mod client;
mod cookies;
mod cut_off;
mod deadlines;
mod denial;
mod door_body;
mod doorway;
mod drive;
mod fast_path;
mod forward;
mod forward_auth;
mod gathering;
mod headers;
mod open_bodies;
mod record;
mod request_body;
mod routes;
mod server;
mod target;
mod trace_headers;
mod upgrade;
mod upstream;

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

pub use authorization::{Authorization, parse_authorization, parse_credential};
pub use doorway::HttpDoorway;
pub use fast_path::{PlainRequest, no_fields};
pub use forward::prepare_head;
pub use headers::{ForwardedFacts, IdentityRules, Told, strip_hop_by_hop};
pub use open_bodies::OpenBodies;
pub use routes::Routes;
pub use server::http1_builder;
pub use target::settle_head;
pub use upgrade::Handshake;
pub use upstream::{
    AnswerHead, BodyDecoder, BrokenBody, Decoded, Framing, HeadReader, HttpUpstream, UnreadableHead,
    UploadFraming, health_checks, http2_head, write_head,
};

use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{
    ClientAddressRules, ForwardAuthListener, HttpListener, IdentityHeaders, Limits, PlaintextCredentials,
};
use crate::model::AllowList;
use crate::telemetry::{AccessLogWriter, DoorMetrics, RefusalRecorder, RequestIds, Tracer};

/// What a door is made of.
#[derive(Debug)]
pub struct HttpDoorParts {
    /// The listener's name.
    pub name: String,
    /// What is asked before any credential.
    pub entrance: Entrance,
    /// Bounds and deadlines.
    pub limits: Arc<Limits>,
    /// TLS from the first byte, or none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Who judges credentials.
    pub authenticator: Arc<Authenticator>,
    /// What becomes of a request that may pass.
    pub purpose: Purpose,
    /// This thread's answers on their way.
    pub open_bodies: Rc<OpenBodies>,
    /// Counters of the door.
    pub metrics: DoorMetrics,
    /// This thread's access log.
    pub access_log: Rc<AccessLogWriter>,
    /// Makes traces; `None`: there are none.
    pub tracer: Option<Tracer>,
    /// Takes what is refused.
    pub refusals: RefusalRecorder,
    /// This thread's request ids.
    pub request_ids: Rc<RequestIds>,
    /// The time of day.
    pub clock: Clock,
}

/// What a listener asks before any credential.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Are credentials taken where there is no TLS?
    pub plaintext_credentials: PlaintextCredentials,
    /// Whose word about a client's address is believed.
    pub client_address: ClientAddressRules,
    /// Who may come in at all.
    pub allow_list: AllowList,
}

/// What becomes of a request that may pass.
#[derive(Debug)]
pub enum Purpose {
    /// It is forwarded, by the listener's routes to this thread's upstreams.
    Forward(Routes<HttpUpstream>),
    /// Whoever asked is told who calls, in these headers, and forwards it itself. There is no upstream here.
    Answer(IdentityHeaders),
}

/// What an API listener on one thread serves by, from one configuration.
#[derive(Debug)]
pub struct HttpDoor {
    name: String,
    entrance: Entrance,
    limits: Arc<Limits>,
    tls: Option<Arc<rustls::ServerConfig>>,
    authenticator: Arc<Authenticator>,
    purpose: Purpose,
    open_bodies: Rc<OpenBodies>,
    metrics: DoorMetrics,
    access_log: Rc<AccessLogWriter>,
    tracer: Option<Tracer>,
    refusals: RefusalRecorder,
    request_ids: Rc<RequestIds>,
    clock: Clock,
}

impl HttpDoor {
    /// A door of `parts`; offer `h2` and `http/1.1` in the ALPN of its TLS configuration.
    pub fn new(parts: HttpDoorParts) -> Self {
        Self {
            name: parts.name,
            entrance: parts.entrance,
            limits: parts.limits,
            tls: parts.tls,
            authenticator: parts.authenticator,
            purpose: parts.purpose,
            open_bodies: parts.open_bodies,
            metrics: parts.metrics,
            access_log: parts.access_log,
            tracer: parts.tracer,
            refusals: parts.refusals,
            request_ids: parts.request_ids,
            clock: parts.clock,
        }
    }
}

impl From<&HttpListener> for Entrance {
    fn from(listener: &HttpListener) -> Self {
        Self {
            plaintext_credentials: listener.plaintext_credentials,
            client_address: listener.client_address.clone(),
            allow_list: listener.allow_list.clone(),
        }
    }
}

impl From<&ForwardAuthListener> for Entrance {
    fn from(listener: &ForwardAuthListener) -> Self {
        Self {
            plaintext_credentials: listener.plaintext_credentials,
            client_address: listener.client_address.clone(),
            allow_list: listener.allow_list.clone(),
        }
    }
}
