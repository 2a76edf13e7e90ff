//! A client's connection for which nothing that its peer does is a reason to panic.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

/// Little room for what is not read, so that a client that reads nothing is noticed soon.
const RECEIVE_BYTES: usize = 64 * 1_024;

/// One connection; what was read and not yet asked for is kept.
pub struct Client {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    patience: Duration,
    /// When it gives up on a peer that says something again and again and does not come to an end.
    gives_up_at: Instant,
}

/// A conversation may take so many times as long as a single answer.
const WHOLE_CONVERSATION: u32 = 10;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What came instead of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum NoLine {
    /// The end, behind this.
    Closed(String),
    /// Nothing in time, behind this.
    Silence(String),
}

impl Client {
    /// A connection that waits so long for anything.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.connect_timeout(&address.into(), patience)?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        let gives_up_at = Instant::now() + WHOLE_CONVERSATION * patience;
        Ok(Self { stream: Some(Stream::Plain(socket)), buffer: Vec::new(), patience, gives_up_at })
    }

    /// Does the TLS handshake; what came before it must have been read.
    pub fn begin_tls(&mut self, config: &Arc<ClientConfig>) -> io::Result<()> {
        if !self.buffer.is_empty() {
            return Err(io::Error::other(format!("{:?} before the handshake", text(&self.buffer))));
        }
        let Some(Stream::Plain(mut socket)) = self.stream.take() else {
            return Err(io::Error::other("TLS within TLS"));
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        self.stream = Some(Stream::Tls(Box::new(StreamOwned::new(connection, socket))));
        Ok(())
    }

    fn socket(&self) -> Option<&TcpStream> {
        self.stream.as_ref().map(|stream| match stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        })
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.write_all(bytes),
            Some(Stream::Tls(stream)) => stream.write_all(bytes).and_then(|()| stream.flush()),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub fn finish_sending(&mut self) {
        if let Some(Stream::Tls(stream)) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        if let Some(socket) = self.socket() {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    /// Breaks the connection off: the peer gets a reset.
    pub fn reset(&mut self) {
        if let Some(socket) = self.socket() {
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
        self.stream = None;
    }

    /// Reads once; `Ok(0)` is the end, orderly or not.
    fn read_once(&mut self) -> io::Result<usize> {
        let mut part = [0; 16_384];
        let read = match &mut self.stream {
            Some(Stream::Plain(socket)) => socket.read(&mut part),
            Some(Stream::Tls(stream)) => stream.read(&mut part),
            None => Ok(0),
        };
        match read {
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                Ok(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
            Err(_) => Ok(0),
        }
    }

    /// Reads a line to its LF, which is left in.
    pub fn read_line(&mut self) -> Result<Vec<u8>, NoLine> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(self.buffer.drain(..=searched + at).collect());
            }
            searched = self.buffer.len();
            match self.read_once() {
                Ok(0) => return Err(NoLine::Closed(text(&self.buffer))),
                Ok(_) if Instant::now() < self.gives_up_at => {}
                _ => return Err(NoLine::Silence(text(&self.buffer))),
            }
        }
    }

    /// Reads `line`, if that is what comes next; anything else is left to be read.
    pub fn skip_line(&mut self, line: &str) -> Result<(), String> {
        match self.read_line() {
            Ok(read) if read == format!("{line}\r\n").as_bytes() => Ok(()),
            Ok(read) => {
                self.buffer.splice(..0, read);
                Ok(())
            }
            Err(NoLine::Closed(_)) => Ok(()),
            Err(NoLine::Silence(_)) => Err(format!("nothing came, neither {line:?} nor the end")),
        }
    }

    /// Reads until the peer closes, and answers what came; `Err`: it does not close.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, NoLine> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.read_once() {
                Ok(0) => return Ok(std::mem::take(&mut self.buffer)),
                Ok(_) if Instant::now() < deadline => {}
                _ => return Err(NoLine::Silence(text(&self.buffer))),
            }
        }
    }

    /// Sends `part` again and again without reading, until the peer breaks the connection off; `Err` where it takes
    /// `most` bytes, or nothing for as long as is waited.
    pub fn flood(&mut self, part: &[u8], most: usize) -> Result<(), String> {
        let mut taken = 0;
        while taken < most {
            match self.send(part) {
                Ok(()) => taken += part.len(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(format!(
                        "{taken} bytes were taken, and then nothing for {:?}",
                        self.patience
                    ));
                }
                Err(_) => return Ok(()),
            }
        }
        Err(format!("{taken} bytes were taken, and more would be"))
    }
}

/// Bytes as people read them.
pub fn text(bytes: &[u8]) -> String {
    let shown = bytes.escape_ascii().to_string();
    match shown.get(..200) {
        Some(beginning) => format!("{beginning}… ({} bytes)", bytes.len()),
        None => shown,
    }
}
