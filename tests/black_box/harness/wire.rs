//! A client's connection, plain or over TLS, that sends and shows exact bytes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

/// One connection; what was read and not yet asked for is kept.
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Connects without TLS.
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    /// Connects without TLS; `None`: nobody listens there.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        TcpStream::connect_timeout(&address, PATIENCE).ok().map(Self::over)
    }

    /// Connects from another address of this machine, such as 127.0.0.2.
    pub fn connect_from(source: &str, address: SocketAddr) -> Self {
        let source: IpAddr = source.parse().unwrap();
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over(socket.into())
    }

    /// Connects with little room for what is not read.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over(socket.into())
    }

    /// Connects and speaks TLS from the first byte; fails where the handshake does.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self::connect(address).into_tls(config)
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Stream::Plain(socket), buffer: Vec::new() }
    }

    /// Begins TLS on a connection that is plain so far.
    pub fn into_tls(self, config: Arc<ClientConfig>) -> Self {
        self.try_into_tls(config).unwrap_or_else(|error| panic!("the TLS handshake failed: {error}"))
    }

    /// Begins TLS; answers what stood in the way.
    pub fn try_into_tls(self, config: Arc<ClientConfig>) -> io::Result<Self> {
        self.try_into_tls_as("localhost", config)
    }

    /// Begins TLS with the server called `name`; answers what stood in the way.
    pub fn try_into_tls_as(self, name: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        assert!(self.buffer.is_empty(), "bytes before the handshake: {:?}", text(&self.buffer));
        let Stream::Plain(mut socket) = self.stream else { panic!("TLS within TLS") };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self { stream: Stream::Tls(Box::new(StreamOwned::new(connection, socket))), buffer: Vec::new() })
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// What TLS agreed on; `None` on a plain connection.
    pub fn tls(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(&stream.conn),
        }
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends; a peer that has closed is an answer, not a failure of the test.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes.as_ref()),
            Stream::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub fn finish_sending(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.conn.complete_io(&mut stream.sock);
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Reads once; `None` is the end, orderly or not. Fails where nothing comes within `patience`.
    fn read_once(&mut self, patience: Duration) -> Option<usize> {
        self.read_within(patience).unwrap_or_else(|| {
            panic!("nothing came within {patience:?}; so far {:?}", text(&self.buffer));
        })
    }

    /// `None`: nothing came in time; `Some(None)`: the end; `Some(Some(count))`: so many bytes are new.
    #[expect(clippy::option_option, reason = "three outcomes that callers tell apart at once")]
    fn read_within(&mut self, patience: Duration) -> Option<Option<usize>> {
        self.socket().set_read_timeout(Some(patience)).unwrap();
        let mut part = [0; 16_384];
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read(&mut part),
            Stream::Tls(stream) => stream.read(&mut part),
        };
        match read {
            Ok(0) => Some(None),
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                Some(Some(count))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => None,
                io::ErrorKind::Interrupted => Some(Some(0)),
                _ => Some(None),
            },
        }
    }

    /// Reads to the end of `mark` and answers all up to there; `None` where the connection ends before.
    pub fn try_read_until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Some(self.buffer.drain(..at + mark.len()).collect());
            }
            self.read_once(PATIENCE)?;
        }
    }

    /// Like [`Wire::try_read_until`], and the connection must not end before.
    pub fn read_until(&mut self, mark: &[u8]) -> Vec<u8> {
        self.try_read_until(mark).unwrap_or_else(|| {
            panic!("the connection ended before {:?}; it brought {:?}", text(mark), text(&self.buffer))
        })
    }

    /// Reads exactly so many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            let more = self.read_once(PATIENCE);
            assert!(more.is_some(), "the connection ended within {count} bytes: {:?}", text(&self.buffer));
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads so many bytes, or what comes before the connection ends.
    pub fn read_up_to(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.read_once(PATIENCE).is_some() {}
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Reads what has come, or comes next: 1 to `count` bytes, none at the end.
    pub fn read_some(&mut self, count: usize) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.read_once(PATIENCE);
        }
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// What has come, or comes within `time`; `None`: nothing; no bytes: the end.
    pub fn read_next(&mut self, time: Duration) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            self.read_within(time)?;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// Waits for a byte; `false`: the connection ends before the next one.
    pub fn has_more(&mut self) -> bool {
        !self.buffer.is_empty() || self.read_once(PATIENCE).is_some()
    }

    /// Reads until the peer closes, and answers what came.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_once(PATIENCE).is_some() {}
        std::mem::take(&mut self.buffer)
    }

    /// The peer must close without another byte.
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "bytes instead of the end: {:?}", text(&rest));
    }

    /// Nothing may come for `time`, and the connection must stay open.
    pub fn expect_silence(&mut self, time: Duration) {
        assert!(self.buffer.is_empty(), "bytes instead of silence: {:?}", text(&self.buffer));
        match self.read_within(time) {
            None => {}
            Some(None) => panic!("the connection ended instead of staying silent"),
            Some(Some(_)) => panic!("bytes instead of silence: {:?}", text(&self.buffer)),
        }
    }

    /// Sends a line of the line protocol.
    pub fn send_line(&mut self, line: &str) {
        self.send(format!("{line}\r\n"));
    }

    /// Reads a line of the line protocol; it must end in CRLF, which is left off.
    pub fn read_line(&mut self) -> String {
        let line = String::from_utf8(self.read_until(b"\n")).unwrap();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("{line:?} does not end in CRLF")).to_owned()
    }

    /// Sends a line and reads one.
    pub fn ask(&mut self, line: &str) -> String {
        self.send_line(line);
        self.read_line()
    }

    /// Upgrades an `IsProxy` session.
    pub fn start_tls(mut self, config: Arc<ClientConfig>) -> Self {
        assert_eq!(self.ask("STARTTLS"), "100 OK");
        self.into_tls(config)
    }
}

/// Bytes as people read them.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
