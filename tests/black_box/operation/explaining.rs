//! `latchkey explain`: what an operator is told about a refusal whose id a customer reports, and about one to come.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Installation, PASSWORD, Request, TestGateway, basic, wait_for};

/// A gateway whose API has nothing but `/v2`, and lets in from 127.0.0.0/30 only.
fn narrow_gateway() -> TestGateway {
    TestGateway::configured(|config| {
        config["listeners"][0]["routes"] = json!([{ "path": "/v2", "upstream": "registry" }]);
        config["listeners"][0]["allow_list"] = json!(["127.0.0.0/30"]);
        config["listeners"][3]["allow_list"] = json!(["127.0.0.0/30"]);
    })
}

/// What `explain` tells of the refusals under an id, as JSON.
#[track_caller]
fn explain(installation: &Installation, id: &str) -> Vec<Value> {
    let told = installation.cli(&["explain", id, "--json"]).json();
    assert_eq!(told["request_id"], id, "{told}");
    told["refusals"].as_array().unwrap().clone()
}

/// The last step, which decided, and its hint.
#[track_caller]
fn decided(steps: &Value) -> (String, String) {
    let steps = steps.as_array().unwrap();
    let (last, before) = steps.split_last().expect("a step");
    assert_eq!(last["verdict"], "failed", "{steps:?}");
    assert!(before.iter().all(|step| step["verdict"] == "passed"), "{steps:?}");
    (last["step"].as_str().unwrap().to_owned(), last["hint"].as_str().unwrap().to_owned())
}

/// Makes users and keys that are refused at the API for one reason each: a credential, the reason, the step, whose it
/// is, and what the hint names.
fn refused_at_the_api(
    gateway: &TestGateway,
) -> Vec<(String, &'static str, &'static str, Option<String>, String)> {
    let key_of = |user: &str| {
        gateway.create_user(user);
        gateway.create_key(user)
    };
    gateway.create_customer("acme");
    let (deleted, disabled) = (key_of("acme/deleted"), key_of("acme/disabled"));
    gateway.delete_key(&deleted);
    gateway.cli(&["key", "disable", &disabled.id]).expect_success();
    gateway.create_user("acme/other-door");
    let other_door = gateway.create_key_of("acme/other-door", "isproxy");
    let inactive = key_of("acme/inactive");
    gateway.cli(&["user", "deactivate", "acme/inactive"]).expect_success();
    let no_api = key_of("acme/no-api");
    gateway.cli(&["user", "update", "acme/no-api", "--access", "isproxy"]).expect_success();
    let listed = key_of("acme/listed");
    gateway.cli(&["allow", "add", "user:acme/listed", "203.0.113.0/24"]).expect_success();
    let narrow = key_of("acme/narrow");
    gateway.cli(&["allow", "add", &format!("key:{}", narrow.id), "203.0.113.0/24"]).expect_success();
    let forced = gateway.create_user("acme/forced");
    gateway.cli(&["user", "update", "acme/forced", "--force-mfa"]).expect_success();
    gateway.create_user("acme/alex");
    let whose = |user: &str| Some(format!("acme/{user}"));
    let hint = |text: &str| text.to_owned();
    vec![
        ("Bearer x".to_owned(), "no_credential", "credential", None, hint("ApiKey KEY")),
        (
            format!("{}x", deleted.authorization()),
            "malformed_key",
            "key_form",
            None,
            hint("latchkey key test"),
        ),
        (deleted.authorization(), "unknown_key", "key_look_up", None, hint("latchkey key test")),
        (
            disabled.authorization(),
            "key_disabled",
            "key_enabled",
            whose("disabled"),
            format!("enable {}", disabled.id),
        ),
        (other_door.authorization(), "scope_missing", "key_scope", whose("other-door"), hint("--scope api")),
        (
            inactive.authorization(),
            "user_inactive",
            "user_active",
            whose("inactive"),
            hint("reactivate acme/inactive"),
        ),
        (
            no_api.authorization(),
            "access_point_off",
            "access_point",
            whose("no-api"),
            hint("update acme/no-api"),
        ),
        (
            listed.authorization(),
            "address_outside_user_list",
            "user_list",
            whose("listed"),
            hint("allow add user:acme/listed 127.0.0.1"),
        ),
        (
            narrow.authorization(),
            "address_outside_key_list",
            "key_list",
            whose("narrow"),
            format!("allow add key:{} 127.0.0.1", narrow.id),
        ),
        (
            basic("acme/disabled", PASSWORD),
            "password_off_by_key",
            "password_on",
            whose("disabled"),
            hint("use a key"),
        ),
        (
            forced.authorization(),
            "password_off_by_required_mfa",
            "password_on",
            whose("forced"),
            hint("use a key"),
        ),
        (
            basic("acme/alex", "wrong"),
            "wrong_password",
            "password",
            whose("alex"),
            hint("set-password acme/alex"),
        ),
        (basic("acme/nobody", PASSWORD), "unknown_user", "password", None, hint("user list")),
    ]
}

#[test]
fn every_refusal_of_a_credential_at_the_api_is_explained_by_its_id() {
    let gateway = narrow_gateway();
    let cases = refused_at_the_api(&gateway);
    let asked: Vec<String> = cases
        .iter()
        .map(|(authorization, ..)| {
            let answer = gateway.api_get("/v2/domains?secret=in-query", authorization);
            assert!([401, 403].contains(&answer.status), "{answer:?}");
            answer.field("x-request-id").unwrap().to_owned()
        })
        .collect();
    for ((_, reason, step, user, hint), id) in cases.iter().zip(&asked) {
        let told = explain(&gateway, id);
        let told = &told[0];
        assert_eq!(told["reason"], *reason, "{told}");
        assert_eq!((&told["method"], &told["target"]), (&"GET".into(), &"/v2/domains".into()), "{told}");
        assert_eq!((&told["listener"], &told["client_ip"]), (&"api".into(), &"127.0.0.1".into()), "{told}");
        assert_eq!(told["user"].as_str(), user.as_deref(), "{told}");
        let (decided, told_hint) = decided(&told["steps"]);
        assert_eq!(decided, *step, "{told}");
        assert!(told_hint.contains(hint), "{reason}: {told_hint}");
        let now = &told["now"];
        match (user, *reason) {
            (None, _) => assert!(now.is_null(), "{told}"),
            // Right or wrong is not kept.
            (Some(_), "wrong_password") => assert_eq!(now["admitted"], true, "{told}"),
            (Some(_), reason) => assert_eq!(now["reason"], reason, "{told}"),
        }
    }
}

/// The id of a request that is answered so.
#[track_caller]
fn refused_id(gateway: &TestGateway, request: &Request, status: u16) -> String {
    let answer = gateway.connect("api").exchange(request);
    assert_eq!(answer.status, status, "{answer:?}");
    answer.field("x-request-id").unwrap().to_owned()
}

#[test]
fn s40_a_refused_api_session_is_explained_as_a_session_of_its_user_and_its_key_is_not_told() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let opened = gateway
        .connect("api")
        .exchange(&Request::new("POST", "/v2/session").authorization(&alex.authorization()));
    let key = opened.json()["key"].as_str().unwrap().to_owned();
    let session = format!("Session {key}");
    let used = Request::get("/v2/domains").authorization(&session);
    gateway.cli(&["allow", "add", "user:acme/alex", "203.0.113.0/24"]).expect_success();
    let id = refused_id(&gateway, &used, 403);
    let narrowed = explain(&gateway, &id).remove(0);
    assert_eq!(
        (&narrowed["reason"], &narrowed["user"], &narrowed["key_id"]),
        (&"address_outside_user_list".into(), &"acme/alex".into(), &Value::Null)
    );
    let (decided_at, hint) = decided(&narrowed["steps"]);
    assert_eq!(decided_at, "user_list");
    assert!(hint.contains("allow add user:acme/alex 127.0.0.1"), "{hint}");
    let names: Vec<&Value> = narrowed["steps"].as_array().unwrap().iter().map(|step| &step["step"]).collect();
    assert!(names.iter().any(|name| *name == "session_look_up"), "{names:?}");
    assert!(!names.iter().any(|name| *name == "password" || *name == "password_tries"), "{names:?}");
    let now = &narrowed["now"];
    assert_eq!((&now["credential"], &now["answer"]), (&"an API session of acme/alex".into(), &"403".into()));
    gateway.cli(&["allow", "remove", "user:acme/alex", "203.0.113.0/24"]).expect_success();
    assert_eq!(explain(&gateway, &id)[0]["now"]["admitted"], true);
    // As the door does it.
    assert_eq!(gateway.api_get("/v2/domains", &session).status, 200);
    let mut told = gateway.cli(&["explain", &id]).expect_success();
    assert!(told.contains("acme/alex, by API session"), "{told}");

    gateway.cli(&["user", "deactivate", "acme/alex"]).expect_success();
    let gone = refused_id(&gateway, &used, 401);
    let gone = explain(&gateway, &gone).remove(0);
    assert_eq!((&gone["reason"], &gone["user"]), (&"unknown_session".into(), &Value::Null), "{gone}");
    let (decided_at, hint) = decided(&gone["steps"]);
    assert_eq!(decided_at, "session_look_up");
    assert!(hint.starts_with("open a new one with `POST /v2/session`"), "{hint}");
    assert!(gone["now"].is_null(), "{gone}");
    told.extend([narrowed.to_string(), gone.to_string()]);
    assert!(!told.contains(&key), "{told}");
}

#[test]
fn an_api_session_whose_time_is_over_is_explained() {
    let gateway = TestGateway::configured(|config| {
        config["limits"] = json!({ "api_session_idle_seconds": 1 });
    });
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let opening = Request::new("POST", "/v2/session").authorization(&alex.authorization());
    let session = gateway.connect("api").exchange(&opening).json()["key"].as_str().unwrap().to_owned();
    let session = format!("Session {session}");
    // Each use would prolong it.
    let over = Instant::now() + Duration::from_millis(1_100);
    wait_for("the end of the session's time", || (Instant::now() >= over).then_some(()));
    let id = refused_id(&gateway, &Request::get("/v2/domains").authorization(&session), 401);
    let told = explain(&gateway, &id).remove(0);
    assert_eq!((&told["reason"], &told["user"]), (&"session_expired".into(), &"acme/alex".into()), "{told}");
    let (decided_at, hint) = decided(&told["steps"]);
    assert_eq!(decided_at, "session_look_up");
    assert!(hint.contains("POST /v2/session") && hint.contains("key create acme/alex"), "{hint}");
    assert_eq!((&told["now"]["reason"], &told["now"]["answer"]), (&"session_expired".into(), &"401".into()));
}

#[test]
fn a_right_credential_of_the_wrong_kind_for_the_path_of_sessions_is_explained() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let alex = gateway.create_user("acme/alex");
    let opening = |authorization: &str| Request::new("POST", "/v2/session").authorization(authorization);
    let opened = gateway.connect("api").exchange(&opening(&alex.authorization()));
    let session = format!("Session {}", opened.json()["key"].as_str().unwrap());
    let closing = Request::new("DELETE", "/v2/session").authorization(&alex.authorization());
    for (request, user, key_id) in [
        (opening(&key.authorization()), "acme/admin", Value::from(key.id.as_str())),
        (opening(&session), "acme/alex", Value::Null),
        (closing, "acme/alex", Value::Null),
    ] {
        let told = explain(&gateway, &refused_id(&gateway, &request, 403)).remove(0);
        assert_eq!((&told["reason"], &told["target"]), (&"credential_kind".into(), &"/v2/session".into()));
        assert_eq!((&told["user"], &told["key_id"]), (&user.into(), &key_id), "{told}");
        let (decided_at, hint) = decided(&told["steps"]);
        assert_eq!(decided_at, "route", "{told}");
        assert!(hint.contains("Basic"), "{hint}");
        let now = &told["now"];
        assert_eq!((&now["reason"], &now["answer"]), (&"credential_kind".into(), &"403".into()), "{told}");
    }
}

#[test]
fn other_refusals_of_the_api_are_explained_too_and_what_was_let_in_is_not() {
    let gateway = narrow_gateway();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let ask = |listener: &str, from: &str, target: &str| {
        let request = Request::get(target).authorization(&key.authorization());
        let answer = gateway.connect_from(from, listener).exchange(&request);
        (answer.status, answer.field("x-request-id").unwrap().to_owned())
    };
    for (listener, from, target, status, reason, step, user) in [
        ("api", "127.0.0.9", "/v2/domains", 403, "address_outside_listener_list", "listener_list", None),
        (
            "api-refuse",
            "127.0.0.1",
            "/v2/domains",
            403,
            "plaintext_credential",
            "transport",
            Some("acme/admin"),
        ),
        ("api", "127.0.0.1", "/v9/domains", 404, "no_route", "route", Some("acme/admin")),
    ] {
        let (answered, id) = ask(listener, from, target);
        assert_eq!(answered, status);
        let told = explain(&gateway, &id).remove(0);
        assert_eq!((&told["reason"], &told["status"]), (&reason.into(), &status.into()), "{told}");
        assert_eq!((told["client_ip"].as_str(), told["user"].as_str()), (Some(from), user), "{told}");
        assert_eq!(decided(&told["steps"]).0, step, "{told}");
    }
    let (status, id) = ask("api", "127.0.0.1", "/v2/domains");
    assert_eq!(status, 200);
    let told = gateway.cli(&["explain", &id]).expect_failure(1);
    assert!(told.contains("access log") && told.contains("24 hours") && told.contains("200"), "{told}");
    gateway.cli(&["explain", "not-an-id"]).expect_failure(2);
}

#[test]
fn refused_logins_and_closed_sessions_are_explained_by_the_id_of_the_access_log() {
    let gateway = narrow_gateway();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    let narrow = gateway.create_key_of("acme/admin", "api");
    let mut session = gateway.isproxy_session(&alex.login());
    gateway.cli(&["user", "deactivate", "acme/alex"]).expect_success();
    session.expect_closed();
    gateway.connect_from("127.0.0.9", "isproxy").expect_closed();
    for (listener, line, answer) in [
        ("isproxy", format!("{}x", key.login()), "400 Login failed"),
        ("isproxy", narrow.login(), "400 Login failed"),
        ("isproxy", format!("IS {} example.com", narrow.text), "400 Login failed"),
        ("isproxy", alex.login(), "400 Login failed"),
        ("isproxy", "IS example.com".to_owned(), "400 not authenticated"),
        ("isproxy-refuse", key.login(), "400 Login failed"),
    ] {
        assert_eq!(gateway.connect(listener).ask(&line), answer, "{line}");
    }
    // Two refusals in one session stand under one id.
    let mut twice = gateway.connect("isproxy");
    assert_eq!(twice.ask("LOGIN wrong"), "400 Login failed");
    assert_eq!(twice.ask("LOGIN acme/nobody wrong"), "400 Login failed");
    drop(twice);

    let id_of = |verb: &str, reason: &str| {
        wait_for("a line of the access log", || {
            let lines = gateway.access_log(1);
            let found = lines.iter().find(|line| line["method"] == verb && line["reason"] == reason)?;
            Some(found["request_id"].as_str().unwrap().to_owned())
        })
    };
    for (verb, reason, step, user, now) in [
        ("SESSION", "revoked", "session", Some("acme/alex"), Some("user_inactive")),
        ("SESSION", "address_outside_listener_list", "listener_list", None, None),
        ("LOGIN", "malformed_key", "key_form", None, None),
        ("LOGIN", "scope_missing", "key_scope", Some("acme/admin"), Some("scope_missing")),
        ("IS", "scope_missing", "key_scope", Some("acme/admin"), Some("scope_missing")),
        ("LOGIN", "user_inactive", "user_active", Some("acme/alex"), Some("user_inactive")),
        ("IS", "no_credential", "credential", None, None),
        ("LOGIN", "plaintext_credential", "transport", Some("acme/admin"), None),
    ] {
        let told = explain(&gateway, &id_of(verb, reason));
        let told = told.iter().find(|told| told["reason"] == reason).unwrap();
        assert_eq!((&told["service"], &told["method"]), (&"isproxy".into(), &verb.into()), "{told}");
        assert_eq!(told["user"].as_str(), user, "{told}");
        assert_eq!(decided(&told["steps"]).0, step, "{told}");
        assert_eq!(told["now"]["reason"].as_str(), now, "{told}");
    }
    let id = id_of("LOGIN", "unknown_user");
    // The two may be written in two batches.
    let both = wait_for("both refusals of the session", || {
        Some(explain(&gateway, &id)).filter(|told| told.len() >= 2)
    });
    let reasons: Vec<&Value> = both.iter().map(|told| &told["reason"]).collect();
    assert_eq!(reasons, ["malformed_key", "unknown_user"]);
}

#[test]
fn a_refusal_behind_a_proxy_names_the_client_and_the_proxy() {
    let gateway = TestGateway::configured(|config| {
        config["listeners"][0]["trusted_proxies"] = json!(["127.0.0.0/8"]);
    });
    let request = Request::get("/v2/domains").field("X-Forwarded-For", "203.0.113.9");
    let answer = gateway.connect("api").exchange(&request);
    let id = answer.field("x-request-id").unwrap();
    let told = explain(&gateway, id).remove(0);
    assert_eq!((&told["client_ip"], &told["via"]), (&"203.0.113.9".into(), &"127.0.0.1".into()), "{told}");
    let text = gateway.cli(&["explain", &id.to_uppercase()]).expect_success();
    for expected in [
        id,
        "from 203.0.113.9 through 127.0.0.1",
        "GET /v2/domains",
        "answered  401",
        "credential      FAILED   no credential was presented",
        "reason    no_credential: no credential was presented",
        "to do     the client must send `Authorization: ApiKey KEY`",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}

#[test]
fn a_dry_run_tells_how_a_user_and_a_key_would_fare() {
    let gateway = narrow_gateway();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let key = gateway.create_key_with("acme/alex", &["--scope", "api", "--allow", "127.0.0.0/8"]);
    gateway.cli(&["user", "update", "acme/alex", "--force-mfa"]).expect_success();
    let ask = |arguments: &[&str], input: &str| {
        let all = [&["explain", "--dry-run", "--json"], arguments].concat();
        gateway.cli_with_input(&all, input).json()["attempts"].as_array().unwrap().clone()
    };
    let at_api = ["--service", "api", "--listener", "api", "--from"];
    let of_user = ask(&[&at_api[..], &["127.0.0.1", "--user", "acme/alex"]].concat(), "");
    assert_eq!(of_user.len(), 2, "{of_user:?}");
    assert_eq!(
        (&of_user[0]["reason"], &of_user[0]["answer"]),
        (&"password_off_by_required_mfa".into(), &"401".into())
    );
    assert_eq!((&of_user[1]["admitted"], &of_user[1]["key_id"]), (&true.into(), &key.id.as_str().into()));
    // As the door does it.
    assert_eq!(gateway.api_get("/v2", &key.authorization()).status, 200);

    for (from, service, listener, reason, answer) in [
        ("127.0.0.1", "api", "api", None, None),
        ("127.0.0.1", "api", "api-refuse", Some("plaintext_credential"), Some("403")),
        ("127.0.0.9", "api", "api", Some("address_outside_listener_list"), Some("403")),
        ("192.0.2.7", "api", "api-tls", Some("address_outside_key_list"), Some("403")),
        ("127.0.0.1", "isproxy", "isproxy", Some("scope_missing"), Some("400 Login failed")),
        (
            "127.0.0.9",
            "isproxy",
            "isproxy",
            Some("address_outside_listener_list"),
            Some("a close without an answer"),
        ),
    ] {
        let arguments = ["--key-stdin", "--service", service, "--listener", listener, "--from", from];
        let told = ask(&arguments, &key.text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0]["reason"].as_str(), told[0]["answer"].as_str()), (reason, answer), "{told:?}");
        assert_eq!(told[0]["admitted"], reason.is_none(), "{told:?}");
        assert_eq!(told[0]["steps"].as_array().unwrap().len(), 12, "every step is told: {told:?}");
    }
    gateway.delete_key(&key);
    let arguments = ["explain", "--dry-run", "--key-stdin", "--service", "api", "--from", "::1"];
    let text = gateway.cli_with_input(&arguments, &key.text).expect_success();
    assert!(
        text.contains("a key that was deleted here") && text.contains("would be refused with 401"),
        "{text}"
    );
    assert!(!text.contains(&key.text), "{text}");
    let wrong = [
        "explain",
        "--dry-run",
        "--user",
        "acme/alex",
        "--service",
        "api",
        "--from",
        "::1",
        "--listener",
        "x",
    ];
    let told = gateway.cli(&wrong).expect_failure(2);
    assert!(told.contains("api-refuse"), "{told}");
}

#[test]
fn s40_nothing_of_a_refused_credential_is_kept_or_told() {
    let gateway = TestGateway::verbose();
    gateway.create_customer("acme");
    let narrow = gateway.create_key_of("acme/admin", "isproxy");
    let wrong = format!("{}x", narrow.text);
    let mut told = String::new();
    for authorization in [
        narrow.authorization(),
        format!("ApiKey {wrong}"),
        format!("ApiKey {}", "opaque-".repeat(6)),
        basic("acme/admin", "hunter2-hunter2"),
        basic("opaque-opaque-", PASSWORD),
    ] {
        let answer = gateway.api_get("/v2?key=opaque-opaque-", &authorization);
        let id = answer.field("x-request-id").unwrap();
        told.push_str(&gateway.cli(&["explain", id]).expect_success());
        told.push_str(&gateway.cli(&["explain", id, "--json"]).expect_success());
    }
    let arguments = ["explain", "--dry-run", "--key-stdin", "--service", "api", "--from", "::1"];
    told.push_str(&gateway.cli_with_input(&arguments, &narrow.text).expect_success());
    let (_, log, left) = gateway.stop();
    let store = fs::read(left.path("data/latchkey.db")).unwrap();
    assert!(contains(&store, b"malformed_key") && contains(&store, b"/v2"), "refusals are in the store");
    for secret in [&narrow.text[4..], "opaque-opaque-", "hunter2", PASSWORD] {
        assert!(!contains(&store, secret.as_bytes()), "the store holds {secret:?}");
        assert!(!told.contains(secret) && !log.contains(secret), "{secret:?} is told");
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_flood_of_refusals_keeps_200_a_second_and_counts_the_others() {
    // So many that a busy machine too answers more than 200 of them in a second.
    const FLOOD: usize = 5_000;
    let gateway = TestGateway::start();
    let first = gateway.connect("api").exchange(&Request::get("/first"));
    let request = Request::get("/flooded").to_bytes();
    let began = Instant::now();
    let mut connections: Vec<_> = (0..10).map(|_| gateway.connect("api")).collect();
    for wire in &mut connections {
        wire.send(request.repeat(FLOOD / 10));
    }
    for wire in &mut connections {
        for _ in 0..FLOOD / 10 {
            assert_eq!(wire.read_answer().status, 401);
        }
    }
    // The seconds of the clock that the flood touched.
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    let unkept = || {
        let metrics = gateway.ask_ops("/metrics").text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("latchkey_unkept_refusals_total "));
        count.unwrap().parse::<usize>().unwrap()
    };
    // A line is written when all of its request is over.
    gateway.access_log(FLOOD + 1);
    let kept = FLOOD - unkept();
    assert!((1..=200 * seconds).contains(&kept) && kept < FLOOD, "{kept} were kept within {seconds} s");
    assert_eq!(explain(&gateway, first.field("x-request-id").unwrap())[0]["target"], "/first");
    // Whoever comes later finds the limit free again.
    let later = wait_for("a refusal that is kept", || {
        let before = unkept();
        let answer = gateway.connect("api").exchange(&Request::get("/later"));
        (unkept() == before).then(|| answer.field("x-request-id").unwrap().to_owned())
    });
    assert_eq!(explain(&gateway, &later)[0]["target"], "/later");
    let (_, _, left) = gateway.stop();
    let store = fs::read(left.path("data/latchkey.db")).unwrap();
    let rows = store.windows(8).filter(|window| *window == b"/flooded").count();
    // More, where the engine left copies behind.
    assert!(rows >= kept, "{rows} of {kept} are in the store");
}
