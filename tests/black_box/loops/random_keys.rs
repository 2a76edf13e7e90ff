//! A flood of keys that nobody has, from one address.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{alone, percentiles, report};
use crate::harness::{Request, TestGateway, Wire, by_length};

const ATTACKER: &str = "127.0.0.66";
const OTHER: &str = "127.0.0.5";
/// As many connections flood at once.
const CONNECTIONS: usize = 4;
/// So many requests are sent before their answers are read.
const PIPELINED: usize = 50;

/// A key of the usual form that nobody has; each number has another one.
fn guessed(number: usize) -> String {
    format!("lk1_{number:040}")
}

fn flood(wire: &mut Wire, from: usize, count: usize) -> usize {
    let requests: Vec<u8> = (from..from + count)
        .flat_map(|number| Request::get("/").authorization(&format!("ApiKey {}", guessed(number))).to_bytes())
        .collect();
    wire.send(requests);
    let answers = (0..count).map(|_| wire.read_answer().status);
    answers
        .inspect(|status| assert!([401, 429].contains(status), "{status}"))
        .filter(|status| *status == 401)
        .count()
}

#[test]
fn s44_a_flood_of_random_keys_from_one_address_leaves_every_good_key_alone() {
    let _alone = alone();
    let total = by_length(4_000, 100_000);
    let gateway =
        TestGateway::configured(|config| config["limits"]["failed_credentials_per_address"] = json!(100));
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/").authorization(&key.authorization());
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let (judged, times) = thread::scope(|scope| {
        let watching: Vec<_> = [ATTACKER, OTHER]
            .map(|from| {
                let (gateway, request, stop) = (&gateway, &request, &stop);
                scope.spawn(move || {
                    let (mut kept, mut times) = (gateway.connect_from(from, "api"), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        assert_eq!(kept.exchange(request).status, 200, "from {from}");
                        times.push(began.elapsed());
                        assert_eq!(
                            gateway.connect_from(from, "api").exchange(request).status,
                            200,
                            "from {from}"
                        );
                        thread::park_timeout(Duration::from_millis(5));
                    }
                    times
                })
            })
            .into();
        let flooding: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let gateway = &gateway;
                scope.spawn(move || {
                    let (mut wire, share) = (gateway.connect_from(ATTACKER, "api"), total / CONNECTIONS);
                    let parts = (0..share / PIPELINED).map(|part| number * share + part * PIPELINED);
                    parts.map(|from| flood(&mut wire, from, PIPELINED)).sum::<usize>()
                })
            })
            .collect();
        let judged: usize = flooding.into_iter().map(|thread| thread.join().unwrap()).sum();
        stop.store(true, Ordering::Relaxed);
        let times = watching.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>();
        (judged, times)
    });
    report(
        "random_keys",
        &format!(
            "{total} random keys in {:.1?}, {judged} of them answered 401 and the others 429: {} requests with good keys {}",
            began.elapsed(),
            times.len(),
            percentiles(times),
        ),
    );
    assert!((100..=100 + CONNECTIONS * PIPELINED).contains(&judged), "{judged}");
}
