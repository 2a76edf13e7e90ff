//! The access log, the metrics and the probes.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Request, TestGateway, wait_for};

/// All members of a line, in their order.
const MEMBERS: [&str; 18] = [
    "time",
    "service",
    "listener",
    "request_id",
    "client_ip",
    "method",
    "target",
    "status",
    "reason",
    "customer",
    "user",
    "key_id",
    "auth_method",
    "upstream",
    "duration_us",
    "response_bytes",
    "trace_id",
    "sample_ratio",
];

#[test]
fn the_access_log_has_one_json_line_for_each_request_and_never_a_secret() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    let narrow = gateway.create_key_of("acme/admin", "isproxy");
    let mut wire = gateway.connect("api");
    let mut ids = Vec::new();
    for (target, authorization) in [
        ("/v2/domains?secret=in-query", key.authorization()),
        ("/v2/wrong", format!("ApiKey {}x", key.text)),
        ("/v2/forbidden", narrow.authorization()),
        ("/v2/password", alex.authorization()),
    ] {
        let answer = wire.exchange(&Request::new("POST", target).authorization(&authorization).body(b"{}"));
        ids.push(answer.field("x-request-id").unwrap().to_owned());
    }
    let lines: Vec<Value> = gateway.access_log(4);
    assert_eq!(lines.len(), 4);
    for (line, id) in lines.iter().zip(&ids) {
        let members: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, MEMBERS, "{line}");
        assert_eq!(line["request_id"], **id);
        assert_eq!((&line["listener"], &line["client_ip"]), (&"api".into(), &"127.0.0.1".into()));
        assert_eq!(line["method"], "POST");
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{line}");
        assert!(line["duration_us"].as_u64().is_some_and(|duration| duration > 0), "{line}");
        assert_eq!((&line["trace_id"], &line["sample_ratio"]), (&Value::Null, &1.into()), "{line}");
    }
    let some = |line: &Value, member: &str| line[member].as_str().map(str::to_owned);
    for (line, target, status, reason, user, key_id, method, upstream) in [
        (0, "/v2/domains", 200, None, Some("admin"), Some(&key.id), Some("api-key"), Some("registry")),
        (1, "/v2/wrong", 401, Some("malformed_key"), None, None, None, None),
        (2, "/v2/forbidden", 403, Some("scope_missing"), None, None, None, None),
        (3, "/v2/password", 200, None, Some("alex"), None, Some("password"), Some("registry")),
    ] {
        let line = &lines[line];
        assert_eq!(line["target"], target, "{line}");
        assert_eq!(line["status"], status, "{line}");
        if status == 200 {
            assert_eq!(some(line, "reason"), None, "{line}");
            assert_eq!(line["customer"], "acme", "{line}");
            assert_eq!(some(line, "user").as_deref(), user, "{line}");
            assert_eq!(some(line, "key_id").as_deref(), key_id.map(String::as_str), "{line}");
            assert_eq!(line["response_bytes"], 11, "{line}");
        } else {
            assert_eq!(some(line, "reason").as_deref().is_some(), reason.is_some(), "{line}");
        }
        assert_eq!(some(line, "auth_method").as_deref(), method.filter(|_| status == 200), "{line}");
        assert_eq!(some(line, "upstream").as_deref(), upstream, "{line}");
    }
    assert_eq!(lines[2]["reason"], "scope_missing");
    let text = fs::read_to_string(gateway.path("access.jsonl")).unwrap();
    for secret in [&key.text[4..], &narrow.text[4..], PASSWORD, "in-query"] {
        assert!(!text.contains(secret), "the access log holds {secret:?}");
    }
}

#[test]
fn isproxy_logins_are_in_the_same_log_with_the_same_members() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    session.send_line("CLOSE");
    session.expect_closed();
    assert_eq!(gateway.isproxy_login("LOGIN wrong"), "400 Login failed");
    // A login and an end each; the two sessions may be of different threads, whose lines come in any order.
    let lines = gateway.access_log(4);
    let logins: Vec<&Value> = lines.iter().filter(|line| line["method"] == "LOGIN").collect();
    assert_eq!(logins.len(), 2, "{lines:?}");
    for line in &lines {
        let members: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((members.as_slice(), &line["service"]), (&MEMBERS[..], &"isproxy".into()), "{line}");
    }
    let accepted = logins.iter().find(|line| line["status"] == 100).unwrap();
    assert_eq!((&accepted["user"], &accepted["key_id"]), (&"admin".into(), &key.id.as_str().into()));
    let refused = logins.iter().find(|line| line["status"] == 400).unwrap();
    assert!(refused["reason"].is_string() && refused["user"].is_null(), "{refused}");
    let text = fs::read_to_string(gateway.path("access.jsonl")).unwrap();
    assert!(!text.contains(&key.text[4..]), "the access log holds a key");
}

#[test]
fn a_share_of_what_was_let_in_is_logged_and_every_refusal() {
    let gateway = TestGateway::configured(|config| {
        config["access_log"] = json!({ "path": "access.jsonl", "sample": { "allowed": 0.5 } });
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    // One connection is one thread's, whose lines are in order: once the last is there, all are.
    let mut wire = gateway.connect("api");
    let mut let_in = Vec::new();
    for _ in 0..60 {
        let answer = wire.exchange(&Request::get("/").authorization(&key.authorization()));
        let_in.push(answer.field("x-request-id").unwrap().to_owned());
        wire.exchange(&Request::get("/").authorization("ApiKey wrong"))
            .assert_refusal(401, "AuthenticationError");
    }
    let last = wire.exchange(&Request::get("/last").authorization("ApiKey wrong"));
    let last = last.field("x-request-id").unwrap();
    let lines = wait_for("the last line", || {
        let lines = gateway.access_log(0);
        lines.iter().any(|line| line["request_id"] == *last).then_some(lines)
    });
    let (refused, written): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line["status"] == 401);
    assert_eq!(refused.len(), 61);
    assert!(refused.iter().all(|line| line["sample_ratio"] == 1));
    assert!(!written.is_empty() && written.len() < 60, "{} of 60", written.len());
    for line in written {
        assert_eq!(line["sample_ratio"], 0.5, "{line}");
        assert!(let_in.iter().any(|id| line["request_id"] == **id), "{line}");
    }
}

/// The sum of the samples of a counter whose labels hold all of `labels`.
fn counted(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    let fitting = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    fitting.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn metrics_count_answers_and_refusals_and_never_name_a_peer() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for _ in 0..3 {
        assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    }
    assert_eq!(gateway.api_get("/", "ApiKey wrong").status, 401);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    let answer = gateway.ask_ops("/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer.field("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(counted(&text, "latchkey_keys", &[]) >= 1.0, "{text}");
    assert!(counted(&text, "latchkey_feed_revision", &[]) > 0.0, "{text}");
    assert!(counted(&text, "process_open_fds", &[]) > 10.0, "{text}");
    assert!(counted(&text, "process_resident_memory_bytes", &[]) > 1e6, "{text}");
    let answers = |class: &str| counted(&text, "latchkey_", &["api", class]);
    assert!(answers("2xx") >= 3.0, "{text}");
    assert!(answers("4xx") >= 1.0, "{text}");
    // The operator's own servers are named, nobody who calls is.
    let of_servers = |line: &&str| line.starts_with("latchkey_upstream_healthy{");
    let others: String = text.lines().filter(|line| !of_servers(line)).collect();
    for secret in [&key.text, &key.id, "acme", "127.0.0.1"] {
        assert!(!others.contains(secret), "/metrics names {secret}");
    }
}

/// The names of all series, labels included.
fn series(gateway: &TestGateway) -> Vec<String> {
    let text = gateway.ask_ops("/metrics").text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<String> =
        lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn there_are_as_many_series_with_ten_thousand_keys_and_many_users_as_with_ten() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let create = |count: &str, output: &str| {
        let scopes = ["--scope", "api", "--description", "One of many", "--yes"];
        let file = gateway.path(output);
        let many = ["--count", count, "--output", file.to_str().unwrap()];
        gateway.cli(&[&["key", "create", "acme/admin"][..], &scopes, &many].concat()).expect_success();
    };
    create("10", "ten.keys");
    let before = series(&gateway);
    assert!(before.len() > 100, "{before:?}");
    create("10000", "many.keys");
    for customer in ["globex", "initech", "umbrella"] {
        gateway.create_customer(customer);
        let user = gateway.create_user(&format!("{customer}/alex"));
        let key = gateway.create_key(&user.name);
        for target in ["/v2/a", "/v2/b?x=1", "/v3/nowhere"] {
            assert_eq!(gateway.api_get(target, &key.authorization()).status, 200);
            gateway.api_get(target, &user.authorization());
            gateway.api_get_from("127.0.0.2", target, &format!("ApiKey {customer}"));
        }
        let mut session = gateway.isproxy_session(&key.login());
        assert_eq!(session.ask(&format!("IS {customer}.example")), format!("{customer}.example available"));
    }
    wait_for("all keys in the index", || gateway.metric("latchkey_keys").filter(|keys| *keys >= 10_010));
    assert_eq!(series(&gateway), before);
}

#[test]
fn times_are_measured_at_both_doors() {
    let gateway = TestGateway::configured(|config| config["limits"]["connections"] = 1_234.into());
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for _ in 0..3 {
        assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    }
    assert_eq!(gateway.api_get("/", "ApiKey wrong").status, 401);
    let mut session = gateway.isproxy_session(&key.login());
    for name in ["a.example", "b.example"] {
        assert_eq!(session.ask(&format!("IS {name}")), format!("{name} available"));
    }
    for (series, count) in [
        ("latchkey_decision_seconds_count{door=\"api\"}", 4),
        ("latchkey_decision_seconds_count{door=\"isproxy\"}", 1),
        ("latchkey_added_latency_seconds_count{door=\"api\"}", 3),
        ("latchkey_upstream_seconds_count{upstream=\"registry\"}", 3),
        ("latchkey_upstream_seconds_count{upstream=\"availability\"}", 2),
    ] {
        assert_eq!(gateway.metric(series), Some(count), "{series}");
    }
    assert_eq!(gateway.metric("latchkey_readiness{state=\"ready\"}"), Some(1));
    assert_eq!(gateway.metric("latchkey_connections_limit"), Some(1_234));
}

#[test]
fn the_probes_answer_and_the_ops_listener_serves_nothing_else() {
    let gateway = TestGateway::start();
    for (target, status) in
        [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/live", 404), ("/v2/domains", 404)]
    {
        assert_eq!(gateway.ask_ops(target).status, status, "{target}");
    }
    // And the doors serve no probe.
    for target in ["/livez", "/readyz", "/metrics"] {
        let answer = gateway.connect("api").exchange(&Request::get(target));
        answer.assert_refusal(401, "AuthenticationError");
    }
}

#[test]
fn the_gateways_log_names_no_secret_even_when_it_says_everything() {
    let gateway = TestGateway::verbose();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    let wrong = format!("{}x", key.text);
    for authorization in [key.authorization(), alex.authorization(), format!("ApiKey {wrong}")] {
        gateway.api_get("/", &authorization);
        let request = Request::get("/").authorization(&authorization);
        gateway.connect_tls().exchange(&request);
    }
    for line in [key.login(), alex.login(), format!("LOGIN {wrong}"), format!("IS {} example.com", key.text)]
    {
        gateway.isproxy_login(&line);
    }
    let (_, log, _) = gateway.stop();
    assert!(log.lines().count() > 5, "{log}");
    let encoded = alex.authorization();
    for secret in [&key.text[4..], PASSWORD, encoded.strip_prefix("Basic ").unwrap()] {
        assert!(!log.contains(secret), "the log holds {secret:?}:\n{log}");
    }
}
