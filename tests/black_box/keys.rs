//! The life of an API key, from outside.

use crate::harness::TestGateway;

#[test]
fn r01_a_key_authenticates_at_both_doors_without_a_password() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let answer = gateway.api_get("/v2/domains/example.com/check", &key.authorization());
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"ok\":true}"));
}
