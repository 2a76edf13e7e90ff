//! One request and its answer on a stream of an HTTP/2 connection to an upstream.
//!
//! Both directions flow at once: the answer's head and body pass while the request's body still goes up, as gRPC
//! wants it. Whatever drops the exchange resets the stream, and leaves the connection to the others (S72). Called by
//! `server_pool`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::HttpUpstream;
use super::answer_wait::{AnswerWait, Look};
use super::body::{Source, UpstreamBody};
use super::exchange::{Asking, Outcome, Unsent};
use super::http2_connection::{Place, Seat};
use super::http2_head::http2_head;
use super::server_pool::ServerPool;
use crate::gateway::http::denial::Fault;
use crate::gateway::http::headers::Told;
use crate::gateway::http::request_body::{RequestBody, SendProgress};

/// A request's body on its way up.
struct Upload {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// Taken from the client, and waiting for the server's window.
    chunk: Option<Chunk>,
    /// Was nothing taken from the client yet? Then the body can still go elsewhere.
    untouched: bool,
}

struct Chunk {
    data: Bytes,
    is_last: bool,
}

/// How an upload ended.
enum Uploaded {
    /// All is sent, or the server wants no more of it; its answer tells why.
    Done,
    /// The client failed, which resets the stream.
    ClientFailed,
}

/// The answer's body as the stream brings it.
#[derive(Debug)]
pub struct Http2Body {
    incoming: RecvStream,
    data_ended: bool,
    /// Comes no body behind this head, whatever it says of a length (HEAD, 204, 304)?
    is_head_only: bool,
    /// What is still to come, where the head says it.
    left_bytes: Option<u64>,
    /// When a part of it last came.
    heard_at: Instant,
    progress: Option<Rc<SendProgress>>,
    /// `None`: the exchange has ended.
    stream: Option<Stream>,
}

/// What a stream holds until it ends.
#[derive(Debug)]
struct Stream {
    seat: Seat,
    /// What the request's body still needs; it ends with the stream.
    _upload: Option<AbortOnDropHandle<()>>,
}

/// What came instead of an answer's head, or the head.
enum Waited {
    Head(Response<RecvStream>),
    Broke(h2::Error),
    Failed(Fault),
}

impl Place {
    /// Sends what is `unsent` and waits for the answer's head.
    pub async fn exchange(
        mut self,
        upstream: &Rc<HttpUpstream>,
        told: &Told<'_>,
        unsent: &mut Unsent,
        asking: Asking<'_>,
    ) -> Outcome {
        let Some((head, body)) = unsent.take().map(Request::into_parts) else { return Outcome::NothingSent };
        let Some(http2_head) = http2_head(&head, |headers| told.insert_into(headers), self.scheme) else {
            return Outcome::Failed(Fault::Malformed("The Host header is not a host name."));
        };
        let bodiless = body.is_end_stream();
        let gone =
            std::future::poll_fn(|cx| Poll::Ready(matches!(self.sender.poll_ready(cx), Poll::Ready(Err(_)))));
        let begun = if gone.await { None } else { self.sender.send_request(http2_head, bodiless).ok() };
        let Some((mut answer, stream)) = begun else {
            self.seat.retire();
            *unsent = Some(Request::from_parts(head, body));
            return Outcome::NothingSent;
        };
        drop(self.sender);
        let mut upload = Upload { body, stream, chunk: None, untouched: true };
        let mut sending = !bodiless;
        let wait = AnswerWait::new(upstream, asking);
        match wait_for_head(&mut answer, &mut upload, &mut sending, &wait).await {
            // No status at all (RFC 9110 §15), which only the library's type has room for.
            Waited::Head(response) if response.status().as_u16() > 599 => {
                Outcome::Failed(Fault::UpstreamBroke)
            }
            Waited::Head(response) => {
                self.seat.heard();
                let upload = sending.then(|| AbortOnDropHandle::new(tokio::task::spawn_local(upload.run())));
                let stream = Stream { seat: self.seat, _upload: upload };
                let (answer, incoming) = response.into_parts();
                let progress = asking.progress.map(Rc::clone);
                let body = Http2Body::new(incoming, &head.method, &answer, progress, stream);
                let source = Source::Http2(Box::new(body));
                let body = UpstreamBody::new(source, upstream, &answer.headers, asking.total_due);
                Outcome::Answered(Response::from_parts(answer, body))
            }
            Waited::Broke(error) if is_refusal(&error) && upload.untouched => {
                self.seat.retire();
                *unsent = Some(Request::from_parts(head, upload.body));
                Outcome::Refused
            }
            Waited::Broke(error) => {
                tracing::debug!(upstream = upstream.name(), %error, "a stream to an upstream broke");
                Outcome::Failed(wait.clients_fault().unwrap_or(Fault::UpstreamBroke))
            }
            Waited::Failed(fault) => {
                if fault == Fault::UpstreamTooSlow {
                    self.seat.doubt(wait.sent_at());
                }
                Outcome::Failed(fault)
            }
        }
    }
}

/// Does `error` prove that the server did nothing with the request: is it `REFUSED_STREAM`, or a `GOAWAY` whose last
/// stream came before this one (RFC 9113 §8.7)? `h2` ends no other streams by a `GOAWAY` of the server.
fn is_refusal(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// Sends while `sending`, and waits.
async fn wait_for_head(
    answer: &mut ResponseFuture,
    upload: &mut Upload,
    sending: &mut bool,
    wait: &AnswerWait<'_>,
) -> Waited {
    let mut timer = wait.timer(None);
    std::future::poll_fn(|cx| {
        loop {
            if wait.awaits_continue() && says_continue(answer, cx) {
                wait.open_gate();
            }
            if let Poll::Ready(answer) = Pin::new(&mut *answer).poll(cx) {
                return Poll::Ready(answer.map_or_else(Waited::Broke, Waited::Head));
            }
            if *sending && let Poll::Ready(uploaded) = upload.poll(cx) {
                *sending = false;
                if let Uploaded::ClientFailed = uploaded {
                    return Poll::Ready(Waited::Failed(wait.clients_fault().unwrap_or(Fault::BodyBroken)));
                }
            }
            match wait.look(timer.as_mut(), cx) {
                Look::Wait => return Poll::Pending,
                Look::Again => {}
                Look::Over(fault) => return Poll::Ready(Waited::Failed(fault)),
            }
        }
    })
    .await
}

/// Has the server said `100 Continue`?
fn says_continue(answer: &mut ResponseFuture, cx: &mut Context<'_>) -> bool {
    while let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
        if interim.status() == StatusCode::CONTINUE {
            return true;
        }
    }
    false
}

/// The length of a body, where its head says it; `h2` holds the server to it.
fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

impl Upload {
    /// Goes on without the one who began it, to its end.
    async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx).map(drop)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Uploaded> {
        loop {
            // Also asks to be woken when the server resets the stream.
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Uploaded::Done);
            }
            if self.chunk.is_some() {
                if !ready!(self.poll_window(cx)) {
                    return Poll::Ready(Uploaded::Done);
                }
                let sent = self
                    .chunk
                    .take()
                    .map(|chunk| (self.stream.send_data(chunk.data, chunk.is_last), chunk.is_last));
                if !matches!(sent, Some((Ok(()), false))) {
                    return Poll::Ready(Uploaded::Done);
                }
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            self.untouched = false;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => {
                    // Refused only where the stream has ended, which its answer tells.
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(Uploaded::Done);
                }
                Some(Ok(Ok(data))) => {
                    // As little as can be: what one stream reserves, no other can use.
                    self.stream.reserve_capacity(data.len().min(1));
                    self.chunk = Some(Chunk { data, is_last: self.body.is_end_stream() });
                }
                Some(Ok(Err(frame))) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        let _ = self.stream.send_trailers(trailers);
                    }
                    return Poll::Ready(Uploaded::Done);
                }
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Uploaded::ClientFailed);
                }
            }
        }
    }

    /// Waits until the server takes a part of the chunk; false: it takes no more at all.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let is_empty = self.chunk.as_ref().is_none_or(|chunk| chunk.data.is_empty());
        while !is_empty && self.stream.capacity() == 0 {
            if !matches!(ready!(self.stream.poll_capacity(cx)), Some(Ok(_))) {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }
}

impl Http2Body {
    fn new(
        incoming: RecvStream,
        asked: &Method,
        answer: &response::Parts,
        progress: Option<Rc<SendProgress>>,
        stream: Stream,
    ) -> Self {
        let is_head_only = *asked == Method::HEAD
            || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Self {
            left_bytes: if is_head_only { Some(0) } else { announced_bytes(&answer.headers) },
            is_head_only,
            incoming,
            data_ended: false,
            heard_at: Instant::now(),
            progress,
            stream: Some(stream),
        }
    }

    /// The next part, or why there is none. A stream that was reset is never taken for a whole body (S71).
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = match ready!(self.poll_stream(cx)) {
            Ok(frame) => frame.map(Ok),
            Err(error) => {
                tracing::debug!(%error, "the answer of an upstream broke off");
                let clients = self.progress.as_ref().and_then(|progress| progress.fault());
                Some(Err(clients.unwrap_or(Fault::UpstreamBroke)))
            }
        };
        if let Some(stream) = self.stream.as_ref().filter(|_| matches!(frame, Some(Ok(_)))) {
            stream.seat.heard();
            self.heard_at = Instant::now();
        }
        Poll::Ready(frame)
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, h2::Error>> {
        if !self.data_ended {
            if let Some(data) = ready!(self.incoming.poll_data(cx)) {
                let data = data?;
                self.incoming.flow_control().release_capacity(data.len())?;
                self.left_bytes = self.left_bytes.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Ok(Some(Frame::data(data))));
            }
            self.data_ended = true;
        }
        Poll::Ready(ready!(self.incoming.poll_trailers(cx)).map(|trailers| trailers.map(Frame::trailers)))
    }

    /// Is there nothing more to come?
    pub fn is_end_stream(&self) -> bool {
        self.is_head_only || self.incoming.is_end_stream()
    }

    /// What is known of its length.
    pub fn size_hint(&self) -> SizeHint {
        self.left_bytes.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Where the exchange is counted; `None`: it has ended.
    pub fn pool(&self) -> Option<&Rc<ServerPool>> {
        self.stream.as_ref().map(|stream| stream.seat.pool())
    }

    /// Ends the exchange. What is left of the request's body goes nowhere.
    pub fn end(&mut self) {
        self.stream = None;
    }

    /// The server is late: a connection on which nothing came for anybody takes no further request.
    pub fn doubt(&self) {
        if let Some(stream) = &self.stream {
            stream.seat.doubt(self.heard_at);
        }
    }
}
