//! Streams of answers end with what let them in, whether or not their client reads, and nothing else ends with them.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Exchange, FrameClient, Http2Frame, HttpUpstream, PATIENCE, Request, TestGateway, Wire, basic, wait_for,
};

/// The code `CANCEL` (RFC 9113 §7).
const CANCEL: u32 = 8;
/// The largest window (RFC 9113 §6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// A body is a stream after this.
const STREAM_AFTER: Duration = Duration::from_secs(1);

/// Answers `/events…` with one event and then silence, and `/flood…` with bytes as fast as they are taken, both until
/// the gateway closes; tells the target then.
fn serve_streams(upstream: &HttpUpstream) -> Receiver<String> {
    let (ended, ends) = channel();
    let ended = Mutex::new(ended);
    let tell = move |exchange: &Exchange, ended: &Mutex<Sender<String>>| {
        let target = exchange.request.line().split(' ').nth(1).unwrap().to_owned();
        // The test may be over.
        let _ = ended.lock().unwrap().send(target);
    };
    upstream.on("/", move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        if exchange.request.line().contains(" /flood") {
            exchange.send_for_ever([b'x'; 16_384]);
        } else {
            exchange.wait_for_close();
        }
        tell(exchange, &ended);
    });
    ends
}

fn gateway_with_streams() -> (TestGateway, Receiver<String>) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let ends = serve_streams(&gateway.api_upstream);
    (gateway, ends)
}

/// A stream over HTTP/1.1 on a connection of its own, whose first event was read.
fn open_http1(gateway: &TestGateway, target: &str, authorization: &str) -> Wire {
    let mut wire = gateway.connect("api");
    wire.send(Request::get(target).authorization(authorization).to_bytes());
    assert_eq!(wire.read_answer_head().status, 200);
    assert_eq!(wire.read_chunk().unwrap(), b"data: 1\n\n");
    wire
}

/// A stream over HTTP/2 on a connection of its own whose client gives no window.
fn open_windowless(gateway: &TestGateway, target: &str, authorization: &str) -> (FrameClient, u32) {
    let mut client = FrameClient::connect(gateway.address("api"), 0);
    let stream = client.get(target, authorization);
    client.expect_head(stream);
    (client, stream)
}

/// The connection must end in the middle of its chunks.
fn expect_cut(mut wire: Wire) {
    let rest = wire.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a stream that was cut off looks complete");
}

fn expect_ended(ends: &Receiver<String>, mut targets: Vec<&str>) {
    let mut ended: Vec<String> = targets
        .iter()
        .map(|_| ends.recv_timeout(PATIENCE).expect("an upstream's connection stayed open"))
        .collect();
    ended.sort();
    targets.sort_unstable();
    assert_eq!(ended, targets);
}

/// Lets the youngest stream get old enough.
fn let_streams_age() {
    let opened = Instant::now();
    wait_for("the streams' first second", || {
        (opened.elapsed() > STREAM_AFTER + Duration::from_millis(250)).then_some(())
    });
}

/// Reasons in the access log of requests for `target`.
fn reasons(gateway: &TestGateway, target: &str) -> Vec<Value> {
    wait_for("the line of a stream", || {
        let lines = gateway.access_log(0).into_iter().filter(|line| line["target"] == target);
        let reasons: Vec<Value> = lines.map(|line| line["reason"].clone()).collect();
        (!reasons.is_empty()).then_some(reasons)
    })
}

#[test]
fn r20_s20_streams_end_with_their_key_whether_or_not_their_client_reads_and_others_go_on() {
    let (gateway, ends) = gateway_with_streams();
    let (doomed, kept) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    let authorization = doomed.authorization();
    let reading = open_http1(&gateway, "/events/http1", &authorization);
    let mut unread = Wire::connect_narrow(gateway.address("api"));
    unread.send(Request::get("/flood/http1").authorization(&authorization).to_bytes());
    let (mut windowless, no_window) = open_windowless(&gateway, "/flood/windowless", &authorization);
    // Two keys on one connection, as a proxy in front would have it.
    let mut shared = FrameClient::connect(gateway.address("api"), 65_535);
    let (theirs, ours) =
        (shared.get("/events/http2", &authorization), shared.get("/events/kept", &kept.authorization()));
    // This one gives every window there is, and does not read its socket.
    let mut deaf = FrameClient::over(Wire::connect_narrow(gateway.address("api")), LARGEST_WINDOW);
    deaf.grant(0, LARGEST_WINDOW - 65_535);
    deaf.get("/flood/deaf", &authorization);
    let kept_reading = open_http1(&gateway, "/events/kept", &kept.authorization());
    let_streams_age();

    let output = gateway.cli(&["key", "delete", &doomed.id, "--yes"]);
    assert!(output.stderr.contains("5 open sessions"), "{output:?}");
    let gone = ["/events/http1", "/flood/http1", "/flood/windowless", "/events/http2", "/flood/deaf"];
    expect_ended(&ends, gone.to_vec());
    expect_cut(reading);
    expect_cut(unread);
    assert_eq!(windowless.expect_reset(no_window), CANCEL);
    assert_eq!(shared.expect_reset(theirs), CANCEL);
    shared.expect_unharmed();
    // Nobody can tell it that its stream has ended: the whole connection goes.
    let open = "latchkey_connections{door=\"api\"} 3";
    wait_for("three open connections", || gateway.ask_ops("/metrics").text().contains(open).then_some(()));
    while deaf.next_frame().is_some() {}
    for target in gone {
        assert_eq!(reasons(&gateway, target), ["revoked"], "{target}");
    }

    let mut kept_reading = kept_reading;
    kept_reading.expect_silence(Duration::from_millis(50));
    gateway.delete_key(&kept);
    expect_ended(&ends, vec!["/events/kept"; 2]);
    expect_cut(kept_reading);
    assert_eq!(shared.expect_reset(ours), CANCEL);
}

#[test]
fn s20_a_stream_ends_whatever_takes_its_key_away() {
    let (gateway, ends) = gateway_with_streams();
    for change in [
        "key disable KEY",
        "key rotate KEY --overlap 2s",
        "allow remove key:KEY 127.0.0.1/32",
        "allow add user:acme/alex 192.0.2.0/24",
        "user update acme/alex --access isproxy",
        "user deactivate acme/alex",
        "user delete acme/alex --yes",
        "customer delete acme --yes",
    ] {
        // Where the user was not deleted, it is now.
        gateway.cli(&["user", "delete", "acme/alex", "--yes"]);
        gateway.cli(&["user", "create", "acme/alex"]).expect_success();
        let networks = ["--allow", "127.0.0.1/32", "--allow", "192.0.2.0/24", "--scope", "api"];
        let key = gateway.create_key_with("acme/alex", &networks);
        let reading = open_http1(&gateway, "/events", &key.authorization());
        let (mut windowless, stream) = open_windowless(&gateway, "/flood", &key.authorization());
        let_streams_age();
        let change = change.replace("KEY", &key.id);
        gateway.cli(&change.split(' ').collect::<Vec<_>>()).expect_success();
        expect_ended(&ends, vec!["/events", "/flood"]);
        expect_cut(reading);
        assert_eq!(windowless.expect_reset(stream), CANCEL, "{change}");
    }
}

#[test]
fn s22_s23_a_stream_by_password_ends_with_a_first_key_forced_mfa_and_a_new_password() {
    let (gateway, ends) = gateway_with_streams();
    let create_key = ["key", "create", "acme/key", "--description", "first", "--scope", "api", "--yes"];
    for (login, change) in [
        ("key", &create_key[..]),
        ("mfa", &["user", "update", "acme/mfa", "--force-mfa"]),
        ("password", &["user", "set-password", "acme/password", "--password-file", "-"]),
    ] {
        let user = gateway.create_user(&format!("acme/{login}"));
        let other = gateway.create_user(&format!("acme/other-{login}"));
        let reading = open_http1(&gateway, "/events", &user.authorization());
        let (mut windowless, stream) = open_windowless(&gateway, "/flood", &user.authorization());
        let mut untouched = open_http1(&gateway, "/events/other", &other.authorization());
        let_streams_age();
        gateway.cli_with_input(change, "another-battery-staple-horse").expect_success();
        expect_ended(&ends, vec!["/events", "/flood"]);
        expect_cut(reading);
        assert_eq!(windowless.expect_reset(stream), CANCEL, "{login}");
        untouched.expect_silence(Duration::from_millis(50));
        drop(untouched);
        expect_ended(&ends, vec!["/events/other"]);
    }
}

#[test]
fn a_deletion_lets_ordinary_requests_in_flight_finish() {
    let (gateway, ends) = gateway_with_streams();
    let (open, gate) = channel();
    let gate: Mutex<Receiver<()>> = Mutex::new(gate);
    gateway.api_upstream.on("/slow", move |exchange| {
        exchange.read_body();
        gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let key = gateway.create_key("acme/admin");
    let mut waiting = gateway.connect("api");
    waiting.send(Request::get("/slow").authorization(&key.authorization()).to_bytes());
    let mut uploading = gateway.connect("api");
    let head =
        format!("POST /slow HTTP/1.1\r\nHost: a.example\r\nAuthorization: {}\r\n", key.authorization());
    uploading.send(format!("{head}Content-Length: 8\r\n\r\nhalf"));
    let stream = open_http1(&gateway, "/events", &key.authorization());
    let_streams_age();
    gateway.delete_key(&key);
    expect_ended(&ends, vec!["/events"]);
    expect_cut(stream);
    uploading.send("half");
    for mut wire in [waiting, uploading] {
        open.send(()).unwrap();
        let answer = wire.read_answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    }
}

#[test]
fn s74_an_http2_client_that_gives_no_window_is_given_up_and_its_connections_other_streams_are_not() {
    let gateway = TestGateway::configured(|config| config["limits"]["http_body_idle_seconds"] = json!(1));
    gateway.create_customer("acme");
    let ends = serve_streams(&gateway.api_upstream);
    let key = gateway.create_key("acme/admin");
    let mut client = FrameClient::connect(gateway.address("api"), 0);
    let streams = [
        client.get("/flood", &key.authorization()),
        // The gateway's own few bytes, behind which nothing is.
        client.get("/refused", &basic("acme/admin", "wrong")),
        client.get("/events", &key.authorization()),
    ];
    for _ in streams {
        assert!(matches!(client.next_frame(), Some(Http2Frame::Head(_))));
    }
    // This one takes what there is, and then waits for the upstream as long as that likes.
    client.grant(streams[2], 1_000);
    assert_eq!(client.next_frame(), Some(Http2Frame::Data(streams[2], 9, false)));
    let mut reset = [client.next_frame(), client.next_frame()];
    reset.sort_by_key(|frame| format!("{frame:?}"));
    let expected = [streams[0], streams[1]].map(|stream| Some(Http2Frame::Reset(stream, CANCEL)));
    assert_eq!(reset, expected);
    expect_ended(&ends, vec!["/flood"]);
    assert_eq!(reasons(&gateway, "/flood"), ["write_stalled"]);
    assert_eq!(reasons(&gateway, "/refused"), ["wrong_password"]);
    client.expect_silence(Duration::from_millis(1_500));
    client.expect_unharmed();
}

#[test]
fn an_http2_client_that_reads_slowly_is_served() {
    let gateway = TestGateway::configured(|config| config["limits"]["http_body_idle_seconds"] = json!(1));
    gateway.create_customer("acme");
    gateway.api_upstream.on("/", |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        exchange.send_for_ever([b'x'; 16_384]);
    });
    let key = gateway.create_key("acme/admin");
    let (mut client, stream) = open_windowless(&gateway, "/", &key.authorization());
    // At first it reads well, so that the gateway takes large parts from the upstream; then little by little.
    for (bytes, pause) in [(2_000_000, 0)].into_iter().chain([(20_000, 700); 4]) {
        let mut due: u32 = bytes;
        client.grant(stream, due);
        client.grant(0, due);
        while due > 0 {
            let Some(Http2Frame::Data(_, count, false)) = client.next_frame() else {
                panic!("it was cut off")
            };
            due = due.saturating_sub(u32::try_from(count).unwrap());
        }
        if pause > 0 {
            client.expect_silence(Duration::from_millis(pause));
        }
    }
}
