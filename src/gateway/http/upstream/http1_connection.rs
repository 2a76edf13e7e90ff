//! A connection to an upstream that speaks HTTP/1.1, which carries one request and its answer at a time.
//!
//! It is driven inside the request's own task, not by a task of its own: a request costs no wake-up of another task,
//! and whatever drops the request closes the connection at once. Request and answer flow at once, so that an answer
//! may come, and pass, before the request's body is sent. What bytes mean stands in `http1_answer`, `http1_body` and
//! `http1_upload`; this file moves them. Used by `http1_exchange` and `server_pool`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::http1_answer::{AnswerHead, Framing, HeadReader};
use super::http1_body::{BodyDecoder, Decoded};
use super::http1_upload::{Upload, UploadError};
use super::server_pool::{InFlight, ServerPool};
use crate::gateway::http::denial::Fault;
use crate::gateway::http::headers::Told;
use crate::gateway::http::request_body::RequestBody;
use crate::net::upstream::UpstreamStream;

/// Room for what one read may bring, in bytes: it grows with reads that fill it, and shrinks with those that do not.
const SMALLEST_READ: usize = 8 * 1024;
const LARGEST_READ: usize = 256 * 1024;
/// An idle connection keeps no larger buffer.
const KEPT_BYTES: usize = 16 * 1024;

/// A connection to an upstream, with or without a request on it.
pub struct UpstreamConnection {
    stream: UpstreamStream,
    /// What came and was not decoded.
    received: BytesMut,
    read_bytes: usize,
    upload: Upload,
    heads: HeadReader,
    answer: BodyDecoder,
    /// May another request follow, once all of this one's answer is read?
    keeps_alive: bool,
    idle_since: Instant,
    /// The request on it; `None`: it waits for one.
    in_flight: Option<InFlight>,
    /// Kept from request to request: it is moved only when something is due sooner than it stands.
    pub timer: Option<Pin<Box<Sleep>>>,
}

/// What goes and comes over it is for nobody's log.
impl fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamConnection").field("upload", &self.upload).finish_non_exhaustive()
    }
}

/// How the request goes up.
pub enum Sent {
    /// As far as it can for now.
    SoFar,
    /// Not at all: the connection takes no byte, and [`UpstreamConnection::take_unsent`] gives it back.
    Nothing,
    /// The client's body failed.
    ClientFailed(Fault),
}

impl UpstreamConnection {
    /// Speaks HTTP/1.1 on `stream`, for the request that `in_flight` counts.
    pub fn new(stream: UpstreamStream, in_flight: InFlight) -> Box<Self> {
        Box::new(Self {
            stream,
            received: BytesMut::new(),
            read_bytes: SMALLEST_READ,
            upload: Upload::default(),
            heads: HeadReader::default(),
            answer: BodyDecoder::Length(0),
            keeps_alive: true,
            idle_since: Instant::now(),
            in_flight: Some(in_flight),
            timer: None,
        })
    }

    /// Takes up the request that `in_flight` counts.
    pub fn take_up(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// How long it has been without a request by `now`.
    pub fn idle_for(&self, now: Instant) -> Duration {
        now.duration_since(self.idle_since)
    }

    /// Is it open still, with nothing on it? Bytes that nobody asked for count as closed, so that they are nobody's
    /// answer (S71). Wakes nobody.
    pub fn is_ready(&mut self) -> bool {
        self.received.is_empty() && self.stream.is_silent()
    }

    /// Where the request on it is counted.
    pub fn pool(&self) -> Option<&Rc<ServerPool>> {
        self.in_flight.as_ref().map(InFlight::pool)
    }

    /// What is left of it where the server switched protocols.
    pub fn into_parts(self) -> (UpstreamStream, Bytes, Option<InFlight>) {
        (self.stream, self.received.freeze(), self.in_flight)
    }

    /// Keeps it for another request, if the exchange on it came to its end by `now`, both ways, and nothing came behind
    /// it.
    pub fn give_back(self: Box<Self>, now: Instant) {
        let is_clean = self.answer.has_ended() && self.upload.has_ended() && self.received.is_empty();
        if self.keeps_alive && is_clean {
            self.put_aside(now);
        }
    }

    /// Waits for another request from `now` on.
    pub fn put_aside(mut self: Box<Self>, now: Instant) {
        self.idle_since = now;
        if self.received.capacity() > KEPT_BYTES {
            self.received = BytesMut::new();
        }
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.keep(self);
        }
    }

    /// Begins with `request` and what is `told` beside it; [`Self::poll_send`] sends it.
    pub fn begin(&mut self, request: Request<RequestBody>, told: &Told<'_>) {
        self.upload.begin(request, told);
    }

    /// Sends what can be sent of the request. Where the server takes no more of it, what it says still counts: it may
    /// have answered before it closed.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Sent {
        if self.upload.has_ended() {
            return Sent::SoFar;
        }
        match self.upload.poll(&mut self.stream, cx) {
            Poll::Pending => Sent::SoFar,
            Poll::Ready(Ok(sent)) => {
                if let Some(sent) = sent {
                    self.heads.reuse(sent.into_parts().0.headers);
                }
                Sent::SoFar
            }
            Poll::Ready(Err(UploadError::Client(fault))) => Sent::ClientFailed(fault),
            Poll::Ready(Err(UploadError::Server)) if self.upload.is_whole() => Sent::Nothing,
            Poll::Ready(Err(UploadError::Server)) => {
                self.upload.abandon();
                self.keeps_alive = false;
                Sent::SoFar
            }
        }
    }

    /// The request, where nothing of it was sent.
    pub fn take_unsent(&mut self) -> Option<Request<RequestBody>> {
        self.upload.take_whole()
    }

    /// The next head of an answer to a request of `method`, perhaps an informational one.
    pub fn poll_head(&mut self, method: &Method, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, Fault>> {
        loop {
            if !self.received.is_empty() {
                match self.heads.take_head(&mut self.received, method) {
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(Fault::UpstreamBroke)),
                }
            }
            match ready!(self.poll_receive(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Fault::UpstreamBroke)),
            }
        }
    }

    /// A body that is framed so comes next.
    pub const fn expect_framed(&mut self, framing: Framing) {
        self.answer = BodyDecoder::new(framing);
    }

    /// Another request may follow only if `keeps_alive`.
    pub const fn keep_if(&mut self, keeps_alive: bool) {
        self.keeps_alive &= keeps_alive;
    }

    /// What requests are written to.
    pub const fn stream(&mut self) -> &mut UpstreamStream {
        &mut self.stream
    }

    /// What came and was not taken.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Takes so many bytes of what came.
    pub fn skip(&mut self, bytes: usize) {
        self.received.advance(bytes);
    }

    /// The next part of the answer's body; none: it has ended.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Sent::ClientFailed(fault) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        loop {
            match self.answer.decode(&mut self.received) {
                Ok(Decoded::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Decoded::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::NeedsMore) => {}
                Err(_) => return Poll::Ready(Some(Err(Fault::UpstreamBroke))),
            }
            match ready!(self.poll_receive(cx)) {
                Ok(1..) => {}
                Ok(0) if self.answer.on_close().is_ok() => return Poll::Ready(None),
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Fault::UpstreamBroke))),
            }
        }
    }

    /// Is it known that nothing more comes of the answer's body?
    pub const fn body_has_ended(&self) -> bool {
        self.answer.has_ended()
    }

    /// What is known of the length of what is still to come.
    pub fn body_size_hint(&self) -> SizeHint {
        self.answer.exact_length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Reads once; 0: the server has ended.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < self.read_bytes / 2 {
            self.received.reserve(self.read_bytes);
        }
        let count = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received))?;
        if self.received.len() == self.received.capacity() {
            self.read_bytes = (self.read_bytes * 2).min(LARGEST_READ);
        } else if count < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(SMALLEST_READ);
        }
        Poll::Ready(Ok(count))
    }
}
