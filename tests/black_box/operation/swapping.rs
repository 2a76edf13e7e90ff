//! SIGUSR2: a new process takes the place of the old one on the same sockets, or does not, and nobody notices.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use crate::harness::{
    Authority, FrameClient, Http2Frame, Installation, Key, Request, SteadyClient, SteadySession, TestGateway,
    Wire, wait_for,
};

fn short_drains() -> Installation {
    Installation::configured(|config| config["limits"]["drain_seconds"] = json!(4))
}

fn with_key(gateway: TestGateway) -> (TestGateway, Key) {
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

fn get(key: &Key) -> Request {
    Request::get("/v2/x").authorization(&key.authorization())
}

fn swaps(gateway: &TestGateway, outcome: &str) -> Option<u64> {
    gateway.metric(&format!("latchkey_binary_swaps_total{{outcome=\"{outcome}\"}}"))
}

/// Serves through a symbolic link, which a test can lead elsewhere.
fn serve_by_link(installation: Installation) -> TestGateway {
    let link = installation.path("latchkey");
    symlink(env!("CARGO_BIN_EXE_latchkey"), &link).unwrap();
    let mut command = installation.command_of(&link);
    command.args(["serve", "--config"]).arg(installation.config_file());
    installation.serve_by(&mut command)
}

/// Leads the link to a program that is no gateway.
fn lead_to_script(gateway: &TestGateway, script: &str) {
    let program = gateway.path("script");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    lead_to(gateway, &program);
}

fn lead_to(gateway: &TestGateway, program: &Path) {
    symlink(program, gateway.path("latchkey.new")).unwrap();
    fs::rename(gateway.path("latchkey.new"), gateway.path("latchkey")).unwrap();
}

#[test]
fn a_new_process_takes_over_on_the_same_sockets_and_the_old_one_ends_in_order() {
    let (mut gateway, key) = with_key(short_drains().serve());
    // It reads the configuration anew: what a reload cannot change, and what no listener names any more.
    gateway.rewrite(|config| {
        config["threads"] = json!(3);
        let listeners = config["listeners"].as_array_mut().unwrap();
        listeners.retain(|listener| listener["name"] != "api-refuse");
    });
    let mut kept = gateway.connect("api");
    assert_eq!(kept.exchange(&get(&key)).status, 200);
    let mut idle = gateway.connect_tls();
    assert_eq!(idle.exchange(&get(&key)).status, 200);
    let mut http2 = FrameClient::connect(gateway.address("api"), 65_535);
    let stream = http2.get("/v2/x", &key.authorization());
    http2.expect_head(stream);
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS one.example"), "one.example available");
    let gone = gateway.address("api-refuse");
    let first = gateway.process().id();
    gateway.process().swap();
    assert_ne!(gateway.process().id(), first);
    // What queued at the ops listener is answered by either for a moment.
    wait_for("the new process to answer for itself", || {
        (swaps(&gateway, "taken_over") == Some(1)).then_some(())
    });
    wait_for("three threads", || gateway.metric("latchkey_thread_connections{thread=\"2\"}").map(drop));
    assert_eq!(gateway.ask_ops("/readyz").text(), "ready\n");
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    let console = gateway.address("console");
    let sign_in = Request::of(&format!("localhost:{}", console.port()), "GET", "/sign-in");
    assert_eq!(Wire::connect(console).exchange(&sign_in).status, 200);

    let last = kept.exchange(&get(&key));
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    kept.expect_closed();
    assert_eq!(session.ask("IS two.example"), "two.example available");
    session.expect_closed();
    loop {
        match http2.next_frame() {
            Some(Http2Frame::GoAway(0)) => break,
            Some(Http2Frame::Data(..) | Http2Frame::Pong) => {}
            other => panic!("{other:?} instead of GOAWAY"),
        }
    }
    idle.expect_closed();
    gateway.process().wait_for_log("the end of the old process", |lines| {
        lines.iter().find(|line| line.contains("the process before this one has ended")).map(drop)
    });
    wait_for("the address to be given up", || Wire::try_connect(gone).is_none().then_some(()));
    // The new one is a gateway like any other: it reloads, hands over, and stops.
    gateway.reload(|config| config["limits"]["http_target_bytes"] = json!(64));
    gateway.process().swap();
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    let told = gateway.cli(&["audit", "list", "--json"]).expect_success();
    assert!(told.contains("binary.swapped"), "{told}");
    let (status, log, _) = gateway.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_new_process_that_fails_leaves_everything_as_it_was_and_may_be_asked_for_again() {
    let (mut gateway, key) = with_key(serve_by_link(short_drains()));
    let mut kept = gateway.connect("api");
    let mut session = gateway.isproxy_session(&key.login());
    let sound = fs::read_to_string(gateway.config_file()).unwrap();
    let failures = [
        ("a broken program", "exit 3", "ended with exit status: 3"),
        ("one that says what nobody understands", "exec true", "ended with exit status: 0"),
    ];
    for (failed, (what, script, told)) in (1..).zip(failures) {
        lead_to_script(&gateway, script);
        gateway.process().ask_for_successor();
        wait_for(what, || (swaps(&gateway, "failed") == Some(failed)).then_some(()));
        gateway.process().wait_for_log(what, |lines| {
            let is_told = |line: &&String| line.contains("no new process takes over") && line.contains(told);
            lines.iter().find(is_told).map(drop)
        });
        assert_eq!(kept.exchange(&get(&key)).field("connection"), None, "{what}");
        assert_eq!(session.ask("IS example.com"), "example.com available", "{what}");
    }
    lead_to(&gateway, Path::new("/nonexistent/latchkey"));
    gateway.process().ask_for_successor();
    wait_for("a program that is gone", || (swaps(&gateway, "failed") == Some(3)).then_some(()));
    lead_to(&gateway, Path::new(env!("CARGO_BIN_EXE_latchkey")));
    gateway.rewrite(|config| config["listeners"][0]["routes"][0]["upstream"] = json!("nobody"));
    gateway.process().ask_for_successor();
    wait_for("a broken configuration", || (swaps(&gateway, "failed") == Some(4)).then_some(()));
    assert_eq!(kept.exchange(&get(&key)).field("connection"), None);
    assert_eq!(gateway.ask_ops("/readyz").status, 200);
    fs::write(gateway.config_file(), sound).unwrap();
    gateway.process().swap();
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    let told = gateway.cli(&["audit", "list", "--json"]).expect_success();
    assert_eq!(told.matches("binary.swap_failed").count(), 4, "{told}");
}

#[test]
fn two_changes_of_the_process_at_once_are_refused() {
    let (gateway, key) = with_key(serve_by_link(short_drains()));
    lead_to_script(&gateway, "touch begun; while [ ! -e go ]; do sleep 0.02; done; exit 3");
    gateway.process().ask_for_successor();
    wait_for("the first", || gateway.path("begun").exists().then_some(()));
    gateway.process().ask_for_successor();
    wait_for("the refusal of the second", || (swaps(&gateway, "refused") == Some(1)).then_some(()));
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    fs::write(gateway.path("go"), "").unwrap();
    wait_for("the end of the first", || (swaps(&gateway, "failed") == Some(1)).then_some(()));
}

#[test]
fn clients_that_keep_their_connections_notice_nothing_but_that_they_are_asked_to_open_another() {
    let (gateway, key) = with_key(short_drains().serve());
    let tls = Authority::shared().client(&["http/1.1"]);
    let request = get(&key);
    let mut client = SteadyClient::new(&[gateway.address("api-tls")], Some(tls));
    let isproxy = Authority::shared().client(&[]);
    let mut session = SteadySession::new(gateway.address("isproxy"), Some(isproxy), key.login());
    for _ in 0..2 {
        // Of the second process on, the first answer is the last of a connection that the process before holds.
        for _ in 0..2 {
            client.ask(&request);
            session.ask("IS example.com", "example.com available");
        }
        gateway.process().swap();
    }
    client.ask(&request);
    session.ask("IS example.com", "example.com available");
    assert_eq!((client.told, client.crossed, session.begun), (2, 0, 2));
}

#[test]
fn security_events_are_told_once_while_two_processes_share_the_store() {
    let mut installation = short_drains();
    // Slow, so that each process would find what the other has not told yet.
    let script = format!("sleep 1; cat >> '{0}'; echo >> '{0}'", installation.path("told").display());
    installation.reconfigure(|config| {
        config["limits"]["drain_seconds"] = json!(60);
        config["security_events"] = json!({ "command": ["sh", "-c", script] });
    });
    let (gateway, key) = with_key(installation.serve());
    // It may ask once more, and keeps the old process for so long.
    let mut kept = gateway.connect("api");
    assert_eq!(kept.exchange(&get(&key)).status, 200);
    gateway.process().swap();
    let reset = || gateway.cli(&["user", "reset-mfa", "acme/admin", "--yes"]).expect_success();
    let told = || {
        let told = fs::read_to_string(gateway.path("told")).unwrap_or_default();
        told.matches("\"mfa.reset\"").count()
    };
    for _ in 0..3 {
        reset();
    }
    wait_for("three events", || (told() >= 3).then_some(()));
    reset();
    wait_for("the last event", || (told() >= 4).then_some(()));
    assert_eq!(told(), 4);
    assert_eq!(kept.exchange(&get(&key)).field("connection"), Some("close"), "the old one was there");
}

#[test]
fn a_new_process_that_cannot_be_had_has_not_touched_the_store() {
    let (mut gateway, key) = with_key(short_drains().serve());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    gateway.rewrite(|config| {
        config["store"]["url"] = json!("sqlite:elsewhere/latchkey.db");
        config["listeners"][0]["address"] = json!(taken.local_addr().unwrap().to_string());
    });
    gateway.process().ask_for_successor();
    wait_for("its end", || (swaps(&gateway, "failed") == Some(1)).then_some(()));
    assert!(!gateway.path("elsewhere").exists());
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
}
