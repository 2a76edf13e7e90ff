//! SIGTERM: what is under way is finished, what has not ended by the deadline is cut, and the exit code is 0.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::harness::{FrameClient, Http2Frame, Key, LineReply, PATIENCE, Request, TestGateway, wait_for};

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

#[test]
fn an_http2_connection_gets_goaway_and_its_streams_finish() {
    let (gateway, key) = gateway_with_key();
    let open = answer_in_two_halves(&gateway);
    let mut client = FrameClient::connect(gateway.address("api"), 65_535);
    let stream = client.get("/", &key.authorization());
    client.expect_head(stream);
    assert_eq!(client.next_frame(), Some(Http2Frame::Data(stream, "first".len(), false)));
    gateway.process().terminate();
    assert_eq!(client.next_frame(), Some(Http2Frame::GoAway(0)), "without an error");
    wait_until_draining(&gateway);
    open.send(()).unwrap();
    let mut bytes = 0;
    loop {
        match client.next_frame() {
            Some(Http2Frame::Data(number, length, is_last)) if number == stream => {
                bytes += length;
                if is_last {
                    break;
                }
            }
            Some(Http2Frame::GoAway(0) | Http2Frame::Pong) => {}
            other => panic!("{other:?} instead of the rest of the answer"),
        }
    }
    assert_eq!(bytes, "other".len());
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

#[test]
fn no_address_stays_open_unserved_behind_a_reload_that_waits_for_the_store() {
    let (mut gateway, key) = gateway_with_key();
    let open = answer_in_two_halves(&gateway);
    let mut wire = gateway.connect("api");
    wire.send(Request::get("/").authorization(&key.authorization()).to_bytes());
    assert_eq!(wire.read_answer_head().status, 200);
    assert_eq!(wire.read_exactly(5), b"first");
    // A reload is in force when its row in the audit trail is to be written, which another program puts off.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = format!("sqlite:{}?mode=rw", gateway.path("data/latchkey.db").display());
    let mut other = runtime.block_on(SqliteConnection::connect(&store)).unwrap();
    runtime.block_on(sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other)).unwrap();
    gateway.reload_by_log(|config| config["limits"]["http_target_bytes"] = json!(64));
    let asked = Instant::now();
    gateway.process().terminate();
    let address = gateway.address("api");
    wait_for("the address to be given up", || TcpStream::connect(address).is_err().then_some(()));
    // A write waits for ten.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    runtime.block_on(other.close()).unwrap();
    open.send(()).unwrap();
    assert_eq!(wire.read_exactly(5), b"other");
    let (status, log, _) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}
