//! Connections are spread evenly over the door threads, however the kernel deals them out.

use crate::harness::{Key, Request, TestGateway, Wire, wait_for};

/// The kernel deals connections out by a hash of the client's port, which differs each time.
const ROUNDS: usize = 10;
const CONNECTIONS: usize = 16;

/// Connections of both threads.
fn by_thread(gateway: &TestGateway) -> [u64; 2] {
    [0, 1].map(|thread| {
        gateway
            .metric(&format!("latchkey_thread_connections{{thread=\"{thread}\"}}"))
            .expect("a series a thread")
    })
}

/// Opens 16 connections at once, each of which must work; the busiest thread may have 1.3 times the mean.
fn check_rounds(what: &str, gateway: &TestGateway, open: impl Fn() -> Wire) {
    for round in 0..ROUNDS {
        let held: Vec<Wire> = (0..CONNECTIONS).map(|_| open()).collect();
        let [one, other] = by_thread(gateway);
        assert_eq!(one + other, 16, "{what}, round {round}");
        assert!(one.max(other) * 10 <= 8 * 13, "{what}, round {round}: {one} and {other}");
        drop(held);
        wait_for("the connections' end", || (by_thread(gateway) == [0, 0]).then_some(()));
    }
}

#[test]
fn sixteen_connections_on_two_threads_leave_the_busiest_with_at_most_1_3_times_the_mean() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = |key: &Key| Request::get("/v2/x").authorization(&key.authorization());
    check_rounds("API", &gateway, || {
        let mut wire = gateway.connect("api");
        assert_eq!(wire.exchange(&request(&key)).status, 200);
        wire
    });
    check_rounds("API over TLS", &gateway, || {
        let mut wire = gateway.connect_tls();
        assert_eq!(wire.exchange(&request(&key)).status, 200);
        wire
    });
    check_rounds("IsProxy", &gateway, || {
        let mut session = gateway.isproxy_session(&key.login());
        assert_eq!(session.ask("IS example.com"), "example.com available");
        session
    });
}
