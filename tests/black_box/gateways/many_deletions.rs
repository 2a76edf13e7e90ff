//! A hundred deletions a second while many clients use the keys.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Fleet;
use crate::harness::{Key, Request, TestGateway, by_length};
use crate::loops::{Random, percentiles, report};

const CLIENTS: usize = 64;
/// Deletions that wait for their acknowledgement at the same time.
const DELETERS: usize = 16;
const DELETIONS_A_SECOND: u32 = 100;
/// By one client.
const BETWEEN_TWO_USES: Duration = Duration::from_millis(50);

/// A key and its fate.
struct Doomed {
    key: Key,
    /// When its deletion was acknowledged, in nanoseconds from the beginning; 0: not yet.
    deleted_at: AtomicU64,
}

/// Nanoseconds from `began` on, never 0.
fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap().max(1)
}

/// Makes `count` keys by one command.
fn make_keys(gateway: &TestGateway, count: usize) -> Vec<Doomed> {
    let file = gateway.path("keys");
    let (count, output) = (count.to_string(), file.to_str().unwrap());
    let order = ["key", "create", "acme/alex", "--description", "doomed", "--scope", "api", "--yes"];
    gateway.cli(&[&order[..], &["--count", &count, "--output", output]].concat()).expect_success();
    let texts = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let listed = gateway.cli(&["key", "list", "--json"]).json();
    let listed = listed.as_array().unwrap();
    let id_of = |text: &str| {
        let ends = |key: &&serde_json::Value| text.ends_with(key["last_characters"].as_str().unwrap());
        listed.iter().filter(ends).map(|key| key["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut keys = Vec::new();
    for text in texts.lines() {
        gateway.secrets().note("key", text);
        // Two keys may end alike; those are left alone.
        if let [id] = &id_of(text)[..] {
            let key = Key { text: text.to_owned(), id: id.clone() };
            keys.push(Doomed { key, deleted_at: AtomicU64::new(0) });
        }
    }
    keys
}

#[test]
fn no_key_is_let_in_after_its_deletion_was_acknowledged_while_many_are_deleted_and_used() {
    let fleet = Fleet::start(3);
    let [first, ..] = &fleet.gateways[..] else { panic!() };
    first.create_customer("acme");
    first.create_user("acme/alex");
    let scope = ["--scope", "manage", "--allow", "127.0.0.1"];
    let manager = first.create_key_with("acme/admin", &scope);
    let keys = make_keys(first, by_length(200, 6_000));
    let kept = keys.len() / 20;
    let doomed = keys.len() - kept;
    let (next, stop, uses) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let answered = Mutex::new(Vec::new());
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (keys, stop, uses) = (&keys, &stop, &uses);
            let gateway = &fleet.gateways[number % fleet.gateways.len()];
            scope.spawn(move || {
                let mut random = Random(u64::try_from(number).unwrap() + 1);
                let mut wire = gateway.connect("api");
                while !stop.load(Ordering::Relaxed) {
                    let picked = usize::try_from(random.below(keys.len() as u64)).unwrap();
                    let Doomed { key, deleted_at } = &keys[picked];
                    let deleted = deleted_at.load(Ordering::SeqCst);
                    let asked = since(began);
                    let status = wire.exchange(&Request::get("/").authorization(&key.authorization())).status;
                    uses.fetch_add(1, Ordering::Relaxed);
                    // They use the keys; that they take all of the machine is not the story.
                    thread::park_timeout(BETWEEN_TWO_USES);
                    match status {
                        200 => assert_eq!(
                            deleted,
                            0,
                            "let in {:?} after its deletion was acknowledged",
                            Duration::from_nanos(asked - deleted)
                        ),
                        401 => assert!(picked < doomed, "a key that nobody deleted is refused"),
                        other => panic!("status {other}"),
                    }
                }
            });
        }
        let deleters: Vec<_> = (0..DELETERS)
            .map(|number| {
                let (keys, next, answered, manager) = (&keys, &next, &answered, &manager);
                let gateway = &fleet.gateways[number % fleet.gateways.len()];
                scope.spawn(move || {
                    let host = format!("localhost:{}", gateway.address("console").port());
                    let mut wire = gateway.connect("console");
                    loop {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        if turn >= doomed {
                            return;
                        }
                        let due = began
                            + Duration::from_secs(1) * u32::try_from(turn).unwrap() / DELETIONS_A_SECOND;
                        thread::park_timeout(due.saturating_duration_since(Instant::now()));
                        let target = format!("/api/v1/api-keys/{}", keys[turn].key.id);
                        let request =
                            Request::of(&host, "DELETE", &target).authorization(&manager.authorization());
                        let asked = Instant::now();
                        let answer = wire.exchange(&request);
                        assert_eq!(answer.status, 204, "{}", answer.text());
                        keys[turn].deleted_at.store(since(began), Ordering::SeqCst);
                        answered.lock().unwrap().push(asked.elapsed());
                        assert_eq!(answer.field("latchkey-unconfirmed"), None, "{answer:?}");
                    }
                })
            })
            .collect();
        let ended: Vec<_> = deleters.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a deletion failed");
        let rate = f64::from(u32::try_from(doomed).unwrap()) / took.as_secs_f64();
        let times = percentiles(answered.lock().unwrap().clone());
        report(
            "many_deletions",
            &format!(
                "{doomed} deletions, {rate:.0} a second ({DELETIONS_A_SECOND} wished for), acknowledged by 3 gateways after {times}; \
                 {CLIENTS} clients used the keys {} times meanwhile",
                uses.load(Ordering::Relaxed)
            ),
        );
    });
    let mut wires: Vec<_> = fleet.gateways.iter().map(|gateway| gateway.connect("api")).collect();
    for (number, Doomed { key, .. }) in keys.iter().enumerate() {
        let expected = if number < doomed { 401 } else { 200 };
        for wire in &mut wires {
            let answer = wire.exchange(&Request::get("/").authorization(&key.authorization()));
            assert_eq!(answer.status, expected);
        }
    }
}
