//! A `PostgreSQL` server of a test's own, which it may stop, and databases on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server, gone with this value.
pub struct PostgresServer {
    folder: PathBuf,
    url: String,
}

impl PostgresServer {
    /// Makes a server and starts it.
    pub fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        // Not in a private folder: the server runs as an operating-system user of its own.
        let folder = std::env::temp_dir().join(format!("latchkey-postgres-{}-{number}", std::process::id()));
        let url = script("start", &folder);
        Self { folder, url: url.trim().to_owned() }
    }

    /// Makes an empty database; its URL.
    pub fn new_database(&self) -> String {
        new_database(&self.url)
    }

    /// Ends it as a crash of its machine would.
    pub fn stop(&self) {
        script("stop", &self.folder);
    }

    /// Starts it again.
    pub fn start_again(&self) {
        script("again", &self.folder);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        script("remove", &self.folder);
    }
}

/// Makes an empty database beside the one that `server` names; its URL.
pub fn new_database(server: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("b{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    query(server, &format!("CREATE DATABASE {name}"));
    let (beginning, _) = server.rsplit_once('/').unwrap();
    format!("{beginning}/{name}")
}

/// Runs a statement in the database; what it answers, a row a line.
pub fn query(database: &str, statement: &str) -> String {
    let output =
        Command::new("psql").args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, database]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn script(command: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres");
    let output = Command::new(script).arg(command).arg(folder).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
