//! The way to the upstream: one connection of one client's session, made when the session asks for it.
//!
//! What goes out goes out under a [`Permit`] only (invariant 1). What the lines mean is the session's matter.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;

use super::line::{LineReader, NextLine};
use super::stream::{Duplex, Exchange};
use crate::auth::Permit;
use crate::config::IsProxyUpstream;

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// The connection to the upstream, or none.
pub struct UpstreamLink(State);

enum State {
    Absent,
    Connecting(Connecting),
    Open { stream: Duplex<TcpStream>, reader: LineReader },
}

/// What came of waiting on the upstream.
#[derive(Debug)]
pub enum UpstreamEvent {
    /// The connection stands.
    Connected,
    /// So many bytes of the outbox are written.
    Wrote(usize),
    /// There may be lines.
    Read,
    /// There is no connection any more.
    Lost(UpstreamLoss),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamLoss {
    /// It could not be made in time, or at all.
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    /// The upstream closed it.
    #[error("the upstream closed the connection")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
}

/// May bytes of the upstream be fetched?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Fetch what is there.
    Replies,
    /// Leave it: the client does not take what it has.
    Nothing,
}

impl UpstreamLink {
    /// No connection.
    pub const fn absent() -> Self {
        Self(State::Absent)
    }

    /// Begins to connect for the holder of `permit`; [`Self::progress`] tells how it went.
    pub fn connect(&mut self, permit: &Permit, address: &IsProxyUpstream, within: Duration) {
        // The permit is asked for because a connection alone tells the upstream something; it is not told whose.
        let _ = permit;
        let address = (address.host.clone(), address.port);
        self.0 = State::Connecting(Box::pin(async move {
            let stream = tokio::time::timeout(within, TcpStream::connect(address))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            stream.set_nodelay(true)?;
            Ok(stream)
        }));
    }

    /// Closes the connection.
    pub fn disconnect(&mut self) {
        self.0 = State::Absent;
    }

    /// Waits until the connection stands, takes bytes, gives bytes, or ends; without one, for ever. Cancel-safe.
    ///
    /// Nothing of `outbox` is sent without a permit.
    pub async fn progress(&mut self, permit: Option<&Permit>, outbox: &[u8], fetch: Fetch) -> UpstreamEvent {
        let event = match &mut self.0 {
            State::Absent => pending().await,
            State::Connecting(connecting) => match connecting.await {
                Ok(stream) => {
                    self.0 = State::Open { stream: Duplex::new(stream), reader: LineReader::new() };
                    return UpstreamEvent::Connected;
                }
                Err(error) => UpstreamEvent::Lost(UpstreamLoss::Connect(error)),
            },
            State::Open { stream, reader } => {
                let reader = (fetch == Fetch::Replies).then_some(reader);
                match stream.exchange(reader, if permit.is_some() { outbox } else { b"" }).await {
                    Exchange::Wrote(count) => UpstreamEvent::Wrote(count),
                    Exchange::Read(0) => UpstreamEvent::Lost(UpstreamLoss::Closed),
                    Exchange::Read(_) => UpstreamEvent::Read,
                    Exchange::Failed(error) => UpstreamEvent::Lost(UpstreamLoss::Broken(error)),
                }
            }
        };
        if matches!(event, UpstreamEvent::Lost(_)) {
            self.0 = State::Absent;
        }
        event
    }

    /// Takes the next line of the upstream out.
    pub fn next_line(&mut self) -> NextLine<'_> {
        match &mut self.0 {
            State::Open { reader, .. } => reader.next_line(),
            State::Absent | State::Connecting(_) => NextLine::Incomplete,
        }
    }
}

impl fmt::Debug for UpstreamLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Absent => "UpstreamLink(absent)",
            State::Connecting(_) => "UpstreamLink(connecting)",
            State::Open { .. } => "UpstreamLink(open)",
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::gateway::isproxy::line::Behind;

    async fn open_link() -> (UpstreamLink, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (there, _) = listener.accept().await.unwrap();
        let open = State::Open { stream: Duplex::new(here), reader: LineReader::new() };
        (UpstreamLink(open), there)
    }

    #[tokio::test]
    async fn s01_nothing_is_sent_without_a_permit() {
        let (mut link, mut upstream) = open_link().await;
        upstream.write_all(b"a.com available\r\n").await.unwrap();
        let event = link.progress(None, b"IS a.com\r\n", Fetch::Replies).await;
        assert!(matches!(event, UpstreamEvent::Read), "{event:?}");
        drop(link);
        let mut seen = Vec::new();
        upstream.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"");
    }

    #[tokio::test]
    async fn lines_of_the_upstream_come_out_and_its_end_is_told() {
        let (mut link, mut upstream) = open_link().await;
        upstream.write_all(b"a.com available\r\nb.com").await.unwrap();
        assert!(matches!(link.progress(None, b"", Fetch::Replies).await, UpstreamEvent::Read));
        assert_eq!(link.next_line(), NextLine::Complete(b"a.com available", Behind::Bytes));
        assert_eq!(link.next_line(), NextLine::Incomplete);
        drop(upstream);
        let event = link.progress(None, b"", Fetch::Replies).await;
        assert!(matches!(event, UpstreamEvent::Lost(UpstreamLoss::Closed)), "{event:?}");
        assert_eq!(format!("{link:?}"), "UpstreamLink(absent)");
    }

    #[tokio::test]
    async fn replies_are_left_where_they_are_while_the_client_takes_none() {
        let (mut link, mut upstream) = open_link().await;
        upstream.write_all(b"a.com available\r\n").await.unwrap();
        let waited =
            tokio::time::timeout(Duration::from_millis(20), link.progress(None, b"", Fetch::Nothing));
        assert!(waited.await.is_err());
        assert_eq!(link.next_line(), NextLine::Incomplete);
    }
}
