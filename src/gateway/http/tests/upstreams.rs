//! Upstreams that are slow, closed, broken or wrong, and clients that go away.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::harness::{RawUpstream, Session, TestDoor, on_door_thread};

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";
const POST: &str = "POST /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\nContent-Length: 4\r\n\r\nabcd";

/// Lets everything else go on until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap();
}

#[test]
fn connections_are_kept_and_used_again() {
    on_door_thread(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ] {
            let upstream = RawUpstream::answering(answer).await;
            let door = TestDoor::before(&upstream).await;
            for request in [GET, POST, GET] {
                let mut client = door.connect().await;
                client.send(&request.replace("Host", "Connection: close\r\nHost")).await;
                assert_eq!(client.rest().await.get(..12), answer.get(..12));
            }
            assert_eq!(upstream.seen().len(), 1, "{answer}");
            assert_eq!(door.upstream.idle_connections(), 1);
        }
    });
}

#[test]
fn the_wait_for_a_slow_upstream_is_its_own_and_not_the_gateways() {
    const SLOW: Duration = Duration::from_millis(100);
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            tokio::time::sleep(SLOW).await;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        assert_eq!(door.ask(GET).await.status, 200);
        assert_eq!(door.ask(&GET.replace("{key}", "wrong")).await.status, 401);
        let read = door.metrics.read();
        let (added, upstream) = (read.added_latency(), read.upstream_times());
        assert_eq!((added.count(), upstream.count()), (1, 1), "what is refused adds nothing to anything");
        assert!(u128::from(upstream.sum_nanoseconds()) >= SLOW.as_nanos(), "{upstream:?}");
        assert!(added.sum_nanoseconds() < upstream.sum_nanoseconds(), "{added:?}");
        assert_eq!(read.doors[0].1.decisions.count(), 2);
    });
}

#[test]
fn an_upstream_that_cannot_be_asked_is_measured_too() {
    on_door_thread(async {
        let upstream = RawUpstream::answering("no HTTP at all\r\n\r\n").await;
        let door = TestDoor::before(&upstream).await;
        assert_eq!(door.ask(GET).await.status, 502);
        let read = door.metrics.read();
        assert_eq!((read.added_latency().count(), read.upstream_times().count()), (1, 1));
    });
}

#[test]
fn what_a_client_breaks_off_tells_of_the_upstream_only_that_it_let_the_client_wait() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            std::future::pending::<()>().await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        let body = "Transfer-Encoding: chunked\r\n\r\nno chunk";
        client.send(&POST.replace("Content-Length: 4\r\n\r\nabcd", body)).await;
        assert_eq!(client.answer().await.status, 400);
        let read = door.metrics.read();
        assert_eq!((read.added_latency().count(), read.upstream_times().count()), (0, 0), "a broken body");

        let mut client = door.connect().await;
        client.send(GET).await;
        until(|| upstream.seen().iter().any(|seen| seen.starts_with("GET"))).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
        until(|| door.metrics.read().upstream_times().count() == 1).await;
        let times = door.metrics.read().upstream_times();
        assert!(times.sum_nanoseconds() >= 20_000_000, "{times:?}");
    });
}

#[test]
fn head_has_the_length_and_no_body() {
    on_door_thread(async {
        let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n").await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        for _ in 0..2 {
            client.send(&GET.replace("GET", "HEAD")).await;
            assert!(client.head().await.contains("content-length: 500\r\n"));
        }
        assert_eq!(upstream.seen().len(), 1);
    });
}

#[test]
fn s73_a_kept_connection_that_was_closed_is_replaced_before_anything_is_sent() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        for round in 1..=3 {
            client.send(POST).await;
            assert_eq!(client.answer().await.status, 200, "round {round}");
            // Lets the runtime see that the upstream closed.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let seen = upstream.seen();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|seen| seen.matches("POST").count() == 1), "{seen:?}");
    });
}

#[test]
fn s73_nothing_is_sent_twice_once_a_byte_was_sent() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            // The second request on this connection is read, and answered by closing.
            session.request().await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, &answer.json()["type"]), (502, &"ProviderConnectionError".into()));
        assert_eq!(upstream.seen().len(), 1);
    });
}

#[test]
fn s71_wrong_answers_are_502() {
    on_door_thread(async {
        for answer in [
            "",
            "garbage\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nX-Null: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ] {
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request().await;
                session.say(answer).await;
            })
            .await;
            let door = TestDoor::before(&upstream).await;
            let said = door.ask(GET).await;
            assert_eq!(said.status, 502, "{answer:?}");
            assert_eq!(said.json()["type"], "ProviderConnectionError");
        }
    });
}

#[test]
fn s71_a_part_of_a_body_is_never_shown_as_the_whole() {
    on_door_thread(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        ] {
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request().await;
                session.say(answer).await;
            })
            .await;
            let door = TestDoor::before(&upstream).await;
            let mut client = door.connect().await;
            client.send(GET).await;
            let said = client.rest().await;
            // What had not left yet is not sent any more: nothing at all is no whole answer either.
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 200 "), "{said}");
            assert!(!said.contains("\r\n0\r\n"), "{said}");
            assert!(!said.contains("content-length: 4\r\n"), "{said}");
            let log = door.access_log(1).await;
            assert_eq!((&log[0]["status"], &log[0]["reason"]), (&200.into(), &"upstream_broke".into()));
        }
    });
}

#[test]
fn s71_surplus_bytes_are_nobodys_answer() {
    on_door_thread(async {
        let upstream = RawUpstream::answering(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        )
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        for _ in 0..2 {
            client.send(GET).await;
            assert_eq!(client.answer().await.body, "ok");
        }
        assert_eq!(upstream.seen().len(), 2);
    });
}

#[test]
fn an_upstream_that_is_away_is_502() {
    on_door_thread(async {
        let gone = {
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            socket.local_addr().unwrap()
        };
        let door = TestDoor::with(gone, |_| {}).await;
        assert_eq!(door.ask(GET).await.status, 502);
        let log = door.access_log(1).await;
        assert_eq!(log[0]["reason"], "upstream_unreachable");
    });
}

#[test]
fn s72_a_silent_upstream_is_504_after_its_time() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| session.closed().await).await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        for request in [GET, POST] {
            let asked = Instant::now();
            assert_eq!(door.ask(request).await.status, 504);
            assert_eq!(asked.elapsed().as_secs(), 30);
        }
    });
}

#[test]
fn a_body_that_stops_is_cut_and_an_event_stream_may_rest() {
    on_door_thread(async {
        for (kind, cut) in [("text/plain", true), ("text/event-stream", false)] {
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request().await;
                session
                    .say(&format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 8\r\n\r\nhalf"))
                    .await;
                tokio::time::sleep(Duration::from_secs(100)).await;
                session.say("half").await;
            })
            .await;
            let door = TestDoor::before(&upstream).await;
            tokio::time::pause();
            let mut client = door.connect().await;
            client.send(&GET.replace("Host", "Connection: close\r\nHost")).await;
            assert_eq!(!client.rest().await.ends_with("halfhalf"), cut, "{kind}");
            tokio::time::resume();
        }
    });
}

#[test]
fn s74_a_body_that_does_not_come_is_408() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        let asked = Instant::now();
        assert_eq!(door.ask(&POST.replace("abcd", "ab")).await.status, 408);
        assert_eq!(asked.elapsed().as_secs(), 30);
    });
}

#[test]
fn s72_a_client_that_goes_away_takes_the_upstreams_request_with_it() {
    on_door_thread(async {
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"] {
            let (asked, mut arrived) = tokio::sync::mpsc::unbounded_channel();
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request().await;
                session.say(answer).await;
                asked.send("asked").unwrap();
                session.closed().await;
                asked.send("closed").unwrap();
            })
            .await;
            let door = TestDoor::before(&upstream).await;
            let mut client = door.connect().await;
            client.send(GET).await;
            assert_eq!(arrived.recv().await, Some("asked"));
            if !answer.is_empty() {
                client.head().await;
            }
            drop(client);
            let closed = timeout(Duration::from_secs(1), arrived.recv()).await;
            assert_eq!(closed.unwrap(), Some("closed"));
            let log = door.access_log(1).await;
            assert_eq!(log[0]["reason"], "client_gone");
        }
    });
}

#[test]
fn idle_connections_grow_old_and_are_closed() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        assert_eq!(door.ask(GET).await.status, 200);
        assert_eq!(door.upstream.idle_connections(), 1);
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(66)).await;
        assert_eq!(door.upstream.idle_connections(), 0);
        assert_eq!(door.ask(GET).await.status, 200);
        assert_eq!(upstream.seen().len(), 2);
    });
}

#[test]
fn idle_connections_are_limited() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door =
            TestDoor::with(upstream.address, |setting| setting.limits.upstream_idle_connections = 1).await;
        let (one, other, third) = tokio::join!(door.ask(GET), door.ask(GET), door.ask(GET));
        assert_eq!((one.status, other.status, third.status), (200, 200, 200));
        assert_eq!(door.upstream.idle_connections(), 1);
    });
}
