//! Upgrades between raw bytes and raw bytes: what makes a tunnel, what does not, and what ends one.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::harness::{RawUpstream, Session, TestDoor, on_door_thread};
use crate::config::Upgrade;
use crate::net::websocket::accept_for;

const ASK: &str = "GET /v2/socket HTTP/1.1\r\nHost: a\r\nAuthorization: ApiKey {key}\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The 101 that agrees to [`ASK`].
fn agreement() -> String {
    let accept = accept_for(b"dGhlIHNhbXBsZSBub25jZQ==");
    format!(
        "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Agrees, and says `hello` in the same segment; then sends back what comes.
async fn echo() -> RawUpstream {
    RawUpstream::start(async |mut session: Session| {
        session.request().await.unwrap();
        let cookies = "Set-Cookie: latchkey-session=ours\r\nSet-Cookie: other=theirs\r\n\r\n";
        session.say(&(agreement().replace("\r\n\r\n", "\r\n") + cookies + "hello")).await;
        let (mut reader, mut writer) = session.stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

async fn door(upstream: &RawUpstream, idle_seconds: u32) -> TestDoor {
    TestDoor::with(upstream.address, |setting| {
        setting.upgrades = vec![Upgrade::WebSocket];
        setting.limits.upgrade_idle_seconds = idle_seconds;
    })
    .await
}

#[test]
fn bytes_pass_both_ways_and_those_sent_early_too() {
    on_door_thread(async {
        let upstream = echo().await;
        let door = door(&upstream, 600).await;
        let mut client = door.connect().await;
        client.send(&format!("{ASK}early")).await;
        let head = client.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        for field in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: s3pp"] {
            assert_eq!(head.matches(field).count(), 1, "{field} in {head}");
        }
        assert!(head.contains("x-request-id: ") && !head.contains("content-length"), "{head}");
        assert!(head.contains("other=theirs") && !head.contains("latchkey-session"), "{head}");
        assert_eq!(door.upstream.requests_in_flight(), 1);
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest().await, "helloearly");
        let seen = upstream.seen().join("").to_ascii_lowercase();
        assert_eq!(seen.matches("connection: ").count(), 1, "{seen}");
        assert!(
            seen.contains("connection: upgrade\r\n") && seen.contains("upgrade: websocket\r\n"),
            "{seen}"
        );
        assert!(!seen.contains("authorization") && seen.contains("x-auth-user"), "{seen}");
        let upstream = std::rc::Rc::clone(&door.upstream);
        let lines = door.access_log(1).await;
        assert_eq!((&lines[0]["status"], &lines[0]["reason"]), (&101.into(), &serde_json::Value::Null));
        assert_eq!(lines[0]["response_bytes"], "helloearly".len());
        assert_eq!((upstream.requests_in_flight(), upstream.idle_connections()), (0, 0));
    });
}

#[test]
fn s57_a_101_that_agrees_to_something_else_is_502() {
    on_door_thread(async {
        for answer in [
            "HTTP/1.1 101 Yes\r\n\r\n",
            "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ] {
            let upstream = RawUpstream::answering(answer).await;
            let door = door(&upstream, 600).await;
            assert_eq!(door.ask(ASK).await.status, 502, "{answer}");
            assert_eq!(door.access_log(1).await[0]["reason"], "upgrade_failed");
        }
        // Unasked, on a route that would allow it.
        let upstream = RawUpstream::answering("HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n").await;
        let door = door(&upstream, 600).await;
        let plain = "GET /v2/socket HTTP/1.1\r\nHost: a\r\nAuthorization: ApiKey {key}\r\n\r\n";
        assert_eq!(door.ask(plain).await.status, 502);
        assert_eq!(door.access_log(1).await[0]["reason"], "upstream_upgraded");
    });
}

#[test]
fn an_upstream_that_declines_answers_as_to_any_request_and_the_connection_goes_on() {
    on_door_thread(async {
        let upstream =
            RawUpstream::answering("HTTP/1.1 426 No\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nbody")
                .await;
        let door = door(&upstream, 600).await;
        let mut client = door.connect().await;
        for _ in 0..2 {
            client.send(ASK).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.body.as_str(), answer.field("upgrade")), (426, "body", None));
        }
        assert_eq!(upstream.seen().len(), 2, "each upgrade has a connection of its own");
    });
}

#[test]
fn a_request_with_a_body_and_one_of_http_1_0_are_ordinary_and_a_bad_key_is_refused() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = door(&upstream, 600).await;
        let with_body = ASK.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(door.ask(&with_body).await.status, 200);
        assert_eq!(door.ask(&ASK.replace("HTTP/1.1", "HTTP/1.0")).await.status, 200);
        let seen = upstream.seen().join("").to_ascii_lowercase();
        assert!(!seen.contains("upgrade"), "{seen}");
        assert!(seen.contains("body"), "{seen}");
        let refused = door.ask(&ASK.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")).await;
        assert_eq!((refused.status, &refused.json()["type"]), (400, &"InvalidMessage".into()));
    });
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    on_door_thread(async {
        let upstream = echo().await;
        let door = door(&upstream, 1).await;
        let mut client = door.connect().await;
        client.send(ASK).await;
        client.head().await;
        assert_eq!(client.rest().await, "hello");
        assert_eq!(door.access_log(1).await[0]["reason"], "idle");
    });
}

#[test]
fn a_deactivated_user_loses_the_tunnel_although_nobody_reads() {
    on_door_thread(async {
        // The server writes without end, and the client takes nothing.
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request().await.unwrap();
            session.say(&agreement()).await;
            while session.stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
        })
        .await;
        let door = door(&upstream, 600).await;
        let mut client = door.connect().await;
        client.send(ASK).await;
        client.head().await;
        // Until every buffer between the two is full.
        tokio::time::sleep(Duration::from_millis(300)).await;
        door.world.change_user(|user| user.active = false).await;
        assert_eq!(door.world.end_revoked_sessions(), 1);
        let lines = door.access_log(1).await;
        assert_eq!((&lines[0]["status"], &lines[0]["reason"]), (&101.into(), &"revoked".into()));
        let ended = tokio::time::timeout(Duration::from_secs(1), client.rest()).await;
        assert!(ended.is_ok(), "the client's connection is open still");
    });
}
