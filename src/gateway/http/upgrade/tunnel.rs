//! Two streams joined after an upgrade: bytes pass both ways, unread, until an end, a long silence, the drain, or the
//! end of the credential that opened it.
//!
//! A tunnel runs in a task of its own on the thread of its connection, which waits for it. It holds the request's
//! record and its place among the requests in flight, so that both last as long as it does. Made by `upgrade`.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::auth::LiveSession;
use crate::config::Limits;
use crate::gateway::http::record::RequestRecord;
use crate::gateway::http::upstream::InFlight;
use crate::net::Drain;
use crate::net::upstream::UpstreamStream;

/// Bytes held for each direction while the other end does not take them.
const BUFFER_BYTES: usize = 16 * 1_024;
/// How long a stream of HTTP/2 may take to end, its last bytes sent; then its connection is closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// An upgraded request on its way.
pub struct Tunnel {
    /// The server's side.
    pub stream: UpstreamStream,
    /// What was read from it already.
    pub read_ahead: Bytes,
    /// Its place among the server's requests.
    pub in_flight: InFlight,
    /// Completes when the credential is let in no more.
    pub live: LiveSession,
    /// Written down when the tunnel ends.
    pub record: Box<RequestRecord>,
}

/// A stream on which no HTTP is spoken any more.
pub struct Detached {
    /// The stream itself.
    pub stream: Box<dyn Duplex>,
    /// What was read from it already.
    pub read_ahead: Bytes,
}

/// A stream of bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// From where the client's side of a tunnel comes, once the answer is written.
pub enum ClientSide {
    /// The whole connection (HTTP/1.1).
    Connection(oneshot::Receiver<Detached>),
    /// One stream of it (HTTP/2).
    Stream(OnUpgrade),
}

/// What has become of a tunnel's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing of it is left.
    Gone,
    /// It takes nothing, not even the end of its stream: only closing its connection ends it.
    Stuck,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Both ends closed.
    Orderly,
    ClientGone,
    UpstreamBroke,
    Idle,
    Draining,
    Revoked,
}

impl Ending {
    /// For the access log; none where there is nothing to explain.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Orderly => None,
            Self::ClientGone => Some("client_gone"),
            Self::UpstreamBroke => Some("upstream_broke"),
            Self::Idle => Some("idle"),
            Self::Draining => Some("draining"),
            Self::Revoked => Some("revoked"),
        }
    }
}

impl Tunnel {
    /// Joins the two until one of the ends comes, and writes the request down.
    pub async fn run(self, client: ClientSide, drain: Drain, limits: &Limits) -> Farewell {
        let Self { stream, read_ahead, in_flight, live, mut record } = self;
        let moved_at = Cell::new(Instant::now());
        let mut upstream = End::new(stream, read_ahead, &moved_at);
        let mut joined = None;
        let is_stream = matches!(client, ClientSide::Stream(_));
        let ending = tokio::select! {
            biased;
            () = live.ended() => Ending::Revoked,
            () = drained(drain, limits) => Ending::Draining,
            () = silence(&moved_at, limits) => Ending::Idle,
            ending = join(client, &mut joined, &mut upstream, &moved_at) => ending,
        };
        drop((upstream, in_flight, live));
        if let Some(reason) = ending.reason() {
            record.failed(reason);
        }
        record.sent(joined.as_ref().map_or(0, |client| client.written));
        drop(record);
        // A connection closes by being dropped; a stream whose client withholds its window would stay.
        if let Some(mut client) = joined
            && is_stream
            && timeout(FAREWELL, client.shutdown()).await.is_err()
        {
            return Farewell::Stuck;
        }
        Farewell::Gone
    }
}

/// Waits for the client's side, then passes bytes until both ends have closed or one breaks. Half-closing passes too.
async fn join<'t, S: AsyncRead + AsyncWrite + Unpin>(
    client: ClientSide,
    joined: &mut Option<End<'t, Box<dyn Duplex>>>,
    upstream: &mut End<'t, S>,
    moved_at: &'t Cell<Instant>,
) -> Ending {
    let Some(Detached { stream, read_ahead }) = client.detached().await else { return Ending::ClientGone };
    let client = joined.insert(End::new(stream, read_ahead, moved_at));
    match copy_bidirectional_with_sizes(&mut *client, upstream, BUFFER_BYTES, BUFFER_BYTES).await {
        Ok(_) => Ending::Orderly,
        // Who was told the end may go without a word: many clients end TLS so.
        Err(_) if upstream.has_broken && client.has_closed || client.has_broken && upstream.has_closed => {
            Ending::Orderly
        }
        Err(_) if upstream.has_broken => Ending::UpstreamBroke,
        Err(_) => Ending::ClientGone,
    }
}

/// Completes when the drain has lasted for as long as it may.
async fn drained(drain: Drain, limits: &Limits) {
    drain.begun().await;
    sleep(Duration::from_secs(limits.drain_seconds.into())).await;
}

/// Completes when nothing has moved for `limits.upgrade_idle_seconds`.
async fn silence(moved_at: &Cell<Instant>, limits: &Limits) {
    let limit = Duration::from_secs(limits.upgrade_idle_seconds.into());
    loop {
        let due = moved_at.get() + limit;
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}

impl ClientSide {
    /// `None`: the answer could not be written.
    async fn detached(self) -> Option<Detached> {
        match self {
            Self::Connection(connection) => connection.await.ok(),
            Self::Stream(stream) => {
                let stream = Box::new(TokioIo::new(stream.await.ok()?));
                Some(Detached { stream, read_ahead: Bytes::new() })
            }
        }
    }
}

/// One end of a tunnel: what was read ahead comes first, and it is noted when something was passed on to it.
struct End<'t, S> {
    stream: S,
    read_ahead: Bytes,
    moved_at: &'t Cell<Instant>,
    written: usize,
    /// It has said that nothing more comes from it.
    has_closed: bool,
    has_broken: bool,
}

impl<'t, S> End<'t, S> {
    const fn new(stream: S, read_ahead: Bytes, moved_at: &'t Cell<Instant>) -> Self {
        Self { stream, read_ahead, moved_at, written: 0, has_closed: false, has_broken: false }
    }

    fn noting<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        self.has_broken |= outcome.is_err();
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for End<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            let count = self.read_ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.read_ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        self.has_closed |= outcome.is_ok() && buffer.filled().len() == before;
        Poll::Ready(self.noting(outcome))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for End<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        if let Ok(count) = &outcome {
            self.written = self.written.saturating_add(*count);
            self.moved_at.set(Instant::now());
        }
        Poll::Ready(self.noting(outcome))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.noting(outcome))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(self.noting(outcome))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    fn limits(upgrade_idle_seconds: u32, drain_seconds: u32) -> Limits {
        Limits { upgrade_idle_seconds, drain_seconds, ..Limits::default() }
    }

    /// A client's side that is there at once.
    fn detached(stream: impl Duplex + 'static, read_ahead: &'static [u8]) -> ClientSide {
        let (heir, inheritance) = oneshot::channel();
        let left = Detached { stream: Box::new(stream), read_ahead: Bytes::from_static(read_ahead) };
        assert!(heir.send(left).is_ok());
        ClientSide::Connection(inheritance)
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_half_closing_passes() {
        let (client, mut theirs) = duplex(64);
        let (server, mut servers) = duplex(64);
        let moved_at = Cell::new(Instant::now());
        let mut upstream = End::new(server, Bytes::from_static(b"hello "), &moved_at);
        let mut joined = None;
        let talk = async {
            theirs.write_all(b"client").await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut heard = String::new();
            servers.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "early client");
            // The client's half is closed; the server's still speaks.
            servers.write_all(b"server").await.unwrap();
            servers.shutdown().await.unwrap();
            heard.clear();
            theirs.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "hello server");
        };
        let join = join(detached(client, b"early "), &mut joined, &mut upstream, &moved_at);
        let (ending, ()) = tokio::join!(join, talk);
        assert_eq!(ending, Ending::Orderly);
        assert_eq!(joined.unwrap().written, "hello server".len());
        assert_eq!(upstream.written, "early client".len());
    }

    #[tokio::test]
    async fn a_client_whose_answer_could_not_be_written_is_gone() {
        let moved_at = Cell::new(Instant::now());
        let (server, _servers) = duplex(64);
        let (heir, inheritance) = oneshot::channel();
        drop(heir);
        let mut upstream = End::new(server, Bytes::new(), &moved_at);
        let ending = join(ClientSide::Connection(inheritance), &mut None, &mut upstream, &moved_at).await;
        assert_eq!(ending, Ending::ClientGone);
    }

    #[tokio::test]
    async fn the_end_that_breaks_is_named() {
        for (client_breaks, expected) in [(true, Ending::ClientGone), (false, Ending::UpstreamBroke)] {
            let (client, theirs) = duplex(64);
            let (server, servers) = duplex(64);
            let moved_at = Cell::new(Instant::now());
            let mut upstream = End::new(server, Bytes::new(), &moved_at);
            // A write to a dropped duplex fails; what is to be written comes from the other end.
            let (mut speaker, _silent) = if client_breaks {
                drop(theirs);
                (servers, None)
            } else {
                drop(servers);
                (theirs, Some(()))
            };
            speaker.write_all(b"words").await.unwrap();
            let ending = join(detached(client, b""), &mut None, &mut upstream, &moved_at).await;
            assert_eq!(ending, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_from_the_last_movement() {
        let began = Instant::now();
        let moved_at = Cell::new(began);
        let limits = limits(600, 0);
        let moving = async {
            sleep(Duration::from_secs(400)).await;
            moved_at.set(Instant::now());
        };
        tokio::join!(silence(&moved_at, &limits), moving);
        assert_eq!(began.elapsed().as_secs(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn s79_a_drain_leaves_it_its_time() {
        let began = Instant::now();
        let drain = Drain::default();
        let listener = drain.clone();
        let limits = limits(600, 30);
        let draining = async {
            sleep(Duration::from_secs(5)).await;
            listener.begin();
        };
        tokio::join!(drained(drain, &limits), draining);
        assert_eq!(began.elapsed().as_secs(), 35);
    }
}
