//! A proxy that is broken on purpose: it takes every frame for what it says, makes lines of HTTP/1 of whatever stands
//! in a header block, looks for the key anywhere in it, and has no limit. A set that lets it pass proves nothing.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::frames::{self, ACK, END_HEADERS, END_STREAM, frame, last_data, literal};

/// How long the upstream may take to answer. Where it cannot read what it is sent, it never does.
const UPSTREAM_WAIT: Duration = Duration::from_millis(250);

/// The proxy. Its threads end with its connections.
pub struct BrokenProxy {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// What it goes by.
struct Beliefs {
    upstream: SocketAddr,
    key: Vec<u8>,
    user: String,
}

impl BrokenProxy {
    /// Starts one that lets whoever sends `key` through to `upstream`, as `user`.
    pub fn start(upstream: SocketAddr, key: &str, user: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let accepting = Arc::clone(&stopped);
        let beliefs = Arc::new(Beliefs { upstream, key: key.as_bytes().to_vec(), user: user.to_owned() });
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.load(Ordering::SeqCst) {
                    return;
                }
                let beliefs = Arc::clone(&beliefs);
                // An end of any kind is the end.
                std::thread::spawn(move || drop(Connection::new(stream, &beliefs).serve()));
            }
        });
        Self { address, stopped }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BrokenProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

#[derive(Default)]
struct Stream {
    block: Vec<u8>,
    body: Vec<u8>,
    is_over: bool,
}

struct Connection<'a> {
    stream: TcpStream,
    beliefs: &'a Beliefs,
    streams: HashMap<u32, Stream>,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, beliefs: &'a Beliefs) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, beliefs, streams: HashMap::new() }
    }

    fn serve(mut self) -> std::io::Result<()> {
        let mut preface = [0; 24];
        self.stream.read_exact(&mut preface)?;
        self.stream.write_all(&frames::settings(&[]))?;
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let (length, rest) = head.split_at(3);
            let (kind, flags, stream) = (rest[0], rest[1], &rest[2..]);
            let number =
                |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            let mut payload = vec![0; number(length) as usize];
            self.stream.read_exact(&mut payload)?;
            self.take(kind, flags, number(stream) & 0x7fff_ffff, &payload)?;
        }
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> std::io::Result<()> {
        match kind {
            frames::PING if flags & ACK == 0 => self.stream.write_all(&frame(frames::PING, ACK, 0, payload)),
            frames::SETTINGS if flags & ACK == 0 => {
                self.stream.write_all(&frame(frames::SETTINGS, ACK, 0, &[]))
            }
            frames::HEADERS | frames::CONTINUATION => {
                let stream = self.streams.entry(id).or_default();
                stream.block.extend_from_slice(payload);
                stream.is_over |= kind == frames::HEADERS && flags & END_STREAM != 0;
                if stream.is_over && flags & END_HEADERS != 0 { self.forward(id) } else { Ok(()) }
            }
            frames::DATA => {
                let stream = self.streams.entry(id).or_default();
                stream.body.extend_from_slice(payload);
                if flags & END_STREAM != 0 { self.forward(id) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn forward(&mut self, id: u32) -> std::io::Result<()> {
        let stream = self.streams.remove(&id).unwrap_or_default();
        let is_let_in = stream.block.windows(self.beliefs.key.len()).any(|window| window == self.beliefs.key);
        let status = if is_let_in { self.ask(&stream)? } else { "401".to_owned() };
        let block = literal(b":status", status.as_bytes());
        let answer = [frame(frames::HEADERS, END_HEADERS, id, &block), last_data(id, b"answered")];
        self.stream.write_all(&answer.concat())
    }

    /// Asks by a connection of its own; answers the status, whatever came.
    fn ask(&self, stream: &Stream) -> std::io::Result<String> {
        let fields = decode(&stream.block);
        let value = |name: &str, usual: &str| {
            let found = fields.iter().find(|(field, _)| field == name.as_bytes());
            found.map_or_else(|| usual.as_bytes().to_vec(), |(_, value)| value.clone())
        };
        let mut request =
            [&value(":method", "GET")[..], b" ", &value(":path", "/"), b" HTTP/1.1\r\nhost: "].concat();
        request.extend(value(":authority", "api.example"));
        request.extend_from_slice(b"\r\n");
        for (name, value) in
            fields.iter().filter(|(name, _)| !name.starts_with(b":") && name != b"authorization")
        {
            request.extend([&name[..], b": ", value, b"\r\n"].concat());
        }
        request.extend_from_slice(format!("x-auth-user: {}\r\n", self.beliefs.user).as_bytes());
        if !stream.body.is_empty() && !fields.iter().any(|(name, _)| name == b"content-length") {
            request.extend_from_slice(format!("content-length: {}\r\n", stream.body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&stream.body);
        let mut upstream = TcpStream::connect(self.beliefs.upstream)?;
        upstream.write_all(&request)?;
        upstream.shutdown(std::net::Shutdown::Write)?;
        upstream.set_read_timeout(Some(UPSTREAM_WAIT))?;
        let mut answer = [0; 12];
        let status = if upstream.read_exact(&mut answer).is_ok() { &answer[9..] } else { b"502" };
        Ok(String::from_utf8_lossy(status).into_owned())
    }
}

/// Literals with their names, and what can be guessed of the rest.
fn decode(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    let mut rest = block;
    while let [form, more @ ..] = rest {
        rest = more;
        if matches!(form, 0x00 | 0x10 | 0x40) {
            let name = take_text(&mut rest);
            fields.push((name, take_text(&mut rest)));
        }
    }
    fields
}

fn take_text(rest: &mut &[u8]) -> Vec<u8> {
    let Some((first, mut behind)) = rest.split_first() else { return Vec::new() };
    let mut length = usize::from(first & 0x7f);
    if length == 0x7f {
        let mut shift = 0;
        while let Some((byte, more)) = behind.split_first() {
            behind = more;
            length = length.saturating_add(usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(0));
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    let (text, more) = behind.split_at(length.min(behind.len()));
    *rest = more;
    text.to_vec()
}
