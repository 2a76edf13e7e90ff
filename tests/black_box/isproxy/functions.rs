//! `ENABLE`: which functions there are, and that an upstream connected to later is told them again.

use std::time::Duration;

use super::{assert_nothing_upstream, gateway_with_key};
use crate::harness::{LineReply, reply_by_name};

#[test]
fn reason_and_premium_are_switched_on_at_the_upstream() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    for line in ["ENABLE reason", "enable PREMIUM"] {
        assert_eq!(session.ask(line), "100 OK", "{line}");
    }
    assert_eq!(gateway.isproxy_upstream.lines(), ["ENABLE reason", "ENABLE premium"]);
    assert_eq!(gateway.isproxy_upstream.connections(), 1);
}

#[test]
fn other_functions_are_unknown_and_never_reach_the_upstream() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    for line in ["ENABLE", "ENABLE other", "ENABLE reasons", "ENABLE reason premium"] {
        assert_eq!(session.ask(line), "400 Unknown function", "{line}");
    }
    assert_nothing_upstream(&gateway);
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn a_new_connection_to_the_upstream_is_told_the_functions_before_anything_else() {
    let (gateway, key) = gateway_with_key();
    gateway.isproxy_upstream.reply_with(|line| match line {
        "IS breaks.example" => LineReply::Close,
        line => reply_by_name(line),
    });
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("ENABLE premium"), "100 OK");
    assert_eq!(session.ask("ENABLE reason"), "100 OK");
    assert_eq!(session.ask("IS breaks.example"), "breaks.example error");
    // The answers to the repeated lines are not the client's.
    assert_eq!(session.ask("IS one.example"), "one.example available");
    assert_eq!(session.ask("IS two.example"), "two.example available");
    assert_eq!(gateway.isproxy_upstream.connections(), 2);
    let mut lines = gateway.isproxy_upstream.lines();
    lines[3..5].sort();
    assert_eq!(
        lines,
        [
            "ENABLE premium",
            "ENABLE reason",
            "IS breaks.example",
            "ENABLE premium",
            "ENABLE reason",
            "IS one.example",
            "IS two.example"
        ]
    );
}

#[test]
fn lines_behind_an_enable_wait_for_its_answer() {
    let (gateway, key) = gateway_with_key();
    gateway.isproxy_upstream.reply_with(|line| match line {
        "ENABLE reason" => LineReply::Nothing,
        line => reply_by_name(line),
    });
    let mut session = gateway.isproxy_session(&key.login());
    session.send("ENABLE reason\r\nIS one.example\r\n");
    gateway.isproxy_upstream.wait_for_lines(1);
    session.expect_silence(Duration::from_millis(150));
    assert_eq!(gateway.isproxy_upstream.lines(), ["ENABLE reason"]);
    gateway.isproxy_upstream.send(0, "100 OK\r\n");
    assert_eq!(session.read_line(), "100 OK");
    assert_eq!(session.read_line(), "one.example available");
}

#[test]
fn each_session_has_its_own_upstream_connection_and_its_own_functions() {
    let (gateway, key) = gateway_with_key();
    let mut first = gateway.isproxy_session(&key.login());
    let mut second = gateway.isproxy_session(&key.login());
    // Opened by the first line that needs it, not by the login.
    assert_nothing_upstream(&gateway);
    assert_eq!(first.ask("ENABLE reason"), "100 OK");
    assert_eq!(second.ask("IS example.com"), "example.com available");
    assert_eq!(gateway.isproxy_upstream.connections(), 2);
    assert_eq!(gateway.isproxy_upstream.lines(), ["ENABLE reason", "IS example.com"]);
}
