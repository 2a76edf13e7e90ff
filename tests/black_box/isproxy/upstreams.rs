//! Upstreams by `STARTTLS` and an own login, and upstreams with several servers of which some are away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::with_key;
use crate::harness::{
    Authority, Installation, IsProxyUpstream, Key, LineReply, Manners, StartTlsUpstream, TestGateway,
    Transport, Validity, reply_by_name, wait_for,
};

/// What Latchkey logs in with at the upstream.
const OWN_KEY: &str = "key-of-the-gateway-itself";
/// A close is seen at the next turn of a door thread's event loop; until then a name may still go that way.
const NEXT_TURN: Duration = Duration::from_millis(20);

/// A server with a good certificate that lets [`OWN_KEY`] in.
fn good() -> Manners {
    let tls = Some(Authority::shared().server("127.0.0.1", Validity::Now));
    Manners { tls, starttls_answer: "100 OK\r\n", key: OWN_KEY }
}

/// An installation whose upstream is at `server`, with more settings, and with [`OWN_KEY`] in `upstream.key`.
fn before(server: &StartTlsUpstream, settings: &Value) -> Installation {
    let mut installation = Installation::new();
    Authority::shared().certify("client.example", Validity::Now).write_to(installation.folder(), "client");
    write_key(&installation, 0o600);
    installation.reconfigure(|config| {
        let upstream = config["upstreams"][1].as_object_mut().unwrap();
        upstream.insert(String::from("servers"), json!([server.address().to_string()]));
        upstream.extend(settings.as_object().unwrap().clone());
    });
    installation
}

fn write_key(installation: &Installation, mode: u32) {
    let file = installation.path("upstream.key");
    fs::write(&file, format!("{OWN_KEY}\n")).unwrap();
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

/// By `STARTTLS`, trusting the test's authority, with the own login.
fn starttls() -> Value {
    json!({ "tls": { "ca": "ca.crt" }, "login_key_file": "upstream.key" })
}

fn gateway_before(servers: &[&IsProxyUpstream], change: impl FnOnce(&mut Value)) -> (TestGateway, Key) {
    let servers: Vec<String> = servers.iter().map(|server| server.address().to_string()).collect();
    with_key(TestGateway::configured(|config| {
        config["upstreams"][1]["servers"] = json!(servers);
        change(config);
    }))
}

/// The gauge of one server.
fn healthy(gateway: &TestGateway, server: &str) -> Option<String> {
    let series = format!("latchkey_upstream_healthy{{upstream=\"availability\",server=\"{server}\"}} ");
    let metrics = gateway.ask_ops("/metrics").text();
    metrics.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))
}

/// Warnings about servers of upstreams.
fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("WARN") && line.contains("a server of an upstream")).collect()
}

#[test]
fn s40_an_upstream_sees_latchkeys_own_login_inside_tls_and_never_a_clients_credential() {
    let upstream = StartTlsUpstream::start(good());
    let gateway = before(&upstream, &starttls()).serve_verbosely();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    for login in [key.login(), alex.login()] {
        let mut session = gateway.connect("isproxy").start_tls(Authority::shared().client(&[]));
        assert_eq!(session.ask(&login), "100 Login ok");
        assert_eq!(session.ask("ENABLE reason"), "100 OK");
        assert_eq!(session.ask("IS taken.example"), "taken.example not available");
        session.send_line("CLOSE");
        session.expect_closed();
    }
    let seen: Vec<(String, Transport)> =
        upstream.lines().into_iter().map(|line| (line.text, line.transport)).collect();
    let own_login = format!("LOGIN {OWN_KEY}");
    let expected = [
        ("STARTTLS", Transport::Clear),
        (&own_login, Transport::Tls),
        ("ENABLE reason", Transport::Tls),
        ("IS taken.example", Transport::Tls),
    ]
    .map(|(line, transport)| (line.to_owned(), transport));
    assert_eq!(seen, [&expected[..], &expected[..]].concat());
    let (_, log, _) = gateway.stop();
    assert!(!log.contains(OWN_KEY), "the log shows the upstream's key");
}

#[test]
fn s78_a_server_that_cannot_be_trusted_gets_no_key_and_names_are_answered_error() {
    let authority = Authority::shared();
    let certified = |name, validity| Manners { tls: Some(authority.server(name, validity)), ..good() };
    let trusting = |ca: &str| json!({ "tls": { "ca": ca }, "login_key_file": "upstream.key" });
    for (case, manners, settings, told) in [
        ("wrong name", certified("other.example", Validity::Now), starttls(), "not valid for name"),
        ("expired", certified("127.0.0.1", Validity::Over), starttls(), "certificate expired"),
        // What is trusted is another certificate than the authority's.
        ("unknown authority", good(), trusting("client.crt"), "certificate"),
        ("no STARTTLS", Manners { tls: None, ..good() }, starttls(), "closed the connection"),
        (
            "a refusal",
            Manners { starttls_answer: "400 Unknown command\r\n", ..good() },
            starttls(),
            "did not answer STARTTLS with `100 OK`",
        ),
        (
            "a greeting",
            Manners { starttls_answer: "100 Welcome\r\n100 OK\r\n", ..good() },
            starttls(),
            "did not answer STARTTLS with `100 OK`",
        ),
        ("another key", Manners { key: "another", ..good() }, starttls(), "refused the login"),
    ] {
        let upstream = StartTlsUpstream::start(manners);
        let (gateway, key) = with_key(before(&upstream, &settings).serve());
        for name in ["a.example", "b.example"] {
            let mut session = gateway.isproxy_session(&key.login());
            assert_eq!(session.ask(&format!("IS {name}")), format!("{name} error"), "{case}");
        }
        let lines = upstream.lines();
        assert!(!lines.iter().any(|line| line.text.starts_with("IS")), "{case}: {lines:?}");
        let in_clear = lines.iter().filter(|line| line.transport == Transport::Clear);
        assert!(in_clear.into_iter().all(|line| line.text == "STARTTLS"), "{case}: {lines:?}");
        let (_, log, _) = gateway.stop();
        let warnings = warnings(&log);
        assert_eq!(warnings.len(), 1, "{case}: told once, not for each session: {log}");
        assert!(warnings[0].contains("cannot be reached"), "{case}: {}", warnings[0]);
        assert!(warnings[0].contains(told) && !log.contains(OWN_KEY), "{case}: {}", warnings[0]);
    }
}

#[test]
fn s16_bytes_behind_a_servers_answer_to_starttls_end_the_connection_before_the_handshake() {
    for injected in ["100 OK\r\n100 Login ok\r\n", "100 OK\r\n\r\n", "100 OK\r\nb.example available\r\n"] {
        let upstream = StartTlsUpstream::start(Manners { starttls_answer: injected, ..good() });
        let (gateway, key) = with_key(before(&upstream, &starttls()).serve());
        let mut session = gateway.isproxy_session(&key.login());
        assert_eq!(session.ask("IS b.example"), "b.example error", "{injected:?}");
        assert_eq!(upstream.lines().len(), 1, "{injected:?}: {:?}", upstream.lines());
        let (_, log, _) = gateway.stop();
        assert!(warnings(&log)[0].contains("bytes in clear behind its answer to STARTTLS"), "{log}");
    }
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_the_one_that_is_configured() {
    let tls = Some(Authority::shared().demanding_server("names.internal"));
    let upstream = StartTlsUpstream::start(Manners { tls, ..good() });
    let shown = json!({
        "ca": "ca.crt", "server_name": "names.internal",
        "client_certificate": "client.crt", "client_private_key": "client.key",
    });
    let (gateway, key) = with_key(before(&upstream, &json!({ "tls": shown })).serve());
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS a.example"), "a.example available");
}

#[test]
fn s78_the_systems_authorities_decide_where_starttls_is_all_that_is_said() {
    let upstream = StartTlsUpstream::start(good());
    let mut installation = before(&upstream, &json!({ "tls": "starttls" }));
    for (trusted, answer) in [("ca.crt", "a.example available"), ("server.crt", "a.example error")] {
        let file = installation.path(trusted);
        let gateway = installation.serve_with(&[("SSL_CERT_FILE", file.to_str().unwrap())]);
        if trusted == "ca.crt" {
            gateway.create_customer("acme");
        }
        let key = gateway.create_key("acme/admin");
        assert_eq!(gateway.isproxy_session(&key.login()).ask("IS a.example"), answer, "{trusted}");
        (_, _, installation) = gateway.stop();
    }
}

/// When a name was asked and what was answered.
type Outcome = (Instant, String);

/// Asks one name after the other, over a new session now and then.
fn ask_until(done: &AtomicBool, gateway: &TestGateway, key: &Key, outcomes: &Mutex<Vec<Outcome>>) {
    while !done.load(Ordering::SeqCst) {
        let mut session = gateway.isproxy_session(&key.login());
        for _ in 0..25 {
            let began = Instant::now();
            let answer = session.ask("IS a.example");
            outcomes.lock().unwrap().push((began, answer));
        }
    }
}

#[test]
fn s73_one_server_of_three_is_killed_and_revived_under_load_and_only_what_was_sent_to_it_fails() {
    const SESSIONS: usize = 6;
    let mut servers = vec![IsProxyUpstream::start(), IsProxyUpstream::start(), IsProxyUpstream::start()];
    let (gateway, key) = gateway_before(&[&servers[0], &servers[1], &servers[2]], |config| {
        config["limits"]["upstream_ejection_seconds"] = json!(1);
    });
    let (done, outcomes) = (AtomicBool::new(false), Mutex::new(Vec::<Outcome>::new()));
    let answered = |count: usize| {
        let wanted = outcomes.lock().unwrap().len() + count;
        wait_for("more answers", || (outcomes.lock().unwrap().len() >= wanted).then_some(()));
    };
    let killed_at = std::thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| ask_until(&done, &gateway, &key, &outcomes));
        }
        wait_for("names at every server", || {
            servers.iter().all(|server| server.lines().len() >= 50).then_some(())
        });
        let victim = servers.remove(1);
        let (address, name) = (victim.address(), victim.address().to_string());
        victim.kill();
        let killed_at = Instant::now();
        wait_for("its ejection", || (healthy(&gateway, &name)? == "0").then_some(()));
        answered(400);
        let revived = IsProxyUpstream::start_at(address);
        wait_for("names at the revived server", || (revived.lines().len() >= 50).then_some(()));
        assert_eq!(healthy(&gateway, &name).as_deref(), Some("1"));
        done.store(true, Ordering::SeqCst);
        servers.push(revived);
        killed_at
    });
    let outcomes = outcomes.into_inner().unwrap();
    let failed: Vec<&Outcome> =
        outcomes.iter().filter(|(_, answer)| answer != "a.example available").collect();
    assert!(failed.len() <= SESSIONS, "{} of {}", failed.len(), outcomes.len());
    for (began, answer) in failed {
        assert_eq!(answer, "a.example error");
        assert!(*began < killed_at + NEXT_TURN, "{:?} after the kill", *began - killed_at);
    }
    let (_, log, _) = gateway.stop();
    for told in ["is ejected", "answers again"] {
        assert!(log.contains(&format!("a server of an upstream {told}")), "{told}: {log}");
    }
}

#[test]
fn what_a_server_owes_when_it_is_killed_is_answered_with_error_and_the_rest_goes_elsewhere() {
    let servers = [IsProxyUpstream::start(), IsProxyUpstream::start()];
    for server in &servers {
        server.reply_with(
            |line| if line == "IS late.example" { LineReply::Nothing } else { reply_by_name(line) },
        );
    }
    let (gateway, key) = gateway_before(&servers.each_ref(), |_| {});
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("ENABLE reason"), "100 OK");
    session.send("IS late.example\r\n");
    let asked = wait_for("the name", || {
        servers.iter().position(|server| server.lines().iter().any(|line| line == "IS late.example"))
    });
    let mut servers = Vec::from(servers);
    servers.remove(asked).kill();
    assert_eq!(session.read_line(), "late.example error");
    assert_eq!(session.ask("IS next.example"), "next.example available");
    assert_eq!(servers[0].lines(), ["ENABLE reason", "IS next.example"], "the function is replayed");
}

#[test]
fn a_failing_server_is_told_once_until_it_comes_back() {
    let server = IsProxyUpstream::start();
    let address = server.address();
    let (gateway, key) = gateway_before(&[&server], |_| {});
    server.kill();
    let ask = || gateway.isproxy_session(&key.login()).ask("IS a.example");
    for _ in 0..8 {
        assert_eq!(ask(), "a.example error");
    }
    let revived = IsProxyUpstream::start_at(address);
    assert_eq!(ask(), "a.example available");
    revived.reply_with(|_| LineReply::Close);
    for _ in 0..8 {
        assert_eq!(ask(), "a.example error");
    }
    revived.reply_with(reply_by_name);
    assert_eq!(ask(), "a.example available");
    revived.reply_with(|_| LineReply::Lines(vec![String::from("400 not authenticated")]));
    for _ in 0..8 {
        assert_eq!(ask(), "a.example error");
    }
    let (_, log, _) = gateway.stop();
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 3, "{log}");
    for (warning, told) in warnings.iter().zip(["cannot be reached", "broke off", "refuses requests"]) {
        assert!(warning.contains(told) && warning.contains(&address.to_string()), "{warning}");
    }
}

#[test]
fn a_health_check_logs_in_and_quits_and_turns_servers_off_and_on() {
    let servers = [IsProxyUpstream::start(), IsProxyUpstream::start()];
    let reply = |line: &str| match line {
        "LOGIN key-of-the-gateway-itself" => LineReply::Lines(vec![String::from("100 Login ok")]),
        _ => reply_by_name(line),
    };
    for server in &servers {
        server.reply_with(reply);
    }
    let installation = Installation::configured(|config| {
        let upstream = &mut config["upstreams"][1];
        upstream["servers"] = json!(servers.each_ref().map(|server| server.address().to_string()));
        upstream["login_key_file"] = json!("upstream.key");
        upstream["health_check"] = json!({
            "interval_seconds": 1, "timeout_milliseconds": 3_000, "healthy_after": 1, "unhealthy_after": 1,
        });
    });
    write_key(&installation, 0o600);
    let (gateway, key) = with_key(installation.serve());
    let names = servers.each_ref().map(|server| server.address().to_string());
    let gauge_is = |name: &str, wanted: &str| {
        wait_for("the gauge", || (healthy(&gateway, name)? == wanted).then_some(()));
    };
    let ask = || gateway.isproxy_session(&key.login()).ask("IS a.example");
    let asked =
        |server: &IsProxyUpstream| server.lines().iter().filter(|line| line.starts_with("IS")).count();

    // It takes connections and lines, and lets nobody in.
    servers[0].reply_with(|_| LineReply::Lines(vec![String::from("400 Login failed")]));
    gauge_is(&names[0], "0");
    for _ in 0..10 {
        assert_eq!(ask(), "a.example available");
    }
    assert_eq!((asked(&servers[0]), asked(&servers[1])), (0, 10));
    // It lets in, and is deaf behind that.
    servers[1].reply_with(move |line| if line == "QUIT" { LineReply::Nothing } else { reply(line) });
    gauge_is(&names[1], "0");
    assert_eq!(ask(), "a.example error");
    assert_eq!(asked(&servers[1]), 10, "an unhealthy server is not asked");
    servers[0].reply_with(reply);
    gauge_is(&names[0], "1");
    assert_eq!(ask(), "a.example available");
    let (_, log, _) = gateway.stop();
    for told in ["it refused the login", "it did not close behind QUIT in time", "is healthy again"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(!log.contains(OWN_KEY), "{log}");
}

#[test]
fn s40_a_login_key_that_others_can_read_or_that_would_go_in_clear_is_refused() {
    let upstream = StartTlsUpstream::start(good());
    let mut installation = before(&upstream, &starttls());
    assert_eq!(installation.cli(&["check"]).code, Some(0));
    write_key(&installation, 0o644);
    let output = installation.cli(&["check"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stdout.contains("upstreams[1].login_key_file: others can read the file"), "{output:?}");
    assert!(!output.stdout.contains(OWN_KEY), "{output:?}");
    write_key(&installation, 0o600);
    installation.reconfigure(|config| {
        config["upstreams"][1]["tls"] = json!("none");
        config["upstreams"][1]["servers"] = json!(["names.example:2001"]);
    });
    let output = installation.cli(&["check"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stdout.contains("login_key_file: without TLS the key would go in clear"), "{output:?}");
    installation.reconfigure(|config| config["upstreams"][1]["plaintext_credentials"] = json!("allow"));
    assert_eq!(installation.cli(&["check"]).code, Some(0));
}
