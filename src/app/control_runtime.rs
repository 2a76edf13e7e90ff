//! The threads of the control plane, and their end, which nothing may put off for ever.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::Store;

/// Worker threads of the control plane.
const THREADS: usize = 2;
/// Its last writes take milliseconds; a store that hangs must not keep the process.
const LAST_WRITES_WITHIN: Duration = Duration::from_secs(5);
/// The same for closing the store.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);
/// The same for files on a disk that hangs, and whatever else blocks a thread.
const BLOCKED_FOR: Duration = Duration::from_secs(1);

/// Where the control plane runs.
#[derive(Debug)]
pub(super) struct ControlRuntime {
    pub(super) runtime: Runtime,
    /// What is to end before the store is closed.
    pub(super) tasks: TaskTracker,
    /// Ends them.
    pub(super) stop: CancellationToken,
}

impl ControlRuntime {
    pub(super) fn start() -> Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("control").enable_all();
        let runtime = builder.build().context("the control plane's threads could not be started")?;
        Ok(Self { runtime, tasks: TaskTracker::new(), stop: CancellationToken::new() })
    }

    /// Has all tasks do their last work and closes `store`.
    pub(super) fn end(self, store: &Store) {
        self.stop.cancel();
        self.tasks.close();
        self.runtime.block_on(async {
            if timeout(LAST_WRITES_WITHIN, self.tasks.wait()).await.is_err() {
                tracing::warn!(tasks = self.tasks.len(), "the control plane did not come to its end in time");
            }
            if timeout(CLOSED_WITHIN, store.close()).await.is_err() {
                tracing::warn!("the store could not be closed in time");
            }
        });
        self.runtime.shutdown_timeout(BLOCKED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_change_that_hangs_nor_a_disk_keeps_the_process() {
        let control = ControlRuntime::start().unwrap();
        let (folder, store) = control.runtime.block_on(crate::store::testing::empty_store());
        let change = control.runtime.block_on(store.mutate()).unwrap();
        let (go_on, hanging) = std::sync::mpsc::channel::<()>();
        control.runtime.spawn_blocking(move || hanging.recv());
        let (ended, end) = std::sync::mpsc::channel();
        let closed = store.clone();
        std::thread::spawn(move || {
            control.end(&closed);
            ended.send(())
        });
        end.recv_timeout(2 * (LAST_WRITES_WITHIN + CLOSED_WITHIN + BLOCKED_FOR)).unwrap();
        // Connections are put back by a runtime.
        let other = Runtime::new().unwrap();
        let _inside = other.enter();
        drop((change, go_on, folder));
    }
}
