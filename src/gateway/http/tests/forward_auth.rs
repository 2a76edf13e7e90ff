//! Proxies that ask whether a request may pass.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::harness::{RawUpstream, Setting, TestDoor, on_door_thread};
use crate::config::{IdentityHeaders, PlaintextCredentials};
use crate::model::TrustedProxies;

const ASK: &str = "GET / HTTP/1.1\r\nHost: asked\r\nAuthorization: ApiKey {key}\r\n\r\n";

/// A door that is asked, with an upstream that must never see anything.
async fn asked(change: impl FnOnce(&mut Setting)) -> (TestDoor, RawUpstream) {
    let upstream = RawUpstream::friendly().await;
    let door = TestDoor::with(upstream.address, |setting| {
        setting.answers_in = Some(IdentityHeaders::default());
        change(setting);
    })
    .await;
    (door, upstream)
}

fn trusting_this_machine(setting: &mut Setting) {
    setting.listener.client_address.trusted_proxies = TrustedProxies::new("127.0.0.1".parse().unwrap());
}

#[test]
fn an_asker_is_told_who_calls_and_asks_again_on_the_same_connection() {
    on_door_thread(async {
        let (door, upstream) = asked(|_| {}).await;
        let mut asker = door.connect().await;
        for _ in 0..3 {
            asker.send(ASK).await;
            let answer = asker.answer().await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
            for (name, value) in [
                ("x-auth-customer", "acme"),
                ("x-auth-user", "alex"),
                ("x-auth-method", "api-key"),
                ("cache-control", "no-store"),
                ("content-length", "0"),
            ] {
                assert_eq!(answer.field(name), Some(value), "{answer:?}");
            }
            assert!(answer.field("x-auth-key-id").is_some(), "{answer:?}");
            assert!(answer.field("x-request-id").is_some() && answer.field("via").is_none(), "{answer:?}");
        }
        drop(asker);
        assert!(upstream.seen().is_empty());
        let log = door.access_log(3).await;
        for line in &log {
            assert_eq!((&line["status"], &line["user"]), (&200.into(), &"alex".into()), "{line}");
            assert!(line["upstream"].is_null(), "{line}");
        }
    });
}

#[test]
fn neither_method_nor_target_nor_host_of_the_asked_request_refuses_it() {
    on_door_thread(async {
        let (door, upstream) = asked(|_| {}).await;
        let mut asker = door.connect().await;
        let long = format!("GET /{}", "a".repeat(20_000));
        for line in [
            "POST /v2/session",
            "TRACE /",
            "OPTIONS *",
            "BREW /pot",
            "GET http://else.example/x",
            "GET /a#b",
            &long,
        ] {
            asker.send(&format!("{line} HTTP/1.1\r\nAuthorization: ApiKey {{key}}\r\n\r\n")).await;
            assert_eq!(asker.answer().await.status, 200, "{line}");
            asker.send(&format!("{line} HTTP/1.1\r\nHost: a, b\r\n\r\n")).await;
            assert_eq!(asker.answer().await.status, 401, "{line}");
        }
        // A 2xx would make a tunnel of the connection.
        let tunnel =
            door.ask("CONNECT a.example:1 HTTP/1.1\r\nHost: a\r\nAuthorization: ApiKey {key}\r\n\r\n");
        assert_eq!(tunnel.await.status, 405);
        assert!(upstream.seen().is_empty());
    });
}

#[test]
fn headers_can_be_renamed_and_dropped() {
    on_door_thread(async {
        let (door, _upstream) = asked(|setting| {
            let user = Some(http::HeaderName::from_static("remote-user"));
            let names = IdentityHeaders { user, key_id: None, ..IdentityHeaders::default() };
            setting.answers_in = Some(names);
        })
        .await;
        let answer = door.ask(ASK).await;
        assert_eq!(
            (answer.field("remote-user"), answer.field("x-auth-customer")),
            (Some("alex"), Some("acme"))
        );
        assert_eq!((answer.field("x-auth-user"), answer.field("x-auth-key-id")), (None, None));
    });
}

#[test]
fn s11_s77_what_refuses_at_the_api_door_refuses_here() {
    on_door_thread(async {
        let (door, _) = asked(|_| {}).await;
        let twice = ASK.replace("\r\n\r\n", "\r\nAuthorization: ApiKey {key}\r\n\r\n");
        for request in [&ASK.replace("{key}", "wrong"), &twice, "GET / HTTP/1.1\r\n\r\n"] {
            let answer = door.ask(request).await;
            assert_eq!((answer.status, &answer.json()["type"]), (401, &"AuthenticationError".into()));
            assert_eq!(answer.field("www-authenticate"), Some("ApiKey realm=\"latchkey\""));
            assert_eq!(answer.field("cache-control"), Some("no-store"));
        }
        let (door, _) =
            asked(|setting| setting.listener.plaintext_credentials = PlaintextCredentials::Refuse).await;
        assert_eq!(door.ask(ASK).await.status, 403);
        let (door, _) = asked(|setting| {
            trusting_this_machine(setting);
            setting.listener.allow_list = "192.0.2.0/24".parse().unwrap();
        })
        .await;
        for (client, status) in [("192.0.2.7", 200), ("203.0.113.9", 403), ("unknown", 400)] {
            let request = ASK.replace("\r\n\r\n", &format!("\r\nX-Forwarded-For: {client}\r\n\r\n"));
            let answer = door.ask(&request).await;
            assert_eq!(
                (answer.status, answer.field("cache-control")),
                (status, Some("no-store")),
                "{client}"
            );
        }
        assert_eq!(door.ask(ASK).await.status, 403, "the asker itself is not on the list");
    });
}

#[test]
fn s09_a_body_is_not_read_and_nothing_behind_it_is_answered() {
    on_door_thread(async {
        let (door, _upstream) = asked(|_| {}).await;
        // The asker forgot to take `Content-Length` away with the body; what follows is its next question.
        for (status, authorization) in [(200, "ApiKey {key}"), (401, "ApiKey wrong")] {
            let mut asker = door.connect().await;
            let head =
                format!("POST / HTTP/1.1\r\nContent-Length: 30\r\nAuthorization: {authorization}\r\n\r\n");
            asker.send(&head).await;
            let answer = asker.answer().await;
            assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{answer:?}");
            asker.send(ASK).await;
            assert_eq!(asker.rest().await, "");
        }
        let body = "POST / HTTP/1.1\r\nContent-Length: 5\r\nAuthorization: ApiKey {key}\r\n\r\nhello";
        let answer = door.ask(body).await;
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")), "{answer:?}");
    });
}

#[test]
fn what_a_trusted_asker_was_asked_for_is_written_down_and_a_strangers_word_is_not() {
    on_door_thread(async {
        let request = ASK.replace(
            "\r\n\r\n",
            "\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Uri: /page?secret=1\r\n\r\n",
        );
        let (door, _) = asked(trusting_this_machine).await;
        assert_eq!(door.ask(&request).await.status, 200);
        let line = door.access_log(1).await.remove(0);
        assert_eq!((&line["method"], &line["target"]), (&"DELETE".into(), &"/page".into()), "{line}");
        assert_eq!(line["client_ip"], "192.0.2.7");
        let (door, _) = asked(|_| {}).await;
        assert_eq!(door.ask(&request).await.status, 200);
        let line = door.access_log(1).await.remove(0);
        assert_eq!((&line["method"], &line["target"]), (&"GET".into(), &"/".into()), "{line}");
        assert_eq!(line["client_ip"], "127.0.0.1");
    });
}

#[test]
fn an_asker_that_speaks_http_2_is_answered_stream_by_stream() {
    on_door_thread(async {
        let (door, upstream) = asked(|_| {}).await;
        let stream = TcpStream::connect(door.address).await.unwrap();
        let (mut asker, connection) =
            http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let right = format!("ApiKey {}", door.api_key);
        for (authorization, body, status) in
            [(&*right, "", 200), ("ApiKey wrong", "", 401), (&right, "a body", 200), (&right, "", 200)]
        {
            let request = Request::post("http://asked/x").header("authorization", authorization);
            let request = request.body(Full::from(body)).unwrap();
            let answer = asker.send_request(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let told = answer.headers().get("x-auth-user").map(|user| user.to_str().unwrap());
            assert_eq!(told, (status == 200).then_some("alex"));
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().is_empty(), status == 200);
        }
        assert!(upstream.seen().is_empty());
    });
}
