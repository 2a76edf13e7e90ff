//! What comes of asking a server, whichever version of HTTP carries it. Made by the exchanges, read by `upstream`.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, response};
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::server_pool::InFlight;
use crate::gateway::http::denial::Fault;
use crate::gateway::http::request_body::{RequestBody, SendProgress};
use crate::net::upstream::UpstreamStream;

/// A request that is on no way yet. An exchange takes it out, and puts it back where it may go another way.
pub type Unsent = Option<Request<RequestBody>>;

/// What an exchange has to heed.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// That of a body that is still to come.
    pub progress: Option<&'a Rc<SendProgress>>,
    /// When it begins.
    pub began: Instant,
    /// When it must be over.
    pub total_due: Option<Instant>,
}

/// How long upstreams let a request wait.
#[derive(Debug, Default)]
pub struct Waited {
    /// All of it.
    pub time: Duration,
    /// The end of it; `None`: nobody was asked.
    pub until: Option<Instant>,
}

impl Waited {
    /// Counts what has passed since `began`.
    pub fn count(&mut self, began: Instant) {
        self.count_until(Instant::now(), began);
    }

    /// Counts what has passed since `began` until `now`.
    pub fn count_until(&mut self, now: Instant, began: Instant) {
        self.time += now - began;
        self.until = Some(now);
    }
}

/// How an exchange began; `T` is what came of an answer.
pub enum Outcome<T = Response<UpstreamBody>> {
    /// The answer's head is here.
    Answered(T),
    /// The server switched protocols, as it was asked to.
    Switched(Box<Switched>),
    /// It failed; perhaps a part of the request was sent.
    Failed(Fault),
    /// The connection was closed before a byte was sent; the request is back where it was.
    NothingSent,
    /// The server says that it did nothing with what was sent of the request (HTTP/2), which is back where it was, whole.
    Refused,
}

/// A connection on which HTTP has ended, because the server agreed to switch protocols.
#[derive(Debug)]
pub struct Switched {
    /// Its 101.
    pub head: response::Parts,
    /// What is left of the connection.
    pub stream: UpstreamStream,
    /// What came behind the 101 already.
    pub read_ahead: Bytes,
    /// The request counts for as long as the stream is in use.
    pub in_flight: InFlight,
}
