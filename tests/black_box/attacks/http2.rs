//! Hostile HTTP/2 (RFC 9113, RFC 7541) against the API door, by prior knowledge and over TLS: single messages, of which
//! none may go upstream that should not, and floods, which must cost little.
//!
//! Every case carries a key that opens the door unless it is about keys, so that nothing but its hostility can be the
//! reason of a refusal; a request that nothing is wrong with follows each of them, on a connection of its own.

mod broken_proxy;
mod case;
mod fields;
mod floods;
mod frames;
mod framing;
mod hpack;
mod identity;
mod judge;
mod limits;
mod messages;
mod peer;
mod pseudo;
mod streams;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::broken_proxy::BrokenProxy;
use self::case::{Case, Given, Outcome};
use self::floods::{Ending, FLOODS, Flood};
use self::judge::{Identity, fault, judge};
use self::peer::{Target, Transport, converse};
use super::{Failure, expect_in_each, expect_none};
use crate::harness::{Exchange, HttpUpstream, Key, PATIENCE, RecordedRequest, TestGateway};

/// Fewer would be a part of the set only.
const LEAST_CASES: usize = 200;
const LEAST_FLOODS: usize = 20;
/// The category of requests that nothing is wrong with; it counts for no other.
const CANARY: &str = "canary";
/// The category of floods.
const FLOOD: &str = "floods";
/// How many resets, and how many requests upstream, a connection may get away with (S52).
const MOST_RESETS: usize = 1_000;
const MOST_REQUESTS: usize = 200;
/// How late others may be answered meanwhile, but for one in a hundred: generously, as the build is not optimised, and
/// other tests run beside.
const OTHERS_WAIT: Duration = Duration::from_secs(2);
/// How long the broken proxy is waited for. It never answers some cases.
const SHORT: Duration = Duration::from_millis(100);
/// The floods that are let loose on it: the others would prove no more, and take it long.
const OF_BROKEN: [&str; 3] = ["rapid-reset", "empty-continuations", "empty-data"];

fn all_cases(given: &Given) -> Vec<Case> {
    let sets = [fields::cases, pseudo::cases, messages::cases, identity::cases];
    let more = [streams::cases, framing::cases, hpack::cases, limits::cases];
    sets.into_iter().chain(more).flat_map(|cases| cases(given)).collect()
}

fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::configured(|config| {
        config["limits"]["http_body_bytes"] = limits::BODY_BYTES.into();
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

fn given(key: &Key, transport: Transport) -> Given {
    let scheme = if transport == Transport::Tls { "https" } else { "http" };
    Given { authorization: key.authorization(), scheme }
}

fn target(gateway: &TestGateway, transport: Transport) -> Target {
    let listener = if transport == Transport::Tls { "api-tls" } else { "api" };
    Target { address: gateway.address(listener), transport, patience: PATIENCE / 4 }
}

/// Runs each of `cases`, and behind it a request that nothing is wrong with.
fn run_cases(
    target: &Target,
    given: &Given,
    upstream: &HttpUpstream,
) -> (BTreeSet<&'static str>, usize, Vec<Failure>) {
    let cases = all_cases(given);
    let canary =
        Case::new(CANARY, "harmless", "", case::Allowed::passed()).send(given.get("/canary").whole(1));
    let patient = Target { patience: PATIENCE, ..*target };
    assert_eq!(converse(&patient, &canary), Outcome::Answered(200), "a request that nothing is wrong with");
    let identity = Identity(upstream.last_request().field("x-auth-user").unwrap());
    let (mut failures, mut judged, mut broken_off) = (Vec::new(), 1, Vec::new());
    for case in &cases {
        let outcome = converse(target, case);
        let after = converse(&patient, &canary);
        if after != Outcome::Answered(200) {
            let what = format!("{after:?} for a harmless request behind {}/{}", case.category, case.name);
            failures.push(Failure { category: CANARY, case: "harmless".to_owned(), what });
        }
        let is_canary = |request: &RecordedRequest| request.line() == "GET /canary HTTP/1.1";
        let mut seen = upstream.requests().split_off(judged);
        judged += seen.len();
        if let Some(canary) = seen.iter().position(is_canary) {
            seen.remove(canary);
        }
        // What was on its way when a case broke off may get there late.
        let is_late = |request: &RecordedRequest| {
            fault(request, &identity).is_none()
                && broken_off.iter().any(|path: &String| request.line().contains(path))
        };
        seen.retain(|request| !is_late(request));
        failures.extend(judge(case, &outcome, &seen, &identity));
        if outcome != Outcome::Answered(200) && case.allowed.whole + case.allowed.begun > 0 {
            broken_off.push(format!(" /{}/{} HTTP/1.1", case.category, case.name));
        }
    }
    let late = upstream.requests().len() - judged;
    if late > 0 {
        let what = format!("{late} requests came upstream after their case");
        failures.push(Failure { category: CANARY, case: "all".to_owned(), what });
    }
    (cases.iter().map(|case| case.category).collect(), cases.len(), failures)
}

fn hostile_messages(transport: Transport) {
    let (gateway, key) = gateway_with_key();
    let (target, given) = (target(&gateway, transport), given(&key, transport));
    let (_, cases, failures) = run_cases(&target, &given, &gateway.api_upstream);
    expect_none("HTTP/2", cases, LEAST_CASES, &failures);
}

#[test]
fn s48_s49_s50_s51_s55_s56_hostile_http2_in_clear_is_refused_and_nothing_of_it_is_forwarded() {
    hostile_messages(Transport::Clear);
}

#[test]
fn s48_s49_s50_s51_s55_s56_hostile_http2_over_tls_is_refused_and_nothing_of_it_is_forwarded() {
    hostile_messages(Transport::Tls);
}

/// What became of the gateway and of others while a flood ran.
struct Watched {
    most_bytes: u64,
    waits: Vec<Duration>,
    failed: usize,
}

/// Asks like anybody else, again and again, until `stop`.
fn watch(gateway: &TestGateway, key: &Key, stop: &AtomicBool) -> Watched {
    let mut watched = Watched { most_bytes: 0, waits: Vec::new(), failed: 0 };
    while !stop.load(Ordering::Relaxed) || watched.waits.is_empty() {
        let began = Instant::now();
        let status = gateway.api_get("/others", &key.authorization()).status;
        watched.waits.push(began.elapsed());
        watched.failed += usize::from(status != 200);
        watched.most_bytes = watched.most_bytes.max(gateway.process().resident_bytes());
        std::thread::park_timeout(Duration::from_millis(2));
    }
    watched.waits.sort();
    watched
}

/// Lets `flood` loose, and tells what of its own end and of the upstream's requests is not as it must be.
fn run_flood(target: &Target, given: &Given, upstream: &HttpUpstream, flood: &Flood) -> Vec<String> {
    let of_flood = |request: &RecordedRequest| request.line().contains("/floods/");
    let requests = || upstream.requests().iter().filter(|request| of_flood(request)).count();
    let before = requests();
    let mut peer = target.open();
    peer.settle();
    (flood.run)(&mut peer, given);
    if flood.ending == Ending::Ended {
        peer.settle();
    }
    let mut wrong = Vec::new();
    if flood.ending == Ending::Ended && peer.end().is_none() {
        wrong.push("the connection goes on".to_owned());
    }
    if peer.resets() > MOST_RESETS {
        wrong.push(format!("{} resets", peer.resets()));
    }
    let after = requests() - before;
    if after > MOST_REQUESTS {
        wrong.push(format!("{after} requests upstream"));
    }
    wrong
}

fn prepare_floods(upstream: &HttpUpstream) {
    let body = "b".repeat(1_024 * 1_024);
    upstream
        .answer(floods::LARGE, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    upstream.on(floods::SLOW, Exchange::wait_for_close);
}

fn floods(transport: Transport) {
    let (gateway, key) = gateway_with_key();
    let (target, given) = (target(&gateway, transport), given(&key, transport));
    prepare_floods(&gateway.api_upstream);
    let mut failures = Vec::new();
    for flood in FLOODS {
        let mut failed = |what: String| {
            let case = format!("{} ({})", flood.name, flood.known_as);
            failures.push(Failure { category: FLOOD, case, what });
        };
        let before = gateway.process().resident_bytes();
        let stop = AtomicBool::new(false);
        let (watched, wrong) = std::thread::scope(|scope| {
            let watching = scope.spawn(|| watch(&gateway, &key, &stop));
            let wrong = run_flood(&target, &given, &gateway.api_upstream, flood);
            stop.store(true, Ordering::Relaxed);
            (watching.join().unwrap(), wrong)
        });
        wrong.into_iter().for_each(&mut failed);
        let growth = watched.most_bytes.saturating_sub(before) / (1_024 * 1_024);
        if growth > flood.growth_mebibytes {
            failed(format!("the gateway grew by {growth} MiB"));
        }
        let slowest = watched.waits[(watched.waits.len() * 99).div_ceil(100) - 1];
        if watched.failed > 0 || slowest > OTHERS_WAIT {
            failed(format!("others: {} failed, p99 {slowest:?}", watched.failed));
        }
    }
    expect_none("HTTP/2 floods", FLOODS.len(), LEAST_FLOODS, &failures);
}

#[test]
fn s52_s53_s54_floods_of_http2_in_clear_are_ended_or_cost_little_and_others_are_served() {
    floods(Transport::Clear);
}

#[test]
fn s52_s53_s54_floods_of_http2_over_tls_are_ended_or_cost_little_and_others_are_served() {
    floods(Transport::Tls);
}

#[test]
fn a_proxy_that_is_broken_on_purpose_fails_in_each_category_of_http2() {
    let upstream = HttpUpstream::start();
    let key = Key { text: "k".repeat(44), id: "k".to_owned() };
    let proxy = BrokenProxy::start(upstream.address(), &key.text, "admin");
    let target = Target { address: proxy.address(), transport: Transport::Clear, patience: SHORT };
    let given = given(&key, Transport::Clear);
    let (mut categories, _, mut failures) = run_cases(&target, &given, &upstream);
    prepare_floods(&upstream);
    for flood in FLOODS.iter().filter(|flood| OF_BROKEN.contains(&flood.name)) {
        let wrong = run_flood(&target, &given, &upstream, flood).into_iter();
        failures.extend(wrong.map(|what| Failure { category: FLOOD, case: flood.name.to_owned(), what }));
    }
    categories.insert(FLOOD);
    expect_in_each(&categories, &failures);
    // And the upstream's bytes are looked at, too.
    for found in
        ["a smuggled request", "another user", "a broken value", "a broken name", "more than one framing"]
    {
        assert!(failures.iter().any(|failure| failure.what.starts_with(found)), "{found} was not found");
    }
}
