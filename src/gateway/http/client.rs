//! Who is at the other end of a connection, and from whom each of its requests is.
//!
//! The two differ behind a proxy, whose kept-alive connection carries the requests of many clients. Who is believed
//! is the configuration's matter, how a chain is read `net::client_ip`'s.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use http::header::GetAll;
use http::{HeaderMap, HeaderValue, Response};

use super::deadlines::ConnectionWatch;
use super::denial::Fault;
use super::door_body::DoorBody;
use super::headers::{ForwardedFacts, X_FORWARDED_FOR, X_FORWARDED_PROTO};
use super::upgrade::Tunnels;
use crate::model::{ClientIp, TrustedProxies};
use crate::net::{Drain, client_ip};

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Anybody on the way can read it.
    Plaintext,
    /// TLS, ended here.
    Tls,
}

/// One client's connection.
pub struct ClientConnection {
    /// Who holds the other end.
    peer: ClientIp,
    /// Where it comes from: the peer, or what the PROXY protocol says.
    source: IpAddr,
    /// From whom its requests are, if nobody else is believed.
    direct: Origin,
    /// How it is secured.
    pub transport: Transport,
    /// Its deadlines.
    pub watch: Rc<ConnectionWatch>,
    /// Begins when the listener takes no further requests.
    pub drain: Drain,
    /// What became of upgraded requests.
    pub tunnels: Tunnels,
    /// The answer to the request that comes next, which was asked for already.
    carried: Cell<Option<Box<Response<DoorBody>>>>,
}

/// From whom a request is.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who is judged by allow-lists and throttles.
    pub client_ip: ClientIp,
    /// What the upstream is told about it.
    pub forwarded: ForwardedFacts,
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl ClientConnection {
    /// A connection from `source`, as `peer` at its other end says.
    pub fn new(
        peer: IpAddr,
        source: IpAddr,
        transport: Transport,
        watch: Rc<ConnectionWatch>,
        drain: Drain,
    ) -> Rc<Self> {
        let client_ip = ClientIp::new(source);
        let proto = match transport {
            Transport::Plaintext => "http",
            Transport::Tls => "https",
        };
        let direct = Origin {
            client_ip,
            forwarded: ForwardedFacts {
                forwarded_for: chain_value(&[client_ip]),
                forwarded_proto: HeaderValue::from_static(proto),
            },
        };
        Rc::new(Self {
            peer: ClientIp::new(peer),
            source,
            direct,
            transport,
            watch,
            drain,
            tunnels: Tunnels::default(),
            carried: Cell::default(),
        })
    }

    /// Keeps the answer to a request that hyper will read once more.
    pub fn carry(&self, answer: Response<DoorBody>) {
        self.carried.set(Some(Box::new(answer)));
    }

    /// Takes out the answer to the request that hyper has just read, if there is one already.
    pub fn take_carried(&self) -> Option<Response<DoorBody>> {
        self.carried.take().map(|answer| *answer)
    }

    /// From whom its requests are, if nobody else is believed.
    pub const fn direct(&self) -> &Origin {
        &self.direct
    }

    /// The proxy or balancer from which we have it that a request is `client`'s; `None`: the client is the peer.
    pub fn told_by(&self, client: ClientIp) -> Option<ClientIp> {
        [self.source_ip(), self.peer].into_iter().find(|address| *address != client)
    }

    /// The connection's source as the client: what stands until a request's head is read.
    pub const fn source_ip(&self) -> ClientIp {
        self.direct.client_ip
    }

    /// Does the connection come from a proxy among `trusted`, whose word counts?
    pub fn is_from(&self, trusted: &TrustedProxies) -> bool {
        trusted.contains(self.source)
    }

    /// From whom the request with these `headers`, as they came, is. A stranger's forwarding fields are not even
    /// read; of a proxy among `trusted`, `X-Forwarded-For` and `X-Forwarded-Proto` are, and must be readable.
    pub fn origin(&self, headers: &HeaderMap, trusted: &TrustedProxies) -> Result<Cow<'_, Origin>, Fault> {
        if !self.is_from(trusted) {
            return Ok(Cow::Borrowed(&self.direct));
        }
        let fields = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        let resolved = client_ip::resolve(self.source, trusted, fields).map_err(|error| {
            tracing::debug!(proxy = %self.source, %error, "a trusted proxy's header is refused");
            Fault::UnreadableForwarding
        })?;
        let proto = forwarded_proto(&headers.get_all(X_FORWARDED_PROTO))?;
        let forwarded = ForwardedFacts {
            forwarded_for: chain_value(&resolved.chain),
            forwarded_proto: proto.unwrap_or_else(|| self.direct.forwarded.forwarded_proto.clone()),
        };
        Ok(Cow::Owned(Origin { client_ip: resolved.client, forwarded }))
    }
}

/// `X-Forwarded-For` for the next one.
fn chain_value(chain: &[ClientIp]) -> HeaderValue {
    let texts: Vec<String> = chain.iter().map(ToString::to_string).collect();
    // The text of an address is always a header's value.
    HeaderValue::from_str(&texts.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// What a trusted proxy says of how the client came; `None`: nothing.
fn forwarded_proto(fields: &GetAll<'_, HeaderValue>) -> Result<Option<HeaderValue>, Fault> {
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(only), None) if is_scheme(only) => Ok(Some(only.clone())),
        _ => Err(Fault::UnreadableForwarding),
    }
}

/// What proxies write there: the scheme of the client's request, of a WebSocket too.
fn is_scheme(value: &HeaderValue) -> bool {
    [&b"http"[..], b"https", b"ws", b"wss"].iter().any(|scheme| value.as_bytes().eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use tokio::time::Instant;

    use super::*;
    use crate::config::Limits;

    /// The client, and what the upstream is told in `X-Forwarded-For` and `X-Forwarded-Proto`.
    fn told(source: &str, fields: &[(&str, &str)]) -> Result<(String, String, String), Fault> {
        let trusted = TrustedProxies::new("10.0.0.0/8".parse().unwrap());
        let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
        let source = source.parse().unwrap();
        let drain = Drain::default();
        let client = ClientConnection::new(source, source, Transport::Plaintext, watch, drain);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let origin = client.origin(&headers, &trusted)?;
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        Ok((
            origin.client_ip.to_string(),
            text(&origin.forwarded.forwarded_for),
            text(&origin.forwarded.forwarded_proto),
        ))
    }

    #[test]
    fn whoever_told_of_a_client_is_known() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        for (peer, source, client, told_by) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7", None),
            // By X-Forwarded-For, by the PROXY protocol, by both.
            ("10.0.0.1", "10.0.0.1", "192.0.2.7", Some("10.0.0.1")),
            ("10.0.0.1", "192.0.2.7", "192.0.2.7", Some("10.0.0.1")),
            ("10.0.0.1", "10.0.0.2", "192.0.2.7", Some("10.0.0.2")),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7", None),
        ] {
            let watch = ConnectionWatch::new(&Limits::default(), Instant::now());
            let (peer, source) = (address(peer), address(source));
            let drain = Drain::default();
            let client_connection = ClientConnection::new(peer, source, Transport::Plaintext, watch, drain);
            let told = client_connection.told_by(ClientIp::new(address(client)));
            assert_eq!(told, told_by.map(|by| ClientIp::new(address(by))), "{peer} {source} {client}");
        }
    }

    #[test]
    fn s14_a_strangers_forwarding_fields_are_not_read() {
        let claims =
            [("x-forwarded-for", "10.0.0.9"), ("x-forwarded-proto", "https"), ("forwarded", "for=1.2.3.4")];
        let expected = ("192.0.2.1".to_owned(), "192.0.2.1".to_owned(), "http".to_owned());
        assert_eq!(told("192.0.2.1", &claims), Ok(expected.clone()));
        assert_eq!(told("192.0.2.1", &[("x-forwarded-for", "?"), ("x-forwarded-proto", "?")]), Ok(expected));
    }

    #[test]
    fn s14_a_trusted_proxys_chain_and_scheme_are_believed_and_the_source_is_the_last() {
        for (fields, client, chain, proto) in [
            (&[][..], "10.0.0.1", "10.0.0.1", "http"),
            (&[("x-forwarded-for", "192.0.2.7")], "192.0.2.7", "192.0.2.7, 10.0.0.1", "http"),
            (
                &[
                    ("x-forwarded-for", "127.0.0.1, 192.0.2.7"),
                    ("x-forwarded-for", "10.0.0.2"),
                    ("x-forwarded-proto", "HTTPS"),
                ],
                "192.0.2.7",
                "192.0.2.7, 10.0.0.2, 10.0.0.1",
                "HTTPS",
            ),
            // Other fields say nothing, whoever sends them.
            (
                &[
                    ("forwarded", "for=192.0.2.7"),
                    ("x-real-ip", "192.0.2.7"),
                    ("x_forwarded_for", "192.0.2.7"),
                ],
                "10.0.0.1",
                "10.0.0.1",
                "http",
            ),
        ] {
            assert_eq!(
                told("10.0.0.1", fields),
                Ok((client.into(), chain.into(), proto.into())),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn s105_what_cannot_be_read_from_a_trusted_proxy_refuses_the_request() {
        for fields in [
            &[("x-forwarded-for", "unknown")][..],
            &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "nonsense")],
            &[("x-forwarded-proto", "gopher")],
            &[("x-forwarded-proto", "")],
            &[("x-forwarded-proto", "https, http")],
            &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")],
        ] {
            assert_eq!(told("10.0.0.1", fields), Err(Fault::UnreadableForwarding), "{fields:?}");
        }
    }
}
