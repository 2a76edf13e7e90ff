//! Listeners that come, go, move and change places at a reload, with what is open there.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    FrameClient, Http2Frame, Key, LineReply, Request, SteadyClient, TestGateway, Wire, by_length,
    free_address, reply_by_name, wait_for,
};

/// The places of listeners in the usual configuration.
const API: usize = 0;
const ISPROXY: usize = 3;
const OPS: usize = 5;
const CONSOLE: usize = 6;

/// A gateway whose drains are short, with a key.
fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::configured(|config| config["limits"]["drain_seconds"] = json!(4));
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

fn get(key: &Key) -> Request {
    Request::get("/v2/x").authorization(&key.authorization())
}

fn add_listener(config: &mut Value, like: usize, name: &str, address: SocketAddr) {
    let mut listener = config["listeners"][like].clone();
    listener["name"] = json!(name);
    listener["address"] = json!(address.to_string());
    config["listeners"].as_array_mut().unwrap().push(listener);
}

fn move_listener(config: &mut Value, listener: usize, address: SocketAddr) {
    config["listeners"][listener]["address"] = json!(address.to_string());
}

fn wait_until_closed(address: SocketAddr) {
    wait_for("the address to be given up", || TcpStream::connect(address).is_err().then_some(()));
}

#[test]
fn an_added_listener_is_served_and_a_removed_one_answers_once_more() {
    let (mut gateway, key) = gateway_with_key();
    let mut steady = gateway.connect("api");
    assert_eq!(steady.exchange(&get(&key)).status, 200);
    let extra = free_address();
    gateway.reload(|config| add_listener(config, API, "extra", extra));
    let mut asking = Wire::connect(extra);
    assert_eq!(asking.exchange(&get(&key)).field("connection"), None);
    // With a request under way: it is answered, whatever the reload does.
    let (go, went) = std::sync::mpsc::channel::<()>();
    let went = std::sync::Mutex::new(went);
    gateway.api_upstream.on("/slow", move |exchange| {
        exchange.read_body();
        went.lock().unwrap().recv().unwrap();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let mut busy = Wire::connect(extra);
    busy.send(Request::get("/slow").authorization(&key.authorization()).to_bytes());
    wait_for("the request to be forwarded", || (gateway.api_upstream.requests().len() >= 3).then_some(()));
    let mut idle = Wire::connect(extra);
    assert_eq!(idle.exchange(&get(&key)).status, 200);

    gateway.reload(|config| drop(config["listeners"].as_array_mut().unwrap().pop()));
    wait_until_closed(extra);
    let last = asking.exchange(&get(&key));
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    asking.expect_closed();
    go.send(()).unwrap();
    let answer = busy.read_answer();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    busy.expect_closed();
    idle.expect_closed();
    let other = steady.exchange(&get(&key));
    assert_eq!((other.status, other.field("connection")), (200, None), "another listener's is not touched");
}

#[test]
fn http2_connections_and_isproxy_sessions_of_a_moved_listener_end_between_two_answers() {
    let (mut gateway, key) = gateway_with_key();
    let (before, extra) = (gateway.address("isproxy"), free_address());
    gateway.reload(|config| add_listener(config, API, "extra", extra));
    let mut http2 = FrameClient::connect(extra, 65_535);
    let stream = http2.get("/v2/x", &key.authorization());
    http2.expect_head(stream);
    let mut asking = gateway.isproxy_session(&key.login());
    let mut pending = gateway.isproxy_session(&key.login());
    gateway.isproxy_upstream.reply_with(|line| match line {
        "IS late.example" => LineReply::Nothing,
        _ => reply_by_name(line),
    });
    pending.send_line("IS late.example");
    gateway.isproxy_upstream.wait_for_lines(1);
    let (isproxy, moved) = (free_address(), free_address());
    gateway.reload(|config| {
        move_listener(config, ISPROXY, isproxy);
        move_listener(config, 7, moved);
    });
    loop {
        match http2.next_frame() {
            Some(Http2Frame::GoAway(0)) => break,
            Some(Http2Frame::Data(..) | Http2Frame::Pong) => {}
            other => panic!("{other:?} instead of GOAWAY"),
        }
    }
    assert_eq!(asking.ask("IS example.com"), "example.com available");
    asking.expect_closed();
    gateway.isproxy_upstream.send(0, "late.example available\r\n");
    assert_eq!(pending.read_line(), "late.example available");
    pending.expect_closed();
    wait_until_closed(before);
    let mut session = Wire::connect(isproxy);
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    assert_eq!(Wire::connect(moved).exchange(&get(&key)).status, 200);
}

#[test]
fn two_listeners_of_different_protocols_change_places_and_every_protocol_moves() {
    let (mut gateway, key) = gateway_with_key();
    let [one, other, ops, console] = [(); 4].map(|()| free_address());
    gateway.reload(|config| {
        move_listener(config, API, one);
        move_listener(config, ISPROXY, other);
    });
    let mut kept = Wire::connect(one);
    assert_eq!(kept.exchange(&get(&key)).status, 200);
    let before = (gateway.address("ops"), gateway.address("console"));
    gateway.reload_by_log(|config| {
        move_listener(config, API, other);
        move_listener(config, ISPROXY, one);
        move_listener(config, OPS, ops);
        move_listener(config, CONSOLE, console);
    });
    gateway.moved("ops", ops);
    assert_eq!(Wire::connect(other).exchange(&get(&key)).status, 200);
    let mut session = Wire::connect(one);
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let last = kept.exchange(&get(&key));
    assert_eq!((last.status, last.field("connection")), (200, Some("close")), "it was opened to the API");
    assert_eq!(gateway.ask_ops("/readyz").text(), "ready\n");
    let host = format!("localhost:{}", before.1.port());
    assert_eq!(Wire::connect(console).exchange(&Request::of(&host, "GET", "/sign-in")).status, 200);
    wait_until_closed(before.0);
    wait_until_closed(before.1);
}

#[test]
fn an_address_that_another_process_holds_refuses_the_whole_reload() {
    let (mut gateway, key) = gateway_with_key();
    let (taken, free) = (TcpListener::bind("127.0.0.1:0").unwrap(), free_address());
    let held = taken.local_addr().unwrap();
    let refused = gateway.reloads("refused");
    gateway.rewrite(|config| {
        add_listener(config, API, "free", free);
        add_listener(config, ISPROXY, "held", held);
        config["listeners"][API]["allow_list"] = json!(["192.0.2.0/24"]);
    });
    gateway.process().hang_up();
    gateway.wait_for_reload("refused", refused);
    gateway.process().wait_for_log("the address", |lines| {
        let told = |line: &&String| line.contains("listener `held` cannot listen") && line.contains("in use");
        lines.iter().find(told).map(drop)
    });
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200, "nothing of it is in force");
    assert!(TcpStream::connect(free).is_err(), "what could be bound is given up");
    let answer = gateway.ask_ops("/readyz");
    let told = "ready; the configuration on disk is refused since ";
    assert!(answer.status == 200 && answer.text().starts_with(told), "{}", answer.text());
    drop(taken);
    let applied = gateway.reloads("applied");
    gateway.process().hang_up();
    gateway.wait_for_reload("applied", applied);
    assert_eq!(gateway.ask_ops("/readyz").text(), "ready\n");
    assert_eq!(Wire::connect(held).ask(&key.login()), "100 Login ok");
    assert_eq!(Wire::connect(free).exchange(&get(&key)).status, 200);
}

#[test]
fn a_listener_that_moves_to_and_fro_under_kept_alive_clients_fails_no_request() {
    let moves = by_length(4, 40);
    let (mut gateway, key) = gateway_with_key();
    let addresses = [free_address(), free_address()];
    gateway.reload(|config| move_listener(config, API, addresses[0]));
    let request = get(&key);
    let stop = AtomicBool::new(false);
    let crossed: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (request, stop) = (&request, &stop);
                scope.spawn(move || {
                    let mut client = SteadyClient::new(&addresses, None);
                    while !stop.load(Ordering::Relaxed) {
                        client.ask(request);
                        thread::park_timeout(Duration::from_millis(5));
                    }
                    client.crossed
                })
            })
            .collect();
        for round in 1..=moves {
            gateway.reload(|config| move_listener(config, API, addresses[round % 2]));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(crossed, 0, "every client was told before its connection ended");
}

#[test]
fn series_of_an_upstream_go_with_its_listener_once_that_has_drained() {
    let (mut gateway, _) = gateway_with_key();
    let server = format!("http://{}", free_address());
    let series = format!("latchkey_upstream_healthy{{upstream=\"extra\",server=\"{server}\"}}");
    let extra = free_address();
    gateway.reload(|config| {
        let upstream = json!({ "name": "extra", "protocol": "http", "servers": [server] });
        config["upstreams"].as_array_mut().unwrap().push(upstream);
        add_listener(config, API, "extra", extra);
        config["listeners"][CONSOLE + 1]["routes"][0]["upstream"] = json!("extra");
    });
    assert_eq!(gateway.metric(&series), Some(1));
    gateway.reload(|config| {
        config["upstreams"].as_array_mut().unwrap().pop();
        config["listeners"].as_array_mut().unwrap().pop();
    });
    wait_for("the series to go without another reload", || gateway.metric(&series).is_none().then_some(()));
}
