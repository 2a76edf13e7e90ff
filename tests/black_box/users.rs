//! What an operator can do to a user, as the doors see it: lists, deactivation, access points.

use crate::harness::{TestGateway, Wire};

fn login_from(gateway: &TestGateway, source: &str, line: &str) -> String {
    gateway.connect_from(source, "isproxy").ask(line)
}

/// The peer of a connection that may no longer be: closed, without another byte.
fn assert_ended(mut session: Wire) {
    session.expect_closed();
}

#[test]
fn r52_a_password_from_an_address_outside_the_list_is_refused_at_both_doors() {
    for whose in ["user:acme/alex", "customer:acme"] {
        let gateway = TestGateway::start();
        gateway.create_customer("acme");
        let alex = gateway.create_user("acme/alex");
        assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200, "an empty list narrows nothing");
        let session = gateway.isproxy_session(&alex.login());

        gateway.cli(&["allow", "add", whose, "127.0.0.2/32"]).expect_success();
        // Like a wrong password: nobody learns that it is right.
        gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
        assert_eq!(gateway.isproxy_login(&alex.login()), "400 Login failed");
        assert_ended(session);
        assert_eq!(gateway.api_upstream.requests().len(), 1, "{whose}");

        assert_eq!(gateway.api_get_from("127.0.0.2", "/", &alex.authorization()).status, 200, "{whose}");
        assert_eq!(login_from(&gateway, "127.0.0.2", &alex.login()), "100 Login ok", "{whose}");
    }
}

#[test]
fn r61_lists_of_customer_and_user_narrow_keys_too_and_each_must_admit() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let from = |source: &str| {
        let status = gateway.api_get_from(source, "/", &key.authorization()).status;
        (status, login_from(&gateway, source, &key.login()))
    };
    let inside = (200, "100 Login ok".to_owned());
    let outside = (403, "400 Login failed".to_owned());
    let ids = ["customer:acme".to_owned(), "user:acme/admin".to_owned(), format!("key:{}", key.id)];
    assert_eq!((from("127.0.0.2"), from("127.0.0.3")), (inside.clone(), inside.clone()));
    gateway.cli(&["allow", "add", &ids[0], "127.0.0.2/31"]).expect_success();
    assert_eq!(
        (from("127.0.0.2"), from("127.0.0.3"), from("127.0.0.4")),
        (inside.clone(), inside.clone(), outside.clone())
    );
    gateway.cli(&["allow", "add", &ids[1], "127.0.0.3"]).expect_success();
    assert_eq!((from("127.0.0.2"), from("127.0.0.3")), (outside.clone(), inside.clone()));
    gateway.cli(&["allow", "add", &ids[2], "127.0.0.2"]).expect_success();
    assert_eq!((from("127.0.0.2"), from("127.0.0.3")), (outside.clone(), outside.clone()));
    gateway.api_get_from("127.0.0.3", "/", &key.authorization()).assert_refusal(403, "AuthorizationError");
    gateway.cli(&["allow", "remove", &ids[2], "127.0.0.2"]).expect_success();
    assert_eq!((from("127.0.0.2"), from("127.0.0.3")), (outside, inside));
}

#[test]
fn r61_a_narrower_list_ends_a_session_from_outside_it() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let outside = gateway.isproxy_session(&key.login());
    let mut inside = gateway.connect_from("127.0.0.2", "isproxy");
    assert_eq!(inside.ask(&key.login()), "100 Login ok");
    gateway.cli(&["allow", "add", "user:acme/admin", "127.0.0.2"]).expect_success();
    assert_ended(outside);
    assert_eq!(inside.ask("IS example.com"), "example.com available");
}

#[test]
fn r60_deactivation_ends_every_access_of_that_user_and_reactivation_restores_it() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let (alex, kim) = (gateway.create_user("acme/alex"), gateway.create_user("acme/kim"));
    gateway.create_user("acme/robin");
    let robin = gateway.create_key("acme/robin");
    let kims_session = gateway.isproxy_session(&kim.login());
    let robins_session = gateway.isproxy_session(&robin.login());
    for name in ["acme/kim", "acme/robin"] {
        gateway.cli(&["user", "deactivate", name]).expect_success();
    }
    gateway.api_get("/", &kim.authorization()).assert_refusal(401, "AuthenticationError");
    gateway.api_get("/", &robin.authorization()).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.isproxy_login(&kim.login()), "400 Login failed");
    assert_eq!(gateway.isproxy_login(&robin.login()), "400 Login failed");
    assert_ended(kims_session);
    assert_ended(robins_session);
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);

    for name in ["acme/kim", "acme/robin"] {
        gateway.cli(&["user", "reactivate", name]).expect_success();
    }
    assert_eq!(gateway.api_get("/", &kim.authorization()).status, 200);
    assert_eq!(gateway.api_get("/", &robin.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&kim.login()), "100 Login ok");
    assert_eq!(gateway.isproxy_login(&robin.login()), "100 Login ok");
}

#[test]
fn r62_a_user_without_an_access_point_is_refused_at_that_door_with_a_right_credential() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    for (login, access, status, password_status, line) in [
        ("noapi", "console,isproxy", 403, 401, "100 Login ok"),
        ("nolines", "console,api", 200, 200, "400 Login failed"),
        ("neither", "console", 403, 401, "400 Login failed"),
    ] {
        let name = format!("acme/{login}");
        let user = gateway.create_user_with(&name, &["--access", access]);
        let before = gateway.api_upstream.requests().len();
        assert_eq!(gateway.api_get("/", &user.authorization()).status, password_status, "{login}");
        assert_eq!(gateway.isproxy_login(&user.login()), line, "{login}");
        let key = gateway.create_key(&name);
        assert_eq!(gateway.api_get("/", &key.authorization()).status, status, "{login}");
        assert_eq!(gateway.isproxy_login(&key.login()), line, "{login}");
        let forwarded = gateway.api_upstream.requests().len() - before;
        assert_eq!(forwarded, if status == 200 { 2 } else { 0 }, "{login}");
    }
}

#[test]
fn r62_closing_an_access_point_ends_what_is_open_there() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/alex");
    let session = gateway.isproxy_session(&key.login());
    gateway.cli(&["user", "update", "acme/alex", "--access", "console,api"]).expect_success();
    assert_ended(session);
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed");
}

#[test]
fn a_changed_password_ends_the_old_one_and_what_it_opened() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let session = gateway.isproxy_session(&alex.login());
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);
    let arguments = ["user", "set-password", "acme/alex", "--password-file", "-"];
    gateway.cli_with_input(&arguments, "another-long-password-now").expect_success();
    gateway.api_get("/", &alex.authorization()).assert_refusal(401, "AuthenticationError");
    assert_ended(session);
    let renewed = crate::harness::basic("acme/alex", "another-long-password-now");
    assert_eq!(gateway.api_get("/", &renewed).status, 200);
}
