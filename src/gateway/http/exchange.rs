//! One request and its answer on one connection to an upstream.
//!
//! The connection is driven inside the request's own task, not by a task of its own: a request costs no wake-up of
//! another task, and whatever drops the request closes the connection at once. hyper's client does the protocol;
//! this file does deadlines, `100 Continue`, giving the connection back, and telling the pool how it went. Called by
//! `upstream`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep_until};

use super::denial::Fault;
use super::headers::strip_trailers;
use super::request_body::{RequestBody, SendProgress};
use super::server_pool::InFlight;
use super::upstream::{HttpUpstream, is_servers};
use crate::net::upstream::UpstreamStream;

/// How long a body waits for the upstream's `100 Continue`; old servers send none (RFC 9110 §10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// A connection to an upstream, with or without a request on it.
pub struct UpstreamConnection {
    sender: http1::SendRequest<RequestBody>,
    /// `None`: it has ended.
    driver: Option<http1::Connection<TokioIo<UpstreamStream>, RequestBody>>,
    idle_since: Instant,
    /// The request on it; `None`: it waits for one.
    in_flight: Option<InFlight>,
}

/// How an exchange began.
pub enum Outcome {
    /// The answer's head is here.
    Answered(Response<UpstreamBody>),
    /// It failed; perhaps a part of the request was sent.
    Failed(Fault),
    /// The connection was closed before a byte was sent; here is the request again.
    NothingSent(Request<RequestBody>),
}

/// The upstream's body as it comes; gives the connection back at its end.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    connection: Option<Box<UpstreamConnection>>,
    upstream: Rc<HttpUpstream>,
    /// Made when the upstream first lets the client wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// Longest silence; `None`: it is meant to be silent (server-sent events).
    idle_limit: Option<Duration>,
    total_due: Option<Instant>,
    ended: bool,
}

impl std::fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamConnection").field("open", &self.driver.is_some()).finish_non_exhaustive()
    }
}

impl UpstreamConnection {
    /// Speaks HTTP/1.1 on `stream`, for the request that `in_flight` counts.
    pub async fn open(stream: UpstreamStream, in_flight: InFlight) -> Result<Box<Self>, Fault> {
        let opened = http1::Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, driver) = opened.map_err(|_| Fault::UpstreamBroke)?;
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            idle_since: Instant::now(),
            in_flight: Some(in_flight),
        }))
    }

    /// Takes up the request that `in_flight` counts.
    pub fn take_up(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// How long it has been without a request.
    pub fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// Is it open still? Surplus bytes of the upstream count as closed, so that they are nobody's answer (S71).
    pub fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Moves bytes both ways as far as they go.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            // Dropping it gives an unsent request back to its future.
            self.driver = None;
        }
    }

    /// Sends `request` and waits for the answer's head. `progress` is that of a body that is still to come.
    pub async fn exchange(
        mut self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        mut request: Request<RequestBody>,
        progress: Option<&Rc<SendProgress>>,
        total_due: Option<Instant>,
    ) -> Outcome {
        if !std::future::poll_fn(|cx| Poll::Ready(self.is_open(cx))).await {
            return Outcome::NothingSent(request);
        }
        let continued =
            progress.filter(|progress| progress.awaits_continue()).map(|_| watch_for_continue(&mut request));
        let waiting = Waiting { upstream, progress, continued, total_due, sent_at: Instant::now() };
        match waiting.answer(&mut self, request).await {
            Waited::Head(response) => self.hand_over(upstream, response, total_due),
            Waited::Unsent(request) => Outcome::NothingSent(request),
            Waited::Failed(fault) => Outcome::Failed(fault),
        }
    }

    /// Looks at the head, and binds the connection to the body.
    fn hand_over(
        self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        response: Response<Incoming>,
        total_due: Option<Instant>,
    ) -> Outcome {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Outcome::Failed(Fault::UpstreamUpgraded);
        }
        let codings = response.headers().get_all(TRANSFER_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            // hyper takes only chunks off; a body coded otherwise would reach the client as something else.
            return Outcome::Failed(Fault::UpstreamBroke);
        }
        let streams_events = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let idle = Duration::from_secs(upstream.limits().http_body_idle_seconds.into());
        Outcome::Answered(response.map(|incoming| UpstreamBody {
            ended: false,
            incoming,
            connection: Some(self),
            upstream: Rc::clone(upstream),
            timer: None,
            idle_limit: (!streams_events).then_some(idle),
            total_due,
        }))
    }
}

/// Tells when the upstream has said `100 Continue`. The flag is set while the connection is driven.
fn watch_for_continue(request: &mut Request<RequestBody>) -> Arc<AtomicBool> {
    let said = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&said);
    hyper::ext::on_informational(request, move |head| {
        if head.status() == StatusCode::CONTINUE {
            noted.store(true, Ordering::Relaxed);
        }
    });
    said
}

/// The wait for an answer's head, with all that may end it.
struct Waiting<'a> {
    upstream: &'a Rc<HttpUpstream>,
    progress: Option<&'a Rc<SendProgress>>,
    continued: Option<Arc<AtomicBool>>,
    total_due: Option<Instant>,
    sent_at: Instant,
}

/// What came instead of an answer's head, or the head.
enum Waited {
    Head(Response<Incoming>),
    Unsent(Request<RequestBody>),
    Failed(Fault),
}

impl Waiting<'_> {
    async fn answer(&self, connection: &mut UpstreamConnection, request: Request<RequestBody>) -> Waited {
        let mut head = pin!(connection.sender.try_send_request(request));
        let mut timer = pin!(sleep_until(self.due().0));
        std::future::poll_fn(|cx| {
            loop {
                connection.drive(cx);
                if let Poll::Ready(head) = head.as_mut().poll(cx) {
                    return Poll::Ready(head.map_or_else(|error| self.without_head(error), Waited::Head));
                }
                if self.continue_came() {
                    continue;
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                // The body may have moved since the timer was set: only what is due now counts.
                let (due, fault) = self.due();
                if due > Instant::now() {
                    timer.as_mut().reset(due);
                } else if let Some(progress) = self.progress.filter(|progress| progress.awaits_continue()) {
                    progress.open_gate();
                } else {
                    return Poll::Ready(Waited::Failed(fault));
                }
            }
        })
        .await
    }

    /// The request, if the connection closed before any of it was sent; otherwise who failed.
    fn without_head(&self, mut error: TrySendError<Request<RequestBody>>) -> Waited {
        let by_client = || self.progress.and_then(|progress| progress.fault());
        match error.take_message() {
            Some(request) => Waited::Unsent(request),
            None => Waited::Failed(by_client().unwrap_or(Fault::UpstreamBroke)),
        }
    }

    /// Opens the body's gate when the upstream has said `100 Continue`; the connection must then be driven again.
    fn continue_came(&self) -> bool {
        let said = self.continued.as_ref().is_some_and(|said| said.load(Ordering::Relaxed));
        match self.progress {
            Some(progress) if said && progress.awaits_continue() => {
                progress.open_gate();
                true
            }
            _ => false,
        }
    }

    /// What is waited for now: until when, and whose fault it is if it does not come.
    fn due(&self) -> (Instant, Fault) {
        let limits = self.upstream.limits();
        let first_byte = Duration::from_secs(limits.upstream_first_byte_seconds.into());
        let body_idle = Duration::from_secs(limits.http_body_idle_seconds.into());
        let (due, fault) = match self.progress {
            None => (self.sent_at + first_byte, Fault::UpstreamTooSlow),
            Some(progress) if progress.awaits_continue() => {
                (self.sent_at + CONTINUE_WAIT, Fault::UpstreamTooSlow)
            }
            Some(progress) if progress.has_ended() => {
                (progress.moved_at() + first_byte, Fault::UpstreamTooSlow)
            }
            Some(progress) => (progress.moved_at() + body_idle, progress.stall()),
        };
        match self.total_due {
            Some(total) if total < due => (total, Fault::UpstreamTooSlow),
            _ => (due, fault),
        }
    }
}

impl UpstreamBody {
    /// The next part, or why there is none.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending() {
            // The first look tells the connection that something is wanted; only then does it read.
            self.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.timer = None;
                let mut is_last = self.incoming.is_end_stream();
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers, self.upstream.identity_rules());
                    is_last = true;
                }
                if is_last {
                    // hyper does not ask again, so this is the moment to give the connection back.
                    self.release(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.break_off(Fault::UpstreamBroke)))),
            Poll::Ready(None) => {
                self.release(cx);
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_deadline(cx).map(|fault| Some(Err(self.break_off(fault)))),
        }
    }

    /// Ends the body early, for which `fault` is to blame, and closes the connection.
    fn break_off(&mut self, fault: Fault) -> Fault {
        self.ended = true;
        let connection = self.connection.take();
        if let Some(in_flight) = connection.and_then(|connection| connection.in_flight)
            && is_servers(fault, self.total_due)
        {
            in_flight.pool().note_failure();
        }
        fault
    }

    /// Looks, before anything is sent to the client, whether there is a body at all; hyper never asks for an empty
    /// one, and its connection is free at once.
    pub fn release_if_empty(&mut self, cx: &mut Context<'_>) {
        if self.incoming.is_end_stream() {
            self.release(cx);
        }
    }

    /// Did it come to its end, good or bad?
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Is there nothing more to come?
    pub fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    /// What is known of its length.
    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.drive(cx);
        }
    }

    /// Gives the connection back if it is ready for another request: a request body that is still on its way, or
    /// surplus bytes behind the answer, make it useless.
    fn release(&mut self, cx: &mut Context<'_>) {
        self.ended = true;
        if let Some(in_flight) = self.connection.as_ref().and_then(|connection| connection.in_flight.as_ref())
        {
            in_flight.pool().state().note_end();
        }
        if let Some(mut connection) = self.connection.take()
            && connection.is_open(cx)
            && connection.sender.is_ready()
        {
            connection.idle_since = Instant::now();
            if let Some(in_flight) = connection.in_flight.take() {
                in_flight.keep(connection);
            }
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
