//! Reloads under traffic: no request fails, no session is cut.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{alone, percentiles, report};
use crate::harness::{
    Authority, HttpUpstream, Key, Request, TestGateway, Validity, Wire, by_length, wait_for,
};

const CONNECTIONS: usize = 64;
const SESSIONS: usize = 16;
/// Between two requests of a connection, and between two names of a session.
const PACE: Duration = Duration::from_millis(10);

/// Lets those who keep asking stop, also where the test fails before its end.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks until it must stop, and counts what was answered right.
fn keep_asking(stop: &AtomicBool, answered: &AtomicUsize, mut ask: impl FnMut()) {
    while !stop.load(Ordering::Relaxed) {
        ask();
        answered.fetch_add(1, Ordering::Relaxed);
        thread::park_timeout(PACE);
    }
}

/// Changes routes, an upstream, lists, limits and certificates, each time otherwise.
fn change(config: &mut Value, round: usize, upstreams: [&HttpUpstream; 2]) {
    let upstream = upstreams[round % 2].address();
    config["upstreams"][0]["servers"] = json!([format!("http://{upstream}")]);
    config["upstreams"][0]["set_headers"] = json!({ "x-round": round.to_string() });
    config["limits"]["http_target_bytes"] = json!(1_000 + round);
    config["limits"]["isproxy_pending_requests"] = json!(100 + round);
    for listener in [0, 1, 3] {
        config["listeners"][listener]["allow_list"] =
            json!(["127.0.0.0/8", format!("10.{}.0.0/16", round % 200)]);
    }
    if round.is_multiple_of(3) {
        config["listeners"][0]["routes"] = json!([{ "path": "/", "upstream": "registry" }, { "path": format!("/{round}"), "upstream": "registry" }]);
    }
}

/// A connection of the API door, every second one by TLS.
fn connect(gateway: &TestGateway, number: usize) -> Wire {
    if number.is_multiple_of(2) { gateway.connect("api") } else { gateway.connect_tls() }
}

fn session(gateway: &TestGateway, key: &Key, number: usize) -> Wire {
    let mut session = gateway.connect("isproxy");
    if number % 2 == 1 {
        session = session.start_tls(Authority::shared().client(&[]));
    }
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    session
}

#[test]
fn s79_reloads_under_64_connections_and_16_sessions_fail_no_request_and_cut_no_session() {
    let _alone = alone();
    let reloads = by_length(10, 100);
    let mut gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let other = HttpUpstream::start();
    let first = HttpUpstream::start();
    let request = Request::get("/v2/x").authorization(&key.authorization());
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|number| connect(&gateway, number)).collect();
    let mut sessions: Vec<Wire> = (0..SESSIONS).map(|number| session(&gateway, &key, number)).collect();
    let (stop, requests, names) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut times = Vec::new();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for wire in &mut wires {
            let ask = || assert_eq!(wire.exchange(&request).status, 200);
            scope.spawn(|| keep_asking(&stop, &requests, ask));
        }
        for session in &mut sessions {
            let ask = || assert_eq!(session.ask("IS example.com"), "example.com available");
            scope.spawn(|| keep_asking(&stop, &names, ask));
        }
        for round in 0..reloads {
            if round.is_multiple_of(4) {
                let certified = Authority::shared().certify("localhost", Validity::Now);
                certified.write_to(gateway.folder(), "server");
            }
            let before = (requests.load(Ordering::Relaxed), names.load(Ordering::Relaxed));
            let began = Instant::now();
            gateway.reload(|config| change(config, round, [&first, &other]));
            times.push(began.elapsed());
            wait_for("every connection to be served by it", || {
                let requests = requests.load(Ordering::Relaxed) - before.0;
                let names = names.load(Ordering::Relaxed) - before.1;
                (requests >= 2 * CONNECTIONS && names >= 2 * SESSIONS).then_some(())
            });
        }
    });
    let (requests, names) = (requests.into_inner(), names.into_inner());
    assert_eq!(
        first.requests().len() + other.requests().len() + gateway.api_upstream.requests().len(),
        requests
    );
    assert_eq!(gateway.reloads("refused"), 0);
    report(
        "reloads",
        &format!(
            "{reloads} reloads under {CONNECTIONS} connections and {SESSIONS} sessions: {requests} requests and {names} names, \
             none failed; from the change to the metric {}",
            percentiles(times)
        ),
    );
}
