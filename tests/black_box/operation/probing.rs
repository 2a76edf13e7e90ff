//! `latchkey check --probe`: the operator's configuration, attacked on loopback, and nothing of the operator's touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Installation, Output, run_within};

/// The probe waits for deadlines of some seconds, on a machine that may be busy.
const PROBE: Duration = Duration::from_mins(2);

fn probe(installation: &Installation) -> Output {
    let mut command = installation.command();
    command.args(["check", "--probe", "--config"]).arg(installation.config_file());
    run_within(PROBE, &mut command, b"")
}

/// Every file below `folder`, with what it holds.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// The lines of the pass list with this verdict.
fn lines<'o>(output: &'o str, verdict: &str) -> Vec<&'o str> {
    output.lines().filter(|line| line.contains(&format!("  {verdict}  "))).collect()
}

#[test]
fn the_usual_configuration_holds_and_nothing_of_the_operators_is_touched() {
    let installation = Installation::new();
    let before = files(installation.folder());
    let output = probe(&installation).expect_success();
    assert_eq!(lines(&output, "FAIL"), Vec::<&str>::new(), "{output}");
    for listener in ["api ", "api-tls ", "isproxy "] {
        let passed = lines(&output, "pass").into_iter().filter(|line| line.starts_with(listener)).count();
        assert!(passed >= 10, "{listener}: {output}");
    }
    for attack in [
        "Content-Length before Transfer-Encoding",
        "forged identity headers, in every spelling",
        "a forged X-Forwarded-For",
        "a PROXY header where none is read",
        "lines behind STARTTLS in one packet",
        "a silent client",
        "3,000 streams, each reset at once",
    ] {
        assert!(lines(&output, "pass").iter().any(|line| line.contains(attack)), "{attack}: {output}");
    }
    assert!(output.lines().last().unwrap().contains(" passed, 0 failed, "), "{output}");
    assert_eq!(files(installation.folder()), before);
    assert_eq!(
        (installation.api_upstream.connections(), installation.isproxy_upstream.connections()),
        (0, 0)
    );
}

#[test]
fn a_configuration_behind_a_balancer_is_attacked_through_its_headers() {
    let installation = Installation::configured(|config| {
        for listener in [0, 3] {
            config["listeners"][listener]["proxy_protocol"] = json!("accept");
            config["listeners"][listener]["trusted_proxies"] = json!(["192.0.2.0/24"]);
        }
    });
    let output = probe(&installation).expect_success();
    assert_eq!(lines(&output, "FAIL"), Vec::<&str>::new(), "{output}");
    assert!(lines(&output, "pass").iter().any(|line| line.starts_with("api ")), "{output}");
}

#[test]
fn a_faulty_configuration_is_told_and_not_attacked() {
    let installation = Installation::configured(|config| config["threads"] = json!("many"));
    let output = probe(&installation);
    assert_ne!(output.code, Some(0));
    assert!(output.stdout.contains("threads") && !output.stdout.contains(" passed, "), "{output:?}");
}
