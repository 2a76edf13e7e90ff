//! nginx, Caddy and Envoy protect a page with the very configurations of `deploy/forward-auth`, but for the ports.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::gateway_believing;
use crate::clients::python::interpreter;
use crate::harness::{Answer, Key, RecordedRequest, Request, Running, TestGateway, Wire, wait_for};

/// Clients by their addresses; the first is on the customer's list.
const LISTED: &str = "127.0.0.2";
const UNLISTED: &str = "127.0.0.3";
/// Where the proxies come from.
const PROXY: &str = "127.0.0.1";
/// The trace that a client says its requests are part of.
const CLIENTS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A proxy in front of the gateway's recording upstream.
struct Proxy {
    _process: Running,
    address: SocketAddr,
}

impl Proxy {
    /// Starts `command` with what `deploy/forward-auth/NAME` says of a page behind this gateway's listener.
    fn start(gateway: &TestGateway, name: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/forward-auth").join(name);
        let mut text = fs::read_to_string(sample).unwrap();
        let ports = [
            ("8445", gateway.address("asked").port()),
            ("8080", address.port()),
            ("9000", gateway.api_upstream.address().port()),
        ];
        // A port may hold the digits of another.
        for (number, (port, _)) in ports.iter().enumerate() {
            assert!(text.contains(port), "{name} names no port {port}");
            text = text.replace(port, &format!("<{number}>"));
        }
        for (number, (_, port)) in ports.iter().enumerate() {
            text = text.replace(&format!("<{number}>"), &port.to_string());
        }
        let file = gateway.path(name);
        fs::write(&file, text).unwrap();
        drop(held);
        let process = Running::start(&mut command(&file));
        wait_for(name, || TcpStream::connect(address).ok());
        Self { _process: process, address }
    }

    fn nginx(gateway: &TestGateway) -> Self {
        Self::nginx_with(gateway, |site| site)
    }

    /// nginx with a sample that is changed.
    fn nginx_with(gateway: &TestGateway, change: impl FnOnce(String) -> String) -> Self {
        Self::start(gateway, "nginx.conf", |site| {
            fs::write(site, change(fs::read_to_string(site).unwrap())).unwrap();
            let folder = site.parent().unwrap();
            // What a distribution's own configuration says around it.
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|what| format!("  {what}_temp_path nginx-{what};\n"))
                .concat();
            let text = format!(
                "pid nginx.pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n  access_log off;\n{temporary}  include {};\n}}\n",
                site.display()
            );
            fs::write(folder.join("nginx-main.conf"), text).unwrap();
            let mut command = Command::new("nginx");
            // Debian keeps it where only root looks for programs.
            command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
            command.args([
                "-e",
                "stderr",
                "-c",
                "nginx-main.conf",
                "-g",
                "daemon off; master_process off;",
                "-p",
            ]);
            command.arg(folder);
            command
        })
    }

    fn caddy(gateway: &TestGateway) -> Self {
        Self::start(gateway, "Caddyfile", |site| {
            let mut command = Command::new(beside_python("caddy"));
            let home = site.with_file_name("caddy-home");
            command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env("XDG_DATA_HOME", &home);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(site);
            command
        })
    }

    fn envoy(gateway: &TestGateway) -> Self {
        Self::start(gateway, "envoy.yaml", |site| {
            let mut command = Command::new(beside_python("envoy"));
            command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c"]).arg(site);
            command
        })
    }

    fn ask(&self, client: &str, request: &Request) -> Answer {
        Wire::connect_from(client, self.address).exchange(request)
    }
}

/// A program that a package of `tests/requirements.txt` brings.
fn beside_python(program: &str) -> PathBuf {
    interpreter().with_file_name(program)
}

/// What a client writes that would be somebody else.
fn forging(authorization: &str) -> Request {
    let request = Request::new("POST", "/page?a=b").authorization(authorization).body(b"hello");
    let request =
        ["X-Auth-Customer", "X-Auth-User", "X-Auth-Key-Id", "x_auth_user", "X-Auth_User", "X-Auth-Method"]
            .into_iter()
            .fold(request, |request, name| request.field(name, "root"));
    let request = ["X-Forwarded-Method", "X-Forwarded-Uri"]
        .into_iter()
        .fold(request, |request, name| request.field(name, "/forged"));
    let traceparent = format!("00-{CLIENTS_TRACE}-b7ad6b7169203331-01");
    let request = request.field("traceparent", &traceparent).field("tracestate", "root=1");
    request.field("X-Forwarded-For", LISTED)
}

/// A gateway whose customer's list holds [`LISTED`], and a key.
fn gateway() -> (TestGateway, Key) {
    let gateway = gateway_believing(PROXY, |config| {
        config["limits"]["requests_per_second_per_key"] = json!(1);
        config["limits"]["request_burst_per_key"] = json!(20);
        // Nothing begins here that would be written down, and nobody takes it.
        let traces = json!({
            "otlp": "http://127.0.0.1:9", "sample_ratio": 0, "trust_incoming": "trusted_proxies",
        });
        config["traces"] = traces;
    });
    let key = gateway.create_key("acme/admin");
    gateway.cli(&["allow", "add", "customer:acme", LISTED]).expect_success();
    (gateway, key)
}

#[track_caller]
fn assert_told(seen: &RecordedRequest, user: &str, method: &str, key_id: Option<&str>) {
    assert_eq!(seen.field("x-auth-customer").as_deref(), Some("acme"), "{seen:?}");
    assert_eq!(seen.field("x-auth-user").as_deref(), Some(user), "{seen:?}");
    assert_eq!(seen.field("x-auth-method").as_deref(), Some(method), "{seen:?}");
    assert_eq!(seen.field("x-auth-key-id").as_deref(), key_id, "{seen:?}");
    assert_eq!(seen.field("authorization"), None, "{seen:?}");
    assert!(!seen.head.contains("root"), "{seen:?}");
    assert_eq!(seen.field("traceparent"), None, "{seen:?}");
    assert!(seen.field("x-request-id").is_some(), "{seen:?}");
}

/// What holds behind each of them; `away` is what it answers when the gateway is gone.
fn protects_a_page(start: impl FnOnce(&TestGateway) -> Proxy, away: u16) {
    let (gateway, key) = gateway();
    let alex = gateway.create_user("acme/alex");
    let proxy = start(&gateway);
    let page = &gateway.api_upstream;

    let right = forging(&key.authorization());
    let answer = proxy.ask(LISTED, &right);
    assert_eq!((answer.status, answer.text().as_str()), (200, "{\"ok\":true}"), "{answer:?}");
    let seen = page.only_request();
    assert_eq!((seen.line(), &*seen.body), ("POST /page?a=b HTTP/1.1", &b"hello"[..]), "{seen:?}");
    assert_told(&seen, "admin", "api-key", Some(&key.id));
    assert_eq!(proxy.ask(LISTED, &forging(&alex.authorization())).status, 200);
    assert_told(&page.last_request(), "alex", "password", None);
    for line in gateway.access_log(2) {
        let trace = line["trace_id"].as_str().unwrap();
        assert_ne!(trace, CLIENTS_TRACE, "what the client says of its trace is not believed: {line}");
    }

    let refused = proxy.ask(LISTED, &Request::get("/page"));
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.field("www-authenticate"), Some("ApiKey realm=\"latchkey\""), "{refused:?}");
    assert_eq!(proxy.ask(LISTED, &forging("ApiKey wrong")).status, 401);
    // Some proxies refuse that themselves.
    let twice = proxy.ask(
        LISTED,
        &Request::get("/page").authorization("ApiKey wrong").authorization(&key.authorization()),
    );
    assert!([400, 401].contains(&twice.status), "{twice:?}");
    let elsewhere = proxy.ask(UNLISTED, &right);
    assert_eq!(elsewhere.status, 403, "{elsewhere:?}");
    explains(&gateway, &elsewhere);

    let limited = wait_for("the key's limit", || {
        let answer = proxy.ask(LISTED, &Request::get("/page").authorization(&key.authorization()));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((limited.status, limited.field("retry-after")), (429, Some("1")), "{limited:?}");
    gateway.delete_key(&key);
    let asked = page.requests().len();
    assert_eq!(proxy.ask(LISTED, &right).status, 401);

    let left = gateway.kill();
    assert_eq!(proxy.ask(LISTED, &right).status, away);
    assert_eq!(left.api_upstream.requests().len(), asked, "nothing that was refused reached the page");
}

/// The id in the answer leads to the request as its client made it.
#[track_caller]
fn explains(gateway: &TestGateway, refused: &Answer) {
    let id = refused.field("x-request-id").unwrap_or_else(|| panic!("no id: {refused:?}"));
    let told = gateway.cli(&["explain", id, "--json"]).json();
    let told = &told["refusals"][0];
    for (member, value) in [
        ("client_ip", UNLISTED),
        ("method", "POST"),
        ("target", "/page"),
        ("reason", "address_outside_customer_list"),
        ("user", "acme/admin"),
    ] {
        assert_eq!(told[member], value, "{told}");
    }
}

#[test]
fn nginx_protects_a_page() {
    protects_a_page(Proxy::nginx, 503);
}

/// A second server in the list of those that answer for Latchkey, where nobody does.
const NOBODY: &str = "127.0.0.4:1";

#[test]
fn nginx_tells_of_a_limit_also_where_another_server_was_asked_before() {
    let gateway = gateway_believing(PROXY, |config| {
        config["limits"]["requests_per_second_per_key"] = json!(1);
        config["limits"]["request_burst_per_key"] = json!(1);
    });
    let key = gateway.create_key("acme/admin");
    let proxy = Proxy::nginx_with(&gateway, |site| {
        let beginning = "upstream latchkey {\n";
        assert!(site.contains(beginning), "{site}");
        // It is asked again and again.
        site.replace(beginning, &format!("{beginning}    server {NOBODY} max_fails=0;\n"))
    });
    let request = Request::get("/page").authorization(&key.authorization());
    let refused: Vec<u16> =
        (0..20).map(|_| proxy.ask(LISTED, &request).status).filter(|status| *status != 200).collect();
    assert!(refused.len() > 10 && refused.iter().all(|status| *status == 429), "{refused:?}");
}

#[test]
fn caddy_protects_a_page() {
    protects_a_page(Proxy::caddy, 502);
}

#[test]
fn envoy_protects_a_page() {
    protects_a_page(Proxy::envoy, 503);
}
