//! `audit list`: what stands in the trail, for people and for programs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::{listed, sentences};
use crate::harness::{Installation, PASSWORD, PATIENCE, Request, TestGateway, basic};

#[test]
fn s88_s100_a_change_at_the_command_line_is_told_with_the_operating_systems_user() {
    let installation = Installation::new();
    installation.create_customer("acme");
    installation.create_user("acme/alex");
    let key = installation.create_key_with("acme/alex", &["--scope", "api"]);
    installation.cli(&["user", "deactivate", "acme/alex"]).expect_success();
    let rows = listed(&installation, &["--user", "acme/alex"]);
    let expected = [
        "created user acme/alex",
        "created API key “for a test” for acme/alex",
        "ended the access of acme/alex to the API by password, with a first API key",
        "deactivated user acme/alex",
    ];
    assert_eq!(sentences(&rows), expected);
    let user =
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    for row in &rows {
        assert_eq!(row["actor"], format!("operator:{}", user.trim()));
        assert_eq!((&row["entrance"], &row["result"]), (&json!("command line"), &json!("done")));
        assert!(row["time"].as_str().unwrap().ends_with('Z'), "{row}");
    }
    assert_eq!(rows[1]["details"]["key"], key.id.as_str());
    assert_eq!(listed(&installation, &["--event", "user.deactivated"]).len(), 1);
    assert_eq!(listed(&installation, &["--since", "1h"]).len(), listed(&installation, &[]).len());
    assert_eq!(listed(&installation, &["--until", "2020-01-01"]).len(), 0);
    let said = installation.cli(&["audit", "list", "--event", "user.vanished"]).expect_failure(2);
    assert!(said.contains("user.deactivated"), "the kinds are named: {said}");

    let everything = installation.cli(&["audit", "list", "--json"]).expect_success();
    assert!(!everything.contains(&key.text) && !everything.contains(PASSWORD), "s40: no secret");
}

#[test]
fn the_list_is_lines_for_people_and_csv_for_spreadsheets() {
    let installation = Installation::new();
    installation.create_customer("acme");
    let arguments = ["key", "create", "acme/admin", "--description", "=1+1", "--scope", "api", "--yes"];
    installation.cli(&arguments).expect_success();
    let lines = installation.cli(&["audit", "list"]).expect_success();
    let line = lines.lines().find(|line| line.contains("=1+1")).unwrap();
    assert!(line.ends_with("created API key “=1+1” for acme/admin  (command line)"), "{line}");
    let csv = installation.cli(&["audit", "list", "--csv", "--event", "key.created"]).expect_success();
    let (head, rows) = csv.split_once("\r\n").unwrap();
    assert_eq!(head, "sequence,time,actor,entrance,address,event,subject,result,description,details");
    assert!(rows.contains(",command line,,key.created,acme/admin,done,created API key “=1+1”"), "{rows}");
    assert_eq!(rows.matches("\r\n").count(), 1);
}

#[test]
fn what_happens_later_is_followed() {
    let installation = Installation::new();
    installation.create_customer("acme");
    let mut command = installation.command();
    command
        .args(["audit", "list", "--follow", "--event", "user.created", "--config"])
        .arg(installation.config_file());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (line, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        stdout.lines().map_while(Result::ok).try_for_each(|read| line.send(read)).ok();
    });
    assert!(lines.recv_timeout(PATIENCE).unwrap().contains("created administrator acme/admin"));
    installation.cli(&["user", "create", "acme/late"]).expect_success();
    assert!(lines.recv_timeout(PATIENCE).unwrap().contains("created user acme/late"));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

/// `count` of the only row of a kind about `subject` at `entrance`.
fn count_of(rows: &[Value], subject: &str, entrance: &str, reason: &str) -> Value {
    let found: Vec<&Value> = rows
        .iter()
        .filter(|row| {
            row["subject"] == subject && row["entrance"] == entrance && row["details"]["reason"] == reason
        })
        .collect();
    assert_eq!(found.len(), 1, "{subject} {entrance} {reason} in {rows:#?}");
    assert_eq!((&found[0]["address"], &found[0]["result"]), (&json!("127.0.0.1"), &json!("failed")));
    found[0]["details"]["count"].clone()
}

#[test]
fn a_key_that_was_sent_in_clear_where_that_is_refused_is_named() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let answer =
        gateway.connect("api-refuse").exchange(&Request::get("/").authorization(&key.authorization()));
    answer.assert_refusal(403, "AuthorizationError");
    for line in [key.login(), format!("IS {} example.com", key.text), format!("LOGIN {}x", key.text)] {
        assert_eq!(gateway.connect("isproxy-refuse").ask(&line), "400 Login failed");
    }
    let (_, _, installation) = gateway.stop();
    let rows = listed(&installation, &["--event", "sign_in.failed"]);
    assert_eq!(count_of(&rows, "acme/admin", "api", "plaintext_credential"), "1");
    assert_eq!(count_of(&rows, "acme/admin", "isproxy", "plaintext_credential"), "2");
    assert_eq!(count_of(&rows, "", "isproxy", "plaintext_credential"), "1");
    let told = installation.cli(&["audit", "list"]).expect_success();
    assert!(told.contains("the credential was sent in clear, where others can read it"), "{told}");
    let named = rows.iter().filter(|row| row["details"]["key"] == key.id.as_str()).count();
    assert_eq!(named, 2, "{rows:#?}");
}

#[test]
fn s88_failed_sign_ins_at_the_doors_are_told_in_groups() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["key", "disable", &key.id]).expect_success();
    for _ in 0..5 {
        let wrong = basic("acme/alex", "a-wrong-secret");
        gateway.api_get("/", &wrong).assert_refusal(401, "AuthenticationError");
    }
    for _ in 0..3 {
        gateway.api_get("/", &key.authorization()).assert_refusal(401, "AuthenticationError");
    }
    assert_eq!(gateway.isproxy_login("LOGIN acme/alex a-wrong-secret"), "400 Login failed");
    assert_eq!(gateway.isproxy_login("LOGIN an-unknown-secret-of-some-length-0123456"), "400 Login failed");
    let (_, _, installation) = gateway.stop();
    let rows = listed(&installation, &["--event", "sign_in.failed"]);
    assert_eq!(count_of(&rows, "acme/alex", "api", "wrong_password"), "5");
    assert_eq!(count_of(&rows, "acme/alex", "isproxy", "wrong_password"), "1");
    assert_eq!(count_of(&rows, "acme/admin", "api", "key_disabled"), "3");
    assert_eq!(count_of(&rows, "", "isproxy", "unknown_key"), "1");
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let told = sentences(&rows).join("\n");
    assert!(told.contains("5 failed sign-ins as acme/alex from 127.0.0.1"), "{told}");
    assert!(!told.contains("secret") && !told.contains(&key.text), "s40: {told}");
    // A user's list shows what was tried in its name.
    assert_eq!(listed(&installation, &["--user", "acme/alex", "--event", "sign_in.failed"]).len(), 2);
}

#[test]
fn s88_throttling_is_told() {
    let gateway = TestGateway::configured(|config| {
        config["limits"]["failed_credentials_per_address"] = json!(2);
    });
    for _ in 0..6 {
        let _ = gateway.api_get("/", "ApiKey wrong");
    }
    let (_, _, installation) = gateway.stop();
    let rows = listed(&installation, &["--event", "throttle.engaged"]);
    assert_eq!(count_of(&rows, "", "api", "malformed_key"), "4");
    let failed = listed(&installation, &["--event", "sign_in.failed"]);
    assert_eq!(count_of(&failed, "", "api", "malformed_key"), "2");
}

#[test]
fn s88_imports_and_reloads_are_told() {
    let mut gateway = TestGateway::start();
    gateway.create_customer("acme");
    std::fs::write(
        gateway.path("keys.txt"),
        "0123456789abcdefghijABCDEFGHIJ0123456789 acme/admin\nzyxwvutsrqponmlkjihgfedcba9876543210 beta/bo\n",
    )
    .unwrap();
    let file = gateway.path("keys.txt");
    let import = ["key", "import", file.to_str().unwrap(), "--scope", "api", "--create-users", "--yes"];
    gateway.cli(&import).expect_success();
    gateway.reload(|config| config["limits"]["failed_credentials_per_address"] = json!(7));
    let before = gateway.reloads("refused");
    gateway.rewrite(|config| config["nonsense"] = json!(1));
    gateway.wait_for_reload("refused", before);
    let (_, _, mut installation) = gateway.stop();
    installation.reconfigure(|config| drop(config.as_object_mut().unwrap().remove("nonsense")));
    let told = listed(&installation, &["--since", "1h"]);
    let told = sentences(&told);
    for expected in [
        "imported 1 API key for acme",
        "imported 1 API key for beta with 1 new user",
        "ended the access of acme/admin to the API by password, with a first API key",
        "put a changed configuration in force: limits",
        "refused a changed configuration with 1 fault",
    ] {
        assert!(told.contains(&expected), "{expected} is not in {told:#?}");
    }
    installation.cli(&["audit", "verify"]).expect_success();
}
