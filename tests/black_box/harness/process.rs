//! Programs that a test runs: with a deadline, and their output kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{Output, PATIENCE, wait_for};

/// Runs `command` to its end, giving it `input`; fails where it takes longer than three times [`PATIENCE`].
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    run_within(PATIENCE * 3, command, input)
}

/// Runs `command` to its end, giving it `input`; fails where it takes longer than `time`.
pub fn run_within(time: Duration, command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    // A program that ends without reading its input is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(input);
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let reading_stdout = std::thread::spawn(move || read_all(&mut stdout));
    let reading_stderr = std::thread::spawn(move || read_all(&mut stderr));
    let status = wait_for_end(&mut child, command, time);
    Output {
        code: status.code(),
        stdout: reading_stdout.join().unwrap(),
        stderr: reading_stderr.join().unwrap(),
    }
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait_for_end(child: &mut Child, command: &Command, time: Duration) -> ExitStatus {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            panic!("{command:?} did not end");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// What a program has said, or will have when it has ended.
pub struct LogOf(Arc<Log>);

impl LogOf {
    /// All of it, from a program that has ended.
    pub fn whole(&self) -> String {
        let state = self.0.state.lock().unwrap();
        let (state, _) = self.0.changed.wait_timeout_while(state, PATIENCE, |state| !state.ended).unwrap();
        assert!(state.ended, "the program has not ended");
        state.lines.join("\n")
    }
}

/// A program that goes on running, with the lines of its stderr.
pub struct Running {
    child: Child,
    /// Those that took its place, one after the other; they write into the same log.
    successors: Mutex<Vec<u32>>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        Self::start_reading(command, Stdio::null())
    }

    /// Starts `command` with this as its standard input.
    pub fn start_reading(command: &mut Command, input: Stdio) -> Self {
        let mut child = command.stdin(input).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let written = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let line = strip_ansi(&String::from_utf8_lossy(&line));
                written.state.lock().unwrap().lines.push(line);
                written.changed.notify_all();
            }
            written.state.lock().unwrap().ended = true;
            written.changed.notify_all();
        });
        Self { child, successors: Mutex::default(), log }
    }

    /// Its number; of the one that took its place, if one did.
    pub fn id(&self) -> u32 {
        self.successors.lock().unwrap().last().copied().unwrap_or_else(|| self.child.id())
    }

    /// Asks it to have a new process take over (SIGUSR2).
    pub fn ask_for_successor(&self) {
        self.signal(rustix::process::Signal::USR2);
    }

    /// Has a new process take over, and waits until it serves.
    pub fn swap(&self) {
        let before = self.successors.lock().unwrap().len();
        self.ask_for_successor();
        let pid = self.wait_for_log("a new process", |lines| {
            let mut told = lines.iter().filter(|line| line.contains("a new process serves on all sockets"));
            let line = told.nth(before)?;
            line.split_whitespace().find_map(|word| word.strip_prefix("pid=")?.parse().ok())
        });
        self.successors.lock().unwrap().push(pid);
    }

    /// The memory that it has in RAM (`VmRSS` of proc(5)).
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap();
        kibibytes * 1_024
    }

    /// What it has used of the processor so far (`utime` and `stime` of proc(5), in hundredths of a second).
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, in brackets, may hold blanks.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// A handle on the log that outlives the program.
    pub fn log_of(&self) -> LogOf {
        LogOf(Arc::clone(&self.log))
    }

    /// All lines so far.
    pub fn log(&self) -> String {
        self.log.state.lock().unwrap().lines.join("\n")
    }

    /// Reads the lines from the first one on until `found` answers; fails when the program ends before.
    pub fn wait_for_log<T>(&self, what: &str, found: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.log.state.lock().unwrap();
        loop {
            if let Some(found) = found(&state.lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let log = || state.lines.join("\n");
            assert!(!state.ended, "the program ended without {what}; it said:\n{}", log());
            assert!(!left.is_zero(), "waited in vain for {what}; so far:\n{}", log());
            state = self.log.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Its files may grow as far as they ever might.
    pub fn lift_file_limit(&self) {
        let pid = Pid::from_child(&self.child);
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Ends it at once (SIGKILL), as a power cut would.
    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.wait()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        signal_process(self.id(), signal);
    }

    /// Waits for its end, and for the end of all that took its place; how the first one ended.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the end of the program", || self.child.try_wait().unwrap());
        if !self.successors.lock().unwrap().is_empty() {
            let state = self.log.state.lock().unwrap();
            let (state, _) =
                self.log.changed.wait_timeout_while(state, PATIENCE, |state| !state.ended).unwrap();
            assert!(state.ended, "a process that took over does not end");
        }
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for successor in self.successors.lock().unwrap().iter() {
            signal_process(*successor, rustix::process::Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}\n--- end of the log ---", self.log());
        }
    }
}

fn signal_process(id: u32, signal: rustix::process::Signal) {
    let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    // It may have ended by itself.
    let _ = rustix::process::kill_process(id, signal);
}

/// Leaves colours and the like out of a line.
fn strip_ansi(line: &str) -> String {
    let mut plain = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            for skipped in letters.by_ref() {
                if skipped.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(letter);
        }
    }
    plain
}
