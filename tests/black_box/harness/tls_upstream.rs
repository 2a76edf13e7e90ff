//! An HTTP server behind TLS that answers everything with 200, or agrees to a WebSocket and sends its bytes back, and
//! notes how each connection came about.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

/// The server. Its threads end with its connections.
pub struct TlsUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<TlsRequest>>,
    stopped: AtomicBool,
}

/// A request and the handshake of the connection that brought it.
#[derive(Clone, Debug)]
pub struct TlsRequest {
    /// From the request line to the empty line.
    pub head: String,
    /// Was an earlier session resumed?
    pub resumed: bool,
    /// What the client named as the server.
    pub server_name: Option<String>,
    /// Did the client show a certificate?
    pub client_certificate: bool,
}

impl TlsUpstream {
    /// Starts one that closes each connection after one answer, so that the next needs a handshake.
    pub fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (config, shared) = (Arc::clone(&config), Arc::clone(&accepting));
                std::thread::spawn(move || serve(stream, config, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that came so far.
    pub fn requests(&self) -> Vec<TlsRequest> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A handshake that fails, and a client that leaves, end it silently: the gateway is what is looked at.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let (mut head, mut part) = (Vec::new(), [0; 4_096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(count @ 1..) => head.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    shared.requests.lock().unwrap().push(TlsRequest {
        head: head.clone(),
        resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
        server_name: stream.conn.server_name().map(str::to_owned),
        client_certificate: stream.conn.peer_certificates().is_some(),
    });
    if let Some(key) = websocket_key(&head) {
        echo(&mut stream, &key);
        return;
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn websocket_key(head: &str) -> Option<String> {
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
    key.map(str::to_owned)
}

/// Agrees, and sends back byte for byte what comes.
fn echo(stream: &mut StreamOwned<ServerConnection, TcpStream>, key: &str) {
    let _ = stream.write_all(super::agreement(key).as_bytes());
    let mut part = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        if stream.write_all(&part[..count]).is_err() {
            return;
        }
    }
}
