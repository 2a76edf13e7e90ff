//! How often somebody may be wrong, and how much a key may ask: SECURITY S43 to S45, and limits of keys.

mod failures;
mod rates;

use serde_json::Value;

use crate::harness::TestGateway;

/// A gateway with these limits beside the usual ones, and the customer `acme` with its administrator.
fn gateway_with_limits(limits: &Value) -> TestGateway {
    let gateway = TestGateway::configured(|config| {
        for (name, value) in limits.as_object().unwrap() {
            config["limits"][name] = value.clone();
        }
    });
    gateway.create_customer("acme");
    gateway
}
