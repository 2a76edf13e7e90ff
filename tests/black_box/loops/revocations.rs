//! How soon what is open ends, for each kind of revocation (PROTOCOL section 3, point 8).

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::WebSocket;

use super::open_things::{
    Open, expect_echo, let_streams_age, let_things_stay_open, open_everything, open_socket, serve_open_things,
};
use super::{alone, percentiles, report};
use crate::harness::{FrameClient, Key, Request, TestGateway, Wire, by_length};

/// From the moment at which the change is in effect (issue "Done when" 2).
const BAR: Duration = Duration::from_millis(1_200);
/// Users whose things are open at the same time.
const BATCH: usize = 20;
/// How long a rotated key goes on.
const OVERLAP: Duration = Duration::from_secs(2);

/// How the things that end were opened.
#[derive(Clone, Copy)]
enum By {
    Key,
    Password,
}

/// A kind of revocation: its name, what it ends, and the command's words, in which `USER` and `KEY` stand for both.
const KINDS: [(&str, By, &str); 10] = [
    ("key deleted", By::Key, "key delete KEY --yes"),
    ("key disabled", By::Key, "key disable KEY"),
    ("key expired", By::Key, "key rotate KEY --overlap 2s"),
    ("access points closed", By::Key, "user update USER --access none"),
    ("user's list narrowed", By::Key, "allow add user:USER 192.0.2.0/24"),
    ("user deactivated", By::Key, "user deactivate USER"),
    ("user deleted", By::Key, "user delete USER --yes"),
    ("first key made", By::Password, "key create USER --description first --scope api --yes"),
    ("MFA forced", By::Password, "user update USER --force-mfa"),
    ("password changed", By::Password, "user set-password USER --password-file new-password"),
];

/// A user with all that it has opened.
struct Target {
    user: String,
    key: Option<Key>,
    open: Vec<Open>,
}

impl Target {
    fn make(gateway: &TestGateway, user: &str, by: By) -> Self {
        let (login, authorization, key) = match by {
            By::Key => {
                gateway.cli(&["user", "create", user]).expect_success();
                let key = gateway.create_key(user);
                (key.login(), key.authorization(), Some(key))
            }
            By::Password => {
                let made = gateway.create_user(user);
                (made.login(), made.authorization(), None)
            }
        };
        Self { user: user.to_owned(), key, open: open_everything(gateway, &login, &authorization) }
    }

    /// `command` for this user and key.
    fn arguments(&self, command: &str) -> Vec<String> {
        let key = self.key.as_ref().map_or("", |key| key.id.as_str());
        command.split(' ').map(|word| word.replace("USER", &self.user).replace("KEY", key)).collect()
    }
}

/// Runs a command; when it began, and the moment at which its change is in effect, or one a little before it.
fn revoke(gateway: &TestGateway, arguments: &[String]) -> (Instant, Instant) {
    let mut command = gateway.command();
    command.args(arguments).arg("--config").arg(gateway.config_file());
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let exited = Instant::now();
    assert_eq!(status.code(), Some(0), "{arguments:?}");
    (began, if arguments[1] == "rotate" { began + OVERLAP } else { exited })
}

/// How long something lasted.
struct Lasted {
    what: &'static str,
    after_effect: Duration,
    after_beginning: Duration,
}

/// Revokes each target of a batch.
fn revoke_batch(gateway: &TestGateway, batch: Vec<Target>, command: &str) -> Vec<Lasted> {
    thread::scope(|scope| {
        let mut revoked = Vec::new();
        for mut target in batch {
            let watch = |(what, wait): Open| {
                let watcher = scope.spawn(move || {
                    wait();
                    Instant::now()
                });
                (what, watcher)
            };
            let watchers: Vec<_> = target.open.drain(..).map(watch).collect();
            revoked.push((revoke(gateway, &target.arguments(command)), watchers));
        }
        let mut lasted = Vec::new();
        for ((began, effective), watchers) in revoked {
            for (what, watcher) in watchers {
                let ended = watcher.join().unwrap();
                let after_effect = ended.saturating_duration_since(effective);
                lasted.push(Lasted { what, after_effect, after_beginning: ended - began });
            }
        }
        lasted
    })
}

/// A gateway before an upstream whose streams say one thing and then nothing.
fn start_gateway() -> TestGateway {
    let gateway = TestGateway::configured(|config| {
        // So that a first key ends the session too.
        config["policy"] = json!({ "key_ends_password_at": ["api", "isproxy"] });
        let_things_stay_open(config);
    });
    gateway.create_customer("acme");
    fs::write(gateway.path("new-password"), "another-battery-staple-horse").unwrap();
    serve_open_things(&gateway.api_upstream);
    gateway
}

/// Somebody else's session and streams, which must outlast every change.
struct Bystander {
    session: Wire,
    stream: Wire,
    socket: WebSocket<Wire>,
    windowless: FrameClient,
}

impl Bystander {
    fn open(gateway: &TestGateway) -> Self {
        let key = gateway.create_key("acme/admin");
        let mut stream = gateway.connect("api");
        stream.send(Request::get("/stream").authorization(&key.authorization()).to_bytes());
        assert_eq!(stream.read_answer_head().status, 200);
        assert_eq!(stream.read_chunk().unwrap(), b"data: 1\n\n");
        let mut windowless = FrameClient::connect(gateway.address("api"), 0);
        let number = windowless.get("/stream", &key.authorization());
        windowless.expect_head(number);
        let socket = open_socket(gateway, &key.authorization());
        Self { session: gateway.isproxy_session(&key.login()), stream, socket, windowless }
    }

    fn expect_unharmed(&mut self) {
        assert_eq!(self.session.ask("IS example.net"), "example.net available");
        self.stream.expect_silence(Duration::from_millis(1));
        expect_echo(&mut self.socket);
        self.windowless.expect_unharmed();
    }
}

#[test]
fn s20_s22_s23_whatever_is_open_ends_within_1200_ms_of_each_kind_of_revocation() {
    let _alone = alone();
    let rounds = by_length(5, 200);
    let mut lines = Vec::new();
    let mut slowest = Duration::ZERO;
    for (kind, by, command) in KINDS {
        let gateway = start_gateway();
        let mut bystander = Bystander::open(&gateway);
        let mut times: BTreeMap<&str, (Vec<Duration>, Vec<Duration>)> = BTreeMap::new();
        let numbers: Vec<usize> = (0..rounds).collect();
        for numbers in numbers.chunks(BATCH) {
            let batch = numbers.iter().map(|number| Target::make(&gateway, &format!("acme/u{number}"), by));
            let batch = batch.collect();
            let_streams_age();
            for lasted in revoke_batch(&gateway, batch, command) {
                let times = times.entry(lasted.what).or_default();
                times.0.push(lasted.after_effect);
                times.1.push(lasted.after_beginning);
                slowest = slowest.max(lasted.after_effect);
            }
            bystander.expect_unharmed();
        }
        for (what, (after_effect, after_beginning)) in times {
            assert_eq!(after_effect.len(), rounds);
            let (effect, beginning) = (percentiles(after_effect), percentiles(after_beginning));
            lines.push(format!(
                "  {kind:<20}  {what:<21}  {effect}; from the command's beginning {beginning}"
            ));
        }
    }
    let lines = lines.join("\n");
    report("revocations", &format!("{rounds} of each kind, from the moment it is in effect\n{lines}"));
    assert!(slowest < BAR, "the slowest took {slowest:?}");
}
