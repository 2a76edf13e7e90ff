//! The gateway under valgrind's callgrind, and what a door thread has executed between two moments.
//!
//! Only instructions in user space count, and only the door thread's: the others wake up by the clock.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::black_box::harness::{Installation, TestGateway, run};

/// Only door threads execute functions of this module; inlined into each other or not, some of them show.
const DOOR_CODE: &str = "latchkey::gateway::";

/// A running gateway whose instructions can be counted.
pub struct CountedGateway {
    gateway: TestGateway,
    dumps: PathBuf,
    vgdb_prefix: PathBuf,
}

impl CountedGateway {
    /// Serves `installation` under callgrind. Nothing counts yet, so that the start is quick.
    pub fn serve(installation: Installation) -> Self {
        let dumps = installation.path("callgrind");
        fs::create_dir(&dumps).unwrap();
        let vgdb_prefix = dumps.join("vgdb");
        let gateway = installation.command();
        let mut command = Command::new("valgrind");
        command.current_dir(installation.folder()).env("LATCHKEY_LOG", "info");
        for (name, value) in gateway.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["-q", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no"]);
        command.arg(option("--vgdb-prefix=", &vgdb_prefix));
        command.arg(option("--callgrind-out-file=", &dumps.join("dump")));
        command.arg(gateway.get_program()).args(["serve", "--config"]).arg(installation.config_file());
        let gateway = installation.serve_by(&mut command);
        let counted = Self { gateway, dumps, vgdb_prefix };
        counted.tell(&["instrumentation", "on"]);
        counted
    }

    /// The gateway, to be asked.
    pub fn gateway(&self) -> &TestGateway {
        &self.gateway
    }

    /// Instructions that the door thread executes while `work` is done.
    pub fn count(&self, work: impl FnOnce()) -> u64 {
        self.tell(&["zero"]);
        work();
        self.tell(&["dump"]);
        let dumps = self.take_dumps();
        let of_doors: Vec<&String> = dumps.iter().filter(|dump| dump.contains(DOOR_CODE)).collect();
        assert_eq!(of_doors.len(), 1, "threads that executed {DOOR_CODE}, of {}", dumps.len());
        instructions(of_doors[0]).expect("a dump has a line of totals")
    }

    /// Reads the dumps, one a thread, and removes them.
    fn take_dumps(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dumps).unwrap().map(|entry| entry.unwrap().path());
        let dumps = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("dump"));
        let read = dumps.map(|path| {
            let dump = fs::read_to_string(&path).unwrap();
            fs::remove_file(path).unwrap();
            dump
        });
        read.collect()
    }

    /// Gives callgrind an order, and waits until it is carried out.
    fn tell(&self, words: &[&str]) {
        let mut command = Command::new("vgdb");
        run(command.arg(option("--vgdb-prefix=", &self.vgdb_prefix)).args(words), b"").expect_success();
    }
}

fn option(name: &str, path: &Path) -> OsString {
    [OsStr::new(name), path.as_os_str()].into_iter().collect()
}

/// The sum of a dump: its line `totals: N`.
fn instructions(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}
