//! How a session ends: by the client, by a deadline, or with the credential that let it in.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{gateway_with_key, gateway_with_limits};
use crate::harness::{LineReply, TestGateway};

/// Lines that the upstream got, but for how a session says good-bye.
fn asked(gateway: &TestGateway) -> Vec<String> {
    let lines = gateway.isproxy_upstream.lines().into_iter();
    lines.filter(|line| !matches!(line.as_str(), "CLOSE" | "QUIT")).collect()
}

#[test]
fn quit_and_close_get_no_answer_and_close_in_any_state() {
    let (gateway, key) = gateway_with_key();
    for line in ["QUIT", "CLOSE", "quit", "Close"] {
        for mut session in [gateway.connect("isproxy"), gateway.isproxy_session(&key.login())] {
            session.send(format!("{line}\r\nIS behind.example\r\n"));
            session.expect_closed();
        }
    }
    assert_eq!(asked(&gateway), Vec::<String>::new());
}

#[test]
fn what_is_pending_is_answered_before_a_session_closes() {
    let (gateway, key) = gateway_with_key();
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    for (connection, end) in ["QUIT\r\n", "CLOSE\r\n", ""].into_iter().enumerate() {
        let mut session = gateway.isproxy_session(&key.login());
        session.send(format!("IS one.example\r\nIS two.example\r\n{end}"));
        if end.is_empty() {
            // A client that says by TCP alone that it is done.
            session.finish_sending();
        }
        let before = connection * 2;
        wait_for_asked(&gateway, before + 2);
        session.expect_silence(Duration::from_millis(50));
        gateway.isproxy_upstream.send(connection, "two.example available\r\none.example error\r\n");
        assert_eq!(session.read_line(), "two.example available");
        assert_eq!(session.read_line(), "one.example error");
        session.expect_closed();
    }
}

fn wait_for_asked(gateway: &TestGateway, count: usize) {
    crate::harness::wait_for("lines upstream", || (asked(gateway).len() >= count).then_some(()));
}

#[test]
fn a_session_before_its_login_is_closed_when_it_is_idle() {
    let (gateway, key) =
        gateway_with_limits(&json!({ "isproxy_login_seconds": 1, "isproxy_idle_seconds": 60 }));
    let opened = Instant::now();
    let mut idle = gateway.connect("isproxy");
    let mut logged_in = gateway.isproxy_session(&key.login());
    idle.expect_closed();
    assert!(opened.elapsed() >= Duration::from_secs(1), "closed after {:?}", opened.elapsed());
    // Empty lines are no sign of life.
    let mut session = gateway.connect("isproxy");
    while session.try_send("\r\n").is_ok() && opened.elapsed() < Duration::from_secs(15) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    session.expect_closed();
    assert_eq!(logged_in.ask("IS example.com"), "example.com available");
}

#[test]
fn a_session_after_its_login_is_closed_when_it_is_idle_and_not_while_it_asks_or_waits() {
    let (gateway, key) =
        gateway_with_limits(&json!({ "isproxy_login_seconds": 60, "isproxy_idle_seconds": 2 }));
    let mut before_login = gateway.connect("isproxy");
    let mut session = gateway.isproxy_session(&key.login());
    let opened = Instant::now();
    while opened.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(session.ask("IS example.com"), "example.com available");
        session.expect_silence(Duration::from_millis(500));
    }
    // A reply that the upstream owes keeps the session too.
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    session.send_line("IS slow.example");
    session.expect_silence(Duration::from_millis(2_300));
    gateway.isproxy_upstream.send(0, "slow.example available\r\n");
    assert_eq!(session.read_line(), "slow.example available");
    let answered = Instant::now();
    session.expect_closed();
    assert!(answered.elapsed() >= Duration::from_millis(1_900), "closed after {:?}", answered.elapsed());
    assert_eq!(before_login.ask("IS example.com"), "400 not authenticated");
}

#[test]
fn r20_a_session_ends_with_the_key_that_let_it_in_and_its_pending_requests_with_it() {
    let (gateway, doomed) = gateway_with_key();
    let other = gateway.create_key("acme/admin");
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut session = gateway.isproxy_session(&doomed.login());
    session.send_line("IS pending.example");
    gateway.isproxy_upstream.wait_for_lines(1);
    let mut untouched = gateway.isproxy_session(&other.login());
    gateway.delete_key(&doomed);
    session.expect_closed();
    assert_eq!(gateway.isproxy_login(&doomed.login()), "400 Login failed");
    assert_eq!(gateway.isproxy_login(&format!("IS {} example.com", doomed.text)), "400 Login failed");
    gateway.isproxy_upstream.reply_with(crate::harness::reply_by_name);
    assert_eq!(untouched.ask("IS example.com"), "example.com available");
}

#[test]
fn s20_a_session_ends_at_once_whatever_takes_its_credential_away() {
    let (gateway, _) = gateway_with_key();
    let key_session = |change: &dyn Fn(&str) -> Vec<String>| {
        gateway.cli(&["user", "create", "acme/alex"]).expect_success();
        let networks = ["--allow", "127.0.0.1/32", "--allow", "192.0.2.0/24", "--scope", "isproxy"];
        let key = gateway.create_key_with("acme/alex", &networks);
        let mut session = gateway.isproxy_session(&key.login());
        assert_eq!(session.ask("IS example.com"), "example.com available");
        let arguments = change(&key.id);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        gateway.cli(&arguments).expect_success();
        session.expect_closed();
        assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed", "{arguments:?}");
        gateway.cli(&["user", "delete", "acme/alex", "--yes"]).expect_success();
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    key_session(&|id| words(&format!("key disable {id}")));
    key_session(&|id| words(&format!("allow remove key:{id} 127.0.0.1/32")));
    key_session(&|_| words("allow add user:acme/alex 192.0.2.0/24"));
    key_session(&|_| words("user deactivate acme/alex"));
    key_session(&|_| words("user update acme/alex --access api"));
    let mut last = gateway.isproxy_session(&gateway.create_key("acme/admin").login());
    gateway.cli(&["customer", "delete", "acme", "--yes"]).expect_success();
    last.expect_closed();
}

#[test]
fn a_session_by_password_ends_with_that_password() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    for change in ["password", "mfa"] {
        let name = format!("acme/{}", &change[..3]);
        let user = gateway.create_user(&name);
        let mut session = gateway.isproxy_session(&user.login());
        assert_eq!(session.ask("IS example.com"), "example.com available");
        if change == "mfa" {
            gateway.cli(&["user", "update", &name, "--force-mfa"]).expect_success();
        } else {
            let arguments = ["user", "set-password", &name, "--password-file", "-"];
            gateway.cli_with_input(&arguments, "another-battery-staple-horse").expect_success();
        }
        session.expect_closed();
        assert_eq!(gateway.isproxy_login(&user.login()), "400 Login failed", "{change}");
    }
}
