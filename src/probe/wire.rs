//! A connection of the probe's client: sends exact bytes and hears what comes, each wait with a deadline.
//!
//! A peer that closes is an answer here, and no error.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::origins::Origin;

/// How long a first byte, or an expected end, is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is complete when nothing more has come for so long.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// More than any answer to the probe has, in bytes.
const HEARD_MAX_BYTES: usize = 1024 * 1024;

/// What bytes travel over.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// One connection.
pub(super) struct Wire {
    pub(super) io: Box<dyn Transport>,
    /// Read, and not yet asked for.
    ahead: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

/// Where the connection stood when nothing more came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has closed, orderly or not.
    #[default]
    Closed,
    /// It is open still.
    Open,
}

impl Wire {
    /// Connects, and says what `origin` says first.
    pub(super) async fn connect(address: SocketAddr, origin: Origin) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(origin.peer.into(), 0))?;
        let stream = timeout(PATIENCE, socket.connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut wire = Self { io: Box::new(stream), ahead: Vec::new() };
        wire.send(&origin.header()).await;
        Ok(wire)
    }

    /// Begins TLS.
    pub(super) async fn into_tls(self, config: &Arc<ClientConfig>) -> io::Result<Self> {
        // The name is sent and not checked.
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connecting = TlsConnector::from(Arc::clone(config)).connect(name, self.io);
        Ok(Self { io: Box::new(timeout(PATIENCE, connecting).await??), ahead: Vec::new() })
    }

    /// Sends; a peer that has closed shows when it is heard.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let sending = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        let _ = timeout(PATIENCE, sending).await;
    }

    /// Reads until the peer closes, or has said something and is quiet, or says nothing at all for [`PATIENCE`].
    pub(super) async fn hear(&mut self) -> Heard {
        self.read_on(PATIENCE, QUIET).await
    }

    /// Reads until the peer closes, or says nothing for `patience`.
    pub(super) async fn hear_until_closed(&mut self, patience: Duration) -> Heard {
        self.read_on(patience, patience).await
    }

    async fn read_on(&mut self, at_first: Duration, then: Duration) -> Heard {
        let mut bytes = std::mem::take(&mut self.ahead);
        while bytes.len() < HEARD_MAX_BYTES {
            let wait = if bytes.is_empty() { at_first } else { then };
            match timeout(wait, self.io.read_buf(&mut bytes)).await {
                Ok(Ok(0) | Err(_)) => return Heard { bytes, end: End::Closed },
                Ok(Ok(_)) => {}
                Err(_) => break,
            }
        }
        Heard { bytes, end: End::Open }
    }

    /// Reads once, which is enough for a status.
    pub(super) async fn hear_first(&mut self) -> Heard {
        self.read_on(PATIENCE, Duration::ZERO).await
    }

    /// Sends a line and reads one, without its end; `None`: there is none in time.
    pub(super) async fn ask(&mut self, line: &str) -> Option<String> {
        self.ask_within(line, PATIENCE).await
    }

    /// The same, within another time.
    pub(super) async fn ask_within(&mut self, line: &str, patience: Duration) -> Option<String> {
        self.send(format!("{line}\r\n").as_bytes()).await;
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            match timeout(patience, self.io.read_buf(&mut self.ahead)).await {
                Ok(Ok(count)) if count > 0 && self.ahead.len() < HEARD_MAX_BYTES => {}
                _ => return None,
            }
        }
    }
}

impl Heard {
    /// A connection that did not come about, or was closed unanswered.
    pub(super) fn closed() -> Self {
        Self::default()
    }

    /// The status of the first answer, if it is one of HTTP/1.
    pub(super) fn status(&self) -> Option<u16> {
        let text = self.bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| self.bytes.strip_prefix(b"HTTP/1.0 "))?;
        std::str::from_utf8(text.get(..3)?).ok()?.parse().ok()
    }

    /// Lines of the line protocol.
    pub(super) fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.bytes).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_first_line_only() {
        let heard = |bytes: &[u8]| Heard { bytes: bytes.to_vec(), end: End::Open };
        assert_eq!(heard(b"HTTP/1.1 401 Unauthorized\r\n").status(), Some(401));
        assert_eq!(heard(b"HTTP/1.0 400 Bad\r\n").status(), Some(400));
        for none in [&b""[..], b"HTTP/1.1 ", b"HTTP/1.1 x", b"\x15\x03\x03", b" HTTP/1.1 200 OK"] {
            assert_eq!(heard(none).status(), None, "{}", none.escape_ascii());
        }
    }
}
