//! Where messages begin and end: smuggling, bodies, trailers, `Expect`, and what HTTP forbids.

use std::fmt::Write as _;

use super::harness::{RawUpstream, Session, TestDoor, on_door_thread};

/// A head with the right key, `fields` added, and whatever follows it.
fn request(line: &str, fields: &str, rest: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {{key}}\r\n{fields}\r\n{rest}")
}

/// What the door says to raw bytes until it closes, and what the upstream got.
async fn exchange(text: &str) -> (String, String) {
    let upstream = RawUpstream::friendly().await;
    let door = TestDoor::before(&upstream).await;
    let mut client = door.connect().await;
    client.send(text).await;
    (client.rest().await, upstream.seen().concat())
}

#[test]
fn s03_length_beside_chunks_never_goes_upstream() {
    on_door_thread(async {
        let te = "Transfer-Encoding: chunked\r\n";
        for fields in [format!("{te}Content-Length: 4\r\n"), format!("Content-Length: 4\r\n{te}")] {
            let smuggled = "0\r\n\r\nGET /v2/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
            let (_, seen) = exchange(&request("POST /v2/a", &fields, smuggled)).await;
            assert!(!seen.contains("content-length"), "{seen}");
            assert!(!seen.contains("smuggled"), "{seen}");
        }
    });
}

#[test]
fn s04_s05_s06_s62_s63_ambiguous_heads_are_refused() {
    on_door_thread(async {
        for fields in [
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Content-Length : 4\r\n",
            "X-Folded: a\r\n b\r\n",
            "X-Null: a\0b\r\n",
            "No colon\r\n",
            ": empty\r\n",
            "Bad Name: 1\r\n",
        ] {
            let (said, seen) = exchange(&request("POST /v2/a", fields, "abcd")).await;
            assert!(said.starts_with("HTTP/1.1 400 ") || said.is_empty(), "{fields:?}: {said}");
            assert_eq!(seen, "", "{fields:?}");
        }
    });
}

#[test]
fn s07_a_malformed_chunk_never_completes_the_upstreams_request() {
    on_door_thread(async {
        for chunks in [
            "0x4\r\nabcd\r\n0\r\n\r\n",
            "+4\r\nabcd\r\n0\r\n\r\n",
            "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
            "4\r\nabcdX\r\n0\r\n\r\n",
            "4\nabcd\n0\n\n",
        ] {
            let (said, seen) =
                exchange(&request("POST /v2/a", "Transfer-Encoding: chunked\r\n", chunks)).await;
            assert!(!said.contains(" 200 "), "{chunks:?}: {said}");
            assert!(!seen.contains("\r\n0\r\n"), "{chunks:?}: {seen}");
        }
    });
}

#[test]
fn s08_bodies_of_get_and_delete_keep_their_framing() {
    on_door_thread(async {
        for method in ["GET", "DELETE", "OPTIONS"] {
            let line = format!("{method} /v2/a");
            let upstream = RawUpstream::friendly().await;
            let door = TestDoor::before(&upstream).await;
            let mut client = door.connect().await;
            client.send(&request(&line, "Content-Length: 4\r\n", "abcd")).await;
            assert_eq!(client.answer().await.status, 200);
            client.send(&request(&line, "Transfer-Encoding: chunked\r\n", "4\r\nefgh\r\n0\r\n\r\n")).await;
            assert_eq!(client.answer().await.status, 200);
            let seen = upstream.seen().concat();
            assert!(seen.contains("content-length: 4\r\n") && seen.contains("\r\n\r\nabcd"), "{seen}");
            assert!(seen.contains("transfer-encoding: chunked\r\n"), "{seen}");
            assert!(seen.ends_with("4\r\nefgh\r\n0\r\n\r\n"), "{seen}");
        }
    });
}

#[test]
fn s09_a_refused_body_is_never_read_as_a_request() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let smuggled = request("GET /v2/smuggled", "", "");
        let refused = format!(
            "POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.replace("{key}", &door.api_key).len()
        );
        let mut client = door.connect().await;
        client.send(&refused).await;
        assert_eq!(client.answer().await.status, 401);
        client.send(&request("GET /v2/next", "", "")).await;
        assert_eq!(client.answer().await.status, 200, "a small body is read away");
        let mut client = door.connect().await;
        client.send("POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 401);
        let mut filler = String::new();
        for line in 0..4_000 {
            write!(filler, "GET /v2/smuggled{line:06} HTTP/1.1\r\n").unwrap();
        }
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, filler.as_bytes()).await;
        assert_eq!(client.rest().await, "", "a large one ends the connection");
        assert!(!upstream.seen().concat().contains("smuggled"));
    });
}

#[test]
fn s09_a_client_that_is_still_sending_gets_its_refusal() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        for _ in 0..5 {
            let mut client = door.connect().await;
            client.send("POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
            client.send(&"x".repeat(1_000_000)).await;
            assert_eq!(client.answer().await.status, 401);
        }
    });
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    on_door_thread(async {
        let upstream = RawUpstream::answering(concat!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n",
            "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\nX-Auth-User: root\r\n\r\n",
        ))
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        for _ in 0..2 {
            let fields = "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Check, X-Auth-User\r\n";
            let chunks = "3\r\nabc\r\n0\r\nX-Check: 3\r\nX-Auth-User: root\r\n\r\n";
            client.send(&request("POST /v2/a", fields, chunks)).await;
            let answer = client.answer().await;
            assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
            assert_eq!(answer.field("x-hop"), None);
            let body = answer.body.to_ascii_lowercase();
            assert!(body.contains("abc") && body.contains("de"), "{body}");
            assert!(body.ends_with("0\r\nx-sum: 5\r\n\r\n"), "{body}");
        }
        let seen = upstream.seen();
        assert_eq!(seen.len(), 1, "the connection is used again");
        assert!(seen[0].contains("te: trailers\r\n") && seen[0].contains("connection: te\r\n"), "{seen:?}");
        assert!(seen[0].to_ascii_lowercase().ends_with("0\r\nx-check: 3\r\n\r\n"), "{seen:?}");
    });
}

#[test]
fn s68_a_body_waits_for_the_upstreams_continue() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request_head().await.unwrap();
            session.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            let mut body = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut session.stream, &mut body).await.unwrap();
            assert_eq!(&body, b"abcd");
            session.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
            session.closed().await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        client.send(&request("POST /v2/a", "Expect: 100-continue\r\nContent-Length: 4\r\n", "")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 100 "));
        client.send("abcd").await;
        assert_eq!(client.answer().await.status, 201);
    });
}

#[test]
fn s68_an_early_final_answer_comes_without_continue() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: Session| {
            session.request_head().await.unwrap();
            session.say("HTTP/1.1 422 No\r\nContent-Length: 2\r\n\r\nno").await;
            session.closed().await;
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let expecting = "Expect: 100-continue\r\nContent-Length: 4\r\n";
        let answer = door.ask(&request("POST /v2/a", expecting, "")).await;
        assert_eq!((answer.status, answer.body.as_str()), (422, "no"));
        let refused = format!("POST /v2/a HTTP/1.1\r\nHost: a\r\n{expecting}\r\n");
        assert_eq!(door.ask(&refused).await.status, 401);
        let unknown = request("POST /v2/a", "Expect: more\r\nContent-Length: 4\r\n", "");
        assert_eq!(door.ask(&unknown).await.status, 417);
    });
}

#[test]
fn a_silent_old_upstream_gets_the_body_after_a_second() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        let mut client = door.connect().await;
        client.send(&request("POST /v2/a", "Expect: 100-continue\r\nContent-Length: 4\r\n", "")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 100 "));
        client.send("abcd").await;
        assert_eq!(client.answer().await.status, 200);
        assert!(upstream.seen().concat().ends_with("\r\n\r\nabcd"));
    });
}

#[test]
fn s57_s58_tunnels_and_mirrors_are_refused() {
    on_door_thread(async {
        for (line, status) in [
            ("CONNECT api.example:443", "405"),
            ("TRACE /v2/a", "405"),
            ("GET /v2/a#b", "400"),
            ("GET file:///v2/a", "400"),
            ("GET v2", "400"),
        ] {
            let (said, seen) = exchange(&request(line, "Connection: close\r\n", "")).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {said}");
            assert_eq!(seen, "", "{line}");
        }
        let upgrade = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        let (said, seen) = exchange(&request("GET /v2/a", upgrade, "")).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen}");
    });
}

#[test]
fn s59_s67_hosts_and_forwards_are_counted() {
    on_door_thread(async {
        for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a/b\r\n"] {
            let (said, seen) = exchange(&format!(
                "GET /v2/a HTTP/1.1\r\n{hosts}Connection: close\r\nAuthorization: ApiKey {{key}}\r\n\r\n"
            ))
            .await;
            assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("InvalidMessage"), "{said}");
            assert_eq!(seen, "");
        }
        let (_, seen) =
            exchange(&request("GET http://other.example/v2/a", "Connection: close\r\n", "")).await;
        assert!(
            seen.starts_with("GET /v2/a HTTP/1.1\r\n") && seen.contains("host: other.example\r\n"),
            "{seen}"
        );
        assert!(!seen.contains("api.example"), "{seen}");
        let (said, seen) =
            exchange(&request("OPTIONS /v2/a", "Max-Forwards: 0\r\nConnection: close\r\n", "")).await;
        assert!(said.starts_with("HTTP/1.1 200 ") && seen.is_empty(), "{said} {seen}");
        let (_, seen) =
            exchange(&request("OPTIONS /v2/a", "Max-Forwards: 3\r\nConnection: close\r\n", "")).await;
        assert!(seen.contains("max-forwards: 2\r\n"), "{seen}");
    });
}

#[test]
fn s64_heads_targets_and_bodies_have_limits() {
    on_door_thread(async {
        let long = format!("GET /v2/{}", "a".repeat(9_000));
        let (said, seen) = exchange(&request(&long, "Connection: close\r\n", "")).await;
        assert!(said.starts_with("HTTP/1.1 414 ") && seen.is_empty(), "{said}");
        let many: String = (0..120).fold(String::new(), |mut text, n| {
            write!(text, "X-{n}: 1\r\n").unwrap();
            text
        });
        let (said, seen) = exchange(&request("GET /v2/a", &many, "")).await;
        assert!(said.starts_with("HTTP/1.1 431 ") && seen.is_empty(), "{said}");
        let large = format!("X-Large: {}\r\n", "a".repeat(70_000));
        let (said, seen) = exchange(&request("GET /v2/a", &large, "")).await;
        assert!(said.starts_with("HTTP/1.1 431 ") && seen.is_empty(), "{said}");

        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::with(upstream.address, |setting| setting.limits.http_body_bytes = 4).await;
        assert_eq!(door.ask(&request("POST /v2/a", "Content-Length: 4\r\n", "abcd")).await.status, 200);
        assert_eq!(door.ask(&request("POST /v2/b", "Content-Length: 5\r\n", "abcde")).await.status, 413);
        let chunks = "4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n";
        assert_eq!(
            door.ask(&request("POST /v2/c", "Transfer-Encoding: chunked\r\n", chunks)).await.status,
            413
        );
        let seen = upstream.seen().concat();
        assert!(!seen.contains("/v2/b") && !seen.contains("\r\n0\r\n"), "{seen}");
    });
}
