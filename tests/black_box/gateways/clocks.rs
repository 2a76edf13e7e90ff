//! Gateways whose clocks differ: what is counted together goes by the database's clock, and nothing else is shared but facts.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::shared_state::{expect_ten_guesses_to_be_ten, open_session};
use crate::harness::{Installation, PostgresServer, TestGateway};

/// Debian's `libfaketime`, which lets a program see another time.
fn other_time() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map_while(Result::ok);
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("the package `faketime` is missing")
}

/// Gateways over one database: one that goes with this machine's clock, two that are kept right badly, and one that is not.
fn gateways(server: &PostgresServer, folder: &TempDir) -> Vec<TestGateway> {
    let database = server.new_database();
    let master_key = folder.path().join("master.key");
    let library = other_time();
    ["+0", "+25s", "-25s", "+600s"]
        .map(|offset| {
            let installation = Installation::configured(|config| {
                config["store"]["url"] = database.clone().into();
                config["master_key_file"] = master_key.to_str().unwrap().into();
                config["limits"]["failed_passwords_per_user"] = json!(10);
                config["limits"]["failed_credentials_per_address"] = json!(100);
            });
            installation.serve_with(&[
                ("LD_PRELOAD", library.to_str().unwrap()),
                ("FAKETIME", offset),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ])
        })
        .into()
}

#[test]
fn s83_gateways_whose_clocks_differ_delete_and_count_together() {
    let (server, folder) = (PostgresServer::start(), TempDir::new().unwrap());
    let gateways = gateways(&server, &folder);
    let [right, ahead, behind, wrong] = &gateways[..] else { panic!() };
    let alex = right.create_customer("acme");
    // `Sun, 29 Nov 2026 18:40`
    let minute = |gateway: &TestGateway| gateway.api_get("/", "").field("date").unwrap()[..22].to_owned();
    assert_ne!(minute(right), minute(wrong));
    for (gateway, told) in
        [(wrong, "clock is ahead of"), (ahead, "clock is ahead of"), (behind, "clock is behind")]
    {
        gateway.process().wait_for_log("a warning", |lines| {
            lines.iter().any(|line| line.contains("WARN") && line.contains(told)).then_some(())
        });
    }

    // Everybody is there, and each deletion holds everywhere.
    for gateway in &gateways {
        let key = gateway.create_key("acme/admin");
        for gateway in &gateways {
            assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
        }
        let told = gateway.cli(&["key", "delete", &key.id, "--yes"]).stderr;
        assert!(told.contains("in force at 4 gateways"), "{told}");
        for gateway in &gateways {
            assert_eq!(gateway.api_get("/", &key.authorization()).status, 401);
        }
    }

    // A session of those that are nearly right is one at all of them, and not at one by whose clock it may be over, and the
    // other way round: never longer than it should, and nothing worse.
    let bo = right.create_user("acme/bo");
    for opening in [right, ahead, behind] {
        let session = open_session(opening, &bo);
        for gateway in [right, ahead, behind] {
            assert_eq!(gateway.api_get("/", &session).status, 200);
        }
    }
    let session = open_session(wrong, &bo);
    for (gateway, status) in [(wrong, 200), (right, 401)] {
        assert_eq!(gateway.api_get("/", &session).status, status);
    }
    expect_ten_guesses_to_be_ten(&gateways, &alex);
}
