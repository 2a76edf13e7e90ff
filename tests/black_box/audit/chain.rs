//! `audit verify`: what was changed, removed, put in or cut off is found and named.

use std::fs;

use super::{listed, tamper};
use crate::harness::{Installation, TestGateway};

const UNLOCK: &str = "DROP TRIGGER audit_keeps_rows; DROP TRIGGER audit_keeps_words;";

/// An installation whose trail has five rows or more.
fn installation() -> Installation {
    // Without a console nobody is given a link, which would be a row more for each.
    let installation = Installation::configured(|config| {
        config["listeners"].as_array_mut().unwrap().retain(|listener| listener["name"] != "console");
    });
    installation.create_customer("acme");
    for name in ["acme/one", "acme/two", "acme/three"] {
        installation.cli(&["user", "create", name]).expect_success();
    }
    installation
}

fn head(installation: &Installation) -> String {
    installation.cli(&["audit", "verify"]).expect_success().trim().to_owned()
}

/// What the check says once `statements` have been done to a copy of the trail.
fn fault_after(statements: &str) -> String {
    let installation = installation();
    tamper(&installation, &format!("{UNLOCK} {statements}"));
    let output = installation.cli(&["audit", "verify"]);
    assert_eq!(output.stdout, "", "no head of a broken trail");
    output.expect_failure(1)
}

#[test]
fn s100_a_whole_trail_is_whole_and_its_head_is_printed() {
    let installation = installation();
    let first = head(&installation);
    let (sequence, mac) = first.split_once(':').unwrap();
    assert_eq!(sequence.parse::<usize>().unwrap(), listed(&installation, &[]).len());
    assert!(mac.len() == 64 && mac.bytes().all(|digit| digit.is_ascii_hexdigit()), "{first}");
    installation.cli(&["user", "deactivate", "acme/one"]).expect_success();
    assert_ne!(head(&installation), first);
    installation.cli(&["audit", "verify", "--expect", &first]).expect_success();
    installation.cli(&["audit", "verify", "--expect", "nonsense"]).expect_failure(2);
}

#[test]
fn s88_a_changed_row_is_found_by_its_number() {
    let said = fault_after("UPDATE audit SET actor = 'operator:somebody' WHERE sequence = 3;");
    assert!(said.contains("row 3 was changed"), "{said}");
}

#[test]
fn s88_a_removed_row_is_found_by_its_number() {
    let said = fault_after("DELETE FROM audit WHERE sequence = 2;");
    assert!(said.contains("row 2 is missing"), "{said}");
}

#[test]
fn s100_a_removed_row_is_found_where_the_others_are_numbered_anew() {
    let said = fault_after(
        "DELETE FROM audit WHERE sequence = 2; UPDATE audit SET sequence = sequence - 1 WHERE sequence > 2;",
    );
    assert!(said.contains("row 2 was changed"), "{said}");
}

#[test]
fn s100_an_inserted_row_is_found_by_its_number() {
    let said = fault_after(
        "INSERT INTO audit SELECT 6, at, customer_id, actor, actor_id, entrance, client_ip, event, subject, \
         subject_id, details, mac FROM audit WHERE sequence = 5;",
    );
    assert!(said.contains("row 6 was changed, or was put there"), "{said}");
}

#[test]
fn s100_a_cut_tail_is_found_with_a_head_that_was_noted() {
    let installation = installation();
    let noted = head(&installation);
    tamper(&installation, &format!("{UNLOCK} DELETE FROM audit WHERE sequence >= 4;"));
    // What is left is whole in itself.
    assert!(head(&installation).starts_with("3:"));
    let said = installation.cli(&["audit", "verify", "--expect", &noted]).expect_failure(1);
    assert!(said.contains("the end was cut off: row 5 is missing, and the last one is row 3"), "{said}");
    // Filled up with other changes, it is still not what was noted.
    installation.cli(&["user", "deactivate", "acme/one"]).expect_success();
    installation.cli(&["user", "reactivate", "acme/one"]).expect_success();
    assert!(head(&installation).starts_with("5:"));
    let said = installation.cli(&["audit", "verify", "--expect", &noted]).expect_failure(1);
    assert!(said.contains("row 5 is not the one that was expected"), "{said}");
}

#[test]
fn s100_a_gateway_logs_the_head_that_a_check_prints() {
    let installation = installation();
    let noted = head(&installation);
    let (_, log, _) = installation.serve().stop();
    assert!(
        log.lines().any(|line| line.contains("the audit trail's head") && line.contains(&noted)),
        "{log}"
    );
}

#[test]
fn s82_where_the_audit_trail_cannot_be_written_nothing_is_changed() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let state = || {
        let lists =
            [&["customer", "list", "--json"][..], &["user", "list", "--json"], &["key", "list", "--json"]];
        lists.map(|arguments| gateway.cli(arguments).expect_success())
    };
    // Used by nobody meanwhile, so that the lists stay the same.
    let before = state();
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;";
    tamper(&gateway, full);
    fs::write(gateway.path("keys.txt"), "0123456789abcdefghijABCDEFGHIJ0123456789 beta/bo\n").unwrap();
    let file = gateway.path("keys.txt");
    let changes: [&[&str]; 8] = [
        &["customer", "create", "other"],
        &["customer", "update", "acme", "--mfa", "required"],
        &["user", "create", "acme/alex"],
        &["user", "update", "acme/admin", "--name", "Someone"],
        &["key", "create", "acme/admin", "--description", "CI", "--scope", "api", "--yes"],
        &["key", "delete", &key.id, "--yes"],
        &["allow", "add", "user:acme/admin", "192.0.2.0/24"],
        &["key", "import", file.to_str().unwrap(), "--scope", "api", "--create-users"],
    ];
    for change in changes {
        let said = gateway.cli(change).expect_failure(1);
        assert!(said.contains("the disk is full"), "{change:?}: {said}");
        assert_eq!(state(), before, "{change:?}");
    }
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200, "the doors go on");
    tamper(&gateway, "DROP TRIGGER full;");
    gateway.cli(&["key", "delete", &key.id, "--yes"]).expect_success();
}
