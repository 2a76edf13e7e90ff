//! WebSockets through the API door: what passes, what makes none, and what ends one.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::harness::{
    Authority, Http2Client, Key, PATIENCE, Request, TestGateway, TlsUpstream, Validity, Wire, agree,
    agreement, echo_messages, handshake, wait_for,
};

/// How long the end of a WebSocket may take from its key's deletion.
const BAR: Duration = Duration::from_millis(1_200);
/// HTTP/2's own default.
const USUAL_WINDOW: u32 = 65_535;

/// A gateway whose API allows WebSockets below `/v2/`, with an upstream that sends messages back.
fn gateway_with(change: impl FnOnce(&mut Value)) -> (TestGateway, Key) {
    let gateway = TestGateway::configured(|config| {
        for listener in config["listeners"].as_array_mut().unwrap().iter_mut().take(2) {
            let route = json!({ "path": "/v2/", "upstream": "registry", "upgrades": ["websocket"] });
            listener["routes"].as_array_mut().unwrap().push(route);
        }
        change(config);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.api_upstream.on("/v2/socket", echo_messages);
    (gateway, key)
}

/// Every size at which the length of a frame is written differently, and large ones.
fn messages() -> Vec<Message> {
    let sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];
    let letters =
        |size: usize| (0..size).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect::<Vec<u8>>();
    let bytes =
        |size: usize| letters(size).into_iter().map(|letter| letter.wrapping_mul(7)).collect::<Vec<u8>>();
    sizes
        .into_iter()
        .flat_map(|size| {
            [Message::text(String::from_utf8(letters(size)).unwrap()), Message::binary(bytes(size))]
        })
        .collect()
}

fn talk(socket: &mut WebSocket<Wire>) {
    for message in messages() {
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "a message of {} bytes came back changed", message.len());
    }
    // A message in fragments, with a ping between them.
    let fragment =
        |text: &'static str, code, last| Message::Frame(Frame::message(text, OpCode::Data(code), last));
    socket.send(fragment("one ", Data::Text, false)).unwrap();
    socket.send(Message::Ping("?".into())).unwrap();
    socket.send(fragment("two ", Data::Continue, false)).unwrap();
    socket.send(fragment("three", Data::Continue, true)).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("?".into()));
    assert_eq!(socket.read().unwrap(), Message::text("one two three"));
    let farewell = CloseFrame { code: 4_001.into(), reason: "done".into() };
    socket.close(Some(farewell.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(farewell)));
}

#[test]
fn messages_of_every_size_and_kind_pass_over_http_1_1_plain_and_inside_tls() {
    let (gateway, key) = gateway_with(|_| {});
    for wire in [gateway.connect("api"), gateway.connect_tls()] {
        let mut socket = wire.switch_to_websocket("/v2/socket?a=1", &key.authorization());
        talk(&mut socket);
        // The server closes first, and that passes.
        socket.get_mut().expect_closed();
    }
    let lines = gateway.access_log(2);
    let sent: usize = messages().iter().map(Message::len).sum();
    for line in &lines {
        assert_eq!(
            (&line["status"], &line["method"], &line["target"]),
            (&json!(101), &json!("GET"), &json!("/v2/socket"))
        );
        assert_eq!((&line["reason"], &line["key_id"]), (&Value::Null, &json!(key.id)));
        let bytes = usize::try_from(line["response_bytes"].as_u64().unwrap()).unwrap();
        assert!((sent..sent + 1_000).contains(&bytes), "{bytes} of {sent}");
    }
    let seen = gateway.api_upstream.last_request();
    assert_eq!(seen.line(), "GET /v2/socket?a=1 HTTP/1.1");
    assert_eq!(seen.field("connection").as_deref(), Some("Upgrade"));
    assert_eq!(seen.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!((seen.field("authorization"), seen.field("x-auth-user").as_deref()), (None, Some("admin")));
}

#[test]
fn messages_of_every_size_pass_over_streams_of_http2_beside_one_another() {
    let (gateway, key) = gateway_with(|_| {});
    let mut client = Http2Client::connect(gateway.address("api"), USUAL_WINDOW);
    let config = WebSocketConfig::default().max_message_size(Some(1 << 24)).max_frame_size(Some(1 << 24));
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let (answer, stream) = client.websocket("/v2/socket", Some(&key.authorization()));
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("x-request-id"), "{answer:?}");
        for of_http1 in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!answer.headers().contains_key(of_http1), "{answer:?}");
        }
        let socket = WebSocketStream::from_raw_socket(stream.unwrap(), Role::Client, Some(config));
        sockets.push(client.wait("a socket", socket));
    }
    for message in messages() {
        for socket in &mut sockets {
            let size = message.len();
            client.wait("the message to be sent", socket.send(message.clone())).unwrap();
            let back = client.wait("the message to come back", socket.next()).unwrap().unwrap();
            assert!(back == message, "a message of {size} bytes came back changed");
        }
    }
    for mut socket in sockets {
        client.wait("the closing handshake", socket.close(None)).unwrap();
        assert!(matches!(client.wait("its answer", socket.next()), Some(Ok(Message::Close(_)))));
    }
    let lines = gateway.access_log(2);
    assert_eq!((&lines[0]["status"], &lines[0]["method"]), (&json!(200), &json!("CONNECT")), "{lines:?}");
    let seen = gateway.api_upstream.requests();
    assert!(seen.iter().all(|seen| seen.line() == "GET /v2/socket HTTP/1.1"), "{seen:?}");
    let keys: Vec<_> = seen.iter().map(|seen| seen.field("sec-websocket-key").unwrap()).collect();
    assert!(keys[0].len() == 24 && keys[0] != keys[1], "{keys:?}");
}

#[test]
fn a_websocket_goes_to_an_upstream_inside_tls() {
    // It would choose HTTP/2, were that offered: a WebSocket's connection must not offer it.
    let mut config = rustls::ServerConfig::clone(&Authority::shared().server("127.0.0.1", Validity::Now));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let upstream = TlsUpstream::start(Arc::new(config));
    let (gateway, key) = gateway_with(|config| {
        config["upstreams"][0]["servers"] = json!([format!("https://{}", upstream.address())]);
        config["upstreams"][0]["tls"] = json!({ "ca": "ca.crt" });
    });
    let mut wire = gateway.connect_tls();
    wire.send(handshake("/v2/socket", &key.authorization()).to_bytes());
    assert_eq!(wire.read_answer_head().status, 101);
    wire.send("bytes, as they are");
    assert_eq!(wire.read_exactly(18), b"bytes, as they are");
}

#[test]
fn s57_no_route_makes_a_tunnel_that_does_not_allow_it_and_none_makes_one_of_h2c() {
    let (gateway, key) = gateway_with(|_| {});
    let h2c = Request::get("/v2/x")
        .authorization(&key.authorization())
        .field("Connection", "Upgrade, HTTP2-Settings")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABkAAQAAP__");
    for request in [h2c, handshake("/v1/socket", &key.authorization())] {
        let mut wire = gateway.connect("api");
        assert_eq!(wire.exchange(&request).status, 200, "an ordinary answer");
        let seen = gateway.api_upstream.last_request();
        for field in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(seen.field(field), None, "{}", seen.head);
        }
        assert_eq!(wire.exchange(&Request::get("/").authorization(&key.authorization())).status, 200);
    }
}

#[test]
fn s57_an_upstream_that_agrees_to_nothing_that_was_asked_is_502() {
    let (gateway, key) = gateway_with(|_| {});
    let right = agreement("dGhlIHNhbXBsZSBub25jZQ==");
    let wrong = agreement("another key");
    let other = right.replace("websocket", "h2c");
    for (answer, reason) in [(&wrong, "upgrade_failed"), (&other, "upgrade_failed")] {
        gateway.api_upstream.answer("/v2/wrong", answer);
        let asked = handshake("/v2/wrong", &key.authorization());
        gateway.connect("api").exchange(&asked).assert_refusal(502, "ProviderConnectionError");
        assert!(gateway.access_log(1).iter().all(|line| line["reason"] == reason));
    }
    // Nobody asked; the route would have allowed it.
    gateway.api_upstream.answer("/v2/unasked", &right);
    gateway.api_get("/v2/unasked", &key.authorization()).assert_refusal(502, "ProviderConnectionError");
    assert!(gateway.access_log(3).iter().any(|line| line["reason"] == "upstream_upgraded"));
}

#[test]
fn s58_an_extended_connect_is_judged_like_a_request_and_needs_its_route() {
    let (gateway, key) = gateway_with(|_| {});
    gateway.api_upstream.answer("/v2/no", "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno");
    gateway.api_upstream.answer("/v2/ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut client = Http2Client::connect(gateway.address("api"), USUAL_WINDOW);
    let right = key.authorization();
    for (target, authorization, status) in [
        ("/v2/socket", None, 401),
        ("/v2/socket", Some("ApiKey wrong"), 401),
        ("/v1/socket", Some(right.as_str()), 405),
        ("/v2/no", Some(&right), 404),
        // It would read as a tunnel that stands.
        ("/v2/ok", Some(&right), 502),
    ] {
        let (answer, stream) = client.websocket(target, authorization);
        assert_eq!((answer.status().as_u16(), stream.is_none()), (status, true), "{target}");
    }
    let targets: Vec<String> =
        gateway.api_upstream.requests().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(targets, ["GET /v2/no HTTP/1.1", "GET /v2/ok HTTP/1.1"]);
}

#[test]
fn a_handshake_without_a_right_credential_reaches_nobody() {
    let (gateway, key) = gateway_with(|_| {});
    let deleted = gateway.create_key("acme/admin");
    gateway.delete_key(&deleted);
    for authorization in [deleted.authorization(), "ApiKey wrong".to_owned()] {
        let refused = gateway.connect("api").exchange(&handshake("/v2/socket", &authorization));
        refused.assert_refusal(401, "AuthenticationError");
    }
    let malformed = Request::get("/v2/socket")
        .authorization(&key.authorization())
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket");
    gateway.connect("api").exchange(&malformed).assert_refusal(400, "InvalidMessage");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

/// An upstream that writes to its WebSockets without end.
struct Flood {
    written: Arc<AtomicUsize>,
    /// When each of them could be written to no more.
    cuts: Receiver<Instant>,
}

impl Flood {
    /// Serves `/v2/flood`.
    fn start(gateway: &TestGateway) -> Self {
        let (cut, cuts) = channel();
        let (cut, written) = (Mutex::new(cut), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&written);
        gateway.api_upstream.on("/v2/flood", move |exchange| {
            let mut bare = agree(exchange);
            while bare.write_all(&[b'x'; 4_096]).is_ok() {
                counted.fetch_add(4_096, Ordering::SeqCst);
            }
            cut.lock().unwrap().send(Instant::now()).unwrap();
        });
        Self { written, cuts }
    }

    /// Waits until nothing more can be written, because every buffer on the way to who does not read is full.
    fn wait_until_stuck(&self) {
        let mut before = 0;
        wait_for("every buffer to be full", || {
            std::thread::park_timeout(Duration::from_millis(200));
            let now = self.written.load(Ordering::SeqCst);
            (std::mem::replace(&mut before, now) == now && now > 0).then_some(())
        });
    }
}

#[test]
fn r20_websockets_end_with_their_key_although_nobody_reads_and_others_go_on() {
    let (gateway, key) = gateway_with(|_| {});
    let other = gateway.create_key("acme/admin");
    let mut reading = gateway.connect_tls().switch_to_websocket("/v2/socket", &key.authorization());
    reading.send(Message::text("before")).unwrap();
    assert_eq!(reading.read().unwrap(), Message::text("before"));
    let mut untouched = gateway.connect("api").switch_to_websocket("/v2/socket", &other.authorization());
    let mut beside = Http2Client::connect(gateway.address("api"), USUAL_WINDOW);
    let (_, stream) = beside.websocket("/v2/socket", Some(&other.authorization()));
    let mut streaming =
        beside.wait("a socket", WebSocketStream::from_raw_socket(stream.unwrap(), Role::Client, None));

    let flood = Flood::start(&gateway);
    let mut deaf = gateway.connect("api");
    deaf.send(handshake("/v2/flood", &key.authorization()).to_bytes());
    assert_eq!(deaf.read_answer_head().status, 101);
    let mut withholding = Http2Client::connect(gateway.address("api"), 1_000);
    let (answer, stream) = withholding.websocket("/v2/flood", Some(&key.authorization()));
    assert_eq!(answer.status(), 200);
    flood.wait_until_stuck();

    let deleted_at = Instant::now();
    gateway.delete_key(&key);
    for _ in 0..2 {
        let cut_at = flood.cuts.recv_timeout(PATIENCE).expect("the upstream's side stayed open");
        assert!(cut_at - deleted_at < BAR, "the upstream's side was open for {:?}", cut_at - deleted_at);
    }
    reading.read().unwrap_err();
    assert!(deleted_at.elapsed() < BAR, "the client's side was open for {:?}", deleted_at.elapsed());
    deaf.read_to_end();
    // A stream whose window is withheld cannot be ended; its connection can.
    withholding.wait_for_close();
    drop(stream);
    for message in ["still", "here"] {
        untouched.send(Message::text(message)).unwrap();
        assert_eq!(untouched.read().unwrap(), Message::text(message));
        beside.wait("sending", streaming.send(Message::text(message))).unwrap();
        assert_eq!(beside.wait("an echo", streaming.next()).unwrap().unwrap(), Message::text(message));
    }
    let ended = gateway.access_log(3);
    assert!(ended.iter().all(|line| line["reason"] == "revoked" && line["key_id"] == *key.id), "{ended:?}");
}

#[test]
fn deadlines_meant_for_requests_leave_websockets_event_streams_and_long_polls_alone() {
    let (gateway, key) = gateway_with(|config| {
        for deadline in
            ["http_body_idle_seconds", "http_idle_seconds", "http_header_seconds", "upstream_idle_seconds"]
        {
            config["limits"][deadline] = json!(1);
        }
        config["limits"]["upstream_first_byte_seconds"] = json!(10);
    });
    let silence = Duration::from_millis(2_500);
    let (go_on, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    gateway.api_upstream.on("/events", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        exchange.send("data: late\n\n");
        exchange.close();
    });
    let (answer, poll) = channel::<()>();
    let poll = Mutex::new(poll);
    gateway.api_upstream.on("/poll", move |exchange| {
        poll.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    });
    let mut socket = gateway.connect("api").switch_to_websocket("/v2/socket", &key.authorization());
    let mut client = Http2Client::connect(gateway.address("api"), USUAL_WINDOW);
    let (_, stream) = client.websocket("/v2/socket", Some(&key.authorization()));
    let mut stream =
        client.wait("a socket", WebSocketStream::from_raw_socket(stream.unwrap(), Role::Client, None));
    let mut events = gateway.connect("api");
    events.send(Request::get("/events").authorization(&key.authorization()).to_bytes());
    assert_eq!(events.read_answer_head().status, 200);
    let mut polling = gateway.connect_tls();
    polling.send(Request::get("/poll").authorization(&key.authorization()).to_bytes());

    polling.expect_silence(silence);
    answer.send(()).unwrap();
    assert_eq!(polling.read_answer().text(), "late");
    go_on.send(()).unwrap();
    assert_eq!(events.read_chunk().unwrap(), b"data: late\n\n");
    socket.send(Message::text("late")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("late"));
    client.wait("sending", stream.send(Message::text("late"))).unwrap();
    assert_eq!(client.wait("an echo", stream.next()).unwrap().unwrap(), Message::text("late"));
}

#[test]
fn a_silent_websocket_is_closed_after_its_own_deadline_and_counts_as_a_connection_until_then() {
    let (gateway, key) = gateway_with(|config| config["limits"]["upgrade_idle_seconds"] = json!(1));
    let connections = || {
        let metrics = gateway.ask_ops("/metrics").text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("latchkey_connections{door=\"api\"} "));
        line.unwrap().parse::<u32>().unwrap()
    };
    let mut socket = gateway.connect("api").switch_to_websocket("/v2/socket", &key.authorization());
    let mut client = Http2Client::connect(gateway.address("api"), USUAL_WINDOW);
    let (_, stream) = client.websocket("/v2/socket", Some(&key.authorization()));
    assert_eq!(connections(), 2);
    socket.get_mut().expect_closed();
    let mut rest = Vec::new();
    client.wait("the stream's end", stream.unwrap().read_to_end(&mut rest)).unwrap();
    assert!(rest.is_empty());
    assert!(gateway.access_log(2).iter().all(|line| line["reason"] == "idle"));
    drop(client);
    wait_for("the connections to be counted out", || (connections() == 0).then_some(()));
}

#[test]
fn s79_a_drain_gives_websockets_its_time_and_closes_them_then() {
    let (gateway, key) = gateway_with(|config| config["limits"]["drain_seconds"] = json!(2));
    let mut socket = gateway.connect("api").switch_to_websocket("/v2/socket", &key.authorization());
    gateway.process().terminate();
    gateway
        .process()
        .wait_for_log("the drain", |lines| lines.iter().any(|line| line.contains("drain")).then_some(()));
    socket.send(Message::text("still here")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still here"));
    socket.get_mut().expect_closed();
    let (status, _, installation) = gateway.stop();
    assert!(status.success());
    let log = std::fs::read_to_string(installation.path("access.jsonl")).unwrap();
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&line["status"], &line["reason"]), (&json!(101), &json!("draining")));
}
