//! What is no line of the protocol: too long, other bytes, other protocols, other commands.

use std::time::Duration;

use super::{assert_nothing_upstream, gateway_with_key};

#[test]
fn an_unknown_command_is_told_so_and_an_empty_line_is_ignored_in_any_state() {
    let (gateway, key) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    for state in ["not logged in", "logged in"] {
        for line in ["HELP", "NOOP", "ISX example.com", "I", "?", "LOGINX a", "STARTTLSX"] {
            assert_eq!(session.ask(line), "400 Unknown command", "{line:?}, {state}");
        }
        session.send("\r\n\n  \r\n");
        session.expect_silence(Duration::from_millis(50));
        if state == "not logged in" {
            assert_eq!(session.ask(&key.login()), "100 Login ok");
        }
    }
    assert_nothing_upstream(&gateway);
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn s46_a_line_of_1024_bytes_is_read_and_one_more_closes() {
    let (gateway, key) = gateway_with_key();
    for end in ["\r\n", "\n"] {
        let mut session = gateway.connect("isproxy");
        session.send(format!("LOGIN {}{end}", "k".repeat(1_018)));
        assert_eq!(session.read_line(), "400 Login failed");
        assert_eq!(session.ask(&key.login()), "100 Login ok");
        session.send(format!("{}{end}", "x".repeat(1_024)));
        assert_eq!(session.read_line(), "400 Unknown command");
        session.send(format!("{}{end}IS behind.example\r\n", "x".repeat(1_025)));
        assert_eq!(session.read_line(), "400 Line too long");
        session.expect_closed();
    }
    // Nobody waits for the end of a line that is too long already.
    let mut session = gateway.connect("isproxy");
    session.send("x".repeat(1_100));
    assert_eq!(session.read_line(), "400 Line too long");
    session.expect_closed();
    assert_nothing_upstream(&gateway);
}

#[test]
fn s46_a_line_without_an_end_is_not_read_for_long() {
    let (gateway, _) = gateway_with_key();
    let mut session = gateway.connect("isproxy");
    let part = vec![b'x'; 64 * 1_024];
    let taken = (0..1_024).take_while(|_| session.try_send(&part).is_ok()).count();
    // What the kernels on both sides hold is in it; the gateway itself reads a fraction.
    assert!(taken * part.len() < 32 * 1_024 * 1_024, "{taken} parts of 64 KiB were taken");
    assert_nothing_upstream(&gateway);
}

#[test]
fn s19_nul_control_and_non_ascii_bytes_are_refused_and_close() {
    let (gateway, key) = gateway_with_key();
    for bad in [
        &b"IS a\0b.example\r\n"[..],
        b"\0\r\n",
        b"IS a.example\0\r\n",
        b"IS caf\xc3\xa9.example\r\n",
        b"IS \xff.example\r\n",
        b"\x80\n",
        // A bare CR within a line would be a second line to somebody.
        b"IS a.example\rIS b.example\r\n",
        b"IS a.example\r\r\n",
        b"IS a\tb.example\r\n",
        b"IS a\x0bb.example\r\n",
        b"IS \x1b[2J.example\r\n",
        b"IS a.example\x7f\r\n",
        b"ENABLE reason\0\r\n",
    ] {
        for mut session in [gateway.connect("isproxy"), gateway.isproxy_session(&key.login())] {
            session.send(bad);
            session.send("IS behind.example\r\n");
            assert_eq!(session.read_line(), "400 Bad request", "{}", bad.escape_ascii());
            session.expect_closed();
        }
    }
    assert_nothing_upstream(&gateway);
}

#[test]
fn s47_http_and_tls_bytes_end_the_connection_at_once_unanswered() {
    let (gateway, key) = gateway_with_key();
    let behind = format!("Host: a\r\n\r\n{}\r\nIS injected.example\r\n", key.login());
    let long = format!("GET /{} HTTP/1.1", "x".repeat(1_500));
    let lines = [
        "GET / HTTP/1.1",
        "POST /login HTTP/1.0",
        "PUT / HTTP/1.1",
        "HEAD / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "DELETE /a HTTP/1.1",
        "PRI * HTTP/2.0",
        "get /",
        "BREW /pot HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
        &long,
    ];
    for line in lines {
        for mut session in [gateway.connect("isproxy"), gateway.isproxy_session(&key.login())] {
            session.send(format!("{line}\r\n{behind}"));
            session.expect_closed();
        }
    }
    // A browser that was made to speak TLS: without an end of a line.
    let mut session = gateway.connect("isproxy");
    session.send("\u{16}");
    session.expect_closed();
    assert_nothing_upstream(&gateway);
}
