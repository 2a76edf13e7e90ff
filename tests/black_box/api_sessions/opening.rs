//! Opening, using and closing.

use std::fs;
use std::process::Command;

use super::{delete, open, post, status_everywhere};
use crate::harness::{PASSWORD, Request, TestGateway, basic, run, wait_for};

#[test]
fn a_session_is_opened_by_password_used_and_closed() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let opened = post(&gateway, &alex.authorization());
    assert_eq!(opened.status, 201, "{opened:?}");
    assert_eq!(opened.field("content-type"), Some("application/json"));
    assert_eq!(opened.field("cache-control"), Some("no-store"));
    assert!(opened.field("x-request-id").is_some());
    let body = opened.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let key = body["key"].as_str().unwrap();
    assert_eq!(key.len(), 20, "{key}");
    assert!(key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "{key}");

    for scheme in ["Session", "session", "SESSION"] {
        assert_eq!(gateway.api_get("/v2/domains/", &format!("{scheme} {key}")).status, 200, "{scheme}");
        let request = gateway.api_upstream.last_request();
        assert_eq!(request.line(), "GET /v2/domains/ HTTP/1.1");
        assert_eq!(request.field("x-auth-customer").as_deref(), Some("acme"));
        assert_eq!(request.field("x-auth-user").as_deref(), Some("alex"));
        assert_eq!(request.field("x-auth-method").as_deref(), Some("session"));
        assert_eq!((request.field("x-auth-key-id"), request.field("authorization")), (None, None));
    }
    let session = format!("Session {key}");
    assert_eq!(status_everywhere(&gateway, &session), 200);

    let closed = delete(&gateway, &session);
    assert_eq!((closed.status, closed.body.len()), (204, 0), "{closed:?}");
    let forwarded = gateway.api_upstream.requests().len();
    assert_eq!(status_everywhere(&gateway, &session), 401);
    gateway.api_get("/v2/x", &session).assert_refusal(401, "AuthenticationError");
    delete(&gateway, &session).assert_refusal(401, "AuthenticationError");
    post(&gateway, &session).assert_refusal(401, "AuthenticationError");
    assert_eq!(gateway.api_upstream.requests().len(), forwarded);
    assert!(gateway.api_upstream.requests().iter().all(|request| !request.line().contains("session")));
    // At IsProxy a session is nothing.
    assert_eq!(gateway.isproxy_login(&format!("LOGIN {key}")), "400 Login failed");

    let lines = gateway.access_log(1 + 3 + 12 + 1 + 12 + 3);
    let find = |status: u64| lines.iter().find(|line| line["status"] == status).unwrap();
    assert_eq!(
        (&find(201)["target"], &find(201)["auth_method"], &find(201)["user"]),
        (&"/v2/session".into(), &"password".into(), &"alex".into())
    );
    assert_eq!(find(204)["auth_method"], "session");
    assert_eq!(find(200)["auth_method"], "session");
    assert_eq!(find(401)["reason"], "unknown_session");
}

#[test]
fn the_whole_story_over_http_2() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let url = |path: &str| format!("https://localhost:{}{path}", gateway.address("api-tls").port());
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--http2",
            "--cacert",
        ]);
        command.arg(gateway.path("ca.crt")).args(["--write-out", " %{http_code} %{http_version}"]);
        run(command.args(arguments), b"").expect_success()
    };
    let (session_url, other_url) = (url("/v2/session"), url("/v2/domains"));
    let user = format!("{}:{PASSWORD}", alex.name);
    // Clients send a body of their own along.
    let opened = curl(&["--user", &user, "--data", "{}", &session_url]);
    let key = opened.strip_prefix("{\"key\":\"").and_then(|rest| rest.strip_suffix("\"} 201 2"));
    let header = format!("Authorization: Session {}", key.unwrap_or_else(|| panic!("{opened}")));
    assert_eq!(curl(&["--header", &header, &other_url]), "{\"ok\":true} 200 2");
    assert_eq!(curl(&["--header", &header, "--request", "DELETE", &session_url]), " 204 2");
    let refused = curl(&["--header", &header, &other_url]);
    assert!(refused.contains("AuthenticationError") && refused.ends_with(" 401 2"), "{refused}");
    assert_eq!(gateway.api_upstream.requests().len(), 1);
}

#[test]
fn sessions_are_opened_by_password_only_and_every_refusal_of_one_is_401() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let kim = gateway.create_user("acme/kim");
    let key = gateway.create_key("acme/kim");
    let session = open(&gateway, &alex.authorization());
    for (authorization, status, kind) in [
        (key.authorization(), 403, "AuthorizationError"),
        (session.clone(), 403, "AuthorizationError"),
        // Kim has a key.
        (kim.authorization(), 401, "AuthenticationError"),
        (basic("acme/alex", "wrong"), 401, "AuthenticationError"),
        (basic("nobody/nobody", PASSWORD), 401, "AuthenticationError"),
        ("ApiKey wrong".to_owned(), 401, "AuthenticationError"),
        ("Session ABCDEFGHIJ0123456789".to_owned(), 401, "AuthenticationError"),
        ("Bearer x".to_owned(), 401, "AuthenticationError"),
    ] {
        post(&gateway, &authorization).assert_refusal(status, kind);
    }
    for authorization in [key.authorization(), alex.authorization()] {
        delete(&gateway, &authorization).assert_refusal(403, "AuthorizationError");
    }
    let anonymous = gateway.connect("api").exchange(&Request::new("POST", "/v2/session"));
    anonymous.assert_refusal(401, "AuthenticationError");
    let in_clear = Request::new("POST", "/v2/session").authorization(&alex.authorization());
    gateway.connect("api-refuse").exchange(&in_clear).assert_refusal(403, "AuthorizationError");
    let target = Request::new("POST", "/v2/session").authorization(&session);
    assert_eq!(gateway.connect_tls().exchange(&target).status, 403, "valid at every API listener");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    assert_eq!(gateway.api_get("/", &session).status, 200, "none of this ended it");
}

#[test]
fn the_path_is_the_gateways_own_and_others_are_the_upstreams() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    for target in ["/v2/session", "/v2/session/", "/v2/session?x=y", "http://other.example/v2/session"] {
        let request = Request::new("POST", target).authorization(&alex.authorization());
        let opened = gateway.connect("api").exchange(&request);
        assert_eq!(opened.status, 201, "{target}");
        let session = format!("Session {}", opened.json()["key"].as_str().unwrap());
        let request = Request::new("DELETE", target).authorization(&session);
        assert_eq!(gateway.connect("api").exchange(&request).status, 204, "{target}");
        for method in ["GET", "PUT", "PATCH", "OPTIONS", "PURGE"] {
            let request = Request::new(method, target).authorization(&key.authorization());
            let answer = gateway.connect("api").exchange(&request);
            answer.assert_refusal(405, "InvalidMessage");
            assert_eq!(answer.field("allow"), Some("POST, DELETE"), "{method}");
        }
    }
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    for target in ["/v2/sessions", "/v2/session/x", "/v2/SESSION", "/v1/session", "/session", "/v2/session//"]
    {
        let request = Request::new("POST", target).authorization(&key.authorization());
        assert_eq!(gateway.connect("api").exchange(&request).status, 200, "{target}");
        assert_eq!(gateway.api_upstream.last_request().line(), format!("POST {target} HTTP/1.1"));
    }
}

#[test]
fn a_further_session_than_a_user_may_have_ends_the_one_that_was_unused_longest() {
    let gateway = TestGateway::configured(|config| config["limits"]["api_sessions_per_user"] = 3.into());
    let admin = gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let others = open(&gateway, &admin.authorization());
    let mut sessions: Vec<_> = (0..3).map(|_| open(&gateway, &alex.authorization())).collect();
    // A use counts once it is a second younger than the opening.
    let used_at = |session: &str| {
        let began = std::time::Instant::now();
        wait_for("a second", || {
            assert_eq!(gateway.api_get("/", session).status, 200);
            (began.elapsed().as_millis() > 1_100).then_some(())
        });
    };
    used_at(&sessions[0]);
    sessions.push(open(&gateway, &alex.authorization()));
    let statuses: Vec<_> = sessions.iter().map(|session| gateway.api_get("/", session).status).collect();
    assert_eq!(statuses, [200, 401, 200, 200]);
    assert_eq!(gateway.api_get("/", &others).status, 200, "another user's");
}

#[test]
fn s40_a_sessions_key_is_nowhere_but_in_the_answer_to_its_opening() {
    let gateway = TestGateway::verbose();
    gateway.create_customer("acme");
    let alex = gateway.create_user("acme/alex");
    let sessions = [open(&gateway, &alex.authorization()), open(&gateway, &alex.authorization())];
    for session in &sessions {
        assert_eq!(gateway.api_get("/", session).status, 200);
    }
    assert_eq!(delete(&gateway, &sessions[0]).status, 204);
    assert_eq!(gateway.api_get("/", &sessions[0]).status, 401);
    let metrics = gateway.ask_ops("/metrics").text();
    gateway.access_log(6);
    let (_, log, left) = gateway.stop();
    let mut texts =
        vec![("the log".to_owned(), log.into_bytes()), ("metrics".to_owned(), metrics.into_bytes())];
    let mut folders = vec![left.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    for session in &sessions {
        let key = session.strip_prefix("Session ").unwrap().as_bytes();
        for (name, bytes) in &texts {
            assert!(!bytes.windows(key.len()).any(|window| window == key), "{name} holds a session's key");
        }
    }
}
