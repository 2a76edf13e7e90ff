//! What ends an open session, and what it survives.

use super::{delete, open, post, status_everywhere};
use crate::harness::{PASSWORD, Request, TestGateway, basic, wait_for};

/// What becomes of an open session by a change, and of the same session once the change is taken back.
struct Row {
    change: &'static [&'static str],
    refusal: Option<(u16, &'static str)>,
    takes_back: &'static [&'static str],
    afterwards: u16,
}

const ENDED: Option<(u16, &str)> = Some((401, "AuthenticationError"));
const NOT_NOW: Option<(u16, &str)> = Some((403, "AuthorizationError"));

const TABLE: [Row; 8] = [
    Row {
        change: &["user", "update", "acme/alex", "--access", "api"],
        refusal: None,
        takes_back: &["user", "update", "acme/alex", "--access", "console,api,isproxy"],
        afterwards: 200,
    },
    Row {
        change: &["user", "update", "acme/alex", "--force-mfa"],
        refusal: ENDED,
        takes_back: &["user", "update", "acme/alex", "--no-force-mfa"],
        afterwards: 401,
    },
    Row {
        change: &["customer", "update", "acme", "--mfa", "required"],
        refusal: ENDED,
        takes_back: &["customer", "update", "acme", "--mfa", "optional"],
        afterwards: 401,
    },
    Row {
        change: &["customer", "update", "--all", "--mfa", "required"],
        refusal: ENDED,
        takes_back: &["customer", "update", "--all", "--mfa", "optional"],
        afterwards: 401,
    },
    Row {
        change: &["user", "deactivate", "acme/alex"],
        refusal: ENDED,
        takes_back: &["user", "reactivate", "acme/alex"],
        afterwards: 401,
    },
    Row {
        change: &["user", "update", "acme/alex", "--access", "console,isproxy"],
        refusal: NOT_NOW,
        takes_back: &["user", "update", "acme/alex", "--access", "api"],
        afterwards: 200,
    },
    Row {
        change: &["allow", "add", "user:acme/alex", "127.0.0.9"],
        refusal: NOT_NOW,
        takes_back: &["allow", "remove", "user:acme/alex", "127.0.0.9"],
        afterwards: 200,
    },
    Row {
        change: &["allow", "add", "customer:acme", "127.0.0.9"],
        refusal: NOT_NOW,
        takes_back: &["allow", "remove", "customer:acme", "127.0.0.9"],
        afterwards: 200,
    },
];

#[test]
fn r27_s22_s23_every_row_of_the_table_holds_for_a_session_that_is_open() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_customer("other");
    let alex = gateway.create_user("acme/alex");
    for Row { change, refusal, takes_back, afterwards } in TABLE {
        let session = open(&gateway, &alex.authorization());
        let request = Request::get("/v2/domains").authorization(&session);
        let mut warm = gateway.connect("api");
        assert_eq!(warm.exchange(&request).status, 200);
        let forwarded = gateway.api_upstream.requests().len();
        gateway.cli(change).expect_success();
        match refusal {
            Some((status, kind)) => {
                warm.exchange(&request).assert_refusal(status, kind);
                assert_eq!(status_everywhere(&gateway, &session), status, "{change:?}");
                assert_eq!(gateway.api_upstream.requests().len(), forwarded, "{change:?}");
                post(&gateway, &alex.authorization()).assert_refusal(401, "AuthenticationError");
            }
            None => assert_eq!(warm.exchange(&request).status, 200, "{change:?}"),
        }
        gateway.cli(takes_back).expect_success();
        assert_eq!(status_everywhere(&gateway, &session), afterwards, "{takes_back:?}");
        assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200, "{takes_back:?}");
    }
}

#[test]
fn r8_s22_a_first_key_ends_that_users_sessions_and_nothing_revives_them() {
    let gateway = TestGateway::start();
    let admin = gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let (session, others) = (open(&gateway, &alex.authorization()), open(&gateway, &admin.authorization()));
    assert_eq!(status_everywhere(&gateway, &session), 200);
    // Even one that opens the other door only.
    let key = gateway.create_key_of("acme/alex", "isproxy");
    assert_eq!(status_everywhere(&gateway, &session), 401);
    gateway.api_get("/", &session).assert_refusal(401, "AuthenticationError");
    assert_eq!(status_everywhere(&gateway, &others), 200);
    gateway.delete_key(&key);
    gateway.cli(&["user", "allow-password", "acme/alex", "--yes"]).expect_success();
    assert_eq!(gateway.api_get("/", &alex.authorization()).status, 200);
    assert_eq!(status_everywhere(&gateway, &session), 401);
    assert_eq!(status_everywhere(&gateway, &open(&gateway, &alex.authorization())), 200);
}

#[test]
fn s22_an_import_ends_the_sessions_of_those_who_get_their_first_key_by_it() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let users = ["acme/alex", "acme/kim"].map(|name| gateway.create_user(name));
    let [alex, kim] = users.map(|user| open(&gateway, &user.authorization()));
    let file = gateway.path("keys");
    std::fs::write(&file, "QGvRkbXzcgh8kPo2CMW5xGZ0kqgO2WcHkQqrZiQXbNA= acme/alex\n").unwrap();
    gateway.cli(&["key", "import", "--scope", "api", "--yes", file.to_str().unwrap()]).expect_success();
    assert_eq!((status_everywhere(&gateway, &alex), status_everywhere(&gateway, &kim)), (401, 200));
}

#[test]
fn a_new_password_and_the_deletion_of_user_or_customer_end_sessions() {
    let gateway = TestGateway::start();
    let admin = gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let old = open(&gateway, &alex.authorization());
    let others = open(&gateway, &admin.authorization());
    let renewed = "another-long-password-now";
    let arguments = ["user", "set-password", "acme/alex", "--password-file", "-"];
    gateway.cli_with_input(&arguments, renewed).expect_success();
    assert_eq!(status_everywhere(&gateway, &old), 401);
    let new = open(&gateway, &basic("acme/alex", renewed));
    // Back to the old one: still another password than the one that opened it.
    gateway.cli_with_input(&arguments, PASSWORD).expect_success();
    assert_eq!((status_everywhere(&gateway, &old), status_everywhere(&gateway, &new)), (401, 401));

    let again = open(&gateway, &alex.authorization());
    gateway.cli(&["user", "delete", "acme/alex", "--yes"]).expect_success();
    gateway.create_user("acme/alex");
    assert_eq!((status_everywhere(&gateway, &again), status_everywhere(&gateway, &others)), (401, 200));
    gateway.cli(&["customer", "delete", "acme", "--yes"]).expect_success();
    assert_eq!(status_everywhere(&gateway, &others), 401);
}

#[test]
fn s81_sessions_survive_a_restart_and_a_kill_and_ended_ones_stay_ended() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let (kept, closed) = (open(&gateway, &alex.authorization()), open(&gateway, &alex.authorization()));
    assert_eq!(super::delete(&gateway, &closed).status, 204);
    let mut left = gateway.kill();
    for _ in 0..2 {
        let gateway = left.serve();
        assert_eq!((status_everywhere(&gateway, &kept), status_everywhere(&gateway, &closed)), (200, 401));
        let (status, _, stopped) = gateway.stop();
        assert!(status.success(), "{status}");
        left = stopped;
    }
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let gateway = TestGateway::configured(|config| config["limits"]["api_session_seconds"] = 2.into());
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let session = open(&gateway, &alex.authorization());
    assert_eq!(gateway.api_get("/", &session).status, 200);
    let refused = wait_for("the end of the session", || {
        let answer = gateway.api_get("/", &session);
        (answer.status != 200).then_some(answer)
    });
    refused.assert_refusal(401, "AuthenticationError");
    wait_for("its reason in the log", || {
        gateway.access_log(1).iter().any(|line| line["reason"] == "session_expired").then_some(())
    });
    assert_eq!(status_everywhere(&gateway, &open(&gateway, &alex.authorization())), 200);
}

#[test]
fn a_session_can_be_closed_when_a_quota_is_used_up() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let session = open(&gateway, &alex.authorization());
    gateway.cli(&["quota", "set", "user:acme/alex", "--month", "1"]).expect_success();
    // The opening may be counted already or not.
    gateway.api_get("/v2/x", &session);
    gateway.api_get("/v2/x", &session).assert_refusal(429, "TooManyRequests");
    assert_eq!(delete(&gateway, &session).status, 204);
    assert_eq!(status_everywhere(&gateway, &session), 401);
    assert_eq!(delete(&gateway, &session).status, 401);
}
