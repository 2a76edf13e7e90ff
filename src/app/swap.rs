//! A new process in the place of this one, on the same sockets: SIGUSR2.
//!
//! The program that stands at this one's path now is started with the same arguments and gets every listening socket and
//! address lock. These are the same sockets, not copies: what queues there is accepted by either, and closed by neither.
//! Once the new process serves, this one is to drain; where it fails, this one goes on as if nobody had asked. Who is
//! told what, and the drain, are `reload`'s matter, which calls this; the new process's side stands in [`inheritance`].

mod channel;
mod inheritance;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::Signal;
use tokio::time::{Instant, timeout_at};

use self::channel::{Channel, Message};
pub(in crate::app) use self::inheritance::Heir;
use super::sockets::Sockets;
use super::systemd::OWN_VARIABLES;
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
    #[error("this is the first process of its container, which would end with it; start another container")]
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
    /// Of this process. The path is that by which it was called, so that a symbolic link may lead to another version
    /// later; to be asked for at the start, when both still lead to the same.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let running = std::env::current_exe()?;
        let called = arguments.next().map(PathBuf::from).filter(|called| called.components().count() > 1);
        let called = called.and_then(|called| std::path::absolute(called).ok());
        let leads_here = |called: &PathBuf| matches!((called.canonicalize(), running.canonicalize()), (Ok(one), Ok(other)) if one == other);
        let path = called.filter(leads_here).unwrap_or(running);
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Starts it anew, hands it `sockets`, and waits until it serves on them. Whoever asks `again` meanwhile is told by
    /// `on_refused` that one is under way.
    ///
    /// # Errors
    /// Why it does not serve; it has ended then.
    pub(super) async fn start_successor(
        &self,
        sockets: &Sockets,
        again: &mut Signal,
        drain: &Drain,
        on_refused: impl Fn(),
    ) -> Result<Successor, SwapFault> {
        if std::process::id() == 1 {
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
}
