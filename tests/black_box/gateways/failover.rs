//! A replica takes over that had not got the last commits.

use tempfile::TempDir;

use crate::harness::postgres::query;
use crate::harness::{Cable, Installation, PostgresServer, TestGateway, wait_for};

/// How many changes the feed has, by the database at `server`.
fn revision(server: &str) -> i64 {
    query(server, "SELECT revision FROM latchkey.feed_head").trim().parse().unwrap()
}

#[test]
fn after_a_failover_that_lost_commits_gateways_decide_as_the_new_primary_says() {
    let primary = PostgresServer::start();
    let database = primary.new_database();
    let cable = Cable::to(primary.address());
    let folder = TempDir::new().unwrap();
    let master_key = folder.path().join("master.key");
    let by_cable = database.replace(&primary.address().to_string(), &cable.address().to_string());
    let gateways: Vec<TestGateway> = (0..2)
        .map(|_| {
            let shared = |config: &mut serde_json::Value| {
                config["store"]["url"] = by_cable.clone().into();
                config["master_key_file"] = master_key.to_str().unwrap().into();
            };
            Installation::configured(shared).serve()
        })
        .collect();
    let [one, two] = &gateways[..] else { panic!() };
    one.create_customer("acme");
    let (kept, revived) = (one.create_key("acme/admin"), one.create_key("acme/admin"));
    let replica = primary.replica();
    let there = database.replace(&primary.address().to_string(), &replica.address().to_string());
    let known = revision(&database);
    wait_for("the replica to have everything", || (revision(&there) == known).then_some(()));
    // From here on the replica gets nothing, and takes over.
    replica.stop();
    let lost = one.create_key("acme/admin");
    one.cli(&["key", "delete", &revived.id, "--yes"]).expect_success();
    for gateway in [one, two] {
        wait_for("the lost key", || {
            (gateway.api_get("/", &lost.authorization()).status == 200).then_some(())
        });
        gateway.api_get("/", &revived.authorization()).assert_refusal(401, "AuthenticationError");
    }
    cable.cut();
    primary.stop();
    replica.start_again();
    replica.promote();
    cable.lead_to(replica.address());
    assert_eq!(revision(&there), known, "the replica got more than it was to get");
    // As many changes as were lost, and one more, before a gateway looks: by their numbers alone the feed goes on without a gap.
    let elsewhere = Installation::configured(|config| {
        config["store"]["url"] = there.clone().into();
        config["master_key_file"] = master_key.to_str().unwrap().into();
    });
    let others: Vec<_> = (0..3).map(|_| elsewhere.create_key("acme/admin")).collect();
    cable.mend();
    for gateway in [one, two] {
        wait_for("the gateway to decide as the new primary says", || {
            let status = |key: &crate::harness::Key| gateway.api_get("/", &key.authorization()).status;
            let new = others.iter().all(|key| status(key) == 200);
            (new && status(&lost) == 401 && status(&revived) == 200 && status(&kept) == 200).then_some(())
        });
    }
}
