//! Failed keys and passwords: by address, by user name, and never at the cost of a valid key.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::gateway_with_limits;
use crate::harness::{Answer, PASSWORD, Request, TestGateway, basic, by_length, wait_for};

const ATTACKER: &str = "127.0.0.66";
const OTHER_ATTACKER: &str = "127.0.0.67";
const VICTIM: &str = "127.0.0.5";

/// 429 for failures; seconds of its `Retry-After`.
#[track_caller]
fn assert_throttled(answer: &Answer) -> u64 {
    answer.assert_refusal(429, "AuthenticationRatelimitedError");
    answer.field("retry-after").unwrap().parse().unwrap()
}

/// How often each reason stands in the access log, once it has so many lines.
fn reasons(gateway: &TestGateway, lines: usize) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for line in gateway.access_log(lines) {
        *reasons.entry(line["reason"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
    }
    reasons
}

#[test]
fn s44_after_100_bad_credentials_an_address_gets_429_and_valid_keys_keep_working_from_everywhere() {
    let gateway = gateway_with_limits(&json!({ "failed_credentials_per_address": 100 }));
    let key = gateway.create_key("acme/admin");
    let authorization = key.authorization();
    let bad = ["ApiKey wrong", "ApiKey lk1_x", "Bearer nothing", "Basic !", ""];
    for number in 0..100 {
        // Keys, passwords and what cannot be read count alike.
        let credential = match number % 10 {
            0 => basic("acme/admin", &format!("wrong {number}")),
            kind => bad[kind % bad.len()].to_owned(),
        };
        gateway.api_get_from(ATTACKER, "/", &credential).assert_refusal(401, "AuthenticationError");
        assert_eq!(gateway.api_get_from(VICTIM, "/", &authorization).status, 200);
    }
    for credential in ["ApiKey wrong", &basic("acme/admin", "wrong"), &basic("acme/admin", PASSWORD)] {
        let wait = assert_throttled(&gateway.api_get_from(ATTACKER, "/", credential));
        assert!((500..=600).contains(&wait), "{wait}");
        // Nobody is locked out, not even where the guesses come from.
        for from in [VICTIM, ATTACKER] {
            assert_eq!(gateway.api_get_from(from, "/", &authorization).status, 200);
            assert_eq!(gateway.connect_from(from, "isproxy").ask(&key.login()), "100 Login ok");
        }
    }
    assert_eq!(gateway.connect_from(ATTACKER, "isproxy").ask("LOGIN wrong"), "400 Login failed");
    let again = gateway.api_get_from(OTHER_ATTACKER, "/", "ApiKey wrong");
    again.assert_refusal(401, "AuthenticationError");
    // What was refused unseen was not hashed, and is told by its reason.
    assert_eq!(reasons(&gateway, 217)["too_many_failures"], 2);
}

#[test]
fn s45_one_password_for_very_many_names_is_evaluated_no_more_often_than_the_address_may_fail() {
    let (names, limit) = (by_length(60, 10_000), by_length(10, 100));
    let gateway = gateway_with_limits(&json!({
        "failed_credentials_per_address": limit,
        "failed_passwords_per_user": 10,
    }));
    let mut wire = gateway.connect_from(ATTACKER, "api");
    for number in 0..names {
        let credential = basic(&format!("acme/user{number}"), PASSWORD);
        let answer = wire.exchange(&Request::get("/").authorization(&credential));
        if number < limit {
            answer.assert_refusal(401, "AuthenticationError");
        } else {
            assert_throttled(&answer);
        }
    }
    let reasons = reasons(&gateway, names);
    assert_eq!((reasons["unknown_user"], reasons["too_many_failures"]), (limit, names - limit));
}

#[test]
fn s44_passwords_for_a_name_are_delayed_from_everywhere_alike_for_known_and_unknown_names() {
    let gateway = gateway_with_limits(&json!({ "failed_passwords_per_user": 3 }));
    gateway.create_user("acme/alex");
    let key = gateway.create_key_of("acme/alex", "isproxy");
    for name in ["acme/alex", "acme/nobody", "nonsense"] {
        for number in 0..3 {
            let from = if number == 0 { ATTACKER } else { OTHER_ATTACKER };
            let answer = gateway.api_get_from(from, "/", &basic(name, "wrong"));
            answer.assert_refusal(401, "AuthenticationError");
        }
        let began = Instant::now();
        let refused = gateway.api_get_from(VICTIM, "/", &basic(name, PASSWORD));
        if began.elapsed() < Duration::from_millis(900) {
            assert_eq!(assert_throttled(&refused), 1, "{name}");
        }
        // After the delay one more is evaluated, and then the delay is longer.
        wait_for("the end of a delay", || {
            let answer = gateway.api_get_from(ATTACKER, "/", &basic(name, "wrong"));
            (answer.status == 401).then_some(())
        });
        let wait = assert_throttled(&gateway.api_get_from(VICTIM, "/", &basic(name, PASSWORD)));
        assert!((1..=4).contains(&wait), "{wait}");
        assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok", "keys are not delayed");
    }
    // Other names are not touched.
    gateway.create_user("acme/other");
    assert_eq!(gateway.api_get("/", &basic("acme/other", PASSWORD)).status, 200);
}

#[test]
fn s46_failed_logins_at_isproxy_delay_the_name_at_both_doors_until_the_right_password_is_let_in() {
    let gateway = gateway_with_limits(&json!({ "failed_passwords_per_user": 3 }));
    let alex = gateway.create_user("acme/alex");
    for number in 0..3 {
        let from = format!("127.0.0.{}", 70 + number);
        let line = format!("LOGIN {} wrong{number}", alex.name);
        assert_eq!(gateway.connect_from(&from, "isproxy").ask(&line), "400 Login failed");
    }
    let began = Instant::now();
    let (at_isproxy, at_api) =
        (gateway.isproxy_login(&alex.login()), gateway.api_get("/", &alex.authorization()));
    if began.elapsed() < Duration::from_millis(900) {
        assert_eq!(at_isproxy, "400 Login failed");
        assert_throttled(&at_api);
    }
    wait_for("the end of the delay", || {
        (gateway.isproxy_login(&alex.login()) == "100 Login ok").then_some(())
    });
    // The right password has cleared the name.
    for number in 0..3 {
        let answer = gateway.api_get("/", &basic(&alex.name, &format!("wrong{number}")));
        answer.assert_refusal(401, "AuthenticationError");
    }
}

#[test]
fn s44_a_burst_of_wrong_passwords_is_evaluated_no_more_often_than_one_after_the_other() {
    let gateway = gateway_with_limits(&json!({ "failed_passwords_per_user": 5 }));
    let together = Barrier::new(30);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let (gateway, together) = (&gateway, &together);
        let asking: Vec<_> = (0..30)
            .map(|number| {
                scope.spawn(move || {
                    let mut wire = gateway.connect("api");
                    together.wait();
                    let credential = basic("acme/admin", &format!("wrong {number}"));
                    wire.exchange(&Request::get("/").authorization(&credential)).status
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let evaluated = statuses.iter().filter(|status| **status == 401).count();
    // A few more may be, where the burst takes longer than the first delays.
    assert!((5..=7).contains(&evaluated), "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
}

#[test]
fn many_connections_that_send_the_right_password_at_once_are_all_let_in() {
    let gateway = gateway_with_limits(&json!({
        "failed_passwords_per_user": 3,
        "failed_credentials_per_address": 3,
    }));
    let alex = gateway.create_user("acme/alex");
    let together = Barrier::new(30);
    thread::scope(|scope| {
        for number in 0..30 {
            let (gateway, together, alex) = (&gateway, &together, &alex);
            scope.spawn(move || {
                let mut wire = gateway.connect(if number % 3 == 0 { "isproxy" } else { "api" });
                together.wait();
                if number % 3 == 0 {
                    assert_eq!(wire.ask(&alex.login()), "100 Login ok");
                } else {
                    let request = Request::get("/").authorization(&alex.authorization());
                    assert_eq!(wire.exchange(&request).status, 200);
                }
            });
        }
    });
}

#[test]
fn s43_where_the_queue_of_passwords_is_full_the_answer_is_503_and_keys_go_on() {
    let gateway = gateway_with_limits(&json!({ "password_queue": 1 }));
    let key = gateway.create_key("acme/admin");
    let clients = 16 * thread::available_parallelism().unwrap().get();
    let (together, stop) = (Barrier::new(clients), AtomicBool::new(false));
    let answers: Vec<Answer> = thread::scope(|scope| {
        let (gateway, together, stop, key) = (&gateway, &together, &stop, &key);
        let keys = scope.spawn(move || {
            let request = Request::get("/").authorization(&key.authorization());
            let mut wire = gateway.connect("api");
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(wire.exchange(&request).status, 200);
                assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
            }
        });
        let asking: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || {
                    let mut wire = gateway.connect("api");
                    together.wait();
                    let credential = basic(&format!("acme/user{number}"), PASSWORD);
                    wire.exchange(&Request::get("/").authorization(&credential))
                })
            })
            .collect();
        let answers = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
        stop.store(true, Ordering::SeqCst);
        keys.join().unwrap();
        answers
    });
    let (full, judged): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 503);
    assert!(!full.is_empty() && !judged.is_empty(), "{} and {}", full.len(), judged.len());
    for answer in full {
        answer.assert_refusal(503, "ProviderUnavailable");
        assert_eq!(answer.field("retry-after"), Some("1"));
    }
    for answer in judged {
        answer.assert_refusal(401, "AuthenticationError");
    }
}
