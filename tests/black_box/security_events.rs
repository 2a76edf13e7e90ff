//! Whom the configuration names hears of security events, whoever caused them: here the command line, beside the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{HttpUpstream, Installation, TestGateway, run, wait_for};

fn events_in(gateway: &TestGateway) -> Vec<Value> {
    let told = fs::read_to_string(gateway.path("told")).unwrap_or_default();
    told.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_program_hears_of_each_event_once_also_of_those_while_the_gateway_was_away() {
    let mut installation = Installation::new();
    let script = format!("cat >> '{0}'; echo >> '{0}'", installation.path("told").display());
    installation.reconfigure(|config| {
        config["security_events"] = json!({ "command": ["sh", "-c", script] });
    });
    let gateway = installation.serve();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    gateway.create_key("acme/alex");
    let events = wait_for("the event of the first key", || {
        let events = events_in(&gateway);
        events.iter().any(|event| event["event"] == "password.ended_by_key").then_some(events)
    });
    let first_key = events.iter().find(|event| event["event"] == "password.ended_by_key").unwrap();
    assert_eq!((&first_key["user"], &first_key["customer"]), (&json!("acme/alex"), &json!("acme")));
    assert!(first_key["actor"].as_str().unwrap().starts_with("operator:"), "{first_key}");
    assert_eq!(first_key["entrance"], "command line");

    // While nobody serves, and told by the next gateway.
    let (_, _, installation) = gateway.stop();
    installation.cli(&["user", "reset-mfa", "acme/alex", "--yes"]).expect_success();
    let gateway = installation.serve();
    let events = wait_for("the event of the reset", || {
        let events = events_in(&gateway);
        events.iter().any(|event| event["event"] == "mfa.reset").then_some(events)
    });
    let first_keys = events.iter().filter(|event| event["event"] == "password.ended_by_key").count();
    assert_eq!(first_keys, 1, "{events:?}");
}

#[test]
fn a_webhook_is_posted_to_and_signed_with_the_secret_that_both_know() {
    const SECRET: &str = "0123456789abcdef-both-know-this";
    let receiver = HttpUpstream::start();
    let mut installation = Installation::new();
    let secret = installation.path("events.key");
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("http://{}/hooks/latchkey", receiver.address());
    installation.reconfigure(|config| {
        config["security_events"] = json!({ "webhook": url, "secret_file": "events.key" });
    });
    let gateway = installation.serve();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    gateway.create_key("acme/alex");
    let posted = wait_for("a post", || {
        receiver.requests().into_iter().find(|request| request.line() == "POST /hooks/latchkey HTTP/1.1")
    });
    let body = String::from_utf8(posted.body.clone()).unwrap();
    let event: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(event["event"], "password.ended_by_key", "{event}");
    let timestamp = posted.field("latchkey-timestamp").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-hmac", SECRET, "-hex"]);
    let signed = run(&mut openssl, format!("{timestamp}.{body}").as_bytes()).expect_success();
    let hex = signed.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(posted.field("latchkey-signature"), Some(format!("v1={hex}")));
}
