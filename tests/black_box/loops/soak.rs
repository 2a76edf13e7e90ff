//! Everything at once and for long: good, bad and hostile clients, reloads, keys that come and go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::unread::start_forgetful_upstream;
use super::{alone, report};
use crate::attacks::{HttpRecorder, hostile_http1_messages};
use crate::harness::{Authority, FrameClient, Http2Frame, Request, TestGateway, Wire, by_length, wait_for};

/// From then on memory may grow by 5 of 100 at most.
const WARM_UP: Duration = Duration::from_mins(5);
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(10);
/// How long a hostile client waits for what is said to it.
const GLANCE: Duration = Duration::from_millis(20);

/// What went well, and what was tried.
#[derive(Default)]
struct Counts {
    good: AtomicUsize,
    refused: AtomicUsize,
    hostile: AtomicUsize,
    streams: AtomicUsize,
    names: AtomicUsize,
}

/// Goes on until it must stop.
fn repeat(stop: &AtomicBool, count: &AtomicUsize, mut act: impl FnMut(usize)) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        act(number);
        number += 1;
        count.fetch_add(1, Ordering::Relaxed);
        thread::park_timeout(PACE);
    }
}

fn connect(gateway: &TestGateway, number: usize) -> Wire {
    if number.is_multiple_of(2) { gateway.connect("api") } else { gateway.connect_tls() }
}

/// The median of what is resident over some looks.
fn resident(gateway: &TestGateway) -> u64 {
    let mut looks: Vec<u64> = (0..9)
        .map(|_| {
            thread::park_timeout(Duration::from_millis(20));
            gateway.process().resident_bytes()
        })
        .collect();
    looks.sort_unstable();
    looks[looks.len() / 2]
}

fn open_files(gateway: &TestGateway) -> u64 {
    gateway.metric("process_open_fds").unwrap()
}

/// All kinds of clients, each on a thread of its own, until `stop`.
fn spawn_clients<'s, 'e: 's>(
    scope: &'s thread::Scope<'s, 'e>,
    gateway: &'e TestGateway,
    key: &'e crate::harness::Key,
    stop: &'e AtomicBool,
    counts: &'e Counts,
) {
    let good = Request::get("/v2/x").authorization(&key.authorization());
    let post = Request::new("POST", "/v2/y").authorization(&key.authorization()).body(&[b'b'; 5_000]);
    for number in 0..2 {
        let (good, post) = (good.clone(), post.clone());
        scope.spawn(move || {
            let mut wire = connect(gateway, number);
            repeat(stop, &counts.good, |round| {
                if round % 50 == 49 {
                    wire = connect(gateway, number);
                }
                let request = if round % 2 == 0 { &good } else { &post };
                assert_eq!(wire.exchange(request).status, 200);
            });
        });
    }
    scope.spawn(move || {
        repeat(stop, &counts.refused, |round| {
            let wrong = Request::get("/").authorization(&format!("ApiKey lk1_{round:040}"));
            assert_eq!(connect(gateway, round).exchange(&wrong).status, 401);
        });
    });
    scope.spawn(move || {
        let messages = hostile_http1_messages(&key.text);
        repeat(stop, &counts.hostile, |round| {
            let mut wire = connect(gateway, round);
            // A gateway that has heard enough closes.
            let _ = wire.try_send(&messages[round % messages.len()]);
            wire.read_next(GLANCE);
        });
    });
    scope.spawn(move || {
        repeat(stop, &counts.streams, |_| {
            let mut client = FrameClient::connect(gateway.address("api"), 65_535);
            let streams: Vec<u32> = (0..5).map(|_| client.get("/v2/z", &key.authorization())).collect();
            let mut answered = 0;
            while answered < streams.len() {
                match client.next_frame() {
                    Some(Http2Frame::Head(_)) => answered += 1,
                    Some(Http2Frame::Data(..)) => {}
                    other => panic!("{other:?} instead of an answer"),
                }
            }
        });
    });
    scope.spawn(move || {
        let mut session = gateway.isproxy_session(&key.login());
        repeat(stop, &counts.names, |round| {
            if round % 100 == 99 {
                session = gateway.connect("isproxy").start_tls(Authority::shared().client(&[]));
                assert_eq!(session.ask(&key.login()), "100 Login ok");
            }
            assert_eq!(session.ask("IS example.com"), "example.com available");
            let mut hostile = gateway.connect("isproxy");
            let _ = hostile.try_send(
                ["LOGIN x\r\nIS a\r\n", "GET / HTTP/1.1\r\n\r\n", "IS \0\r\n", "STARTTLS\r\nIS a\r\n"]
                    [round % 4],
            );
            hostile.read_next(GLANCE);
        });
    });
}

#[test]
fn s90_an_hour_of_everything_ends_no_process_and_leaks_neither_memory_nor_descriptors() {
    let _alone = alone();
    let (time, between) =
        (Duration::from_secs(by_length(6, 3_600) as u64), Duration::from_secs(by_length(1, 5) as u64));
    let (recorder, names) = (HttpRecorder::start(), start_forgetful_upstream());
    let mut gateway = TestGateway::configured(|config| {
        config["upstreams"][0]["servers"] = json!([format!("http://{}", recorder.address())]);
        config["upstreams"][1]["servers"] = json!([names.to_string()]);
        config["limits"]["http_header_seconds"] = json!(5);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let idle_files = open_files(&gateway);
    let (stop, counts) = (AtomicBool::new(false), Counts::default());
    let (began, mut warm, mut last) = (Instant::now(), None, 0);
    let (mut reloads, mut keys) = (0, 0);
    while began.elapsed() < time {
        stop.store(false, Ordering::Relaxed);
        // Clients stop for each reload of the test's own handle, and go on under it.
        thread::scope(|scope| {
            spawn_clients(scope, &gateway, &key, &stop, &counts);
            let part = Instant::now();
            while part.elapsed() < between.min(time) {
                let another = gateway.create_key("acme/admin");
                assert_eq!(gateway.api_get("/", &another.authorization()).status, 200);
                gateway.delete_key(&another);
                assert_eq!(gateway.api_get("/", &another.authorization()).status, 401);
                keys += 1;
            }
            gateway.process().hang_up();
            recorder.take();
            stop.store(true, Ordering::Relaxed);
        });
        gateway.reload(|config| config["limits"]["http_target_bytes"] = json!(1_000 + reloads % 1_000));
        reloads += 1;
        last = resident(&gateway);
        if warm.is_none() && began.elapsed() > WARM_UP {
            warm = Some(last);
        }
    }
    let closed = wait_for("the end of every connection", || {
        let open = open_files(&gateway);
        (open <= idle_files + 20).then_some(open)
    });
    report(
        "soak",
        &format!(
            "{:.0?}: {:?} good requests, {:?} wrong keys, {:?} hostile messages, {:?} connections of HTTP/2, {:?} names, \
             {keys} keys made and deleted, {reloads} reloads; resident {:?} KiB after five minutes, {} KiB at the end; \
             {idle_files} descriptors before, {closed} after",
            began.elapsed(),
            counts.good,
            counts.refused,
            counts.hostile,
            counts.streams,
            counts.names,
            warm.map(|bytes: u64| bytes / 1_024),
            last / 1_024,
        ),
    );
    if let Some(warm) = warm {
        assert!(last <= warm + warm / 20, "{last} bytes resident at the end, {warm} after five minutes");
    }
    assert!(!gateway.process().log().contains("panicked"), "something panicked");
}
