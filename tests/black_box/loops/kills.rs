//! `kill -9` at any moment of creations and deletions, to the command line and to the gateway.

use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{alone, report};
use crate::harness::{Installation, Key, Request, TestGateway, by_length, wait_for};

/// A small generator (xorshift64*): the moments can be had again from the seed.
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// Where the numbers begin; `LATCHKEY_TEST_SEED` chooses.
pub fn seed() -> u64 {
    let given = std::env::var("LATCHKEY_TEST_SEED").ok();
    given.map_or(0x1a7c_4be5, |seed| seed.parse().expect("LATCHKEY_TEST_SEED is a number"))
}

/// Who is killed while a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    CommandLine,
    Gateway,
    Both,
}

/// What was acknowledged, and what nobody can know yet.
#[derive(Default)]
struct History {
    /// Made with exit 0 or shown in full.
    alive: Vec<Key>,
    /// Deleted with exit 0, or seen to be.
    dead: Vec<Key>,
    /// Their deletion was killed: one or the other, and then for good.
    torn: Vec<Key>,
    acknowledged: usize,
    killed: usize,
}

/// The gateway, or what a kill left of it.
enum State {
    Running(TestGateway),
    Down(Installation),
}

impl State {
    fn installation(&self) -> &Installation {
        match self {
            Self::Running(gateway) => gateway,
            Self::Down(installation) => installation,
        }
    }

    fn kill(self) -> Self {
        match self {
            Self::Running(gateway) => Self::Down(gateway.kill()),
            down @ Self::Down(_) => down,
        }
    }

    fn serve(self) -> TestGateway {
        match self {
            Self::Running(gateway) => gateway,
            Self::Down(installation) => installation.serve(),
        }
    }
}

fn spawn(installation: &Installation, arguments: &[&str]) -> Child {
    let mut command = installation.command();
    command.args(arguments).arg("--config").arg(installation.config_file());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Ends a command that may have been killed: its exit code and what it printed.
fn finish(mut child: Child) -> (Option<i32>, String) {
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    (child.wait().unwrap().code(), stdout)
}

/// Runs a command and kills the victim after `moment`.
fn run_and_kill(
    state: State,
    arguments: &[&str],
    victim: Victim,
    moment: Duration,
) -> (State, Option<i32>, String) {
    let mut child = spawn(state.installation(), arguments);
    let due = Instant::now() + moment;
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
    if victim != Victim::Gateway {
        child.kill().unwrap();
    }
    let state = if victim == Victim::CommandLine { state } else { state.kill() };
    let (code, stdout) = finish(child);
    (state, code, stdout)
}

const CREATE: [&str; 9] =
    ["key", "create", "acme/admin", "--description", "d", "--scope", "api,isproxy", "--yes", "--json"];

fn shown_key(stdout: &str) -> Option<Key> {
    let shown: Value = serde_json::from_str(stdout).ok()?;
    Some(Key { text: shown["key"].as_str()?.to_owned(), id: shown["id"].as_str()?.to_owned() })
}

impl History {
    fn create(&mut self, state: State, victim: Victim, moment: Duration) -> State {
        let (state, code, stdout) = run_and_kill(state, &CREATE, victim, moment);
        let key = shown_key(&stdout);
        assert!(code != Some(0) || key.is_some(), "exit 0 without a key: {stdout:?}");
        assert!(matches!(code, Some(0) | None), "exit code {code:?}");
        self.count(code);
        // Shown in full is a promise, also by a command that was killed right after; but only one that ends by itself
        // has waited until the running gateway knows.
        if let (None, Some(key), State::Running(gateway)) = (code, &key, &state) {
            wait_for("the key at the gateway", || {
                (gateway.api_get("/", &key.authorization()).status == 200).then_some(())
            });
        }
        self.alive.extend(key);
        state
    }

    fn delete(&mut self, state: State, victim: Victim, moment: Duration, key: Key) -> State {
        let (state, code, _) = run_and_kill(state, &["key", "delete", &key.id, "--yes"], victim, moment);
        assert!(matches!(code, Some(0) | None), "exit code {code:?}");
        self.count(code);
        if code == Some(0) {
            self.dead.push(key);
        } else {
            self.torn.push(key);
        }
        state
    }

    fn count(&mut self, code: Option<i32>) {
        if code == Some(0) {
            self.acknowledged += 1;
        } else {
            self.killed += 1;
        }
    }

    /// Each key must be what was acknowledged.
    fn check(&self, gateway: &TestGateway, round: usize) {
        let mut wire = gateway.connect("api");
        let mut status =
            |key: &Key| wire.exchange(&Request::get("/").authorization(&key.authorization())).status;
        for key in &self.alive {
            assert_eq!(status(key), 200, "round {round}: {} was made, and is lost", key.id);
        }
        for key in &self.dead {
            assert_eq!(status(key), 401, "round {round}: {} was deleted, and is revived", key.id);
        }
    }

    /// A gateway that has just read the store says what became of torn deletions.
    fn settle(&mut self, gateway: &TestGateway) {
        for key in std::mem::take(&mut self.torn) {
            match gateway.api_get("/", &key.authorization()).status {
                200 => self.alive.push(key),
                401 => self.dead.push(key),
                other => panic!("status {other}"),
            }
        }
    }

    /// The command line must say the same.
    fn check_by_command_line(&self, installation: &Installation) {
        let test =
            |key: &Key| installation.cli_with_input(&["key", "test", "--json"], &format!("{}\n", key.text));
        for key in &self.alive {
            let told = test(key).expect_success();
            assert!(told.contains(&key.id), "{told}");
        }
        for key in &self.dead {
            assert_ne!(test(key).code, Some(0), "{} was deleted, and is known", key.id);
        }
    }
}

/// How long a command takes here when nobody is killed.
fn usual_duration(gateway: &TestGateway, history: &mut History) -> Duration {
    let began = Instant::now();
    for _ in 0..3 {
        history.alive.push(gateway.create_key("acme/admin"));
    }
    began.elapsed() / 3
}

#[test]
fn s81_kill_9_loses_no_acknowledged_change_and_revives_no_deleted_key() {
    let _alone = alone();
    let rounds = by_length(20, 200);
    let seed = seed();
    eprintln!("seed {seed} (LATCHKEY_TEST_SEED={seed} repeats it)");
    let mut random = Random(seed.max(1));
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let mut history = History::default();
    let usual = usual_duration(&gateway, &mut history);
    let longest = u64::try_from(usual.as_micros()).unwrap() * 5 / 4;
    let mut state = State::Running(gateway);
    for round in 0..rounds {
        let victim = [Victim::CommandLine, Victim::Gateway, Victim::Both][round % 3];
        let moment = Duration::from_micros(random.below(longest));
        let count = u64::try_from(history.alive.len()).unwrap();
        state = if count < 3 || random.below(2) == 0 {
            history.create(state, victim, moment)
        } else {
            let chosen = usize::try_from(random.below(count)).unwrap();
            let key = history.alive.swap_remove(chosen);
            history.delete(state, victim, moment, key)
        };
        let restarted = matches!(state, State::Down(_));
        let gateway = state.serve();
        if restarted {
            history.settle(&gateway);
        }
        history.check(&gateway, round);
        state = State::Running(gateway);
    }
    let gateway = state.kill().serve();
    history.settle(&gateway);
    history.check(&gateway, rounds);
    history.check_by_command_line(&gateway);
    report(
        "kills",
        &format!(
            "{rounds} creations and deletions with kill -9 within {:.0?} (seed {seed}): {} acknowledged, {} killed \
             before that; {} keys there, {} deleted, none lost, none revived",
            Duration::from_micros(longest),
            history.acknowledged,
            history.killed,
            history.alive.len(),
            history.dead.len()
        ),
    );
}
