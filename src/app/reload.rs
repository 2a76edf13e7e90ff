//! Reads the configuration again, on SIGHUP and when one of its files has changed, and puts it in force; has a new
//! process take over on SIGUSR2.
//!
//! A configuration is put in force as a whole or not at all (invariant 9): it is read, checked and made ready by the code
//! of the start, its addresses are bound, and only then it is handed to the door threads. Connections of listeners that
//! stay where they are stay open. What a process cannot change about itself, such as its threads, is named in a warning.
//! Reloads and changes of the process are one task's work, so that neither sees the other half done. Runs on the control plane's runtime; started by `app`.

mod swapping;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::acme::CertificateKeeping;
use super::changes::{changed_parts, what_needs_a_restart};
use super::consoles::{Consoles, NewConsoles};
use super::control::HealthChecks;
use super::doors::{DoorSockets, Order, OrderSender, connection_limits, sockets_for_new_doors};
use super::generation::{Generation, Unusable};
use super::ops_listeners::{NewOps, OpsListeners};
use super::security_hook::SecurityHook;
use super::sockets::{SocketFault, Sockets};
use super::source::{ConfigSource, FileMarks};
use super::swap::{OwnProgram, Successor};
use super::systemd::Supervisor;
use super::trace_export::Collector;
use crate::auth::{ControlPlane, Event, EventKind};
use crate::config::Config;
use crate::net::{ConnectionSlots, Drain};
use crate::ops::Readiness;
use crate::telemetry::{Metrics, ReloadOutcome};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files that are being written are read once they have been left alone for so long.
const QUIET_FOR: Duration = Duration::from_millis(200);
/// Looks at files that are never left alone; then they are read as they are.
const QUIET_LOOKS_MAX: usize = 50;
/// How long the door threads may take, which change their doors between two requests.
const THREADS_TAKE_OVER_WITHIN: Duration = Duration::from_secs(5);

/// What a running gateway is asked for.
pub(super) struct Signals {
    /// SIGHUP: to read its configuration again.
    hangup: Signal,
    /// SIGUSR2: to have a new process take over.
    swap: Signal,
}

impl Signals {
    /// Catches them until the process ends, which they would otherwise end.
    pub(super) fn caught_from_now_on() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?,
            swap: signal(SignalKind::user_defined2()).context("SIGUSR2 cannot be waited for")?,
        })
    }
}

/// What reloading needs.
pub(super) struct Reloader {
    pub(super) shared: Shared,
    /// Acts for the gateway.
    pub(super) plane: ControlPlane,
    pub(super) source: ConfigSource,
    /// The files as they were when `present` was read.
    pub(super) marks: FileMarks,
    /// What the process was started with.
    pub(super) started: Arc<Config>,
    /// What is in force.
    pub(super) present: Arc<Generation>,
    pub(super) sockets: Sockets,
    pub(super) orders: Vec<OrderSender>,
    pub(super) slots: Arc<ConnectionSlots>,
    pub(super) consoles: Consoles,
    pub(super) ops: OpsListeners,
    /// Takes whom to tell of security events from now on.
    pub(super) hooks: watch::Sender<Arc<SecurityHook>>,
    pub(super) certificates: CertificateKeeping,
    /// Takes where spans go from now on.
    pub(super) collectors: watch::Sender<Option<Arc<Collector>>>,
    pub(super) health_checks: HealthChecks,
    /// Takes since when the files hold what is refused.
    pub(super) config_refused: watch::Sender<Option<Instant>>,
    /// Ends the telling of security events here.
    pub(super) telling: CancellationToken,
    /// Asks for a new snapshot.
    pub(super) outdated: Arc<Notify>,
    /// The process before this one has ended.
    pub(super) predecessor: Arc<Notify>,
    /// What is on its way into the audit trail.
    pub(super) recording: JoinSet<()>,
    /// What takes this process's place some day.
    pub(super) program: Option<OwnProgram>,
    pub(super) supervisor: Supervisor,
    /// The process's.
    pub(super) drain: Drain,
}

/// A configuration that can be put in force without fail.
struct Prepared {
    generation: Arc<Generation>,
    sockets: Sockets,
    /// By thread.
    doors: Vec<Vec<DoorSockets>>,
    ops: NewOps,
    consoles: NewConsoles,
}

/// What a configuration that was read is made into, with everything that takes time.
struct Made {
    config: Arc<Config>,
    generation: Result<Generation, Unusable>,
}

enum Asked {
    Reload(&'static str),
    /// To try what was refused.
    Again(&'static str),
    Swap,
}

impl Reloader {
    /// Serves what runs beside the doors by the first generation, and shows by `readiness` that all are served.
    pub(super) fn serve_first(
        &mut self,
        readiness: &watch::Sender<Readiness>,
        consoles: NewConsoles,
        ops: NewOps,
    ) {
        self.consoles.put_in_force(&self.present, &self.sockets, consoles);
        self.health_checks.spawn(self.present.upstreams_beside(None));
        // Unless the store is away already.
        readiness.send_if_modified(|present| {
            let is_starting = matches!(present, Readiness::Starting);
            if is_starting {
                *present = Readiness::Ready;
            }
            is_starting
        });
        // Last of all: where another process answers beside this one, this one must not say that it starts.
        self.ops.put_in_force(&self.present, ops);
    }

    /// Reloads whenever it is asked to by SIGHUP or by a file, and has a new process take over when SIGUSR2 asks for it,
    /// until the process drains. Holds its addresses until it has drained, and answers who has taken over.
    pub(super) async fn run(mut self, mut signals: Signals) -> Option<Successor> {
        // Not before the process before this one has left everything to it: two would order the same.
        self.certificates.spawn(self.present.kept_certificates_beside(None));
        let (drain, drained) = (self.drain.clone(), self.health_checks.stop.clone());
        let predecessor = Arc::clone(&self.predecessor);
        let successor = loop {
            let asked = tokio::select! {
                biased;
                () = drain.begun() => break None,
                _ = signals.hangup.recv() => Asked::Reload("SIGHUP"),
                _ = signals.swap.recv() => Asked::Swap,
                () = predecessor.notified() => Asked::Again("the end of the process before this one"),
                () = self.files_changed() => Asked::Reload("a changed file"),
            };
            let reload_by = match asked {
                Asked::Reload(by) => by,
                // It may have held an address that was asked for.
                Asked::Again(by) if self.config_refused.borrow().is_some() => by,
                Asked::Again(_) => continue,
                Asked::Swap => match self.swap(&mut signals.swap).await {
                    Some(successor) => break Some(successor),
                    None => continue,
                },
            };
            tokio::select! {
                biased;
                // Left half done: the addresses must not stay open while nobody accepts there.
                () = drain.begun() => break None,
                () = self.reload(reload_by) => {}
            }
        };
        self.sockets.close();
        self.recording.join_all().await;
        drained.cancelled().await;
        successor
    }

    /// Waits until a file has changed, and then until all are left alone. Cancel-safe.
    async fn files_changed(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            let mut seen = look_again(&self.marks).await;
            if seen == self.marks {
                continue;
            }
            for _ in 0..QUIET_LOOKS_MAX {
                sleep(QUIET_FOR).await;
                let now = look_again(&seen).await;
                if now == seen {
                    break;
                }
                seen = now;
            }
            return;
        }
    }

    async fn reload(&mut self, asked_by: &'static str) {
        self.supervisor.tell_reloading();
        match self.prepare().await {
            Ok(next) => self.put_in_force(next, asked_by).await,
            Err(faults) => self.refuse(&faults, asked_by).await,
        }
        let is_refused = self.config_refused.borrow().is_some();
        self.supervisor.tell_ready(if is_refused {
            "serving; the configuration on disk is refused"
        } else {
            "serving"
        });
    }

    /// Does everything that can fail. What is bound here and not put in force is closed again.
    async fn prepare(&mut self) -> Result<Prepared, Vec<String>> {
        let (source, marks) = (self.source.clone(), self.marks.clone());
        let (present, metrics) = (Arc::clone(&self.present), Arc::clone(&self.shared.metrics));
        // Files are read and keys parsed, which may take a while on a slow disk. Without the sockets: where this is left half
        // done, nothing may hold them.
        let made = spawn_blocking(move || {
            let reading = source.read(&marks);
            let made: Result<Made, Vec<String>> = match reading.config {
                Ok(config) => Ok(make(config, &present, &metrics)),
                Err(faults) => Err(faults.lines().collect()),
            };
            (reading.marks, made)
        });
        let (marks, made) = made.await.map_err(|error| vec![format!("it could not be read: {error}")])?;
        self.marks = marks;
        let (generation, sockets) = self.with_sockets(made?)?;
        let told = |fault: SocketFault| vec![fault.to_string()];
        let threads = self.started.threads;
        let doors =
            sockets_for_new_doors(&generation, Some(&self.present), &sockets, threads).map_err(told)?;
        let ops = self.ops.prepare(&generation, &sockets).map_err(told)?;
        let consoles = self.consoles.prepare(&generation, &sockets).await;
        let consoles = consoles.map_err(|error| vec![format!("the console cannot be served: {error:#}")])?;
        Ok(Prepared { generation: Arc::new(generation), sockets, doors, ops, consoles })
    }

    /// What was made, and the sockets for it.
    ///
    /// # Errors
    /// Everything that keeps it from being served by.
    fn with_sockets(&self, made: Made) -> Result<(Generation, Sockets), Vec<String>> {
        let lines = |faults: Vec<SocketFault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        match (made.generation, self.sockets.successor(&made.config)) {
            (Ok(generation), Ok(sockets)) => {
                sockets.listen().map_err(lines)?;
                Ok((generation, sockets))
            }
            (generation, sockets) => {
                let mut faults: Vec<String> = generation.err().iter().flat_map(Unusable::lines).collect();
                faults.extend(sockets.err().map(lines).unwrap_or_default());
                Err(faults)
            }
        }
    }

    async fn refuse(&mut self, faults: &[String], asked_by: &'static str) {
        self.shared.metrics.config_reloaded(ReloadOutcome::Refused);
        self.config_refused.send_if_modified(|since| {
            let is_first = since.is_none();
            since.get_or_insert_with(Instant::now);
            is_first
        });
        for fault in faults {
            tracing::error!("the configuration is broken: {fault}");
        }
        let faults = faults.len();
        tracing::error!(asked_by, faults, "the new configuration is refused; the one before stays in force");
        self.record(Event::new(EventKind::ConfigurationRefused).with("faults", faults), asked_by).await;
    }

    async fn put_in_force(&mut self, prepared: Prepared, asked_by: &'static str) {
        let Prepared { generation: next, sockets, doors, ops, consoles } = prepared;
        let limits = &next.limits;
        self.slots.set_limits(connection_limits(limits));
        self.shared.metrics.set_connections_limit(limits.connections);
        let ended = self.shared.authenticator.reconfigure(&next.config.policy, limits);
        sockets.tell_beside(&self.sockets);
        let mut gone = std::mem::replace(&mut self.sockets, sockets);
        gone.close();
        self.consoles.put_in_force(&next, &self.sockets, consoles);
        self.ops.put_in_force(&next, ops);
        self.hooks.send_replace(Arc::clone(&next.security_hook));
        self.collectors.send_replace(next.collector.clone());
        let orders = self.orders.iter().zip(doors);
        let taking_over: Vec<_> = orders.map(|(thread, new)| order(thread, &next, new)).collect();
        let all = async {
            for thread in taking_over {
                // A thread that has ended serves by nothing any more.
                let _ = thread.await;
            }
        };
        if timeout(THREADS_TAKE_OVER_WITHIN, all).await.is_err() {
            tracing::warn!("a door thread is busy, and will take the new configuration over later");
        }
        // With it the addresses that are gone are free for others.
        drop(gone);
        for gone in self.present.upstreams_beside(Some(&next)) {
            gone.checks.cancel();
        }
        self.health_checks.spawn(next.upstreams_beside(Some(&self.present)));
        for gone in self.present.kept_certificates_beside(Some(&next)) {
            gone.gone.cancel();
        }
        self.certificates.spawn(next.kept_certificates_beside(Some(&self.present)));
        self.certificates.try_again();
        let changed = changed_parts(&self.present, &next);
        let changed = if changed.is_empty() { String::from("nothing") } else { changed.join(", ") };
        let needs_restart = what_needs_a_restart(&self.started, self.consoles.public_url(), &next.config);
        self.present = next;
        self.config_refused.send_replace(None);
        self.shared.metrics.config_reloaded(ReloadOutcome::Applied);
        tracing::info!(asked_by, changed, ended_sessions = ended, "the configuration is in force");
        for warning in self.present.warnings(self.shared.clock.now()) {
            tracing::warn!("{warning}");
        }
        if !needs_restart.is_empty() {
            let parts = needs_restart.join(", ");
            tracing::warn!(parts, "a part of the configuration needs a restart");
        }
        self.record(Event::new(EventKind::ConfigurationApplied).with("changed", changed), asked_by).await;
    }

    /// Writes into the audit trail, also where the process drains meanwhile; then nothing waits for it here. A
    /// configuration is in force without the store, so that one that is away keeps none.
    async fn record(&mut self, event: Event, asked_by: &'static str) {
        let plane = self.plane.clone();
        self.recording.spawn(async move {
            if let Err(error) = plane.record(event.with("asked_by", asked_by)).await {
                tracing::warn!(%error, "the reload could not be written into the audit trail");
            }
        });
        tokio::select! {
            biased;
            () = self.drain.begun() => {}
            _ = self.recording.join_next() => {}
        }
    }
}

/// What `config` is made into.
fn make(config: Config, present: &Generation, metrics: &Metrics) -> Made {
    let config = Arc::new(config);
    let generation = present.successor(Arc::clone(&config), metrics);
    Made { config, generation }
}

/// Tells `thread` to serve by `next`, also at its `new` doors; completes when it does.
fn order(thread: &OrderSender, next: &Arc<Generation>, new: Vec<DoorSockets>) -> oneshot::Receiver<()> {
    let (done, taken_over) = oneshot::channel();
    // Where the thread has ended, so has the receiver's other half.
    let _ = thread.send(Order::PutInForce(Arc::clone(next), new, done));
    taken_over
}

async fn look_again(marks: &FileMarks) -> FileMarks {
    let known = marks.clone();
    // A look that could not be taken has seen no change.
    spawn_blocking(move || known.look_again()).await.unwrap_or_else(|_| marks.clone())
}
