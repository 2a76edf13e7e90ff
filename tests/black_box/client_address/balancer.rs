//! The PROXY protocol: who may speak it, what becomes of who does not, and what comes behind a header.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    CLIENT, Front, INNER, OTHER_CLIENT, gateway, gateway_with, logged_client, v2, version_1, version_2,
};
use crate::harness::{Authority, Request, TestGateway, Wire};

const DOORS: [&str; 3] = ["api-proxied", "api-tls-proxied", "isproxy-proxied"];

/// The peer must close, whether or not it resets because it left bytes unread.
fn send_and_expect_closed(mut wire: Wire, bytes: &[u8]) {
    // The peer may be gone before all is sent.
    let _ = wire.try_send(bytes);
    wire.expect_closed();
}

#[test]
fn s15_strangers_are_closed_unanswered_where_a_header_is_needed() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/").authorization(&key.authorization()).to_bytes();
    for door in DOORS {
        for header in [version_1(CLIENT), version_2(CLIENT), v2(0x20, 0, &[]), Vec::new()] {
            send_and_expect_closed(gateway.connect(door), &[&header[..], &request].concat());
        }
    }
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn s15_what_is_no_header_closes_at_once() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let long = v2(0x21, 0x11, &[0; 5_000]);
    let beginnings = [
        Request::get("/").authorization(&key.authorization()).to_bytes(),
        format!("{}\r\n", key.login()).into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
        b"PROXY TCP4 example.com 127.0.0.1 1 2\r\n".to_vec(),
        [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
        v2(0x11, 0x11, &[0; 12]),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x11, &[0; 4]),
        long,
    ];
    for door in DOORS {
        for beginning in &beginnings {
            send_and_expect_closed(gateway.connect_from(INNER, door), beginning);
        }
    }
    let reasons: Vec<_> = gateway.access_log(beginnings.len());
    assert!(reasons.iter().all(|line| line["reason"] == "proxy_header_refused"), "{reasons:?}");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn s15_a_missing_or_half_header_closes_within_five_seconds() {
    let gateway = gateway();
    let began = Instant::now();
    let mut waiting: Vec<Wire> = DOORS
        .into_iter()
        .flat_map(|door| {
            [&b""[..], b"PROXY TCP4 192.0.2.7", &b"\r\n\r\n\0\r\nQUIT\n\x21"[..]].map(|part| (door, part))
        })
        .map(|(door, part)| {
            let mut wire = gateway.connect_from(INNER, door);
            wire.send(part);
            wire
        })
        .collect();
    for wire in &mut waiting {
        wire.expect_closed();
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(4_500) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn s15_a_header_where_none_is_read_is_400_or_closed() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "192.0.2.0/24"]).expect_success();
    let request = Request::get("/").authorization(&key.authorization()).to_bytes();
    for peer in ["127.0.0.1", INNER] {
        for header in [version_1(CLIENT), version_2(CLIENT)] {
            let mut wire = gateway.connect_from(peer, "api");
            let _ = wire.try_send([&header[..], &request].concat());
            let answer = String::from_utf8_lossy(&wire.read_to_end()).into_owned();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
            let mut wire = gateway.connect_from(peer, "api-tls");
            let _ = wire.try_send(&header);
            let answer = wire.read_to_end();
            assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
            let mut wire = gateway.connect_from(peer, "isproxy");
            let _ = wire.try_send([&header[..], format!("{}\r\nCLOSE\r\n", key.login()).as_bytes()].concat());
            let answer = String::from_utf8_lossy(&wire.read_to_end()).into_owned();
            assert!(answer.lines().all(|line| line.starts_with("400 ")), "{answer}");
        }
    }
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn s15_local_and_unknown_leave_the_peers_address() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/").authorization(&key.authorization());
    let unknown = b"PROXY UNKNOWN 192.0.2.7 127.0.0.1 1 2\r\n".to_vec();
    let local = v2(0x20, 0x11, &[192, 0, 2, 7, 127, 0, 0, 1, 0, 1, 0, 2]);
    for header in [unknown, local, v2(0x20, 0, &[]), v2(0x21, 0, &[])] {
        let mut wire = gateway.connect_from(INNER, "api-proxied");
        wire.send(&header);
        assert_eq!(wire.exchange(&request).status, 200);
        let seen = gateway.api_upstream.last_request();
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some(INNER), "{}", header.escape_ascii());
    }
}

#[test]
fn the_source_that_a_header_names_takes_the_peers_place() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/").authorization(&key.authorization());
    // Straight behind the balancer stands the client, whose own headers count for nothing.
    let claiming = request.clone().field("X-Forwarded-For", "10.0.0.1");
    for client in [CLIENT, "2001:db8::7"] {
        for front in [Front::ProxyV1, Front::ProxyV2] {
            let mut wire = front.connect(&gateway, client, "api-proxied");
            for request in [&request, &claiming, &request] {
                assert_eq!(wire.exchange(request).status, 200);
                let seen = gateway.api_upstream.last_request();
                assert_eq!(seen.field("x-forwarded-for").as_deref(), Some(client), "{front:?}");
            }
        }
    }
    // A trusted proxy behind the balancer is believed in its turn.
    let mut wire = Front::ProxyV2.connect(&gateway, super::OUTER, "api-proxied");
    let answer = wire.exchange(&request.field("X-Forwarded-For", CLIENT));
    assert_eq!(answer.status, 200);
    let seen = gateway.api_upstream.last_request();
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("192.0.2.7, 127.0.0.11"));
    assert_eq!(logged_client(&gateway, &answer), CLIENT);
}

#[test]
fn tls_begins_behind_the_header_at_both_doors() {
    let gateway = gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for front in [Front::ProxyV1, Front::ProxyV2] {
        let wire = front.connect(&gateway, CLIENT, "api-tls-proxied");
        let mut wire = wire.into_tls(Authority::shared().client(&["http/1.1"]));
        assert_eq!(wire.exchange(&Request::get("/").authorization(&key.authorization())).status, 200);
        let seen = gateway.api_upstream.last_request();
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some(CLIENT));
        assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("https"));
        let mut session = front.isproxy(&gateway, CLIENT).start_tls(Authority::shared().client(&[]));
        assert_eq!(session.ask(&key.login()), "100 Login ok");
        assert_eq!(session.ask("IS example.com"), "example.com available");
    }
}

#[test]
fn s75_connections_are_counted_by_the_peer_whatever_its_header_says() {
    let gateway: TestGateway = gateway_with(|config| config["limits"]["connections_per_address"] = json!(2));
    let mut first = Front::ProxyV1.isproxy(&gateway, CLIENT);
    let mut second = Front::ProxyV2.isproxy(&gateway, OTHER_CLIENT);
    assert_eq!(first.ask("IS example.com"), "400 not authenticated");
    assert_eq!(second.ask("IS example.com"), "400 not authenticated");
    send_and_expect_closed(gateway.connect_from(INNER, "isproxy-proxied"), &version_1("198.51.100.1"));
}
