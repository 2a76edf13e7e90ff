//! An `IsProxy` server that records every line, and replies as a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::PATIENCE;

/// What to do with a line.
#[derive(Clone, Debug)]
pub enum LineReply {
    /// Send these lines, each of which gets CRLF.
    Lines(Vec<String>),
    /// Send nothing; [`IsProxyUpstream::send`] may do so later.
    Nothing,
    /// Close the connection.
    Close,
}

type Script = dyn Fn(&str) -> LineReply + Send + Sync;

/// The server. Its threads end with its connections.
pub struct IsProxyUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    lines: Mutex<Vec<(usize, String)>>,
    arrived: Condvar,
    connections: Mutex<Vec<TcpStream>>,
    script: Mutex<Arc<Script>>,
    stopped: AtomicBool,
}

impl IsProxyUpstream {
    /// Starts one that replies by how a name begins: `taken`, `bad_`, `error`, anything else is available; `ENABLE`
    /// succeeds, `CLOSE` and `QUIT` close.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts one at a certain address, where another may have been before.
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            lines: Mutex::default(),
            arrived: Condvar::new(),
            connections: Mutex::default(),
            script: Mutex::new(Arc::new(reply_by_name)),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = {
                    let mut connections = accepting.connections.lock().unwrap();
                    connections.push(stream.try_clone().unwrap());
                    connections.len() - 1
                };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(stream, connection, &shared));
            }
        });
        Self { address, shared, accepting: Some(thread) }
    }

    /// Closes the listening socket and every connection, as the end of its process would.
    pub fn kill(mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.accepting.take().unwrap().join().unwrap();
        for stream in self.shared.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on lines are answered by `script`.
    pub fn reply_with(&self, script: impl Fn(&str) -> LineReply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Lines of all connections in the order they came.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lines.lock().unwrap().iter().map(|(_, line)| line.clone()).collect()
    }

    /// Waits until `count` lines came.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.shared.lines.lock().unwrap();
        while lines.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {lines:?} came, not {count} lines");
            lines = self.shared.arrived.wait_timeout(lines, left).unwrap().0;
        }
        lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Sends bytes on a connection, counted from 0, out of turn.
    pub fn send(&self, connection: usize, bytes: impl AsRef<[u8]>) {
        let mut stream = self.shared.connections.lock().unwrap()[connection].try_clone().unwrap();
        stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Closes a connection, counted from 0.
    pub fn close(&self, connection: usize) {
        let _ = self.shared.connections.lock().unwrap()[connection].shutdown(Shutdown::Both);
    }
}

impl Drop for IsProxyUpstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// The reply that a line gets where a test says nothing else.
pub fn reply_by_name(line: &str) -> LineReply {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb.to_ascii_uppercase().as_str() {
        "IS" if rest.starts_with("taken") => one(format!("{rest} not available")),
        "IS" if rest.starts_with("bad_") => one(format!("{rest} invalid domain")),
        "IS" if rest.starts_with("error") => one(format!("{rest} error")),
        "IS" => one(format!("{rest} available")),
        "ENABLE" => one("100 OK".to_owned()),
        "CLOSE" | "QUIT" => LineReply::Close,
        _ => one("400 Unknown command".to_owned()),
    }
}

fn one(line: String) -> LineReply {
    LineReply::Lines(vec![line])
}

fn serve(stream: TcpStream, connection: usize, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        let text = line.trim_end_matches(['\r', '\n']).to_owned();
        line.clear();
        shared.lines.lock().unwrap().push((connection, text.clone()));
        shared.arrived.notify_all();
        let script = Arc::clone(&shared.script.lock().unwrap());
        let sent = match script(&text) {
            LineReply::Lines(lines) => writer.write_all((lines.join("\r\n") + "\r\n").as_bytes()),
            LineReply::Nothing => Ok(()),
            LineReply::Close => writer.shutdown(Shutdown::Both),
        };
        if sent.is_err() {
            return;
        }
    }
}
