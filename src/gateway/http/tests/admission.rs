//! Who is let through, what the upstream is told, and what is written down.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::harness::{RawUpstream, TestDoor, on_door_thread};
use crate::auth::testing::PASSWORD;
use crate::config::PlaintextCredentials;

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";

#[test]
fn a_right_key_reaches_the_upstream_which_is_told_who_calls() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let answer = door
            .ask(concat!(
                "GET /v2//domains/%2e%2E/?a=1&a=2;&= HTTP/1.1\r\nHost: api.example:8443\r\nContent-Length: 0\r\n",
                "X-Customer: acme\r\nx_auth_user: root\r\nX-Auth-Customer: root\r\nX-Forwarded-For: ::1\r\n",
                "Connection: X-Auth-User, Host, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Basic x\r\n",
                "Authorization: ApiKey {key}\r\n\r\n",
            ))
            .await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        assert_eq!(answer.field("x-request-id").map(str::len), Some(16));
        assert_eq!(answer.field("via"), Some("1.1 latchkey"));
        let seen = upstream.seen().concat();
        assert!(seen.starts_with("GET /v2//domains/%2e%2E/?a=1&a=2;&= HTTP/1.1\r\n"), "{seen}");
        for line in [
            "host: api.example:8443",
            "content-length: 0",
            "x-customer: acme",
            "x-auth-customer: acme",
            "x-auth-user: alex",
            "x-auth-method: api-key",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: api.example:8443",
            "via: 1.1 latchkey",
        ] {
            assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
        }
        for absent in ["root", "x-hop", "proxy-auth", "::1", "ApiKey", "connection"] {
            assert!(!seen.contains(absent), "{absent} in {seen}");
        }
        assert!(!seen.contains(&door.api_key));
    });
}

#[test]
fn s01_s10_every_request_is_judged_and_refusals_never_reach_the_upstream() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let (isproxy_key, _) = door.world.add_key("isproxy").await;
        let mut client = door.connect().await;
        for (credential, status, kind) in [
            (String::new(), 401, "AuthenticationError"),
            ("Authorization: ApiKey wrong\r\n".into(), 401, "AuthenticationError"),
            (
                "Authorization: ApiKey {key}\r\nAuthorization: ApiKey {key}\r\n".into(),
                401,
                "AuthenticationError",
            ),
            ("Authorization: ApiKey {key} x\r\n".into(), 401, "AuthenticationError"),
            ("X-API-Key: {key}\r\n".into(), 401, "AuthenticationError"),
            (format!("Authorization: ApiKey {isproxy_key}\r\n"), 403, "AuthorizationError"),
        ] {
            client.send(&format!("GET /v2/x HTTP/1.1\r\nHost: api.example\r\n{credential}\r\n")).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, status, "{credential}");
            assert_eq!(answer.json()["type"], kind, "{credential}");
            assert_eq!(answer.json()["requestId"].as_str(), answer.field("x-request-id"));
            assert_eq!(answer.field("www-authenticate").is_some(), status == 401);
        }
        assert!(upstream.seen().is_empty());
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200, "the same connection serves a right key");
        client.send("GET /v2/x HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 401, "and does not remember it");
        assert_eq!(upstream.seen().concat().matches("GET ").count(), 1);
    });
}

#[test]
fn r8_passwords_work_until_the_first_key() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let basic = STANDARD.encode(format!("acme/alex:{PASSWORD}"));
        let request =
            format!("GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: basic {basic}\r\n\r\n");
        assert_eq!(door.ask(&request).await.status, 200);
        let unknown = STANDARD.encode(format!("acme/nobody:{PASSWORD}"));
        assert_eq!(door.ask(&request.replace(&basic, &unknown)).await.status, 401);
        // The mark that the use case sets with a first key.
        door.world.change_user(|user| user.password_off_by_key = true).await;
        assert_eq!(door.ask(&request).await.status, 401);
        let seen = upstream.seen().concat();
        assert!(seen.contains("x-auth-method: password") && !seen.contains("x-auth-key-id"), "{seen}");
    });
}

#[test]
fn s77_a_credential_in_clear_is_refused_without_being_judged() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::with(upstream.address, |setting| {
            setting.listener.plaintext_credentials = PlaintextCredentials::Refuse;
        })
        .await;
        let answer = door.ask(GET).await;
        assert_eq!((answer.status, &answer.json()["type"]), (403, &"AuthorizationError".into()));
        assert_eq!(door.ask("GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 401);
        assert!(upstream.seen().is_empty());
        let log = door.access_log(2).await;
        assert_eq!(log[0]["reason"], "plaintext_credential");
    });
}

#[test]
fn the_listeners_list_comes_before_any_credential() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::with(upstream.address, |setting| {
            setting.listener.allow_list = "192.0.2.0/24".parse().unwrap();
        })
        .await;
        assert_eq!(door.ask(GET).await.status, 403);
        assert_eq!(door.ask("GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 403);
        assert!(upstream.seen().is_empty());
    });
}

#[test]
fn what_has_no_route_is_answered_404_in_json() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let answer = door.ask(&GET.replace("/v2/x", "/v2x")).await;
        assert_eq!((answer.status, &answer.json()["type"]), (404, &"NotFound".into()));
        assert!(upstream.seen().is_empty());
    });
}

#[test]
fn s40_each_request_is_written_down_once_and_without_its_key() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        client.send(&GET.replace("/v2/x", "/v2/x?secret=1")).await;
        let id = client.answer().await.field("x-request-id").unwrap().to_owned();
        client.send("GET /v2/y HTTP/1.1\r\nHost: api.example\r\n\r\n").await;
        client.answer().await;
        drop(client);
        let key = door.api_key.clone();
        let log = door.access_log(2).await;
        assert_eq!(log.len(), 2);
        for (member, value) in [
            ("listener", "api"),
            ("method", "GET"),
            ("target", "/v2/x"),
            ("customer", "acme"),
            ("user", "alex"),
            ("upstream", "registry"),
            ("request_id", id.as_str()),
            ("auth_method", "api-key"),
        ] {
            assert_eq!(log[0][member], value, "{log:?}");
        }
        assert_eq!((&log[0]["status"], &log[0]["response_bytes"]), (&200.into(), &2.into()));
        assert_eq!((&log[1]["status"], &log[1]["reason"]), (&401.into(), &"no_credential".into()));
        let text = format!("{log:?}");
        assert!(!text.contains(&key) && !text.contains("secret"), "{text}");
    });
}

#[test]
fn sessions_that_cannot_be_opened_are_503_and_the_connection_goes_on() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let mut door = TestDoor::before(&upstream).await;
        // As if the control plane had ended.
        door.world.keeper = None;
        let basic = STANDARD.encode(format!("acme/alex:{PASSWORD}"));
        let post = format!(
            "POST /v2/session HTTP/1.1\r\nHost: api.example\r\nContent-Length: 9\r\nAuthorization: Basic {basic}\r\n\r\nGET / HTT"
        );
        let mut client = door.connect().await;
        client.send(&post).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.body.contains("ProviderUnavailable"), "{}", answer.body);
        assert_eq!(answer.field("retry-after"), Some("1"));
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(upstream.seen().len(), 1, "the body was no request");
    });
}
