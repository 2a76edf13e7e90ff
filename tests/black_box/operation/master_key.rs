//! `latchkey store rotate-master-key`, beside a gateway that never notices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::backup::while_used;
use crate::harness::{Installation, TestGateway};

/// What would be a second gateway on the store of `gateway`, with the master key of a file.
fn beside(gateway: &TestGateway, master_key: &Path) -> Installation {
    let config: Value = serde_json::from_str(&fs::read_to_string(gateway.config_file()).unwrap()).unwrap();
    let url = config["store"]["url"].as_str().unwrap();
    let url = match url.strip_prefix("sqlite:") {
        Some(file) => format!("sqlite:{}", gateway.path(file).display()),
        None => url.to_owned(),
    };
    Installation::configured(|config| {
        config["store"]["url"] = url.into();
        config["master_key_file"] = master_key.to_str().unwrap().into();
    })
}

#[test]
fn s99_the_master_key_is_rotated_under_load_and_no_good_key_is_refused() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let [old, new] = ["master.key", "new.key"].map(|name| gateway.path(name));
    let lets_in = |master_key: &Path| {
        let second = beside(&gateway, master_key);
        second.secrets().note("key", &key.text);
        assert_eq!(second.serve().api_get("/", &key.authorization()).status, 200);
    };
    let refused = |master_key: &Path| {
        let refused = beside(&gateway, master_key).cli(&["serve"]).expect_failure(1);
        assert!(refused.contains("the master key is not the one that this store was made with"), "{refused}");
    };
    let rotate = |master_key: &Path, arguments: &[&str]| {
        beside(&gateway, master_key).cli(&[&["store", "rotate-master-key"], arguments].concat())
    };
    let is_half_way =
        || gateway.cli(&["store", "status", "--json"]).json()["master_key_rotation"].as_bool().unwrap();
    let used = while_used(&gateway, &key, || {
        rotate(&old, &["--finish", "--yes"]).expect_failure(1);
        let begun = rotate(&old, &["--to", new.to_str().unwrap()]);
        assert!(begun.stderr.contains("made a new master key in "), "{begun:?}");
        begun.expect_success();
        assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(is_half_way());
        let told = gateway.cli(&["store", "status"]).expect_success();
        assert!(told.contains("master key    rotation half way"), "{told}");
        lets_in(&old);
        lets_in(&new);
        let early = rotate(&old, &["--finish", "--yes"]).expect_failure(1);
        assert!(early.contains("the configured master key is still the old one"), "{early}");
        let asked = rotate(&new, &["--finish"]).expect_failure(2);
        assert!(asked.contains("give --yes to agree"), "{asked}");
        rotate(&new, &["--finish", "--yes"]).expect_success();
        lets_in(&new);
        refused(&old);
        assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    });
    assert!(used > 20, "the key was used {used} times");
    let trail = beside(&gateway, &new).cli(&["audit", "list"]).expect_success();
    assert!(trail.contains("rotated the master key: the new one alone opens the store"), "{trail}");
}

#[test]
fn s99_on_one_machine_a_command_does_all_of_a_rotation_and_an_older_backup_is_still_restored() {
    let gateway = TestGateway::configured(|config| config["store"]["url"] = "sqlite:data/latchkey.db".into());
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["store", "backup", "lk.backup"]).expect_success();
    let before = fs::read_to_string(gateway.path("master.key")).unwrap();
    gateway.cli(&["store", "rotate-master-key", "--in-place", "--yes"]).expect_success();
    assert_ne!(fs::read_to_string(gateway.path("master.key")).unwrap(), before);
    assert_eq!(fs::read_to_string(gateway.path("master.key.old")).unwrap(), before);
    gateway.delete_key(&key);
    // The backup's own wraps open with the old key; its trail shows that it is of this store.
    gateway.cli(&["store", "restore", "lk.backup", "--accept-revival", "--yes"]).expect_success();
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let gateway = gateway.kill().serve();
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
}
