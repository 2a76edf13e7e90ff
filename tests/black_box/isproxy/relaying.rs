//! What goes on between the door and its upstream.

use crate::harness::{Authority, LineReply, TestGateway};

#[test]
fn replies_come_back_as_they_become_ready_whatever_their_order() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut session = gateway.isproxy_session(&key.login());
    session.send("IS one.example\r\nIS two.example\r\nIS three.example\r\n");
    let lines = gateway.isproxy_upstream.wait_for_lines(3);
    assert_eq!(lines, ["IS one.example", "IS two.example", "IS three.example"]);
    for reply in ["three.example available", "one.example not available", "two.example invalid domain"] {
        gateway.isproxy_upstream.send(0, format!("{reply}\r\n"));
        assert_eq!(session.read_line(), reply);
    }
}

#[test]
fn what_an_upstream_owes_when_it_breaks_off_is_answered_with_error() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.isproxy_upstream.reply_with(|_| LineReply::Nothing);
    let mut session = gateway.isproxy_session(&key.login());
    session.send("IS one.example\r\nIS two.example\r\n");
    gateway.isproxy_upstream.wait_for_lines(2);
    gateway.isproxy_upstream.close(0);
    let mut replies = [session.read_line(), session.read_line()];
    replies.sort();
    assert_eq!(replies, ["one.example error", "two.example error"]);
    // The session goes on over another connection.
    gateway.isproxy_upstream.reply_with(crate::harness::reply_by_name);
    assert_eq!(session.ask("IS three.example"), "three.example available");
    assert_eq!(gateway.isproxy_upstream.connections(), 2);
}

#[test]
fn the_upstream_sees_the_clients_lines_and_never_its_credential() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    for login in [key.login(), alex.login()] {
        let mut session = gateway.connect("isproxy").start_tls(Authority::shared().client(&[]));
        assert_eq!(session.ask(&login), "100 Login ok");
        assert_eq!(session.ask("ENABLE reason"), "100 OK");
        assert_eq!(session.ask("IS name.com.centralnic"), "name.com.centralnic available");
        session.send_line("CLOSE");
        session.expect_closed();
    }
    let lines = gateway.isproxy_upstream.lines();
    let asked: Vec<&String> =
        lines.iter().filter(|line| !matches!(line.as_str(), "CLOSE" | "QUIT")).collect();
    let once = ["ENABLE reason", "IS name.com.centralnic"];
    assert_eq!(asked, [once, once].concat());
}
