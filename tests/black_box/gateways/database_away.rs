//! The database stops and comes back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Fleet;
use crate::harness::{Key, Request, TestGateway, by_length, wait_for};
use crate::loops::report;

/// In step after the database's return: a second, and what a busy machine takes.
const BAR: Duration = Duration::from_secs(3);

/// Asks with the key until told to stop, and counts; every answer must be 200.
fn ask_all_the_time(gateway: &TestGateway, key: &Key, stop: &AtomicBool, asked: &AtomicUsize) {
    let request = Request::get("/").authorization(&key.authorization());
    let mut wire = gateway.connect("api");
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(wire.exchange(&request).status, 200);
        asked.fetch_add(1, Ordering::Relaxed);
        thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn s80_keys_go_on_while_the_database_is_away_and_everything_is_in_step_soon_after() {
    let fleet = Fleet::start(2);
    let [one, two] = &fleet.gateways[..] else { panic!() };
    one.create_customer("acme");
    let kept = one.create_key("acme/admin");
    let other = one.create_key("acme/admin");
    let mut session = two.isproxy_session(&other.login());
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let away = Duration::from_secs(u64::try_from(by_length(3, 600)).unwrap());
    let took = thread::scope(|scope| {
        for gateway in [one, two, one, two] {
            scope.spawn(|| ask_all_the_time(gateway, &kept, &stop, &asked));
        }
        fleet.server.stop();
        let gone = Instant::now();
        for gateway in [one, two] {
            wait_for("the readiness of a gateway without its database", || {
                gateway
                    .ask_ops("/readyz")
                    .text()
                    .starts_with("degraded: the store cannot be read for ")
                    .then_some(())
            });
        }
        assert_eq!(session.ask("IS example.com"), "example.com available");
        let refused = one.cli(&["key", "delete", &other.id, "--yes"]);
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("cannot be reached"), "{}", refused.stderr);
        while gone.elapsed() < away {
            thread::park_timeout(away.saturating_sub(gone.elapsed()));
        }
        fleet.server.start_again();
        let back = Instant::now();
        for gateway in [one, two] {
            wait_for("readiness", || gateway.ask_ops("/readyz").text().starts_with("ready").then_some(()));
        }
        let took = back.elapsed();
        // The other one has been idle for as long as the database was away.
        session = two.isproxy_session(&other.login());
        let told = one.cli(&["key", "delete", &other.id, "--yes"]).stderr;
        assert!(told.contains("1 open session ended at 2 gateways in "), "{told}");
        stop.store(true, Ordering::Relaxed);
        took
    });
    session.expect_closed();
    for gateway in [one, two] {
        gateway.api_get("/", &other.authorization()).assert_refusal(401, "AuthenticationError");
    }
    let asked = asked.load(Ordering::Relaxed);
    report(
        "database_away",
        &format!("{away:?} away, {asked} requests, none failed; in step {took:?} after its return"),
    );
    assert!(took < BAR, "in step {took:?} after the database was back");
}
