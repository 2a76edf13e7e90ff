//! Gathers what a connection of HTTP/2 writes, so that all streams that have something to say leave in one write.
//!
//! h2 writes each longer DATA frame by itself, and over TLS that is a record and a system call of its own. Here what it
//! writes is held until the end of the turn; by then each stream that was ready has handed over its answer.
//! Only the connection's own task touches either side. Used by `server`.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is held at most: what one record of TLS carries (RFC 8446 §5.1).
const HELD_BYTES: usize = 16 * 1024;
/// So much at once is not copied, where nothing is held before it.
const DIRECT_BYTES: usize = 8 * 1024;

thread_local! {
    /// Room for what is held. One is enough: what a poll gathers has left when it ends, unless its client reads nothing.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A connection's socket whose writes are held.
#[derive(Debug)]
pub struct Gathering<S>(Rc<RefCell<Held<S>>>);

/// Lets what is held go.
#[derive(Debug)]
pub struct Release<S>(Rc<RefCell<Held<S>>>);

#[derive(Debug)]
struct Held<S> {
    io: S,
    bytes: Vec<u8>,
    /// So many of them have left.
    written: usize,
    /// `io` may have kept some of what was written to it.
    needs_flush: bool,
}

impl<S> Gathering<S> {
    /// Holds what is written to `io`, until it is let go.
    pub fn new(io: S) -> (Self, Release<S>) {
        let held = Rc::new(RefCell::new(Held { io, bytes: Vec::new(), written: 0, needs_flush: false }));
        (Self(Rc::clone(&held)), Release(held))
    }
}

impl<S: AsyncWrite + Unpin> Release<S> {
    /// Is anything held?
    pub fn holds(&self) -> bool {
        !self.0.borrow().bytes.is_empty()
    }

    /// Writes what is held.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_release(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_release(cx)
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.needs_flush = true;
        }
        if self.written > 0 {
            self.written = 0;
            let mut room = std::mem::take(&mut self.bytes);
            room.clear();
            ROOM.set(room);
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let count = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + count > HELD_BYTES {
            ready!(self.poll_release(cx))?;
        }
        if count >= DIRECT_BYTES && self.bytes.is_empty() {
            self.needs_flush = true;
            return Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        }
        if self.bytes.capacity() == 0 {
            self.bytes = ROOM.take();
            self.bytes.reserve_exact(HELD_BYTES);
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, room)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing leaves before it is let go.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.borrow_mut();
        ready!(held.poll_release(cx))?;
        Pin::new(&mut held.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn poll<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(Waker::noop()))
    }

    /// What has come so far.
    fn come(there: &mut DuplexStream) -> Vec<u8> {
        let mut room = vec![0; 256 * 1024];
        let mut read = ReadBuf::new(&mut room);
        let _ = poll(|cx| Pin::new(there).poll_read(cx, &mut read));
        read.filled().to_vec()
    }

    #[tokio::test]
    async fn what_is_written_leaves_together_once_it_is_let_go() {
        let (here, mut there) = duplex(64 * 1024);
        let (mut gathering, release) = Gathering::new(here);
        gathering.write_all(b"one ").await.unwrap();
        gathering.flush().await.unwrap();
        let parts = [IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!(gathering.write_vectored(&parts).await.unwrap(), 9);
        assert_eq!(come(&mut there), b"");
        assert!(poll(|cx| release.poll_release(cx)).is_ready());
        assert_eq!(come(&mut there), b"one two three");
        assert!(poll(|cx| release.poll_release(cx)).is_ready(), "nothing is held");
        there.write_all(b"back").await.unwrap();
        let mut back = [0; 4];
        gathering.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"back");
        gathering.write_all(b" last").await.unwrap();
        gathering.shutdown().await.unwrap();
        drop((gathering, release));
        let mut rest = Vec::new();
        there.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b" last");
    }

    #[tokio::test]
    async fn no_more_than_a_record_is_held_and_nothing_changes_its_place() {
        let (here, mut there) = duplex(64 * 1024);
        let (mut gathering, release) = Gathering::new(here);
        let mut written = Vec::new();
        for (count, byte) in [(6_000, b'a'), (6_000, b'b'), (6_000, b'c'), (12_000, b'd'), (10, b'e')] {
            let part = vec![byte; count];
            gathering.write_all(&part).await.unwrap();
            written.extend_from_slice(&part);
            assert!(gathering.0.borrow().bytes.len() <= HELD_BYTES);
        }
        let mut came = come(&mut there);
        assert_eq!(came.len(), 30_000, "the last part is held");
        assert!(poll(|cx| release.poll_release(cx)).is_ready());
        came.extend(come(&mut there));
        assert!(came == written);
    }

    #[tokio::test]
    async fn whoever_reads_nothing_holds_the_writer_up() {
        let (here, mut there) = duplex(100);
        let (mut gathering, release) = Gathering::new(here);
        let mut write = |byte| poll(|cx| Pin::new(&mut gathering).poll_write(cx, &[byte; 6_000]));
        assert!(matches!(write(b'a'), Poll::Ready(Ok(6_000))));
        assert!(poll(|cx| release.poll_release(cx)).is_pending());
        assert!(matches!(write(b'b'), Poll::Ready(Ok(6_000))));
        assert!(write(b'c').is_pending(), "it would be more than is held");
        let mut came = Vec::new();
        while came.len() < 12_000 {
            came.extend(come(&mut there));
            let is_done = poll(|cx| release.poll_release(cx)).is_ready();
            assert!(is_done || came.len() < 12_000);
            // Else tokio's budget for one turn would run out.
            tokio::task::yield_now().await;
        }
        assert!(came == [[b'a'; 6_000], [b'b'; 6_000]].concat());
    }
}
