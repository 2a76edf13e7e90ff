//! A system that has no more to give: descriptors, room on the disk.

use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Answer, Installation, Request, TestGateway, Wire, wait_for};

/// Starts `installation` from a shell that has set `limits` before.
fn serve_within(installation: Installation, limits: &str) -> TestGateway {
    let serve = installation.command();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]).arg(serve.get_program());
    command.args(["serve", "--config"]).arg(installation.config_file()).env("LATCHKEY_LOG", "info");
    installation.serve_by(&mut command)
}

#[test]
fn s75_at_the_limit_of_descriptors_it_neither_spins_nor_ends_and_is_back_soon() {
    const DESCRIPTORS: usize = 150;
    let installation = Installation::new();
    installation.create_customer("acme");
    let key = installation.create_key("acme/admin");
    let gateway = serve_within(installation, &format!("ulimit -n {DESCRIPTORS}"));
    let address = gateway.address("api");
    let mut kept = gateway.connect("api");
    let request = Request::get("/").authorization(&key.authorization());
    assert_eq!(kept.exchange(&request).status, 200);

    // More than there is room for: the system takes them, and the gateway cannot.
    let silent: Vec<TcpStream> = (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(address).unwrap()).collect();
    gateway.process().wait_for_log("that it cannot accept", |lines| {
        lines.iter().any(|line| line.contains("cannot accept connections")).then_some(())
    });
    let (before, began) = (gateway.process().cpu_time(), Instant::now());
    thread::park_timeout(Duration::from_secs(1));
    let (used, took) = (gateway.process().cpu_time().saturating_sub(before), began.elapsed());
    assert!(used < took / 10, "{used:?} of CPU time in {took:?}");
    // Who is in goes on: the connection upstream is kept, too.
    assert_eq!(kept.exchange(&request).status, 200);

    drop(silent);
    let freed = Instant::now();
    wait_for("a new connection to be served", || {
        let mut wire = Wire::connect(address);
        wire.try_send(request.to_bytes()).ok()?;
        wire.try_read_until(b"HTTP/1.1 200 OK\r\n").map(drop)
    });
    let took = freed.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn s82_on_a_full_disk_changes_are_refused_and_keys_go_on() {
    let mut installation = Installation::new();
    // The log of requests is not what is looked at.
    installation.reconfigure(|config| drop(config.as_object_mut().unwrap().remove("access_log")));
    installation.create_customer("acme");
    let key = installation.create_key("acme/admin");
    installation.create_user("acme/alex");
    let manage = ["--scope", "manage", "--allow", "127.0.0.1", "--allow", "::1"];
    let manager = installation.create_key_with("acme/admin", &manage);
    // No file grows beyond this, as on a disk without room; 512 or 1,024 bytes a block, by the shell.
    let gateway = serve_within(installation, "trap '' XFSZ; ulimit -S -f 4000");
    let create = |number: usize| -> Answer {
        let description = format!("number {number} {}", "x".repeat(60));
        let body = json!({ "description": description, "scope": ["api"], "acceptPasswordEnd": true });
        let host = format!("localhost:{}", gateway.address("console").port());
        let request = Request::of(&host, "POST", "/api/v1/users/alex/api-keys")
            .authorization(&manager.authorization())
            .field("Content-Type", "application/json")
            .body(body.to_string().as_bytes());
        gateway.connect("console").exchange(&request)
    };
    let mut made = Vec::new();
    let refused = (0..5_000)
        .find_map(|number| {
            let answer = create(number);
            if answer.status != 201 {
                return Some(answer);
            }
            made.push(answer.json()["key"].as_str().unwrap().to_owned());
            None
        })
        .expect("a disk that is never full");
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (503, &json!("ProviderUnavailable")),
        "{refused:?}"
    );
    assert!(made.len() > 10, "{}", made.len());
    // Whatever else was under way when there was no room, it stays so; a journal that is begun anew has some again.
    for _ in 0..20 {
        let answer = create(made.len());
        match answer.status {
            201 => made.push(answer.json()["key"].as_str().unwrap().to_owned()),
            status => assert_eq!(status, 503, "{answer:?}"),
        }
    }

    // What was told is there, what was refused is not, and the doors do not notice.
    for text in made.iter().rev().take(20).chain([&key.text]) {
        assert_eq!(gateway.api_get("/", &format!("ApiKey {text}")).status, 200);
    }
    let listed = gateway.cli(&["key", "list", "acme/alex", "--json"]).expect_success();
    assert_eq!(listed.matches("number ").count(), made.len());

    gateway.process().lift_file_limit();
    let answer = create(made.len());
    assert_eq!(answer.status, 201, "there is room again: {answer:?}");
    let key = answer.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(gateway.api_get("/", &format!("ApiKey {key}")).status, 200);
}
