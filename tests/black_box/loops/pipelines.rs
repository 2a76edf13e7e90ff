//! Many sessions that pipeline many requests, with an upstream that answers out of order.

use std::collections::HashMap;
use std::thread;
use std::time::Instant;

use super::{alone, report};
use crate::harness::{Authority, LineReply, TestGateway, Wire, by_length, reply_by_name};

const SESSIONS: usize = 64;

/// Each kind of result, and a name that nobody else asks for.
fn name(session: usize, number: usize) -> String {
    let kind = ["free", "taken", "bad_", "error"][number % 4];
    format!("{kind}{session}-{number}.example")
}

/// The four requests of a group are answered together, last first.
fn reply_in_groups(line: &str) -> LineReply {
    let Some((number, session)) = line.strip_prefix("IS error").and_then(|rest| {
        let (session, number) = rest.strip_suffix(".example")?.split_once('-')?;
        Some((number.parse::<usize>().ok()?, session.parse().ok()?))
    }) else {
        return if line.starts_with("IS ") { LineReply::Nothing } else { reply_by_name(line) };
    };
    let replies = (number - 3..=number).rev().flat_map(|number| {
        match reply_by_name(&format!("IS {}", name(session, number))) {
            LineReply::Lines(lines) => lines,
            _ => Vec::new(),
        }
    });
    LineReply::Lines(replies.collect())
}

/// Sends all requests at once, and takes the replies.
fn ask_all(session: &mut Wire, number: usize, count: usize) {
    let lines: Vec<String> = (0..count).map(|request| format!("IS {}\r\n", name(number, request))).collect();
    session.send(lines.concat());
    let mut wanted: HashMap<String, &str> = (0..count)
        .map(|request| {
            let result = ["available", "not available", "invalid domain", "error"][request % 4];
            (name(number, request), result)
        })
        .collect();
    while !wanted.is_empty() {
        let reply = session.read_line();
        let (name, result) = reply.split_once(' ').unwrap();
        assert_eq!(wanted.remove(name), Some(result), "{reply:?} was not asked for, or twice");
    }
    // Not one more.
    session.send_line("CLOSE");
    session.expect_closed();
}

#[test]
fn each_of_64_sessions_gets_exactly_one_right_reply_to_each_pipelined_request() {
    let _alone = alone();
    let count = by_length(100, 1_000);
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.isproxy_upstream.reply_with(reply_in_groups);
    let mut sessions: Vec<Wire> = (0..SESSIONS)
        .map(|number| {
            let mut session = gateway.connect("isproxy");
            if number % 2 == 1 {
                session = session.start_tls(Authority::shared().client(&[]));
            }
            assert_eq!(session.ask(&key.login()), "100 Login ok");
            session
        })
        .collect();
    let began = Instant::now();
    thread::scope(|scope| {
        for (number, session) in sessions.iter_mut().enumerate() {
            scope.spawn(move || ask_all(session, number, count));
        }
    });
    let took = began.elapsed();
    let lines = gateway.isproxy_upstream.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("IS ")).count(), SESSIONS * count);
    assert_eq!(gateway.isproxy_upstream.connections(), SESSIONS);
    report(
        "pipelines",
        &format!("{SESSIONS} sessions of {count} pipelined requests in {took:.2?}, each answered once"),
    );
}
