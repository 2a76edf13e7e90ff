//! Bodies on their way: nothing is held back in either direction.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::harness::{Key, PATIENCE, Request, TestGateway};

fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// A gate that the test opens for a handler.
fn gate() -> (Sender<()>, Mutex<Receiver<()>>) {
    let (open, opened) = channel();
    (open, Mutex::new(opened))
}

fn wait_at(gate: &Mutex<Receiver<()>>) {
    gate.lock().unwrap().recv_timeout(PATIENCE).expect("the test never opened the gate");
}

#[test]
fn an_answer_reaches_the_client_while_the_upstream_still_writes_it() {
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 10"] {
        let (gateway, key) = gateway_with_key();
        let (open, gate) = gate();
        let chunked = framing.starts_with("Transfer");
        gateway.api_upstream.on("/", move |exchange| {
            exchange.read_body();
            exchange.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
            exchange.send(if chunked { "5\r\nfirst\r\n" } else { "first" });
            wait_at(&gate);
            exchange.send(if chunked { "5\r\nother\r\n0\r\n\r\n" } else { "other" });
        });
        let mut wire = gateway.connect_tls();
        wire.send(Request::get("/").authorization(&key.authorization()).to_bytes());
        let head = wire.read_answer_head();
        assert_eq!(head.status, 200);
        if chunked {
            assert_eq!(wire.read_chunk().unwrap(), b"first");
            open.send(()).unwrap();
            assert_eq!(wire.read_chunk().unwrap(), b"other");
            assert_eq!(wire.read_chunk().unwrap(), b"");
        } else {
            assert_eq!(head.field("content-length"), Some("10"));
            assert_eq!(wire.read_exactly(5), b"first");
            open.send(()).unwrap();
            assert_eq!(wire.read_exactly(5), b"other");
        }
    }
}

#[test]
fn a_request_reaches_the_upstream_while_the_client_still_writes_it() {
    let (gateway, key) = gateway_with_key();
    let (sender, parts) = channel();
    let sender = Mutex::new(sender);
    gateway.api_upstream.on("/", move |exchange| {
        while let Some(part) = exchange.read_body_part() {
            sender.lock().unwrap().send(part).unwrap();
        }
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let mut wire = gateway.connect("api");
    let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: {}\r\n", key.authorization());
    wire.send(format!("{head}Content-Length: 10\r\n\r\nfirst"));
    assert_eq!(parts.recv_timeout(PATIENCE).unwrap(), b"first");
    wire.send("other");
    assert_eq!(parts.recv_timeout(PATIENCE).unwrap(), b"other");
    assert_eq!(wire.read_answer().status, 200);

    wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"));
    assert_eq!(parts.recv_timeout(PATIENCE).unwrap(), b"first");
    wire.send("5\r\nother\r\n0\r\n\r\n");
    assert_eq!(parts.recv_timeout(PATIENCE).unwrap(), b"other");
    assert_eq!(wire.read_answer().status, 200);
}

#[test]
fn both_directions_flow_at_once() {
    let (gateway, key) = gateway_with_key();
    gateway.api_upstream.on("/", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(part) = exchange.read_body_part() {
            let echoed = [format!("{:x}\r\n", part.len()).as_bytes(), &part, b"\r\n"].concat();
            exchange.send(echoed);
        }
        exchange.send("0\r\n\r\n");
    });
    let mut wire = gateway.connect("api");
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        key.authorization()
    ));
    assert_eq!(wire.read_answer_head().status, 200);
    for word in ["one", "two", "three"] {
        wire.send(format!("{:x}\r\n{word}\r\n", word.len()));
        assert_eq!(wire.read_chunk().unwrap(), word.as_bytes());
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.read_chunk().unwrap(), b"");
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let (gateway, key) = gateway_with_key();
    let body: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
    gateway.api_upstream.on("/", |exchange| {
        let body = exchange.read_body();
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        exchange.send(&body);
    });
    let mut wire = gateway.connect_tls();
    let answer = wire.exchange(&Request::new("PUT", "/").authorization(&key.authorization()).body(&body));
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    assert!(answer.body == body);
}

#[test]
fn s69_trailers_pass_as_trailers_in_both_directions() {
    let (gateway, key) = gateway_with_key();
    gateway.api_upstream.on("/", |exchange| {
        exchange.read_body();
        exchange.send(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
        );
    });
    let mut wire = gateway.connect("api");
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: {}\r\nTE: trailers\r\nConnection: TE\r\n\
         Trailer: X-Client-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Client-Sum: 7\r\n\r\n",
        key.authorization()
    ));
    let answer = wire.read_answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.field("x-sum"), None, "merged into the head: {answer:?}");
    assert_eq!(answer.trailers.len(), 1, "{answer:?}");
    assert!(answer.trailers[0].0.eq_ignore_ascii_case("x-sum") && answer.trailers[0].1 == "42", "{answer:?}");
    let seen = gateway.api_upstream.only_request();
    assert_eq!(seen.field("x-client-sum"), None, "merged into the head: {}", seen.head);
    let body = String::from_utf8(seen.body).unwrap().to_ascii_lowercase();
    assert!(body.ends_with("0\r\nx-client-sum: 7\r\n\r\n"), "{body:?}");
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: {}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
        key.authorization()
    ));
    assert_eq!(wire.read_answer().status, 100);
    wire.send("body");
    assert_eq!(wire.read_answer().status, 200);
    assert_eq!(gateway.api_upstream.only_request().body, b"body");
}

#[test]
fn expect_100_continue_with_a_wrong_key_is_refused_without_asking_for_the_body() {
    let (gateway, _) = gateway_with_key();
    let mut wire = gateway.connect("api");
    wire.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nAuthorization: ApiKey wrong\r\nExpect: 100-continue\r\n\
         Content-Length: 1000000000\r\n\r\n",
    );
    wire.read_answer().assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn an_unknown_expectation_is_refused() {
    let (gateway, key) = gateway_with_key();
    let request = Request::get("/").authorization(&key.authorization()).field("Expect", "200-ok");
    gateway.connect("api").exchange(&request).assert_refusal(417, "InvalidMessage");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn an_endless_stream_is_delivered_event_by_event() {
    let (gateway, key) = gateway_with_key();
    let (next, gate) = gate();
    gateway.api_upstream.on("/v2/stream", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for number in 0..5 {
            wait_at(&gate);
            exchange.send(format!("data: {number}\n\n"));
        }
        exchange.close();
    });
    let mut wire = gateway.connect("api");
    wire.send(Request::get("/v2/stream").authorization(&key.authorization()).to_bytes());
    let head = wire.read_answer_head();
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    for number in 0..5 {
        next.send(()).unwrap();
        assert_eq!(wire.read_chunk().unwrap(), format!("data: {number}\n\n").as_bytes());
    }
    assert_eq!(wire.read_chunk().unwrap(), b"");
}

#[test]
fn s72_a_client_that_leaves_ends_the_upstreams_request() {
    let (gateway, key) = gateway_with_key();
    let (left, leaves) = channel();
    let left = Mutex::new(left);
    gateway.api_upstream.on("/", move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        exchange.wait_for_close();
        left.lock().unwrap().send(()).unwrap();
    });
    let mut wire = gateway.connect("api");
    wire.send(Request::get("/").authorization(&key.authorization()).to_bytes());
    assert_eq!(wire.read_answer_head().status, 200);
    assert_eq!(wire.read_chunk().unwrap(), b"first");
    drop(wire);
    leaves.recv_timeout(PATIENCE).expect("the upstream's connection stayed open");
}
