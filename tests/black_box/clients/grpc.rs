//! grpcio, client and server: calls of every kind pass through, with their metadata, trailers and ends.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::python::interpreter;
use crate::harness::{Installation, Running, TestGateway, run, wait_for};

/// A running server.
struct GrpcServer {
    process: Running,
    url: String,
}

impl GrpcServer {
    /// In clear, or with the certificate in `folder`.
    fn start(scheme: &str, folder: &Path) -> Self {
        let mut command = Command::new(interpreter());
        command.args(["-c", include_str!("grpc/server.py")]);
        if scheme == "https" {
            command.arg(folder.join("server.crt")).arg(folder.join("server.key"));
        } else {
            command.args(["-", "-"]);
        }
        let process = Running::start(&mut command);
        let port = process.wait_for_log("the port of the gRPC server", |lines| {
            lines.iter().find_map(|line| line.strip_prefix("port ").map(str::to_owned))
        });
        Self { process, url: format!("{scheme}://127.0.0.1:{port}") }
    }
}

/// A gateway before a server.
fn gateway(scheme: &str, change: &Value) -> (TestGateway, GrpcServer) {
    let mut installation = Installation::new();
    let server = GrpcServer::start(scheme, installation.folder());
    installation.reconfigure(|config| {
        let upstream = &mut config["upstreams"][0];
        upstream["servers"] = json!([server.url]);
        for (name, value) in change.as_object().unwrap() {
            upstream[name] = value.clone();
        }
    });
    (installation.serve(), server)
}

/// What the client's calls came to: name, messages, status, details, trailing metadata.
fn calls(gateway: &TestGateway, key: &str) -> Vec<Value> {
    let address = format!("localhost:{}", gateway.address("api-tls").port());
    let mut command = Command::new(interpreter());
    command.args(["-c", include_str!("grpc/client.py"), &address]);
    command.arg(gateway.path("ca.crt")).arg(key).env("NO_PROXY", "*");
    let told = run(&mut command, b"").expect_success();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn grpc_calls_of_every_kind_pass_through_by_tls_and_by_prior_knowledge() {
    for (scheme, change) in
        [("https", json!({ "tls": { "ca": "ca.crt" } })), ("http", json!({ "http2": "always" }))]
    {
        let (gateway, server) = gateway(scheme, &change);
        gateway.create_customer("acme");
        let key = gateway.create_key("acme/admin");
        let calls = calls(&gateway, &key.text);
        let told: Vec<_> = calls.iter().map(|call| json!([call[0], call[1], call[2]])).collect();
        let expected = [
            json!(["Unary", ["cba"], "OK"]),
            json!(["ServerStream", ["0", "1", "2", "3"], "OK"]),
            json!(["ClientStream", ["3000000"], "OK"]),
            json!(["BothStreams", ["echo 0", "echo 1", "echo 2"], "OK"]),
            json!(["Fail", [], "NOT_FOUND"]),
            json!(["FailEarly", [], "NOT_FOUND"]),
            json!(["Unknown", [], "UNIMPLEMENTED"]),
            json!(["Slow", [], "DEADLINE_EXCEEDED"]),
            json!(["Unary", [], "UNAUTHENTICATED"]),
        ];
        assert_eq!(told, expected, "{scheme}");
        // The upstream is told who calls, and neither side can say otherwise, in trailers as little as in heads.
        let trailing = &calls[0][4];
        assert_eq!(trailing["x-told-user"], "admin", "{trailing}");
        assert_eq!(trailing["x-told-authorization"], "False", "{trailing}");
        assert_eq!(trailing["x-told-note"], "kept", "{trailing}");
        assert_eq!(trailing["x-auth-user"], Value::Null, "{trailing}");
        for failed in [&calls[4], &calls[5]] {
            assert_eq!((&failed[3], &failed[4]["x-why"]), (&json!("no such thing"), &json!("because")));
        }
        // S72: the client's deadline reached the server as a cancellation.
        wait_for("the cancellation of a call", || server.process.log().contains("cancelled").then_some(()));
    }
}
