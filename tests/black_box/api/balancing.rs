//! An upstream with several servers, of which some are away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{HttpUpstream, Key, Request, TestGateway, Wire, wait_for};

/// A close is seen at the next turn of a door thread's event loop; until then a request may still go that way.
const NEXT_TURN: Duration = Duration::from_millis(20);

fn gateway_before(servers: &[&HttpUpstream], change: impl FnOnce(&mut Value)) -> (TestGateway, Key) {
    let urls: Vec<String> = servers.iter().map(|server| format!("http://{}", server.address())).collect();
    let gateway = TestGateway::configured(|config| {
        config["upstreams"][0]["servers"] = json!(urls);
        change(config);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// The gauge of one server.
fn healthy(gateway: &TestGateway, url: &str) -> Option<String> {
    let series = format!("latchkey_upstream_healthy{{upstream=\"registry\",server=\"{url}\"}} ");
    let metrics = gateway.ask_ops("/metrics").text();
    metrics.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
}

#[test]
fn three_servers_share_the_load_of_both_threads() {
    let servers = [HttpUpstream::start(), HttpUpstream::start(), HttpUpstream::start()];
    let (gateway, key) = gateway_before(&servers.each_ref(), |_| {});
    let request = Request::get("/v2/x").authorization(&key.authorization());
    let mut wires: Vec<Wire> = (0..8).map(|_| gateway.connect("api")).collect();
    for _ in 0..40 {
        for wire in &mut wires {
            assert_eq!(wire.exchange(&request).status, 200);
        }
    }
    let counts = servers.each_ref().map(|server| server.requests().len());
    assert_eq!(counts.iter().sum::<usize>(), 320);
    assert!(counts.iter().all(|count| (60..160).contains(count)), "{counts:?}");
}

/// When a request began and how it was answered; 0: not at all.
type Outcome = (Instant, u16);

fn ask_until(done: &AtomicBool, gateway: &TestGateway, key: &Key, outcomes: &Mutex<Vec<Outcome>>) {
    let mut wire = gateway.connect("api");
    let mut sent = 0_usize;
    while !done.load(Ordering::SeqCst) {
        let began = Instant::now();
        let method = if sent.is_multiple_of(2) { "GET" } else { "POST" };
        let request = Request::new(method, "/v2/x").authorization(&key.authorization()).body(b"body");
        let status = wire.exchange(&request).status;
        outcomes.lock().unwrap().push((began, status));
        sent += 1;
    }
}

#[test]
fn s73_one_server_of_three_is_killed_and_revived_under_load_and_only_what_was_sent_to_it_fails() {
    let mut servers = vec![HttpUpstream::start(), HttpUpstream::start(), HttpUpstream::start()];
    let (gateway, key) = gateway_before(&[&servers[0], &servers[1], &servers[2]], |config| {
        config["limits"]["upstream_ejection_seconds"] = json!(1);
    });
    let (done, outcomes) = (AtomicBool::new(false), Mutex::new(Vec::<Outcome>::new()));
    let answered = |count: usize| {
        let wanted = outcomes.lock().unwrap().len() + count;
        wait_for("more answers", || (outcomes.lock().unwrap().len() >= wanted).then_some(()));
    };
    let killed_at = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ask_until(&done, &gateway, &key, &outcomes));
        }
        answered(200);
        let victim = servers.remove(1);
        let (address, url) = (victim.address(), format!("http://{}", victim.address()));
        victim.kill();
        let killed_at = Instant::now();
        wait_for("its ejection", || (healthy(&gateway, &url)? == "0").then_some(()));
        answered(400);
        let revived = HttpUpstream::start_at(address);
        wait_for("requests at the revived server", || (revived.requests().len() >= 50).then_some(()));
        assert_eq!(healthy(&gateway, &url).as_deref(), Some("1"));
        done.store(true, Ordering::SeqCst);
        servers.push(revived);
        killed_at
    });
    let outcomes = outcomes.into_inner().unwrap();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|(_, status)| *status != 200).collect();
    assert!(failed.len() <= 8, "{} of {}", failed.len(), outcomes.len());
    for (began, status) in failed {
        assert!(*began < killed_at + NEXT_TURN, "{status}, {:?} after the kill", *began - killed_at);
    }
    let (_, log, _) = gateway.stop();
    for told in ["cannot be reached", "is ejected", "answers again"] {
        assert!(log.contains(&format!("a server of an upstream {told}")), "{told}: {log}");
    }
}

#[test]
fn a_health_check_turns_a_server_off_and_on_and_without_any_the_answer_is_503() {
    let servers = [HttpUpstream::start(), HttpUpstream::start()];
    let (gateway, key) = gateway_before(&servers.each_ref(), |config| {
        config["upstreams"][0]["set_headers"] = json!({ "X-Tenant": "acme" });
        config["upstreams"][0]["health_check"] =
            json!({ "path": "/up", "interval_seconds": 1, "healthy_after": 1, "unhealthy_after": 1 });
    });
    let urls = servers.each_ref().map(|server| format!("http://{}", server.address()));
    let gauge_is = |url: &str, wanted: &str| {
        wait_for("the gauge", || (healthy(&gateway, url)? == wanted).then_some(()));
    };
    let request = Request::get("/v2/x").authorization(&key.authorization());
    let mut wire = gateway.connect("api");
    let asked = |server: &HttpUpstream| {
        server.requests().iter().filter(|request| request.line().starts_with("GET /v2/x ")).count()
    };

    servers[0].answer("/up", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    gauge_is(&urls[0], "0");
    for _ in 0..20 {
        assert_eq!(wire.exchange(&request).status, 200);
    }
    assert_eq!((asked(&servers[0]), asked(&servers[1])), (0, 20));

    servers[1].answer("/up", "garbage\r\n\r\n");
    gauge_is(&urls[1], "0");
    let refused = wire.exchange(&request);
    refused.assert_refusal(503, "ProviderUnavailable");
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(asked(&servers[1]), 20, "an unhealthy server is not asked");

    servers[0].answer("/up", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    gauge_is(&urls[0], "1");
    assert_eq!(wire.exchange(&request).status, 200);
    let checks = servers[0].requests();
    let check = checks.iter().find(|request| request.line() == "GET /up HTTP/1.1").unwrap();
    assert_eq!(check.field("host"), Some(servers[0].address().to_string()));
    assert_eq!(check.field("x-tenant").as_deref(), Some("acme"));
    let (_, log, _) = gateway.stop();
    assert!(log.contains("is unhealthy") && log.contains("it answered 500"), "{log}");
    assert!(log.contains("is healthy again"), "{log}");
}

#[test]
fn the_last_server_is_never_ejected() {
    let servers = [HttpUpstream::start(), HttpUpstream::start()];
    for server in &servers {
        server.on("/broken", |exchange| {
            exchange.read_body();
            exchange.close();
        });
    }
    let (gateway, key) = gateway_before(&servers.each_ref(), |_| {});
    let mut wire = gateway.connect("api");
    for _ in 0..40 {
        let broken = Request::get("/broken").authorization(&key.authorization());
        wire.exchange(&broken).assert_refusal(502, "ProviderConnectionError");
    }
    let gauges = servers.each_ref().map(|server| healthy(&gateway, &format!("http://{}", server.address())));
    assert_eq!(gauges.iter().flatten().filter(|gauge| *gauge == "1").count(), 1, "{gauges:?}");
    assert_eq!(wire.exchange(&Request::get("/v2/x").authorization(&key.authorization())).status, 200);
    // S73: each was sent once.
    assert_eq!(servers.iter().map(|server| server.requests().len()).sum::<usize>(), 41);
}
