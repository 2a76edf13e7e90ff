//! `latchkey check`: every fault at once, each with its place, and nothing is bound.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Installation, run};

/// Five faults on five known lines.
const FIVE_FAULTS: &str = "\
store: { url: sqlite:data/latchkey.db }
master_key_file: master.key
listeners:
  - name: api
    protocol: http
    address: 127.0.0.1:8443
    tls: { certificate: missing.crt, private_key: server.key }
    routes: [{ path: /, upstream: registri }]
  - name: lines
    protocol: isproxi
    address: 127.0.0.1:2001
    upstream: availability
upstreams:
  - name: registry
    protocol: http
    servers: [http://127.0.0.1:9000]
    timout: 3
  - name: availability
    protocol: isproxy
    servers: [127.0.0.1:9001]
limits: { connections: many }
";

#[test]
fn five_faults_are_five_located_errors_and_exit_code_2() {
    let installation = Installation::new();
    let file = installation.path("broken.yaml");
    fs::write(&file, FIVE_FAULTS).unwrap();
    let output = run(installation.command().args(["check", "--config"]).arg(&file), b"");
    // The faults are what `check` was asked for: its data, on stdout.
    assert_eq!((output.code, output.stderr.as_str()), (Some(2), ""), "{output:?}");
    let place = |line: u32| format!("{}:{line}:", file.display());
    let errors: Vec<&str> = output.stdout.lines().filter(|line| line.contains("  error  ")).collect();
    assert_eq!(errors.len(), 5, "{}", output.stdout);
    for (line, words) in [
        (7, &["listeners[0].tls.certificate", "missing.crt"][..]),
        (8, &["listeners[0].routes[0].upstream", "registri", "registry"]),
        (10, &["listeners[1].protocol", "isproxi", "isproxy"]),
        (17, &["upstreams[0]", "timout"]),
        (21, &["limits.connections", "number"]),
    ] {
        let fault = errors.iter().find(|error| error.starts_with(&place(line)));
        let fault = fault.unwrap_or_else(|| panic!("no error on line {line}:\n{}", output.stdout));
        // Line and column: two numbers behind the file.
        let column = fault[place(line).len()..].split_whitespace().next().unwrap();
        assert!(column.parse::<u32>().is_ok_and(|column| column > 0), "{fault}");
        for word in words {
            assert!(fault.contains(word), "{word} is not in {fault}");
        }
    }
    assert!(output.stdout.contains("did you mean `registry`"), "{}", output.stdout);
    assert!(output.stdout.trim_end().ends_with("5 errors"), "{}", output.stdout);
    // `serve` tells the same on stderr, and does not start.
    let served = run(installation.command().args(["serve", "--config"]).arg(&file), b"");
    assert_eq!(served.code, Some(2), "{served:?}");
    assert_eq!(
        served.stderr.lines().filter(|line| line.contains("  error  ")).count(),
        5,
        "{}",
        served.stderr
    );
}

#[test]
fn certificates_that_a_start_would_refuse_are_told_at_their_keys() {
    let text = "\
listeners:
  - name: api
    protocol: http
    address: 127.0.0.1:8443
    tls:
      certificate: server.crt
      private_key: ca.key
    routes: [{ path: /, upstream: registry }]
  - name: lines
    protocol: isproxy
    address: 127.0.0.1:2001
    tls: { certificate: empty.pem, private_key: server.key }
    upstream: availability
upstreams:
  - name: registry
    protocol: http
    servers: [https://localhost:9000]
    tls:
      ca: empty.pem
  - { name: availability, protocol: isproxy, servers: [127.0.0.1:9001] }
";
    let installation = Installation::new();
    let other = rcgen::KeyPair::generate().unwrap();
    fs::write(installation.path("ca.key"), other.serialize_pem()).unwrap();
    fs::write(installation.path("empty.pem"), "nothing\n").unwrap();
    let file = installation.path("broken.yaml");
    fs::write(&file, text).unwrap();
    let output = run(installation.command().args(["check", "--config"]).arg(&file), b"");
    assert_eq!((output.code, output.stderr.as_str()), (Some(2), ""), "{output:?}");
    let errors: Vec<&str> = output.stdout.lines().filter(|line| line.contains("  error  ")).collect();
    assert_eq!(errors.len(), 3, "{}", output.stdout);
    for (error, place, path, words) in [
        (errors[0], "7:20", "listeners[0].tls.private_key", "does not belong to the certificate"),
        (errors[1], "12:25", "listeners[1].tls.certificate", "empty.pem: holds no PEM block"),
        (errors[2], "19:11", "upstreams[0].tls.ca", "empty.pem: holds no PEM block"),
    ] {
        assert!(error.starts_with(&format!("{}:{place} ", file.display())), "{error}");
        assert!(error.contains(&format!("error  {path}: ")) && error.contains(words), "{error}");
    }
    assert!(!installation.path("data").exists(), "`check` made a store");
    assert!(!installation.path("master.key").exists(), "`check` made a master key");
    // `serve` finds them by itself.
    let served = run(installation.command().args(["serve", "--config"]).arg(&file), b"");
    assert!(served.code != Some(0) && served.stderr.contains("empty.pem"), "{served:?}");
}

#[test]
fn a_sound_configuration_is_said_to_be_sound_and_binds_nothing() {
    // Held by somebody else: whoever tries to bind it fails.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let installation = Installation::configured(|config| {
        config["listeners"][0]["address"] = json!(address);
    });
    let output = installation.cli(&["check"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!installation.path("data").exists(), "`check` made a store");
    assert!(!installation.path("master.key").exists(), "`check` made a master key");
    assert!(!installation.path("access.jsonl").exists(), "`check` made an access log");
}

#[test]
fn a_configuration_that_is_no_yaml_or_not_there_is_exit_code_2() {
    let installation = Installation::new();
    let file = installation.path("broken.yaml");
    for text in ["listeners: [", "\t- x", "just text", "", "a: 1\na: 2\n"] {
        fs::write(&file, text).unwrap();
        let output = run(installation.command().args(["check", "--config"]).arg(&file), b"");
        assert_eq!(output.code, Some(2), "{text:?}: {output:?}");
        assert!(output.stdout.contains("broken.yaml"), "{text:?}: {output:?}");
    }
    fs::remove_file(&file).unwrap();
    let output = run(installation.command().args(["check", "--config"]).arg(&file), b"");
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stdout.contains("broken.yaml"), "{output:?}");
}

#[test]
fn what_the_environment_and_files_give_is_put_into_the_configuration() {
    let installation = Installation::configured(|config| {
        config["listeners"][0]["name"] = json!("${API_NAME:-unnamed}");
        config["upstreams"][0]["servers"] = json!(["http://${file:server.txt}"]);
    });
    let address = installation.api_upstream.address();
    fs::write(installation.path("server.txt"), format!("{address}\n")).unwrap();
    assert_eq!(installation.cli(&["check"]).code, Some(0));
    let missing = Installation::configured(|config| {
        config["listeners"][0]["address"] = json!("${LATCHKEY_TEST_NOT_SET}");
    });
    let output = missing.cli(&["check"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stdout.contains("LATCHKEY_TEST_NOT_SET"), "{output:?}");
}

#[test]
fn the_schema_is_json_that_names_every_section() {
    let output = run(Installation::new().command().arg("schema"), b"");
    let schema = output.json();
    for section in ["store", "listeners", "upstreams", "limits", "policy", "access_log", "threads"] {
        assert!(schema["properties"].get(section).is_some(), "{section} is missing");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_a_refused_change_is_1() {
    let gateway = Installation::new().serve();
    for arguments in
        [&["nonsense"][..], &["key", "create"], &["key", "delete"], &["customer", "create", "a b"]]
    {
        let output = gateway.cli(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
    gateway.create_customer("acme");
    for arguments in [
        &["customer", "create", "acme", "--mfa", "optional"][..],
        &["user", "create", "nobody/alex"],
        &["key", "delete", "key_0c1x8n4t7q2vz", "--yes"],
        &["user", "deactivate", "acme/admin"],
    ] {
        let output = gateway.cli(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
    // Without a terminal nobody can agree to what a first key ends.
    let unasked = gateway.cli(&["key", "create", "acme/admin", "--description", "d", "--scope", "api"]);
    assert_ne!(unasked.code, Some(0), "{unasked:?}");
    assert!(gateway.cli(&["key", "list", "--json"]).json().as_array().unwrap().is_empty());
    let weak = ["user", "create", "acme/weak", "--password-file", "-"];
    assert_eq!(gateway.cli_with_input(&weak, "tooshort").code, Some(1));
}
