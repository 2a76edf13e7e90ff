//! Quotas of keys, users and customers: exact at both doors, given and taken away while the gateway runs, told by
//! `explain` and the console.
//!
//! Mostly of months: a day ends while tests run more often than a month does.

use serde_json::{Value, json};

use crate::console::sign_in;
use crate::harness::{Answer, Key, TestGateway, wait_for};

/// So long is a month at most, in seconds.
const MONTH_SECONDS: u64 = 31 * 86_400;

fn get(gateway: &TestGateway, key: &Key) -> Answer {
    gateway.api_get("/", &key.authorization())
}

fn set(gateway: &TestGateway, holder: &str, month: u32) {
    gateway.cli(&["quota", "set", holder, "--month", &month.to_string()]).expect_success();
}

/// What the command line tells of the quota of `holder`.
fn listed(gateway: &TestGateway, holder: &str) -> Value {
    let all = gateway.cli(&["quota", "list", "--json"]).json();
    all.as_array().unwrap().iter().find(|quota| quota["of"] == holder).cloned().unwrap_or_default()
}

/// Refused for `reason`, which the caller is not told; answers what `explain` tells.
#[track_caller]
fn expect_exhausted(gateway: &TestGateway, refused: &Answer, reason: &str) -> Value {
    refused.assert_refusal(429, "TooManyRequests");
    let seconds: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=MONTH_SECONDS).contains(&seconds), "{seconds}");
    assert!(!refused.text().contains("quota_exhausted"), "{}", refused.text());
    let id = refused.field("x-request-id").unwrap();
    let told = gateway.cli(&["explain", id, "--json"]).json()["refusals"][0].clone();
    assert_eq!(told["reason"], reason, "{told}");
    let decided = told["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&decided["step"], &decided["verdict"]), (&json!("quota"), &json!("failed")), "{decided}");
    told
}

#[test]
fn a_quota_of_key_user_or_customer_is_exact_at_the_api_and_its_removal_opens_at_once() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let (one, other) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    let of_alex = gateway.create_key("acme/alex");
    let of_key = format!("key:{}", one.id);
    for (holder, month) in [(&*of_key, 2), ("user:acme/admin", 4), ("customer:acme", 6)] {
        set(&gateway, holder, month);
    }
    for (key, holder, reason) in [
        (&one, &*of_key, "quota_exhausted_key_month"),
        (&other, "user:acme/admin", "quota_exhausted_user_month"),
        (&of_alex, "customer:acme", "quota_exhausted_customer_month"),
    ] {
        assert_eq!([get(&gateway, key).status, get(&gateway, key).status], [200, 200], "{holder}");
        let told = expect_exhausted(&gateway, &get(&gateway, key), reason);
        let hint = told["steps"].as_array().unwrap().last().unwrap()["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains(&format!("latchkey quota remove {holder}")), "{hint}");
    }
    assert_eq!(gateway.api_upstream.requests().len(), 6, "what was refused reached nobody");
    let customers = wait_for("what is used to be written", || {
        Some(listed(&gateway, "customer:acme")).filter(|told| told["month"]["used"] == 6)
    });
    assert_eq!((&customers["month"]["limit"], &customers["day"]), (&json!(6), &Value::Null));
    gateway.cli(&["quota", "remove", "customer:acme"]).expect_success();
    assert_eq!(get(&gateway, &of_alex).status, 200);
    expect_exhausted(&gateway, &get(&gateway, &other), "quota_exhausted_user_month");
    gateway.cli(&["quota", "remove", "customer:acme"]).expect_failure(1);
    for wrong in ["0", "-1", "1000000000001", "many"] {
        gateway.cli(&["quota", "set", "customer:acme", &format!("--day={wrong}")]).expect_failure(2);
    }
    gateway.cli(&["quota", "set", "customer:acme"]).expect_failure(2);
}

#[test]
fn at_isproxy_each_request_counts_and_over_the_quota_gets_error_while_the_session_goes_on() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS before.com"), "before.com available");
    // Given while the session is open. What came before may be counted already or not.
    gateway.cli(&["quota", "set", &format!("key:{}", key.id), "--month", "10"]).expect_success();
    let replies: Vec<String> = (0..12).map(|number| session.ask(&format!("IS n{number}.com"))).collect();
    let answered = replies.iter().filter(|reply| reply.ends_with(" available")).count();
    assert!((9..=10).contains(&answered), "{replies:?}");
    for (number, reply) in replies.iter().enumerate().skip(answered) {
        assert_eq!(*reply, format!("n{number}.com error"));
    }
    assert_eq!(session.ask("ENABLE nonsense"), "400 Unknown function");
    assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    // The other door has the same quota.
    get(&gateway, &key).assert_refusal(429, "TooManyRequests");
    let lines = gateway.access_log(4);
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line["method"] == "IS" && line["reason"] == "quota_exhausted_key_month")
        .collect();
    assert_eq!(refused.len(), 1, "one line for all that follow one another: {lines:?}");
    gateway.cli(&["quota", "remove", &format!("key:{}", key.id)]).expect_success();
    assert_eq!(session.ask("IS after.com"), "after.com available");
}

#[test]
fn each_key_of_one_shot_requests_that_a_quota_refuses_is_in_the_log_and_explained() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let keys = [gateway.create_key("acme/admin"), gateway.create_key("acme/admin")];
    let mut session = gateway.connect("isproxy");
    for key in &keys {
        set(&gateway, &format!("key:{}", key.id), 1);
        assert_eq!(session.ask(&format!("IS {} one.com", key.text)), "one.com available");
    }
    for key in &keys {
        assert_eq!(session.ask(&format!("IS {} two.com", key.text)), "two.com error");
    }
    // Four credentials were judged beside.
    let lines = gateway.access_log(6);
    let refused: Vec<_> = lines.iter().filter(|line| line["reason"] == "quota_exhausted_key_month").collect();
    let ids: Vec<_> = refused.iter().map(|line| line["key_id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, [&*keys[0].id, &*keys[1].id], "{lines:?}");
    let told = wait_for("both refusals to be explained", || {
        let id = refused[0]["request_id"].as_str().unwrap();
        let told = gateway.cli(&["explain", id, "--json"]).json()["refusals"].clone();
        Some(told).filter(|told| told.as_array().is_some_and(|all| all.len() == 2))
    });
    for (told, key) in told.as_array().unwrap().iter().zip(&keys) {
        let hint = told["steps"].as_array().unwrap().last().unwrap()["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains(&format!("latchkey quota remove key:{}", key.id)), "{told}");
    }
}

#[test]
fn a_restart_forgets_nothing_of_what_was_used() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    set(&gateway, "user:acme/admin", 3);
    assert_eq!([get(&gateway, &key).status, get(&gateway, &key).status], [200, 200]);
    let (status, log, installation) = gateway.stop();
    assert!(status.success(), "{log}");
    let gateway = installation.serve();
    assert_eq!(get(&gateway, &key).status, 200);
    expect_exhausted(&gateway, &get(&gateway, &key), "quota_exhausted_user_month");
}

#[test]
fn the_console_shows_what_is_used_and_warns_and_an_administrator_changes_it() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/alex");
    set(&gateway, "user:acme/alex", 5);
    for _ in 0..4 {
        assert_eq!(get(&gateway, &key).status, 200);
    }
    let mut alex = sign_in(&gateway, "acme/alex");
    let page = wait_for("the page to show what is used", || {
        Some(alex.open("/profile/quotas")).filter(|page| page.html().contains("4 of 5 requests"))
    });
    assert!(page.html().contains("Nearly used up"), "{}", page.html());
    let mut admin = sign_in(&gateway, "acme/admin");
    let path = "/account/users/alex/quotas";
    let page = admin.open(path);
    let saved = admin.submit(&page, path, &[("of", "user"), ("day", ""), ("month", "4")]);
    saved.expect("The quota was saved.");
    expect_exhausted(&gateway, &get(&gateway, &key), "quota_exhausted_user_month");
    let audit = gateway.cli(&["audit", "list"]).expect_success();
    assert!(audit.contains("set the quota of requests of"), "{audit}");
    let told = wait_for("the trail to tell that most was used", || {
        let told = gateway.cli(&["audit", "list", "--json"]).expect_success();
        told.lines().find(|line| line.contains("quota.nearly_used")).map(str::to_owned)
    });
    assert!(told.contains("4 of 5") || told.contains("4 of 4"), "{told}");
}
