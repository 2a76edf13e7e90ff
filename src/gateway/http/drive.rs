//! Drives the fast path's or hyper's part of a client's connection to where it ends, is cut off, or rests.
//!
//! Deadlines are `deadlines`' to say, and what is cut off `cut_off`'s; this polls, and keeps the one timer. Called by
//! `server`.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};

use super::cut_off::StreamTasks;
use super::deadlines::ConnectionWatch;
use super::doorway::HttpDoorway;
use super::gathering::Release;
use crate::net::Drain;
use crate::net::turn::{EndOfTurn, end_of_turn};

/// A connection that can be told to end after what it is doing.
pub trait Drainable: Future {
    /// How long it may take to say that it ends because it was silent.
    const FAREWELL: Duration;
    /// Can it be taken apart and put together again between two requests?
    const CAN_REST: bool;
    /// Does a request that crosses its end on the way get lost, so that it had better be answered?
    const LOSES_WHAT_CROSSES: bool;

    /// Takes no further request.
    fn end_gently(self: Pin<&mut Self>);
}

impl<I, S, B> Drainable for http1::Connection<I, S>
where
    Self: Future,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// HTTP/1 says it by closing.
    const FAREWELL: Duration = Duration::ZERO;
    const CAN_REST: bool = true;
    const LOSES_WHAT_CROSSES: bool = true;

    fn end_gently(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection of HTTP/2 with what it has written, which leaves at the end of the turn.
pub struct Gathered<C, S> {
    connection: Pin<Box<C>>,
    release: Release<S>,
    turn: EndOfTurn,
}

impl<C, S> Gathered<C, S> {
    /// What `connection` writes is let go by `release`.
    pub fn new(connection: Pin<Box<C>>, release: Release<S>) -> Self {
        Self { connection, release, turn: end_of_turn() }
    }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Gathered<C, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Whatever ended it: it has let go itself, or nobody takes it any more.
        if self.connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.release.holds() {
            ready!(Pin::new(&mut self.turn).poll(cx));
            self.turn = end_of_turn();
        }
        match self.release.poll_release(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<I, S, B, W> Drainable for Gathered<http2::Connection<I, S, StreamTasks>, W>
where
    W: AsyncWrite + Unpin,
    http2::Connection<I, S, StreamTasks>: Future,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    StreamTasks: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    /// HTTP/2 sends GOAWAY (RFC 9113 §6.8).
    const FAREWELL: Duration = Duration::from_secs(1);
    /// Its tables live as long as it does.
    const CAN_REST: bool = false;
    /// GOAWAY names the last stream that is answered.
    const LOSES_WHAT_CROSSES: bool = false;

    fn end_gently(mut self: Pin<&mut Self>) {
        self.connection.as_mut().graceful_shutdown();
    }
}

/// Where a connection was driven to.
pub enum Driven<C> {
    /// To its own end.
    Ended(Pin<Box<C>>),
    /// To a deadline, or it was cut off: it is gone.
    CutOff,
    /// Nothing is on it, and nothing has come for a while.
    Rests(Pin<Box<C>>),
}

/// Why driving stops.
enum Stop {
    Ended,
    CutOff,
    Rests,
}

/// Drives a connection to its end, to a deadline (the watch's, or that of draining), until it is cut off, or until it
/// rests.
///
/// A gentle drain lets HTTP/1 ask once more, and answer that with `Connection: close`.
///
/// The timer is moved only when something is due sooner than it stands, so that it costs nothing in the middle of a
/// busy connection.
pub async fn drive<C: Drainable>(
    mut connection: Pin<Box<C>>,
    watch: &ConnectionWatch,
    drain: &Drain,
    doorway: &HttpDoorway,
) -> Driven<C> {
    let mut drained = pin!(drain.begun());
    // Asked once, it wakes this task; from then on a look at the token is enough.
    let mut is_asked = false;
    let mut timer = pin!(sleep_until(watch.due().unwrap_or_else(Instant::now)));
    let mut drain_end: Option<Instant> = None;
    // Until when a request that is the last one may come.
    let mut last_request_until: Option<Instant> = None;
    let mut farewell_end: Option<Instant> = None;
    let stop = std::future::poll_fn(|cx| {
        if watch.cut_off().connection_is_cut(cx) {
            return Poll::Ready(Stop::CutOff);
        }
        let drains = if is_asked { drain.has_begun() } else { drained.as_mut().poll(cx).is_ready() };
        is_asked = true;
        if drain_end.is_none() && drains {
            let limit = doorway.present().limits.drain_seconds;
            drain_end = Some(Instant::now() + Duration::from_secs(limit.into()));
            last_request_until = drain.idle_until().filter(|_| C::LOSES_WHAT_CROSSES);
            if last_request_until.is_some() {
                watch.note_last_answer();
            } else if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Stop::Ended);
            } else {
                // What was here already was taken still: hyper would close on a request that waits for it.
                connection.as_mut().end_gently();
            }
        }
        loop {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Stop::Ended);
            }
            let rests_from = if C::CAN_REST && drain_end.is_none() { watch.rests_from() } else { None };
            let due = [rests_from, watch.due(), drain_end, last_request_until];
            let due = farewell_end.or_else(|| due.into_iter().flatten().min());
            let Some(due) = due else { return Poll::Pending };
            if !is_due(timer.as_mut(), due, cx) {
                return Poll::Pending;
            }
            if last_request_until.take_if(|until| *until <= Instant::now()).is_some() {
                connection.as_mut().end_gently();
                continue;
            }
            if farewell_end.is_some() || drain_end.is_some() {
                return Poll::Ready(Stop::CutOff);
            }
            if rests_from == Some(due) && watch.due().is_none_or(|end| end > Instant::now()) {
                return Poll::Ready(Stop::Rests);
            }
            farewell_end = Some(Instant::now() + C::FAREWELL);
            connection.as_mut().end_gently();
        }
    })
    .await;
    match stop {
        Stop::Ended => Driven::Ended(connection),
        Stop::CutOff => Driven::CutOff,
        Stop::Rests => Driven::Rests(connection),
    }
}

/// Is `due` past? Otherwise the task is woken then, or a little sooner.
fn is_due(mut timer: Pin<&mut tokio::time::Sleep>, due: Instant, cx: &mut Context<'_>) -> bool {
    if due < timer.deadline() {
        timer.as_mut().reset(due);
    }
    while timer.as_mut().poll(cx).is_ready() {
        if due <= Instant::now() {
            return true;
        }
        timer.as_mut().reset(due);
    }
    false
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::Waker;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::gathering::Gathering;
    use super::*;

    #[tokio::test]
    async fn what_a_connection_has_written_leaves_at_the_end_of_the_turn() {
        let (io, mut client) = duplex(64);
        let (mut written, release) = Gathering::new(io);
        let mut connection = Gathered::new(Box::pin(pending::<()>()), release);
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = [0; 64];
        for answer in ["one", "another"] {
            written.write_all(answer.as_bytes()).await.unwrap();
            assert!(connection.poll_unpin(&mut cx).is_pending());
            assert!(client.read(&mut room).now_or_never().is_none(), "{answer}");
            assert!(connection.poll_unpin(&mut cx).is_pending());
            assert_eq!(client.read(&mut room).now_or_never().unwrap().unwrap(), answer.len());
        }
    }
}
