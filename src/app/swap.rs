//! A new process in the place of this one, on the same sockets: SIGUSR2.
//!
//! The program that stands at this one's path now is started with the same arguments and gets every listening socket and
//! address lock. These are the same sockets, not copies: what queues there is accepted by either, and closed by neither.
//! Once the new process serves, this one is to drain; where it fails, this one goes on as if nobody had asked. Who is
//! told what, and the drain, are `reload`'s matter, which calls this; the new process's side stands in [`inheritance`].

mod channel;
mod inheritance;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix;
use tokio::time::{Instant, timeout_at};

use self::channel::{Channel, Message};
pub(in crate::app) use self::inheritance::Heir;
use super::sockets::Sockets;
use super::systemd::{NOTIFY_SOCKET, OWN_VARIABLES};
use crate::net::Drain;

/// Names the process whose sockets are on their way, to the one that is to have them.
const HANDOVER_VARIABLE: &str = "LATCHKEY_HANDOVER";
/// How long a new process may take to be ready: it loads the index of all keys first.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// How long one that is ended may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How this process was started, and would be again.
#[derive(Clone, Debug)]
pub(super) struct OwnProgram {
    path: PathBuf,
    arguments: Vec<OsString>,
    /// Whoever started this process takes its end for the end of the service.
    must_stay: bool,
}

/// A process that serves on our sockets.
#[derive(Debug)]
pub(super) struct Successor {
    /// Its number.
    pub(super) pid: u32,
    channel: Channel,
}

/// Why there is no successor.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwapFault {
    #[error(
        "a container would end with this process, which is its first one or was started by that; start another container"
    )]
    FirstProcess,
    #[error("{0} could not be started: {1}")]
    Unstartable(PathBuf, io::Error),
    #[error("the sockets could not be handed over: {0}")]
    Broken(io::Error),
    #[error("the new process ended with {0} before it was ready; what it says stands in the log above")]
    Ended(ExitStatus),
    #[error("the new process was not ready within {} s, and was ended", .0.as_secs())]
    TooLate(Duration),
    #[error("the new process gave an answer that this one does not know, and was ended")]
    Unknown,
    #[error("this process was told to stop meanwhile")]
    Stopping,
}

impl OwnProgram {
    /// Of this process, which is to take the place of another one, the `heir`, or of none. The path is that by which it was
    /// called, so that a symbolic link may lead to another version later; to be asked for at the start, when both still
    /// lead to the same, and when whoever started it is still its parent.
    pub(super) fn of_this_process(heir: Option<&Heir>) -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let running = std::env::current_exe()?;
        let called = arguments.next().map(PathBuf::from).filter(|called| called.components().count() > 1);
        let called = called.and_then(|called| std::path::absolute(called).ok());
        let leads_here = |called: &PathBuf| matches!((called.canonicalize(), running.canonicalize()), (Ok(one), Ok(other)) if one == other);
        let path = called.filter(leads_here).unwrap_or(running);
        // The one before an heir was let go already.
        let must_stay = heir.is_none()
            && must_stay(std::process::id(), parent_id(), std::env::var_os(NOTIFY_SOCKET).as_deref());
        Ok(Self { path, arguments: arguments.collect(), must_stay })
    }

    /// Starts it anew, hands it `sockets`, and waits until it serves on them. Whoever asks `again` meanwhile is told by
    /// `on_refused` that one is under way.
    ///
    /// # Errors
    /// Why it does not serve; it has ended then.
    pub(super) async fn start_successor(
        &self,
        sockets: &Sockets,
        again: &mut unix::Signal,
        drain: &Drain,
        on_refused: impl Fn(),
    ) -> Result<Successor, SwapFault> {
        if self.must_stay {
            return Err(SwapFault::FirstProcess);
        }
        let (channel, mut child) = self.start(sockets)?;
        let until = Instant::now() + READY_WITHIN;
        let answer = async {
            loop {
                tokio::select! {
                    biased;
                    () = drain.begun() => return Err(SwapFault::Stopping),
                    answer = timeout_at(until, channel.answer()) => {
                        return answer.map_err(|_| SwapFault::TooLate(READY_WITHIN))?.map_err(SwapFault::Broken);
                    }
                    Some(()) = again.recv() => on_refused(),
                }
            }
        };
        let fault = match answer.await {
            Ok(Some(Message::Ready)) => match child.id() {
                Some(pid) => return Ok(Successor { pid, channel }),
                None => SwapFault::Unknown,
            },
            Ok(Some(_)) => SwapFault::Unknown,
            // Its end of the channel is closed: it has ended, or is about to.
            Ok(None) => return Err(end(&mut child).await.map_or(SwapFault::Unknown, SwapFault::Ended)),
            Err(fault) => fault,
        };
        if let Err(error) = child.start_kill() {
            tracing::warn!(%error, "a process that was to take over could not be ended");
        }
        end(&mut child).await;
        Err(fault)
    }

    fn start(&self, sockets: &Sockets) -> Result<(Channel, Child), SwapFault> {
        let (ours, theirs) = Channel::pair().map_err(SwapFault::Broken)?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(HANDOVER_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(theirs.into_descriptor()));
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        let unstartable = |error| SwapFault::Unstartable(self.path.clone(), error);
        let mut child = command.spawn().map_err(unstartable)?;
        if let Err(error) = ours.send_sockets(sockets.held()) {
            // It is reaped by the runtime.
            let _ = child.start_kill();
            return Err(SwapFault::Broken(error));
        }
        Ok((ours, child))
    }
}

/// Does a container end with the process `own`? So it is with its first one, with one that was started from outside of it
/// (whose parent is 0 here), and with what an init started, unless that is systemd, which learns by `notify_socket` whose the
/// service is from now on.
fn must_stay(own: u32, parent: u32, notify_socket: Option<&OsStr>) -> bool {
    own == 1 || parent == 0 || (parent == 1 && notify_socket.is_none())
}

/// How `child` ends, which is about to.
async fn end(child: &mut Child) -> Option<ExitStatus> {
    let ended = timeout_at(Instant::now() + GONE_WITHIN, child.wait()).await;
    if ended.is_err() {
        // It closed the channel and hangs all the same.
        let _ = child.start_kill();
        return child.wait().await.ok();
    }
    ended.ok()?.ok()
}

impl Successor {
    /// Tells it that the addresses are left to it. While this value lives, it knows that this process has not ended.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn leave_to_it(&self) -> io::Result<()> {
        self.channel.send(&Message::Taken, &[])
    }

    /// Has it drain and end (SIGTERM).
    pub(super) fn stop(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let stopped = pid.map_or(Err(Errno::SRCH), |pid| kill_process(pid, Signal::TERM));
        if let Err(error) = stopped {
            tracing::warn!(%error, "the new process could not be told to stop");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_where_its_container_would_end_with_it() {
        let told = Some(OsStr::new("/run/systemd/notify"));
        for (own, parent, notify_socket, stays, what) in [
            (1, 0, None, true, "the first process of a container"),
            (1, 0, told, true, "the same, although somebody would be told"),
            (7, 1, None, true, "started by the init of a container"),
            (40, 0, None, true, "of a container that shares its processes with others"),
            (800, 1, told, false, "a service of systemd"),
            (800, 700, told, false, "a service of a user's systemd"),
            (800, 700, None, false, "started from a shell"),
        ] {
            assert_eq!(must_stay(own, parent, notify_socket), stays, "{what}");
        }
    }
}
