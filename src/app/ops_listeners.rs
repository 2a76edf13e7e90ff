//! The ops listeners: served on the control runtime until the process ends, or until a reload or a new process takes
//! their places.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::generation::Generation;
use super::sockets::{SocketFault, Sockets};
use crate::net::ListenerId;
use crate::ops::{OpsState, serve_ops};

/// The ops listeners that are served.
pub(super) struct OpsListeners {
    state: OpsState,
    tasks: TaskTracker,
    /// Ends them with the process.
    stop: CancellationToken,
    open: Vec<(ListenerId, CancellationToken)>,
}

/// Sockets of listeners that are about to be served.
pub(super) type NewOps = Vec<(ListenerId, Vec<TcpListener>)>;

impl OpsListeners {
    pub(super) const fn new(state: OpsState, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { state, tasks, stop, open: Vec::new() }
    }

    /// What is to be accepted on for those of `generation` that are not served yet.
    ///
    /// # Errors
    /// The system has no descriptor left; nothing has changed then.
    pub(super) fn prepare(&self, generation: &Generation, sockets: &Sockets) -> Result<NewOps, SocketFault> {
        let is_new = |id| !self.open.iter().any(|(open, _)| *open == id);
        let new = generation.ops().filter(|place| is_new(place.id));
        new.map(|place| Ok((place.id, sockets.whole(&place.name)?))).collect()
    }

    /// Serves those that are `new`, and no longer those that `generation` does not have.
    pub(super) fn put_in_force(&mut self, generation: &Generation, new: NewOps) {
        for (id, sockets) in new {
            let stop = self.stop.child_token();
            for socket in sockets {
                self.tasks.spawn(serve_ops(socket, self.state.clone(), stop.clone()));
            }
            self.open.push((id, stop));
        }
        self.open.retain(|(id, stop)| {
            let stays = generation.ops().any(|place| place.id == *id);
            if !stays {
                stop.cancel();
            }
            stays
        });
    }

    /// Serves none any more: another process answers, and would be belied by what this one says of itself.
    pub(super) fn close(&self) {
        for (_, stop) in &self.open {
            stop.cancel();
        }
    }
}
