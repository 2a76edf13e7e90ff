//! Somebody holds a transaction open in the middle of the feed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Fleet;
use crate::harness::{postgres, wait_for};

#[test]
fn no_revision_is_skipped_while_an_earlier_one_is_held_open() {
    let fleet = Fleet::start(2);
    let [one, two] = &fleet.gateways[..] else { panic!() };
    one.create_customer("acme");
    let key = one.create_key("acme/admin");
    // Takes the next revision, and gives it back after a while.
    let held = "BEGIN; UPDATE latchkey.feed_head SET revision = revision + 1; SELECT pg_sleep(1.5); ROLLBACK";
    let mut holder = Command::new("psql")
        .args(["-XqAt", "-c", held, &fleet.database])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the transaction to be open", || {
        let active = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        (postgres::query(&fleet.database, active).trim() == "1").then_some(())
    });
    let began = Instant::now();
    let told = one.cli(&["key", "delete", &key.id, "--yes"]);
    assert!(told.stderr.contains("in force at 2 gateways"), "{told:?}");
    assert!(began.elapsed() > Duration::from_millis(500), "it waited for whoever held the feed");
    for gateway in [one, two] {
        gateway.api_get("/", &key.authorization()).assert_refusal(401, "AuthenticationError");
    }
    assert!(holder.wait().unwrap().success());
}
