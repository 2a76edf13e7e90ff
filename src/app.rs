//! The composition root: makes a running gateway of a configuration, and takes it down again.
//!
//! Knows every part and none of their rules. Callers: `cli`, `demo` and `probe`.

mod acme;
mod changes;
mod check;
mod cleaning;
mod clock_difference;
mod consoles;
mod control;
mod control_runtime;
mod door_addresses;
mod doors;
mod generation;
mod listener_tls;
mod loading;
mod opening;
mod ops_listeners;
mod places;
mod post_address;
mod process;
mod refusals;
mod reload;
mod security_hook;
mod snapshots;
mod sockets;
mod source;
mod starting;
mod supervision;
mod surroundings;
mod swap;
mod systemd;
#[cfg(test)]
mod testing;
mod trace_export;
mod usage;
mod watchdog;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, FailureGroups};
use crate::clock::Clock;
use crate::net::Drain;
use crate::ops::Readiness;
use crate::store::{Index, Store};
use crate::telemetry::{AccessLog, Metrics, RefusalRecorder, SpanChannel};
pub use check::{find_unusable, find_warnings};
use control_runtime::ControlRuntime;
pub use source::ConfigSource;
use surroundings::Surroundings;
use swap::Successor;
use systemd::Supervisor;

/// A gateway that answers on all its listeners.
#[derive(Debug)]
pub struct Gateway {
    control: ControlRuntime,
    store: Store,
    serving: Serving,
}

/// What serves, and how it is told to end.
#[derive(Debug)]
struct Serving {
    addresses: Vec<(String, SocketAddr)>,
    doors: Vec<JoinHandle<()>>,
    /// Is empty, like the doors, once it is drained.
    consoles: TaskTracker,
    readiness: watch::Sender<Readiness>,
    /// Ends accepting and lets open connections finish.
    drain: Drain,
    /// Nobody can be let in any more.
    broken: CancellationToken,
    /// Reloads, and answers who takes over.
    reloading: tokio::task::JoinHandle<Option<Successor>>,
    supervisor: Supervisor,
}

/// What every part of a gateway may hold on to.
#[derive(Clone, Debug)]
struct Shared {
    clock: Clock,
    index: Arc<Index>,
    authenticator: Arc<Authenticator>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    /// Takes the spans of traces.
    spans: SpanChannel,
    /// Takes what the doors refuse.
    refusals: RefusalRecorder,
    /// Takes failed sign-ins for the audit trail.
    failures: FailureGroups,
}

/// Serves by the configuration of `source` until SIGTERM or SIGINT, then drains; until a new process has taken over,
/// where SIGUSR2 asks for one. Returns once everything is closed.
///
/// # Errors
/// [`Faults`](crate::config::Faults) of the configuration, or what keeps it from being served by.
pub fn serve(source: ConfigSource) -> Result<()> {
    starting::start(source, Surroundings::of_service()?)?.run_until_signal()
}

impl Gateway {
    /// Reads the configuration, opens the store, loads the index, and answers on every listener; follows changes of
    /// the configuration from then on. Stands alone: no process hands anything over to it, or gets anything of it.
    pub fn start(source: ConfigSource) -> Result<Self> {
        starting::start(source, Surroundings::default())
    }

    /// Where each listener listened at the start, in the order of the configuration.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.serving.addresses
    }

    /// The control plane's runtime, for what `demo` runs beside the gateway.
    pub(crate) const fn control(&self) -> &Runtime {
        &self.control.runtime
    }

    /// Waits for SIGTERM or SIGINT, or until a new process has taken over, and drains: no new connections, open ones end
    /// after what they are at, and what is still open after `limits.drain_seconds` is cut.
    ///
    /// # Errors
    /// It ended because it could not go on.
    pub fn run_until_signal(self) -> Result<()> {
        let Serving { drain, broken, .. } = &self.serving;
        self.control.runtime.block_on(async {
            tokio::select! {
                signalled = termination_signal() => signalled,
                () = drain.begun() => Ok(()),
                () = broken.cancelled() => Ok(()),
            }
        })?;
        self.stop()
    }

    /// Drains, as [`Gateway::run_until_signal`] does after a signal.
    ///
    /// # Errors
    /// A part of it had failed.
    pub fn stop(self) -> Result<()> {
        let Self { control, store, serving } = self;
        let Serving { doors, consoles, readiness, drain, broken, reloading, supervisor, .. } = serving;
        tracing::info!("draining");
        readiness.send_replace(Readiness::Draining);
        if !drain.has_begun() {
            supervisor.tell_stopping();
        }
        drain.begin();
        let mut failed = false;
        for door in doors {
            failed |= door.join().is_err();
        }
        consoles.close();
        control.runtime.block_on(consoles.wait());
        control.end(&store);
        // A new process learns by its end of the channel that this one writes nothing any more.
        drop(reloading);
        if broken.is_cancelled() {
            bail!("a part of the gateway failed without which nobody is let in; see the log");
        }
        if failed {
            bail!("a door thread ended early; see the log");
        }
        Ok(())
    }
}

/// Waits for SIGTERM or SIGINT, which no longer end the process from then on.
pub(crate) async fn termination_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
