//! An upstream that keeps every line byte for byte, and replies well.
//!
//! By name: `silent…` gets no reply, `held…` gets one once no more lines come, anything else is available.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nothing more comes: held names are answered.
const PAUSE: Duration = Duration::from_millis(150);

/// The server. Its threads end with its connections.
pub struct Witness {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<Vec<u8>>>,
    open: AtomicUsize,
    most_held: AtomicUsize,
    stopped: AtomicBool,
}

impl Witness {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.open.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    serve(stream, &shared);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The lines that came since the last call, without their ends, once every connection is closed; after
    /// `patience` without waiting for that.
    pub fn take_lines(&self, patience: Duration) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while self.shared.open.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        std::mem::take(&mut self.shared.lines.lock().unwrap())
    }

    /// How many held names it owed on one connection since the last call, at most.
    pub fn take_most_held(&self) -> usize {
        self.shared.most_held.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let (mut unread, mut part) = (Vec::new(), vec![0; 64 * 1_024]);
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        let _ = stream.set_read_timeout((!held.is_empty()).then_some(PAUSE));
        let mut replies = Vec::new();
        match stream.read(&mut part) {
            Ok(0) => return,
            Ok(count) => unread.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                held.drain(..).for_each(|name| push_available(&mut replies, &name));
            }
            Err(_) => return,
        }
        let whole = memchr::memrchr(b'\n', &unread).map_or(0, |last| last + 1);
        for line in unread.drain(..whole).collect::<Vec<u8>>().split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            shared.lines.lock().unwrap().push(line.to_vec());
            match line.strip_prefix(b"IS ") {
                Some(name) if name.starts_with(b"silent") => {}
                Some(name) if name.starts_with(b"held") => held.push(name.to_vec()),
                Some(name) => push_available(&mut replies, name),
                None if line.starts_with(b"ENABLE ") => replies.extend_from_slice(b"100 OK\r\n"),
                None => replies.extend_from_slice(b"400 Unknown command\r\n"),
            }
        }
        shared.most_held.fetch_max(held.len(), Ordering::SeqCst);
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

fn push_available(replies: &mut Vec<u8>, name: &[u8]) {
    replies.extend_from_slice(name);
    replies.extend_from_slice(b" available\r\n");
}
