//! What a client gets when the upstream cannot answer.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Key, Request, TestGateway};

fn gateway_with_key(limits: &serde_json::Value) -> (TestGateway, Key) {
    let gateway = TestGateway::configured(|config| {
        for (name, value) in limits.as_object().unwrap() {
            config["limits"][name] = value.clone();
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

#[test]
fn an_upstream_that_cannot_be_reached_is_502() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = TestGateway::configured(|config| {
        config["upstreams"][0]["servers"] = json!([format!("http://{address}")]);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut wire = gateway.connect("api");
    let request = Request::get("/").authorization(&key.authorization());
    for _ in 0..2 {
        wire.exchange(&request).assert_refusal(502, "ProviderConnectionError");
    }
    let line = &gateway.access_log(2)[0];
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(502), Some("upstream_unreachable")));
}

#[test]
fn s71_an_upstream_whose_answer_is_no_http_is_502() {
    let (gateway, key) = gateway_with_key(&json!({}));
    let mut wire = gateway.connect("api");
    for broken in [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon here\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        gateway.api_upstream.on("/", move |exchange| {
            exchange.read_body();
            exchange.send(broken);
            exchange.close();
        });
        let answer = wire.exchange(&Request::new("POST", "/").authorization(&key.authorization()).body(b"x"));
        assert_eq!(answer.status, 502, "{broken:?}: {answer:?}");
        answer.assert_refusal(502, "ProviderConnectionError");
    }
    // S73: none of them was sent a second time.
    assert_eq!(gateway.api_upstream.requests().len(), 11);
}

#[test]
fn s71_a_truncated_body_is_never_shown_as_whole() {
    let (gateway, key) = gateway_with_key(&json!({}));
    for (target, bytes) in [
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
        ("/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
        ("/within", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nonly this"),
        ("/size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n\r\n"),
    ] {
        gateway.api_upstream.on(target, move |exchange| {
            exchange.read_body();
            exchange.send(bytes);
            exchange.close();
        });
        let mut wire = gateway.connect("api");
        wire.send(Request::get(target).authorization(&key.authorization()).to_bytes());
        // The connection ends: within the body, or before the head was on its way.
        let came = String::from_utf8(wire.read_to_end()).unwrap();
        assert!(
            came.is_empty() || came.starts_with("HTTP/1.1 200 ") || came.starts_with("HTTP/1.1 502 "),
            "{came}"
        );
        let body = came.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let whole = body.ends_with("0\r\n\r\n") || (target == "/length" && body.len() >= 100);
        assert!(!whole || came.starts_with("HTTP/1.1 502 "), "{target}: {came}");
    }
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
}

#[test]
fn s71_bytes_behind_an_answer_are_never_the_next_answer() {
    let (gateway, key) = gateway_with_key(&json!({}));
    gateway.api_upstream.answer(
        "/surplus",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    );
    let mut wire = gateway.connect("api");
    for _ in 0..5 {
        let answer = wire.exchange(&Request::get("/surplus").authorization(&key.authorization()));
        assert_eq!(answer.text(), "ok");
        let answer = wire.exchange(&Request::get("/other").authorization(&key.authorization()));
        assert_eq!(answer.text(), "{\"ok\":true}", "{answer:?}");
    }
}

#[test]
fn s72_an_upstream_that_does_not_answer_in_time_is_504() {
    let (gateway, key) = gateway_with_key(&json!({ "upstream_first_byte_seconds": 1 }));
    gateway.api_upstream.on("/slow", |exchange| {
        exchange.read_body();
        exchange.wait_for_close();
    });
    let mut wire = gateway.connect("api");
    let slow = Request::get("/slow").authorization(&key.authorization());
    wire.exchange(&slow).assert_refusal(504, "ProviderConnectionError");
    assert_eq!(wire.exchange(&Request::get("/").authorization(&key.authorization())).status, 200);
    assert_eq!(gateway.api_upstream.requests().len(), 2);
}

#[test]
fn a_full_password_queue_is_503_with_retry_after_and_keys_go_on() {
    let (gateway, key) = gateway_with_key(&json!({ "password_queue": 1 }));
    gateway.create_user("acme/alex");
    // More logins at once than can be hashed or wait, each with another password, so that none is remembered.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut wires: Vec<_> = (0..40 + 2 * cores).map(|_| gateway.connect("api")).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        let authorization = crate::harness::basic("acme/alex", &format!("wrong password {number}"));
        wire.send(Request::get("/").authorization(&authorization).to_bytes());
    }
    assert_eq!(gateway.api_get("/key", &key.authorization()).status, 200);
    let answers: Vec<_> = wires.iter_mut().map(crate::harness::Wire::read_answer).collect();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty(), "no login was turned away");
    for answer in &busy {
        answer.assert_refusal(503, "ProviderUnavailable");
        assert!(
            answer.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()),
            "{answer:?}"
        );
    }
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 503)));
    assert_eq!(gateway.api_upstream.only_request().line(), "GET /key HTTP/1.1");
}

#[test]
fn too_many_failures_of_an_address_are_429_and_never_refuse_a_valid_key() {
    let (gateway, key) = gateway_with_key(&json!({ "failed_credentials_per_address": 10 }));
    let mut wire = gateway.connect("api");
    let wrong = Request::get("/").authorization("ApiKey wrong");
    let statuses: Vec<u16> = (0..12).map(|_| wire.exchange(&wrong).status).collect();
    assert_eq!(statuses[..10], [401; 10], "{statuses:?}");
    let refused = wire.exchange(&wrong);
    refused.assert_refusal(429, "AuthenticationRatelimitedError");
    assert!(
        refused.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()),
        "{refused:?}"
    );
    assert_eq!(wire.exchange(&Request::get("/").authorization(&key.authorization())).status, 200);
    assert_eq!(gateway.api_upstream.requests().len(), 1);
}
