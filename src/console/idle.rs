//! How long a connection of the console may still wait: for a request's head, for the next request, for a client that
//! takes its answer.
//!
//! hyper's own deadline for heads begins with the first byte it parses, and counts a kept-alive connection as one that
//! sends its head. This one knows the difference. The handling of a request has a deadline of its own in `answering`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::config::Limits;

/// Beyond the deadline of handling a request, so that its answer is on its way before the connection is looked at.
const MARGIN: Duration = Duration::from_secs(5);
/// How long a connection may have requests under way without a rest, however slowly its client takes the answers.
const BUSY_MAX: Duration = Duration::from_mins(5);

/// What is known of one connection's waiting.
#[derive(Debug)]
pub(super) struct ConnectionWatch {
    head: Duration,
    idle: Duration,
    stalled: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not sent yet.
    under_way: usize,
    speaks: Speaks,
    wait: Wait,
    since: Instant,
    /// Since when requests are under way without a rest.
    busy_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// For the head of the first request, or of one that has begun to come.
    Head,
    /// For a further request.
    Request,
}

/// A request under way; dropped when its answer is sent or given up.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<ConnectionWatch>);

impl ConnectionWatch {
    /// Of a connection that is ready for its first request.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Arc::new(Self {
            head: seconds(limits.http_header_seconds),
            idle: seconds(limits.http_idle_seconds),
            stalled: seconds(limits.console_request_seconds) + MARGIN,
            state: Mutex::new(State {
                under_way: 0,
                speaks: Speaks::Http1,
                wait: Wait::Head,
                since: Instant::now(),
                busy_since: Instant::now(),
            }),
        })
    }

    /// When the connection has waited for long enough, as things stand.
    pub(super) fn due(&self) -> Instant {
        self.with(|state| match state.wait {
            _ if state.under_way > 0 => (state.since + self.stalled).min(state.busy_since + BUSY_MAX),
            Wait::Head => state.since + self.head,
            Wait::Request => state.since + self.idle,
        })
    }

    /// Is it HTTP/1, as far as is known? HTTP/2 shows with its first request.
    pub(super) fn speaks_http1(&self) -> bool {
        self.with(|state| state.speaks == Speaks::Http1)
    }

    /// A request's head is read.
    pub(super) fn request_began(self: &Arc<Self>, version: http::Version) -> UnderWay {
        self.with(|state| {
            state.since = Instant::now();
            if state.under_way == 0 {
                state.busy_since = state.since;
            }
            state.under_way += 1;
            if version == http::Version::HTTP_2 {
                state.speaks = Speaks::Http2;
            }
        });
        UnderWay(Arc::clone(self))
    }

    /// Something came from the client. Frames of HTTP/2 need not belong to a request.
    fn noted_read(&self) {
        self.with(|state| {
            if state.under_way == 0 && state.wait == Wait::Request && state.speaks == Speaks::Http1 {
                state.wait = Wait::Head;
                state.since = Instant::now();
            }
        });
    }

    /// The client's side took something.
    fn noted_write(&self) {
        self.with(|state| {
            if state.under_way > 0 {
                state.since = Instant::now();
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Nothing in here can panic half way.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl UnderWay {
    /// The answer is there, and has the client's time from now on.
    pub(super) fn answered(&self) {
        self.0.with(|state| state.since = Instant::now());
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.under_way = state.under_way.saturating_sub(1);
            state.wait = Wait::Request;
            state.since = Instant::now();
        });
    }
}

/// A connection whose reading and writing is watched.
#[derive(Debug)]
pub(super) struct WatchedIo<S> {
    stream: S,
    watch: Arc<ConnectionWatch>,
}

impl<S> WatchedIo<S> {
    pub(super) const fn new(stream: S, watch: Arc<ConnectionWatch>) -> Self {
        Self { stream, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.watch.noted_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(1..))) {
            this.watch.noted_write();
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        if matches!(written, Poll::Ready(Ok(1..))) {
            this.watch.noted_write();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_time() {
        let watch = ConnectionWatch::new(&Limits::default());
        let left = || watch.due().duration_since(Instant::now()).as_secs();
        assert_eq!(left(), 10, "for the first head");
        tokio::time::advance(Duration::from_secs(4)).await;
        watch.noted_read();
        assert_eq!(left(), 6, "bytes one by one gain no time");
        let request = watch.request_began(http::Version::HTTP_11);
        assert_eq!(left(), 35);
        tokio::time::advance(Duration::from_secs(20)).await;
        request.answered();
        assert_eq!(left(), 35);
        tokio::time::advance(Duration::from_secs(3)).await;
        watch.noted_read();
        assert_eq!(left(), 32, "what a client sends is no sign that it takes something");
        watch.noted_write();
        assert_eq!(left(), 35);
        drop(request);
        assert_eq!(left(), 75, "for a further request");
        watch.noted_read();
        assert_eq!(left(), 10, "for its head");
        drop(watch.request_began(http::Version::HTTP_2));
        watch.noted_read();
        assert_eq!(left(), 75, "frames of HTTP/2 need not be a request's");
    }
}
