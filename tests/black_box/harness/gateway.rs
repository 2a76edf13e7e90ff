//! A gateway as an operator would install it, in a folder of its own, and the same one running.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{LogOf, Running};
use super::{Answer, Authority, HttpUpstream, IsProxyUpstream, PASSWORD, Request, Secrets, Wire, wait_for};

/// A configuration with its folder, certificates and recording upstreams; nothing runs yet.
///
/// Listeners: `api` (no TLS, credentials allowed), `api-tls`, `api-refuse` (no TLS, credentials refused), `isproxy`
/// (STARTTLS offered, plaintext allowed), `isproxy-refuse` (STARTTLS needed), `ops`, `console` (no TLS, as
/// `http://localhost`).
pub struct Installation {
    folder: TempDir,
    config: Value,
    secrets: Secrets,
    /// What every run of the gateway has said.
    logs: Mutex<Vec<LogOf>>,
    /// What the API listeners forward to.
    pub api_upstream: HttpUpstream,
    /// What the `IsProxy` listeners relay to.
    pub isproxy_upstream: IsProxyUpstream,
}

/// An [`Installation`] that is served.
pub struct TestGateway {
    process: Running,
    addresses: HashMap<String, SocketAddr>,
    installation: Installation,
}

impl Installation {
    /// The usual configuration.
    pub fn new() -> Self {
        Self::configured(|_| {})
    }

    /// The usual configuration with a change to it.
    pub fn configured(change: impl FnOnce(&mut Value)) -> Self {
        let folder = TempDir::new().unwrap();
        Authority::shared().write_to(folder.path());
        let api_upstream = HttpUpstream::start();
        let isproxy_upstream = IsProxyUpstream::start();
        let mut config = usual_config(api_upstream.address(), isproxy_upstream.address());
        change(&mut config);
        let secrets = Secrets::default();
        secrets.note("password", PASSWORD);
        let logs = Mutex::default();
        let installation = Self { folder, config, secrets, logs, api_upstream, isproxy_upstream };
        installation.write_config();
        installation
    }

    /// What nothing here may give away.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Changes the configuration between two runs.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.config);
        self.write_config();
    }

    /// JSON is YAML.
    fn write_config(&self) {
        fs::write(self.config_file(), serde_json::to_string_pretty(&self.config).unwrap()).unwrap();
    }

    /// The configuration's file.
    pub fn config_file(&self) -> PathBuf {
        self.path("latchkey.yaml")
    }

    /// A path within the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The whole folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `latchkey serve` and waits until it is ready.
    pub fn serve(self) -> TestGateway {
        self.serve_logging("info", &[])
    }

    /// Starts it with more in its environment.
    pub fn serve_with(self, environment: &[(&str, &str)]) -> TestGateway {
        self.serve_logging("info", environment)
    }

    /// Starts it, logging everything that it can log.
    pub fn serve_verbosely(self) -> TestGateway {
        self.serve_logging("trace,latchkey=trace", &[])
    }

    /// Starts it with this much log, and more in its environment.
    fn serve_logging(self, level: &str, environment: &[(&str, &str)]) -> TestGateway {
        let mut command = self.command();
        command.args(["serve", "--config"]).arg(self.config_file()).env("LATCHKEY_LOG", level);
        command.envs(environment.iter().copied());
        self.serve_by(&mut command)
    }

    /// Starts it by a command of the caller's, which must end in `latchkey serve`, and waits until it is ready.
    pub fn serve_by(self, command: &mut Command) -> TestGateway {
        self.serve_by_reading(command, Stdio::null())
    }

    /// Like [`Installation::serve_by`], with this as its standard input.
    pub fn serve_by_reading(self, command: &mut Command, input: Stdio) -> TestGateway {
        let process = Running::start_reading(command, input);
        self.logs.lock().unwrap().push(process.log_of());
        let listeners = self.config["listeners"].as_array().unwrap();
        let names: Vec<String> = listeners.iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect();
        let addresses = process.wait_for_log("the address of every listener", |lines| {
            let found: HashMap<_, _> = lines.iter().filter_map(|line| parse_listening(line)).collect();
            names.iter().all(|name| found.contains_key(name)).then_some(found)
        });
        let gateway = TestGateway { process, addresses, installation: self };
        wait_for("readiness", || (gateway.ask_ops("/readyz").status == 200).then_some(()));
        gateway
    }
}

/// Whatever a story did: no log and no file may hold a secret at its end.
impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for log in self.logs.lock().unwrap().iter() {
            self.secrets.search("the gateway's log", log.whole().as_bytes());
        }
        self.secrets.search_files(self.folder.path());
    }
}

impl Deref for TestGateway {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

impl TestGateway {
    /// The usual gateway, running.
    pub fn start() -> Self {
        Installation::new().serve()
    }

    /// A gateway with a change to the usual configuration, running.
    pub fn configured(change: impl FnOnce(&mut Value)) -> Self {
        Installation::configured(change).serve()
    }

    /// The usual gateway, logging everything that it can log.
    pub fn verbose() -> Self {
        Installation::new().serve_verbosely()
    }

    /// Where a listener is.
    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self.addresses.get(listener).unwrap_or_else(|| panic!("no listener {listener}"))
    }

    /// What browsers call the console by.
    pub fn console_url(&self) -> String {
        format!("http://localhost:{}", self.address("console").port())
    }

    /// The process.
    pub fn process(&self) -> &Running {
        &self.process
    }

    /// A connection to a listener, without TLS.
    #[track_caller]
    pub fn connect(&self, listener: &str) -> Wire {
        Wire::connect(self.address(listener))
    }

    /// A connection to a listener from another address of this machine.
    #[track_caller]
    pub fn connect_from(&self, source: &str, listener: &str) -> Wire {
        Wire::connect_from(source, self.address(listener))
    }

    /// A connection to the API over TLS that speaks HTTP/1.1.
    pub fn connect_tls(&self) -> Wire {
        Wire::connect_tls(self.address("api-tls"), Authority::shared().client(&["http/1.1"]))
    }

    /// GET at the API, on a connection of its own.
    #[track_caller]
    pub fn api_get(&self, target: &str, authorization: &str) -> Answer {
        self.connect("api").exchange(&Request::get(target).authorization(authorization))
    }

    /// GET at the API from another address of this machine.
    #[track_caller]
    pub fn api_get_from(&self, source: &str, target: &str, authorization: &str) -> Answer {
        self.connect_from(source, "api").exchange(&Request::get(target).authorization(authorization))
    }

    /// What a `LOGIN` line is answered with, on a session of its own.
    #[track_caller]
    pub fn isproxy_login(&self, line: &str) -> String {
        self.connect("isproxy").ask(line)
    }

    /// A session that is logged in.
    #[track_caller]
    pub fn isproxy_session(&self, login: &str) -> Wire {
        let mut session = self.connect("isproxy");
        assert_eq!(session.ask(login), "100 Login ok");
        session
    }

    /// GET at the ops listener.
    pub fn ask_ops(&self, target: &str) -> Answer {
        let answer = self.connect("ops").exchange(&Request::get(target));
        self.secrets().search(target, &answer.body);
        answer
    }

    /// The value of a series of `/metrics`; none where it is not there.
    pub fn metric(&self, series: &str) -> Option<u64> {
        let text = self.ask_ops("/metrics").text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse().unwrap_or_else(|_| panic!("{series} is {value:?}")))
    }

    /// How many changed configurations were `applied` or `refused` so far.
    pub fn reloads(&self, outcome: &str) -> u64 {
        self.metric(&format!("latchkey_config_reloads_total{{outcome=\"{outcome}\"}}")).unwrap()
    }

    /// Changes the configuration's file of the running gateway, and no more.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut Value)) {
        self.installation.reconfigure(change);
    }

    /// Changes the configuration's file, and waits until the gateway has put it in force, asked to by SIGHUP.
    pub fn reload(&mut self, change: impl FnOnce(&mut Value)) {
        let before = self.reloads("applied");
        self.rewrite(change);
        self.process.hang_up();
        self.wait_for_reload("applied", before);
    }

    /// Changes the configuration's file, and waits until the log says that it is in force: the ops listener may move.
    pub fn reload_by_log(&mut self, change: impl FnOnce(&mut Value)) {
        let count = |lines: &[String]| {
            lines.iter().filter(|line| line.contains("the configuration is in force")).count()
        };
        let before = self.process.wait_for_log("anything", |lines| Some(count(lines)));
        self.rewrite(change);
        self.process.hang_up();
        self.process.wait_for_log("a reload", |lines| (count(lines) > before).then_some(()));
    }

    /// Where a listener is from now on.
    pub fn moved(&mut self, listener: &str, address: SocketAddr) {
        self.addresses.insert(listener.to_owned(), address);
    }

    /// Waits until there is one more reload with this outcome than there were `before`.
    pub fn wait_for_reload(&self, outcome: &str, before: u64) {
        wait_for("a reload", || (self.reloads(outcome) > before).then_some(()));
    }

    /// The lines of the access log, once there are at least `count`.
    pub fn access_log(&self, count: usize) -> Vec<Value> {
        wait_for("lines of the access log", || {
            let text = fs::read_to_string(self.path("access.jsonl")).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Asks it to end and waits; answers how it ended, what it said, and what is left of it.
    pub fn stop(mut self) -> (ExitStatus, String, Installation) {
        self.process.terminate();
        let status = self.process.wait();
        (status, self.process.log(), self.installation)
    }

    /// Ends it as a power cut would; what is left can be served again.
    pub fn kill(mut self) -> Installation {
        self.process.kill();
        self.installation
    }
}

/// `… listening listener="api" address=127.0.0.1:40123`, in any order and with or without quotes.
fn parse_listening(line: &str) -> Option<(String, SocketAddr)> {
    let value = |name: &str| {
        let mut words = line.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
    };
    line.contains("listening").then_some(())?;
    Some((value("listener")?.to_owned(), value("address")?.parse().ok()?))
}

/// An address for a listener that is named before it is bound.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A port that is named before it is bound. It is below those that the system gives away by itself, where each process
/// of tests begins elsewhere and goes on from there.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let beginning = u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = 11_000 + (beginning + TAKEN.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A file, or a new database of the server that `LATCHKEY_TEST_DATABASES` names: the same stories hold for both.
fn store_url() -> String {
    match std::env::var("LATCHKEY_TEST_DATABASES") {
        Ok(server) => super::postgres::new_database(&server),
        Err(_) => String::from("sqlite:data/latchkey.db"),
    }
}

fn usual_config(api: SocketAddr, isproxy: SocketAddr) -> Value {
    let tls = json!({ "certificate": "server.crt", "private_key": "server.key" });
    let routes = json!([{ "path": "/", "upstream": "registry" }]);
    let any = "127.0.0.1:0";
    let console_port = free_port();
    json!({
        "store": { "url": store_url() },
        "master_key_file": "master.key",
        "listeners": [
            { "name": "api", "protocol": "http", "address": any, "plaintext_credentials": "allow", "routes": routes },
            { "name": "api-tls", "protocol": "http", "address": any, "tls": tls, "routes": routes },
            { "name": "api-refuse", "protocol": "http", "address": any, "routes": routes },
            { "name": "isproxy", "protocol": "isproxy", "address": any, "tls": tls,
              "plaintext_credentials": "allow", "upstream": "availability" },
            { "name": "isproxy-refuse", "protocol": "isproxy", "address": any, "tls": tls, "upstream": "availability" },
            { "name": "ops", "protocol": "ops", "address": any },
            { "name": "console", "protocol": "console", "address": format!("127.0.0.1:{console_port}"),
              "public_url": format!("http://localhost:{console_port}") },
        ],
        "upstreams": [
            { "name": "registry", "protocol": "http", "servers": [format!("http://{api}")] },
            { "name": "availability", "protocol": "isproxy", "servers": [isproxy.to_string()] },
        ],
        "threads": 2,
        // Tests send many wrong credentials from one address, and wait for none of their answers longer than need be.
        "limits": { "failed_credentials_per_address": 0, "failed_passwords_per_user": 0,
                    "isproxy_failed_login_delay_milliseconds": 1 },
        "access_log": { "path": "access.jsonl" },
    })
}
