//! From whom a request of the console is.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::model::{ClientIp, TrustedProxies};
use crate::net::client_ip::{self, UnreadableForwarding};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// From whom a request is; among the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleClient {
    /// Whom lists, throttles and the audit trail take for the client.
    pub client_ip: ClientIp,
    /// How the connection is secured that it came by, which may be a proxy's. What the browser sees is the public URL.
    pub transport: Transport,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Anybody on the way can read it.
    Plaintext,
    /// TLS, ended here.
    Tls,
}

/// Who sent a request with these `headers` over a connection from `source`.
pub(super) fn resolve(
    source: IpAddr,
    trusted: &TrustedProxies,
    headers: &HeaderMap,
) -> Result<ClientIp, UnreadableForwarding> {
    let fields = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    Ok(client_ip::resolve(source, trusted, fields)?.client)
}
