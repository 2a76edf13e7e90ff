//! HTTP/1.1 in raw bytes: each case says what RFC 9110 and RFC 9112 allow, and is judged by what the client got, by what
//! a recording upstream got, read strictly and in fifteen lenient ways, and by a good request behind it.

mod answers;
mod broken_proxy;
mod case;
mod credentials;
mod faults;
mod framing;
mod heads;
mod judge;
mod models;
mod recorder;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use self::case::Case;
use self::judge::{Target, judge};
pub use self::recorder::Recorder;
use super::{Failure, expect_in_each, expect_none};
use crate::harness::{Authority, PATIENCE, TestGateway, Wire};

fn all_cases() -> Vec<Case> {
    [framing::cases(), heads::cases(), credentials::cases(), faults::cases()].concat()
}

/// What all cases send.
pub fn hostile_messages(key: &str) -> Vec<Vec<u8>> {
    all_cases().iter().map(|case| case.bytes(key)).collect()
}

/// Runs every case once, each at whichever of `targets` is free.
fn run(cases: &[Case], targets: &[Target<'_>]) -> Vec<Failure> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for target in targets {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let wrong = judge(target, case, number).into_iter().map(|what| Failure {
                        category: case.category,
                        case: case.name.clone(),
                        what,
                    });
                    failures.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

/// Runs `cases` against two doors without TLS and two with it, each before an upstream of its own.
fn attack(set: &str, least: usize, cases: &[Case]) {
    let recorders: Vec<Recorder> = (0..4).map(|_| Recorder::start()).collect();
    let gateway = TestGateway::configured(|config| {
        config["limits"]["http_body_bytes"] = json!(100_000);
        config["limits"]["http_header_seconds"] = json!(3);
        // All of them come from one address, and many are wrong.
        config["limits"]["failed_credentials_per_address"] = json!(0);
        let tls = config["listeners"][1]["tls"].clone();
        for (number, recorder) in recorders.iter().enumerate() {
            let name = format!("attacked-{number}");
            let server = format!("http://{}", recorder.address());
            push(&mut config["upstreams"], json!({ "name": name, "protocol": "http", "servers": [server] }));
            let way = if has_tls(number) {
                ("tls", tls.clone())
            } else {
                ("plaintext_credentials", json!("allow"))
            };
            let routes = json!([{ "path": "/", "upstream": name }]);
            let mut listener =
                json!({ "name": name, "protocol": "http", "address": "127.0.0.1:0", "routes": routes });
            listener[way.0] = way.1;
            push(&mut config["listeners"], listener);
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let targets = |transport: Transport| -> Vec<Target<'_>> {
        let numbered = recorders.iter().enumerate();
        numbered
            .filter(|(number, _)| has_tls(*number) == (transport == Transport::Tls))
            .map(|(number, recorder)| {
                let address = gateway.address(&format!("attacked-{number}"));
                Target {
                    connect: Box::new(move || connect(address, transport)),
                    recorder,
                    key: key.text.clone(),
                    user: "admin",
                    patience: PATIENCE,
                }
            })
            .collect()
    };
    std::thread::scope(|scope| {
        for transport in [Transport::Tcp, Transport::Tls] {
            let targets = targets(transport);
            scope.spawn(move || {
                expect_none(&format!("{set} over {transport:?}"), cases.len(), least, &run(cases, &targets));
            });
        }
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Tls,
}

fn has_tls(door: usize) -> bool {
    door % 2 == 1
}

fn push(list: &mut Value, element: Value) {
    list.as_array_mut().unwrap().push(element);
}

fn connect(address: SocketAddr, transport: Transport) -> Wire {
    match transport {
        Transport::Tcp => Wire::connect(address),
        Transport::Tls => Wire::connect_tls(address, Authority::shared().client(&["http/1.1"])),
    }
}

#[test]
fn s02_s03_s04_s05_s07_s08_s69_no_body_ends_where_another_reader_would_not_end_it() {
    attack("framing of HTTP/1.1", 160, &framing::cases());
}

#[test]
fn s02_s06_s58_s59_s60_s61_s62_s63_no_head_reads_differently_to_another_reader() {
    attack("heads of HTTP/1.1", 120, &heads::cases());
}

#[test]
fn s01_s09_s10_s11_s12_s13_s57_s64_s65_s67_s68_nobody_comes_in_as_somebody_else_or_through_a_refused_body() {
    attack("credentials and identities of HTTP/1.1", 110, &credentials::cases());
}

#[test]
fn s65_s68_s71_nothing_that_an_upstream_says_is_a_whole_answer_unless_it_is_one() {
    attack("faults of upstreams of HTTP/1.1", 60, &faults::cases());
}

#[test]
fn the_set_of_http1_sees_what_is_wrong_with_a_broken_proxy() {
    let recorder = Recorder::start();
    let key = "a-key-of-44-characters-that-nobody-can-guess";
    let address = broken_proxy::start(recorder.address(), key);
    let target = Target {
        connect: Box::new(move || Wire::connect(address)),
        recorder: &recorder,
        key: key.to_owned(),
        user: "admin",
        // It has more than enough time, and says nothing where it was sent half a request.
        patience: Duration::from_millis(300),
    };
    let good = Case::new("good", "good", "", case::get(""), case::PASSED);
    assert_eq!(judge(&target, &good, 0), Vec::<String>::new(), "an ordinary request passes through it");
    let cases = all_cases();
    let categories: BTreeSet<&'static str> = cases.iter().map(|case| case.category).collect();
    expect_in_each(&categories, &run(&cases, &[target]));
}
