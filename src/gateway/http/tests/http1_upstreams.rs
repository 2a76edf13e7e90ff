//! What an upstream that speaks HTTP/1.1 can do with one connection: in pieces, early, at once, wrongly; and when that
//! connection may be used again.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{RawUpstream, Session, TestDoor, on_door_thread};

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";
const HEAD: &str = "HEAD /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";

/// A request with the head of a body of `length` bytes.
fn post(length: usize) -> String {
    format!(
        "POST /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {{key}}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// What chunks of less than ten bytes hold together.
fn chunks(body: &str) -> String {
    let parts = body.split("\r\n").collect::<Vec<_>>();
    parts
        .chunks(2)
        .take_while(|part| part.first() != Some(&"0"))
        .filter_map(|part| part.get(1))
        .copied()
        .collect()
}

#[test]
fn s71_answers_that_break_the_grammar_are_502_and_their_connection_is_not_used_again() {
    on_door_thread(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 2\r\n\r\nok",
            "HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
            "<html>\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2x0 OK\r\n\r\n",
        ] {
            let upstream = RawUpstream::answering(answer).await;
            let door = TestDoor::before(&upstream).await;
            for _ in 0..2 {
                let said = door.ask(GET).await;
                assert_eq!(
                    (said.status, &said.json()["type"]),
                    (502, &"ProviderConnectionError".into()),
                    "{answer:?}"
                );
            }
            assert_eq!(upstream.seen().len(), 2, "{answer:?}");
        }
    });
}

#[test]
fn s71_a_head_without_an_end_is_502_before_it_takes_much_memory() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            session.say("HTTP/1.1 200 OK\r\n").await;
            while session.stream.write_all(b"X-Filler: abcdefghijklmnopqrstuvwxyz\r\n").await.is_ok() {}
        })
        .await;
        assert_eq!(TestDoor::before(&upstream).await.ask(GET).await.status, 502);
    });
}

#[test]
fn s71_chunks_that_break_the_grammar_never_end_an_answer() {
    on_door_thread(async {
        for body in [
            "4\nabcd\n0\n\n",
            "4\r\nabcde\r\n0\r\n\r\n",
            "+4\r\nabcd\r\n0\r\n\r\n",
            "0x4\r\nabcd\r\n0\r\n\r\n",
            "4 4\r\nabcd\r\n0\r\n\r\n",
            "10000000000000004\r\nabcd\r\n0\r\n\r\n",
            "4\r\nabcd\r\n0\r\nno field\r\n\r\n",
            "4\r\nabcd\r\n0\r\nX: a\r\n folded\r\n\r\n",
            "4\r\nabcd\r\n0\r\nX: a\0b\r\n\r\n",
            "4;\0\r\nabcd\r\n0\r\n\r\n",
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request().await;
                session.say(&answer).await;
                session.closed().await;
            })
            .await;
            let door = TestDoor::before(&upstream).await;
            let mut client = door.connect().await;
            client.send(GET).await;
            let said = client.rest().await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 200 "), "{body:?}: {said}");
            assert!(!said.contains("\r\n0\r\n"), "{body:?}: {said}");
            assert_eq!(door.upstream.idle_connections(), 0, "{body:?}");
            assert_eq!(door.access_log(1).await[0]["reason"], "upstream_broke", "{body:?}");
        }
    });
}

#[test]
fn s71_surplus_bytes_close_the_connection_whichever_way_the_answer_ends() {
    on_door_thread(async {
        for (request, answer) in [
            (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
            (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"),
            (HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        ] {
            for surplus in ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "\r\n", "x"] {
                let answer = format!("{answer}{surplus}");
                let upstream = RawUpstream::start(async move |mut session: Session| {
                    while session.request().await.is_some() {
                        session.say(&answer).await;
                    }
                })
                .await;
                let door = TestDoor::before(&upstream).await;
                for _ in 0..2 {
                    let mut client = door.connect().await;
                    client.send(&request.replace("Host", "Connection: close\r\nHost")).await;
                    let said = client.rest().await;
                    assert!(said.starts_with("HTTP/1.1 ") && !said.contains("evil"), "{said}");
                }
                assert_eq!(upstream.seen().len(), 2, "{surplus:?}");
            }
        }
    });
}

#[test]
fn a_connection_is_used_again_only_where_the_server_keeps_it() {
    on_door_thread(async {
        for (answer, is_kept) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", true),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                true,
            ),
        ] {
            let upstream = RawUpstream::answering(answer).await;
            let door = TestDoor::before(&upstream).await;
            for _ in 0..3 {
                let said = door.ask(GET).await;
                assert_eq!(said.status, 200, "{answer:?}");
                assert_eq!(said.body, "ok", "{answer:?}");
                assert!(said.field("link").is_none(), "{said:?}");
            }
            assert_eq!(upstream.seen().len(), if is_kept { 1 } else { 3 }, "{answer:?}");
        }
    });
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    on_door_thread(async {
        for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Fine\r\nConnection: keep-alive\r\n\r\n"] {
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request().await;
                session.say(head).await;
                session.say("all of").await;
                session.say(" it").await;
            })
            .await;
            let said = TestDoor::before(&upstream).await.ask(GET).await;
            assert_eq!((said.status, chunks(&said.body).as_str()), (200, "all of it"));
        }
    });
}

#[test]
fn the_servers_own_reason_passes() {
    on_door_thread(async {
        let upstream = RawUpstream::answering("HTTP/1.1 200 Fine by me\r\nContent-Length: 0\r\n\r\n").await;
        let said = TestDoor::before(&upstream).await.ask(GET).await;
        assert!(said.head.starts_with("HTTP/1.1 200 Fine by me\r\n"), "{said:?}");
    });
}

#[test]
fn an_answer_may_come_byte_by_byte() {
    on_door_thread(async {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                      3;x=y\r\nall\r\n1\r\n!\r\n0\r\nX-Sum: 4\r\n\r\n";
        let upstream = RawUpstream::start(async move |mut session: Session| {
            session.stream.set_nodelay(true).unwrap();
            while session.request().await.is_some() {
                for byte in answer.as_bytes() {
                    session.stream.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        for _ in 0..2 {
            client.send(&GET.replace("Host", "TE: trailers\r\nHost")).await;
            let said = client.answer().await;
            assert_eq!(chunks(&said.body), "all!");
            assert!(said.body.ends_with("\r\n0\r\nx-sum: 4\r\n\r\n"), "{said:?}");
        }
        assert_eq!(upstream.seen().len(), 1);
    });
}

#[test]
fn an_early_answer_passes_while_the_body_goes_up_and_its_connection_is_not_used_again() {
    on_door_thread(async {
        // The second server closes with bytes unread, so that the kernel resets the connection: what goes up fails, and
        // what came down stays.
        for closes in [false, true] {
            let upstream = RawUpstream::start(async move |mut session: Session| {
                session.request_head().await;
                session.say("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\n\r\nlong").await;
                if !closes {
                    session.closed().await;
                }
            })
            .await;
            let door = TestDoor::before(&upstream).await;
            let mut client = door.connect().await;
            client.send(&format!("{}{}", post(1_000_000), "x".repeat(200_000))).await;
            let said = client.answer().await;
            assert_eq!((said.status, said.body.as_str()), (413, "long"));
            assert_eq!(door.upstream.idle_connections(), 0);
        }
    });
}

#[test]
fn both_directions_flow_at_once_without_a_bound_on_either() {
    on_door_thread(async {
        const BYTES: usize = 4_000_000;
        // Echoes what comes, part by part: whoever waits for the end of one direction first would wait for ever.
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request_head().await;
            session.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n")).await;
            let (mut reading, mut writing) = session.stream.split();
            let mut part = vec![0; 50_000];
            let mut left = BYTES;
            while left > 0 {
                let count = reading.read(&mut part).await.unwrap();
                left -= count;
                writing.write_all(part.get(..count).unwrap()).await.unwrap();
            }
            session.closed().await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        client.send(&post(BYTES)).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        let (mut reading, mut writing) = client.stream.split();
        let body: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
        let mut echoed = vec![0; BYTES];
        let (sent, received) = tokio::join!(writing.write_all(&body), reading.read_exact(&mut echoed));
        sent.unwrap();
        received.unwrap();
        assert!(echoed == body);
    });
}

#[test]
fn a_request_has_one_framing_and_it_is_the_gateways() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        client.send(&format!("{}abcd", post(4))).await;
        assert_eq!(client.answer().await.status, 200);
        client
            .send(
                "POST /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\nTransfer-Encoding: chunked\r\n\
                 \r\n2;x\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
            )
            .await;
        assert_eq!(client.answer().await.status, 200);
        let seen = upstream.seen().concat();
        let heads: Vec<&str> = seen.split("POST /v2/x HTTP/1.1\r\n").skip(1).collect();
        let [by_length, by_chunks] = heads.as_slice() else { panic!("{seen}") };
        assert_eq!(by_length.matches("content-length: 4\r\n").count(), 1, "{seen}");
        assert!(!by_length.contains("transfer-encoding") && by_length.ends_with("\r\n\r\nabcd"), "{seen}");
        assert_eq!(by_chunks.matches("transfer-encoding: chunked\r\n").count(), 1, "{seen}");
        assert!(!by_chunks.contains("content-length") && by_chunks.ends_with("0\r\n\r\n"), "{seen}");
    });
}
