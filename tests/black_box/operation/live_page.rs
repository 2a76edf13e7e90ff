//! The live page of the ops listener, as a browser and a slow network see it.

use crate::harness::{Key, Request, TestGateway, Wire};

/// Begins to listen, and reads the first event.
fn listen(gateway: &TestGateway) -> Wire {
    let mut wire = gateway.connect("ops");
    wire.send(Request::get("/live/events").to_bytes());
    let head = wire.read_answer_head();
    assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
    assert!(next_event(&mut wire).contains("\"now\":"));
    wire
}

/// The next event, with what its chunk is framed by.
fn next_event(wire: &mut Wire) -> String {
    String::from_utf8(wire.read_until(b"\n\n")).unwrap()
}

/// Some of everything that is counted.
fn ask_a_little(gateway: &TestGateway, key: &Key) {
    for _ in 0..5 {
        assert_eq!(gateway.api_get("/v2/domains", &key.authorization()).status, 200);
    }
    assert_eq!(gateway.api_get("/v2/domains", &format!("{}x", key.authorization())).status, 401);
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn the_live_page_is_served_its_numbers_move_and_nobody_is_named() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alexandra");
    let key = gateway.create_key("acme/alexandra");
    let before = gateway.ask_ops("/");
    assert_eq!((before.status, before.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = before.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(before.text().contains("No credential was refused since the start."), "{}", before.text());
    for file in ["/live/page.css", "/live/page.js"] {
        assert!(before.text().contains(&format!("\"{file}\"")));
        assert_eq!(gateway.ask_ops(file).status, 200, "{file}");
    }
    let mut events = listen(&gateway);
    ask_a_little(&gateway, &key);
    let mut event = next_event(&mut events);
    while !event.contains("malformed_key") {
        event = next_event(&mut events);
    }
    let page = gateway.ask_ops("/").text();
    assert!(page.contains("<code>malformed_key</code>"), "{page}");
    for shown in
        ["registry", "availability", env!("CARGO_PKG_VERSION"), "<dd>ready</dd>", "<svg role=\"img\""]
    {
        assert!(page.contains(shown), "{shown} is missing in {page}");
    }
    let metrics = gateway.ask_ops("/metrics").text();
    for (place, text) in [("the page", &page), ("an event", &event), ("/metrics", &metrics)] {
        for name in [key.text.as_str(), &key.id, "acme", "alexandra", "example.com"] {
            assert!(!text.contains(name), "{place} names {name}");
        }
    }
}

#[test]
fn sixteen_pages_may_listen_and_one_more_is_told_so_while_the_probes_answer() {
    let gateway = TestGateway::start();
    let mut listening: Vec<Wire> = (0..16).map(|_| listen(&gateway)).collect();
    let refused = gateway.ask_ops("/live/events");
    assert_eq!(refused.status, 503);
    assert!(refused.text().starts_with("16 pages listen already"), "{}", refused.text());
    for target in ["/livez", "/readyz", "/metrics", "/"] {
        assert_eq!(gateway.ask_ops(target).status, 200, "{target}");
    }
    // Those who listen are told on.
    for wire in &mut listening {
        next_event(wire);
    }
}

#[test]
fn events_end_with_the_word_that_the_gateway_drains() {
    let gateway = TestGateway::start();
    let mut events = listen(&gateway);
    let (status, log, _installation) = gateway.stop();
    assert!(status.success(), "{log}");
    let rest = String::from_utf8(events.read_to_end()).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    let last = rest.rsplit("retry: ").next().unwrap();
    assert!(last.contains("<dd>draining</dd>"), "{last}");
}
