//! What systemd is told, and the sockets that it passes.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::json;

use crate::harness::{Installation, PATIENCE, TestGateway, Wire};

/// Reads what is told until `wanted` comes; signs of life may come between.
fn expect_told(socket: &UnixDatagram, wanted: impl Fn(&str) -> bool) -> String {
    let mut bytes = [0; 512];
    loop {
        let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("nothing is told: {error}"));
        let told = String::from_utf8(bytes[..length].to_vec()).unwrap();
        if wanted(&told) {
            return told;
        }
        assert_eq!(told, "WATCHDOG=1", "told too early");
    }
}

fn is(wanted: &'static str) -> impl Fn(&str) -> bool {
    move |told| told == wanted
}

fn serve_under_systemd() -> (TestGateway, UnixDatagram) {
    let installation = Installation::configured(|config| config["limits"]["drain_seconds"] = json!(1));
    let path = installation.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let gateway =
        installation.serve_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "800000")]);
    (gateway, socket)
}

#[test]
fn readiness_reloads_signs_of_life_and_the_end_are_told() {
    let (mut gateway, socket) = serve_under_systemd();
    expect_told(&socket, is("READY=1\nSTATUS=serving"));
    for _ in 0..2 {
        expect_told(&socket, is("WATCHDOG=1"));
    }
    gateway.reload(|config| config["limits"]["http_target_bytes"] = json!(64));
    expect_told(&socket, |told| told.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    expect_told(&socket, is("READY=1\nSTATUS=serving"));
    let refused = gateway.reloads("refused");
    gateway.rewrite(|config| config["threads"] = json!("many"));
    gateway.process().hang_up();
    gateway.wait_for_reload("refused", refused);
    expect_told(&socket, |told| told.starts_with("RELOADING=1\n"));
    expect_told(&socket, is("READY=1\nSTATUS=serving; the configuration on disk is refused"));
    let (status, _, installation) = gateway.stop();
    expect_told(&socket, is("STOPPING=1\nSTATUS=draining"));
    assert_eq!(status.code(), Some(0));
    drop(installation);
}

#[test]
fn a_new_process_is_told_before_it_speaks_for_itself() {
    let (gateway, socket) = serve_under_systemd();
    expect_told(&socket, is("READY=1\nSTATUS=serving"));
    gateway.process().swap();
    let told = expect_told(&socket, |told| told.starts_with("MAINPID="));
    assert_eq!(told, format!("MAINPID={}", gateway.process().id()));
    expect_told(&socket, is("READY=1\nSTATUS=serving"));
    for _ in 0..2 {
        expect_told(&socket, is("WATCHDOG=1"));
    }
}

#[test]
fn a_socket_of_systemds_is_taken_by_the_listener_at_its_address() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // It queues before the gateway is started.
    let mut waiting = Wire::connect(address);
    let installation = Installation::configured(|config| {
        config["listeners"][0]["address"] = json!(address.to_string());
        config["limits"]["drain_seconds"] = json!(1);
    });
    let mut command = Command::new("/bin/sh");
    command.current_dir(installation.folder()).env_remove("LATCHKEY_CONFIG").env("NO_COLOR", "1");
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=api exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_latchkey"), "serve", "--config"]);
    command.arg(installation.config_file());
    let gateway = installation.serve_by_reading(&mut command, OwnedFd::from(socket).into());
    assert_eq!(gateway.address("api"), address);
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = crate::harness::Request::get("/v2/x").authorization(&key.authorization());
    assert_eq!(waiting.exchange(&request).status, 200);
    // One socket and two threads, and a process that follows.
    gateway.process().swap();
    for _ in 0..4 {
        assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    }
}
