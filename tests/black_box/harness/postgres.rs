//! A `PostgreSQL` server of a test's own, which it may stop, and databases on it.

use std::net::SocketAddr;
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

    /// Makes a replica of this server, which follows it as it can and keeps nothing waiting.
    pub fn replica(&self) -> Self {
        let folder = self.folder.with_extension("replica");
        let url = script_with(&["replica", folder.to_str().unwrap(), self.folder.to_str().unwrap()]);
        Self { folder, url: url.trim().to_owned() }
    }

    /// Makes a replica the primary.
    pub fn promote(&self) {
        script("promote", &self.folder);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.url.split('@').nth(1).unwrap().split('/').next().unwrap().parse().unwrap()
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
    script_with(&[command, folder.to_str().unwrap()])
}

fn script_with(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres");
    let output = Command::new(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
