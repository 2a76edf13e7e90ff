//! How soon a deletion holds at every gateway, and what it says of them.

use std::thread;
use std::time::{Duration, Instant};

use super::Fleet;
use crate::console::{create_key, deletion_of, sign_in};
use crate::harness::{Key, PATIENCE, Request, TestGateway, by_length};
use crate::loops::{percentiles, report};

/// From the acknowledged deletion to the refusal at the last gateway, at the 99th percentile.
const BAR: Duration = Duration::from_millis(250);

/// When the API of `gateway` first refused the key; it is used on one connection all the time.
fn first_refusal(gateway: &TestGateway, key: &Key) -> Instant {
    let request = Request::get("/").authorization(&key.authorization());
    let mut wire = gateway.connect("api");
    let began = Instant::now();
    loop {
        match wire.exchange(&request).status {
            200 => assert!(began.elapsed() < PATIENCE, "a deleted key is let in"),
            401 => return Instant::now(),
            other => panic!("status {other}"),
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// What `5 open sessions ended at 5 gateways in 41 ms` says.
fn milliseconds_of(told: &str) -> Duration {
    assert!(told.contains("5 open sessions ended at 5 gateways in "), "{told}");
    let (_, behind) = told.rsplit_once(" in ").unwrap();
    Duration::from_millis(behind.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn r20_a_deletion_holds_at_five_gateways_within_250_ms() {
    let fleet = Fleet::start(5);
    let [first, ..] = &fleet.gateways[..] else { panic!() };
    first.create_customer("acme");
    let kept = first.create_key("acme/admin");
    let rounds = by_length(10, 200);
    let (mut refused, mut closed, mut confirmed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let key = first.create_key("acme/admin");
        let mut sessions: Vec<_> =
            fleet.gateways.iter().map(|gateway| gateway.isproxy_session(&key.login())).collect();
        thread::scope(|scope| {
            let watchers: Vec<_> =
                fleet.gateways.iter().map(|gateway| scope.spawn(|| first_refusal(gateway, &key))).collect();
            let endings: Vec<_> = sessions
                .iter_mut()
                .map(|session| {
                    scope.spawn(|| {
                        session.expect_closed();
                        Instant::now()
                    })
                })
                .collect();
            let told = first.cli(&["key", "delete", &key.id, "--yes"]);
            let deleted = Instant::now();
            confirmed.push(milliseconds_of(&told.stderr));
            let after = |moment: Instant| moment.saturating_duration_since(deleted);
            refused.extend(watchers.into_iter().map(|watcher| after(watcher.join().unwrap())));
            closed.extend(endings.into_iter().map(|ending| after(ending.join().unwrap())));
        });
    }
    let slowest = refused.iter().chain(&closed).max().copied();
    let text = format!(
        "{rounds} deletions, 5 gateways\n  confirmed by all, from the commit on   {}\n  from the command's exit on\n    \
         refused at the API  {}\n    session closed      {}",
        percentiles(confirmed),
        percentiles(refused),
        percentiles(closed)
    );
    report("deletions_at_five_gateways", &text);
    assert!(slowest < Some(BAR), "the slowest took {slowest:?}");
    for gateway in &fleet.gateways {
        assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
    }
}

#[test]
fn a_deletion_names_what_was_ended_where_and_who_is_silent() {
    let mut fleet = Fleet::start(2);
    let lost = fleet.gateways.pop().unwrap();
    let [gateway] = &fleet.gateways[..] else { panic!() };
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut session = gateway.isproxy_session(&key.login());
    let told = gateway.cli(&["key", "delete", &key.id, "--yes"]);
    assert!(told.stderr.contains("1 open session ended at 2 gateways in "), "{told:?}");
    session.expect_closed();

    // At the console the same is told.
    let mut admin = sign_in(gateway, "acme/admin");
    let text = create_key(&mut admin, "/profile/api-keys", "for the shop", &["api", "isproxy"]);
    let key = Key { text, id: String::new() };
    gateway.secrets().note("API key", &key.text);
    let mut sessions = [gateway, &lost].map(|gateway| gateway.isproxy_session(&key.login()));
    let deletion = deletion_of(&mut admin, "/profile/api-keys", "for the shop");
    let page = admin.open(&deletion);
    admin
        .submit(&page, &deletion, &[("understood", "yes")])
        .expect_text("2 connections were ended on 2 gateways in ");
    sessions.iter_mut().for_each(crate::harness::Wire::expect_closed);

    // One that vanished may still run somewhere, cut off: nobody may be told that it has the change.
    let pid = lost.process().id();
    drop(lost.kill());
    let key = gateway.create_key("acme/admin");
    let told = gateway.cli(&["key", "delete", &key.id, "--yes"]).stderr;
    assert!(told.contains(&format!("pid {pid} has not confirmed it within ")), "{told}");
}
