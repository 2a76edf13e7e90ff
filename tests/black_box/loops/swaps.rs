//! Reloads and new processes under traffic: no request fails, and no session is cut before its reply.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{alone, percentiles, report};
use crate::harness::{
    Authority, Installation, Request, SteadyClient, SteadySession, by_length, free_address, wait_for,
};

const CONNECTIONS: usize = 64;
const SESSIONS: usize = 16;
/// Between two requests of a connection, and between two names of a session.
const PACE: Duration = Duration::from_millis(10);
/// Of a drain, whose first half is for those who have yet to be told.
const DRAIN_SECONDS: u32 = 4;

/// Lets those who keep asking stop, also where the test fails before its end.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn s79_new_processes_and_reloads_under_64_connections_and_16_sessions_fail_no_request_and_cut_no_session() {
    let _alone = alone();
    let (reloads, swaps) = (by_length(4, 100), by_length(2, 20));
    let mut gateway =
        Installation::configured(|config| config["limits"]["drain_seconds"] = json!(DRAIN_SECONDS)).serve();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/v2/x").authorization(&key.authorization());
    let [api, api_tls, isproxy] = ["api", "api-tls", "isproxy"].map(|name| gateway.address(name));
    let (stop, answered, named) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (told, crossed, begun) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut times = Vec::new();
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for number in 0..CONNECTIONS {
            let tls = (number % 2 == 1).then(|| Authority::shared().client(&["http/1.1"]));
            let mut client = SteadyClient::new(&[if tls.is_some() { api_tls } else { api }], tls);
            let (request, stop, answered, told, crossed) = (&request, &stop, &answered, &told, &crossed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.ask(request);
                    answered.fetch_add(1, Ordering::Relaxed);
                    thread::park_timeout(PACE);
                }
                told.fetch_add(client.told, Ordering::Relaxed);
                crossed.fetch_add(client.crossed, Ordering::Relaxed);
            });
        }
        for number in 0..SESSIONS {
            let tls = (number % 2 == 1).then(|| Authority::shared().client(&[]));
            let mut session = SteadySession::new(isproxy, tls, key.login());
            let (stop, named, begun) = (&stop, &named, &begun);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    session.ask("IS example.com", "example.com available");
                    named.fetch_add(1, Ordering::Relaxed);
                    thread::park_timeout(PACE);
                }
                begun.fetch_add(session.begun, Ordering::Relaxed);
            });
        }
        for round in 0..reloads.max(swaps) {
            let before = (answered.load(Ordering::Relaxed), named.load(Ordering::Relaxed));
            if (round * swaps) % reloads < swaps {
                let asked = Instant::now();
                gateway.process().swap();
                times.push(asked.elapsed());
            }
            // A listener beside those that are asked comes, moves and goes. Seen in the log: for a moment the process before
            // may still answer for its own counts.
            gateway.reload_by_log(|config| {
                let listeners = config["listeners"].as_array_mut().unwrap();
                listeners.truncate(7);
                if round % 3 < 2 {
                    let mut extra = listeners[0].clone();
                    extra["name"] = json!("extra");
                    extra["address"] = json!(free_address().to_string());
                    listeners.push(extra);
                }
                config["limits"]["http_target_bytes"] = json!(1_000 + round);
            });
            wait_for("every client to be served by it", || {
                let answered = answered.load(Ordering::Relaxed) - before.0;
                let named = named.load(Ordering::Relaxed) - before.1;
                (answered >= 2 * CONNECTIONS && named >= 2 * SESSIONS).then_some(())
            });
        }
    });
    let answered = answered.into_inner();
    // Each request reached the upstream once: what crosses the end of its connection is not read any more.
    assert_eq!(gateway.api_upstream.requests().len(), answered);
    assert_eq!(times.len(), swaps);
    report(
        "swaps",
        &format!(
            "{swaps} new processes and {reloads} reloads under {CONNECTIONS} connections and {SESSIONS} sessions: {answered} \
             requests and {} names, none failed; {} connections were told of their end, {} ended on the way; {} sessions \
             began; from the signal to the new process {}",
            named.into_inner(),
            told.into_inner(),
            crossed.into_inner(),
            begun.into_inner(),
            percentiles(times)
        ),
    );
}
