//! How long a client's connection may be silent, and the socket that keeps count of it.
//!
//! One timer a connection covers what hyper's own does not: a client that connects and says nothing, a request head
//! that trickles, a kept-alive connection without a request, a client that takes nothing of what is written to it.
//! While a request is answered no deadline of this kind runs. Times of bodies and upstreams stand elsewhere.
//! Two things that only the raw bytes show are noted on the way: a fragment in a target, and unread bytes at the end.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};
use tokio_util::io::poll_read_buf;

use super::cut_off::CutOff;
use crate::config::Limits;

/// How long a client may still take nothing when one of its streams was cut off.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// So many more requests of a connection may be given up unanswered than are answered. They cost the upstream as much
/// as others, and their client nothing (CVE-2023-44487).
const MOST_ABANDONED: u32 = 100;

/// After so long without a request a connection gives its buffers back: soon, as what is freed late, among what was
/// allocated meanwhile, the allocator cannot give back.
const REST_AFTER: Duration = Duration::from_millis(250);
/// What is read at once when a connection begins, or goes on; most heads are shorter.
pub const FIRST_READ_BYTES: usize = 4 * 1024;
/// As many bytes of several parts are copied into one, for less than several cost the kernel.
const COPIED_BYTES: usize = 4 * 1024;

/// Where a client's connection stands, and until when it may stand there.
#[derive(Debug)]
pub struct ConnectionWatch {
    phase: Cell<Phase>,
    open_requests: Cell<u32>,
    write_due: Cell<Option<Instant>>,
    request_line: Cell<RequestLine>,
    unread: Cell<bool>,
    answers_last: Cell<bool>,
    abandoned: Cell<u32>,
    cut_off: CutOff,
    head: Duration,
    idle: Duration,
    write: Duration,
}

/// What is known of the request line that comes or came last, of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestLine {
    /// Nothing of it has come, but perhaps empty lines, which a server passes over (RFC 9112 §2.2).
    Awaited,
    /// Its end has not come yet.
    Begun,
    /// It holds a `#`, which the URI parser would drop in silence.
    HasFragment,
    /// It has ended, without one.
    Ended,
    /// It is not known where it begins.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request's head is awaited or has begun.
    Head(Instant),
    /// A request is being answered.
    Busy,
    /// Kept alive without a request; the first byte begins a head.
    Idle(Instant),
    /// The same for HTTP/2, where a byte may as well be a ping.
    IdleStreams(Instant),
}

/// Which version of HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.0 or HTTP/1.1: one request after the other.
    Http1,
    /// HTTP/2: streams side by side.
    Http2,
}

impl ConnectionWatch {
    /// A watch for a connection accepted at `accepted`, from when the first head's time runs.
    pub fn new(limits: &Limits, accepted: Instant) -> Rc<Self> {
        let head = Duration::from_secs(limits.http_header_seconds.into());
        Rc::new(Self {
            phase: Cell::new(Phase::Head(accepted + head)),
            open_requests: Cell::new(0),
            write_due: Cell::new(None),
            request_line: Cell::new(RequestLine::Awaited),
            unread: Cell::new(false),
            answers_last: Cell::new(false),
            abandoned: Cell::new(0),
            cut_off: CutOff::default(),
            head,
            idle: Duration::from_secs(limits.http_idle_seconds.into()),
            write: Duration::from_secs(limits.http_body_idle_seconds.into()),
        })
    }

    /// The moment at which the connection has been silent for too long, as things stand.
    pub fn due(&self) -> Option<Instant> {
        let due = match self.phase.get() {
            Phase::Busy => None,
            Phase::Head(due) | Phase::Idle(due) | Phase::IdleStreams(due) => Some(due),
        };
        match (due, self.write_due.get()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// From when on a kept-alive connection of HTTP/1 need hold no buffers; `None`: something is under way on it.
    pub fn rests_from(&self) -> Option<Instant> {
        match (self.phase.get(), self.write_due.get()) {
            (Phase::Idle(due), None) => (due - self.idle).checked_add(REST_AFTER),
            _ => None,
        }
    }

    /// A request's head is complete.
    pub fn request_began(&self) {
        self.open_requests.set(self.open_requests.get().saturating_add(1));
        self.phase.set(Phase::Busy);
    }

    /// An answer is complete, or given up, at `now`.
    pub fn request_ended(&self, spoken: Spoken, now: Instant) {
        let open = self.open_requests.get().saturating_sub(1);
        self.open_requests.set(open);
        if open == 0 {
            self.phase.set(match spoken {
                Spoken::Http1 => {
                    if self.request_line.get() != RequestLine::Unknown {
                        self.request_line.set(RequestLine::Awaited);
                    }
                    Phase::Idle(now + self.idle)
                }
                Spoken::Http2 => Phase::IdleStreams(now + self.idle),
            });
        }
    }

    /// A request was let in and answered.
    pub fn note_answered(&self) {
        self.abandoned.set(self.abandoned.get().saturating_sub(1));
    }

    /// A request was given up before there was an answer, by its client or because of what its client sent. Cuts the
    /// connection off where that becomes a habit.
    pub fn note_abandoned(&self) {
        let abandoned = self.abandoned.get().saturating_add(1);
        self.abandoned.set(abandoned);
        if abandoned > MOST_ABANDONED {
            self.cut_off.cut_connection();
        }
    }

    /// The connection turned out to speak HTTP/2, which has no request lines.
    pub fn speaks_http2(&self) {
        self.request_line.set(RequestLine::Unknown);
    }

    /// Did the request's line hold a fragment (S60)?
    pub fn saw_fragment(&self) -> bool {
        self.request_line.get() == RequestLine::HasFragment
    }

    /// A part of a request's body may be left unread when the connection closes.
    pub fn note_unread(&self) {
        self.unread.set(true);
    }

    /// May something be left unread?
    pub fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// The next answer is the connection's last, and is to say so (RFC 9112 §9.6); of HTTP/1.
    pub fn note_last_answer(&self) {
        self.answers_last.set(true);
    }

    /// Is an answer that begins now the last?
    pub fn answers_last(&self) -> bool {
        self.answers_last.get()
    }

    /// What of the connection must not go on.
    pub const fn cut_off(&self) -> &CutOff {
        &self.cut_off
    }

    /// Cuts the connection off if it takes nothing now and for another second: the end of one of its streams would
    /// not get through. Runs on a `LocalRuntime`.
    pub fn cut_if_stuck(self: &Rc<Self>) {
        if self.write_due.get().is_none() {
            return;
        }
        let (watch, now) = (Rc::clone(self), Instant::now());
        tokio::task::spawn_local(async move {
            sleep(STUCK_AFTER).await;
            // Whatever was taken since has moved or removed the deadline.
            if watch.write_due.get().is_some_and(|due| due <= now + watch.write) {
                watch.cut_off.cut_connection();
            }
        });
    }

    fn bytes_came(&self, bytes: &[u8]) {
        match self.phase.get() {
            Phase::Idle(_) => {
                self.phase.set(Phase::Head(Instant::now() + self.head));
                self.read_line(bytes);
            }
            Phase::Head(_) => self.read_line(bytes),
            // A body's bytes, or those of a pipelined head: from now on nobody knows where a line begins. Nothing is
            // lost by that but the refusal, as nobody else is ever shown the fragment.
            Phase::Busy => self.request_line.set(RequestLine::Unknown),
            Phase::IdleStreams(_) => {}
        }
    }

    fn read_line(&self, bytes: &[u8]) {
        let line = match self.request_line.get() {
            RequestLine::Awaited => {
                let Some(start) = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else {
                    return;
                };
                bytes.get(start..).unwrap_or_default()
            }
            RequestLine::Begun => bytes,
            RequestLine::HasFragment | RequestLine::Ended | RequestLine::Unknown => return,
        };
        self.request_line.set(match line.iter().find(|byte| matches!(byte, b'#' | b'\n')) {
            Some(b'#') => RequestLine::HasFragment,
            Some(_) => RequestLine::Ended,
            None => RequestLine::Begun,
        });
    }

    /// Notes whether the client takes what is written.
    fn note_write<T>(&self, outcome: Poll<T>) -> Poll<T> {
        match (outcome.is_pending(), self.write_due.get()) {
            (true, None) => self.write_due.set(Some(Instant::now() + self.write)),
            (false, Some(_)) => self.write_due.set(None),
            _ => {}
        }
        outcome
    }
}

/// A client's socket (or its TLS stream): first what was read ahead of it, then itself, under a watch.
#[derive(Debug)]
pub struct WatchedIo<S> {
    read_ahead: Bytes,
    /// So many bytes of these are of a request that has begun already.
    of_begun: usize,
    stream: S,
    watch: Rc<ConnectionWatch>,
}

impl<S> WatchedIo<S> {
    /// `read_ahead` was already read from `stream`, and comes first.
    pub const fn new(stream: S, read_ahead: Bytes, watch: Rc<ConnectionWatch>) -> Self {
        Self { read_ahead, of_begun: 0, stream, watch }
    }
}

impl<S: AsyncRead + Unpin> WatchedIo<S> {
    /// Puts `bytes` that were read and not used back in front.
    pub fn put_back(&mut self, bytes: Bytes) {
        if self.read_ahead.is_empty() {
            self.read_ahead = bytes;
        } else if !bytes.is_empty() {
            self.read_ahead = [bytes, std::mem::take(&mut self.read_ahead)].concat().into();
        }
    }

    /// Puts the whole head of a request that is being answered back in front, to be read once more.
    pub fn put_back_begun(&mut self, head: Bytes) {
        self.of_begun = head.len();
        self.put_back(head);
    }

    /// Reads what comes next into `room`, and tells the watch nothing: for who tells it right away what that was, or puts
    /// it back. 0: nothing comes any more.
    pub fn poll_read_untold(&mut self, cx: &mut Context<'_>, room: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if self.read_ahead.is_empty() {
            return poll_read_buf(Pin::new(&mut self.stream), cx, room);
        }
        let read_ahead = std::mem::take(&mut self.read_ahead);
        room.extend_from_slice(&read_ahead);
        Poll::Ready(Ok(read_ahead.len()))
    }

    /// Waits until there is something to read, or an end, with no buffer meanwhile.
    pub async fn readable(&mut self) {
        if self.read_ahead.is_empty() {
            self.read_ahead = poll_fn(|cx| {
                let mut room = [const { MaybeUninit::uninit() }; FIRST_READ_BYTES];
                let mut read = ReadBuf::uninit(&mut room);
                // Whoever reads next meets the end, also behind an error.
                let _ = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read));
                Poll::Ready(Bytes::copy_from_slice(read.filled()))
            })
            .await;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.has_remaining() {
            let count = self.read_ahead.remaining().min(buf.remaining());
            let read_ahead = self.read_ahead.split_to(count);
            let (_, new) = read_ahead.split_at(self.of_begun.min(count));
            if !new.is_empty() {
                self.watch.bytes_came(new);
            }
            self.of_begun = self.of_begun.saturating_sub(count);
            buf.put_slice(&read_ahead);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.watch.bytes_came(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch.note_write(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = if parts.iter().map(|part| part.len()).sum::<usize>() <= COPIED_BYTES {
            let mut room = [const { MaybeUninit::uninit() }; COPIED_BYTES];
            let mut joined = ReadBuf::uninit(&mut room);
            for part in parts {
                joined.put_slice(part);
            }
            Pin::new(&mut self.stream).poll_write(cx, joined.filled())
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
        };
        self.watch.note_write(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        if outcome.is_pending() { self.watch.note_write(outcome) } else { outcome }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch.note_write(outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn s74_a_head_has_its_time_from_accept_and_no_byte_extends_it() {
        let accepted = Instant::now();
        let watch = ConnectionWatch::new(&Limits::default(), accepted);
        assert_eq!(watch.due(), Some(accepted + seconds(10)));
        watch.bytes_came(b"G");
        assert_eq!(watch.due(), Some(accepted + seconds(10)));
        watch.request_began();
        assert_eq!(watch.due(), None);
    }

    #[tokio::test]
    async fn what_is_put_back_comes_before_what_was_read_ahead_and_what_comes() {
        let (here, mut there) = duplex(64);
        there.write_all(b"c").await.unwrap();
        drop(there);
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        let mut io = WatchedIo::new(here, Bytes::from_static(b"b"), watch);
        io.put_back(Bytes::from_static(b"a"));
        io.put_back(Bytes::new());
        let mut read = String::new();
        io.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "abc");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_idles_and_its_next_head_has_its_own_time() {
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        watch.request_began();
        let ended = Instant::now();
        watch.request_ended(Spoken::Http1, ended);
        assert_eq!(watch.due(), Some(ended + seconds(75)));
        tokio::time::advance(seconds(60)).await;
        watch.bytes_came(b"G");
        assert_eq!(watch.due(), Some(ended + seconds(70)));
    }

    #[test]
    fn s52_who_gives_up_a_hundred_requests_more_than_are_answered_is_cut_off() {
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        let is_cut = || watch.cut_off().connection_is_cut(&Context::from_waker(std::task::Waker::noop()));
        for _ in 0..200 {
            watch.note_abandoned();
            watch.note_answered();
        }
        for _ in 0..MOST_ABANDONED {
            watch.note_abandoned();
        }
        assert!(!is_cut());
        watch.note_abandoned();
        assert!(is_cut());
    }

    #[test]
    fn http2_idles_when_its_last_stream_ends_and_pings_do_not_extend_it() {
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        watch.request_began();
        watch.request_began();
        let ended = Instant::now();
        watch.request_ended(Spoken::Http2, ended);
        assert_eq!(watch.due(), None);
        watch.request_ended(Spoken::Http2, ended);
        watch.bytes_came(b"G");
        assert_eq!(watch.due(), Some(ended + seconds(75)));
    }

    #[test]
    fn s60_a_fragment_is_seen_in_the_request_line_only() {
        for (parts, expected) in [
            (&["GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"][..], true),
            (&["GET /a", "#b HTTP/1.1\r\n"], true),
            (&["GET /a HTTP/1.1\r\nX: #\r\n\r\n"], false),
            (&["GET /a HTTP/1.1\r\n", "X: #\r\n\r\n"], false),
            (&["GET /a HTTP/1.1\r", "\nX: #\r\n\r\n"], false),
            (&["\r\n\nGET /a#b HTTP/1.1\r\n"], true),
            (&["\r", "\n", "GET /a#b HTTP/1.1\r\n"], true),
            (&["\r\nGET /a HTTP/1.1\r\nX: #\r\n\r\n"], false),
        ] {
            let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
            for _ in 0..2 {
                for part in parts {
                    watch.bytes_came(part.as_bytes());
                }
                watch.request_began();
                assert_eq!(watch.saw_fragment(), expected, "{parts:?}");
                watch.request_ended(Spoken::Http1, Instant::now());
            }
            watch.request_began();
            watch.bytes_came(b"body");
            watch.request_ended(Spoken::Http1, Instant::now());
            watch.bytes_came(b"#");
            assert!(!watch.saw_fragment(), "where a line begins is not known any more");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_noticed_and_forgiven() {
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        watch.request_began();
        let (ours, mut theirs) = duplex(4);
        let mut ours = WatchedIo::new(ours, Bytes::new(), Rc::clone(&watch));
        let mut taken = [0; 6];
        tokio::join!(
            async {
                ours.write_all(b"sixsix").await.unwrap();
            },
            async {
                tokio::task::yield_now().await;
                assert_eq!(watch.due(), Some(Instant::now() + seconds(30)), "the client's buffer is full");
                theirs.read_exact(&mut taken).await.unwrap();
            }
        );
        assert_eq!(watch.due(), None);
        assert_eq!(&taken, b"sixsix");
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_off_after_a_second_and_a_slow_one_is_not() {
        crate::gateway::http::tests::harness::on_door_thread(async {
            tokio::time::pause();
            for (taken, expected) in [(0, true), (1, false)] {
                let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
                let (ours, mut theirs) = duplex(4);
                let mut ours = WatchedIo::new(ours, Bytes::new(), Rc::clone(&watch));
                let writing = tokio::task::spawn_local(async move { ours.write_all(&[0; 64]).await });
                sleep(Duration::from_millis(1)).await;
                watch.cut_if_stuck();
                sleep(Duration::from_millis(500)).await;
                theirs.read_exact(&mut vec![0; taken]).await.unwrap();
                sleep(Duration::from_millis(600)).await;
                let cx = Context::from_waker(std::task::Waker::noop());
                assert_eq!(watch.cut_off().connection_is_cut(&cx), expected, "{taken}");
                writing.abort();
            }
        });
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        let (ours, mut theirs) = duplex(64);
        let mut ours = WatchedIo::new(ours, Bytes::from_static(b"GET "), watch);
        theirs.write_all(b"/ HTTP/1.1").await.unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "GET / HTTP/1.1");
    }
}
