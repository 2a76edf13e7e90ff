//! The upstream's body on its way to the client: cleaned trailers, deadlines, and how it went told to the pool.
//!
//! It holds what carries it, so that dropping it early ends the exchange at the upstream too: a connection of HTTP/1.1
//! is closed, a stream of HTTP/2 is reset (S72). Made by the exchanges, polled by `door_body`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::http1_connection::UpstreamConnection;
use super::http2_exchange::Http2Body;
use super::server_pool::ServerPool;
use super::{HttpUpstream, is_servers};
use crate::gateway::http::denial::Fault;
use crate::gateway::http::headers::strip_trailers;

/// The upstream's body as it comes.
#[derive(Debug)]
pub struct UpstreamBody {
    source: Source,
    upstream: Rc<HttpUpstream>,
    /// Made when the upstream first lets the client wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// Longest silence; `None`: it is meant to be silent.
    idle_limit: Option<Duration>,
    total_due: Option<Instant>,
    ended: bool,
}

/// What brings a body.
#[derive(Debug)]
pub enum Source {
    /// A connection of its own; `None`: it was given back or closed.
    Http1(Option<Box<UpstreamConnection>>),
    /// One stream among others.
    Http2(Box<Http2Body>),
}

/// May a body of this kind be silent for long? Events come when they come, and so do the messages of gRPC streams,
/// whose deadlines are the client's (`grpc-timeout`).
pub fn is_of_events(content_type: &[u8]) -> bool {
    content_type.starts_with(b"text/event-stream") || content_type.starts_with(b"application/grpc")
}

impl UpstreamBody {
    /// The body that `source` brings behind a head with these `headers`.
    pub fn new(
        source: Source,
        upstream: &Rc<HttpUpstream>,
        headers: &HeaderMap,
        total_due: Option<Instant>,
    ) -> Self {
        let idle = Duration::from_secs(upstream.limits().http_body_idle_seconds.into());
        let is_of_events = headers.get(CONTENT_TYPE).is_some_and(|kind| is_of_events(kind.as_bytes()));
        Self {
            source,
            upstream: Rc::clone(upstream),
            timer: None,
            idle_limit: (!is_of_events).then_some(idle),
            total_due,
            ended: false,
        }
    }

    /// The next part, or why there is none.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.timer = None;
                let mut is_last = self.source.is_end_stream();
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers, self.upstream.identity_rules());
                    is_last = true;
                }
                if is_last {
                    // hyper does not ask again, so this is the moment to give the connection back.
                    self.release();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(fault))) => Poll::Ready(Some(Err(self.break_off(fault)))),
            Poll::Ready(None) => {
                self.release();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_deadline(cx).map(|fault| Some(Err(self.break_off(fault)))),
        }
    }

    /// Ends the body early, for which `fault` is to blame, and the exchange with it.
    fn break_off(&mut self, fault: Fault) -> Fault {
        self.ended = true;
        if let (Fault::UpstreamTooSlow, Source::Http2(body)) = (fault, &self.source) {
            body.doubt();
        }
        if is_servers(fault, self.total_due)
            && let Some(pool) = self.source.pool()
        {
            pool.note_failure();
        }
        self.source.end();
        fault
    }

    /// Looks, before anything is sent to the client, whether there is a body at all; hyper never asks for an empty
    /// one, and its connection is free at once.
    pub fn release_if_empty(&mut self) {
        if self.source.is_end_stream() {
            self.release();
        }
    }

    /// Did it come to its end, good or bad?
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Is there nothing more to come?
    pub fn is_end_stream(&self) -> bool {
        self.ended || self.source.is_end_stream()
    }

    /// What is known of its length.
    pub fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(None) => SizeHint::with_exact(0),
            Source::Http1(Some(connection)) => connection.body_size_hint(),
            Source::Http2(body) => body.size_hint(),
        }
    }

    /// The exchange went well to its end.
    fn release(&mut self) {
        self.ended = true;
        if let Some(pool) = self.source.pool() {
            pool.state().note_end();
        }
        match &mut self.source {
            Source::Http1(connection) => {
                if let Some(connection) = connection.take() {
                    connection.give_back(Instant::now());
                }
            }
            Source::Http2(body) => body.end(),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if self.timer.is_none() {
            let idle_due = self.idle_limit.map(|limit| Instant::now() + limit);
            let due = [idle_due, self.total_due].into_iter().flatten().min();
            self.timer = due.map(|due| Box::pin(sleep_until(due)));
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| Fault::UpstreamTooSlow),
            None => Poll::Pending,
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self {
            Self::Http1(None) => Poll::Ready(None),
            Self::Http1(Some(connection)) => connection.poll_body(cx),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(connection) => {
                connection.as_ref().is_none_or(|connection| connection.body_has_ended())
            }
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    /// Where the exchange is counted; `None`: it has ended.
    fn pool(&self) -> Option<&Rc<ServerPool>> {
        match self {
            Self::Http1(connection) => connection.as_ref().and_then(|connection| connection.pool()),
            Self::Http2(body) => body.pool(),
        }
    }

    fn end(&mut self) {
        match self {
            Self::Http1(connection) => *connection = None,
            Self::Http2(body) => body.end(),
        }
    }
}
