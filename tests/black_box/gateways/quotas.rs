//! A quota that one gateway has used up is used up at the others, once they have read what it let in.

use super::Fleet;
use crate::harness::{Request, wait_for};

#[test]
fn what_one_gateway_let_in_counts_at_the_other_within_seconds() {
    const LIMIT: usize = 2_000;
    let fleet = Fleet::start(2);
    let [one, two] = &fleet.gateways[..] else { panic!() };
    one.create_customer("acme");
    let key = one.create_key("acme/admin");
    one.cli(&["quota", "set", "customer:acme", "--month", &LIMIT.to_string()]).expect_success();
    let mut wire = one.connect("api");
    let request = Request::get("/").authorization(&key.authorization());
    let let_in = (0..=LIMIT).filter(|_| wire.exchange(&request).status == 200).count();
    assert_eq!(let_in, LIMIT);
    // It would take as many requests of its own if it did not learn of the other's.
    let mut let_in_by_two = 0;
    wait_for("the other gateway to know", || match two.api_get("/", &key.authorization()).status {
        429 => Some(()),
        status => {
            assert_eq!(status, 200);
            let_in_by_two += 1;
            None
        }
    });
    assert!(let_in_by_two < LIMIT, "{let_in_by_two}");
}
