//! Clients of HTTP/2 and TLS, silent ones, and draining.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::harness::{RawUpstream, TestDoor, on_door_thread};
use crate::config::TlsFiles;

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";

async fn http2_client<B>(door: &TestDoor) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(door.address).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    client
}

fn http2_request(door: &TestDoor, method: Method) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri("http://api.example/v2/x?a=1")
        .header("authorization", format!("ApiKey {}", door.api_key))
}

#[test]
fn http2_streams_are_judged_and_forwarded_one_by_one() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        let mut client = http2_client::<Empty<Bytes>>(&door).await;
        let right = client.send_request(http2_request(&door, Method::GET).body(Empty::new()).unwrap());
        let wrong = client.send_request(Request::get("http://api.example/v2/x").body(Empty::new()).unwrap());
        let (right, wrong) = tokio::join!(right, wrong);
        let right = right.unwrap();
        assert_eq!((right.status().as_u16(), wrong.unwrap().status().as_u16()), (200, 401));
        assert_eq!(right.headers()["via"], "1.1 latchkey");
        assert_eq!(right.into_body().collect().await.unwrap().to_bytes(), "ok");
        let seen = upstream.seen().concat();
        assert!(seen.starts_with("GET /v2/x?a=1 HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("host: api.example\r\n") && seen.contains("via: 2.0 latchkey\r\n"), "{seen}");
        assert!(!seen.contains("transfer-encoding"), "{seen}");
        assert_eq!(seen.matches("GET").count(), 1);
    });
}

#[test]
fn s12_http2_bodies_and_trailers_pass_and_claims_in_trailers_do_not() {
    on_door_thread(async {
        let upstream = RawUpstream::answering(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n",
        )
        .await;
        let door = TestDoor::before(&upstream).await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-check", "3".parse().unwrap());
        trailers.insert("x-auth-user", "root".parse().unwrap());
        let frames =
            [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut client = http2_client(&door).await;
        let request = http2_request(&door, Method::POST)
            .header("te", "trailers")
            .header("trailer", "x-check, x-auth-user");
        let response = client.send_request(request.body(body).unwrap()).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), "ok");
        let seen = upstream.seen().concat();
        assert!(seen.contains("3\r\nabc\r\n0\r\nx-check: 3\r\n\r\n"), "{seen}");
        assert!(!seen.contains("root"), "{seen}");
    });
}

#[test]
fn tls_clients_choose_http2_or_http1_by_alpn() {
    on_door_thread(async {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: folder.path().join("api.crt"),
            private_key: folder.path().join("api.key"),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.private_key, made.signing_key.serialize_pem()).unwrap();
        let tls = crate::net::tls_testing::server_config_of(&files, &[b"h2", b"http/1.1"]).unwrap();
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::with(upstream.address, |setting| setting.tls = Some(tls)).await;
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = || reqwest::Client::builder().tls_certs_only([root.clone()]);
        let url = format!("https://localhost:{}/v2/x", door.address.port());
        for (client, version) in [
            (client().build().unwrap(), http::Version::HTTP_2),
            (client().http1_only().build().unwrap(), http::Version::HTTP_11),
        ] {
            let request = client.get(&url).header("authorization", format!("ApiKey {}", door.api_key));
            let response = request.send().await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, version));
            assert_eq!(response.text().await.unwrap(), "ok");
        }
        assert!(upstream.seen().concat().contains("x-forwarded-proto: https\r\n"));
    });
}

/// How long a connection lives on which `text` was said.
async fn lifetime_after(door: &TestDoor, text: &str) -> u64 {
    let connected = Instant::now();
    let mut client = door.connect().await;
    client.send(text).await;
    client.rest().await;
    connected.elapsed().as_secs()
}

#[test]
fn s74_silent_and_trickling_clients_are_closed_in_time() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        assert_eq!(lifetime_after(&door, "").await, 10);
        assert_eq!(lifetime_after(&door, "PRI * HT").await, 10);
        assert_eq!(lifetime_after(&door, "GET /v2/x HTT").await, 10);
        assert_eq!(lifetime_after(&door, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, 11);
        assert_eq!(lifetime_after(&door, GET).await, 75);
        // The second head has its time from when the connection would rest: nobody saw it begin.
        assert_eq!(lifetime_after(&door, &format!("{GET}GET /v2/x HT")).await, 10);
    });
}

#[test]
fn a_connection_that_has_rested_goes_on_and_ends_with_its_client_or_when_drained() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        let mut client = door.connect().await;
        // Otherwise the kernel keeps a second piece back by a clock of its own.
        client.stream.set_nodelay(true).unwrap();
        // Whole, in two pieces, and two at once.
        let (beginning, end) = GET.split_at(30);
        for (pieces, answers) in [(&[GET][..], 1), (&[beginning, end], 1), (&[GET, GET], 2)] {
            tokio::time::sleep(Duration::from_secs(5)).await;
            for piece in pieces {
                client.send(piece).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for _ in 0..answers {
                assert_eq!(client.answer().await.status, 200);
            }
        }
        assert_eq!(upstream.seen().concat().matches("GET /v2/x").count(), 4);
        let mut other = door.connect().await;
        other.send(GET).await;
        assert_eq!(other.answer().await.status, 200);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let ended = Instant::now();
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest().await, "");
        door.drain.begin();
        assert_eq!(other.rest().await, "");
        assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    });
}

#[test]
fn s74_a_further_head_has_ten_seconds_from_its_first_byte() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        let mut client = door.connect().await;
        client.send(GET).await;
        client.answer().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let began = Instant::now();
        for _ in 0..8 {
            client.send("G").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(client.rest().await, "");
        assert_eq!(began.elapsed().as_secs(), 10);
    });
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    on_door_thread(async {
        let upstream = RawUpstream::start(async |mut session: super::harness::Session| {
            session.request().await;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
            while session.stream.write_all(&[b'x'; 1 << 12]).await.is_ok() {}
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        let mut client = door.connect().await;
        client.send(GET).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        tokio::time::resume();
        let log = door.access_log(1).await;
        assert_eq!((&log[0]["status"], &log[0]["reason"]), (&200.into(), &"client_gone".into()));
        let lasted = log[0]["duration_us"].as_u64().unwrap();
        assert!((30_000_000..32_000_000).contains(&lasted), "{lasted}");
        drop(client);
    });
}

#[test]
fn draining_ends_idle_connections_and_lets_requests_finish() {
    on_door_thread(async {
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let (go, went) = tokio::sync::watch::channel(false);
        let upstream = RawUpstream::start(async move |mut session: super::harness::Session| {
            let mut went = went.clone();
            while session.request().await.is_some() {
                ask.send(()).unwrap();
                went.wait_for(|went| *went).await.unwrap();
                session.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let door = TestDoor::before(&upstream).await;
        let (mut idle, mut busy) = (door.connect().await, door.connect().await);
        busy.send(GET).await;
        asked.recv().await.unwrap();
        door.drain.begin();
        assert_eq!(idle.stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        go.send(true).unwrap();
        let answer = busy.answer().await;
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        assert_eq!(busy.rest().await, "");
    });
}

#[test]
fn a_gentle_drain_answers_idle_connections_once_more_and_says_that_it_was_the_last_time() {
    on_door_thread(async {
        let upstream = RawUpstream::friendly().await;
        let door = TestDoor::before(&upstream).await;
        tokio::time::pause();
        // One has asked already and rests, one has not, and one never will.
        let mut clients = [door.connect().await, door.connect().await, door.connect().await];
        clients[0].send(GET).await;
        assert_eq!(clients[0].answer().await.field("connection"), None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        door.drain.begin_gently(began + Duration::from_secs(3));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let [rested, fresh, silent] = &mut clients;
        for client in [rested, fresh] {
            client.send(GET).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
            assert_eq!(client.rest().await, "");
        }
        assert_eq!(silent.rest().await, "");
        assert_eq!(began.elapsed().as_secs(), 3);
    });
}
