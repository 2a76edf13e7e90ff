//! One of each kind of thing that stays open, and how its end is seen.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::harness::{
    FrameClient, HttpUpstream, PATIENCE, Request, TestGateway, Wire, echo_messages, wait_for,
};

/// A body is a stream after its first second, and an ordinary request until then.
const STREAM_AFTER: Duration = Duration::from_millis(1_250);
/// How an HTTP/2 stream is reset (RFC 9113 §7).
const CANCEL: u32 = 8;
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
static FLOODS: AtomicUsize = AtomicUsize::new(0);

/// Something that is open: what it is, and what waits for its end. What its client does not read says `unread`.
pub type Open = (&'static str, Box<dyn FnOnce() + Send>);

/// Lets nothing but a revocation end what is open, and sockets be opened.
pub fn let_things_stay_open(config: &mut Value) {
    config["limits"]["http_body_idle_seconds"] = json!(3_600);
    config["limits"]["isproxy_idle_seconds"] = json!(3_600);
    for listener in config["listeners"].as_array_mut().unwrap() {
        if listener["name"] == "api" {
            let route = json!({ "path": "/socket", "upstream": "registry", "upgrades": ["websocket"] });
            listener["routes"].as_array_mut().unwrap().push(route);
        }
    }
}

/// Streams that say one thing and then nothing, and sockets that say everything again.
pub fn serve_open_things(upstream: &HttpUpstream) {
    upstream.on("/stream", |exchange| {
        exchange.send(STREAM);
        exchange.wait_for_close();
    });
    upstream.on("/socket", echo_messages);
}

/// Lets the youngest stream get old enough to be one.
pub fn let_streams_age() {
    let opened = Instant::now();
    wait_for("the streams' first second", || (opened.elapsed() > STREAM_AFTER).then_some(()));
}

/// One of each kind of thing that stays open; a further kind is a further line here.
pub fn open_everything(gateway: &TestGateway, login: &str, authorization: &str) -> Vec<Open> {
    let mut session = gateway.isproxy_session(login);
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let mut stream = gateway.connect("api");
    stream.send(Request::get("/stream").authorization(authorization).to_bytes());
    assert_eq!(stream.read_answer_head().status, 200);
    assert_eq!(stream.read_chunk().unwrap(), b"data: 1\n\n");
    let mut windowless = FrameClient::connect(gateway.address("api"), 0);
    let number = windowless.get("/stream", authorization);
    windowless.expect_head(number);
    let mut socket = open_socket(gateway, authorization);
    vec![
        ("IsProxy session", Box::new(move || session.expect_closed())),
        ("HTTP/1.1 stream", Box::new(move || stream.expect_closed())),
        ("WebSocket", Box::new(move || socket.get_mut().expect_closed())),
        ("HTTP/2 stream, unread", Box::new(move || assert_eq!(windowless.expect_reset(number), CANCEL))),
        ("HTTP/1.1 flood, unread", open_flood(gateway, authorization)),
    ]
}

/// A body without an end that nobody reads. Its client cannot see the end through all that lies before it; the upstream can.
fn open_flood(gateway: &TestGateway, authorization: &str) -> Box<dyn FnOnce() + Send> {
    let (ended, end) = channel();
    let ended = Mutex::new(ended);
    let target = format!("/flood/{}/", FLOODS.fetch_add(1, Ordering::Relaxed));
    gateway.api_upstream.on(&target, move |exchange| {
        exchange.send(STREAM);
        exchange.send_for_ever([b'x'; 16_384]);
        // The test may be over.
        let _ = ended.lock().unwrap().send(());
    });
    let mut unread = Wire::connect_narrow(gateway.address("api"));
    unread.send(Request::get(&target).authorization(authorization).to_bytes());
    assert_eq!(unread.read_answer_head().status, 200);
    Box::new(move || {
        end.recv_timeout(PATIENCE).expect("the upstream's connection stayed open");
        drop(unread);
    })
}

/// A WebSocket on which a message has come back.
pub fn open_socket(gateway: &TestGateway, authorization: &str) -> WebSocket<Wire> {
    let mut socket = gateway.connect("api").switch_to_websocket("/socket", authorization);
    expect_echo(&mut socket);
    socket
}

/// Says something on a socket and has it back.
pub fn expect_echo(socket: &mut WebSocket<Wire>) {
    socket.send(Message::text("again")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("again"));
}
