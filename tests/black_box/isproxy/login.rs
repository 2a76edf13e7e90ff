//! `LOGIN`: who gets in, what is said to those who do not, and how often they may try.

use std::time::{Duration, Instant};

use super::{assert_nothing_upstream, gateway_that_delays, gateway_with_key};
use crate::harness::{Authority, PASSWORD, TestGateway, Wire};

/// Sends a line, and answers how long the reply took.
fn timed(session: &mut Wire, line: &str) -> (String, Duration) {
    let asked = Instant::now();
    let reply = session.ask(line);
    (reply, asked.elapsed())
}

#[test]
fn r1_login_takes_a_key_or_a_user_with_a_password_in_clear_and_inside_tls() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    for login in [key.login(), key.login().replace("LOGIN", "login "), alex.login()] {
        let inside_tls = gateway.connect("isproxy-refuse").start_tls(Authority::shared().client(&[]));
        for mut session in [gateway.connect("isproxy"), inside_tls] {
            assert_eq!(session.ask(&login), "100 Login ok");
            assert_eq!(session.ask("IS example.com"), "example.com available");
        }
    }
    // Who asked is not told upstream, and the credential least of all.
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS example.com"; 6]);
}

#[test]
fn every_refused_login_reads_alike() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let gone = gateway.create_user("acme/gone");
    gateway.cli(&["user", "deactivate", "acme/gone"]).expect_success();
    let deleted = gateway.create_key("acme/admin");
    gateway.delete_key(&deleted);
    let other_door = gateway.create_key_of("acme/admin", "api");
    for line in [
        "LOGIN wrong".to_owned(),
        format!("{}x", other_door.login()),
        deleted.login(),
        other_door.login(),
        format!("{}x", alex.login()),
        format!("LOGIN acme/nobody {PASSWORD}"),
        format!("LOGIN nobody/admin {PASSWORD}"),
        format!("LOGIN no-user-at-all {PASSWORD}"),
        gone.login(),
    ] {
        let mut session = gateway.connect("isproxy");
        assert_eq!(session.ask(&line), "400 Login failed", "{line}");
        // Another try on the same connection may be right.
        assert_eq!(session.ask(&alex.login()), "100 Login ok", "{line}");
    }
    assert_nothing_upstream(&gateway);
}

#[test]
fn login_without_an_argument_or_with_more_than_two_is_told_so_in_any_state() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    let wrong = ["LOGIN", "LOGIN  ", "LOGIN a b c", "LOGIN a b c d"];
    for line in wrong {
        assert_eq!(session.ask(line), "400 Wrong number of arguments", "{line:?}");
    }
    // They are no failed logins: four of them did not close the connection.
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    for line in wrong {
        assert_eq!(session.ask(line), "400 Wrong number of arguments", "{line:?}");
    }
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn a_second_login_is_refused_and_the_first_one_stays() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    for line in [key.login(), "LOGIN wrong".to_owned(), format!("LOGIN acme/admin {PASSWORD}")] {
        assert_eq!(session.ask(&line), "400 Already authenticated");
    }
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn s18_nothing_goes_upstream_before_a_login_nor_after_a_failed_one() {
    let (gateway, key) = gateway_with_key();
    let inside_tls = gateway.connect("isproxy").start_tls(Authority::shared().client(&[]));
    for mut session in [gateway.connect("isproxy"), inside_tls] {
        for round in 0..2 {
            for line in ["IS example.com", "IS", "IS a b c", "ENABLE reason", "ENABLE other", "ENABLE"] {
                assert_eq!(session.ask(line), "400 not authenticated", "{line:?} in round {round}");
            }
            assert_eq!(session.ask("LOGIN wrong"), "400 Login failed");
        }
        // Pipelined behind a login that fails.
        session.send("IS early.example\r\nENABLE premium\r\n");
        assert_eq!(session.read_line(), "400 not authenticated");
        assert_eq!(session.read_line(), "400 not authenticated");
        assert_nothing_upstream(&gateway);
    }
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS example.com"]);
}

#[test]
fn a_credential_in_clear_is_refused_where_the_listener_says_so_and_works_inside_tls() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    for line in [key.login(), alex.login(), format!("IS {} example.com", key.text)] {
        let mut session = gateway.connect("isproxy-refuse");
        assert_eq!(session.ask(&line), "400 Login failed");
        assert_eq!(session.ask("IS example.com"), "400 not authenticated");
        assert_nothing_upstream(&gateway);
        let mut session = session.start_tls(Authority::shared().client(&[]));
        assert_eq!(session.ask("IS example.com"), "400 not authenticated");
        assert_eq!(session.ask(&key.login()), "100 Login ok");
    }
    assert_nothing_upstream(&gateway);
}

#[test]
fn s24_r13_a_key_of_the_other_door_asks_nothing_in_the_one_shot_form_either() {
    let (gateway, _) = gateway_with_key();
    let narrow = gateway.create_key_of("acme/admin", "api");
    let mut session = gateway.connect("isproxy");
    assert_eq!(session.ask(&format!("IS {} example.com", narrow.text)), "400 Login failed");
    assert_eq!(session.ask(&narrow.login()), "400 Login failed");
    assert_eq!(session.ask("IS example.com"), "400 not authenticated");
    assert_nothing_upstream(&gateway);
}

#[test]
fn s46_failed_logins_are_answered_late_from_the_second_on_and_the_third_closes() {
    let delay = Duration::from_millis(600);
    let (gateway, key) = gateway_that_delays(600);
    for credential in ["wrong", "acme/admin wrong"] {
        let mut session = gateway.connect("isproxy");
        let line = format!("LOGIN {credential}");
        assert_eq!(session.ask(&line), "400 Login failed");
        for _ in 0..2 {
            let (reply, waited) = timed(&mut session, &line);
            assert_eq!(reply, "400 Login failed");
            assert!(waited >= delay, "answered after {waited:?}");
        }
        session.expect_closed();
    }
    // Others do not wait with them.
    let (reply, waited) = timed(&mut gateway.connect("isproxy"), &key.login());
    assert_eq!(reply, "100 Login ok");
    assert!(waited < delay, "{waited:?}");
}

#[test]
fn s46_lines_behind_a_delayed_answer_wait_and_are_not_executed_once_the_connection_closes() {
    let (gateway, key) = gateway_that_delays(100);
    let mut session = gateway.connect("isproxy");
    session.send(format!("LOGIN a\r\nLOGIN b\r\nLOGIN c\r\n{}\r\nIS example.com\r\n", key.login()));
    for _ in 0..3 {
        assert_eq!(session.read_line(), "400 Login failed");
    }
    session.expect_closed();
    assert_nothing_upstream(&gateway);
}

#[test]
fn s46_failed_one_shot_requests_count_as_failed_logins() {
    let (gateway, _) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    for _ in 0..2 {
        assert_eq!(session.ask("IS wrong example.com"), "400 Login failed");
    }
    assert_eq!(session.ask("LOGIN wrong"), "400 Login failed");
    session.expect_closed();
    assert_nothing_upstream(&gateway);
}
