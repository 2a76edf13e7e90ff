//! A program that is run for one event, which it reads as JSON from its standard input.
//!
//! No shell, no environment but `PATH`, no output; after its deadline it is killed with whatever it started.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::config::EventCommand;

/// Why a program was not run, or did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It could not be started.
    #[error("it could not be run: {0}")]
    Unstartable(io::Error),
    /// It could not be waited for.
    #[error("its end was missed: {0}")]
    Lost(io::Error),
    /// It says that it failed.
    #[error("it ended with {0}")]
    Failed(ExitStatus),
    /// It took too long.
    #[error("it did not end in time and was killed")]
    TooLate,
}

/// A program that has its process group to itself, which dies with this value unless the program ended before.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Where none of the group is left, there is nothing to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs `command` with `body` and a line end as its standard input, for at most `deadline`.
pub(super) async fn run(command: &EventCommand, body: &[u8], deadline: Duration) -> Result<(), CommandError> {
    let mut running = start(command).map_err(CommandError::Unstartable)?;
    let status = timeout(deadline, async {
        if let Some(mut input) = running.child.stdin.take() {
            // A program that does not read may be content all the same; its exit status tells.
            let _ = input.write_all(body).await;
            let _ = input.write_all(b"\n").await;
        }
        running.child.wait().await
    });
    let status = status.await.map_err(|_| CommandError::TooLate)?.map_err(CommandError::Lost)?;
    // What it left behind on purpose may go on.
    running.group = None;
    if status.success() { Ok(()) } else { Err(CommandError::Failed(status)) }
}

fn start(command: &EventCommand) -> io::Result<Running> {
    let mut order = Command::new(&command.program);
    order
        .args(&command.arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        order.env("PATH", path);
    }
    let child = order.spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok(Running { child, group })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::super::DEADLINE;
    use super::*;

    fn shell(script: &str) -> EventCommand {
        EventCommand { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned()] }
    }

    #[tokio::test]
    async fn a_program_gets_the_event_and_nothing_else_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let [input, environment] = ["input", "environment"].map(|name| folder.path().join(name));
        let script = format!("cat > '{}'; env > '{}'", input.display(), environment.display());
        run(&shell(&script), br#"{"event":"mfa.added"}"#, DEADLINE).await.unwrap();
        assert_eq!(fs::read_to_string(input).unwrap(), "{\"event\":\"mfa.added\"}\n");
        let names = fs::read_to_string(environment).unwrap();
        // A shell adds these by itself.
        let own = |line: &str| {
            ["PATH=", "PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|name| line.starts_with(name))
        };
        assert!(names.lines().all(own), "{names}");
    }

    #[tokio::test]
    async fn a_program_that_reads_nothing_is_judged_by_its_end() {
        let body = vec![b'x'; 1_000_000];
        run(&shell("exec <&-; exit 0"), &body, DEADLINE).await.unwrap();
        let error = run(&shell("exit 3"), &body, DEADLINE).await.unwrap_err();
        assert_eq!(error.to_string(), "it ended with exit status: 3");
        let missing = EventCommand { program: "/nonexistent/program".into(), arguments: vec![] };
        let error = run(&missing, b"{}", DEADLINE).await.unwrap_err();
        assert!(matches!(error, CommandError::Unstartable(_)), "{error}");
    }

    #[tokio::test]
    async fn no_shell_reads_the_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b; $(c)");
        let touch = EventCommand { program: "touch".into(), arguments: vec![file.display().to_string()] };
        run(&touch, b"{}", DEADLINE).await.unwrap();
        assert!(file.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up() {
        let sleep = EventCommand { program: "sleep".into(), arguments: vec!["600".to_owned()] };
        let began = tokio::time::Instant::now();
        let error = run(&sleep, b"{}", DEADLINE).await.unwrap_err();
        assert!(matches!(error, CommandError::TooLate), "{error}");
        assert_eq!(began.elapsed().as_secs(), DEADLINE.as_secs());
    }

    #[tokio::test]
    async fn what_is_given_up_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Whoever holds the pipe open for writing lives; its reader sees the end when all have died.
        let script = format!("exec 3> '{}'; echo >&3; sleep 600 & sleep 600", pipe.display());
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let reader = tokio::task::spawn_blocking(move || {
            let mut pipe = fs::File::open(pipe).unwrap();
            pipe.read_exact(&mut [0]).unwrap();
            begun.send(()).unwrap();
            pipe.read_to_end(&mut Vec::new()).unwrap()
        });
        let command = shell(&script);
        tokio::select! {
            ended = run(&command, b"{}", Duration::from_mins(10)) => panic!("{ended:?}"),
            begun = beginning => begun.unwrap(),
        }
        assert_eq!(reader.await.unwrap(), 0);
    }
}
