//! An upstream that speaks HTTP/2 frame by frame, as a test says: with what a library would never send.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// The flag of DATA and HEADERS; the same bit is ACK in SETTINGS and PING.
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` in HPACK.
pub const OK: &[u8] = &[0x88];
/// `:status: 200` and `content-length: 2` in HPACK.
pub const OK_TWO_BYTES: &[u8] = b"\x88\x0f\x0d\x012";
/// `:status: 100` in HPACK, a literal.
pub const CONTINUE: &[u8] = &[0x08, 3, b'1', b'0', b'0'];
/// `:status: 200` and `content-type: text/event-stream` in HPACK.
pub const OK_EVENTS: &[u8] = b"\x88\x0f\x10\x11text/event-stream";

/// The upstream; `connections` counts those that the gateway made.
pub struct Http2Upstream {
    pub address: SocketAddr,
    connections: Rc<RefCell<usize>>,
}

/// One connection of the gateway.
pub struct Peer {
    stream: TcpStream,
    /// Which connection it is, counted from 0.
    pub number: usize,
    /// Does it answer pings?
    pub is_alive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

impl Http2Upstream {
    /// Takes up to `streams` requests at once on each connection, and behaves as told.
    pub async fn start(streams: u32, behaviour: impl AsyncFn(Peer) + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let connections = Rc::new(RefCell::new(0));
        let (counted, behaviour) = (Rc::clone(&connections), Rc::new(behaviour));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let number = counted.replace_with(|count| *count + 1);
                let behaviour = Rc::clone(&behaviour);
                tokio::task::spawn_local(async move {
                    let mut peer = Peer { stream, number, is_alive: true };
                    if peer.greet(streams).await.is_some() {
                        behaviour(peer).await;
                    }
                });
            }
        });
        Self { address, connections }
    }

    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }
}

impl Peer {
    async fn greet(&mut self, streams: u32) -> Option<()> {
        let mut preface = [0; 24];
        self.stream.read_exact(&mut preface).await.ok()?;
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        // SETTINGS_MAX_CONCURRENT_STREAMS
        let mut settings = vec![0, 3];
        settings.extend(streams.to_be_bytes());
        self.send(SETTINGS, 0, 0, &settings).await;
        Some(())
    }

    /// A gateway that went away is seen by the next read.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.stream.write_all(&frame).await;
    }

    /// A head, which ends the answer where `flags` say so.
    pub async fn head(&mut self, stream: u32, flags: u8, fields: &[u8]) {
        self.send(HEADERS, END_HEADERS | flags, stream, fields).await;
    }

    /// `200` and `ok`.
    pub async fn answer(&mut self, stream: u32) {
        self.head(stream, 0, OK_TWO_BYTES).await;
        self.send(DATA, END_STREAM, stream, b"ok").await;
    }

    pub async fn reset(&mut self, stream: u32, reason: u32) {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    /// Takes no stream beyond `last`.
    pub async fn go_away(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    /// The next frame of a request; what belongs to the connection is answered. `None`: the gateway closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match kind {
                SETTINGS if flags & 1 == 0 => self.send(SETTINGS, 1, 0, &[]).await,
                PING if flags & 1 == 0 && self.is_alive => self.send(PING, 1, 0, &payload).await,
                DATA | HEADERS | RST_STREAM => return Some(Frame { kind, flags, stream, payload }),
                _ => {}
            }
        }
    }

    /// The stream of the next request whose head or body ends; what comes before it is passed over.
    pub async fn whole_request(&mut self) -> Option<u32> {
        loop {
            let frame = self.next().await?;
            if frame.kind != RST_STREAM && frame.ends() {
                return Some(frame.stream);
            }
        }
    }

    /// The next reset stream with its reason.
    pub async fn next_reset(&mut self) -> Option<(u32, u32)> {
        loop {
            let frame = self.next().await?;
            if frame.kind == RST_STREAM {
                let reason = u32::from_be_bytes(frame.payload.try_into().unwrap());
                return Some((frame.stream, reason));
            }
        }
    }
}
