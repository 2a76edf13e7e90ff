//! WebSockets at both ends of the gateway: an upstream that sends back what comes, and clients of both versions of HTTP.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::http_upstream::Exchange;
use super::{PATIENCE, Request, Wire};

/// What the tests' clients show as `Sec-WebSocket-Key`.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake for `target` as a client of HTTP/1.1 sends it.
pub fn handshake(target: &str, authorization: &str) -> Request {
    Request::get(target)
        .authorization(authorization)
        .field("Connection", "keep-alive, Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", KEY)
}

/// The `Sec-WebSocket-Accept` for `key` (RFC 6455 §4.2.2), computed apart from the gateway's own.
pub fn accept_for(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// The 101 that agrees to a handshake with `key`.
pub fn agreement(key: &str) -> String {
    let accept = accept_for(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The upstream's part: agrees, and sends every message back until the client closes.
pub fn echo_messages(exchange: &mut Exchange) {
    let mut socket = WebSocket::from_raw_socket(agree(exchange), Role::Server, Some(large()));
    while let Ok(message) = socket.read() {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).is_err() {
            return;
        }
    }
}

/// The upstream's part: agrees, and gives up the bare connection.
pub fn agree(exchange: &mut Exchange) -> impl Read + Write + use<> {
    let key = exchange.request.field("sec-websocket-key").expect("the gateway asks for a WebSocket");
    exchange.send(agreement(&key));
    exchange.detach()
}

/// Messages of a few MiB are taken whole.
fn large() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(Some(1 << 24)).max_message_size(Some(1 << 24))
}

impl Wire {
    /// Sends a handshake, which must be agreed to; from here on the connection is a WebSocket's.
    #[track_caller]
    pub fn switch_to_websocket(mut self, target: &str, authorization: &str) -> WebSocket<Self> {
        self.send(handshake(target, authorization).to_bytes());
        let head = self.read_answer_head();
        assert_eq!(head.status, 101, "{head:?}");
        assert_eq!(head.field("sec-websocket-accept"), Some(accept_for(KEY).as_str()));
        assert!(head.field("x-request-id").is_some(), "{head:?}");
        WebSocket::from_raw_socket(self, Role::Client, Some(large()))
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.read_some(into.len());
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_send(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that speaks HTTP/2 from its first byte, without TLS.
pub struct Http2Client {
    runtime: Runtime,
    sender: http2::SendRequest<Empty<Bytes>>,
    connection: JoinHandle<()>,
}

impl Http2Client {
    /// Connects, and waits until the gateway says that it takes extended CONNECT. The client lets so many bytes of a
    /// stream come before it has read any.
    pub fn connect(address: SocketAddr, window_bytes: u32) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, connection) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(window_bytes);
            let (sender, mut connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
            // Nothing wakes who waits for settings only, so they are looked for again and again.
            let settings = async {
                while !connection.is_extended_connect_protocol_enabled() {
                    let moment = tokio::time::timeout(Duration::from_millis(1), &mut connection).await;
                    assert!(moment.is_err(), "the connection ended: {moment:?}");
                }
            };
            tokio::time::timeout(PATIENCE, settings).await.expect("no SETTINGS_ENABLE_CONNECT_PROTOCOL came");
            let connection = tokio::spawn(async move { drop(connection.await) });
            (sender, connection)
        });
        Self { runtime, sender, connection }
    }

    /// Asks for a WebSocket; answers the head, and the stream where it is 200.
    pub fn websocket(
        &mut self,
        target: &str,
        authorization: Option<&str>,
    ) -> (http::Response<()>, Option<TokioIo<Upgraded>>) {
        let mut request = http::Request::connect(format!("http://api.example{target}"));
        request = request.extension(hyper::ext::Protocol::from_static("websocket"));
        request = request.header("sec-websocket-version", "13");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let asked = self.sender.send_request(request.body(Empty::new()).unwrap());
        self.runtime.block_on(async {
            let mut answer = tokio::time::timeout(PATIENCE, asked).await.expect("no answer").unwrap();
            let stream = match answer.status().as_u16() {
                200 => Some(TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap())),
                _ => None,
            };
            (answer.map(drop), stream)
        })
    }

    /// Does what is to be awaited.
    pub fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
        waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
    }

    /// Waits until the gateway has closed the connection.
    pub fn wait_for_close(mut self) {
        let connection = std::mem::replace(&mut self.connection, self.runtime.spawn(async {}));
        self.wait("the connection's end", connection).unwrap();
    }
}
