//! The way to the upstream: one connection of one client's session, made when the session asks for it.
//!
//! What goes out goes out under a [`Permit`] only (invariant 1). What the lines mean is the session's matter.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use super::line::{LineReader, NextLine};
use super::reply::UpstreamLine;
use super::session::GivenUp;
use super::stream::{Duplex, Exchange};
use super::upstream::{ConnectFailure, IsProxyUpstream, Seat, UpstreamConnection};
use crate::auth::Permit;
use crate::net::upstream::UpstreamStream;

type Connecting = Pin<Box<dyn Future<Output = Result<UpstreamConnection, ConnectFailure>>>>;

/// The connection to the upstream, or none.
pub struct UpstreamLink(State);

enum State {
    Absent,
    Connecting(Connecting),
    Open(Open),
}

struct Open {
    stream: Duplex<UpstreamStream>,
    reader: LineReader,
    seat: Seat,
    standing: Standing,
}

/// Has the server answered anything on this connection?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unproven,
    Proven,
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
    Connect(ConnectFailure),
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
    pub fn connect(&mut self, permit: &Permit, upstream: &Rc<IsProxyUpstream>) {
        // The permit is asked for because a connection alone tells the upstream something; it is not told whose.
        let _ = permit;
        self.0 = State::Connecting(Box::pin(Rc::clone(upstream).connect()));
    }

    /// Closes the connection.
    pub fn disconnect(&mut self) {
        self.0 = State::Absent;
    }

    /// Closes the connection because of what the upstream did, which the log and the choice of a server are told.
    pub fn give_up(&mut self, why: GivenUp) {
        if let State::Open(open) = &self.0 {
            match why {
                GivenUp::Late | GivenUp::Garbled => open.seat.note_failure(&why),
                GivenUp::Refused => open.seat.note_refusal(&why),
            }
        }
        self.disconnect();
    }

    /// The connection was lost while replies were owed: that is held against its server. One that never came about is
    /// already.
    pub fn blame(&self, loss: &UpstreamLoss) {
        if let State::Open(open) = &self.0 {
            open.seat.note_failure(loss);
        }
    }

    /// Waits until the connection stands, takes bytes, gives bytes, or ends; without one, for ever. Cancel-safe. What
    /// has ended is to be closed by [`Self::disconnect`].
    ///
    /// Nothing of `outbox` is sent without a permit.
    pub async fn progress(&mut self, permit: Option<&Permit>, outbox: &[u8], fetch: Fetch) -> UpstreamEvent {
        match &mut self.0 {
            State::Absent => pending().await,
            State::Connecting(connecting) => match connecting.await {
                Ok(UpstreamConnection { stream, reader, seat }) => {
                    let stream = Duplex::new(stream);
                    self.0 = State::Open(Open { stream, reader, seat, standing: Standing::Unproven });
                    UpstreamEvent::Connected
                }
                Err(error) => {
                    self.0 = State::Absent;
                    UpstreamEvent::Lost(UpstreamLoss::Connect(error))
                }
            },
            State::Open(Open { stream, reader, .. }) => {
                let reader = (fetch == Fetch::Replies).then_some(reader);
                match stream.exchange(reader, if permit.is_some() { outbox } else { b"" }).await {
                    Exchange::Wrote(count) => UpstreamEvent::Wrote(count),
                    Exchange::Read(0) => UpstreamEvent::Lost(UpstreamLoss::Closed),
                    Exchange::Read(_) => UpstreamEvent::Read,
                    Exchange::Failed(error) => UpstreamEvent::Lost(UpstreamLoss::Broken(error)),
                }
            }
        }
    }

    /// Takes the next line of the upstream out.
    pub fn next_line(&mut self) -> NextLine<'_> {
        let State::Open(Open { reader, seat, standing, .. }) = &mut self.0 else {
            return NextLine::Incomplete;
        };
        let next = reader.next_line();
        if *standing == Standing::Unproven
            && let NextLine::Complete(line, _) = next
            && matches!(UpstreamLine::parse(line), UpstreamLine::Reply { .. } | UpstreamLine::Done)
        {
            *standing = Standing::Proven;
            seat.note_answer();
        }
        next
    }
}

impl fmt::Debug for UpstreamLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Absent => "UpstreamLink(absent)",
            State::Connecting(_) => "UpstreamLink(connecting)",
            State::Open(_) => "UpstreamLink(open)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::gateway::isproxy::line::Behind;
    use crate::gateway::isproxy::upstream::tests::upstream_at;

    async fn open_link() -> (UpstreamLink, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream_at(&[listener.local_addr().unwrap().port()]);
        let (connection, accepted) = tokio::join!(upstream.connect(), listener.accept());
        let UpstreamConnection { stream, reader, seat } = connection.unwrap();
        let open = Open { stream: Duplex::new(stream), reader, seat, standing: Standing::Unproven };
        (UpstreamLink(State::Open(open)), accepted.unwrap().0)
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
        assert_eq!(format!("{link:?}"), "UpstreamLink(open)");
        link.disconnect();
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
