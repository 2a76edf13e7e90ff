//! `openssl s_client`: which versions of TLS are spoken, and the line protocol behind a real handshake.

use std::process::Command;

use crate::harness::{Output, TestGateway, run};

fn s_client(gateway: &TestGateway, listener: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &gateway.address(listener).to_string(),
        "-servername",
        "localhost",
    ]);
    command
        .arg("-CAfile")
        .arg(gateway.path("ca.crt"))
        .args(["-verify_return_error", "-ign_eof"])
        .args(arguments);
    run(&mut command, input.as_bytes())
}

#[test]
fn s76_openssl_agrees_on_tls_1_2_and_1_3_and_on_nothing_older() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        key.authorization()
    );
    for (argument, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let output = s_client(&gateway, "api-tls", &[argument], &request);
        let said = output.expect_success();
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        assert!(said.contains(version) && said.contains("HTTP/1.1 200 OK"), "{said}");
        // Neither compression nor renegotiation that could be abused.
        assert!(said.contains("Compression: NONE"), "{said}");
    }
    for argument in ["-tls1", "-tls1_1"] {
        let output = s_client(&gateway, "api-tls", &[argument, "-cipher", "ALL:@SECLEVEL=0"], &request);
        assert!(!output.stdout.contains("200 OK"), "{argument}: {output:?}");
        assert_ne!(output.code, Some(0), "{argument}");
    }
    assert_eq!(gateway.api_upstream.requests().len(), 2);
}
