//! Reads the configuration again, on SIGHUP and when one of its files has changed, and puts it in force; has a new
//! process take over on SIGUSR2.
//!
//! A configuration is put in force as a whole or not at all (invariant 9): it is read, checked and made ready by the code
//! of the start, its addresses are bound, and only then it is handed to the door threads. Connections of listeners that
//! stay where they are stay open. What a process cannot change about itself, such as its threads, is named in a warning.
//! Reloads and changes of the process are one task's work, so that neither sees the other half done. Runs on the control plane's runtime; started by `app`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

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
use super::swap::{OwnProgram, Successor, SwapFault};
use super::systemd::Supervisor;
use super::trace_export::Collector;
use crate::auth::{ControlPlane, Event, EventKind};
use crate::config::Config;
use crate::net::{ConnectionSlots, Drain};
use crate::ops::Readiness;
use crate::telemetry::{Metrics, ReloadOutcome, SwapOutcome};

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

enum Asked {
    Reload(&'static str),
    Swap,
}

impl Reloader {
    /// Serves what runs beside the doors by the first generation, and shows by `readiness` that all are served.
    ///
    /// # Errors
    /// What keeps it from being served.
    pub(super) async fn serve_first(&mut self, readiness: &watch::Sender<Readiness>) -> anyhow::Result<()> {
        let consoles = self.consoles.prepare(&self.present, &self.sockets).await?;
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
        let ops = self.ops.prepare(&self.present, &self.sockets)?;
        self.ops.put_in_force(&self.present, ops);
        Ok(())
    }

    /// Reloads whenever it is asked to by SIGHUP or by a file, and has a new process take over when SIGUSR2 asks for it,
    /// until the process drains. Holds its addresses until it has drained.
    pub(super) async fn run(mut self, mut signals: Signals) {
        // Not before the process before this one has left everything to it: two would order the same.
        self.certificates.spawn(self.present.kept_certificates_beside(None));
        let (drain, drained) = (self.drain.clone(), self.health_checks.stop.clone());
        let successor = loop {
            let asked = tokio::select! {
                biased;
                () = drain.begun() => break None,
                _ = signals.hangup.recv() => Asked::Reload("SIGHUP"),
                _ = signals.swap.recv() => Asked::Swap,
                () = self.files_changed() => Asked::Reload("a changed file"),
            };
            match asked {
                Asked::Reload(by) => self.reload(by).await,
                Asked::Swap => {
                    if let Some(successor) = self.swap(&mut signals.swap).await {
                        break Some(successor);
                    }
                }
            }
        };
        self.sockets.close();
        drained.cancelled().await;
        drop(successor);
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
        let sockets = self.sockets.clone();
        // Files are read and keys parsed, which may take a while on a slow disk.
        let made = spawn_blocking(move || {
            let reading = source.read(&marks);
            let made = match reading.config {
                Ok(config) => make(config, &present, &sockets, &metrics),
                Err(faults) => Err(faults.lines().collect()),
            };
            (reading.marks, made)
        });
        let (marks, made) = made.await.map_err(|error| vec![format!("it could not be read: {error}")])?;
        self.marks = marks;
        let (generation, sockets) = made?;
        let told = |fault: SocketFault| vec![fault.to_string()];
        let threads = self.started.threads;
        let doors =
            sockets_for_new_doors(&generation, Some(&self.present), &sockets, threads).map_err(told)?;
        let ops = self.ops.prepare(&generation, &sockets).map_err(told)?;
        let consoles = self.consoles.prepare(&generation, &sockets).await;
        let consoles = consoles.map_err(|error| vec![format!("the console cannot be served: {error:#}")])?;
        Ok(Prepared { generation: Arc::new(generation), sockets, doors, ops, consoles })
    }

    async fn refuse(&self, faults: &[String], asked_by: &'static str) {
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

    /// Has a new process take over; `None`: it does not, and this one goes on.
    async fn swap(&mut self, again: &mut Signal) -> Option<Successor> {
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
        self.certificates.leave();
        self.sockets.close();
        self.ops.close();
        let idle_for = Duration::from_secs(self.present.limits.drain_seconds.into()) / 2;
        self.drain.begin_gently(Instant::now() + idle_for);
        tracing::info!(pid, "a new process serves on all sockets; this one drains");
        self.record(Event::new(EventKind::BinarySwapped).with("pid", pid), "SIGUSR2").await;
        Ok(())
    }

    /// Writes into the audit trail. A configuration is in force without the store, so that one that is away keeps none.
    async fn record(&self, event: Event, asked_by: &'static str) {
        if let Err(error) = self.plane.record(event.with("asked_by", asked_by)).await {
            tracing::warn!(%error, "the reload could not be written into the audit trail");
        }
    }
}

/// What `config` is made into, and the sockets for it.
///
/// # Errors
/// Everything that keeps it from being served by.
fn make(
    config: Config,
    present: &Generation,
    sockets: &Sockets,
    metrics: &Metrics,
) -> Result<(Generation, Sockets), Vec<String>> {
    let config = Arc::new(config);
    let generation = present.successor(Arc::clone(&config), metrics);
    match (generation, sockets.successor(&config)) {
        (Ok(generation), Ok(sockets)) => Ok((generation, sockets)),
        (generation, sockets) => {
            let mut lines: Vec<String> = generation.err().iter().flat_map(Unusable::lines).collect();
            lines.extend(sockets.err().unwrap_or_default().iter().map(ToString::to_string));
            Err(lines)
        }
    }
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
