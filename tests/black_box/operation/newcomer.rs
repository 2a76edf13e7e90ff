//! Somebody new at the operator's desk has a customer's number of a refused request and one command.
//!
//! What `explain` prints for people must name the reason in words and what to do; `explaining` tells what it knows besides.

use serde_json::json;

use crate::harness::{Key, PASSWORD, Request, TestGateway, basic, wait_for};

/// From here too many wrong keys come; the other refusals are of 127.0.0.1.
const GUESSER: &str = "127.0.0.2";
const FAILURES_OF_AN_ADDRESS: usize = 40;

/// A refusal, as the newcomer hears of it, and what one command must tell.
struct Case {
    /// `X-Request-Id`, or the session's id in the access log.
    id: String,
    /// The reason's name, and the reason in words.
    reason: [&'static str; 2],
    /// What to do.
    advice: String,
}

fn gateway() -> TestGateway {
    let gateway = TestGateway::configured(|config| {
        config["listeners"][0]["routes"] = json!([{ "path": "/v2", "upstream": "registry" }]);
        config["listeners"][0]["allow_list"] = json!(["127.0.0.0/30"]);
        config["limits"] = json!({
            "requests_per_second_per_key": 1,
            "failed_passwords_per_user": 1,
            "failed_credentials_per_address": FAILURES_OF_AN_ADDRESS,
        });
    });
    gateway.create_customer("acme");
    gateway
}

/// The number that the client of a refused request was told.
#[track_caller]
fn refused(gateway: &TestGateway, request: &Request, status: u16) -> String {
    refused_from(gateway, "127.0.0.1", request, status)
}

#[track_caller]
fn refused_from(gateway: &TestGateway, from: &str, request: &Request, status: u16) -> String {
    let answer = gateway.connect_from(from, "api").exchange(request);
    assert_eq!(answer.status, status, "{answer:?}");
    answer.field("x-request-id").unwrap().to_owned()
}

fn asking(authorization: &str) -> Request {
    Request::get("/v2/domains").authorization(authorization)
}

fn key_of(gateway: &TestGateway, user: &str) -> Key {
    gateway.create_user(user);
    gateway.create_key(user)
}

/// Refusals by what became of the key.
fn of_keys(gateway: &TestGateway) -> Vec<Case> {
    let kim = gateway.create_user("acme/kim");
    let [deleted, disabled, replaced] = [(); 3].map(|()| gateway.create_key(&kim.name));
    gateway.delete_key(&deleted);
    gateway.cli(&["key", "disable", &disabled.id]).expect_success();
    let rotation = gateway.cli(&["key", "rotate", &replaced.id, "--overlap", "0s", "--json"]).json();
    gateway.secrets().note("key", rotation["key"].as_str().unwrap());
    let other_door = gateway.create_key_of(&kim.name, "isproxy");
    let new_key = "latchkey key create acme/kim --description TEXT --scope api";
    let case = |authorization: &str, status, reason, advice: &str| Case {
        id: refused(gateway, &asking(authorization), status),
        reason,
        advice: advice.to_owned(),
    };
    vec![
        Case {
            id: refused(gateway, &Request::get("/v2/domains"), 401),
            reason: ["no_credential", "no credential was presented"],
            advice: "Authorization: ApiKey KEY".to_owned(),
        },
        case(
            "ApiKey 0123456789abcdef0123456789abcdef",
            401,
            ["unknown_key", "no such key, or not any more"],
            "latchkey key test",
        ),
        case(
            &deleted.authorization(),
            401,
            ["unknown_key", "no such key, or not any more"],
            "tells whether it was deleted here",
        ),
        case(
            &disabled.authorization(),
            401,
            ["key_disabled", "the key is disabled"],
            &format!("latchkey key enable {}", disabled.id),
        ),
        case(&replaced.authorization(), 401, ["key_expired", "the key has expired"], new_key),
        case(
            &other_door.authorization(),
            403,
            ["scope_missing", "the key's scope does not hold this service"],
            new_key,
        ),
        case(
            &basic("acme/kim", PASSWORD),
            401,
            ["password_off_by_key", "an API key exists or existed"],
            "latchkey user allow-password acme/kim",
        ),
    ]
}

/// Refusals by what became of the user, and by lists.
fn of_users_and_lists(gateway: &TestGateway) -> Vec<Case> {
    let gone = key_of(gateway, "acme/gone");
    gateway.cli(&["user", "deactivate", "acme/gone"]).expect_success();
    let indoors = key_of(gateway, "acme/indoors");
    gateway.cli(&["user", "update", "acme/indoors", "--access", "console"]).expect_success();
    let listed = key_of(gateway, "acme/listed");
    gateway.cli(&["allow", "add", "user:acme/listed", "203.0.113.0/24"]).expect_success();
    let narrow = gateway.create_key_with("acme/admin", &["--scope", "api", "--allow", "203.0.113.0/24"]);
    gateway.create_customer("beta");
    let fenced = gateway.create_key("beta/admin");
    gateway.cli(&["allow", "add", "customer:beta", "203.0.113.0/24"]).expect_success();
    let forced = gateway.create_user_with("acme/forced", &["--force-mfa"]);
    let case = |authorization: &str, status, reason, advice: &str| Case {
        id: refused(gateway, &asking(authorization), status),
        reason,
        advice: advice.to_owned(),
    };
    vec![
        case(
            &gone.authorization(),
            401,
            ["user_inactive", "the user is deactivated"],
            "latchkey user reactivate acme/gone",
        ),
        case(
            &indoors.authorization(),
            403,
            ["access_point_off", "this access point is off for the user"],
            "latchkey user update acme/indoors --access LIST",
        ),
        case(
            &fenced.authorization(),
            403,
            ["address_outside_customer_list", "the address is outside the customer's list"],
            "latchkey allow add customer:beta 127.0.0.1",
        ),
        case(
            &listed.authorization(),
            403,
            ["address_outside_user_list", "the address is outside the user's list"],
            "latchkey allow add user:acme/listed 127.0.0.1",
        ),
        case(
            &narrow.authorization(),
            403,
            ["address_outside_key_list", "the address is outside the key's list"],
            &format!("latchkey allow add key:{} 127.0.0.1", narrow.id),
        ),
        case(
            &forced.authorization(),
            401,
            ["password_off_by_required_mfa", "MFA is required and not set up"],
            "latchkey user update acme/forced --no-force-mfa",
        ),
        Case {
            id: refused_from(gateway, "127.0.0.9", &asking(&narrow.authorization()), 403),
            reason: ["address_outside_listener_list", "the address is outside the listener's list"],
            advice: "add 127.0.0.9 to the listener's `allow_list`".to_owned(),
        },
    ]
}

/// Refusals because something was too much.
fn of_limits(gateway: &TestGateway) -> Vec<Case> {
    let key = key_of(gateway, "acme/busy");
    let busy = wait_for("a key over its limit", || {
        let answer = gateway.connect("api").exchange(&asking(&key.authorization()));
        (answer.status == 429).then(|| answer.field("x-request-id").unwrap().to_owned())
    });
    let guessed = wait_for("a name whose passwords must wait", || {
        let answer = gateway.connect("api").exchange(&asking(&basic("acme/guessed", "wrong")));
        (answer.status == 429).then(|| answer.field("x-request-id").unwrap().to_owned())
    });
    let mut attacker = gateway.connect_from(GUESSER, "api");
    for _ in 0..FAILURES_OF_AN_ADDRESS {
        assert_eq!(attacker.exchange(&asking("ApiKey wrong")).status, 401);
    }
    vec![
        Case {
            id: busy,
            reason: ["too_many_requests", "the key makes more requests than it may"],
            advice: "limits.requests_per_second_per_key".to_owned(),
        },
        Case {
            id: guessed,
            reason: ["user_throttled", "too many failed passwords for this user name"],
            advice: "limits.failed_passwords_per_user".to_owned(),
        },
        Case {
            id: refused_from(gateway, GUESSER, &asking(&basic("acme/admin", PASSWORD)), 429),
            reason: ["too_many_failures", "too many failed credentials from this address"],
            advice: format!("find out who sends wrong credentials from {GUESSER}"),
        },
    ]
}

/// A session of `IsProxy` is told no number; the access log has it, by address and time.
fn of_isproxy(gateway: &TestGateway) -> Case {
    let key = gateway.create_key_of("acme/admin", "api");
    assert_eq!(gateway.connect("isproxy").ask(&key.login()), "400 Login failed");
    let id = wait_for("the session's line in the access log", || {
        let lines = gateway.access_log(1);
        let login = lines.iter().find(|line| line["method"] == "LOGIN" && line["status"] == 400)?;
        Some(login["request_id"].as_str().unwrap().to_owned())
    });
    Case {
        id,
        reason: ["scope_missing", "the key's scope does not hold this service"],
        advice: "latchkey key create acme/admin --description TEXT --scope isproxy".to_owned(),
    }
}

/// The rest of the line that begins with `title`.
fn line_of<'t>(told: &'t str, title: &str) -> &'t str {
    let line = told.lines().find_map(|line| line.strip_prefix(title));
    line.unwrap_or_else(|| panic!("no line {title:?} in\n{told}"))
}

#[test]
fn a_newcomer_finds_the_reason_of_each_kind_of_refusal_and_what_to_do_with_one_command() {
    let gateway = gateway();
    let mut cases = of_keys(&gateway);
    cases.extend(of_users_and_lists(&gateway));
    cases.extend(of_limits(&gateway));
    cases.push(of_isproxy(&gateway));
    assert!(cases.len() >= 10);
    for Case { id, reason: [name, words], advice } in cases {
        let told = gateway.cli(&["explain", &id]).expect_success();
        assert_eq!(line_of(&told, "reason    "), format!("{name}: {words}"), "{told}");
        assert!(line_of(&told, "to do     ").contains(&advice), "no {advice:?} in\n{told}");
        // Of these the status says all; the failures of others have no part in it.
        let answered = line_of(&told, "answered  ");
        assert!(answered.parse::<u16>().is_ok(), "{answered}");
    }
}
