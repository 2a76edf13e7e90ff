//! A relay as somebody would write it in an afternoon: the sets must find it out.
//!
//! It keeps what it had read across `STARTTLS`, takes a key for right that is a part of a right one, hands lines on as
//! they came, repeats whatever its upstream says, and knows no limit. A client that does everything right is served.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{Authority, Validity};

/// How long it waits for its upstream before it goes on.
const UPSTREAM_WAIT: Duration = Duration::from_millis(400);

/// The relay. Its threads end with its connections.
pub struct BrokenRelay {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// What each of its threads knows.
#[derive(Clone)]
struct Knowledge {
    upstream: SocketAddr,
    /// What it says first upstream; whatever is answered.
    greeting: &'static [&'static str],
    key: String,
    tls: Arc<ServerConfig>,
}

impl BrokenRelay {
    /// One that lets `key` in to `upstream`, which it says `greeting` to.
    pub fn start(upstream: SocketAddr, greeting: &'static [&'static str], key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let tls = Authority::shared().server("localhost", Validity::Now);
        let knowledge = Knowledge { upstream, greeting, key: key.to_owned(), tls };
        let stop = Arc::clone(&stopped);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut session = Session {
                    knowledge: knowledge.clone(),
                    client: Stream::Plain(stream),
                    buffer: Vec::new(),
                    upstream: None,
                    is_in: false,
                };
                std::thread::spawn(move || while session.serve_line().is_ok() {});
            }
        });
        Self { address, stopped }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BrokenRelay {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Gone,
}

struct Session {
    knowledge: Knowledge,
    client: Stream,
    buffer: Vec<u8>,
    upstream: Option<TcpStream>,
    is_in: bool,
}

impl Session {
    fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.client {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut part = [0; 16_384];
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(self.buffer.drain(..=searched + at).collect());
            }
            searched = self.buffer.len();
            let count = match &mut self.client {
                Stream::Plain(stream) => stream.read(&mut part)?,
                Stream::Tls(stream) => stream.read(&mut part)?,
                Stream::Gone => 0,
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&part[..count]);
        }
    }

    fn serve_line(&mut self) -> io::Result<()> {
        let line = self.read_line()?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        let verb = words.first().map(|verb| verb.to_ascii_uppercase());
        let is_right = |presented: &&str| self.knowledge.key.contains(*presented);
        match (verb.as_deref(), words.get(1)) {
            (None, _) => Ok(()),
            (Some("STARTTLS"), _) => self.start_tls(),
            (Some("LOGIN"), Some(presented)) if is_right(presented) => {
                self.is_in = true;
                self.answer(b"100 Login ok\r\n")
            }
            (Some("LOGIN"), _) => self.answer(b"400 Login failed\r\n"),
            (Some("IS"), Some(presented)) if !self.is_in && words.len() == 3 && is_right(presented) => {
                let request = format!("IS {}\r\n", words[2]);
                self.relay(request.as_bytes())
            }
            (Some("IS"), _) if !self.is_in => self.answer(b"400 not authenticated\r\n"),
            (Some("IS" | "ENABLE"), _) => self.relay(&line),
            (Some("QUIT" | "CLOSE"), _) => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => self.answer(b"400 Unknown command\r\n"),
        }
    }

    /// What was read in clear stays in the buffer (CVE-2011-0411), and who was let in stays in.
    fn start_tls(&mut self) -> io::Result<()> {
        self.answer(b"100 OK\r\n")?;
        let Stream::Plain(stream) = std::mem::replace(&mut self.client, Stream::Gone) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let connection = ServerConnection::new(Arc::clone(&self.knowledge.tls)).unwrap();
        self.client = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    fn relay(&mut self, line: &[u8]) -> io::Result<()> {
        let mut upstream = match self.upstream.take() {
            Some(upstream) => upstream,
            None => self.connect_upstream()?,
        };
        let _ = upstream.write_all(line);
        let reply = read_reply(&mut upstream);
        self.upstream = Some(upstream);
        self.answer(&reply)
    }

    fn connect_upstream(&self) -> io::Result<TcpStream> {
        let mut upstream = TcpStream::connect(self.knowledge.upstream)?;
        upstream.set_nodelay(true)?;
        upstream.set_read_timeout(Some(UPSTREAM_WAIT))?;
        for line in self.knowledge.greeting {
            let _ = upstream.write_all(line.as_bytes());
            read_reply(&mut upstream);
        }
        Ok(upstream)
    }
}

/// A line, or what comes of one.
fn read_reply(upstream: &mut TcpStream) -> Vec<u8> {
    let (mut reply, mut byte) = (Vec::new(), [0]);
    while !reply.ends_with(b"\n") && matches!(upstream.read(&mut byte), Ok(1)) {
        reply.push(byte[0]);
    }
    reply
}
