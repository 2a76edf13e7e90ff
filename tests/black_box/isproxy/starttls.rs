//! `STARTTLS`: answered in clear, carried over by nothing, and never a way to be talked out of TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::json;

use super::{assert_nothing_upstream, gateway_with_key, gateway_with_limits, with_key};
use crate::harness::{Authority, TestGateway};

fn tls() -> Arc<ClientConfig> {
    Authority::shared().client(&[])
}

#[test]
fn a_connection_is_not_greeted() {
    let gateway = TestGateway::start();
    let mut session = gateway.connect("isproxy");
    session.expect_silence(Duration::from_millis(200));
    assert_eq!(session.ask("IS example.com"), "400 not authenticated");
    assert_eq!(gateway.isproxy_upstream.connections(), 0);
}

#[test]
fn starttls_is_answered_in_clear_and_then_tls_is_spoken_on_any_listener_that_has_it() {
    let (gateway, key) = gateway_with_key();
    for listener in ["isproxy", "isproxy-refuse"] {
        for line in ["STARTTLS", "starttls", "STARTTLS "] {
            let mut session = gateway.connect(listener);
            assert_eq!(session.ask(line), "100 OK", "{line:?}");
            let mut session = session.into_tls(tls());
            // No greeting inside TLS either.
            session.expect_silence(Duration::from_millis(50));
            assert_eq!(session.ask(&key.login()), "100 Login ok");
            assert_eq!(session.ask("IS example.com"), "example.com available");
        }
    }
}

#[test]
fn s16_bytes_behind_starttls_are_never_executed_neither_before_nor_after_the_handshake() {
    let (gateway, key) = gateway_with_key();
    for listener in ["isproxy", "isproxy-refuse"] {
        for behind in [
            format!("{}\r\nIS injected.example\r\n", key.login()),
            format!("IS {} injected.example\r\n", key.text),
            "IS injected.example\r\n".to_owned(),
            "STARTTLS\r\n".to_owned(),
            "\r\n".to_owned(),
            " ".to_owned(),
            // A client that does not wait for the answer.
            "\u{16}\u{3}\u{1}".to_owned(),
        ] {
            let mut session = gateway.connect(listener);
            session.send(format!("STARTTLS\r\n{behind}"));
            session.expect_closed();
        }
    }
    assert_nothing_upstream(&gateway);
}

#[test]
fn s16_lines_in_clear_where_the_handshake_is_due_end_the_connection() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    assert_eq!(session.ask("STARTTLS"), "100 OK");
    session.send(format!("{}\r\nIS injected.example\r\n", key.login()));
    // A TLS alert may come, an answer may not.
    let said = session.read_to_end();
    assert!(!said.windows(3).any(|word| word == b"100" || word == b"400"), "{said:?}");
    assert_nothing_upstream(&gateway);
}

#[test]
fn starttls_where_tls_cannot_be_offered_closes_without_an_answer() {
    let change = |config: &mut serde_json::Value| {
        config["listeners"][3].as_object_mut().unwrap().remove("tls").unwrap();
    };
    let (gateway, key) = with_key(TestGateway::configured(change));
    for line in ["STARTTLS\r\n", "starttls now\r\n"] {
        let mut session = gateway.connect("isproxy");
        session.send(line);
        session.expect_closed();
    }
    // The same after a line that was answered, and nothing of it went upstream.
    let mut session = gateway.connect("isproxy");
    assert_eq!(session.ask("IS example.com"), "400 not authenticated");
    session.send_line("STARTTLS");
    session.expect_closed();
    assert_nothing_upstream(&gateway);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
}

#[test]
fn starttls_inside_tls_is_refused_and_the_session_goes_on() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy").start_tls(tls());
    assert_eq!(session.ask("STARTTLS"), "400 TLS already active");
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    assert_eq!(session.ask("STARTTLS"), "400 TLS already active");
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn s17_starttls_after_a_login_in_clear_is_refused_and_the_session_goes_on_in_clear() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("STARTTLS"), "400 Already authenticated");
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS example.com"]);
}

#[test]
fn s17_nothing_of_the_time_in_clear_lets_anyone_in_after_starttls() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    // A one-shot request authenticates itself only.
    assert_eq!(session.ask(&format!("IS {} one.example", key.text)), "one.example available");
    let mut session = session.start_tls(tls());
    assert_eq!(session.ask("IS two.example"), "400 not authenticated");
    assert_eq!(session.ask("ENABLE reason"), "400 not authenticated");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS one.example"]);
    assert_eq!(session.ask(&key.login()), "100 Login ok");
}

#[test]
fn s17_failed_logins_before_starttls_count_after_it() {
    let (gateway, _) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    for _ in 0..2 {
        assert_eq!(session.ask("LOGIN wrong"), "400 Login failed");
    }
    let mut session = session.start_tls(tls());
    assert_eq!(session.ask("LOGIN wrong"), "400 Login failed");
    session.expect_closed();
    assert_nothing_upstream(&gateway);
}

#[test]
fn a_handshake_that_does_not_come_ends_the_connection() {
    let (gateway, _) = gateway_with_limits(&json!({ "tls_handshake_seconds": 1 }));
    let mut session = gateway.connect("isproxy");
    assert_eq!(session.ask("STARTTLS"), "100 OK");
    session.expect_silence(Duration::from_millis(700));
    session.expect_closed();
}
