//! What of a request and its answer passes untouched, what is taken out, and what is added.

use crate::harness::{HttpUpstream, Key, Request, TestGateway};

fn gateway_with_key() -> (TestGateway, Key) {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    (gateway, key)
}

fn values(upstream: &HttpUpstream, name: &str) -> Vec<String> {
    let fields = upstream.last_request().fields();
    fields.into_iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn targets_pass_byte_for_byte() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    for target in [
        "/v2/domains/",
        "/v2/domains",
        "/v2/domains?status=OK&status=EXPIRED&status=OK",
        "/v2/domains?q=%2F%2f+a%20b&empty=&&flag",
        "/v2/domains/ex%61mple.com/check?",
        "/v2//domains/./x/../y;v=1",
        "/%E2%82%AC/~user/(a)'!*",
    ] {
        assert_eq!(wire.exchange(&Request::get(target).authorization(&key.authorization())).status, 200);
        assert_eq!(gateway.api_upstream.last_request().line(), format!("GET {target} HTTP/1.1"));
    }
}

#[test]
fn every_method_passes_with_its_body_and_its_length() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "BREW"]
    {
        let request = Request::new(method, "/v2/x").authorization(&key.authorization());
        assert_eq!(wire.exchange(&request).status, 200, "{method}");
        let seen = gateway.api_upstream.last_request();
        assert_eq!((seen.line(), seen.body.len()), (format!("{method} /v2/x HTTP/1.1").as_str(), 0));
        // S08: a body belongs to any method, and keeps its framing.
        if method != "HEAD" {
            let request =
                Request::new(method, "/v2/x").authorization(&key.authorization()).body(b"{\"a\":1}");
            assert_eq!(wire.exchange(&request).status, 200, "{method}");
            let seen = gateway.api_upstream.last_request();
            assert_eq!(seen.body, b"{\"a\":1}", "{method}");
            assert_eq!(seen.field("content-length").as_deref(), Some("7"), "{method}");
            assert_eq!(seen.field("transfer-encoding"), None, "{method}");
        }
    }
}

#[test]
fn a_get_with_content_length_0_passes() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    for _ in 0..2 {
        let request = Request::get("/v2/domains").authorization(&key.authorization()).body(b"");
        assert_eq!(wire.exchange(&request).status, 200);
        let seen = gateway.api_upstream.last_request();
        assert_eq!(seen.line(), "GET /v2/domains HTTP/1.1");
        assert!(matches!(seen.field("content-length").as_deref(), None | Some("0")), "{}", seen.head);
        assert_eq!(seen.field("transfer-encoding"), None, "{}", seen.head);
        assert_eq!(seen.body, b"");
    }
}

#[test]
fn fields_that_mean_nothing_to_the_gateway_pass_untouched() {
    let (gateway, key) = gateway_with_key();
    let request = Request::get("/v2/domains")
        .authorization(&key.authorization())
        .field("X-Customer", "johndoe")
        .field("Accept", "application/json")
        .field("accept-LANGUAGE", "nl, en;q=0.5")
        .field("X-Twice", "one")
        .field("X-Twice", "two")
        .field("Cookie", "a=1; b=2")
        .field("User-Agent", "a client/1.0 (with comment)");
    assert_eq!(gateway.connect("api").exchange(&request).status, 200);
    for (name, expected) in [
        ("host", &["api.example"][..]),
        ("x-customer", &["johndoe"]),
        ("accept", &["application/json"]),
        ("accept-language", &["nl, en;q=0.5"]),
        ("x-twice", &["one", "two"]),
        ("cookie", &["a=1; b=2"]),
        ("user-agent", &["a client/1.0 (with comment)"]),
    ] {
        assert_eq!(values(&gateway.api_upstream, name), expected, "{name}");
    }
}

#[test]
fn answers_of_the_upstream_pass_untouched_also_its_own_refusals() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    for (status, reason, body) in [
        (200, "OK", "{\"available\":true}"),
        (201, "Created", ""),
        (400, "Bad Request", "{\"type\":\"ConstraintViolationException\",\"violations\":[ ]}"),
        (401, "Unauthorized", "{\"type\":\"FromUpstream\"}"),
        (403, "Forbidden", "not json at all"),
        (404, "Not Found", "{\"type\":\"ObjectDoesNotExist\",\"message\":\"x\"}"),
        (409, "Conflict", "\u{0}\u{1}binary"),
        (429, "Too Many Requests", "{}"),
        (500, "Internal Server Error", "<html>"),
        (503, "Service Unavailable", "{\"type\":\"Theirs\"}"),
    ] {
        let bytes = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: text/x-theirs\r\nX-Theirs: {status}\r\nSet-Cookie: a=1\r\n\
             Set-Cookie: b=2\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        gateway.api_upstream.answer("/", bytes);
        let answer = wire.exchange(&Request::get("/").authorization(&key.authorization()));
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
        assert_eq!(answer.field("content-type"), Some("text/x-theirs"));
        assert_eq!(answer.field("x-theirs"), Some(status.to_string().as_str()));
        assert_eq!(answer.field("www-authenticate"), None);
        let cookies: Vec<_> =
            answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).collect();
        assert_eq!(cookies.len(), 2, "{answer:?}");
        assert!(answer.field("x-request-id").is_some());
    }
}

#[test]
fn answers_without_a_body_stay_without_one() {
    let (gateway, key) = gateway_with_key();
    gateway.api_upstream.answer("/none", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n");
    gateway.api_upstream.answer("/same", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    gateway.api_upstream.answer("/head", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let mut wire = gateway.connect("api");
    let authorization = key.authorization();
    for (request, status) in [
        (Request::new("DELETE", "/none"), 204),
        (Request::get("/same"), 304),
        (Request::new("HEAD", "/head"), 200),
        (Request::get("/"), 200),
    ] {
        let answer = wire.exchange(&request.authorization(&authorization));
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 200 && answer.body.is_empty() {
            assert_eq!(answer.field("content-length"), Some("1234"));
        }
    }
}

#[test]
fn who_calls_and_from_where_is_told_to_the_upstream() {
    let (gateway, key) = gateway_with_key();
    let request = Request::get("/").authorization(&key.authorization());
    for (mut wire, proto) in [(gateway.connect("api"), "http"), (gateway.connect_tls(), "https")] {
        let answer = wire.exchange(&request);
        let id = answer.field("x-request-id").unwrap().to_owned();
        for (name, expected) in [
            ("x-auth-customer", "acme"),
            ("x-auth-user", "admin"),
            ("x-auth-key-id", key.id.as_str()),
            ("x-auth-method", "api-key"),
            ("x-request-id", id.as_str()),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", proto),
            ("x-forwarded-host", "api.example"),
        ] {
            assert_eq!(values(&gateway.api_upstream, name), [expected], "{name}");
        }
        let via = values(&gateway.api_upstream, "via");
        assert!(via.len() == 1 && via[0].starts_with("1.1 "), "{via:?}");
        assert!(values(&gateway.api_upstream, "authorization").is_empty());
    }
}

#[test]
fn s12_identity_headers_of_a_client_are_removed_in_every_spelling() {
    let (gateway, key) = gateway_with_key();
    let mut request = Request::get("/").authorization(&key.authorization());
    for name in [
        "X-Auth-Customer",
        "x-auth-customer",
        "X-AUTH-CUSTOMER",
        "X_Auth_Customer",
        "X-Auth_Customer",
        "x_auth_customer",
        "X-Auth-User",
        "X_AUTH_USER",
        "X-Auth-Key-Id",
        "X-Auth-Key_Id",
        "X-Auth-Method",
        "X-Auth-Anything-Else",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Real-IP",
        "X_Real_IP",
        "Forwarded",
        "X-Request-Id",
        "X_Request_Id",
    ] {
        request = request.field(name, "forged").field(name, "forged");
    }
    assert_eq!(gateway.connect("api").exchange(&request).status, 200);
    let seen = gateway.api_upstream.only_request();
    assert!(!seen.head.contains("forged"), "{}", seen.head);
    let unmarked = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let mut names: Vec<String> = seen.fields().iter().map(|(name, _)| unmarked(name)).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a field came in two spellings: {}", seen.head);
    assert_eq!(seen.field("x-auth-user").as_deref(), Some("admin"));
}

#[test]
fn s12_trailers_cannot_carry_an_identity() {
    let (gateway, key) = gateway_with_key();
    let mut wire = gateway.connect("api");
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: api.example\r\nAuthorization: {}\r\nTE: trailers\r\nTrailer: X-Auth-User, X-Sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Auth-User: forged\r\nX_Auth_Customer: forged\r\n\
         Authorization: forged\r\nContent-Length: 99\r\nX-Sum: 1\r\n\r\n",
        key.authorization()
    ));
    assert_eq!(wire.read_answer().status, 200);
    let seen = gateway.api_upstream.only_request();
    let body = String::from_utf8(seen.body.clone()).unwrap();
    assert!(!seen.head.contains("forged") && !body.contains("forged"), "{} {body}", seen.head);
    assert!(!body.to_ascii_lowercase().contains("content-length"), "{body}");
}

#[test]
fn s13_connection_cannot_name_away_what_the_gateway_or_the_framing_needs() {
    let (gateway, key) = gateway_with_key();
    let names = "close, X-Auth-Customer, X-Auth-User, X-Auth-Key-Id, X-Auth-Method, X-Request-Id, X-Forwarded-For, \
                 X-Forwarded-Proto, X-Forwarded-Host, Via, Host, Content-Length, X-Mine";
    let request = Request::new("POST", "/")
        .authorization(&key.authorization())
        .field("Connection", names)
        .field("X-Mine", "goes")
        .body(b"four");
    assert_eq!(gateway.connect("api").exchange(&request).status, 200);
    let seen = gateway.api_upstream.only_request();
    for name in [
        "x-auth-customer",
        "x-auth-user",
        "x-auth-key-id",
        "x-auth-method",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "via",
        "host",
    ] {
        assert!(seen.field(name).is_some(), "{name} is missing: {}", seen.head);
    }
    assert_eq!((seen.field("content-length").as_deref(), seen.body.as_slice()), (Some("4"), &b"four"[..]));
    // What it may name, it removes (RFC 9110 section 7.6.1).
    assert_eq!(seen.field("x-mine"), None);
}

#[test]
fn hop_by_hop_fields_go_no_further_in_either_direction() {
    let (gateway, key) = gateway_with_key();
    gateway.api_upstream.answer(
        "/",
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
         Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let request = Request::get("/")
        .authorization(&key.authorization())
        .field("Connection", "keep-alive, X-Hop")
        .field("X-Hop", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Proxy-Authorization", "Basic eA==")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABk")
        .field("TE", "gzip");
    let answer = gateway.connect("api").exchange(&request);
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for name in ["x-hop", "te", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.field("x-end"), Some("1"));
    let seen = gateway.api_upstream.only_request();
    for name in
        ["x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade", "http2-settings", "te"]
    {
        assert_eq!(seen.field(name), None, "{name}: {}", seen.head);
    }
}

#[test]
fn routes_go_by_host_and_by_the_longest_prefix() {
    let second = HttpUpstream::start();
    let address = second.address();
    let gateway = TestGateway::configured(|config| {
        config["upstreams"].as_array_mut().unwrap().push(serde_json::json!({
            "name": "second", "protocol": "http", "servers": [format!("http://{address}")],
            "identity_headers": { "user": "Remote-User", "customer": null },
        }));
        for listener in config["listeners"].as_array_mut().unwrap() {
            if listener["protocol"] == "http" {
                let routes = listener["routes"].as_array_mut().unwrap();
                routes.push(serde_json::json!({ "path": "/v2/second", "upstream": "second" }));
                routes.push(
                    serde_json::json!({ "path": "/", "hosts": ["second.example"], "upstream": "second" }),
                );
            }
        }
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut wire = gateway.connect("api");
    for target in ["/v2/second", "/v2/second/x", "/v2/secondary", "/v2"] {
        assert_eq!(wire.exchange(&Request::get(target).authorization(&key.authorization())).status, 200);
    }
    wire.send(format!(
        "GET /by-host HTTP/1.1\r\nHost: second.example:8443\r\nRemote-User: forged\r\nAuthorization: {}\r\n\r\n",
        key.authorization()
    ));
    assert_eq!(wire.read_answer().status, 200);
    let targets = |upstream: &HttpUpstream| -> Vec<String> {
        upstream
            .requests()
            .iter()
            .map(|request| request.line().split(' ').nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(targets(&gateway.api_upstream), ["/v2/secondary", "/v2"]);
    assert_eq!(targets(&second), ["/v2/second", "/v2/second/x", "/by-host"]);
    // How this upstream wants to be told.
    let seen = second.last_request();
    assert_eq!(seen.field("remote-user").as_deref(), Some("admin"), "{}", seen.head);
    assert_eq!((seen.field("x-auth-user"), seen.field("x-auth-customer")), (None, None), "{}", seen.head);
}

#[test]
fn s92_the_products_own_cookies_pass_in_neither_direction() {
    let (gateway, key) = gateway_with_key();
    gateway.api_upstream.answer(
        "/v2/x",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: sid=1; Path=/\r\nSet-Cookie: __Host-latchkey-session=evil; Path=/; Secure\r\n\r\n",
    );
    let request = Request::get("/v2/x")
        .authorization(&key.authorization())
        .field("Cookie", "theme=dark; __Host-latchkey-session=stolen; lang=de")
        .field("Cookie", "Latchkey-device=1");
    let answer = gateway.connect("api").exchange(&request);
    assert_eq!(answer.status, 200);
    assert_eq!(values(&gateway.api_upstream, "cookie"), ["theme=dark; lang=de"]);
    assert_eq!(answer.field("set-cookie"), Some("sid=1; Path=/"));
}

#[test]
fn s92_a_cookie_is_no_credential_and_says_nothing_beside_one() {
    let (gateway, key) = gateway_with_key();
    let cookie = |request: Request| request.field("Cookie", "__Host-latchkey-session=stolen; session=x");
    let mut wire = gateway.connect("api");
    assert_eq!(wire.exchange(&cookie(Request::get("/v2/x"))).status, 401);
    let with_key = cookie(Request::get("/v2/x").authorization(&key.authorization()));
    assert_eq!(wire.exchange(&with_key).status, 200);
    assert_eq!(values(&gateway.api_upstream, "x-auth-method"), ["api-key"]);
}
