//! An upstream that keeps every byte it gets, and answers what it can read strictly.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::faults::{After, Fault, faults};
use super::models::{End, Head, Message, Model, models};

/// What came over each connection since it was last asked.
type Log = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

pub struct Recorder {
    address: SocketAddr,
    log: Log,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let kept = Arc::clone(&log);
        let faults = Arc::new(faults());
        // Ends with the process; so do its connections.
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (log, faults) = (Arc::clone(&kept), Arc::clone(&faults));
                std::thread::spawn(move || serve(stream, number, &log, &faults));
            }
        });
        Self { address, log }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came since the last time, by connection.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.log.lock().unwrap()).into_iter().map(|(_, bytes)| bytes).collect()
    }
}

fn keep(log: &Log, connection: usize, bytes: &[u8]) {
    let mut log = log.lock().unwrap();
    match log.iter_mut().find(|(number, _)| *number == connection) {
        Some((_, so_far)) => so_far.extend_from_slice(bytes),
        None => log.push((connection, bytes.to_vec())),
    }
}

fn serve(mut stream: TcpStream, connection: usize, log: &Log, faults: &[Fault]) {
    let strict = models().remove(0);
    let (mut unread, mut part, mut continued) = (Vec::new(), [0; 16_384], false);
    while let Ok(count @ 1..) = stream.read(&mut part) {
        keep(log, connection, &part[..count]);
        unread.extend_from_slice(&part[..count]);
        loop {
            match read_one(strict, &unread) {
                Ok((message, used)) => {
                    unread.drain(..used);
                    continued = false;
                    if answer(&mut stream, &message, faults).is_none() {
                        return;
                    }
                }
                Err(End::Malformed) => {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Err(End::Incomplete(Head::Whole)) if !continued && expects(&unread) => {
                    continued = true;
                    let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

fn read_one(model: Model, bytes: &[u8]) -> Result<(Message, usize), End> {
    if bytes.is_empty() {
        return Err(End::Clean);
    }
    model.read_one(bytes).map(|(message, rest)| (message, bytes.len() - rest.len()))
}

fn expects(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).to_ascii_lowercase().contains("\r\nexpect: 100-continue\r\n")
}

/// `None`: the connection is closed.
fn answer(stream: &mut TcpStream, message: &Message, faults: &[Fault]) -> Option<()> {
    let target = String::from_utf8_lossy(&message.target).into_owned();
    if let Some(fault) = faults.iter().find(|fault| target == format!("/fault/{}", fault.name)) {
        let _ = stream.write_all(&fault.bytes());
        return match fault.after {
            After::Stays => Some(()),
            After::Closes => {
                let _ = stream.shutdown(Shutdown::Both);
                None
            }
            After::Resets => {
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO));
                None
            }
        };
    }
    let body = format!("seen {target}");
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    let body = if message.method == b"HEAD" { "" } else { &body };
    stream.write_all(format!("{head}{body}").as_bytes()).ok()
}
