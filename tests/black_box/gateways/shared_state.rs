//! What one gateway learns of a user, the others know: guesses, codes that were used, sessions.

use serde_json::json;

use super::Fleet;
use crate::console::{give_code, give_password, is_in, set_app_up, sign_in};
use crate::harness::{PASSWORD, Request, TestGateway, User, Visitor, basic, wait_for};

fn post(gateway: &TestGateway, authorization: &str) -> crate::harness::Answer {
    gateway.connect("api").exchange(&Request::new("POST", "/v2/session").authorization(authorization))
}

/// Guesses ten times, at one gateway after the other: then all but one at most make the guesser wait, and nobody else.
pub fn expect_ten_guesses_to_be_ten(gateways: &[TestGateway], user: &User) {
    for (number, gateway) in (0..10).zip(gateways.iter().cycle()) {
        let guess = basic(&user.name, &format!("guess {number}"));
        gateway.api_get("/", &guess).assert_refusal(401, "AuthenticationError");
    }
    let waits = |gateway: &&TestGateway| gateway.api_get("/", &basic(&user.name, "another")).status == 429;
    let throttled = gateways.iter().filter(waits).count();
    assert!(
        throttled + 1 >= gateways.len(),
        "{throttled} of {} gateways made the guesser wait",
        gateways.len()
    );
    let other = gateways[1].create_user("acme/other");
    for gateway in gateways {
        assert_eq!(gateway.api_get("/", &other.authorization()).status, 200);
    }
}

/// Opens an API session; how it authorizes.
pub fn open_session(gateway: &TestGateway, user: &User) -> String {
    let answer = post(gateway, &user.authorization());
    assert_eq!(answer.status, 201, "{answer:?}");
    let key = answer.json()["key"].as_str().unwrap().to_owned();
    gateway.secrets().note("session token", &key);
    format!("Session {key}")
}

#[test]
fn s44_ten_guesses_spread_over_five_gateways_are_ten_guesses() {
    let fleet = Fleet::configured(5, |config| {
        config["limits"]["failed_passwords_per_user"] = json!(10);
        config["limits"]["failed_credentials_per_address"] = json!(100);
    });
    let alex = fleet.gateways[0].create_customer("acme");
    expect_ten_guesses_to_be_ten(&fleet.gateways, &alex);
}

#[test]
fn s44_where_the_database_is_away_passwords_are_refused_and_keys_go_on() {
    let fleet = Fleet::configured(1, |config| {
        config["limits"]["failed_passwords_per_user"] = json!(10);
    });
    let [gateway] = &fleet.gateways[..] else { panic!() };
    gateway.create_customer("acme");
    let (alex, key) = (gateway.create_user("acme/alex"), gateway.create_key("acme/admin"));
    fleet.server.stop();
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 503);
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let reasons = gateway.access_log(2);
    assert!(reasons.iter().any(|line| line["reason"] == "passwords_uncounted"), "{reasons:?}");
    fleet.server.start_again();
    wait_for("passwords to be let in again", || {
        (gateway.api_get("/", &alex.authorization()).status == 200).then_some(())
    });
}

#[test]
fn a_session_opened_at_one_gateway_is_known_at_all_when_it_is_answered() {
    let fleet = Fleet::start(3);
    fleet.gateways[0].create_customer("acme");
    let alex = fleet.gateways[0].create_user("acme/alex");
    for (opening, number) in fleet.gateways.iter().cycle().zip(0..12) {
        let session = open_session(opening, &alex);
        for gateway in &fleet.gateways {
            assert_eq!(gateway.api_get("/", &session).status, 200, "session {number}");
        }
    }
}

#[test]
fn s29_a_code_of_the_app_that_was_used_at_one_gateway_is_refused_at_the_other() {
    let fleet = Fleet::start(2);
    let [one, two] = &fleet.gateways[..] else { panic!() };
    one.create_customer("acme");
    one.create_user("acme/alex");
    let mut alex = sign_in(one, "acme/alex");
    let (mut app, _) = set_app_up(&mut alex);
    let code = app.next_code();
    let action = "/sign-in/verify";
    let mut here = Visitor::new(one);
    give_password(&mut here, "acme/alex", PASSWORD);
    let mut there = Visitor::new(two);
    give_password(&mut there, "acme/alex", PASSWORD);
    give_code(&mut here, action, &code);
    assert!(is_in(&mut here));
    give_code(&mut there, action, &code).expect_refusal(422, "not correct or no longer valid");
    assert!(!is_in(&mut there));
}
