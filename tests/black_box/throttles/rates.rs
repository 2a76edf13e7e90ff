//! Limits of keys: 429 and `RateLimit-*` at the API, pacing at `IsProxy`, one limit for both.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::gateway_with_limits;
use crate::harness::{Answer, Key, PASSWORD, Request, TestGateway, basic, wait_for};

/// `RateLimit-Limit`, `-Remaining` and `-Reset`.
fn quota(answer: &Answer) -> Option<[u32; 3]> {
    let [limit, remaining, reset] = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
        .map(|name| answer.field(name).map(|value| value.parse().unwrap()));
    Some([limit?, remaining?, reset?])
}

fn get(gateway: &TestGateway, key: &Key) -> Answer {
    gateway.api_get("/", &key.authorization())
}

/// Uses up what the key has; answers how many requests that were, and what the next one was answered.
fn use_up(gateway: &TestGateway, key: &Key) -> (u32, Answer) {
    let mut wire = gateway.connect("api");
    let request = Request::get("/").authorization(&key.authorization());
    let mut used = 0;
    loop {
        let answer = wire.exchange(&request);
        if answer.status != 200 {
            return (used, answer);
        }
        used += 1;
    }
}

#[test]
fn a_key_over_its_limit_gets_429_and_every_answer_tells_what_is_left() {
    let gateway = gateway_with_limits(&json!({
        "requests_per_second_per_key": 1,
        "request_burst_per_key": 5,
        "failed_credentials_per_address": 1,
    }));
    let (key, other) = (gateway.create_key("acme/admin"), gateway.create_key("acme/admin"));
    let began = Instant::now();
    let answer = get(&gateway, &key);
    assert_eq!((answer.status, quota(&answer)), (200, Some([5, 4, 1])));
    let (further, refused) = use_up(&gateway, &key);
    assert!(u64::from(further) <= 4 + began.elapsed().as_secs() + 1, "{further}");
    refused.assert_refusal(429, "TooManyRequests");
    assert_eq!((refused.field("retry-after"), quota(&refused)), (Some("1"), Some([5, 0, 5])));
    assert_eq!(gateway.api_upstream.requests().len(), 1 + usize::try_from(further).unwrap());
    // It is no failure, and each key has a limit of its own; a wrong key has none to tell.
    assert_eq!(quota(&get(&gateway, &other)), Some([5, 4, 1]));
    let wrong = gateway.api_get("/", "ApiKey wrong");
    wrong.assert_refusal(401, "AuthenticationError");
    assert_eq!(quota(&wrong), None);
    wait_for("the next request's turn", || (get(&gateway, &key).status == 200).then_some(()));
}

#[test]
fn what_the_gateway_answers_itself_tells_it_too_and_an_upstreams_own_fields_are_replaced() {
    let gateway = TestGateway::configured(|config| {
        config["limits"]["requests_per_second_per_key"] = json!(100);
        for listener in config["listeners"].as_array_mut().unwrap() {
            if listener["name"] == "api" {
                listener["routes"][0]["path"] = json!("/v2");
            }
        }
    });
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    let fields =
        "RateLimit-Limit: 7\r\nratelimit-remaining: 3\r\nratelimit-remaining: 2\r\nRateLimit-Reset: 9\r\n";
    let bytes = format!("HTTP/1.1 200 OK\r\n{fields}X-RateLimit-Limit: 7\r\nContent-Length: 0\r\n\r\n");
    gateway.api_upstream.answer("/v2/limited", bytes);
    let answer = gateway.api_get("/v2/limited", &key.authorization());
    assert_eq!((answer.status, quota(&answer)), (200, Some([100, 99, 1])));
    assert_eq!(answer.field("x-ratelimit-limit"), Some("7"));
    let answer = gateway.api_get("/nowhere", &key.authorization());
    answer.assert_refusal(404, "NotFound");
    assert_eq!(quota(&answer).map(|[limit, ..]| limit), Some(100));
    // Who comes by password has no key's limit; the upstream's is passed on.
    let bytes = "HTTP/1.1 200 OK\r\nRateLimit-Limit: 7\r\nContent-Length: 0\r\n\r\n";
    gateway.api_upstream.answer("/v2/limited", bytes);
    let answer = gateway.api_get("/v2/limited", &alex.authorization());
    assert_eq!((answer.field("ratelimit-limit"), answer.field("ratelimit-remaining")), (Some("7"), None));
}

#[test]
fn without_a_limit_nothing_is_said_of_one() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    assert_eq!(quota(&get(&gateway, &key)), None);
}

#[test]
fn an_isproxy_client_over_its_limit_is_paced_and_gets_exactly_one_reply_a_request() {
    let gateway =
        gateway_with_limits(&json!({ "requests_per_second_per_key": 20, "request_burst_per_key": 10 }));
    let key = gateway.create_key("acme/admin");
    let began = Instant::now();
    let mut replies: Vec<String> = thread::scope(|scope| {
        let (gateway, key) = (&gateway, &key);
        // Over two sessions, on whichever threads they are: the limit is the key's.
        let sessions = ["a", "b"].map(|session| {
            scope.spawn(move || {
                let lines: Vec<String> =
                    (0..20).map(|number| format!("IS {session}{number}.com\r\n")).collect();
                let mut wire = gateway.connect("isproxy");
                wire.send(format!("{}\r\n{}QUIT\r\n", key.login(), lines.concat()));
                String::from_utf8(wire.read_to_end()).unwrap()
            })
        });
        let said = sessions.map(|session| session.join().unwrap());
        said.iter().flat_map(|said| said.lines().map(str::to_owned)).collect()
    });
    let took = began.elapsed();
    replies.sort();
    let mut expected = vec!["100 Login ok".to_owned(); 2];
    expected
        .extend((0..20).flat_map(|number| ["a", "b"].map(|name| format!("{name}{number}.com available"))));
    expected.sort();
    assert_eq!(replies, expected);
    // 10 at once, and 30 more at 20 a second.
    assert!(took >= Duration::from_millis(1_450), "{took:?}");
}

#[test]
fn one_shot_requests_and_the_api_share_the_keys_limit() {
    let gateway =
        gateway_with_limits(&json!({ "requests_per_second_per_key": 1, "request_burst_per_key": 6 }));
    let key = gateway.create_key("acme/admin");
    let began = Instant::now();
    let mut session = gateway.connect("isproxy");
    for _ in 0..3 {
        let line = format!("IS {} example.com", key.text);
        assert_eq!(session.ask(&line), "example.com available");
    }
    for _ in 0..20 {
        // What logs in is no request.
        assert_eq!(gateway.isproxy_login(&key.login()), "100 Login ok");
    }
    let [_, remaining, _] = quota(&get(&gateway, &key)).unwrap();
    assert!((2..6).contains(&remaining), "{remaining}");
    let (used, _) = use_up(&gateway, &key);
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(session.ask("IS example.com"), "example.com available");
    // 3 one-shot requests, one at the API, those that used it up, and these two; 6 of them at once.
    let due = Duration::from_secs(u64::from(3 + 1 + used + 2 - 6));
    assert!(began.elapsed() >= due, "{used} in {:?}", began.elapsed());
}

#[test]
fn a_password_session_has_no_keys_limit() {
    let gateway = gateway_with_limits(&json!({ "requests_per_second_per_key": 1 }));
    let alex = gateway.create_user("acme/alex");
    let mut session = gateway.isproxy_session(&alex.login());
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(session.ask("IS example.com"), "example.com available");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for _ in 0..5 {
        assert_eq!(gateway.api_get("/", &basic(&alex.name, PASSWORD)).status, 200);
    }
}

#[test]
fn a_change_of_a_key_gives_it_no_new_burst() {
    let gateway =
        gateway_with_limits(&json!({ "requests_per_second_per_key": 1, "request_burst_per_key": 60 }));
    let key = gateway.create_key("acme/admin");
    let began = Instant::now();
    let (used, _) = use_up(&gateway, &key);
    gateway.cli(&["allow", "add", &format!("key:{}", key.id), "127.0.0.0/8"]).expect_success();
    let (further, _) = use_up(&gateway, &key);
    let allowed = u64::from(used + further);
    assert!(allowed <= 60 + began.elapsed().as_secs() + 1, "{used} and {further}");
    gateway.cli(&["key", "disable", &key.id]).expect_success();
    gateway.cli(&["key", "enable", &key.id]).expect_success();
    let (further, _) = use_up(&gateway, &key);
    assert!(allowed + u64::from(further) <= 60 + began.elapsed().as_secs() + 1, "{used} and {further}");
}

#[test]
fn a_limit_of_keys_follows_a_reload_and_begins_anew_where_it_changes() {
    let mut gateway = gateway_with_limits(&json!({}));
    let key = gateway.create_key("acme/admin");
    assert_eq!(quota(&get(&gateway, &key)), None);
    gateway.reload(|config| config["limits"]["requests_per_second_per_key"] = json!(1));
    gateway.reload(|config| config["limits"]["request_burst_per_key"] = json!(4));
    assert_eq!(quota(&get(&gateway, &key)), Some([4, 3, 1]));
    use_up(&gateway, &key);
    gateway.reload(|config| config["limits"]["request_burst_per_key"] = json!(2));
    assert_eq!(quota(&get(&gateway, &key)), Some([2, 1, 1]));
    use_up(&gateway, &key);
    gateway.reload(|config| config["limits"]["requests_per_second_per_key"] = json!(0));
    for _ in 0..5 {
        let answer = get(&gateway, &key);
        assert_eq!((answer.status, quota(&answer)), (200, None));
    }
}
