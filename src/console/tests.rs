//! The console's server from outside: what every answer has, what is refused, and what ends whose connection.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::test_console::{OWN, Served, URL, config, read_all, seconds_until_closed, serve, serve_with};
use crate::config::Limits;
use crate::telemetry::AccessLog;

/// The value of a field of an answer's head.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

#[tokio::test]
async fn s86_every_answer_tells_the_browser_what_to_keep_to() {
    let served = serve_with(", allow_list: [127.0.0.1]", "").await;
    let large = format!("POST /length HTTP/1.1\r\n{OWN}Content-Length: 70000\r\n");
    let answers = [
        ("404", served.get("/").await),
        ("404", served.get("/nowhere").await),
        ("404", served.ask("HEAD / HTTP/1.1\r\nHost: console.example\r\n", "").await),
        ("200", served.get("/client").await),
        ("200", served.get("/assets/app.css").await),
        ("308", served.ask("GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1\r\n", "").await),
        ("421", served.ask("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n", "").await),
        (
            "403",
            served.ask("POST /length HTTP/1.1\r\nHost: console.example\r\nContent-Length: 0\r\n", "").await,
        ),
        ("405", served.ask(&format!("POST /client HTTP/1.1\r\n{OWN}Content-Length: 0\r\n"), "").await),
        ("413", served.ask(&large, &"x".repeat(70_000)).await),
        ("414", served.get(&format!("/{}", "x".repeat(9_000))).await),
        ("500", served.get("/panic").await),
    ];
    for (expected, answer) in &answers {
        assert_eq!(status(answer), *expected, "{answer}");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                 form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(field(answer, name), Some(value), "{name}: {answer}");
        }
        assert_eq!(field(answer, "x-request-id").map(str::len), Some(16), "{answer}");
        let is_asset = answer.contains("immutable");
        assert_eq!(field(answer, "cache-control") == Some("no-store"), !is_asset, "{answer}");
    }
    assert_eq!(answers.iter().filter(|(_, answer)| answer.contains("immutable")).count(), 1);
    let (_, moved) = &answers[5];
    assert_eq!(field(moved, "location"), Some("https://console.example/a?b=c"));
    let (_, broken) = &answers[11];
    assert!(broken.contains(field(broken, "x-request-id").unwrap()) && !broken.contains("a page that"));
}

#[tokio::test]
async fn what_is_refused_before_any_route_is_json_for_the_management_api() {
    let served = serve_with("", "").await;
    let post = |fields: &str| format!("POST /api/v1/users HTTP/1.1\r\n{fields}");
    for (expected, kind, answer) in [
        (
            "413",
            "InvalidMessage",
            served.ask(&post(&format!("{OWN}Content-Length: 70000\r\n")), &"x".repeat(70_000)).await,
        ),
        ("403", "AuthorizationError", served.ask(&post("Host: console.example\r\n"), "").await),
        ("421", "InvalidMessage", served.ask(&post("Host: 127.0.0.1\r\n"), "").await),
    ] {
        assert_eq!((status(&answer), field(&answer, "content-type")), (expected, Some("application/json")));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let told: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(told["type"], kind, "{body}");
        assert_eq!(told["requestId"].as_str(), field(&answer, "x-request-id"));
        assert!(told["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    }
    let moved = served.ask("GET /api/v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\n", "").await;
    assert_eq!((status(&moved), field(&moved, "content-type")), ("308", Some("text/plain; charset=utf-8")));
}

#[tokio::test]
async fn a_body_is_taken_up_to_its_bound_however_it_is_framed() {
    let served = serve_with("", "").await;
    let post = |rest: &str| format!("POST /length HTTP/1.1\r\n{OWN}{rest}\r\n");
    let exact = served.ask(&post("Content-Length: 65536"), &"x".repeat(65_536)).await;
    assert!(exact.ends_with("65536 bytes"), "{exact}");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let chunked = post("Transfer-Encoding: chunked");
    let exact = served.ask(&chunked, &format!("{}0\r\n\r\n", chunk.repeat(4))).await;
    assert!(exact.ends_with("65536 bytes"), "{exact}");
    let beyond = served.ask(&chunked, &format!("{}1\r\nx\r\n0\r\n\r\n", chunk.repeat(4))).await;
    assert_eq!(status(&beyond), "413", "{beyond}");
    let waits = served.ask(&post("Content-Length: 65537\r\nExpect: 100-continue"), "").await;
    assert_eq!(status(&waits), "413", "nothing needs to be sent: {waits}");
}

#[tokio::test]
async fn clients_that_say_nothing_or_speak_slowly_are_closed() {
    let served = serve_with("", "").await;
    assert_eq!(seconds_until_closed(&mut served.connect().await).await, 10, "says nothing");
    for beginning in ["GET", "GET / HTTP/1.1\r\nHost: console.example\r\nX: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n"]
    {
        let mut slow = served.connect().await;
        slow.write_all(beginning.as_bytes()).await.unwrap();
        let took = seconds_until_closed(&mut slow).await;
        assert!((10..=11).contains(&took), "{beginning}: {took}");
    }
    let mut kept = served.connect().await;
    kept.write_all(b"GET /client HTTP/1.1\r\nHost: console.example\r\n\r\n").await.unwrap();
    read_until(&mut kept, "127.0.0.1").await;
    assert_eq!(seconds_until_closed(&mut kept).await, 75, "an idle one may stay for a while");
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).ends_with(end) {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let served = serve_with("", "").await;
    for (head, expected) in [
        ("GET /wait HTTP/1.1\r\nHost: console.example\r\n", "503"),
        (&format!("POST /length HTTP/1.1\r\n{OWN}Content-Length: 5\r\n"), "503"),
    ] {
        let mut stream = served.connect().await;
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let answer = read_all(&mut stream).await;
        assert_eq!(status(&answer), expected, "{head}: {answer}");
        assert_eq!(began.elapsed().as_secs(), 30, "{head}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn s105_lists_apply_to_each_request_and_to_the_client_behind_a_trusted_proxy() {
    let served =
        serve_with(", trusted_proxies: [127.0.0.1], allow_list: [192.0.2.0/24, 127.0.0.1]", "").await;
    let from = |forwarded: &str| {
        format!("GET /client HTTP/1.1\r\nHost: console.example\r\nX-Forwarded-For: {forwarded}\r\n")
    };
    assert!(served.ask(&from("192.0.2.7"), "").await.ends_with("\r\n\r\n192.0.2.7"));
    assert_eq!(status(&served.ask(&from("192.0.2.7, 198.51.100.1"), "").await), "403");
    assert_eq!(status(&served.ask(&from("nonsense"), "").await), "400");
    assert!(served.get("/client").await.ends_with("\r\n\r\n127.0.0.1"));
    let stranger = serve_with("", "").await;
    assert!(stranger.ask(&from("192.0.2.7"), "").await.ends_with("\r\n\r\n127.0.0.1"), "nobody is believed");
}

#[tokio::test]
async fn s15_a_proxy_header_tells_the_client() {
    let served = serve_with(", trusted_proxies: [127.0.0.1], proxy_protocol: accept", "").await;
    let announced = "PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\nGET /client HTTP/1.1\r\nHost: console.example\r\n";
    assert!(served.ask(announced, "").await.ends_with("\r\n\r\n192.0.2.7"));
    assert_eq!(served.get("/client").await, "", "one without a header is closed");
}

#[tokio::test]
async fn a_reload_counts_for_the_next_request_of_an_open_connection() {
    let served = serve_with("", "").await;
    let mut kept = served.connect().await;
    let asks = b"GET /client HTTP/1.1\r\nHost: console.example\r\n\r\n";
    kept.write_all(asks).await.unwrap();
    read_until(&mut kept, "127.0.0.1").await;
    let mut settings = served.door.present().as_ref().clone();
    settings.listener.allow_list = "192.0.2.0/24".parse().unwrap();
    served.door.replace(settings);
    kept.write_all(asks).await.unwrap();
    assert_eq!(status(&read_until(&mut kept, "address.\n").await), "403");
    let limits = Limits { console_body_bytes: 1_024, ..Limits::default() };
    served.state.reconfigure(limits.into());
    assert_eq!(served.state.limits().console_body_bytes, 1_024);
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let served = serve_with("", "limits: { console_connections_per_address: 1 }\n").await;
    let mut first = served.connect().await;
    first.write_all(b"GET /client HTTP/1.1\r\nHost: console.example\r\n\r\n").await.unwrap();
    read_until(&mut first, "127.0.0.1").await;
    assert_eq!(read_all(&mut served.connect().await).await, "");
}

#[tokio::test]
async fn a_stop_lets_a_request_finish_and_ends_what_is_idle() {
    let served = serve_with("", "").await;
    let mut idle = served.connect().await;
    let mut busy = served.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: console.example\r\n\r\n").await.unwrap();
    // A further request's answer shows that both connections were accepted before it.
    served.get("/client").await;
    served.stop.begin();
    assert_eq!(read_all(&mut idle).await, "");
    served.go_on.notify_one();
    let answer = read_all(&mut busy).await;
    assert!(answer.ends_with("done"), "{answer}");
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn s102_a_line_a_request_is_written_without_links_and_queries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let served = serve(config(URL, "", "", Path::new("")), AccessLog::open(&path).unwrap()).await;
    let token = "t0k3n".repeat(8);
    let welcomed = served.get(&format!("/welcome/{token}?next=hunter2")).await;
    served.get("/nowhere").await;
    let metrics = served.state.metrics().render();
    served.end().await;
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(!written.contains("t0k3n") && !written.contains("hunter2"), "{written}");
    let lines: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second] = &lines[..] else { panic!("{written}") };
    assert_eq!((&first["service"], &first["listener"]), (&"console".into(), &"console".into()));
    assert_eq!((&first["target"], &first["status"]), (&"/welcome/***".into(), &200.into()));
    assert_eq!(first["request_id"].as_str(), field(&welcomed, "x-request-id"));
    assert_eq!((&first["response_bytes"], &first["reason"]), (&7.into(), &serde_json::Value::Null));
    assert_eq!((&second["reason"], &second["status"]), (&"not_found".into(), &404.into()));
    assert!(metrics.contains("latchkey_answers_total{door=\"console\",status=\"4xx\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_behind_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("c.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("c.key"), made.signing_key.serialize_pem()).unwrap();
    let keys = ", tls: { certificate: c.crt, private_key: c.key }";
    // The port is known only when it listens, so that the name in `Host` is given by hand.
    let served = serve(config(URL, keys, "", folder.path()), AccessLog::off()).await;
    let client = |builder: reqwest::ClientBuilder| {
        let authority = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let builder = builder.tls_certs_only([authority]).redirect(reqwest::redirect::Policy::none());
        builder.resolve("localhost", served.address).build().unwrap()
    };
    let url = format!("https://localhost:{}/client", served.address.port());
    for (client, version) in [
        (client(reqwest::Client::builder()), http::Version::HTTP_2),
        (client(reqwest::Client::builder().http1_only()), http::Version::HTTP_11),
    ] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (version, 308));
        assert_eq!(answer.headers()["location"], "https://console.example/client");
    }
    let mut silent: Served = served;
    let mut stream = silent.connect().await;
    assert_eq!(seconds_until_closed(&mut stream).await, 10, "a handshake has its time");
    silent.stop.begin();
    (&mut silent.task).await.unwrap();
}
