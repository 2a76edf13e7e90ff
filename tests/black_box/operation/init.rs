//! `latchkey init`: from nothing to a gateway that serves.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Output, run};

fn latchkey(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey"));
    command.current_dir(folder).env_remove("LATCHKEY_CONFIG").env_remove("LATCHKEY_MASTER_KEY");
    run(command.args(arguments), b"")
}

/// Every file below `folder`, with what is in it.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_configuration_that_it_writes_has_no_faults_and_the_commands_that_it_prints_work() {
    let folder = TempDir::new().unwrap();
    let printed = latchkey(folder.path(), &["init", "my gateway", "--yes"]).expect_success();
    let config = folder.path().join("my gateway/latchkey.yaml");
    assert_eq!(fs::read_to_string(&config).unwrap(), include_str!("../../../config/latchkey.yaml"));
    let checked = latchkey(folder.path(), &["check", "--config", "my gateway/latchkey.yaml"]);
    assert!(checked.expect_success().starts_with("no errors: "));

    // As a shell takes them; `serve` would take the ports of this machine that the reference names.
    let commands: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(commands.len(), 4, "{printed}");
    for (command, verb) in commands.iter().zip([" check ", " customer create ", " key create ", " serve "]) {
        assert!(command.contains(verb), "{command}");
    }
    for command in &commands[..3] {
        run(Command::new("sh").current_dir(folder.path()).args(["-c", command]), b"").expect_success();
    }
    assert!(folder.path().join("my gateway/data/latchkey.db").exists());
}

#[test]
fn s102_the_first_administrators_one_time_link_is_printed_once_and_nothing_keeps_it() {
    let folder = TempDir::new().unwrap();
    let printed = latchkey(folder.path(), &["init", "--customer", "beta", "--yes"]).expect_success();
    let link = printed.lines().next().unwrap();
    let token = link.strip_prefix("https://localhost:8444/welcome/").unwrap();
    assert_eq!(token.len(), 43, "256 bits");
    assert!(printed.contains("key create beta/admin") && !printed.contains("customer create"), "{printed}");
    for (path, bytes) in contents(folder.path()) {
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "{path}");
    }
}

#[test]
fn the_schema_is_the_one_that_the_command_prints() {
    let folder = TempDir::new().unwrap();
    latchkey(folder.path(), &["init", "--yes"]).expect_success();
    let written = fs::read_to_string(folder.path().join("latchkey.schema.json")).unwrap();
    assert_eq!(written, latchkey(folder.path(), &["schema"]).expect_success());
}

#[test]
fn the_certificates_hold_for_this_machine_and_belong_together() {
    let folder = TempDir::new().unwrap();
    latchkey(folder.path(), &["init", "--yes"]).expect_success();
    let openssl = |arguments: &[&str]| {
        run(Command::new("openssl").current_dir(folder.path().join("certs")).args(arguments), b"")
            .expect_success()
    };
    for name in [["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"]] {
        openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            name[0],
            name[1],
            "-CAfile",
            "ca.crt",
            "dev.crt",
        ]);
    }
    let certified = openssl(&["x509", "-in", "dev.crt", "-noout", "-pubkey"]);
    assert_eq!(certified, openssl(&["pkey", "-in", "dev.key", "-pubout"]));
}

#[test]
fn a_second_init_names_what_is_in_the_way_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    latchkey(folder.path(), &["init"]).expect_success();
    let before = contents(folder.path());
    let stderr = latchkey(folder.path(), &["init", "--yes"]).expect_failure(1);
    for name in ["latchkey.yaml", "latchkey.schema.json", "certs/dev.crt", "certs/dev.key", "certs/ca.crt"] {
        assert!(stderr.contains(name), "{stderr}");
    }
    assert_eq!(contents(folder.path()), before);

    // One file is enough.
    let other = TempDir::new().unwrap();
    fs::create_dir(other.path().join("certs")).unwrap();
    fs::write(other.path().join("certs/dev.key"), "a key of somebody's").unwrap();
    let stderr = latchkey(other.path(), &["init", "--yes"]).expect_failure(1);
    assert!(stderr.contains("certs/dev.key") && !stderr.contains("latchkey.yaml"), "{stderr}");
    assert_eq!(contents(other.path()).len(), 1);
}
