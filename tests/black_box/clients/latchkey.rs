//! The binary's own small clients: `latchkey isproxy`, and `latchkey key test`, which asks the same rules offline.

use crate::harness::{Key, Output, TestGateway, run};

fn isproxy(gateway: &TestGateway, listener: &str, security: &[&str], key: &str, names: &[&str]) -> Output {
    // By name: that is what the certificate is for.
    let address = format!("localhost:{}", gateway.address(listener).port());
    let mut command = gateway.command();
    command.args(["isproxy", &address]).args(security).arg("--key-stdin").args(names);
    run(&mut command, format!("{key}\n").as_bytes())
}

fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

#[test]
fn the_isproxy_command_asks_through_starttls_and_in_clear() {
    let (gateway, key) = gateway_with_key();
    let authority = gateway.path("ca.crt");
    let secure = ["--ca", authority.to_str().unwrap()];
    for (listener, security) in
        [("isproxy", &secure[..]), ("isproxy-refuse", &secure), ("isproxy", &["--plaintext"])]
    {
        let said = isproxy(&gateway, listener, security, &key.text, &["a.example", "taken.example"])
            .expect_success();
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["a.example available", "taken.example not available"], "{listener}");
    }
    let before = gateway.isproxy_upstream.lines().len();
    for (listener, security, text) in
        [("isproxy", &secure[..], "wrong"), ("isproxy-refuse", &["--plaintext"], key.text.as_str())]
    {
        let refused = isproxy(&gateway, listener, security, text, &["a.example"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
        assert!(
            refused.stderr.contains("Login failed") && !refused.stderr.contains(&key.text),
            "{refused:?}"
        );
    }
    assert_eq!(gateway.isproxy_upstream.lines().len(), before);
}

#[test]
fn key_test_says_whose_a_key_is_and_whether_it_would_pass() {
    let (gateway, key) = gateway_with_key();
    gateway.cli(&["allow", "add", &format!("key:{}", key.id), "127.0.0.2"]).expect_success();
    let ask = |arguments: &[&str], text: &str| {
        gateway.cli_with_input(&[&["key", "test"][..], arguments].concat(), &format!("{text}\n"))
    };
    let from_inside = ask(&["--from", "127.0.0.2"], &key.text).expect_success();
    assert!(from_inside.contains("acme/admin") && from_inside.contains(&key.id), "{from_inside}");
    let from_outside = ask(&["--from", "127.0.0.9"], &key.text);
    assert_eq!(from_outside.stdout.matches("outside the key's list").count(), 2, "{from_outside:?}");
    assert!(!from_inside.contains("outside"), "{from_inside}");
    let unknown = ask(&[], "lk1_0000000000000000000000000000000000000000");
    assert_ne!(unknown.code, Some(0), "{unknown:?}");
    for output in [from_outside, unknown] {
        assert!(!output.stdout.contains(&key.text) && !output.stderr.contains(&key.text), "{output:?}");
    }
}

#[test]
fn user_access_tells_the_same_that_the_doors_do() {
    let (gateway, key) = gateway_with_key();
    let said = gateway.cli(&["user", "access", "acme/admin"]).expect_success();
    let line = |entrance: &str| {
        let found = said.lines().find(|line| line.trim_start().starts_with(entrance));
        found.unwrap_or_else(|| panic!("{entrance} is missing: {said}")).to_owned()
    };
    // A key ends the password at the API, not at IsProxy.
    assert!(line("api").contains("no") && line("api").contains("yes"), "{said}");
    assert!(line("isproxy").contains("yes") && !line("isproxy").contains("no "), "{said}");
    let password = crate::harness::basic("acme/admin", crate::harness::PASSWORD);
    assert_eq!(gateway.api_get("/", &password).status, 401);
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let login = format!("LOGIN acme/admin {}", crate::harness::PASSWORD);
    assert_eq!(gateway.isproxy_login(&login), "100 Login ok");
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
}
