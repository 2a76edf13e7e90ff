//! The fast path and hyper, side by side: what one upstream gets and what one client gets is the same by both; and what of a
//! connection goes from one to the other. A request with another one behind it is hyper's.

use std::time::Duration;

use tokio::time::Instant;

use super::harness::{Answer, Client, RawUpstream, Session, TestDoor, on_door_thread};
use crate::config::Limits;
use crate::gateway::http::fast_path::{PlainRequest, no_fields};

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";

fn is_plain(request: &str) -> bool {
    PlainRequest::read(request.as_bytes(), &mut no_fields(), &Limits::default()).is_some()
}

/// `GET` with further lines in its head.
fn get_with(lines: &str) -> String {
    format!("GET /v2/x?a=b%20c HTTP/1.1\r\nHost: api.example\r\n{lines}Authorization: ApiKey {{key}}\r\n\r\n")
}

/// The lines of a head, in order of their letters, but for those that differ from answer to answer.
fn lines(head: &str) -> Vec<&str> {
    let differs = |line: &&str| ["x-request-id: ", "date: "].iter().any(|name| line.starts_with(name));
    let mut lines: Vec<&str> = head.lines().filter(|line| !differs(line)).collect();
    lines.sort_unstable();
    lines
}

/// The answer to `request` alone, and to the same with another one behind it.
async fn by_both(door: &TestDoor, request: &str) -> [Answer; 2] {
    let (mut alone, mut followed) = (door.connect().await, door.connect().await);
    alone.send(request).await;
    followed.send(&format!("{request}{GET}")).await;
    [alone.answer().await, followed.answer().await]
}

/// Answers each request with what was got of it.
async fn mirror() -> RawUpstream {
    RawUpstream::start(async |mut session: Session| {
        while let Some(request) = session.request().await {
            let length = request.len();
            session.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{request}")).await;
        }
    })
    .await
}

#[test]
fn an_upstream_gets_the_same_of_a_plain_request_by_either_way() {
    on_door_thread(async {
        let upstream = mirror().await;
        let door = TestDoor::before(&upstream).await;
        for field in [
            "",
            "Accept: application/json\r\nUSER-AGENT: Test/1.0\r\nX-Many: a\r\nx-many: b\r\n",
            "Connection: keep-alive\r\n",
            "Cookie: theirs=1; other=2\r\n",
            "X-Auth-User: forged\r\nx_auth_customer: forged\r\nX-Auth-Anything: forged\r\n",
            "X-Forwarded-For: 203.0.113.9\r\nX_Forwarded_Host: forged\r\nForwarded: for=1\r\nx-real_ip: 1\r\n",
            "X-Request-Id: forged\r\nVia: 1.1 other\r\nTraceparent: 00-1-2-03\r\nMax-Forwards: 3\r\n",
            "Content_Length: 3\r\nTransfer_Encoding: chunked\r\n",
            "Empty:\r\nBlank:  \t \r\nX-Text: \tb\u{e9}\t\r\n",
        ] {
            let request = get_with(field);
            assert!(is_plain(&request), "{request}");
            let [fast, hypers] = by_both(&door, &request).await;
            assert_eq!(fast.status, 200, "{request}");
            assert_eq!(lines(&fast.body), lines(&hypers.body), "{request}");
            assert_eq!(fast.body.lines().next(), Some("GET /v2/x?a=b%20c HTTP/1.1"));
            assert!(!fast.body.contains("forged") && !fast.body.contains("ApiKey"), "{}", fast.body);
        }
    });
}

#[test]
fn what_is_not_plain_is_left_to_hyper() {
    let special = [
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "TE: trailers",
        "Trailer: X-Sum",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Connection: close",
        "Connection: keep-alive, X-Hop",
        "connection: te",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "Proxy-Authenticate: Basic",
        "Proxy-Authentication-Info: x",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Alt-Used: other.example",
        "Cookie: __Host-latchkey-session=x",
        "X.Mark: 1",
        "X'Mark: 1",
        "Host: api.example",
        "Authorization: ApiKey other",
    ];
    for field in special {
        assert!(!is_plain(&get_with(&format!("{field}\r\n"))), "{field}");
    }
    let plain = get_with("");
    assert!(is_plain(&plain));
    for (part, other) in [
        ("GET", "POST"),
        ("GET", "HEAD"),
        ("GET", "OPTIONS"),
        ("GET", "get"),
        ("/v2/x?a", "http://api.example/v2/x?a"),
        ("/v2/x?a", "v2/x?a"),
        ("/v2/x?a", "/v2/#x?a"),
        ("/v2/x?a", "/v2/\"x?a"),
        ("/v2/x?a", "/v2/\u{e9}?a"),
        ("/v2/x?a", "/v2/session?a"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("api.example", "user@api.example"),
        ("api.example", ""),
        ("Host: api.example\r\n", ""),
        ("\r\n\r\n", "\r\n"),
        ("\r\n\r\n", "\n\n"),
        ("\r\n\r\n", "\r\n\r\nGET"),
        ("\r\n\r\n", "\r\n folded\r\n\r\n"),
        ("\r\n\r\n", "\r\nNo Field\r\n\r\n"),
    ] {
        let changed = plain.replacen(part, other, 1);
        assert_ne!(changed, plain, "{part}");
        assert!(!is_plain(&changed), "{changed}");
    }
    let fields = |count: usize| get_with(&"X-Many: 1\r\n".repeat(count));
    assert!(is_plain(&fields(30)) && !is_plain(&fields(31)));
    let head =
        |length: usize| get_with(&format!("X-Long: {}\r\n", "v".repeat(length - get_with("").len() - 10)));
    assert!(is_plain(&head(4_096)) && !is_plain(&head(4_097)));
}

#[test]
fn a_client_gets_the_same_answer_by_either_way() {
    on_door_thread(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 Alright then\r\nDate: Mon, 30 Nov 2026 08:00:00 GMT\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nVia: 1.1 other\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nSet-Cookie: theirs=1\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nSet-Cookie: __Host-latchkey-session=x; Path=/\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: gzip\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 700 What\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
            "SMTP",
        ] {
            let upstream = RawUpstream::answering(answer).await;
            let door = TestDoor::before(&upstream).await;
            let [fast, hypers] = by_both(&door, GET).await;
            assert_eq!((fast.status, lines(&fast.head)), (hypers.status, lines(&hypers.head)), "{answer}");
            let own = fast.status == 502;
            assert!(own || fast.body == hypers.body, "{answer}: {} {}", fast.body, hypers.body);
            assert!(fast.field("date").is_some() && fast.field("x-request-id").is_some(), "{answer}");
            assert_ne!(fast.field("x-request-id"), Some("theirs"));
        }
    });
}

#[test]
fn an_answer_that_is_not_plain_hands_the_connection_to_hyper_and_what_came_behind_the_request_too() {
    on_door_thread(async {
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let (go, went) = tokio::sync::watch::channel(false);
        let upstream = RawUpstream::start(async move |mut session: Session| {
            let mut went = went.clone();
            while let Some(request) = session.request().await {
                ask.send(()).unwrap();
                went.wait_for(|went| *went).await.unwrap();
                let chunked = request.starts_with("GET /v2/chunked ");
                session
                    .say(if chunked {
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                    } else {
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                    })
                    .await;
            }
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        for path in ["/v2/chunked", "/v2/plain"] {
            go.send(false).unwrap();
            let mut client = door.connect().await;
            client.send(&GET.replace("/v2/x", path)).await;
            asked.recv().await.unwrap();
            // Behind the first, before its answer.
            client.send(GET).await;
            tokio::task::yield_now().await;
            go.send(true).unwrap();
            let (first, second) = (client.answer().await, client.answer().await);
            assert_eq!((first.status, second.status), (200, 200), "{path}");
            assert_eq!(first.field("transfer-encoding").is_some(), path == "/v2/chunked");
            assert_eq!(second.body, "ok");
            asked.recv().await.unwrap();
            // And it goes on.
            client.send(GET).await;
            assert_eq!(client.answer().await.body, "ok");
            asked.recv().await.unwrap();
        }
        let log = door.access_log(6).await;
        assert_eq!(log.len(), 6);
        assert!(log.iter().all(|line| line["status"] == 200 && line["reason"].is_null()), "{log:?}");
    });
}

#[test]
fn a_refusal_is_the_same_by_either_way() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        for request in [
            GET.replace("{key}", "none"),
            GET.replace("{key}", "lk_0000000000000000000000000000000000000000000"),
            GET.replace("/v2/x", "/other"),
        ] {
            assert!(is_plain(&request));
            let [fast, hypers] = by_both(&door, &request).await;
            assert_eq!((fast.status, lines(&fast.head)), (hypers.status, lines(&hypers.head)), "{request}");
            // A password is refused by hyper's way only: the order of the fields must not tell what was refused (S38).
            let names = |head: &'_ str| -> Vec<_> {
                head.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
            };
            assert_eq!(names(&fast.head), names(&hypers.head), "{request}");
            assert_eq!(fast.json()["message"], hypers.json()["message"]);
            assert_eq!(fast.json()["requestId"].as_str(), fast.field("x-request-id"));
        }
    });
}

#[test]
fn s74_a_head_that_comes_in_parts_has_its_time_and_its_fragment_is_seen() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::with(upstream.address, |setting| setting.limits.http_header_seconds = 1).await;
        let mut client: Client = door.connect().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(&GET.replace("/v2/x", "/v2/x#a")).await;
        assert_eq!(client.answer().await.status, 400);
        let mut client = door.connect().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
        client.send("GET /v2/x HT").await;
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_client_that_was_not_told_that_an_answer_was_the_last_is_answered_once_more() {
    on_door_thread(async {
        let (go, went) = tokio::sync::watch::channel(false);
        let upstream = RawUpstream::start(async move |mut session: Session| {
            let mut went = went.clone();
            while session.request().await.is_some() {
                session.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").await;
                went.wait_for(|went| *went).await.unwrap();
                session.say("ok").await;
            }
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut client = door.connect().await;
        client.send(GET).await;
        assert!(!client.head().await.contains("connection"));
        // From here on the next answer is the last, and says so.
        door.drain.begin_gently(Instant::now() + Duration::from_mins(1));
        go.send(true).unwrap();
        let mut body = [0; 4];
        client.fill(&mut body).await;
        assert_eq!(&body, b"okok");
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        assert_eq!(client.rest().await, "");
    });
}
