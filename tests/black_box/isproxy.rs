//! The `IsProxy` door: every row of PROTOCOL section 1, asserted on both sides of the gateway.

mod asking;
mod bad_lines;
mod flooding;
mod functions;
mod lifetime;
mod login;
mod relaying;
mod starttls;
mod upstreams;

use serde_json::{Value, json};

use crate::harness::{Key, TestGateway};

/// A gateway with a key for both doors of `acme/admin`, who has a password too.
fn gateway_with_key() -> (TestGateway, Key) {
    with_key(TestGateway::start())
}

/// Such a gateway with other limits.
fn gateway_with_limits(limits: &Value) -> (TestGateway, Key) {
    with_key(TestGateway::configured(|config| {
        for (name, value) in limits.as_object().unwrap() {
            config["limits"][name] = value.clone();
        }
    }))
}

/// Such a gateway whose failed logins are answered late as an operator has it by default, and sooner.
fn gateway_that_delays(milliseconds: u64) -> (TestGateway, Key) {
    gateway_with_limits(&json!({ "isproxy_failed_login_delay_milliseconds": milliseconds }))
}

fn with_key(gateway: TestGateway) -> (TestGateway, Key) {
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// The upstream must not even have been connected to.
#[track_caller]
fn assert_nothing_upstream(gateway: &TestGateway) {
    assert_eq!(gateway.isproxy_upstream.lines(), Vec::<String>::new());
    assert_eq!(gateway.isproxy_upstream.connections(), 0);
}
