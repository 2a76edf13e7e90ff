//! SIGTERM: what is under way is finished, what has not ended by the deadline is cut, and the exit code is 0.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Key, LineReply, PATIENCE, Request, TestGateway, Wire, wait_for};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// Lets the upstream send `first`, and `other` once the sender says so.
fn answer_in_two_halves(gateway: &TestGateway) -> Sender<()> {
    let (open, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    gateway.api_upstream.on("/", move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        opened.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        exchange.send("other");
    });
    open
}

fn wait_until_draining(gateway: &TestGateway) {
    wait_for("readiness to end", || {
        let answer = gateway.ask_ops("/readyz");
        (answer.status == 503).then(|| assert_eq!(answer.text(), "draining\n"))
    });
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Kind, flags, stream and payload of the next frame.
fn read_frame(wire: &mut Wire) -> (u8, u8, u32, Vec<u8>) {
    let head = wire.read_exactly(9);
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    (head[3], head[4], stream, wire.read_exactly(length))
}

/// Reads on to the next frame that says something, and answers settings and pings.
fn next_frame(wire: &mut Wire) -> (u8, u8, u32, Vec<u8>) {
    loop {
        let (kind, flags, stream, payload) = read_frame(wire);
        match kind {
            PING if flags & ACK == 0 => wire.send(frame(PING, ACK, 0, &payload)),
            SETTINGS if flags & ACK == 0 => wire.send(frame(SETTINGS, ACK, 0, b"")),
            DATA | HEADERS | GO_AWAY => return (kind, flags, stream, payload),
            _ => {}
        }
    }
}

/// `GET /` as a block of fields (RFC 7541): indexed where the static table has it, literal otherwise.
fn get_block(key: &Key) -> Vec<u8> {
    let literal =
        |front: &[u8], value: &str| [front, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let authority = literal(&[0x41], "api.example");
    let authorization = literal(&[0x1f, 0x08], &key.authorization());
    [&[0x82, 0x86, 0x84][..], &authority, &authorization].concat()
}

#[test]
fn an_http2_connection_gets_goaway_and_its_streams_finish() {
    let (gateway, key) = gateway_with_key();
    let open = answer_in_two_halves(&gateway);
    let mut wire = gateway.connect("api");
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.send(frame(SETTINGS, 0, 0, b""));
    wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &get_block(&key)));
    assert_eq!(next_frame(&mut wire).0, HEADERS);
    let (kind, flags, stream, payload) = next_frame(&mut wire);
    assert_eq!((kind, flags & END_STREAM, stream, payload.as_slice()), (DATA, 0, 1, &b"first"[..]));
    gateway.process().terminate();
    let (kind, _, _, payload) = next_frame(&mut wire);
    assert_eq!((kind, &payload[4..8]), (GO_AWAY, &[0; 4][..]), "GOAWAY without an error");
    wait_until_draining(&gateway);
    open.send(()).unwrap();
    let mut body = Vec::new();
    loop {
        let (kind, flags, stream, payload) = next_frame(&mut wire);
        if (kind, stream) == (DATA, 1) {
            body.extend_from_slice(&payload);
            if flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(body, b"other");
    let (status, log, _) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_kept_alive_connection_ends_behind_the_answer_under_way_and_no_new_one_is_taken() {
    let (gateway, key) = gateway_with_key();
    let open = answer_in_two_halves(&gateway);
    let request = Request::get("/").authorization(&key.authorization());
    let mut wire = gateway.connect("api");
    wire.send(request.to_bytes());
    assert_eq!(wire.read_answer_head().status, 200);
    assert_eq!(wire.read_exactly(5), b"first");
    gateway.process().terminate();
    wait_until_draining(&gateway);
    // A reload comes too late now, and ends nothing.
    gateway.process().hang_up();
    wait_for("the listener to close", || TcpStream::connect(gateway.address("api")).is_err().then_some(()));
    open.send(()).unwrap();
    assert_eq!(wire.read_exactly(5), b"other");
    wire.expect_closed();
    let (status, log, installation) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(installation.api_upstream.requests().len(), 1);
}

#[test]
fn an_isproxy_session_is_ended_between_replies() {
    let (gateway, key) = gateway_with_key();
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut waiting = gateway.isproxy_session(&key.login());
    let mut idle = gateway.isproxy_session(&key.login());
    waiting.send("IS one.example\r\nIS two.example\r\n");
    gateway.isproxy_upstream.wait_for_lines(2);
    gateway.process().terminate();
    idle.expect_closed();
    waiting.expect_silence(Duration::from_millis(100));
    gateway.isproxy_upstream.send(0, "two.example available\r\none.example error\r\n");
    assert_eq!(waiting.read_line(), "two.example available");
    assert_eq!(waiting.read_line(), "one.example error");
    waiting.expect_closed();
    let (status, log, _) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn what_has_not_ended_by_the_deadline_is_cut_and_the_exit_code_is_0() {
    let (mut gateway, key) = gateway_with_key();
    // The deadline of a reloaded configuration counts.
    gateway.reload(|config| config["limits"]["drain_seconds"] = json!(1));
    gateway.api_upstream.on("/", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        exchange.wait_for_close();
    });
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut stream = gateway.connect("api");
    stream.send(Request::get("/").authorization(&key.authorization()).to_bytes());
    assert_eq!(stream.read_answer_head().status, 200);
    let mut session = gateway.isproxy_session(&key.login());
    session.send_line("IS never.example");
    gateway.isproxy_upstream.wait_for_lines(1);
    let mut silent = gateway.connect("api-tls");
    let asked = Instant::now();
    let (status, log, _) = gateway.stop();
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&took), "it took {took:?}: {log}");
    assert_eq!(stream.read_chunk(), Some(b"data: 1\n\n".to_vec()));
    assert_eq!(stream.read_chunk(), None, "a stream that is cut has no last chunk");
    session.expect_closed();
    silent.expect_closed();
}
