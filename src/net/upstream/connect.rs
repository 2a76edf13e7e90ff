//! How a connection to a server comes about: its name is looked up, its addresses are tried, and TLS is begun, all
//! within one deadline.
//!
//! Names are looked up anew for each connection, so that a change of DNS reaches new connections at once and the kept
//! ones as they grow old. Called by the doors and their health checks.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::stream::UpstreamStream;
use crate::config::{Http2Use, Scheme};

/// Where a server is.
pub struct Target {
    host: String,
    port: u16,
    /// Its address where it was configured as one: then there is nothing to look up.
    literal: Option<SocketAddr>,
    /// Offers HTTP/1.1 alone.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    http2: Http2Use,
    /// Offers what `http2` says; `None`: HTTP/1.1 alone.
    http2_connector: Option<TlsConnector>,
    /// As the configuration has it.
    label: String,
}

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1: one request after the other.
    Http1,
    /// HTTP/2: requests side by side.
    Http2,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.label).finish()
    }
}

/// Why there is no connection; no byte of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name is not known, or no address took the connection.
    #[error("{0}")]
    Socket(io::Error),
    /// The TLS handshake failed: most often, its certificate is not to be trusted (S78).
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// HTTP/2 alone was allowed, and the server does not speak it.
    #[error("it does not speak HTTP/2: {0}")]
    NotHttp2(String),
    /// `limits.upstream_connect_milliseconds` were not enough.
    #[error("it did not answer in time")]
    TooLate,
}

impl Target {
    /// `host` at `port`, called `label` in logs and metrics; by TLS, with a certificate for the name, where both are given.
    pub fn new(
        host: &str,
        port: u16,
        label: String,
        tls: Option<(&Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Self {
        Self {
            tls: tls.map(|(config, name)| (TlsConnector::from(Arc::clone(config)), name)),
            host: host.to_owned(),
            port,
            literal: host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port)),
            http2: Http2Use::Never,
            http2_connector: None,
            label,
        }
    }

    /// The same, with HTTP/2 used as `http2` says; `tls` is what offers it.
    #[must_use]
    pub fn using(self, http2: Http2Use, tls: Option<&Arc<ClientConfig>>) -> Self {
        let http2_connector = tls.map(|config| TlsConnector::from(Arc::clone(config)));
        Self { http2, http2_connector, ..self }
    }

    /// In clear or by TLS?
    pub const fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// What connections by [`Self::connect_http`] speak; `None`: the server chooses.
    pub const fn settled_version(&self) -> Option<HttpVersion> {
        match (self.http2, self.scheme()) {
            (Http2Use::Always, _) => Some(HttpVersion::Http2),
            (Http2Use::Never, _) | (Http2Use::Auto, Scheme::Http) => Some(HttpVersion::Http1),
            (Http2Use::Auto, Scheme::Https) => None,
        }
    }

    /// `http://HOST:PORT`, `https://HOST:PORT` or, of `IsProxy`, `HOST:PORT`: for logs and metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// `HOST:PORT`, for the `Host` of the gateway's own requests.
    pub fn authority(&self) -> &str {
        self.label.split_once("://").map_or(&*self.label, |(_, authority)| authority)
    }

    /// Is TLS to be spoken?
    pub const fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A connection that speaks HTTP/1.1, or why none came about within `deadline`.
    pub async fn connect(&self, deadline: Duration) -> Result<UpstreamStream, ConnectError> {
        let due = Instant::now() + deadline;
        let opening = self.open(self.tls.as_ref().map(|(connector, _)| connector), due);
        timeout_at(due, opening).await.unwrap_or(Err(ConnectError::TooLate))
    }

    /// A connection that speaks what the configuration and the server agree on (ALPN, RFC 7301; without TLS the
    /// configuration alone decides, RFC 9113 §3.3), or why none came about within `deadline`.
    pub async fn connect_http(
        &self,
        deadline: Duration,
    ) -> Result<(UpstreamStream, HttpVersion), ConnectError> {
        let due = Instant::now() + deadline;
        let connector = self.http2_connector.as_ref().or(self.tls.as_ref().map(|(connector, _)| connector));
        let stream =
            timeout_at(due, self.open(connector, due)).await.unwrap_or(Err(ConnectError::TooLate))?;
        let version = match &stream {
            UpstreamStream::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => HttpVersion::Http2,
            UpstreamStream::Plain(_) if self.http2 == Http2Use::Always => HttpVersion::Http2,
            _ => HttpVersion::Http1,
        };
        if version == HttpVersion::Http1 && self.http2 == Http2Use::Always {
            return Err(ConnectError::NotHttp2("it did not choose h2 in the TLS handshake".to_owned()));
        }
        Ok((stream, version))
    }

    async fn open(
        &self,
        connector: Option<&TlsConnector>,
        due: Instant,
    ) -> Result<UpstreamStream, ConnectError> {
        let stream = self.connect_socket(due).await?;
        self.begin_tls_by(connector, stream).await
    }

    /// A connection on which nothing was sent yet, or why none came about until `due`, which the caller keeps too.
    pub async fn connect_socket(&self, due: Instant) -> Result<TcpStream, ConnectError> {
        self.open_socket(due).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => ConnectError::TooLate,
            _ => ConnectError::Socket(error),
        })
    }

    /// `stream` inside TLS, where TLS is to be spoken. The caller bounds the time.
    pub async fn begin_tls(&self, stream: TcpStream) -> Result<UpstreamStream, ConnectError> {
        self.begin_tls_by(self.tls.as_ref().map(|(connector, _)| connector), stream).await
    }

    async fn begin_tls_by(
        &self,
        connector: Option<&TlsConnector>,
        stream: TcpStream,
    ) -> Result<UpstreamStream, ConnectError> {
        let (Some(connector), Some((_, name))) = (connector, &self.tls) else {
            return Ok(UpstreamStream::Plain(stream));
        };
        let stream = connector.connect(name.clone(), stream).await.map_err(ConnectError::Tls)?;
        Ok(UpstreamStream::Tls(Box::new(stream)))
    }

    async fn open_socket(&self, due: Instant) -> io::Result<TcpStream> {
        let stream = if let Some(address) = self.literal {
            TcpStream::connect(address).await?
        } else {
            let found: Vec<SocketAddr> = lookup_host((self.host.as_str(), self.port)).await?.collect();
            connect_any(&found, due).await?
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Tries addresses in the resolver's order. Each has an even share of what time is left, so that one that swallows
/// packets leaves time for the others.
async fn connect_any(addresses: &[SocketAddr], due: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = due.saturating_duration_since(Instant::now()) / untried.max(1);
        untried = untried.saturating_sub(1);
        failure = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// An address that refuses, at least for now.
    fn refusing() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// An address that swallows what asks for a connection, because its queue is full; lives as long as the sockets.
    fn swallowing() -> (SocketAddr, Vec<Socket>) {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..8 {
            let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            waiting.set_nonblocking(true).unwrap();
            let _ = waiting.connect(&address.into());
            sockets.push(waiting);
        }
        (address, sockets)
    }

    fn target_at(host: &str, port: u16) -> Target {
        Target::new(host, port, format!("http://{host}:{port}"), None)
    }

    fn target(address: SocketAddr) -> Target {
        target_at(&address.ip().to_string(), address.port())
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried_within_the_deadline() {
        let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (silent, _sockets) = swallowing();
        let addresses = [refusing(), silent, live.local_addr().unwrap()];
        let began = Instant::now();
        let due = began + Duration::from_millis(900);
        let stream = connect_any(&addresses, due).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[2]);
        assert!(Instant::now() < due);
        let error = connect_any(&addresses[..1], due).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_any(&[], due).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_server_that_swallows_is_too_late_and_one_that_refuses_unreachable() {
        let (silent, _sockets) = swallowing();
        let short = Duration::from_millis(100);
        let error = target(silent).connect(short).await.unwrap_err();
        assert!(matches!(error, ConnectError::TooLate), "{error}");
        let error = target(refusing()).connect(short).await.unwrap_err();
        assert!(matches!(error, ConnectError::Socket(_)), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_for_each_connection() {
        let live = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = live.local_addr().unwrap().port();
        // `localhost` may have an IPv6 address too, where nobody listens: then that is passed over.
        let named = target_at("localhost", port);
        assert!(named.connect(Duration::from_secs(2)).await.is_ok());
        let nobody = target_at("nobody.invalid", port);
        assert!(matches!(nobody.connect(Duration::from_secs(2)).await, Err(ConnectError::Socket(_))));
    }
}
