//! What 500 logins by password at once do to those who come by key.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{alone, percentiles, report};
use crate::harness::{PASSWORD, Request, TestGateway, Wire, basic, by_length};

/// Logins by password at once (SECURITY S43).
const LOGINS: usize = 500;
/// More memory than the gateway has before: one hash for each thread, and what 500 connections take.
const HASH_BYTES: u64 = 20 * 1_048_576;
const CONNECTIONS_BYTES: u64 = 32 * 1_048_576;

/// Below this a busy machine's scheduler is measured.
const NOISE: Duration = Duration::from_millis(10);

/// How long each of so many requests by key took.
fn key_requests(wire: &mut Wire, request: &Request, count: usize) -> Vec<Duration> {
    let times = (0..count).map(|_| {
        let began = Instant::now();
        assert_eq!(wire.exchange(request).status, 200);
        let took = began.elapsed();
        thread::park_timeout(Duration::from_micros(500));
        took
    });
    times.collect()
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// The median of how many times longer the second of each pair is, where none is shorter than `least`.
fn median_ratio(pairs: &[(Duration, Duration)], least: Duration) -> f64 {
    let ratio = |(one, other): &(Duration, Duration)| {
        (*other).max(least).as_secs_f64() / (*one).max(least).as_secs_f64()
    };
    let mut ratios: Vec<f64> = pairs.iter().map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Sends all logins, each from an address of its own, so that none is refused unseen; measures keys while they are
/// judged, and answers these times with how many were hashed.
fn flood(gateway: &TestGateway, mut keys: impl FnMut() -> Vec<Duration>) -> (Vec<Duration>, usize) {
    let from = |number: usize| format!("127.1.{}.{}", number / 250, number % 250 + 1);
    let mut logins: Vec<Wire> =
        (0..LOGINS).map(|number| gateway.connect_from(&from(number), "api")).collect();
    for (number, login) in logins.iter_mut().enumerate() {
        let request = Request::get("/").authorization(&basic(&format!("acme/user{number}"), PASSWORD));
        login.send(request.to_bytes());
    }
    let during = keys();
    let statuses = logins.iter_mut().map(|login| login.read_answer().status);
    let hashed = statuses.inspect(|status| assert!([401, 503].contains(status), "{status}"));
    (during, hashed.filter(|status| *status == 401).count())
}

#[test]
fn s43_500_logins_by_password_at_once_leave_keys_and_memory_alone() {
    let _alone = alone();
    let gateway =
        TestGateway::configured(|config| config["limits"]["failed_credentials_per_address"] = json!(100));
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = Request::get("/").authorization(&key.authorization());
    let mut wire = gateway.connect("api");
    // At full length they last about as long as the hashing does.
    let (rounds, count) = (by_length(1, 7), by_length(200, 2_000));
    key_requests(&mut wire, &request, count);
    let resident = gateway.process().resident_bytes();
    let (mut before, mut during, mut hashed, mut pairs) = (Vec::new(), Vec::new(), 0, Vec::new());
    for _ in 0..rounds {
        let quiet = key_requests(&mut wire, &request, count);
        let (times, judged) = flood(&gateway, || key_requests(&mut wire, &request, count));
        assert!(judged > 0 && judged < LOGINS, "{judged} of {LOGINS} were hashed");
        pairs.push((p99(quiet.clone()), p99(times.clone())));
        before.extend(quiet);
        during.extend(times);
        hashed += judged;
    }
    let (ratio, beyond_noise) = (median_ratio(&pairs, Duration::ZERO), median_ratio(&pairs, NOISE));
    let grown = gateway.process().resident_bytes().saturating_sub(resident);
    let threads = u64::try_from(thread::available_parallelism().unwrap().get().div_ceil(2)).unwrap();
    assert!(grown < threads * HASH_BYTES + CONNECTIONS_BYTES, "{grown} bytes more");
    report(
        "passwords",
        &format!(
            "{rounds} times {LOGINS} logins by password at once, {hashed} hashed: keys before {}, meanwhile {}; median of \
             the ratios of p99 {ratio:.2}; {} MB more",
            percentiles(before),
            percentiles(during),
            grown / 1_000_000,
        ),
    );
    // One round is too short for a percentile, and other tests run beside it.
    if rounds > 1 {
        assert!(beyond_noise < 2.0, "{pairs:?}");
    }
}
