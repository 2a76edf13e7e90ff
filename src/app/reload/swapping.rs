//! Having a new process take over: who is told, and what this one does no more. How it is started stands in `swap`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::Reloader;
use crate::app::swap::{Successor, SwapFault};
use crate::auth::{Event, EventKind};
use crate::telemetry::SwapOutcome;

impl Reloader {
    /// Has a new process take over; `None`: it does not, and this one goes on.
    pub(super) async fn swap(&mut self, again: &mut Signal) -> Option<Successor> {
        let metrics = Arc::clone(&self.shared.metrics);
        let Some(program) = &self.program else {
            metrics.binary_swapped(SwapOutcome::Refused);
            tracing::warn!("SIGUSR2: no new process takes over from a gateway that is not `latchkey serve`");
            return None;
        };
        tracing::info!("SIGUSR2: a new process is started on the same sockets");
        let on_refused = || {
            metrics.binary_swapped(SwapOutcome::Refused);
            tracing::warn!("SIGUSR2: refused, a new process is being started already");
        };
        let fault = match program.start_successor(&self.sockets, again, &self.drain, on_refused).await {
            Ok(successor) => match self.leave_to(&successor).await {
                Ok(()) => return Some(successor),
                Err(error) => SwapFault::Broken(error),
            },
            Err(fault) => fault,
        };
        // It may have removed the snapshot, or written one whose later changes nobody notes.
        self.outdated.notify_one();
        let outcome = match fault {
            SwapFault::FirstProcess | SwapFault::Stopping => SwapOutcome::Refused,
            _ => SwapOutcome::Failed,
        };
        metrics.binary_swapped(outcome);
        tracing::error!(%fault, "no new process takes over; this one goes on");
        self.record(Event::new(EventKind::BinarySwapFailed).with("reason", fault), "SIGUSR2").await;
        None
    }

    /// `successor` serves: nothing is accepted here any more, and what is open drains.
    ///
    /// # Errors
    /// It is gone already; nothing has changed then.
    async fn leave_to(&mut self, successor: &Successor) -> io::Result<()> {
        let pid = successor.pid;
        // Before the new process says anything itself: systemd listens to one process of a service.
        self.supervisor.tell_main_process(pid);
        if let Err(error) = successor.leave_to_it() {
            self.supervisor.tell_main_process(std::process::id());
            return Err(error);
        }
        // Those that it finds are told by the new process.
        self.telling.cancel();
        self.certificates.leave();
        self.sockets.close();
        self.ops.close();
        let idle_for = Duration::from_secs(self.present.limits.drain_seconds.into()) / 2;
        self.drain.begin_gently(Instant::now() + idle_for);
        if self.drain.idle_until().is_none() {
            // A stop was asked for in the same moment: it is meant for whoever serves.
            successor.stop();
        }
        tracing::info!(pid, "a new process serves on all sockets; this one drains");
        self.record(Event::new(EventKind::BinarySwapped).with("pid", pid), "SIGUSR2").await;
        Ok(())
    }
}
