//! Reads the configuration again, on SIGHUP and when one of its files has changed, and puts it in force.
//!
//! A configuration is put in force as a whole or not at all (invariant 9): it is read, checked and made ready by the code
//! of the start, and only then handed to the door threads. Open connections stay open. What a process cannot change
//! about itself, such as its sockets, is named in a warning. Runs on the control plane's runtime; started by `app`.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::changes::{changed_parts, what_needs_a_restart};
use super::consoles::Consoles;
use super::control::HealthChecks;
use super::doors::{Order, OrderSender, connection_limits};
use super::generation::Generation;
use super::security_hook::SecurityHook;
use super::source::{ConfigSource, FileMarks};
use super::trace_export::Collector;
use crate::auth::{ControlPlane, Event, EventKind};
use crate::config::Config;
use crate::net::ConnectionSlots;
use crate::telemetry::ReloadOutcome;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files that are being written are read once they have been left alone for so long.
const QUIET_FOR: Duration = Duration::from_millis(200);
/// Looks at files that are never left alone; then they are read as they are.
const QUIET_LOOKS_MAX: usize = 50;
/// How long the door threads may take, which change their doors between two requests.
const THREADS_TAKE_OVER_WITHIN: Duration = Duration::from_secs(5);

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
    pub(super) orders: Vec<OrderSender>,
    pub(super) slots: Arc<ConnectionSlots>,
    pub(super) consoles: Option<Consoles>,
    /// Takes whom to tell of security events from now on.
    pub(super) hooks: watch::Sender<Arc<SecurityHook>>,
    /// Takes where spans go from now on.
    pub(super) collectors: watch::Sender<Option<Arc<Collector>>>,
    pub(super) health_checks: HealthChecks,
}

impl Reloader {
    /// Reloads whenever it is asked to by `hangup` or by a file, until `stop`.
    pub(super) async fn run(mut self, mut hangup: Signal, stop: CancellationToken) {
        loop {
            let asked_by = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = hangup.recv() => "SIGHUP",
                () = self.files_changed() => "a changed file",
            };
            self.reload(asked_by).await;
        }
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
        let (source, marks) = (self.source.clone(), self.marks.clone());
        let (present, metrics) = (Arc::clone(&self.present), Arc::clone(&self.shared.metrics));
        // Files are read and keys parsed, which may take a while on a slow disk.
        let prepared = spawn_blocking(move || {
            let reading = source.read(&marks);
            let next = match reading.config {
                Ok(config) => present
                    .successor(Arc::new(config), &metrics)
                    .map_err(|unusable| unusable.lines().collect::<Vec<_>>()),
                Err(faults) => Err(faults.lines().collect()),
            };
            (reading.marks, next)
        });
        let next = match prepared.await {
            Ok((marks, next)) => {
                self.marks = marks;
                next
            }
            Err(error) => Err(vec![format!("it could not be read: {error}")]),
        };
        match next {
            Ok(next) => self.put_in_force(Arc::new(next), asked_by).await,
            Err(faults) => self.refuse(&faults, asked_by).await,
        }
    }

    async fn refuse(&self, faults: &[String], asked_by: &'static str) {
        self.shared.metrics.config_reloaded(ReloadOutcome::Refused);
        for fault in faults {
            tracing::error!("the configuration is broken: {fault}");
        }
        let faults = faults.len();
        tracing::error!(asked_by, faults, "the new configuration is refused; the one before stays in force");
        self.record(Event::new(EventKind::ConfigurationRefused).with("faults", faults), asked_by).await;
    }

    async fn put_in_force(&mut self, next: Arc<Generation>, asked_by: &'static str) {
        let limits = &next.limits;
        self.slots.set_limits(connection_limits(limits));
        let ended = self.shared.authenticator.reconfigure(&next.config.policy, limits);
        if let Some(consoles) = &self.consoles {
            consoles.put_in_force(&next);
        }
        self.hooks.send_replace(Arc::clone(&next.security_hook));
        self.collectors.send_replace(next.collector.clone());
        let taking_over: Vec<_> = self.orders.iter().map(|thread| order(thread, &next)).collect();
        let all = async {
            for thread in taking_over {
                // A thread that has ended serves by nothing any more.
                let _ = thread.await;
            }
        };
        if timeout(THREADS_TAKE_OVER_WITHIN, all).await.is_err() {
            tracing::warn!("a door thread is busy, and will take the new configuration over later");
        }
        for gone in self.present.upstreams_beside(Some(&next)) {
            gone.checks.cancel();
        }
        self.health_checks.spawn(next.upstreams_beside(Some(&self.present)));
        let changed = changed_parts(&self.present, &next);
        let changed = if changed.is_empty() { String::from("nothing") } else { changed.join(", ") };
        let needs_restart = what_needs_a_restart(&self.started, &next.config);
        self.present = next;
        self.shared.metrics.config_reloaded(ReloadOutcome::Applied);
        tracing::info!(asked_by, changed, ended_sessions = ended, "the configuration is in force");
        if !needs_restart.is_empty() {
            let parts = needs_restart.join(", ");
            tracing::warn!(parts, "a part of the configuration needs a restart");
        }
        self.record(Event::new(EventKind::ConfigurationApplied).with("changed", changed), asked_by).await;
    }

    /// Writes into the audit trail. A configuration is in force without the store, so that one that is away keeps none.
    async fn record(&self, event: Event, asked_by: &'static str) {
        if let Err(error) = self.plane.record(event.with("asked_by", asked_by)).await {
            tracing::warn!(%error, "the reload could not be written into the audit trail");
        }
    }
}

/// Tells `thread` to serve by `next`; completes when it does.
fn order(thread: &OrderSender, next: &Arc<Generation>) -> oneshot::Receiver<()> {
    let (done, taken_over) = oneshot::channel();
    // Where the thread has ended, so has the receiver's other half.
    let _ = thread.send(Order::PutInForce(Arc::clone(next), done));
    taken_over
}

async fn look_again(marks: &FileMarks) -> FileMarks {
    let known = marks.clone();
    // A look that could not be taken has seen no change.
    spawn_blocking(move || known.look_again()).await.unwrap_or_else(|_| marks.clone())
}
