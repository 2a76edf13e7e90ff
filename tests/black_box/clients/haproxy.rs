//! HAProxy in front: as a balancer that speaks the PROXY protocol, and as two proxies one behind the other.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::json;

use crate::harness::{Authority, Request, Running, TestGateway, Wire, wait_for};

/// A running HAProxy; its sections are passed the addresses they listen on.
struct Haproxy {
    _process: Running,
    addresses: Vec<SocketAddr>,
}

impl Haproxy {
    /// Runs `sections`, in which `{0}`, `{1}` and so on stand for its own addresses.
    fn start(gateway: &TestGateway, sections: &str) -> Self {
        let count = sections.matches("bind ").count();
        // Held until all are found, so that no two are the same.
        let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<SocketAddr> = held.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let mut text = String::from(
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n",
        );
        text.push_str(sections);
        for (number, address) in addresses.iter().enumerate() {
            text = text.replace(&format!("{{{number}}}"), &address.to_string());
        }
        let file = gateway.path("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        drop(held);
        // Debian keeps it where only root looks for programs.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let process =
            Running::start(Command::new("haproxy").env("PATH", path).args(["-db", "-f"]).arg(&file));
        for address in &addresses {
            wait_for("HAProxy", || std::net::TcpStream::connect(address).ok());
        }
        Self { _process: process, addresses }
    }
}

/// A gateway whose API trusts two proxies, with listeners of both doors behind a balancer.
fn gateway() -> TestGateway {
    TestGateway::configured(|config| {
        let listeners = config["listeners"].as_array_mut().unwrap();
        for listener in listeners.iter_mut() {
            match listener["name"].as_str() {
                Some("api") => listener["trusted_proxies"] = json!(["127.0.0.10", "127.0.0.11"]),
                Some("api-tls" | "isproxy") => {
                    listener["trusted_proxies"] = json!(["127.0.0.10"]);
                    listener["proxy_protocol"] = json!("accept");
                }
                _ => {}
            }
        }
    })
}

#[test]
fn s15_haproxy_passes_both_doors_on_with_the_clients_address() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "127.0.0.2"]).expect_success();
    let (api, lines) = (gateway.address("api-tls"), gateway.address("isproxy"));
    let haproxy = Haproxy::start(
        &gateway,
        &format!(
            "listen api2\n  bind {{0}}\n  source 127.0.0.10\n  server s {api} send-proxy-v2 check inter 100ms\n\
             listen api1\n  bind {{1}}\n  source 127.0.0.10\n  server s {api} send-proxy\n\
             listen lines2\n  bind {{2}}\n  source 127.0.0.10\n  server s {lines} send-proxy-v2 check inter 100ms\n\
             listen lines1\n  bind {{3}}\n  source 127.0.0.10\n  server s {lines} send-proxy\n"
        ),
    );
    let request = Request::get("/").authorization(&key.authorization());
    for (client, status, line) in [("127.0.0.2", 200, "100 Login ok"), ("127.0.0.3", 403, "400 Login failed")]
    {
        for api in &haproxy.addresses[..2] {
            let wire = Wire::connect_from(client, *api).into_tls(Authority::shared().client(&["http/1.1"]));
            assert_eq!({ wire }.exchange(&request).status, status, "{client}");
        }
        for lines in &haproxy.addresses[2..] {
            let session = Wire::connect_from(client, *lines).start_tls(Authority::shared().client(&[]));
            assert_eq!({ session }.ask(&key.login()), line, "{client}");
        }
    }
    let chains: Vec<_> =
        gateway.api_upstream.requests().iter().map(|seen| seen.field("x-forwarded-for").unwrap()).collect();
    assert_eq!(chains, ["127.0.0.2", "127.0.0.2"]);
}

#[test]
fn s14_two_haproxies_in_a_row_tell_the_client_in_their_headers() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "127.0.0.2"]).expect_success();
    let api = gateway.address("api");
    let haproxy = Haproxy::start(
        &gateway,
        &format!(
            "listen outer\n  mode http\n  option forwardfor\n  bind {{0}}\n  source 127.0.0.11\n  server s {{1}}\n\
             listen inner\n  mode http\n  option forwardfor\n  bind {{1}}\n  source 127.0.0.10\n  server s {api}\n"
        ),
    );
    for (client, claim, status) in
        [("127.0.0.2", "127.0.0.3", 200), ("127.0.0.3", "127.0.0.2", 403), ("127.0.0.2", "10.0.0.1", 200)]
    {
        let request = Request::get("/").authorization(&key.authorization()).field("X-Forwarded-For", claim);
        let answer = Wire::connect_from(client, haproxy.addresses[0]).exchange(&request);
        assert_eq!(answer.status, status, "{client}");
    }
    for seen in gateway.api_upstream.requests() {
        let chain = seen.field("x-forwarded-for");
        assert_eq!(chain.as_deref(), Some("127.0.0.2, 127.0.0.11, 127.0.0.10"), "{}", seen.head);
    }
    assert_eq!(gateway.api_upstream.requests().len(), 2);
}
