//! `IS`: names and replies pass unchanged, and each request gets exactly one reply.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{gateway_with_key, gateway_with_limits};
use crate::harness::{LineReply, Wire, wait_for};

/// Reads so many lines; how often each came.
fn read_lines(session: &mut Wire, count: usize) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for _ in 0..count {
        *lines.entry(session.read_line()).or_default() += 1;
    }
    lines
}

#[test]
fn all_four_results_come_back_and_names_are_not_judged() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    let mut asked = Vec::new();
    for (name, result) in [
        ("example.com", "available"),
        ("taken.example", "not available"),
        ("bad_name", "invalid domain"),
        ("error.example", "error"),
        // Pseudo names, other cases, and what no registry would take: the upstream decides.
        ("name.com.centralnic", "available"),
        ("xn--bcher-kva.example", "available"),
        ("TAKEN-is-not-taken", "available"),
        ("..", "available"),
        ("-", "available"),
        ("100", "available"),
        ("taken;rm", "not available"),
    ] {
        assert_eq!(session.ask(&format!("IS {name}")), format!("{name} {result}"));
        asked.push(format!("IS {name}"));
    }
    assert_eq!(gateway.isproxy_upstream.lines(), asked);
}

#[test]
fn a_name_comes_back_as_it_was_asked_whatever_the_upstream_makes_of_its_case() {
    let (gateway, key) = gateway_with_key();
    gateway.isproxy_upstream.reply_with(|line| {
        let name = line.strip_prefix("IS ").unwrap_or_default().to_ascii_lowercase();
        LineReply::Lines(vec![format!("{name} available")])
    });
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS ExAmPlE.CoM"), "ExAmPlE.CoM available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS ExAmPlE.CoM"]);
}

#[test]
fn reasons_and_prices_come_through_exactly_as_the_upstream_sends_them() {
    let (gateway, key) = gateway_with_key();
    let details = [
        r"not available (reason=Reserved \(by the registry\)\, ask them)",
        "available (type=premium,price=12500,currency=EUR)",
        r"invalid domain (reason=\\ and : and = and ')",
        "available (reason=)",
        "error (reason=no answer)",
    ];
    gateway.isproxy_upstream.reply_with(move |line| match line.strip_prefix("IS name") {
        Some(number) => {
            let number: usize = number.parse().unwrap();
            LineReply::Lines(vec![format!("name{number} {}", details[number])])
        }
        None => LineReply::Lines(vec!["100 OK".to_owned()]),
    });
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("ENABLE reason"), "100 OK");
    assert_eq!(session.ask("ENABLE premium"), "100 OK");
    for (number, detail) in details.iter().enumerate() {
        assert_eq!(session.ask(&format!("IS name{number}")), format!("name{number} {detail}"));
    }
}

#[test]
fn s46_every_reply_stays_below_1000_bytes() {
    let (gateway, key) = gateway_with_key();
    // A name ends in the length that the upstream's line shall have, without its end.
    gateway.isproxy_upstream.reply_with(|line| {
        let name = line.strip_prefix("IS ").unwrap_or_default();
        let length: usize = name.rsplit('-').next().unwrap().parse().unwrap();
        let front = format!("{name} not available (reason=");
        LineReply::Lines(vec![format!("{front}{})", "r".repeat(length - front.len() - 1))])
    });
    let mut session = gateway.isproxy_session(&key.login());
    for name_length in [10, 500, 900] {
        for (length, fits) in [(997, true), (998, false), (1_024, false)] {
            let name = format!("{}-{length}", "n".repeat(name_length));
            let reply = session.ask(&format!("IS {name}"));
            assert!(reply.starts_with(&format!("{name} not available")), "{reply}");
            // A detail that does not fit is left out; the answer stands.
            assert_eq!(reply.ends_with(')'), fits, "{reply}");
            assert!(reply.len() + 2 < 1_000, "{} bytes", reply.len());
        }
    }
    // A name that could not be answered is not asked.
    assert_eq!(session.ask(&format!("IS {}", "n".repeat(1_000))), "400 Line too long");
    session.expect_closed();
    assert_eq!(gateway.isproxy_upstream.lines().len(), 9);
}

#[test]
fn the_same_name_asked_often_gets_a_reply_each_time() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    session.send("IS same.example\r\nIS taken.example\r\nIS same.example\r\nIS same.example\r\n");
    let replies = read_lines(&mut session, 4);
    let expected = [("same.example available".to_owned(), 3), ("taken.example not available".to_owned(), 1)];
    assert_eq!(replies, BTreeMap::from(expected));
    assert_eq!(session.ask("IS last.example"), "last.example available");
}

#[test]
fn replies_that_nobody_asked_for_reach_no_client() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS one.example"), "one.example available");
    gateway.isproxy_upstream.send(0, "one.example available\r\nother.example error\r\n100 OK\r\ngarbage\r\n");
    session.expect_silence(Duration::from_millis(100));
    assert_eq!(session.ask("IS two.example"), "two.example available");
}

#[test]
fn a_one_shot_request_is_answered_and_leaves_the_session_not_logged_in() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    for (name, result) in [("one.example", "available"), ("taken.example", "not available")] {
        assert_eq!(session.ask(&format!("IS {} {name}", key.text)), format!("{name} {result}"));
        assert_eq!(session.ask("IS example.com"), "400 not authenticated");
    }
    assert_eq!(session.ask("IS wrong three.example"), "400 Login failed");
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    assert_eq!(session.ask("IS four.example"), "four.example available");
    let asked = ["IS one.example", "IS taken.example", "IS four.example"];
    assert_eq!(gateway.isproxy_upstream.lines(), asked);
}

#[test]
fn is_with_a_wrong_number_of_arguments_is_told_so() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    for line in ["IS", "IS  ", "IS a b c", "is one two"] {
        assert_eq!(session.ask(line), "400 Wrong number of arguments", "{line:?}");
    }
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS example.com"]);
}

#[test]
fn verbs_are_matched_in_any_case_and_a_bare_lf_ends_a_line() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    session.send(format!("login {}\n", key.text));
    assert_eq!(session.read_line(), "100 Login ok");
    session.send("is one.example\nIs two.example\r\n  iS   three.example  \n");
    let replies = read_lines(&mut session, 3);
    assert_eq!(
        replies.into_keys().collect::<Vec<_>>(),
        ["one.example available", "three.example available", "two.example available"]
    );
    // What goes upstream is written by the gateway, not copied.
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS one.example", "IS two.example", "IS three.example"]);
}

#[test]
fn lines_behind_a_login_wait_for_its_answer() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    session.send(format!("IS early.example\r\n{}\r\nIS one.example\r\n", key.login()));
    assert_eq!(session.read_line(), "400 not authenticated");
    assert_eq!(session.read_line(), "100 Login ok");
    assert_eq!(session.read_line(), "one.example available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS one.example"]);
}

#[test]
fn a_line_that_comes_in_pieces_is_one_line() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.isproxy_session(&key.login());
    for piece in ["I", "S ex", "ample", ".com\r"] {
        session.send(piece);
        session.expect_silence(Duration::from_millis(20));
    }
    session.send("\n");
    assert_eq!(session.read_line(), "example.com available");
}

#[test]
fn beyond_the_bound_of_pending_requests_the_client_is_not_read() {
    let (gateway, key) = gateway_with_limits(&json!({ "isproxy_pending_requests": 4 }));
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut session = gateway.isproxy_session(&key.login());
    let lines: Vec<String> = (0..10).map(|number| format!("IS n{number}\r\n")).collect();
    session.send(lines.concat());
    gateway.isproxy_upstream.wait_for_lines(4);
    session.expect_silence(Duration::from_millis(200));
    assert_eq!(gateway.isproxy_upstream.lines().len(), 4);
    for number in 0..10 {
        let reply = format!("n{number} available");
        gateway.isproxy_upstream.wait_for_lines(number + 1);
        gateway.isproxy_upstream.send(0, format!("{reply}\r\n"));
        assert_eq!(session.read_line(), reply);
        assert!(gateway.isproxy_upstream.lines().len() <= number + 5);
    }
}

#[test]
fn an_upstream_that_is_late_or_not_there_gives_error() {
    let (gateway, key) = gateway_with_limits(&json!({ "isproxy_reply_seconds": 1 }));
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut session = gateway.isproxy_session(&key.login());
    session.send("IS late.example\r\n");
    session.expect_silence(Duration::from_millis(700));
    assert_eq!(session.read_line(), "late.example error");
    // The gateway gave that connection up, so a reply that comes after all is nobody's.
    wait_for("another connection to the upstream", || {
        gateway.isproxy_upstream.reply_with(crate::harness::reply_by_name);
        (session.ask("IS next.example") == "next.example available").then_some(())
    });

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (gateway, key) = super::with_key(crate::harness::TestGateway::configured(|config| {
        config["upstreams"][1]["servers"] = json!([free]);
    }));
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com error");
    assert_eq!(session.ask("IS example.net"), "example.net error");
}
