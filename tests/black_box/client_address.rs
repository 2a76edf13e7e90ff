//! Whose request it is, behind trusted proxies (`X-Forwarded-For`) and behind a balancer (PROXY protocol).

mod balancer;
mod forwarded;
mod stories;

use std::net::IpAddr;

use serde_json::json;

use crate::harness::{Answer, Request, TestGateway, Wire, wait_for};

/// The trusted proxies: the outer one is nearer to the clients.
const OUTER: &str = "127.0.0.11";
const INNER: &str = "127.0.0.10";
/// Clients that only headers speak of.
const CLIENT: &str = "192.0.2.7";
const OTHER_CLIENT: &str = "203.0.113.9";

/// How a client's requests come to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    /// Through two proxies that append to `X-Forwarded-For`, with a lie of the client before it.
    TwoProxies,
    /// Through a balancer that speaks version 1 of the PROXY protocol.
    ProxyV1,
    /// The same with version 2.
    ProxyV2,
}

impl Front {
    const ALL: [Self; 3] = [Self::TwoProxies, Self::ProxyV1, Self::ProxyV2];

    /// GET `/` at the API, as it comes from `client`.
    fn api_get(self, gateway: &TestGateway, client: &str, authorization: &str) -> Answer {
        let request = Request::get("/").authorization(authorization);
        match self {
            Self::TwoProxies => {
                let request = request.field("X-Forwarded-For", &format!("127.0.0.1, {client}, {OUTER}"));
                gateway.connect_from(INNER, "api").exchange(&request)
            }
            Self::ProxyV1 | Self::ProxyV2 => self.connect(gateway, client, "api-proxied").exchange(&request),
        }
    }

    /// A session of the line protocol, as it comes from `client`. The protocol has no header of its own, so behind
    /// two proxies the inner one is a balancer that was told by the outer one.
    fn isproxy(self, gateway: &TestGateway, client: &str) -> Wire {
        self.connect(gateway, client, "isproxy-proxied")
    }

    fn connect(self, gateway: &TestGateway, client: &str, listener: &str) -> Wire {
        let mut wire = gateway.connect_from(INNER, listener);
        wire.send(match self {
            Self::TwoProxies | Self::ProxyV1 => version_1(client),
            Self::ProxyV2 => version_2(client),
        });
        wire
    }
}

/// A header of version 1 for a connection from `client`.
fn version_1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let here = if client.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {client} {here} 4711 443\r\n").into_bytes()
}

/// A header of version 2 for a connection from `client`, with a TLV behind the addresses.
fn version_2(client: &str) -> Vec<u8> {
    let (family, addresses) = match client.parse().unwrap() {
        IpAddr::V4(client) => (0x11, [client.octets().to_vec(), vec![127, 0, 0, 1]].concat()),
        IpAddr::V6(client) => (0x21, [client.octets().to_vec(), vec![0; 16]].concat()),
    };
    let payload = [&addresses[..], &[0x12, 0x67, 0x01, 0xbb], &[0x02, 0, 3], b"api"].concat();
    v2(0x21, family, &payload)
}

/// Any header of version 2.
fn v2(version_and_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version_and_command, family][..], &length, payload].concat()
}

/// A gateway whose usual API listeners trust two proxies, with further listeners behind a balancer.
fn gateway() -> TestGateway {
    gateway_with(|_| {})
}

fn gateway_with(change: impl FnOnce(&mut serde_json::Value)) -> TestGateway {
    TestGateway::configured(|config| {
        let listeners = config["listeners"].as_array_mut().unwrap();
        let trusted = json!([INNER, format!("{OUTER}/32")]);
        let mut proxied = Vec::new();
        for listener in listeners.iter_mut() {
            let name = listener["name"].as_str().unwrap().to_owned();
            if !["api", "api-tls", "isproxy"].contains(&name.as_str()) {
                continue;
            }
            let mut behind = listener.clone();
            if name != "isproxy" {
                listener["trusted_proxies"] = trusted.clone();
            }
            behind["trusted_proxies"] = trusted.clone();
            behind["name"] = json!(format!("{name}-proxied"));
            behind["proxy_protocol"] = json!("accept");
            proxied.push(behind);
        }
        listeners.extend(proxied);
        change(config);
    })
}

/// Whose request the access log says it was that got this answer.
fn logged_client(gateway: &TestGateway, answer: &Answer) -> String {
    let id = answer.field("x-request-id").unwrap();
    wait_for("the line of a request", || {
        let lines = gateway.access_log(1);
        let line = lines.iter().find(|line| line["request_id"] == id)?;
        Some(line["client_ip"].as_str().unwrap().to_owned())
    })
}
