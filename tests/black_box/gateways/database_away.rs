//! The database stops and comes back.

use std::thread;
use std::time::{Duration, Instant};

use super::Fleet;
use crate::harness::{Request, wait_for};

#[test]
fn s80_keys_go_on_while_the_database_is_away_and_everything_is_in_step_soon_after() {
    let fleet = Fleet::start(2);
    let [one, two] = &fleet.gateways[..] else { panic!() };
    let admin = one.create_customer("acme");
    let kept = one.create_key("acme/admin");
    let other = one.create_key("acme/admin");
    let request = Request::get("/").authorization(&kept.authorization());
    let mut session = two.isproxy_session(&other.login());

    fleet.server.stop();
    for gateway in [one, two] {
        wait_for("the readiness of a gateway without its database", || {
            gateway.ask_ops("/readyz").text().contains("degraded").then_some(())
        });
        let mut wire = gateway.connect("api");
        for _ in 0..100 {
            assert_eq!(wire.exchange(&request).status, 200);
        }
    }
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let refused = one.cli(&["key", "delete", &other.id, "--yes"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("cannot be reached"), "{}", refused.stderr);
    let _ = admin;

    fleet.server.start_again();
    let back = Instant::now();
    for gateway in [one, two] {
        wait_for("readiness", || (gateway.ask_ops("/readyz").status == 200).then_some(()));
    }
    let took = back.elapsed();
    one.cli(&["key", "delete", &other.id, "--yes"]).expect_success();
    session.expect_closed();
    thread::scope(|scope| {
        for gateway in [one, two] {
            let other = &other;
            scope.spawn(move || {
                gateway.api_get("/", &other.authorization()).assert_refusal(401, "AuthenticationError");
            });
        }
    });
    assert!(took < Duration::from_secs(3), "in step {took:?} after the database was back");
}
