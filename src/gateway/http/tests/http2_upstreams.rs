//! Upstreams that speak HTTP/2: streams side by side, what may be sent again, and what ends early.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::harness::{RawUpstream, Setting, TestDoor, on_door_thread};
use super::http2_peer::{
    CONTINUE, DATA, END_STREAM, HEADERS, Http2Upstream, OK, OK_EVENTS, OK_TWO_BYTES, Peer,
};
use crate::config::Http2Use;

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";
const POST: &str = "POST /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\nContent-Length: 4\r\n\r\nabcd";
const CHUNKED: &str = "POST /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\nTransfer-Encoding: chunked\r\n\r\n";

const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

async fn door_before(upstream: SocketAddr) -> TestDoor {
    door_with(upstream, |_| {}).await
}

async fn door_with(upstream: SocketAddr, change: impl FnOnce(&mut Setting)) -> TestDoor {
    TestDoor::with(upstream, |setting| {
        setting.http2 = Http2Use::Always;
        change(setting);
    })
    .await
}

/// An upstream that answers each whole request with `200` and `ok`.
async fn friendly() -> Http2Upstream {
    Http2Upstream::start(100, async |mut peer: Peer| {
        while let Some(stream) = peer.whole_request().await {
            peer.answer(stream).await;
        }
    })
    .await
}

async fn within_a_second<T>(noted: &mut UnboundedReceiver<T>) -> T {
    timeout(Duration::from_secs(1), noted.recv()).await.expect("nothing within a second").unwrap()
}

#[test]
fn requests_at_once_share_one_connection() {
    on_door_thread(async {
        let upstream = Http2Upstream::start(100, async |mut peer: Peer| {
            let mut waiting = Vec::new();
            while waiting.len() < 4 {
                waiting.extend(peer.whole_request().await);
            }
            // The last one first.
            while let Some(stream) = waiting.pop() {
                peer.answer(stream).await;
            }
            while let Some(stream) = peer.whole_request().await {
                peer.answer(stream).await;
            }
        })
        .await;
        let door = door_before(upstream.address).await;
        let answers = tokio::join!(door.ask(GET), door.ask(POST), door.ask(GET), door.ask(POST));
        for answer in [answers.0, answers.1, answers.2, answers.3, door.ask(GET).await] {
            assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
            assert_eq!(answer.field("via"), Some("2.0 latchkey"));
        }
        assert_eq!(upstream.connections(), 1);
    });
}

#[test]
fn head_over_http2_has_the_length_and_no_body() {
    on_door_thread(async {
        let upstream = Http2Upstream::start(100, async |mut peer: Peer| {
            while let Some(stream) = peer.whole_request().await {
                peer.head(stream, 0, OK_TWO_BYTES).await;
                peer.send(DATA, END_STREAM, stream, b"").await;
            }
        })
        .await;
        let door = door_before(upstream.address).await;
        let mut client = door.connect().await;
        for _ in 0..2 {
            client.send(&GET.replace("GET", "HEAD")).await;
            assert!(client.head().await.contains("content-length: 2\r\n"));
        }
        drop(client);
        let log = door.access_log(2).await;
        assert!(log.iter().all(|line| line["reason"].is_null()), "{log:?}");
        assert_eq!(upstream.connections(), 1);
    });
}

#[test]
fn a_full_connection_gets_another_beside_it() {
    on_door_thread(async {
        for (by_server, by_limit) in [(2, 100), (100, 2)] {
            let upstream = Http2Upstream::start(by_server, async |mut peer: Peer| {
                // The third connection has the last of five requests.
                let expected = if peer.number == 2 { 1 } else { 2 };
                let mut waiting = Vec::new();
                while waiting.len() < expected {
                    waiting.push(peer.whole_request().await.unwrap());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                for stream in waiting {
                    peer.answer(stream).await;
                }
                peer.next().await;
            })
            .await;
            let door = door_with(upstream.address, |setting| {
                setting.limits.upstream_http2_streams = by_limit;
            })
            .await;
            let (one, two, three, four, five) =
                tokio::join!(door.ask(GET), door.ask(GET), door.ask(GET), door.ask(GET), door.ask(GET));
            for answer in [one, two, three, four, five] {
                assert_eq!(answer.status, 200);
            }
            assert_eq!(upstream.connections(), 3);
        }
    });
}

#[test]
fn s73_a_request_that_was_not_processed_goes_again_once_and_no_other() {
    on_door_thread(async {
        for (how, refusals, request, expected, connections) in [
            ("refused", 1, GET, 200, 2),
            ("beyond", 1, GET, 200, 2),
            // Its body was taken: nobody has it any more.
            ("refused", 1, POST, 502, 1),
            ("refused", 2, GET, 502, 2),
            // It may have been processed.
            ("within", 1, GET, 502, 1),
            ("cancelled", 1, GET, 502, 1),
        ] {
            let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
                while let Some(stream) = peer.whole_request().await {
                    match how {
                        _ if peer.number >= refusals => peer.answer(stream).await,
                        "refused" => peer.reset(stream, REFUSED_STREAM).await,
                        "cancelled" => peer.reset(stream, CANCEL).await,
                        "beyond" => peer.go_away(0).await,
                        _ => {
                            peer.go_away(stream).await;
                            return;
                        }
                    }
                }
            })
            .await;
            let door = door_before(upstream.address).await;
            assert_eq!(door.ask(request).await.status, expected, "{how} {refusals}");
            assert_eq!(upstream.connections(), connections, "{how} {refusals}");
        }
    });
}

#[test]
fn goaway_lets_what_is_under_way_end_and_new_requests_go_elsewhere() {
    on_door_thread(async {
        let (tell, mut notes) = unbounded_channel();
        let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
            while let Some(stream) = peer.whole_request().await {
                if peer.number == 0 {
                    peer.head(stream, 0, OK).await;
                    peer.go_away(stream).await;
                    tell.send("gone away").unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    peer.send(DATA, END_STREAM, stream, b"late").await;
                } else {
                    peer.answer(stream).await;
                }
            }
        })
        .await;
        let door = door_before(upstream.address).await;
        let first = door.ask(GET);
        let second = async {
            within_a_second(&mut notes).await;
            door.ask(GET).await
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.body.as_str(), second.body.as_str()), ("4\r\nlate\r\n0\r\n\r\n", "ok"));
        assert_eq!(upstream.connections(), 2);
    });
}

#[test]
fn s71_a_stream_that_is_reset_is_never_a_whole_body() {
    on_door_thread(async {
        for reason in [NO_ERROR, CANCEL] {
            let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
                let stream = peer.whole_request().await.unwrap();
                peer.head(stream, 0, OK).await;
                peer.send(DATA, 0, stream, b"only this").await;
                peer.reset(stream, reason).await;
                peer.next().await;
            })
            .await;
            let door = door_before(upstream.address).await;
            let mut client = door.connect().await;
            client.send(GET).await;
            let rest = client.rest().await;
            assert!(!rest.ends_with("0\r\n\r\n"), "{reason}: {rest}");
            assert_eq!(door.access_log(1).await[0]["reason"], "upstream_broke");
        }
    });
}

#[test]
fn an_early_answer_is_whole_although_the_server_wants_no_more_of_the_request() {
    on_door_thread(async {
        let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
            let stream = peer.next().await.unwrap().stream;
            peer.answer(stream).await;
            peer.reset(stream, NO_ERROR).await;
            peer.next().await;
        })
        .await;
        let door = door_before(upstream.address).await;
        let mut client = door.connect().await;
        client.send(&format!("{CHUNKED}1\r\na\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    });
}

#[test]
fn an_answer_and_the_body_of_its_request_flow_at_once() {
    on_door_thread(async {
        let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
            let stream = peer.next().await.unwrap().stream;
            peer.head(stream, 0, OK).await;
            while let Some(frame) = peer.next().await {
                peer.send(DATA, frame.flags & END_STREAM, stream, &frame.payload).await;
            }
        })
        .await;
        let door = door_before(upstream.address).await;
        let mut client = door.connect().await;
        client.send(CHUNKED).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        for part in ["one", "two"] {
            client.send(&format!("3\r\n{part}\r\n")).await;
            assert_eq!(client.chunk().await, part);
        }
        client.send("0\r\n\r\n").await;
        assert_eq!(client.chunk().await, "");
    });
}

#[test]
fn s72_a_client_that_leaves_resets_its_stream_and_no_other() {
    on_door_thread(async {
        // Before the head; within the answer; with a body that the server does not take.
        for case in ["head", "answer", "body"] {
            let (tell, mut notes) = unbounded_channel();
            let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
                let stream = peer.next().await.unwrap().stream;
                if case != "head" {
                    peer.head(stream, 0, OK).await;
                    peer.send(DATA, 0, stream, b"some").await;
                }
                tell.send((stream, 0)).unwrap();
                tell.send(peer.next_reset().await.unwrap()).unwrap();
                while let Some(stream) = peer.whole_request().await {
                    peer.answer(stream).await;
                }
            })
            .await;
            let door = door_before(upstream.address).await;
            let mut client = door.connect().await;
            if case == "body" {
                let body = "x".repeat(100_000);
                client.send(&format!("{CHUNKED}{:x}\r\n{body}\r\n", body.len())).await;
            } else {
                client.send(GET).await;
            }
            let (stream, _) = within_a_second(&mut notes).await;
            if case != "head" {
                client.head().await;
            }
            drop(client);
            assert_eq!(within_a_second(&mut notes).await, (stream, CANCEL), "{case}");
            assert_eq!(door.ask(GET).await.body, "ok", "{case}");
            assert_eq!(upstream.connections(), 1, "{case}");
            let reason = door.access_log(2).await[0]["reason"].clone();
            // A body that is broken off may be noticed before its answer is.
            assert!(
                reason == "client_gone" || (case == "body" && reason == "body_broken"),
                "{case}: {reason}"
            );
        }
    });
}

#[test]
fn s72_a_silent_server_is_504_and_its_connection_is_left() {
    on_door_thread(async {
        let upstream = Http2Upstream::start(100, async |mut peer: Peer| {
            while let Some(stream) = peer.whole_request().await {
                if peer.number > 0 {
                    peer.answer(stream).await;
                }
            }
        })
        .await;
        let door =
            door_with(upstream.address, |setting| setting.limits.upstream_first_byte_seconds = 1).await;
        assert_eq!(door.ask(GET).await.status, 504);
        assert_eq!(door.ask(GET).await.status, 200);
        assert_eq!(upstream.connections(), 2);
    });
}

#[test]
fn a_connection_without_an_answer_to_a_ping_is_closed() {
    on_door_thread(async {
        for is_alive in [true, false] {
            let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
                let stream = peer.whole_request().await.unwrap();
                // Event streams may be silent for as long as they like.
                peer.head(stream, 0, OK_EVENTS).await;
                peer.is_alive = is_alive;
                let _ = timeout(Duration::from_secs(4), peer.next()).await;
                peer.send(DATA, END_STREAM, stream, b"an event").await;
                peer.next().await;
            })
            .await;
            let door = door_with(upstream.address, |setting| {
                setting.limits.upstream_http2_ping_seconds = 1;
                setting.limits.upstream_first_byte_seconds = 1;
            })
            .await;
            let mut client = door.connect().await;
            client.send(GET).await;
            client.head().await;
            assert_eq!(client.chunk().await, if is_alive { "an event" } else { "" });
        }
    });
}

#[test]
fn idle_http2_connections_grow_old_and_are_closed() {
    on_door_thread(async {
        let (tell, mut notes) = unbounded_channel();
        let upstream = Http2Upstream::start(100, async move |mut peer: Peer| {
            while let Some(stream) = peer.whole_request().await {
                peer.answer(stream).await;
            }
            tell.send(peer.number).unwrap();
        })
        .await;
        let door = door_before(upstream.address).await;
        assert_eq!(door.ask(GET).await.status, 200);
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(66)).await;
        tokio::time::resume();
        assert_eq!(within_a_second(&mut notes).await, 0);
        assert_eq!(door.ask(GET).await.status, 200);
        assert_eq!(upstream.connections(), 2);
    });
}

#[test]
fn s68_continue_is_asked_of_the_server_and_its_word_is_passed_on() {
    on_door_thread(async {
        let upstream = Http2Upstream::start(100, async |mut peer: Peer| {
            while let Some(frame) = peer.next().await {
                assert_eq!(frame.kind, HEADERS, "the body came unasked");
                if peer.number == 0 && frame.stream == 1 {
                    peer.head(1, 0, CONTINUE).await;
                    assert_eq!(peer.next().await.unwrap().payload, b"abcd");
                }
                peer.answer(frame.stream).await;
            }
        })
        .await;
        let door = door_before(upstream.address).await;
        let (head, body) = POST.split_at(POST.len() - 4);
        let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        let mut client = door.connect().await;
        client.send(&head).await;
        assert!(client.head().await.starts_with("HTTP/1.1 100 "));
        client.send(body).await;
        assert_eq!(client.answer().await.body, "ok");
        // The second is answered without its body.
        client.send(&head).await;
        assert_eq!(client.answer().await.status, 200);
    });
}

#[test]
fn a_server_that_speaks_no_http2_is_502_and_is_shown_no_request() {
    on_door_thread(async {
        let upstream = RawUpstream::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let door = door_before(upstream.address).await;
        assert_eq!(door.ask(POST).await.status, 502);
        assert!(!upstream.seen().concat().contains("abcd"));
        assert_eq!(door.access_log(1).await[0]["reason"], "upstream_broke");
    });
}

#[test]
fn servers_that_break_http2_streams_are_ejected() {
    on_door_thread(async {
        let broken = Http2Upstream::start(100, async |mut peer: Peer| {
            while let Some(stream) = peer.whole_request().await {
                peer.reset(stream, CANCEL).await;
            }
        })
        .await;
        let sound = friendly().await;
        let door = TestDoor::before_several(&[broken.address, sound.address], |setting| {
            setting.http2 = Http2Use::Always;
        })
        .await;
        let mut failed = 0;
        for _ in 0..40 {
            failed += usize::from(door.ask(GET).await.status == 502);
        }
        assert_eq!(failed, 5);
    });
}
