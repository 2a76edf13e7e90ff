//! MFA forced by the command line, as the doors see it.

use crate::harness::TestGateway;

/// Passwords work at both doors before `force`, at none after it, and keys go on.
fn assert_forcing_ends_passwords(force: &[&str]) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    gateway.create_user("acme/kim");
    let key = gateway.create_key("acme/kim");
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);
    // Opened by password, and still open when MFA is forced.
    let mut session = gateway.isproxy_session(&alex.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let lines = gateway.isproxy_upstream.lines().len();

    gateway.cli(force).expect_success();
    gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&alex.login()), "400 Login failed");
    session.expect_closed();
    assert_eq!(gateway.api_upstream.requests().len(), 1);
    assert_eq!(gateway.isproxy_upstream.lines().len(), lines);

    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    // Also a key of the very user, made before or after.
    let own = gateway.create_key("acme/alex");
    assert_eq!(gateway.api_get("/", &own.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&own.login()), "100 Login ok");
}

#[test]
fn r27_r28_mfa_forced_for_a_user_ends_the_password_at_both_doors_and_keys_work() {
    assert_forcing_ends_passwords(&["user", "update", "acme/alex", "--force-mfa"]);
}

#[test]
fn r27_r28_mfa_required_of_a_customer_ends_passwords_at_both_doors_and_keys_work() {
    assert_forcing_ends_passwords(&["customer", "update", "acme", "--mfa", "required"]);
}

#[test]
fn r51_mfa_required_of_all_customers_ends_passwords_at_both_doors_and_keys_work() {
    assert_forcing_ends_passwords(&["customer", "update", "--all", "--mfa", "required"]);
}

#[test]
fn r24_users_of_a_new_customer_have_no_password_access_and_those_of_an_old_one_have() {
    let gateway = TestGateway::start();
    for (handle, arguments, status, login) in [
        ("newer", &[][..], 401, "400 Login failed"),
        ("older", &["--created-on", "2020-04-30"][..], 200, "100 Login ok"),
    ] {
        let all = [&["customer", "create", handle, "--password-file", "-"], arguments].concat();
        gateway.cli_with_input(&all, crate::harness::PASSWORD).expect_success();
        let authorization = crate::harness::basic(&format!("{handle}/admin"), crate::harness::PASSWORD);
        assert_eq!(gateway.api_get("/", &authorization).status, status, "{handle}");
        let line = format!("LOGIN {handle}/admin {}", crate::harness::PASSWORD);
        assert_eq!(gateway.isproxy_login(&line), login, "{handle}");
    }
    assert_eq!(gateway.api_upstream.requests().len(), 1);
}

#[test]
fn r53_an_existing_customers_user_gets_in_by_key_once_mfa_is_forced() {
    let gateway = TestGateway::start();
    let arguments = ["customer", "create", "older", "--created-on", "2015-01-01", "--password-file", "-"];
    gateway.cli_with_input(&arguments, crate::harness::PASSWORD).expect_success();
    let password = crate::harness::basic("older/admin", crate::harness::PASSWORD);
    assert_eq!(gateway.api_get("/", &password).status, 200);
    gateway.cli(&["user", "update", "older/admin", "--force-mfa"]).expect_success();
    gateway.api_get("/", &password).assert_refusal(401, "AuthenticationError");
    let key = gateway.create_key("older/admin");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
}
