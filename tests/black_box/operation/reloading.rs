//! A changed configuration: what takes effect, when, and what a broken one changes (nothing).

use std::fs;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::harness::{
    Authority, HttpUpstream, Installation, IsProxyUpstream, Key, LineReply, PATIENCE, Request, TestGateway,
    TlsUpstream, Validity, Wire, wait_for,
};

/// The place of the listeners in the usual configuration.
const API: usize = 0;

fn with_key(installation: Installation) -> (TestGateway, Key) {
    let gateway = installation.serve();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

fn gateway_with_key() -> (TestGateway, Key) {
    with_key(Installation::new())
}

fn get(key: &Key) -> Request {
    Request::get("/v2/x").authorization(&key.authorization())
}

fn route_to(config: &mut Value, upstream: &HttpUpstream) {
    config["upstreams"][0]["servers"] = json!([format!("http://{}", upstream.address())]);
}

#[test]
fn s79_a_broken_configuration_is_refused_with_every_fault_and_the_one_before_stays() {
    let (mut gateway, key) = gateway_with_key();
    gateway.reload(|config| config["listeners"][API]["allow_list"] = json!(["127.0.0.0/8"]));
    let sound = fs::read_to_string(gateway.config_file()).unwrap();
    // Would keep everybody out, were a part of a broken configuration in force.
    let closed = sound.replace("127.0.0.0/8", "192.0.2.0/24");
    let mixed = Authority::shared().certify("localhost", Validity::Now);
    mixed.write_to(gateway.folder(), "mixed");
    fs::write(gateway.path("garbage.crt"), "not a certificate\n").unwrap();
    let mut wire = gateway.connect("api");
    let mut session = gateway.isproxy_session(&key.login());
    for (what, text, told) in [
        ("broken YAML", format!("{closed}]"), "latchkey.yaml:"),
        (
            "an unknown field",
            closed.replace("\"threads\"", "\"treads\""),
            "unknown key `treads`; did you mean `threads`?",
        ),
        (
            "a missing certificate",
            closed.replace("server.crt", "none.crt"),
            "tls.certificate: file not found: none.crt",
        ),
        (
            "a certificate that is none",
            closed.replace("server.crt", "garbage.crt"),
            "garbage.crt: holds no PEM block",
        ),
        (
            "another key's certificate",
            closed.replace("server.crt", "mixed.crt"),
            "does not belong to the certificate",
        ),
        ("half of the file", closed[..closed.len() / 2].to_owned(), "latchkey.yaml:"),
        ("an empty file", String::new(), "the file is empty"),
    ] {
        let (refused, applied) = (gateway.reloads("refused"), gateway.reloads("applied"));
        fs::write(gateway.config_file(), &text).unwrap();
        gateway.process().hang_up();
        gateway.wait_for_reload("refused", refused);
        gateway.process().wait_for_log(what, |lines| {
            let is_told = |line: &&String| line.contains("ERROR") && line.contains(told);
            lines.iter().rev().find(is_told).map(drop)
        });
        assert_eq!(gateway.reloads("applied"), applied, "{what}");
        // `check` looks at the text and that files are there, not into certificates.
        if !told.contains("PEM") && !told.contains("belong") {
            gateway.cli(&["check"]).expect_failure(2);
        }
        assert_eq!(wire.exchange(&get(&key)).status, 200, "{what}");
        assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200, "{what}");
        assert_eq!(gateway.connect_tls().exchange(&get(&key)).status, 200, "{what}");
        assert_eq!(session.ask("IS example.com"), "example.com available", "{what}");
    }
    // Once it is sound, it counts; nobody has to ask.
    let applied = gateway.reloads("applied");
    fs::write(gateway.config_file(), &closed).unwrap();
    gateway.wait_for_reload("applied", applied);
    wire.exchange(&get(&key)).assert_refusal(403, "AuthorizationError");
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn s79_a_file_that_is_written_in_two_halves_counts_once_it_is_whole() {
    let (gateway, key) = gateway_with_key();
    let sound = fs::read_to_string(gateway.config_file()).unwrap();
    let closed = sound.replacen(
        "\"plaintext_credentials\"",
        "\"allow_list\": [\"192.0.2.0/24\"], \"plaintext_credentials\"",
        1,
    );
    let (applied, refused) = (gateway.reloads("applied"), gateway.reloads("refused"));
    fs::write(gateway.config_file(), &closed[..closed.len() / 2]).unwrap();
    // Nobody can tell that more is to come; what is there is broken, and counts for nothing.
    gateway.wait_for_reload("refused", refused);
    assert_eq!(gateway.api_get("/v2/x", &key.authorization()).status, 200);
    fs::write(gateway.config_file(), &closed).unwrap();
    gateway.wait_for_reload("applied", applied);
    gateway.api_get("/v2/x", &key.authorization()).assert_refusal(403, "AuthorizationError");
}

#[test]
fn s79_routes_lists_and_limits_count_from_the_next_request_of_a_kept_alive_connection() {
    let (mut gateway, key) = gateway_with_key();
    let other = HttpUpstream::start();
    let (open, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    gateway.api_upstream.on("/slow", move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        opened.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        exchange.send("other");
    });
    let mut wire = gateway.connect("api");
    let mut slow = gateway.connect("api");
    assert_eq!(wire.exchange(&get(&key)).status, 200);
    slow.send(Request::get("/slow").authorization(&key.authorization()).to_bytes());
    assert_eq!(slow.read_answer_head().status, 200);
    assert_eq!(slow.read_exactly(5), b"first");

    gateway.reload(|config| {
        route_to(config, &other);
        config["limits"]["http_target_bytes"] = json!(64);
    });
    assert_eq!(wire.exchange(&get(&key)).status, 200);
    assert_eq!((other.requests().len(), gateway.api_upstream.requests().len()), (1, 2));
    let long = Request::get(&format!("/{}", "x".repeat(64))).authorization(&key.authorization());
    assert_eq!(wire.exchange(&long).status, 414);
    let text = gateway.ask_ops("/metrics").text();
    assert!(text.contains(&other.address().to_string()), "{text}");

    // What was under way ends where it began, and its connection then goes through the new door.
    open.send(()).unwrap();
    assert_eq!(slow.read_exactly(5), b"other");
    assert_eq!(slow.exchange(&get(&key)).status, 200);
    assert_eq!(other.requests().len(), 2);
    wait_for("the series of the server that is gone to go", || {
        let text = gateway.ask_ops("/metrics").text();
        (!text.contains(&gateway.api_upstream.address().to_string())).then_some(())
    });

    gateway.reload(|config| config["listeners"][API]["allow_list"] = json!(["192.0.2.0/24"]));
    wire.exchange(&get(&key)).assert_refusal(403, "AuthorizationError");
    // A proxy that is believed from now on, is believed on the connection that it has already.
    gateway.reload(|config| config["listeners"][API]["trusted_proxies"] = json!(["127.0.0.0/8"]));
    let forwarded = get(&key).field("X-Forwarded-For", "192.0.2.7");
    assert_eq!(wire.exchange(&forwarded).status, 200);
    gateway.reload(|config| config["limits"]["connections_per_address"] = json!(2));
    let mut refused = gateway.connect("api");
    let _ = refused.try_send(get(&key).to_bytes());
    refused.expect_closed();
    assert_eq!(wire.exchange(&forwarded).status, 200, "what is open stays open");
}

#[test]
fn each_request_of_an_http2_connection_is_judged_by_what_is_in_force() {
    let (mut gateway, key) = gateway_with_key();
    let authority = reqwest::Certificate::from_pem(Authority::shared().certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = format!("https://localhost:{}/v2/x", gateway.address("api-tls").port());
    let ask = || {
        let request = client.get(&url).header("authorization", key.authorization());
        let answer = runtime.block_on(request.send()).unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        answer.status().as_u16()
    };
    assert_eq!(ask(), 200);
    let accepted = gateway.metric("latchkey_connections_accepted_total{door=\"api\"}");
    gateway.reload(|config| config["listeners"][1]["allow_list"] = json!(["192.0.2.0/24"]));
    assert_eq!(ask(), 403);
    gateway.reload(|config| config["listeners"][1]["allow_list"] = json!([]));
    assert_eq!(ask(), 200);
    assert_eq!(gateway.metric("latchkey_connections_accepted_total{door=\"api\"}"), accepted);
}

#[test]
fn the_health_checks_of_an_upstream_end_with_its_place_in_the_configuration() {
    let mut installation = Installation::new();
    installation.reconfigure(|config| {
        config["upstreams"][0]["health_check"] = json!({ "path": "/health", "interval_seconds": 1 });
    });
    let mut gateway = installation.serve();
    let other = HttpUpstream::start();
    let wait_for_checks = |upstream: &HttpUpstream, count: usize| {
        wait_for("health checks", || (upstream.requests().len() >= count).then_some(()));
    };
    wait_for_checks(&gateway.api_upstream, 1);
    gateway.reload(|config| route_to(config, &other));
    let before = gateway.api_upstream.requests().len();
    wait_for_checks(&other, 3);
    assert_eq!(gateway.api_upstream.requests().len(), before);
}

#[test]
fn an_upstream_that_has_not_changed_keeps_its_connections() {
    let (mut gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    assert_eq!(wire.exchange(&get(&key)).status, 200);
    gateway.reload(|config| config["listeners"][API]["allow_list"] = json!(["127.0.0.0/8"]));
    assert_eq!(wire.exchange(&get(&key)).status, 200);
    assert_eq!(gateway.api_upstream.connections(), 1);
}

#[test]
fn a_secret_and_a_list_in_files_of_their_own_are_followed_without_being_asked() {
    let mut installation = Installation::new();
    fs::write(installation.path("secret"), "one\n").unwrap();
    fs::write(installation.path("networks"), "127.0.0.0/8\n").unwrap();
    installation.reconfigure(|config| {
        config["listeners"][API]["allow_list_file"] = json!("networks");
        config["upstreams"][0]["set_headers"] = json!({ "x-secret": "${file:secret}" });
    });
    let (gateway, key) = with_key(installation);
    let mut wire = gateway.connect("api");
    let mut secret_sent = || {
        assert_eq!(wire.exchange(&get(&key)).status, 200);
        gateway.api_upstream.last_request().field("x-secret")
    };
    assert_eq!(secret_sent().as_deref(), Some("one"));
    // Renamed over, as careful writers do.
    fs::write(gateway.path("secret.new"), "two\n").unwrap();
    fs::rename(gateway.path("secret.new"), gateway.path("secret")).unwrap();
    wait_for("the new secret", || (secret_sent().as_deref() == Some("two")).then_some(()));
    fs::write(gateway.path("networks"), "192.0.2.0/24\n").unwrap();
    wait_for("the new list", || (wire.exchange(&get(&key)).status == 403).then_some(()));
    assert_eq!(gateway.reloads("refused"), 0);
}

/// The certificate that the server of a TLS connection has shown.
fn shown(wire: &Wire) -> CertificateDer<'static> {
    wire.tls().unwrap().peer_certificates().unwrap()[0].clone()
}

#[test]
fn s79_a_new_certificate_is_shown_in_the_next_handshake_and_open_connections_go_on() {
    let (mut gateway, key) = gateway_with_key();
    let client = || Authority::shared().client(&["http/1.1"]);
    // It has a session to resume, which must not bring the certificate of before back.
    let returning = client();
    let mut open = Wire::connect_tls(gateway.address("api-tls"), Arc::clone(&returning));
    assert_eq!(open.exchange(&get(&key)).status, 200);
    let before = shown(&open);
    let mut session = gateway.connect("isproxy").start_tls(client());
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    let certified = Authority::shared().certify("localhost", Validity::Now);
    certified.write_to(gateway.folder(), "server");
    gateway.reload(|_| {});
    gateway.process().wait_for_log("the change by its name", |lines| {
        lines
            .iter()
            .find(|line| line.contains("in force") && line.contains("changed=\"certificates\""))
            .map(drop)
    });
    for config in [client(), returning] {
        let mut fresh = Wire::connect_tls(gateway.address("api-tls"), config);
        assert_ne!(shown(&fresh), before);
        assert_eq!(fresh.exchange(&get(&key)).status, 200);
    }
    assert_ne!(shown(&gateway.connect("isproxy").start_tls(client())), before);
    assert_eq!(open.exchange(&get(&key)).status, 200);
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn a_new_authority_of_an_upstream_is_believed_from_the_next_request_on() {
    let upstream = TlsUpstream::start(Authority::shared().server("127.0.0.1", Validity::Now));
    let mut installation = Installation::new();
    // What is trusted at first is another certificate than the authority's.
    fs::copy(installation.path("server.crt"), installation.path("trusted.crt")).unwrap();
    installation.reconfigure(|config| {
        config["upstreams"][0]["servers"] = json!([format!("https://{}", upstream.address())]);
        config["upstreams"][0]["tls"] = json!({ "ca": "trusted.crt" });
    });
    let (mut gateway, key) = with_key(installation);
    let mut wire = gateway.connect("api");
    assert_eq!(wire.exchange(&get(&key)).status, 502);
    fs::copy(gateway.path("ca.crt"), gateway.path("trusted.crt")).unwrap();
    gateway.reload(|_| {});
    assert_eq!(wire.exchange(&get(&key)).status, 200);
}

#[test]
fn r8_a_stricter_policy_ends_the_sessions_that_it_would_not_let_in() {
    let (mut gateway, _) = gateway_with_key();
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/alex");
    let mut by_password = gateway.isproxy_session(&alex.login());
    let mut by_key = gateway.isproxy_session(&key.login());
    assert_eq!(by_password.ask("IS example.com"), "example.com available");
    gateway.reload(|config| config["policy"] = json!({ "key_ends_password_at": ["api", "isproxy"] }));
    by_password.expect_closed();
    assert_eq!(by_key.ask("IS example.com"), "example.com available");
    assert_eq!(gateway.isproxy_login(&alex.login()), "400 Login failed");
}

#[test]
fn new_sessions_use_the_new_upstream_and_open_ones_go_on_with_theirs() {
    let (mut gateway, key) = gateway_with_key();
    let other = IsProxyUpstream::start();
    other.reply_with(|_| LineReply::Lines(vec![String::from("free.example not available")]));
    let mut open = gateway.isproxy_session(&key.login());
    assert_eq!(open.ask("IS free.example"), "free.example available");
    let address = other.address().to_string();
    gateway.reload(|config| config["upstreams"][1]["servers"] = json!([address]));
    assert_eq!(open.ask("IS free.example"), "free.example available");
    assert_eq!(gateway.isproxy_session(&key.login()).ask("IS free.example"), "free.example not available");
}

#[test]
fn what_only_a_restart_can_change_is_named_and_the_rest_is_in_force() {
    let (mut gateway, key) = gateway_with_key();
    gateway.reload(|config| {
        config["listeners"][API]["allow_list"] = json!(["192.0.2.0/24"]);
        config["threads"] = json!(1);
        config["access_log"]["path"] = json!("elsewhere.jsonl");
    });
    gateway.api_get("/v2/x", &key.authorization()).assert_refusal(403, "AuthorizationError");
    gateway.process().wait_for_log("what needs a restart", |lines| {
        let line = lines.iter().find(|line| line.contains("WARN") && line.contains("needs a restart"))?;
        for part in ["threads has changed", "access_log has changed"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("listener"), "{line}");
        Some(())
    });
}
