//! How soon a deletion by the command line holds at a running gateway.

use std::thread;
use std::time::{Duration, Instant};

use super::{alone, delete_and_note_the_exit, percentiles, report, try_login};
use crate::harness::{Key, PATIENCE, Request, TestGateway, by_length};

/// From the command's exit on (issue "Done when" 2; INTERFACE, "within 100 ms").
const BAR: Duration = Duration::from_millis(100);
/// Between two tries of a watcher.
const PACE: Duration = Duration::from_millis(1);

/// When the API refused the key for the first time; it is used on one warm connection all the time.
fn first_refusal_at_the_api(gateway: &TestGateway, key: &Key) -> Instant {
    let request = Request::get("/").authorization(&key.authorization());
    let mut wire = gateway.connect("api");
    paced("the API to refuse the key", || match wire.exchange(&request).status {
        200 => None,
        401 => Some(Instant::now()),
        other => panic!("status {other}"),
    })
}

fn first_refused_login(gateway: &TestGateway, key: &Key) -> Instant {
    paced("a refused login", || match try_login(gateway.connect("isproxy"), key).as_deref() {
        Some("100 Login ok") | None => None,
        Some("400 Login failed") => Some(Instant::now()),
        Some(other) => panic!("{other:?}"),
    })
}

/// Asks `probe` at [`PACE`] until it answers; a deletion that never holds is told, not waited for.
fn paced(what: &str, mut probe: impl FnMut() -> Option<Instant>) -> Instant {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        thread::park_timeout(PACE);
    }
}

/// How long after the command's exit: refused at the API, refused at `LOGIN`, session closed.
fn delete_once(gateway: &TestGateway, key: &Key) -> [Duration; 3] {
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let (exited, moments) = thread::scope(|scope| {
        let closed = scope.spawn(move || {
            session.expect_closed();
            Instant::now()
        });
        let api = scope.spawn(|| first_refusal_at_the_api(gateway, key));
        let login = scope.spawn(|| first_refused_login(gateway, key));
        let exited = delete_and_note_the_exit(gateway, key);
        (exited, [api, login, closed].map(|watcher| watcher.join().unwrap()))
    });
    // And it stays so.
    gateway.api_get("/", &key.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed");
    moments.map(|moment| moment.saturating_duration_since(exited))
}

#[test]
fn r20_s20_a_deletion_holds_at_both_doors_and_for_open_sessions_within_100_ms() {
    let _alone = alone();
    let rounds = by_length(30, 200);
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let kept = gateway.create_key("acme/admin");
    let mut untouched = gateway.isproxy_session(&kept.login());
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds {
        let key = gateway.create_key("acme/admin");
        for (times, time) in times.iter_mut().zip(delete_once(&gateway, &key)) {
            times.push(time);
        }
        assert_eq!(untouched.ask("IS example.com"), "example.com available");
    }
    assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
    let slowest = times.iter().flatten().max().copied();
    let [api, login, session] = times.map(percentiles);
    report(
        "deletions",
        &format!(
            "{rounds} deletions, from the command's exit\n  refused at the API  {api}\n  refused at LOGIN    {login}\n  \
             session closed      {session}"
        ),
    );
    assert!(slowest < Some(BAR), "the slowest took {slowest:?}");
}
