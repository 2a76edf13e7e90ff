//! What the API door refuses, and that nothing of it reaches the upstream.

use std::io::Write;

use crate::harness::{Answer, Authority, Key, PASSWORD, Request, TestGateway, basic};

/// A customer with a key, and one more with a password.
fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    gateway.create_user("acme/alex");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

/// Nothing but what `gateway.api_get` now sends may ever have reached the upstream.
#[track_caller]
fn assert_nothing_was_forwarded(gateway: &TestGateway, key: &Key) {
    assert_eq!(gateway.api_upstream.requests().len(), 0, "{:?}", gateway.api_upstream.requests());
    assert_eq!(gateway.api_get("/the-only-one", &key.authorization()).status, 200);
    let only = gateway.api_upstream.only_request();
    assert_eq!(only.line(), "GET /the-only-one HTTP/1.1");
    assert_eq!(gateway.api_upstream.bytes_received(), only.head.len());
}

#[test]
fn s01_no_request_without_a_valid_credential_reaches_the_upstream() {
    let (gateway, key) = gateway_with_key();
    let text = &key.text;
    let flipped = format!("{}{}", &text[..43], if text.ends_with('A') { 'B' } else { 'A' });
    let other_tag = format!("{}{}", &text[..38], "AAAAAA");
    let values: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"ApiKey".to_vec(),
        b"ApiKey ".to_vec(),
        text.clone().into_bytes(),
        format!("Bearer {text}").into_bytes(),
        format!("Token {text}").into_bytes(),
        format!("Digest {text}").into_bytes(),
        format!("Session {text}").into_bytes(),
        b"Session ABCDEFGHIJKLMNOPQRST".to_vec(),
        format!("ApiKey={text}").into_bytes(),
        format!("ApiKey:{text}").into_bytes(),
        format!("ApiKey\t{text}").into_bytes(),
        format!("ApiKey \"{text}\"").into_bytes(),
        format!("ApiKey key={text}").into_bytes(),
        format!("ApiKey {flipped}").into_bytes(),
        format!("ApiKey {other_tag}").into_bytes(),
        format!("ApiKey {}", text.to_uppercase()).into_bytes(),
        format!("ApiKey {}", &text[..43]).into_bytes(),
        format!("ApiKey {}", &text[4..]).into_bytes(),
        format!("ApiKey {text}{text}").into_bytes(),
        format!("ApiKey {text}=").into_bytes(),
        format!("ApiKey {}", "lk1_".repeat(11)).into_bytes(),
        format!("ApiKey {}", "A".repeat(44)).into_bytes(),
        format!("ApiKey {}", "A".repeat(4_000)).into_bytes(),
        format!("ApiKey {}", key.id).into_bytes(),
        [b"ApiKey ".as_slice(), text.as_bytes(), b"\xff"].concat(),
        format!("ApiKey %6Ck1_{}", &text[4..]).into_bytes(),
        format!("ApiKey {text}, ApiKey {text}").into_bytes(),
        format!("ApiKey {text} {text}").into_bytes(),
        format!("ApiKey {text},").into_bytes(),
        b"Basic".to_vec(),
        b"Basic ".to_vec(),
        b"Basic ====".to_vec(),
        b"Basic acme/alex:password".to_vec(),
        basic("acme/alex", "").into_bytes(),
        basic("acme/alex", "wrong").into_bytes(),
        basic("acme/alex", &PASSWORD.to_uppercase()).into_bytes(),
        basic("acme/alex", &format!("{PASSWORD} ")).into_bytes(),
        basic("acme/alex", &format!("{PASSWORD}\0")).into_bytes(),
        basic("acme/ALEX2", PASSWORD).into_bytes(),
        basic("alex", PASSWORD).into_bytes(),
        basic("/alex", PASSWORD).into_bytes(),
        basic("acme/", PASSWORD).into_bytes(),
        basic("acme//alex", PASSWORD).into_bytes(),
        basic("acme/alex/x", PASSWORD).into_bytes(),
        basic("acme/../acme/alex", PASSWORD).into_bytes(),
        basic("", "").into_bytes(),
        basic(text, "").into_bytes(),
        basic("", text).into_bytes(),
        basic("acme/admin", text).into_bytes(),
        basic("acme/admin", PASSWORD).into_bytes(),
        basic("nobody/nobody", PASSWORD).into_bytes(),
        basic("acme/alex' OR '1'='1", PASSWORD).into_bytes(),
        format!("{}, {}", basic("acme/alex", PASSWORD), basic("acme/alex", PASSWORD)).into_bytes(),
    ];
    for value in values {
        let mut bytes = b"GET /v2/domains HTTP/1.1\r\nHost: api.example\r\nAuthorization: ".to_vec();
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(b"\r\n\r\n");
        let mut wire = gateway.connect("api");
        wire.send(&bytes);
        let answer = wire.read_answer();
        assert_eq!(answer.status, 401, "{:?}: {answer:?}", String::from_utf8_lossy(&value));
        answer.assert_refusal(401, "AuthenticationError");
    }
    assert_nothing_was_forwarded(&gateway, &key);
}

#[test]
fn s01_keys_are_read_from_nowhere_but_the_authorization_header() {
    let (gateway, key) = gateway_with_key();
    let text = key.text.as_str();
    let requests = [
        Request::get("/v2/domains"),
        Request::get(&format!("/v2/domains?apikey={text}&api_key={text}&key={text}&access_token={text}")),
        Request::get("/").field("X-API-Key", text),
        Request::get("/").field("X-Api-Key", &key.authorization()),
        Request::get("/").field("ApiKey", text),
        Request::get("/").field("Proxy-Authorization", &key.authorization()),
        Request::get("/").field("X-Authorization", &key.authorization()),
        Request::get("/").field("Authorisation", &key.authorization()),
        Request::get("/").field("Cookie", &format!("Authorization={text}; session={text}")),
        Request::get(&format!("/{text}")),
        Request::new("POST", "/").body(format!("{{\"apikey\":\"{text}\"}}").as_bytes()),
        Request::new("POST", "/")
            .field("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("access_token={text}").as_bytes()),
        // What the upstream would be told by the gateway.
        Request::get("/").field("X-Auth-Customer", "acme").field("X-Auth-User", "admin"),
        Request::new("OPTIONS", "/v2/domains").field("Origin", "https://evil.example"),
        Request::new("HEAD", "/v2/domains"),
        Request::new("PUT", "/v2/domains").body(b"{}"),
        Request::new("DELETE", "/v2/domains/example.com"),
        Request::new("PROPFIND", "/"),
    ];
    for request in requests {
        let answer = gateway.connect("api").exchange(&request);
        assert_eq!(answer.status, 401, "{:?}", String::from_utf8_lossy(&request.to_bytes()));
    }
    // A user part in the target or the Host is no credential either.
    for head in [
        format!("GET http://{text}@api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {text}@api.example\r\n\r\n"),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\r\n\r\nGET /\r\n\r\n".to_owned(),
        format!("LOGIN {text}\r\nIS example.com\r\n"),
    ] {
        let mut wire = gateway.connect("api");
        wire.send(&head);
        wire.finish_sending();
        let answered = String::from_utf8_lossy(&wire.read_to_end()).into_owned();
        let status = answered.split(' ').nth(1).unwrap_or("closed");
        assert!(!answered.contains(" 200 "), "{head:?} was answered with {status}");
    }
    // And by mistake they are written down nowhere: with its end the gateway has written all lines.
    assert_nothing_was_forwarded(&gateway, &key);
    let (status, _, installation) = gateway.stop();
    assert!(status.success());
    let log = std::fs::read_to_string(installation.path("access.jsonl")).unwrap();
    assert!(log.contains("\"target\":\"/***\""), "{log}");
}

#[test]
fn s01_no_line_without_a_login_reaches_the_isproxy_upstream() {
    let (gateway, key) = gateway_with_key();
    let narrow = gateway.create_key_of("acme/admin", "api");
    for login in [
        "LOGIN wrong".to_owned(),
        "LOGIN".to_owned(),
        format!("LOGIN {} {} {}", key.text, key.text, key.text),
        format!("LOGIN {}x", key.text),
        format!("LOGIN {}", narrow.text),
        format!("LOGIN {} {}", key.text, key.text),
        "LOGIN acme/alex wrong".to_owned(),
        format!("LOGIN alex {PASSWORD}"),
        format!("LOGIN ApiKey {}", key.text),
        format!("AUTH {}", key.text),
        String::new(),
    ] {
        let mut session = gateway.connect("isproxy");
        session.send(format!("{login}\r\nIS example.com\r\nENABLE reason\r\nIS example.net\r\nCLOSE\r\n"));
        let answered = String::from_utf8(session.read_to_end()).unwrap();
        assert!(!answered.contains("available") && !answered.contains("100 "), "{login}: {answered}");
        assert!(answered.contains("400 not authenticated"), "{login}: {answered}");
    }
    let mut session = gateway.connect("isproxy");
    assert_eq!(session.ask("IS wrong-key example.com"), "400 Login failed");
    assert_eq!(gateway.isproxy_upstream.connections(), 0);
    let mut session = gateway.isproxy_session(&key.login());
    assert_eq!(session.ask("IS example.com"), "example.com available");
    assert_eq!(gateway.isproxy_upstream.lines(), ["IS example.com"]);
}

#[test]
fn s11_two_authorization_headers_or_a_broken_one_are_refused() {
    let (gateway, key) = gateway_with_key();
    let good = key.authorization();
    let head = "GET / HTTP/1.1\r\nHost: api.example\r\n";
    for (fields, statuses) in [
        (format!("Authorization: {good}\r\nAuthorization: {good}\r\n"), &[401][..]),
        (format!("Authorization: {good}\r\nauthorization: ApiKey wrong\r\n"), &[401]),
        (format!("Authorization: ApiKey wrong\r\nAuthorization: {good}\r\n"), &[401]),
        (format!("Authorization: {good}\r\nAuthorization: {}\r\n", basic("acme/alex", PASSWORD)), &[401]),
        (format!("Authorization: {good}, {good}\r\n"), &[401]),
        (format!("Authorization: {good} trailing\r\n"), &[401]),
        (format!("Authorization: {good}\0\r\n"), &[400, 401]),
        (format!("Authorization: ApiKey\r\n {}\r\n", key.text), &[400, 401]),
        (format!("Authorization:\r\n {good}\r\n"), &[400, 401]),
        (format!("Authorization : {good}\r\n"), &[400]),
        (format!(" Authorization: {good}\r\n"), &[400]),
        (format!("Authorization: {good}\rX: y\r\n"), &[400, 401]),
    ] {
        let mut wire = gateway.connect("api");
        wire.send(format!("{head}{fields}\r\n"));
        let answer = wire.read_answer();
        assert!(statuses.contains(&answer.status), "{fields:?}: {answer:?}");
        if answer.status == 401 {
            answer.assert_refusal(401, "AuthenticationError");
        }
    }
    assert_nothing_was_forwarded(&gateway, &key);
}

#[test]
fn the_schemes_name_counts_in_any_case() {
    let (gateway, key) = gateway_with_key();
    for scheme in ["ApiKey", "apikey", "APIKEY", "aPiKeY"] {
        assert_eq!(gateway.api_get("/", &format!("{scheme} {}", key.text)).status, 200, "{scheme}");
    }
    for scheme in ["Basic", "basic", "BASIC"] {
        let value = basic("acme/alex", PASSWORD).replace("Basic", scheme);
        assert_eq!(gateway.api_get("/", &value).status, 200, "{scheme}");
    }
    assert_eq!(gateway.api_upstream.requests().len(), 7);
}

#[test]
fn every_refusal_of_a_password_reads_alike() {
    let (gateway, _) = gateway_with_key();
    gateway.create_user_with("acme/noapi", &["--access", "console"]);
    gateway.create_user("acme/gone");
    gateway.cli(&["user", "deactivate", "acme/gone"]).expect_success();
    gateway.create_user_with("acme/forced", &["--force-mfa"]);
    gateway.create_user("acme/listed");
    gateway.cli(&["allow", "add", "user:acme/listed", "192.0.2.1"]).expect_success();
    let message = |answer: &Answer| {
        answer.assert_refusal(401, "AuthenticationError");
        let fields = answer.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect::<Vec<_>>();
        (answer.json()["message"].clone(), fields)
    };
    let unknown = message(&gateway.api_get("/", &basic("acme/nobody", PASSWORD)));
    for (user, password) in [
        ("acme/alex", "wrong"),
        ("acme/admin", PASSWORD), // off by a key
        ("acme/noapi", PASSWORD),
        ("acme/gone", PASSWORD),
        ("acme/forced", PASSWORD),
        ("acme/listed", PASSWORD),
    ] {
        assert_eq!(message(&gateway.api_get("/", &basic(user, password))), unknown, "{user}");
    }
    assert_eq!(message(&gateway.api_get("/", "ApiKey wrong")), unknown);
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn a_credential_without_tls_is_refused_without_a_redirect_where_the_listener_says_so() {
    let (gateway, key) = gateway_with_key();
    for authorization in [key.authorization(), basic("acme/alex", PASSWORD), "ApiKey wrong".to_owned()] {
        let request = Request::get("/v2/domains").authorization(&authorization);
        gateway.connect("api-refuse").exchange(&request).assert_refusal(403, "AuthorizationError");
    }
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    // The same over TLS.
    let request = Request::get("/v2/domains").authorization(&key.authorization());
    assert_eq!(gateway.connect_tls().exchange(&request).status, 200);

    let mut session = gateway.connect("isproxy-refuse");
    assert_eq!(session.ask(&key.login()), "400 Login failed");
    assert_eq!(session.ask(&format!("IS {} example.com", key.text)), "400 Login failed");
    assert_eq!(gateway.isproxy_upstream.connections(), 0);
    let mut session = gateway.connect("isproxy-refuse").start_tls(Authority::shared().client(&[]));
    assert_eq!(session.ask(&key.login()), "100 Login ok");
    assert_eq!(session.ask("IS example.com"), "example.com available");
}

#[test]
fn a_listeners_list_stands_before_every_credential() {
    let gateway = TestGateway::configured(|config| {
        for listener in config["listeners"].as_array_mut().unwrap() {
            if listener["protocol"] != "ops" {
                listener["allow_list"] = serde_json::json!(["127.0.0.2/32"]);
            }
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.api_get("/", &key.authorization()).assert_refusal(403, "AuthorizationError");
    gateway.api_get("/", "ApiKey wrong").assert_refusal(403, "AuthorizationError");
    gateway.connect("isproxy").expect_closed();
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    assert_eq!(gateway.api_get_from("127.0.0.2", "/", &key.authorization()).status, 200);
    assert_eq!(gateway.connect_from("127.0.0.2", "isproxy").ask(&key.login()), "100 Login ok");
}

#[test]
fn forwarding_headers_of_a_stranger_change_nothing_about_the_address() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", "192.0.2.1"]).expect_success();
    for name in ["X-Forwarded-For", "X-Real-IP", "True-Client-IP", "X_Forwarded_For"] {
        let request = Request::get("/").authorization(&key.authorization()).field(name, "192.0.2.1");
        gateway.connect("api").exchange(&request).assert_refusal(403, "AuthorizationError");
    }
    let forwarded = Request::get("/").authorization(&key.authorization()).field("Forwarded", "for=192.0.2.1");
    gateway.connect("api").exchange(&forwarded).assert_refusal(403, "AuthorizationError");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
}

#[test]
fn a_head_that_breaks_a_rule_is_answered_400_as_json() {
    let (gateway, key) = gateway_with_key();
    let good = key.authorization();
    for head in [
        format!("GET / HTTP/1.1\r\nAuthorization: {good}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nAuthorization: {good}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a b\r\nAuthorization: {good}\r\n\r\n"),
    ] {
        let mut wire = gateway.connect("api");
        wire.send(&head);
        wire.read_answer().assert_refusal(400, "InvalidMessage");
    }
    // TRACE would show the key to whoever can make a browser send it; CONNECT is a tunnel.
    let traced = Request::new("TRACE", "/").authorization(&good);
    gateway.connect("api").exchange(&traced).assert_refusal(405, "InvalidMessage");
    let tunnel = Request::new("CONNECT", "api.example:443").authorization(&good);
    gateway.connect("api").exchange(&tunnel).assert_refusal(405, "InvalidMessage");
    assert_nothing_was_forwarded(&gateway, &key);
}

#[test]
fn s64_heads_targets_and_bodies_beyond_their_limits_are_refused() {
    let gateway = TestGateway::configured(|config| {
        config["limits"]["http_body_bytes"] = serde_json::json!(1_000);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let good = key.authorization();
    let request = |target: &str| Request::get(target).authorization(&good);
    let long = request(&format!("/{}", "a".repeat(9_000)));
    gateway.connect("api").exchange(&long).assert_refusal(414, "InvalidMessage");
    let many = (0..120).fold(request("/"), |request, number| request.field(&format!("X-{number}"), "1"));
    assert_eq!(gateway.connect("api").exchange(&many).status, 431);
    let big = Request::new("POST", "/").authorization(&good).body(&[b'x'; 1_001]);
    gateway.connect("api").exchange(&big).assert_refusal(413, "InvalidMessage");
    assert_nothing_was_forwarded(&gateway, &key);
    let fitting = Request::new("POST", "/").authorization(&good).body(&[b'x'; 1_000]);
    assert_eq!(gateway.connect("api").exchange(&fitting).status, 200);
}

#[test]
fn no_route_is_404_after_the_credential_was_judged() {
    let gateway = TestGateway::configured(|config| {
        for listener in config["listeners"].as_array_mut().unwrap() {
            if listener["protocol"] == "http" {
                listener["routes"] = serde_json::json!([{ "path": "/v2", "upstream": "registry" }]);
            }
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    gateway.api_get("/v1/domains", "ApiKey wrong").assert_refusal(401, "AuthenticationError");
    let answer = gateway.api_get("/v1/domains", &key.authorization());
    assert_eq!((answer.status, answer.json()["type"].is_string()), (404, true), "{answer:?}");
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    assert_eq!(gateway.api_get("/v2/domains", &key.authorization()).status, 200);
}

#[test]
fn s09_the_body_of_a_refused_request_is_never_read_as_the_next_request() {
    let (gateway, key) = gateway_with_key();
    let smuggled = Request::get("/smuggled").authorization(&key.authorization()).to_bytes();
    let mut wire = gateway.connect("api");
    let refused = Request::new("POST", "/").authorization("ApiKey wrong").body(&smuggled);
    assert_eq!(wire.exchange(&refused).status, 401);
    // Either the connection goes on behind the body, or it is closed.
    let mut next = Vec::new();
    let _ = next.write_all(&Request::get("/next").authorization(&key.authorization()).to_bytes());
    if wire.try_send(&next).is_ok() {
        wire.finish_sending();
        wire.read_to_end();
    }
    let lines: Vec<String> =
        gateway.api_upstream.requests().iter().map(|request| request.line().to_owned()).collect();
    assert!(lines.iter().all(|line| line == "GET /next HTTP/1.1"), "{lines:?}");
}

#[test]
fn a_password_may_hold_colons() {
    const WITH_COLONS: &str = ":correct:horse:battery:";
    let (gateway, _) = gateway_with_key();
    gateway.create_user("acme/kim");
    let set =
        gateway.cli_with_input(&["user", "set-password", "acme/kim", "--password-file", "-"], WITH_COLONS);
    set.expect_success();
    assert_eq!(gateway.api_get("/", &basic("acme/kim", WITH_COLONS)).status, 200);
    for wrong in [&WITH_COLONS[1..], ":correct", PASSWORD] {
        let answer = gateway.api_get("/", &basic("acme/kim", wrong));
        answer.assert_refusal(401, "AuthenticationError");
    }
}
