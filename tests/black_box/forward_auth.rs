//! `protocol: forward_auth`: proxies that ask whether a request may pass, and forward it themselves.

mod asking;
mod proxies;

use serde_json::{Value, json};

use crate::harness::{Answer, Request, TestGateway};

/// The proxy that asks, and is believed.
const ASKER: &str = "127.0.0.10";
/// Clients that it speaks of.
const CLIENT: &str = "192.0.2.7";
const OTHER_CLIENT: &str = "203.0.113.9";

/// A gateway with a listener `asked`, which believes `trusted`, and the customer `acme`.
fn gateway_believing(trusted: &str, change: impl FnOnce(&mut Value)) -> TestGateway {
    let gateway = TestGateway::configured(|config| {
        let listener = json!({
            "name": "asked", "protocol": "forward_auth", "address": "127.0.0.1:0",
            "plaintext_credentials": "allow", "trusted_proxies": [trusted],
        });
        config["listeners"].as_array_mut().unwrap().push(listener);
        change(config);
    });
    gateway.create_customer("acme");
    gateway
}

/// A question of the trusted proxy about a request of `client` for `GET /page`.
fn question(client: &str, authorization: &str) -> Request {
    let question = Request::get("/").authorization(authorization).field("X-Forwarded-For", client);
    question.field("X-Forwarded-Method", "PATCH").field("X-Forwarded-Uri", "/page?secret=in-query")
}

/// Asks it on a connection of its own.
#[track_caller]
fn ask(gateway: &TestGateway, client: &str, authorization: &str) -> Answer {
    gateway.connect_from(ASKER, "asked").exchange(&question(client, authorization))
}
