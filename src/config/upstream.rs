//! `upstreams:` where authorised traffic goes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use rustls_pki_types::ServerName;

use super::TlsFiles;
use crate::model::Secret;

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Unique name.
    pub name: String,
    /// What it speaks.
    pub protocol: UpstreamProtocol,
}

/// What an upstream speaks, with what that needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 or HTTP/2.
    Http(Box<HttpUpstream>),
    /// The `IsProxy` line protocol.
    IsProxy(IsProxyUpstream),
}

/// The most servers of one upstream.
pub const SERVERS_MAX: usize = 64;

/// An HTTP upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUpstream {
    /// The servers behind it: at least one, at most [`SERVERS_MAX`], each once.
    pub servers: Vec<HttpServer>,
    /// How the caller's identity is told.
    pub identity_headers: IdentityHeaders,
    /// Headers of Latchkey's own, in place of what the client sent.
    pub set_headers: SetHeaders,
    /// How its servers are asked regularly whether they are well; `None`: they are not.
    pub health_check: Option<HttpHealthCheck>,
    /// How `https` servers are verified.
    pub tls: UpstreamTls,
    /// Whether HTTP/2 is spoken to them.
    pub http2: Http2Use,
}

/// Whether HTTP/2 is spoken to an upstream's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Use {
    /// By TLS, where the server chooses it; HTTP/1.1 otherwise.
    Auto,
    /// HTTP/1.1 alone.
    Never,
    /// HTTP/2 alone: by TLS, or in clear with prior knowledge (RFC 9113 §3.3).
    Always,
}

impl HttpUpstream {
    /// The name that the certificate of `server` must be for; none for a server in clear.
    pub fn server_name(&self, server: &HttpServer) -> Option<ServerName<'static>> {
        let name = self.tls.server_name.as_ref().unwrap_or(&server.host);
        match server.scheme {
            Scheme::Http => None,
            Scheme::Https => ServerName::try_from(name.clone()).ok(),
        }
    }
}

/// How an upstream's servers are verified where TLS is spoken, and what they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities to trust, PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The certificate and key to show a server that asks; `None`: nothing.
    pub client: Option<TlsFiles>,
    /// The name that certificates must be for, instead of the server's host; it is sent as SNI too.
    pub server_name: Option<String>,
}

/// A `GET` that every server is asked regularly; 200 to 399 is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHealthCheck {
    /// What is asked for.
    pub path: PathAndQuery,
    /// When, and how often before it counts.
    pub schedule: HealthCheckSchedule,
}

/// When every server is checked, and what checks bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheckSchedule {
    /// From one check to the next.
    pub interval_seconds: u32,
    /// The longest that a check may take, connecting included.
    pub timeout_milliseconds: u32,
    /// Checks that must go well in a row before an unhealthy server is asked again.
    pub healthy_after: u32,
    /// Checks that must fail in a row before a server is unhealthy.
    pub unhealthy_after: u32,
}

/// Headers that every request to an upstream carries. Names are unique, and none frames a message, steers the
/// connection or tells who calls. Their values may be secrets: none is shown by `Debug`, and each is wiped when the
/// last request that carries it is gone, but for the bytes in buffers of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetHeaders(pub Vec<(HeaderName, HeaderValue)>);

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// By TLS, its certificate verified.
    Https,
}

/// `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServer {
    /// In clear or by TLS.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 80 or 443 where the URL has none.
    pub port: u16,
}

impl fmt::Display for HttpServer {
    /// As a URL, the port always there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        let scheme = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// Names of the headers that carry the identity; `None` drops one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The customer's handle; `X-Auth-Customer` by default.
    pub customer: Option<HeaderName>,
    /// The user's login name; `X-Auth-User` by default.
    pub user: Option<HeaderName>,
    /// The key's id, where a key was used; `X-Auth-Key-Id` by default.
    pub key_id: Option<HeaderName>,
    /// `api-key`, `password` or `session`; `X-Auth-Method` by default.
    pub method: Option<HeaderName>,
}

impl IdentityHeaders {
    /// The names in use.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.customer, &self.user, &self.key_id, &self.method].into_iter().flatten()
    }
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self {
            customer: Some(HeaderName::from_static("x-auth-customer")),
            user: Some(HeaderName::from_static("x-auth-user")),
            key_id: Some(HeaderName::from_static("x-auth-key-id")),
            method: Some(HeaderName::from_static("x-auth-method")),
        }
    }
}

/// An `IsProxy` upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsProxyUpstream {
    /// The servers behind it: at least one, at most [`SERVERS_MAX`], each once.
    pub servers: Vec<IsProxyServer>,
    /// How servers are verified behind `STARTTLS`; `None`: everything goes in clear.
    pub tls: Option<UpstreamTls>,
    /// What Latchkey itself logs in with: visible ASCII without a blank. `None`: it does not.
    pub login_key: Option<Secret<String>>,
    /// When its servers are checked; `None`: they are not.
    pub health_check: Option<HealthCheckSchedule>,
}

impl IsProxyUpstream {
    /// The name that the certificate of `server` must be for, if any certificate can be for it.
    pub fn server_name(&self, server: &IsProxyServer) -> Option<ServerName<'static>> {
        let own = self.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
        ServerName::try_from(own.unwrap_or(&server.host).clone()).ok()
    }
}

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsProxyServer {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl IsProxyServer {
    /// Is it on this very machine, as far as its name tells?
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl fmt::Display for IsProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
