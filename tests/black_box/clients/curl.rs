//! curl, as the README's reader has it.

use std::process::Command;

use crate::harness::{Output, TestGateway, run};

/// Runs curl with the test's authority; stdout is `STATUS VERSION BODY`.
fn curl(gateway: &TestGateway, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"]);
    command
        .arg(gateway.path("ca.crt"))
        .args(["--write-out", " %{http_code} %{http_version}"])
        .args(arguments);
    run(&mut command, b"")
}

#[test]
fn curl_speaks_http_1_and_http_2_over_tls_and_plain_http() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let secure = format!("https://localhost:{}/v2/domains/", gateway.address("api-tls").port());
    let plain = format!("http://{}/v2/domains/", gateway.address("api"));
    let header = format!("Authorization: {}", key.authorization());
    for (arguments, version) in [
        (&["--http1.1", &secure][..], "1.1"),
        (&["--http2", &secure], "2"),
        (&["--http2", "--tls-max", "1.2", &secure], "2"),
        (&["--http1.1", "--tlsv1.3", &secure], "1.1"),
        (&["--http1.1", &plain], "1.1"),
    ] {
        let output = curl(&gateway, &[&["-H", &header][..], arguments].concat());
        assert_eq!(output.expect_success(), format!("{{\"ok\":true}} 200 {version}"), "{arguments:?}");
    }
    assert_eq!(gateway.api_upstream.requests().len(), 5);
    let wrong = curl(&gateway, &["--http2", "-H", "Authorization: ApiKey wrong", &secure]).expect_success();
    assert!(wrong.contains("AuthenticationError") && wrong.ends_with(" 401 2"), "{wrong}");
    assert_eq!(gateway.api_upstream.requests().len(), 5);
}

#[test]
fn curl_uploads_and_downloads_with_expect_and_a_password() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    gateway.api_upstream.on("/", |exchange| {
        let body = exchange.read_body();
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        exchange.send(body);
    });
    let sent = "x".repeat(2_000_000);
    let file = gateway.path("sent");
    std::fs::write(&file, &sent).unwrap();
    let url = format!("https://localhost:{}/", gateway.address("api-tls").port());
    let data = format!("@{}", file.display());
    let user = format!("{}:{}", alex.name, crate::harness::PASSWORD);
    for version in ["--http1.1", "--http2"] {
        let expect = ["-H", "Expect: 100-continue", "--data-binary", &data, "--user", &user, version, &url];
        let output = curl(&gateway, &expect).expect_success();
        assert_eq!(output.split(' ').next().unwrap().len(), sent.len(), "{version}");
    }
    assert!(gateway.api_upstream.requests().iter().all(|request| request.body.len() >= sent.len()));
}

#[test]
fn curl_reads_why_an_upload_was_refused_whatever_it_waits_for() {
    let gateway = TestGateway::start();
    let file = gateway.path("sent");
    let url = format!("https://localhost:{}/", gateway.address("api-tls").port());
    for bytes in [1, 2_000_000] {
        std::fs::write(&file, "x".repeat(bytes)).unwrap();
        let upload = ["--upload-file", file.to_str().unwrap(), "-H", "Authorization: ApiKey wrong", &url];
        for version in ["--http1.1", "--http2"] {
            for expect in ["Expect: 100-continue", "Expect:"] {
                let output =
                    curl(&gateway, &[&["-H", expect, version][..], &upload].concat()).expect_success();
                assert!(
                    output.contains("AuthenticationError") && output.contains(" 401 "),
                    "{bytes} bytes, {version}, {expect}: {output}"
                );
            }
        }
    }
    assert_eq!(gateway.api_upstream.requests().len(), 0);
}

#[test]
fn curl_without_the_authority_trusts_nothing() {
    let gateway = TestGateway::start();
    let url = format!("https://localhost:{}/", gateway.address("api-tls").port());
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "20", "--noproxy", "*", &url]);
    // 60: the peer's certificate cannot be authenticated.
    assert_eq!(run(&mut command, b"").code, Some(60));
}
