//! What one gateway learns of a user, the others know: guesses, codes that were used, sessions.

use serde_json::json;

use super::Fleet;
use crate::console::{give_code, give_password, is_in, set_app_up, sign_in};
use crate::harness::{PASSWORD, Request, TestGateway, Visitor, basic, wait_for};

fn post(gateway: &TestGateway, authorization: &str) -> crate::harness::Answer {
    gateway.connect("api").exchange(&Request::new("POST", "/v2/session").authorization(authorization))
}

#[test]
fn s44_ten_guesses_spread_over_five_gateways_are_ten_guesses() {
    let fleet = Fleet::configured(5, |config| {
        config["limits"]["failed_passwords_per_user"] = json!(10);
        config["limits"]["failed_credentials_per_address"] = json!(100);
    });
    let alex = fleet.gateways[0].create_customer("acme");
    for number in 0..10 {
        let guess = basic(&alex.name, &format!("guess {number}"));
        fleet.gateways[number % 5].api_get("/", &guess).assert_refusal(401, "AuthenticationError");
    }
    let throttled = fleet
        .gateways
        .iter()
        .filter(|gateway| {
            let answer = gateway.api_get("/", &basic(&alex.name, "another guess"));
            answer.status == 429
        })
        .count();
    assert!(throttled >= 4, "{throttled} of 5 gateways made the guesser wait");
    // Others are not kept out, and a password that is right clears its name everywhere.
    let bo = fleet.gateways[1].create_user("acme/bo");
    for gateway in &fleet.gateways {
        assert_eq!(gateway.api_get("/", &bo.authorization()).status, 200);
    }
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
        let answer = post(opening, &alex.authorization());
        assert_eq!(answer.status, 201, "{answer:?}");
        let key = answer.json()["key"].as_str().unwrap().to_owned();
        opening.secrets().note("session token", &key);
        for gateway in &fleet.gateways {
            assert_eq!(gateway.api_get("/", &format!("Session {key}")).status, 200, "session {number}");
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
