//! One request and its answer on one connection to an upstream that speaks HTTP/1.1.
//!
//! The connection is driven inside the request's own task, not by a task of its own: a request costs no wake-up of
//! another task, and whatever drops the request closes the connection at once. hyper's client does the protocol;
//! this file does `100 Continue` and giving the connection back. Called by `server_pool`.
//!
//! Only the socket, and a body that comes from the client, may wake the task. What hyper's halves tell each other is
//! looked at right after the connection was driven; it is polled with a waker that does nothing, so that a task does
//! not wake itself for what it has seen already.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::{Request, Response, StatusCode, response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use super::HttpUpstream;
use super::answer_wait::{AnswerWait, Look};
use super::body::{Source, UpstreamBody};
use super::server_pool::{InFlight, ServerPool};
use crate::gateway::http::denial::Fault;
use crate::gateway::http::request_body::{RequestBody, SendProgress};
use crate::net::upstream::UpstreamStream;

/// A connection to an upstream, with or without a request on it.
pub struct UpstreamConnection {
    sender: http1::SendRequest<RequestBody>,
    /// `None`: it has ended.
    driver: Option<http1::Connection<TokioIo<UpstreamStream>, RequestBody>>,
    idle_since: Instant,
    /// The request on it; `None`: it waits for one.
    in_flight: Option<InFlight>,
    switch: Switch,
    /// Kept from request to request: it is moved only when something is due sooner than it stands.
    timer: Option<Pin<Box<Sleep>>>,
    /// May a part of the request on it be unsent when its answer has ended?
    sends_body: bool,
}

/// May the connection become something else than HTTP?
#[derive(Debug)]
enum Switch {
    /// Not on this request.
    Unasked,
    /// If the server agrees.
    Asked,
    /// HTTP on it has ended; what is left.
    Done(Box<http1::Parts<TokioIo<UpstreamStream>>>),
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

/// How an exchange began.
pub enum Outcome {
    /// The answer's head is here.
    Answered(Response<UpstreamBody>),
    /// The server switched protocols, as it was asked to.
    Switched(Box<Switched>),
    /// It failed; perhaps a part of the request was sent.
    Failed(Fault),
    /// The connection was closed before a byte was sent; here is the request again.
    NothingSent(Request<RequestBody>),
    /// The server says that it did nothing with what was sent of the request (HTTP/2); here it is again, whole.
    Refused(Request<RequestBody>),
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
            switch: Switch::Unasked,
            timer: None,
            sends_body: false,
        }))
    }

    /// Takes up the request that `in_flight` counts.
    pub fn take_up(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
        self.switch = Switch::Unasked;
    }

    /// How long it has been without a request.
    pub fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// Is it open still, and ready for another request? Surplus bytes of the upstream count as closed, so that they
    /// are nobody's answer (S71). Wakes nobody.
    pub fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Where the request on it is counted.
    pub fn pool(&self) -> Option<&Rc<ServerPool>> {
        self.in_flight.as_ref().map(InFlight::pool)
    }

    /// Puts it aside. A request body that is still on its way makes it useless, and so do surplus bytes behind the
    /// answer; those are looked for before it is used again.
    pub fn give_back(mut self: Box<Self>) {
        if !self.sends_body || self.is_ready() {
            self.put_aside();
        }
    }

    /// Waits for another request.
    pub fn put_aside(mut self: Box<Self>) {
        self.idle_since = Instant::now();
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.keep(self);
        }
    }

    /// Moves bytes both ways as far as they go.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            // Dropping it, or what drives it, gives an unsent request back to its future.
            let ended = self.driver.take();
            if let (Switch::Asked, Some(ended)) = (&self.switch, ended) {
                self.switch = Switch::Done(Box::new(ended.into_parts()));
            }
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
        if !self.is_ready() {
            return Outcome::NothingSent(request);
        }
        self.sends_body = progress.is_some();
        let continued =
            progress.filter(|progress| progress.awaits_continue()).map(|_| watch_for_continue(&mut request));
        let wait = AnswerWait::new(upstream, progress, total_due);
        match wait_for_head(&mut self, request, &wait, continued).await {
            Waited::Head(response) => self.hand_over(upstream, response, total_due),
            Waited::Unsent(request) => Outcome::NothingSent(request),
            Waited::Failed(fault) => Outcome::Failed(fault),
        }
    }

    /// The same for a request that asks to switch protocols; it has no body.
    pub async fn exchange_for_switch(
        mut self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        request: Request<RequestBody>,
        total_due: Option<Instant>,
    ) -> Outcome {
        self.switch = Switch::Asked;
        self.exchange(upstream, request, None, total_due).await
    }

    /// Looks at the head, and binds the connection to the body.
    fn hand_over(
        mut self: Box<Self>,
        upstream: &Rc<HttpUpstream>,
        response: Response<Incoming>,
        total_due: Option<Instant>,
    ) -> Outcome {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return match (self.switch, self.in_flight) {
                (Switch::Done(left), Some(in_flight)) => Outcome::Switched(Box::new(Switched {
                    head: response.into_parts().0,
                    stream: left.io.into_inner(),
                    read_ahead: left.read_buf,
                    in_flight,
                })),
                _ => Outcome::Failed(Fault::UpstreamUpgraded),
            };
        }
        let codings = response.headers().get_all(TRANSFER_ENCODING);
        if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            // hyper takes only chunks off; a body coded otherwise would reach the client as something else.
            return Outcome::Failed(Fault::UpstreamBroke);
        }
        // From here on it waits to hear that the body is wanted, and wakes nobody when it does.
        self.drive(&mut Context::from_waker(Waker::noop()));
        let (head, incoming) = response.into_parts();
        let source = Source::Http1 { incoming, connection: Some(self) };
        let body = UpstreamBody::new(source, upstream, &head.headers, total_due);
        Outcome::Answered(Response::from_parts(head, body))
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

/// What came instead of an answer's head, or the head.
enum Waited {
    Head(Response<Incoming>),
    Unsent(Request<RequestBody>),
    Failed(Fault),
}

/// Sends `request` on `connection` and waits; `continued` tells of `100 Continue`.
async fn wait_for_head(
    connection: &mut UpstreamConnection,
    request: Request<RequestBody>,
    wait: &AnswerWait<'_>,
    continued: Option<Arc<AtomicBool>>,
) -> Waited {
    let mut head = pin!(connection.sender.try_send_request(request));
    let mut timer = wait.timer(connection.timer.take());
    let waited = std::future::poll_fn(|cx| {
        loop {
            connection.drive(cx);
            if let Poll::Ready(head) = head.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Poll::Ready(head.map_or_else(|error| without_head(wait, error), Waited::Head));
            }
            if wait.awaits_continue() && continued.as_ref().is_some_and(|said| said.load(Ordering::Relaxed)) {
                wait.open_gate();
                continue;
            }
            match wait.look(timer.as_mut(), cx) {
                Look::Wait => return Poll::Pending,
                Look::Again => {}
                Look::Over(fault) => return Poll::Ready(Waited::Failed(fault)),
            }
        }
    })
    .await;
    connection.timer = Some(timer);
    waited
}

/// The request, if the connection closed before any of it was sent; otherwise who failed.
fn without_head(wait: &AnswerWait<'_>, mut error: TrySendError<Request<RequestBody>>) -> Waited {
    match error.take_message() {
        Some(request) => Waited::Unsent(request),
        None => Waited::Failed(wait.clients_fault().unwrap_or(Fault::UpstreamBroke)),
    }
}
