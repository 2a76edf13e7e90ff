//! How soon a deletion holds at every gateway, and what it says of them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::Fleet;
use crate::console::{create_key, deletion_of, sign_in};
use crate::harness::{Key, PATIENCE, Request, TestGateway, by_length};
use crate::loops::open_things::{
    Open, let_streams_age, let_things_stay_open, open_everything, serve_open_things,
};
use crate::loops::{percentiles, report};

/// From the acknowledged deletion to the refusal at the last gateway, and to the end of what is open there.
const BAR: Duration = Duration::from_millis(250);
/// The same for what its client does not read.
const UNREAD_BAR: Duration = Duration::from_millis(1_200);
/// Keys whose things are open at the same time.
const BATCH: usize = 10;

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

/// What is open at every gateway by one key.
const OPEN_EVERYWHERE: usize = 25;

/// What `25 open sessions ended at 5 gateways in 41 ms` says.
fn milliseconds_of(told: &str) -> Duration {
    assert!(told.contains(&format!("{OPEN_EVERYWHERE} open sessions ended at 5 gateways in ")), "{told}");
    let (_, behind) = told.rsplit_once(" in ").unwrap();
    Duration::from_millis(behind.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn r20_a_deletion_holds_at_five_gateways_within_250_ms_and_ends_what_is_open() {
    let fleet = Fleet::configured(5, let_things_stay_open);
    let [first, ..] = &fleet.gateways[..] else { panic!() };
    first.create_customer("acme");
    let kept = first.create_key("acme/admin");
    fleet.gateways.iter().for_each(|gateway| serve_open_things(&gateway.api_upstream));
    let rounds = by_length(10, 200);
    let (mut refused, mut confirmed) = (Vec::new(), Vec::new());
    let mut ended: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for batch in (0..rounds).collect::<Vec<_>>().chunks(BATCH) {
        let opened: Vec<(Key, Vec<Open>)> = batch
            .iter()
            .map(|_| {
                let key = first.create_key("acme/admin");
                let open = |gateway| open_everything(gateway, &key.login(), &key.authorization());
                let open = fleet.gateways.iter().flat_map(open).collect();
                (key, open)
            })
            .collect();
        let_streams_age();
        for (key, open) in opened {
            assert_eq!(open.len(), OPEN_EVERYWHERE);
            thread::scope(|scope| {
                let key = &key;
                let watch = |gateway| scope.spawn(move || first_refusal(gateway, key));
                let watchers: Vec<_> = fleet.gateways.iter().map(watch).collect();
                let wait = |(what, wait): Open| {
                    let ending = scope.spawn(move || {
                        wait();
                        Instant::now()
                    });
                    (what, ending)
                };
                let endings: Vec<_> = open.into_iter().map(wait).collect();
                let told = first.cli(&["key", "delete", &key.id, "--yes"]);
                let deleted = Instant::now();
                confirmed.push(milliseconds_of(&told.stderr));
                let after = |moment: Instant| moment.saturating_duration_since(deleted);
                refused.extend(watchers.into_iter().map(|watcher| after(watcher.join().unwrap())));
                for (what, ending) in endings {
                    ended.entry(what).or_default().push(after(ending.join().unwrap()));
                }
            });
        }
    }
    let mut lines = vec![format!("  refused at the API      {}", percentiles(refused.clone()))];
    let mut late: Vec<_> =
        refused.into_iter().filter(|time| *time > BAR).map(|time| ("refused", time)).collect();
    for (what, times) in ended {
        assert_eq!(times.len(), 5 * rounds);
        let bar = if what.contains("unread") { UNREAD_BAR } else { BAR };
        late.extend(times.iter().filter(|time| **time > bar).map(|time| (what, *time)));
        lines.push(format!("  {what:<22}  {}", percentiles(times)));
    }
    let text = format!(
        "{rounds} deletions, 5 gateways\n  confirmed by all, from the commit on {}\n  from the command's exit on\n{}",
        percentiles(confirmed),
        lines.join("\n")
    );
    report("deletions_at_five_gateways", &text);
    assert!(late.is_empty(), "too late: {late:?}");
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
