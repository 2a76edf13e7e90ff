//! Python packages against the gateway: the registrar's, as its users see it with each kind of key, and `websockets`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::harness::{TestGateway, echo_messages, run};

/// Prints the result of one call, or the type of what it raised and its text.
const DRIVER: &str = r#"
import sys
from realtimeregister import Client
client = Client(api_key=sys.argv[2], customer="johndoe", timeout=20)
client.base_url = sys.argv[1]
try:
    print("ok", client.domains.list(limit=2, offset=0))
except Exception as error:
    print(type(error).__name__, error)
"#;

/// Sends messages of many sizes through a WebSocket and compares what comes back; prints how it ended.
const WEBSOCKET_DRIVER: &str = r#"
import asyncio, os, ssl, sys
import websockets
url, key, ca = sys.argv[1:]
async def main():
    headers = {"Authorization": "ApiKey " + key}
    tls = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    try:
        async with websockets.connect(url, additional_headers=headers, ssl=tls, max_size=2**24, proxy=None) as socket:
            for size in [0, 1, 125, 126, 127, 128, 65535, 65536, 2**20]:
                for message in [os.urandom(size), "ab\u00e9" * (size // 4)]:
                    await socket.send(message)
                    assert await socket.recv() == message, size
            await socket.send(["in ", "three ", "parts"])
            assert await socket.recv() == "in three parts"
            await (await socket.ping(b"payload"))
            await asyncio.gather(*[socket.send(str(number)) for number in range(1000)])
            for number in range(1000):
                assert await socket.recv() == str(number)
            await socket.close(4001, "done")
        print("closed", socket.close_code, socket.close_reason)
    except websockets.exceptions.InvalidStatus as error:
        print("refused", error.response.status_code)
asyncio.run(main())
"#;

/// The interpreter that has the packages of `tests/requirements.txt`.
pub fn interpreter() -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    let python = std::env::var_os("LATCHKEY_TEST_PYTHON").map_or(default, PathBuf::from);
    assert!(
        python.exists(),
        "{} is not there: run `tests/all` once, which makes it with the packages of tests/requirements.txt",
        python.display()
    );
    python
}

fn list_domains(gateway: &TestGateway, key: &str) -> String {
    let url = format!("https://localhost:{}/v2", gateway.address("api-tls").port());
    let mut command = Command::new(interpreter());
    command.args(["-c", DRIVER, &url, key]).env("REQUESTS_CA_BUNDLE", gateway.path("ca.crt"));
    command.env("NO_PROXY", "*");
    run(&mut command, b"").expect_success().trim_end().to_owned()
}

#[test]
fn the_python_client_works_with_a_right_key_and_raises_its_own_exceptions_otherwise() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let narrow = gateway.create_key_of("acme/admin", "isproxy");
    let body = r#"{"entities": [], "pagination": {"limit": 2, "offset": 0, "total": 0}}"#;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    gateway.api_upstream.answer("/v2/domains", format!("{head}{body}"));

    let listed = list_domains(&gateway, &key.text);
    assert!(listed.starts_with("ok ") && listed.contains("pagination"), "{listed}");
    let seen = gateway.api_upstream.only_request();
    assert_eq!(seen.line(), "GET /v2/domains?limit=2&offset=0 HTTP/1.1");
    assert_eq!(seen.field("x-customer").as_deref(), Some("johndoe"));
    assert_eq!(seen.field("x-auth-key-id").as_deref(), Some(key.id.as_str()));
    assert_eq!(seen.field("authorization"), None);

    let wrong = list_domains(&gateway, "lk1_0000000000000000000000000000000000000000");
    assert!(wrong.starts_with("AuthenticationException"), "{wrong}");
    // Its exception for what is neither 400, 401 nor 404; the text names the status.
    let scope = list_domains(&gateway, &narrow.text);
    assert!(scope.starts_with("RealtimeRegisterException") && scope.contains("403"), "{scope}");
    gateway.delete_key(&key);
    let deleted = list_domains(&gateway, &key.text);
    assert!(deleted.starts_with("AuthenticationException"), "{deleted}");
    assert_eq!(gateway.api_upstream.requests().len(), 1);
}

#[test]
fn refusals_of_the_upstream_reach_the_python_client_as_its_typed_exceptions() {
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    for (status, body, expected) in [
        (
            "400 Bad Request",
            r#"{"type":"X","message":"period is missing"}"#,
            "ValidationException period is missing",
        ),
        ("404 Not Found", "{}", "NotFoundException"),
        ("500 Internal Server Error", "", "RealtimeRegisterException"),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        gateway.api_upstream.answer("/v2/domains", answer);
        let raised = list_domains(&gateway, &key.text);
        assert!(raised.starts_with(expected), "{raised}");
    }
}

#[test]
fn the_python_websockets_client_works_plain_and_inside_tls_and_is_refused_with_a_deleted_key() {
    let gateway = TestGateway::configured(|config| {
        for listener in 0..2 {
            config["listeners"][listener]["routes"][0]["upgrades"] = json!(["websocket"]);
        }
    });
    gateway.api_upstream.on("/v2/socket", echo_messages);
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let talk = |scheme: &str, host: &str, listener: &str| {
        let url = format!("{scheme}://{host}:{}/v2/socket", gateway.address(listener).port());
        let mut command = Command::new(interpreter());
        command.args(["-c", WEBSOCKET_DRIVER, &url, &key.text]).arg(gateway.path("ca.crt"));
        run(&mut command, b"").expect_success().trim_end().to_owned()
    };
    assert_eq!(talk("ws", "127.0.0.1", "api"), "closed 4001 done");
    assert_eq!(talk("wss", "localhost", "api-tls"), "closed 4001 done");
    gateway.delete_key(&key);
    assert_eq!(talk("ws", "127.0.0.1", "api"), "refused 401");
    assert_eq!(gateway.api_upstream.requests().len(), 2);
}
