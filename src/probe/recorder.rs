//! Upstreams of the probe's own, which note everything that reaches them, and answer like a server that is content.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::recorded::{RecordedRequest, take_request};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
/// One connection is read so far and no further.
const READ_MAX_BYTES: usize = 16 * 1024 * 1024;

/// A recording upstream on loopback; ends with the runtime that it runs on.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

/// What reached a recorder since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// All that was read, also what is no whole request or line.
    pub(super) bytes: usize,
    /// Of an HTTP upstream.
    pub(super) requests: Vec<RecordedRequest>,
    /// Of an `IsProxy` upstream, without their ends.
    pub(super) lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http,
    IsProxy,
}

impl Recorder {
    /// Starts an HTTP upstream on `runtime`.
    pub(super) fn of_http(runtime: &Handle) -> io::Result<Self> {
        Self::start(runtime, Speaks::Http)
    }

    /// Starts an `IsProxy` upstream on `runtime`.
    pub(super) fn of_isproxy(runtime: &Handle) -> io::Result<Self> {
        Self::start(runtime, Speaks::IsProxy)
    }

    fn start(runtime: &Handle, speaks: Speaks) -> io::Result<Self> {
        let _inside = runtime.enter();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let recorder = Self { address: listener.local_addr()?, received: Arc::default() };
        let (listener, received) = (TcpListener::from_std(listener)?, Arc::clone(&recorder.received));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, speaks, Arc::clone(&received)));
            }
        });
        Ok(recorder)
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what has come since the last call.
    pub(super) fn take(&self) -> Received {
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(mut stream: TcpStream, speaks: Speaks, received: Arc<Mutex<Received>>) {
    let (mut buffer, mut total) = (Vec::new(), 0);
    while total < READ_MAX_BYTES {
        let Ok(count) = stream.read_buf(&mut buffer).await else { return };
        if count == 0 {
            return;
        }
        total += count;
        let answers = note(&received, &mut buffer, count, speaks);
        if stream.write_all(&answers.0).await.is_err() || answers.1 == Goodbye::Said {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    Said,
    NotSaid,
}

/// Notes what has become complete in `buffer`, and answers it.
fn note(
    received: &Mutex<Received>,
    buffer: &mut Vec<u8>,
    count: usize,
    speaks: Speaks,
) -> (Vec<u8>, Goodbye) {
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    received.bytes += count;
    let mut answers = Vec::new();
    match speaks {
        Speaks::Http => {
            while let Some(request) = take_request(buffer) {
                received.requests.push(request);
                answers.extend_from_slice(ANSWER);
            }
        }
        Speaks::IsProxy => {
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let line: String = line.into_iter().map(char::from).collect();
                let line = line.strip_suffix('\n').unwrap_or(&line);
                let line = line.strip_suffix('\r').unwrap_or(line);
                let Some(reply) = reply(line) else {
                    // A farewell asks for nothing, and comes when it likes.
                    received.bytes = received.bytes.saturating_sub(end + 1);
                    return (answers, Goodbye::Said);
                };
                answers.extend_from_slice(format!("{reply}\r\n").as_bytes());
                received.lines.push(line.to_owned());
            }
        }
    }
    (answers, Goodbye::NotSaid)
}

/// What an `IsProxy` server says; `None`: it closes.
fn reply(line: &str) -> Option<String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb.to_ascii_uppercase().as_str() {
        "IS" => Some(format!("{rest} available")),
        "LOGIN" => Some(String::from("100 Login ok")),
        "ENABLE" => Some(String::from("100 OK")),
        "QUIT" | "CLOSE" => None,
        _ => Some(String::from("400 Unknown command")),
    }
}
