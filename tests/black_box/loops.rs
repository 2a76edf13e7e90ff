//! What has to be done often or long to be believed: deletions, revocations, floods of passwords and of keys, pipelines,
//! clients that are slow or do not read, kills, races, reloads, new processes, and everything at once.
//!
//! Short where nothing is said, at full length with `LATCHKEY_TEST_LENGTH=full`. Figures are shown with `--nocapture`
//! and kept in `target/loops`.

mod deletions;
mod kills;
pub mod open_things;
mod passwords;
mod pipelines;
mod races;
mod random_keys;
mod reloads;
mod revocations;
mod slow_clients;
mod soak;
mod swaps;
mod unread;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use kills::{Random, seed};

use crate::harness::{Installation, Key, Wire};

/// Held by one loop at a time: they measure, and would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows what a loop found, and keeps it in `target/loops/NAME.txt`.
pub fn report(name: &str, text: &str) {
    eprintln!("{name}: {text}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("loops");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name).with_extension("txt"), format!("{text}\n")).unwrap();
}

/// Deletes a key by the command line; the moment at which the command had exited.
fn delete_and_note_the_exit(installation: &Installation, key: &Key) -> Instant {
    let mut command = installation.command();
    command.args(["key", "delete", &key.id, "--yes", "--config"]).arg(installation.config_file());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let status = child.wait().unwrap();
    let exited = Instant::now();
    assert_eq!(status.code(), Some(0));
    exited
}

/// What a `LOGIN` is answered with; `None` where the session ends instead: the login was right,
/// and its key was deleted before the answer left.
fn try_login(mut session: Wire, key: &Key) -> Option<String> {
    session.send_line(&key.login());
    let reply = session.try_read_until(b"\n")?;
    Some(String::from_utf8(reply).unwrap().trim_end().to_owned())
}

/// `p50 … p99 … max …` in milliseconds.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(50), at(99), at(100))
}
