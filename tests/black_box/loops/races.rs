//! A key is deleted while many use it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{alone, delete_and_note_the_exit, report, try_login};
use crate::harness::{Key, Request, TestGateway, by_length};

const THREADS: usize = 100;

/// What one thread saw.
#[derive(Default)]
struct Seen {
    accepted: usize,
    refused: usize,
    /// When the last request began that was accepted.
    last_accepted: Option<Instant>,
}

impl Seen {
    fn note(&mut self, began: Instant, accepted: bool) {
        if accepted {
            self.accepted += 1;
            self.last_accepted = Some(began);
        } else {
            self.refused += 1;
        }
    }
}

fn use_the_api(gateway: &TestGateway, key: &Key, stop: &AtomicBool) -> Seen {
    let request = Request::get("/").authorization(&key.authorization());
    let mut seen = Seen::default();
    let mut wire = gateway.connect("api");
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let status = wire.exchange(&request).status;
        assert!(matches!(status, 200 | 401), "status {status}");
        seen.note(began, status == 200);
    }
    seen
}

fn log_in(gateway: &TestGateway, key: &Key, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let session = gateway.connect("isproxy");
        let began = Instant::now();
        let reply = try_login(session, key);
        seen.note(began, reply.as_deref() == Some("100 Login ok"));
        thread::park_timeout(Duration::from_millis(2));
    }
    seen
}

#[test]
fn s21_no_request_that_begins_after_the_deletes_answer_is_accepted_however_many_use_the_key() {
    let _alone = alone();
    let rounds = by_length(3, 50);
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..rounds {
        let key = gateway.create_key("acme/admin");
        let stop = AtomicBool::new(false);
        let (exited, all) = thread::scope(|scope| {
            let (gateway, key, stop) = (&gateway, &key, &stop);
            let users: Vec<_> = (0..THREADS)
                .map(|number| {
                    scope.spawn(move || {
                        if number % 10 == 9 {
                            log_in(gateway, key, stop)
                        } else {
                            use_the_api(gateway, key, stop)
                        }
                    })
                })
                .collect();
            let exited = delete_and_note_the_exit(gateway, key);
            thread::park_timeout(Duration::from_millis(150));
            stop.store(true, Ordering::SeqCst);
            (exited, users.into_iter().map(|user| user.join().unwrap()).collect::<Vec<_>>())
        });
        for seen in all {
            let late = seen.last_accepted.filter(|began| *began > exited).map(|began| began - exited);
            assert_eq!(late, None, "round {round}: accepted although the key was deleted before");
            accepted += seen.accepted;
            refused += seen.refused;
        }
    }
    // It was used before, and it was tried after.
    assert!(accepted > rounds && refused >= rounds * THREADS / 2, "{accepted} accepted, {refused} refused");
    report(
        "races",
        &format!(
            "{rounds} deletions under {THREADS} threads: {accepted} requests and logins accepted, {refused} refused, \
             none accepted that began after the command's exit"
        ),
    );
}
