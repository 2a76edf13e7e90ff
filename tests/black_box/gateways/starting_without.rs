//! A gateway is started while the database is away.

use super::Fleet;
use crate::harness::{Installation, TestGateway, wait_for};

fn snapshot_of(installation: &Installation) -> Option<std::time::SystemTime> {
    std::fs::metadata(installation.path("latchkey.snapshot")).and_then(|metadata| metadata.modified()).ok()
}

/// Serves with a configuration that is named without its folder, as operators do who stand in it.
fn serve_here(installation: Installation) -> TestGateway {
    let mut command = installation.command();
    command.args(["serve", "--config", "latchkey.yaml"]).env("LATCHKEY_LOG", "info");
    installation.serve_by(&mut command)
}

#[track_caller]
fn assert_readiness(gateway: &TestGateway, beginning: &str) {
    let told = gateway.ask_ops("/readyz").text();
    assert!(told.starts_with(beginning), "{told}");
}

#[test]
fn s80_a_gateway_started_without_its_database_lets_in_the_keys_of_its_snapshot_and_nothing_else() {
    let mut fleet = Fleet::start(1);
    let gateway = fleet.gateways.pop().unwrap();
    gateway.create_customer("acme");
    let (alex, kept, deleted) = (
        gateway.create_user("acme/alex"),
        gateway.create_key("acme/admin"),
        gateway.create_key("acme/admin"),
    );
    // The first snapshot was written before there were keys: a restart writes one that has them.
    let installation = gateway.kill();
    let before = snapshot_of(&installation);
    let gateway = serve_here(installation);
    wait_for("a snapshot", || snapshot_of(&gateway).filter(|written| Some(*written) != before));
    gateway.cli(&["key", "delete", &deleted.id, "--yes"]).expect_success();
    fleet.server.stop();

    let gateway = serve_here(gateway.kill());
    assert_readiness(&gateway, "degraded: the store cannot be read for ");
    for _ in 0..20 {
        assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
        gateway.api_get("/", &deleted.authorization()).assert_refusal(401, "AuthenticationError");
    }
    assert_eq!(gateway.isproxy_login(&kept.login()), "100 Login ok");
    gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
    // And once more: what it was started from is still there.
    let gateway = gateway.kill().serve();
    assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);

    fleet.server.start_again();
    wait_for("readiness", || gateway.ask_ops("/readyz").text().starts_with("ready").then_some(()));
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);
    let told = gateway.cli(&["key", "delete", &kept.id, "--yes"]).stderr;
    assert!(told.contains("in force at "), "{told}");
    gateway.api_get("/", &kept.authorization()).assert_refusal(401, "AuthenticationError");
}

#[test]
fn s99_while_the_master_key_is_rotated_a_snapshot_opens_with_either_key() {
    let mut fleet = Fleet::start(1);
    let gateway = fleet.gateways.pop().unwrap();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let new = gateway.path("new.key");
    let new = new.to_str().unwrap();
    gateway.cli(&["store", "rotate-master-key", "--to", new]).expect_success();
    // A restart writes a snapshot at once.
    let installation = gateway.kill();
    let before = snapshot_of(&installation);
    let gateway = serve_here(installation);
    wait_for("a snapshot", || snapshot_of(&gateway).filter(|written| Some(*written) != before));
    fleet.server.stop();
    let gateway = serve_here(gateway.kill());
    assert_readiness(&gateway, "degraded: the store cannot be read for ");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let mut installation = gateway.kill();
    installation.reconfigure(|config| config["master_key_file"] = new.into());
    let gateway = serve_here(installation);
    assert_readiness(&gateway, "degraded: the store cannot be read for ");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
}

#[test]
fn s80_without_its_database_and_a_snapshot_a_gateway_does_not_start() {
    let fleet = Fleet::start(1);
    fleet.server.stop();
    let mut installation = Installation::new();
    installation.reconfigure(|config| config["store"]["url"] = fleet.database.clone().into());
    let refused = installation.cli(&["serve"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in ["cannot be reached", "cannot be started without it", "there is no snapshot at "] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
}

#[test]
fn s80_no_process_that_would_know_less_takes_over_while_the_database_is_away() {
    let mut fleet = Fleet::start(1);
    let mut gateway = fleet.gateways.pop().unwrap();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    wait_for("a snapshot", || snapshot_of(&gateway));
    let swaps = "latchkey_binary_swaps_total{outcome=\"failed\"}";
    fleet.server.stop();
    wait_for("the absence to be noticed", || {
        gateway.ask_ops("/readyz").text().starts_with("degraded").then_some(())
    });
    gateway.process().ask_for_successor();
    wait_for("the end of the new process", || (gateway.metric(swaps) == Some(1)).then_some(()));
    gateway.process().wait_for_log("the reason", |lines| {
        lines.iter().find(|line| line.contains("goes on with what it knows")).map(drop)
    });
    // The key came after the snapshot.
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    fleet.server.start_again();
    wait_for("readiness", || gateway.ask_ops("/readyz").text().starts_with("ready").then_some(()));

    // One that fails after it has opened the store takes the snapshot with it, and the old one writes another.
    let before = snapshot_of(&gateway);
    gateway.rewrite(|config| config["access_log"]["path"] = "latchkey.yaml/access.jsonl".into());
    gateway.process().ask_for_successor();
    wait_for("the end of the second", || (gateway.metric(swaps) == Some(2)).then_some(()));
    wait_for("another snapshot", || snapshot_of(&gateway).filter(|written| Some(*written) != before));
}
