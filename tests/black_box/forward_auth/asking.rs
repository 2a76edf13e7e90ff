//! What an asking proxy is told.

use std::fs;

use serde_json::json;

use super::{ASKER, CLIENT, OTHER_CLIENT, ask, gateway_believing, question};
use crate::harness::{Answer, PASSWORD, Request, TestGateway, basic, wait_for};

fn gateway() -> TestGateway {
    gateway_believing(ASKER, |_| {})
}

/// Customer, user, method, and the key's id.
fn identity(answer: &Answer) -> [Option<&str>; 4] {
    ["x-auth-customer", "x-auth-user", "x-auth-method", "x-auth-key-id"].map(|name| answer.field(name))
}

#[test]
fn who_may_pass_is_named_and_no_upstream_sees_anything() {
    let gateway = gateway();
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    let opened = Request::new("POST", "/v2/session").authorization(&alex.authorization());
    let session = gateway.connect("api").exchange(&opened).json()["key"].as_str().unwrap().to_owned();
    gateway.secrets().note("session", &session);
    let session = format!("Session {session}");
    let mut asker = gateway.connect_from(ASKER, "asked");
    for (authorization, expected) in [
        (key.authorization(), [Some("acme"), Some("admin"), Some("api-key"), Some(&*key.id)]),
        (alex.authorization(), [Some("acme"), Some("alex"), Some("password"), None]),
        (session, [Some("acme"), Some("alex"), Some("session"), None]),
    ] {
        let answer = asker.exchange(&question(CLIENT, &authorization));
        assert_eq!((answer.status, &*answer.body), (200, &b""[..]), "{answer:?}");
        assert_eq!(identity(&answer), expected);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert!(answer.field("x-request-id").is_some());
    }
    assert_eq!(gateway.api_upstream.connections(), 0);
    // With the session's opening.
    let lines = gateway.access_log(4);
    let line = lines.iter().find(|line| line["listener"] == "asked").unwrap();
    for (member, value) in [
        ("client_ip", CLIENT),
        ("method", "PATCH"),
        ("target", "/page"),
        ("user", "admin"),
        ("key_id", &key.id),
        ("service", "api"),
    ] {
        assert_eq!(line[member], value, "{line}");
    }
}

#[test]
fn a_refusal_is_that_of_the_api_door() {
    let gateway = gateway_believing(ASKER, |config| {
        config["limits"]["requests_per_second_per_key"] = json!(1);
        config["limits"]["request_burst_per_key"] = json!(2);
    });
    let (key, other_door) =
        (gateway.create_key("acme/admin"), gateway.create_key_of("acme/admin", "isproxy"));
    let right = key.authorization();
    for (authorization, status, kind) in [
        ("", 401, "AuthenticationError"),
        ("Bearer x", 401, "AuthenticationError"),
        ("ApiKey wrong", 401, "AuthenticationError"),
        (&*basic("acme/admin", PASSWORD), 401, "AuthenticationError"),
        (&other_door.authorization(), 403, "AuthorizationError"),
    ] {
        let answer = ask(&gateway, CLIENT, authorization);
        answer.assert_refusal(status, kind);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert_eq!(identity(&answer), [None; 4]);
        let there = gateway.api_get("/", authorization);
        assert_eq!((there.status, &there.json()["message"]), (status, &answer.json()["message"]));
    }
    let twice = question(CLIENT, &right).authorization(&right);
    gateway.connect_from(ASKER, "asked").exchange(&twice).assert_refusal(401, "AuthenticationError");
    let refused = wait_for("the key's limit", || {
        let answer = ask(&gateway, CLIENT, &right);
        (answer.status != 200).then_some(answer)
    });
    refused.assert_refusal(429, "TooManyRequests");
    assert!(refused.field("retry-after").is_some());
    assert_eq!(refused.field("ratelimit-remaining"), Some("0"));
    assert_eq!(gateway.api_upstream.connections(), 0);
}

#[test]
fn s80_nobody_passes_when_the_store_was_away_for_too_long() {
    let mut gateway = gateway();
    let key = gateway.create_key("acme/admin");
    fs::rename(gateway.path("data/latchkey.db"), gateway.path("data/moved.db")).unwrap();
    gateway.reload(|config| config["policy"] = json!({ "max_staleness": "1s" }));
    let answer = wait_for("the gateway to know too little", || {
        let answer = ask(&gateway, CLIENT, &key.authorization());
        (answer.status != 200).then_some(answer)
    });
    answer.assert_refusal(503, "ProviderUnavailable");
    assert_eq!(answer.field("retry-after"), Some("1"));
}

#[test]
fn lists_and_throttles_judge_the_client_that_the_asker_names() {
    let gateway = gateway_believing(ASKER, |config| {
        config["limits"]["failed_credentials_per_address"] = json!(3);
    });
    let key = gateway.create_key("acme/admin");
    for owner in ["customer:acme".to_owned(), "user:acme/admin".to_owned(), format!("key:{}", key.id)] {
        assert_eq!(ask(&gateway, OTHER_CLIENT, &key.authorization()).status, 200, "{owner}");
        gateway.cli(&["allow", "add", &owner, "192.0.2.0/24"]).expect_success();
        assert_eq!(ask(&gateway, CLIENT, &key.authorization()).status, 200, "{owner}");
        ask(&gateway, OTHER_CLIENT, &key.authorization()).assert_refusal(403, "AuthorizationError");
        gateway.cli(&["allow", "remove", &owner, "192.0.2.0/24"]).expect_success();
    }
    let guesser = "198.51.100.1";
    for _ in 0..3 {
        ask(&gateway, guesser, "ApiKey wrong").assert_refusal(401, "AuthenticationError");
    }
    let throttled = ask(&gateway, guesser, "ApiKey wrong");
    throttled.assert_refusal(429, "AuthenticationRatelimitedError");
    ask(&gateway, CLIENT, "ApiKey wrong").assert_refusal(401, "AuthenticationError");
}

#[test]
fn s14_who_asks_for_itself_is_judged_by_its_own_address_whatever_it_claims() {
    let gateway = gateway();
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "192.0.2.0/24"]).expect_success();
    let mut stranger = gateway.connect_from("127.0.0.11", "asked");
    let answer = stranger.exchange(&question(CLIENT, &key.authorization()));
    answer.assert_refusal(403, "AuthorizationError");
    let id = answer.field("x-request-id").unwrap();
    let line =
        wait_for("its line", || gateway.access_log(1).into_iter().find(|line| line["request_id"] == id));
    assert_eq!((&line["client_ip"], &line["target"]), (&"127.0.0.11".into(), &"/".into()), "{line}");
    // A client's own claim stands before what the asker adds.
    let claimed = format!("{CLIENT}, {OTHER_CLIENT}");
    ask(&gateway, &claimed, &key.authorization()).assert_refusal(403, "AuthorizationError");
    ask(&gateway, "nonsense", &key.authorization()).assert_refusal(400, "InvalidMessage");
}

#[test]
fn s20_a_deleted_key_is_refused_at_the_next_question() {
    let gateway = gateway();
    let key = gateway.create_key("acme/admin");
    let mut asker = gateway.connect_from(ASKER, "asked");
    let question = question(CLIENT, &key.authorization());
    assert_eq!(asker.exchange(&question).status, 200);
    gateway.delete_key(&key);
    asker.exchange(&question).assert_refusal(401, "AuthenticationError");
}

#[test]
fn explain_tells_why_a_request_was_not_to_pass() {
    let gateway = gateway();
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", &format!("key:{}", key.id), "192.0.2.0/24"]).expect_success();
    let refused = ask(&gateway, OTHER_CLIENT, &key.authorization());
    let id = refused.field("x-request-id").unwrap();
    let told = gateway.cli(&["explain", id, "--json"]).json();
    let told = &told["refusals"][0];
    for (member, value) in [
        ("listener", "asked"),
        ("client_ip", OTHER_CLIENT),
        ("via", ASKER),
        ("method", "PATCH"),
        ("target", "/page"),
        ("reason", "address_outside_key_list"),
        ("user", "acme/admin"),
    ] {
        assert_eq!(told[member], value, "{told}");
    }
    let dry = ["explain", "--dry-run", "--listener", "asked", "--service", "api", "--from", CLIENT];
    let arguments = [&dry[..], &["--user", "acme/admin", "--json"]].concat();
    let trial = &gateway.cli(&arguments).json()["attempts"];
    assert!(trial.as_array().unwrap().iter().any(|attempt| attempt["admitted"] == true), "{trial}");
}

#[test]
fn headers_and_lists_of_the_listener_change_with_a_reload() {
    let mut gateway = gateway();
    let key = gateway.create_key("acme/admin");
    let mut asker = gateway.connect_from(ASKER, "asked");
    assert_eq!(asker.exchange(&question(CLIENT, &key.authorization())).field("x-auth-user"), Some("admin"));
    gateway.reload(|config| {
        let listener = config["listeners"].as_array_mut().unwrap().last_mut().unwrap();
        listener["identity_headers"] = json!({ "user": "Remote-User", "key_id": null });
        listener["allow_list"] = json!(["192.0.2.0/24"]);
    });
    let answer = asker.exchange(&question(CLIENT, &key.authorization()));
    assert_eq!(answer.field("remote-user"), Some("admin"));
    assert_eq!(identity(&answer), [Some("acme"), None, Some("api-key"), None]);
    asker.exchange(&question(OTHER_CLIENT, &key.authorization())).assert_refusal(403, "AuthorizationError");
    let before = gateway.reloads("refused");
    gateway.rewrite(|config| {
        let listener = config["listeners"].as_array_mut().unwrap().last_mut().unwrap();
        listener["routes"] = json!([{ "path": "/", "upstream": "registry" }]);
    });
    gateway.process().hang_up();
    gateway.wait_for_reload("refused", before);
    let told = gateway.cli(&["check"]);
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.stdout.contains("key `routes` belongs to protocol http, not forward_auth"), "{told:?}");
}
