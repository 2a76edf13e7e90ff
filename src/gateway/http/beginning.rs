//! The beginning of a client's connection: where it comes from, TLS, and which HTTP it speaks.
//!
//! Each step has its deadline; no request is read here. Called by `server`.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::HttpDoor;
use super::deadlines::{ConnectionWatch, FIRST_READ_BYTES, Spoken, WatchedIo};
use crate::net::proxy_protocol::read_source;
use crate::net::shake_hands;

/// What an HTTP/2 client says first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A connection that is ready for its first request.
pub enum Begun {
    /// In clear.
    Plaintext(WatchedIo<TcpStream>, Spoken),
    /// Inside TLS.
    Tls(Box<WatchedIo<TlsStream<TcpStream>>>, Spoken),
}

/// Learns where the connection comes from, shakes hands, and finds out which HTTP is spoken; `None`: too slow, or not
/// what is spoken here.
pub async fn begin(
    door: Rc<HttpDoor>,
    mut stream: TcpStream,
    peer: SocketAddr,
    watch: &Rc<ConnectionWatch>,
) -> Option<(Begun, SocketAddr)> {
    let within = Duration::from_secs(door.limits.proxy_protocol_header_seconds.into());
    match read_source(&mut stream, peer, &door.entrance.client_address, within).await {
        Ok(source) => Some((begin_http(&door, stream, watch).await?, source)),
        Err(error) => {
            tracing::debug!(listener = door.name, %peer, %error, "a connection is closed");
            door.metrics.denied("proxy_header_refused");
            None
        }
    }
}

async fn begin_http(door: &HttpDoor, mut stream: TcpStream, watch: &Rc<ConnectionWatch>) -> Option<Begun> {
    let Some(tls) = door.tls.clone() else {
        let deadline = Duration::from_secs(door.limits.http_header_seconds.into());
        let (read_ahead, spoken) = timeout(deadline, read_preface(&mut stream)).await.ok()?.ok()?;
        return Some(Begun::Plaintext(WatchedIo::new(stream, read_ahead, Rc::clone(watch)), spoken));
    };
    let deadline = Duration::from_secs(door.limits.tls_handshake_seconds.into());
    let stream = timeout(deadline, shake_hands(tls, stream)).await.ok()?.ok()?;
    let spoken = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Spoken::Http2,
        _ => Spoken::Http1,
    };
    Some(Begun::Tls(Box::new(WatchedIo::new(stream, Bytes::new(), Rc::clone(watch))), spoken))
}

/// Reads until the two can be told apart without TLS (HTTP/2 with prior knowledge, RFC 9113 §3.3): once, as a rule, and
/// then all of a first request is here.
async fn read_preface(stream: &mut TcpStream) -> io::Result<(Bytes, Spoken)> {
    let mut read = Vec::with_capacity(FIRST_READ_BYTES);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read.starts_with(PREFACE) {
            return Ok((read.into(), Spoken::Http2));
        }
        if !PREFACE.starts_with(&read) {
            return Ok((read.into(), Spoken::Http1));
        }
    }
}
