//! An upstream with one fault; all else it does well.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

use super::faults::{ASKED, Deed, Fault, Stage};
use crate::harness::{Installation, LineReply, PATIENCE, reply_by_name};

/// What the gateway itself logs in with.
pub const OWN_KEY: &str = "key-of-the-gateway-itself";

/// The server. Its threads end with its connections.
pub struct FaultServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Fault,
    lines: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// Writes [`OWN_KEY`] where the configuration looks for it.
pub fn write_own_key(installation: &Installation) {
    let file = installation.path("upstream.key");
    fs::write(&file, format!("{OWN_KEY}\n")).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

impl FaultServer {
    /// Starts one.
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { fault, lines: Mutex::default(), stopped: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // What goes wrong on a connection is what the gateway is looked at for.
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &Fault {
        &self.shared.fault
    }

    /// Lines that came in clear, of all connections.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lines.lock().unwrap().clone()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// No fault at `STARTTLS` leads to a handshake, so it needs no TLS.
fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if shared.fault.stage == Stage::Connect {
        play(&mut stream, shared)?;
    }
    loop {
        let line = read_line(&mut stream)?;
        shared.lines.lock().unwrap().push(line.clone());
        let stage = match line.split_once(' ') {
            None if line == "STARTTLS" => Some(Stage::StartTls),
            Some(("LOGIN", _)) => Some(Stage::Login),
            Some(("ENABLE", _)) => Some(Stage::Enable),
            Some(("IS", ASKED)) => Some(Stage::Is),
            _ => None,
        };
        if stage == Some(shared.fault.stage) {
            play(&mut stream, shared)?;
        } else if stage == Some(Stage::Login) {
            stream.write_all(b"100 Login ok\r\n")?;
        } else if let LineReply::Lines(lines) = reply_by_name(&line) {
            stream.write_all(format!("{}\r\n", lines.join("\r\n")).as_bytes())?;
        }
    }
}

fn play(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    for deed in &shared.fault.deeds {
        match deed {
            Deed::Say(bytes) => stream.write_all(bytes)?,
            Deed::Flood(bytes) => {
                while !shared.stopped.load(Ordering::SeqCst) {
                    stream.write_all(bytes)?;
                }
            }
            Deed::Silence => wait_for_close(stream, shared),
            Deed::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
            Deed::Reset => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
    }
    Ok(())
}

/// What comes is looked at by nobody, and not taken from the socket.
fn wait_for_close(stream: &TcpStream, shared: &Shared) {
    let pause = Duration::from_millis(10);
    let _ = stream.set_nonblocking(true);
    let mut byte = [0];
    // Bytes that are not taken hide the end: it is bounded by what the test takes.
    while !shared.stopped.load(Ordering::SeqCst) && !matches!(stream.peek(&mut byte), Ok(0)) {
        std::thread::park_timeout(pause);
    }
}

/// Byte by byte: nothing of what follows the line may be taken.
fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
