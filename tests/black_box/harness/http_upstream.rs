//! An HTTP server that records exactly what it was sent, and answers as a test says.
//!
//! It reads with its own few lines rather than a library's: what is asserted is what stood on the wire.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::answer::{only_value, parse_fields};

/// What one request was, byte for byte.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// From the request line to the empty line.
    pub head: String,
    /// Everything behind the head that was read, framing included.
    pub body: Vec<u8>,
    /// Which connection it came by, counted from 0.
    pub connection: usize,
}

impl RecordedRequest {
    /// `GET /path HTTP/1.1`.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Fields in the order they came.
    pub fn fields(&self) -> Vec<(String, String)> {
        parse_fields(self.head.split_once("\r\n").map_or("", |(_, fields)| fields))
    }

    /// The only value of a field; none where it is missing.
    pub fn field(&self, name: &str) -> Option<String> {
        only_value(&self.fields(), name).map(str::to_owned)
    }
}

type Handler = dyn Fn(&mut Exchange) + Send + Sync;

/// The server. Its threads end with its connections.
pub struct HttpUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<RecordedRequest>>,
    bytes: AtomicUsize,
    connections: AtomicUsize,
    handlers: Mutex<Vec<(String, Arc<Handler>)>>,
    stopped: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl HttpUpstream {
    /// Starts one that answers every request with 200 and `{"ok":true}`.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts one at a certain address, where another may have been before.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = accepting.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                shared.streams.lock().unwrap().extend(stream.try_clone());
                std::thread::spawn(move || serve(stream, connection, &shared));
            }
        });
        Self { address, shared, accepting: Some(thread) }
    }

    /// Ends it as a crash would: its port refuses, its connections are cut. Answers what it was asked so far.
    pub fn kill(mut self) -> Vec<RecordedRequest> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.accepting.take().unwrap().join().unwrap();
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.requests()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests whose target starts with `prefix` go to `handler`; the latest that fits is asked.
    pub fn on(&self, prefix: &str, handler: impl Fn(&mut Exchange) + Send + Sync + 'static) {
        self.shared.handlers.lock().unwrap().push((prefix.to_owned(), Arc::new(handler)));
    }

    /// Requests whose target starts with `prefix` are answered with these bytes, after their bodies were read.
    pub fn answer(&self, prefix: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref().to_vec();
        self.on(prefix, move |exchange| {
            exchange.read_body();
            exchange.send(&bytes);
        });
    }

    /// Everything that came so far.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The only request that came so far.
    #[track_caller]
    pub fn only_request(&self) -> RecordedRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// The latest request.
    #[track_caller]
    pub fn last_request(&self) -> RecordedRequest {
        self.requests().pop().expect("no request came")
    }

    /// Bytes that came over all connections, complete requests or not.
    pub fn bytes_received(&self) -> usize {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for HttpUpstream {
    fn drop(&mut self) {
        if self.shared.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request on its connection, for a handler.
pub struct Exchange {
    stream: TcpStream,
    /// Read from the connection and not yet used.
    buffer: Vec<u8>,
    /// The request, its body only as far as it was read.
    pub request: RecordedRequest,
    /// Its place among all requests.
    place: usize,
    body: BodyState,
    shared: Arc<Shared>,
}

/// A connection that is no longer HTTP's.
struct Detached {
    read_ahead: VecDeque<u8>,
    stream: TcpStream,
}

impl Read for Detached {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.read_ahead.is_empty() { self.stream.read(into) } else { self.read_ahead.read(into) }
    }
}

impl Write for Detached {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    Length(usize),
    Chunked,
    Read,
    Closed,
}

impl Exchange {
    /// Sends bytes of an answer, or of whatever the test makes of one.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if self.stream.write_all(bytes.as_ref()).is_err() {
            self.body = BodyState::Closed;
        }
    }

    /// Sends `bytes` again and again, as fast as they are taken, until the gateway closes the connection.
    pub fn send_for_ever(&mut self, bytes: impl AsRef<[u8]>) {
        while self.body != BodyState::Closed {
            self.send(bytes.as_ref());
        }
    }

    /// Closes both ways.
    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.body = BodyState::Closed;
    }

    /// Reads the body to its end and answers it without framing; shorter where the connection ended early.
    pub fn read_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(part) = self.read_body_part() {
            body.extend_from_slice(&part);
        }
        body
    }

    /// Reads the next part of the body as it comes; `None` at its end.
    pub fn read_body_part(&mut self) -> Option<Vec<u8>> {
        match self.body {
            BodyState::Length(0) => {
                self.body = BodyState::Read;
                None
            }
            BodyState::Length(left) => {
                if self.buffer.is_empty() && !self.fill() {
                    return None;
                }
                let part = self.take(left.min(self.buffer.len()));
                self.body = BodyState::Length(left - part.len());
                Some(part)
            }
            BodyState::Chunked => {
                let line = self.take_line()?;
                let size =
                    usize::from_str_radix(line.trim_end(), 16).expect("the gateway writes plain chunk sizes");
                if size == 0 {
                    while self.take_line()? != "\r\n" {}
                    self.body = BodyState::Read;
                    return None;
                }
                while self.buffer.len() < size + 2 {
                    if !self.fill() {
                        return None;
                    }
                }
                let mut chunk = self.take(size + 2);
                chunk.truncate(size);
                Some(chunk)
            }
            BodyState::Read | BodyState::Closed => None,
        }
    }

    /// Gives up the connection, with what was read of it already; the server touches it no more.
    pub fn detach(&mut self) -> impl Read + Write + use<> {
        self.body = BodyState::Closed;
        Detached {
            read_ahead: std::mem::take(&mut self.buffer).into(),
            stream: self.stream.try_clone().unwrap(),
        }
    }

    /// Waits until the gateway closes the connection.
    pub fn wait_for_close(&mut self) {
        while self.fill() {}
    }

    fn take_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                return Some(String::from_utf8(self.take(end + 2)).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Takes bytes of the body, and records them.
    fn take(&mut self, count: usize) -> Vec<u8> {
        let part: Vec<u8> = self.buffer.drain(..count).collect();
        self.request.body.extend_from_slice(&part);
        self.shared.requests.lock().unwrap()[self.place].body.extend_from_slice(&part);
        part
    }

    fn fill(&mut self) -> bool {
        if read_more(&mut self.stream, &mut self.buffer, &self.shared) {
            return true;
        }
        self.body = BodyState::Closed;
        false
    }
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>, shared: &Shared) -> bool {
    let mut part = [0; 16_384];
    let count = stream.read(&mut part).unwrap_or(0);
    shared.bytes.fetch_add(count, Ordering::SeqCst);
    buffer.extend_from_slice(&part[..count]);
    count > 0
}

/// One connection: request after request.
fn serve(mut stream: TcpStream, connection: usize, shared: &Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !read_more(&mut stream, &mut buffer, shared) {
                return;
            }
        };
        let head: Vec<u8> = buffer.drain(..end).collect();
        // Every byte has a character, so that nothing of it is lost.
        let head: String = head.into_iter().map(char::from).collect();
        let request = RecordedRequest { head, body: Vec::new(), connection };
        let body = body_state(&request);
        let place = {
            let mut requests = shared.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let handler = handler_for(&request, shared);
        let Ok(clone) = stream.try_clone() else { return };
        let mut exchange =
            Exchange { stream: clone, buffer, request, place, body, shared: Arc::clone(shared) };
        handler(&mut exchange);
        if exchange.body == BodyState::Length(0) {
            exchange.body = BodyState::Read;
        }
        if exchange.body != BodyState::Read {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        buffer = exchange.buffer;
    }
}

fn body_state(request: &RecordedRequest) -> BodyState {
    if request.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return BodyState::Chunked;
    }
    BodyState::Length(request.field("content-length").map_or(0, |length| length.parse().unwrap()))
}

fn handler_for(request: &RecordedRequest, shared: &Shared) -> Arc<Handler> {
    let target = request.line().split(' ').nth(1).unwrap_or_default().to_owned();
    let handlers = shared.handlers.lock().unwrap();
    let found = handlers.iter().rev().find(|(prefix, _)| target.starts_with(prefix));
    found.map_or_else(
        || {
            let plain: Arc<Handler> = Arc::new(|exchange: &mut Exchange| {
                exchange.read_body();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n";
                let body = if exchange.request.line().starts_with("HEAD ") { "" } else { "{\"ok\":true}" };
                exchange.send(format!("{head}{body}"));
            });
            plain
        },
        |(_, handler)| Arc::clone(handler),
    )
}
