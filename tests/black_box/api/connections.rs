//! Connections to the API door: kept alive, pipelined, HTTP/2, TLS; and that each request is judged by itself.

use std::sync::Arc;

use rustls::ProtocolVersion;

use crate::harness::{Authority, Key, Request, TestGateway, Wire};

fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// A client that speaks HTTP/2 over TLS, with one connection.
fn http2_client() -> reqwest::Client {
    let authority = reqwest::Certificate::from_pem(Authority::shared().certificate.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn s10_each_request_of_a_kept_alive_connection_is_judged_by_itself() {
    let (gateway, key) = gateway_with_key();
    let good = Request::get("/good").authorization(&key.authorization());
    let bad = Request::get("/bad").authorization("ApiKey wrong");
    let none = Request::get("/none");
    for mut wire in [gateway.connect("api"), gateway.connect_tls()] {
        for (request, status) in
            [(&good, 200), (&bad, 401), (&good, 200), (&none, 401), (&none, 401), (&good, 200)]
        {
            assert_eq!(wire.exchange(request).status, status);
        }
    }
    let seen = gateway.api_upstream.requests();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|request| request.line() == "GET /good HTTP/1.1"));
}

#[test]
fn s10_each_stream_of_an_http2_connection_is_judged_by_itself() {
    let (gateway, key) = gateway_with_key();
    let url = format!("https://localhost:{}", gateway.address("api-tls").port());
    let statuses = runtime().block_on(async {
        let client = http2_client();
        let ask = |target: &'static str, authorization: Option<String>| {
            let mut request = client.get(format!("{url}{target}"));
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            request.send()
        };
        let good = || Some(key.authorization());
        // The first one opens the connection that the others, which run at once, share.
        let first = ask("/good", good()).await.unwrap();
        let version = first.version();
        assert_eq!(version, reqwest::Version::HTTP_2);
        let (a, b, c, d) = tokio::join!(
            ask("/good", good()),
            ask("/bad", Some("ApiKey wrong".to_owned())),
            ask("/bad", None),
            ask("/good", good())
        );
        [first, a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()].map(|answer| answer.status().as_u16())
    });
    assert_eq!(statuses, [200, 200, 401, 401, 200]);
    let seen = gateway.api_upstream.requests();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| request.line() == "GET /good HTTP/1.1"));
}

#[test]
fn http2_requests_reach_an_http1_upstream_whole_and_their_answers_come_back_whole() {
    let (gateway, key) = gateway_with_key();
    let body = "0123456789".repeat(20_000);
    let length = body.len();
    gateway.api_upstream.answer("/", format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
    let url = format!("https://localhost:{}/v2/x?a=1&a=2", gateway.address("api-tls").port());
    let answered = runtime().block_on(async {
        let request = http2_client()
            .post(url)
            .header("authorization", key.authorization())
            .header("cookie", "a=1")
            .body(body.clone());
        let answer = request.send().await.unwrap();
        assert!(answer.headers().contains_key("x-request-id"));
        answer.text().await.unwrap()
    });
    assert_eq!(answered.len(), length);
    let seen = gateway.api_upstream.only_request();
    assert_eq!(seen.line(), "POST /v2/x?a=1&a=2 HTTP/1.1");
    let host = format!("localhost:{}", gateway.address("api-tls").port());
    assert_eq!(seen.field("host"), Some(host));
    assert_eq!(seen.field("content-length"), Some(length.to_string()));
    assert_eq!(seen.body, body.as_bytes());
    assert!(seen.field("via").is_some_and(|via| via.starts_with("2.0 ")), "{}", seen.head);
}

#[test]
fn an_http2_refusal_has_the_same_body_as_any_other() {
    let (gateway, _) = gateway_with_key();
    let url = format!("https://localhost:{}/v2/x", gateway.address("api-tls").port());
    runtime().block_on(async {
        let answer = http2_client().get(url).header("authorization", "ApiKey wrong").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        let field = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(field("content-type").as_deref(), Some("application/json"));
        assert_eq!(field("www-authenticate").as_deref(), Some("ApiKey realm=\"latchkey\""));
        let id = field("x-request-id").unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(
            (body["type"].as_str(), body["requestId"].as_str()),
            (Some("AuthenticationError"), Some(&*id))
        );
    });
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn one_connection_serves_many_requests_in_a_row() {
    let (gateway, key) = gateway_with_key();
    for mut wire in [gateway.connect("api"), gateway.connect_tls()] {
        for number in 0..50 {
            let request = Request::get(&format!("/{number}")).authorization(&key.authorization());
            assert_eq!(wire.exchange(&request).status, 200);
        }
    }
    assert_eq!(gateway.api_upstream.requests().len(), 100);
    // The upstream's connections are kept as well: one for each client connection's thread.
    let seen = gateway.api_upstream.requests();
    let opened = seen.iter().map(|request| request.connection).max();
    assert!(opened <= Some(3), "{} connections", gateway.api_upstream.connections());
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let (gateway, key) = gateway_with_key();
    gateway.api_upstream.on("/", |exchange| {
        exchange.read_body();
        let target = exchange.request.line().split(' ').nth(1).unwrap().to_owned();
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()));
    });
    let mut wire = gateway.connect("api");
    let mut bytes = Vec::new();
    for number in 0..20 {
        let authorization = if number % 5 == 4 { "ApiKey wrong".to_owned() } else { key.authorization() };
        let request = Request::new("POST", &format!("/{number}")).authorization(&authorization);
        bytes.extend_from_slice(&request.body(b"body").to_bytes());
    }
    wire.send(bytes);
    for number in 0..20 {
        let answer = wire.read_answer();
        if number % 5 == 4 {
            answer.assert_refusal(401, "AuthenticationError");
        } else {
            assert_eq!((answer.status, answer.text()), (200, format!("/{number}")));
        }
    }
    assert_eq!(gateway.api_upstream.requests().len(), 16);
}

#[test]
fn connection_close_and_http_1_0_end_the_connection_after_the_answer() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    let request = Request::get("/").authorization(&key.authorization()).field("Connection", "close");
    assert_eq!(wire.exchange(&request).status, 200);
    wire.expect_closed();
    let mut wire = gateway.connect("api");
    wire.send(format!("GET / HTTP/1.0\r\nHost: a.example\r\nAuthorization: {}\r\n\r\n", key.authorization()));
    assert_eq!(wire.read_answer().status, 200);
    wire.expect_closed();
}

#[test]
fn tls_1_2_and_1_3_are_spoken_with_forward_secrecy() {
    let (gateway, key) = gateway_with_key();
    let request = Request::get("/").authorization(&key.authorization());
    for (version, name) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = Authority::shared().client_of(&[version], &["http/1.1"]);
        let mut wire = Wire::connect_tls(gateway.address("api-tls"), config);
        assert_eq!(wire.tls().unwrap().protocol_version(), Some(name));
        let suite = format!("{:?}", wire.tls().unwrap().negotiated_cipher_suite().unwrap().suite());
        assert!(suite.starts_with("TLS13_") || suite.contains("ECDHE"), "{suite}");
        assert_eq!(wire.exchange(&request).status, 200);
        let config = Authority::shared().client_of(&[version], &[]);
        let mut session = gateway.connect("isproxy").start_tls(config);
        assert_eq!(session.ask(&key.login()), "100 Login ok");
    }
}

#[test]
fn alpn_offers_http2_and_http1_and_refuses_anything_else() {
    let (gateway, key) = gateway_with_key();
    let agreed = |protocols: &[&str]| {
        let config = Authority::shared().client(protocols);
        let wire = gateway.connect("api-tls").try_into_tls(config).ok()?;
        Some(
            wire.tls()
                .unwrap()
                .alpn_protocol()
                .map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
        )
    };
    assert_eq!(agreed(&["h2", "http/1.1"]), Some(Some("h2".to_owned())));
    assert_eq!(agreed(&["http/1.1"]), Some(Some("http/1.1".to_owned())));
    assert_eq!(agreed(&["smtp"]), None);
    // A client that says nothing is taken for one of HTTP/1.1.
    let mut wire = Wire::connect_tls(gateway.address("api-tls"), Authority::shared().client(&[]));
    assert_eq!(wire.exchange(&Request::get("/").authorization(&key.authorization())).status, 200);
}

#[test]
fn plain_http_on_a_tls_listener_gets_nowhere() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api-tls");
    wire.send(Request::get("/").authorization(&key.authorization()).to_bytes());
    let answered = wire.read_to_end();
    assert!(!answered.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answered));
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn many_connections_at_once_are_all_served() {
    let (gateway, key) = gateway_with_key();
    let gateway = Arc::new(gateway);
    let workers: Vec<_> = (0..16)
        .map(|worker| {
            let (gateway, authorization) = (Arc::clone(&gateway), key.authorization());
            std::thread::spawn(move || {
                let mut wire = gateway.connect("api");
                (0..10).all(|number| {
                    let request = Request::get(&format!("/{worker}/{number}")).authorization(&authorization);
                    wire.exchange(&request).status == 200
                })
            })
        })
        .collect();
    assert!(workers.into_iter().all(|worker| worker.join().unwrap()));
    assert_eq!(gateway.api_upstream.requests().len(), 160);
}
