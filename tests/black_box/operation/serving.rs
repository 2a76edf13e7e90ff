//! Starting, being alone, stopping, and coming back.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::{Installation, Request, TestGateway, run};

#[test]
fn a_second_serve_on_the_same_address_is_refused_with_what_to_do() {
    let gateway = TestGateway::start();
    let address = gateway.address("api").to_string();
    let second = Installation::configured(|config| config["listeners"][0]["address"] = json!(address));
    let stderr = second.cli(&["serve"]).expect_failure(1);
    assert!(stderr.contains(&address) && stderr.contains("already served"), "{stderr}");
    // The first one does not notice.
    assert_eq!(gateway.api_get("/", "ApiKey wrong").status, 401);

    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let third = Installation::configured(|config| config["listeners"][0]["address"] = json!(address));
    let stderr = third.cli(&["serve"]).expect_failure(1);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    for refused in [second, third] {
        assert!(!refused.path("master.key").exists(), "nothing was opened or made");
    }
}

#[test]
fn s99_serve_refuses_a_wrong_missing_or_readable_master_key() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let (_, _, installation) = gateway.stop();
    let file = installation.path("master.key");
    let right = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let write = |text: &str, mode: u32| {
        let _ = fs::remove_file(&file);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |what: &str| {
        for arguments in [
            &["serve"][..],
            &["key", "create", "acme/admin", "--description", "d", "--scope", "api", "--yes"],
        ] {
            let output = installation.cli(arguments);
            assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{what}: {output:?}");
            assert!(output.stderr.contains("master key"), "{what}: {output:?}");
            assert!(!output.stderr.contains(right.trim()), "{what}: {output:?}");
        }
    };
    fs::remove_file(&file).unwrap();
    refused("missing");
    assert!(!file.exists(), "a second master key was made up");
    write("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n", 0o600);
    refused("another one");
    write("no key at all\n", 0o600);
    refused("not a key");
    for mode in [0o644, 0o604] {
        write(&right, mode);
        refused("readable by others");
    }
    write(&right, 0o600);
    let gateway = installation.serve();
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
}

#[test]
fn sigterm_ends_the_gateway_with_0_and_everything_is_there_at_the_next_start() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let (kept, deleted) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    gateway.delete_key(&deleted);
    // An idle connection does not hold the end up.
    let mut idle = gateway.connect("api");
    assert_eq!(idle.exchange(&Request::get("/").authorization(&kept.authorization())).status, 200);
    let address = gateway.address("api");
    let (status, log, installation) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    idle.expect_closed();
    assert!(TcpListener::bind(address).is_ok(), "the address is still taken");

    let gateway = installation.serve();
    assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
    gateway.api_get("/", &deleted.authorization()).assert_refusal(401, "AuthenticationError");
}

#[test]
fn an_answer_in_progress_is_finished_after_sigterm() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let opened = std::sync::Mutex::new(opened);
    gateway.api_upstream.on("/", move |exchange| {
        exchange.read_body();
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        opened.lock().unwrap().recv_timeout(crate::harness::PATIENCE).unwrap();
        exchange.send("other");
    });
    let mut wire = gateway.connect("api");
    wire.send(Request::get("/").authorization(&key.authorization()).to_bytes());
    assert_eq!(wire.read_answer_head().status, 200);
    assert_eq!(wire.read_exactly(5), b"first");
    gateway.process().terminate();
    open.send(()).unwrap();
    assert_eq!(wire.read_exactly(5), b"other");
    let (status, log, _) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_gateway_that_was_killed_comes_back_with_every_acknowledged_change() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let kept = gateway.create_key("acme/admin");
    let deleted = gateway.create_key("acme/admin");
    gateway.delete_key(&deleted);
    let gateway = gateway.kill().serve();
    assert_eq!(gateway.api_get("/", &kept.authorization()).status, 200);
    gateway.api_get("/", &deleted.authorization()).assert_refusal(401, "AuthenticationError");
}

#[test]
fn a_changed_configuration_counts_from_the_next_start() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let (_, _, mut installation) = gateway.stop();
    installation.reconfigure(|config| config["listeners"][0]["allow_list"] = json!(["192.0.2.0/24"]));
    let gateway = installation.serve();
    gateway.api_get("/", &key.authorization()).assert_refusal(403, "AuthorizationError");
}

#[test]
fn the_command_line_works_while_no_gateway_runs() {
    let installation = Installation::new();
    installation.create_customer("acme");
    let key = installation.create_key("acme/admin");
    let gateway = installation.serve();
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
}

#[test]
fn the_configuration_may_be_named_by_the_environment() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let mut command = gateway.command();
    command.args(["customer", "list", "--json"]).env("LATCHKEY_CONFIG", gateway.config_file());
    let listed = run(&mut command, b"").json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
}

#[test]
fn files_that_hold_secrets_are_for_their_owner_only() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    for name in ["master.key", "data", "data/latchkey.db", "access.jsonl"] {
        let mode = fs::metadata(gateway.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
}
