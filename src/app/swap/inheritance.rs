//! The new process's side of a swap: what it gets from the one before it, and what it says once it serves.
//!
//! A process that nobody hands anything over to has no part in this. Called by `app`, before anything else is opened.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;

use anyhow::{Context, Result};

use super::HANDOVER_VARIABLE;
use super::channel::{Channel, Message};
use crate::app::sockets::Held;

/// Takes the place of the process that started it.
#[derive(Debug)]
pub(in crate::app) struct Heir(Channel);

impl Heir {
    /// This process, and the sockets that it gets; `None`: it was started by somebody else than a process that hands
    /// over. The standard input reads nothing afterwards.
    ///
    /// # Errors
    /// The sockets did not arrive.
    pub(in crate::app) fn of_this_process() -> Result<Option<(Self, Vec<Held>)>> {
        // The number guards against a variable that was passed on to some other process.
        let from = std::env::var(HANDOVER_VARIABLE).ok().and_then(|pid| pid.parse::<u32>().ok());
        if from != Some(parent_id()) {
            return Ok(None);
        }
        let inherit = || -> io::Result<(Self, Vec<Held>)> {
            let channel = Channel::of(io::stdin().as_fd().try_clone_to_owned()?)?;
            rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
            let held = channel.receive_sockets()?;
            Ok((Self(channel), held))
        };
        inherit().map(Some).context("the process before this one hands nothing over")
    }

    /// Says that this process serves, and waits until the one before it leaves it to this one.
    ///
    /// # Errors
    /// The one before did not answer. If it has ended, this process is the only one all the same.
    pub(in crate::app) fn take_over(&self) -> io::Result<()> {
        self.0.send(&Message::Ready, &[])?;
        match self.0.next()? {
            Some(Message::Taken) => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Completes when the process before this one has ended.
    pub(in crate::app) async fn predecessor_ended(self) {
        // It says nothing any more; a channel that cannot be watched tells nothing either.
        while matches!(self.0.answer().await, Ok(Some(_))) {}
    }
}
