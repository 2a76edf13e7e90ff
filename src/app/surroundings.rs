//! What a process finds beside its configuration: who started it, what it was handed, and who wants to be told.

use anyhow::Result;

use super::sockets::Held;
use super::swap::{Heir, OwnProgram};
use super::systemd::{Supervisor, passed_sockets};

/// Of a process that stands alone by default.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// Sockets that listen already.
    pub(super) inherited: Vec<Held>,
    /// Where this process takes another one's place.
    pub(super) heir: Option<Heir>,
    /// What takes this one's place some day; `None`: nothing ever does.
    pub(super) program: Option<OwnProgram>,
    /// Who supervises it.
    pub(super) supervisor: Supervisor,
}

impl Surroundings {
    /// Of a process that serves, from its environment.
    ///
    /// # Errors
    /// What it was promised did not arrive.
    pub(super) fn of_service() -> Result<Self> {
        let (heir, inherited) = match Heir::of_this_process()? {
            Some((heir, inherited)) => (Some(heir), inherited),
            None => (None, passed_sockets()?),
        };
        let program = OwnProgram::of_this_process(heir.as_ref());
        let program = program.inspect_err(|error| {
            tracing::warn!(%error, "the path of this program is not known: no new process can take over");
        });
        Ok(Self { inherited, heir, program: program.ok(), supervisor: Supervisor::from_environment() })
    }
}
