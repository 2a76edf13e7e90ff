//! An `IsProxy` server that offers `STARTTLS` and wants a login, well-mannered or as a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::isproxy_upstream::{LineReply, reply_by_name};

/// How the server behaves.
#[derive(Clone)]
pub struct Manners {
    /// What it does behind its answer to `STARTTLS`; `None`: it closes instead of answering.
    pub tls: Option<Arc<ServerConfig>>,
    /// Its answer to `STARTTLS`, byte for byte.
    pub starttls_answer: &'static str,
    /// The key that it lets in.
    pub key: &'static str,
}

/// The server. Its threads end with its connections.
pub struct StartTlsUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<SeenLine>>,
    stopped: AtomicBool,
}

/// A line that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLine {
    /// Without its end.
    pub text: String,
    /// How it came.
    pub transport: Transport,
}

/// In clear, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Before `STARTTLS`.
    Clear,
    /// Behind it.
    Tls,
}

impl StartTlsUpstream {
    /// Starts one that behaves so.
    pub fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (manners, shared) = (manners.clone(), Arc::clone(&accepting));
                std::thread::spawn(move || serve(stream, &manners, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lines of all connections in the order they came.
    pub fn lines(&self) -> Vec<SeenLine> {
        self.shared.lines.lock().unwrap().clone()
    }
}

impl Drop for StartTlsUpstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A handshake that fails, and a peer that leaves, end it silently: the gateway is what is looked at.
fn serve(mut stream: TcpStream, manners: &Manners, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    if !converse(&mut stream, Transport::Clear, manners, shared) {
        return;
    }
    let Some(tls) = &manners.tls else { return };
    if stream.write_all(manners.starttls_answer.as_bytes()).is_err() {
        return;
    }
    let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    converse(&mut stream, Transport::Tls, manners, shared);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// Answers lines to their end; `true`: the last one was `STARTTLS`.
fn converse(
    stream: &mut (impl Read + Write),
    transport: Transport,
    manners: &Manners,
    shared: &Shared,
) -> bool {
    while let Some(text) = read_line(stream) {
        shared.lines.lock().unwrap().push(SeenLine { text: text.clone(), transport });
        let answer = match text.split_once(' ') {
            None if text == "STARTTLS" && transport == Transport::Clear => return true,
            Some(("LOGIN", key)) if key == manners.key => String::from("100 Login ok"),
            Some(("LOGIN", _)) => String::from("400 Login failed"),
            _ => match reply_by_name(&text) {
                LineReply::Lines(lines) => lines.join("\r\n"),
                LineReply::Nothing => continue,
                LineReply::Close => return false,
            },
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
            return false;
        }
    }
    false
}

/// Byte by byte: nothing of what follows the line may be taken.
fn read_line(stream: &mut impl Read) -> Option<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") {
        match stream.read(&mut byte) {
            Ok(1..) => line.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(line).unwrap().trim_end().to_owned())
}
