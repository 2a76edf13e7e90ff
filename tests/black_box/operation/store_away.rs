//! A store that goes away under a gateway, and comes back.

use std::fs;

use serde_json::json;

use crate::harness::{TestGateway, wait_for};

/// What `/readyz` says, with its status in front.
fn readiness(gateway: &TestGateway) -> String {
    let answer = gateway.ask_ops("/readyz");
    format!("{} {}", answer.status, answer.text().trim_end())
}

#[test]
fn s80_a_gateway_whose_store_is_gone_decides_from_memory_for_a_while_and_then_lets_nobody_in() {
    let mut gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let (store, elsewhere) = (gateway.path("data/latchkey.db"), gateway.path("data/moved.db"));

    fs::rename(&store, &elsewhere).unwrap();
    wait_for("the gateway to notice", || {
        readiness(&gateway).starts_with("200 degraded: the store cannot be read for ").then_some(())
    });
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(session.ask("IS example.com"), "example.com available");
    let refused = gateway.cli(&["key", "delete", &key.id, "--yes"]).expect_failure(1);
    assert!(refused.contains("store"), "{refused}");

    gateway.reload(|config| config["policy"] = json!({ "max_staleness": "1s" }));
    wait_for("the gateway to know too little", || {
        (readiness(&gateway) == "503 unready: the store has been away for too long").then_some(())
    });
    let answer = gateway.api_get("/", &key.authorization());
    answer.assert_refusal(503, "ProviderUnavailable");
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert_eq!(gateway.isproxy_login(&key.login()), "400 Login failed");
    session.expect_closed();

    fs::rename(&elsewhere, &store).unwrap();
    wait_for("the gateway to be back", || (readiness(&gateway) == "200 ready").then_some(()));
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    gateway.delete_key(&key);
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 401);
}

#[test]
fn s80_a_store_that_another_one_took_the_place_of_is_not_followed() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let (store, copy) = (gateway.path("data/latchkey.db"), gateway.path("data/copy.db"));
    fs::copy(&store, &copy).unwrap();
    fs::rename(&copy, &store).unwrap();
    let said = gateway.process().wait_for_log("what happened to the store", |lines| {
        lines.iter().find(|line| line.contains("the store cannot be read")).cloned()
    });
    assert!(said.contains("moved, removed or replaced"), "{said}");
    assert!(readiness(&gateway).starts_with("200 degraded: the store cannot be read for "));
}
