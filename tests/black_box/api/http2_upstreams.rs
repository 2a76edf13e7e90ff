//! Upstreams that speak HTTP/2: chosen by ALPN, told the same as others, and checked like others.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Authority, Http2Upstream, Key, Request, TestGateway, TlsUpstream, Validity, wait_for};

fn upstream() -> Http2Upstream {
    Http2Upstream::start(&Authority::shared().server("127.0.0.1", Validity::Now))
}

fn gateway_before(url: &str, change: impl FnOnce(&mut Value)) -> (TestGateway, Key) {
    let gateway = TestGateway::configured(|config| {
        config["threads"] = json!(1);
        config["upstreams"][0]["servers"] = json!([url]);
        config["upstreams"][0]["tls"] = json!({ "ca": "ca.crt" });
        change(&mut config["upstreams"][0]);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

#[test]
fn a_server_that_chooses_http2_is_told_the_same_on_one_connection_for_all_clients() {
    let upstream = upstream();
    let (gateway, key) = gateway_before(&upstream.url(), |_| {});
    let request = Request::new("POST", "/v2//x/%2e?a=1&a=2")
        .authorization(&key.authorization())
        .field("X-Auth-User", "root")
        .field("Connection", "te, x-hop")
        .field("TE", "gzip, trailers")
        .field("X-Hop", "1")
        .field("X-Customer", "johndoe")
        .body(b"a body");
    let mut wires: Vec<_> = (0..4).map(|_| gateway.connect("api")).collect();
    for wire in &mut wires {
        let answer = wire.exchange(&request);
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, "a body", true));
        assert_eq!(answer.field("via"), Some("2.0 latchkey"));
    }
    assert_eq!(upstream.connections(), 1);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 4);
    let (head, fields) = (&seen[0].head, &seen[0].head.headers);
    assert_eq!((head.method.as_str(), seen[0].body.as_slice()), ("POST", b"a body".as_slice()));
    assert_eq!(head.uri.to_string(), "https://api.example/v2//x/%2e?a=1&a=2");
    for (name, expected) in [
        ("x-auth-user", Some("admin")),
        ("x-auth-customer", Some("acme")),
        ("x-auth-method", Some("api-key")),
        ("x-customer", Some("johndoe")),
        ("x-forwarded-host", Some("api.example")),
        ("via", Some("1.1 latchkey")),
        ("te", Some("trailers")),
        ("content-length", Some("6")),
        ("authorization", None),
        ("connection", None),
        ("host", None),
        ("x-hop", None),
    ] {
        let values: Vec<_> = fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values, expected.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn s69_trailers_pass_both_ways_as_trailers_without_claims() {
    let upstream = upstream();
    let (gateway, key) = gateway_before(&upstream.url(), |_| {});
    let mut wire = gateway.connect("api");
    let head = Request::new("POST", "/v2/x")
        .authorization(&key.authorization())
        .field("TE", "trailers")
        .field("Trailer", "X-Check")
        .field("Transfer-Encoding", "chunked");
    wire.send(head.to_bytes());
    wire.send(b"3\r\nabc\r\n0\r\nX-Check: 9\r\nX_Auth_User: root\r\n\r\n");
    let answer = wire.read_answer();
    assert_eq!((answer.text().as_str(), answer.field("x-sum")), ("abc", None));
    let seen = &upstream.requests()[0];
    let trailers: Vec<_> =
        seen.trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(trailers, [("x-check", b"9".as_slice())]);
    assert_eq!(seen.head.headers.get("content-length"), None);
}

#[test]
fn a_server_that_does_not_offer_http2_gets_http1_and_so_does_one_that_must_not_be_asked() {
    let older = TlsUpstream::start(Authority::shared().server("127.0.0.1", Validity::Now));
    let (gateway, key) = gateway_before(&format!("https://{}", older.address()), |_| {});
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    assert!(older.requests()[0].head.starts_with("GET /v2/x HTTP/1.1\r\n"));

    let mut both = rustls::ServerConfig::clone(&Authority::shared().server("127.0.0.1", Validity::Now));
    both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let both = TlsUpstream::start(Arc::new(both));
    let (gateway, key) = gateway_before(&format!("https://{}", both.address()), |config| {
        config["http2"] = json!("never");
    });
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    assert!(both.requests()[0].head.starts_with("GET /v2/x HTTP/1.1\r\n"));
}

#[test]
fn a_server_that_must_speak_http2_and_does_not_is_502() {
    let older = TlsUpstream::start(Authority::shared().server("127.0.0.1", Validity::Now));
    let (gateway, key) = gateway_before(&format!("https://{}", older.address()), |config| {
        config["http2"] = json!("always");
    });
    gateway.api_get("/v2/x", &key.authorization()).assert_refusal(502, "ProviderConnectionError");
    assert!(older.requests().is_empty());
    let (_, log, _) = gateway.stop();
    assert!(log.contains("it does not speak HTTP/2"), "{log}");
}

#[test]
fn servers_that_speak_only_http2_are_health_checked() {
    let upstream = upstream();
    let (gateway, key) = gateway_before(&upstream.url(), |config| {
        config["http2"] = json!("always");
        config["health_check"] =
            json!({ "path": "/healthz", "interval_seconds": 1, "healthy_after": 1, "unhealthy_after": 1 });
    });
    let status = || gateway.api_get("/v2/x", &key.authorization()).status;
    assert_eq!(status(), 200);
    upstream.answer_with(500);
    wait_for("the server to be left out", || (status() == 503).then_some(()));
    upstream.answer_with(201);
    wait_for("the server to be asked again", || (status() == 201).then_some(()));
    let checks = upstream.requests().into_iter().filter(|request| request.head.uri.path() == "/healthz");
    assert!(checks.count() >= 2);
}
