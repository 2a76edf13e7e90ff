//! What keys and users did, as the command line tells it while the gateway runs.

use serde_json::Value;

use crate::harness::{Request, TestGateway, wait_for};

/// What `arguments` show, once `is_there` says so; it is written every few seconds.
fn shown(gateway: &TestGateway, arguments: &[&str], is_there: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("the usage of {arguments:?}"), || {
        Some(gateway.cli(arguments).json()).filter(|shown| is_there(shown))
    })
}

/// Requests and refusals of one object.
fn figures(of: &Value) -> (u64, u64) {
    (of["requests"].as_u64().unwrap(), of["refusals"].as_u64().unwrap())
}

/// Requests and refusals of a list of hours or days.
fn sum(of: &Value) -> (u64, u64) {
    let periods = of.as_array().unwrap().iter().map(figures);
    periods.fold((0, 0), |(requests, refusals), (more, refused)| (requests + more, refusals + refused))
}

#[test]
fn what_a_key_did_is_shown_by_door_day_and_hour_with_where_it_came_from() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let narrow = gateway.create_key_of("acme/admin", "isproxy");
    for _ in 0..3 {
        assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    }
    assert_eq!(gateway.api_get_from("127.0.0.3", "/", &key.authorization()).status, 200);
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(session.ask("IS taken.example"), "taken.example not available");
    for _ in 0..2 {
        assert_eq!(gateway.api_get("/", &narrow.authorization()).status, 403);
    }
    // Nobody's.
    assert_eq!(gateway.api_get("/", &format!("ApiKey {}x", key.text)).status, 401);

    let show = ["key", "show", &key.id, "--json"];
    let shown_key = shown(&gateway, &show, |shown| figures(&shown["usage"]) == (6, 0));
    let usage = &shown_key["usage"];
    assert_eq!(figures(&usage["services"]["api"]), (4, 0));
    assert_eq!(figures(&usage["services"]["isproxy"]), (2, 0));
    assert_eq!((usage["days"].as_array().unwrap().len(), sum(&usage["days"])), (30, (6, 0)));
    assert_eq!((usage["hours"].as_array().unwrap().len(), sum(&usage["hours"])), (48, (6, 0)));
    let addresses: Vec<_> = usage["addresses"].as_array().unwrap().iter().collect();
    let from = |address: &str, entrance: &str| {
        addresses.iter().any(|seen| seen["address"] == address && seen["entrance"] == entrance)
    };
    assert!(from("127.0.0.1", "api") && from("127.0.0.3", "api") && from("127.0.0.1", "isproxy"), "{usage}");
    assert_eq!(addresses.len(), 3);

    let show = ["key", "show", &narrow.id, "--json"];
    let refused = shown(&gateway, &show, |shown| figures(&shown["usage"]) == (0, 2));
    assert!(refused["usage"]["addresses"].as_array().unwrap().is_empty(), "{refused}");
    let text = gateway.cli(&["key", "show", &narrow.id]).expect_success();
    assert!(text.contains("30 days      0 let in, 2 refused"), "{text}");

    gateway.delete_key(&narrow);
    let show = ["user", "show", "acme/admin", "--json"];
    assert_eq!(figures(&gateway.cli(&show).json()["usage"]), (6, 2), "what a deleted key did, its user did");
}

#[test]
fn when_a_password_was_last_used_is_shown_by_door_and_a_session_is_its_passwords() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let opened = gateway
        .connect("api")
        .exchange(&Request::new("POST", "/v2/session").authorization(&alex.authorization()));
    let session = opened.json()["key"].as_str().unwrap().to_owned();
    let answer = gateway.api_get_from("127.0.0.4", "/", &format!("Session {session}"));
    assert_eq!(answer.status, 200);
    let wrong = crate::harness::basic(&alex.name, "a-wrong-password-of-alex");
    assert_eq!(gateway.api_get_from("127.0.0.5", "/", &wrong).status, 401);

    let show = ["user", "show", "acme/alex", "--json"];
    let shown_user = shown(&gateway, &show, |shown| figures(&shown["usage"]) == (2, 1));
    let last = &shown_user["password_last_used"];
    assert!(last["api"]["at"].is_string(), "{last}");
    assert_eq!((last["isproxy"].is_null(), last["console"].is_null()), (true, true), "{last}");
    let addresses = shown_user["usage"]["addresses"].to_string();
    assert!(addresses.contains("127.0.0.4") && !addresses.contains("127.0.0.5"), "{addresses}");

    assert_eq!(gateway.isproxy_login(&alex.login()), "100 Login ok");
    let shown_user = shown(&gateway, &show, |shown| shown["password_last_used"]["isproxy"].is_object());
    assert_eq!(shown_user["password_last_used"]["isproxy"]["address"], "127.0.0.1");
    let text = gateway.cli(&["user", "show", "acme/alex"]).expect_success();
    assert!(text.contains("last used at console: not within 30 days"), "{text}");
}

#[test]
fn what_was_counted_last_is_written_when_the_gateway_ends() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let (status, log, installation) = gateway.stop();
    assert!(status.success(), "{log}");
    let shown = installation.cli(&["key", "show", &key.id, "--json"]).json();
    assert_eq!(figures(&shown["usage"]), (1, 0));
}
