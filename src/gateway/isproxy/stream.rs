//! One socket, read and written by one task without splitting it, with or without TLS.
//!
//! Knows no line and no limit; deadlines are the session's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::line::LineReader;

/// A client's connection before and after `STARTTLS`.
#[derive(Debug)]
pub enum ClientStream {
    /// In clear.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream and how much of the peer's outbox it holds without having sent it.
#[derive(Debug)]
pub struct Duplex<S> {
    stream: S,
    /// Bytes that TLS has taken and not yet passed on: only what is flushed counts as written.
    taken: usize,
}

/// What came of waiting on a stream.
#[derive(Debug)]
pub enum Exchange {
    /// So many bytes of the outbox are written.
    Wrote(usize),
    /// So many bytes stand in the reader; 0: the peer sends nothing more.
    Read(usize),
    /// The connection is broken.
    Failed(io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex<S> {
    /// A stream that holds nothing.
    pub const fn new(stream: S) -> Self {
        Self { stream, taken: 0 }
    }

    /// The stream itself, to be upgraded; what it had taken must have been written.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Waits until something of `outbox` is written or, with a reader, something is read. Cancel-safe, if `outbox`
    /// only grows at its end until its front is told to be written.
    pub async fn exchange(&mut self, mut reader: Option<&mut LineReader>, outbox: &[u8]) -> Exchange {
        poll_fn(|context| match self.poll_write(context, outbox) {
            Poll::Ready(exchange) => Poll::Ready(exchange),
            Poll::Pending => match reader.as_deref_mut() {
                Some(reader) => self.poll_read(context, reader),
                None => Poll::Pending,
            },
        })
        .await
    }

    fn poll_write(&mut self, context: &mut Context<'_>, outbox: &[u8]) -> Poll<Exchange> {
        while let Some(rest) = outbox.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Exchange::Failed(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(count)) => self.taken += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Exchange::Failed(error)),
                Poll::Pending => break,
            }
        }
        if self.taken == 0 {
            return Poll::Pending;
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Exchange::Wrote(std::mem::take(&mut self.taken))),
            Poll::Ready(Err(error)) => Poll::Ready(Exchange::Failed(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, reader: &mut LineReader) -> Poll<Exchange> {
        let mut room = ReadBuf::new(reader.room());
        match Pin::new(&mut self.stream).poll_read(context, &mut room) {
            Poll::Ready(Ok(())) => {
                let count = room.filled().len();
                reader.filled(count);
                Poll::Ready(Exchange::Read(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Exchange::Failed(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Says goodbye and reads on for a moment: closing at once with unread bytes would reset the connection, and the
    /// reset would overtake the last answer. The caller bounds the time; at most `most_bytes` are read.
    pub async fn close_gently(&mut self, scratch: &mut LineReader, most_bytes: usize) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut seen = 0;
        while seen < most_bytes {
            scratch.clear();
            match self.exchange(Some(scratch), b"").await {
                Exchange::Read(count) if count > 0 => seen += count,
                _ => return,
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, room),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::gateway::isproxy::line::{Behind, NextLine};

    #[tokio::test]
    async fn what_can_be_written_goes_before_what_can_be_read() {
        let (here, mut there) = duplex(64);
        let mut here = Duplex::new(here);
        let mut reader = LineReader::new();
        there.write_all(b"IS a.com\r\n").await.unwrap();
        assert!(matches!(here.exchange(Some(&mut reader), b"100 OK\r\n").await, Exchange::Wrote(8)));
        assert!(matches!(here.exchange(Some(&mut reader), b"").await, Exchange::Read(10)));
        assert_eq!(reader.next_line(), NextLine::Complete(b"IS a.com", Behind::Nothing));
        let mut answer = [0; 8];
        there.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"100 OK\r\n");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_takes_only_what_the_pipe_holds() {
        let (here, there) = duplex(16);
        let mut here = Duplex::new(here);
        let outbox = [b'x'; 40];
        assert!(matches!(here.exchange(None, &outbox).await, Exchange::Wrote(16)));
        drop(there);
        assert!(matches!(here.exchange(None, &outbox[16..]).await, Exchange::Failed(_)));
    }

    #[tokio::test]
    async fn the_end_of_the_peer_is_a_read_of_nothing() {
        let (here, there) = duplex(16);
        drop(there);
        let mut reader = LineReader::new();
        assert!(matches!(Duplex::new(here).exchange(Some(&mut reader), b"").await, Exchange::Read(0)));
    }

    #[tokio::test]
    async fn a_gentle_close_reads_on_up_to_its_bound() {
        let (here, mut there) = duplex(8_192);
        there.write_all(&[b'x'; 8_192]).await.unwrap();
        let mut here = Duplex::new(here);
        here.close_gently(&mut LineReader::new(), 4_096).await;
        assert!(there.write(&[b'x'; 8_192]).await.unwrap() >= 4_096);
        let mut rest = Vec::new();
        there.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }
}
