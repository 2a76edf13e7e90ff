//! `latchkey healthcheck`, as a container runs it.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Installation, Output, TestGateway, run};

/// Runs it as a container would: where the configuration is, the environment says.
fn check(installation: &Installation, arguments: &[&str]) -> Output {
    let mut command = installation.command();
    command.arg("healthcheck").args(arguments).env("LATCHKEY_CONFIG", installation.config_file());
    let output = run(&mut command, b"");
    assert_eq!((output.stdout.as_str(), output.stderr.lines().count()), ("", 1), "{output:?}");
    output
}

#[test]
fn a_running_gateway_is_healthy_and_a_stopped_one_is_not() {
    let gateway = TestGateway::start();
    let address = gateway.address("ops");
    let url = format!("http://{address}");
    // Another configuration that names the listener which is up.
    let beside = Installation::configured(|config| config["listeners"][5]["address"] = json!(address));
    for arguments in [&["--ops", &url][..], &[]] {
        let output = check(&beside, arguments);
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!(output.stderr, format!("{url}/readyz: ready\n"));
    }
    // The API door is no ops listener, however well it is.
    let door = format!("http://{}", gateway.address("api"));
    assert!(check(&beside, &["--ops", &door]).expect_failure(1).contains("/readyz"));
    drop(gateway);
    for arguments in [&["--ops", &url][..], &[]] {
        let stderr = check(&beside, arguments).expect_failure(1);
        assert!(stderr.contains(&url) && stderr.contains("refused"), "{stderr}");
    }
}

#[test]
fn a_gateway_that_says_nothing_is_not_healthy_after_three_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stderr = check(&Installation::new(), &["--ops", &url]).expect_failure(1);
    assert!(stderr.contains("no answer within 3 s"), "{stderr}");
}

#[test]
fn what_cannot_be_asked_is_said_with_what_to_do() {
    // The port of the usual test configuration is chosen at each start.
    let stderr = check(&Installation::new(), &[]).expect_failure(2);
    assert!(stderr.contains("`ops`") && stderr.contains("--ops http://"), "{stderr}");
    let without = Installation::configured(|config| {
        config["listeners"].as_array_mut().unwrap().truncate(1);
    });
    let stderr = check(&without, &[]).expect_failure(2);
    assert!(stderr.contains("no listener of protocol ops"), "{stderr}");
    let https = run(without.command().args(["healthcheck", "--ops", "https://127.0.0.1:9100"]), b"");
    assert!(https.expect_failure(2).contains("http://127.0.0.1:9100"));
}

#[test]
fn a_configuration_that_was_broken_meanwhile_makes_no_gateway_ill() {
    let gateway = TestGateway::start();
    let installation = Installation::new();
    fs::write(installation.config_file(), "listeners: [").unwrap();
    let url = format!("http://{}", gateway.address("ops"));
    assert_eq!(check(&installation, &["--ops", &url]).code, Some(0));
    // Without --ops the usual address is asked, and where nothing answers there the reason is at hand.
    let output = check(&installation, &[]);
    assert!(output.stderr.contains("http://127.0.0.1:9100/readyz"), "{output:?}");
    assert!(output.code == Some(0) || output.stderr.contains("latchkey.yaml has faults"), "{output:?}");
}
